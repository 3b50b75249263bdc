"""Reset and Shutdown with every mix of extensions, in every phase."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import ExtensionPhase, Phase


def test_a_lone_runtime_is_killed_at_once(idle: Any) -> None:
    assert idle.shutdown() == (fx.CLEAR_SANDBOX,)
    assert idle.machine.deadline is None
    assert idle.cleared() == (fx.CLOSE_SANDBOX,)
    assert idle.is_in(Phase.CLOSED)


def test_an_internal_extension_gives_the_runtime_sigterm_and_half_a_second(new_world: Any) -> None:
    world = new_world().boot(inner=())
    assert world.shutdown() == (fx.Terminate("runtime"),)
    assert world.machine.deadline == 0.5
    assert world.deadline() == (fx.Kill("runtime"), fx.CLEAR_SANDBOX)


def test_a_runtime_that_ends_by_itself_is_not_waited_for(new_world: Any) -> None:
    world = new_world().boot(inner=())
    world.shutdown()
    assert world.exit(code=0, after=0.1) == (fx.CLEAR_SANDBOX,)


def test_external_extensions_are_told_after_the_runtime_ended(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    assert world.shutdown() == (fx.Terminate("runtime"),)
    assert world.machine.deadline == pytest.approx(0.3)
    out = world.exit(code=0, after=0.1)
    assert out == (fx.AnswerExtensionShutdown("outer next", "spindown", 1_790_000_002_000),)
    assert world.machine.deadline == 2.0
    assert world.exit("outer", 0) == (fx.CLEAR_SANDBOX,)
    assert world.machine.extensions["outer"].phase is ExtensionPhase.EXITED


def test_a_runtime_that_ignores_sigterm_is_killed_after_its_share(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    world.shutdown()
    out = world.deadline()
    assert world.time == pytest.approx(0.3)
    assert [type(effect) for effect in out] == [fx.Kill, fx.AnswerExtensionShutdown]
    world.exit(signal=9)
    assert world.deadline() == (fx.CLEAR_SANDBOX,)
    assert world.time == 2.0


def test_an_extension_without_shutdown_is_killed(new_world: Any) -> None:
    world = new_world(external_extensions=("told", "silent")).boot(told=("SHUTDOWN",), silent=("INVOKE",))
    world.shutdown()
    out = world.exit(code=0)
    assert [type(effect) for effect in out] == [fx.AnswerExtensionShutdown, fx.Kill]
    assert world.exit("silent", signal=9) == ()
    assert world.machine.extensions["silent"].phase is ExtensionPhase.SHUTDOWN_FAILED
    assert world.exit("told", 0) == (fx.CLEAR_SANDBOX,)


def test_an_extension_that_works_is_told_when_it_asks(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    world.invoke()
    out = world.exit(code=1)
    assert not world.wanted(fx.AnswerExtensionShutdown, out)
    out = world.extension_poll("outer", "asks", after=0.5)
    assert out == (fx.AnswerExtensionShutdown("asks", "failure", 1_790_000_002_000),)
    assert world.extension_poll("outer", "asks again") == ()  # told once: a loop that goes on asking must not spin


def test_an_extension_that_asks_before_the_runtime_ended_is_told_afterwards(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    world.invoke()
    world.shutdown()
    assert world.extension_poll("outer", "early") == ()
    assert world.one(fx.AnswerExtensionShutdown, world.exit(code=0)).call == "early"


def test_an_extension_that_gave_up_is_waited_for_but_not_told(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    world.extension_fail("outer", in_init=False)
    assert not world.wanted(fx.AnswerExtensionShutdown, world.exit(code=0))
    assert world.exit("outer", 1) == (fx.CLEAR_SANDBOX,)


def test_an_extension_that_never_registered_is_killed(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",))
    world.tell(ev.InitRequested())
    assert world.shutdown() == (fx.Kill("outer"),)
    assert world.exit("outer", signal=9) == (fx.CLEAR_SANDBOX,)


@pytest.mark.parametrize(("cause", "reason"), [("deadline", "timeout"), ("exit", "failure")])
def test_a_reset_tells_its_reason(new_world: Any, cause: str, reason: str) -> None:
    world = new_world(external_extensions=("outer",)).boot(outer=("SHUTDOWN",))
    world.invoke()
    getattr(world, cause)()
    if cause == "deadline":
        world.exit(code=0)
    assert world.one(fx.AnswerExtensionShutdown).reason == reason


def test_an_init_that_timed_out_is_reset_for_timeout(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",))
    world.tell(ev.InitRequested())
    world.register("outer", "SHUTDOWN")
    world.extension_poll("outer")
    world.deadline()
    world.deadline()
    assert world.one(fx.AnswerExtensionShutdown).reason == "timeout"


@pytest.mark.parametrize("reason", ["spindown", "timeout", "failure"])
def test_a_shutdown_passes_its_reason_on(new_world: Any, reason: str) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    world.shutdown(reason)
    world.exit(code=0)
    assert world.one(fx.AnswerExtensionShutdown).reason == reason


# -- ShutdownRequested in every phase ---------------------------------------------------------------------------------


def test_shutdown_before_anything_ran(world: Any) -> None:
    assert world.shutdown() == (fx.CLOSE_SANDBOX,)
    assert world.shutdown() == ()


def test_shutdown_of_a_dormant_environment(new_world: Any) -> None:
    world = new_world().dormant()
    assert world.shutdown() == (fx.CLOSE_SANDBOX,)


def test_shutdown_during_init_answers_what_waits(world: Any) -> None:
    world.invoke()
    out = world.shutdown()
    answer = world.one(fx.CompleteInvocation, out)
    assert (answer.status, answer.error_type) == ("error", "Sandbox.Failure")
    assert world.records(out) == [("start", None, None), ("runtimeDone", "failure", "Sandbox.Failure")]
    assert world.one(fx.FinishInvocation, out).status == "failure"
    assert world.cleared() == (fx.CLOSE_SANDBOX,)


def test_shutdown_during_a_suppressed_init(new_world: Any) -> None:
    world = new_world().dormant()
    world.invoke()
    out = world.shutdown()
    assert world.records(out) == [("start", None, None), ("runtimeDone", "failure", "Sandbox.Failure")]
    assert out[-1] == fx.CLEAR_SANDBOX


def test_shutdown_during_an_invocation_answers_it_and_what_waits(idle: Any) -> None:
    idle.invoke("r1")
    idle.invoke("r2")
    out = idle.shutdown()
    assert [e.request_id for e in idle.wanted(fx.CompleteInvocation, out)] == ["r1", "r2"]
    assert [e.request_id for e in idle.wanted(fx.FinishInvocation, out)] == ["r1", "r2"]
    assert [e.record.request_id for e in idle.wanted(fx.EmitTelemetry, out)] == ["r1", "r2", "r2"]
    assert idle.cleared() == (fx.CLOSE_SANDBOX,)


def test_shutdown_after_the_answer_does_not_answer_again(idle: Any) -> None:
    idle.invoke()
    idle.respond()
    out = idle.shutdown()
    assert not idle.wanted(fx.CompleteInvocation, out)
    assert idle.one(fx.FinishInvocation, out).status == "failure"


def test_shutdown_during_a_reset_makes_it_the_end(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    world.invoke("r1")
    world.exit(code=1)
    world.invoke("r2")
    out = world.shutdown(after=0.1)
    assert world.one(fx.CompleteInvocation, out).request_id == "r2"
    assert world.is_in(Phase.SHUTTING_DOWN)
    assert world.machine.deadline == 2.0
    assert world.shutdown() == ()
    assert world.deadline() == (fx.CLEAR_SANDBOX,)
    assert world.cleared() == (fx.CLOSE_SANDBOX,)


def test_nothing_more_happens_while_the_sandbox_is_cleared(idle: Any) -> None:
    idle.shutdown()
    assert idle.exit(signal=9) == ()
    assert idle.poll() == ()
    assert idle.tell(ev.DeadlineReached()) == ()


def test_a_poll_of_a_runtime_that_has_begun_and_is_being_reset_is_left_alone(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    world.invoke()
    world.deadline()
    assert world.poll("late") == ()


def test_a_cleared_sandbox_that_nobody_asked_for_is_no_news(idle: Any) -> None:
    assert idle.cleared() == ()
    assert idle.is_in(Phase.IDLE)
