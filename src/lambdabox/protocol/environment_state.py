"""What the machine knows of one environment, and the few things that every phase says.

The rules stand on this in layers, each a class on top of the one before: `invoke_rules`, `teardown_rules`, `init_rules`,
`extension_rules`, and `machine`, which holds what depends on the phase.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from lambdabox.model.invocation import Invocation
from lambdabox.model.limits import INIT_SECONDS, RESTORE_SECONDS, SHUTDOWN_EXTERNAL_SECONDS
from lambdabox.model.moment import Now
from lambdabox.model.telemetry import PlatformRecord
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import ExtensionPhase, Phase, RuntimeCall, RuntimeState, transition_refused

RUNTIME = "runtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentProfile:
    """What the machine must know of its function. Times in seconds, memory in MB.

    `self_started`: the user starts the processes, by hand or through ProcessSpawned. `external_by_default`: an extension of any name
    is external, unless `external_extensions` names those that are. `extension_ready_timeout`: how long after the runtime an
    invocation waits for its extensions; None: until its deadline. `shutdown_timeout`: the budget of external extensions.
    `max_concurrency`: how many invocations the environment runs at once (`concurrent_machine.machine_for`).
    """

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
    self_started: bool = False
    external_by_default: bool = False
    extension_ready_timeout: float | None = None
    shutdown_timeout: float = SHUTDOWN_EXTERNAL_SECONDS
    restore_timeout: float = RESTORE_SECONDS
    max_concurrency: int = 1
    sends_invocation_id: bool = False


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
    process: str | None = None  # what its process is called here; None when it was started by hand
    shutdown_call: ev.Call | None = None  # where SHUTDOWN was delivered
    is_away: bool = False  # its connection broke while it was waiting
    subscription: tuple[str, Hashable] | None = None  # which API, and the whole of it
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
    restore_duration: float | None = None
    invocation_id: str | None = None  # of the latest delivery
    extensions_deadline: float | None = None  # until when extensions that are not through are waited for
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
    is_untouched: bool = False  # nothing has been started or has called yet: its limit does not count


@dataclass(slots=True, eq=False)
class Restore:
    """The restore that runs. `error` is what the runtime posted."""

    started: Now
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
        self.freeze_epoch = 0  # how often processes that were frozen have been let go on
        self.is_registration_open = True
        self.init: Init | None = None
        self.restore: Restore | None = None
        self._teardown: Teardown | None = None
        self._parked: list[ev.Call] = []
        self._parked_restore: ev.Call | None = None
        self._runtime_name = RUNTIME
        self._runtime_alive = False
        self._runtime_spawned = False
        self._spawned: set[str] = set()  # processes that were started through us to be extensions
        self._restore_wanted = False
        self._restore_duration: float | None = None  # until the first invocation has reported it
        self._deliveries = 0
        self._init_duration: float | None = None  # until the first invocation has reported it
        self._by_identifier: dict[str, Extension] = {}
        self._out: list[fx.Effect] = []

    def _emit(self, record: PlatformRecord) -> None:
        self._out.append(fx.EmitTelemetry(record, None if self.flight is None else self.flight.invocation.request_id))

    def _refuse_runtime(self, call: ev.Call, wanted: RuntimeCall) -> None:
        self._out.append(fx.Refuse(call, 403, "InvalidStateTransition", transition_refused(self.runtime, wanted, "runtime")))

    def _thaw(self) -> None:
        """Processes are thawed before they are asked, told or killed."""
        if self.is_frozen:
            self.is_frozen = False
            self.freeze_epoch += 1
            self._out.append(fx.THAW)
