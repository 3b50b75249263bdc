"""One invocation as the Runtime API hands it over."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional, Union

    Body = Union[bytes, bytearray]


class Invocation:
    """The event of one invocation and what its headers say; a header that was absent is None."""

    __slots__ = (
        "body",
        "client_context",
        "cognito_identity",
        "content_type",
        "deadline_ms",
        "headers",
        "invocation_id",
        "invoked_function_arn",
        "request_id",
        "tenant_id",
        "trace_id",
    )

    def __init__(self, request_id: str, body: Body, headers: Mapping[str, str]) -> None:
        get = headers.get
        self.request_id = request_id
        self.body = body
        self.headers = headers
        self.content_type: Optional[str] = get("content-type")
        self.deadline_ms: Optional[int] = _integer(get("lambda-runtime-deadline-ms"))
        self.invoked_function_arn: Optional[str] = get("lambda-runtime-invoked-function-arn")
        self.trace_id: Optional[str] = get("lambda-runtime-trace-id")
        self.client_context: Optional[str] = get("lambda-runtime-client-context")
        self.cognito_identity: Optional[str] = get("lambda-runtime-cognito-identity")
        self.tenant_id: Optional[str] = get("lambda-runtime-aws-tenant-id")
        self.invocation_id: Optional[str] = get("lambda-runtime-invocation-id")


def _integer(text: Optional[str]) -> Optional[int]:
    try:
        return int(text)  # type: ignore[arg-type]  # None raises TypeError, which is one of the two answers
    except (TypeError, ValueError):
        return None
