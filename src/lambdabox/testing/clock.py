"""Time that moves when a test says so."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from lambdabox.model.moment import Now

EPOCH = 1_767_225_600.0
"""The wall time at which a manual clock stands when it is not told: the beginning of 2026, UTC."""


class ManualClock:
    """A clock that stands still until `advance`. Alarms that were set for a time ring when it is reached, in order.

    It is the engine's `Clock`, and what `FakeLambdaContext` counts with. `start` is wall time, in seconds since the epoch.
    """

    def __init__(self, start: float = EPOCH) -> None:
        self._start = start
        self._elapsed = 0.0
        self._alarms: list[tuple[float, int, _Alarm]] = []
        self._order = itertools.count()

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    def now(self) -> Now:
        """The present; monotonic time began with the clock."""
        return Now(self._elapsed, self._start + self._elapsed)

    def call_at(self, monotonic: float, callback: Callable[[], None]) -> _Alarm:
        """Call `callback` when that much time has passed since the clock was made; it can be cancelled."""
        alarm = _Alarm(callback)
        heapq.heappush(self._alarms, (monotonic, next(self._order), alarm))
        return alarm

    def advance(self, seconds: float) -> None:
        """Let time pass; alarms on the way ring at their time. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        until = self._elapsed + seconds
        while self._alarms and self._alarms[0][0] <= until:
            at, _, alarm = heapq.heappop(self._alarms)
            self._elapsed = max(self._elapsed, at)
            alarm.ring()
        self._elapsed = until

    def __repr__(self) -> str:
        return f"<ManualClock at {self._elapsed:g} s, {sum(not alarm.is_cancelled for _, _, alarm in self._alarms)} alarms>"


class _Alarm:
    """Something that will be called, unless cancelled."""

    __slots__ = ("_callback", "is_cancelled")

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        """Do not ring."""
        self.is_cancelled = True

    def ring(self) -> None:
        if not self.is_cancelled:
            self.is_cancelled = True
            self._callback()
