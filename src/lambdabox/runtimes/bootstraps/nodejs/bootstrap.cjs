'use strict';
/**
 * Starts a Node.js function: patch the console, load the handler, serve invocations until the environment ends.
 *
 * Run as `node bootstrap.cjs [handler]`; the handler is the argument or `_HANDLER`. Standard library only, syntax that
 * Node.js 14 parses. What differs between AWS's runtime generations follows the identifier in `AWS_EXECUTION_ENV`
 * (`AWS_Lambda_nodejs22.x`), whatever interpreter serves it.
 *
 * Parity: no file of this folder stays in `require.cache`, and `require.main` is undefined in the function, as on AWS,
 * where the client is an ES module.
 */

const { readFileSync } = require('fs');
const { compileFunction } = require('vm');

const taken = new Map();

/**
 * Load a file of this folder once. It never enters the module cache that the function sees, and it costs a read and a
 * compilation, without the module system's look-ups.
 */
function take(name) {
  let file = taken.get(name);
  if (file === undefined) {
    file = { exports: {} };
    const filename = `${__dirname}/${name}`;
    compileFunction(readFileSync(filename, 'utf8'), ['module', 'require', '__dirname'], { filename })(file, require, __dirname);
    taken.set(name, file);
  }
  return file.exports;
}

/** The major version that the runtime identifier names; the interpreter's own when there is no identifier. */
function identifierMajor() {
  const match = /nodejs(\d+)\.?/.exec(process.env.AWS_EXECUTION_ENV || '');
  return match ? Number(match[1]) : parseInt(process.versions.node, 10);
}

function main() {
  const major = identifierMajor();
  const modern = major >= 24; // AWS's client 4.x; before that 3.x
  const logs = take('console.cjs');
  logs.patch(modern);
  const { RuntimeApi } = take('runtime_api.cjs');
  const { createLoop } = take('loop.cjs');
  const api = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API || '', process.env._LAMBDABOX_POLLS_AHEAD === '1');
  delete process.env._LAMBDABOX_POLLS_AHEAD;
  const loop = createLoop({ api, logs, modern, take });
  loop.listen();

  delete require.cache[__filename];
  module.children.length = 0;
  process.mainModule = undefined;
  if (!/^(1|true)$/.test(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA || '')) {
    take('awslambda.cjs').install(modern);
  }

  const handlerName = process.argv[2] || process.env._HANDLER || '';
  const { load } = take('loader.cjs');
  const importFile = (url) => import(url); // `import` needs a real module around it
  load({ handlerName, taskRoot: process.env.LAMBDA_TASK_ROOT, modern, take, importFile }, loop.initFailed, loop.start);
}

main();
