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

Every state change happens here and in the rules below: `extension_rules`, `init_rules`, `teardown_rules`, `invoke_rules`,
`environment_state`, each standing on the next. What `states.RUNTIME_TABLE` and `EXTENSION_TABLE` do not list is refused
before anything moves; ids are checked first. Nothing here waits: `deadline` says when to come back with DeadlineReached.
Every invocation that is accepted gets exactly one CompleteInvocation and one FinishInvocation, in this order.

Parity: a runtime that reported its Init error gets 500 ms to exit by itself before it is killed; AWS waits for the whole
Init limit. A runtime that sent a bad response-mode header may ask for its next event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lambdabox.errors import LocalProtocolError
from lambdabox.model.error_types import ErrorType
from lambdabox.model.moment import Now
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.environment_state import RUNTIME, EnvironmentProfile, Extension
from lambdabox.protocol.extension_rules import ExtensionRules
from lambdabox.protocol.payloads import exit_text, runtime_exit_text, timed_out_text
from lambdabox.protocol.states import RUNTIME_TABLE, ExtensionPhase, Phase, RuntimeCall, RuntimeState

__all__ = ["RUNTIME", "EnvironmentMachine", "EnvironmentProfile"]


class EnvironmentMachine(ExtensionRules):
    """The lifecycle of one execution environment: `handle` takes what happened and the time, and returns what is to be done."""

    def __init__(self, profile: EnvironmentProfile) -> None:
        super().__init__(profile)
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

    # -- what the engine wants ----------------------------------------------------------------------------------------

    def _init_requested(self, _event: ev.InitRequested, now: Now) -> None:
        if self.phase is Phase.CREATED:
            self._begin_init(now)

    def _invoke_requested(self, event: ev.InvokeRequested, now: Now) -> None:
        phase = self.phase
        if phase is Phase.IDLE:
            self._start_invoke(event, now)
        elif phase is Phase.DORMANT:
            self._begin_suppressed_init(event, now)
        elif phase is Phase.SHUTTING_DOWN or phase is Phase.CLOSED:
            raise LocalProtocolError(f"an environment that is {phase} cannot be invoked")
        else:
            self.waiting.append(event)
            if phase is Phase.CREATED:
                self._begin_init(now)

    def _caller_left(self, event: ev.CallerLeft, now: Now) -> None:
        """An invocation that has not begun is given up; one that runs, runs on, as on AWS."""
        for request in self.waiting:
            if request.invocation.request_id == event.request_id:
                self.waiting.remove(request)
                self._abandon(self._begin_flight(request, now), "the caller left before the invocation began", now)
                return

    # -- polls --------------------------------------------------------------------------------------------------------

    def _runtime_polled_next(self, event: ev.RuntimePolledNext, now: Now) -> None:
        """The runtime is through with Init, or with its invocation; or it lost its connection and is back."""
        state = self.runtime
        wanted = RUNTIME_TABLE[state].get(RuntimeCall.NEXT)
        if wanted is None:
            self._refuse_runtime(event.call, RuntimeCall.NEXT)
            return
        flight = self.flight
        if state is RuntimeState.RUNNING and flight is not None:
            self._out.append(fx.AnswerNext(event.call, flight.invocation, flight.deadline_ms))
            return
        self.runtime = wanted
        self._parked.append(event.call)
        if self.phase is Phase.INVOKE:
            if flight is not None and state is RuntimeState.RESPONSE_SENT:
                self._runtime_done(flight, now)
                self._maybe_finish(flight, now)
        elif self.phase is Phase.INIT and self.init is not None:
            self._runtime_ready(self.init, now)

    def _poll_abandoned(self, event: ev.PollAbandoned, _now: Now) -> None:
        if event.call in self._parked:
            self._parked.remove(event.call)
        for extension in self.extensions.values():
            if extension.parked == event.call:
                extension.parked = None

    # -- processes ----------------------------------------------------------------------------------------------------

    def _launch_failed(self, event: ev.LaunchFailed, now: Now) -> None:
        failed = self._gone(event.name)
        if failed is not None:
            failed.phase = ExtensionPhase.LAUNCH_ERROR
        if self._teardown is not None:
            self._advance_teardown(self._teardown, now)
        elif failed is not None or event.name == RUNTIME:
            self._lose(event.error_type, event.text, now, failed=failed)

    def _process_exited(self, event: ev.ProcessExited, now: Now) -> None:
        failed = self._gone(event.name)
        if self._teardown is not None:
            if failed is not None:
                failed.phase = ExtensionPhase.EXITED if event.code == 0 else ExtensionPhase.SHUTDOWN_FAILED
            self._advance_teardown(self._teardown, now)
        elif failed is not None:
            failed.phase = ExtensionPhase.EXITED
            self._lose(ErrorType.EXTENSION_CRASH, exit_text(event.code, event.signal), now, failed=failed)
        elif event.name == RUNTIME:
            error_type = ErrorType.RUNTIME_OUT_OF_MEMORY if event.out_of_memory else ErrorType.RUNTIME_EXIT_ERROR
            self._lose(error_type, runtime_exit_text(event.code, event.signal), now)

    def _gone(self, name: str) -> Extension | None:
        """Note that a process is not there any more; the extension that it was."""
        if name == RUNTIME:
            self._runtime_alive = False
            self._parked.clear()
            return None
        extension = self.extensions.get(name)
        if extension is None or not extension.is_external:
            return None
        extension.has_exited = True
        extension.parked = None
        return extension

    def _memory_exceeded(self, _event: ev.MemoryExceeded, now: Now) -> None:
        if self._teardown is None:
            self._lose(ErrorType.RUNTIME_OUT_OF_MEMORY, runtime_exit_text(None, 9), now)

    def _sandbox_cleared(self, _event: ev.SandboxCleared, now: Now) -> None:
        teardown = self._teardown
        if teardown is None:
            return
        self._forget_processes()
        if teardown.is_final:
            self._close()
            return
        self.phase = Phase.DORMANT
        if self.waiting:
            self._begin_suppressed_init(self.waiting.popleft(), now)
        else:
            self._out.append(fx.AVAILABLE)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _deadline_reached(self, _event: ev.DeadlineReached, now: Now) -> None:
        if self.deadline is None or now.monotonic < self.deadline:
            return
        if self._teardown is not None:
            self._advance_teardown(self._teardown, now)
            return
        error_type = ErrorType.SANDBOX_TIMEDOUT
        text = "" if self.flight is None else timed_out_text(self.flight.timeout)
        if self.phase is Phase.INIT and self.init is not None:
            self._init_failed(self.init, error_type, text, now, is_timeout=True)
        else:
            self._fail(error_type, text, now, is_timeout=True)
