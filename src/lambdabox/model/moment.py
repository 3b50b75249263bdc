"""Time as an argument."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple


class Now(NamedTuple):
    """The present: `monotonic` seconds for durations and deadlines, `wall` seconds since the epoch for what people and runtimes read."""

    monotonic: float
    wall: float


def iso(wall: float) -> str:
    """A telemetry time stamp: UTC, milliseconds, `Z` (contract 3.2)."""
    second, micro = divmod(round(wall * 1_000_000), 1_000_000)
    if second != _latest[0]:
        _latest[:] = [second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"]
    return f"{_latest[1]}.{micro // 1000:03d}Z"


_latest: list[Any] = [None, ""]  # the last second that was printed: a warm invocation prints half a dozen stamps of one second


def milliseconds(seconds: float) -> float:
    """A duration in milliseconds with microsecond precision, as telemetry prints it (contract 3.3)."""
    return round(seconds * 1000, 3)
