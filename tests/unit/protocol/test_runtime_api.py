"""The Runtime API on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.model.invocation import Invocation
from lambdabox.protocol.runtime_api import (
    ERROR_CAUSE_TYPE,
    Route,
    RuntimeRequest,
    error_body,
    error_document,
    init_error_content_type,
    next_headers,
    platform_error_type,
    route,
)

BASE = "/2018-06-01"


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", f"{BASE}/runtime/invocation/next", Route(RuntimeRequest.NEXT)),
        ("POST", f"{BASE}/runtime/invocation/r1/response", Route(RuntimeRequest.RESPONSE, "r1")),
        ("POST", f"{BASE}/runtime/invocation/r1/error", Route(RuntimeRequest.ERROR, "r1")),
        ("POST", f"{BASE}/runtime/init/error", Route(RuntimeRequest.INIT_ERROR)),
        ("GET", f"{BASE}/ping", Route(RuntimeRequest.PING)),
        ("GET", "/ping", Route(RuntimeRequest.PING)),
        ("POST", f"{BASE}/runtime/invocation/next", 405),
        ("GET", f"{BASE}/runtime/init/error", 405),
        ("GET", f"{BASE}/runtime/invocation/r1/response", 405),
        ("POST", f"{BASE}/runtime/invocation//response", 404),
        ("POST", f"{BASE}/runtime/invocation/r1", 404),
        ("POST", f"{BASE}/runtime/invocation/r1/other", 404),
        ("GET", f"{BASE}/runtime/restore/next", 404),
        ("GET", "/", 404),
    ],
)
def test_routes(method: str, path: str, found: Route | int) -> None:
    assert route(method, path) == found


def test_the_headers_that_are_always_there() -> None:
    invocation = Invocation(request_id="r1", payload=b"", invoked_function_arn="arn")
    assert next_headers(invocation, 42) == [
        ("Content-Type", "application/json"),
        ("Lambda-Runtime-Aws-Request-Id", "r1"),
        ("Lambda-Runtime-Deadline-Ms", "42"),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn"),
    ]


@pytest.mark.parametrize(
    ("fact", "header"),
    [
        ("trace_id", "Lambda-Runtime-Trace-Id"),
        ("client_context", "Lambda-Runtime-Client-Context"),
        ("cognito_identity", "Lambda-Runtime-Cognito-Identity"),
        ("tenant_id", "Lambda-Runtime-Aws-Tenant-Id"),
        ("context", "Lambdabox-Context"),
    ],
)
def test_the_headers_that_are_there_when_they_say_something(fact: str, header: str) -> None:
    facts: dict[str, Any] = {"request_id": "r1", "payload": b"", "invoked_function_arn": "arn"}
    assert next_headers(Invocation(**facts | {fact: "x"}), 42)[4:] == [(header, "x")]
    assert len(next_headers(Invocation(**facts | {fact: ""}), 42)) == 4


def test_a_refusal_is_json_with_a_newline() -> None:
    assert error_body("T", "<m>") == b'{"errorMessage":"\\u003cm\\u003e","errorType":"T"}\n'


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Runtime.NoSuchHandler", "Runtime.NoSuchHandler"),
        ("Function.ResponseSizeTooLarge", "Function.ResponseSizeTooLarge"),
        ("my Runtime.Error", "my Runtime.Error"),
        ("Function.lower", "Function.Unknown"),
        ("Runtime.x", "Runtime.Unknown"),
        ("ValueError", "Runtime.Unknown"),
        ("", "Runtime.Unknown"),
        (None, "Runtime.Unknown"),
    ],
)
def test_error_types(header: str | None, found: str) -> None:
    assert platform_error_type(header) == found


def test_an_error_document_is_passed_on_unchanged() -> None:
    assert error_document(b"not json \xff", "text/plain") == (b"not json \xff", "text/plain")


def test_the_error_cause_is_taken_out() -> None:
    body = b'{"errorMessage": "m", "errorCause": {"x": 1}}'
    assert error_document(body, f"{ERROR_CAUSE_TYPE}; charset=utf-8") == (b'{"errorMessage":"m"}', "application/json")


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_an_error_cause_document_that_cannot_be_read(body: bytes) -> None:
    assert error_document(body, ERROR_CAUSE_TYPE) == (b'"Invalid error body"', "application/octet-stream")


def test_half_characters_in_an_error_document_do_no_harm() -> None:
    assert error_document(b'{"m":"\\ud800"}', ERROR_CAUSE_TYPE)[0] == '{"m":"\ufffd"}'.encode()


@pytest.mark.parametrize(
    ("body", "found"), [(b"{}", "application/json"), (b"", "application/octet-stream"), (b"oops", "application/octet-stream")]
)
def test_an_init_error_is_json_or_bytes(body: bytes, found: str) -> None:
    assert init_error_content_type(body) == found


RESTORES = [
    ("GET", f"{BASE}/runtime/restore/next", Route(RuntimeRequest.RESTORE_NEXT)),
    ("POST", f"{BASE}/runtime/restore/error", Route(RuntimeRequest.RESTORE_ERROR)),
    ("POST", f"{BASE}/runtime/restore/next", 405),
    ("GET", f"{BASE}/runtime/restore/error", 405),
]


@pytest.mark.parametrize(("method", "path", "found"), RESTORES)
def test_restore_endpoints_are_there_in_snap_start_environments(method: str, path: str, found: Any) -> None:
    assert route(method, path, is_snap_start=True) == found


@pytest.mark.parametrize(("method", "path", "found"), RESTORES)
def test_restore_endpoints_are_unknown_elsewhere(method: str, path: str, found: Any) -> None:
    assert route(method, path) == 404


def test_the_invocation_id_is_a_header_when_there_is_one() -> None:
    invocation = Invocation(request_id="r1", payload=b"", invoked_function_arn="arn")
    assert ("Lambda-Runtime-Invocation-Id", "i1") in next_headers(invocation, 1, "i1")
    assert "Lambda-Runtime-Invocation-Id" not in dict(next_headers(invocation, 1))
