"""The Rust crate `lambda_runtime`, unmodified, as the runtime of the Simulator and of a custom runtime."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from lambdabox import FreezeMode, InvocationStatus, Simulator
from lambdabox.model.function import Function
from lambdabox.service import LambdaService, ServiceOptions

PROGRAM = Path(__file__).parents[2] / ".toolchains" / "clients" / "rust" / "function"
PRELUDE = b'{"statusCode":200,"headers":{"content-type":"application/octet-stream"},"cookies":[]}' + bytes(8)

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="the clients in Rust are not built (make toolchains)")


def deployed(folder: Path, handler: str = "echo", **more: Any) -> Function:
    """A function of a custom runtime whose `bootstrap` is the program."""
    folder.mkdir(exist_ok=True)
    (folder / "bootstrap").symlink_to(PROGRAM)
    return Function(name="shop", handler=handler, runtime="provided.al2023", code=folder, **more)


async def test_a_rust_function_sees_its_context() -> None:
    async with Simulator(function_name="orders", memory_size=256, handler="echo", freeze_mode=FreezeMode.ENABLED) as simulator:
        runtime = await simulator.spawn_process(PROGRAM)
        await simulator.wait_for_frozen()
        before = time.time()
        request_id = await simulator.enqueue_payload(
            {"a": "ü", "b": [1, None]},
            timeout=5,
            client_context={"custom": {"key": "value"}},
            cognito_identity={"cognitoIdentityId": "me", "cognitoIdentityPoolId": "pool"},
            trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            tenant_id="blue",
        )
        state = await simulator.wait_for_invocation_complete(request_id)
        answer = state.json()
        assert int(before * 1000) <= answer.pop("deadline") - 5000 < (before + 5) * 1000
        assert answer == {
            "event": {"a": "ü", "b": [1, None]},
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
        await simulator.wait_for_frozen()
        assert f"line of {request_id}" in runtime.output
        assert f"line of {request_id}\n" in [event.record for event in simulator.get_telemetry_events_by_type("function")]


@pytest.mark.parametrize(
    ("do", "error_type", "message"),
    [
        ("error", "Shop.NotFound", "no such shop"),
        ("boxed", "alloc::boxed::Box<dyn core::error::Error + core::marker::Send + core::marker::Sync>", "boxed, as asked"),
        ("panic", "alloc::boxed::Box<dyn core::any::Any + core::marker::Send>", "Lambda panicked: as asked"),
    ],
)
async def test_a_rust_function_fails_and_goes_on(do: str, error_type: str, message: str) -> None:
    async with Simulator(handler="echo") as simulator:
        await simulator.spawn_process(PROGRAM)
        bad = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"do": do}))
        good = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({}))
        assert bad.status is InvocationStatus.ERROR
        assert bad.error_type is not None
        assert error_type in bad.error_type
        assert message in str(bad.error_message)
        assert good.status is InvocationStatus.SUCCESS
        done = simulator.get_telemetry_events_by_type("platform.runtimeDone")[0].record
        assert done["status"] == "error"
        await simulator.wait_for(lambda: good.is_finished)
        assert simulator.get_telemetry_events_by_type("platform.initStart")[1:] == []  # the very same process


async def test_a_rust_function_that_exits_is_started_again(tmp_path: Path) -> None:
    async with LambdaService([deployed(tmp_path / "code")]) as service:
        bad = await service.invoke("shop", {"do": "exit"})
        good = await service.invoke("shop", {"n": 1})
    assert (bad.function_error, bad.error_type) == ("Unhandled", "Runtime.ExitError")
    assert "exit status 3" in bad.json()["errorMessage"]
    assert good.json()["event"] == {"n": 1}


async def test_a_rust_function_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    async with LambdaService([deployed(tmp_path / "code", timeout=0.5)]) as service:
        late = await service.invoke("shop", {"do": "sleep"})
        good = await service.invoke("shop", {"n": 1})
    assert late.error_type == late.json()["errorType"] == "Sandbox.Timedout"
    assert late.json()["errorMessage"].endswith("Error: Task timed out after 0.50 seconds")
    assert good.json()["event"] == {"n": 1}


async def test_the_nonce_of_an_attempt_comes_back_from_rust() -> None:
    """The crate echoes Lambda-Runtime-Invocation-Id; what it answers is taken every time."""
    async with Simulator(handler="echo") as simulator:
        await simulator.spawn_process(PROGRAM)
        ids = [await simulator.enqueue_payload(n) for n in range(200)]
        states = [await simulator.wait_for_invocation_complete(request_id) for request_id in ids]
        assert [state.json()["event"] for state in states] == list(range(200))


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


async def test_a_rust_stream_arrives_as_it_is_written(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with LambdaService([deployed(tmp_path / "code", "stream", timeout=10)]) as service:
        url = await service.listen()
        chunks, complete = await asyncio.to_thread(streamed, url, {"until": str(gate)}, gate.touch)
        assert b"".join(chunks) == PRELUDE + b"first;last"
        assert len(chunks) > 1
        assert "ErrorCode" not in complete
        whole = await service.invoke("shop", {})
        assert whole.payload == PRELUDE + b"first;last"
        assert whole.content_type == "application/vnd.awslambda.http-integration-response"


async def test_a_rust_stream_may_fail_in_the_middle(tmp_path: Path) -> None:
    """The crate sends its trailers within the body (a fault of its own): the stream ends well, with them as its text."""
    gate = tmp_path / "gate"
    async with LambdaService([deployed(tmp_path / "code", "stream", timeout=10)]) as service:
        url = await service.listen()
        chunks, complete = await asyncio.to_thread(streamed, url, {"do": "fail", "until": str(gate)}, gate.touch)
        head, _, text = b"".join(chunks).partition(b"first;")
        assert (head, "ErrorCode" in complete) == (PRELUDE, False)
        assert text.startswith(b"Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n")
        early = await service.invoke("shop", {"do": "early"})
        assert (early.function_error, early.json()["errorMessage"]) == ("Unhandled", "before the first byte")


async def test_graceful_shutdown_in_rust_gets_sigterm_before_it_ends() -> None:
    async with Simulator(handler="graceful") as simulator:
        runtime = await simulator.spawn_process(PROGRAM)
        await simulator.wait_for(lambda: simulator.is_initialized)
        (helper,) = simulator.registered_extensions
        assert helper.name == "_lambda-rust-runtime-no-op-graceful-shutdown-helper"
        assert list(helper.events) == []
        state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"n": 1}))
        assert state.json()["event"] == {"n": 1}
        await simulator.graceful_shutdown()
        assert runtime.returncode == 0
        assert runtime.output.splitlines()[-4:] == [
            "[runtime] SIGTERM received",
            "[runtime] Graceful shutdown in progress ...",
            "flushed",
            "[runtime] Graceful shutdown completed",
        ]


class Lines:
    """A listener that keeps what processes write."""

    def __init__(self) -> None:
        self.text = ""

    def platform_line(self, environment: Any, text: str) -> None: ...

    def function_output(self, environment: Any, name: str, data: bytes) -> None:
        self.text += data.decode()

    def warning(self, environment: Any, text: str) -> None: ...


async def test_graceful_shutdown_in_rust_gets_its_time_from_the_service(tmp_path: Path) -> None:
    lines = Lines()
    async with LambdaService([deployed(tmp_path / "code", "graceful")], ServiceOptions(sinks=(lines,))) as service:
        assert (await service.invoke("shop", {"n": 1})).json()["event"] == {"n": 1}
        assert "SIGTERM" not in lines.text
    assert "flushed" in lines.text.splitlines()


async def test_rust_hooks_run_around_a_snapshot(tmp_path: Path) -> None:
    async with LambdaService([deployed(tmp_path / "code", "snapstart", snap_start=True)]) as service:
        first = await service.invoke("shop", {"n": 1})
        second = await service.invoke("shop", {"n": 2})
    assert [first.json()["event"], second.json()["event"]] == [{"n": 1}, {"n": 2}]
    words = [line.split(" ")[0] if line[:3].isupper() else line for line in first.logs]
    assert words.index("before the snapshot") < words.index("RESTORE_START") < words.index("after the restore")
    assert words.index("after the restore") < words.index("RESTORE_REPORT") < words.index("START")
    assert "after the restore" not in second.logs


async def test_a_rust_hook_that_fails_is_a_restore_error(tmp_path: Path) -> None:
    function = deployed(tmp_path / "code", "snapstart", snap_start=True, environment={"RESTORE_FAILS": "1"})
    async with LambdaService([function]) as service:
        result = await service.invoke("shop", {"n": 1})
    assert (result.function_error, result.error_type) == ("Unhandled", "Runtime.AfterRestoreError")
    assert result.json()["errorMessage"] == "cannot be restored"
