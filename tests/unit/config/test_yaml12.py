"""YAML 1.2 values, places and refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from lambdabox.config.yaml12 import parse_yaml
from lambdabox.errors import ConfigError


def value(text: Any) -> Any:
    return parse_yaml(text, Path("serverless.yml")).data


def refused(text: Any) -> Any:
    with pytest.raises(ConfigError) as caught:
        value(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("2010-09-09", "2010-09-09"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("'null'", "null"),
        ("=", "="),
        ("123456789012", 123456789012),
        ("1.2.3", "1.2.3"),
        ("|\n  12\n", "12\n"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, expected: Any) -> None:
    assert value(f"a: {text}") == {"a": expected}
    assert type(value(f"a: {text}")["a"]) is type(expected)


def test_an_empty_file_is_nothing() -> None:
    assert value("") is None
    assert value("# only a comment\n") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!Ref Queue", {"Ref": "Queue"}),
        ("!GetAtt [A, B]", {"Fn::GetAtt": ["A", "B"]}),
        ("!GetAtt A.B.C", {"Fn::GetAtt": ["A", "B.C"]}),
        ("!Sub 'a-${AWS::Region}'", {"Fn::Sub": "a-${AWS::Region}"}),
        ("!Sub 12", {"Fn::Sub": "12"}),
        ("!Join ['', [a, !Ref B]]", {"Fn::Join": ["", ["a", {"Ref": "B"}]]}),
        ("!Condition C", {"Condition": "C"}),
        ("!ImportValue x", {"Fn::ImportValue": "x"}),
    ],
)
def test_cloudformation_tags_become_their_long_form(text: str, expected: Any) -> None:
    assert value(f"a: {text}") == {"a": expected}


def test_duplicate_keys_are_refused_with_both_places() -> None:
    error = refused("a: 1\nb: 2\na: 3\n")
    assert str(error) == "serverless.yml:3:1: duplicate key 'a'"
    assert error.hint == "the first one is in line 1"


def test_broken_yaml_names_file_line_and_column() -> None:
    error = refused("a: 1\nb: [1, 2\nc: 3\n")
    assert (error.file, error.line) == ("serverless.yml", 3)
    assert "not valid YAML" in error.message


def test_a_tab_gets_a_hint() -> None:
    assert refused("a:\n\tb: 1\n").hint == "YAML does not allow tabs for indentation"


def test_a_character_that_yaml_does_not_allow_is_a_config_error() -> None:
    assert "not valid YAML" in refused("a: \x01\n").message


def test_two_documents_are_refused() -> None:
    assert "not valid YAML" in refused("a: 1\n---\nb: 2\n").message


def test_places_are_those_of_keys_and_items() -> None:
    document = parse_yaml("a:\n  b:\n    - 1\n    -   c: 2\n", Path("x.yml"))
    assert document.place(("a", "b")) == (2, 3)
    assert document.place(("a", "b", 0)) == (3, 7)
    assert document.place(("a", "b", 1, "c")) == (4, 9)
    assert document.place(("a", "nothing", "here")) == (1, 1)


def test_merge_keys_and_aliases_work() -> None:
    text = "base: &b {x: 1, y: 1}\none:\n  <<: *b\n  y: 2\ntwo:\n  <<: [*b, {z: 3}]\nthree: *b\n"
    parsed = value(text)
    assert parsed["one"] == {"y": 2, "x": 1}
    assert parsed["two"] == {"x": 1, "y": 1, "z": 3}
    assert parsed["three"] == {"x": 1, "y": 1}


def test_a_billion_laughs_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "aliases" in refused("\n".join(lines)).message


def test_an_anchor_that_contains_itself_is_refused() -> None:
    assert "contains itself" in refused("a: &a [*a]").message


def test_deep_nesting_is_refused() -> None:
    assert "nested too deeply" in refused("a: " + "[" * 300 + "]" * 300).message


@pytest.mark.parametrize("text", ["? [a]\n: 1\n", "a: !<tag:x,2000:y> 1\nb: ! {<<: 1}", "a: !!binary aGk=", "a: !a-b 1"])
def test_what_has_no_meaning_here_is_refused(text: str) -> None:
    assert refused(text).line is not None
