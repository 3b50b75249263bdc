"""Telemetry records as JSON (contract 3.3)."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.model import telemetry as t
from lambdabox.model.moment import Now

TRACING = {"tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1"}}
SPAN = t.Span("responseLatency", Now(5.0, 1_790_000_000.0), Now(5.0171, 1_790_000_000.0171))
SPANS = {"spans": [{"name": "responseLatency", "start": "2026-09-21T14:13:20.000Z", "durationMs": 17.1}]}
INIT: dict[str, Any] = {"initialization_type": "on-demand", "phase": "init", "status": "success"}
INIT_RECORD = {"initializationType": "on-demand", "phase": "init", "status": "success"}


@pytest.mark.parametrize(
    ("record", "kind", "found"),
    [
        (
            t.InitStart(
                initialization_type="on-demand",
                phase="init",
                function_name="orders",
                function_version="7",
                instance_id="stream",
                instance_max_memory=1,
                runtime_version="python:3.14.v12",
                runtime_version_arn="arn:r",
            ),
            "platform.initStart",
            {
                "initializationType": "on-demand",
                "phase": "init",
                "functionName": "orders",
                "functionVersion": "7",
                "instanceId": "stream",
                "instanceMaxMemory": 1,
                "runtimeVersion": "python:3.14.v12",
                "runtimeVersionArn": "arn:r",
            },
        ),
        (t.InitRuntimeDone(**INIT), "platform.initRuntimeDone", INIT_RECORD),
        (t.InitRuntimeDone(**INIT, error_type="E"), "platform.initRuntimeDone", INIT_RECORD | {"errorType": "E"}),
        (t.InitReport(**INIT, duration_ms=1.5), "platform.initReport", INIT_RECORD | {"metrics": {"durationMs": 1.5}}),
        (
            t.InitReport(**INIT, duration_ms=1.5, error_type="E"),
            "platform.initReport",
            INIT_RECORD | {"errorType": "E", "metrics": {"durationMs": 1.5}},
        ),
        (t.Start(request_id="r1", version="7"), "platform.start", {"requestId": "r1", "version": "7"}),
        (
            t.Start(request_id="r1", version="7", trace_id="Root=1", tenant_id="t"),
            "platform.start",
            {"requestId": "r1", "version": "7", "tenantId": "t"} | TRACING,
        ),
        (
            t.RuntimeDone(request_id="r1", status="success", duration_ms=1.5),
            "platform.runtimeDone",
            {"requestId": "r1", "status": "success", "metrics": {"durationMs": 1.5}},
        ),
        (
            t.RuntimeDone(
                request_id="r1",
                status="error",
                duration_ms=1.5,
                produced_bytes=0,
                error_type="E",
                spans=(SPAN,),
                trace_id="Root=1",
                tenant_id="t",
            ),
            "platform.runtimeDone",
            {
                "requestId": "r1",
                "status": "error",
                "errorType": "E",
                "metrics": {"durationMs": 1.5, "producedBytes": 0},
                "tenantId": "t",
            }
            | SPANS
            | TRACING,
        ),
        (
            t.InvocationReport(
                request_id="r1", status="success", duration_ms=1.5, billed_duration_ms=2, memory_size_mb=128, max_memory_used_mb=9
            ),
            "platform.report",
            {
                "requestId": "r1",
                "status": "success",
                "metrics": {"durationMs": 1.5, "billedDurationMs": 2, "memorySizeMB": 128, "maxMemoryUsedMB": 9},
            },
        ),
        (
            t.InvocationReport(
                request_id="r1",
                status="error",
                duration_ms=1.5,
                billed_duration_ms=2,
                memory_size_mb=128,
                max_memory_used_mb=9,
                init_duration_ms=3.5,
                restore_duration_ms=4.5,
                error_type="E",
                spans=(SPAN,),
                trace_id="Root=1",
                tenant_id="t",
            ),
            "platform.report",
            {
                "requestId": "r1",
                "status": "error",
                "errorType": "E",
                "metrics": {
                    "durationMs": 1.5,
                    "billedDurationMs": 2,
                    "memorySizeMB": 128,
                    "maxMemoryUsedMB": 9,
                    "initDurationMs": 3.5,
                    "restoreDurationMs": 4.5,
                },
                "tenantId": "t",
            }
            | SPANS
            | TRACING,
        ),
        (
            t.ExtensionState(name="c", state="Ready", events=("INVOKE",)),
            "platform.extension",
            {"name": "c", "state": "Ready", "events": ["INVOKE"]},
        ),
        (
            t.ExtensionState(name="c", state="Exited", events=(), error_type="E"),
            "platform.extension",
            {"name": "c", "state": "Exited", "events": [], "errorType": "E"},
        ),
        (t.InitRuntimeDone(**INIT, spans=(SPAN,)), "platform.initRuntimeDone", INIT_RECORD | SPANS),
        (
            t.InitReport(**INIT, duration_ms=1.5, spans=(SPAN,)),
            "platform.initReport",
            INIT_RECORD | {"metrics": {"durationMs": 1.5}} | SPANS,
        ),
        (
            t.TelemetrySubscription(name="c", types=("platform", "function")),
            "platform.telemetrySubscription",
            {"name": "c", "state": "Subscribed", "types": ["platform", "function"]},
        ),
        (
            t.LogsSubscription(name="c", types=("platform",)),
            "platform.logsSubscription",
            {"name": "c", "state": "Subscribed", "types": ["platform"]},
        ),
        (
            t.LogsDropped(dropped_bytes=7, dropped_records=2, reason="slow"),
            "platform.logsDropped",
            {"droppedBytes": 7, "droppedRecords": 2, "reason": "slow"},
        ),
        (
            t.RestoreStart(function_name="f", function_version="7", instance_id="s", instance_max_memory=1),
            "platform.restoreStart",
            {"functionName": "f", "functionVersion": "7", "instanceId": "s", "instanceMaxMemory": 1},
        ),
        (
            t.RestoreStart(
                function_name="f",
                function_version="7",
                instance_id="s",
                instance_max_memory=1,
                runtime_version="java:21.v1",
                runtime_version_arn="arn:r",
            ),
            "platform.restoreStart",
            {
                "functionName": "f",
                "functionVersion": "7",
                "runtimeVersion": "java:21.v1",
                "runtimeVersionArn": "arn:r",
                "instanceId": "s",
                "instanceMaxMemory": 1,
            },
        ),
        (t.RestoreRuntimeDone(status="success"), "platform.restoreRuntimeDone", {"status": "success"}),
        (
            t.RestoreRuntimeDone(status="error", error_type="E", spans=(SPAN,)),
            "platform.restoreRuntimeDone",
            {"status": "error", "errorType": "E"} | SPANS,
        ),
        (
            t.RestoreReport(status="success", duration_ms=1.5),
            "platform.restoreReport",
            {"status": "success", "metrics": {"durationMs": 1.5}},
        ),
        (
            t.RestoreReport(status="error", duration_ms=1.5, error_type="E", spans=(SPAN,)),
            "platform.restoreReport",
            {"status": "error", "errorType": "E", "metrics": {"durationMs": 1.5}} | SPANS,
        ),
        (t.End(request_id="r1"), "platform.end", {"requestId": "r1"}),
        (t.Fault(request_id="r1", status="timeout"), "platform.fault", "RequestId: r1 Status: timeout"),
        (
            t.Fault(request_id="r1", status="error", error_type="Runtime.ExitError"),
            "platform.fault",
            "RequestId: r1 Status: error\tErrorType: Runtime.ExitError",
        ),
    ],
)
def test_records(record: Any, kind: str, found: dict[str, Any]) -> None:
    assert record.type == kind
    assert record.record() == found


def test_init_start_without_a_runtime_version_leaves_it_out() -> None:
    record = t.InitStart(
        initialization_type="on-demand",
        phase="init",
        function_name="f",
        function_version="1",
        instance_id="s",
        instance_max_memory=1,
    )
    assert "runtimeVersion" not in record.record()


def test_an_event_is_a_record_with_time_and_type() -> None:
    assert t.TelemetryEvent(time="t", type="function", record="line").as_dict() == {
        "time": "t",
        "type": "function",
        "record": "line",
    }
