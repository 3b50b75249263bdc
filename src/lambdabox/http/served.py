"""One request as the server holds it: how its body comes in and how its answer goes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lambdabox.errors import InternalError
from lambdabox.http.exchange import BodyEnd, BodySink
from lambdabox.http.rendering import CONTINUE, LAST_CHUNK, Headers, render_fields, render_head

if TYPE_CHECKING:
    from lambdabox.http.connection import Connection

UNDECIDED, COLLECT, STREAM, DISCARD = range(4)  # what becomes of the request body
WAITING, STARTED, FINISHED = range(3)  # the answer
ONE_WRITE = 65536  # below, copying the body behind the head is cheaper than a second write

_CHUNKED, _COUNTED, _UNTIL_CLOSE, _NO_BODY = range(4)  # how a streamed answer is framed


class ServedExchange:
    """An `Exchange` on a connection of the server."""

    __slots__ = (
        "_advancing",
        "_connection",
        "_done",
        "_framing",
        "_limit",
        "_minor",
        "_remaining",
        "_sink",
        "body",
        "chunks",
        "complete",
        "expects_continue",
        "headers",
        "is_closed",
        "is_cut",
        "is_paused",
        "is_whole",
        "keep_alive",
        "method",
        "mode",
        "on_disconnect",
        "on_writable",
        "path",
        "query",
        "received",
        "refusal",
        "state",
        "trailers",
    )

    _advancing: bool
    _done: Callable[[BodyEnd, bytes, int], None] | None
    _framing: int
    _limit: int
    _remaining: int
    _sink: BodySink | None

    def __init__(
        self,
        connection: Connection,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        *,
        keep_alive: bool,
        minor: int = 1,
    ) -> None:
        self._connection = connection
        self.keep_alive = keep_alive
        self._minor = minor
        self.state = WAITING
        self.mode = UNDECIDED
        self.is_whole = False
        self.is_cut = False
        self.is_paused = False
        self.expects_continue = False
        self.received = 0
        self.chunks: list[bytes] = []
        self.refusal: tuple[int, str] | None = None
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.complete = False
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.is_closed = False
        self.on_disconnect: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<{self.method} {self.path}>"

    def watch_peer(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the connection is closed; never for a peer that asked for one answer only."""
        if self.keep_alive:
            self._connection.watchers.append(gone)

    # -- the request body ---------------------------------------------------------------------------------------------

    def collect(self, limit: int, done: Callable[[BodyEnd, bytes, int], None]) -> None:
        """Gather the body, then call `done(end, body, size)`; an OVERSIZED body is handed over empty."""
        self._choose(COLLECT)
        self._limit = limit
        self._done = done
        self._proceed()
        if not self.is_whole and not self.is_cut and self.state == WAITING:
            self._connection.receive_large(self, limit)

    def stream(self, sink: BodySink) -> None:
        """Hand the body on as it arrives."""
        self._choose(STREAM)
        self._sink = sink
        self._advancing = False
        if self.complete and self.body:
            self.chunks.append(self.body)
        self._proceed()

    def pause_body(self) -> None:
        """Stop reading the request body until `resume_body`."""
        self.is_paused = True
        self._connection.update_reading()

    def resume_body(self) -> None:
        """Go on after `pause_body`."""
        if self.is_paused:
            self.is_paused = False
            self.advance()
            self._connection.update_reading()

    def _choose(self, mode: int) -> None:
        if self.mode != UNDECIDED or self.state == FINISHED:
            raise InternalError(f"the body of {self!r} is taken twice")
        self.mode = mode

    def _proceed(self) -> None:
        if self.expects_continue and not self.is_whole and not self.received and not self.is_cut:
            self.expects_continue = False
            self._connection.write(CONTINUE)
        self.advance()
        self._connection.update_reading()

    def advance(self) -> None:
        """Do what the bytes that came in since the last call make possible."""
        mode = self.mode
        if mode == COLLECT:
            self._advance_collecting()
        elif mode == STREAM:
            self._advance_streaming()
        elif mode == DISCARD:
            self.chunks.clear()
        elif self.is_whole and not self.complete:
            self.settle()

    def settle(self) -> None:
        """The whole body is in and nobody has asked for it yet: keep it in one piece."""
        chunks = self.chunks
        if chunks:
            self.body = whole(chunks)
            self.chunks = []
        self.received = len(self.body)
        self.complete = True

    def _advance_collecting(self) -> None:
        oversized = self.received > self._limit
        if oversized:
            self.chunks.clear()
        if not (self.is_whole or self.is_cut):
            return
        done, self._done = self._done, None
        if done is None:
            return
        body = b""
        if not oversized:
            body = self.body if self.complete else whole(self.chunks)
            self.chunks = []
        if not self.is_whole:
            end = BodyEnd.TRUNCATED
        elif oversized:
            end = BodyEnd.OVERSIZED
        else:
            end = BodyEnd.COMPLETE
        done(end, body, self.received)

    def _advance_streaming(self) -> None:
        sink = self._sink
        if self._advancing or sink is None:
            return
        self._advancing = True
        try:
            # The sink may pause, answer or abort at any call, hence the state is looked at anew each time.
            while self.chunks and not self.is_paused and self.mode == STREAM:
                sink.body_data(self.chunks.pop(0))
            if self.mode == STREAM and not self.is_paused and not self.chunks and (self.is_whole or self.is_cut):
                self._sink = None
                sink.body_end(BodyEnd.COMPLETE if self.is_whole else BodyEnd.TRUNCATED, self.trailers)
        finally:
            self._advancing = False

    # -- the answer ---------------------------------------------------------------------------------------------------

    def respond(self, status: int, headers: Headers = (), body: bytes = b"", *, lazily: bool = False) -> None:
        """Answer with a whole body; `lazily` together with the next answer, if the peer's next request is here already."""
        if self.state != WAITING:
            raise InternalError(f"{self!r} is answered twice")
        if status in {204, 304}:
            body = b""
            framing = ""
        else:
            framing = f"Content-Length: {len(body)}\r\n"
        if not self.keep_alive or self._minor == 0 or not self.is_whole:
            framing += self._connection_header()
        head = render_head(status, headers, framing)
        self.state = FINISHED
        if not self.is_closed:
            connection = self._connection
            if lazily and connection.has_more:
                connection.hold(head + body)
            elif self.method == "HEAD":
                connection.write(head)
            elif len(body) < ONE_WRITE:
                connection.write(head + body)
            else:
                connection.write(head)
                connection.write(body)
            connection.answered(self)

    def start(self, status: int, headers: Headers = ()) -> None:
        """Begin a streamed answer; to read the request body meanwhile, call `stream` before."""
        if self.state != WAITING:
            raise InternalError(f"{self!r} is answered twice")
        kept = []
        length: int | None = None
        for name, value in headers:
            if name.lower() == "content-length":
                length = int(value)
            else:
                kept.append((name, value))
        if status in {204, 304}:
            self._framing = _NO_BODY
            framing = ""
        elif length is not None:
            self._framing = _NO_BODY if self.method == "HEAD" else _COUNTED
            framing = f"Content-Length: {length}\r\n"
        elif self._minor == 0:
            self._framing = _NO_BODY if self.method == "HEAD" else _UNTIL_CLOSE
            self.keep_alive = False
            framing = ""
        else:
            self._framing = _NO_BODY if self.method == "HEAD" else _CHUNKED
            framing = "Transfer-Encoding: chunked\r\n"
        self._remaining = length or 0
        head = render_head(status, kept, framing + self._connection_header())
        self.state = STARTED
        self._connection.write(head)

    def write(self, data: bytes) -> bool:
        """Send a part of a streamed answer; False asks to wait for `on_writable`."""
        if self.state != STARTED:
            raise InternalError(f"{self!r} has no open answer to write to")
        connection = self._connection
        if not data or self._framing == _NO_BODY or self.is_closed:
            return True
        if self._framing == _CHUNKED:
            size = b"%x\r\n" % len(data)
            if len(data) < ONE_WRITE:
                connection.write(b"".join((size, data, b"\r\n")))
            else:
                connection.write(size)
                connection.write(data)
                connection.write(b"\r\n")
        else:
            if self._framing == _COUNTED:
                if len(data) > self._remaining:
                    raise InternalError(f"the answer to {self!r} is longer than its Content-Length")
                self._remaining -= len(data)
            connection.write(data)
        return connection.is_writable

    def end(self, trailers: Headers = ()) -> None:
        """Finish a streamed answer; trailers need chunked framing and are dropped without it."""
        if self.state != STARTED:
            raise InternalError(f"{self!r} has no open answer to end")
        if self._framing == _COUNTED and self._remaining and not self.is_closed:
            missing = self._remaining
            self.abort()
            raise InternalError(f"the answer to {self!r} is {missing} bytes shorter than its Content-Length")
        fields = render_fields(trailers)
        self.state = FINISHED
        if not self.is_closed:
            if self._framing == _CHUNKED:
                self._connection.write(b"0\r\n" + fields.encode("latin-1") + b"\r\n" if fields else LAST_CHUNK)
            self._connection.answered(self)

    def abort(self) -> None:
        """Cut the connection."""
        self.state = FINISHED
        self.is_closed = True
        self._connection.abort()

    def _connection_header(self) -> str:
        if self.expects_continue and not self.is_whole:
            # The client was not told to go on, and after an answer it cannot be: whether it sends the body is its choice
            # now, so no request can follow.
            self.expects_continue = False
            self.keep_alive = False
        if self._connection.is_draining or self.is_cut:
            self.keep_alive = False
        if not self.keep_alive:
            return "Connection: close\r\n"
        return "Connection: keep-alive\r\n" if self._minor == 0 else ""


def whole(chunks: list[bytes]) -> bytes:
    """The chunks in one piece; what came in one is not copied once more."""
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
