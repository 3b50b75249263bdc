"""Names, sizes and files of a function's own variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lambdabox.config.environment import (
    check_environment,
    merged_environment,
    name_problem,
    parse_dotenv,
    parse_pair,
    size_problem,
)
from lambdabox.errors import ConfigError, UsageError
from lambdabox.protocol.environment_variables import RESERVED


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_names_are_refused_from_every_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is reserved"):
        parse_pair(f"{name}=x")
    with pytest.raises(ConfigError, match="is reserved"):
        parse_dotenv(f"{name}=x", file=".env")
    with pytest.raises(ConfigError, match="is reserved"):
        check_environment({name: "x"})


@pytest.mark.parametrize("name", ["A", "TZ", "LANG", "PATH", "NODE_OPTIONS", "AWS_LAMBDA_EXEC_WRAPPER", "a_1", "AWS_PROFILE"])
def test_other_names_are_accepted(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", "1A", "_A", "A-B", "A B", "É", "A\n"])
def test_names_that_aws_refuses(name: str) -> None:
    assert name_problem(name) is not None


@pytest.mark.parametrize(
    ("text", "pair"),
    [("AA=b=c", ("AA", "b=c")), ("AA", ("AA", "")), ("AA=", ("AA", "")), ("AA= x ", ("AA", " x ")), ("AA='x'", ("AA", "'x'"))],
)
def test_a_pair_splits_at_the_first_equals_sign(text: str, pair: Any) -> None:
    assert parse_pair(text) == pair


def test_four_kilobytes_count_keys_and_values_as_bytes() -> None:
    assert size_problem({"AA": "x" * 4094}) is None
    assert "take 4097 bytes" in (size_problem({"AA": "x" * 4095}) or "")
    assert size_problem({"AA": "é" * 2048}) is not None


def test_a_dotenv_file() -> None:
    text = """\ufeff
# comment
PLAIN=value
export EXPORTED=yes
  SPACED =  a b  # trailing
EMPTY=
HASH=a#b
SINGLE='raw \\n $X' # note
DOUBLE="two\\nlines \\"q\\" \\$5"
LONG="first
second"
AFTER=1
EQUALS=a=b\r
"""
    assert parse_dotenv(text, file=".env") == {
        "PLAIN": "value",
        "EXPORTED": "yes",
        "SPACED": "a b",
        "EMPTY": "",
        "HASH": "a#b",
        "SINGLE": "raw \\n $X",
        "DOUBLE": 'two\nlines "q" $5',
        "LONG": "first\nsecond",
        "AFTER": "1",
        "EQUALS": "a=b",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AA=1\nnonsense\n", r"\.env:2: not NAME=VALUE: nonsense"),
        ("AA='open\n", r"\.env:1: AA has a quote that is not closed"),
        ("BB=\"a\nb\"\nAA='x' y\n", r"\.env:3: AA has text after its closing quote"),
        ("A-A=1\n", r"\.env:1: .*A-A"),
    ],
)
def test_a_broken_dotenv_line_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_dotenv(text, file=".env")


def test_pairs_win_over_files_and_files_over_the_function(tmp_path: Path) -> None:
    (tmp_path / "one.env").write_text("B=one\nC=one\nD=one\n")
    (tmp_path / "two.env").write_text("C=two\nD=two\n")
    merged, warnings = merged_environment(
        {"A": "own", "B": "own"}, env_files=[tmp_path / "one.env", tmp_path / "two.env"], pairs=["D=pair", "E"]
    )
    assert merged == {"A": "own", "B": "one", "C": "two", "D": "pair", "E": ""}
    assert warnings == ()


def test_over_4_kb_by_pairs_is_a_warning() -> None:
    merged, warnings = merged_environment({"AA": "own"}, pairs=["BIG=" + "x" * 5000])
    assert len(merged["BIG"]) == 5000
    assert "5008 bytes" in warnings[0].message


def test_a_missing_env_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no env file"):
        merged_environment({}, env_files=[tmp_path / "none.env"])


def test_an_env_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_bytes(b"AA=\xff")
    with pytest.raises(ConfigError, match=r"x\.env cannot be read"):
        merged_environment({}, env_files=[tmp_path / "x.env"])
