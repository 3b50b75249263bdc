"""System logs as JSON, and the levels (contract 3.4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdabox.model import telemetry as t
from lambdabox.protocol.json_logs import (
    LEVELS,
    application_rank,
    json_object,
    platform_filters,
    rank_of,
    system_level,
    system_line,
)

PLACE: dict[str, Any] = {"function_name": "f", "function_version": "1", "instance_id": "s", "instance_max_memory": 1}
INIT: dict[str, Any] = {"initialization_type": "on-demand", "phase": "init"}
REPORT: dict[str, Any] = {
    "request_id": "r",
    "duration_ms": 1.0,
    "billed_duration_ms": 1,
    "memory_size_mb": 128,
    "max_memory_used_mb": 9,
}


@pytest.mark.parametrize(
    ("record", "level"),
    [
        (t.InitStart(**INIT, **PLACE), "DEBUG"),
        (t.InitStart(**INIT, **PLACE, runtime_version="python:3.14"), "INFO"),
        (t.RestoreStart(**PLACE), "DEBUG"),
        (t.RestoreStart(**PLACE, runtime_version="java:21"), "INFO"),
        (t.InitRuntimeDone(**INIT, status="success"), "DEBUG"),
        (t.InitRuntimeDone(**INIT, status="error"), "WARN"),
        (t.RestoreRuntimeDone(status="success"), "DEBUG"),
        (t.RestoreRuntimeDone(status="timeout"), "WARN"),
        (t.RuntimeDone(request_id="r", status="success", duration_ms=1.0), "DEBUG"),
        (t.RuntimeDone(request_id="r", status="timeout", duration_ms=1.0), "WARN"),
        (t.InitReport(**INIT, status="success", duration_ms=1.0), "DEBUG"),
        (t.InitReport(initialization_type="snap-start", phase="init", status="success", duration_ms=1.0), "INFO"),
        (t.InitReport(**INIT, status="timeout", duration_ms=1.0), "WARN"),
        (t.RestoreReport(status="success", duration_ms=1.0), "INFO"),
        (t.RestoreReport(status="error", duration_ms=1.0), "WARN"),
        (t.InvocationReport(**REPORT, status="success"), "INFO"),
        (t.InvocationReport(**REPORT, status="error"), "WARN"),
        (t.Start(request_id="r", version="1"), "INFO"),
        (t.ExtensionState(name="c", state="Ready", events=()), "INFO"),
        (t.ExtensionState(name="c", state="Exited", events=(), error_type="Extension.Crash"), "WARN"),
        (t.TelemetrySubscription(name="c", types=("platform",)), "INFO"),
        (t.LogsSubscription(name="c", types=("platform",)), "INFO"),
        (t.LogsDropped(dropped_bytes=1, dropped_records=1), "WARN"),
        (t.End(request_id="r"), None),
        (t.Fault(request_id="r", status="error"), None),
    ],
)
def test_levels(record, level):
    assert system_level(record) == level


def test_a_system_line_is_the_telemetry_event():
    record = t.Start(request_id="r", version="1")
    line = system_line(record, 1_790_000_000.5, rank_of("INFO"))
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "time": "2026-09-21T14:13:20.500Z",
        "type": "platform.start",
        "record": {"requestId": "r", "version": "1"},
    }


def test_what_ranks_below_the_level_is_not_logged():
    record = t.Start(request_id="r", version="1")
    assert system_line(record, 0.0, rank_of("WARN")) == ""
    assert system_line(record, 0.0, rank_of("DEBUG")) != ""
    assert system_line(t.End(request_id="r"), 0.0, 0) == ""


def test_levels_rank_in_order_and_info_is_the_default():
    assert [rank_of(level) for level in LEVELS] == list(range(6))
    assert rank_of("warn") == rank_of("WARN")
    assert rank_of(None) == rank_of("nonsense") == rank_of("INFO")


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b'{"level":"DEBUG","message":"m"}\n', "DEBUG"),
        (b'{"level":"error"}', "ERROR"),
        (b'{"level":"TRACE","timestamp":"2026-07-01T08:00:00.001Z"}\n', "TRACE"),
        (b'{"level":"FATAL","timestamp":"2026-07-01T08:00:00+02:00"}\n', "FATAL"),
        (b'{"level":"DEBUG","timestamp":"yesterday"}\n', "INFO"),
        (b'{"level":"DEBUG","timestamp":17}\n', "INFO"),
        (b'{"level":"LOUD"}\n', "INFO"),
        (b'{"level":3}\n', "INFO"),
        (b'{"message":"m"}\n', "INFO"),
        (b"plain\n", "INFO"),
        (b'{"level":"DEBUG"\n', "INFO"),
        (b"", "INFO"),
    ],
)
def test_the_level_of_an_application_line(line, level):
    assert application_rank(line) == rank_of(level)


@pytest.mark.parametrize("line", [b"[1]", b"1", b'"x"', b"{", b'{"a":NaN}', b'{"a":"\xff"}', b"{" * 100_000 + b"}"])
def test_lines_that_are_no_json_objects(line):
    assert json_object(line) is None


def test_a_json_object_is_found_between_spaces():
    assert json_object(b'  {"a": 1}\r\n') == {"a": 1}


@pytest.mark.parametrize(
    ("runtime", "filters"),
    [
        ("provided.al2023", True),
        ("go1.x", True),
        ("python3.13", False),
        ("python3.7", True),
        ("nodejs22.x", False),
        ("nodejs14.x", True),
        ("java21", False),
        ("java8", True),
        ("java8.al2", False),
        ("dotnet8", False),
        ("dotnet6", True),
        ("ruby3.4", True),
        ("ruby4.0", False),
        ("cobol74", True),
    ],
)
def test_the_platform_filters_for_runtimes_that_do_not(runtime, filters):
    assert platform_filters(runtime) is filters
