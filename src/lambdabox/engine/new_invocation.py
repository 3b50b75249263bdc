"""Invocations made of Python values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lambdabox.engine.ids import new_request_id, new_trace_id
from lambdabox.errors import UsageError
from lambdabox.model.invocation import Invocation


def new_invocation(
    arn: str,
    payload: Any,
    *,
    timeout: float | None = None,
    client_context: Mapping[str, Any] | None = None,
    cognito_identity: Mapping[str, Any] | None = None,
    trace_id: str | None = None,
    invoked_function_arn: str | None = None,
    tenant_id: str | None = None,
    request_id: str | None = None,
    content_type: str = "application/json",
) -> Invocation:
    """An invocation of the function `arn`; bytes are its event as they are, anything else as JSON. Raises UsageError."""
    if timeout is not None and not timeout > 0:
        raise UsageError(f"timeout is {timeout:g} s: it must be more than 0")
    return Invocation(
        request_id=request_id or new_request_id(),
        payload=bytes(payload) if isinstance(payload, (bytes, bytearray)) else _json(payload, "the payload").encode(),
        invoked_function_arn=invoked_function_arn or arn,
        content_type=content_type,
        trace_id=trace_id or new_trace_id(),
        client_context=None if client_context is None else _json(client_context, "client_context", is_ascii=True),
        cognito_identity=None if cognito_identity is None else _json(cognito_identity, "cognito_identity", is_ascii=True),
        tenant_id=tenant_id,
        timeout=timeout,
    )


def _json(value: Any, what: str, *, is_ascii: bool = False) -> str:
    try:
        return json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what} is not JSON: {error}", hint="give plain dicts, lists, strings and numbers, or bytes") from error
