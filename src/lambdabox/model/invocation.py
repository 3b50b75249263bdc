"""One run of a function: what is asked for, and what comes of it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any


class InvocationType(StrEnum):
    """X-Amz-Invocation-Type."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


class InvocationStatus(Enum):
    """Where an invocation stands."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"


@dataclass(slots=True, kw_only=True, eq=False)
class Invocation:
    """One invocation as the platform accepted it.

    `request_id` is a lower-case UUID; `payload` is the event, byte for byte. `invoked_function_arn` carries the qualifier
    only if the caller gave one. `client_context` and `cognito_identity` are JSON text, decoded from what the caller sent.
    `timeout` overrides the function's, in seconds; `float("inf")` rests the deadline. `context` is a JSON object that our own
    bootstraps merge over the context they hand to the handler (a local convenience: AWS has no such thing).
    """

    request_id: str
    payload: bytes
    invoked_function_arn: str
    content_type: str = "application/json"
    trace_id: str | None = None
    client_context: str | None = None
    cognito_identity: str | None = None
    tenant_id: str | None = None
    timeout: float | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of a REPORT line; durations in milliseconds."""

    duration_ms: float
    billed_duration_ms: int
    memory_size_mb: int
    max_memory_used_mb: int
    init_duration_ms: float | None = None
    restore_duration_ms: float | None = None
    billed_restore_duration_ms: int | None = None
    status: str = "success"
    error_type: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The `Report` member of `--output json`."""
        out: dict[str, Any] = {"DurationMs": round(self.duration_ms, 2), "BilledDurationMs": self.billed_duration_ms}
        if self.init_duration_ms is not None:
            out["InitDurationMs"] = round(self.init_duration_ms, 2)
        if self.restore_duration_ms is not None:
            out["RestoreDurationMs"] = round(self.restore_duration_ms, 2)
        if self.billed_restore_duration_ms is not None:
            out["BilledRestoreDurationMs"] = self.billed_restore_duration_ms
        out["MemorySizeMB"] = self.memory_size_mb
        out["MaxMemoryUsedMB"] = self.max_memory_used_mb
        return out


@dataclass(slots=True, kw_only=True, eq=False)
class InvocationResult:
    """What one invocation came to, as its caller sees it.

    `payload` is the answer, byte for byte; `function_error` is `"Unhandled"` when the function failed in any way (raised,
    crashed, timed out) and None otherwise; `error_type` is the platform's word for the failure. `logs` are the log lines of the
    invocation, without line ends, and `report` the figures of its REPORT line: both are there once the invocation is over.
    """

    request_id: str
    payload: bytes
    status: InvocationStatus = InvocationStatus.SUCCESS
    function_error: str | None = None
    error_type: str | None = None
    executed_version: str = "$LATEST"
    content_type: str = "application/json"
    status_code: int = 200
    logs: list[str] = field(default_factory=list)
    log_tail: bytes = b""
    report: Report | None = None

    def json(self) -> Any:
        """The payload as JSON; None for an empty payload. Raises ValueError when it is not JSON."""
        return json.loads(self.payload) if self.payload else None

    @property
    def text(self) -> str:
        """The payload as text, undecodable bytes replaced."""
        return self.payload.decode("utf-8", "replace")

    @property
    def is_error(self) -> bool:
        return self.function_error is not None

    def envelope(self) -> dict[str, Any]:
        """The JSON object that `--output json` prints."""
        out: dict[str, Any] = {"StatusCode": self.status_code}
        if self.function_error is not None:
            out["FunctionError"] = self.function_error
        out["ExecutedVersion"] = self.executed_version
        out["RequestId"] = self.request_id
        try:
            out["Payload"] = self.json()
        except ValueError:
            try:
                out["Payload"] = self.payload.decode()
            except UnicodeDecodeError:
                out["Payload"] = self.text
                out["PayloadBase64"] = base64.b64encode(self.payload).decode()
        if self.report is not None:
            out["Report"] = self.report.as_dict()
        out["Logs"] = self.logs
        return out
