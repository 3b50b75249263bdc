"""What the engine needs from above, as structural types: the composition root injects them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from lambdabox.model.invocation import Invocation
from lambdabox.model.moment import Now
from lambdabox.protocol.events import Call

if TYPE_CHECKING:
    from lambdabox.engine.environment import Environment


class Timer(Protocol):
    """Something that will be called, unless cancelled."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The time and its alarms."""

    def now(self) -> Now: ...

    def call_at(self, monotonic: float, callback: Callable[[], None]) -> Timer: ...


class ResponseStream(Protocol):
    """Where a streamed response goes."""

    on_writable: Callable[[], None] | None

    def begin(self, content_type: str) -> None:
        """The response starts."""

    def write(self, data: bytes) -> bool:
        """Some bytes; False: wait for `on_writable` before more."""


class EnvironmentApi(Protocol):
    """The HTTP listener that serves the in-environment APIs to one environment. `call` is whatever it made of a request."""

    address: str

    def answer_next(self, call: Call, invocation: Invocation, deadline_ms: int, invocation_id: str | None = None) -> None: ...

    def answer_restore(self, call: Call) -> None: ...

    def answer_extension_invoke(self, call: Call, invocation: Invocation, deadline_ms: int) -> None: ...

    def answer_extension_shutdown(self, call: Call, reason: str, deadline_ms: int) -> None: ...

    def accept(self, call: Call) -> None: ...

    def accept_registration(self, call: Call, identifier: str, *, with_account_id: bool) -> None: ...

    def accept_subscription(self, call: Call) -> None: ...

    def refuse(self, call: Call, status: int, error_type: str, message: str) -> None: ...

    def collect_response(self, call: Call) -> None: ...

    def stream_response(self, call: Call, stream: ResponseStream) -> None: ...

    def cut_connections(self) -> None:
        """Drop every connection: the processes behind them are gone."""

    async def close(self) -> None: ...


class EnvironmentApiFactory(Protocol):
    """Opens the listener of an environment."""

    async def __call__(self, environment: Environment) -> EnvironmentApi: ...


class LogSink(Protocol):
    """Who listens to the log of a function: platform lines and what the processes write."""

    def platform_line(self, environment: Environment, text: str) -> None:
        """One or more whole lines of the platform."""

    def function_output(self, environment: Environment, name: str, data: bytes) -> None:
        """Log events of the process `name`, newlines as they were written."""

    def warning(self, environment: Environment, text: str) -> None:
        """Something the user should know about the function."""
