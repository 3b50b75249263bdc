'use strict';
/**
 * The response stream of a streaming handler: one chunked POST on a connection of its own, which it closes.
 *
 * Nothing is sent before the first write or the end, so that a failure before that can still be a plain error. After
 * it a failure travels in the trailers.
 *
 * Parity: the prelude of `HttpResponseStream.from` also goes out when the stream ends without a write, or with
 * `end(chunk)`; a handler that fails before the first byte answers through `/error`.
 */

const { connect } = require('net'); // stays itself when the function's code patches `net`
const { Writable } = require('stream');

const ERROR_TYPE = 'Lambda-Runtime-Function-Error-Type';
const ERROR_BODY = 'Lambda-Runtime-Function-Error-Body';

class ResponseStream extends Writable {
  constructor({ api, errors, id, nonce, highWaterMark }) {
    super(highWaterMark === undefined ? {} : { highWaterMark });
    const own = {
      ...api.openResponse(id, nonce),
      errors,
      contentType: 'application/octet-stream',
      wasWritten: false,
      socket: null,
      isEnded: false, // the last chunk is out
      ending: '0\r\n\r\n',
      isAnswered: false,
      waiters: [],
      highWaterMark,
      reason: null,
    };
    // Handlers pass the stream around and print it: our own state stays out of sight.
    Object.defineProperty(this, '_own', { value: own });
  }

  /** True once bytes went to the Runtime API: from then on a failure can only be a trailer. */
  get isOpened() {
    return this._own.socket !== null;
  }

  /** What destroyed the stream, if it was destroyed. */
  get reason() {
    return this._own.reason;
  }

  setContentType(contentType) {
    const own = this._own;
    if (own.wasWritten) {
      throw own.errors().runtimeError('Runtime.InvalidStreamingOperation', 'Cannot set content-type, too late.');
    }
    const value = String(contentType);
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw new TypeError('Invalid character in header content ["Content-Type"]');
    own.contentType = value;
  }

  write(chunk, encoding, callback) {
    this._beforeFirstWrite();
    return super.write(asBytes(chunk), encoding, callback);
  }

  end(chunk, encoding, callback) {
    if (typeof chunk === 'function' || chunk === undefined || chunk === null) {
      if (!this.writableEnded) this._beforeFirstWrite();
      return super.end(typeof chunk === 'function' ? chunk : callback || encoding);
    }
    this._beforeFirstWrite();
    return super.end(asBytes(chunk), encoding, callback);
  }

  _beforeFirstWrite() {
    const own = this._own;
    if (own.wasWritten) return;
    own.wasWritten = true;
    if (typeof this._onBeforeFirstWrite === 'function') this._onBeforeFirstWrite((chunk) => super.write(chunk));
  }

  _write(chunk, _encoding, callback) {
    this._send([chunk], callback);
  }

  _writev(items, callback) {
    this._send(
      items.map((item) => item.chunk),
      callback,
    );
  }

  _final(callback) {
    const own = this._own;
    if (own.isEnded) {
      callback();
      return;
    }
    own.isEnded = true;
    this._transmit([own.ending], callback);
    own.socket.ref();
  }

  /** A pipeline that fails destroys its target: the connection stays, for the trailers. */
  _destroy(error, callback) {
    this._own.reason = error;
    callback(null);
  }

  _send(chunks, callback) {
    const filled = chunks.filter((chunk) => chunk.length > 0);
    let size = 0;
    for (const chunk of filled) size += chunk.length;
    if (size === 0) {
      // An empty chunk would end the body; the first write still opens the response.
      this._transmit([], callback);
      return;
    }
    this._transmit([`${size.toString(16)}\r\n`, ...filled, '\r\n'], callback);
  }

  /** Write the parts at once, after the head where that is still to come; call back when the kernel has them. */
  _transmit(parts, callback) {
    const own = this._own;
    if (own.isAnswered) {
      process.nextTick(callback); // refused early: the rest has no reader
      return;
    }
    const all = parts.slice();
    if (own.socket === null) {
      this._open();
      all.unshift(`${own.head}Trailer: ${ERROR_TYPE}, ${ERROR_BODY}\r\nContent-Type: ${own.contentType}\r\n\r\n`);
    }
    const { socket } = own;
    let isCalled = false;
    const done = () => {
      if (isCalled) return;
      isCalled = true;
      callback();
    };
    socket.cork();
    const last = all.pop();
    for (const part of all) socket.write(part, 'latin1');
    if (last === undefined) done();
    // An error of the connection ends the stream through `_answered`, not through this write.
    else socket.write(last, 'latin1', done);
    socket.uncork();
    socket.unref();
  }

  _open() {
    const own = this._own;
    const { reader } = own;
    const { host, port } = own.address;
    const options = { host, port };
    if (own.highWaterMark !== undefined) options.highWaterMark = own.highWaterMark;
    const socket = connect(options);
    own.socket = socket;
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      try {
        if (reader.feed(data.length, data) !== null) this._answered();
      } catch {
        socket.destroy();
      }
    });
    socket.on('close', () => this._answered());
  }

  _answered() {
    const own = this._own;
    if (own.isAnswered) return;
    own.isAnswered = true;
    own.socket.destroy();
    for (const waiter of own.waiters.splice(0)) waiter();
  }

  /** Call back when the platform has the whole response. */
  whenAnswered(callback) {
    if (this._own.isAnswered) callback();
    else this._own.waiters.push(callback);
  }

  /** End an opened response with an error in its trailers, behind whatever is still buffered. */
  fail(document, callback) {
    const own = this._own;
    this.whenAnswered(callback);
    if (own.isEnded || own.isAnswered) return;
    const body = Buffer.from(JSON.stringify(document)).toString('base64');
    const type = own.errors().headerValue(document.errorType);
    own.ending = `0\r\n${ERROR_TYPE}: ${type}\r\n${ERROR_BODY}: ${body}\r\n\r\n`;
    if (this.destroyed) this._final(() => {});
    else if (!this.writableEnded) super.end();
    own.socket.ref();
  }
}

/** What is neither text nor bytes goes out as JSON. */
function asBytes(chunk) {
  if (typeof chunk === 'string' || chunk instanceof Uint8Array) return chunk;
  return JSON.stringify(chunk);
}

module.exports = { ResponseStream };
