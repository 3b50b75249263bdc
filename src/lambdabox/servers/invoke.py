"""The Lambda API: Invoke in its three types, InvokeWithResponseStream, and the reading half of the control plane."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from lambdabox.engine.background import EventQueue
from lambdabox.engine.dispatcher import Dispatcher
from lambdabox.engine.ids import new_request_id, new_trace_id
from lambdabox.engine.ticket import Ticket
from lambdabox.errors import (
    InvalidRequestContentException,
    InvalidRuntimeException,
    LambdaboxError,
    RuntimeNotFoundError,
    ServiceError,
    ServiceException,
    UnknownOperationException,
)
from lambdabox.http.exchange import BodyEnd, Exchange
from lambdabox.http.policy import HostPolicy
from lambdabox.http.server import HttpServer, open_server
from lambdabox.model.function import Function
from lambdabox.model.invocation import Invocation, InvocationResult, InvocationType
from lambdabox.protocol import event_stream, invoke_api
from lambdabox.protocol.invoke_api import EMPTY_EVENT, InvokeParameters, Operation, Route
from lambdabox.servers.code_facts import CodeFacts
from lambdabox.servers.json_check import check_json

_JSON = ("Content-Type", "application/json")
_CHUNK = 65_536
RIE_FUNCTION = "function"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeApiOptions:
    """Who may call: `hosts` beyond loopback and the bound address, and the web `origins` that CORS lets in (`*`: all).

    `no_timeout` rests the deadline of every invocation.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    allows_any_host: bool = False
    no_timeout: bool = False


class InvokeApi:
    """The front end that SDKs, the aws CLI and curl talk to."""

    def __init__(self, dispatcher: Dispatcher, events: EventQueue, options: InvokeApiOptions | None = None) -> None:
        self._dispatcher = dispatcher
        self._events = events
        self._options = options or InvokeApiOptions()
        self._server: HttpServer | None = None
        self._routes: dict[tuple[str, str], Route] = {}
        self._facts = CodeFacts()
        self._operations: dict[Operation, Callable[[Exchange, str, bytes, int], None]] = {
            Operation.INVOKE: self._invoke,
            Operation.INVOKE_STREAM: self._invoke_stream,
            Operation.INVOKE_ASYNC: self._invoke_async,
            Operation.LIST_FUNCTIONS: self._list_functions,
            Operation.GET_FUNCTION: self._get_function,
            Operation.GET_FUNCTION_CONFIGURATION: self._get_function_configuration,
            Operation.GET_ACCOUNT_SETTINGS: self._get_account_settings,
        }

    async def listen(self, host: str, port: int) -> None:
        """Raises AddressInUseError."""
        options = self._options
        policy = HostPolicy(allowed_hosts=options.hosts, allow_any=options.allows_any_host, allowed_origins=options.origins)
        self._server = await open_server(self._application, host=host, port=port, policy=policy, render_refusal=_render_refusal)

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.port

    async def close(self, grace: float = 0.0) -> None:
        if self._server is not None:
            await self._server.close(grace=grace)

    # -- one request --------------------------------------------------------------------------------------------------

    def _application(self, exchange: Exchange) -> None:
        key = (exchange.method, exchange.path)
        route = self._routes.get(key)
        if route is None:
            if exchange.method == "OPTIONS" and self._options.origins and "origin" in exchange.headers:
                self._preflight(exchange)
                return
            found = invoke_api.route(exchange.method, exchange.path)
            if isinstance(found, int):
                message = f"{exchange.method} {exchange.path} is no operation that is served here"
                self._refuse(exchange, UnknownOperationException(message))
                return
            route = found
            if len(self._routes) < 10_000:
                self._routes[key] = route
        operation = self._operations[route.operation]
        if exchange.complete:
            operation(exchange, route.function_name, exchange.body, len(exchange.body))
        else:
            name = route.function_name

            def done(end: BodyEnd, body: bytes, size: int) -> None:
                if end is BodyEnd.TRUNCATED:
                    self._refuse(exchange, InvalidRequestContentException("the request body is shorter than declared"))
                else:
                    operation(exchange, name, body, size)

            exchange.collect(invoke_api.payload_limit(route.operation, InvocationType.REQUEST_RESPONSE), done)

    def _preflight(self, exchange: Exchange) -> None:
        wanted = exchange.headers.get("access-control-request-headers", "*")
        exchange.respond(
            200,
            (
                *self._cors(exchange),
                ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
                ("Access-Control-Allow-Headers", wanted),
                ("Access-Control-Max-Age", "172800"),
            ),
        )

    def _cors(self, exchange: Exchange) -> tuple[tuple[str, str], ...]:
        """The headers that let a page of an allowed origin read the answer; the guard has refused every other origin."""
        origin = exchange.headers.get("origin")
        if origin is None or not self._options.origins:
            return ()
        return (
            ("Access-Control-Allow-Origin", origin),
            (
                "Access-Control-Expose-Headers",
                "x-amzn-RequestId,X-Amz-Function-Error,X-Amz-Log-Result,X-Amz-Executed-Version,x-amzn-ErrorType",
            ),
            ("Vary", "Origin"),
        )

    def _respond(self, exchange: Exchange, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if self._options.origins:
            headers = [*headers, *self._cors(exchange)]
        exchange.respond(status, headers, body)

    def _refuse(self, exchange: Exchange, error: LambdaboxError, request_id: str | None = None) -> None:
        if isinstance(error, RuntimeNotFoundError):
            error = InvalidRuntimeException(f"{error.message}; {error.hint}")
        elif not isinstance(error, ServiceError):
            error = ServiceException(error.message)
        status, headers, body = invoke_api.service_error(error, request_id or new_request_id())
        self._respond(exchange, status, headers, body)

    def _find(self, name: str, query: str) -> tuple[Function, str]:
        qualifier = invoke_api.qualifier(query)
        functions = self._dispatcher.functions
        if name == RIE_FUNCTION and len(functions) == 1:
            name = functions[0].name
        return self._dispatcher.find(name, qualifier)

    def _invocation(self, arn: str, body: bytes, asked: InvokeParameters) -> Invocation:
        return Invocation(
            request_id=new_request_id(),
            payload=body or EMPTY_EVENT,
            invoked_function_arn=arn,
            trace_id=asked.trace_id or new_trace_id(),
            client_context=asked.client_context,
            tenant_id=asked.tenant_id,
            timeout=float("inf") if self._options.no_timeout else None,
        )

    # -- invoking -----------------------------------------------------------------------------------------------------

    def _invoke(self, exchange: Exchange, name: str, body: bytes, size: int) -> None:
        try:
            function, arn = self._find(name, exchange.query)
            asked = invoke_api.parse_parameters(exchange.headers)
            invoke_api.check_size(size, Operation.INVOKE, asked.invocation_type)
            if body:
                check_json(body)
            invocation = self._invocation(arn, body, asked)
            if asked.invocation_type is not InvocationType.REQUEST_RESPONSE:
                self._invoke_without_waiting(exchange, function, invocation, asked.invocation_type)
                return
        except LambdaboxError as error:
            self._refuse(exchange, error)
            return
        wants_tail = asked.wants_tail

        def answer(result: InvocationResult) -> None:
            self._respond(exchange, 200, invoke_api.result_headers(result, wants_tail=wants_tail), result.payload)

        ticket = Ticket(
            function,
            invocation,
            on_answer=None if wants_tail else answer,
            on_finish=answer if wants_tail else None,
            on_failure=lambda error: self._refuse(exchange, error, invocation.request_id),
            wants_logs=wants_tail,
        )
        try:
            self._dispatcher.submit(ticket)
        except LambdaboxError as error:
            self._refuse(exchange, error, invocation.request_id)

    def _invoke_without_waiting(
        self, exchange: Exchange, function: Function, invocation: Invocation, kind: InvocationType
    ) -> None:
        if kind is InvocationType.EVENT:
            self._events.accept(function, invocation)
        status = 202 if kind is InvocationType.EVENT else 204
        headers = [("x-amzn-RequestId", invocation.request_id)]
        if kind is InvocationType.DRY_RUN:
            headers.append(("X-Amz-Executed-Version", function.version))
        self._respond(exchange, status, headers, b"")

    def _invoke_async(self, exchange: Exchange, name: str, body: bytes, size: int) -> None:
        try:
            function, arn = self._find(name, "")
            invoke_api.check_size(size, Operation.INVOKE_ASYNC, InvocationType.EVENT)
            if body:
                check_json(body)
            invocation = self._invocation(arn, body, InvokeParameters(invocation_type=InvocationType.EVENT))
        except LambdaboxError as error:
            self._refuse(exchange, error)
            return
        self._events.accept(function, invocation)
        self._respond(exchange, 202, [("x-amzn-RequestId", invocation.request_id), _JSON], b"")

    def _invoke_stream(self, exchange: Exchange, name: str, body: bytes, size: int) -> None:
        try:
            function, arn = self._find(name, exchange.query)
            asked = invoke_api.parse_parameters(exchange.headers, is_stream=True)
            invoke_api.check_size(size, Operation.INVOKE_STREAM, asked.invocation_type)
            if body:
                check_json(body)
            invocation = self._invocation(arn, body, asked)
            if asked.invocation_type is InvocationType.DRY_RUN:
                self._invoke_without_waiting(exchange, function, invocation, asked.invocation_type)
                return
            answer = _StreamedAnswer(self, exchange, function, invocation, wants_tail=asked.wants_tail)
            self._dispatcher.submit(
                Ticket(
                    function,
                    invocation,
                    on_answer=answer.answered,
                    on_finish=answer.finished if asked.wants_tail else None,
                    on_failure=lambda error: self._refuse(exchange, error, invocation.request_id),
                    stream=answer,
                    wants_logs=asked.wants_tail,
                )
            )
        except LambdaboxError as error:
            self._refuse(exchange, error)

    def cors(self, exchange: Exchange) -> tuple[tuple[str, str], ...]:
        """What CORS adds to an answer."""
        return self._cors(exchange)

    # -- reading the control plane ------------------------------------------------------------------------------------

    def _list_functions(self, exchange: Exchange, _name: str, _body: bytes, _size: int) -> None:
        query = parse_qs(exchange.query)
        functions = sorted(self._dispatcher.functions, key=lambda f: f.name)
        start = 0
        marker = query.get("Marker", [""])[0]
        if marker:
            start = next((i for i, f in enumerate(functions) if f.name == marker), len(functions))
        size = query.get("MaxItems", ["50"])[0]
        count = min(max(int(size), 1), 50) if size.isdigit() else 50
        document: dict[str, object] = {"Functions": [self._configuration(f) for f in functions[start : start + count]]}
        if start + count < len(functions):
            document["NextMarker"] = functions[start + count].name
        self._json(exchange, document)

    def _get_function(self, exchange: Exchange, name: str, _body: bytes, _size: int) -> None:
        try:
            function, _ = self._find(name, exchange.query)
        except LambdaboxError as error:
            self._refuse(exchange, error)
            return
        document: dict[str, object] = {
            "Configuration": self._configuration(function),
            "Code": {"RepositoryType": "S3", "Location": function.code.absolute().as_uri()},
        }
        if function.reserved_concurrency is not None:
            document["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved_concurrency}
        self._json(exchange, document)

    def _get_function_configuration(self, exchange: Exchange, name: str, _body: bytes, _size: int) -> None:
        try:
            function, _ = self._find(name, exchange.query)
        except LambdaboxError as error:
            self._refuse(exchange, error)
            return
        self._json(exchange, self._configuration(function))

    def _get_account_settings(self, exchange: Exchange, _name: str, _body: bytes, _size: int) -> None:
        reserved = sum(f.reserved_concurrency or 0 for f in self._dispatcher.functions)
        limit = self._dispatcher.context.options.concurrency_max
        document = {
            "AccountLimit": {
                "TotalCodeSize": 80_530_636_800,
                "CodeSizeUnzipped": 262_144_000,
                "CodeSizeZipped": 52_428_800,
                "ConcurrentExecutions": limit,
                "UnreservedConcurrentExecutions": max(limit - reserved, 0),
            },
            "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": len(self._dispatcher.functions)},
        }
        self._json(exchange, document)

    def _configuration(self, function: Function) -> dict[str, object]:
        size, digest, modified = self._facts.of(function.code)
        return invoke_api.function_configuration(function, code_size=size, code_sha256=digest, last_modified=modified)

    def _json(self, exchange: Exchange, document: object) -> None:
        headers = [_JSON, ("x-amzn-RequestId", new_request_id())]
        self._respond(exchange, 200, headers, json.dumps(document, separators=(",", ":")).encode())


class _StreamedAnswer:
    """The answer of InvokeWithResponseStream: chunks as they come, then how it went."""

    def __init__(
        self, api: InvokeApi, exchange: Exchange, function: Function, invocation: Invocation, *, wants_tail: bool
    ) -> None:
        self.on_writable: Callable[[], None] | None = None
        self._api = api
        self._exchange = exchange
        self._function = function
        self._invocation = invocation
        self._wants_tail = wants_tail
        self._has_begun = False
        exchange.on_writable = self._writable

    def _writable(self) -> None:
        if self.on_writable is not None:
            self.on_writable()

    def begin(self, content_type: str) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        self._exchange.start(
            200,
            (
                ("Content-Type", event_stream.CONTENT_TYPE),
                ("x-amzn-RequestId", self._invocation.request_id),
                ("X-Amz-Executed-Version", self._function.version),
                ("X-Amzn-Remapped-Content-Type", content_type),
                *self._api.cors(self._exchange),
            ),
        )

    def write(self, data: bytes) -> bool:
        if self._exchange.is_closed:
            return True  # nobody listens any more: the runtime may go on
        return self._exchange.write(event_stream.payload_chunk(data))

    def answered(self, result: InvocationResult) -> None:
        """The function has answered; a buffered result is sent in chunks, an error in the end message."""
        self.begin(result.content_type)
        if result.function_error is None:
            for start in range(0, len(result.payload), _CHUNK):
                self.write(result.payload[start : start + _CHUNK])
        if not self._wants_tail:
            self._end(result)

    def finished(self, result: InvocationResult) -> None:
        """The invocation is over and its log is in."""
        self._end(result)

    def _end(self, result: InvocationResult) -> None:
        code = details = None
        if result.function_error is not None:
            details = result.payload.decode("utf-8", "replace")
            code = _error_type(result)
        tail = invoke_api.tail(result) if self._wants_tail else None
        if self._exchange.is_closed:
            return
        self._exchange.write(event_stream.invoke_complete(error_code=code, error_details=details, log_result=tail))
        self._exchange.end()


def _error_type(result: InvocationResult) -> str:
    """What the function called its error, or the platform's word."""
    try:
        document = result.json()
    except ValueError:
        document = None
    if isinstance(document, dict) and isinstance(document.get("errorType"), str):
        return str(document["errorType"])
    return result.error_type or "Unhandled"


def _render_refusal(status: int, message: str) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """What the listener itself refuses, in the form of the API's errors."""
    name = {403: "AccessDeniedException", 413: "RequestTooLargeException"}.get(status, "InvalidRequestException")
    kind = "User"
    if status >= 500:
        name, kind = "ServiceException", "Service"
    body = json.dumps({"Type": kind, "Message": message}, separators=(",", ":")).encode()
    return (_JSON, ("x-amzn-ErrorType", name)), body
