"""One subscription to telemetry: its buffer, and the task that delivers until the subscriber has taken everything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from lambdabox.engine.courier import Courier
from lambdabox.engine.emission import Emission
from lambdabox.engine.ports import Clock, Timer
from lambdabox.model.telemetry import (
    End,
    ExtensionState,
    Fault,
    InitReport,
    InitRuntimeDone,
    InitStart,
    InvocationReport,
    LogsDropped,
    LogsSubscription,
    RestoreReport,
    RestoreRuntimeDone,
    RestoreStart,
    RuntimeDone,
    Start,
    TelemetrySubscription,
)
from lambdabox.protocol.telemetry_api import LOGS, Subscription
from lambdabox.protocol.telemetry_buffer import TelemetryBuffer

DELIVERY_SECONDS = 5.0  # how long a subscriber may take to answer one batch
RETRY_FIRST_SECONDS = 0.05
RETRY_MAX_SECONDS = 1.0


_COMMON_TYPES = frozenset(record.type for record in (Start, InvocationReport, ExtensionState, LogsDropped))
_INIT_TYPES = frozenset(
    record.type for record in (InitStart, InitRuntimeDone, InitReport, RestoreStart, RestoreRuntimeDone, RestoreReport)
)


class Subscriber:
    """One subscription: which records it takes, its buffer, and the task that delivers."""

    def __init__(
        self,
        name: str,
        subscription: Subscription,
        courier: Courier,
        *,
        clock: Clock,
        is_json: bool,
        on_dropped: Callable[[Subscriber, LogsDropped], None],
    ) -> None:
        self.name = name
        self.types = types_of(subscription)
        self.takes_objects = subscription.takes_objects and is_json
        self._clock = clock
        self._on_dropped = on_dropped
        self._courier = courier
        self._buffer = TelemetryBuffer(subscription.buffering)
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._may_run = asyncio.Event()
        self._may_run.set()
        self._limit: asyncio.Timeout | None = None
        self._is_busy = False
        self._waiters: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._run())

    # -- what comes in ------------------------------------------------------------------------------------------------

    def add(self, emission: Emission, now: float) -> None:
        self._buffer.add(emission.json(as_object=self.takes_objects), now)
        if not self._is_busy:
            self._plan(now)

    def flush(self) -> None:
        """What is here is sent now, also when the last attempt has just failed."""
        now = self._clock.now().monotonic
        self._buffer.flush(now)
        self._hurry.set()
        if not self._is_busy:
            self._plan(now)

    @property
    def is_idle(self) -> bool:
        return not self._is_busy and not len(self._buffer)

    def idle(self) -> asyncio.Future[None]:
        """Done when everything has been delivered."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.is_idle:
            future.set_result(None)
        else:
            self._waiters.append(future)
        return future

    # -- time ---------------------------------------------------------------------------------------------------------

    def _plan(self, now: float) -> None:
        due = self._buffer.due
        if due is None:
            return
        if due <= now:
            self._wake.set()
        elif self._timer is None or due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self._clock.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if not self._is_busy:
            self._plan(self._clock.now().monotonic)

    def hold(self) -> None:
        """The processes are frozen: nobody can answer, and no time passes for them."""
        self._may_run.clear()
        self._limit_at(None)

    def resume(self) -> None:
        self._may_run.set()
        self._limit_at(asyncio.get_running_loop().time() + DELIVERY_SECONDS)

    def _limit_at(self, when: float | None) -> None:
        # One that has just rung, of which its task has not heard yet, cannot be moved any more.
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(when)

    # -- what goes out ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while True:
                await self._may_run.wait()
                batch = self._buffer.take(self._clock.now().monotonic)
                if not batch:
                    break
                self._is_busy = True
                await self._deliver(batch)
                self._is_busy = False
                dropped = self._buffer.overflow()
                if dropped is not None:
                    self._on_dropped(self, dropped)
            if not len(self._buffer):
                self._hurry.clear()
                self._release()
            self._plan(self._clock.now().monotonic)

    async def _deliver(self, batch: list[bytes]) -> None:
        pause = RETRY_FIRST_SECONDS
        while not await self._attempt(batch):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            self._hurry.clear()
            pause = min(2 * pause, RETRY_MAX_SECONDS)
            await self._may_run.wait()

    async def _attempt(self, batch: list[bytes]) -> bool:
        try:
            async with asyncio.timeout(DELIVERY_SECONDS) as self._limit:
                return await self._courier.deliver(batch)
        except OSError:  # nobody listens, the connection broke, or no answer came in time
            return False
        finally:
            self._limit = None

    def _release(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def close(self) -> None:
        """Deliver nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._release()
        await self._courier.close()


def types_of(subscription: Subscription) -> frozenset[str]:
    """The event types that a subscription takes.

    Parity: subscribers of the Logs API get no records of Init and Restore, although the pages list them: AWS's Rust client
    refuses a batch that holds one, and works on AWS.
    """
    out = {kind for kind in subscription.types if kind != "platform"}
    if "platform" in subscription.types:
        out |= _COMMON_TYPES
        if subscription.api == LOGS:
            out |= {End.type, Fault.type, LogsSubscription.type}
            if subscription.schema_version >= "2021-03-18":
                out.add(RuntimeDone.type)
        else:
            out |= {RuntimeDone.type, TelemetrySubscription.type} | _INIT_TYPES
    return frozenset(out)
