"""LocalLambda and LambdaService as the documentation shows them: blocking and asynchronous."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import lambdabox
from lambdabox import InvocationStatus, LambdaService, LocalLambda
from lambdabox.errors import (
    ConfigError,
    RequestTooLargeException,
    ResourceNotFoundException,
    RuntimeNotFoundError,
    TooManyRequestsException,
    UsageError,
)
from lambdabox.model.function import Function
from lambdabox.service import ServiceOptions

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SOURCE = """
import json, os, time
count = 0
def handler(event, context):
    global count
    count += 1
    if event.get("sleep"):
        time.sleep(event["sleep"])
    if event.get("print"):
        print(event["print"])
    if event.get("fail"):
        raise ValueError(event["fail"])
    if event.get("context"):
        client = context.client_context
        return {"name": context.function_name, "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb,
                "A": os.environ.get("A"), "id": context.aws_request_id, "custom": client and client.custom,
                "mine": getattr(context, "mine", None)}
    return {"count": count, "event": event}
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text(SOURCE)
    return tmp_path


@pytest.fixture
def local(code: Path) -> Any:
    def local(**settings: Any) -> LocalLambda:
        return LocalLambda("src/app.handler", code=code, runtime=RUNTIME, python=sys.executable, **settings)

    return local


def test_the_example_of_the_documentation(local):
    with local(timeout=3, memory_size=256, environment={"A": "1"}) as function:
        result = function.invoke({"name": "Ada", "print": "hello"})
        assert result.json() == {"count": 1, "event": {"name": "Ada", "print": "hello"}}
        assert result.payload == b'{"count": 1, "event": {"name": "Ada", "print": "hello"}}'
        assert result.function_error is None
        assert result.status is InvocationStatus.SUCCESS
        assert [line.split()[0] for line in result.logs] == ["START", "hello", "END", "REPORT"]
        assert result.report.memory_size_mb == 256
        assert result.report.init_duration_ms > 0
        assert function.invoke().json() == {"count": 2, "event": {}}


def test_the_context_of_the_handler(local):
    with local(environment={"A": "1"}, function_name="orders", region="eu-west-3", account_id="210987654321") as function:
        result = function.invoke({"context": True}, {"mine": 5, "function_name": "told"}, client_context={"custom": {"k": "v"}})
        seen = result.json()
        assert seen["arn"] == "arn:aws:lambda:eu-west-3:210987654321:function:orders"
        assert seen["id"] == result.request_id
        assert (seen["A"], seen["memory"], seen["custom"], seen["mine"]) == ("1", "128", {"k": "v"}, 5)
        assert function.invoke({"context": True}).json()["name"] == "orders"


def test_what_a_function_does_wrong_is_a_result(local):
    with local(timeout=0.3) as function:
        failed = function.invoke({"fail": "boom"})
        assert (failed.function_error, failed.status, failed.json()["errorMessage"]) == (
            "Unhandled",
            InvocationStatus.ERROR,
            "boom",
        )
        late = function.invoke({"sleep": 60})
        assert (late.status, late.json()["errorType"]) == (InvocationStatus.TIMEOUT, "Sandbox.Timedout")
        assert function.invoke().json()["count"] == 1


def test_the_timeout_of_one_call(local):
    with local(timeout=30) as function:
        assert function.invoke({"sleep": 60}, timeout=0.2).status is InvocationStatus.TIMEOUT


def test_without_reuse_every_call_starts_anew(local):
    with local(reuse=False) as function:
        assert [function.invoke().json()["count"] for _ in range(2)] == [1, 1]


def test_a_layer_is_found(local, tmp_path):
    layer = tmp_path / "layer"
    (layer / "python").mkdir(parents=True)
    (layer / "python" / "shared.py").write_text("value = 'from the layer'\n")
    (tmp_path / "src" / "app.py").write_text("import shared\ndef handler(event, context):\n    return shared.value\n")
    with local(layers=[layer]) as function:
        assert function.invoke().json() == "from the layer"


def test_the_runtime_follows_the_file(code, monkeypatch):
    monkeypatch.chdir(code)
    with LocalLambda("src/app.handler", python=sys.executable) as function:
        assert function.function.runtime.startswith("python3.")
        assert function.function.name == "app"
        assert function.invoke().json()["count"] == 1


def test_an_absolute_handler_names_its_own_folder(code):
    with LocalLambda(str(code / "src" / "app.handler"), runtime=RUNTIME, python=sys.executable) as function:
        assert function.invoke().json()["count"] == 1


def test_a_folder_with_a_bootstrap_is_a_custom_runtime(tmp_path):
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text("#!/bin/sh\necho started\nexit 3\n")
    bootstrap.chmod(0o755)
    with LocalLambda(str(tmp_path)) as function:
        assert function.function.runtime == "provided.al2023"
        result = function.invoke()
        assert result.json()["errorMessage"].endswith("exit status 3")
        assert "started" in result.logs


def test_calls_from_several_threads(local):
    with local() as function:
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(function.invoke({"sleep": 0.1}).json())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [result["count"] for result in results] == [1, 1, 1]


async def test_asynchronous_use(local):
    async with local() as function:
        results = await asyncio.gather(*(function.ainvoke({"sleep": 0.1}) for _ in range(3)))
        assert [result.json()["count"] for result in results] == [1, 1, 1]
        assert (await function.ainvoke()).json()["count"] == 2


async def test_blocking_use_inside_a_running_loop(local):
    """A test with an event loop of its own may use the blocking form: it runs in another thread's loop."""
    with local() as function:
        assert function.invoke().json()["count"] == 1


async def test_used_after_closing_it_says_so(local):
    function = local()
    with function:
        assert function.invoke().json()["count"] == 1
    function.close()
    with pytest.raises(UsageError, match="is closed"):
        function.invoke()
    with pytest.raises(UsageError, match="is closed"):
        await function.ainvoke()


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"timeout": 0}, UsageError, "timeout is 0 s: AWS takes 1 to 900"),
        ({"timeout": 901}, UsageError, "timeout is 901 s: AWS takes 1 to 900"),
        ({"memory_size": 64}, UsageError, "memory_size is 64 MB: AWS takes 128 to 10240"),
        ({"memory_size": 20_000}, UsageError, "memory_size is 20000 MB"),
        ({"runtime": "python9.9"}, ConfigError, "unknown runtime 'python9.9'"),
    ],
)
def test_what_cannot_be_right_is_refused(code, settings, error, text):
    with pytest.raises(error) as caught:
        LocalLambda("src/app.handler", code=code, **{"runtime": RUNTIME, **settings})
    assert text in caught.value.message


def test_a_handler_without_a_file_names_the_next_step(tmp_path):
    with pytest.raises((ConfigError, UsageError), match=r"no runtime for handler 'app\.handler'") as caught:
        LocalLambda("app.handler", code=tmp_path)
    assert caught.value.hint


def test_an_event_that_is_not_json_is_refused(local):
    with local() as function:
        with pytest.raises(UsageError, match="the event is not JSON"):
            function.invoke({"a": object()})
        with pytest.raises(UsageError, match="log_type"):
            function.invoke({}, log_type="All")
        with pytest.raises(RequestTooLargeException):
            function.invoke("x" * 6_291_456)
        assert function.invoke({}, log_type="Tail").log_tail.endswith(b"\n")


def test_an_interpreter_that_is_not_there_is_named(code):
    function = LocalLambda("src/app.handler", code=code, runtime="java21")
    with function, pytest.raises(RuntimeNotFoundError, match="this version of lambdabox does not run java21"):
        function.invoke()


# -- LambdaService ----------------------------------------------------------------------------------------------------


@pytest.fixture
def functions(code: Path) -> list[Function]:
    common: dict[str, Any] = {"handler": "src/app.handler", "runtime": RUNTIME, "code": code}
    return [Function(name="shop-dev-one", key="one", **common), Function(name="two", reserved_concurrency=0, **common)]


OPTIONS: Any = {"python": sys.executable}


async def test_a_service_finds_functions_by_name_and_key(functions):
    async with LambdaService(functions, ServiceOptions(**OPTIONS)) as service:
        for name in ("one", "shop-dev-one", functions[0].arn, functions[0].arn + ":$LATEST"):
            assert (await service.invoke(name, {})).status is InvocationStatus.SUCCESS
        with pytest.raises(ResourceNotFoundException) as caught:
            await service.invoke("three")
        assert caught.value.hint == "functions here: one and two"
        with pytest.raises(TooManyRequestsException):
            await service.invoke("two")
        with pytest.raises(UsageError, match="not served yet"):
            _ = service.endpoint_url


def test_a_blocking_service(functions):
    with LambdaService.blocking(functions, ServiceOptions(**OPTIONS)) as service:
        assert service.invoke("one", {"n": 1}).json()["event"] == {"n": 1}
        assert service.invoke("one", payload=b'{"n": 2}').json()["event"] == {"n": 2}
        assert service.listen() == service.endpoint_url
        assert service.invoke_event("one", {})
        assert service.close(event_patience=5) == []
    with pytest.raises(UsageError, match="closed"):
        service.invoke("one")


async def test_a_service_of_a_project(code):
    (code / "serverless.yml").write_text(
        f"service: shop\nprovider:\n  name: aws\n  runtime: {RUNTIME}\nfunctions:\n  one:\n    handler: src/app.handler\n"
    )
    async with LambdaService.from_project(code / "serverless.yml", options=ServiceOptions(**OPTIONS)) as service:
        result = await service.invoke("one", {"context": True}, log_type="Tail")
        assert (result.json()["name"], result.json()["memory"]) == ("shop-dev-one", "1024")
        assert result.log_tail.decode().splitlines()[-1].startswith("REPORT ")


async def test_a_port_that_is_taken_is_named(functions):
    from lambdabox.errors import AddressInUseError

    async with LambdaService(functions, ServiceOptions(**OPTIONS)) as one, LambdaService(functions) as two:
        port = int((await one.listen()).rpartition(":")[2])
        with pytest.raises(AddressInUseError, match=f"cannot listen on 127.0.0.1:{port}"):
            await two.listen(port=port)
        assert (await two.listen()) != one.endpoint_url


def test_the_public_names():
    for name in ("LocalLambda", "LambdaService", "Function", "Invocation", "InvocationResult", "InvocationStatus"):
        assert getattr(lambdabox, name).__name__ == name
