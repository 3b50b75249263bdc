"""The Extensions API on the wire (contract section 2)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lambdabox.errors import RemoteProtocolError
from lambdabox.model.invocation import Invocation
from lambdabox.model.telemetry import TRACE_TYPE
from lambdabox.protocol.payloads import go_json

BASE = "/2020-01-01/extension"
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_EVENTS = ("INVOKE", "SHUTDOWN")


class ExtensionRequest(Enum):
    """What a request to the Extensions API is."""

    REGISTER = "register"
    NEXT = "next"
    INIT_ERROR = "init error"
    EXIT_ERROR = "exit error"


_ROUTES: dict[str, tuple[str, ExtensionRequest]] = {
    f"{BASE}/register": ("POST", ExtensionRequest.REGISTER),
    f"{BASE}/event/next": ("GET", ExtensionRequest.NEXT),
    f"{BASE}/init/error": ("POST", ExtensionRequest.INIT_ERROR),
    f"{BASE}/exit/error": ("POST", ExtensionRequest.EXIT_ERROR),
}


def route(method: str, path: str) -> ExtensionRequest | int:
    """The call that a request makes, or the status that refuses it."""
    found = _ROUTES.get(path)
    if found is None:
        return 404
    return found[1] if found[0] == method else 405


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A parsed registration."""

    name: str
    events: tuple[str, ...]
    wants_account_id: bool


def _refused(error_type: str, message: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, status=403, error_type=error_type)


def parse_registration(headers: dict[str, str], body: bytes) -> Registration:
    """A registration, or RemoteProtocolError with AWS's error type (contract 2.7)."""
    name = headers.get("lambda-extension-name", "")
    if not name:
        raise _refused("Extension.InvalidExtensionName", "Empty extension name")
    try:
        document: Any = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise _refused("InvalidRequestFormat", str(error)) from error
    if not isinstance(document, dict):
        raise _refused("InvalidRequestFormat", "the request body is not a JSON object")
    if "configurationKeys" in document:
        raise _refused("InvalidRequestFormat", "configurationKeys are deprecated; use environment variables instead")
    events = document.get("events") or []
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise _refused("InvalidRequestFormat", "events is not a list of strings")
    for event in events:
        if event not in _EVENTS:
            raise _refused("Extension.InvalidEventType", f"{event}: ErrorInvalidEventType")
    features = [feature.strip() for feature in headers.get("lambda-extension-accept-feature", "").split(",")]
    return Registration(name=name, events=tuple(dict.fromkeys(events)), wants_account_id="accountId" in features)


def parse_identifier(headers: dict[str, str]) -> str:
    """The extension's identifier, or RemoteProtocolError."""
    identifier = headers.get("lambda-extension-identifier", "")
    if not identifier:
        raise _refused("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
    if not _UUID.fullmatch(identifier):
        raise _refused("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
    return identifier.lower()


def parse_error_type(headers: dict[str, str]) -> str:
    """The error type of an error report, or RemoteProtocolError."""
    error_type = headers.get("lambda-extension-function-error-type", "")
    if not error_type:
        raise _refused("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
    return error_type


def registration_body(*, function_name: str, function_version: str, handler: str, account_id: str | None) -> bytes:
    """The body of an accepted registration."""
    document = {"functionName": function_name, "functionVersion": function_version, "handler": handler}
    if account_id is not None:
        document["accountId"] = account_id
    return go_json(document) + b"\n"


def invoke_event(invocation: Invocation, deadline_ms: int) -> bytes:
    """The INVOKE event: never the payload, never the client context (contract 2.4)."""
    document: dict[str, Any] = {
        "eventType": "INVOKE",
        "deadlineMs": deadline_ms,
        "requestId": invocation.request_id,
        "invokedFunctionArn": invocation.invoked_function_arn,
    }
    if invocation.trace_id:
        document["tracing"] = {"type": TRACE_TYPE, "value": invocation.trace_id}
    return go_json(document)


def shutdown_event(reason: str, deadline_ms: int) -> bytes:
    """The SHUTDOWN event."""
    return go_json({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms})
