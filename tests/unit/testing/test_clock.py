"""ManualClock."""

from __future__ import annotations

from functools import partial

import pytest

from lambdabox.testing import ManualClock


def test_time_stands_still_until_it_is_told() -> None:
    clock = ManualClock(start=100.0)
    assert clock.now() == clock.now() == (0.0, 100.0)
    clock.advance(2.5)
    assert clock.now() == (2.5, 102.5)
    assert clock.elapsed == 2.5


def test_alarms_ring_in_order_at_their_time() -> None:
    clock = ManualClock()
    rang: list[tuple[str, float]] = []
    for name, at in (("late", 3.0), ("early", 1.0), ("early too", 1.0), ("never", 9.0)):
        clock.call_at(at, partial(lambda name: rang.append((name, clock.elapsed)), name))
    clock.advance(5)
    assert rang == [("early", 1.0), ("early too", 1.0), ("late", 3.0)]
    assert clock.elapsed == 5


def test_a_cancelled_alarm_does_not_ring() -> None:
    clock = ManualClock()
    rang: list[int] = []
    clock.call_at(1, lambda: rang.append(1)).cancel()
    clock.advance(2)
    assert rang == []


def test_an_alarm_may_set_another() -> None:
    clock = ManualClock()
    rang: list[float] = []

    def ring() -> None:
        rang.append(clock.elapsed)
        if len(rang) < 3:
            clock.call_at(clock.elapsed + 1, ring)

    clock.call_at(1, ring)
    clock.advance(10)
    assert rang == [1, 2, 3]


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)


def test_it_says_where_it_stands() -> None:
    clock = ManualClock()
    clock.call_at(1, lambda: None)
    assert repr(clock) == "<ManualClock at 0 s, 1 alarms>"
