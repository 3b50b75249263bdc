"""Time as an argument."""

from __future__ import annotations

import pytest

from lambdabox.model.moment import Now, iso, milliseconds


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_790_000_000.001, "2026-09-21T14:13:20.001Z"),
        (1_790_000_000.9994, "2026-09-21T14:13:20.999Z"),
        (1.9999999, "1970-01-01T00:00:02.000Z"),  # rounded up to the next second as a whole
    ],
)
def test_time_stamps_have_milliseconds(wall: float, text: str) -> None:
    assert iso(wall) == text


def test_every_millisecond_reads_as_itself() -> None:
    assert all(iso(1_790_000_000 + ms / 1000).endswith(f".{ms:03d}Z") for ms in range(1000))


def test_durations_have_microseconds() -> None:
    assert milliseconds(0.0012345678) == 1.235
    assert Now(1.0, 2.0).wall == 2.0
