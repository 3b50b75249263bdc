'use strict';
/**
 * The Runtime API over one kept-open socket: one request at a time, one write a message, a parser for what comes back.
 *
 * The `http` module costs more than the rest of a warm invocation together, so the few shapes of answer that the Runtime
 * API has are read here: a status line, headers, a body by Content-Length, in chunks, or up to the end of the connection.
 * While a handler runs the socket does not hold the event loop (`idle`), so that an empty loop can be noticed.
 *
 * Where the Runtime API says that it takes pipelined requests, an answer takes the next poll along in the same write: one
 * turn is one round trip then, not two.
 */

const { connect } = require('net'); // stays itself when the function's code patches `net`

const later = setTimeout; // the function may replace the global one

const BASE = '/2018-06-01/runtime/';
const READ_SIZE = 64 * 1024;
const SMALL_BODY = 16 * 1024; // up to here header and body travel as one string
const HEAD_END = Buffer.from('\r\n\r\n');
const HEAD_LIMIT = 1024 * 1024;
const NEXT_ATTEMPTS = 9; // with the delays below: more than a second
const POST_ATTEMPTS = 3;
const FIRST_DELAY_MS = 10;
const LONGEST_DELAY_MS = 1000;

/** Split `host:port`; a leading scheme is forgiven, an IPv6 host stands in brackets. */
function parseAddress(address) {
  const match = /^(?:https?:\/\/)?(\[[^\]]+\]|[^:/]+)(?::(\d+))?\/?$/.exec(address);
  if (!match) throw new Error(`AWS_LAMBDA_RUNTIME_API is not host:port: '${address}'`);
  return { host: match[1].replace(/^\[|\]$/g, ''), port: Number(match[2] || 80), authority: address.replace(/^https?:\/\//, '') };
}

function parseHead(text) {
  const firstEnd = text.indexOf('\r\n');
  const status = Number(text.slice(9, 12));
  if (!text.startsWith('HTTP/1.') || !(status >= 100)) throw new Error(`unexpected answer: ${text.slice(0, 80)}`);
  const headers = {};
  let start = firstEnd < 0 ? text.length : firstEnd + 2;
  while (start < text.length) {
    let end = text.indexOf('\r\n', start);
    if (end < 0) end = text.length;
    const colon = text.indexOf(':', start);
    if (colon > start && colon < end) {
      headers[text.slice(start, colon).toLowerCase()] = text.slice(colon + 1, end).trim();
    }
    start = end + 2;
  }
  return { status, headers };
}

/** Reads answers off one connection, however their bytes are split: `feed` returns an answer once it is whole. */
class ResponseReader {
  constructor() {
    this.buffer = Buffer.allocUnsafeSlow(READ_SIZE);
    this.reset();
  }

  reset() {
    this.head = null; // the parsed head, once it is complete
    this.pending = null; // bytes kept from earlier reads
    this.body = null; // a body of known length that needs more than one read
    this.filled = 0;
    this.chunks = null; // the chunks so far of a chunked body
    this.rest = null; // what came behind a whole answer
  }

  /** The answer that came in the same read as the one before it, if one did. */
  following() {
    const { rest } = this;
    if (rest === null) return null;
    this.rest = null;
    return this.readHead(rest, 0);
  }

  /** Where the next bytes go: straight into a large body. */
  target() {
    return this.body === null ? this.buffer : this.body.subarray(this.filled);
  }

  /** Take `size` bytes that were read into `bytes`. */
  feed(size, bytes) {
    if (this.body !== null) {
      // The buffer of this read may have been chosen before the body began.
      if (bytes.buffer !== this.body.buffer) bytes.copy(this.body, this.filled, 0, size);
      this.filled += size;
      return this.filled < this.body.length ? null : this.finish(this.body.toString('utf8'));
    }
    let data = bytes.subarray(0, size);
    if (this.pending !== null) data = Buffer.concat([this.pending, data]);
    this.pending = null;
    if (this.head !== null) return this.chunks !== null ? this.readChunks(data, 0) : this.keep(data);
    return this.readHead(data, 0);
  }

  readHead(data, start) {
    const end = data.indexOf(HEAD_END, start);
    if (end < 0) {
      if (data.length > HEAD_LIMIT) throw new Error('the headers of the answer are over 1 MB');
      return this.keep(data.subarray(start));
    }
    const head = parseHead(data.latin1Slice(start, end));
    if (head.status < 200) return this.readHead(data, end + 4); // an interim answer
    this.head = head;
    return this.readBody(data, end + 4);
  }

  readBody(data, start) {
    const { status, headers } = this.head;
    const length = headers['content-length'];
    if (headers['transfer-encoding'] !== undefined) {
      this.chunks = [];
      return this.readChunks(data, start);
    }
    if (length === undefined) return status === 204 || status === 304 ? this.finish('') : this.keep(data.subarray(start));
    if (!/^\d+$/.test(length)) throw new Error(`bad Content-Length '${length}'`);
    const end = start + Number(length);
    if (end <= data.length) {
      const answer = this.finish(data.utf8Slice(start, end));
      if (end < data.length) this.rest = data.subarray(end);
      return answer;
    }
    this.body = Buffer.allocUnsafeSlow(Number(length));
    this.filled = data.copy(this.body, 0, start);
    return null;
  }

  readChunks(data, start) {
    let at = start;
    for (;;) {
      const lineEnd = data.indexOf('\r\n', at);
      if (lineEnd < 0) break;
      const size = parseInt(data.latin1Slice(at, lineEnd), 16);
      if (!(size >= 0)) throw new Error('bad chunk size');
      if (size === 0) {
        if (data.indexOf(HEAD_END, lineEnd) < 0) break; // trailers are not read
        return this.finish(Buffer.concat(this.chunks).toString('utf8'));
      }
      const end = lineEnd + 2 + size;
      if (end + 2 > data.length) break;
      this.chunks.push(Buffer.from(data.subarray(lineEnd + 2, end)));
      at = end + 2;
    }
    return this.keep(data.subarray(at));
  }

  keep(data) {
    this.pending = Buffer.from(data);
    return null;
  }

  /** The connection ended: that completes a body of unknown length. */
  end() {
    if (this.head === null || this.body !== null || this.chunks !== null) return null;
    return this.finish(this.pending === null ? '' : this.pending.toString('utf8'));
  }

  finish(body) {
    const { status, headers } = this.head;
    this.reset();
    return { status, headers, body };
  }
}

class RuntimeApi {
  constructor(address, pollsAhead) {
    this.address = parseAddress(address);
    this.pollsAhead = pollsAhead;
    this.isPolled = false; // the next poll went out with the last answer
    this.socket = null;
    this.request = null; // { head, body, attempts, limit, callback }
    this.tail = `Host: ${this.address.authority}\r\n`;
    this.nextHead = `GET ${BASE}invocation/next HTTP/1.1\r\n${this.tail}\r\n`;
    this.resultTail = ` HTTP/1.1\r\n${this.tail}Content-Type: application/json\r\n`;
    this.waiters = [];
  }

  /** True while an answer is outstanding. */
  get isBusy() {
    return this.request !== null;
  }

  /** Call back when nothing is outstanding. */
  whenIdle(callback) {
    if (this.request === null) callback();
    else this.waiters.push(callback);
  }

  /** Ask for the next invocation: callback(error, status, headers, body). */
  next(callback) {
    if (this.isPolled && this.socket !== null) {
      this.isPolled = false;
      this.socket.ref();
      this.request = { head: this.nextHead, body: '', attempts: 1, limit: NEXT_ATTEMPTS, callback, isLast: false };
      return;
    }
    this.send(this.nextHead, '', NEXT_ATTEMPTS, callback);
  }

  /**
   * Post a result; `nonce` is the Lambda-Runtime-Invocation-Id that came with the invocation, if one did. `isLast`: the
   * process ends after it, so no poll goes along.
   */
  respond(id, nonce, body, callback, isLast) {
    const head = `POST ${BASE}invocation/${encodeURIComponent(id)}/response${this.resultTail}${nonceHeader(nonce)}`;
    this.send(head, body, POST_ATTEMPTS, callback, isLast);
  }

  fail(id, nonce, body, cause, callback, isLast) {
    const causeHeader = cause ? `Lambda-Runtime-Function-XRay-Error-Cause: ${cause}\r\n` : '';
    const head = `POST ${BASE}invocation/${encodeURIComponent(id)}/error${this.resultTail}${nonceHeader(nonce)}${causeHeader}`;
    this.send(head, body, POST_ATTEMPTS, callback, isLast);
  }

  failInit(errorType, body, cause, callback) {
    const causeHeader = cause ? `Lambda-Runtime-Function-XRay-Error-Cause: ${cause}\r\n` : '';
    const head = `POST ${BASE}init/error${this.resultTail}Lambda-Runtime-Function-Error-Type: ${errorType}\r\n${causeHeader}`;
    this.send(head, body, POST_ATTEMPTS, callback, true);
  }

  /** The start of a streaming response's head, and a reader for its answer: the stream brings its own connection. */
  openResponse(id, nonce) {
    const head =
      `POST ${BASE}invocation/${encodeURIComponent(id)}/response HTTP/1.1\r\n${this.tail}Connection: close\r\n` +
      `Transfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n${nonceHeader(nonce)}`;
    return { address: this.address, head, reader: new ResponseReader() };
  }

  /** Let the event loop end while a handler runs: nothing of ours is outstanding. */
  idle() {
    if (this.socket !== null) this.socket.unref();
  }

  send(head, body, limit, callback, isLast) {
    if (this.isPolled) this.drop(); // an answer that nobody asked for any more is on its way
    this.request = { head, body, attempts: 0, limit, callback, isLast };
    this.write();
  }

  drop() {
    const { socket } = this;
    this.socket = null;
    this.isPolled = false;
    if (socket !== null) socket.destroy();
  }

  write() {
    const request = this.request;
    request.attempts += 1;
    if (this.socket === null) this.connect();
    const socket = this.socket;
    socket.ref();
    const { head, body } = request;
    if (head === this.nextHead) {
      socket.write(head, 'latin1');
      return;
    }
    const tail = this.pollsAhead && !request.isLast ? this.nextHead : '';
    this.isPolled = tail !== '';
    if (body.length <= SMALL_BODY) {
      socket.write(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}${tail}`, 'utf8');
    } else {
      const bytes = Buffer.from(body, 'utf8');
      socket.cork();
      socket.write(`${head}Content-Length: ${bytes.length}\r\n\r\n`, 'latin1');
      socket.write(bytes);
      if (tail !== '') socket.write(tail, 'latin1');
      socket.uncork();
    }
  }

  connect() {
    const reader = new ResponseReader();
    const socket = connect({
      host: this.address.host,
      port: this.address.port,
      onread: {
        buffer: () => reader.target(),
        callback: (size, bytes) => {
          let answer;
          try {
            answer = reader.feed(size, bytes);
          } catch (error) {
            socket.destroy(error);
            return true;
          }
          while (answer !== null) {
            this.answered(socket, answer);
            if (this.socket !== socket) break;
            try {
              answer = reader.following();
            } catch (error) {
              socket.destroy(error);
              break;
            }
          }
          return true;
        },
      },
    });
    let reason = null;
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      reason = error;
    });
    socket.on('end', () => {
      const answer = reader.end();
      if (answer !== null) this.answered(socket, answer);
    });
    socket.on('close', () => this.lost(socket, reason));
    this.socket = socket;
  }

  answered(socket, { status, headers, body }) {
    if (/^close$/i.test(headers.connection || '')) this.drop();
    if (this.request === null) return;
    if (status === 429 || (status >= 502 && status <= 504)) {
      this.retry(new Error(`the Runtime API answered ${status}`));
      return;
    }
    this.complete(null, status, headers, body);
  }

  lost(socket, reason) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.isPolled = false;
    if (this.request !== null) this.retry(reason || new Error('the Runtime API closed the connection'));
  }

  /** Try again: at once after a kept-open connection turned out to be dead, then with growing pauses. */
  retry(error) {
    const request = this.request;
    if (this.isPolled) this.drop();
    if (request.attempts >= request.limit) {
      this.complete(error, 0, {}, '');
      return;
    }
    const delay = request.attempts === 1 ? 0 : FIRST_DELAY_MS * 2 ** (request.attempts - 2);
    later(() => this.write(), Math.min(delay, LONGEST_DELAY_MS));
  }

  complete(error, status, headers, body) {
    const { callback } = this.request;
    this.request = null;
    // Who waits, waits to end the process: that comes before the next request.
    if (this.waiters.length > 0) this.waiters.splice(0).forEach((waiter) => waiter());
    else callback(error, status, headers, body);
  }
}

function nonceHeader(nonce) {
  return nonce === undefined ? '' : `Lambda-Runtime-Invocation-Id: ${nonce}\r\n`;
}

module.exports = { ResponseReader, RuntimeApi };
