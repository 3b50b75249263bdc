"""Real clients in the Simulator, unmodified."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambdabox import FreezeMode, InvocationStatus, Simulator

HANDLER = """
def handler(event, context):
    print("for", event["name"])
    return {"hello": event["name"], "function": context.function_name}
"""


async def test_awslambdaric_answers_in_the_simulator(tmp_path: Path) -> None:
    pytest.importorskip("awslambdaric")
    (tmp_path / "app.py").write_text(HANDLER)
    async with Simulator(function_name="orders", freeze_mode=FreezeMode.ENABLED) as simulator:
        runtime = await simulator.spawn_process("python3", "-m", "awslambdaric", "app.handler", role="runtime", cwd=tmp_path)
        await simulator.wait_for_frozen(timeout=20)
        good = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"name": "Ada"}))
        assert good.json() == {"hello": "Ada", "function": "orders"}
        assert "for Ada" in runtime.output
        bad = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({}))
        assert (bad.status, bad.error_type, bad.error_message) == (InvocationStatus.ERROR, "KeyError", "'name'")
        assert bad.stack_trace


async def test_awslambdaric_reports_its_init_error(tmp_path: Path) -> None:
    pytest.importorskip("awslambdaric")
    async with Simulator() as simulator:
        await simulator.spawn_process("python3", "-m", "awslambdaric", "missing.handler", cwd=tmp_path)
        await simulator.wait_for(lambda: simulator.init_error, timeout=20)
        assert "Unable to import module 'missing'" in str(simulator.init_error)
