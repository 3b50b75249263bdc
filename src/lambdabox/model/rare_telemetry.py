"""Telemetry records that most environments never write: subscriptions, dropped logs, restore, the Logs API's own (contract 3.3, 3.5).

`model.telemetry` hands them out; they are made when the first of them is wanted, since each class costs a third of a millisecond.
"""

from __future__ import annotations

from typing import Any, ClassVar

from lambdabox.model.fact import named_fact
from lambdabox.model.telemetry import Span, add_spans


@named_fact
class TelemetrySubscription:
    """An extension subscribed to the Telemetry API."""

    type: ClassVar[str] = "platform.telemetrySubscription"
    name: str
    types: tuple[str, ...]
    state: str = "Subscribed"

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, "types": list(self.types)}


@named_fact
class LogsSubscription:
    """An extension subscribed to the Logs API (contract 3.5)."""

    type: ClassVar[str] = "platform.logsSubscription"
    name: str
    types: tuple[str, ...]
    state: str = "Subscribed"

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, "types": list(self.types)}


SLOW_SUBSCRIBER = "Some logs were dropped because the downstream consumer is slower than the logs production rate"


@named_fact
class LogsDropped:
    """A subscriber was too slow for what its buffer holds."""

    type: ClassVar[str] = "platform.logsDropped"
    dropped_bytes: int
    dropped_records: int
    reason: str = SLOW_SUBSCRIBER

    def record(self) -> dict[str, Any]:
        return {"reason": self.reason, "droppedRecords": self.dropped_records, "droppedBytes": self.dropped_bytes}


@named_fact
class RestoreStart:
    """A snapshot is restored."""

    type: ClassVar[str] = "platform.restoreStart"
    function_name: str
    function_version: str
    instance_id: str
    instance_max_memory: int
    runtime_version: str | None = None
    runtime_version_arn: str | None = None

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"functionName": self.function_name, "functionVersion": self.function_version}
        if self.runtime_version is not None:
            out["runtimeVersion"] = self.runtime_version
        if self.runtime_version_arn is not None:
            out["runtimeVersionArn"] = self.runtime_version_arn
        out["instanceId"] = self.instance_id
        out["instanceMaxMemory"] = self.instance_max_memory
        return out


@named_fact
class RestoreRuntimeDone:
    """The runtime is through with its after-restore hooks, or failed in them."""

    type: ClassVar[str] = "platform.restoreRuntimeDone"
    status: str
    error_type: str | None = None
    spans: tuple[Span, ...] = ()

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"status": self.status}
        if self.error_type is not None:
            out["errorType"] = self.error_type
        add_spans(out, self.spans)
        return out


@named_fact
class RestoreReport:
    """The restore is over."""

    type: ClassVar[str] = "platform.restoreReport"
    status: str
    duration_ms: float
    error_type: str | None = None
    spans: tuple[Span, ...] = ()

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"status": self.status}
        if self.error_type is not None:
            out["errorType"] = self.error_type
        out["metrics"] = {"durationMs": self.duration_ms}
        add_spans(out, self.spans)
        return out


@named_fact
class End:
    """An invocation is over, as the Logs API says it (contract 3.5)."""

    type: ClassVar[str] = "platform.end"
    request_id: str

    def record(self) -> dict[str, Any]:
        return {"requestId": self.request_id}


@named_fact
class Fault:
    """An invocation was lost with its environment, as the Logs API says it: a line, not an object (contract 3.5)."""

    type: ClassVar[str] = "platform.fault"
    request_id: str
    status: str
    error_type: str | None = None

    def record(self) -> str:
        line = f"RequestId: {self.request_id} Status: {self.status}"
        return line if self.error_type is None else f"{line}\tErrorType: {self.error_type}"
