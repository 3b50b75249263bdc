"""The Lambda API on the wire (contract 5.2-5.4): which operation a request is, what it asks for, and what its answers look like."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qs, unquote

from lambdabox.errors import (
    InvalidParameterValueException,
    RequestTooLargeException,
    ServiceError,
    UnsupportedMediaTypeException,
    ValidationException,
)
from lambdabox.model.function import Function
from lambdabox.model.invocation import InvocationResult, InvocationType
from lambdabox.model.limits import (
    ASYNC_REQUEST_MAX_BYTES,
    CLIENT_CONTEXT_MAX_BYTES,
    INVOKE_ASYNC_MAX_BYTES,
    REQUEST_MAX_BYTES,
)

EMPTY_EVENT = b"{}"


class Operation(Enum):
    """What of the Lambda API is served."""

    INVOKE = "Invoke"
    INVOKE_STREAM = "InvokeWithResponseStream"
    INVOKE_ASYNC = "InvokeAsync"
    LIST_FUNCTIONS = "ListFunctions"
    GET_FUNCTION = "GetFunction"
    GET_FUNCTION_CONFIGURATION = "GetFunctionConfiguration"
    GET_ACCOUNT_SETTINGS = "GetAccountSettings"


_ROUTES: tuple[tuple[str, re.Pattern[str], Operation], ...] = (
    ("POST", re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?"), Operation.INVOKE),
    ("POST", re.compile(r"/2021-11-15/functions/([^/]+)/response-streaming-invocations/?"), Operation.INVOKE_STREAM),
    ("POST", re.compile(r"/2014-11-13/functions/([^/]+)/invoke-async/?"), Operation.INVOKE_ASYNC),
    ("GET", re.compile(r"/2015-03-31/functions/?()"), Operation.LIST_FUNCTIONS),
    ("GET", re.compile(r"/2015-03-31/functions/([^/]+)"), Operation.GET_FUNCTION),
    ("GET", re.compile(r"/2015-03-31/functions/([^/]+)/configuration/?"), Operation.GET_FUNCTION_CONFIGURATION),
    ("GET", re.compile(r"/2016-08-19/account-settings/?()"), Operation.GET_ACCOUNT_SETTINGS),
)


@dataclass(frozen=True, slots=True)
class Route:
    """A recognised request: the operation and the function it names, decoded; empty where none is named."""

    operation: Operation
    function_name: str


def route(method: str, path: str) -> Route | int:
    """The operation that a request asks for, or the status (404, 405) that refuses it."""
    status = 404
    for wanted, pattern, operation in _ROUTES:
        match = pattern.fullmatch(path)
        if match is not None:
            if method == wanted:
                return Route(operation, unquote(match[1]))
            status = 405
    return status


def qualifier(query: str) -> str | None:
    """`Qualifier` of the query string."""
    if not query:
        return None
    values = parse_qs(query, keep_blank_values=True).get("Qualifier")
    return values[0] if values and values[0] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeParameters:
    """What an Invoke request asks for beside its payload."""

    invocation_type: InvocationType = InvocationType.REQUEST_RESPONSE
    wants_tail: bool = False
    client_context: str | None = None
    trace_id: str | None = None
    tenant_id: str | None = None
    cognito_identity: str | None = None


_PLAIN = InvokeParameters()
_BAD_CLIENT_CONTEXT = "Client context must be a valid Base64-encoded JSON object."
_TENANT = re.compile(r"[a-zA-Z0-9._:/=+\-@ ]{1,256}")
# `curl -d` says form-urlencoded and the SDKs say octet-stream whatever they send; a body is judged by what is in it.
_ACCEPTED_TYPES = frozenset({"application/json", "application/octet-stream", "application/x-www-form-urlencoded", ""})


def parse_parameters(headers: dict[str, str], *, is_stream: bool = False) -> InvokeParameters:
    """The parameters of an invocation. Raises ValidationException, InvalidParameterValueException, UnsupportedMediaTypeException.

    Parity: a form-urlencoded content type is accepted, because curl sends it unasked.
    """
    content_type = headers.get("content-type", "")
    if content_type not in _ACCEPTED_TYPES:
        bare = content_type.partition(";")[0].strip().lower()
        if bare not in _ACCEPTED_TYPES and not bare.endswith("+json"):
            raise UnsupportedMediaTypeException(content_type)
    kind = headers.get("x-amz-invocation-type")
    log_type = headers.get("x-amz-log-type")
    context = headers.get("x-amz-client-context")
    trace_id = headers.get("x-amzn-trace-id")
    tenant_id = headers.get("x-amz-tenant-id")
    if kind is None and log_type is None and context is None and trace_id is None and tenant_id is None:
        return _PLAIN
    invocation_type = InvocationType.REQUEST_RESPONSE
    if kind is not None:
        allowed = [t.value for t in InvocationType if not (is_stream and t is InvocationType.EVENT)]
        if kind not in allowed:
            raise _not_in_enum(kind, "invocationType", allowed)
        invocation_type = InvocationType(kind)
    if log_type not in (None, "None", "Tail"):
        raise _not_in_enum(str(log_type), "logType", ["None", "Tail"])
    if tenant_id is not None:
        _check_tenant(tenant_id)
    return InvokeParameters(
        invocation_type=invocation_type,
        wants_tail=log_type == "Tail",
        client_context=None if context is None else decode_client_context(context),
        trace_id=trace_id,
        tenant_id=tenant_id,
    )


def _not_in_enum(value: str, name: str, allowed: list[str]) -> ValidationException:
    return ValidationException(
        f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
        f"Member must satisfy enum value set: [{', '.join(allowed)}]"
    )


def _check_tenant(tenant_id: str) -> None:
    if _TENANT.fullmatch(tenant_id) is None:
        raise ValidationException(
            f"1 validation error detected: Value '{tenant_id}' at 'tenantId' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [a-zA-Z0-9\._:\/=+\-@ ]+"
        )
    raise InvalidParameterValueException(
        "The invoked function is not enabled for tenancy configuration. Remove the tenant ID parameter from your request and try again."
    )


def decode_client_context(encoded: str) -> str:
    """The JSON text of a base64 client context, safe to stand in a header. Raises InvalidParameterValueException."""
    if len(encoded) > CLIENT_CONTEXT_MAX_BYTES:
        raise InvalidParameterValueException(
            f"Client context must be at most {CLIENT_CONTEXT_MAX_BYTES} bytes in base64, it has {len(encoded)}"
        )
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        document = json.loads(text, parse_constant=_no_constant)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidParameterValueException(_BAD_CLIENT_CONTEXT) from error
    if not isinstance(document, dict):
        raise InvalidParameterValueException(_BAD_CLIENT_CONTEXT)
    return header_json(text, document)


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def header_json(text: str, document: object) -> str:
    """JSON text as it can stand in a header: as it was where it is printable ASCII, else rendered compactly."""
    if text.isascii() and text.isprintable():
        return text
    return json.dumps(document, separators=(",", ":"))


def payload_limit(operation: Operation, invocation_type: InvocationType) -> int:
    """How many bytes of payload an invocation may have."""
    if operation is Operation.INVOKE_ASYNC:
        return INVOKE_ASYNC_MAX_BYTES
    return ASYNC_REQUEST_MAX_BYTES if invocation_type is InvocationType.EVENT else REQUEST_MAX_BYTES


def check_size(size: int, operation: Operation, invocation_type: InvocationType) -> None:
    """Raises RequestTooLargeException."""
    limit = payload_limit(operation, invocation_type)
    if size > limit:
        raise RequestTooLargeException(limit, "InvokeFunction" if operation is Operation.INVOKE else operation.value)


def result_headers(result: InvocationResult, *, wants_tail: bool) -> list[tuple[str, str]]:
    """The headers of a synchronous answer."""
    headers = [
        ("Content-Type", "application/json"),
        ("x-amzn-RequestId", result.request_id),
        ("X-Amz-Executed-Version", result.executed_version),
    ]
    if result.function_error is not None:
        headers.append(("X-Amz-Function-Error", result.function_error))
    if wants_tail:
        headers.append(("X-Amz-Log-Result", tail(result)))
    return headers


def tail(result: InvocationResult) -> str:
    """The last 4 KB of the invocation's log in base64."""
    return base64.b64encode(result.log_tail).decode()


def service_error(error: ServiceError, request_id: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of an API error (contract 5.2)."""
    headers = [
        ("Content-Type", "application/json"),
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", error.code),
        *error.headers(),
    ]
    return error.status, headers, json.dumps(error.body(), separators=(",", ":")).encode()


def function_configuration(function: Function, *, code_size: int, code_sha256: str, last_modified: str) -> dict[str, object]:
    """The configuration members of GetFunction, GetFunctionConfiguration and ListFunctions (contract 5.10)."""
    logging: dict[str, str] = {"LogFormat": function.log_format, "LogGroup": function.log_group_name}
    if function.log_format == "JSON":
        logging["ApplicationLogLevel"] = function.application_log_level or "INFO"
        logging["SystemLogLevel"] = function.system_log_level or "INFO"
    document: dict[str, object] = {
        "FunctionName": function.name,
        "FunctionArn": function.arn,
        "Runtime": function.runtime,
        "Role": f"arn:aws:iam::{function.account_id}:role/lambdabox",
        "Handler": function.handler,
        "CodeSize": code_size,
        "Description": function.description,
        "Timeout": int(function.timeout),
        "MemorySize": function.memory_size,
        "LastModified": last_modified,
        "CodeSha256": code_sha256,
        "Version": function.version,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": f"{code_sha256[:8]}",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": [function.architecture],
        "EphemeralStorage": {"Size": function.ephemeral_storage},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": logging,
    }
    if function.environment:
        document["Environment"] = {"Variables": dict(function.environment)}
    return document
