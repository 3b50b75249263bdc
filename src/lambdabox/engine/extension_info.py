"""Registered extensions, for who looks at an environment from outside."""

from __future__ import annotations

from dataclasses import dataclass

from lambdabox.protocol.machine import EnvironmentMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionInfo:
    """A registered extension. `state` is AWS's name of it: `Registered`, `Ready`, `Running`, `Exited` and so on."""

    name: str
    identifier: str
    events: tuple[str, ...]
    is_external: bool
    state: str


def registered(machine: EnvironmentMachine) -> list[ExtensionInfo]:
    """The extensions that have registered, in that order."""
    return [
        ExtensionInfo(
            name=extension.name,
            identifier=extension.identifier,
            events=extension.events,
            is_external=extension.is_external,
            state=str(extension.phase),
        )
        for extension in machine.extensions.values()
        if extension.identifier is not None
    ]
