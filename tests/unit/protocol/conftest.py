"""A world around one machine: time that stands still until told otherwise, and words for what usually happens."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.model.invocation import Invocation
from lambdabox.model.moment import Now
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.concurrent_machine import machine_for
from lambdabox.protocol.machine import RUNTIME, EnvironmentProfile
from lambdabox.protocol.states import Phase

WALL = 1_790_000_000.0


class World:
    """One machine, its clock, and everything it ever wanted."""

    def __init__(self, **profile: Any) -> None:
        self.machine = machine_for(EnvironmentProfile(function_name="orders", **profile))
        self.time = 0.0
        self.history: list[fx.Effect] = []
        self.identifiers: dict[str, str] = {}

    def is_in(self, phase: Phase) -> bool:
        return self.machine.phase is phase

    @property
    def now(self) -> Now:
        return Now(self.time, WALL + self.time)

    def tell(self, event: ev.Event, *, after: float = 0.0) -> tuple[fx.Effect, ...]:
        self.time += after
        out = self.machine.handle(event, self.now)
        self.history.extend(out)
        return out

    # -- words --------------------------------------------------------------------------------------------------------

    def invoke(
        self, request_id: str = "r1", *, takes_stream: bool = True, after: float = 0.0, **more: Any
    ) -> tuple[fx.Effect, ...]:
        invocation = Invocation(request_id=request_id, payload=b"{}", invoked_function_arn="arn", **more)
        return self.tell(ev.InvokeRequested(invocation, takes_stream), after=after)

    def poll(self, call: str = "next", *, after: float = 0.0) -> tuple[fx.Effect, ...]:
        return self.tell(ev.RuntimePolledNext(call), after=after)

    def respond(
        self, request_id: str = "r1", body: bytes = b"1", *, call: str = "response", after: float = 0.0, **more: Any
    ) -> Any:
        return self.tell(ev.RuntimeResponded(call, request_id, body, more.pop("size", len(body)), **more), after=after)

    def fail(self, request_id: str = "r1", *, call: str = "error", after: float = 0.0) -> tuple[fx.Effect, ...]:
        return self.tell(
            ev.RuntimeFailed(call, request_id, b'{"errorType":"E"}', "application/json", "Runtime.Unknown"), after=after
        )

    def init_error(self, call: str = "init error", *, after: float = 0.0) -> tuple[fx.Effect, ...]:
        event = ev.RuntimeInitFailed(call, b'{"errorType":"I"}', "application/json", "Runtime.ImportModuleError")
        return self.tell(event, after=after)

    def register(self, name: str, *events: str, call: str = "register", identifier: str | None = None) -> tuple[fx.Effect, ...]:
        self.identifiers[name] = identifier or f"id-{name}-{len(self.history)}"
        return self.tell(ev.ExtensionRegistered(call, name, events, self.identifiers[name]))

    def extension_poll(self, name: str, call: str | None = None, *, after: float = 0.0) -> tuple[fx.Effect, ...]:
        return self.tell(ev.ExtensionPolledNext(call or f"{name} next", self.identifiers[name]), after=after)

    def extension_fail(self, name: str, *, in_init: bool, after: float = 0.0) -> tuple[fx.Effect, ...]:
        return self.tell(ev.ExtensionFailed(f"{name} error", self.identifiers[name], in_init, "Extension.Sad"), after=after)

    def subscribe(self, name: str, *types: str, api: str = "telemetry", body: str = "body") -> tuple[fx.Effect, ...]:
        event = ev.TelemetrySubscribed("subscribe", self.identifiers.get(name, name), api, types, "2022-12-13", body)
        return self.tell(event)

    def spawn(self, name: str = RUNTIME, *, is_runtime: bool = True, after: float = 0.0) -> tuple[fx.Effect, ...]:
        return self.tell(ev.ProcessSpawned(name, is_runtime), after=after)

    def restore_poll(self, call: str = "restore next", *, after: float = 0.0) -> tuple[fx.Effect, ...]:
        return self.tell(ev.RuntimePolledRestore(call), after=after)

    def restore_error(self, call: str = "restore error", *, after: float = 0.0) -> tuple[fx.Effect, ...]:
        event = ev.RuntimeRestoreFailed(call, b'{"errorType":"R"}', "application/json", "Runtime.AfterRestoreError")
        return self.tell(event, after=after)

    def exit(self, name: str = RUNTIME, code: int | None = None, *, after: float = 0.0, **more: Any) -> tuple[fx.Effect, ...]:
        return self.tell(ev.ProcessExited(name, code, **more), after=after)

    def deadline(self, *, after: float | None = None) -> tuple[fx.Effect, ...]:
        """Wait until the machine wants to be called, and call it."""
        if after is None:
            assert self.machine.deadline is not None
            self.time = max(self.time, self.machine.deadline)
        else:
            self.time += after
        return self.tell(ev.DeadlineReached())

    def cleared(self, *, after: float = 0.0) -> tuple[fx.Effect, ...]:
        return self.tell(ev.SandboxCleared(), after=after)

    def shutdown(self, reason: str = "spindown", *, after: float = 0.0) -> tuple[fx.Effect, ...]:
        return self.tell(ev.ShutdownRequested(reason), after=after)

    # -- states -------------------------------------------------------------------------------------------------------

    def boot(self, **extensions: tuple[str, ...]) -> World:
        """Init, with these extensions and the events they want; those in the profile are external."""
        self.tell(ev.InitRequested())
        external = self.machine.profile.external_extensions
        for name in external:
            self.register(name, *extensions.get(name, ("INVOKE", "SHUTDOWN")))
        for name, events in extensions.items():
            if name not in external:
                self.register(name, *events)
        for name in (*external, *(name for name in extensions if name not in external)):
            self.extension_poll(name)
        self.poll()
        assert self.machine.phase is Phase.IDLE
        return self

    def dormant(self) -> World:
        """A machine whose processes are gone."""
        self.boot()
        self.exit()
        self.cleared()
        assert self.machine.phase is Phase.DORMANT
        return self

    # -- what was wanted ----------------------------------------------------------------------------------------------

    def wanted(self, kind: type, out: Any = None) -> list[Any]:
        return [effect for effect in (self.history if out is None else out) if type(effect) is kind]

    def one(self, kind: type, out: Any = None) -> Any:
        found = self.wanted(kind, out)
        assert len(found) == 1, found
        return found[0]

    def records(self, out: Any = None) -> list[tuple[str, str | None, str | None]]:
        """Telemetry as (type without `platform.`, status or state, error type)."""
        return [
            (
                effect.record.type.removeprefix("platform."),
                getattr(effect.record, "status", getattr(effect.record, "state", None)),
                getattr(effect.record, "error_type", None),
            )
            for effect in self.wanted(fx.EmitTelemetry, out)
        ]


@pytest.fixture
def new_world() -> type[World]:
    return World


@pytest.fixture
def world() -> World:
    """A machine without extensions, before Init."""
    return World()


@pytest.fixture
def idle() -> World:
    """A machine without extensions, waiting for its first invocation."""
    return World().boot()
