"""Fifty tests as somebody would write them, each with a Simulator and a runtime of its own."""

from __future__ import annotations

import asyncio

import pytest

from lambdabox import InvocationStatus, Simulator
from lambdabox.testing import ScriptedRuntime


def handler(event):
    if event["number"] % 5 == 4:
        raise ValueError("every fifth fails")
    return {"number": event["number"]}


@pytest.mark.parametrize("number", range(50))
def test_an_invocation_in_the_simulator(number):
    async def story():
        async with Simulator(function_name="orders") as simulator, ScriptedRuntime(simulator) as runtime:
            runtime.start(handler)
            request_id = await simulator.enqueue_payload({"number": number})
            state = await simulator.wait_for_invocation_complete(request_id)
            if number % 5 == 4:
                assert state.status is InvocationStatus.ERROR
                assert state.error_type == "ValueError"
            else:
                assert state.json() == {"number": number}
            await simulator.wait_for(lambda: simulator.get_telemetry_events_by_type("platform.report"))

    asyncio.run(story())
