"""The Init phase: extensions first, then the runtime, then everybody asks for the first event (contract 2.2, 4.2, 1.6).

Init ahead of an invocation has a limit of its own and is tried once; when it fails, it runs again inside the next
invocation, on that invocation's time ("suppressed"), and only then does a failure reach a caller.
"""

from __future__ import annotations

import math

from lambdabox.model.error_types import ErrorType
from lambdabox.model.limits import EXTENSIONS_MAX
from lambdabox.model.moment import Now, milliseconds
from lambdabox.model.telemetry import ExtensionState, InitReport, InitRuntimeDone, InitStart
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.environment_state import RUNTIME, Extension, Init
from lambdabox.protocol.payloads import error_payload
from lambdabox.protocol.restore_rules import ERROR_GRACE_SECONDS, RestoreRules
from lambdabox.protocol.states import RUNTIME_TABLE, ExtensionPhase, Phase, RuntimeCall, RuntimeState

AWAITED = (RuntimeState.READY, RuntimeState.RESTORE_READY)  # what a runtime is when it is through with Init


class InitRules(RestoreRules):
    """From nothing to an environment that waits for its first event."""

    def _begin_init(self, now: Now, *, phase: str = "init") -> None:
        """Init ahead of an invocation. Of processes that somebody else starts, the first thing they do starts the clock."""
        init = Init(phase, now, is_untouched=self.profile.self_started)
        self._start_processes(init, None if init.is_untouched else self._init_deadline(now), now)

    def _init_deadline(self, now: Now) -> float | None:
        deadline = now.monotonic + self.profile.init_timeout
        return None if deadline == math.inf else deadline

    def _begin_again(self, now: Now) -> None:
        """Init of an environment that was reset: for an invocation that waits."""
        self._begin_suppressed_init(self.waiting.popleft(), now)

    def _touched(self, now: Now) -> None:
        """Something is there that its user has started."""
        if self.phase is Phase.CREATED:
            self._begin_init(now)
        elif self.phase is Phase.DORMANT:
            self._begin_init(now, phase="invoke")
        init = self.init
        if init is not None and init.is_untouched and self.phase is Phase.INIT:
            init.is_untouched = False
            init.started = now
            self.deadline = self._init_deadline(now)

    def _begin_suppressed_init(self, request: ev.InvokeRequested, now: Now) -> None:
        """Init inside an invocation."""
        self.flight = flight = self._begin_flight(request, now)
        self._start_processes(Init("invoke", now), flight.deadline, now)

    def _start_processes(self, init: Init, deadline: float | None, now: Now) -> None:
        profile = self.profile
        self.phase = Phase.INIT
        self.init = init
        self.deadline = deadline
        self._emit(
            InitStart(
                initialization_type=profile.initialization_type,
                phase=init.phase,
                function_name=profile.function_name,
                function_version=profile.function_version,
                instance_id=profile.instance_id,
                instance_max_memory=profile.memory_size * 1024 * 1024,
                runtime_version=profile.runtime_version,
                runtime_version_arn=profile.runtime_version_arn,
            )
        )
        if len(profile.external_extensions) > EXTENSIONS_MAX:
            self._init_failed(init, ErrorType.EXTENSION_LAUNCH_ERROR, "TooManyExtensions", now)
            return
        for name in profile.external_extensions:
            self.extensions[name] = Extension(name, is_external=True, process=None if profile.self_started else name)
            if not profile.self_started:
                self._out.append(fx.StartProcess(name, is_runtime=False))
        self._maybe_start_runtime(init)
        if self.runtime in AWAITED:  # a runtime that its user has started asked before anybody wanted Init
            self._runtime_ready(init, now)

    def _maybe_start_runtime(self, init: Init) -> None:
        if init.runtime_started or self.profile.self_started:
            return
        if all(extension.identifier is not None for extension in self.extensions.values() if extension.is_external):
            init.runtime_started = True
            self._runtime_alive = True
            self._out.append(fx.StartProcess(RUNTIME, is_runtime=True))

    def _runtime_ready(self, init: Init, now: Now) -> None:
        """The runtime has asked for its first event, or to be restored: nobody may register any more who is not expected."""
        self.is_registration_open = self._expects_registrations()
        self._runtime_done_init(init, "success", None)
        self._maybe_init_complete(init, now)

    def _expects_registrations(self) -> bool:
        """Whether an external extension that is known of has yet to register. Who was spawned may register under any name."""
        registered = 0
        for extension in self.extensions.values():
            if extension.is_external:
                if extension.identifier is None:
                    return True
                registered += 1
        return registered < len(self._spawned)

    def _runtime_done_init(self, init: Init, status: str, error_type: str | None) -> None:
        if init.runtime_done:
            return
        init.runtime_done = True
        self._emit(
            InitRuntimeDone(
                initialization_type=self.profile.initialization_type, phase=init.phase, status=status, error_type=error_type
            )
        )

    def _maybe_init_complete(self, init: Init, now: Now) -> None:
        """Init is over when the runtime and every extension wait for their first event."""
        if self.runtime not in AWAITED or self._expects_registrations():
            return
        if any(extension.phase is not ExtensionPhase.READY for extension in self.extensions.values()):
            return
        self.is_registration_open = False
        self._match_processes()
        for extension in self.extensions.values():
            self._emit(ExtensionState(name=extension.name, state="Ready", events=extension.events))
        duration = now.monotonic - init.started.monotonic
        self._report_init(init, "success", None, duration)
        if self.profile.initialization_type == "snap-start" or self.runtime is RuntimeState.RESTORE_READY:
            self._become_snapshot(now)
            return
        if self.flight is not None:  # suppressed: the invocation has been running all along
            self._deliver(self.flight)
            return
        if init.phase == "init":
            self._init_duration = duration
        self._become_idle(now)

    def _match_processes(self) -> None:
        """One process that nobody registered for by name, and one extension without a process: they are the same."""
        claimed = {extension.process for extension in self.extensions.values()}
        unclaimed = [name for name in self._spawned if name not in claimed]
        lonely = [extension for extension in self.extensions.values() if extension.is_external and extension.process is None]
        if len(unclaimed) == len(lonely) == 1:
            lonely[0].process = unclaimed[0]

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

    # -- failures -----------------------------------------------------------------------------------------------------

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
        """Init is lost: clear the environment, and either try again within the invocation or answer it.

        What the runtime has posted goes to the caller, unless it is an extension (`failed`) that ended it.
        """
        payload, content_type = None, "application/json"
        if init.error is not None and failed is None:
            error_type, payload, content_type = init.error
            is_timeout = False
        status, shown = ("timeout", None) if is_timeout else ("error", error_type)
        self._runtime_done_init(init, status, shown)
        if failed is not None:
            self._emit(ExtensionState(name=failed.name, state=failed.phase, events=failed.events, error_type=error_type))
        self._report_init(init, status, shown, now.monotonic - init.started.monotonic)
        flight = self.flight
        if flight is not None:
            if payload is None:
                payload = error_payload(error_type, text, flight.invocation.request_id)
            self._lose_flight(flight, status, shown, payload, now, content_type)
        self._begin_teardown("timeout" if is_timeout else "failure", now, is_final=False)

    def _runtime_init_failed(self, event: ev.RuntimeInitFailed, now: Now) -> None:
        """The runtime says why it cannot start; it is given a moment to end by itself."""
        wanted = RUNTIME_TABLE[self.runtime].get(RuntimeCall.INIT_ERROR)
        init = self.init
        if self.profile.self_started and self.runtime is RuntimeState.STARTED:
            self._touched(now)
            init = self.init
        if wanted is None or init is None or self.phase in (Phase.DORMANT, Phase.CLOSED):
            self._refuse_runtime(event.call, RuntimeCall.INIT_ERROR)
            return
        self.runtime = wanted
        self._out.append(fx.Accept(event.call))
        if self._teardown is not None:
            return
        error = (event.error_type, self._within_limit(event), event.content_type)
        if self.restore is not None:  # an Init error during a restore is a restore error
            self._give_up_restore(self.restore, error, now)
            return
        init.error = error
        self._runtime_done_init(init, "error", event.error_type)
        grace = now.monotonic + ERROR_GRACE_SECONDS
        self.deadline = grace if self.deadline is None else min(self.deadline, grace)
