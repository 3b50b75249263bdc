"""The Lambda API on the wire."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from lambdabox import errors
from lambdabox.model.function import Function
from lambdabox.model.invocation import InvocationResult, InvocationType
from lambdabox.protocol.invoke_api import (
    Operation,
    Route,
    check_size,
    decode_client_context,
    function_configuration,
    header_json,
    parse_parameters,
    qualifier,
    result_headers,
    route,
    service_error,
    tail,
)

V = "/2015-03-31/functions"


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("POST", f"{V}/orders/invocations", Route(Operation.INVOKE, "orders")),
        ("POST", f"{V}/orders/invocations/", Route(Operation.INVOKE, "orders")),
        ("POST", f"{V}/arn%3Aaws%3Alambda/invocations", Route(Operation.INVOKE, "arn:aws:lambda")),
        ("POST", "/2021-11-15/functions/orders/response-streaming-invocations", Route(Operation.INVOKE_STREAM, "orders")),
        ("POST", "/2014-11-13/functions/orders/invoke-async/", Route(Operation.INVOKE_ASYNC, "orders")),
        ("GET", V, Route(Operation.LIST_FUNCTIONS, "")),
        ("GET", f"{V}/", Route(Operation.LIST_FUNCTIONS, "")),
        ("GET", f"{V}/orders", Route(Operation.GET_FUNCTION, "orders")),
        ("GET", f"{V}/orders/configuration", Route(Operation.GET_FUNCTION_CONFIGURATION, "orders")),
        ("GET", "/2016-08-19/account-settings/", Route(Operation.GET_ACCOUNT_SETTINGS, "")),
        ("GET", f"{V}/orders/invocations", 405),
        ("POST", "/", 404),
        ("POST", f"{V}/a/b/invocations", 404),
    ],
)
def test_routes(method: str, path: str, found: Route | int) -> None:
    assert route(method, path) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [("", None), ("Qualifier=live", "live"), ("Qualifier=%24LATEST&x=1", "$LATEST"), ("Qualifier=", None), ("x=1", None)],
)
def test_qualifiers(query: str, found: str | None) -> None:
    assert qualifier(query) == found


def test_a_plain_invocation_is_synchronous_without_a_tail() -> None:
    found = parse_parameters({})
    assert (found.invocation_type, found.wants_tail, found.client_context) == (InvocationType.REQUEST_RESPONSE, False, None)


def test_every_parameter() -> None:
    found = parse_parameters(
        {
            "content-type": "application/json; charset=utf-8",
            "x-amz-invocation-type": "Event",
            "x-amz-log-type": "Tail",
            "x-amz-client-context": base64.b64encode(b'{"custom":{"a":1}}').decode(),
            "x-amzn-trace-id": "Root=1",
        }
    )
    assert found.invocation_type is InvocationType.EVENT
    assert (found.wants_tail, found.client_context, found.trace_id) == (True, '{"custom":{"a":1}}', "Root=1")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "Application/Cloudevents+JSON; a=b",
    ],
)
def test_content_types_that_are_taken(content_type: str) -> None:
    parse_parameters({"content-type": content_type})


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml"])
def test_content_types_that_are_not(content_type: str) -> None:
    with pytest.raises(errors.UnsupportedMediaTypeException, match=content_type):
        parse_parameters({"content-type": content_type})


@pytest.mark.parametrize(
    ("header", "value", "words"),
    [
        ("x-amz-invocation-type", "Sync", "'invocationType' failed to satisfy constraint: Member must satisfy enum value set"),
        ("x-amz-log-type", "Head", r"'logType' .* \[None, Tail\]"),
        ("x-amz-tenant-id", "a\tb", "'tenantId'"),
        ("x-amz-tenant-id", "x" * 257, "'tenantId'"),
    ],
)
def test_parameters_that_break_a_constraint(header: str, value: str, words: str) -> None:
    with pytest.raises(errors.ValidationException, match=words):
        parse_parameters({header: value})


def test_a_stream_cannot_be_an_event() -> None:
    with pytest.raises(errors.ValidationException, match="Event"):
        parse_parameters({"x-amz-invocation-type": "Event"}, is_stream=True)
    assert parse_parameters({"x-amz-invocation-type": "DryRun"}, is_stream=True).invocation_type is InvocationType.DRY_RUN


def test_a_tenant_needs_a_function_with_tenants() -> None:
    with pytest.raises(errors.InvalidParameterValueException, match="not enabled for tenancy"):
        parse_parameters({"x-amz-tenant-id": "blue team/1"})


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def test_a_client_context_stands_in_a_header_as_it_was() -> None:
    assert decode_client_context(encoded('{"a": 1}')) == '{"a": 1}'


@pytest.mark.parametrize("text", ['{"name": "Zoë"}', '{\n"name": "Zo\\u00eb"\r\n}'])
def test_a_client_context_that_cannot_stand_in_a_header_is_rendered_so_that_it_can(text: str) -> None:
    found = decode_client_context(encoded(text))
    assert found == '{"name":"Zo\\u00eb"}'
    assert found.isascii()
    assert json.loads(found) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["%%%", "e30", encoded("{"), encoded(b"\xff"), encoded("[1]"), encoded('{"a":NaN}'), encoded("[" * 2000)]
)
def test_a_client_context_is_a_json_object_in_base64(text: str) -> None:
    with pytest.raises(errors.InvalidParameterValueException, match="valid Base64-encoded JSON object"):
        decode_client_context(text)


def test_a_client_context_has_at_most_3583_bytes() -> None:
    # 3583 is no length that base64 has: 3580 is the longest that fits, 3584 the first that does not.
    decode_client_context(encoded('{"a":"' + "x" * 2677 + '"}'))
    with pytest.raises(errors.InvalidParameterValueException, match="at most 3583 bytes"):
        decode_client_context(encoded('{"a":"' + "x" * 2680 + '"}'))


def test_header_json_keeps_what_is_printable() -> None:
    assert header_json('{ "a" : 1 }', {"a": 1}) == '{ "a" : 1 }'
    assert header_json('{"a":\t1}', {"a": 1}) == '{"a":1}'


@pytest.mark.parametrize(
    ("operation", "kind", "limit", "name"),
    [
        (Operation.INVOKE, InvocationType.REQUEST_RESPONSE, 6_291_456, "InvokeFunction"),
        (Operation.INVOKE, InvocationType.EVENT, 1_048_576, "InvokeFunction"),
        (Operation.INVOKE_STREAM, InvocationType.REQUEST_RESPONSE, 6_291_456, "InvokeWithResponseStream"),
        (Operation.INVOKE_ASYNC, InvocationType.EVENT, 262_144, "InvokeAsync"),
    ],
)
def test_payload_limits(operation: Operation, kind: InvocationType, limit: int, name: str) -> None:
    check_size(limit, operation, kind)
    with pytest.raises(errors.RequestTooLargeException, match=f"smaller than {limit} bytes for the {name} operation"):
        check_size(limit + 1, operation, kind)


def test_the_headers_of_an_answer() -> None:
    result = InvocationResult(request_id="r1", payload=b"1", executed_version="7")
    plain = [("Content-Type", "application/json"), ("x-amzn-RequestId", "r1"), ("X-Amz-Executed-Version", "7")]
    assert result_headers(result, wants_tail=False) == plain
    result.function_error = "Unhandled"
    result.log_tail = b"log"
    assert result_headers(result, wants_tail=True) == [
        *plain,
        ("X-Amz-Function-Error", "Unhandled"),
        ("X-Amz-Log-Result", "bG9n"),
    ]
    assert tail(result) == "bG9n"


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (errors.ResourceNotFoundException("arn:x"), 404, {"Type": "User", "Message": "Function not found: arn:x"}),
        (errors.InvalidParameterValueException("bad"), 400, {"Type": "User", "message": "bad"}),
        (
            errors.InvalidRequestContentException("why"),
            400,
            {"Type": "User", "message": "Could not parse request body into json: why"},
        ),
        (
            errors.RequestTooLargeException(6_291_456),
            413,
            {"Type": "User", "message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"},
        ),
        (errors.UnsupportedMediaTypeException("x/y"), 415, {"Type": "User", "message": "Unsupported content type: x/y"}),
        (
            errors.TooManyRequestsException("CallerRateLimitExceeded"),
            429,
            {"Reason": "CallerRateLimitExceeded", "Type": "User", "message": "Rate Exceeded."},
        ),
        (errors.ServiceException("oops"), 500, {"Type": "Service", "Message": "oops"}),
        (errors.InvalidRuntimeException("no node"), 502, {"Type": "User", "Message": "no node"}),
    ],
)
def test_api_errors(error: Any, status: int, body: dict[str, str]) -> None:
    found_status, headers, found_body = service_error(error, "r1")
    assert found_status == status
    assert json.loads(found_body) == body
    assert headers[:3] == [
        ("Content-Type", "application/json"),
        ("x-amzn-RequestId", "r1"),
        ("x-amzn-ErrorType", type(error).__name__),
    ]


def test_a_throttle_says_when_to_come_back() -> None:
    assert ("Retry-After", "1") in service_error(errors.TooManyRequestsException(), "r1")[1]


def configuration(**more: Any) -> dict[str, Any]:
    function = Function(name="orders", handler="a.b", runtime="python3.12", code=Path("/c"), **more)
    return function_configuration(function, code_size=1, code_sha256="abcdefghij", last_modified="now")


def test_a_functions_configuration() -> None:
    found = configuration(timeout=3.0)
    assert found["FunctionArn"] == "arn:aws:lambda:us-east-1:123456789012:function:orders"
    assert (found["Timeout"], found["MemorySize"], found["Version"], found["RevisionId"]) == (3, 128, "$LATEST", "abcdefgh")
    assert found["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/orders"}
    assert "Environment" not in found


def test_a_functions_configuration_with_more_in_it() -> None:
    found = configuration(environment={"A": "1"}, log_format="JSON", system_log_level="WARN")
    assert found["Environment"] == {"Variables": {"A": "1"}}
    assert found["LoggingConfig"] == {
        "LogFormat": "JSON",
        "LogGroup": "/aws/lambda/orders",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "WARN",
    }
