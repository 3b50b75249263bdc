"""The Extensions API on the wire."""

from __future__ import annotations

import json

import pytest

from lambdabox.errors import RemoteProtocolError
from lambdabox.model.invocation import Invocation
from lambdabox.protocol.extensions_api import (
    ExtensionRequest,
    Registration,
    invoke_event,
    parse_error_type,
    parse_identifier,
    parse_registration,
    registration_body,
    route,
    shutdown_event,
)

BASE = "/2020-01-01/extension"
NAMED = {"lambda-extension-name": "collector"}


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("POST", f"{BASE}/register", ExtensionRequest.REGISTER),
        ("GET", f"{BASE}/event/next", ExtensionRequest.NEXT),
        ("POST", f"{BASE}/init/error", ExtensionRequest.INIT_ERROR),
        ("POST", f"{BASE}/exit/error", ExtensionRequest.EXIT_ERROR),
        ("GET", f"{BASE}/register", 405),
        ("GET", f"{BASE}/other", 404),
    ],
)
def test_routes(method: str, path: str, found: ExtensionRequest | int) -> None:
    assert route(method, path) == found


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b'{"events":["INVOKE","SHUTDOWN"]}', ("INVOKE", "SHUTDOWN")),
        (b'{"events":["INVOKE","INVOKE"]}', ("INVOKE",)),
        (b'{"events":[]}', ()),
        (b'{"events":null}', ()),
        (b"{}", ()),
        (b" ", ()),
    ],
)
def test_registrations(body: bytes, events: tuple[str, ...]) -> None:
    assert parse_registration(NAMED, body) == Registration(name="collector", events=events, wants_account_id=False)


def test_unknown_features_are_ignored() -> None:
    headers = NAMED | {"lambda-extension-accept-feature": "other, accountId"}
    assert parse_registration(headers, b"").wants_account_id


@pytest.mark.parametrize(
    ("headers", "body", "error_type", "message"),
    [
        ({}, b"", "Extension.InvalidExtensionName", "Empty extension name"),
        (NAMED, b"{", "InvalidRequestFormat", "Expecting"),
        (NAMED, b"[" * 100_000, "InvalidRequestFormat", "recursion"),
        (NAMED, b"[]", "InvalidRequestFormat", "not a JSON object"),
        (NAMED, b'{"events":"INVOKE"}', "InvalidRequestFormat", "not a list"),
        (NAMED, b'{"events":[1]}', "InvalidRequestFormat", "not a list"),
        (
            NAMED,
            b'{"configurationKeys":[]}',
            "InvalidRequestFormat",
            "configurationKeys are deprecated; use environment variables instead",
        ),
        (NAMED, b'{"events":["SLEEP"]}', "Extension.InvalidEventType", "SLEEP: ErrorInvalidEventType"),
    ],
)
def test_refused_registrations(headers: dict[str, str], body: bytes, error_type: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message) as caught:
        parse_registration(headers, body)
    assert (caught.value.status, caught.value.error_type) == (403, error_type)


def test_an_identifier_is_a_uuid() -> None:
    identifier = "0F7D2C1E-6a53-4f0c-9f9b-2f2a55d0a1b4"
    assert parse_identifier({"lambda-extension-identifier": identifier}) == identifier.lower()


@pytest.mark.parametrize(
    ("headers", "error_type", "message"),
    [
        ({}, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"),
        ({"lambda-extension-identifier": "1"}, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
    ],
)
def test_refused_identifiers(headers: dict[str, str], error_type: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_identifier(headers)
    assert (caught.value.status, caught.value.error_type, caught.value.message) == (403, error_type, message)


def test_an_error_report_needs_a_type() -> None:
    assert parse_error_type({"lambda-extension-function-error-type": "Extension.Any"}) == "Extension.Any"
    with pytest.raises(RemoteProtocolError) as caught:
        parse_error_type({})
    assert caught.value.error_type == "Extension.MissingHeader"
    assert caught.value.message == "Lambda-Extension-Function-Error-Type not found"


def test_the_answer_to_a_registration() -> None:
    assert registration_body(function_name="f", function_version="1", handler="a.b", account_id=None) == (
        b'{"functionName":"f","functionVersion":"1","handler":"a.b"}\n'
    )
    body = registration_body(function_name="f", function_version="1", handler="a.b", account_id="123456789012")
    assert json.loads(body)["accountId"] == "123456789012"


def test_the_invoke_event_has_neither_payload_nor_client_context() -> None:
    invocation = Invocation(
        request_id="r1", payload=b"secret", invoked_function_arn="arn", client_context="{}", trace_id="Root=1"
    )
    assert json.loads(invoke_event(invocation, 42)) == {
        "eventType": "INVOKE",
        "deadlineMs": 42,
        "requestId": "r1",
        "invokedFunctionArn": "arn",
        "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1"},
    }


def test_the_invoke_event_without_a_trace_has_no_tracing() -> None:
    event = json.loads(invoke_event(Invocation(request_id="r1", payload=b"", invoked_function_arn="arn"), 42))
    assert "tracing" not in event


def test_the_shutdown_event() -> None:
    assert shutdown_event("spindown", 42) == b'{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":42}'
