'use strict';
/** The global `awslambda`: streaming handlers, HTTP response metadata and, for Node.js 24, the invoke store. */

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const HTTP_INTEGRATION = 'application/vnd.awslambda.http-integration-response';

function streamifyResponse(handler, options) {
  handler[STREAMING] = 'response';
  if (options && typeof options.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
  return handler;
}

class HttpResponseStream {
  /** Send status, headers and cookies ahead of the body: JSON and eight NUL bytes before the first chunk. */
  static from(stream, metadata) {
    stream.setContentType(HTTP_INTEGRATION);
    const prelude = JSON.stringify(metadata);
    stream._onBeforeFirstWrite = (write) => {
      write(prelude);
      write(Buffer.alloc(8));
    };
    return stream;
  }
}

/** Facts of the current invocation for libraries, under the names that `@aws/lambda-invoke-store` looks for. */
function createInvokeStore() {
  const keys = {
    REQUEST_ID: Symbol.for('_AWS_LAMBDA_REQUEST_ID'),
    X_RAY_TRACE_ID: Symbol.for('_AWS_LAMBDA_X_RAY_TRACE_ID'),
    TENANT_ID: Symbol.for('_AWS_LAMBDA_TENANT_ID'),
  };
  const isProtected = (key) => Object.values(keys).includes(key);
  let current;
  const store = {
    getContext: () => current,
    hasContext: () => current !== undefined,
    get: (key) => (current === undefined ? undefined : current[key]),
    set(key, value) {
      if (isProtected(key)) throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
      if (current === undefined) current = {};
      current[key] = value;
    },
    run(context, body) {
      current = context;
      return body();
    },
    getRequestId() {
      const id = store.get(keys.REQUEST_ID);
      return id === undefined ? '-' : id;
    },
    getXRayTraceId: () => store.get(keys.X_RAY_TRACE_ID),
    getTenantId: () => store.get(keys.TENANT_ID),
  };
  const enter = (requestId, traceId, tenantId) => {
    current = { [keys.REQUEST_ID]: requestId, [keys.X_RAY_TRACE_ID]: traceId };
    if (tenantId !== undefined) current[keys.TENANT_ID] = tenantId;
  };
  return { store, enter };
}

let enterInvocation;

function install(modern) {
  const names = { streamifyResponse, HttpResponseStream };
  if (modern) {
    const { store, enter } = createInvokeStore();
    names.InvokeStore = store;
    enterInvocation = enter;
  }
  global.awslambda = Object.assign(global.awslambda || {}, names);
}

/** Move the invoke store, where there is one, to a new invocation. */
function enter(requestId, traceId, tenantId) {
  if (enterInvocation !== undefined) enterInvocation(requestId, traceId, tenantId);
}

/** Whether a handler streams, and its buffer size; `malformed` makes the error for a mark that is not ours. */
function streamingOptions(handler, malformed) {
  const mark = handler[STREAMING];
  if (!mark) return undefined;
  if (mark !== 'response') throw malformed('Only response streaming is supported.');
  const highWaterMark = Number(handler[HIGH_WATER_MARK]);
  return { highWaterMark: highWaterMark > 0 ? highWaterMark : undefined };
}

module.exports = { enter, install, streamingOptions };
