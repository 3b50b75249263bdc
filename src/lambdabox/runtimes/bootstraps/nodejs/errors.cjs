'use strict';
/**
 * How failures are told: AWS's error types, the error document, its form in the log, the X-Ray cause.
 *
 * Loaded at the first failure only.
 */

const { types } = require('util');

const CAUSE_LIMIT = 64 * 1024; // what the platform keeps of a cause
const UNREADABLE =
  'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack';
const CALLBACKS_REMOVED =
  'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. ' +
  'You need to modify this function to use a supported handler signature to use Node.js 24 or later. ' +
  'For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';
const NEVER_SETTLED =
  'The Lambda runtime client detected an unexpected Node.js exit code. ' +
  'This is most commonly caused by a Promise that was never settled. ' +
  'For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes';

const classes = new Map();

/** An error whose name is one of AWS's `Runtime.*` types, so that its stack starts with that name. */
function runtimeError(type, message) {
  let Type = classes.get(type);
  if (Type === undefined) {
    Type = class extends Error {};
    Object.defineProperty(Type, 'name', { value: type.slice(type.indexOf('.') + 1) });
    Object.defineProperty(Type.prototype, 'name', { value: type, configurable: true, writable: true });
    classes.set(type, Type);
  }
  const error = new Type(message);
  if (Error.captureStackTrace) Error.captureStackTrace(error, runtimeError);
  return error;
}

/** A syntax error in user code keeps the place it names. */
function userCodeSyntaxError(cause) {
  const error = runtimeError('Runtime.UserCodeSyntaxError', String(cause));
  if (typeof cause.stack === 'string') error.stack = `Runtime.UserCodeSyntaxError: ${cause}\n${cause.stack}`;
  return error;
}

function unhandledRejection(reason, promise) {
  let text;
  try {
    text = String(reason);
  } catch {
    text = Object.prototype.toString.call(reason);
  }
  const error = runtimeError('Runtime.UnhandledPromiseRejection', text);
  error.reason = reason;
  error.promise = promise;
  return error;
}

/** DEL is the one ASCII character that AWS's clients escape. */
function escapeDelete(text) {
  return text.replace(/\x7F/g, '%7F');
}

function looksLikeError(value) {
  return (
    types.isNativeError(value) ||
    value instanceof Error ||
    Boolean(
      value &&
        value.name &&
        value.message &&
        value.stack &&
        typeof value.name === 'string' &&
        typeof value.message === 'string' &&
        typeof value.stack === 'string',
    )
  );
}

/** The error document of an invocation or of Init: `{errorType, errorMessage, trace}`. */
function errorDocument(error, modern) {
  try {
    if (looksLikeError(error)) {
      const hasStack = typeof error.stack === 'string';
      return {
        errorType: error.name === undefined ? undefined : escapeDelete(error.name),
        errorMessage: error.message === undefined ? undefined : escapeDelete(error.message),
        trace: hasStack || !modern ? escapeDelete(error.stack).split('\n') : [],
      };
    }
    return { errorType: typeof error, errorMessage: modern ? String(error) : error.toString(), trace: [] };
  } catch {
    return modern
      ? { errorType: 'handled', errorMessage: UNREADABLE, trace: [] }
      : { errorType: 'handled', errorMessage: UNREADABLE };
  }
}

function intoError(value) {
  if (value instanceof Error) return value;
  try {
    return new Error(value);
  } catch {
    return new Error(Object.prototype.toString.call(value));
  }
}

function withEnumerableProperties(_key, value) {
  if (!(value instanceof Error)) return value;
  const plain = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
  if (typeof value.stack === 'string') plain.stack = value.stack.split('\n');
  return plain;
}

/** One error as it stands behind `Invoke Error` in a text log: JSON with errorType, errorMessage, stack and own properties. */
function errorForLog(value, modern) {
  try {
    return JSON.stringify(intoError(value), withEnumerableProperties);
  } catch {
    return JSON.stringify(errorDocument(value, modern));
  }
}

function parseStackLine(line) {
  const text = line.trim().replace(/^at /, '').replace(/[()]/g, '');
  const space = text.lastIndexOf(' ');
  const place = /^(.*?):(\d+)(?::\d+)?$/.exec(space < 0 ? text : text.slice(space + 1));
  return {
    path: place ? place[1] : text.slice(space + 1),
    line: place ? Number(place[2]) : 0,
    label: space < 0 ? 'anonymous' : text.slice(0, space),
  };
}

function renderCause(error, frames, messageLimit) {
  const stack = escapeDelete(typeof error.stack === 'string' ? error.stack : '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, frames)
    .map(parseStackLine);
  const text = JSON.stringify({
    working_directory: process.cwd(),
    exceptions: [
      {
        type: escapeDelete(String(error.name)),
        message: escapeDelete(String(error.message)).slice(0, messageLimit),
        stack,
      },
    ],
    paths: Array.from(new Set(stack.map((frame) => frame.path))),
  });
  // A header carries visible ASCII only; JSON can say the rest in escapes.
  return text.replace(/[^\x20-\x7e]/g, (char) => '\\u' + char.charCodeAt(0).toString(16).padStart(4, '0'));
}

/** The X-Ray error cause as a header value, or '' where the value thrown is no error. */
function xrayCause(error) {
  try {
    if (!looksLikeError(error)) return '';
    const cause = renderCause(error, 100, CAUSE_LIMIT);
    if (cause.length <= CAUSE_LIMIT) return cause;
    const short = renderCause(error, 10, 1024);
    return short.length <= CAUSE_LIMIT ? short : '';
  } catch {
    return '';
  }
}

/** Text as a header value: one line of visible ASCII, of bounded length. */
function headerValue(text) {
  return String(text)
    .slice(0, 1024)
    .replace(/[^\x20-\x7e]/g, '?');
}

module.exports = {
  CALLBACKS_REMOVED,
  NEVER_SETTLED,
  errorDocument,
  errorForLog,
  headerValue,
  intoError,
  runtimeError,
  unhandledRejection,
  userCodeSyntaxError,
  xrayCause,
};
