"""Tools for tests of handlers, runtimes, extensions and telemetry pipelines; lambdabox's own tests use them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambdabox.engine.waiters import Waiters
    from lambdabox.testing.clock import ManualClock
    from lambdabox.testing.context import FakeLambdaContext
    from lambdabox.testing.receiver import TelemetryReceiver
    from lambdabox.testing.scripted import ExtensionEvent, ScriptedExtension, ScriptedInvocation, ScriptedRuntime

__all__ = [
    "ExtensionEvent",
    "FakeLambdaContext",
    "ManualClock",
    "ScriptedExtension",
    "ScriptedInvocation",
    "ScriptedRuntime",
    "TelemetryReceiver",
    "Waiters",
]

_HOMES = {
    "ExtensionEvent": "lambdabox.testing.scripted",
    "FakeLambdaContext": "lambdabox.testing.context",
    "ManualClock": "lambdabox.testing.clock",
    "ScriptedExtension": "lambdabox.testing.scripted",
    "ScriptedInvocation": "lambdabox.testing.scripted",
    "ScriptedRuntime": "lambdabox.testing.scripted",
    "TelemetryReceiver": "lambdabox.testing.receiver",
    "Waiters": "lambdabox.engine.waiters",
}


def __getattr__(name: str) -> object:
    """Load a name when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
