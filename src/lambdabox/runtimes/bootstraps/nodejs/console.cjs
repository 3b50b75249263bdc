'use strict';
/**
 * The function's console as AWS writes it: Text or JSON, to stdout or as frames to the log descriptor.
 *
 * `process.stdout` and `process.stderr` stay as they are. Lines go out with one synchronous write each, so that they are
 * in the pipe before the answer to the invocation is, and a frame is never split by another writer.
 */

const fs = require('fs');
const { format } = require('util');

// Frame types (big-endian): a55a0003 is Text, a55a0002 JSON, the mask adds the level.
const LEVELS = {
  TRACE: { name: 'TRACE', priority: 1, mask: 0x04 },
  DEBUG: { name: 'DEBUG', priority: 2, mask: 0x08 },
  INFO: { name: 'INFO', priority: 3, mask: 0x0c },
  WARN: { name: 'WARN', priority: 4, mask: 0x10 },
  ERROR: { name: 'ERROR', priority: 5, mask: 0x14 },
  FATAL: { name: 'FATAL', priority: 6, mask: 0x18 },
};
const METHODS = { trace: 'TRACE', debug: 'DEBUG', info: 'INFO', log: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' };
const FRAME_TEXT = 0xa55a0003;
const FRAME_JSON = 0xa55a0002;
const FRAME_HEADER = 16;

const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');
const TENANT_ID = Symbol.for('aws.lambda.runtime.tenantId');

let json = false;
let modern = false;
let frameFd = -1;
let writeLine = writeToStdout;
let pauseCell;

/** Wait a millisecond: the pipe is full, or another holder of it made it non-blocking. */
function pause() {
  if (pauseCell === undefined) pauseCell = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(pauseCell, 0, 0, 1);
}

/** Write all of it. A descriptor that the function closed loses the line, never the invocation. */
function writeAll(fd, bytes) {
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += fs.writeSync(fd, bytes, offset, bytes.length - offset);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
      pause();
    }
  }
}

function writeToStdout(_level, _now, line) {
  writeAll(1, Buffer.from((line.indexOf('\n') < 0 ? line : line.replace(/\n/g, '\r')) + '\n'));
}

function writeFrame(level, now, line) {
  const text = json ? line : line + '\n';
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(FRAME_HEADER + length);
  const micros = now.getTime() * 1000;
  frame.writeUInt32BE(((json ? FRAME_JSON : FRAME_TEXT) | level.mask) >>> 0, 0);
  frame.writeUInt32BE(length, 4);
  frame.writeUInt32BE(Math.floor(micros / 0x100000000), 8);
  frame.writeUInt32BE(micros % 0x100000000, 12);
  frame.write(text, FRAME_HEADER);
  writeAll(frameFd, frame);
}

function requestId() {
  const id = global[REQUEST_ID];
  return id === undefined && modern ? '-' : id;
}

function nameOfClass(error) {
  return (error.constructor && error.constructor.name) || 'UnknownError';
}

function stackLines(error, otherwise) {
  return typeof error.stack === 'string' ? error.stack.split('\n') : otherwise;
}

function plainErrors(_key, value) {
  if (!(value instanceof Error)) return value;
  return {
    errorType: nameOfClass(value),
    errorMessage: value.message,
    stackTrace: stackLines(value, value.stack),
    ...value,
  };
}

/** One JSON record: a single argument stays an object, several are formatted and the first Error's facts added. */
function jsonLine(level, time, args) {
  const record = { timestamp: time, level: level.name, requestId: requestId() };
  const tenantId = global[TENANT_ID];
  if (tenantId !== undefined && tenantId !== null) record.tenantId = tenantId;
  if (args.length <= 1) {
    record.message = args[0];
    try {
      return JSON.stringify(record, plainErrors);
    } catch {
      record.message = format(args[0]);
      return JSON.stringify(record);
    }
  }
  record.message = format(...args);
  const error = args.find((arg) => arg instanceof Error);
  if (error !== undefined) {
    record.errorType = nameOfClass(error);
    record.errorMessage = error.message;
    record.stackTrace = stackLines(error, []);
  }
  return JSON.stringify(record);
}

function write(level, args) {
  const now = new Date();
  const time = now.toISOString();
  if (json) {
    writeLine(level, now, jsonLine(level, time, args));
    return;
  }
  const message = args.length === 1 && typeof args[0] === 'string' ? args[0] : format(...args);
  writeLine(level, now, `${time}\t${requestId()}\t${level.name}\t${message}`);
}

/** Take over the methods of `console`, and the log descriptor, whose name the function never sees. */
function patch(isModern) {
  modern = isModern;
  json = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
  const fd = process.env._LAMBDA_TELEMETRY_LOG_FD;
  if (fd !== undefined) {
    delete process.env._LAMBDA_TELEMETRY_LOG_FD;
    if (/^\d+$/.test(fd)) {
      frameFd = Number(fd);
      writeLine = writeFrame;
    }
  }
  const least = LEVELS[(process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase()] || LEVELS.TRACE;
  for (const method of Object.keys(METHODS)) {
    const level = LEVELS[METHODS[method]];
    console[method] = level.priority >= least.priority ? (...args) => write(level, args) : () => {};
  }
}

/** What the lines of the current invocation carry. */
function setInvocation(id, tenantId) {
  global[REQUEST_ID] = id;
  global[TENANT_ID] = tenantId;
}

/** Log a failure the way AWS's clients do: `<title>` TAB JSON as text, one error record as JSON. */
function logError(errors, title, error) {
  if (json) write(LEVELS.ERROR, [errors.intoError(error)]);
  else write(LEVELS.ERROR, [`${title}\t${errors.errorForLog(error, modern)}`]);
}

/** A line of the bootstrap itself, for a platform that does not answer; no invocation reads it. */
function complain(text) {
  writeAll(2, Buffer.from(`lambdabox: ${text}\n`));
}

module.exports = { complain, logError, patch, setInvocation };
