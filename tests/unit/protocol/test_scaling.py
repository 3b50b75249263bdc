"""Who runs an invocation."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.protocol.scaling import Load, Placement, place


def load(**more: Any) -> Load:
    facts = {
        "idle": 0,
        "finishing": 0,
        "waiting": 0,
        "environments": 0,
        "in_flight": 0,
        "in_flight_everywhere": 0,
        "concurrency_max": 10,
    }
    return Load(**(facts | more))


@pytest.mark.parametrize(
    ("facts", "placement", "reason"),
    [
        ({}, Placement.START, None),
        ({"idle": 1}, Placement.REUSE, None),
        ({"idle": 1, "finishing": 1}, Placement.REUSE, None),
        ({"finishing": 1}, Placement.WAIT, None),
        ({"finishing": 1, "waiting": 1}, Placement.START, None),
        ({"environments": 1, "environments_max": 1}, Placement.WAIT, None),
        ({"environments": 0, "environments_max": 1}, Placement.START, None),
        ({"idle": 1, "in_flight_everywhere": 10}, Placement.THROTTLE, "ConcurrentInvocationLimitExceeded"),
        ({"in_flight": 9, "in_flight_everywhere": 9}, Placement.START, None),
        ({"idle": 1, "reserved": 0}, Placement.THROTTLE, "ReservedFunctionConcurrentInvocationLimitExceeded"),
        ({"in_flight": 2, "reserved": 2}, Placement.THROTTLE, "ReservedFunctionConcurrentInvocationLimitExceeded"),
        ({"in_flight": 1, "reserved": 2}, Placement.START, None),
    ],
)
def test_placement(facts: dict[str, int], placement: Placement, reason: str | None) -> None:
    assert place(load(**facts)) == (placement, reason)
