"""The platform's own error payloads."""

from __future__ import annotations

import json

import pytest

from lambdabox.protocol.payloads import (
    error_payload,
    exit_text,
    go_json,
    response_too_large_payload,
    runtime_exit_text,
    timed_out_text,
)


def test_the_generic_payload_is_compact_and_in_awss_order() -> None:
    assert (
        error_payload("Runtime.ExitError", "x", "r1")
        == b'{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r1 Error: x"}'
    )


def test_without_an_invocation_there_is_no_request_id() -> None:
    assert json.loads(error_payload("T", "x"))["errorMessage"] == "Error: x"


def test_json_is_escaped_as_go_does() -> None:
    assert go_json({"a": "<&>\u2028é"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028é"}'.encode()


def test_half_characters_become_replacement_characters() -> None:
    assert go_json("a\ud800b") == '"a\ufffdb"'.encode()


def test_a_response_that_is_too_large_has_no_request_id() -> None:
    assert json.loads(response_too_large_payload(7_000_000)) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size (7000000 bytes) exceeded maximum allowed payload size (6291556 bytes).",
    }


@pytest.mark.parametrize(("seconds", "text"), [(3, "3.00"), (1, "1.00"), (0.25, "0.25"), (900, "900.00")])
def test_a_timeout_has_two_decimals_and_a_plural(seconds: float, text: str) -> None:
    assert timed_out_text(seconds) == f"Task timed out after {text} seconds"


@pytest.mark.parametrize(
    ("code", "signal", "text", "runtime_text"),
    [
        (0, None, "exit code 0", "Runtime exited without providing a reason"),
        (None, None, "exit code 0", "Runtime exited without providing a reason"),
        (129, None, "exit status 129", "Runtime exited with error: exit status 129"),
        (None, 9, "signal: killed", "Runtime exited with error: signal: killed"),
        (None, 6, "signal: aborted", "Runtime exited with error: signal: aborted"),
        (None, 40, "signal: signal 40", "Runtime exited with error: signal: signal 40"),
    ],
)
def test_exits_are_told_in_gos_words(code: int | None, signal: int | None, text: str, runtime_text: str) -> None:
    assert exit_text(code, signal) == text
    assert runtime_exit_text(code, signal) == runtime_text
