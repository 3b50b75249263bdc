"""What the machine knows of one environment, and the few things that every phase says.

The rules stand on this in layers, each a class on top of the one before: `invoke_rules`, `teardown_rules`, `init_rules`,
`extension_rules`, and `machine`, which holds what depends on the phase.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from lambdabox.model.invocation import Invocation
from lambdabox.model.limits import INIT_SECONDS
from lambdabox.model.moment import Now
from lambdabox.model.telemetry import ExtensionState, InitReport, InitRuntimeDone, InitStart
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import ExtensionPhase, Phase, RuntimeCall, RuntimeState, transition_refused

RUNTIME = "runtime"


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
    has_exited: bool = False
    was_told: bool = False  # SHUTDOWN has been delivered
    missed_event: bool = False  # its connection was broken when INVOKE went out: it gets the event when it comes back


@dataclass(slots=True, eq=False)
class Flight:
    """One invocation in the environment. `status` and `error_type` are what telemetry says of it."""

    invocation: Invocation
    takes_stream: bool
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
    """The Init that runs, or ran last. `error` is what the runtime posted: error type, payload, content type."""

    phase: str
    started: Now
    runtime_started: bool = False
    runtime_done: bool = False
    error: tuple[str, bytes, str] | None = None


@dataclass(slots=True, eq=False)
class Teardown:
    """A reset or, when `is_final`, a shutdown under way."""

    reason: str
    deadline: float
    deadline_ms: int
    is_final: bool
    runtime_deadline: float | None = None  # until when the runtime may end by itself
    extensions_told: bool = False
    is_clearing: bool = False


class EnvironmentState:
    """The state of one environment, the effects gathered so far, and how to say things."""

    def __init__(self, profile: EnvironmentProfile) -> None:
        self.profile = profile
        self.phase = Phase.CREATED
        self.runtime = RuntimeState.STARTED
        self.deadline: float | None = None
        self.flight: Flight | None = None
        self.waiting: deque[ev.InvokeRequested] = deque()
        self.extensions: dict[str, Extension] = {}
        self.is_frozen = False
        self.is_registration_open = True
        self.init: Init | None = None
        self._teardown: Teardown | None = None
        self._parked: list[ev.Call] = []
        self._runtime_alive = False
        self._init_duration: float | None = None  # until the first invocation has reported it
        self._by_identifier: dict[str, Extension] = {}
        self._out: list[fx.Effect] = []

    def _emit(self, record: InitStart | InitRuntimeDone | InitReport | ExtensionState) -> None:
        self._out.append(fx.EmitTelemetry(record, None if self.flight is None else self.flight.invocation.request_id))

    def _refuse_runtime(self, call: ev.Call, wanted: RuntimeCall) -> None:
        self._out.append(fx.Refuse(call, 403, "InvalidStateTransition", transition_refused(self.runtime, wanted, "runtime")))

    def _thaw(self) -> None:
        """Processes are thawed before they are asked, told or killed."""
        if self.is_frozen:
            self.is_frozen = False
            self._out.append(fx.THAW)
