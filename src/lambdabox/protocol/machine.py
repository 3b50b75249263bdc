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
- *Self-started* (the Simulator): nobody is started here. Init waits for what its user starts, by hand or through ProcessSpawned; after
  a reset, invocations wait until a runtime asks again.
- *Snap-start*: Init ends in a snapshot; Restore comes before the first invocation.

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
            ev.RuntimePolledRestore: self._runtime_polled_restore,
            ev.RuntimeRestoreFailed: self._runtime_restore_failed,
            ev.RestoreRequested: self._restore_requested,
            ev.ExtensionRegistered: self._extension_registered,
            ev.ExtensionPolledNext: self._extension_polled_next,
            ev.ExtensionFailed: self._extension_failed,
            ev.TelemetrySubscribed: self._telemetry_subscribed,
            ev.PeerLeft: self._peer_left,
            ev.ProcessSpawned: self._process_spawned,
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
        return self.phase in (Phase.CREATED, Phase.SNAPSHOT, Phase.IDLE, Phase.DORMANT)

    # -- what the engine wants ----------------------------------------------------------------------------------------

    def _init_requested(self, _event: ev.InitRequested, now: Now) -> None:
        if self.phase is Phase.CREATED:
            self._begin_init(now)

    def _invoke_requested(self, event: ev.InvokeRequested, now: Now) -> None:
        phase = self.phase
        if phase is Phase.IDLE:
            self._start_invoke(event, now)
        elif phase is Phase.DORMANT:
            self.waiting.append(event)
            if not self.profile.self_started:  # else it waits for somebody to start a runtime
                self._begin_again(now)
        elif phase is Phase.SHUTTING_DOWN or phase is Phase.CLOSED:
            raise LocalProtocolError(f"an environment that is {phase} cannot be invoked")
        else:
            self.waiting.append(event)
            if phase is Phase.CREATED:
                self._begin_init(now)
            elif phase is Phase.SNAPSHOT:
                self._begin_restore(now)

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
            if self.profile.sends_invocation_id:
                self._number(flight)
            self._out.append(fx.AnswerNext(event.call, flight.invocation, flight.deadline_ms, flight.invocation_id))
            return
        self.runtime = wanted
        self._parked.append(event.call)
        if self.phase is Phase.INVOKE:
            if flight is not None and state is RuntimeState.RESPONSE_SENT:
                self._runtime_done(flight, now)
                self._maybe_finish(flight, now)
        elif state is not RuntimeState.READY:
            self._runtime_awaits(now)

    def _runtime_awaits(self, now: Now) -> None:
        """The runtime is through with what it does ahead of its first event."""
        if self.restore is not None:
            self._restored(self.restore, now)
            return
        if self.profile.self_started:
            self._touched(now)  # begins Init in an environment that has none, which finds the runtime ready
        if self.phase is Phase.INIT and self.init is not None:
            self._runtime_ready(self.init, now)

    def _runtime_polled_restore(self, event: ev.RuntimePolledRestore, now: Now) -> None:
        """The runtime is through with Init and its before-snapshot hooks."""
        wanted = RUNTIME_TABLE[self.runtime].get(RuntimeCall.RESTORE_NEXT)
        if wanted is None:
            self._refuse_runtime(event.call, RuntimeCall.RESTORE_NEXT)
            return
        self.runtime = wanted
        self._parked_restore = event.call
        self._runtime_awaits(now)

    def _poll_abandoned(self, event: ev.PollAbandoned, _now: Now) -> None:
        if event.call in self._parked:
            self._parked.remove(event.call)
        if event.call == self._parked_restore:
            self._parked_restore = None
        for extension in self.extensions.values():
            if extension.parked == event.call:
                extension.parked = None
                extension.is_away = True

    # -- processes ----------------------------------------------------------------------------------------------------

    def _process_spawned(self, event: ev.ProcessSpawned, now: Now) -> None:
        """A process that its user has started through us: it is ours to watch and to end."""
        if not self.profile.self_started:
            raise LocalProtocolError(f"{event.name} was spawned into an environment that starts its processes itself")
        self._touched(now)
        if event.is_runtime:
            self._runtime_name = event.name
            self._runtime_alive = self._runtime_spawned = True
        else:
            self._spawned.add(event.name)
            extension = self.extensions.get(event.name)
            if extension is not None and extension.is_external:
                extension.process = event.name

    def _launch_failed(self, event: ev.LaunchFailed, now: Now) -> None:
        failed = self._gone(event.name)
        if failed is not None:
            failed.phase = ExtensionPhase.LAUNCH_ERROR
        if self._teardown is not None:
            self._advance_teardown(self._teardown, now)
        elif failed is not None or event.name == self._runtime_name:
            self._lose(event.error_type, event.text, now, failed=failed)

    def _process_exited(self, event: ev.ProcessExited, now: Now) -> None:
        is_spawned = event.name in self._spawned
        failed = self._gone(event.name)
        if self._teardown is not None:
            if failed is not None:
                failed.phase = ExtensionPhase.EXITED if event.code == 0 else ExtensionPhase.SHUTDOWN_FAILED
            self._advance_teardown(self._teardown, now)
        elif failed is not None:
            failed.phase = ExtensionPhase.EXITED
            self._lose(ErrorType.EXTENSION_CRASH, exit_text(event.code, event.signal), now, failed=failed)
        elif event.name == self._runtime_name:
            error_type = ErrorType.RUNTIME_OUT_OF_MEMORY if event.out_of_memory else ErrorType.RUNTIME_EXIT_ERROR
            self._lose(error_type, runtime_exit_text(event.code, event.signal), now)
        elif is_spawned and self.phase is Phase.INIT:  # before it has registered
            self._lose(ErrorType.EXTENSION_CRASH, exit_text(event.code, event.signal), now)

    def _gone(self, name: str) -> Extension | None:
        """Note that a process is not there any more; the extension that it was."""
        if name == self._runtime_name:
            self._runtime_alive = False
            self._parked.clear()
            self._parked_restore = None
            return None
        if name in self._spawned:
            self._match_processes()
            self._spawned.remove(name)
        for extension in self.extensions.values():
            if extension.process == name:
                extension.has_exited = True
                extension.parked = None
                return extension
        return None

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
        if self._parked:  # a runtime that was started by hand is back already
            self.runtime = RuntimeState.READY
            self._touched(now)
        elif self.waiting and not self.profile.self_started:
            self._begin_again(now)
        else:
            self._out.append(fx.AVAILABLE)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _deadline_reached(self, _event: ev.DeadlineReached, now: Now) -> None:
        if self.deadline is None or now.monotonic < self.deadline:
            return
        if self._teardown is not None:
            self._advance_teardown(self._teardown, now)
            return
        if self.flight is not None and self.flight.extensions_deadline is not None:
            self._close_flight(self.flight, now)
            return
        if self.restore is not None:
            self._restore_timed_out(self.restore, now)
            return
        error_type = ErrorType.SANDBOX_TIMEDOUT
        text = "" if self.flight is None else timed_out_text(self.flight.timeout)
        if self.phase is Phase.INIT and self.init is not None:
            self._init_failed(self.init, error_type, text, now, is_timeout=True)
        else:
            self._fail(error_type, text, now, is_timeout=True)
