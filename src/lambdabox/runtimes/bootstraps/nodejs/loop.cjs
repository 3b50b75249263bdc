'use strict';
/**
 * Serves invocations: next, handler, response or error, next; in the manner of the client that the identifier names.
 *
 * Node.js 22 and older (AWS's client 3.x): async, promise and callback handlers, `succeed`/`fail`/`done`, waiting for an
 * empty event loop (`beforeExit`), and an answer for whatever would otherwise end the process. Node.js 24 and newer
 * (4.x): the handler's result is awaited, nothing else is, and uncaught failures are Node's own.
 */


const EXIT_UNHANDLED_REJECTION = 128;
const EXIT_UNCAUGHT_EXCEPTION = 129;
const ALREADY_DONE =
  'Invocation has already been reported as done. Cannot call complete more than once per invocation.';

function createLoop({ api, logs, modern, take }) {
  const { classicContext, missingVariables, modernContext, setTraceId } = take('context.cjs');
  const { enter, streamingOptions } = take('awslambda.cjs');
  const exit = process.exit.bind(process); // the function may replace what is global
  const soon = setImmediate;
  let handler;
  let streaming; // the options of a streaming handler
  let started = false; // the first /next is out: failures are no init errors any more
  let isEnding = false; // a failure is being reported, the process ends after it
  let active = null; // the invocation that waits for its answer
  let whenEmpty = null; // what to do when the event loop has nothing left

  const errors = () => take('errors.cjs');

  // --- one turn ---------------------------------------------------------------------------------------------------

  function next() {
    active = null;
    whenEmpty = null;
    api.next(received);
  }

  function received(error, status, headers, body) {
    if (error !== null || status !== 200) {
      logs.complain(`cannot get the next invocation: ${error === null ? `status ${status} ${body}` : error.message}`);
      exit(1);
      return;
    }
    api.idle();
    const invocation = {
      id: headers['lambda-runtime-aws-request-id'] || '',
      nonce: headers['lambda-runtime-invocation-id'],
      isSettled: false,
      stream: null,
    };
    active = invocation;
    const traceId = headers['lambda-runtime-trace-id'];
    const tenantId = headers['lambda-runtime-aws-tenant-id'];
    logs.setInvocation(invocation.id, tenantId);
    setTraceId(traceId);
    if (streaming !== undefined) runStreaming(invocation, headers, body);
    else if (modern) {
      enter(invocation.id, traceId, tenantId);
      runModern(invocation, headers, body);
    } else runClassic(invocation, headers, body);
  }

  /** A result or failure was taken or refused: go on, unless the environment itself is broken. */
  function posted(error, status, _headers, body) {
    if (status >= 500) {
      logs.complain(`the Runtime API answered ${status} ${body}`);
      exit(1);
      return;
    }
    // 400, 403, 410 and 413: the platform has its own answer for the caller.
    if (error !== null) logs.complain(`the answer could not be delivered: ${error.message}`);
    next();
  }

  function succeed(invocation, result, then) {
    let text;
    try {
      text = JSON.stringify(result === undefined ? null : result);
    } catch {
      text = undefined;
      const message = 'Unable to stringify response body';
      fail(invocation, modern ? errors().runtimeError('Runtime.JSONStringifyError', message) : new Error(message), then);
      return;
    }
    // A function or a symbol has no JSON; AWS's clients send an empty body for it.
    invocation.isSettled = true;
    api.respond(invocation.id, invocation.nonce, text === undefined ? '' : text, then || posted, then !== undefined);
  }

  function fail(invocation, error, then) {
    invocation.isSettled = true;
    logs.logError(errors(), 'Invoke Error', error);
    postError(invocation, error, then || posted);
  }

  function postError(invocation, error, then) {
    const { errorDocument, xrayCause } = errors();
    const document = JSON.stringify(errorDocument(error, modern));
    api.fail(invocation.id, invocation.nonce, document, xrayCause(error), then, then !== posted);
  }

  /** What the user of `lambdabox invoke --context` wants the context to say; no such header exists on AWS. */
  function merged(context, headers) {
    const wanted = headers['lambdabox-context'];
    return wanted === undefined ? context : Object.assign(context, JSON.parse(wanted));
  }

  // --- Node.js 24 and newer ---------------------------------------------------------------------------------------

  const platformError = (message) => errors().runtimeError('Runtime.PlatformError', message);

  async function runModern(invocation, headers, body) {
    let result;
    try {
      const context = merged(modernContext(headers, platformError), headers);
      result = await handler(JSON.parse(body), context);
    } catch (error) {
      fail(invocation, error);
      return;
    }
    succeed(invocation, result);
  }

  // --- Node.js 22 and older ---------------------------------------------------------------------------------------

  function runClassic(invocation, headers, body) {
    let isFinished = false; // the first of callback, succeed, fail, done and the promise counts
    let isAsync = false;
    let context;

    const settle = (error, result) => {
      if (invocation.isSettled) {
        console.error(ALREADY_DONE);
        return;
      }
      whenEmpty = null;
      if (error !== undefined && error !== null) fail(invocation, error);
      else succeed(invocation, result);
    };
    const once = (body) => (...args) => {
      if (isFinished) return;
      isFinished = true;
      body(...args);
    };
    const callback = once((error, result) => {
      const waits = context === undefined || context.callbackWaitsForEmptyEventLoop;
      if ((error !== undefined && error !== null) || !waits || invocation.isSettled) settle(error, result);
      else whenEmpty = () => settle(null, result);
    });

    whenEmpty = () => {
      if (isAsync) fail(invocation, errors().runtimeError('Runtime.NodeJsExit', errors().NEVER_SETTLED));
      else succeed(invocation, null);
    };
    try {
      context = merged(classicContext(headers), headers);
      context.succeed = once((result) => settle(null, result));
      context.fail = once((error) => settle(error === undefined || error === null ? 'handled' : error));
      context.done = once(settle);
      const event = JSON.parse(body);
      const returned = handler(event, context, callback);
      if (returned && typeof returned.then === 'function') {
        isAsync = true;
        returned.then(context.succeed, context.fail);
      }
    } catch (error) {
      callback(error);
    }
  }

  // --- streaming --------------------------------------------------------------------------------------------------

  function runStreaming(invocation, headers, body) {
    const { ResponseStream } = take('stream.cjs');
    const stream = new ResponseStream({ api, errors, id: invocation.id, nonce: invocation.nonce, ...streaming });
    invocation.stream = stream;
    let context;

    const proceed = () => {
      if (active !== invocation) return;
      active = null;
      // Node.js 22 and older let the loop run empty before they ask for more; the caller has the whole answer already.
      if (!modern && (context === undefined || context.callbackWaitsForEmptyEventLoop)) {
        whenEmpty = next;
        api.idle();
      } else next();
    };
    const broken = (error) => {
      if (invocation.isSettled) return;
      invocation.isSettled = true;
      logs.logError(errors(), 'Invoke Error', error);
      if (!stream.isOpened) postError(invocation, error, (_error, status) => (status >= 500 ? exit(1) : proceed()));
      else stream.fail(errors().errorDocument(error, modern), proceed);
    };
    const complete = () => {
      stream.whenAnswered(() => {
        if (invocation.isSettled) return;
        invocation.isSettled = true;
        proceed();
      });
    };

    whenEmpty = () => broken(modern ? new Error('Response stream is not finished.') : 'Response stream is not finished.');
    try {
      if (modern) enter(invocation.id, headers['lambda-runtime-trace-id'], headers['lambda-runtime-aws-tenant-id']);
      context = merged(modern ? modernContext(headers, platformError) : classicContext(headers), headers);
      if (!modern) ['succeed', 'fail', 'done'].forEach((name) => delete context[name]);
      const returned = handler(JSON.parse(body), stream, context);
      if (!returned || typeof returned.then !== 'function') {
        const message = 'Streaming does not support non-async handlers.';
        broken(modern ? new Error(message) : message);
        return;
      }
      returned.then((result) => {
        if (result !== undefined) console.warn('Streaming handlers ignore return values.');
        if (stream.destroyed && !stream.writableFinished) broken(stream.reason || 'Response stream is not finished.');
        else complete();
      }, broken);
    } catch (error) {
      broken(error);
    }
  }

  // --- what ends a process ----------------------------------------------------------------------------------------

  /** Report a failure that no handler caught, then end: through the invocation it hit, or as an init error. */
  function crash(error, code) {
    const end = () => exit(code);
    if (!started) {
      postInitError(error, end);
      return;
    }
    const invocation = active;
    if (invocation === null || invocation.isSettled) {
      if (invocation === null) end();
      else api.whenIdle(end);
      return;
    }
    invocation.isSettled = true;
    if (invocation.stream !== null && invocation.stream.isOpened) {
      invocation.stream.fail(errors().errorDocument(error, modern), end);
    } else postError(invocation, error, end);
  }

  function postInitError(error, then) {
    const { errorDocument, headerValue, xrayCause } = errors();
    const document = errorDocument(error, modern);
    api.whenIdle(() => api.failInit(headerValue(document.errorType), JSON.stringify(document), xrayCause(error), then));
  }

  /** Listen for the ends of the event loop and, before Node.js 24, for failures that nothing caught. */
  function listen() {
    process.on('beforeExit', () => {
      if (whenEmpty === null) return;
      const then = whenEmpty;
      whenEmpty = null;
      then();
    });
    if (modern) return;
    const crashOnce = (title, error, code) => {
      logs.logError(errors(), title, error);
      if (isEnding) return;
      isEnding = true;
      crash(error, code);
    };
    process.on('uncaughtException', (error) => crashOnce('Uncaught Exception', error, EXIT_UNCAUGHT_EXCEPTION));
    process.on('unhandledRejection', (reason, promise) => {
      crashOnce('Unhandled Promise Rejection', errors().unhandledRejection(reason, promise), EXIT_UNHANDLED_REJECTION);
    });
  }

  function initFailed(error) {
    isEnding = true;
    logs.logError(errors(), modern ? 'Init Error' : 'Uncaught Exception', error);
    postInitError(error, () => exit(modern ? 1 : EXIT_UNCAUGHT_EXCEPTION));
  }

  /** Ask for the first invocation, once the handler is known to fit the runtime. */
  function start(loaded) {
    handler = loaded;
    streaming = streamingOptions(handler, (message) => errors().runtimeError('Runtime.MalformedStreamingHandler', message));
    if (modern) {
      if (handler.length >= 3 && streaming === undefined) {
        throw errors().runtimeError('Runtime.CallbackHandlerDeprecated', errors().CALLBACKS_REMOVED);
      }
      const missing = missingVariables();
      if (missing.length > 0) throw platformError(`Missing required environment variables: ${missing.join(', ')}`);
    }
    // What the modules' own promises and ticks throw still belongs to Init.
    soon(() => {
      if (isEnding) return;
      started = true;
      next();
    });
  }

  return { initFailed, listen, start };
}

module.exports = { createLoop };
