"""Go's `github.com/aws/aws-lambda-go`, unmodified, as the runtime of the Simulator and of a custom runtime."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from lambdabox import InvocationStatus, Simulator
from lambdabox.model.function import Function
from lambdabox.service import LambdaService, ServiceOptions

PROGRAM = Path(__file__).parents[2] / ".toolchains" / "clients" / "go" / "function"

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="the clients in Go are not built (make toolchains)")


def deployed(folder: Path, handler: str = "echo", **more: Any) -> Function:
    """A function of a custom runtime whose `bootstrap` is the program."""
    folder.mkdir(exist_ok=True)
    (folder / "bootstrap").symlink_to(PROGRAM)
    return Function(name="shop", handler=handler, runtime="provided.al2023", code=folder, **more)


async def test_a_go_function_sees_its_context() -> None:
    async with Simulator(function_name="orders", memory_size=256, handler="echo") as simulator:
        runtime = await simulator.spawn_process(PROGRAM)
        request_id = await simulator.enqueue_payload(
            {"text": "ü"},
            timeout=5,
            client_context={"custom": {"key": "value"}},
            cognito_identity={"cognitoIdentityId": "me", "cognitoIdentityPoolId": "pool"},
            trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            tenant_id="blue",
        )
        state = await simulator.wait_for_invocation_complete(request_id)
        answer = state.json()
        assert state.started_at is not None
        assert 4_500 < answer.pop("deadline") - state.started_at * 1000 < 5_500
        assert answer == {
            "text": "ü",
            "pid": runtime.pid,
            "id": request_id,
            "arn": "arn:aws:lambda:us-east-1:123456789012:function:orders",
            "trace": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            "tenant": "blue",
            "custom": {"key": "value"},
            "identity": "me",
            "name": "orders",
            "memory": 256,
            "stream": simulator.log_stream,
        }
        await simulator.wait_for(lambda: state.is_finished)
        assert f"line of {request_id}\n" in [event.record for event in simulator.get_telemetry_events_by_type("function")]


@pytest.mark.parametrize(
    ("event", "error_type", "message"),
    [({"do": "error"}, "errorString", "as asked"), ({"do": "typed", "text": "x"}, "shopError", "no shop named x")],
)
async def test_a_go_function_fails_and_goes_on(event: Any, error_type: str, message: str) -> None:
    async with Simulator(handler="echo") as simulator:
        runtime = await simulator.spawn_process(PROGRAM)
        bad = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload(event))
        assert (bad.status, bad.error_type, bad.error_message) == (InvocationStatus.ERROR, error_type, message)
        wrong = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"do": 1}))
        assert wrong.error_type == "UnmarshalTypeError"
        good = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"text": "fine"}))
        assert (good.json()["text"], good.json()["pid"]) == ("fine", runtime.pid)


async def test_a_go_function_that_panics_is_started_again(tmp_path: Path) -> None:
    """The module reports the panic with its stack, then ends its process: the caller gets the report."""
    async with LambdaService([deployed(tmp_path / "code")]) as service:
        first = await service.invoke("shop", {})
        bad = await service.invoke("shop", {"do": "panic", "text": "x"})
        good = await service.invoke("shop", {"text": "fine"})
    document = bad.json()
    assert (bad.function_error, document["errorType"], document["errorMessage"]) == (
        "Unhandled",
        "shopError",
        "no shop named x",
    )
    assert any(frame["label"] == "echo" for frame in document["stackTrace"])
    assert good.json()["text"] == "fine"
    assert good.json()["pid"] != first.json()["pid"]


async def test_a_go_function_that_exits_is_started_again(tmp_path: Path) -> None:
    async with LambdaService([deployed(tmp_path / "code")]) as service:
        bad = await service.invoke("shop", {"do": "exit"})
        good = await service.invoke("shop", {"text": "fine"})
    assert (bad.function_error, bad.error_type) == ("Unhandled", "Runtime.ExitError")
    assert "exit status 3" in bad.json()["errorMessage"]
    assert good.json()["text"] == "fine"


async def test_a_go_function_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    async with LambdaService([deployed(tmp_path / "code", timeout=0.5)]) as service:
        late = await service.invoke("shop", {"do": "sleep"})
        good = await service.invoke("shop", {"text": "fine"})
    assert late.error_type == late.json()["errorType"] == "Sandbox.Timedout"
    assert good.json()["text"] == "fine"


def streamed(url: str, payload: dict[str, Any], on_first: Any = None) -> tuple[list[bytes], dict[str, Any]]:
    """The chunks of an answer, and its completion event; `on_first` is called when the first bytes are there."""
    import boto3
    from botocore.config import Config

    with contextlib.closing(
        boto3.client(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="id",
            aws_secret_access_key="secret",
            config=Config(retries={"max_attempts": 0}, read_timeout=20),
        )
    ) as client:
        answer = client.invoke_with_response_stream(FunctionName="shop", Payload=json.dumps(payload))
        chunks: list[bytes] = []
        complete: dict[str, Any] = {}
        for event in answer["EventStream"]:
            if "PayloadChunk" in event:
                chunks.append(event["PayloadChunk"]["Payload"])
                if on_first is not None and b"first;" in b"".join(chunks):
                    on_first()
                    on_first = None
            else:
                complete = event["InvokeComplete"]
        return chunks, complete


async def test_a_go_reader_is_the_response(tmp_path: Path) -> None:
    async with LambdaService([deployed(tmp_path / "code", "stream", timeout=5)]) as service:
        whole = await service.invoke("shop", {"do": "whole", "text": "z" * 300_000})
        assert (whole.payload, whole.content_type) == (b"z" * 300_000, "application/octet-stream")
        pieces = await service.invoke("shop", {"do": "pieces"})
        assert pieces.payload == b"first;last"
        early = await service.invoke("shop", {"do": "early"})
        assert (early.function_error, early.json()["errorType"]) == ("Unhandled", "shopError")


async def test_a_go_reader_arrives_at_a_streaming_caller(tmp_path: Path) -> None:
    """The module sends no response-mode header: its chunked body is a buffered response, by the header's rule."""
    async with LambdaService([deployed(tmp_path / "code", "stream", timeout=5)]) as service:
        url = await service.listen()
        chunks, complete = await asyncio.to_thread(streamed, url, {"do": "pieces"})
        assert b"".join(chunks) == b"first;last"
        assert "ErrorCode" not in complete


async def test_a_go_reader_that_fails_tells_it_in_trailers(tmp_path: Path) -> None:
    """The trailers count also when the whole body is there with the head of the request: both kinds are among many."""
    async with LambdaService([deployed(tmp_path / "code", "stream", timeout=5)]) as service:
        for _ in range(20):
            failed = await service.invoke("shop", {"do": "fail"})
            assert failed.function_error == "Unhandled"
            assert failed.json() == {"errorMessage": "no shop named middle", "errorType": "shopError"}
        url = await service.listen()
        _, complete = await asyncio.to_thread(streamed, url, {"do": "fail"})
        assert complete["ErrorCode"] == "shopError"
        assert (await service.invoke("shop", {"do": "pieces"})).payload == b"first;last"


async def test_go_with_sigterm_enabled_gets_it_before_the_end() -> None:
    async with Simulator(handler="sigterm") as simulator:
        runtime = await simulator.spawn_process(PROGRAM)
        await simulator.wait_for(lambda: simulator.is_initialized)
        (helper,) = simulator.registered_extensions
        assert (helper.name, list(helper.events)) == ("GoLangEnableSIGTERM", [])
        good = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"text": "fine"}))
        assert good.json()["text"] == "fine"
        assert "flushed" not in runtime.output
        await simulator.graceful_shutdown()
        assert "flushed" in runtime.output.splitlines()
        assert not runtime.is_running


class Lines:
    """A listener that keeps what processes write."""

    def __init__(self) -> None:
        self.text = ""

    def platform_line(self, environment: Any, text: str) -> None: ...

    def function_output(self, environment: Any, name: str, data: bytes) -> None:
        self.text += data.decode()

    def warning(self, environment: Any, text: str) -> None: ...


@pytest.mark.parametrize(("handler", "is_told"), [("sigterm", True), ("echo", False)])
async def test_go_is_told_of_its_end_by_the_service_only_with_an_extension(tmp_path: Path, handler: str, is_told: bool) -> None:
    lines = Lines()
    async with LambdaService([deployed(tmp_path / "code", handler)], ServiceOptions(sinks=(lines,))) as service:
        assert (await service.invoke("shop", {"text": "fine"})).json()["text"] == "fine"
    assert ("flushed" in lines.text.splitlines()) is is_told


async def test_go_gets_sigterm_after_a_timeout(tmp_path: Path) -> None:
    lines = Lines()
    function = deployed(tmp_path / "code", "sigterm", timeout=0.5)
    async with LambdaService([function], ServiceOptions(sinks=(lines,))) as service:
        late = await service.invoke("shop", {"do": "sleep"})
        assert late.error_type == "Sandbox.Timedout"
        assert (await service.invoke("shop", {"text": "fine"})).json()["text"] == "fine"
        assert lines.text.count("flushed") == 1
