"""How telemetry gets to a subscriber: over HTTP or TCP, always on this machine (contract 3.2)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from lambdabox.http.client import HttpClient
from lambdabox.protocol.telemetry_api import Destination

_HOST = "127.0.0.1"  # what `sandbox.localdomain` stands for


class Courier(Protocol):
    """Carries batches to one subscriber."""

    async def deliver(self, batch: list[bytes]) -> bool:
        """Whether the subscriber took the batch. Raises OSError when it could not be reached."""

    async def close(self) -> None: ...


class HttpCourier:
    """A batch is the body of a request, a JSON array."""

    def __init__(self, destination: Destination) -> None:
        self._client = HttpClient(_HOST, destination.port)
        self._method = destination.method
        self._path = destination.path
        self._headers = (("Host", f"{destination.host}:{destination.port}"), ("Content-Type", "application/json"))

    async def deliver(self, batch: list[bytes]) -> bool:
        body = b"[" + b",".join(batch) + b"]"
        response = await self._client.request(self._method, self._path, self._headers, body)
        return 200 <= response.status < 300

    async def close(self) -> None:
        await self._client.close()


class TcpCourier:
    """A batch is lines on a connection, one JSON object each, never acknowledged."""

    def __init__(self, destination: Destination) -> None:
        self._port = destination.port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def deliver(self, batch: list[bytes]) -> bool:
        writer = self._writer
        if writer is None or self.is_cut:
            await self.close()
            self._reader, self._writer = await asyncio.open_connection(_HOST, self._port)
            writer = self._writer
            writer.transport.set_write_buffer_limits(0)
        try:
            writer.write(b"\n".join(batch) + b"\n")
            await writer.drain()
        except BaseException:
            await self.close()  # half a line may be out: the next attempt begins a new connection
            raise
        return True

    @property
    def is_cut(self) -> bool:
        """Whether there is a connection that the subscriber has ended."""
        reader, writer = self._reader, self._writer
        return writer is not None and (writer.is_closing() or (reader is not None and reader.at_eof()))

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def open_courier(destination: Destination) -> Courier:
    """The courier of a destination; nothing is connected yet."""
    return TcpCourier(destination) if destination.protocol == "TCP" else HttpCourier(destination)
