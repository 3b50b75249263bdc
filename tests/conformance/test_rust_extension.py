"""The Rust crate `lambda-extension`, unmodified: events, the Telemetry API and the Logs API, in the Simulator and beside a function."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from lambdabox import FreezeMode, Simulator
from lambdabox.engine.spawned_process import SpawnedProcess
from lambdabox.model.function import Function
from lambdabox.service import LambdaService

FOLDER = Path(__file__).parents[2] / ".toolchains" / "clients" / "rust"
PROGRAM = FOLDER / "extension"
FUNCTION = FOLDER / "function"

pytestmark = pytest.mark.skipif(
    not (PROGRAM.exists() and FUNCTION.exists()), reason="the clients in Rust are not built (make toolchains)"
)


class Extension:
    """What the extension is started with, and what it has noted down."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "records"
        with socket.socket() as free:
            free.bind(("0.0.0.0", 0))
            port = free.getsockname()[1]
        self.variables = {"RECORDS": str(self._path), "LISTEN": str(port)}

    @property
    def notes(self) -> list[dict[str, Any]]:
        lines = self._path.read_text().split("\n")[:-1] if self._path.exists() else []
        return [json.loads(line) for line in lines]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [note for note in self.notes if note["kind"] == kind]

    def records(self, type: str) -> list[Any]:  # noqa: A002 - AWS's word for it
        return [note["event"]["record"] for note in self.of("telemetry") if note["event"]["type"] == type]


@pytest.fixture
def extension(tmp_path: Path) -> Extension:
    return Extension(tmp_path)


async def start(simulator: Simulator, extension: Extension, **more: str) -> SpawnedProcess:
    """Start the extension, and a function beside it once it has registered."""
    process = await simulator.spawn_process(PROGRAM, role="extension", env={**extension.variables, **more})
    await simulator.wait_for(lambda: simulator.extension_count == 1)
    await simulator.spawn_process(FUNCTION)
    return process


async def finished(simulator: Simulator, payload: Any) -> Any:
    """The state of an invocation that is over for the extension too."""
    state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload(payload))
    await simulator.wait_for(lambda: state.is_finished)
    return state


async def test_a_rust_extension_gets_its_events(extension: Extension) -> None:
    async with Simulator(function_name="orders", handler="echo", timeout=4) as simulator:
        process = await start(simulator, extension)
        (info,) = simulator.registered_extensions
        assert (info.name, sorted(info.events), info.is_external) == ("extension", ["INVOKE", "SHUTDOWN"], True)
        state = await finished(simulator, {"n": 1})
        assert simulator.extension_overhead_ms(state.request_id) is not None
        await simulator.graceful_shutdown("timeout")
        assert process.returncode == 0
    registered, invoke, shutdown = extension.notes
    assert registered == {
        "kind": "registered",
        "function": "orders",
        "version": "$LATEST",
        "handler": "echo",
        "account": "123456789012",
    }
    assert invoke["id"] == state.request_id
    assert invoke["deadline"] == state.json()["deadline"]
    assert invoke["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:orders"
    assert invoke["trace"] == state.json()["trace"]
    assert (shutdown["kind"], shutdown["reason"]) == ("SHUTDOWN", "timeout")


async def test_a_rust_telemetry_processor_reads_every_record(extension: Extension) -> None:
    """The crate takes whole batches or nothing, by types of its own: each of our records is what it expects."""
    async with Simulator(handler="echo") as simulator:
        await start(simulator, extension, SUBSCRIBES="telemetry")
        good = await finished(simulator, {"n": 1})
        bad = await finished(simulator, {"do": "error"})
        await simulator.graceful_shutdown()
        sent = [event.type for event in simulator.telemetry_events if event.type != "extension"]
    got = [note["event"]["type"] for note in extension.of("telemetry")]
    assert sorted(got) == sorted(sent)
    assert got[0] == "platform.initStart"  # from before the subscription
    assert set(got) == {
        "platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.extension", "platform.start",
        "platform.telemetrySubscription", "platform.runtimeDone", "platform.report", "function",
    }  # fmt: skip
    assert extension.records("platform.initRuntimeDone")[0]["status"] == "success"
    assert [record["requestId"] for record in extension.records("platform.start")] == [good.request_id, bad.request_id]
    done = extension.records("platform.runtimeDone")
    assert [record["status"] for record in done] == ["success", "error"]
    assert done[0]["metrics"]["producedBytes"] == len(good.response)
    assert {"responseLatency", "responseDuration", "runtimeOverhead"} <= {span["name"] for span in done[0]["spans"]}
    first, second = extension.records("platform.report")
    assert first["metrics"]["memorySizeMB"] == 128
    assert "initDurationMs" in first["metrics"]
    assert "initDurationMs" not in second["metrics"]
    assert any(f"line of {good.request_id}" in line for line in extension.records("function"))
    (subscription,) = extension.records("platform.telemetrySubscription")
    assert subscription == {"name": "extension", "state": "Subscribed", "types": ["platform", "function"]}


async def test_a_rust_logs_processor_reads_every_record(extension: Extension) -> None:
    async with Simulator(handler="echo") as simulator:
        await start(simulator, extension, SUBSCRIBES="logs")
        good = await finished(simulator, {"n": 1})
        await simulator.graceful_shutdown()
    got = [note["event"] for note in extension.of("log")]
    names = [text.split(" ")[0].split("(")[0] for text in got]
    for name in ("PlatformLogsSubscription", "PlatformExtension", "PlatformStart", "PlatformRuntimeDone", "PlatformEnd"):
        assert name in names, names
    assert f'Function("line of {good.request_id}\\n")' in got
    (report,) = [text for text in got if text.startswith("PlatformReport")]
    assert f'request_id: "{good.request_id}"' in report
    assert "memory_size_mb: 128" in report
    assert "init_duration_ms: Some(" in report


async def test_a_frozen_rust_telemetry_processor_loses_nothing(extension: Extension) -> None:
    async with Simulator(handler="echo", freeze_mode=FreezeMode.ENABLED) as simulator:
        await start(simulator, extension, SUBSCRIBES="telemetry")
        states = []
        for n in range(3):
            await simulator.wait_for_frozen()
            states.append(await finished(simulator, {"n": n}))
        await simulator.wait_for_frozen()
        assert simulator.freeze_epoch >= 3
        await simulator.graceful_shutdown()
    ids = [state.request_id for state in states]
    for type_ in ("platform.start", "platform.runtimeDone", "platform.report"):
        assert [record["requestId"] for record in extension.records(type_)] == ids


@pytest.mark.parametrize("fails", ["INVOKE", "SHUTDOWN"])
async def test_a_rust_extension_reports_its_failure(extension: Extension, fails: str) -> None:
    async with Simulator(handler="echo") as simulator:
        process = await start(simulator, extension, FAILS=fails)
        state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"n": 1}))
        if fails == "INVOKE":
            await process.wait()
            await simulator.wait_for(lambda: state.is_finished)
            (report,) = simulator.get_telemetry_events_by_type("platform.report")
            assert (report.record["status"], report.record["errorType"]) == ("error", "Extension.Crash")
        await simulator.graceful_shutdown()
        assert process.returncode == 1
        assert "as asked" in process.output


async def test_a_rust_extension_of_a_layer_serves_a_rust_function(tmp_path: Path, extension: Extension) -> None:
    layer = tmp_path / "layer" / "extensions"
    layer.mkdir(parents=True)
    (layer / "collector").symlink_to(PROGRAM)
    code = tmp_path / "code"
    code.mkdir()
    (code / "bootstrap").symlink_to(FUNCTION)
    function = Function(
        name="shop",
        handler="echo",
        runtime="provided.al2023",
        code=code,
        layers=(layer.parent,),
        timeout=5,
        environment={**extension.variables, "SUBSCRIBES": "telemetry"},
    )
    async with LambdaService([function]) as service:
        results = [await service.invoke("shop", {"n": n}) for n in range(3)]
    assert [result.json()["event"] for result in results] == [{"n": 0}, {"n": 1}, {"n": 2}]
    ids = [result.request_id for result in results]
    assert [note["id"] for note in extension.of("INVOKE")] == ids
    assert [record["requestId"] for record in extension.records("platform.report")] == ids
    (shutdown,) = extension.of("SHUTDOWN")
    assert shutdown["reason"] == "spindown"
    assert [record["name"] for record in extension.records("platform.extension")] == ["collector"]
