"""An environment that runs several invocations at once (contract 1.13, 4.9): the machine of AWS's Managed Instances.

What differs from one at a time: every poll of the runtime is a worker of its own and gets its own invocation; an invocation is over
with its answer; one that times out is answered and forgotten, its worker goes on and is told 410 once when it answers late;
nothing is frozen; extensions have no INVOKE. What is the same, Init and Shutdown, is the rules that `machine` stands on.

Parity: a broken environment is initialized anew where AWS replaces it. An invocation waits for a worker that is free; AWS refuses it.
"""

from __future__ import annotations

import math

from lambdabox.errors import LocalProtocolError
from lambdabox.model.error_types import ErrorType
from lambdabox.model.limits import RESPONSE_MAX_BYTES
from lambdabox.model.moment import Now, milliseconds
from lambdabox.model.telemetry import Span
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.environment_state import EnvironmentProfile, Extension, Flight, Init
from lambdabox.protocol.machine import EnvironmentMachine
from lambdabox.protocol.payloads import error_payload, go_json, timed_out_text
from lambdabox.protocol.states import RUNTIME_TABLE, Phase, RuntimeCall, RuntimeState

LATE_MAX = 1000  # how many timed-out invocations are remembered


def machine_for(profile: EnvironmentProfile) -> EnvironmentMachine:
    """The machine for a profile: several invocations at once, or one."""
    return ConcurrentMachine(profile) if profile.max_concurrency > 1 else EnvironmentMachine(profile)


class ConcurrentMachine(EnvironmentMachine):
    """The lifecycle of an environment with `profile.max_concurrency` invocations at once; `flights` are those that run, by id."""

    def __init__(self, profile: EnvironmentProfile) -> None:
        super().__init__(profile)
        self.flights: dict[str, Flight] = {}
        self._late: dict[str, None] = {}

    @property
    def is_available(self) -> bool:
        """An invocation given now is not kept waiting by another one."""
        if self.phase in (Phase.RESETTING, Phase.SHUTTING_DOWN, Phase.CLOSED):
            return False
        return len(self.flights) + len(self.waiting) < self.profile.max_concurrency

    # -- in and out ---------------------------------------------------------------------------------------------------

    def _invoke_requested(self, event: ev.InvokeRequested, now: Now) -> None:
        phase = self.phase
        if phase in (Phase.SHUTTING_DOWN, Phase.CLOSED):
            raise LocalProtocolError(f"an environment that is {phase} cannot be invoked")
        self.waiting.append(event)
        if phase is Phase.CREATED or (phase is Phase.DORMANT and not self.profile.self_started):
            self._begin_init(now)
        elif phase is Phase.SNAPSHOT:
            self._begin_restore(now)
        else:
            self._dispatch(now)

    def _begin_again(self, now: Now) -> None:
        self._begin_init(now)

    def _dispatch(self, now: Now) -> None:
        """Give what waits to the workers that wait, first come, first served."""
        if self.phase not in (Phase.IDLE, Phase.INVOKE):
            return
        while self.waiting and self._parked and len(self.flights) < self.profile.max_concurrency:
            flight = self._begin_flight(self.waiting.popleft(), now)
            flight.is_delivered = True
            self.flights[flight.invocation.request_id] = flight
            self._emit_start(flight)
            if self.profile.sends_invocation_id:
                self._number(flight)
            call = self._parked.pop(0)
            self._out.append(fx.AnswerNext(call, flight.invocation, flight.deadline_ms, flight.invocation_id))
        self._rest()

    def _rest(self) -> None:
        self.phase = Phase.INVOKE if self.flights else Phase.IDLE
        self.deadline = min((f.deadline for f in self.flights.values() if f.deadline is not None), default=None)

    def _become_idle(self, now: Now) -> None:
        """Init is over."""
        self._rest()
        self._out.append(fx.AVAILABLE)
        self._dispatch(now)

    def _runtime_polled_next(self, event: ev.RuntimePolledNext, now: Now) -> None:
        state = self.runtime
        wanted = RUNTIME_TABLE[state].get(RuntimeCall.NEXT)
        if wanted is None:
            self._refuse_runtime(event.call, RuntimeCall.NEXT)
            return
        if len(self._parked) >= self.profile.max_concurrency:
            error_type = ErrorType.RUNTIME_TOO_MANY_IDLE_RUNTIMES
            self._out.append(fx.Refuse(event.call, 500, error_type, "Too many idle runtimes"))
            return
        self.runtime = wanted
        self._parked.append(event.call)
        if state is not RuntimeState.READY:
            self._runtime_awaits(now)
        self._dispatch(now)

    # -- answers ------------------------------------------------------------------------------------------------------

    def _active(self, event: ev.ResponseBegan | ev.RuntimeResponded | ev.RuntimeFailed, wanted: RuntimeCall) -> Flight | None:
        """The flight that this call may answer; refuses it otherwise. An error may end a response that is under way."""
        flight = self.flights.get(event.request_id)
        if flight is None:
            if event.request_id in self._late:
                del self._late[event.request_id]
                self._refuse_late(event.call)
            else:
                self._refuse_id(event.call)
            return None
        if event.invocation_id and self._is_stale(flight, event.call, event.invocation_id):
            return None
        if wanted is RuntimeCall.RESPONSE and flight.response_call is not None and flight.response_call != event.call:
            self._refuse_id(event.call)
            return None
        return flight

    def _response_began(self, event: ev.ResponseBegan, now: Now) -> None:
        flight = self._active(event, RuntimeCall.RESPONSE)
        if flight is None:
            return
        flight.response_began = now
        if event.mode is not None and event.mode != "streaming":
            self._bad_response_mode(flight, event.call, now)
            return
        flight.response_call = event.call
        if not flight.takes_stream:
            self._out.append(fx.CollectResponse(event.call))
        else:
            flight.is_stream = True
            self._out.append(fx.BeginStream(event.call, event.request_id, event.content_type))

    def _runtime_responded(self, event: ev.RuntimeResponded, now: Now) -> None:
        flight = self._active(event, RuntimeCall.RESPONSE)
        if flight is None:
            return
        if flight.response_began is None:
            flight.response_began = now
        if event.mode is not None and event.mode != "streaming":
            self._bad_response_mode(flight, event.call, now)
            return
        flight.produced_bytes = event.size
        if event.truncated:
            self._truncated(flight, event.call, now)
        elif event.size > RESPONSE_MAX_BYTES and not flight.is_stream:
            self._too_large(flight, event.call, event.size, now)
        else:
            if event.error_type is not None:
                flight.status = "error"
                flight.error_type = event.error_type
            self._out.append(fx.Accept(event.call))
            payload = event.body if event.error_body is None else event.error_body
            self._complete(flight, payload, now, content_type=event.content_type)
            self._end(flight, now)

    def _runtime_failed(self, event: ev.RuntimeFailed, now: Now) -> None:
        flight = self._active(event, RuntimeCall.ERROR)
        if flight is None:
            return
        if flight.response_began is None:
            flight.response_began = now
        flight.produced_bytes = size = max(event.size, len(event.body))
        if size > RESPONSE_MAX_BYTES:
            self._too_large(flight, event.call, size, now)
            return
        flight.status = "error"
        flight.error_type = event.error_type
        self._out.append(fx.Accept(event.call))
        self._complete(flight, event.body, now, content_type=event.content_type)
        self._end(flight, now)

    def _answer_error(self, flight: Flight, error_type: str, payload: bytes, now: Now) -> None:
        flight.status = "error"
        flight.error_type = error_type
        self._complete(flight, payload, now)
        self._end(flight, now)

    def _end(self, flight: Flight, now: Now) -> None:
        """An invocation is over with its answer."""
        self._finish(flight, now)
        del self.flights[flight.invocation.request_id]
        self._rest()
        self._out.append(fx.AVAILABLE)

    def _finish(self, flight: Flight, now: Now) -> None:
        """The figures: no platform.runtimeDone, and nothing but the time it took."""
        began, answered = flight.response_began, flight.answered
        spans: tuple[Span, ...] = ()
        if began is not None and answered is not None:
            spans = (Span("responseLatency", flight.started, began), Span("responseDuration", began, answered))
        invocation = flight.invocation
        duration = now.monotonic - flight.started.monotonic
        self._out.append(
            fx.FinishInvocation(
                invocation.request_id,
                flight.status,
                milliseconds(duration),
                math.ceil(round(duration * 1000, 2)),
                None,
                flight.error_type,
                spans,
                invocation.trace_id,
                invocation.tenant_id,
            )
        )

    # -- failures -----------------------------------------------------------------------------------------------------

    def _deadline_reached(self, event: ev.DeadlineReached, now: Now) -> None:
        if self.phase is not Phase.INVOKE:
            super()._deadline_reached(event, now)
            return
        for flight in [f for f in self.flights.values() if f.deadline is not None and now.monotonic >= f.deadline]:
            self._remember_late(flight.invocation.request_id)
            flight.status = "timeout"
            text = timed_out_text(flight.timeout)
            payload = go_json({"errorType": ErrorType.SANDBOX_TIMEDOUT, "errorMessage": text})
            self._complete(flight, payload, now)
            self._end(flight, now)
        self._dispatch(now)

    def _remember_late(self, request_id: str) -> None:
        self._late[request_id] = None
        if len(self._late) > LATE_MAX:
            del self._late[next(iter(self._late))]

    def _fail(self, error_type: str, text: str, now: Now, *, is_timeout: bool = False) -> None:
        """The runtime or an extension is lost, and all that runs with it."""
        self._lose_flights("error", error_type, text, now)
        super()._fail(error_type, text, now, is_timeout=is_timeout)

    def _lose_flights(self, status: str, error_type: str, text: str, now: Now) -> None:
        for request_id, flight in self.flights.items():
            payload = error_payload(error_type, text, request_id)
            self._lose_flight(flight, status, error_type, payload, now, "application/json")
        self.flights.clear()
        self._late.clear()

    def _init_failed(
        self,
        init: Init,
        error_type: str,
        text: str,
        now: Now,
        *,
        is_timeout: bool = False,
        failed: Extension | None = None,
    ) -> None:
        """Init is tried once: what waits gets its failure."""
        error = init.error if failed is None else None
        if is_timeout:
            text = timed_out_text(self.profile.init_timeout)
        super()._init_failed(init, error_type, text, now, is_timeout=is_timeout, failed=failed)
        while self.waiting and not self.profile.self_started:
            flight = self._begin_flight(self.waiting.popleft(), now)
            if error is not None:
                self._lose_flight(flight, "error", error[0], error[1], now, error[2])
                continue
            payload = error_payload(error_type, text, flight.invocation.request_id)
            status, shown = ("timeout", None) if is_timeout else ("error", error_type)
            self._lose_flight(flight, status, shown, payload, now, "application/json")

    def _shutdown_requested(self, event: ev.ShutdownRequested, now: Now) -> None:
        self._lose_flights("failure", ErrorType.SANDBOX_FAILURE, "the environment was shut down", now)
        super()._shutdown_requested(event, now)

    # -- extensions ---------------------------------------------------------------------------------------------------

    def _extension_registered(self, event: ev.ExtensionRegistered, now: Now) -> None:
        if event.events and not self._is_external(event.name):
            self._refuse_extension(event.call, "InvalidEventType", "No events allowed for internal extensions")
        elif "INVOKE" in event.events:
            self._refuse_extension(event.call, "InvalidEventType", "INVOKE: ErrorInvalidEventType")
        else:
            super()._extension_registered(event, now)
