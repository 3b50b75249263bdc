"""The Restore phase of a snap-start environment: Init ends in a snapshot, and what runs next is restored first (contract 1.7).

Here the snapshot is the environment itself, which waits, frozen where freezing is on; restoring it takes the time of the runtime's
after-restore hooks. A runtime that never asks to be restored is restored at once.

Parity: a restore that fails answers the invocation it was for, and the environment is initialized anew inside the next one.
"""

from __future__ import annotations

import math

from lambdabox.model.error_types import ErrorType
from lambdabox.model.moment import Now, milliseconds
from lambdabox.model.telemetry import RestoreReport, RestoreRuntimeDone, RestoreStart
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.environment_state import Restore
from lambdabox.protocol.payloads import error_payload, timed_out_text
from lambdabox.protocol.states import RUNTIME_TABLE, Phase, RuntimeCall, RuntimeState
from lambdabox.protocol.teardown_rules import TeardownRules

ERROR_GRACE_SECONDS = 0.5  # for a runtime that has reported its failure to end by itself


class RestoreRules(TeardownRules):
    """From a snapshot to an environment that waits for its first event."""

    def _become_snapshot(self, now: Now) -> None:
        """Init is over: wait for somebody who needs the environment."""
        if self.flight is not None or self.waiting or self._restore_wanted:
            self._begin_restore(now)
            return
        self.phase = Phase.SNAPSHOT
        self.deadline = None
        self._out.append(fx.AVAILABLE)
        if self.profile.freezes:
            self._freeze()

    def _restore_requested(self, _event: ev.RestoreRequested, now: Now) -> None:
        if self.phase is Phase.SNAPSHOT:
            self._begin_restore(now)
        elif self.phase in (Phase.CREATED, Phase.INIT):
            self._restore_wanted = True

    def _begin_restore(self, now: Now) -> None:
        self._thaw()
        self._restore_wanted = False
        self.restore = restore = Restore(now)
        self.phase = Phase.RESTORE
        profile = self.profile
        self._emit(
            RestoreStart(
                function_name=profile.function_name,
                function_version=profile.function_version,
                instance_id=profile.instance_id,
                instance_max_memory=profile.memory_size * 1024 * 1024,
                runtime_version=profile.runtime_version,
                runtime_version_arn=profile.runtime_version_arn,
            )
        )
        if self._parked_restore is not None:
            self._out.append(fx.AnswerRestore(self._parked_restore))
            self._parked_restore = None
        if self.runtime is RuntimeState.READY:  # it asked for its first event right away
            self._restored(restore, now)
            return
        limit = now.monotonic + profile.restore_timeout
        if self.flight is not None and self.flight.deadline is not None:
            limit = min(limit, self.flight.deadline)
        self.deadline = None if limit == math.inf else limit
        self.runtime = RuntimeState.RESTORING

    def _restored(self, restore: Restore, now: Now) -> None:
        """The runtime has asked for its first event."""
        self.restore = None
        duration = now.monotonic - restore.started.monotonic
        self._emit(RestoreRuntimeDone(status="success"))
        self._emit(RestoreReport(status="success", duration_ms=milliseconds(duration)))
        if self.flight is not None:
            self._deliver(self.flight)
            return
        self._restore_duration = duration
        self._become_idle(now)

    # -- failures -----------------------------------------------------------------------------------------------------

    def _runtime_restore_failed(self, event: ev.RuntimeRestoreFailed, now: Now) -> None:
        wanted = RUNTIME_TABLE[self.runtime].get(RuntimeCall.RESTORE_ERROR)
        if wanted is None:
            self._refuse_runtime(event.call, RuntimeCall.RESTORE_ERROR)
            return
        self.runtime = wanted
        self._out.append(fx.Accept(event.call))
        if self.restore is not None:
            self._give_up_restore(self.restore, (event.error_type, self._within_limit(event), event.content_type), now)

    def _give_up_restore(self, restore: Restore, error: tuple[str, bytes, str], now: Now) -> None:
        """The runtime says why it cannot go on; it is given a moment to end by itself."""
        restore.error = error
        self._emit(RestoreRuntimeDone(status="error", error_type=error[0]))
        grace = now.monotonic + ERROR_GRACE_SECONDS
        self.deadline = grace if self.deadline is None else min(self.deadline, grace)

    def _restore_timed_out(self, restore: Restore, now: Now) -> None:
        flight = self.flight
        if flight is not None and flight.deadline is not None and now.monotonic >= flight.deadline:
            error_type, text = ErrorType.SANDBOX_TIMEDOUT, timed_out_text(flight.timeout)
        else:
            error_type, text = ErrorType.RUNTIME_RESTORE_TIMEOUT, timed_out_text(self.profile.restore_timeout)
        self._restore_failed(restore, error_type, text, now, is_timeout=True)

    def _restore_failed(self, restore: Restore, error_type: str, text: str, now: Now, *, is_timeout: bool = False) -> None:
        """The environment cannot be restored: answer the invocation it was for, and clear it."""
        payload, content_type = None, "application/json"
        if restore.error is not None:
            error_type, payload, content_type = restore.error
            is_timeout = False
        status, shown = ("timeout", None) if is_timeout else ("error", error_type)
        if restore.error is None:
            self._emit(RestoreRuntimeDone(status=status, error_type=shown))
        duration = milliseconds(now.monotonic - restore.started.monotonic)
        self._emit(RestoreReport(status=status, duration_ms=duration, error_type=shown))
        flight = self.flight
        if flight is None and self.waiting:
            flight = self._begin_flight(self.waiting.popleft(), now)
        if flight is not None:
            if payload is None:
                payload = error_payload(error_type, text, flight.invocation.request_id)
            self._lose_flight(flight, status, shown, payload, now, content_type)
        self._begin_teardown("timeout" if is_timeout else "failure", now, is_final=False)
