"""The Invoke phase: an invocation goes out, its answer comes in, and everybody asks for the next event (contract 1.3-1.5, 1.8, 4.3).

Parity: a response whose body comes in pieces streams to a caller who asked for a stream, whether or not the runtime says
`streaming`: AWS's Go client never says it.
"""

from __future__ import annotations

import math

from lambdabox.model.error_types import ErrorType
from lambdabox.model.invocation import Invocation
from lambdabox.model.limits import RESPONSE_MAX_BYTES
from lambdabox.model.moment import Now, milliseconds
from lambdabox.model.telemetry import RuntimeDone, Span, Start
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.environment_state import EnvironmentState, Extension, Flight
from lambdabox.protocol.payloads import error_payload, response_too_large_payload
from lambdabox.protocol.states import RUNTIME_TABLE, ExtensionPhase, Phase, RuntimeCall, RuntimeState

RESTING_SECONDS = 24 * 3600.0  # how far away the deadline is said to be when it rests


class InvokeRules(EnvironmentState):
    """From an accepted invocation to its last figures."""

    # -- out to the runtime -------------------------------------------------------------------------------------------

    def _begin_flight(self, request: ev.InvokeRequested, now: Now) -> Flight:
        invocation = request.invocation
        timeout = self.profile.timeout if invocation.timeout is None else invocation.timeout
        if timeout == math.inf:
            deadline, ahead = None, RESTING_SECONDS
        else:
            deadline, ahead = now.monotonic + timeout, timeout
        # Rounded down: a function that counts in whole milliseconds never has more left than its timeout.
        deadline_ms = math.floor((now.wall + ahead) * 1000 + 0.001)
        return Flight(invocation, request.takes_stream, now, deadline, deadline_ms, timeout)

    def _start_invoke(self, request: ev.InvokeRequested, now: Now) -> None:
        self._thaw()
        self.flight = flight = self._begin_flight(request, now)
        flight.init_duration = self._init_duration
        self._init_duration = None
        flight.restore_duration = self._restore_duration
        self._restore_duration = None
        self._deliver(flight)

    def _deliver(self, flight: Flight) -> None:
        """Hand the event to whoever is waiting for it; who lost its connection gets it when it asks again."""
        self.phase = Phase.INVOKE
        self.deadline = flight.deadline
        self._emit_start(flight)
        self.runtime = RuntimeState.RUNNING
        flight.is_delivered = True
        if self._parked:
            # Of several polls the newest: an older one may be of a connection that is dead and does not know it yet.
            if self.profile.sends_invocation_id:
                self._number(flight)
            self._out.append(fx.AnswerNext(self._parked.pop(), flight.invocation, flight.deadline_ms, flight.invocation_id))
        for extension in self.extensions.values():
            if "INVOKE" in extension.events:
                extension.phase = ExtensionPhase.RUNNING
                self._answer_extension(extension, flight)

    def _number(self, flight: Flight) -> None:
        """A new invocation id: whoever got the event before and answers late is not heard any more (contract 1.12)."""
        from hashlib import blake2b

        self._deliveries += 1
        source = f"{self.profile.instance_id} {flight.invocation.request_id} {self._deliveries} {flight.started.monotonic}"
        digits = blake2b(source.encode(), digest_size=16).hexdigest()
        flight.invocation_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _answer_extension(self, extension: Extension, flight: Flight) -> None:
        extension.missed_event = extension.parked is None
        if extension.parked is not None:
            self._out.append(fx.AnswerExtensionInvoke(extension.parked, flight.invocation, flight.deadline_ms))
            extension.parked = None

    def _emit_start(self, flight: Flight) -> None:
        invocation = flight.invocation
        request_id = invocation.request_id
        record = Start(
            request_id=request_id,
            version=self.profile.function_version,
            trace_id=invocation.trace_id,
            tenant_id=invocation.tenant_id,
        )
        self._out.append(fx.EmitTelemetry(record, request_id))

    # -- the runtime's answer -----------------------------------------------------------------------------------------

    def _active(self, event: ev.ResponseBegan | ev.RuntimeResponded | ev.RuntimeFailed, wanted: RuntimeCall) -> Flight | None:
        """The flight that this call may answer; refuses it otherwise: the ids first, then the state.

        An id is active from delivery until the runtime has asked for its next event.
        """
        flight = self.flight
        if (
            flight is None
            or flight.invocation.request_id != event.request_id
            or not flight.is_delivered
            or flight.runtime_done is not None
        ):
            self._refuse_id(event.call)
            return None
        if event.invocation_id and self._is_stale(flight, event.call, event.invocation_id):
            return None
        if RUNTIME_TABLE[self.runtime].get(wanted) is None:
            self._refuse_runtime(event.call, wanted)
            return None
        return flight

    def _refuse_id(self, call: ev.Call) -> None:
        self._out.append(fx.Refuse(call, 400, "InvalidRequestID", "Invalid request ID"))

    def _is_stale(self, flight: Flight, call: ev.Call, invocation_id: str) -> bool:
        """An answer to an earlier delivery of this invocation is refused."""
        if flight.invocation_id is None or flight.invocation_id == invocation_id:
            return False
        self._refuse_late(call)
        return True

    def _refuse_late(self, call: ev.Call) -> None:
        self._out.append(fx.Refuse(call, 410, "InvokeTimeout", "Invoke timeout"))

    def _response_began(self, event: ev.ResponseBegan, now: Now) -> None:
        flight = self._active(event, RuntimeCall.RESPONSE)
        if flight is None:
            return
        flight.response_began = now
        if event.mode is not None and event.mode != "streaming":
            self._bad_response_mode(flight, event.call, now)
            return
        flight.response_call = event.call
        self.runtime = RuntimeState.INVOCATION_RESPONSE
        if not flight.takes_stream:
            self._out.append(fx.CollectResponse(event.call))
        else:
            flight.is_stream = True
            self._out.append(fx.BeginStream(event.call, event.request_id, event.content_type))

    def _bad_response_mode(self, flight: Flight, call: ev.Call, now: Now) -> None:
        self._out.append(fx.Refuse(call, 400, "InvalidFunctionResponseMode", "Invalid function response mode"))
        self._answer_error(flight, ErrorType.RUNTIME_INVALID_RESPONSE_MODE_HEADER, b"", now)

    def _answer_error(self, flight: Flight, error_type: str, payload: bytes, now: Now) -> None:
        """The platform answers in the runtime's place; the runtime carries on with `/next`."""
        flight.status = "error"
        flight.error_type = error_type
        self._complete(flight, payload, now)
        self.runtime = RuntimeState.RESPONSE_SENT

    def _runtime_responded(self, event: ev.RuntimeResponded, now: Now) -> None:
        call = event.call
        flight = self.flight
        if flight is None or self.runtime is not RuntimeState.INVOCATION_RESPONSE or flight.response_call != call:
            flight = self._active(event, RuntimeCall.RESPONSE)
            if flight is None:
                return
            flight.response_began = now
            if event.mode is not None and event.mode != "streaming":
                self._bad_response_mode(flight, call, now)
                return
        flight.produced_bytes = event.size
        if event.truncated:
            self._truncated(flight, call, now)
            return
        if event.size > RESPONSE_MAX_BYTES and not flight.is_stream:
            self._too_large(flight, call, event.size, now)
            return
        if event.error_type is not None:
            flight.status = "error"
            flight.error_type = event.error_type
        self._out.append(fx.Accept(call))
        payload = event.body if event.error_body is None else event.error_body
        self._complete(flight, payload, now, content_type=event.content_type)
        self.runtime = RuntimeState.RESPONSE_SENT

    def _truncated(self, flight: Flight, call: ev.Call, now: Now) -> None:
        self._out.append(fx.Refuse(call, 400, "TruncatedHTTPRequest", "HTTP request detected as truncated"))
        error_type = ErrorType.RUNTIME_TRUNCATED_RESPONSE
        self._answer_error(flight, error_type, error_payload(error_type, error_type, flight.invocation.request_id), now)

    def _too_large(self, flight: Flight, call: ev.Call, size: int, now: Now) -> None:
        message = f"Exceeded maximum allowed payload size ({RESPONSE_MAX_BYTES} bytes)."
        self._out.append(fx.Refuse(call, 413, "RequestEntityTooLarge", message))
        self._answer_error(flight, ErrorType.FUNCTION_RESPONSE_SIZE_TOO_LARGE, response_too_large_payload(size), now)

    def _within_limit(self, event: ev.RuntimeInitFailed | ev.RuntimeRestoreFailed) -> bytes:
        """The error that a runtime posted outside an invocation, or the platform's own when it is too large to be passed on."""
        size = max(event.size, len(event.body))
        return event.body if size <= RESPONSE_MAX_BYTES else response_too_large_payload(size)

    def _runtime_failed(self, event: ev.RuntimeFailed, now: Now) -> None:
        flight = self._active(event, RuntimeCall.ERROR)
        if flight is None:
            return
        flight.response_began = now
        flight.produced_bytes = size = max(event.size, len(event.body))
        if size > RESPONSE_MAX_BYTES:
            self._too_large(flight, event.call, size, now)
            return
        flight.status = "error"
        flight.error_type = event.error_type
        self._out.append(fx.Accept(event.call))
        self._complete(flight, event.body, now, content_type=event.content_type)
        self.runtime = RuntimeState.RESPONSE_SENT

    # -- the caller's answer and the figures --------------------------------------------------------------------------

    def _complete(self, flight: Flight, payload: bytes, now: Now, *, content_type: str = "application/json") -> None:
        """Answer the caller, once."""
        if flight.answered is not None:
            return
        flight.answered = now
        status = flight.status
        if status == "failure":
            status = "error"  # telemetry's word for the platform's own failures; to a caller they are function errors
        self._out.append(
            fx.CompleteInvocation(
                flight.invocation.request_id, payload, content_type, status, flight.error_type, flight.is_stream
            )
        )

    def _runtime_done(self, flight: Flight, now: Now) -> None:
        """The runtime is through with the invocation, one way or the other; said once."""
        flight.runtime_done = now
        invocation = flight.invocation
        request_id = invocation.request_id
        started, began, answered = flight.started, flight.response_began, flight.answered
        spans: tuple[Span, ...] = ()
        if began is not None and answered is not None:
            spans = (
                Span("responseLatency", started, began),
                Span("responseDuration", began, answered),
                Span("runtimeOverhead", answered, now),
            )
        record = RuntimeDone(
            request_id=request_id,
            status=flight.status,
            error_type=flight.error_type,
            duration_ms=milliseconds(now.monotonic - started.monotonic),
            produced_bytes=None if began is None else flight.produced_bytes,
            spans=spans,
            trace_id=invocation.trace_id,
            tenant_id=invocation.tenant_id,
        )
        self._out.append(fx.EmitTelemetry(record, request_id))

    def _maybe_finish(self, flight: Flight, now: Now) -> None:
        """The invocation is over when the runtime and every extension that got it have asked for their next event."""
        if flight.runtime_done is None:
            return
        for extension in self.extensions.values():
            if extension.phase is ExtensionPhase.RUNNING:
                self._await_extensions(flight, now)
                return
        self._close_flight(flight, now)

    def _await_extensions(self, flight: Flight, now: Now) -> None:
        """Extensions have the rest of the invocation's time, or what the profile gives them."""
        patience = self.profile.extension_ready_timeout
        if patience is None or flight.extensions_deadline is not None:
            return
        until = now.monotonic + patience
        if flight.deadline is None or until < flight.deadline:
            flight.extensions_deadline = self.deadline = until

    def _close_flight(self, flight: Flight, now: Now) -> None:
        self._finish(flight, now)
        self.flight = None
        self._become_idle(now)

    def _finish(self, flight: Flight, now: Now) -> None:
        spans: tuple[Span, ...] = ()
        if flight.runtime_done is None:
            self._runtime_done(flight, now)
        elif self.extensions and any("INVOKE" in extension.events for extension in self.extensions.values()):
            spans = (Span("extensionOverhead", flight.runtime_done, now),)
        invocation: Invocation = flight.invocation
        duration = now.monotonic - flight.started.monotonic
        init = flight.init_duration
        restore = flight.restore_duration
        billed = math.ceil(round((duration if init is None else duration + init) * 1000, 2))
        billed_restore = None
        if restore is not None:  # rounded up by itself, as REPORT shows it
            billed_restore = math.ceil(round(restore * 1000, 2))
            billed += billed_restore
        self._out.append(
            fx.FinishInvocation(
                invocation.request_id,
                flight.status,
                milliseconds(duration),
                billed,
                None if init is None else milliseconds(init),
                flight.error_type,
                spans,
                invocation.trace_id,
                invocation.tenant_id,
                None if restore is None else milliseconds(restore),
                billed_restore,
            )
        )

    def _become_idle(self, now: Now) -> None:
        """Run what waits, or rest."""
        if self.waiting:
            self._start_invoke(self.waiting.popleft(), now)
            return
        self.phase = Phase.IDLE
        self.deadline = None
        self._out.append(fx.AVAILABLE)
        if self.profile.freezes:
            self._freeze()

    def _freeze(self) -> None:
        self.is_frozen = True
        self._out.append(fx.Freeze(self.freeze_epoch))
