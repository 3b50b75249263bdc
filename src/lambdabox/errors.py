"""Every exception of lambdabox, in one tree.

    LambdaboxError
    ├─ ServiceError                    what the Lambda API answers (AWS's names)
    ├─ ProtocolError
    │  ├─ RemoteProtocolError          a runtime or an extension broke its API
    │  └─ LocalProtocolError           our own engine broke it
    ├─ UsageError                      a command line or a call that cannot be right
    ├─ ConfigError                     a project file that cannot be right
    ├─ EventError                      an event or context that cannot be read
    ├─ SandboxError
    │  ├─ SandboxUnavailableError      this machine cannot make such a sandbox
    │  ├─ LaunchError                  a process could not be started
    │  └─ SandboxClosedError
    ├─ LayerError
    ├─ RuntimeNotFoundError            no interpreter here serves the runtime
    ├─ DependencyMissingError
    ├─ AddressInUseError
    ├─ WaitTimeoutError                what a caller waited for did not come
    └─ InternalError                   our broken invariant

A *function error* is not an exception: a handler that raises, a crash and a timeout are results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word that a typing error most likely meant, or None."""
    import difflib  # two milliseconds that only a mistake should cost

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def listed(words: Sequence[str], *, most: int = 12) -> str:
    """Words for a message: `a, b and c`, cut after `most`."""
    if not words:
        return "none"
    if len(words) > most:
        return ", ".join(words[:most]) + f" and {len(words) - most} more"
    if len(words) == 1:
        return words[0]
    return ", ".join(words[:-1]) + " and " + words[-1]


class LambdaboxError(Exception):
    """The root of what lambdabox raises; `hint` is the next step for the person who reads it."""

    exit_code: ClassVar[int] = 2
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint


# -- the Lambda API ---------------------------------------------------------------------------------------------------


class ServiceError(LambdaboxError):
    """What the Lambda API answers when it cannot run an invocation (contract 5.2)."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "User"
    message_key: ClassVar[str] = "Message"
    exit_code: ClassVar[int] = 2

    @property
    def code(self) -> str:
        """The name on the wire."""
        return type(self).__name__

    def body(self) -> dict[str, str]:
        """The JSON members of the answer."""
        return {"Type": self.kind, self.message_key: self.message}

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Headers beyond `x-amzn-ErrorType`."""
        return ()


class ResourceNotFoundException(ServiceError):
    """The function, version or alias does not exist."""

    status = 404

    def __init__(self, arn: str, *, known: Sequence[str] = ()) -> None:
        super().__init__(f"Function not found: {arn}")
        self.arn = arn
        self.known = tuple(known)
        if known:
            self.hint = f"functions here: {listed(self.known)}"


class InvalidParameterValueException(ServiceError):
    """A parameter of the request is not valid."""

    status = 400
    message_key = "message"


class InvalidRequestContentException(ServiceError):
    """The request body is not JSON."""

    status = 400
    message_key = "message"

    def __init__(self, detail: str) -> None:
        super().__init__(f"Could not parse request body into json: {detail}")


class ValidationException(ServiceError):
    """A parameter breaks a constraint of the API model."""

    status = 400
    message_key = "message"


class RequestTooLargeException(ServiceError):
    """The payload is over the limit of its invocation type."""

    status = 413
    message_key = "message"

    def __init__(self, limit: int, operation: str = "InvokeFunction") -> None:
        super().__init__(f"Request must be smaller than {limit} bytes for the {operation} operation")


class UnsupportedMediaTypeException(ServiceError):
    """The content type of the request is not JSON."""

    status = 415
    message_key = "message"

    def __init__(self, content_type: str) -> None:
        super().__init__(f"Unsupported content type: {content_type}")


class TooManyRequestsException(ServiceError):
    """The invocation was throttled."""

    status = 429
    message_key = "message"
    exit_code = 1

    def __init__(self, reason: str = "ConcurrentInvocationLimitExceeded", *, retry_after: int = 1) -> None:
        super().__init__("Rate Exceeded.")
        self.reason = reason
        self.retry_after = retry_after

    def body(self) -> dict[str, str]:
        return {"Reason": self.reason, "Type": self.kind, "message": self.message}

    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Retry-After", str(self.retry_after)),)


class ResourceConflictException(ServiceError):
    """The function is not in a state that allows the request."""

    status = 409
    message_key = "message"


class ServiceException(ServiceError):
    """The service failed for a reason of its own."""

    status = 500
    kind = "Service"


class InvalidRuntimeException(ServiceError):
    """This machine has nothing that serves the function's runtime (AWS uses it for runtimes it does not support)."""

    status = 502
    exit_code = 3


class UnknownOperationException(ServiceError):
    """The request names no operation that is served here."""

    status = 404
    message_key = "message"


# -- the in-environment APIs ------------------------------------------------------------------------------------------


class ProtocolError(LambdaboxError):
    """Someone broke a protocol; the two children say who."""

    exit_code = 70


class RemoteProtocolError(ProtocolError):
    """A runtime, an extension or a client sent what its API does not allow; `status` is the answer it gets."""

    def __init__(self, message: str, *, status: int = 400, error_type: str = "InvalidRequest") -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type


class LocalProtocolError(ProtocolError):
    """Our own engine asked a protocol for something it does not allow."""


# -- people's input ---------------------------------------------------------------------------------------------------


class UsageError(LambdaboxError):
    """A command line or a call that cannot be right."""


class ConfigError(LambdaboxError):
    """A project file that cannot be right: names the file, the place, and what would have been accepted."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        place = ""
        if file is not None:
            place = file
            if line is not None:
                place += f":{line}"
                if column is not None:
                    place += f":{column}"
            place += ": "
        super().__init__(place + message, hint=hint)
        self.file = file
        self.line = line
        self.column = column


class EventError(LambdaboxError):
    """An event or a context that cannot be read or is not JSON."""


# -- the machine underneath -------------------------------------------------------------------------------------------


class SandboxError(LambdaboxError):
    """A sandbox could not do what it was asked."""

    exit_code = 3


class SandboxUnavailableError(SandboxError):
    """This machine cannot make the sandbox; the hint says how to get it."""


class LaunchError(SandboxError):
    """A process could not be started; `text` is the operating system's reason in Go's wording, as AWS shows it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"fork/exec {path}: {reason}")
        self.path = path
        self.reason = reason

    @property
    def text(self) -> str:
        return self.message


class SandboxClosedError(SandboxError):
    """The sandbox was closed before."""

    def __init__(self) -> None:
        super().__init__("the sandbox is closed")


class LayerError(LambdaboxError):
    """A layer that cannot be used."""


class RuntimeNotFoundError(LambdaboxError):
    """No interpreter on this machine serves the runtime."""

    exit_code = 3

    def __init__(self, runtime: str, looked_for: Sequence[str], *, hint: str | None = None) -> None:
        if looked_for:
            message = f"nothing on this machine runs {runtime}: looked for {listed(tuple(looked_for))}"
        else:
            message = f"this version of lambdabox does not run {runtime}"
        super().__init__(message, hint=hint or "`lambdabox doctor` lists what this machine can run and how to get the rest")
        self.runtime = runtime
        self.looked_for = tuple(looked_for)


class DependencyMissingError(LambdaboxError):
    """An optional package or a tool that a feature needs is not installed."""

    exit_code = 3


class AddressInUseError(LambdaboxError):
    """A port that should be listened on is taken, or may not be used."""

    exit_code = 3

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"cannot listen on {host}:{port}: {reason}",
            hint="stop what listens there, or choose another port with --port (0 picks a free one)",
        )
        self.host = host
        self.port = port


class WaitTimeoutError(LambdaboxError, TimeoutError):
    """What a caller waited for did not come in time."""

    exit_code = 1

    def __init__(self, waited_for: str, seconds: float, *, state: str | None = None) -> None:
        super().__init__(f"{waited_for} did not happen within {seconds:g} s" + (f"; now: {state}" if state else ""))


class InternalError(LambdaboxError):
    """Our own broken invariant: please report it."""

    exit_code = 70
    hint = "this is a fault of lambdabox: please report it with the output of --debug"
