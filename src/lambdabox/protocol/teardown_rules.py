"""Reset and Shutdown: how the processes of an environment end, and what that does to an invocation (contract 4.4, 4.5, 2.4).

| extensions | budget | sequence |
| none | 0 ms | SIGKILL |
| internal only | 500 ms | SIGTERM to the runtime, SIGKILL at the end |
| external | 2,000 ms | SIGTERM to the runtime, SIGKILL after 300 ms; then SHUTDOWN to the extensions that subscribed, SIGKILL to the others; SIGKILL at the end |
"""

from __future__ import annotations

from lambdabox.model.error_types import ErrorType
from lambdabox.model.limits import SHUTDOWN_INTERNAL_SECONDS, SHUTDOWN_RUNTIME_SHARE_SECONDS
from lambdabox.model.moment import Now
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.environment_state import RUNTIME, Extension, Flight, Teardown
from lambdabox.protocol.invoke_rules import InvokeRules
from lambdabox.protocol.payloads import error_payload
from lambdabox.protocol.states import ExtensionPhase, Phase, RuntimeState

_SHUT_DOWN_TEXT = "the environment was shut down"
_FAILED = (ExtensionPhase.INIT_ERROR, ExtensionPhase.EXIT_ERROR)


class TeardownRules(InvokeRules):
    """The end of an environment's processes."""

    # -- what is lost with them ---------------------------------------------------------------------------------------

    def _lose_flight(
        self, flight: Flight, status: str, error_type: str | None, payload: bytes, now: Now, content_type: str
    ) -> None:
        """The invocation cannot go on: answer it unless it is answered, and close its books."""
        if not flight.is_delivered:
            self._emit_start(flight)
        flight.status = status
        flight.error_type = error_type
        self._complete(flight, payload, now, content_type=content_type)
        self._finish(flight, now)

    def _abandon(self, flight: Flight, text: str, now: Now) -> None:
        """The platform itself lets the invocation down."""
        error_type = ErrorType.SANDBOX_FAILURE
        payload = error_payload(error_type, text, flight.invocation.request_id)
        self._lose_flight(flight, "failure", error_type, payload, now, "application/json")

    def _fail(self, error_type: str, text: str, now: Now, *, is_timeout: bool = False) -> None:
        """What runs is lost with the environment's processes: answer, report, reset."""
        flight = self.flight
        if flight is not None:
            payload = error_payload(error_type, text, flight.invocation.request_id)
            status, shown = ("timeout", None) if is_timeout else ("error", error_type)
            self._lose_flight(flight, status, shown, payload, now, "application/json")
        self._begin_teardown("timeout" if is_timeout else "failure", now, is_final=False)

    # -- Shutdown -----------------------------------------------------------------------------------------------------

    def _shutdown_requested(self, event: ev.ShutdownRequested, now: Now) -> None:
        if self.phase is Phase.CLOSED:
            return
        if self.flight is not None:
            self._abandon(self.flight, _SHUT_DOWN_TEXT, now)
            self.flight = None
        while self.waiting:
            self._abandon(self._begin_flight(self.waiting.popleft(), now), _SHUT_DOWN_TEXT, now)
        if self._teardown is not None:  # a reset is under way: it goes on, and is the end
            self._teardown.is_final = True
            self.phase = Phase.SHUTTING_DOWN
        elif self.phase in (Phase.CREATED, Phase.DORMANT):  # nothing runs
            self._close()
        else:
            self._begin_teardown(event.reason, now, is_final=True)

    def _close(self) -> None:
        self.phase = Phase.CLOSED
        self.deadline = None
        self._out.append(fx.CLOSE_SANDBOX)

    # -- the sequence -------------------------------------------------------------------------------------------------

    def _begin_teardown(self, reason: str, now: Now, *, is_final: bool) -> None:
        self._thaw()
        self.flight = self.restore = None
        self.phase = Phase.SHUTTING_DOWN if is_final else Phase.RESETTING
        if any(extension.is_external and not extension.has_exited for extension in self.extensions.values()):
            budget = self.profile.shutdown_timeout
            share = min(SHUTDOWN_RUNTIME_SHARE_SECONDS, budget)
        elif any(extension.identifier is not None for extension in self.extensions.values()):
            budget = share = SHUTDOWN_INTERNAL_SECONDS
        else:
            budget = share = 0.0
        self._teardown = teardown = Teardown(
            reason=reason, deadline=now.monotonic + budget, deadline_ms=round((now.wall + budget) * 1000), is_final=is_final
        )
        if self._runtime_alive and budget:
            teardown.runtime_deadline = now.monotonic + share
            self._out.append(fx.Terminate(self._runtime_name))
        self._advance_teardown(teardown, now)

    def _advance_teardown(self, teardown: Teardown, now: Now) -> None:
        """Go as far as the processes and the time allow."""
        if teardown.is_clearing:
            return
        if teardown.runtime_deadline is not None and self._runtime_alive:
            if now.monotonic < teardown.runtime_deadline:
                self.deadline = teardown.runtime_deadline
                return
            self._runtime_alive = False
            self._out.append(fx.Kill(self._runtime_name))
        if now.monotonic < teardown.deadline:
            if not teardown.extensions_told:
                teardown.extensions_told = True
                for extension in self.extensions.values():
                    if extension.is_external and not extension.has_exited:
                        self._end_extension(extension, teardown)
            if any(extension.is_external and not extension.has_exited for extension in self.extensions.values()):
                self.deadline = teardown.deadline
                return
        teardown.is_clearing = True
        self.deadline = None
        self._out.append(fx.CLEAR_SANDBOX)

    def _end_extension(self, extension: Extension, teardown: Teardown) -> None:
        """Let an extension know, or kill it. One that nobody started here is through when there is nobody to tell."""
        is_gone = extension.process is None and (extension.is_away or extension.phase in _FAILED)
        if "SHUTDOWN" in extension.events and not is_gone:
            self._tell_shutdown(extension, teardown)
        elif extension.process is None:
            extension.has_exited = True
        else:
            self._out.append(fx.Kill(extension.process))

    def _tell_shutdown(self, extension: Extension, teardown: Teardown) -> None:
        """Deliver SHUTDOWN once, when the extension asks for it; one that has reported its own failure is only waited for."""
        if extension.parked is None or extension.shutdown_call is not None or extension.phase in _FAILED:
            return
        extension.shutdown_call = extension.parked
        extension.phase = ExtensionPhase.RUNNING
        self._out.append(fx.AnswerExtensionShutdown(extension.parked, teardown.reason, teardown.deadline_ms))
        extension.parked = None

    def _forget_processes(self) -> None:
        """Nothing runs any more: what comes next starts afresh.

        A runtime that somebody started by hand is not ours to end: when it waits already, it waits for what comes next.
        """
        self._teardown = None
        if self._runtime_spawned or not self.profile.self_started:
            self._parked.clear()
        self.extensions.clear()
        self._by_identifier.clear()
        self.runtime = RuntimeState.STARTED
        self.is_registration_open = True
        self._runtime_name = RUNTIME
        self._runtime_alive = self._runtime_spawned = False
        self._spawned.clear()
        self._parked_restore = None
        self._restore_wanted = False
        self._init_duration = self._restore_duration = None
        self.deadline = None
