"""The Runtime API on the wire (contract section 1): which request is which call, and what its answers look like."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum

from lambdabox.model.invocation import Invocation
from lambdabox.protocol.payloads import go_json

BASE = "/2018-06-01"
NEXT_PATH = f"{BASE}/runtime/invocation/next"
INVOCATION_PREFIX = f"{BASE}/runtime/invocation/"
INIT_ERROR_PATH = f"{BASE}/runtime/init/error"
RESTORE_NEXT_PATH = f"{BASE}/runtime/restore/next"
RESTORE_ERROR_PATH = f"{BASE}/runtime/restore/error"
ERROR_CAUSE_TYPE = "application/vnd.aws.lambda.error.cause+json"

INVOCATION_ID_HEADER = "Lambda-Runtime-Invocation-Id"
CONTEXT_HEADER = "Lambdabox-Context"  # our own: what the user wants the handler's context to say

JSON_HEADERS = (("Content-Type", "application/json"),)
ACCEPTED_BODY = b'{"status":"OK"}\n'


class RuntimeRequest(Enum):
    """What a request to the Runtime API is."""

    NEXT = "next"
    RESPONSE = "response"
    ERROR = "error"
    INIT_ERROR = "init error"
    RESTORE_NEXT = "restore next"
    RESTORE_ERROR = "restore error"
    PING = "ping"


@dataclass(frozen=True, slots=True)
class Route:
    """A recognised request."""

    request: RuntimeRequest
    request_id: str = ""


_FIXED: dict[tuple[str, str], Route] = {
    ("GET", NEXT_PATH): Route(RuntimeRequest.NEXT),
    ("POST", INIT_ERROR_PATH): Route(RuntimeRequest.INIT_ERROR),
    ("GET", f"{BASE}/ping"): Route(RuntimeRequest.PING),
    ("GET", "/ping"): Route(RuntimeRequest.PING),
}
_RESTORE: dict[str, tuple[str, Route]] = {
    RESTORE_NEXT_PATH: ("GET", Route(RuntimeRequest.RESTORE_NEXT)),
    RESTORE_ERROR_PATH: ("POST", Route(RuntimeRequest.RESTORE_ERROR)),
}
_METHODS = {NEXT_PATH: "GET", INIT_ERROR_PATH: "POST", f"{BASE}/ping": "GET", "/ping": "GET"}


def route(method: str, path: str, *, is_snap_start: bool = False) -> Route | int:
    """The call that a request makes, or the status (404, 405) that refuses it. Only snap-start environments have restore endpoints."""
    fixed = _FIXED.get((method, path))
    if fixed is not None:
        return fixed
    if path in _METHODS:
        return 405
    if path.startswith(INVOCATION_PREFIX):
        request_id, slash, tail = path[len(INVOCATION_PREFIX) :].partition("/")
        if slash and request_id and tail in ("response", "error"):
            if method != "POST":
                return 405
            return Route(RuntimeRequest.RESPONSE if tail == "response" else RuntimeRequest.ERROR, request_id)
    if is_snap_start and path in _RESTORE:
        wanted, found = _RESTORE[path]
        return found if method == wanted else 405
    return 404


def next_headers(invocation: Invocation, deadline_ms: int, invocation_id: str | None = None) -> list[tuple[str, str]]:
    """The headers of an answered `/next`; what is empty is left out (contract 1.3)."""
    headers = [
        ("Content-Type", invocation.content_type),
        ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
        ("Lambda-Runtime-Deadline-Ms", str(deadline_ms)),
        ("Lambda-Runtime-Invoked-Function-Arn", invocation.invoked_function_arn),
    ]
    if invocation.trace_id:
        headers.append(("Lambda-Runtime-Trace-Id", invocation.trace_id))
    if invocation.client_context:
        headers.append(("Lambda-Runtime-Client-Context", invocation.client_context))
    if invocation.cognito_identity:
        headers.append(("Lambda-Runtime-Cognito-Identity", invocation.cognito_identity))
    if invocation.tenant_id:
        headers.append(("Lambda-Runtime-Aws-Tenant-Id", invocation.tenant_id))
    if invocation_id:
        headers.append((INVOCATION_ID_HEADER, invocation_id))
    if invocation.context:
        headers.append((CONTEXT_HEADER, invocation.context))
    return headers


def error_body(error_type: str, message: str) -> bytes:
    """The body of a refusal: errorMessage, errorType, newline."""
    return go_json({"errorMessage": message, "errorType": error_type}) + b"\n"


_KNOWN_ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")


def platform_error_type(header: str | None) -> str:
    """The platform's word for an error-type header (contract 1.10): kept when it has AWS's form, else Function.Unknown or Runtime.Unknown."""
    if header and _KNOWN_ERROR_TYPE.search(header):
        return header
    if header and header.startswith("Function."):
        return "Function.Unknown"
    return "Runtime.Unknown"


def error_document(body: bytes, content_type: str) -> tuple[bytes, str]:
    """The payload and content type that the invoker of a failed function gets (contract 1.5).

    The bytes are passed on unchanged, except with the error-cause content type: then `errorCause` is taken out.
    """
    if content_type.split(";", 1)[0].strip().lower() != ERROR_CAUSE_TYPE:
        return body, content_type
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return b'"Invalid error body"', "application/octet-stream"
    document.pop("errorCause", None)
    return go_json(document), "application/json"


def init_error_content_type(body: bytes) -> str:
    """application/json when the body of an init error is JSON, else application/octet-stream (contract 1.6)."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return "application/octet-stream"
    return "application/json"
