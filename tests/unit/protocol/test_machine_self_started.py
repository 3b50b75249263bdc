"""Environments whose processes their user starts: by hand, or through us."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lambdabox.errors import LocalProtocolError
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import Phase, RuntimeState


def make(new_world: Any, **profile: Any) -> Any:
    return new_world(self_started=True, external_by_default=True, **profile)


@pytest.fixture
def waiting(new_world: Any) -> Any:
    """Init has been told of, and nobody is there."""
    world = make(new_world)
    world.tell(ev.InitRequested())
    return world


@pytest.fixture
def ready(waiting: Any) -> Any:
    """A runtime that was started by hand waits for its first event."""
    waiting.poll()
    assert waiting.is_in(Phase.IDLE)
    return waiting


# -- Init -------------------------------------------------------------------------------------------------------------


def test_nobody_is_started_and_no_time_counts(waiting: Any) -> None:
    assert waiting.records() == [("initStart", None, None)]
    assert not waiting.wanted(fx.StartProcess)
    assert waiting.machine.deadline is None


def test_a_runtime_that_comes_a_minute_later_is_in_time(waiting: Any) -> None:
    out = waiting.poll(after=60.0)
    assert waiting.records(out) == [("initRuntimeDone", "success", None), ("initReport", "success", None)]
    assert waiting.wanted(fx.EmitTelemetry, out)[-1].record.duration_ms == 0.0


def test_the_limit_counts_from_the_first_process(waiting: Any) -> None:
    waiting.spawn(after=60.0)
    assert waiting.machine.deadline == 70.0
    waiting.poll(after=0.25)
    assert waiting.wanted(fx.EmitTelemetry)[-1].record.duration_ms == 250.0


def test_the_limit_counts_from_the_first_call(waiting: Any) -> None:
    waiting.time = 60.0
    waiting.register("outer", "INVOKE")
    assert waiting.machine.deadline == 70.0
    waiting.poll(after=1.0)
    assert waiting.machine.deadline == 70.0
    waiting.extension_poll("outer")
    assert waiting.is_in(Phase.IDLE)


def test_there_may_be_no_limit(new_world: Any) -> None:
    world = make(new_world, init_timeout=math.inf)
    world.tell(ev.InitRequested())
    world.spawn()
    assert world.machine.deadline is None


def test_who_comes_before_init_was_wanted_begins_it(new_world: Any) -> None:
    world = make(new_world)
    world.register("outer")
    assert world.records()[0] == ("initStart", None, None)
    world.poll()
    world.extension_poll("outer")
    assert world.is_in(Phase.IDLE)
    assert world.tell(ev.InitRequested()) == ()


def test_a_runtime_alone_begins_init(new_world: Any) -> None:
    world = make(new_world)
    world.poll()
    assert [kind for kind, _, _ in world.records()] == ["initStart", "initRuntimeDone", "initReport"]


def test_an_init_error_may_be_the_first_thing_that_happens(new_world: Any) -> None:
    world = make(new_world)
    assert world.one(fx.Accept, world.init_error())
    assert world.machine.deadline == 0.5


def test_an_init_that_takes_too_long_clears_and_waits(waiting: Any) -> None:
    waiting.spawn()
    waiting.invoke()
    out = waiting.deadline()
    assert waiting.records(out) == [("initRuntimeDone", "timeout", None), ("initReport", "timeout", None)]
    assert out[-1] == fx.CLEAR_SANDBOX
    waiting.cleared()
    assert waiting.is_in(Phase.DORMANT)
    assert len(waiting.machine.waiting) == 1


def test_invocations_wait_for_a_runtime(waiting: Any) -> None:
    assert waiting.invoke("r1") == ()
    assert waiting.machine.deadline is None
    out = waiting.poll(after=60.0)
    assert waiting.one(fx.AnswerNext, out).deadline_ms == 1_790_000_063_000


# -- who is external --------------------------------------------------------------------------------------------------


def test_any_name_is_external(waiting: Any) -> None:
    assert waiting.wanted(fx.AcceptRegistration, waiting.register("anything", "INVOKE", "SHUTDOWN"))


def test_named_extensions_turn_awss_rule_on(new_world: Any) -> None:
    world = make(new_world, external_extensions=("outer",))
    world.tell(ev.InitRequested())
    assert not world.wanted(fx.StartProcess)
    assert world.wanted(fx.Refuse, world.register("inner", "SHUTDOWN"))
    assert world.wanted(fx.AcceptRegistration, world.register("outer", "SHUTDOWN"))


def test_without_the_option_everybody_is_internal(new_world: Any) -> None:
    world = new_world(self_started=True)
    world.tell(ev.InitRequested())
    assert world.wanted(fx.Refuse, world.register("any", "SHUTDOWN"))


def test_a_refused_registration_does_not_begin_init(new_world: Any) -> None:
    world = new_world(self_started=True)
    assert len(world.register("any", "SHUTDOWN")) == 1
    assert world.is_in(Phase.CREATED)


def test_a_spawned_extension_is_external(new_world: Any) -> None:
    world = make(new_world, external_extensions=("outer",))
    world.tell(ev.InitRequested())
    world.spawn("other", is_runtime=False)
    assert world.wanted(fx.AcceptRegistration, world.register("other", "SHUTDOWN"))


def test_init_waits_for_extensions_that_are_named(new_world: Any) -> None:
    world = make(new_world, external_extensions=("outer",))
    world.tell(ev.InitRequested())
    world.poll()
    assert world.is_in(Phase.INIT)
    late = world.register("inner")
    assert world.one(fx.Refuse, late).error_type == "Extension.RegistrationClosed"
    assert world.wanted(fx.AcceptRegistration, world.register("outer"))
    world.extension_poll("outer")
    assert world.is_in(Phase.IDLE)


def test_init_waits_for_as_many_extensions_as_were_spawned_whatever_their_names(waiting: Any) -> None:
    waiting.spawn("python3", is_runtime=False)
    waiting.spawn()
    waiting.poll()
    assert waiting.is_in(Phase.INIT)
    waiting.register("collector", "SHUTDOWN")
    assert waiting.wanted(fx.Refuse, waiting.register("one too many"))
    waiting.extension_poll("collector")
    assert waiting.is_in(Phase.IDLE)
    assert waiting.machine.extensions["collector"].process == "python3"


def test_an_extension_named_before_it_is_spawned_is_that_process(new_world: Any) -> None:
    world = make(new_world, external_extensions=("outer",))
    world.tell(ev.InitRequested())
    world.spawn("outer", is_runtime=False)
    assert world.machine.extensions["outer"].process == "outer"


def test_processes_are_spawned_in_self_started_environments_only(world: Any) -> None:
    with pytest.raises(LocalProtocolError, match="ghost"):
        world.spawn("ghost")


# -- exits ------------------------------------------------------------------------------------------------------------


def test_a_spawned_extension_that_ends_before_it_registers_ends_init(waiting: Any) -> None:
    waiting.spawn("outer", is_runtime=False)
    out = waiting.exit("outer", 1)
    assert waiting.records(out)[-1] == ("initReport", "error", "Extension.Crash")


def test_a_spawned_extension_that_ends_is_lost_whatever_its_name(waiting: Any) -> None:
    waiting.spawn("python3", is_runtime=False)
    waiting.register("collector", "INVOKE")
    waiting.poll()
    waiting.extension_poll("collector")
    waiting.invoke()
    done = waiting.one(fx.CompleteInvocation, waiting.exit("python3", 3))
    assert done.error_type == "Extension.Crash"
    assert b"exit status 3" in done.payload


def test_the_end_of_a_process_that_is_nobody_is_nothing(ready: Any) -> None:
    ready.spawn("tool", is_runtime=False)
    assert ready.exit("tool", 0) == ()


def test_the_spawned_runtime_may_have_any_name(waiting: Any) -> None:
    waiting.spawn("my runtime")
    waiting.poll()
    waiting.register("late")
    waiting.invoke()
    out = waiting.exit("my runtime", 1)
    assert waiting.one(fx.CompleteInvocation, out).error_type == "Runtime.ExitError"
    waiting.cleared()
    assert waiting.exit("my runtime", 1) == ()


def test_a_spawned_runtime_is_terminated_by_its_name(waiting: Any) -> None:
    waiting.spawn("my runtime")
    waiting.register("outer", "SHUTDOWN")
    waiting.poll()
    waiting.extension_poll("outer")
    assert fx.Terminate("my runtime") in waiting.shutdown()
    assert fx.Kill("my runtime") in waiting.deadline()


# -- after a reset ----------------------------------------------------------------------------------------------------


def test_after_a_timeout_invocations_wait_until_a_runtime_asks(ready: Any) -> None:
    ready.invoke("r1")
    ready.deadline()
    ready.invoke("r2")
    assert not ready.wanted(fx.EmitTelemetry, ready.cleared())
    assert ready.is_in(Phase.DORMANT)
    ready.invoke("r3")
    assert ready.one(fx.Refuse, ready.respond("r1")).status == 400
    out = ready.poll("back", after=30.0)
    assert [record[0] for record in ready.records(out)] == ["initStart", "initRuntimeDone", "initReport", "start"]
    assert ready.wanted(fx.EmitTelemetry, out)[0].record.phase == "invoke"
    assert ready.one(fx.AnswerNext, out).invocation.request_id == "r2"
    ready.respond("r2")
    assert ready.one(fx.FinishInvocation, ready.poll()).init_duration_ms is None


def test_a_runtime_started_by_hand_that_waits_through_a_reset_is_used_again(waiting: Any) -> None:
    waiting.register("outer", "INVOKE")
    waiting.poll("kept")
    waiting.extension_poll("outer")
    waiting.extension_fail("outer", in_init=False)
    waiting.invoke()
    out = waiting.cleared()
    assert waiting.one(fx.AnswerNext, out).call == "kept"


def test_the_poll_of_a_spawned_runtime_does_not_outlive_it(waiting: Any) -> None:
    waiting.spawn()
    waiting.poll()
    waiting.tell(ev.MemoryExceeded())
    assert waiting.cleared() == (fx.AVAILABLE,)
    assert waiting.machine.runtime is RuntimeState.STARTED


def test_a_process_spawned_after_a_reset_begins_init(ready: Any) -> None:
    ready.tell(ev.MemoryExceeded())
    ready.cleared()
    ready.poll()
    assert ready.is_in(Phase.IDLE)
    ready.exit()
    ready.cleared()
    assert ready.records(ready.spawn(after=5.0)) == [("initStart", None, None)]
    assert ready.machine.deadline == 15.0


def test_a_runtime_that_reconnects_gets_the_active_event_again(new_world: Any) -> None:
    world = make(new_world, timeout=math.inf)
    world.tell(ev.InitRequested())
    world.poll("first")
    world.invoke()
    assert world.machine.deadline is None
    assert world.one(fx.AnswerNext, world.poll("second", after=3600.0)).call == "second"


def test_waiting_invocations_are_given_up_at_shutdown(ready: Any) -> None:
    ready.invoke("r1")
    ready.deadline()
    ready.cleared()
    ready.invoke("r2")
    out = ready.shutdown()
    assert ready.one(fx.CompleteInvocation, out).error_type == "Sandbox.Failure"
    assert out[-1] == fx.CLOSE_SANDBOX


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def extended(waiting: Any) -> Any:
    """A runtime and an extension, both started by hand."""
    waiting.register("outer", "INVOKE", "SHUTDOWN")
    waiting.poll()
    waiting.extension_poll("outer", "parked")
    assert waiting.is_in(Phase.IDLE)
    return waiting


def test_an_extension_started_by_hand_is_through_when_its_connection_closes(extended: Any) -> None:
    out = extended.shutdown()
    assert out == (fx.AnswerExtensionShutdown("parked", "spindown", 1_790_000_002_000),)
    assert extended.machine.deadline == 2.0
    assert extended.tell(ev.PeerLeft("somebody else")) == ()
    assert extended.tell(ev.PeerLeft("parked")) == (fx.CLEAR_SANDBOX,)
    assert extended.cleared() == (fx.CLOSE_SANDBOX,)
    assert extended.tell(ev.PeerLeft("parked")) == ()


def test_an_extension_started_by_hand_is_through_when_it_asks_again(extended: Any) -> None:
    extended.shutdown()
    assert extended.extension_poll("outer") == (fx.CLEAR_SANDBOX,)


def test_an_extension_started_by_hand_is_through_when_it_gives_up(extended: Any) -> None:
    extended.shutdown()
    assert extended.extension_fail("outer", in_init=False)[-1] == fx.CLEAR_SANDBOX


def test_an_extension_started_by_hand_has_the_budget(extended: Any) -> None:
    extended.shutdown()
    assert extended.deadline() == (fx.CLEAR_SANDBOX,)
    assert extended.time == 2.0


def test_the_budget_is_an_option(new_world: Any) -> None:
    world = make(new_world, shutdown_timeout=0.1)
    world.tell(ev.InitRequested())
    world.spawn()
    world.register("outer", "SHUTDOWN")
    world.poll()
    world.extension_poll("outer")
    assert world.shutdown() == (fx.Terminate("runtime"),)
    assert world.machine.deadline == 0.1
    out = world.exit()
    assert world.one(fx.AnswerExtensionShutdown, out).deadline_ms == 1_790_000_000_100


def test_an_extension_whose_connection_broke_is_not_waited_for(extended: Any) -> None:
    extended.tell(ev.PollAbandoned("parked"))
    assert extended.shutdown() == (fx.CLEAR_SANDBOX,)


def test_an_extension_that_came_back_is_waited_for(extended: Any) -> None:
    extended.tell(ev.PollAbandoned("parked"))
    extended.extension_poll("outer", "again")
    assert extended.one(fx.AnswerExtensionShutdown, extended.shutdown()).call == "again"


def test_who_does_not_want_shutdown_and_has_no_process_is_let_go(waiting: Any) -> None:
    waiting.register("outer", "INVOKE")
    waiting.poll()
    waiting.extension_poll("outer")
    assert waiting.shutdown() == (fx.CLEAR_SANDBOX,)


def test_a_spawned_extension_is_killed_or_waited_for_as_on_aws(waiting: Any) -> None:
    for name in ("told", "killed"):
        waiting.spawn(name, is_runtime=False)
    waiting.register("told", "SHUTDOWN")
    waiting.register("killed", "INVOKE")
    waiting.poll()
    waiting.extension_poll("told", "told")
    waiting.extension_poll("killed")
    out = waiting.shutdown()
    assert out == (fx.AnswerExtensionShutdown("told", "spindown", 1_790_000_002_000), fx.Kill("killed"))
    assert waiting.tell(ev.PeerLeft("told")) == ()
    waiting.exit("killed")
    assert waiting.exit("told", 0) == (fx.CLEAR_SANDBOX,)


# -- extensions that take their time ----------------------------------------------------------------------------------


def busy(new_world: Any, **profile: Any) -> Any:
    """The runtime is through with its invocation, the extension is not."""
    world = make(new_world, extension_ready_timeout=0.5, **profile)
    world.tell(ev.InitRequested())
    world.register("outer", "INVOKE")
    world.poll()
    world.extension_poll("outer")
    world.invoke()
    world.respond(after=0.1)
    world.poll()
    return world


def test_an_invocation_waits_so_long_for_its_extensions(new_world: Any) -> None:
    world = busy(new_world)
    assert world.machine.deadline == 0.6
    out = world.deadline()
    done = world.one(fx.FinishInvocation, out)
    assert (done.status, done.duration_ms, [span.name for span in done.spans]) == ("success", 600.0, ["extensionOverhead"])
    assert world.is_in(Phase.IDLE)
    assert world.machine.deadline is None


def test_an_extension_in_time_stops_the_wait(new_world: Any) -> None:
    world = busy(new_world)
    assert world.one(fx.FinishInvocation, world.extension_poll("outer", after=0.1)).duration_ms == 200.0
    assert world.machine.deadline is None


def test_the_wait_begins_once(new_world: Any) -> None:
    world = make(new_world, extension_ready_timeout=0.5)
    world.tell(ev.InitRequested())
    for name in ("one", "other"):
        world.register(name, "INVOKE")
        world.extension_poll(name)
    world.poll()
    world.invoke()
    world.respond()
    world.poll()
    world.extension_poll("one", after=0.4)
    assert world.machine.deadline == 0.5


def test_the_wait_ends_with_the_invocations_time(new_world: Any) -> None:
    world = busy(new_world, timeout=0.3)
    assert world.machine.deadline == 0.3
    assert world.one(fx.FinishInvocation, world.deadline()).status == "timeout"


def test_the_wait_has_an_end_when_the_invocation_has_none(new_world: Any) -> None:
    world = busy(new_world, timeout=math.inf)
    assert world.one(fx.FinishInvocation, world.deadline()).status == "success"


def test_an_extension_that_is_late_gets_the_next_event_when_it_asks(new_world: Any) -> None:
    world = busy(new_world)
    world.deadline()
    assert not world.wanted(fx.AnswerExtensionInvoke, world.invoke("r2"))
    out = world.extension_poll("outer", "late")
    assert world.one(fx.AnswerExtensionInvoke, out).invocation.request_id == "r2"
