"""LambdaService: the functions of a project, ready to be invoked from Python, and over the Lambda API."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lambdabox.engine.background import EventQueue
from lambdabox.engine.clock import SystemClock
from lambdabox.engine.dispatcher import Dispatcher
from lambdabox.engine.ids import new_request_id, new_trace_id
from lambdabox.engine.pool import EngineContext, EngineOptions
from lambdabox.engine.ports import LogSink
from lambdabox.engine.provision import Machine
from lambdabox.engine.ticket import Ticket
from lambdabox.errors import LambdaboxError, RequestTooLargeException, UsageError
from lambdabox.model.function import Function
from lambdabox.model.invocation import Invocation, InvocationResult
from lambdabox.model.limits import REQUEST_MAX_BYTES
from lambdabox.sandbox.base import SandboxBackend
from lambdabox.servers.runtime import open_runtime_api

if TYPE_CHECKING:
    from lambdabox.blocking import BlockingLambdaService
    from lambdabox.servers.invoke import InvokeApi, InvokeApiOptions


@dataclass(slots=True, kw_only=True)
class ServiceOptions:
    """How a service runs its functions. Times in seconds.

    `reuse=False` gives every invocation an environment of its own. `python` names the interpreter of Python functions.
    `environ` stands for the host's variables (default: this process's). `sinks` listen to the logs; `on_warning` is told
    what the user should know. `invocation_id` sends runtimes a Lambda-Runtime-Invocation-Id, which their answers bring back.

    Parity: AWS always sends a Lambda-Runtime-Invocation-Id; here it is an option, because it costs a quarter of a warm invocation.
    """

    max_concurrency: int = 32
    idle_timeout: float = 600.0
    freeze: bool = False
    enforce_memory: bool = False
    reuse: bool = True
    python: str | None = None
    credentials: bool = True
    environ: Mapping[str, str] | None = None
    sinks: tuple[LogSink, ...] = ()
    on_warning: Any = None
    share_ports: bool = True
    init_timeout: float | None = None
    invocation_id: bool = False
    backend: SandboxBackend | None = None


class LambdaService:
    """The functions of a project on this machine, asynchronous; use it as `async with`.

    `invoke` runs a function and returns its InvocationResult: what a function does wrong is a result, not an exception.
    `listen` opens the Lambda API for SDKs; `endpoint_url` is its address then. `blocking` gives the same without `await`.
    """

    def __init__(self, functions: Iterable[Function], options: ServiceOptions | None = None) -> None:
        self.functions = tuple(functions)
        self.options = options or ServiceOptions()
        self._dispatcher: Dispatcher | None = None
        self._events: EventQueue | None = None
        self._backend: SandboxBackend | None = self.options.backend
        self._api: InvokeApi | None = None
        self._endpoint: str | None = None
        self._extra: dict[str, str] = {}

    @classmethod
    def from_project(
        cls,
        path: str | Path = ".",
        *,
        stage: str | None = None,
        region: str | None = None,
        options: ServiceOptions | None = None,
    ) -> LambdaService:
        """The functions of a project file, or of the project file in a folder. Raises ConfigError."""
        from lambdabox.config.project import load_project

        path = Path(path)
        folder, config = (path, None) if path.is_dir() else (path.parent, path)
        environ = (options.environ if options is not None else None) or os.environ
        project = load_project(folder, config=config, stage=stage, region=region, environ=environ)
        return cls(project.functions, options)

    @classmethod
    def blocking(cls, functions: Iterable[Function], options: ServiceOptions | None = None) -> BlockingLambdaService:
        """The same service for code without an event loop; use it as `with`."""
        from lambdabox.blocking import BlockingLambdaService

        return BlockingLambdaService(cls(functions, options))

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make the service ready; nothing runs yet."""
        if self._dispatcher is not None:
            return
        options = self.options
        if self._backend is None:
            from lambdabox.sandbox.process import ProcessBackend  # the Simulator does without, also where there is no POSIX

            self._backend = ProcessBackend()
        environ = os.environ if options.environ is None else options.environ
        machine = Machine(environ=environ, interpreter=options.python, passes_credentials=options.credentials, extra=self._extra)
        context = EngineContext(
            clock=SystemClock(),
            backend=self._backend,
            api=open_runtime_api,
            machine=machine,
            options=EngineOptions(
                concurrency_max=options.max_concurrency,
                idle_timeout=options.idle_timeout,
                freezes=options.freeze,
                enforces_memory=options.enforce_memory,
                shares_ports=options.share_ports,
                init_timeout=options.init_timeout,
                sends_invocation_id=options.invocation_id,
            ),
            sinks=options.sinks,
            on_warning=options.on_warning,
        )
        self._dispatcher = Dispatcher(self.functions, context)
        self._events = EventQueue(self._dispatcher, options.on_warning)

    async def close(self, *, event_patience: float = 0.0) -> list[tuple[str, str]]:
        """Run every environment's Shutdown phase and leave no process behind.

        Event invocations get `event_patience` seconds to finish; function key and request id of those that did not are returned.
        """
        unfinished: list[tuple[str, str]] = []
        if self._api is not None:
            await self._api.close()
            self._api = None
        if self._events is not None:
            unfinished = await self._events.drain(event_patience)
        if self._dispatcher is not None:
            await self._dispatcher.close()
            self._dispatcher = None
        if self._backend is not None and self.options.backend is None:
            await self._backend.close()
            self._backend = None
        return unfinished

    async def kill(self) -> None:
        """End every process at once, without a Shutdown phase."""
        if self._dispatcher is not None:
            await self._dispatcher.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # -- the Lambda API -----------------------------------------------------------------------------------------------

    async def listen(self, host: str = "127.0.0.1", port: int = 0, options: InvokeApiOptions | None = None) -> str:
        """Serve the Lambda API and return its endpoint URL. Raises AddressInUseError.

        Functions that are started from then on see it as AWS_ENDPOINT_URL_LAMBDA unless they, or the host, set that themselves.
        """
        from lambdabox.servers.invoke import InvokeApi

        await self.start()
        assert self._dispatcher is not None
        assert self._events is not None
        api = InvokeApi(self._dispatcher, self._events, options)
        await api.listen(host, port)
        self._api = api
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
        self._endpoint = f"http://{shown}:{api.port}"
        self._extra["AWS_ENDPOINT_URL_LAMBDA"] = os.environ.get("AWS_ENDPOINT_URL_LAMBDA", self._endpoint)
        return self._endpoint

    @property
    def endpoint_url(self) -> str:
        """Where the Lambda API listens. Raises UsageError before `listen`."""
        if self._endpoint is None:
            raise UsageError("the Lambda API is not served yet", hint="call listen() first")
        return self._endpoint

    # -- invoking -----------------------------------------------------------------------------------------------------

    async def invoke(
        self,
        function: str,
        event: Any = None,
        context: Mapping[str, Any] | None = None,
        *,
        payload: bytes | None = None,
        client_context: Mapping[str, Any] | None = None,
        log_type: str | None = None,
        timeout: float | None = None,
        qualifier: str | None = None,
    ) -> InvocationResult:
        """Run a function and wait until the invocation is over.

        `event` is anything JSON can say (None: `{}`); `payload` gives it as bytes instead. `context` is merged over the
        context the handler gets. `timeout` overrides the function's, in seconds. `log_type="Tail"` is accepted for those who know
        it from the SDKs; the result carries the logs in any case.

        Raises: ResourceNotFoundException, TooManyRequestsException, RequestTooLargeException, RuntimeNotFoundError, SandboxError.
        """
        if log_type not in (None, "None", "Tail"):
            raise UsageError(f"log_type is 'None' or 'Tail', not {log_type!r}")
        await self.start()
        assert self._dispatcher is not None
        found, arn = self._dispatcher.find(function, qualifier)
        invocation = make_invocation(arn, event, context, payload=payload, client_context=client_context, timeout=timeout)
        return await self.run(found, invocation)

    async def run(self, function: Function, invocation: Invocation) -> InvocationResult:
        """Run a prepared invocation and wait until it is over."""
        await self.start()
        assert self._dispatcher is not None
        future: asyncio.Future[InvocationResult] = asyncio.get_running_loop().create_future()

        def finished(result: InvocationResult) -> None:
            result.payload = bytes(result.payload)  # a large one is in a buffer that only the way here needed
            if not future.done():
                future.set_result(result)

        def failed(error: LambdaboxError) -> None:
            if not future.done():
                future.set_exception(error)

        ticket = Ticket(
            function, invocation, on_finish=finished, on_failure=failed, wants_logs=True, is_fresh=not self.options.reuse
        )
        self._dispatcher.submit(ticket)
        return await future

    async def invoke_event(self, function: str, event: Any = None) -> str:
        """Accept an Event invocation and return its request id; it runs in the background."""
        await self.start()
        assert self._dispatcher is not None
        assert self._events is not None
        found, arn = self._dispatcher.find(function)
        invocation = make_invocation(arn, event)
        self._events.accept(found, invocation)
        return invocation.request_id


def make_invocation(
    arn: str,
    event: Any = None,
    context: Mapping[str, Any] | None = None,
    *,
    payload: bytes | None = None,
    client_context: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> Invocation:
    """An invocation from Python values. Raises UsageError when they are not JSON, RequestTooLargeException over 6 MB."""
    if payload is None:
        try:
            payload = b"{}" if event is None else json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"the event is not JSON: {error}", hint="give plain dicts, lists, strings and numbers, or payload=bytes"
            ) from error
    if len(payload) > REQUEST_MAX_BYTES:
        raise RequestTooLargeException(REQUEST_MAX_BYTES)
    return Invocation(
        request_id=new_request_id(),
        payload=payload,
        invoked_function_arn=arn,
        trace_id=new_trace_id(),
        client_context=_header(client_context, "client_context"),
        context=_header(context, "context"),
        timeout=timeout,
    )


def _header(value: Mapping[str, Any] | None, name: str) -> str | None:
    if value is None:
        return None
    from lambdabox.protocol.invoke_api import header_json

    try:
        text = json.dumps(value, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
    return header_json(text, value)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop this machine has."""
    if sys.platform != "win32":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
    return asyncio.new_event_loop()
