"""The HTTP/1.1 server: a listener, its connections, and one timer for all of them."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lambdabox.errors import AddressInUseError
from lambdabox.http.connection import Connection
from lambdabox.http.exchange import Exchange
from lambdabox.http.heads import SeenHeads
from lambdabox.http.limits import Limits
from lambdabox.http.policy import HostGuard, HostPolicy

Application = Callable[[Exchange], None]
RefusalHeaders = tuple[tuple[str, str], ...]
RenderRefusal = Callable[[int, str], tuple[RefusalHeaders, bytes]]

BACKLOG = 1024
_REASONS = {
    errno.EADDRINUSE: "another program listens there",
    errno.EACCES: "this user may not use the port (ports below 1024 are for the administrator)",
    errno.EPERM: "this user may not use the port",
    errno.EADDRNOTAVAIL: "the address is not one of this machine's",
}


def plain_refusal(_status: int, message: str) -> tuple[RefusalHeaders, bytes]:
    """The body of a refusal where the front end has no form of its own: one line of text."""
    return (("Content-Type", "text/plain; charset=utf-8"),), f"{message}\n".encode()


async def open_server(
    application: Callable[[Exchange], None],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits | None = None,
    policy: HostPolicy | None = None,
    render_refusal: RenderRefusal = plain_refusal,
) -> HttpServer:
    """Listen on `host` and `port` (0: a free one) and run `application` for every request.

    `render_refusal(status, message)` gives the headers and the body of what the server answers on its own: 400, 403, 408,
    414, 431, 500, 501, 505.

    Raises:
        AddressInUseError: the port is taken, may not be used, or the address is not this machine's.
    """
    server = HttpServer(application, limits or Limits(), render_refusal)
    await server.listen(host, port, policy)
    return server


class HttpServer:
    """An open server; close it, or use it as `async with`."""

    def __init__(self, application: Application, limits: Limits, render_refusal: RenderRefusal) -> None:
        self.application = application
        self.limits = limits
        self.render_refusal = render_refusal
        self.loop = asyncio.get_running_loop()
        self.guard: HostGuard | None = None
        self.heads = SeenHeads()
        self.host = ""
        self.port = 0
        self.is_closed = False
        self._connections: dict[Connection, asyncio.Transport] = {}
        self.listener: asyncio.Server | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return () if self.listener is None else tuple(self.listener.sockets)

    @property
    def connections(self) -> int:
        """How many peers are connected."""
        return len(self._connections)

    @property
    def address(self) -> str:
        """`host:port`, as it goes into AWS_LAMBDA_RUNTIME_API."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float = 0.0) -> None:
        """Stop listening, close idle connections, give the others `grace` seconds to be answered, then cut them.

        Closing twice does nothing.
        """
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        listener, self.listener = self.listener, None
        self.is_closed = True
        if listener is not None:
            listener.close()
        for connection in tuple(self._connections):
            connection.drain()
        if grace > 0:
            await self._wait_empty(grace)
        for transport in tuple(self._connections.values()):
            transport.abort()
        # An aborted transport reports its end in the next turn of the loop; waiting for it leaves no socket open.
        await self._wait_empty(None)
        if listener is not None:
            await listener.wait_closed()

    def abort_connections(self) -> None:
        """Cut every connection; the listener stays."""
        for transport in tuple(self._connections.values()):
            transport.abort()

    # -- what connections call ----------------------------------------------------------------------------------------

    def opened(self, connection: Connection, transport: asyncio.Transport) -> None:
        """A peer has connected."""
        self._connections[connection] = transport
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.is_closed:
            transport.abort()
        elif self._sweeper is None:
            self._schedule_sweep()

    def lost(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.pop(connection, None)
        if not self._connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def report(self, error: BaseException) -> None:
        """A fault of ours, which no peer should pay for."""
        self.loop.call_exception_handler({"message": "answering an HTTP request failed", "exception": error})

    # -- inside -------------------------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int, policy: HostPolicy | None) -> None:
        """Begin to listen; `open_server` does it."""
        if not 0 <= port <= 65535:
            raise AddressInUseError(host, port, "ports go from 0 to 65535")
        # `localhost` is two addresses, and port 0 would give each of them a port of its own.
        bound = "127.0.0.1" if host == "localhost" and port == 0 else host
        try:
            if bound.replace(".", "").isdigit():
                place: dict[str, object] = {"sock": _listening(bound, port)}
            else:
                place = {"host": bound or None, "port": port}
            self.listener = await self.loop.create_server(lambda: Connection(self), backlog=BACKLOG, **place)  # type: ignore[call-overload]  # one of its two forms
        except OSError as error:
            # A name that cannot be resolved has a number of its own and no entry in the table.
            raise AddressInUseError(host, port, _REASONS.get(error.errno or 0) or error.strerror or str(error)) from error
        self.host = host
        self.port = self.listener.sockets[0].getsockname()[1]
        if policy is not None:
            self.guard = policy.guard(host, self.port)

    async def _wait_empty(self, seconds: float | None) -> None:
        if not self._connections:
            return
        self._emptied = self.loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._emptied
        except TimeoutError:
            pass
        finally:
            self._emptied = None

    def _schedule_sweep(self) -> None:
        """Look after slow peers: one timer for the server, none per request, none while nobody is connected."""
        spans = [seconds for seconds in (self.limits.head_seconds, self.limits.idle_seconds) if seconds is not None]
        if spans:
            self._sweeper = self.loop.call_later(min(spans) / 4, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self.loop.time()
        for connection in tuple(self._connections):
            allowed = self.limits.head_seconds if connection.is_in_head else self.limits.idle_seconds
            if allowed is None or not connection.is_idle:
                connection.swept_at = (-1, now)
                continue
            mark = connection.served * 2 + connection.is_in_head
            if connection.swept_at[0] != mark:
                connection.swept_at = (mark, now)
            elif now - connection.swept_at[1] >= allowed:
                connection.time_out()
        if self._connections:
            self._schedule_sweep()


def _listening(host: str, port: int) -> socket.socket:
    """A socket on an IPv4 address: nothing has to be resolved for it, so nothing is loaded that could."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
