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

const taken = new Map();

/** Load a file of this folder once, and leave no trace of it in the module cache that the function sees. */
function take(name) {
  let loaded = taken.get(name);
  if (loaded === undefined) {
    const filename = require.resolve('./' + name);
    loaded = require(filename);
    delete require.cache[filename];
    taken.set(name, loaded);
  }
  return loaded;
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
  const api = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API || '');
  const loop = createLoop({ api, logs, modern, take });
  loop.listen();

  delete require.cache[__filename];
  module.children.length = 0;
  process.mainModule = undefined;
  if (!/^(1|true)$/.test(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA || '')) {
    take('awslambda.cjs').install(modern, logs);
  }

  const handlerName = process.argv[2] || process.env._HANDLER || '';
  const { load } = take('loader.cjs');
  load({ handlerName, taskRoot: process.env.LAMBDA_TASK_ROOT, modern, take }, loop.initFailed, loop.start);
}

main();
