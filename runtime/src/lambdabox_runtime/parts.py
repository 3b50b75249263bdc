"""The parts of a runtime, as structural types: what you must offer to replace one.

Imported by type checkers and by who names a type at run time, never at start: the defaults match these types by shape.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Optional, Protocol, Tuple, Union

from .error_reporter import ErrorDocument
from .invocation import Invocation
from .transport import Response

Handler = Callable[[Any, Any], Any]
"""Takes the event and the context, returns the result."""


class Transport(Protocol):
    """Moves requests to the Runtime API; waits without limit, backs off on failures, raises TransportError in the end."""

    def get(self, path: str, headers: Iterable[Tuple[str, str]] = ...) -> Response: ...

    def post(self, path: str, headers: Iterable[Tuple[str, str]], body: bytes) -> Response: ...


class RuntimeApi(Protocol):
    """The calls of the Runtime API; raises RuntimeApiError for what is refused."""

    def next(self) -> Invocation: ...

    def response(self, invocation: Invocation, body: bytes, content_type: str) -> None: ...

    def error(
        self,
        invocation: Invocation,
        document: bytes,
        *,
        error_type: Optional[str] = ...,
        cause: Optional[str] = ...,
    ) -> None: ...

    def init_error(self, document: bytes, error_type: str) -> None: ...


class Environment(Protocol):
    """The variables that the loop and the context need."""

    @property
    def function_name(self) -> Optional[str]: ...

    @property
    def function_version(self) -> Optional[str]: ...

    @property
    def function_memory_size(self) -> Optional[int]: ...

    @property
    def log_group_name(self) -> Optional[str]: ...

    @property
    def log_stream_name(self) -> Optional[str]: ...

    @property
    def runtime_api(self) -> Optional[str]: ...

    def set_trace_id(self, trace_id: Optional[str]) -> None: ...


class ContextFactory(Protocol):
    """Makes the context of an invocation; what it raises is that invocation's function error."""

    def create(self, invocation: Invocation) -> Any: ...


class Serializer(Protocol):
    """Decodes events and encodes results; what it raises becomes Runtime.UnmarshalError or Runtime.MarshalError."""

    def load(self, body: Union[bytes, bytearray], content_type: Optional[str]) -> Any: ...

    def dump(self, result: Any) -> Tuple[bytes, str]: ...


class ErrorReporter(Protocol):
    """Turns exceptions into error documents and log lines."""

    sends_error_type: bool

    def describe(self, error: BaseException, request_id: str = ...) -> ErrorDocument: ...

    def serialize(self, document: ErrorDocument) -> bytes: ...

    def log(self, document: ErrorDocument) -> None: ...

    def note(self, problem: Exception) -> None: ...


Headers = Dict[str, str]
