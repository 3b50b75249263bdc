"""Every exception of this library, in one tree."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Optional


class LambdaboxRuntimeError(Exception):
    """The root of what the library raises on its own account."""


class ConfigurationError(LambdaboxRuntimeError):
    """The runtime cannot be built: a variable is missing or the API version is unknown."""


class TransportError(LambdaboxRuntimeError):
    """The Runtime API cannot be reached, or does not speak HTTP."""


class RuntimeApiError(LambdaboxRuntimeError):
    """The Runtime API refused a call.

    `is_fatal` is true where the contract tells the runtime to exit: the platform is in a state it cannot leave. What is
    not fatal concerns one answer only, and the loop goes on with the next event.
    """

    def __init__(self, call: str, status: int, detail: str, *, is_fatal: bool) -> None:
        super().__init__(f"the Runtime API answered {call} with {status}: {detail}")
        self.call = call
        self.status = status
        self.detail = detail
        self.is_fatal = is_fatal


class FunctionError(Exception):
    """A function error whose `errorType` is chosen, not taken from an exception's class.

    Raise it in a handler to pick the type that the caller sees. `stack_trace` replaces the traceback's frames.
    """

    def __init__(self, error_type: str, message: str, stack_trace: Optional[Iterable[str]] = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.stack_trace = None if stack_trace is None else list(stack_trace)


class RuntimeFaultError(FunctionError):
    """A function error that the runtime itself found, such as an event that is not JSON; it has no frames of its own."""

    def __init__(self, error_type: str, message: str, stack_trace: Iterable[str] = ()) -> None:
        super().__init__(error_type, message, stack_trace)
