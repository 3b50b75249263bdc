"""How a simulated environment stands, in a line: what a waiter in vain is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lambdabox.engine.invocation_state import InvocationState
from lambdabox.protocol.machine import EnvironmentMachine


def present_state(
    machine: EnvironmentMachine | None,
    states: Iterable[InvocationState],
    *,
    init_error: str | None,
    freezes: bool,
    freezing: str,
) -> str:
    """Phase, runtime, extensions and invocations."""
    if machine is None:
        return "not started"
    extensions = ", ".join(f"{found.name} {found.phase}" for found in tuple(machine.extensions.values()))
    counts = Counter(state.status.name for state in tuple(states))
    parts = [
        f"phase {machine.phase}",
        f"runtime {machine.runtime}",
        f"extensions {extensions}" if extensions else "no extensions",
        "invocations: " + (", ".join(f"{count} {name}" for name, count in counts.items()) or "none"),
    ]
    if init_error is not None:
        parts.append(f"Init failed: {init_error}")
    if freezes and freezing:
        parts.append(freezing)
    return "; ".join(parts)
