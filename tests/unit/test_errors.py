"""The error tree: one tree, every class in it documented, every class able to show itself."""

from __future__ import annotations

import inspect
import re

import pytest

from lambdabox import errors
from lambdabox.errors import (
    AddressInUseError,
    ConfigError,
    InternalError,
    LambdaboxError,
    LaunchError,
    ProtocolError,
    RemoteProtocolError,
    ResourceNotFoundException,
    RuntimeNotFoundError,
    SandboxClosedError,
    SandboxError,
    ServiceError,
    TooManyRequestsException,
    WaitTimeoutError,
    did_you_mean,
    listed,
)

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, BaseException)]
DOCUMENTED = re.findall(r"^ *(?:[│├└─ ]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_in_the_tree(cls: type[BaseException]) -> None:
    assert issubclass(cls, LambdaboxError)
    assert cls.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_stands_in_the_modules_docstring(cls: type[BaseException]) -> None:
    """What the Lambda API answers is one line there: AWS's names."""
    if issubclass(cls, ServiceError) and cls is not ServiceError:
        assert cls.__name__.endswith("Exception")
    else:
        assert cls.__name__ in DOCUMENTED
        assert cls.__name__.endswith("Error")


def test_the_docstring_names_no_error_that_is_not_there() -> None:
    names = {cls.__name__ for cls in CLASSES}
    assert {name for name in DOCUMENTED if name.endswith(("Error", "Exception"))} <= names


@pytest.mark.parametrize("cls", CLASSES)
def test_exit_codes_are_the_documented_ones(cls: type[LambdaboxError]) -> None:
    assert cls.exit_code in (1, 2, 3, 70)


def test_families_do_not_mix() -> None:
    families = [ServiceError, ProtocolError, SandboxError, ConfigError, InternalError]
    for cls in CLASSES:
        assert sum(issubclass(cls, family) for family in families) <= 1


def test_a_hint_is_the_next_step() -> None:
    assert LambdaboxError("m").hint is None
    assert LambdaboxError("m", hint="do this").hint == "do this"
    assert "doctor" in (RuntimeNotFoundError("python3.9", ["python3.9"]).hint or "")
    assert RuntimeNotFoundError("python3.9", ["python3.9"], hint="other").hint == "other"
    assert "report it" in (InternalError("x").hint or "")
    assert "--port" in (AddressInUseError("127.0.0.1", 1, "taken").hint or "")


def test_a_function_that_is_not_there_says_which_are() -> None:
    assert ResourceNotFoundException("arn").hint is None
    assert ResourceNotFoundException("arn", known=["a", "b"]).hint == "functions here: a and b"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "bad"),
        ({"file": "s.yml"}, "s.yml: bad"),
        ({"file": "s.yml", "line": 3}, "s.yml:3: bad"),
        ({"file": "s.yml", "line": 3, "column": 5}, "s.yml:3:5: bad"),
    ],
)
def test_a_config_error_names_the_place(place: dict[str, object], text: str) -> None:
    assert str(ConfigError("bad", **place)) == text  # type: ignore[arg-type]  # members by name


def test_messages_are_built_from_facts() -> None:
    assert LaunchError("/x", "permission denied").text == "fork/exec /x: permission denied"
    assert str(SandboxClosedError()) == "the sandbox is closed"
    assert str(WaitTimeoutError("the answer", 1.5)) == "the answer did not happen within 1.5 s"
    assert isinstance(WaitTimeoutError("x", 1), TimeoutError)
    found = RemoteProtocolError("m", status=403, error_type="T")
    assert (found.status, found.error_type) == (403, "T")


def test_a_throttle_has_a_reason() -> None:
    error = TooManyRequestsException()
    assert error.body()["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert error.headers() == (("Retry-After", "1"),)
    assert ServiceError("x").headers() == ()


def test_the_known_word_that_was_meant() -> None:
    assert did_you_mean("handlr", ["handler", "timeout"]) == "handler"
    assert did_you_mean("zzz", ["handler"]) is None


@pytest.mark.parametrize(
    ("words", "text"),
    [([], "none"), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"), (list("abcd"), "a, b and 2 more")],
)
def test_words_for_a_message(words: list[str], text: str) -> None:
    assert listed(words, most=2 if len(words) == 4 else 12) == text
