"""Telemetry of one environment: what has been said since Init began, who subscribed to it, and its way there (contract 3.2).

The hub keeps what Init says and gives it to every new subscriber first; with InitReport the subscriptions are closed, and when
nobody subscribed the hub falls silent (`is_active`), so that a warm invocation pays nothing for it. Each subscriber has a buffer
and a task of its own: one that is slow, broken or gone makes nobody else wait. Deliveries are retried until they succeed or
the environment ends; what does not fit meanwhile is dropped and told (`platform.logsDropped`).

Parity: `sandbox.localdomain` is this machine's loopback address. Logs API subscribers see the same fields in records as the
Telemetry API's. A delivery that is not answered within DELIVERY_SECONDS is sent again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from lambdabox.engine.emission import Emission
from lambdabox.engine.ports import Clock
from lambdabox.model.error_types import ErrorType
from lambdabox.model.telemetry import InitReport, InitStart, InvocationReport, PlatformRecord, TelemetryEvent

if TYPE_CHECKING:
    from lambdabox.engine.courier import Courier
    from lambdabox.engine.subscriber import Subscriber
    from lambdabox.model.rare_telemetry import LogsDropped
    from lambdabox.protocol.telemetry_api import Destination, Subscription

CAPTURE_MAX = 100_000
DRAIN_SECONDS = 1.0  # what the end of an external extension, of its two seconds, waits at most for the last records to reach it
DRAIN_INTERNAL_SECONDS = 0.25  # the same for the runtime with its internal extensions, which have half a second

_FAULTS = frozenset(
    {
        ErrorType.RUNTIME_EXIT_ERROR,
        ErrorType.RUNTIME_OUT_OF_MEMORY,
        ErrorType.RUNTIME_INVALID_ENTRYPOINT,
        ErrorType.RUNTIME_INVALID_WORKING_DIR,
        ErrorType.EXTENSION_INIT_ERROR,
        ErrorType.EXTENSION_EXIT_ERROR,
        ErrorType.EXTENSION_CRASH,
        ErrorType.EXTENSION_LAUNCH_ERROR,
        ErrorType.SANDBOX_TIMEDOUT,
        ErrorType.SANDBOX_FAILURE,
    }
)


class TelemetryHub:
    """Everything one environment says, and who hears it.

    `is_active`: somebody listens, or may still come; the engine asks this before it renders anything. With `captures` every event
    is kept for `captured`, the last CAPTURE_MAX of them. `log_format` is the function's.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        log_format: str = "Text",
        captures: bool = False,
        open_courier: Callable[[Destination], Courier] | None = None,
    ) -> None:
        self._clock = clock
        self.is_active = True
        self.is_json = log_format == "JSON"
        self.on_captured: Callable[[], None] | None = None  # called after each event that was captured
        self._captured: deque[Emission] | None = deque(maxlen=CAPTURE_MAX) if captures else None
        self._open_courier = open_courier
        self._subscribers: list[Subscriber] = []
        self._history: list[Emission] | None = []
        self._missed_records = 0
        self._said: list[tuple[Emission, float]] = []  # not yet rendered for the subscribers
        self._closing: set[asyncio.Task[None]] = set()

    # -- what is said -------------------------------------------------------------------------------------------------

    def platform(self, record: PlatformRecord) -> None:
        """The platform says something."""
        now = self._clock.now()
        kind = type(record)
        if kind is InitStart:
            self._history = []
            self._missed_records = 0
        elif kind is InvocationReport and self._subscribers:
            self._end(record)
        self._emit(Emission(record.type, now.wall, record), now.monotonic)
        if kind is InitReport:
            self._close_subscriptions()

    def log(self, kind: str, data: bytes) -> None:
        """A log event of the function (`function`) or of an extension (`extension`)."""
        now = self._clock.now()
        self._emit(Emission(kind, now.wall, data), now.monotonic)

    def _emit(self, emission: Emission, now: float) -> None:
        if self._subscribers:
            self._say(emission, now)
        history = self._history
        if history is not None:
            if len(history) < CAPTURE_MAX:
                history.append(emission)
            else:
                self._missed_records += 1
        self._capture(emission)

    def _capture(self, emission: Emission) -> None:
        if self._captured is not None:
            self._captured.append(emission)
            if self.on_captured is not None:
                self.on_captured()

    def _end(self, report: Any) -> None:
        """What only the Logs API says at the end of an invocation."""
        if not any("platform.end" in subscriber.types for subscriber in self._subscribers):
            return
        from lambdabox.model.rare_telemetry import End, Fault

        now = self._clock.now()
        said: list[Emission] = []
        if report.status in ("timeout", "failure") or report.error_type in _FAULTS:
            fault = Fault(request_id=report.request_id, status=report.status, error_type=report.error_type)
            said.append(Emission(Fault.type, now.wall, fault))
        said.append(Emission(End.type, now.wall, End(request_id=report.request_id)))
        for emission in said:
            self._say(emission, now.monotonic)

    def _say(self, emission: Emission, now: float) -> None:
        """Render and buffer it for the subscribers when what is being done now is done: an invocation does not wait for that."""
        if not self._said:
            asyncio.get_running_loop().call_soon(self._spread)
        self._said.append((emission, now))

    def _spread(self) -> None:
        said, self._said = self._said, []
        for emission, now in said:
            for subscriber in self._subscribers:
                if emission.type in subscriber.types:
                    subscriber.add(emission, now)

    def _dropped(self, subscriber: Subscriber, record: LogsDropped) -> None:
        """One subscriber was too slow: it is told, and so is who captures."""
        now = self._clock.now()
        emission = Emission(record.type, now.wall, record)
        if record.type in subscriber.types:
            subscriber.add(emission, now.monotonic)
        self._capture(emission)

    # -- who hears it -------------------------------------------------------------------------------------------------

    def subscribe(self, name: str, subscription: Subscription) -> None:
        """Deliver to the extension `name` from now on, what Init has said so far first. Replaces its former subscription."""
        from lambdabox.engine.courier import open_courier  # only who subscribes needs these two
        from lambdabox.engine.subscriber import Subscriber
        from lambdabox.model.rare_telemetry import LogsDropped

        self._spread()
        for former in [known for known in self._subscribers if known.name == name]:
            self._subscribers.remove(former)
            self._abandon(former)
        subscriber = Subscriber(
            name,
            subscription,
            (self._open_courier or open_courier)(subscription.destination),
            clock=self._clock,
            is_json=self.is_json,
            on_dropped=self._dropped,
        )
        now = self._clock.now().monotonic
        for emission in self._history or ():
            if emission.type in subscriber.types:
                subscriber.add(emission, now)
        if self._missed_records:
            self._dropped(subscriber, LogsDropped(dropped_bytes=0, dropped_records=self._missed_records))
        self._subscribers.append(subscriber)

    def has_pending(self, names: Collection[str]) -> bool:
        """Whether one of these extensions has not got everything yet."""
        self._spread()
        return any(subscriber.name in names and not subscriber.is_idle for subscriber in self._subscribers)

    def flush(self) -> None:
        """Send what is buffered now: a process ended, or the environment is about to."""
        self._spread()
        for subscriber in self._subscribers:
            subscriber.flush()

    async def drain(self, names: Collection[str] | None = None, seconds: float = DRAIN_SECONDS) -> None:
        """Send what is buffered for these extensions (None: for all), and wait until it is there, `seconds` at most."""
        self._spread()
        waiting = []
        for subscriber in self._subscribers:
            if names is None or subscriber.name in names:
                subscriber.flush()
                waiting.append(subscriber.idle())
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)

    def hold(self) -> None:
        """The environment is frozen."""
        for subscriber in self._subscribers:
            subscriber.hold()

    def resume(self) -> None:
        """The environment is thawed."""
        for subscriber in self._subscribers:
            subscriber.resume()

    def _close_subscriptions(self) -> None:
        self._history = None
        self.is_active = bool(self._subscribers) or self._captured is not None

    async def reset(self) -> None:
        """The processes are gone, and their subscriptions with them; another Init may come."""
        subscribers, self._subscribers = self._subscribers, []
        self._said = []
        self._history = []
        self._missed_records = 0
        self.is_active = True
        await asyncio.gather(*(subscriber.close() for subscriber in subscribers), *self._closing)

    async def close(self) -> None:
        """The environment is gone."""
        await self.reset()
        self.is_active = self._captured is not None

    def _abandon(self, subscriber: Subscriber) -> None:
        task = asyncio.get_running_loop().create_task(subscriber.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # -- capture ------------------------------------------------------------------------------------------------------

    def captured(self, kind: str | None = None) -> list[TelemetryEvent]:
        """Every event, or those of one type, since the hub was made or `clear` was called, oldest first; at most CAPTURE_MAX of them.

        Log lines that are JSON objects are dicts when the function's log format is JSON. May be called from any thread.
        """
        kept = tuple(self._captured or ())  # at one stroke: the environment may speak meanwhile
        return [emission.event(as_object=self.is_json) for emission in kept if kind is None or emission.type == kind]

    def captured_types(self) -> Iterable[str]:
        """The types of the captured events, without rendering them."""
        return [emission.type for emission in tuple(self._captured or ())]

    def clear(self) -> None:
        """Forget what was captured."""
        if self._captured is not None:
            self._captured.clear()
