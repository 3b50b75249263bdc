"""Telemetry records: what the platform says about an environment and its invocations (contract 3.3).

Each class is one record type; `record()` is its JSON object. Durations are milliseconds. Text log lines are another
rendering of the same records (`protocol.log_lines`). Records that are rare live in `model.rare_telemetry` and are found here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from lambdabox.model.fact import fact, named_fact
from lambdabox.model.moment import Now, iso, milliseconds

if TYPE_CHECKING:
    from lambdabox.model.rare_telemetry import (
        End,
        Fault,
        LogsDropped,
        LogsSubscription,
        RestoreReport,
        RestoreRuntimeDone,
        RestoreStart,
        TelemetrySubscription,
    )

__all__ = [
    "TRACE_TYPE",
    "End",
    "ExtensionState",
    "Fault",
    "InitReport",
    "InitRuntimeDone",
    "InitStart",
    "InvocationReport",
    "LogsDropped",
    "LogsSubscription",
    "PlatformRecord",
    "RestoreReport",
    "RestoreRuntimeDone",
    "RestoreStart",
    "RuntimeDone",
    "Span",
    "Start",
    "TelemetryEvent",
    "TelemetrySubscription",
    "add_spans",
]

TRACE_TYPE = "X-Amzn-Trace-Id"


@named_fact
class TelemetryEvent:
    """One telemetry event as a subscriber gets it: `time` (UTC, milliseconds), `type`, and `record`, a dict or a log line."""

    time: str
    type: str
    record: Any

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the event."""
        return {"time": self.time, "type": self.type, "record": self.record}


@fact
class Span:
    """A part of an invocation's time; its figures are worked out when somebody wants them."""

    name: str
    begin: Now
    end: Now

    @property
    def start(self) -> float:
        """Wall seconds."""
        return self.begin.wall

    @property
    def duration_ms(self) -> float:
        return milliseconds(self.end.monotonic - self.begin.monotonic)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "start": iso(self.start), "durationMs": self.duration_ms}


def _tracing(out: dict[str, Any], trace_id: str | None) -> None:
    if trace_id is not None:
        out["tracing"] = {"type": TRACE_TYPE, "value": trace_id}


def add_spans(out: dict[str, Any], spans: tuple[Span, ...]) -> None:
    """Put spans into a record that has any."""
    if spans:
        out["spans"] = [span.as_dict() for span in spans]


@named_fact
class InitStart:
    """Init begins."""

    type: ClassVar[str] = "platform.initStart"
    initialization_type: str
    phase: str
    function_name: str
    function_version: str
    instance_id: str
    instance_max_memory: int
    runtime_version: str | None = None
    runtime_version_arn: str | None = None

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "initializationType": self.initialization_type,
            "phase": self.phase,
            "functionName": self.function_name,
            "functionVersion": self.function_version,
        }
        if self.runtime_version is not None:
            out["runtimeVersion"] = self.runtime_version
        if self.runtime_version_arn is not None:
            out["runtimeVersionArn"] = self.runtime_version_arn
        out["instanceId"] = self.instance_id
        out["instanceMaxMemory"] = self.instance_max_memory
        return out


@named_fact
class InitRuntimeDone:
    """The runtime is through with Init, or failed in it."""

    type: ClassVar[str] = "platform.initRuntimeDone"
    initialization_type: str
    phase: str
    status: str
    error_type: str | None = None
    spans: tuple[Span, ...] = ()

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"initializationType": self.initialization_type, "phase": self.phase, "status": self.status}
        if self.error_type is not None:
            out["errorType"] = self.error_type
        add_spans(out, self.spans)
        return out


@named_fact
class InitReport:
    """Init is over, extensions included."""

    type: ClassVar[str] = "platform.initReport"
    initialization_type: str
    phase: str
    status: str
    duration_ms: float
    error_type: str | None = None
    spans: tuple[Span, ...] = ()

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"initializationType": self.initialization_type, "phase": self.phase, "status": self.status}
        if self.error_type is not None:
            out["errorType"] = self.error_type
        out["metrics"] = {"durationMs": self.duration_ms}
        add_spans(out, self.spans)
        return out


@named_fact
class Start:
    """An invocation begins."""

    type: ClassVar[str] = "platform.start"
    request_id: str
    version: str
    trace_id: str | None = None
    tenant_id: str | None = None

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"requestId": self.request_id, "version": self.version}
        _tracing(out, self.trace_id)
        if self.tenant_id is not None:
            out["tenantId"] = self.tenant_id
        return out


@named_fact
class RuntimeDone:
    """The runtime is through with an invocation; extensions may still work."""

    type: ClassVar[str] = "platform.runtimeDone"
    request_id: str
    status: str
    duration_ms: float
    produced_bytes: int | None = None
    error_type: str | None = None
    spans: tuple[Span, ...] = ()
    trace_id: str | None = None
    tenant_id: str | None = None

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"requestId": self.request_id, "status": self.status}
        if self.error_type is not None:
            out["errorType"] = self.error_type
        out["metrics"] = {"durationMs": self.duration_ms}
        if self.produced_bytes is not None:
            out["metrics"]["producedBytes"] = self.produced_bytes
        add_spans(out, self.spans)
        _tracing(out, self.trace_id)
        if self.tenant_id is not None:
            out["tenantId"] = self.tenant_id
        return out


@named_fact
class InvocationReport:
    """An invocation is over, extensions included. `max_memory_used_mb` is measured where the processes run.

    `billed_restore_duration_ms` stands in the text line only: the record does not show it. With `is_concurrent` nothing is
    known of one invocation but the time it took.
    """

    type: ClassVar[str] = "platform.report"
    request_id: str
    status: str
    duration_ms: float
    billed_duration_ms: int
    memory_size_mb: int
    max_memory_used_mb: int
    init_duration_ms: float | None = None
    restore_duration_ms: float | None = None
    error_type: str | None = None
    spans: tuple[Span, ...] = ()
    trace_id: str | None = None
    tenant_id: str | None = None
    billed_restore_duration_ms: int | None = None
    is_concurrent: bool = False

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"requestId": self.request_id, "status": self.status}
        if self.error_type is not None:
            out["errorType"] = self.error_type
        metrics: dict[str, Any] = {"durationMs": self.duration_ms}
        if not self.is_concurrent:
            metrics["billedDurationMs"] = self.billed_duration_ms
            metrics["memorySizeMB"] = self.memory_size_mb
            metrics["maxMemoryUsedMB"] = self.max_memory_used_mb
        if self.init_duration_ms is not None:
            metrics["initDurationMs"] = self.init_duration_ms
        if self.restore_duration_ms is not None:
            metrics["restoreDurationMs"] = self.restore_duration_ms
        out["metrics"] = metrics
        add_spans(out, self.spans)
        _tracing(out, self.trace_id)
        if self.tenant_id is not None:
            out["tenantId"] = self.tenant_id
        return out


@named_fact
class ExtensionState:
    """Where an extension stands at the end of Init: `Ready`, or the state it failed in, with its error type."""

    type: ClassVar[str] = "platform.extension"
    name: str
    state: str
    events: tuple[str, ...]
    error_type: str | None = None

    def record(self) -> dict[str, Any]:
        out: dict[str, Any] = {"name": self.name, "state": self.state, "events": list(self.events)}
        if self.error_type is not None:
            out["errorType"] = self.error_type
        return out


_RARE = frozenset(
    {
        "End",
        "Fault",
        "LogsDropped",
        "LogsSubscription",
        "RestoreReport",
        "RestoreRuntimeDone",
        "RestoreStart",
        "TelemetrySubscription",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _RARE:
        raise AttributeError(name)
    from lambdabox.model import rare_telemetry

    return getattr(rare_telemetry, name)


PlatformRecord: TypeAlias = (
    "InitStart | InitRuntimeDone | InitReport | Start | RuntimeDone | InvocationReport | ExtensionState | TelemetrySubscription"
    " | LogsSubscription | LogsDropped | RestoreStart | RestoreRuntimeDone | RestoreReport | End | Fault"
)
