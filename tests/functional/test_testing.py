"""The scripted runtime and extension and the receiver of `lambdabox.testing`, against a Simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambdabox import InvocationStatus, Simulator
from lambdabox.errors import RemoteProtocolError, UsageError, WaitTimeoutError
from lambdabox.testing import ScriptedExtension, ScriptedRuntime, TelemetryReceiver

BUFFERING = {"timeoutMs": 25, "maxItems": 1000, "maxBytes": 262_144}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


async def test_a_runtime_takes_any_form_of_the_address(simulator: Simulator) -> None:
    for address in (simulator, simulator.runtime_api, simulator.runtime_api_url):
        async with ScriptedRuntime(address) as runtime:
            assert (await runtime.request("GET", "/2018-06-01/ping")).body == b"pong"


async def test_a_handler_may_be_async_and_may_raise(simulator: Simulator) -> None:
    async def handler(event: Any) -> Any:
        await asyncio.sleep(0)
        return {"got": event["a"]}

    async with ScriptedRuntime(simulator) as runtime:
        runtime.start(handler)
        good = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"a": 1}))
        bad = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({}))
    assert good.json() == {"got": 1}
    assert (bad.status, bad.error_type) == (InvocationStatus.ERROR, "KeyError")


async def test_a_refusal_is_an_error_with_its_status(simulator: Simulator) -> None:
    async with ScriptedExtension(simulator) as extension:
        with pytest.raises(RemoteProtocolError) as refusal:
            await extension.next_event()
    assert refusal.value.status == 403
    assert refusal.value.error_type == "Extension.MissingExtensionIdentifier"


async def test_an_extension_gives_up(simulator: Simulator) -> None:
    async with ScriptedExtension(simulator) as extension:
        assert (await extension.register("INVOKE", account_id=True))["accountId"] == "123456789012"
        await extension.init_error("Extension.NoConfig", "no configuration")
        await simulator.wait_for(lambda: simulator.init_error)
    assert simulator.init_error == "Extension.InitError"


async def test_an_extension_may_leave(simulator: Simulator) -> None:
    async with ScriptedExtension(simulator) as extension, ScriptedRuntime(simulator) as runtime:
        await extension.register("INVOKE")
        asking = asyncio.create_task(extension.next_event())
        runtime.start(lambda event: event)
        request_id = await simulator.enqueue_payload({})
        await asking
        await extension.exit_error("Extension.Gone")
        state = await simulator.wait_for_invocation_complete(request_id)
        assert state.is_complete


async def test_a_receiver_may_refuse_and_take_its_time(simulator: Simulator) -> None:
    answers = iter([500, 200])

    async def answer(_batch: Any) -> int:
        await asyncio.sleep(0)
        return next(answers, 200)

    async with TelemetryReceiver(answer=answer) as receiver, ScriptedExtension(simulator) as extension:
        await extension.register("INVOKE")
        await extension.subscribe_telemetry(receiver.uri, ["platform"], buffering=BUFFERING)
        await receiver.wait_for(lambda: len(receiver.batches) >= 2)
        assert [event.type for event in receiver.batches[0]] == [event.type for event in receiver.batches[1]]
        with pytest.raises(WaitTimeoutError, match=r"deliveries: .* platform\.initStart"):
            await receiver.wait_for(lambda: receiver.of_type("platform.report"), 0.02)


async def test_the_logs_api_is_subscribed_to_alike(simulator: Simulator) -> None:
    async with TelemetryReceiver() as receiver, ScriptedExtension(simulator) as extension:
        await extension.register("INVOKE")
        await extension.subscribe_logs(receiver.uri, ["platform"], buffering=BUFFERING)
        await receiver.wait_for(lambda: receiver.of_type("platform.logsSubscription"))


async def test_an_extension_subscribes_over_tcp() -> None:
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def received(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.put_nowait(await reader.readline())
        writer.close()

    async with await asyncio.start_server(received, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Simulator() as simulator, ScriptedExtension(simulator) as extension:
            await extension.register()
            with pytest.raises(UsageError, match="has no port"):
                await extension.subscribe_telemetry("sandbox.localdomain", protocol="TCP")
            await extension.subscribe_telemetry(f"sandbox.localdomain:{port}", protocol="TCP", buffering={"timeoutMs": 25})
            first = json.loads(await asyncio.wait_for(lines.get(), 5))
    assert first["type"] == "platform.initStart"
