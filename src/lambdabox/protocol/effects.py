"""What is to be done: the machine's output. The engine carries these out, in order."""

from __future__ import annotations

from collections.abc import Hashable

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
    """Answer a runtime's poll with an invocation; `invocation_id` is the Lambda-Runtime-Invocation-Id when there is one."""

    call: Call
    invocation: Invocation
    deadline_ms: int
    invocation_id: str | None = None


@fact
class AnswerRestore:
    """Answer a runtime's /restore/next: 200 without a body."""

    call: Call


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
class AcceptSubscription:
    """Answer a subscription with 200 and `"OK"`, and deliver to it from now on what Init has said so far and what is to come.

    `subscription` is the event's fingerprint. It replaces the extension's former one; with `is_repetition` it is the former
    one, and nothing changes.
    """

    call: Call
    name: str
    subscription: Hashable
    is_repetition: bool = False


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
    restore_duration_ms: float | None = None
    billed_restore_duration_ms: int | None = None


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
    """Stop every process, unless the machine's `freeze_epoch` has moved on from `epoch`: then there is work again."""

    epoch: int = 0


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
    | AnswerRestore
    | AnswerExtensionInvoke
    | AnswerExtensionShutdown
    | Accept
    | AcceptRegistration
    | AcceptSubscription
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
THAW = Thaw()
CLEAR_SANDBOX = ClearSandbox()
CLOSE_SANDBOX = CloseSandbox()
