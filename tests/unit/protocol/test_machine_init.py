"""Init: alone, with extensions, ahead of an invocation, inside one, and every way it can fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdabox.model.telemetry import InitStart
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import Phase, RuntimeState


def test_init_starts_the_runtime_and_is_over_when_it_polls(world: Any) -> None:
    out = world.tell(ev.InitRequested())
    assert world.one(fx.StartProcess, out) == fx.StartProcess("runtime", is_runtime=True)
    assert world.is_in(Phase.INIT)
    assert world.machine.deadline == 10.0
    out = world.poll(after=0.25)
    assert world.records() == [("initStart", None, None), ("initRuntimeDone", "success", None), ("initReport", "success", None)]
    assert world.wanted(fx.EmitTelemetry)[-1].record.duration_ms == 250.0
    assert out[-1] == fx.AVAILABLE
    assert world.machine.deadline is None


def test_init_start_carries_the_profile(new_world: Any) -> None:
    world = new_world(
        function_version="7", memory_size=256, instance_id="stream", runtime_version="python:3.12", runtime_version_arn="arn:r"
    )
    world.tell(ev.InitRequested())
    assert world.one(fx.EmitTelemetry).record == InitStart(
        initialization_type="on-demand",
        phase="init",
        function_name="orders",
        function_version="7",
        instance_id="stream",
        instance_max_memory=256 * 1024 * 1024,
        runtime_version="python:3.12",
        runtime_version_arn="arn:r",
    )


def test_init_is_requested_once(idle: Any) -> None:
    assert idle.tell(ev.InitRequested()) == ()


def test_the_first_invocation_reports_init_duration_and_pays_for_it(world: Any) -> None:
    world.invoke()
    world.poll(after=0.0301)
    world.respond(after=0.0012)
    out = world.poll()
    done = world.one(fx.FinishInvocation, out)
    assert (done.duration_ms, done.init_duration_ms, done.billed_duration_ms) == (1.2, 30.1, 32)
    world.invoke("r2")
    world.respond("r2", after=0.002)
    done = world.one(fx.FinishInvocation, world.poll())
    assert (done.init_duration_ms, done.billed_duration_ms) == (None, 2)


def test_the_first_deadline_starts_after_init(world: Any) -> None:
    world.invoke()
    out = world.poll(after=9.0)
    assert world.machine.deadline == 12.0
    assert world.one(fx.AnswerNext, out).deadline_ms == 1_790_000_012_000


def test_external_extensions_register_before_the_runtime_starts(new_world: Any) -> None:
    world = new_world(external_extensions=("a", "b"))
    out = world.tell(ev.InitRequested())
    assert [e.name for e in world.wanted(fx.StartProcess, out)] == ["a", "b"]
    out = world.register("a", "INVOKE")
    assert out == (fx.AcceptRegistration("register", world.identifiers["a"], False),)
    out = world.register("b", "SHUTDOWN")
    assert world.one(fx.StartProcess, out).name == "runtime"
    world.poll("rt")
    world.extension_poll("a")
    assert world.is_in(Phase.INIT)
    out = world.extension_poll("b")
    assert world.records(out) == [("extension", "Ready", None), ("extension", "Ready", None), ("initReport", "success", None)]
    assert world.is_in(Phase.IDLE)


def test_an_extension_may_poll_before_the_runtime(new_world: Any) -> None:
    world = new_world(external_extensions=("a",))
    world.tell(ev.InitRequested())
    world.register("a", "INVOKE")
    world.extension_poll("a")
    assert world.is_in(Phase.INIT)
    world.poll()
    assert world.is_in(Phase.IDLE)


def test_an_internal_extension_is_waited_for(world: Any) -> None:
    world.tell(ev.InitRequested())
    world.register("inner", "INVOKE")
    world.poll()
    assert world.is_in(Phase.INIT)
    world.extension_poll("inner")
    assert world.is_in(Phase.IDLE)


@pytest.mark.parametrize("code", [0, 1, None])
def test_a_failed_init_is_repeated_inside_the_invocation(world: Any, code: int | None) -> None:
    world.invoke()
    out = world.exit(code=code, signal=None if code is not None else 11, after=0.5)
    assert world.records(out) == [("initRuntimeDone", "error", "Runtime.ExitError"), ("initReport", "error", "Runtime.ExitError")]
    assert out[-1] == fx.CLEAR_SANDBOX
    assert world.is_in(Phase.RESETTING)
    out = world.cleared()
    start = world.wanted(fx.EmitTelemetry, out)[0].record
    assert (start.type, start.phase) == ("platform.initStart", "invoke")
    assert world.machine.deadline == 3.5  # the function's timeout, from here on
    world.poll(after=0.2)
    out = world.respond()
    assert world.one(fx.CompleteInvocation, out).status == "success"
    done = world.one(fx.FinishInvocation, world.poll())
    assert (done.duration_ms, done.init_duration_ms) == (200.0, None)


def test_a_failure_of_the_second_init_reaches_the_caller(world: Any) -> None:
    world.invoke()
    world.exit(code=1)
    world.cleared()
    out = world.exit(code=1, after=0.1)
    assert world.records(out) == [
        ("initRuntimeDone", "error", "Runtime.ExitError"),
        ("initReport", "error", "Runtime.ExitError"),
        ("start", None, None),
        ("runtimeDone", "error", "Runtime.ExitError"),
    ]
    answer = world.one(fx.CompleteInvocation, out)
    assert json.loads(answer.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": "RequestId: r1 Error: Runtime exited with error: exit status 1",
    }
    assert world.one(fx.FinishInvocation, out).duration_ms == 100.0
    world.cleared()
    assert world.is_in(Phase.DORMANT)
    assert world.machine.is_available


def test_the_posted_init_error_is_what_the_caller_gets(world: Any) -> None:
    world.invoke()
    assert world.init_error() == (
        fx.Accept("init error"),
        world.wanted(fx.EmitTelemetry)[-1],
    )
    world.exit(code=1)
    world.cleared()
    world.tell(ev.RuntimeInitFailed("c", b"plain", "application/octet-stream", "Runtime.Nope"))
    out = world.exit(code=1)
    answer = world.one(fx.CompleteInvocation, out)
    assert (answer.payload, answer.content_type, answer.status) == (b"plain", "application/octet-stream", "error")
    assert answer.error_type == "Runtime.Nope"
    assert ("initReport", "error", "Runtime.Nope") in world.records(out)


def test_a_runtime_that_stays_after_its_init_error_is_ended(world: Any) -> None:
    world.invoke()
    world.init_error(after=1.0)
    assert world.machine.deadline == 1.5
    out = world.deadline()
    assert world.records(out) == [("initReport", "error", "Runtime.ImportModuleError")]
    assert out[-1] == fx.CLEAR_SANDBOX


def test_the_grace_after_an_init_error_is_within_the_deadline(world: Any) -> None:
    world.tell(ev.InitRequested())
    world.init_error(after=9.8)
    assert world.machine.deadline == 10.0
    assert ("initReport", "error", "Runtime.ImportModuleError") in world.records(world.deadline())


def test_the_grace_after_an_init_error_holds_when_the_deadline_rests(new_world: Any) -> None:
    world = new_world(timeout=float("inf")).dormant()
    world.invoke()
    assert world.machine.deadline is None
    world.init_error()
    assert world.machine.deadline == 0.5


def test_init_error_is_accepted_once(world: Any) -> None:
    world.tell(ev.InitRequested())
    world.init_error()
    assert world.one(fx.Refuse, world.init_error()).status == 403
    assert world.one(fx.Refuse, world.poll()).status == 403


def test_init_error_after_next_is_refused(idle: Any) -> None:
    refusal = idle.one(fx.Refuse, idle.init_error())
    assert (refusal.status, refusal.error_type) == (403, "InvalidStateTransition")


def test_init_error_without_an_init_is_refused(world: Any, new_world: Any) -> None:
    for lifeless in (world, new_world().dormant()):
        assert lifeless.one(fx.Refuse, lifeless.init_error()).status == 403


def test_init_error_while_the_environment_ends_moves_nothing_else(world: Any) -> None:
    world.tell(ev.InitRequested())
    world.deadline()
    assert world.init_error() == (fx.Accept("init error"),)
    assert world.is_in(Phase.RESETTING)


def test_init_that_takes_too_long_is_repeated_on_the_functions_time(new_world: Any) -> None:
    world = new_world(timeout=20.0)
    world.invoke()
    out = world.deadline()
    assert world.time == 10.0
    assert world.records(out) == [("initRuntimeDone", "timeout", None), ("initReport", "timeout", None)]
    world.cleared()
    assert world.machine.deadline == 30.0
    world.poll(after=12.0)
    assert world.is_in(Phase.INVOKE)
    assert world.machine.deadline == 30.0
    world.respond()
    assert world.one(fx.CompleteInvocation).status == "success"


def test_the_deadline_covers_the_suppressed_init(world: Any) -> None:
    world.dormant()
    world.invoke()
    out = world.deadline()
    answer = world.one(fx.CompleteInvocation, out)
    assert json.loads(answer.payload) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: r1 Error: Task timed out after 3.00 seconds",
    }
    assert (answer.status, answer.error_type) == ("timeout", None)
    assert world.records(out) == [
        ("initRuntimeDone", "timeout", None),
        ("initReport", "timeout", None),
        ("start", None, None),
        ("runtimeDone", "timeout", None),
    ]
    assert world.one(fx.FinishInvocation, out).status == "timeout"


def test_more_than_ten_external_extensions_cannot_be_launched(new_world: Any) -> None:
    world = new_world(external_extensions=tuple(f"e{n}" for n in range(11)))
    out = world.invoke()
    assert not world.wanted(fx.StartProcess, out)
    out = world.cleared()
    answer = world.one(fx.CompleteInvocation, out)
    assert json.loads(answer.payload)["errorType"] == "Extension.LaunchError"
    assert "TooManyExtensions" in json.loads(answer.payload)["errorMessage"]


def test_a_runtime_that_cannot_be_launched(world: Any) -> None:
    world.invoke()
    event = ev.LaunchFailed("runtime", "Runtime.InvalidEntrypoint", "fork/exec /x: no such file or directory")
    world.tell(event)
    world.cleared()
    out = world.tell(event)
    assert json.loads(world.one(fx.CompleteInvocation, out).payload) == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": "RequestId: r1 Error: fork/exec /x: no such file or directory",
    }


def test_an_extension_that_cannot_be_launched(new_world: Any) -> None:
    world = new_world(external_extensions=("a",))
    world.invoke()
    out = world.tell(ev.LaunchFailed("a", "Extension.LaunchError", "fork/exec a: permission denied"))
    assert world.records(out)[1] == ("extension", "LaunchError", "Extension.LaunchError")
    assert out[-1] == fx.CLEAR_SANDBOX  # nobody is there to be asked to end


def test_a_launch_that_fails_while_the_environment_ends(new_world: Any) -> None:
    world = new_world(external_extensions=("a", "b"))
    world.tell(ev.InitRequested())
    world.exit("a", 1)
    out = world.tell(ev.LaunchFailed("b", "Extension.LaunchError", "x"))
    assert fx.CLEAR_SANDBOX in out


def test_a_launch_failure_of_nobody_known_is_ignored(world: Any) -> None:
    world.tell(ev.InitRequested())
    assert world.tell(ev.LaunchFailed("ghost", "Extension.LaunchError", "x")) == ()


def test_memory_that_runs_out_in_init(world: Any) -> None:
    world.tell(ev.InitRequested())
    out = world.tell(ev.MemoryExceeded())
    assert ("initReport", "error", "Runtime.OutOfMemory") in world.records(out)
    assert world.tell(ev.MemoryExceeded()) == ()


def test_a_runtime_that_polls_before_anybody_wants_init_is_ready_at_once(world: Any) -> None:
    world.poll("early")
    out = world.invoke()
    assert world.one(fx.AnswerNext, out).call == "early"
    assert world.is_in(Phase.INVOKE)


def test_a_reset_forgets_everything_but_the_profile(idle: Any) -> None:
    idle.exit(code=1)
    idle.cleared()
    machine = idle.machine
    assert (machine.runtime, machine.is_registration_open, machine.deadline) == (RuntimeState.STARTED, True, None)
    assert idle.history[-1] == fx.AVAILABLE
