"""One execution environment as a pure machine: Init, Invoke, reset and Shutdown, with extensions.

The theory, from contract sections 1, 2 and 4:

- *Init* starts every external extension, waits until all have registered, starts the runtime, waits until the runtime
  and every extension have asked for their next event. It has ten seconds of its own. When it fails or takes longer, the
  environment is cleared and Init runs once more inside the first invocation, on that invocation's time ("suppressed").
- *Invoke* answers the parked polls of the runtime and of the extensions that subscribed to INVOKE. The caller gets its
  answer the moment the runtime has delivered it; the invocation is over when the runtime and those extensions have
  asked for their next event. The deadline covers all of it.
- *Reset* follows a timeout, a crash, a lost extension: the processes are shut down, /tmp is kept, and the environment lies
  dormant until the next invocation runs Init again.
- *Shutdown* gives nothing to a lone runtime (SIGKILL), 500 ms when there are only internal extensions, 2,000 ms with
  external ones: first the runtime ends (SIGTERM, 300 ms), then the extensions are told why.

Every state change happens here. What `states.RUNTIME_TABLE` and `EXTENSION_TABLE` do not list is refused before
anything moves; ids are checked first. Nothing here waits: `deadline` says when to come back with DeadlineReached.

Parity: a runtime that reported its Init error gets 500 ms to exit by itself before it is killed; AWS waits for the whole
Init limit. A runtime that sent a bad response-mode header may ask for its next event.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lambdabox.errors import LocalProtocolError
from lambdabox.model.error_types import ErrorType
from lambdabox.model.invocation import Invocation
from lambdabox.model.limits import (
    EXTENSIONS_MAX,
    INIT_SECONDS,
    RESPONSE_MAX_BYTES,
    SHUTDOWN_EXTERNAL_SECONDS,
    SHUTDOWN_INTERNAL_SECONDS,
    SHUTDOWN_RUNTIME_SHARE_SECONDS,
)
from lambdabox.model.moment import Now, milliseconds
from lambdabox.model.telemetry import ExtensionState, InitReport, InitRuntimeDone, InitStart, RuntimeDone, Span, Start
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.payloads import (
    error_payload,
    exit_text,
    response_too_large_payload,
    runtime_exit_text,
    timed_out_text,
)
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

RUNTIME = "runtime"
INIT_ERROR_GRACE_SECONDS = 0.5
REST_SECONDS = 24 * 3600.0  # how far away the deadline is said to be when it rests

_NEXT_ENDS = RUNTIME_TABLE[RuntimeState.RESPONSE_SENT][RuntimeCall.NEXT]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentProfile:
    """What the machine must know of its function. Times in seconds, memory in MB."""

    function_name: str
    function_version: str = "$LATEST"
    memory_size: int = 128
    timeout: float = 3.0
    init_timeout: float = INIT_SECONDS
    initialization_type: str = "on-demand"
    instance_id: str = ""
    external_extensions: tuple[str, ...] = ()
    freezes: bool = False
    runtime_version: str | None = None
    runtime_version_arn: str | None = None


@dataclass(slots=True, eq=False)
class Extension:
    """One registered or started extension."""

    name: str
    is_external: bool
    phase: ExtensionPhase = ExtensionPhase.STARTED
    identifier: str | None = None
    events: tuple[str, ...] = ()
    parked: ev.Call | None = None
    error_type: str | None = None
    has_exited: bool = False
    was_told: bool = False  # SHUTDOWN has been delivered


@dataclass(slots=True, eq=False)
class Flight:
    """One invocation in the environment."""

    invocation: Invocation
    started: Now
    deadline: float | None
    deadline_ms: int
    timeout: float
    init_duration: float | None = None
    is_delivered: bool = False
    response_began: Now | None = None
    response_call: ev.Call | None = None
    is_stream: bool = False
    answered: Now | None = None
    runtime_done: Now | None = None
    status: str = "success"
    error_type: str | None = None
    produced_bytes: int = 0


@dataclass(slots=True, eq=False)
class Init:
    """The Init that runs, or ran last."""

    phase: str
    started: Now
    deadline: float | None
    runtime_started: bool = False
    runtime_done: bool = False
    error: tuple[str, bytes] | None = None  # posted by the runtime: error type and payload


@dataclass(slots=True, eq=False)
class Teardown:
    """A shutdown or reset under way."""

    reason: str
    deadline: float
    runtime_deadline: float | None
    deadline_ms: int
    is_final: bool
    extensions_told: bool = False
    is_clearing: bool = False
    then: list[str] = field(default_factory=list)


class EnvironmentMachine:
    """The lifecycle of one execution environment: `handle` takes what happened and the time, and returns what is to be done."""

    def __init__(self, profile: EnvironmentProfile) -> None:
        self.profile = profile
        self.phase = Phase.CREATED
        self.runtime = RuntimeState.STARTED
        self.deadline: float | None = None
        self.flight: Flight | None = None
        self.waiting: deque[Invocation] = deque()
        self.extensions: dict[str, Extension] = {}
        self.is_frozen = False
        self.is_registration_open = True
        self.init: Init | None = None
        self._teardown: Teardown | None = None
        self._parked: list[ev.Call] = []
        self._runtime_alive = False
        self._init_duration: float | None = None
        self._by_identifier: dict[str, Extension] = {}
        self._out: list[fx.Effect] = []
        self._handlers: dict[type, Callable[[Any, Now], None]] = {
            ev.InitRequested: self._init_requested,
            ev.InvokeRequested: self._invoke_requested,
            ev.CallerLeft: self._caller_left,
            ev.RuntimePolledNext: self._runtime_polled_next,
            ev.PollAbandoned: self._poll_abandoned,
            ev.ResponseBegan: self._response_began,
            ev.RuntimeResponded: self._runtime_responded,
            ev.RuntimeFailed: self._runtime_failed,
            ev.RuntimeInitFailed: self._runtime_init_failed,
            ev.ExtensionRegistered: self._extension_registered,
            ev.ExtensionPolledNext: self._extension_polled_next,
            ev.ExtensionFailed: self._extension_failed,
            ev.LaunchFailed: self._launch_failed,
            ev.ProcessExited: self._process_exited,
            ev.MemoryExceeded: self._memory_exceeded,
            ev.SandboxCleared: self._sandbox_cleared,
            ev.DeadlineReached: self._deadline_reached,
            ev.ShutdownRequested: self._shutdown_requested,
        }

    def handle(self, event: ev.Event, now: Now) -> tuple[fx.Effect, ...]:
        """What is to be done about `event`. Raises LocalProtocolError when our own engine asks for what cannot be."""
        self._handlers[type(event)](event, now)
        out = self._out
        if not out:
            return ()
        self._out = []
        return tuple(out)

    @property
    def is_available(self) -> bool:
        """An invocation given now is not kept waiting by another one."""
        return self.phase in (Phase.CREATED, Phase.IDLE, Phase.DORMANT)

    # -- Init ---------------------------------------------------------------------------------------------------------

    def _init_requested(self, _event: ev.InitRequested, now: Now) -> None:
        if self.phase is Phase.CREATED:
            self._begin_init("init", now)

    def _begin_init(self, phase: str, now: Now, deadline: float | None = None) -> None:
        profile = self.profile
        if phase == "init":
            deadline = now.monotonic + profile.init_timeout
        self.phase = Phase.INIT
        self.init = Init(phase, now, deadline)
        self.deadline = deadline
        self._init_duration = None
        self._emit(
            InitStart(
                initialization_type=profile.initialization_type,
                phase=phase,
                function_name=profile.function_name,
                function_version=profile.function_version,
                instance_id=profile.instance_id,
                instance_max_memory=profile.memory_size * 1024 * 1024,
                runtime_version=profile.runtime_version,
                runtime_version_arn=profile.runtime_version_arn,
            )
        )
        if len(profile.external_extensions) > EXTENSIONS_MAX:
            self._init_failed(ErrorType.EXTENSION_LAUNCH_ERROR, "TooManyExtensions", now)
            return
        for name in profile.external_extensions:
            self.extensions[name] = Extension(name, is_external=True)
            self._out.append(fx.StartProcess(name, is_runtime=False))
        self._maybe_start_runtime()

    def _maybe_start_runtime(self) -> None:
        init = self.init
        if init is None or init.runtime_started or self.phase is not Phase.INIT:
            return
        if all(extension.identifier is not None for extension in self.extensions.values() if extension.is_external):
            init.runtime_started = True
            self._runtime_alive = True
            self._out.append(fx.StartProcess(RUNTIME, is_runtime=True))

    def _runtime_done_init(self, status: str, error_type: str | None) -> None:
        init = self.init
        if init is None or init.runtime_done:
            return
        init.runtime_done = True
        self._emit(
            InitRuntimeDone(
                initialization_type=self.profile.initialization_type, phase=init.phase, status=status, error_type=error_type
            )
        )

    def _maybe_init_complete(self, now: Now) -> None:
        init = self.init
        if init is None or self.phase is not Phase.INIT or self.runtime is not RuntimeState.READY:
            return
        if any(extension.phase is not ExtensionPhase.READY for extension in self.extensions.values()):
            return
        for extension in self.extensions.values():
            self._emit(ExtensionState(name=extension.name, state="Ready", events=extension.events))
        duration = now.monotonic - init.started.monotonic
        self._report_init(init, "success", None, duration)
        flight = self.flight
        if flight is not None:  # suppressed: the invocation has been running all along
            self.phase = Phase.INVOKE
            self.deadline = flight.deadline
            self._deliver(flight)
            return
        self._init_duration = duration
        self._become_idle(now)

    def _report_init(self, init: Init, status: str, error_type: str | None, duration: float) -> None:
        self._emit(
            InitReport(
                initialization_type=self.profile.initialization_type,
                phase=init.phase,
                status=status,
                error_type=error_type,
                duration_ms=milliseconds(duration),
            )
        )

    def _init_failed(
        self,
        error_type: str,
        text: str,
        now: Now,
        *,
        payload: bytes | None = None,
        status: str = "error",
        failed: Extension | None = None,
    ) -> None:
        """Init is lost: clear the environment, and either try again within the invocation or answer it."""
        init = self.init
        assert init is not None
        shown = None if status == "timeout" else error_type
        self._runtime_done_init(status, shown)
        if failed is not None:
            self._emit(ExtensionState(name=failed.name, state=failed.phase, events=failed.events, error_type=error_type))
        self._report_init(init, status, shown, now.monotonic - init.started.monotonic)
        reason = "timeout" if status == "timeout" else "failure"
        flight = self.flight
        if flight is not None:
            request_id = flight.invocation.request_id
            self._emit_start(flight)
            flight.status = status
            flight.error_type = shown
            self._complete(flight, payload if payload is not None else error_payload(error_type, text, request_id), now)
            self._finish(flight, now)
        self._begin_teardown(reason, now, is_final=False)

    # -- Invoke -------------------------------------------------------------------------------------------------------

    def _invoke_requested(self, event: ev.InvokeRequested, now: Now) -> None:
        phase = self.phase
        if phase is Phase.IDLE and not self.waiting:
            self._start_invoke(event.invocation, now)
            return
        if phase in (Phase.SHUTTING_DOWN, Phase.CLOSED):
            raise LocalProtocolError(f"an environment that is {phase} cannot be invoked")
        self.waiting.append(event.invocation)
        if phase is Phase.CREATED:
            self._begin_init("init", now)
        elif phase is Phase.DORMANT:
            self._start_suppressed(now)

    def _flight(self, invocation: Invocation, now: Now) -> Flight:
        timeout = self.profile.timeout if invocation.timeout is None else invocation.timeout
        if math.isinf(timeout):
            deadline, ahead = None, REST_SECONDS
        else:
            deadline, ahead = now.monotonic + timeout, timeout
        flight = Flight(invocation, now, deadline, int((now.wall + ahead) * 1000), timeout)
        self.flight = flight
        return flight

    def _start_suppressed(self, now: Now) -> None:
        flight = self._flight(self.waiting.popleft(), now)
        self._begin_init("invoke", now, flight.deadline)

    def _start_invoke(self, invocation: Invocation, now: Now) -> None:
        if self.is_frozen:
            self.is_frozen = False
            self._out.append(fx.THAW)
        flight = self._flight(invocation, now)
        flight.init_duration = self._init_duration
        self._init_duration = None
        self.phase = Phase.INVOKE
        self.deadline = flight.deadline
        self._deliver(flight)

    def _emit_start(self, flight: Flight) -> None:
        invocation = flight.invocation
        self._out.append(
            fx.EmitTelemetry(
                Start(
                    request_id=invocation.request_id,
                    version=self.profile.function_version,
                    trace_id=invocation.trace_id,
                    tenant_id=invocation.tenant_id,
                ),
                invocation.request_id,
            )
        )

    def _deliver(self, flight: Flight) -> None:
        self._emit_start(flight)
        self.runtime = RuntimeState.RUNNING
        invocation = flight.invocation
        flight.is_delivered = True
        if self._parked:
            self._out.append(fx.AnswerNext(self._parked.pop(0), invocation, flight.deadline_ms))
        for extension in self.extensions.values():
            if "INVOKE" in extension.events and extension.parked is not None:
                extension.phase = ExtensionPhase.RUNNING
                self._out.append(fx.AnswerExtensionInvoke(extension.parked, invocation, flight.deadline_ms))
                extension.parked = None
            elif "INVOKE" in extension.events:  # its connection broke while it waited: it gets the event when it comes back
                extension.phase = ExtensionPhase.RUNNING

    def _caller_left(self, event: ev.CallerLeft, _now: Now) -> None:
        """An invocation that has not begun is dropped; one that runs, runs on, as on AWS."""
        for invocation in self.waiting:
            if invocation.request_id == event.request_id:
                self.waiting.remove(invocation)
                return

    def _runtime_polled_next(self, event: ev.RuntimePolledNext, now: Now) -> None:
        state = self.runtime
        wanted = RUNTIME_TABLE[state].get(RuntimeCall.NEXT)
        if wanted is None:
            self._refuse_runtime(event.call, RuntimeCall.NEXT)
            return
        if state is RuntimeState.RUNNING:
            flight = self.flight
            if flight is not None and flight.is_delivered and self.phase is Phase.INVOKE:
                self._out.append(fx.AnswerNext(event.call, flight.invocation, flight.deadline_ms))
            else:
                self._parked.append(event.call)
            return
        self.runtime = wanted
        self._parked.append(event.call)
        if self.phase is Phase.INVOKE:
            flight = self.flight
            if flight is not None and state is not RuntimeState.READY:
                self._runtime_done(flight, now)
                self._maybe_finish(flight, now)
        elif self.phase is Phase.INIT:
            self.is_registration_open = False
            self._runtime_done_init("success", None)
            self._maybe_init_complete(now)

    def _poll_abandoned(self, event: ev.PollAbandoned, _now: Now) -> None:
        if event.call in self._parked:
            self._parked.remove(event.call)
        for extension in self.extensions.values():
            if extension.parked == event.call:
                extension.parked = None

    def _active(self, call: ev.Call, request_id: str, wanted: RuntimeCall) -> Flight | None:
        """The flight that this call may answer; refuses it otherwise: the id first, then the state."""
        flight = self.flight
        if (
            flight is None
            or flight.invocation.request_id != request_id
            or not flight.is_delivered
            or self.phase is not Phase.INVOKE
        ):
            self._out.append(fx.Refuse(call, 400, "InvalidRequestID", "Invalid request ID"))
            return None
        if self.runtime is RuntimeState.INVOCATION_RESPONSE and flight.response_call == call:
            return flight
        if RUNTIME_TABLE[self.runtime].get(wanted) is None:
            self._refuse_runtime(call, wanted)
            return None
        return flight

    def _refuse_runtime(self, call: ev.Call, wanted: RuntimeCall) -> None:
        self._out.append(fx.Refuse(call, 403, "InvalidStateTransition", transition_refused(self.runtime, wanted, "runtime")))

    def _response_began(self, event: ev.ResponseBegan, now: Now) -> None:
        flight = self._active(event.call, event.request_id, RuntimeCall.RESPONSE)
        if flight is None:
            return
        flight.response_began = now
        flight.response_call = event.call
        if event.mode is not None and event.mode != "streaming":
            self._bad_response_mode(flight, event.call, now)
            return
        self.runtime = RuntimeState.INVOCATION_RESPONSE
        if event.mode is None:
            self._out.append(fx.CollectResponse(event.call))
        else:
            flight.is_stream = True
            self._out.append(fx.BeginStream(event.call, event.request_id, event.content_type))

    def _bad_response_mode(self, flight: Flight, call: ev.Call, now: Now) -> None:
        self._out.append(fx.Refuse(call, 400, "InvalidFunctionResponseMode", "Invalid function response mode"))
        self._answer_error(flight, ErrorType.RUNTIME_INVALID_RESPONSE_MODE_HEADER, b"", now)

    def _answer_error(self, flight: Flight, error_type: str, payload: bytes, now: Now) -> None:
        flight.status = "error"
        flight.error_type = error_type
        self._complete(flight, payload, now)
        self.runtime = RuntimeState.RESPONSE_SENT

    def _runtime_responded(self, event: ev.RuntimeResponded, now: Now) -> None:
        call = event.call
        flight = self._active(call, event.request_id, RuntimeCall.RESPONSE)
        if flight is None:
            return
        if flight.response_began is None:
            flight.response_began = now
        if event.mode is not None and event.mode != "streaming":
            self._bad_response_mode(flight, call, now)
            return
        flight.produced_bytes = event.size
        if event.truncated:
            self._out.append(fx.Refuse(call, 400, "TruncatedHTTPRequest", "HTTP request detected as truncated"))
            error_type = ErrorType.RUNTIME_TRUNCATED_RESPONSE
            self._answer_error(flight, error_type, error_payload(error_type, error_type, event.request_id), now)
            return
        if not flight.is_stream and event.size > RESPONSE_MAX_BYTES:
            message = f"Exceeded maximum allowed payload size ({RESPONSE_MAX_BYTES} bytes)."
            self._out.append(fx.Refuse(call, 413, "RequestEntityTooLarge", message))
            self._answer_error(flight, ErrorType.FUNCTION_RESPONSE_SIZE_TOO_LARGE, response_too_large_payload(event.size), now)
            return
        if event.error_type is not None:
            flight.status = "error"
            flight.error_type = event.error_type
        self.runtime = RuntimeState.RESPONSE_SENT
        self._out.append(fx.Accept(call))
        flight.answered = now
        self._out.append(
            fx.CompleteInvocation(
                event.request_id,
                event.body if event.error_body is None else event.error_body,
                event.content_type,
                flight.status,
                flight.error_type,
                flight.is_stream,
            )
        )

    def _runtime_failed(self, event: ev.RuntimeFailed, now: Now) -> None:
        flight = self._active(event.call, event.request_id, RuntimeCall.ERROR)
        if flight is None:
            return
        flight.response_began = now
        flight.produced_bytes = len(event.body)
        self._out.append(fx.Accept(event.call))
        flight.status = "error"
        flight.error_type = event.error_type
        self._complete(flight, event.body, now, content_type=event.content_type)
        self.runtime = RuntimeState.RESPONSE_SENT

    def _complete(self, flight: Flight, payload: bytes, now: Now, *, content_type: str = "application/json") -> None:
        """Answer the caller, once."""
        if flight.answered is not None:
            return
        flight.answered = now
        self._out.append(
            fx.CompleteInvocation(
                flight.invocation.request_id, payload, content_type, flight.status, flight.error_type, flight.is_stream
            )
        )

    def _runtime_done(self, flight: Flight, now: Now) -> None:
        if flight.runtime_done is not None:
            return
        flight.runtime_done = now
        invocation = flight.invocation
        spans: tuple[Span, ...] = ()
        began, answered = flight.response_began, flight.answered
        if began is not None and answered is not None:
            spans = (
                _span("responseLatency", flight.started, began),
                _span("responseDuration", began, answered),
                _span("runtimeOverhead", answered, now),
            )
        self._out.append(
            fx.EmitTelemetry(
                RuntimeDone(
                    request_id=invocation.request_id,
                    status=flight.status,
                    error_type=flight.error_type,
                    duration_ms=milliseconds(now.monotonic - flight.started.monotonic),
                    produced_bytes=flight.produced_bytes if began is not None else None,
                    spans=spans,
                    trace_id=invocation.trace_id,
                    tenant_id=invocation.tenant_id,
                ),
                invocation.request_id,
            )
        )

    def _maybe_finish(self, flight: Flight, now: Now) -> None:
        if flight.runtime_done is None or self.runtime is not RuntimeState.READY:
            return
        for extension in self.extensions.values():
            if extension.phase is ExtensionPhase.RUNNING:
                return
        self._finish(flight, now)
        self._become_idle(now)

    def _finish(self, flight: Flight, now: Now) -> None:
        self._runtime_done(flight, now)
        self.flight = None
        duration = now.monotonic - flight.started.monotonic
        init = flight.init_duration
        billed = duration + (init or 0.0)
        spans: tuple[Span, ...] = ()
        if flight.runtime_done is not None and any("INVOKE" in e.events for e in self.extensions.values()):
            spans = (_span("extensionOverhead", flight.runtime_done, now),)
        self._out.append(
            fx.FinishInvocation(
                flight.invocation.request_id,
                flight.status,
                milliseconds(duration),
                math.ceil(round(billed * 1000, 2)),
                None if init is None else milliseconds(init),
                flight.error_type,
                spans,
                flight.invocation.trace_id,
                flight.invocation.tenant_id,
            )
        )

    def _become_idle(self, now: Now) -> None:
        self.phase = Phase.IDLE
        self.deadline = None
        if self.waiting:
            self._start_invoke(self.waiting.popleft(), now)
            return
        self._out.append(fx.AVAILABLE)
        if self.profile.freezes and self.phase is Phase.IDLE and not self.is_frozen:
            self.is_frozen = True
            self._out.append(fx.FREEZE)

    # -- errors of the runtime and the processes ----------------------------------------------------------------------

    def _runtime_init_failed(self, event: ev.RuntimeInitFailed, now: Now) -> None:
        if RUNTIME_TABLE[self.runtime].get(RuntimeCall.INIT_ERROR) is None or self.init is None:
            self._refuse_runtime(event.call, RuntimeCall.INIT_ERROR)
            return
        self.runtime = RuntimeState.INIT_ERROR
        self._out.append(fx.Accept(event.call))
        if self.phase is not Phase.INIT:
            return
        self.init.error = (event.error_type, event.body)
        self._runtime_done_init("error", event.error_type)
        grace = now.monotonic + INIT_ERROR_GRACE_SECONDS
        self.deadline = grace if self.deadline is None else min(self.deadline, grace)

    def _fail(self, error_type: str, text: str, now: Now, *, reason: str = "failure") -> None:
        """What runs is lost with the environment's processes: answer, report, reset."""
        flight = self.flight
        if flight is not None:
            status = "timeout" if reason == "timeout" else "error"
            flight.status = status
            flight.error_type = None if status == "timeout" else error_type
            self._complete(flight, error_payload(error_type, text, flight.invocation.request_id), now)
            self._finish(flight, now)
        self._begin_teardown(reason, now, is_final=False)

    def _launch_failed(self, event: ev.LaunchFailed, now: Now) -> None:
        failed = self.extensions.get(event.name)
        if failed is not None:
            failed.phase = ExtensionPhase.LAUNCH_ERROR
            failed.has_exited = True
        else:
            self._runtime_alive = False
        if self.phase is Phase.INIT:
            self._init_failed(event.error_type, event.text, now, failed=failed)
        elif self._teardown is not None:
            self._advance_teardown(now)

    def _process_exited(self, event: ev.ProcessExited, now: Now) -> None:
        if event.name == RUNTIME:
            self._runtime_alive = False
            self._parked.clear()
            failed = None
            text = runtime_exit_text(event.code, event.signal)
            error_type: str = ErrorType.RUNTIME_OUT_OF_MEMORY if event.out_of_memory else ErrorType.RUNTIME_EXIT_ERROR
        else:
            failed = self.extensions.get(event.name)
            if failed is None:
                return
            failed.has_exited = True
            failed.parked = None
            text = exit_text(event.code, event.signal)
            error_type = ErrorType.EXTENSION_CRASH
        if self._teardown is not None:
            if failed is not None:
                is_clean = event.code == 0
                failed.phase = ExtensionPhase.EXITED if is_clean else ExtensionPhase.SHUTDOWN_FAILED
            self._advance_teardown(now)
            return
        if failed is not None:
            if failed.phase is ExtensionPhase.INIT_ERROR:
                error_type = text = ErrorType.EXTENSION_INIT_ERROR
            elif failed.phase is ExtensionPhase.EXIT_ERROR:
                error_type = text = ErrorType.EXTENSION_EXIT_ERROR
            else:
                failed.phase = ExtensionPhase.EXITED
        if self.phase is Phase.INIT:
            self._init_lost(error_type, text, now, failed)
        elif self.phase in (Phase.INVOKE, Phase.IDLE):
            self._fail(error_type, text, now)

    def _init_lost(self, error_type: str, text: str, now: Now, failed: Extension | None) -> None:
        init = self.init
        if init is not None and init.error is not None and failed is None:
            posted_type, payload = init.error
            self._init_failed(posted_type, "", now, payload=payload)
        else:
            self._init_failed(error_type, text, now, failed=failed)

    def _memory_exceeded(self, _event: ev.MemoryExceeded, now: Now) -> None:
        text = runtime_exit_text(None, 9)
        if self.phase is Phase.INIT:
            self._init_failed(ErrorType.RUNTIME_OUT_OF_MEMORY, text, now)
        elif self.phase in (Phase.INVOKE, Phase.IDLE):
            self._fail(ErrorType.RUNTIME_OUT_OF_MEMORY, text, now)

    def _deadline_reached(self, _event: ev.DeadlineReached, now: Now) -> None:
        if self.deadline is None or now.monotonic < self.deadline:
            return
        if self._teardown is not None:
            self._advance_teardown(now)
            return
        if self.phase is Phase.INIT:
            init = self.init
            flight = self.flight
            if init is not None and init.error is not None:
                self._init_failed(init.error[0], "", now, payload=init.error[1])
            elif flight is not None:
                self._init_failed(ErrorType.SANDBOX_TIMEDOUT, timed_out_text(flight.timeout), now, status="timeout")
            else:
                self._init_failed(ErrorType.SANDBOX_TIMEDOUT, "", now, status="timeout")
        elif self.phase is Phase.INVOKE:
            flight = self.flight
            assert flight is not None
            self._fail(ErrorType.SANDBOX_TIMEDOUT, timed_out_text(flight.timeout), now, reason="timeout")

    # -- extensions ---------------------------------------------------------------------------------------------------

    def _extension_registered(self, event: ev.ExtensionRegistered, now: Now) -> None:
        call, name = event.call, event.name

        def refuse(error_type: str, message: str) -> None:
            self._out.append(fx.Refuse(call, 403, error_type, message))

        known = self.extensions.get(name)
        is_external = name in self.profile.external_extensions
        if not self.is_registration_open or self.phase is not Phase.INIT:
            refuse("Extension.RegistrationClosed", "Extension registration closed already")
        elif known is not None and known.identifier is not None:
            refuse("Extension.InvalidExtensionState", "Extension with this name already registered")
        elif known is None and len(self.extensions) >= EXTENSIONS_MAX:
            refuse("Extension.TooManyExtensions", f"Extension limit ({EXTENSIONS_MAX}) reached")
        elif not is_external and "SHUTDOWN" in event.events:
            refuse("Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension")
        else:
            extension = known or Extension(name, is_external=is_external)
            self.extensions[name] = extension
            extension.phase = ExtensionPhase.REGISTERED
            extension.identifier = event.identifier
            extension.events = event.events
            self._by_identifier[event.identifier] = extension
            self._out.append(fx.AcceptRegistration(call, event.identifier, event.wants_account_id))
            self._maybe_start_runtime()
            self._maybe_init_complete(now)

    def _known_extension(self, call: ev.Call, identifier: str, message: str) -> Extension | None:
        extension = self._by_identifier.get(identifier)
        if extension is None:
            self._out.append(fx.Refuse(call, 403, "Extension.UnknownExtensionIdentifier", message))
        return extension

    def _move_extension(self, call: ev.Call, extension: Extension, wanted: ExtensionCall) -> bool:
        target = EXTENSION_TABLE[extension.phase].get(wanted)
        if target is None:
            message = transition_refused(extension.phase, wanted, f"extension {extension.name}")
            self._out.append(fx.Refuse(call, 403, "Extension.InvalidExtensionState", message))
            return False
        extension.phase = target
        return True

    def _extension_polled_next(self, event: ev.ExtensionPolledNext, now: Now) -> None:
        extension = self._known_extension(event.call, event.identifier, f"Unknown extension {event.identifier}")
        if extension is None or not self._move_extension(event.call, extension, ExtensionCall.NEXT):
            return
        extension.parked = event.call
        teardown = self._teardown
        if teardown is not None:
            if teardown.extensions_told:
                self._tell_shutdown(extension, teardown)
        elif self.phase is Phase.INIT:
            self._maybe_init_complete(now)
        elif self.phase is Phase.INVOKE and self.flight is not None:
            self._maybe_finish(self.flight, now)

    def _extension_failed(self, event: ev.ExtensionFailed, now: Now) -> None:
        extension = self._known_extension(event.call, event.identifier, "Unknown Lambda-Extension-Identifier")
        if extension is None:
            return
        wanted = ExtensionCall.INIT_ERROR if event.in_init else ExtensionCall.EXIT_ERROR
        if not self._move_extension(event.call, extension, wanted):
            return
        extension.error_type = event.error_type
        self._out.append(fx.Accept(event.call))
        if self._teardown is not None:
            return
        error_type = ErrorType.EXTENSION_INIT_ERROR if event.in_init else ErrorType.EXTENSION_EXIT_ERROR
        if self.phase is Phase.INIT:
            self._init_failed(error_type, error_type, now, failed=extension)
        elif self.phase in (Phase.INVOKE, Phase.IDLE):
            self._fail(error_type, error_type, now)

    # -- Shutdown and reset -------------------------------------------------------------------------------------------

    def _shutdown_requested(self, event: ev.ShutdownRequested, now: Now) -> None:
        if self.phase is Phase.CLOSED:
            return
        teardown = self._teardown
        if teardown is not None:
            teardown.is_final = True
            self._abandon_waiting(now)
            self.phase = Phase.SHUTTING_DOWN
            return
        flight = self.flight
        if flight is not None:
            flight.status = "error"
            flight.error_type = ErrorType.SANDBOX_FAILURE
            text = "the environment was shut down"
            self._complete(flight, error_payload(ErrorType.SANDBOX_FAILURE, text, flight.invocation.request_id), now)
            self._finish(flight, now)
        self._abandon_waiting(now)
        if self.phase in (Phase.CREATED, Phase.DORMANT):
            self.phase = Phase.CLOSED
            self.deadline = None
            self._out.append(fx.CLOSE_SANDBOX)
            return
        self._begin_teardown(event.reason, now, is_final=True)

    def _abandon_waiting(self, now: Now) -> None:
        while self.waiting:
            flight = self._flight(self.waiting.popleft(), now)
            flight.status = "error"
            flight.error_type = ErrorType.SANDBOX_FAILURE
            text = "the environment was shut down"
            self._complete(flight, error_payload(ErrorType.SANDBOX_FAILURE, text, flight.invocation.request_id), now)
            self._finish(flight, now)

    def _begin_teardown(self, reason: str, now: Now, *, is_final: bool) -> None:
        if self.is_frozen:
            self.is_frozen = False
            self._out.append(fx.THAW)
        self.phase = Phase.SHUTTING_DOWN if is_final else Phase.RESETTING
        has_external = any(e.is_external and not e.has_exited for e in self.extensions.values())
        has_any = has_external or any(e.identifier is not None for e in self.extensions.values())
        if has_external:
            budget, share = SHUTDOWN_EXTERNAL_SECONDS, SHUTDOWN_RUNTIME_SHARE_SECONDS
        elif has_any:
            budget = share = SHUTDOWN_INTERNAL_SECONDS
        else:
            budget = share = 0.0
        deadline = now.monotonic + budget
        self._teardown = Teardown(
            reason=reason,
            deadline=deadline,
            runtime_deadline=None,
            deadline_ms=int((now.wall + budget) * 1000),
            is_final=is_final,
        )
        if self._runtime_alive and budget:
            self._teardown.runtime_deadline = now.monotonic + share
            self._out.append(fx.Terminate(RUNTIME))
        self._advance_teardown(now)

    def _advance_teardown(self, now: Now) -> None:
        teardown = self._teardown
        if teardown is None or teardown.is_clearing:
            return
        if teardown.runtime_deadline is not None and self._runtime_alive:
            if now.monotonic < teardown.runtime_deadline:
                self.deadline = teardown.runtime_deadline
                return
            teardown.runtime_deadline = None
            self._runtime_alive = False
            self._out.append(fx.Kill(RUNTIME))
        external = [e for e in self.extensions.values() if e.is_external and not e.has_exited]
        if external and now.monotonic < teardown.deadline:
            if not teardown.extensions_told:
                teardown.extensions_told = True
                for extension in external:
                    if "SHUTDOWN" in extension.events:
                        self._tell_shutdown(extension, teardown)
                    else:
                        self._out.append(fx.Kill(extension.name))
            self.deadline = teardown.deadline
            return
        teardown.is_clearing = True
        self.deadline = None
        self._out.append(fx.CLEAR_SANDBOX)

    def _tell_shutdown(self, extension: Extension, teardown: Teardown) -> None:
        if extension.parked is None or extension.was_told or "SHUTDOWN" not in extension.events:
            return
        extension.was_told = True
        extension.phase = ExtensionPhase.RUNNING
        self._out.append(fx.AnswerExtensionShutdown(extension.parked, teardown.reason, teardown.deadline_ms))
        extension.parked = None

    def _sandbox_cleared(self, _event: ev.SandboxCleared, now: Now) -> None:
        teardown = self._teardown
        if teardown is None:
            return
        self._teardown = None
        self._parked.clear()
        self.extensions.clear()
        self._by_identifier.clear()
        self.runtime = RuntimeState.STARTED
        self.is_registration_open = True
        self._runtime_alive = False
        self._init_duration = None
        self.deadline = None
        if teardown.is_final:
            self.phase = Phase.CLOSED
            self._out.append(fx.CLOSE_SANDBOX)
            return
        self.phase = Phase.DORMANT
        if self.waiting:
            self._start_suppressed(now)
        else:
            self._out.append(fx.AVAILABLE)

    def _emit(self, record: InitStart | InitRuntimeDone | InitReport | ExtensionState) -> None:
        self._out.append(fx.EmitTelemetry(record, None if self.flight is None else self.flight.invocation.request_id))


def _span(name: str, begin: Now, end: Now) -> Span:
    return Span(name=name, start=begin.wall, duration_ms=milliseconds(end.monotonic - begin.monotonic))
