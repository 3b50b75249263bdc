"""Time as an argument."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple


class Now(NamedTuple):
    """The present: `monotonic` seconds for durations and deadlines, `wall` seconds since the epoch for what people and runtimes read."""

    monotonic: float
    wall: float


def iso(wall: float) -> str:
    """A telemetry time stamp: UTC, milliseconds, `Z` (contract 3.2)."""
    moment = datetime.fromtimestamp(wall, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def milliseconds(seconds: float) -> float:
    """A duration in milliseconds with microsecond precision, as telemetry prints it (contract 3.3)."""
    return round(seconds * 1000, 3)
