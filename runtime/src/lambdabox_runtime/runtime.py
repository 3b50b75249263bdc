"""The loop: initialise once, then next, handler, response, for as long as the environment lives."""

from __future__ import annotations

import sys

from .context import DefaultContextFactory
from .environment import DefaultEnvironment
from .errors import ConfigurationError, RuntimeApiError, RuntimeFaultError
from .runtime_api import DefaultRuntimeApi, check_version
from .serializer import JsonSerializer, TextSerializer
from .transport import HttpTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Generic, NoReturn, Optional, TypeVar

    from .invocation import Invocation
    from .parts import ContextFactory, Environment, ErrorReporter, RuntimeApi, Serializer, Transport

    EventT = TypeVar("EventT")
    OutputT = TypeVar("OutputT")

    class _Typed(Generic[EventT, OutputT]):
        """A runtime is generic in what its handler takes and returns."""
else:

    class _Typed:
        """The same without importing `typing`."""

        def __class_getitem__(cls, _parameters: object) -> type:
            return cls


class Runtime(_Typed["EventT", "OutputT"]):
    """Runs a handler for every invocation of this execution environment.

    `initialize` is called once and returns the handler, a callable of the event and the context. When it raises, the failure is
    reported as an init error and the process ends. Each part has a default; pass your own to replace it. Without a
    serializer the handler gets the event as text and decodes it itself.
    """

    def __init__(
        self,
        initialize: Callable[[], Callable[[EventT, Any], OutputT]],
        api_version: str = "2018-06-01",
        *,
        environment: Optional[Environment] = None,
        transport: Optional[Transport] = None,
        runtime_api: Optional[RuntimeApi] = None,
        context_factory: Optional[ContextFactory] = None,
        serializer: Optional[Serializer] = None,
        error_reporter: Optional[ErrorReporter] = None,
    ) -> None:
        check_version(api_version)
        self._initialize = initialize
        self._environment: Environment = environment if environment is not None else DefaultEnvironment()
        if runtime_api is None:
            if transport is None:
                address = self._environment.runtime_api
                if not address:
                    raise ConfigurationError(
                        "AWS_LAMBDA_RUNTIME_API is not set: a runtime is started by Lambda or by a local Runtime API"
                    )
                transport = HttpTransport(address)
            runtime_api = DefaultRuntimeApi(transport, api_version)
        self._api: RuntimeApi = runtime_api
        self._contexts: ContextFactory = context_factory or DefaultContextFactory(self._environment)
        self._serializer: Serializer = serializer or TextSerializer()
        self._errors = error_reporter

    def run(self) -> NoReturn:
        """Initialise, then serve invocations until the environment ends.

        Raises:
            TransportError: the Runtime API cannot be reached any more.
            RuntimeApiError: the Runtime API is in a state that only a new environment leaves.
        """
        try:
            handler = self._initialize()
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises is an init error
            self._fail_init(error)
        while True:
            self._invoke(handler, self._api.next())

    def _invoke(self, handler: Callable[[EventT, Any], OutputT], invocation: Invocation) -> None:
        self._environment.set_trace_id(invocation.trace_id)
        serializer = self._serializer
        try:
            context = self._contexts.create(invocation)
            try:
                event = serializer.load(invocation.body, invocation.content_type)
            except Exception as error:
                raise RuntimeFaultError("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from error
            result = handler(event, context)
            try:
                body, content_type = serializer.dump(result)
            except Exception as error:
                raise RuntimeFaultError("Runtime.MarshalError", f"Unable to marshal response: {error}") from error
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises is a function error
            self._report(error, invocation)
            return
        flush_streams()
        try:
            self._api.response(invocation, body, content_type)
        except RuntimeApiError as problem:
            self._refused(problem)

    def _report(self, error: Exception, invocation: Invocation) -> None:
        errors = self._reporter()
        document = errors.describe(error, invocation.request_id)
        errors.log(document)
        flush_streams()
        try:
            self._api.error(
                invocation,
                errors.serialize(document),
                error_type=document.error_type if errors.sends_error_type else None,
                cause=document.xray_cause(),
            )
        except RuntimeApiError as problem:
            self._refused(problem)

    def _fail_init(self, error: Exception) -> NoReturn:
        errors = self._reporter()
        document = errors.describe(error)
        errors.log(document)
        flush_streams()
        try:
            self._api.init_error(errors.serialize(document), document.error_type)
        except RuntimeApiError as problem:
            # 403: another process of this environment was first to report. The exit says the rest.
            errors.note(problem)
        sys.exit(1)

    def _refused(self, problem: RuntimeApiError) -> None:
        if problem.is_fatal:
            raise problem
        if problem.status != 410:  # a late answer: the platform has long moved on, and so do we
            self._reporter().note(problem)

    def _reporter(self) -> ErrorReporter:
        if self._errors is None:
            from .error_reporter import DefaultErrorReporter

            self._errors = DefaultErrorReporter()
        return self._errors


class LambdaHandler(_Typed["EventT", "OutputT"]):
    """A function that can be called as it is and served with `run()`."""

    def __init__(self, function: Callable[[EventT, Any], OutputT], serializer: Optional[Serializer] = None) -> None:
        self.function = function
        self._serializer = serializer
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", "handler")
        self.__wrapped__ = function

    def __call__(self, event: EventT, context: Any) -> OutputT:
        return self.function(event, context)

    def run(self) -> NoReturn:
        """Serve this handler until the environment ends; events are decoded from JSON unless a serializer was given."""
        Runtime(lambda: self.function, serializer=self._serializer or JsonSerializer()).run()


def lambda_handler(function: Callable[[EventT, Any], OutputT]) -> LambdaHandler[EventT, OutputT]:
    """Make a function a runtime of its own: `handler.run()` serves it, with JSON in and out."""
    return LambdaHandler(function)


def flush_streams() -> None:
    """Let everything that was printed out before the answer: the platform reads logs up to then."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - contextlib is not worth its import
            stream.flush()
        except Exception:  # noqa: BLE001, S110 - None, closed, or replaced by user code: not the loop's business
            pass
