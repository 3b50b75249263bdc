"""What happens to an environment: the machine's input.

`call` is the answer slot of whoever made an API call. It is opaque here: it comes back in the effect that answers it.
"""

from __future__ import annotations

from collections.abc import Hashable

from lambdabox.model.fact import fact
from lambdabox.model.invocation import Invocation

Call = object


@fact
class InitRequested:
    """Init ahead of an invocation."""


@fact
class InvokeRequested:
    """The environment is to run an invocation; without `takes_stream` a streamed response is gathered for its caller."""

    invocation: Invocation
    takes_stream: bool = True


@fact
class CallerLeft:
    """Who asked for the invocation does not wait any more."""

    request_id: str


@fact
class RuntimePolledNext:
    """GET /runtime/invocation/next."""

    call: Call


@fact
class PollAbandoned:
    """A peer whose poll was parked went away."""

    call: Call


@fact
class ResponseBegan:
    """The head of a POST /response is in, its body is still coming."""

    call: Call
    request_id: str
    mode: str | None = None  # Lambda-Runtime-Function-Response-Mode
    content_type: str = "application/octet-stream"
    invocation_id: str | None = None  # Lambda-Runtime-Invocation-Id


@fact
class RuntimeResponded:
    """A whole POST /response is in: `body` when buffered; a streamed body has passed by, `size` bytes of it.

    `truncated`: cut or shorter than declared. `size` may exceed `len(body)` when it was over the limit. The error fields
    are the trailers of a stream that failed midway.
    """

    call: Call
    request_id: str
    body: bytes
    size: int
    mode: str | None = None
    content_type: str = "application/octet-stream"
    truncated: bool = False
    error_type: str | None = None
    error_body: bytes | None = None
    invocation_id: str | None = None


@fact
class RuntimeFailed:
    """POST /runtime/invocation/{id}/error; `size` exceeds `len(body)` when the body was over the limit."""

    call: Call
    request_id: str
    body: bytes
    content_type: str
    error_type: str
    size: int = 0
    invocation_id: str | None = None


@fact
class RuntimeInitFailed:
    """POST /runtime/init/error; `size` exceeds `len(body)` when the body was over the limit."""

    call: Call
    body: bytes
    content_type: str
    error_type: str
    size: int = 0


@fact
class RuntimePolledRestore:
    """GET /runtime/restore/next: the runtime is ready to be snapshotted, and waits to be restored."""

    call: Call


@fact
class RuntimeRestoreFailed:
    """POST /runtime/restore/error; `size` exceeds `len(body)` when the body was over the limit."""

    call: Call
    body: bytes
    content_type: str
    error_type: str
    size: int = 0


@fact
class RestoreRequested:
    """The environment is to be restored from its snapshot ahead of an invocation."""


@fact
class ExtensionRegistered:
    """POST /extension/register, parsed; `identifier` is fresh."""

    call: Call
    name: str
    events: tuple[str, ...]
    identifier: str
    wants_account_id: bool = False


@fact
class ExtensionPolledNext:
    """GET /extension/event/next."""

    call: Call
    identifier: str


@fact
class ExtensionFailed:
    """POST /extension/init/error or /extension/exit/error."""

    call: Call
    identifier: str
    in_init: bool
    error_type: str
    body: bytes = b""


@fact
class TelemetrySubscribed:
    """PUT /telemetry or PUT /logs, parsed.

    `api` is `telemetry` or `logs`; `fingerprint` is the whole parsed subscription: equal ones are the same subscription. `fault`
    is the answer (status, error type, message) to a body that is no subscription, for an extension that might subscribe now.
    """

    call: Call
    identifier: str
    api: str
    types: tuple[str, ...]
    schema_version: str
    fingerprint: Hashable
    fault: tuple[int, str, str] | None = None


@fact
class PeerLeft:
    """The extension that got SHUTDOWN in answer to `call` closed its connection: how one that nobody started here says it is through."""

    call: Call


@fact
class ProcessSpawned:
    """A process of a self-started environment was started by its user, through us."""

    name: str
    is_runtime: bool


@fact
class LaunchFailed:
    """A process could not be started; `text` is the system's reason."""

    name: str
    error_type: str
    text: str


@fact
class ProcessExited:
    """A process of the environment ended."""

    name: str
    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False


@fact
class MemoryExceeded:
    """The processes together went over the memory limit, and it is enforced."""


@fact
class SandboxCleared:
    """No process of the environment is left."""


@fact
class DeadlineReached:
    """`machine.deadline` is now, or was."""


@fact
class ShutdownRequested:
    """The environment is to end: `spindown`, `timeout` or `failure`."""

    reason: str = "spindown"


Event = (
    InitRequested
    | InvokeRequested
    | CallerLeft
    | RuntimePolledNext
    | PollAbandoned
    | ResponseBegan
    | RuntimeResponded
    | RuntimeFailed
    | RuntimeInitFailed
    | RuntimePolledRestore
    | RuntimeRestoreFailed
    | RestoreRequested
    | ExtensionRegistered
    | ExtensionPolledNext
    | ExtensionFailed
    | TelemetrySubscribed
    | PeerLeft
    | ProcessSpawned
    | LaunchFailed
    | ProcessExited
    | MemoryExceeded
    | SandboxCleared
    | DeadlineReached
    | ShutdownRequested
)
