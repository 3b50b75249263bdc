/** ES module resolution through NODE_PATH, for interpreters whose hooks run on a thread of their own (Node.js 18 and 20). */

let parents = [];

export function initialize(data) {
  parents = data.parents;
}

export async function resolve(specifier, context, nextResolve) {
  try {
    return await nextResolve(specifier, context);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' || /^(\.{0,2}\/|[a-z][a-z0-9+.-]*:)/i.test(specifier)) throw error;
    for (const parentURL of parents) {
      try {
        return await nextResolve(specifier, { ...context, parentURL });
      } catch {
        continue;
      }
    }
    throw error;
  }
}
