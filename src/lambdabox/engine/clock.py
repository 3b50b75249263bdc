"""The system's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from lambdabox.engine.ports import Timer
from lambdabox.model.moment import Now


class SystemClock:
    """Real time; alarms ring in the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> Now:
        return Now(time.monotonic(), time.time())

    def call_at(self, monotonic: float, callback: Callable[[], None]) -> Timer:
        return self._loop.call_later(max(0.001, monotonic - time.monotonic()), callback)
