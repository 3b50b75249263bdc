"""Event invocations: accepted, answered with 202, run in the background.

Parity: kept in memory; a function error is not retried, and there are no destinations. A throttled one waits for capacity
for as long as the engine lives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from lambdabox.engine.dispatcher import Dispatcher
from lambdabox.engine.ticket import Ticket
from lambdabox.errors import LambdaboxError, TooManyRequestsException
from lambdabox.model.function import Function
from lambdabox.model.invocation import Invocation, InvocationResult

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0


class EventQueue:
    """The Event invocations that are not over yet."""

    def __init__(self, dispatcher: Dispatcher, on_warning: Callable[[str], None] | None = None) -> None:
        self._dispatcher = dispatcher
        self._on_warning = on_warning
        self._pending: dict[str, tuple[Function, asyncio.TimerHandle | None]] = {}
        self._emptied: asyncio.Event | None = None
        self._is_closed = False

    def accept(self, function: Function, invocation: Invocation) -> None:
        """Take an invocation; it will be run."""
        self._pending[invocation.request_id] = (function, None)
        self._try(function, invocation, _FIRST_DELAY)

    @property
    def unfinished(self) -> list[tuple[str, str]]:
        """Function and request id of every invocation that is not over."""
        return [(function.key, request_id) for request_id, (function, _) in self._pending.items()]

    def _try(self, function: Function, invocation: Invocation, delay: float) -> None:
        if self._is_closed:
            return

        def finished(result: InvocationResult) -> None:
            self._done(result.request_id)

        def failed(error: LambdaboxError) -> None:
            self._done(invocation.request_id)
            if self._on_warning is not None:
                self._on_warning(f"{function.key}: Event invocation {invocation.request_id} could not run: {error.message}")

        ticket = Ticket(function, invocation, on_finish=finished, on_failure=failed)
        try:
            self._dispatcher.submit(ticket)
        except TooManyRequestsException:
            again = min(delay * 2, _LONGEST_DELAY)
            loop = asyncio.get_running_loop()
            timer = loop.call_later(delay, self._try, function, invocation, again)
            self._pending[invocation.request_id] = (function, timer)
        except LambdaboxError as error:
            failed(error)

    def _done(self, request_id: str) -> None:
        self._pending.pop(request_id, None)
        if not self._pending and self._emptied is not None:
            self._emptied.set()

    async def drain(self, seconds: float) -> list[tuple[str, str]]:
        """Wait at most so long until every invocation is over; what is left over is returned."""
        if self._pending and seconds > 0:
            self._emptied = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), seconds)
        self._is_closed = True
        for _function, timer in self._pending.values():
            if timer is not None:
                timer.cancel()
        return self.unfinished
