"""Runtime identifiers."""

from __future__ import annotations

import pytest

from lambdabox.model.runtimes import FACTS_DATE, RUNTIMES, version_at_least


def test_names_are_their_keys() -> None:
    assert all(name == identifier.name for name, identifier in RUNTIMES.items())


@pytest.mark.parametrize(
    ("name", "is_retired"), [("python3.8", True), ("nodejs18.x", True), ("python3.13", False), ("nodejs22.x", False)]
)
def test_retired_is_what_lies_in_the_past(name: str, is_retired: bool) -> None:
    assert (RUNTIMES[name].retired is not None) is is_retired
    assert (RUNTIMES[name].deprecation or "9") < FACTS_DATE or not is_retired


def test_os_only_runtimes_bring_their_own_bootstrap() -> None:
    assert {name for name, identifier in RUNTIMES.items() if identifier.is_os_only} == {
        "provided",
        "provided.al2",
        "provided.al2023",
        "go1.x",
    }


@pytest.mark.parametrize(
    ("name", "language", "version", "found"),
    [
        ("python3.12", "python", (3, 12), True),
        ("python3.9", "python", (3, 12), False),
        ("nodejs24.x", "nodejs", (24,), True),
        ("nodejs22.x", "python", (3,), False),
        ("cobol", "python", (3,), False),
        ("provided.al2023", "provided", (1,), False),
    ],
)
def test_version_comparison(name: str, language: str, version: tuple[int, ...], found: bool) -> None:
    assert version_at_least(name, language, version) is found
