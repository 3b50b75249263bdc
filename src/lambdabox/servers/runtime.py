"""The APIs inside an execution environment: Runtime, Extensions, Telemetry and Logs API; one listener an environment."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import cast

from lambdabox.engine.environment import Environment
from lambdabox.engine.ids import new_identifier
from lambdabox.engine.ports import ResponseStream
from lambdabox.errors import RemoteProtocolError
from lambdabox.http.exchange import BodyEnd, Exchange
from lambdabox.http.policy import HostPolicy
from lambdabox.http.server import HttpServer, open_server
from lambdabox.model.invocation import Invocation
from lambdabox.model.limits import RESPONSE_MAX_BYTES
from lambdabox.protocol import events as ev
from lambdabox.protocol import extensions_api, runtime_api
from lambdabox.protocol.events import Call
from lambdabox.protocol.runtime_api import ACCEPTED_BODY, JSON_HEADERS, RuntimeRequest
from lambdabox.servers.telemetry import accept_subscription, subscription_request

ERROR_BODY_MAX_BYTES = RESPONSE_MAX_BYTES
_LOGS_API = "/2020-08-15/"  # not there where several invocations run at once
_MODE = "lambda-runtime-function-response-mode"
_ERROR_TYPE = "lambda-runtime-function-error-type"
_ERROR_BODY = "lambda-runtime-function-error-body"
_INVOCATION_ID = "lambda-runtime-invocation-id"


async def open_runtime_api(environment: Environment, *, host: str = "127.0.0.1", port: int = 0) -> RuntimeApi:
    """Listen for the processes of `environment`. Raises AddressInUseError."""
    api = RuntimeApi(environment)
    await api.listen(host, port)
    return api


class RuntimeApi:
    """One environment's listener: turns requests into events, and the engine's answers into responses."""

    def __init__(self, environment: Environment) -> None:
        self.address = ""
        self._environment = environment
        self._is_snap_start = environment.function.snap_start and not environment.function.is_concurrent
        self._is_concurrent = environment.function.is_concurrent
        self._server: HttpServer | None = None
        self._routes: dict[RuntimeRequest, Callable[[Exchange, str], None]] = {
            RuntimeRequest.NEXT: self._next,
            RuntimeRequest.RESPONSE: self._response,
            RuntimeRequest.ERROR: self._error,
            RuntimeRequest.INIT_ERROR: self._init_error,
            RuntimeRequest.RESTORE_NEXT: self._restore_next,
            RuntimeRequest.RESTORE_ERROR: self._restore_error,
            RuntimeRequest.PING: _ping,
        }

    async def listen(self, host: str, port: int) -> None:
        """Open the listener; `address` is `host:port` from then on."""
        self._server = await open_server(self._application, host=host, port=port, policy=HostPolicy(), render_refusal=_refusal)
        self.address = f"{host}:{self._server.port}"

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close(grace=0)

    def cut_connections(self) -> None:
        """Drop every connection."""
        if self._server is not None:
            self._server.abort_connections()

    # -- requests -----------------------------------------------------------------------------------------------------

    def _application(self, exchange: Exchange) -> None:
        route = runtime_api.route(exchange.method, exchange.path, is_snap_start=self._is_snap_start)
        if not isinstance(route, int):
            self._routes[route.request](exchange, route.request_id)
        elif exchange.path.startswith(extensions_api.BASE):
            self._extension_request(exchange)
        elif not (self._is_concurrent and exchange.path.startswith(_LOGS_API)) and subscription_request(
            self._environment, exchange
        ):
            return
        elif route == 405:
            exchange.respond(405)
        else:
            exchange.respond(404, (("Content-Type", "text/plain; charset=utf-8"),), b"404 page not found\n")

    def _next(self, exchange: Exchange, _request_id: str) -> None:
        if self._is_concurrent and (exchange.body or not exchange.complete):
            self.refuse(exchange, 400, "InvalidRequest", "the request must not have a body")
            return
        exchange.on_disconnect = lambda: self._environment.handle(ev.PollAbandoned(exchange))
        self._environment.runtime_called(ev.RuntimePolledNext(exchange))

    def _response(self, exchange: Exchange, request_id: str) -> None:
        headers = exchange.headers
        mode = headers.get(_MODE)
        content_type = headers.get("content-type", "application/octet-stream")
        if exchange.complete and mode is None and not exchange.trailers and len(exchange.body) <= RESPONSE_MAX_BYTES:
            body = exchange.body
            self._environment.runtime_called(
                ev.RuntimeResponded(
                    exchange,
                    request_id,
                    body,
                    len(body),
                    content_type=content_type,
                    invocation_id=headers.get(_INVOCATION_ID),
                )
            )
        else:
            self._environment.runtime_called(
                ev.ResponseBegan(exchange, request_id, mode, content_type, headers.get(_INVOCATION_ID))
            )

    def collect_response(self, call: Call) -> None:
        exchange = cast("Exchange", call)
        request_id, content_type = _response_facts(exchange)

        def done(end: BodyEnd, body: bytes, size: int) -> None:
            self._responded(exchange, request_id, body, size, content_type, end is BodyEnd.TRUNCATED, exchange.trailers)

        exchange.collect(RESPONSE_MAX_BYTES, done)

    def stream_response(self, call: Call, stream: ResponseStream) -> None:
        exchange = cast("Exchange", call)
        exchange.stream(_StreamedResponse(self, exchange, stream))

    def streamed(self, exchange: Exchange, size: int, end: BodyEnd, trailers: dict[str, str]) -> None:
        """A streamed response has ended."""
        request_id, content_type = _response_facts(exchange)
        self._responded(exchange, request_id, b"", size, content_type, end is BodyEnd.TRUNCATED, trailers)

    def _responded(
        self,
        exchange: Exchange,
        request_id: str,
        body: bytes,
        size: int,
        content_type: str,
        truncated: bool,
        trailers: dict[str, str],
    ) -> None:
        error_type = trailers.get(_ERROR_TYPE)
        error_body = None
        if error_type is not None:
            error_type = runtime_api.platform_error_type(error_type)
            try:
                error_body = base64.b64decode(trailers.get(_ERROR_BODY, ""), validate=True)
            except ValueError:
                error_body = b""
        self._environment.runtime_called(
            ev.RuntimeResponded(
                exchange,
                request_id,
                body,
                size,
                mode=exchange.headers.get(_MODE),
                content_type=content_type,
                truncated=truncated,
                error_type=error_type,
                error_body=error_body,
                invocation_id=exchange.headers.get(_INVOCATION_ID),
            )
        )

    def _error(self, exchange: Exchange, request_id: str) -> None:
        error_type = runtime_api.platform_error_type(exchange.headers.get(_ERROR_TYPE))

        def done(end: BodyEnd, body: bytes, size: int) -> None:
            if end is BodyEnd.TRUNCATED:
                self.refuse(exchange, 400, "TruncatedHTTPRequest", "HTTP request detected as truncated")
                return
            payload, content_type = runtime_api.error_document(body, exchange.headers.get("content-type", ""))
            self._environment.runtime_called(
                ev.RuntimeFailed(
                    exchange, request_id, payload, content_type, error_type, size, exchange.headers.get(_INVOCATION_ID)
                )
            )

        exchange.collect(ERROR_BODY_MAX_BYTES, done)

    def _init_error(self, exchange: Exchange, _request_id: str) -> None:
        self._collect_early_error(exchange, ev.RuntimeInitFailed)

    def _restore_next(self, exchange: Exchange, _request_id: str) -> None:
        exchange.on_disconnect = lambda: self._environment.handle(ev.PollAbandoned(exchange))
        self._environment.runtime_called(ev.RuntimePolledRestore(exchange))

    def _restore_error(self, exchange: Exchange, _request_id: str) -> None:
        self._collect_early_error(exchange, ev.RuntimeRestoreFailed)

    def _collect_early_error(self, exchange: Exchange, event: type[ev.RuntimeInitFailed | ev.RuntimeRestoreFailed]) -> None:
        """An error ahead of the first event."""
        error_type = runtime_api.platform_error_type(exchange.headers.get(_ERROR_TYPE))

        def done(_end: BodyEnd, body: bytes, size: int) -> None:
            payload, _ = runtime_api.error_document(body, exchange.headers.get("content-type", ""))
            content_type = runtime_api.init_error_content_type(payload)
            self._environment.runtime_called(event(exchange, payload, content_type, error_type, size))

        exchange.collect(ERROR_BODY_MAX_BYTES, done)

    # -- extensions ---------------------------------------------------------------------------------------------------

    def _extension_request(self, exchange: Exchange) -> None:
        request = extensions_api.route(exchange.method, exchange.path)
        if isinstance(request, int):
            exchange.respond(request)
            return
        exchange.collect(ERROR_BODY_MAX_BYTES, lambda _end, body, _size: self._extension_call(exchange, request, body))

    def _extension_call(self, exchange: Exchange, request: extensions_api.ExtensionRequest, body: bytes) -> None:
        headers = exchange.headers
        environment = self._environment
        try:
            if request is extensions_api.ExtensionRequest.REGISTER:
                found = extensions_api.parse_registration(headers, body)
                environment.handle(
                    ev.ExtensionRegistered(exchange, found.name, found.events, new_identifier(), found.wants_account_id)
                )
                return
            identifier = extensions_api.parse_identifier(headers)
            if request is extensions_api.ExtensionRequest.NEXT:
                exchange.on_disconnect = lambda: environment.handle(ev.PollAbandoned(exchange))
                environment.drain_logs()
                environment.handle(ev.ExtensionPolledNext(exchange, identifier))
            else:
                in_init = request is extensions_api.ExtensionRequest.INIT_ERROR
                error_type = extensions_api.parse_error_type(headers)
                environment.drain_logs()
                environment.handle(ev.ExtensionFailed(exchange, identifier, in_init, error_type, body))
        except RemoteProtocolError as error:
            self.refuse(exchange, error.status, error.error_type, error.message)

    # -- answers ------------------------------------------------------------------------------------------------------

    def answer_next(self, call: Call, invocation: Invocation, deadline_ms: int, invocation_id: str | None = None) -> None:
        headers = runtime_api.next_headers(invocation, deadline_ms, invocation_id)
        cast("Exchange", call).respond(200, headers, invocation.payload)

    def answer_restore(self, call: Call) -> None:
        cast("Exchange", call).respond(200)

    def answer_extension_invoke(self, call: Call, invocation: Invocation, deadline_ms: int) -> None:
        headers = (*JSON_HEADERS, ("Lambda-Extension-Event-Identifier", new_identifier()))
        cast("Exchange", call).respond(200, headers, extensions_api.invoke_event(invocation, deadline_ms))

    def answer_extension_shutdown(self, call: Call, reason: str, deadline_ms: int) -> None:
        exchange = cast("Exchange", call)
        exchange.watch_peer(lambda: self._environment.handle(ev.PeerLeft(exchange)))
        exchange.respond(200, JSON_HEADERS, extensions_api.shutdown_event(reason, deadline_ms))

    def accept(self, call: Call) -> None:
        # A runtime that has sent its next poll along does not wait for this answer: one write serves both.
        cast("Exchange", call).respond(202, JSON_HEADERS, ACCEPTED_BODY, lazily=True)

    def accept_registration(self, call: Call, identifier: str, *, with_account_id: bool) -> None:
        function = self._environment.function
        body = extensions_api.registration_body(
            function_name=function.name,
            function_version=function.version,
            handler=function.handler,
            account_id=function.account_id if with_account_id else None,
        )
        cast("Exchange", call).respond(200, (*JSON_HEADERS, ("Lambda-Extension-Identifier", identifier)), body)

    def accept_subscription(self, call: Call) -> None:
        accept_subscription(cast("Exchange", call))

    def refuse(self, call: Call, status: int, error_type: str, message: str) -> None:
        cast("Exchange", call).respond(status, JSON_HEADERS, runtime_api.error_body(error_type, message))


class _StreamedResponse:
    """A response body on its way from the runtime to the caller, no faster than the caller reads."""

    def __init__(self, api: RuntimeApi, exchange: Exchange, stream: ResponseStream) -> None:
        self._api = api
        self._exchange = exchange
        self._stream = stream
        self._size = 0
        stream.on_writable = exchange.resume_body

    def body_data(self, data: bytes) -> None:
        self._size += len(data)
        if not self._stream.write(data):
            self._exchange.pause_body()

    def body_end(self, end: BodyEnd, trailers: dict[str, str]) -> None:
        self._stream.on_writable = None
        self._api.streamed(self._exchange, self._size, end, trailers)


def _response_facts(exchange: Exchange) -> tuple[str, str]:
    route = runtime_api.route(exchange.method, exchange.path)
    assert not isinstance(route, int)
    return route.request_id, exchange.headers.get("content-type", "application/octet-stream")


def _ping(exchange: Exchange, _request_id: str) -> None:
    exchange.respond(200, (("Content-Type", "text/plain; charset=utf-8"),), b"pong")


def _refusal(_status: int, message: str) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """What the listener itself refuses, in the form of the Runtime API's errors."""
    return JSON_HEADERS, runtime_api.error_body("InvalidRequest", message)
