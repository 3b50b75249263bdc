"""A destination for telemetry: what a subscriber listens with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from lambdabox.engine.waiters import Predicate, Waiters, described
from lambdabox.http.exchange import BodyEnd, Exchange
from lambdabox.http.server import HttpServer, open_server
from lambdabox.model.telemetry import TelemetryEvent

_BODY_MAX_BYTES = 16 * 1024 * 1024


class TelemetryReceiver:
    """An HTTP server that keeps what is delivered to it. Use it as `async with`; `uri` is what to subscribe with.

    `answer(batch)` gives the status of the answer to each batch (default: 200 to all); a coroutine function may take its time.
    """

    def __init__(self, *, port: int = 0, answer: Callable[[list[TelemetryEvent]], Any] | None = None) -> None:
        self.batches: list[list[TelemetryEvent]] = []
        """The deliveries, each with its events; refused ones are among them."""
        self._port = port
        self._answer = answer
        self._server: HttpServer | None = None
        self._waiters = Waiters()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def uri(self) -> str:
        """Where it listens, with the host name that the Telemetry API wants."""
        assert self._server is not None, "use it as `async with`"
        return f"http://sandbox.localdomain:{self._server.port}/"

    @property
    def events(self) -> list[TelemetryEvent]:
        """Everything that was delivered, in order."""
        return [event for batch in self.batches for event in batch]

    def of_type(self, type: str) -> list[TelemetryEvent]:  # noqa: A002 - AWS's word for it
        """Those of one type, such as `platform.report`."""
        return [event for event in self.events if event.type == type]

    async def wait_for(self, predicate: Predicate, timeout: float | None = 5.0) -> None:
        """Return as soon as `predicate` is true: it is asked after each delivery. Raises WaitTimeoutError."""
        await self._waiters.wait(predicate, timeout, lambda: (described(predicate), self._present()))

    def _present(self) -> str:
        counts: dict[str, int] = {}
        for event in self.events:
            counts[event.type] = counts.get(event.type, 0) + 1
        return f"{len(self.batches)} deliveries: " + (", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing")

    async def __aenter__(self) -> Self:
        self._server = await open_server(self._application, port=self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        assert self._server is not None
        await self._server.close()

    def _application(self, exchange: Exchange) -> None:
        exchange.collect(_BODY_MAX_BYTES, lambda end, body, _size: self._received(exchange, end, body))

    def _received(self, exchange: Exchange, end: BodyEnd, body: bytes) -> None:
        if end is not BodyEnd.COMPLETE:
            exchange.respond(400)
            return
        batch = [TelemetryEvent(time=item["time"], type=item["type"], record=item["record"]) for item in json.loads(body)]
        self.batches.append(batch)
        status = 200 if self._answer is None else self._answer(batch)
        if asyncio.iscoroutine(status):
            task = asyncio.get_running_loop().create_task(self._later(exchange, status))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            exchange.respond(status)
        self._waiters.changed()

    async def _later(self, exchange: Exchange, status: Any) -> None:
        found = await status
        if not exchange.is_closed:
            exchange.respond(found)
