"""Cheap immutable records."""

from __future__ import annotations

import pytest

from lambdabox.model.fact import fact, named_fact


@fact
class Point:
    x: int
    y: int = 0


@named_fact
class Named:
    x: int


def test_facts_are_equal_by_value_and_can_be_kept_in_sets() -> None:
    assert Point(1) == Point(1, 0)
    assert {Point(1), Point(1)} == {Point(1)}


def test_facts_have_no_other_members() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 1  # type: ignore[attr-defined]  # that is the point
    with pytest.raises(TypeError):
        Named(1)  # type: ignore[call-arg]  # members by name
