"""A large body of known length, received straight into the memory where it stays.

The parser would look at every byte of it, and copy it, only to find what Content-Length has said before. So while such a
body comes in, this stands in the connection's place at the transport: the kernel writes into one buffer, once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from lambdabox.http.connection import Connection
    from lambdabox.http.served import ServedExchange

LARGE_BODY = 128 * 1024  # less than this still to come is not worth the change


class LargeBody(asyncio.BufferedProtocol):
    """Receives the rest of one exchange's body, then gives the transport back to the connection."""

    def __init__(self, connection: Connection, exchange: ServedExchange, length: int) -> None:
        self._connection = connection
        self._exchange = exchange
        self._buffer = bytearray(length)
        self._view = memoryview(self._buffer)
        self._filled = 0
        for chunk in exchange.chunks:
            self._view[self._filled : self._filled + len(chunk)] = chunk
            self._filled += len(chunk)
        exchange.chunks = []

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        self._exchange.received = self._filled
        if self._filled == len(self._buffer):
            self._view.release()
            # A bytearray that nobody changes any more: as good as bytes, without 6 MB copied to make it so.
            self._exchange.chunks = [cast("bytes", self._buffer)]
            self._connection.body_received(self._exchange)

    def eof_received(self) -> bool | None:
        self._cut()
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cut()
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def _cut(self) -> None:
        """The body ends here: what has come of it is what there is."""
        if self._filled:
            self._exchange.chunks = [bytes(self._view[: self._filled])]
        self._filled = 0
