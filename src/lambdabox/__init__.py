"""AWS Lambda on your own machine: real runtimes on a real Runtime API, in milliseconds, without Docker and without an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambdabox.local import LocalLambda
    from lambdabox.model.function import Function
    from lambdabox.model.invocation import Invocation, InvocationResult, InvocationStatus
    from lambdabox.service import LambdaService
    from lambdabox.simulator import FreezeMode, Simulator

__all__ = [
    "FreezeMode",
    "Function",
    "Invocation",
    "InvocationResult",
    "InvocationStatus",
    "LambdaService",
    "LocalLambda",
    "Simulator",
]

_HOMES = {
    "FreezeMode": "lambdabox.simulator",
    "Function": "lambdabox.model.function",
    "Invocation": "lambdabox.model.invocation",
    "InvocationResult": "lambdabox.model.invocation",
    "InvocationStatus": "lambdabox.model.invocation",
    "LambdaService": "lambdabox.service",
    "LocalLambda": "lambdabox.local",
    "Simulator": "lambdabox.simulator",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for: the command line imports what it needs and nothing else."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
