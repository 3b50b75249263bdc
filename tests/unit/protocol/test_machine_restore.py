"""Snap-start: the snapshot, the restore, and every way it can fail."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import Phase, RuntimeState


def make(new_world: Any, **profile: Any) -> Any:
    return new_world(initialization_type="snap-start", init_timeout=130.0, **profile)


@pytest.fixture
def snapshot(new_world: Any) -> Any:
    """Init is over, the runtime waits to be restored."""
    world = make(new_world)
    world.tell(ev.InitRequested())
    world.restore_poll(after=2.0)
    assert world.is_in(Phase.SNAPSHOT)
    return world


def test_init_ends_in_a_snapshot(snapshot: Any) -> None:
    assert snapshot.records() == [
        ("initStart", None, None),
        ("initRuntimeDone", "success", None),
        ("initReport", "success", None),
    ]
    assert snapshot.history[-1] == fx.AVAILABLE
    assert snapshot.machine.is_available
    assert snapshot.machine.deadline is None


def test_an_invocation_restores_and_pays_for_it(snapshot: Any) -> None:
    out = snapshot.invoke()
    assert snapshot.records(out) == [("restoreStart", None, None)]
    assert out[-1] == fx.AnswerRestore("restore next")
    assert snapshot.machine.deadline == 12.0
    out = snapshot.poll(after=0.2501)
    assert snapshot.records(out) == [
        ("restoreRuntimeDone", "success", None),
        ("restoreReport", "success", None),
        ("start", None, None),
    ]
    assert snapshot.wanted(fx.EmitTelemetry, out)[1].record.duration_ms == 250.1
    assert snapshot.one(fx.AnswerNext, out).call == "next"
    snapshot.respond(after=0.0012)
    done = snapshot.one(fx.FinishInvocation, snapshot.poll())
    assert (done.duration_ms, done.init_duration_ms) == (1.2, None)
    assert (done.restore_duration_ms, done.billed_restore_duration_ms, done.billed_duration_ms) == (250.1, 251, 253)
    snapshot.invoke("r2")
    snapshot.respond("r2")
    assert snapshot.one(fx.FinishInvocation, snapshot.poll()).restore_duration_ms is None


def test_a_restore_ahead_of_an_invocation(snapshot: Any) -> None:
    assert snapshot.one(fx.AnswerRestore, snapshot.tell(ev.RestoreRequested()))
    assert not snapshot.machine.is_available
    snapshot.invoke()
    out = snapshot.poll()
    assert snapshot.one(fx.AnswerNext, out)


def test_restore_is_requested_once(snapshot: Any) -> None:
    snapshot.tell(ev.RestoreRequested())
    assert snapshot.tell(ev.RestoreRequested()) == ()
    out = snapshot.poll()
    assert out[-1] == fx.AVAILABLE
    assert snapshot.is_in(Phase.IDLE)


@pytest.mark.parametrize("early", [ev.RestoreRequested(), None])
def test_who_is_wanted_already_is_restored_when_init_is_over(new_world: Any, early: Any) -> None:
    world = make(new_world)
    if early is None:
        world.invoke()
    else:
        world.tell(early)
        world.tell(ev.InitRequested())
    out = world.restore_poll()
    assert world.one(fx.AnswerRestore, out)
    assert world.is_in(Phase.RESTORE)


def test_a_runtime_that_does_not_care_for_restore_is_restored_at_once(new_world: Any) -> None:
    world = make(new_world)
    world.tell(ev.InitRequested())
    world.poll()
    assert world.is_in(Phase.SNAPSHOT)
    out = world.invoke()
    assert [kind for kind, _, _ in world.records(out)] == ["restoreStart", "restoreRuntimeDone", "restoreReport", "start"]
    assert world.one(fx.AnswerNext, out)


def test_a_runtime_may_ask_for_its_first_event_instead_of_waiting_for_the_restore(snapshot: Any) -> None:
    assert snapshot.poll() == ()
    out = snapshot.invoke()
    assert snapshot.one(fx.AnswerRestore, out)
    assert snapshot.one(fx.AnswerNext, out)


def test_extensions_are_waited_for_before_the_snapshot(new_world: Any) -> None:
    world = make(new_world)
    world.tell(ev.InitRequested())
    world.register("inner", "INVOKE")
    world.restore_poll()
    assert world.is_in(Phase.INIT)
    world.extension_poll("inner")
    assert world.is_in(Phase.SNAPSHOT)


def test_a_snapshot_is_frozen_and_thawed_to_be_restored(new_world: Any) -> None:
    world = make(new_world, freezes=True)
    world.tell(ev.InitRequested())
    assert world.restore_poll()[-1] == fx.Freeze(epoch=0)
    assert world.invoke()[0] == fx.THAW
    assert world.machine.freeze_epoch == 1


def test_a_restore_whose_poll_was_lost_goes_on(snapshot: Any) -> None:
    snapshot.tell(ev.PollAbandoned("restore next"))
    assert not snapshot.wanted(fx.AnswerRestore, snapshot.invoke())
    assert snapshot.one(fx.AnswerNext, snapshot.poll())


def test_a_reported_restore_error_goes_to_the_caller(snapshot: Any) -> None:
    snapshot.invoke("r1")
    snapshot.invoke("r2")
    out = snapshot.restore_error()
    assert out[0] == fx.Accept("restore error")
    assert snapshot.records(out) == [("restoreRuntimeDone", "error", "Runtime.AfterRestoreError")]
    assert snapshot.machine.deadline == 2.5
    out = snapshot.exit(code=65)
    assert snapshot.records(out)[0] == ("restoreReport", "error", "Runtime.AfterRestoreError")
    done = snapshot.one(fx.CompleteInvocation, out)
    assert (done.request_id, done.status, done.payload) == ("r1", "error", b'{"errorType":"R"}')
    snapshot.cleared()
    assert snapshot.machine.flight.invocation.request_id == "r2"


def test_a_runtime_that_reported_and_stays_is_ended(snapshot: Any) -> None:
    snapshot.invoke()
    snapshot.restore_error()
    assert snapshot.deadline()[-1] == fx.CLEAR_SANDBOX


def test_an_init_error_during_a_restore_is_a_restore_error(snapshot: Any) -> None:
    snapshot.invoke()
    out = snapshot.init_error()
    assert snapshot.records(out) == [("restoreRuntimeDone", "error", "Runtime.ImportModuleError")]
    assert snapshot.machine.runtime is RuntimeState.RESTORE_ERROR
    assert snapshot.one(fx.CompleteInvocation, snapshot.exit(code=1)).payload == b'{"errorType":"I"}'


def test_a_restore_error_when_nothing_is_restored_is_refused(snapshot: Any) -> None:
    found = snapshot.one(fx.Refuse, snapshot.restore_error())
    assert (found.status, found.error_type) == (403, "InvalidStateTransition")
    assert "from RestoreReady to RuntimeRestoreErrorState" in found.message


def test_the_restore_error_of_a_runtime_that_is_being_ended_is_only_taken(snapshot: Any) -> None:
    snapshot.invoke()
    snapshot.deadline()
    assert snapshot.restore_error() == (fx.Accept("restore error"),)


@pytest.mark.parametrize("call", ["restore_error", "init_error"])
def test_an_error_over_the_limit_is_replaced(snapshot: Any, call: str) -> None:
    snapshot.invoke()
    kind = ev.RuntimeRestoreFailed if call == "restore_error" else ev.RuntimeInitFailed
    snapshot.tell(kind("c", b"x", "application/json", "Runtime.X", 6_291_557))
    payload = snapshot.one(fx.CompleteInvocation, snapshot.exit(code=1)).payload
    assert json.loads(payload)["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_restore_that_takes_too_long(snapshot: Any) -> None:
    snapshot.invoke()
    out = snapshot.deadline()
    assert snapshot.records(out)[:2] == [("restoreRuntimeDone", "timeout", None), ("restoreReport", "timeout", None)]
    done = snapshot.one(fx.CompleteInvocation, out)
    assert done.status == "timeout"
    assert json.loads(done.payload) == {
        "errorType": "Runtime.RestoreHookUserTimeout",
        "errorMessage": "RequestId: r1 Error: Task timed out after 10.00 seconds",
    }


def test_a_restore_may_take_as_long_as_it_likes(new_world: Any) -> None:
    world = make(new_world, restore_timeout=math.inf)
    world.tell(ev.InitRequested())
    world.restore_poll()
    world.tell(ev.RestoreRequested())
    assert world.machine.deadline is None


def test_a_crash_during_the_restore_ahead_of_an_invocation(snapshot: Any) -> None:
    snapshot.tell(ev.RestoreRequested())
    out = snapshot.exit(code=1)
    assert snapshot.records(out) == [
        ("restoreRuntimeDone", "error", "Runtime.ExitError"),
        ("restoreReport", "error", "Runtime.ExitError"),
    ]
    snapshot.cleared()
    assert snapshot.is_in(Phase.DORMANT)


def test_a_crash_of_a_snapshot_leaves_an_environment_for_a_new_init(snapshot: Any) -> None:
    assert snapshot.exit(code=1)[-1] == fx.CLEAR_SANDBOX
    snapshot.cleared()
    assert snapshot.is_in(Phase.DORMANT)


def test_a_suppressed_init_is_restored_within_the_invocation(snapshot: Any) -> None:
    snapshot.exit(code=1)
    snapshot.cleared()
    snapshot.invoke(after=1.0)
    out = snapshot.restore_poll("again", after=0.5)
    assert snapshot.one(fx.AnswerRestore, out).call == "again"
    assert snapshot.machine.deadline == 6.0  # the invocation's
    assert snapshot.one(fx.AnswerNext, snapshot.poll(after=0.1))
    snapshot.respond()
    done = snapshot.one(fx.FinishInvocation, snapshot.poll())
    assert (done.duration_ms, done.restore_duration_ms) == (600.0, None)


def test_the_invocations_own_deadline_counts_in_a_suppressed_restore(snapshot: Any) -> None:
    snapshot.exit(code=1)
    snapshot.cleared()
    snapshot.invoke()
    snapshot.restore_poll()
    done = snapshot.one(fx.CompleteInvocation, snapshot.deadline())
    assert json.loads(done.payload)["errorType"] == "Sandbox.Timedout"


@pytest.mark.parametrize("phase", [Phase.SNAPSHOT, Phase.RESTORE])
def test_shutdown_before_and_during_a_restore(snapshot: Any, phase: Phase) -> None:
    if phase is Phase.RESTORE:
        snapshot.invoke()
    assert snapshot.shutdown()[-1] == fx.CLEAR_SANDBOX
    assert snapshot.cleared() == (fx.CLOSE_SANDBOX,)
