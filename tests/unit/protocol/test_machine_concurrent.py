"""Several invocations at once in one environment."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from lambdabox.errors import LocalProtocolError
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.concurrent_machine import LATE_MAX, ConcurrentMachine, machine_for
from lambdabox.protocol.machine import EnvironmentMachine, EnvironmentProfile
from lambdabox.protocol.states import Phase

BAD_ID = (400, "InvalidRequestID", "Invalid request ID")
LATE = (410, "InvokeTimeout", "Invoke timeout")


def make(new_world: Any, **profile: Any) -> Any:
    world = new_world(**{"max_concurrency": 2, "initialization_type": "lambda-managed-instances", **profile})
    world.tell(ev.InitRequested())
    return world


@pytest.fixture
def pair(new_world: Any) -> Any:
    """Two workers wait."""
    world = make(new_world)
    world.poll("w1")
    world.poll("w2")
    return world


def refusal(world: Any, out: Any) -> tuple[int, str, str]:
    found = world.one(fx.Refuse, out)
    return found.status, found.error_type, found.message


def test_the_profile_chooses_the_machine() -> None:
    assert type(machine_for(EnvironmentProfile(function_name="f"))) is EnvironmentMachine
    assert type(machine_for(EnvironmentProfile(function_name="f", max_concurrency=2))) is ConcurrentMachine


# -- in and out -------------------------------------------------------------------------------------------------------


def test_init_is_over_with_the_first_worker(new_world: Any) -> None:
    world = make(new_world)
    world.poll("w1")
    assert world.is_in(Phase.IDLE)
    assert world.poll("w2") == ()


def test_each_worker_gets_its_own_invocation(pair: Any) -> None:
    assert pair.one(fx.AnswerNext, pair.invoke("r1")).call == "w1"
    assert pair.one(fx.AnswerNext, pair.invoke("r2")).call == "w2"
    assert pair.invoke("r3") == ()
    out = pair.respond("r2", after=0.25)
    assert [type(effect) for effect in out] == [fx.Accept, fx.CompleteInvocation, fx.FinishInvocation, fx.Available]
    assert pair.one(fx.AnswerNext, pair.poll("w2 again")).invocation.request_id == "r3"
    pair.respond("r1")
    pair.respond("r3")
    assert pair.is_in(Phase.IDLE)
    assert pair.machine.deadline is None


def test_the_figures_are_the_time_and_two_spans(pair: Any) -> None:
    pair.invoke("r1")
    pair.tell(ev.ResponseBegan("c", "r1"), after=0.25)
    done = pair.one(fx.FinishInvocation, pair.respond("r1", call="c", after=0.001))
    assert (done.duration_ms, done.billed_duration_ms, done.init_duration_ms) == (251.0, 251, None)
    assert [(span.name, span.duration_ms) for span in done.spans] == [("responseLatency", 250.0), ("responseDuration", 1.0)]
    assert "runtimeDone" not in [kind for kind, _, _ in pair.records()]


def test_more_than_the_environment_holds_waits(new_world: Any) -> None:
    world = make(new_world)
    for number in range(3):
        world.invoke(f"r{number}")
    assert not world.machine.is_available
    world.poll("w1")
    world.poll("w2")
    world.poll("w3")
    assert [answer.call for answer in world.wanted(fx.AnswerNext)] == ["w1", "w2"]
    world.respond("r0")
    assert world.one(fx.AnswerNext, world.poll("w4")).call == "w3"


def test_it_is_available_while_there_is_room(pair: Any) -> None:
    assert pair.machine.is_available
    pair.invoke("r1")
    assert pair.machine.is_available
    pair.invoke("r2")
    assert not pair.machine.is_available
    pair.respond("r1")
    assert pair.machine.is_available
    pair.shutdown()
    assert not pair.machine.is_available


def test_more_workers_than_invocations_are_refused(pair: Any) -> None:
    found = refusal(pair, pair.poll("w3"))
    assert found == (500, "Runtime.TooManyIdleRuntimes", "Too many idle runtimes")
    pair.tell(ev.PollAbandoned("w1"))
    assert pair.poll("w3") == ()
    assert pair.one(fx.AnswerNext, pair.invoke()).call == "w2"


def test_a_caller_that_left_is_answered_and_forgotten(pair: Any) -> None:
    for request_id in ("r1", "r2", "r3"):
        pair.invoke(request_id)
    out = pair.tell(ev.CallerLeft("r3"))
    assert pair.one(fx.FinishInvocation, out).status == "failure"
    assert not pair.machine.waiting


def test_invocation_ids_are_checked(new_world: Any) -> None:
    world = make(new_world, sends_invocation_id=True)
    world.poll("w1")
    found = world.one(fx.AnswerNext, world.invoke()).invocation_id
    assert refusal(world, world.respond(invocation_id="other")) == LATE
    assert world.one(fx.CompleteInvocation, world.respond(invocation_id=found))


# -- answers ----------------------------------------------------------------------------------------------------------


def test_an_unknown_id_and_a_second_answer_are_refused(pair: Any) -> None:
    pair.invoke("r1")
    assert refusal(pair, pair.respond("r9")) == BAD_ID
    pair.respond("r1")
    assert refusal(pair, pair.respond("r1")) == BAD_ID
    assert refusal(pair, pair.fail("r1")) == BAD_ID


def test_a_second_answer_while_the_first_is_coming_is_refused(pair: Any) -> None:
    pair.invoke("r1", takes_stream=False)
    assert pair.tell(ev.ResponseBegan("c", "r1")) == (fx.CollectResponse("c"),)
    assert refusal(pair, pair.tell(ev.ResponseBegan("d", "r1"))) == BAD_ID
    assert refusal(pair, pair.respond("r1", call="d")) == BAD_ID
    assert pair.one(fx.CompleteInvocation, pair.respond("r1", call="c")).status == "success"


def test_streams_flow_side_by_side(pair: Any) -> None:
    pair.invoke("r1")
    pair.invoke("r2", takes_stream=False)
    assert pair.tell(ev.ResponseBegan("c", "r1", "streaming")) == (fx.BeginStream("c", "r1", "application/octet-stream"),)
    assert pair.tell(ev.ResponseBegan("d", "r2", "streaming")) == (fx.CollectResponse("d"),)
    done = pair.one(fx.CompleteInvocation, pair.respond("r1", b"", call="c", size=7_000_000, mode="streaming"))
    assert (done.is_streamed, done.status) == (True, "success")


def test_an_error_may_end_a_response_that_is_coming(pair: Any) -> None:
    pair.invoke("r1")
    pair.tell(ev.ResponseBegan("c", "r1", "streaming"))
    done = pair.one(fx.CompleteInvocation, pair.fail("r1"))
    assert (done.is_streamed, done.status) == (True, "error")
    assert refusal(pair, pair.respond("r1", call="c")) == BAD_ID


def test_error_trailers(pair: Any) -> None:
    pair.invoke("r1")
    out = pair.respond("r1", error_type="Runtime.X", error_body=b"sad")
    done = pair.one(fx.CompleteInvocation, out)
    assert (done.status, done.error_type, done.payload) == ("error", "Runtime.X", b"sad")


def test_a_function_error(pair: Any) -> None:
    pair.invoke("r1")
    done = pair.one(fx.CompleteInvocation, pair.fail("r1"))
    assert (done.status, done.payload) == ("error", b'{"errorType":"E"}')


@pytest.mark.parametrize("is_error", [False, True])
def test_an_answer_over_the_limit(pair: Any, is_error: bool) -> None:
    pair.invoke("r1")
    if is_error:
        out = pair.tell(ev.RuntimeFailed("c", "r1", b"x", "application/json", "Runtime.X", 6_291_557))
    else:
        out = pair.respond("r1", size=6_291_557)
    assert refusal(pair, out)[0] == 413
    assert pair.one(fx.CompleteInvocation, out).error_type == "Function.ResponseSizeTooLarge"
    assert pair.is_in(Phase.IDLE)


def test_a_truncated_answer(pair: Any) -> None:
    pair.invoke("r1")
    out = pair.respond("r1", truncated=True)
    assert refusal(pair, out)[1] == "TruncatedHTTPRequest"
    assert pair.one(fx.CompleteInvocation, out).error_type == "Runtime.TruncatedResponse"


@pytest.mark.parametrize("whole", [False, True])
def test_a_bad_response_mode(pair: Any, whole: bool) -> None:
    pair.invoke("r1")
    out = pair.respond("r1", mode="odd") if whole else pair.tell(ev.ResponseBegan("c", "r1", "odd"))
    assert refusal(pair, out)[1] == "InvalidFunctionResponseMode"
    assert pair.one(fx.CompleteInvocation, out).error_type == "Runtime.InvalidResponseModeHeader"


# -- time -------------------------------------------------------------------------------------------------------------


def test_a_timeout_leaves_the_process_alone(pair: Any) -> None:
    pair.invoke("r1", timeout=1.0)
    pair.invoke("r2")
    assert pair.machine.deadline == 1.0
    out = pair.deadline()
    done = pair.one(fx.CompleteInvocation, out)
    assert (done.request_id, done.status) == ("r1", "timeout")
    assert json.loads(done.payload) == {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 1.00 seconds"}
    assert not pair.wanted(fx.ClearSandbox)
    assert pair.machine.deadline == 3.0
    assert refusal(pair, pair.respond("r1")) == LATE
    assert refusal(pair, pair.respond("r1")) == BAD_ID
    assert pair.one(fx.CompleteInvocation, pair.respond("r2")).status == "success"


def test_a_late_error_is_told_so_too(pair: Any) -> None:
    pair.invoke("r1")
    pair.deadline()
    assert refusal(pair, pair.fail("r1")) == LATE


def test_a_timeout_while_the_answer_is_coming(pair: Any) -> None:
    pair.invoke("r1")
    pair.tell(ev.ResponseBegan("c", "r1", "streaming"))
    assert pair.one(fx.CompleteInvocation, pair.deadline()).is_streamed
    assert refusal(pair, pair.respond("r1", call="c")) == LATE


def test_a_deadline_that_comes_early_changes_nothing(pair: Any) -> None:
    pair.invoke("r1")
    assert pair.deadline(after=1.0) == ()
    assert pair.tell(ev.DeadlineReached()) == ()


def test_an_invocation_may_take_as_long_as_it_likes(pair: Any) -> None:
    pair.invoke("r1", timeout=math.inf)
    assert pair.machine.deadline is None


def test_timed_out_invocations_are_not_remembered_for_ever(new_world: Any) -> None:
    world = make(new_world)
    for number in range(LATE_MAX + 1):
        world.poll(f"w{number}")
        world.invoke(f"r{number}")
        world.deadline()
    assert refusal(world, world.respond("r0")) == BAD_ID
    assert refusal(world, world.respond("r1")) == LATE


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_crash_loses_all_that_runs_and_init_begins_anew(pair: Any) -> None:
    pair.invoke("r1")
    pair.invoke("r2")
    pair.invoke("r3")
    out = pair.exit(code=1)
    done = pair.wanted(fx.CompleteInvocation, out)
    assert [(each.request_id, each.error_type) for each in done] == [("r1", "Runtime.ExitError"), ("r2", "Runtime.ExitError")]
    out = pair.cleared()
    assert pair.one(fx.EmitTelemetry, out).record.phase == "init"
    assert pair.one(fx.AnswerNext, pair.poll("w9")).invocation.request_id == "r3"


def test_a_dormant_environment_is_initialized_for_an_invocation(pair: Any) -> None:
    pair.tell(ev.MemoryExceeded())
    pair.cleared()
    assert pair.is_in(Phase.DORMANT)
    assert pair.one(fx.StartProcess, pair.invoke())


def test_only_the_first_init_error_is_taken_and_what_waits_gets_it(new_world: Any) -> None:
    world = make(new_world)
    world.invoke("r1")
    world.invoke("r2")
    assert world.one(fx.Accept, world.init_error())
    assert refusal(world, world.init_error())[0] == 403
    done = world.wanted(fx.CompleteInvocation, world.exit(code=1))
    assert [each.payload for each in done] == [b'{"errorType":"I"}'] * 2
    assert world.cleared() == (fx.AVAILABLE,)


def test_an_init_error_after_the_first_poll_is_refused(pair: Any) -> None:
    assert refusal(pair, pair.init_error())[0] == 403


def test_a_poll_after_an_init_error_is_refused(new_world: Any) -> None:
    world = make(new_world)
    world.init_error()
    assert refusal(world, world.poll())[0] == 403


@pytest.mark.parametrize("is_timeout", [False, True])
def test_what_waits_gets_the_failure_of_init(new_world: Any, is_timeout: bool) -> None:
    world = make(new_world)
    world.invoke("r1")
    done = world.one(fx.CompleteInvocation, world.deadline() if is_timeout else world.exit(code=1))
    if is_timeout:
        assert (done.status, json.loads(done.payload)["errorMessage"]) == (
            "timeout",
            "RequestId: r1 Error: Task timed out after 10.00 seconds",
        )
    else:
        assert (done.status, done.error_type) == ("error", "Runtime.ExitError")


def test_where_the_user_starts_the_runtime_invocations_wait_for_the_next_one(new_world: Any) -> None:
    world = make(new_world, self_started=True)
    world.spawn()
    world.invoke("r1")
    assert not world.wanted(fx.CompleteInvocation, world.exit(code=1))
    world.cleared()
    world.invoke("r2")
    assert world.is_in(Phase.DORMANT)
    assert world.one(fx.AnswerNext, world.poll("back")).invocation.request_id == "r1"


def test_shutdown_gives_everything_up(pair: Any) -> None:
    pair.invoke("r1")
    pair.invoke("r2")
    pair.invoke("r3")
    out = pair.shutdown()
    assert [done.request_id for done in pair.wanted(fx.FinishInvocation, out)] == ["r1", "r2", "r3"]
    assert out[-1] == fx.CLEAR_SANDBOX
    assert pair.cleared() == (fx.CLOSE_SANDBOX,)
    with pytest.raises(LocalProtocolError, match="closed"):
        pair.invoke("r4")


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_extensions_have_no_invoke(new_world: Any) -> None:
    world = make(new_world, external_extensions=("outer",))
    assert refusal(world, world.register("outer", "INVOKE"))[1:] == (
        "Extension.InvalidEventType",
        "INVOKE: ErrorInvalidEventType",
    )
    found = refusal(world, world.register("inner", "INVOKE"))
    assert found[1:] == ("Extension.InvalidEventType", "No events allowed for internal extensions")
    world.register("outer", "SHUTDOWN")
    world.register("inner")
    world.poll("w1")
    world.extension_poll("outer")
    world.extension_poll("inner")
    assert world.is_in(Phase.IDLE)


def test_the_loss_of_an_extension_is_fatal(new_world: Any) -> None:
    world = make(new_world, external_extensions=("outer",))
    world.register("outer", "SHUTDOWN")
    world.extension_poll("outer")
    world.poll("w1")
    world.invoke()
    assert world.one(fx.CompleteInvocation, world.exit("outer", 1)).error_type == "Extension.Crash"
    world.deadline()


def test_nothing_is_frozen(new_world: Any) -> None:
    world = make(new_world, freezes=True)
    world.poll("w1")
    world.invoke()
    world.respond()
    assert not world.wanted(fx.Freeze)


def test_a_snapshot_is_restored_for_the_first_invocation(new_world: Any) -> None:
    world = make(new_world, initialization_type="snap-start")
    world.restore_poll()
    assert world.one(fx.AnswerRestore, world.invoke())
    assert world.one(fx.AnswerNext, world.poll("w1"))
