"""What is to be done: the machine's output. The engine carries these out, in order."""

from __future__ import annotations

from lambdabox.model.fact import fact
from lambdabox.model.invocation import Invocation
from lambdabox.model.telemetry import PlatformRecord, Span
from lambdabox.protocol.events import Call


@fact
class StartProcess:
    """Start the runtime or an external extension."""

    name: str
    is_runtime: bool


@fact
class AnswerNext:
    """Answer a runtime's poll with an invocation."""

    call: Call
    invocation: Invocation
    deadline_ms: int


@fact
class AnswerExtensionInvoke:
    """Answer an extension's poll with INVOKE."""

    call: Call
    invocation: Invocation
    deadline_ms: int


@fact
class AnswerExtensionShutdown:
    """Answer an extension's poll with SHUTDOWN."""

    call: Call
    reason: str
    deadline_ms: int


@fact
class Accept:
    """Answer an API call with 202."""

    call: Call


@fact
class AcceptRegistration:
    """Answer a registration."""

    call: Call
    identifier: str
    with_account_id: bool


@fact
class Refuse:
    """Answer an API call with an error; nothing moved."""

    call: Call
    status: int
    error_type: str
    message: str


@fact
class BeginStream:
    """The runtime streams its response: let the bytes of `call` flow to the caller."""

    call: Call
    request_id: str
    content_type: str


@fact
class CollectResponse:
    """The body of a buffered response is on its way: gather it."""

    call: Call


@fact
class CompleteInvocation:
    """The caller's answer: released the moment the runtime has delivered it.

    `status` is `success`, `error` or `timeout`; `is_streamed`: the payload has passed by, only the end is told.
    """

    request_id: str
    payload: bytes
    content_type: str
    status: str
    error_type: str | None = None
    is_streamed: bool = False


@fact
class FinishInvocation:
    """The invocation is over for the environment: its figures, all but the measured memory."""

    request_id: str
    status: str
    duration_ms: float
    billed_duration_ms: int
    init_duration_ms: float | None
    error_type: str | None
    spans: tuple[Span, ...]
    trace_id: str | None
    tenant_id: str | None


@fact
class EmitTelemetry:
    """Something the platform says."""

    record: PlatformRecord
    request_id: str | None = None


@fact
class Available:
    """The environment can take an invocation."""


@fact
class Freeze:
    """Stop every process."""


@fact
class Thaw:
    """Let every process go on."""


@fact
class Terminate:
    """SIGTERM to a process group."""

    name: str


@fact
class Kill:
    """SIGKILL to a process and its descendants."""

    name: str


@fact
class ClearSandbox:
    """SIGKILL everything; SandboxCleared follows."""


@fact
class CloseSandbox:
    """The end: nothing follows."""


Effect = (
    StartProcess
    | AnswerNext
    | AnswerExtensionInvoke
    | AnswerExtensionShutdown
    | Accept
    | AcceptRegistration
    | Refuse
    | BeginStream
    | CollectResponse
    | CompleteInvocation
    | FinishInvocation
    | EmitTelemetry
    | Available
    | Freeze
    | Thaw
    | Terminate
    | Kill
    | ClearSandbox
    | CloseSandbox
)

AVAILABLE = Available()
FREEZE = Freeze()
THAW = Thaw()
CLEAR_SANDBOX = ClearSandbox()
CLOSE_SANDBOX = CloseSandbox()
