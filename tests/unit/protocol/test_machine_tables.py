"""Every cell of the two state tables: what is listed moves, everything else is refused and moves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import (
    EXTENSION_TABLE,
    RUNTIME_TABLE,
    ExtensionCall,
    ExtensionPhase,
    Phase,
    RuntimeCall,
    RuntimeState,
    transition_refused,
)

MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "self-started": {"self_started": True, "external_by_default": True},
    "snap-start": {"initialization_type": "snap-start"},
    "numbered": {"sends_invocation_id": True},
}


@pytest.fixture(params=list(MODES))
def mode(request: Any) -> dict[str, Any]:
    """What a profile says beside the name."""
    return MODES[request.param]


@pytest.fixture
def invoked(new_world: Any, mode: dict[str, Any]) -> Any:
    """An invocation is under way."""
    world = new_world(**mode)
    world.tell(ev.InitRequested())
    world.poll()
    world.invoke()
    assert world.is_in(Phase.INVOKE)
    return world


def test_every_state_has_a_row() -> None:
    assert set(RUNTIME_TABLE) == set(RuntimeState)
    assert set(EXTENSION_TABLE) == set(ExtensionPhase)


def test_the_runtime_table_is_the_contracts() -> None:
    """Contract 1.9, row by row; a response's way through INVOCATION_RESPONSE ends in RESPONSE_SENT."""
    allowed = {(state, call): target for state, row in RUNTIME_TABLE.items() for call, target in row.items()}
    assert allowed == {
        (RuntimeState.STARTED, RuntimeCall.NEXT): RuntimeState.READY,
        (RuntimeState.STARTED, RuntimeCall.INIT_ERROR): RuntimeState.INIT_ERROR,
        (RuntimeState.STARTED, RuntimeCall.RESTORE_NEXT): RuntimeState.RESTORE_READY,
        (RuntimeState.READY, RuntimeCall.NEXT): RuntimeState.READY,
        (RuntimeState.RUNNING, RuntimeCall.NEXT): RuntimeState.RUNNING,
        (RuntimeState.RUNNING, RuntimeCall.RESPONSE): RuntimeState.INVOCATION_RESPONSE,
        (RuntimeState.RUNNING, RuntimeCall.ERROR): RuntimeState.INVOCATION_ERROR_RESPONSE,
        (RuntimeState.RESPONSE_SENT, RuntimeCall.NEXT): RuntimeState.READY,
        (RuntimeState.RESTORE_READY, RuntimeCall.NEXT): RuntimeState.READY,
        (RuntimeState.RESTORING, RuntimeCall.NEXT): RuntimeState.READY,
        (RuntimeState.RESTORING, RuntimeCall.INIT_ERROR): RuntimeState.RESTORE_ERROR,
        (RuntimeState.RESTORING, RuntimeCall.RESTORE_ERROR): RuntimeState.RESTORE_ERROR,
    }


def call_event(call: RuntimeCall, request_id: str = "r1") -> Any:
    if call is RuntimeCall.NEXT:
        return ev.RuntimePolledNext("walk")
    if call is RuntimeCall.RESPONSE:
        return ev.RuntimeResponded("walk", request_id, b"1", 1)
    if call is RuntimeCall.ERROR:
        return ev.RuntimeFailed("walk", request_id, b"1", "application/json", "Runtime.Unknown")
    if call is RuntimeCall.RESTORE_NEXT:
        return ev.RuntimePolledRestore("walk")
    if call is RuntimeCall.RESTORE_ERROR:
        return ev.RuntimeRestoreFailed("walk", b"{}", "application/json", "Runtime.Unknown")
    return ev.RuntimeInitFailed("walk", b"{}", "application/json", "Runtime.Unknown")


@pytest.mark.parametrize("call", list(RuntimeCall))
@pytest.mark.parametrize("state", list(RuntimeState))
def test_walk_the_runtime_table(invoked: Any, state: RuntimeState, call: RuntimeCall) -> None:
    """With an active id, so that the id check lets everything through to the table."""
    machine = invoked.machine
    machine.runtime = state
    before = (machine.phase, machine.flight, list(machine._parked), machine._parked_restore, machine.deadline)
    out = invoked.tell(call_event(call))
    if call in RUNTIME_TABLE[state]:
        assert not invoked.wanted(fx.Refuse, out)
        return
    assert out == (fx.Refuse("walk", 403, "InvalidStateTransition", transition_refused(state, call, "runtime")),)
    assert machine.runtime is state
    assert (machine.phase, machine.flight, list(machine._parked), machine._parked_restore, machine.deadline) == before


@pytest.mark.parametrize("call", [RuntimeCall.RESPONSE, RuntimeCall.ERROR])
@pytest.mark.parametrize("state", list(RuntimeState))
def test_the_id_is_checked_before_the_state(invoked: Any, state: RuntimeState, call: RuntimeCall) -> None:
    invoked.machine.runtime = state
    assert invoked.tell(call_event(call, "other")) == (fx.Refuse("walk", 400, "InvalidRequestID", "Invalid request ID"),)
    assert invoked.machine.runtime is state


@pytest.mark.parametrize("call", list(RuntimeCall))
@pytest.mark.parametrize("state", [RuntimeState.STARTED, RuntimeState.INIT_ERROR, RuntimeState.READY])
def test_walk_the_states_of_a_runtime_with_several_workers(new_world: Any, state: RuntimeState, call: RuntimeCall) -> None:
    """Answers belong to invocations, not to the runtime's state; everything else goes by the same table."""
    world = new_world(max_concurrency=2)
    world.tell(ev.InitRequested())
    if state is not RuntimeState.STARTED:
        world.poll() if state is RuntimeState.READY else world.init_error()
    phase = world.machine.phase
    out = world.tell(call_event(call))
    if call in (RuntimeCall.RESPONSE, RuntimeCall.ERROR):
        assert out == (fx.Refuse("walk", 400, "InvalidRequestID", "Invalid request ID"),)
    elif call in RUNTIME_TABLE[state]:
        assert not world.wanted(fx.Refuse, out)
    else:
        assert out == (fx.Refuse("walk", 403, "InvalidStateTransition", transition_refused(state, call, "runtime")),)
        assert (world.machine.runtime, world.machine.phase) == (state, phase)


@pytest.mark.parametrize("call", [RuntimeCall.RESPONSE, RuntimeCall.ERROR])
def test_without_an_active_invocation_every_id_is_unknown(idle: Any, call: RuntimeCall) -> None:
    assert idle.one(fx.Refuse, idle.tell(call_event(call))).status == 400


EXTENSION_CALLS = {
    ExtensionCall.NEXT: lambda identifier: ev.ExtensionPolledNext("walk", identifier),
    ExtensionCall.INIT_ERROR: lambda identifier: ev.ExtensionFailed("walk", identifier, in_init=True, error_type="X"),
    ExtensionCall.EXIT_ERROR: lambda identifier: ev.ExtensionFailed("walk", identifier, in_init=False, error_type="X"),
}


@pytest.mark.parametrize("call", list(EXTENSION_CALLS))
@pytest.mark.parametrize("phase", list(ExtensionPhase))
def test_walk_the_extension_table(new_world: Any, mode: dict[str, Any], phase: ExtensionPhase, call: ExtensionCall) -> None:
    world = new_world(**mode)
    world.tell(ev.InitRequested())
    world.register("inner", "INVOKE")
    world.extension_poll("inner")
    world.poll()
    world.invoke()
    extension = world.machine.extensions["inner"]
    extension.phase, parked = phase, extension.parked
    out = world.tell(EXTENSION_CALLS[call](world.identifiers["inner"]))
    if call in EXTENSION_TABLE[phase]:
        assert not world.wanted(fx.Refuse, out)
        return
    message = transition_refused(phase, call, "extension inner")
    assert out == (fx.Refuse("walk", 403, "Extension.InvalidExtensionState", message),)
    assert (extension.phase, extension.parked, world.machine.phase) == (phase, parked, Phase.INVOKE)


def test_repeating_an_error_report_changes_nothing(new_world: Any) -> None:
    world = new_world().boot(inner=())
    world.extension_fail("inner", in_init=False)
    phase = world.machine.phase
    assert world.extension_fail("inner", in_init=False) == (fx.Accept("inner error"),)
    assert world.is_in(phase)


def test_the_refusal_is_worded_as_on_aws() -> None:
    assert (
        transition_refused(RuntimeState.STARTED, RuntimeCall.RESPONSE, "runtime")
        == "State transition from Started to InvocationResponse failed for runtime. Error: State transition is not allowed"
    )
