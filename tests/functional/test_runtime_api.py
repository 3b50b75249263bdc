"""The Runtime API against a runtime that the test itself plays, byte by byte (contract 1.14)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from lambdabox.service import make_invocation

BASE = "/2018-06-01/runtime"
LIMIT = 6_291_556
OK = b'{"status":"OK"}\n'


class Connection:
    """One HTTP connection, with nothing between the test and the wire."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> None:
        lines = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v is not None) + "\r\n"
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int((await self.reader.readuntil(b"\r\n")).split()[1])
        headers: dict[str, str] = {}
        while line := (await self.reader.readuntil(b"\r\n")).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def call(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> tuple[int, dict[str, str], bytes]:
        await self.send(method, path, body, **headers)
        return await self.answer()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Runtime:
    """The test as a runtime: a process that only sleeps stands for it."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.function = call.service.functions[0]
        self.connections: list[Connection] = []

    def invoke(self, event: Any = None, **more: Any) -> asyncio.Future[Any]:
        invocation = make_invocation(self.function.arn, event, client_context=more.pop("client_context", None))
        running: asyncio.Future[Any] = asyncio.ensure_future(self.call.service.run(self.function, replace(invocation, **more)))
        return running

    async def connect(self) -> Connection:
        while not self.call.pool.environments or not (address := next(iter(self.call.pool.environments)).runtime_api):
            await asyncio.sleep(0.001)
        host, _, port = address.partition(":")
        connection = Connection(*await asyncio.open_connection(host, int(port)))
        self.connections.append(connection)
        return connection

    async def begin(self, **more: Any) -> tuple[Connection, asyncio.Future[Any], str]:
        """An invocation that the runtime has been given: connection, result to come, request id."""
        result = self.invoke({"n": 1}, **more)
        connection = await self.connect()
        status, headers, _ = await connection.call("GET", f"{BASE}/invocation/next")
        assert status == 200
        return connection, result, headers["lambda-runtime-aws-request-id"]


@pytest.fixture
async def runtime(workshop: Any, run: Any) -> AsyncIterator[Runtime]:
    runtime = Runtime(await run(workshop.provided("#!/bin/sh\nexec sleep 600\n", timeout=20)))
    yield runtime
    for connection in runtime.connections:
        await connection.close()


def refusal(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str, str]:
    status, headers, body = answer
    assert headers["content-type"] == "application/json"
    document = json.loads(body)
    return status, document["errorType"], document["errorMessage"]


WRONG_ID = (400, "InvalidRequestID", "Invalid request ID")


def not_allowed(current: str, wanted: str) -> tuple[int, str, str]:
    message = f"State transition from {current} to {wanted} failed for runtime. Error: State transition is not allowed"
    return 403, "InvalidStateTransition", message


async def test_an_event_goes_out_and_an_answer_comes_back(runtime):
    result = runtime.invoke({"n": "\u00fc"})
    connection = await runtime.connect()
    status, headers, body = await connection.call("GET", f"{BASE}/invocation/next")
    assert (status, body) == (200, '{"n":"ü"}'.encode())
    request_id = headers["lambda-runtime-aws-request-id"]
    assert headers["lambda-runtime-invoked-function-arn"] == runtime.function.arn
    assert int(headers["lambda-runtime-deadline-ms"]) > 1_600_000_000_000
    assert headers["content-type"] == "application/json"
    status, headers, body = await connection.call("POST", f"{BASE}/invocation/{request_id}/response", b"not json at all")
    assert (status, headers["content-type"], body) == (202, "application/json", OK)
    await connection.send("GET", f"{BASE}/invocation/next")
    assert (await result).payload == b"not json at all"
    assert (await result).request_id == request_id


async def test_optional_headers_are_absent_when_there_is_nothing_to_say(runtime):
    result = runtime.invoke({}, trace_id=None)
    connection = await runtime.connect()
    _, headers, _ = await connection.call("GET", f"{BASE}/invocation/next")
    assert sorted(name for name in headers if name.startswith("lambda")) == [
        "lambda-runtime-aws-request-id",
        "lambda-runtime-deadline-ms",
        "lambda-runtime-invoked-function-arn",
    ]
    await connection.call("POST", f"{BASE}/invocation/{headers['lambda-runtime-aws-request-id']}/response", b"1")
    await connection.send("GET", f"{BASE}/invocation/next")
    await result


async def test_optional_headers_carry_what_the_caller_gave(runtime):
    context = {"custom": {"a": "b"}, "client": {"installation_id": "x"}}
    result = runtime.invoke(
        {}, client_context=context, trace_id="Root=1-0-0;Sampled=0", tenant_id="t 1", cognito_identity='{"cognitoIdentityId":"i"}'
    )
    connection = await runtime.connect()
    _, headers, _ = await connection.call("GET", f"{BASE}/invocation/next")
    assert json.loads(headers["lambda-runtime-client-context"]) == context
    assert headers["lambda-runtime-trace-id"] == "Root=1-0-0;Sampled=0"
    assert headers["lambda-runtime-aws-tenant-id"] == "t 1"
    assert headers["lambda-runtime-cognito-identity"] == '{"cognitoIdentityId":"i"}'
    await connection.call("POST", f"{BASE}/invocation/{headers['lambda-runtime-aws-request-id']}/response", b"1")
    await connection.send("GET", f"{BASE}/invocation/next")
    await result


@pytest.mark.parametrize("kind", ["response", "error"])
async def test_a_wrong_id_is_refused_and_the_right_one_still_works(runtime, kind):
    connection, result, request_id = await runtime.begin()
    for wrong in ("00000000-0000-4000-8000-000000000000", "nonsense", request_id[:-1]):
        assert refusal(await connection.call("POST", f"{BASE}/invocation/{wrong}/{kind}", b"{}")) == WRONG_ID
    assert (await connection.call("POST", f"{BASE}/invocation/{request_id}/response", b"2"))[0] == 202
    await connection.send("GET", f"{BASE}/invocation/next")
    assert (await result).json() == 2


@pytest.mark.parametrize("first", ["response", "error"])
@pytest.mark.parametrize(("second", "state"), [("response", "InvocationResponse"), ("error", "InvocationErrorResponse")])
async def test_a_second_answer_is_refused(runtime, first, second, state):
    connection, result, request_id = await runtime.begin()
    assert (await connection.call("POST", f"{BASE}/invocation/{request_id}/{first}", b'{"n":1}'))[0] == 202
    again = await connection.call("POST", f"{BASE}/invocation/{request_id}/{second}", b'{"n":2}')
    assert refusal(again) == not_allowed("RuntimeResponseSentState", state)
    await connection.send("GET", f"{BASE}/invocation/next")
    assert (await result).json() == {"n": 1}
    other = await runtime.connect()
    assert refusal(await other.call("POST", f"{BASE}/invocation/{request_id}/response", b"3")) == WRONG_ID


async def test_an_init_error_after_the_first_poll_is_refused(runtime):
    connection, result, request_id = await runtime.begin()
    assert refusal(await connection.call("POST", f"{BASE}/init/error", b"{}")) == not_allowed("Running", "InitError")
    await connection.call("POST", f"{BASE}/invocation/{request_id}/response", b"1")
    await connection.send("GET", f"{BASE}/invocation/next")
    await result
    other = await runtime.connect()
    assert refusal(await other.call("POST", f"{BASE}/init/error", b"{}")) == not_allowed("Ready", "InitError")


async def test_an_answer_before_the_first_poll_is_refused(runtime):
    result = runtime.invoke({})
    connection = await runtime.connect()
    assert refusal(await connection.call("POST", f"{BASE}/invocation/x/response", b"1")) == WRONG_ID
    _, headers, _ = await connection.call("GET", f"{BASE}/invocation/next")
    await connection.call("POST", f"{BASE}/invocation/{headers['lambda-runtime-aws-request-id']}/response", b"1")
    await connection.send("GET", f"{BASE}/invocation/next")
    assert (await result).json() == 1


async def test_an_init_error_is_kept_for_the_caller(runtime):
    result = runtime.invoke({})
    for _ in range(2):  # Init, and Init inside the invocation
        connection = await runtime.connect()
        body = b'{"errorMessage":"no","errorType":"Mine"}'
        while True:
            try:
                answer = await connection.call(
                    "POST", f"{BASE}/init/error", body, Lambda_Runtime_Function_Error_Type="Runtime.Mine"
                )
                break
            except (OSError, asyncio.IncompleteReadError):
                connection = await runtime.connect()
        if answer[0] == 403:  # asked between two Inits
            continue
        assert answer[::2] == (202, OK)
        assert refusal(await connection.call("POST", f"{BASE}/init/error", b"{}")) == not_allowed("InitError", "InitError")
        assert refusal(await connection.call("GET", f"{BASE}/invocation/next")) == not_allowed("InitError", "Ready")
        await connection.reader.read()  # until the environment is cleared
    assert (await result).payload == body
    assert (await result).error_type == "Runtime.Mine"


async def test_the_largest_response_is_accepted(runtime):
    connection, result, request_id = await runtime.begin()
    status, _, body = await connection.call("POST", f"{BASE}/invocation/{request_id}/response", b"x" * LIMIT)
    assert (status, body) == (202, OK)
    await connection.send("GET", f"{BASE}/invocation/next")
    assert len((await result).payload) == LIMIT
    assert (await result).function_error is None


@pytest.mark.parametrize("chunked", [False, True])
async def test_one_byte_more_is_refused_and_the_runtime_carries_on(runtime, chunked):
    connection, result, request_id = await runtime.begin()
    body = b"x" * (LIMIT + 1)
    if chunked:
        await connection.send(
            "POST", f"{BASE}/invocation/{request_id}/response", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            Content_Length=None, Transfer_Encoding="chunked",
        )  # fmt: skip
        answer = await connection.answer()
    else:
        answer = await connection.call("POST", f"{BASE}/invocation/{request_id}/response", body)
    assert refusal(answer) == (413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({LIMIT} bytes).")
    other = connection if answer[1].get("connection") != "close" else await runtime.connect()
    await other.send("GET", f"{BASE}/invocation/next")
    assert (await result).payload == (
        b'{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size (6291557 bytes)'
        b' exceeded maximum allowed payload size (6291556 bytes)."}'
    )
    assert (await result).function_error == "Unhandled"
    second = runtime.invoke({"n": 2})
    status, headers, event = await other.answer()
    assert (status, event) == (200, b'{"n":2}')
    await other.call("POST", f"{BASE}/invocation/{headers['lambda-runtime-aws-request-id']}/response", b'"after"')
    await other.send("GET", f"{BASE}/invocation/next")
    assert (await second).json() == "after"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_response_that_is_cut_is_a_truncated_response(runtime, chunked):
    connection, result, request_id = await runtime.begin()
    path = f"{BASE}/invocation/{request_id}/response"
    if chunked:
        await connection.send("POST", path, b"5\r\nhello\r\n", Content_Length=None, Transfer_Encoding="chunked")
    else:
        await connection.send("POST", path, b"hello", Content_Length="100")
    connection.writer.write_eof()
    answer = await connection.answer()
    assert refusal(answer) == (400, "TruncatedHTTPRequest", "HTTP request detected as truncated")
    other = await runtime.connect()
    await other.send("GET", f"{BASE}/invocation/next")
    assert (await result).json()["errorType"] == "Runtime.TruncatedResponse"


async def test_a_connection_that_breaks_in_a_response_is_a_truncated_response(runtime):
    connection, result, request_id = await runtime.begin()
    await connection.send(
        "POST", f"{BASE}/invocation/{request_id}/response", b"5\r\nhello\r\n", Content_Length=None, Transfer_Encoding="chunked"
    )
    connection.writer.transport.abort()
    other = await runtime.connect()
    while True:
        await other.send("GET", f"{BASE}/invocation/next")
        reading = asyncio.ensure_future(other.answer())
        done, _ = await asyncio.wait([result, reading], return_when=asyncio.FIRST_COMPLETED)
        if result in done:
            reading.cancel()
            break
        assert refusal(await reading) == not_allowed("InvocationResponse", "Ready")  # the break has not been seen yet
    assert (await result).json()["errorType"] == "Runtime.TruncatedResponse"


@pytest.mark.parametrize("mode", ["buffered", "Streaming", ""])
async def test_another_response_mode_than_streaming_is_refused(runtime, mode):
    connection, result, request_id = await runtime.begin()
    path = f"{BASE}/invocation/{request_id}/response"
    answer = await connection.call("POST", path, b"1", Lambda_Runtime_Function_Response_Mode=mode)
    assert refusal(answer) == (400, "InvalidFunctionResponseMode", "Invalid function response mode")
    await connection.send("GET", f"{BASE}/invocation/next")
    assert (await result).payload == b""
    assert ((await result).function_error, (await result).error_type) == ("Unhandled", "Runtime.InvalidResponseModeHeader")


async def test_a_stream_for_a_buffered_caller_is_collected_with_its_error(runtime):
    connection, result, request_id = await runtime.begin()
    document = b'{"errorMessage":"in the middle","errorType":"Mine"}'
    trailers = f"Lambda-Runtime-Function-Error-Type: Runtime.Mine\r\nLambda-Runtime-Function-Error-Body: {base64.b64encode(document).decode()}\r\n"
    await connection.send(
        "POST", f"{BASE}/invocation/{request_id}/response", b"5\r\nhello\r\n0\r\n" + trailers.encode() + b"\r\n",
        Content_Length=None, Transfer_Encoding="chunked", Lambda_Runtime_Function_Response_Mode="streaming",
        Trailer="Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
    )  # fmt: skip
    assert (await connection.answer())[0] == 202
    other = await runtime.connect()
    await other.send("GET", f"{BASE}/invocation/next")
    assert (await result).payload == document
    assert ((await result).function_error, (await result).error_type) == ("Unhandled", "Runtime.Mine")


async def test_a_poll_while_running_gives_the_same_event_again(runtime):
    connection, result, request_id = await runtime.begin()
    _, headers, body = await connection.call("GET", f"{BASE}/invocation/next")
    assert (headers["lambda-runtime-aws-request-id"], body) == (request_id, b'{"n":1}')
    await connection.call("POST", f"{BASE}/invocation/{request_id}/response", b"1")
    await connection.send("GET", f"{BASE}/invocation/next")
    await result


async def test_an_event_goes_to_the_poll_that_is_alive(runtime):
    connection, result, request_id = await runtime.begin()
    await connection.call("POST", f"{BASE}/invocation/{request_id}/response", b"1")
    await connection.send("GET", f"{BASE}/invocation/next")
    await result
    connection.writer.transport.abort()
    other = await runtime.connect()
    await other.send("GET", f"{BASE}/invocation/next")
    while not next(iter(runtime.call.pool.environments)).machine._parked:
        await asyncio.sleep(0.001)
    second = runtime.invoke({"n": 2})
    _, headers, body = await asyncio.wait_for(other.answer(), 5)
    assert body == b'{"n":2}'
    await other.call("POST", f"{BASE}/invocation/{headers['lambda-runtime-aws-request-id']}/response", b"2")
    await other.send("GET", f"{BASE}/invocation/next")
    assert (await second).json() == 2


async def test_an_error_cause_document_is_stripped(runtime):
    connection, result, request_id = await runtime.begin()
    body = b'{"errorMessage":"m","errorType":"T","errorCause":{"message":"x"}}'
    answer = await connection.call(
        "POST", f"{BASE}/invocation/{request_id}/error", body, Content_Type="application/vnd.aws.lambda.error.cause+json"
    )
    assert answer[0] == 202
    await connection.send("GET", f"{BASE}/invocation/next")
    assert (await result).json() == {"errorMessage": "m", "errorType": "T"}


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("Runtime.Mine", "Runtime.Mine"),
        ("Function.x", "Function.Unknown"),
        ("nonsense", "Runtime.Unknown"),
        (None, "Runtime.Unknown"),
    ],
)
async def test_the_error_type_header_is_the_platforms_error_type(runtime, sent, shown):
    connection, result, request_id = await runtime.begin()
    headers = {} if sent is None else {"Lambda_Runtime_Function_Error_Type": sent}
    await connection.call("POST", f"{BASE}/invocation/{request_id}/error", b'{"errorType":"ValueError"}', **headers)
    await connection.send("GET", f"{BASE}/invocation/next")
    assert (await result).error_type == shown
    assert (await result).json() == {"errorType": "ValueError"}
    assert (await result).logs[-1].endswith(f"\tStatus: error\tError Type: {shown}")


async def test_what_is_no_endpoint_is_404_and_a_wrong_method_is_405(runtime):
    connection, result, request_id = await runtime.begin()
    assert (await connection.call("GET", "/2018-06-01/nothing"))[::2] == (404, b"404 page not found\n")
    assert (await connection.call("GET", f"{BASE}/restore/next"))[0] == 404
    assert (await connection.call("GET", "/2018-06-01/ping"))[::2] == (200, b"pong")
    assert (await connection.call("GET", f"{BASE}/invocation/{request_id}/response"))[0] == 405
    assert (await connection.call("PUT", "/2022-07-01/telemetry", b"{}"))[0] == 403
    assert (await connection.call("GET", "/2022-07-01/telemetry"))[0] == 405
    await connection.call("POST", f"{BASE}/invocation/{request_id}/response", b"1")
    await connection.send("GET", f"{BASE}/invocation/next")
    await result


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:9001"},
        {"Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
async def test_a_web_page_cannot_drive_the_runtime_api(runtime, headers):
    connection, result, request_id = await runtime.begin()
    other = await runtime.connect()
    answer = await other.call("POST", f"{BASE}/invocation/{request_id}/response", b'"stolen"', **headers)
    assert answer[0] == 403
    assert (await connection.call("POST", f"{BASE}/invocation/{request_id}/response", b'"mine"'))[0] == 202
    await connection.send("GET", f"{BASE}/invocation/next")
    assert (await result).json() == "mine"
