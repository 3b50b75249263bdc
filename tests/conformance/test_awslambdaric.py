"""One table for two runtimes: our Python bootstrap, and AWS's own client (awslambdaric) as the bootstrap of a custom runtime."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lambdabox.model.function import Function
from lambdabox.service import LambdaService, ServiceOptions, make_invocation

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SOURCE = """
import decimal, json, logging, os, signal, sys, tempfile, time
count = 0
class Odd(Exception):
    pass
def handler(event, context):
    global count
    count += 1
    if isinstance(event, dict) and "do" in event:
        names = {"event": event, "context": context}
        exec(event["do"], globals(), names)
        return names.get("answer")
    return event
"""
BOOTSTRAP = f"#!/bin/sh\nexec {sys.executable} -m awslambdaric app.handler\n"

RUNTIMES = [
    pytest.param("ours"),
    pytest.param(
        "awslambdaric",
        marks=pytest.mark.skipif(importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric is not installed"),
    ),
]


def packages() -> str:
    """Where awslambdaric is installed."""
    found = importlib.util.find_spec("awslambdaric")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parents[1])


@pytest.fixture(params=RUNTIMES)
async def start(request: Any, tmp_path: Path) -> AsyncIterator[Any]:
    """`call = await start(source)`; then `await call(event)`."""
    async with AsyncExitStack() as stack:

        async def start(source: str = SOURCE, **settings: Any) -> Any:
            (tmp_path / "app.py").write_text(source)
            runtime, environment = RUNTIME, {}
            if request.param == "awslambdaric":
                runtime = "provided.al2023"
                # What a managed runtime's bootstrap knows of its version.
                environment = {"AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}", "PYTHONPATH": packages()}
                (tmp_path / "bootstrap").write_text(BOOTSTRAP)
                (tmp_path / "bootstrap").chmod(0o755)
            settings.setdefault("timeout", 10)
            function = Function(
                name="function", handler="app.handler", runtime=runtime, code=tmp_path, environment=environment, **settings
            )
            service = await stack.enter_async_context(LambdaService([function], ServiceOptions(python=sys.executable)))

            async def call(event: Any = None, **more: Any) -> Any:
                invocation = make_invocation(function.arn, event, client_context=more.pop("client_context", None))
                return await service.run(function, replace(invocation, **more))

            return call

        start.is_ours = request.param == "ours"  # type: ignore[attr-defined]
        yield start


@pytest.mark.parametrize(
    "event", [{"a": [1, 2.5, None, True]}, [], "text", "ünïcode ☃ 𝄞", 0, 12345678901234567890, None, {"nested": {"deep": [{}]}}]
)
async def test_a_result_is_the_event_again(start, event):
    call = await start()
    result = await call(None, payload=json.dumps(event).encode())
    assert (result.function_error, result.json()) == (None, event)


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        ("answer = None", b"null"),
        ("answer = {'a': 1, 'b': [1, 2]}", b'{"a": 1, "b": [1, 2]}'),
        ("answer = decimal.Decimal('1.50')", b"1.50"),
        ("answer = float('inf')", b"Infinity"),
        ("answer = (1, 2)", b"[1, 2]"),
        ("answer = {1: True}", b'{"1": true}'),
        ("answer = ''", b'""'),
        ("answer = b'raw'", b"raw"),
    ],
)
async def test_results_byte_for_byte(start, code, payload):
    call = await start()
    result = await call({"do": code})
    if code == "answer = b'raw'" and result.is_error:
        assert result.json()["errorType"] == "Runtime.MarshalError"
        return
    assert (result.function_error, result.payload) == (None, payload)


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("raise ValueError('boom')", "ValueError", "boom"),
        ("raise Odd('ünï')", "Odd", "ünï"),
        ("raise KeyError('k')", "KeyError", "'k'"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("answer = {1, 2}", "Runtime.MarshalError", "Unable to marshal response: Object of type set is not JSON serializable"),
        ("answer = object", "Runtime.MarshalError", "Unable to marshal response: Object of type type is not JSON serializable"),
    ],
)
async def test_errors_of_a_handler(start, code, error_type, message):
    call = await start()
    result = await call({"do": code})
    assert result.function_error == "Unhandled"
    document = result.json()
    assert (document["errorType"], document["errorMessage"]) == (error_type, message)
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert document["requestId"] == result.request_id
    assert result.report.error_type == "Runtime.Unknown"
    shown = [line for line in result.logs if line.startswith("[ERROR]")]
    assert shown
    assert shown[0].startswith(f"[ERROR] {error_type}: {message}")
    assert (await call(1)).json() == 1


async def test_a_stack_trace_is_the_functions_own(start):
    call = await start("def handler(event, context):\n    return deep(event)\ndef deep(event):\n    raise RuntimeError('here')\n")
    trace = (await call({})).json()["stackTrace"]
    assert [re.findall(r"line (\d+), in (\w+)", frame) for frame in trace] == [[("2", "handler")], [("4", "deep")]]
    assert trace[1].endswith("    raise RuntimeError('here')\n")


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        (
            "import nothing_of_this_name\n",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_of_this_name'",
        ),
        ("def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': "),
        ("x = 1\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
    ],
)
async def test_errors_of_init(start, source, error_type, message):
    call = await start(source)
    result = await call({})
    assert result.function_error == "Unhandled"
    assert result.json()["errorType"] == error_type
    assert result.json()["errorMessage"].startswith(message)
    assert result.report.error_type == error_type
    assert result.logs[-1].endswith(f"\tStatus: error\tError Type: {error_type}")


async def test_the_context(start):
    call = await start(memory_size=256)
    code = """answer = {
        "id": context.aws_request_id, "arn": context.invoked_function_arn, "name": context.function_name, "version": context.function_version,
        "memory": str(context.memory_limit_in_mb), "group": context.log_group_name, "left": context.get_remaining_time_in_millis(),
        "custom": context.client_context.custom, "env": context.client_context.env, "client": context.client_context.client.app_title,
        "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "trace": os.environ.get("_X_AMZN_TRACE_ID")}"""
    client = {"custom": {"a": 1}, "env": {"b": 2}, "client": {"app_title": "app"}}
    identity = '{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}'
    result = await call({"do": code}, client_context=client, cognito_identity=identity, trace_id="Root=1-2-3;Sampled=0")
    seen = result.json()
    assert 9000 < seen.pop("left") <= 10_000
    assert seen == {
        "id": result.request_id, "arn": "arn:aws:lambda:us-east-1:123456789012:function:function", "name": "function", "version": "$LATEST",
        "memory": "256", "group": "/aws/lambda/function", "custom": {"a": 1}, "env": {"b": 2}, "client": "app", "identity": ["i", "p"],
        "trace": "Root=1-2-3;Sampled=0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("sys.exit(4)", "Runtime exited with error: exit status 4"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "Runtime exited with error: signal: killed"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "Runtime exited with error: signal: segmentation fault"),
    ],
)
async def test_crashes(start, code, text):
    call = await start()
    result = await call({"do": code})
    message = f"RequestId: {result.request_id} Error: {text}"
    assert (result.function_error, result.json()) == ("Unhandled", {"errorType": "Runtime.ExitError", "errorMessage": message})
    assert (await call({"do": "answer = count"})).json() == 1


@pytest.mark.slow
async def test_a_timeout(start):
    call = await start(timeout=1.5)
    assert (await call({"do": "open(os.path.join(tempfile.gettempdir(), 'mark'), 'w').close()"})).function_error is None
    late = await call({"do": "time.sleep(60)"}, timeout=0.3)
    message = f"RequestId: {late.request_id} Error: Task timed out after 0.30 seconds"
    assert late.json() == {"errorType": "Sandbox.Timedout", "errorMessage": message}
    after = await call({"do": "answer = [count, os.path.exists(os.path.join(tempfile.gettempdir(), 'mark'))]"})
    assert after.json() == [1, True]


async def test_a_result_that_is_too_large(start):
    call = await start()
    result = await call({"do": "answer = 'x' * 7_000_000"})
    assert (result.function_error, result.json()["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    # Our runtime carries on, as the contract has it; AWS's client gives up its process when it is refused.
    assert (await call({"do": "answer = count"})).json() == (2 if start.is_ours else 1)


async def test_what_is_printed_and_logged(start):
    call = await start()
    await call({})
    code = "print('printed'); print('two\\nlines'); logging.getLogger().warning('warned'); print('to stderr', file=sys.stderr, flush=True)"
    result = await call({"do": code})
    assert result.logs[0].startswith("START ")
    assert {"printed", "two", "lines", "to stderr"} <= set(result.logs)
    (warned,) = [line for line in result.logs if "warned" in line]
    assert re.fullmatch(rf"\[WARNING\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{result.request_id}\twarned", warned)


async def test_state_is_kept_between_invocations(start):
    call = await start()
    assert [(await call({"do": "answer = count"})).json() for _ in range(5)] == [1, 2, 3, 4, 5]
