"""Platform records as text lines (contract 4.8)."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.model.telemetry import (
    End,
    ExtensionState,
    Fault,
    InitReport,
    InitRuntimeDone,
    InitStart,
    InvocationReport,
    LogsDropped,
    LogsSubscription,
    RestoreReport,
    RestoreRuntimeDone,
    RestoreStart,
    RuntimeDone,
    Start,
    TelemetrySubscription,
)
from lambdabox.protocol.log_lines import text_lines


def report(**more: Any) -> InvocationReport:
    facts: dict[str, Any] = {"status": "success", "duration_ms": 2.456, "billed_duration_ms": 417}
    return InvocationReport(request_id="r1", memory_size_mb=1024, max_memory_used_mb=95, **(facts | more))


def init_start(**more: Any) -> InitStart:
    return InitStart(
        initialization_type="on-demand",
        phase="init",
        function_name="f",
        function_version="1",
        instance_id="",
        instance_max_memory=1,
        **more,
    )


def init_report(**more: Any) -> InitReport:
    facts: dict[str, Any] = {"initialization_type": "on-demand", "phase": "init", "status": "success", "duration_ms": 1882.549}
    return InitReport(**(facts | more))


def restore_start(**more: Any) -> RestoreStart:
    return RestoreStart(function_name="f", function_version="1", instance_id="", instance_max_memory=1, **more)


REPORT = "END RequestId: r1\nREPORT RequestId: r1\tDuration: 2.46 ms\tBilled Duration: 417 ms\tMemory Size: 1024 MB\tMax Memory Used: 95 MB\t"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Start(request_id="r1", version="$LATEST"), "START RequestId: r1 Version: $LATEST\n"),
        (report(), f"{REPORT}\n"),
        (report(init_duration_ms=413.61), f"{REPORT}Init Duration: 413.61 ms\t\n"),
        (report(status="timeout"), f"{REPORT}Status: timeout\n"),
        (report(status="error", error_type="Runtime.ExitError"), f"{REPORT}Status: error\tError Type: Runtime.ExitError\n"),
        (
            report(status="error", error_type="E", init_duration_ms=1.0),
            f"{REPORT}Init Duration: 1.00 ms\tStatus: error\tError Type: E\n",
        ),
        (
            report(trace_id="Root=1-2-3;Parent=abc;Sampled=1"),
            f"{REPORT}\nXRAY TraceId: 1-2-3\tSegmentId: abc\tSampled: true\t\n",
        ),
        (report(trace_id="Root=1-2-3;Parent=abc;Sampled=0"), f"{REPORT}\n"),
        (init_start(), ""),
        (
            init_start(runtime_version="python:3.14.v12", runtime_version_arn="arn:r"),
            "INIT_START Runtime Version: python:3.14.v12\tRuntime Version ARN: arn:r\n",
        ),
        (init_report(), ""),
        (init_report(initialization_type="provisioned-concurrency"), "INIT_REPORT Init Duration: 1882.55 ms\tPhase: init\n"),
        (init_report(status="timeout"), "INIT_REPORT Init Duration: 1882.55 ms\tPhase: init\tStatus: timeout\n"),
        (
            init_report(phase="invoke", status="error", error_type="Runtime.ImportModuleError"),
            "INIT_REPORT Init Duration: 1882.55 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError\n",
        ),
        (
            ExtensionState(name="collector", state="Ready", events=("INVOKE", "SHUTDOWN")),
            "EXTENSION\tName: collector\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n",
        ),
        (
            ExtensionState(name="c", state="Exited", events=(), error_type="Extension.Crash"),
            "EXTENSION\tName: c\tState: Exited\tEvents: []\tError Type: Extension.Crash\n",
        ),
        (InitRuntimeDone(initialization_type="on-demand", phase="init", status="success"), ""),
        (RuntimeDone(request_id="r1", status="success", duration_ms=1.0), ""),
        (
            report(restore_duration_ms=511.254, billed_restore_duration_ms=303),
            f"{REPORT}Restore Duration: 511.25 ms\tBilled Restore Duration: 303 ms\t\n",
        ),
        (
            TelemetrySubscription(name="collector", types=("platform", "function")),
            "TELEMETRY\tName: collector\tState: Subscribed\tTypes: [Platform, Function]\n",
        ),
        (
            LogsSubscription(name="collector", types=("platform",)),
            "LOGS\tName: collector\tState: Subscribed\tTypes: [Platform]\n",
        ),
        (restore_start(), ""),
        (
            restore_start(runtime_version="java:21.v1", runtime_version_arn="arn:r"),
            "RESTORE_START Runtime Version: java:21.v1\tRuntime Version ARN: arn:r\n",
        ),
        (RestoreReport(status="success", duration_ms=511.25), "RESTORE_REPORT Restore Duration: 511.25 ms\n"),
        (RestoreReport(status="timeout", duration_ms=1.0), "RESTORE_REPORT Restore Duration: 1.00 ms\tStatus: timeout\n"),
        (
            RestoreReport(status="error", duration_ms=1.0, error_type="E"),
            "RESTORE_REPORT Restore Duration: 1.00 ms\tStatus: error\tError Type: E\n",
        ),
        (RestoreRuntimeDone(status="success"), ""),
        (LogsDropped(dropped_bytes=1, dropped_records=1), ""),
        (End(request_id="r1"), ""),
        (Fault(request_id="r1", status="timeout"), ""),
    ],
)
def test_lines(record: Any, text: str) -> None:
    assert text_lines(record) == text
