"""The JSON log format: system records as JSON lines, and the levels that decide what is logged (contract 3.4).

| system record | level |
| initStart, restoreStart | INFO if the runtime version is known, else DEBUG |
| initRuntimeDone, runtimeDone, restoreRuntimeDone | DEBUG on success, else WARN |
| initReport | on-demand DEBUG, other initialization types INFO, no success WARN |
| restoreReport, report, extension | INFO on success, else WARN |
| start, telemetrySubscription, logsSubscription | INFO |
| logsDropped | WARN |

Levels decide what CloudWatch gets: the log here. Telemetry subscribers get every record whatever the level.

Parity: an application line without a `timestamp` keeps its level, AWS takes it for INFO.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from lambdabox.model.function import Function
from lambdabox.model.moment import iso
from lambdabox.model.runtimes import RUNTIMES
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
    PlatformRecord,
    RestoreReport,
    RestoreRuntimeDone,
    RestoreStart,
    RuntimeDone,
    Start,
    TelemetrySubscription,
)

JSON = "JSON"
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_RANK = {level: rank for rank, level in enumerate(LEVELS)}
_INFO = _RANK["INFO"]
_READY = "Ready"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class JsonLogs:
    """The JSON log of one function: what its levels let through."""

    __slots__ = ("_application", "_filters", "_system")

    def __init__(self, function: Function) -> None:
        self._system = rank_of(function.system_log_level)
        self._application = rank_of(function.application_log_level)
        self._filters = platform_filters(function.runtime)

    def line(self, record: PlatformRecord, wall: float) -> str:
        """The JSON line of a record; empty when it is not to be logged."""
        return system_line(record, wall, self._system)

    def hides(self, line: bytes) -> bool:
        """Whether the platform keeps a line of the function out of the log."""
        return self._filters and application_rank(line) < self._application


def rank_of(level: str | None) -> int:
    """The place of a level among LEVELS; INFO when it is not set or unknown."""
    return _INFO if level is None else _RANK.get(level.upper(), _INFO)


def system_line(record: PlatformRecord, wall: float, minimum: int) -> str:
    """The JSON line of a record, newline included; empty when its level ranks below `minimum` or the format does not show it."""
    level = system_level(record)
    if level is None or _RANK[level] < minimum:
        return ""
    event = {"time": iso(wall), "type": record.type, "record": record.record()}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n"


def system_level(record: PlatformRecord) -> str | None:
    """The level of a system record; None for what only the Logs API knows."""
    return _LEVEL_RULES[type(record)](record)


def _start(record: InitStart | RestoreStart) -> str:
    return "DEBUG" if record.runtime_version is None else "INFO"


def _done(record: InitRuntimeDone | RuntimeDone | RestoreRuntimeDone) -> str:
    return "DEBUG" if record.status == "success" else "WARN"


def _init_report(record: InitReport) -> str:
    if record.status != "success":
        return "WARN"
    return "DEBUG" if record.initialization_type == "on-demand" else "INFO"


def _report(record: InvocationReport | RestoreReport) -> str:
    return "INFO" if record.status == "success" else "WARN"


def _extension(record: ExtensionState) -> str:
    return "INFO" if record.state == _READY and record.error_type is None else "WARN"


def _info(_record: PlatformRecord) -> str:
    return "INFO"


def _warn(_record: PlatformRecord) -> str:
    return "WARN"


def _unknown(_record: PlatformRecord) -> None:
    return None


_LEVEL_RULES: dict[type, Callable[[Any], str | None]] = {
    InitStart: _start,
    RestoreStart: _start,
    InitRuntimeDone: _done,
    RuntimeDone: _done,
    RestoreRuntimeDone: _done,
    InitReport: _init_report,
    RestoreReport: _report,
    InvocationReport: _report,
    ExtensionState: _extension,
    Start: _info,
    TelemetrySubscription: _info,
    LogsSubscription: _info,
    LogsDropped: _warn,
    End: _unknown,
    Fault: _unknown,
}


# -- what applications write ------------------------------------------------------------------------------------------

# Languages whose own clients write JSON and filter it, from the version on (contract 3.4).
_WRITES_JSON = {"python": (3, 8), "nodejs": (16,), "java": (8,), "dotnet": (8,), "ruby": (4, 0)}


def platform_filters(runtime: str) -> bool:
    """Whether the platform, not the runtime, applies the application log level."""
    identifier = RUNTIMES.get(runtime)
    if identifier is None or runtime == "java8":
        return True
    least = _WRITES_JSON.get(identifier.language)
    return least is None or identifier.version_tuple < least


def json_object(line: bytes) -> dict[str, Any] | None:
    """A log line that is a JSON object."""
    text = line.strip()
    if not text.startswith(b"{") or not text.endswith(b"}"):
        return None
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def application_rank(line: bytes) -> int:
    """The rank of an application's line by its `level` key; INFO when it has none that is valid, or its `timestamp` is not RFC 3339."""
    found = json_object(line)
    if found is None:
        return _INFO
    level, timestamp = found.get("level"), found.get("timestamp")
    if not isinstance(level, str):
        return _INFO
    if timestamp is not None and not (isinstance(timestamp, str) and _RFC3339.fullmatch(timestamp)):
        return _INFO
    return rank_of(level)
