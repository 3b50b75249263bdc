"""Serverless variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lambdabox.config.variables import UNRESOLVED, Variables, scalar_text
from lambdabox.config.yaml12 import parse_yaml
from lambdabox.errors import ConfigError


def variables(text: Any, *, options: Any = None, environ: Any = None) -> Any:
    return Variables(parse_yaml(text, Path("s.yml")), options=options or {}, environ=environ or {})


def resolved(expression: str, **more: Any) -> Any:
    text = f"custom:\n  name: box\n  count: 3\n  list: [a, b]\n  nested: ${{self:custom.name}}\n  map: {{dev: x}}\nvalue: {expression}\n"
    found = variables(text, **more)
    return found.get("value"), list(found.unresolved)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("${self:custom.name}", "box"),
        ("${self:custom.count}", 3),
        ("${self:custom.list.1}", "b"),
        ("${self:custom.nested}", "box"),
        ("${self:custom.map.${sls:stage}}", "x"),
        ("a-${self:custom.name}-${self:custom.count}", "a-box-3"),
        ("${self:custom.none, 'lit'}", "lit"),
        ("${self:custom.none, 5}", 5),
        ("${self:custom.none, true}", True),
        ("${self:custom.none, ${self:custom.name}}", "box"),
        ("${self:custom.none, self:custom.name}", "box"),
        ("${opt:stage, 'dev'}", "dev"),
        ("${opt:stage, ${env:STAGE, 'last'}}", "last"),
        ('${env:HOME_OF, "a, b"}', "a, b"),
        ("${aws:region}", "us-east-1"),
        ("'${AWS::Region} and ${Name}'", "${AWS::Region} and ${Name}"),
        ("plain", "plain"),
    ],
)
def test_what_is_known_is_resolved(expression: str, expected: Any) -> None:
    assert resolved(expression) == (expected, [])


def test_options_and_environment_are_sources() -> None:
    assert resolved("${opt:stage, 'dev'}", options={"stage": "prod"})[0] == "prod"
    assert resolved("${env:A}", environ={"A": "1"})[0] == "1"


@pytest.mark.parametrize("name", ["${ssm:/a/b}", "${cf:stack.out}", "${file(./x.yml):y}", "${param:p}", "${env:NOTHING}"])
def test_what_is_not_known_is_remembered(name: str) -> None:
    assert resolved(name) == (UNRESOLVED, [name])
    assert resolved(f"a-{name}") == (UNRESOLVED, [name])


def test_an_unknown_source_with_a_fallback_takes_it_and_says_so() -> None:
    assert resolved("${ssm:/a/b, 'x'}") == ("x", ["${ssm:/a/b}"])


def test_variables_that_need_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="need each other") as caught:
        variables("a: ${self:b}\nb: ${self:a}\n").get("a")
    assert caught.value.line is not None


def test_a_variable_without_its_brace_is_refused() -> None:
    with pytest.raises(ConfigError, match="without its closing brace"):
        variables("a: ${self:b\n").get("a")


def test_a_mapping_inside_a_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="inside a text"):
        resolved("x${self:custom.map}")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (True, "true"),
        (None, "null"),
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (-12.25, "-12.25"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e20, "100000000000000000000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (123456789012, "123456789012"),
        (12345678901234567890, "12345678901234567000"),
        (float("inf"), "Infinity"),
        (float("nan"), "NaN"),
        ("x", "x"),
    ],
)
def test_scalars_become_text_as_in_javascript(number: Any, text: str) -> None:
    assert scalar_text(number) == text
