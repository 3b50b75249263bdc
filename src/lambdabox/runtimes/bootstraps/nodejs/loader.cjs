'use strict';
/**
 * From a handler string to a function: `[dir/]module.a.b` in the task root.
 *
 * Lookup order: the exact name, `.js` (CommonJS or ESM by the nearest package.json), `.mjs`, `.cjs`, then Node's own
 * resolution from the task root. A further extension is a row of the table.
 */

const fs = require('fs');
const path = require('path');
const Module = require('module');

const REQUIRE = () => 'require';
const IMPORT = () => 'import';
const EXTENSIONS = [
  { suffix: '', how: REQUIRE },
  { suffix: '.js', how: (file) => (isModulePackage(path.dirname(file)) ? 'import' : 'require') },
  { suffix: '.mjs', how: IMPORT },
  { suffix: '.cjs', how: REQUIRE },
];

function isFile(file) {
  try {
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

/** Whether the nearest package.json says `"type": "module"`. */
function isModulePackage(folder) {
  for (let at = folder; path.basename(at) !== 'node_modules'; at = path.dirname(at)) {
    const file = path.join(at, 'package.json');
    let text;
    try {
      text = fs.readFileSync(file, 'utf8');
    } catch {
      if (path.dirname(at) === at) return false;
      continue;
    }
    try {
      const description = JSON.parse(text);
      return Boolean(description) && description.type === 'module';
    } catch (error) {
      console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
      return false;
    }
  }
  return false;
}

/** Split a handler string into folder, module and property path. */
function parseHandler(handlerName, runtimeError) {
  if (handlerName.includes('..')) {
    throw runtimeError(
      'Runtime.MalformedHandlerName',
      `'${handlerName}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(handlerName);
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (!match) throw runtimeError('Runtime.MalformedHandlerName', 'Bad handler');
  return { folder: handlerName.slice(0, handlerName.indexOf(base)), moduleName: match[1], properties: match[2].split('.') };
}

/** The file of a module, and whether `require` or `import` loads it. Throws Node's own error when there is none. */
function findModule(taskRoot, folder, moduleName, require) {
  const stem = path.resolve(taskRoot, folder, moduleName);
  for (const { suffix, how } of EXTENSIONS) {
    const file = stem + suffix;
    if (isFile(file)) return { file, how: how(file) };
  }
  const folders = [taskRoot, path.resolve(taskRoot, folder)];
  let file;
  try {
    file = fs.existsSync(stem) ? require.resolve(stem) : require.resolve(moduleName, { paths: folders });
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    file = require.resolve(moduleName, { paths: folders });
  }
  const row = EXTENSIONS.find(({ suffix }) => suffix !== '' && file.endsWith(suffix));
  return { file, how: row === undefined ? 'require' : row.how(file) };
}

/** Follow a property path. Node.js 24's client follows objects only, the older one whatever has properties. */
function follow(start, properties, modern) {
  return properties.reduce((at, key) => {
    if (modern) return at !== null && typeof at === 'object' ? at[key] : undefined;
    return at && at[key];
  }, start);
}

/** Whether a specifier names a package, not a path or an address. */
function isBare(specifier) {
  return !/^(\.{0,2}\/|[a-z][a-z0-9+.-]*:)/i.test(specifier);
}

/**
 * Let `import` find packages through NODE_PATH, as on AWS since Node.js 18.
 *
 * Parity: before Node.js 22.15 hooks have a thread of their own that takes 50 ms to start: there a handler in CommonJS does without.
 */
function honourNodePath(how) {
  if (!process.env.NODE_PATH) return;
  const { pathToFileURL } = require('url');
  const parents = process.env.NODE_PATH.split(path.delimiter)
    .filter((folder) => path.basename(folder) === 'node_modules')
    .map((folder) => pathToFileURL(path.join(folder, '..', 'function.mjs')).href);
  if (parents.length === 0) return;
  if (typeof Module.registerHooks === 'function') {
    Module.registerHooks({
      resolve(specifier, context, nextResolve) {
        try {
          return nextResolve(specifier, context);
        } catch (error) {
          if (error.code !== 'ERR_MODULE_NOT_FOUND' || !isBare(specifier)) throw error;
          for (const parentURL of parents) {
            try {
              return nextResolve(specifier, { ...context, parentURL });
            } catch {
              continue;
            }
          }
          throw error;
        }
      },
    });
  } else if (how === 'import' && typeof Module.register === 'function') {
    Module.register(pathToFileURL(path.join(__dirname, 'node_path_hooks.mjs')).href, { data: { parents } });
  }
}

async function importModule(file, importFile) {
  return importFile(require('url').pathToFileURL(file).href);
}

function explain(error, errors) {
  if (error instanceof SyntaxError) return errors.userCodeSyntaxError(error);
  if (error && error.code === 'MODULE_NOT_FOUND') return errors.runtimeError('Runtime.ImportModuleError', String(error));
  return error;
}

/**
 * Load the handler, then call `done(handler)` or `failed(error)`, synchronously where the module is CommonJS.
 *
 * Parity: a handler file that is an ES module is named by AWS's rules, but a folder of the module's name does not hide
 * `<name>.mjs` or `<name>.cjs` beside it.
 */
function load({ handlerName, taskRoot, modern, take, importFile }, failed, done) {
  const fail = (error) => failed(explain(error, take('errors.cjs')));
  const runtimeError = (type, message) => take('errors.cjs').runtimeError(type, message);

  const finish = (loaded, properties) => {
    let handler = follow(loaded, properties, modern);
    if (!handler && modern && loaded !== null && typeof loaded === 'object' && 'default' in loaded) {
      handler = follow(loaded.default, properties, modern);
    }
    if (!handler) throw runtimeError('Runtime.HandlerNotFound', `${handlerName} is undefined or not exported`);
    if (typeof handler !== 'function') throw runtimeError('Runtime.HandlerNotFound', `${handlerName} is not a function`);
    done(handler);
  };

  try {
    if (!handlerName) throw runtimeError('Runtime.PlatformError', '_HANDLER environment variable is not set');
    if (!taskRoot) throw runtimeError('Runtime.PlatformError', 'LAMBDA_TASK_ROOT environment variable is not set');
    const root = path.resolve(taskRoot);
    const { folder, moduleName, properties } = parseHandler(handlerName, runtimeError);
    const userRequire = Module.createRequire(path.join(__dirname, 'bootstrap.cjs'));
    const { file, how } = findModule(root, folder, moduleName, userRequire);
    let loaded;
    honourNodePath(how);
    if (how === 'require') {
      try {
        loaded = userRequire(file);
      } catch (error) {
        // Only `import` can load an ES module that awaits at its top level.
        if (!modern || error === null || typeof error !== 'object' || error.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
      }
    }
    if (loaded !== undefined) finish(loaded, properties);
    else importModule(file, importFile).then((namespace) => finish(namespace, properties)).catch(fail);
  } catch (error) {
    fail(error);
  }
}

module.exports = { load };
