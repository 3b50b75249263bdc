"""The X-Ray error cause: checked, and cropped to what X-Ray takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdabox.model.limits import ERROR_CAUSE_MAX_BYTES
from lambdabox.protocol.error_cause import error_cause


@pytest.mark.parametrize(
    "cause",
    [
        {"exceptions": [{"message": "m", "type": "T", "stack": [{"path": "a.py", "line": 1, "label": "f"}]}]},
        {"message": "m"},
        {"paths": ["a"]},
        {"working_directory": "/var/task"},
    ],
)
def test_a_cause_is_kept_with_all_its_parts(cause: dict[str, Any]) -> None:
    found = error_cause(json.dumps({**cause, "colour": "red"}))
    assert found is not None
    assert json.loads(found) == {"exceptions": [], "working_directory": "", "paths": [], **cause}


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"colour":"red"}',
        '{"paths":[],"working_directory":"","exceptions":[]}',
        '{"paths":"a","exceptions":[]}',
        '{"paths":[1]}',
        '{"exceptions":["a"]}',
        '{"message":1}',
        '{"working_directory":{"a":1}}',
    ],
)
def test_what_is_no_cause_is_dropped(text: str | None) -> None:
    assert error_cause(text) is None


@pytest.mark.parametrize(("size", "kept"), [(60, 100), (700, 80), (1000, 60), (1600, 40), (3000, 20), (9000, 0)])
def test_stacks_and_paths_are_cropped_step_by_step(size: int, kept: int) -> None:
    cause = {"message": "m", "exceptions": [{"message": "e" * size}] * 100, "paths": ["p"] * 100, "working_directory": "/"}
    found = error_cause(json.dumps(cause))
    assert found is not None
    assert len(found) <= ERROR_CAUSE_MAX_BYTES
    document = json.loads(found)
    assert (len(document["exceptions"]), len(document["paths"])) == (kept, kept)
    assert document["message"] == "m"


@pytest.mark.parametrize("character", ["m", "\u00fc", "<", "\U0001f600", '"'])
def test_message_and_directory_are_cut_when_nothing_else_is_left(character: str) -> None:
    found = error_cause(json.dumps({"message": character * 100_000, "working_directory": character * 100_000}))
    assert found is not None
    assert ERROR_CAUSE_MAX_BYTES * 0.8 < len(found) <= ERROR_CAUSE_MAX_BYTES
    document = json.loads(found)
    assert document["message"].endswith("...")
    assert set(document["message"].removesuffix("...")) == {character}


def test_a_long_directory_alone_is_cut() -> None:
    found = error_cause(json.dumps({"working_directory": "d" * 100_000}))
    assert found is not None
    assert "message" not in json.loads(found)
    assert len(found) < ERROR_CAUSE_MAX_BYTES


def test_a_short_directory_is_not_cut_for_a_long_message() -> None:
    found = error_cause(json.dumps({"message": "m" * 100_000, "working_directory": "/var/task"}))
    assert found is not None
    assert json.loads(found)["working_directory"] == "/var/task"
