"""What came of an environment's Init, for who looks at it from outside."""

from __future__ import annotations

import json

from lambdabox.engine.telemetry import TelemetryHub
from lambdabox.model.error_types import ErrorType
from lambdabox.protocol.machine import EnvironmentMachine
from lambdabox.protocol.states import Phase


class InitOutcome:
    """`is_over`: the environment takes invocations. `error`: why the last Init failed, as `Type: message`."""

    def __init__(self) -> None:
        self.is_over = False
        self.error: str | None = None
        self._last = Phase.CREATED

    def note(self, machine: EnvironmentMachine, hub: TelemetryHub) -> None:
        """Something happened in the environment."""
        phase = machine.phase
        if phase is self._last and phase is not Phase.INIT:
            return
        last, self._last = self._last, phase
        if phase is Phase.IDLE or phase is Phase.INVOKE:
            self.is_over = True
            self.error = None
        elif phase is not Phase.SHUTTING_DOWN and phase is not Phase.CLOSED:
            self.is_over = False
        error = None if machine.init is None else machine.init.error
        if phase is Phase.INIT and error is not None:
            self.error = _error_text(error[0], error[1])
        elif last is Phase.INIT and phase is Phase.RESETTING and error is None:
            reports = hub.captured("platform.initReport")
            if reports:
                self.error = reports[-1].record.get("errorType") or ErrorType.SANDBOX_TIMEDOUT


def _error_text(error_type: str, payload: bytes) -> str:
    """An Init error in a line."""
    message = payload.decode("utf-8", "replace")
    try:
        document = json.loads(payload)
    except ValueError:
        document = None
    if isinstance(document, dict):
        error_type = str(document.get("errorType") or error_type)
        message = str(document.get("errorMessage") or "")
    return f"{error_type}: {message}" if message else error_type
