"""Whatever happens in whatever order, the machine keeps its promises."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdabox.errors import LocalProtocolError
from lambdabox.model.invocation import Invocation
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.concurrent_machine import ConcurrentMachine, machine_for
from lambdabox.protocol.machine import EnvironmentProfile
from lambdabox.protocol.states import Phase

OUTER = ("a", "b")
NAMES = ("runtime", *OUTER, "inner", "ghost")
REQUESTS = ("current", "r1", "r2", "nonsense")
EVENTS = (fx.AnswerNext, fx.AnswerRestore, fx.AnswerExtensionInvoke, fx.AnswerExtensionShutdown)
ANSWERS = (*EVENTS, fx.Accept, fx.AcceptRegistration, fx.AcceptSubscription, fx.Refuse)

# Each step is a word and what goes with it; the driver makes it an event, so that a failing example reads as a story.
STEPS = st.one_of(
    st.tuples(st.just("invoke"), st.sampled_from([None, 0.5, math.inf])),
    st.tuples(st.just("init"), st.none()),
    st.tuples(st.just("next"), st.none()),
    st.tuples(st.just("abandon"), st.sampled_from(["last", "ghost"])),
    st.tuples(st.just("leave"), st.sampled_from(REQUESTS)),
    st.tuples(st.just("began"), st.tuples(st.sampled_from(REQUESTS), st.sampled_from([None, "streaming", "odd"]))),
    st.tuples(st.just("respond"), st.tuples(st.sampled_from(REQUESTS), st.sampled_from([1, 6_291_557]), st.booleans())),
    st.tuples(st.just("fail"), st.sampled_from(REQUESTS)),
    st.tuples(st.just("init error"), st.none()),
    st.tuples(
        st.just("register"),
        st.tuples(st.sampled_from(NAMES[1:]), st.sampled_from([(), ("INVOKE",), ("SHUTDOWN",), ("INVOKE", "SHUTDOWN")])),
    ),
    st.tuples(st.just("extension next"), st.sampled_from(NAMES[1:])),
    st.tuples(st.just("extension error"), st.tuples(st.sampled_from(NAMES[1:]), st.booleans())),
    st.tuples(
        st.just("subscribe"), st.tuples(st.sampled_from(NAMES[1:]), st.sampled_from(["telemetry", "logs"]), st.sampled_from("xy"))
    ),
    st.tuples(st.just("spawn"), st.sampled_from(NAMES)),
    st.tuples(st.just("restore"), st.none()),
    st.tuples(st.just("restore next"), st.none()),
    st.tuples(st.just("restore error"), st.none()),
    st.tuples(st.just("peer left"), st.none()),
    st.tuples(st.just("launch failed"), st.sampled_from(NAMES)),
    st.tuples(st.just("exit"), st.tuples(st.sampled_from(NAMES), st.sampled_from([0, 1, None]))),
    st.tuples(st.just("memory"), st.none()),
    st.tuples(st.just("cleared"), st.none()),
    st.tuples(st.just("deadline"), st.none()),
    st.tuples(st.just("shutdown"), st.sampled_from(["spindown", "timeout", "failure"])),
)
# What leads somewhere comes more often than nonsense, or few stories would get past Init.
LIKELY = st.one_of(
    st.tuples(st.just("invoke"), st.none()),
    st.tuples(st.just("next"), st.none()),
    st.tuples(st.just("respond"), st.tuples(st.just("current"), st.just(1), st.just(False))),
    st.tuples(st.just("extension next"), st.sampled_from(NAMES[1:4])),
    st.tuples(st.just("ready"), st.none()),
    st.tuples(st.just("cleared"), st.none()),
)


class Driver:
    """Plays a story to a machine and checks every promise after every step."""

    def __init__(self, *, freezes: bool, outer: tuple[str, ...], **profile: Any) -> None:
        self.machine = machine_for(EnvironmentProfile(function_name="f", freezes=freezes, external_extensions=outer, **profile))
        self.told_shutdown: Any = None
        self.time = 0.0
        self.calls = 0
        self.answered: set[Any] = set()
        self.open: dict[str, Any] = {}  # calls whose body is still coming
        self.identifiers: dict[str, str] = {}
        self.accepted: list[str] = []
        self.completed: list[str] = []
        self.finished: list[str] = []
        self.is_frozen = False
        self.is_closed = False
        self.parked: set[Any] = set()
        self.shutdown_seen = False

    def call(self) -> str:
        self.calls += 1
        return f"call {self.calls}"

    def request_id(self, word: str) -> str:
        flight = self.machine.flight
        return flight.invocation.request_id if word == "current" and flight is not None else word

    def tell(self, event: Any) -> None:
        from lambdabox.model.moment import Now

        machine = self.machine
        epoch = machine.freeze_epoch
        state = (machine.phase, machine.runtime, machine.flight, len(machine.waiting))
        try:
            out = machine.handle(event, Now(self.time, 1_790_000_000 + self.time))
        except LocalProtocolError:
            if isinstance(event, ev.ProcessSpawned):
                assert not machine.profile.self_started
                return
            assert isinstance(event, ev.InvokeRequested)
            assert machine.phase in (Phase.SHUTTING_DOWN, Phase.CLOSED)
            return
        assert machine.freeze_epoch == epoch + sum(isinstance(effect, fx.Thaw) for effect in out)
        if isinstance(event, ev.InvokeRequested):
            self.accepted.append(event.invocation.request_id)
        for effect in out:
            self.see(effect)
        if any(isinstance(effect, fx.Refuse) and effect.status == 403 for effect in out):
            assert len(out) == 1
            assert state == (machine.phase, machine.runtime, machine.flight, len(machine.waiting))
        self.check()

    def see(self, effect: Any) -> None:
        assert not self.is_closed or isinstance(effect, fx.Refuse)
        if isinstance(effect, ANSWERS):
            assert effect.call not in self.answered, "a call is answered once"
            self.answered.add(effect.call)
        if isinstance(effect, fx.AnswerExtensionShutdown):
            self.told_shutdown = effect.call
        if isinstance(effect, fx.StartProcess):
            assert not self.machine.profile.self_started
        if isinstance(effect, EVENTS):
            assert effect.call in self.parked, "only a poll is answered with an event"
            assert not self.is_frozen
        if isinstance(effect, fx.Kill | fx.Terminate | fx.ClearSandbox):
            assert not self.is_frozen
        if isinstance(effect, fx.CompleteInvocation):
            assert effect.status in ("success", "error", "timeout")
            assert effect.request_id in self.accepted
            self.completed.append(effect.request_id)
        elif isinstance(effect, fx.FinishInvocation):
            assert effect.request_id in self.completed, "the caller has its answer before the books are closed"
            assert effect.duration_ms >= 0
            self.finished.append(effect.request_id)
        elif isinstance(effect, fx.Freeze | fx.Thaw):
            assert self.is_frozen is isinstance(effect, fx.Thaw)
            self.is_frozen = not self.is_frozen
        elif isinstance(effect, fx.CloseSandbox):
            self.is_closed = True

    def check(self) -> None:
        machine = self.machine
        assert isinstance(machine.phase, Phase)
        assert machine.deadline is None or math.isfinite(machine.deadline)
        assert len(set(self.completed)) == len(self.completed)
        assert len(set(self.finished)) == len(self.finished)
        assert machine.is_frozen is self.is_frozen
        assert (machine.phase is Phase.CLOSED) is self.is_closed
        assert (machine.restore is not None) is (machine.phase is Phase.RESTORE)
        running = [] if machine.flight is None else [machine.flight]
        if isinstance(machine, ConcurrentMachine):
            assert machine.flight is None
            running = list(machine.flights.values())
            assert len(running) <= machine.profile.max_concurrency
            assert len(machine._parked) <= machine.profile.max_concurrency
            assert not (machine.waiting and machine._parked and machine.phase is Phase.IDLE)
            assert machine.phase in (Phase.INVOKE, Phase.CLOSED) or not running
        if machine.phase is Phase.INVOKE:
            assert running
        elif machine.phase not in (Phase.INIT, Phase.RESTORE):
            assert not running
        if machine.phase in (Phase.CREATED, Phase.SNAPSHOT, Phase.IDLE, Phase.DORMANT, Phase.CLOSED):
            may_wait = isinstance(machine, ConcurrentMachine) or machine.profile.self_started
            assert may_wait or not machine.waiting
            assert machine.deadline is None
            assert len(self.finished) + len(machine.waiting) == len(self.accepted)

    def step(self, word: str, detail: Any) -> None:  # one branch a word
        self.time += 0.01
        if word == "invoke":
            self.tell(
                ev.InvokeRequested(
                    Invocation(request_id=f"r{len(self.accepted) + 1}", payload=b"", invoked_function_arn="a", timeout=detail)
                )
            )
        elif word == "init":
            self.tell(ev.InitRequested())
        elif word == "subscribe":
            name, api, body = detail
            identifier = self.identifiers.get(name, "unknown")
            self.tell(ev.TelemetrySubscribed(self.call(), identifier, api, ("platform",), "2022-12-13", body))
        elif word == "spawn":
            self.tell(ev.ProcessSpawned(detail, detail == "runtime"))
        elif word == "restore":
            self.tell(ev.RestoreRequested())
        elif word == "restore next":
            call = self.call()
            self.parked.add(call)
            self.tell(ev.RuntimePolledRestore(call))
        elif word == "restore error":
            self.tell(ev.RuntimeRestoreFailed(self.call(), b"{}", "application/json", "Runtime.X"))
        elif word == "peer left":
            self.tell(ev.PeerLeft(self.told_shutdown))
        elif word in ("next", "extension next"):
            call = self.call()
            self.parked.add(call)
            identifier = self.identifiers.get(detail, "unknown")
            self.tell(ev.RuntimePolledNext(call) if word == "next" else ev.ExtensionPolledNext(call, identifier))
        elif word == "abandon":
            self.tell(ev.PollAbandoned(f"call {self.calls}" if detail == "last" else "ghost"))
        elif word == "leave":
            self.tell(ev.CallerLeft(self.request_id(detail)))
        elif word == "began":
            call, request_id = self.call(), self.request_id(detail[0])
            self.tell(ev.ResponseBegan(call, request_id, detail[1]))
            if call not in self.answered:
                self.open[request_id] = (call, detail[1])
        elif word == "respond":
            request_id = self.request_id(detail[0])
            call, mode = self.open.pop(request_id, (self.call(), None))
            self.tell(ev.RuntimeResponded(call, request_id, b"1", detail[1], mode=mode, truncated=detail[2]))
        elif word == "fail":
            self.tell(ev.RuntimeFailed(self.call(), self.request_id(detail), b"{}", "application/json", "Function.X"))
        elif word == "init error":
            self.tell(ev.RuntimeInitFailed(self.call(), b"{}", "application/json", "Runtime.X"))
        elif word == "register":
            call = self.call()
            identifier = f"id {self.calls}"
            self.tell(ev.ExtensionRegistered(call, detail[0], detail[1], identifier))
            if identifier in self.machine._by_identifier:
                self.identifiers[detail[0]] = identifier
        elif word == "extension error":
            self.tell(ev.ExtensionFailed(self.call(), self.identifiers.get(detail[0], "unknown"), detail[1], "X"))
        elif word == "launch failed":
            self.tell(ev.LaunchFailed(detail, "Runtime.InvalidEntrypoint", "no"))
        elif word == "exit":
            self.tell(ev.ProcessExited(detail[0], detail[1], None if detail[1] is not None else 9))
        elif word == "memory":
            self.tell(ev.MemoryExceeded())
        elif word == "cleared":
            self.tell(ev.SandboxCleared())
        elif word == "deadline":
            if self.machine.deadline is not None:
                self.time = max(self.time, self.machine.deadline)
            self.tell(ev.DeadlineReached())
        elif word == "ready":  # everybody who has to register and poll does so
            for name in self.machine.profile.external_extensions:
                self.step("register", (name, ("INVOKE", "SHUTDOWN")))
                self.step("extension next", name)
            self.step("next", None)
            if self.machine.profile.max_concurrency > 1:
                self.step("next", None)
        else:
            self.tell(ev.ShutdownRequested(detail))

    def end(self) -> None:
        """A shutdown always comes to its end, and every invocation has come to its own."""
        self.tell(ev.ShutdownRequested())
        for _ in range(5):
            if self.machine.phase is Phase.CLOSED:
                break
            if self.machine.deadline is None:
                self.tell(ev.SandboxCleared())
            else:
                self.step("deadline", None)
        assert self.is_closed
        assert sorted(self.completed) == sorted(self.accepted) == sorted(self.finished)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.booleans(),
    st.sampled_from([(), OUTER[:1], OUTER]),
    st.lists(st.one_of(STEPS, LIKELY, LIKELY), max_size=40),
)
def test_promises_hold_whatever_happens(freezes: bool, outer: tuple[str, ...], story: list[tuple[str, Any]]) -> None:
    driver = Driver(freezes=freezes, outer=outer)
    for word, detail in story:
        driver.step(word, detail)
    driver.end()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {
            "freezes": st.booleans(),
            "outer": st.sampled_from([(), OUTER[:1], OUTER]),
            "self_started": st.booleans(),
            "external_by_default": st.booleans(),
            "extension_ready_timeout": st.sampled_from([None, 0.1]),
            "initialization_type": st.sampled_from(["on-demand", "snap-start"]),
            "max_concurrency": st.sampled_from([1, 2, 3]),
            "sends_invocation_id": st.booleans(),
            "init_timeout": st.sampled_from([10.0, math.inf]),
        }
    ),
    st.lists(st.one_of(STEPS, LIKELY, LIKELY), max_size=40),
)
def test_promises_hold_in_every_mode(profile: dict[str, Any], story: list[tuple[str, Any]]) -> None:
    driver = Driver(**profile)
    for word, detail in story:
        driver.step(word, detail)
    driver.end()


@settings(max_examples=100, deadline=None)
@given(st.lists(LIKELY, max_size=60))
def test_promises_hold_in_a_usual_life(story: list[tuple[str, Any]]) -> None:
    driver = Driver(freezes=True, outer=())
    driver.step("invoke", None)
    driver.step("ready", None)
    for word, detail in story:
        driver.step(word, detail)
    driver.end()
