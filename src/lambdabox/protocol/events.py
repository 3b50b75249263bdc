"""What happens to an environment: the machine's input.

`call` is the answer slot of whoever made an API call. It is opaque here: it comes back in the effect that answers it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lambdabox.model.invocation import Invocation

Call = object


@dataclass(frozen=True, slots=True)
class InitRequested:
    """Init ahead of an invocation."""


@dataclass(frozen=True, slots=True)
class InvokeRequested:
    """The environment is to run an invocation."""

    invocation: Invocation


@dataclass(frozen=True, slots=True)
class CallerLeft:
    """Who asked for the invocation does not wait any more."""

    request_id: str


@dataclass(frozen=True, slots=True)
class RuntimePolledNext:
    """GET /runtime/invocation/next."""

    call: Call


@dataclass(frozen=True, slots=True)
class PollAbandoned:
    """A peer whose poll was parked went away."""

    call: Call


@dataclass(frozen=True, slots=True)
class ResponseBegan:
    """The head of a POST /response is in, its body is still coming."""

    call: Call
    request_id: str
    mode: str | None = None  # Lambda-Runtime-Function-Response-Mode
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class RuntimeFailed:
    """POST /runtime/invocation/{id}/error."""

    call: Call
    request_id: str
    body: bytes
    content_type: str
    error_type: str


@dataclass(frozen=True, slots=True)
class RuntimeInitFailed:
    """POST /runtime/init/error."""

    call: Call
    body: bytes
    content_type: str
    error_type: str


@dataclass(frozen=True, slots=True)
class ExtensionRegistered:
    """POST /extension/register, parsed; `identifier` is fresh."""

    call: Call
    name: str
    events: tuple[str, ...]
    identifier: str
    wants_account_id: bool = False


@dataclass(frozen=True, slots=True)
class ExtensionPolledNext:
    """GET /extension/event/next."""

    call: Call
    identifier: str


@dataclass(frozen=True, slots=True)
class ExtensionFailed:
    """POST /extension/init/error or /extension/exit/error."""

    call: Call
    identifier: str
    in_init: bool
    error_type: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """A process could not be started; `text` is the system's reason."""

    name: str
    error_type: str
    text: str


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """A process of the environment ended."""

    name: str
    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class MemoryExceeded:
    """The processes together went over the memory limit, and it is enforced."""


@dataclass(frozen=True, slots=True)
class SandboxCleared:
    """No process of the environment is left."""


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """`machine.deadline` is now, or was."""


@dataclass(frozen=True, slots=True)
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
    | ExtensionRegistered
    | ExtensionPolledNext
    | ExtensionFailed
    | LaunchFailed
    | ProcessExited
    | MemoryExceeded
    | SandboxCleared
    | DeadlineReached
    | ShutdownRequested
)
