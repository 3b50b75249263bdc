"""What one invocation comes to."""

from __future__ import annotations

import pytest

from lambdabox.model.invocation import InvocationResult, Report


def result(payload: bytes, **more: object) -> InvocationResult:
    return InvocationResult(request_id="r1", payload=payload, **more)  # type: ignore[arg-type]  # members by name


def test_the_payload_as_json_and_text() -> None:
    assert result(b'{"a":1}').json() == {"a": 1}
    assert result(b"").json() is None
    assert result(b"a\xff").text == "a\ufffd"
    with pytest.raises(ValueError, match="Expecting value"):
        result(b"oops").json()


def test_a_function_error_is_a_result() -> None:
    assert not result(b"").is_error
    assert result(b"", function_error="Unhandled").is_error


REPORT = Report(duration_ms=1.234, billed_duration_ms=2, memory_size_mb=128, max_memory_used_mb=30)


def test_the_figures() -> None:
    assert REPORT.as_dict() == {"DurationMs": 1.23, "BilledDurationMs": 2, "MemorySizeMB": 128, "MaxMemoryUsedMB": 30}
    cold = Report(duration_ms=1, billed_duration_ms=2, memory_size_mb=128, max_memory_used_mb=30, init_duration_ms=4.567)
    assert cold.as_dict()["InitDurationMs"] == 4.57


def test_the_envelope() -> None:
    assert result(b"[1]", logs=["a"]).envelope() == {
        "StatusCode": 200,
        "ExecutedVersion": "$LATEST",
        "RequestId": "r1",
        "Payload": [1],
        "Logs": ["a"],
    }
    found = result(b"[1]", function_error="Unhandled", report=REPORT).envelope()
    assert (found["FunctionError"], found["Report"]) == ("Unhandled", REPORT.as_dict())


def test_a_payload_that_is_not_json_is_a_string_and_bytes_come_in_base64_too() -> None:
    assert result(b"plain").envelope()["Payload"] == "plain"
    found = result(b"\xff").envelope()
    assert (found["Payload"], found["PayloadBase64"]) == ("\ufffd", "/w==")
