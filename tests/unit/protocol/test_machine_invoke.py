"""Invoke: answers, failures, streams, time, and who is told what."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lambdabox.errors import LocalProtocolError
from lambdabox.model.limits import RESPONSE_MAX_BYTES
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.log_lines import text_lines
from lambdabox.protocol.states import Phase, RuntimeState


def test_a_warm_invocation(idle: Any) -> None:
    out = idle.invoke(trace_id="Root=1")
    assert [type(effect) for effect in out] == [fx.EmitTelemetry, fx.AnswerNext]
    out = idle.respond(body=b'{"a":1}', content_type="application/json", after=0.01)
    assert out == (
        fx.Accept("response"),
        fx.CompleteInvocation("r1", b'{"a":1}', "application/json", "success"),
    )
    out = idle.poll(after=0.002)
    assert idle.records(out) == [("runtimeDone", "success", None)]
    assert out[1:] == (
        fx.FinishInvocation("r1", "success", 12.0, 12, 0.0, None, (), "Root=1", None),
        fx.AVAILABLE,
    )
    assert idle.machine.is_available


def test_runtime_done_shows_where_the_time_went(idle: Any) -> None:
    idle.invoke(tenant_id="t")
    idle.tell(ev.ResponseBegan("response", "r1"), after=0.01)
    idle.respond(body=b"12345", after=0.02)
    record = idle.one(fx.EmitTelemetry, idle.poll(after=0.03)).record
    wall = 1_790_000_000.0
    assert [(span.name, span.start, span.duration_ms) for span in record.spans] == [
        ("responseLatency", wall, 10.0),
        ("responseDuration", wall + 0.01, 20.0),
        ("runtimeOverhead", wall + 0.03, 30.0),
    ]
    assert (record.produced_bytes, record.duration_ms, record.tenant_id) == (5, 60.0, "t")


def test_a_function_error_answers_and_goes_on(idle: Any) -> None:
    idle.invoke()
    out = idle.fail(after=0.001)
    assert out == (
        fx.Accept("error"),
        fx.CompleteInvocation("r1", b'{"errorType":"E"}', "application/json", "error", "Runtime.Unknown"),
    )
    out = idle.poll()
    assert idle.records(out) == [("runtimeDone", "error", "Runtime.Unknown")]
    assert idle.is_in(Phase.IDLE)


def test_a_wrong_id_leaves_the_right_one_usable(idle: Any) -> None:
    idle.invoke()
    assert idle.one(fx.Refuse, idle.respond("r9")).status == 400
    assert idle.one(fx.Refuse, idle.fail("r9")).status == 400
    assert idle.one(fx.Refuse, idle.tell(ev.ResponseBegan("c", "r9"))).status == 400
    assert idle.one(fx.CompleteInvocation, idle.respond()).status == "success"


@pytest.mark.parametrize("again", ["respond", "fail"])
@pytest.mark.parametrize("first", ["respond", "fail"])
def test_a_second_answer_is_refused_and_the_caller_is_answered_once(idle: Any, first: str, again: str) -> None:
    idle.invoke()
    getattr(idle, first)()
    refusal = idle.one(fx.Refuse, getattr(idle, again)(call="again"))
    assert (refusal.call, refusal.status) == ("again", 403)
    idle.poll()
    refusal = idle.one(fx.Refuse, getattr(idle, again)(call="late"))
    assert (refusal.call, refusal.status) == ("late", 400)
    assert len(idle.wanted(fx.CompleteInvocation)) == 1


def test_an_answer_after_next_has_no_active_id_even_while_extensions_work(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    world.invoke()
    world.respond()
    world.poll()
    assert world.is_in(Phase.INVOKE)
    assert world.one(fx.Refuse, world.respond(call="late")).status == 400


@pytest.mark.parametrize("event", ["respond", "fail"])
def test_while_a_body_is_in_flight_other_answers_are_refused(idle: Any, event: str) -> None:
    idle.invoke(takes_stream=False)
    assert idle.tell(ev.ResponseBegan("slow", "r1")) == (fx.CollectResponse("slow"),)
    assert idle.one(fx.Refuse, getattr(idle, event)(call="fast")).status == 403
    assert idle.one(fx.Refuse, idle.tell(ev.ResponseBegan("fast", "r1"))).status == 403
    assert idle.one(fx.Refuse, idle.poll("hasty")).status == 403
    assert idle.one(fx.CompleteInvocation, idle.respond(call="slow")).payload == b"1"


def test_a_body_in_pieces_streams_to_who_asked_for_a_stream_whatever_the_runtime_says(idle: Any) -> None:
    idle.invoke(takes_stream=True)
    assert idle.tell(ev.ResponseBegan("go", "r1")) == (fx.BeginStream("go", "r1", "application/octet-stream"),)


def test_the_largest_response_is_accepted_and_one_byte_more_is_not(idle: Any) -> None:
    idle.invoke()
    idle.respond(size=RESPONSE_MAX_BYTES)
    assert idle.one(fx.CompleteInvocation).status == "success"
    idle.poll()
    idle.invoke("r2")
    out = idle.respond("r2", b"", size=RESPONSE_MAX_BYTES + 1)
    refusal = idle.one(fx.Refuse, out)
    assert (refusal.status, refusal.error_type) == (413, "RequestEntityTooLarge")
    assert refusal.message == "Exceeded maximum allowed payload size (6291556 bytes)."
    answer = idle.one(fx.CompleteInvocation, out)
    assert answer.error_type == "Function.ResponseSizeTooLarge"
    assert b"(6291557 bytes) exceeded" in answer.payload
    assert idle.records(idle.poll()) == [("runtimeDone", "error", "Function.ResponseSizeTooLarge")]
    assert idle.is_in(Phase.IDLE)


def test_a_cut_response_is_an_error_and_the_runtime_goes_on(idle: Any) -> None:
    idle.invoke()
    idle.tell(ev.ResponseBegan("c", "r1"))
    out = idle.respond(call="c", truncated=True)
    assert (idle.one(fx.Refuse, out).status, idle.one(fx.Refuse, out).error_type) == (400, "TruncatedHTTPRequest")
    assert idle.one(fx.CompleteInvocation, out).error_type == "Runtime.TruncatedResponse"
    idle.poll()
    assert idle.is_in(Phase.IDLE)


@pytest.mark.parametrize("begins", [True, False])
def test_an_unknown_response_mode_is_a_function_error_with_an_empty_payload(idle: Any, begins: bool) -> None:
    idle.invoke()
    out = idle.tell(ev.ResponseBegan("c", "r1", "buffered")) if begins else idle.respond(call="c", mode="buffered")
    assert out == (
        fx.Refuse("c", 400, "InvalidFunctionResponseMode", "Invalid function response mode"),
        fx.CompleteInvocation("r1", b"", "application/json", "error", "Runtime.InvalidResponseModeHeader"),
    )
    idle.poll()
    assert idle.is_in(Phase.IDLE)


def test_a_stream_passes_by_and_has_no_six_megabyte_limit(idle: Any) -> None:
    idle.invoke()
    assert idle.tell(ev.ResponseBegan("c", "r1", "streaming", "text/html")) == (fx.BeginStream("c", "r1", "text/html"),)
    out = idle.respond(call="c", body=b"", size=10_000_000, mode="streaming", content_type="text/html")
    assert out == (fx.Accept("c"), fx.CompleteInvocation("r1", b"", "text/html", "success", None, True))
    assert idle.one(fx.EmitTelemetry, idle.poll()).record.produced_bytes == 10_000_000


def test_a_stream_that_fails_midway_ends_with_the_trailers(idle: Any) -> None:
    idle.invoke()
    idle.tell(ev.ResponseBegan("c", "r1", "streaming"))
    out = idle.respond(call="c", body=b"", size=3, mode="streaming", error_type="Runtime.Unknown", error_body=b'{"e":1}')
    assert idle.one(fx.Accept, out).call == "c"
    answer = idle.one(fx.CompleteInvocation, out)
    assert (answer.payload, answer.status, answer.error_type, answer.is_streamed) == (
        b'{"e":1}',
        "error",
        "Runtime.Unknown",
        True,
    )


def test_a_stream_is_gathered_for_a_caller_who_takes_none_and_then_has_the_limit(idle: Any) -> None:
    idle.invoke(takes_stream=False)
    assert idle.tell(ev.ResponseBegan("c", "r1", "streaming")) == (fx.CollectResponse("c"),)
    out = idle.respond(call="c", body=b"", size=RESPONSE_MAX_BYTES + 1, mode="streaming")
    assert idle.one(fx.CompleteInvocation, out).error_type == "Function.ResponseSizeTooLarge"


def test_a_cut_stream_is_told_at_its_end(idle: Any) -> None:
    idle.invoke()
    idle.tell(ev.ResponseBegan("c", "r1", "streaming"))
    answer = idle.one(fx.CompleteInvocation, idle.respond(call="c", body=b"", size=1, mode="streaming", truncated=True))
    assert (answer.is_streamed, answer.error_type) == (True, "Runtime.TruncatedResponse")


def test_a_timeout_answers_and_resets(idle: Any) -> None:
    idle.invoke()
    out = idle.deadline()
    assert idle.time == 3.0
    answer = idle.one(fx.CompleteInvocation, out)
    assert (
        answer.payload
        == b'{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: r1 Error: Task timed out after 3.00 seconds"}'
    )
    assert (answer.status, answer.error_type) == ("timeout", None)
    assert idle.records(out) == [("runtimeDone", "timeout", None)]
    assert idle.one(fx.FinishInvocation, out).status == "timeout"
    assert out[-1] == fx.CLEAR_SANDBOX
    assert idle.one(fx.Refuse, idle.respond()).status == 400
    idle.cleared()
    assert idle.is_in(Phase.DORMANT)


def test_a_timeout_in_the_middle_of_a_stream_ends_the_stream(idle: Any) -> None:
    idle.invoke()
    idle.tell(ev.ResponseBegan("c", "r1", "streaming"))
    assert idle.one(fx.CompleteInvocation, idle.deadline()).is_streamed


def test_a_deadline_that_rings_early_or_for_nobody_does_nothing(idle: Any) -> None:
    assert idle.tell(ev.DeadlineReached()) == ()
    idle.invoke()
    assert idle.deadline(after=2.999) == ()
    assert idle.deadline(after=0.001) != ()


def test_an_invocation_may_bring_its_own_timeout(idle: Any) -> None:
    out = idle.invoke(timeout=0.5)
    assert idle.machine.deadline == 0.5
    assert idle.one(fx.AnswerNext, out).deadline_ms == 1_790_000_000_500
    assert b"timed out after 0.50 seconds" in idle.one(fx.CompleteInvocation, idle.deadline()).payload


def test_a_deadline_can_rest(idle: Any) -> None:
    out = idle.invoke(timeout=float("inf"))
    assert idle.machine.deadline is None
    assert idle.one(fx.AnswerNext, out).deadline_ms == 1_790_000_000_000 + 24 * 3600 * 1000


def test_deadlines_are_exact_to_the_millisecond(new_world: Any) -> None:
    world = new_world().boot()
    for tick in range(1, 300):
        world.time = tick / 1000
        out = world.invoke(f"r{tick}")
        assert world.one(fx.AnswerNext, out).deadline_ms == 1_790_000_000_000 + tick + 3000
        world.respond(f"r{tick}")
        world.poll()


@pytest.mark.parametrize(
    ("facts", "error_type", "text"),
    [
        ({"code": 0}, "Runtime.ExitError", "Runtime exited without providing a reason"),
        ({"code": 3}, "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ({"signal": 9}, "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ({"signal": 11}, "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
        ({"signal": 9, "out_of_memory": True}, "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_crash_answers_and_resets(idle: Any, facts: dict[str, Any], error_type: str, text: str) -> None:
    idle.invoke()
    out = idle.exit(after=0.1, **facts)
    answer = idle.one(fx.CompleteInvocation, out)
    assert json.loads(answer.payload) == {"errorType": error_type, "errorMessage": f"RequestId: r1 Error: {text}"}
    assert idle.records(out) == [("runtimeDone", "error", error_type)]
    assert idle.is_in(Phase.RESETTING)
    assert idle.machine.deadline is None


def test_memory_over_the_limit_ends_the_invocation(idle: Any) -> None:
    idle.invoke()
    assert idle.one(fx.CompleteInvocation, idle.tell(ev.MemoryExceeded())).error_type == "Runtime.OutOfMemory"


def test_a_crash_between_answer_and_next_is_reported_but_not_to_the_caller(idle: Any) -> None:
    idle.invoke()
    idle.respond()
    out = idle.exit(code=1)
    assert not idle.wanted(fx.CompleteInvocation, out)
    assert idle.one(fx.FinishInvocation, out).error_type == "Runtime.ExitError"
    assert idle.one(fx.CompleteInvocation).status == "success"


def test_a_crash_while_idle_resets(idle: Any) -> None:
    out = idle.exit(code=1)
    assert out == (fx.CLEAR_SANDBOX,)
    idle.cleared()
    out = idle.invoke()
    assert idle.wanted(fx.EmitTelemetry, out)[0].record.phase == "invoke"


def test_an_exit_that_nobody_waits_for_is_ignored(world: Any) -> None:
    assert world.exit() == ()
    assert world.exit("ghost") == ()


# -- polls ------------------------------------------------------------------------------------------------------------


def test_a_poll_while_running_gets_the_same_event_again(idle: Any) -> None:
    first = idle.one(fx.AnswerNext, idle.invoke())
    again = idle.one(fx.AnswerNext, idle.poll("again", after=0.5))
    assert (again.call, again.deadline_ms, again.invocation) == ("again", first.deadline_ms, first.invocation)


def test_an_abandoned_poll_is_not_answered_and_the_next_one_gets_the_event(idle: Any) -> None:
    idle.tell(ev.PollAbandoned("next"))
    out = idle.invoke()
    assert not idle.wanted(fx.AnswerNext, out)
    assert idle.machine.runtime is RuntimeState.RUNNING
    assert idle.one(fx.AnswerNext, idle.poll("back")).call == "back"


def test_abandoning_what_nobody_parked_does_nothing(idle: Any) -> None:
    assert idle.tell(ev.PollAbandoned("ghost")) == ()


def test_of_two_polls_the_newer_is_answered_and_the_other_waits(idle: Any) -> None:
    idle.poll("newer")
    assert idle.one(fx.AnswerNext, idle.invoke()).call == "newer"
    idle.respond()
    idle.tell(ev.PollAbandoned("next"))
    idle.poll("newest")
    assert idle.one(fx.AnswerNext, idle.invoke("r2")).call == "newest"


def test_a_second_poll_while_extensions_work_changes_nothing(new_world: Any) -> None:
    world = new_world().boot(inner=("INVOKE",))
    world.invoke()
    world.respond()
    world.poll()
    assert world.poll("second") == ()


# -- waiting, leaving, closing ----------------------------------------------------------------------------------------


def test_invocations_wait_their_turn_and_their_deadline_starts_with_it(idle: Any) -> None:
    idle.invoke("r1")
    assert idle.invoke("r2") == ()
    assert not idle.machine.is_available
    idle.respond("r1", after=1.0)
    out = idle.poll()
    assert [e.invocation.request_id for e in idle.wanted(fx.AnswerNext, out)] == ["r2"]
    assert fx.AVAILABLE not in out
    assert idle.machine.deadline == 4.0


def test_what_waits_survives_a_reset_and_runs_init_again(idle: Any) -> None:
    idle.invoke("r1")
    idle.invoke("r2")
    idle.exit(code=1)
    out = idle.cleared()
    assert idle.is_in(Phase.INIT)
    assert idle.machine.flight.invocation.request_id == "r2"
    assert fx.AVAILABLE not in out


def test_what_comes_during_a_reset_waits(idle: Any) -> None:
    idle.exit(code=1)
    assert idle.invoke() == ()
    idle.cleared()
    assert idle.machine.flight.invocation.request_id == "r1"


def test_an_invocation_whose_caller_left_before_it_began_is_given_up(idle: Any) -> None:
    idle.invoke("r1")
    idle.invoke("r2")
    idle.invoke("r3")
    out = idle.tell(ev.CallerLeft("r3"))
    assert idle.one(fx.CompleteInvocation, out).request_id == "r3"
    done = idle.one(fx.FinishInvocation, out)
    assert (done.request_id, done.status, done.error_type) == ("r3", "failure", "Sandbox.Failure")
    assert idle.machine.flight.invocation.request_id == "r1"
    idle.respond("r1")
    idle.poll()
    idle.respond("r2")
    idle.poll()
    assert idle.is_in(Phase.IDLE)


def test_an_invocation_that_runs_runs_on_without_its_caller(idle: Any) -> None:
    idle.invoke()
    assert idle.tell(ev.CallerLeft("r1")) == ()
    assert idle.one(fx.CompleteInvocation, idle.respond()).status == "success"


def test_a_closed_environment_cannot_be_invoked(world: Any) -> None:
    world.shutdown()
    with pytest.raises(LocalProtocolError, match="closed"):
        world.invoke()


# -- the invocation id ------------------------------------------------------------------------------------------------


@pytest.fixture
def numbered(new_world: Any) -> Any:
    """An environment that sends invocation ids, with an invocation under way."""
    world = new_world(sends_invocation_id=True, instance_id="stream").boot()
    world.invoke()
    return world


def test_no_invocation_id_unless_wanted(idle: Any) -> None:
    assert idle.one(fx.AnswerNext, idle.invoke()).invocation_id is None
    assert idle.wanted(fx.CompleteInvocation, idle.respond(invocation_id="whatever"))


def test_the_answer_to_the_latest_delivery_counts(numbered: Any) -> None:
    first = numbered.one(fx.AnswerNext).invocation_id
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first)
    second = numbered.one(fx.AnswerNext, numbered.poll("again")).invocation_id
    assert second != first
    for out in (
        numbered.respond(invocation_id=first),
        numbered.tell(ev.ResponseBegan("response", "r1", invocation_id=first)),
        numbered.tell(ev.RuntimeFailed("response", "r1", b"", "text/plain", "Runtime.X", invocation_id=first)),
    ):
        assert out == (fx.Refuse("response", 410, "InvokeTimeout", "Invoke timeout"),)
    assert numbered.one(fx.CompleteInvocation, numbered.respond(invocation_id=second))


def test_an_answer_without_an_invocation_id_counts(numbered: Any) -> None:
    assert numbered.wanted(fx.CompleteInvocation, numbered.respond())


def test_a_retried_invocation_has_a_new_invocation_id(numbered: Any) -> None:
    first = numbered.one(fx.AnswerNext).invocation_id
    numbered.respond()
    numbered.poll()
    assert numbered.one(fx.AnswerNext, numbered.invoke()).invocation_id != first


# -- errors over the limit --------------------------------------------------------------------------------------------


def test_an_error_over_the_limit_is_an_answer_that_is_too_large(idle: Any) -> None:
    idle.invoke()
    out = idle.tell(ev.RuntimeFailed("error", "r1", b"x", "application/json", "Runtime.X", 6_291_557))
    assert idle.one(fx.Refuse, out).status == 413
    done = idle.one(fx.CompleteInvocation, out)
    assert (done.status, done.error_type) == ("error", "Function.ResponseSizeTooLarge")
    assert idle.one(fx.FinishInvocation, idle.poll()).error_type == "Function.ResponseSizeTooLarge"


def test_an_error_at_the_limit_is_passed_on(idle: Any) -> None:
    idle.invoke()
    out = idle.tell(ev.RuntimeFailed("error", "r1", b"x", "application/json", "Runtime.X", 6_291_556))
    assert idle.one(fx.CompleteInvocation, out).payload == b"x"


# -- freezing ---------------------------------------------------------------------------------------------------------


def test_an_idle_environment_freezes_and_is_thawed_before_it_is_asked(new_world: Any) -> None:
    world = new_world(freezes=True).boot()
    assert world.history[-2:] == [fx.AVAILABLE, fx.Freeze()]
    out = world.invoke()
    assert out[0] == fx.THAW
    world.respond()
    assert world.poll()[-1] == fx.Freeze(epoch=1)
    assert world.machine.freeze_epoch == 1


def test_a_freeze_that_was_decided_before_work_came_is_told_by_its_epoch(new_world: Any) -> None:
    world = new_world(freezes=True).boot()
    decided = world.one(fx.Freeze)
    world.invoke()
    assert decided.epoch != world.machine.freeze_epoch


def test_an_environment_does_not_freeze_when_something_waits(new_world: Any) -> None:
    world = new_world(freezes=True).boot()
    world.invoke("r1")
    world.invoke("r2")
    world.respond("r1")
    assert not world.wanted(fx.Freeze, world.poll())


@pytest.mark.parametrize("end", ["shutdown", "exit", "memory"])
def test_a_frozen_environment_is_thawed_before_it_is_told_or_killed(new_world: Any, end: str) -> None:
    world = new_world(freezes=True).boot(inner=())
    out = {"shutdown": world.shutdown, "exit": world.exit, "memory": lambda: world.tell(ev.MemoryExceeded())}[end]()
    assert out[0] == fx.THAW
    assert not world.machine.is_frozen


# -- REPORT -----------------------------------------------------------------------------------------------------------


def test_every_record_of_a_failed_life_can_be_written_as_text(idle: Any) -> None:
    idle.invoke()
    idle.exit(code=1)
    idle.cleared()
    idle.invoke("r2")
    idle.init_error()
    idle.exit(code=1)
    text = "".join(text_lines(effect.record) for effect in idle.wanted(fx.EmitTelemetry))
    assert "INIT_REPORT Init Duration: 0.00 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError\n" in text
