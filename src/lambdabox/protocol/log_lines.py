"""Platform records as text log lines (contract 4.8), in today's style: failures show in REPORT and INIT_REPORT."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambdabox.model.telemetry import (
        ExtensionState,
        InitReport,
        InitStart,
        InvocationReport,
        LogsSubscription,
        PlatformRecord,
        RestoreReport,
        RestoreStart,
        Start,
        TelemetrySubscription,
    )


def text_lines(record: PlatformRecord) -> str:
    """The line or lines of a record, each ending in a newline; empty for what the text format does not show."""
    render = _RENDERERS.get(record.type)
    return "" if render is None else render(record)


def _init_start(record: InitStart) -> str:
    if record.runtime_version is None:
        return ""
    return f"INIT_START Runtime Version: {record.runtime_version}\tRuntime Version ARN: {record.runtime_version_arn}\n"


def _init_report(record: InitReport) -> str:
    if record.status == "success" and record.initialization_type == "on-demand":
        return ""
    line = f"INIT_REPORT Init Duration: {record.duration_ms:.2f} ms\tPhase: {record.phase}"
    return line + _status(record.status, record.error_type) + "\n"


def _restore_start(record: RestoreStart) -> str:
    if record.runtime_version is None:
        return ""
    return f"RESTORE_START Runtime Version: {record.runtime_version}\tRuntime Version ARN: {record.runtime_version_arn}\n"


def _restore_report(record: RestoreReport) -> str:
    line = f"RESTORE_REPORT Restore Duration: {record.duration_ms:.2f} ms"
    return line + _status(record.status, record.error_type) + "\n"


def _telemetry_subscription(record: TelemetrySubscription) -> str:
    return f"TELEMETRY\tName: {record.name}\tState: {record.state}\tTypes: [{_titled(record.types)}]\n"


def _logs_subscription(record: LogsSubscription) -> str:
    return f"LOGS\tName: {record.name}\tState: {record.state}\tTypes: [{_titled(record.types)}]\n"


def _titled(types: tuple[str, ...]) -> str:
    return ", ".join(kind.capitalize() for kind in types)


def _extension(record: ExtensionState) -> str:
    line = f"EXTENSION\tName: {record.name}\tState: {record.state}\tEvents: [{', '.join(record.events)}]"
    if record.error_type is not None:
        line += f"\tError Type: {record.error_type}"
    return line + "\n"


def _start(record: Start) -> str:
    return f"START RequestId: {record.request_id} Version: {record.version}\n"


def _report(record: InvocationReport) -> str:
    line = (
        f"END RequestId: {record.request_id}\n"
        f"REPORT RequestId: {record.request_id}\tDuration: {record.duration_ms:.2f} ms\t"
        f"Billed Duration: {record.billed_duration_ms} ms\tMemory Size: {record.memory_size_mb} MB\t"
        f"Max Memory Used: {record.max_memory_used_mb} MB\t"
    )
    if record.init_duration_ms is not None:
        line += f"Init Duration: {record.init_duration_ms:.2f} ms\t"
    if record.restore_duration_ms is not None:
        line += f"Restore Duration: {record.restore_duration_ms:.2f} ms\t"
    if record.billed_restore_duration_ms is not None:
        line += f"Billed Restore Duration: {record.billed_restore_duration_ms} ms\t"
    if record.status != "success":
        line = line.removesuffix("\t") + _status(record.status, record.error_type)
    trace_id = record.trace_id
    if trace_id is None or "Sampled=1" not in trace_id:
        return f"{line}\n"
    return f"{line}\n{_trace(trace_id)}\n"


def _status(status: str, error_type: str | None) -> str:
    if status == "success":
        return ""
    out = f"\tStatus: {status}"
    if error_type is not None:
        out += f"\tError Type: {error_type}"
    return out


def _trace(trace_id: str | None) -> str:
    """The XRAY line of a sampled invocation."""
    if not trace_id or "Sampled=1" not in trace_id:
        return ""
    parts = dict(part.split("=", 1) for part in trace_id.split(";") if "=" in part)
    return f"XRAY TraceId: {parts.get('Root', '')}\tSegmentId: {parts.get('Parent', '')}\tSampled: true\t"


# By type name: the classes of rare records are not even made for this.
_RENDERERS: dict[str, Callable[[Any], str]] = {
    "platform.initStart": _init_start,
    "platform.initReport": _init_report,
    "platform.extension": _extension,
    "platform.start": _start,
    "platform.report": _report,
    "platform.telemetrySubscription": _telemetry_subscription,
    "platform.logsSubscription": _logs_subscription,
    "platform.restoreStart": _restore_start,
    "platform.restoreReport": _restore_report,
}
