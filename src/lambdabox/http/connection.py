"""One connection of the server: bytes in, exchanges out, answers in the order of the requests.

The rules, in the order in which they matter:

- A request becomes an exchange when its head is in; the application sees it when the bytes read so far are used up, so that
  nearly every request is complete then.
- One exchange is active at a time. Pipelined ones wait in `_queue`; when too much waits, the socket is not read.
- The parser's callbacks only take notes. The application runs after the parser has returned, never inside it.
- Whatever cannot be parsed is refused with a status and the connection is closed, after the answers that are still owed.
  Closing lingers: the peer may be sending still, and a reset would destroy the answer before it is read.
- A head that was parsed once is recognized by its bytes (`heads`), which spares the parser for nearly every request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import httptools

from lambdabox.errors import InternalError
from lambdabox.http.heads import SeenHeads
from lambdabox.http.large_body import LARGE_BODY, LargeBody
from lambdabox.http.limits import origin_form, request_fault
from lambdabox.http.served import COLLECT, DISCARD, FINISHED, STREAM, UNDECIDED, WAITING, ServedExchange

if TYPE_CHECKING:
    from lambdabox.http.server import HttpServer

WRITE_HIGH = 262_144  # buffered beyond it, `write` returns False
WRITE_LOW = 65_536  # drained below it, `on_writable` is called
NAMES_KEPT = 2048  # header names remembered in lower case

_lower_names: dict[bytes, str] = {}


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket."""

    __slots__ = (
        "_active",
        "_application",
        "_began",
        "_candidate",
        "_deaf",
        "_dispatching",
        "_eof",
        "_head_fed",
        "_heads",
        "_held",
        "_in_head",
        "_incoming",
        "_limits",
        "_linger",
        "_parser",
        "_pending_headers",
        "_queue",
        "_replaying",
        "_server",
        "_stalled",
        "_trailer_bytes",
        "_transport",
        "_upgrade_body",
        "_url",
        "is_draining",
        "is_reading",
        "is_writable",
        "served",
        "swept_at",
        "watchers",
        "write",
    )

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._application = server.application
        self._limits = server.limits
        self._heads: SeenHeads = server.heads
        self._active: ServedExchange | None = None
        self._incoming: ServedExchange | None = None  # its head is in, its body is not
        self._queue: deque[ServedExchange] = deque()
        self._pending_headers: list[tuple[str, str]] = []
        self._candidate: bytes | None = None  # the header block about to be parsed, to be remembered if it is accepted
        self._url = b""
        self._in_head = False
        self._began = False
        self._head_fed = 0
        self._trailer_bytes = 0
        self._stalled = 0
        self._replaying = False
        self._upgrade_body = False
        self._deaf = False  # nothing more is parsed: what still comes is thrown away
        self._eof = False
        self._held = b""  # answers that go out with the next one
        self._dispatching = False
        self._linger: asyncio.TimerHandle | None = None
        self.is_draining = False
        self.is_reading = True
        self.is_writable = True
        self.served = 0  # requests begun; the server's sweep compares it with `swept_at`
        self.swept_at = (-1, 0.0)
        self.watchers: list[Callable[[], None]] = []  # who wants to know of the end, whatever was answered
        self._parser = httptools.HttpRequestParser(self)

    # -- the transport's calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        self.write: Callable[[bytes], None] = self._transport.write
        self._server.opened(self, self._transport)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._incoming is None and not self._in_head:
            known = self._heads.recognize(self, data)
            if known is not None:
                rest = self._accept_known(known, data)
                if rest is None:
                    return
                data = rest
            self._candidate = self._heads.candidate(data)
        self._feed(data)
        self._candidate = None
        self._after_data()

    def _accept_known(self, known: ServedExchange, data: bytes) -> bytes | None:
        """Take recognized requests, as many as `data` holds; what follows them is returned for the parser, None when nothing does."""
        queue, heads = self._queue, self._heads
        while True:
            self.served += 1
            known.is_whole = known.complete = True
            size = known.received
            known.received = len(known.body)
            if size == len(data):
                break
            queue.append(known)
            data = data[size:]
            following = heads.recognize(self, data)
            if following is None:
                return data
            known = following
        if self._active is None and not queue:
            self._run(known)
            if queue and self._active is None:
                self._dispatch()
        else:
            queue.append(known)
            self._after_data()
        return None

    def eof_received(self) -> bool:
        self._eof = True
        if self._deaf and self._linger is not None:
            return False
        self._deaf = True
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.is_cut = True
            incoming.keep_alive = False
            if incoming is self._active:
                self._guarded(incoming, incoming.advance)
        active = self._active
        if active is None:
            return False
        # A client that has only shut its sending side may still read its answer. Nobody can tell it from one that is gone,
        # so an application that asked to be told is told, except where the short body itself is the reason.
        if active.on_disconnect is not None and not active.is_cut:
            self._vanish()
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self._deaf = True
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self._incoming = None
        self._vanish()
        watchers, self.watchers = self.watchers, []
        for gone in watchers:
            try:
                gone()
            except Exception as error:  # noqa: BLE001 - a fault of the application must not keep the connection in the books
                self._server.report(error)
        self._server.lost(self)
        self.write = _drop

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        active = self._active
        if active is not None and active.on_writable is not None:
            self._guarded(active, active.on_writable)
        self._dispatch()

    # -- parsing ------------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        self._began = False
        self._stalled += len(data)
        while not self._deaf:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # No protocol is switched to here (Java's client offers h2c with every first request). The parser has
                # stopped behind the head and will not read the body, so a new one is told of its framing.
                data = data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
                if self._upgrade_body:
                    self._replay_framing()
                if not data:
                    break
            except httptools.HttpParserError as error:
                self._broken(error)
                return
            else:
                break
        if self._in_head and not self._deaf:
            if not self._began:
                self._head_fed += len(data)
            self._check_head(self._head_fed)
        if self._stalled > self._limits.head_bytes and self._incoming is not None:
            self._refuse(400, "the chunks of the request body carry too much besides the body")

    def on_message_begin(self) -> None:
        if self._replaying:
            return
        self._in_head = self._began = True
        self._head_fed = 0
        self._url = b""
        self._pending_headers = []

    def on_url(self, url: bytes) -> None:
        if not self._replaying:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._replaying:
            return
        key = _lower_names.get(name)
        if key is None:
            key = _lower(name)
        if self._in_head:
            self._pending_headers.append((key, value.decode("latin-1")))
            return
        exchange = self._incoming
        if exchange is not None:
            self._stalled = 0
            self._trailer_bytes += len(name) + len(value) + 4
            trailers = exchange.trailers
            if self._trailer_bytes > self._limits.head_bytes or len(trailers) >= self._limits.headers:
                self._refuse(431, "the trailers of the request are too large")
                return
            text = value.decode("latin-1")
            trailers[key] = f"{trailers[key]}, {text}" if key in trailers else text

    def on_headers_complete(self) -> None:
        if self._replaying:
            self._replaying = False
            return
        if self._deaf:
            return
        self._in_head = False
        self.served += 1
        candidate, self._candidate = self._candidate, None
        self._stalled = self._trailer_bytes = 0
        parser = self._parser
        headers: dict[str, str] = {}
        for name, value in self._pending_headers:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        method = parser.get_method().decode("ascii")
        size = len(self._url) + len(method) + 12 + sum(len(name) + len(value) + 4 for name, value in self._pending_headers)
        if self._check_head(size):
            return
        version = parser.get_http_version()
        fault = request_fault(method, version, headers, len(self._pending_headers), self._limits)
        if fault is not None:
            self._refuse(*fault)
            return
        target = self._url.decode("latin-1")
        if not target.startswith("/"):
            target = origin_form(target, headers)
        path, _, query = target.partition("?")
        policy = self._server.guard
        if policy is not None:
            refusal = policy.refusal(headers)
            if refusal is not None:
                self._refuse(403, refusal)
                return
        minor = 0 if version == "1.0" else 1
        exchange = ServedExchange(self, method, path, query, headers, keep_alive=parser.should_keep_alive(), minor=minor)
        if "expect" in headers and minor and headers["expect"].lower() == "100-continue":
            exchange.expects_continue = True
        if parser.should_upgrade():
            self._upgrade_body = "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""
        elif candidate is not None and exchange.keep_alive:
            self._heads.remember(candidate, headers)
        self._incoming = exchange
        self._queue.append(exchange)

    def on_body(self, data: bytes) -> None:
        exchange = self._incoming
        if exchange is not None:
            self._stalled = 0
            exchange.received += len(data)
            if exchange.mode != DISCARD:
                exchange.chunks.append(data)

    def on_message_complete(self) -> None:
        if self._upgrade_body or self._deaf:
            return
        exchange, self._incoming = self._incoming, None
        if exchange is not None:
            exchange.is_whole = True
            if not exchange.keep_alive:
                self._deaf = True  # the peer said that nothing follows

    def _replay_framing(self) -> None:
        self._upgrade_body = False
        exchange = self._incoming
        if exchange is None:
            return
        headers = exchange.headers
        name = "transfer-encoding" if "transfer-encoding" in headers else "content-length"
        self._replaying = True
        self._parser.feed_data(f"{exchange.method} / HTTP/1.1\r\n{name}: {headers[name]}\r\n\r\n".encode("latin-1"))

    def _check_head(self, size: int) -> bool:
        limit = self._limits.head_bytes
        if size > limit or len(self._url) > limit:
            if len(self._url) + 14 > limit:
                self._refuse(414, f"the request line is longer than {limit} bytes")
            else:
                self._refuse(431, f"the request headers are longer than {limit} bytes")
            return True
        return False

    def _broken(self, error: httptools.HttpParserError) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):
            self._server.report(InternalError(f"reading a request failed: {error.__context__ or error}"))
            self._deaf = True
            self._transport.abort()
            return
        if self._incoming is not None and self._incoming is self._active:
            # The application has it already: a body that is not framed as it should be is a body that was cut.
            exchange, self._incoming = self._incoming, None
            exchange.is_cut = True
            exchange.keep_alive = False
            self._deaf = True
            return
        self._refuse(400, f"this is not an HTTP request: {error}")

    def _refuse(self, status: int, message: str) -> None:
        """Owe the peer this answer and close; what was promised before is answered first."""
        if self._deaf:
            return
        self._deaf = True
        self._in_head = False
        exchange, self._incoming = self._incoming, None
        if exchange is not None and exchange is self._active:
            exchange.is_cut = True
            exchange.keep_alive = False
            return
        if exchange is not None and exchange.state == FINISHED:
            self._shut(linger=True)  # it was answered before its body was in; a second answer would be taken for the next one's
            return
        if exchange is None or not self._queue or self._queue[-1] is not exchange:
            exchange = ServedExchange(self, "", "", "", {}, keep_alive=False)
            self._queue.append(exchange)
        exchange.keep_alive = False
        exchange.mode = DISCARD
        exchange.refusal = (status, message)

    # -- dispatching --------------------------------------------------------------------------------------------------

    def _after_data(self) -> None:
        active = self._active
        if active is not None and active.mode != UNDECIDED and (active.chunks or active.is_whole or active.is_cut):
            self._guarded(active, active.advance)
        elif active is not None and active.is_whole and not active.complete:
            active.settle()
        if self._queue:
            self._dispatch()
        incoming = self._incoming
        if self._queue or not self.is_reading or (incoming is not None and incoming.mode != COLLECT):
            self.update_reading()

    def _dispatch(self) -> None:
        """Run the application for what waits, one after the other; answers that come at once do not nest."""
        if self._dispatching:
            return
        self._dispatching = True
        queue = self._queue
        while queue and self._active is None and self.is_writable:
            self._run(queue.popleft())
        self._dispatching = False

    def _run(self, exchange: ServedExchange) -> None:
        dispatching, self._dispatching = self._dispatching, True
        self._active = exchange
        if self.is_draining:
            exchange.keep_alive = False
        if exchange.refusal is not None:
            headers, body = self._server.render_refusal(*exchange.refusal)
            exchange.respond(exchange.refusal[0], headers, body)
        else:
            if exchange.is_whole and not exchange.complete:
                exchange.settle()
            try:
                self._application(exchange)
            except Exception as error:  # noqa: BLE001 - a fault of the application must not cost the peer its answer
                self._failed(exchange, error)
            if self._eof and exchange.state != FINISHED and exchange.on_disconnect is not None and not exchange.is_cut:
                self._vanish()
                self._transport.close()
        self._dispatching = dispatching

    def _guarded(self, exchange: ServedExchange, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - a fault of the application must not cost the peer its answer
            self._failed(exchange, error)

    def _failed(self, exchange: ServedExchange, error: Exception) -> None:
        self._server.report(error)
        if exchange.state == WAITING:
            headers, body = self._server.render_refusal(500, "internal server error")
            exchange.respond(500, headers, body)
        elif exchange.state != FINISHED:
            exchange.abort()

    # -- what exchanges ask for ---------------------------------------------------------------------------------------

    @property
    def has_more(self) -> bool:
        """The peer's next request is here, whole."""
        return bool(self._queue) and self._queue[0].is_whole and not self._deaf

    def hold(self, data: bytes) -> None:
        """Keep an answer until the next one is written."""
        self._held += data
        self.write = self._write_held

    def _write_held(self, data: bytes) -> None:
        held, self._held = self._held, b""
        self.write = self._transport.write
        self._transport.write(held + data)

    def answered(self, exchange: ServedExchange) -> None:
        """The answer of the active exchange is written."""
        self._active = None
        if not exchange.is_whole:
            if exchange.mode != DISCARD:
                exchange.mode = DISCARD
                exchange.chunks.clear()
            if not self.is_reading:
                self.update_reading()
        if not exchange.keep_alive or (self._eof and not self._queue):
            self._shut(linger=not exchange.is_whole or exchange.refusal is not None)
        elif self._queue and not self._dispatching:
            self._dispatch()
            self.update_reading()
        elif not self.is_reading:
            self.update_reading()

    def update_reading(self) -> None:
        """Read the socket, unless what is read could only pile up."""
        incoming = self._incoming
        wanted = len(self._queue) <= self._limits.queued
        if incoming is not None:
            if incoming.mode == STREAM:
                wanted = wanted and not incoming.is_paused
            elif incoming.mode == UNDECIDED:
                wanted = not incoming.is_paused and incoming.received <= self._limits.waiting_bytes
        wanted = wanted or self._deaf
        if wanted != self.is_reading and not self._transport.is_closing():
            self.is_reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def abort(self) -> None:
        """Cut the connection without ceremony."""
        self._deaf = True
        self._active = self._incoming = None
        self._queue.clear()
        self._transport.abort()

    def receive_large(self, exchange: ServedExchange, limit: int) -> None:
        """Receive the body of the exchange without the parser, where that pays."""
        length = exchange.headers.get("content-length", "")
        if exchange is not self._incoming or not length.isdigit() or not self.is_reading:
            return
        size = int(length)
        if size <= limit and size - exchange.received >= LARGE_BODY:
            self._transport.set_protocol(LargeBody(self, exchange, size))

    def body_received(self, exchange: ServedExchange) -> None:
        """A large body is in: the parser has not seen its end, so a new one reads what follows."""
        self._transport.set_protocol(self)
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = None
        self._stalled = 0
        exchange.is_whole = True
        if not exchange.keep_alive:
            self._deaf = True
        self._after_data()

    # -- closing ------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Nothing is owed to the peer."""
        return self._active is None and not self._queue and self._incoming is None

    @property
    def is_in_head(self) -> bool:
        """A request has begun and its headers are not all in."""
        return self._in_head

    def drain(self) -> None:
        """Close as soon as nothing is owed; at once when nothing is."""
        self.is_draining = True
        if self.is_idle:
            self._deaf = True
            self._transport.close()
        elif self._active is not None:
            self._active.keep_alive = False

    def time_out(self) -> None:
        """The sweep found that the peer has used up its time."""
        if self._in_head:
            self._refuse(408, "the request headers did not arrive in time")
            self._dispatch()
        else:
            self._deaf = True
            self._transport.close()

    def _shut(self, *, linger: bool) -> None:
        self._deaf = True
        self._queue.clear()
        if self._held:
            self._write_held(b"")
        if linger and not self._eof and not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:  # the peer has reset the connection, and nobody has been told yet
                self._transport.close()
                return
            self.update_reading()
            self._linger = self._server.loop.call_later(self._limits.linger_seconds, self._transport.close)
        else:
            self._transport.close()

    def _vanish(self) -> None:
        """The peer is gone: whoever waits for it is told, once."""
        active, self._active = self._active, None
        self._queue.clear()
        if active is None:
            return
        active.is_closed = True
        if not active.is_whole and not active.is_cut:
            active.is_cut = True
            self._guarded(active, active.advance)
        callback, active.on_disconnect = active.on_disconnect, None
        if callback is not None and active.state != FINISHED:
            self._guarded(active, callback)


def _lower(name: bytes) -> str:
    if len(_lower_names) >= NAMES_KEPT:
        _lower_names.clear()
    text = _lower_names[name] = name.decode("latin-1").lower()
    return text


def _drop(data: bytes) -> None:
    """Take the place of the transport's write once the peer is gone."""
