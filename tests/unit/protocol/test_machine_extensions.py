"""Extensions: registration, events, failures in each phase."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import ExtensionPhase, Phase


def refusal(world: Any, out: Any) -> tuple[str, str]:
    found = world.one(fx.Refuse, out)
    assert found.status == 403
    return found.error_type, found.message


@pytest.fixture
def starting(new_world: Any) -> Any:
    """Init runs with one external extension that has not registered yet."""
    world = new_world(external_extensions=("outer",))
    world.tell(ev.InitRequested())
    return world


def test_registration_closes_with_the_runtimes_first_next(world: Any) -> None:
    world.tell(ev.InitRequested())
    world.register("inner")
    world.poll()
    assert refusal(world, world.register("late")) == ("Extension.RegistrationClosed", "Extension registration closed already")


def test_nobody_registers_before_init(world: Any) -> None:
    assert refusal(world, world.register("early"))[0] == "Extension.RegistrationClosed"


def test_a_name_registers_once(starting: Any) -> None:
    starting.register("outer")
    message = "Extension with this name already registered"
    assert refusal(starting, starting.register("outer")) == ("Extension.InvalidExtensionState", message)


def test_ten_extensions_and_no_more(starting: Any) -> None:
    for number in range(9):
        assert not starting.wanted(fx.Refuse, starting.register(f"inner{number}"))
    assert refusal(starting, starting.register("eleventh")) == ("Extension.TooManyExtensions", "Extension limit (10) reached")
    assert not starting.wanted(fx.Refuse, starting.register("outer"))


def test_an_internal_extension_cannot_have_shutdown(starting: Any) -> None:
    message = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"
    assert refusal(starting, starting.register("inner", "SHUTDOWN")) == ("Extension.InvalidEventType", message)


def test_the_account_id_is_passed_on_as_wanted(starting: Any) -> None:
    out = starting.tell(ev.ExtensionRegistered("c", "outer", (), "id", wants_account_id=True))
    assert starting.one(fx.AcceptRegistration, out).with_account_id


def test_an_unknown_identifier_is_refused(idle: Any) -> None:
    found = refusal(idle, idle.tell(ev.ExtensionPolledNext("c", "ghost")))
    assert found == ("Extension.UnknownExtensionIdentifier", "Unknown extension ghost")
    for in_init in (True, False):
        found = refusal(idle, idle.tell(ev.ExtensionFailed("c", "ghost", in_init, "X")))
        assert found == ("Extension.UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier")


def test_the_identifiers_of_before_a_reset_are_unknown(new_world: Any) -> None:
    world = new_world().boot(inner=())
    world.exit()
    world.cleared()
    assert refusal(world, world.extension_poll("inner"))[0] == "Extension.UnknownExtensionIdentifier"


# -- INVOKE -----------------------------------------------------------------------------------------------------------


def test_only_who_subscribed_gets_invoke(new_world: Any) -> None:
    world = new_world(external_extensions=("a", "b")).boot(a=("INVOKE",), b=("SHUTDOWN",))
    out = world.invoke()
    found = world.one(fx.AnswerExtensionInvoke, out)
    assert (found.call, found.deadline_ms) == ("a next", world.one(fx.AnswerNext, out).deadline_ms)
    assert world.machine.extensions["b"].phase is ExtensionPhase.READY


def test_the_caller_has_its_answer_while_an_extension_still_works(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    world.invoke("r1")
    out = world.respond("r1", after=0.01)
    assert world.one(fx.CompleteInvocation, out).status == "success"
    world.poll(after=0.002)
    world.invoke("r2")
    assert not world.wanted(fx.FinishInvocation)
    out = world.extension_poll("inner", after=0.1)
    done = world.one(fx.FinishInvocation, out)
    assert done.duration_ms == 112.0
    assert [(span.name, span.start, span.duration_ms) for span in done.spans] == [("extensionOverhead", 1_790_000_000.012, 100.0)]
    assert world.one(fx.AnswerNext, out).invocation.request_id == "r2"
    assert world.one(fx.AnswerExtensionInvoke, out).invocation.request_id == "r2"


def test_an_extension_may_be_through_before_the_runtime(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    world.invoke()
    world.extension_poll("inner")
    assert world.is_in(Phase.INVOKE)
    world.respond()
    assert world.is_in(Phase.INVOKE)
    world.poll()
    assert world.is_in(Phase.IDLE)


def test_an_extension_that_never_returns_times_the_invocation_out_after_the_answer(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    world.invoke()
    world.respond()
    world.poll()
    out = world.deadline()
    assert world.one(fx.CompleteInvocation).status == "success"
    assert world.one(fx.FinishInvocation, out).status == "timeout"
    assert world.records()[-1] == ("runtimeDone", "success", None)


def test_an_extension_without_a_connection_gets_the_event_when_it_is_back(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    world.tell(ev.PollAbandoned("inner next"))
    assert not world.wanted(fx.AnswerExtensionInvoke, world.invoke())
    world.respond()
    world.poll()
    assert world.is_in(Phase.INVOKE)
    assert world.one(fx.AnswerExtensionInvoke, world.extension_poll("inner", "back")).call == "back"
    assert world.is_in(Phase.INVOKE)
    world.extension_poll("inner", "done")
    assert world.is_in(Phase.IDLE)


def test_an_extension_that_polls_twice_is_answered_where_it_asked_last(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    assert world.extension_poll("inner", "second") == ()
    assert world.one(fx.AnswerExtensionInvoke, world.invoke()).call == "second"


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "text"),
    [({"code": 0}, "exit code 0"), ({"code": 2}, "exit status 2"), ({"signal": 9}, "signal: killed")],
)
def test_an_extension_that_dies_in_invoke_ends_the_invocation(new_world: Any, facts: dict[str, Any], text: str) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    world.invoke()
    out = world.exit("outer", **facts)
    answer = world.one(fx.CompleteInvocation, out)
    assert json.loads(answer.payload) == {"errorType": "Extension.Crash", "errorMessage": f"RequestId: r1 Error: {text}"}
    assert world.one(fx.FinishInvocation, out).error_type == "Extension.Crash"
    assert world.is_in(Phase.RESETTING)


def test_an_extension_that_dies_before_it_registers_ends_init(starting: Any) -> None:
    out = starting.exit("outer", 1)
    assert starting.records(out) == [
        ("initRuntimeDone", "error", "Extension.Crash"),
        ("extension", "Exited", "Extension.Crash"),
        ("initReport", "error", "Extension.Crash"),
    ]
    assert out[-1] == fx.CLEAR_SANDBOX  # the runtime was never started and nobody is left


def test_an_extension_that_dies_while_idle_resets(new_world: Any) -> None:
    world = new_world(external_extensions=("outer",)).boot()
    assert world.exit("outer", 1)[0] == fx.Terminate("runtime")
    assert world.is_in(Phase.RESETTING)


def test_an_extension_that_reports_an_init_error(starting: Any) -> None:
    starting.register("outer")
    out = starting.extension_fail("outer", in_init=True)
    assert out[0] == fx.Accept("outer error")
    assert ("extension", "InitError", "Extension.InitError") in starting.records(out)
    assert starting.is_in(Phase.RESETTING)
    assert starting.deadline(after=0.0) == ()


def test_an_extensions_init_error_beats_what_the_runtime_posted(new_world: Any) -> None:
    world = new_world().dormant()
    world.invoke()
    world.register("inner")
    world.init_error()
    out = world.extension_fail("inner", in_init=True)
    assert world.one(fx.CompleteInvocation, out).error_type == "Extension.InitError"


def test_an_exit_error_in_invoke_ends_the_invocation(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    world.invoke()
    out = world.extension_fail("inner", in_init=False)
    assert world.one(fx.CompleteInvocation, out).error_type == "Extension.ExitError"
    assert world.is_in(Phase.RESETTING)


def test_an_exit_error_while_idle_resets(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    world.extension_fail("inner", in_init=False)
    assert world.is_in(Phase.RESETTING)


def test_an_exit_of_an_internal_extension_is_no_event_of_its_own(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    assert world.exit("inner") == ()


def test_only_the_extension_that_lost_its_connection_misses_the_event(new_world: Any) -> None:
    world = new_world().boot(one=("INVOKE",), two=("INVOKE",))
    world.tell(ev.PollAbandoned("two next"))
    assert world.one(fx.AnswerExtensionInvoke, world.invoke()).call == "one next"
