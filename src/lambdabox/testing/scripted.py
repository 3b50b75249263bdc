"""A runtime and an extension that do what a test tells them, over the real APIs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from lambdabox.errors import RemoteProtocolError, UsageError
from lambdabox.http.client import HttpClient, Response

_RUNTIME = "/2018-06-01/runtime"
_EXTENSION = "/2020-01-01/extension"
_JSON_HEADER = ("Content-Type", "application/json")
_NO_RETRY = (RemoteProtocolError, ConnectionError)


class HasRuntimeApi(Protocol):
    """A Simulator, or whatever else knows its address."""

    @property
    def runtime_api(self) -> str:
        """`host:port`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedInvocation:
    """What a runtime gets from `/next`; header names are in lower case."""

    request_id: str
    payload: bytes
    headers: Mapping[str, str]

    @property
    def deadline_ms(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.headers["lambda-runtime-deadline-ms"])

    @property
    def invoked_function_arn(self) -> str:
        return self.headers["lambda-runtime-invoked-function-arn"]

    @property
    def trace_id(self) -> str | None:
        return self.headers.get("lambda-runtime-trace-id")

    def json(self) -> Any:
        """The event."""
        return json.loads(self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionEvent:
    """What an extension gets from `/event/next`: `type` is INVOKE or SHUTDOWN, `body` the whole event."""

    type: str
    body: Mapping[str, Any]

    @property
    def request_id(self) -> str | None:
        return self.body.get("requestId")

    @property
    def deadline_ms(self) -> int:
        return int(self.body["deadlineMs"])

    @property
    def shutdown_reason(self) -> str | None:
        return self.body.get("shutdownReason")


class _Client:
    """One kept-alive connection to a Runtime API; `async with` closes it and ends what runs in the background."""

    def __init__(self, address: str | HasRuntimeApi) -> None:
        text = address if isinstance(address, str) else address.runtime_api
        host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
        self._http = HttpClient(host.strip("[]"), int(port))
        self._task: asyncio.Task[None] | None = None

    async def request(self, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Response:
        """Any call of the APIs, whatever its answer; `path` begins with the version."""
        return await self._http.request(method, path, tuple(headers), body)

    async def _call(self, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Response:
        response = await self.request(method, path, headers, body)
        if response.status >= 300:
            raise _refusal(response)
        return response

    def _in_background(self, coroutine: Any) -> None:
        assert self._task is None, "it runs already"
        self._task = asyncio.get_running_loop().create_task(coroutine)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End what runs in the background and close the connection, as a process that is killed does. Twice does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, *_NO_RETRY):
                await task
        await self._http.close()


class ScriptedRuntime(_Client):
    """A runtime, call by call, or with a handler in the background.

    `address` is `host:port`, a URL, or the Simulator. Every call raises RemoteProtocolError when it is refused: `status`, `error_type` and
    the message are the answer's. A cancelled call leaves the connection closed.
    """

    async def next(self) -> ScriptedInvocation:
        """GET /runtime/invocation/next: wait for an event."""
        response = await self._call("GET", f"{_RUNTIME}/invocation/next")
        return ScriptedInvocation(
            request_id=response.headers["lambda-runtime-aws-request-id"], payload=response.body, headers=response.headers
        )

    async def respond(self, invocation: ScriptedInvocation | str, value: Any = None) -> None:
        """POST /response: bytes as they are, anything else as JSON."""
        path = f"{_RUNTIME}/invocation/{_id(invocation)}/response"
        await self._call("POST", path, (_JSON_HEADER,), _body(value))

    async def fail(
        self,
        invocation: ScriptedInvocation | str,
        error_type: str,
        message: str,
        stack_trace: Iterable[str] = (),
        *,
        header: str | None = None,
    ) -> None:
        """POST /error; `header` is the Lambda-Runtime-Function-Error-Type."""
        path = f"{_RUNTIME}/invocation/{_id(invocation)}/error"
        await self._call("POST", path, _error_headers(header), _error(error_type, message, stack_trace))

    async def init_error(
        self, error_type: str, message: str, stack_trace: Iterable[str] = (), *, header: str | None = None
    ) -> None:
        """POST /runtime/init/error."""
        path = f"{_RUNTIME}/init/error"
        await self._call("POST", path, _error_headers(header), _error(error_type, message, stack_trace))

    async def serve(self, handler: Callable[[Any], Any]) -> None:
        """Answer every event with what `handler(event)`, plain or async, returns; what it raises is a function error. Never returns."""
        while True:
            invocation = await self.next()
            try:
                value = handler(invocation.json())
                if isinstance(value, Awaitable):
                    value = await value
            except Exception as error:  # noqa: BLE001 - a handler's error is its invocation's
                await self.fail(invocation, type(error).__name__, str(error))
            else:
                await self.respond(invocation, value)

    def start(self, handler: Callable[[Any], Any]) -> Self:
        """`serve` in the background until `close`."""
        self._in_background(self.serve(handler))
        return self


class ScriptedExtension(_Client):
    """An extension, call by call, or in the background. `address` and errors are those of ScriptedRuntime."""

    def __init__(self, address: str | HasRuntimeApi, name: str = "scripted-extension") -> None:
        super().__init__(address)
        self.name = name
        self.identifier: str | None = None
        self.events: list[ExtensionEvent] = []
        """What `next_event` got so far."""

    async def register(self, *events: str, account_id: bool = False) -> Any:
        """POST /extension/register for these events (`INVOKE`, `SHUTDOWN`); returns what the API tells of the function."""
        headers = [("Lambda-Extension-Name", self.name), _JSON_HEADER]
        if account_id:
            headers.append(("Lambda-Extension-Accept-Feature", "accountId"))
        response = await self._call("POST", f"{_EXTENSION}/register", headers, _body({"events": list(events)}))
        self.identifier = response.headers["lambda-extension-identifier"]
        return json.loads(response.body)

    async def next_event(self) -> ExtensionEvent:
        """GET /extension/event/next: wait for an event."""
        response = await self._call("GET", f"{_EXTENSION}/event/next", self._identity())
        body = json.loads(response.body)
        event = ExtensionEvent(type=body["eventType"], body=body)
        self.events.append(event)
        return event

    async def init_error(self, error_type: str, message: str = "") -> None:
        """POST /extension/init/error."""
        await self._give_up("init", error_type, message)

    async def exit_error(self, error_type: str, message: str = "") -> None:
        """POST /extension/exit/error."""
        await self._give_up("exit", error_type, message)

    async def _give_up(self, when: str, error_type: str, message: str) -> None:
        headers = [*self._identity(), ("Lambda-Extension-Function-Error-Type", error_type), _JSON_HEADER]
        await self._call("POST", f"{_EXTENSION}/{when}/error", headers, _error(error_type, message, ()))

    async def subscribe_telemetry(
        self,
        uri: str,
        types: Iterable[str] = ("platform", "function", "extension"),
        *,
        schema_version: str = "2022-12-13",
        buffering: Mapping[str, int] | None = None,
        protocol: str = "HTTP",
    ) -> None:
        """PUT /telemetry: deliver these types to `uri`; `buffering` has maxItems, maxBytes and timeoutMs.

        With `protocol="TCP"` the port of `uri` alone counts: `http://sandbox.localdomain:8123`, `sandbox.localdomain:8123` or `8123`.
        """
        await self._subscribe("/2022-07-01/telemetry", uri, types, schema_version, buffering, protocol)

    async def subscribe_logs(
        self,
        uri: str,
        types: Iterable[str] = ("platform", "function", "extension"),
        *,
        schema_version: str = "2021-03-18",
        buffering: Mapping[str, int] | None = None,
        protocol: str = "HTTP",
    ) -> None:
        """PUT /logs: the same with the Logs API."""
        await self._subscribe("/2020-08-15/logs", uri, types, schema_version, buffering, protocol)

    async def _subscribe(
        self, path: str, uri: str, types: Iterable[str], version: str, buffering: Mapping[str, int] | None, protocol: str
    ) -> None:
        document: dict[str, Any] = {
            "schemaVersion": version,
            "types": list(types),
            "destination": {"protocol": protocol, "URI": uri}
            if protocol != "TCP"
            else {"protocol": protocol, "port": _port(uri)},
        }
        if buffering is not None:
            document["buffering"] = dict(buffering)
        await self._call("PUT", path, [*self._identity(), _JSON_HEADER], _body(document))

    async def serve(self, on_event: Callable[[ExtensionEvent], Any] | None = None) -> None:
        """Take events until SHUTDOWN; `on_event`, plain or async, is called with each."""
        while True:
            event = await self.next_event()
            if on_event is not None:
                value = on_event(event)
                if isinstance(value, Awaitable):
                    await value
            if event.type == "SHUTDOWN":
                # What ends an extension on Lambda is the end of its process: here, of its connection.
                await self._http.close()
                return

    def start(self, on_event: Callable[[ExtensionEvent], Any] | None = None) -> Self:
        """`serve` in the background until SHUTDOWN or `close`; `register` comes first."""
        self._in_background(self.serve(on_event))
        return self

    def _identity(self) -> list[tuple[str, str]]:
        return [] if self.identifier is None else [("Lambda-Extension-Identifier", self.identifier)]


def _id(invocation: ScriptedInvocation | str) -> str:
    return invocation if isinstance(invocation, str) else invocation.request_id


def _body(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _port(uri: str) -> int:
    """The port at the end of an address. Raises UsageError."""
    digits = uri.rstrip("/").rpartition(":")[2]
    if not digits.isdecimal():
        raise UsageError(f"{uri} has no port", hint='give "sandbox.localdomain:8123"')
    return int(digits)


def _error(error_type: str, message: str, stack_trace: Iterable[str]) -> bytes:
    return _body({"errorMessage": message, "errorType": error_type, "stackTrace": list(stack_trace)})


def _error_headers(header: str | None) -> list[tuple[str, str]]:
    return [_JSON_HEADER] if header is None else [_JSON_HEADER, ("Lambda-Runtime-Function-Error-Type", header)]


def _refusal(response: Response) -> RemoteProtocolError:
    try:
        document = json.loads(response.body)
        return RemoteProtocolError(document["errorMessage"], status=response.status, error_type=document["errorType"])
    except (ValueError, KeyError, TypeError):
        text = response.body.decode("utf-8", "replace").strip()
        return RemoteProtocolError(text or f"HTTP {response.status}", status=response.status, error_type="")
