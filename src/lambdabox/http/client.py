"""A small HTTP/1.1 client: one kept-alive connection to one server.

It delivers telemetry, calls our own servers in tests and loads them in benchmarks. It follows no redirects, keeps no cookies
and speaks no TLS.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import httptools

from lambdabox.errors import InternalError
from lambdabox.http.rendering import Headers

READ_AHEAD = 1_048_576  # body bytes kept for a reader that is slower than the server
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer with its whole body; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    trailers: Mapping[str, str] = field(default_factory=dict)


class StreamedResponse:
    """An answer whose body arrives while it is read: iterate it, once."""

    def __init__(self, connection: _ClientConnection, status: int, headers: dict[str, str]) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.trailers: dict[str, str] = {}  # complete after the last part of the body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            part = await self._connection.read()
            if part is None:
                return
            yield part

    async def read(self) -> bytes:
        """The rest of the body in one piece."""
        return b"".join([part async for part in self])


class HttpClient:
    """One connection to `host:port`, opened when it is needed and reopened when the server has closed it.

    Requests wait for one another; for parallel requests open several clients.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._connection: _ClientConnection | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes = b"",
        *,
        timeout: float | None = None,
    ) -> Response:
        """Send a request and read the whole answer.

        Raises:
            TimeoutError: no complete answer within `timeout` seconds.
            ConnectionError: the server cannot be reached, or closed before the answer was complete.
        """
        async with self.stream(method, path, headers, body, timeout=timeout) as response:
            async with asyncio.timeout(timeout):
                content = await response.read()
            return Response(status=response.status, headers=response.headers, body=content, trailers=response.trailers)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes = b"",
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Send a request and hand out the answer when its headers are in; `timeout` is the time until then.

        A connection whose answer was not read to its end is closed.
        """
        message = render_request(self.host, self.port, method, path, headers, body)
        async with self._turn:
            try:
                async with asyncio.timeout(timeout):
                    response = await self._exchange(method, message)
                yield response
            finally:
                connection = self._connection
                if connection is not None and not connection.is_reusable:
                    self._connection = None
                    await connection.close()

    async def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _exchange(self, method: str, message: bytes) -> StreamedResponse:
        connection = self._connection
        if connection is not None and connection.is_reusable:
            try:
                return await connection.send(method, message)
            except ConnectionError:
                # The server closed the idle connection while the request was on its way.
                if method not in _IDEMPOTENT or connection.has_answered:
                    raise
                await connection.close()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_ClientConnection, self.host, self.port)
        self._connection = connection
        return await connection.send(method, message)


def render_request(host: str, port: int, method: str, path: str, headers: Headers, body: bytes) -> bytes:
    """The request's bytes; Host and Content-Length are added where they are missing."""
    lines = [f"{method} {path} HTTP/1.1\r\n"]
    names = set()
    for name, value in headers:
        if "\r" in value or "\n" in value:
            raise InternalError(f"the value of the request header {name} holds a line break: {value[:80]!r}")
        names.add(name.lower())
        lines.append(f"{name}: {value}\r\n")
    if "host" not in names:
        lines.insert(1, f"Host: [{host}]:{port}\r\n" if ":" in host else f"Host: {host}:{port}\r\n")
    if (body or method not in {"GET", "HEAD"}) and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1") + body


class _ClientConnection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._parts: deque[bytes] = deque()
        self._kept = 0
        self._is_reading = True
        self._headers: dict[str, str] = {}
        self._response: StreamedResponse | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._error: Exception | None = None
        self._is_over = True  # no answer is outstanding
        self._keep_alive = True
        self._skips_body = False
        self._in_body = False
        self.has_answered = False

    @property
    def is_reusable(self) -> bool:
        return self._is_over and self._keep_alive and not self._lost.done() and not self._transport.is_closing()

    async def send(self, method: str, message: bytes) -> StreamedResponse:
        self._is_over = self.has_answered = self._in_body = False
        self._response = None
        self._headers = {}
        self._parts.clear()
        self._skips_body = method == "HEAD"
        if self._lost.done():
            raise ConnectionResetError("the server closed the connection")
        self._transport.write(message)
        while self._response is None:
            await self._wait()
        return self._response

    async def read(self) -> bytes | None:
        while not self._parts:
            if self._is_over:
                return None
            await self._wait()
        part = self._parts.popleft()
        self._kept -= len(part)
        if not self._is_reading and self._kept < READ_AHEAD // 2 and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()
        return part

    async def close(self) -> None:
        self._transport.abort()
        await asyncio.shield(self._lost)

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- the transport's calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            self._keep_alive = False  # bytes that belong to no answer
            self._transport.abort()
            return
        self.has_answered = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(ConnectionError(f"the server's answer is not HTTP: {error}"))
        if self._kept > READ_AHEAD and self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_over:
            # An answer without a length ends with the connection; any other was cut.
            if exc is None and self._in_body and not {"content-length", "transfer-encoding"} & self._headers.keys():
                self._is_over = True
            elif self._error is None:
                self._error = ConnectionResetError("the server closed the connection before its answer was complete")
        self._keep_alive = False
        if not self._lost.done():
            self._lost.set_result(None)
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._transport.abort()

    # -- the parser's calls -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        fields = self._response.trailers if self._in_body and self._response is not None else self._headers
        fields[key] = f"{fields[key]}, {text}" if key in fields else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._in_body = True
        self._response = StreamedResponse(self, status, self._headers)
        if self._skips_body:
            # The parser would wait for the body that Content-Length announces and HEAD never gets.
            self._is_over = True
            self._in_body = False
            self._parser = httptools.HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        if not self._is_over:
            self._parts.append(data)
            self._kept += len(data)

    def on_message_complete(self) -> None:
        if self._in_body:
            self._in_body = False
            self._is_over = True
