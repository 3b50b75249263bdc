"""AWS's own Python client in its other modes: SnapStart with hooks, several invocations at once, invocation ids."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from lambdabox.model.function import Function
from lambdabox.service import LambdaService, ServiceOptions

pytestmark = pytest.mark.skipif(importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric is not installed")

BOOTSTRAP = f"#!/bin/sh\nexec {sys.executable} -m awslambdaric app.handler\n"
HOOKS = """
import os, sys
from snapshot_restore_py import register_after_restore, register_before_snapshot
did = []
@register_before_snapshot
def first():
    did.append("before 1")
@register_before_snapshot
def second():
    did.append("before 2")
@register_after_restore
def third():
    if os.environ.get("FAIL") == "after":
        raise RuntimeError("cannot come back")
    did.append("after 1")
@register_after_restore
def fourth():
    did.append("after 2")
@register_before_snapshot
def fifth():
    if os.environ.get("FAIL") == "before":
        raise RuntimeError("cannot be kept")
def handler(event, context):
    return did
"""


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Any]:
    """`call = await start(source, ...)`; then `await call(event)`."""
    async with AsyncExitStack() as stack:

        async def start(source: str, variables: dict[str, str] | None = None, **more: Any) -> Any:
            found = importlib.util.find_spec("awslambdaric")
            assert found is not None
            assert found.origin is not None
            (tmp_path / "app.py").write_text(source)
            (tmp_path / "bootstrap").write_text(BOOTSTRAP)
            (tmp_path / "bootstrap").chmod(0o755)
            environment = {"PYTHONPATH": str(Path(found.origin).parents[1]), **(variables or {})}
            options = ServiceOptions(python=sys.executable, invocation_id=more.pop("invocation_id", False))
            function = Function(
                name="function",
                handler="app.handler",
                runtime="provided.al2023",
                code=tmp_path,
                environment=environment,
                timeout=10,
                **more,
            )
            service = await stack.enter_async_context(LambdaService([function], options))

            async def call(event: Any = None) -> Any:
                return await service.invoke("function", event)

            return call

        yield start


needs_hooks = pytest.mark.skipif(
    importlib.util.find_spec("snapshot_restore_py") is None, reason="snapshot_restore_py is not installed"
)


@needs_hooks
async def test_snapshot_hooks_run_in_their_order(start):
    call = await start(HOOKS, snap_start=True)
    result = await call({})
    assert result.json() == ["before 2", "before 1", "after 1", "after 2"]
    assert result.report.restore_duration_ms is not None
    assert result.report.init_duration_ms is None
    again = await call({})
    assert len(again.json()) == 4
    assert again.report.restore_duration_ms is None


@needs_hooks
async def test_without_snap_start_no_hook_runs(start):
    call = await start(HOOKS)
    assert (await call({})).json() == []


@needs_hooks
async def test_a_hook_that_fails_after_the_restore(start):
    call = await start(HOOKS, {"FAIL": "after"}, snap_start=True)
    result = await call({})
    assert (result.function_error, result.error_type) == ("Unhandled", "Runtime.AfterRestoreError")
    assert result.json()["errorMessage"] == "cannot come back"


@needs_hooks
async def test_a_hook_that_fails_before_the_snapshot(start):
    call = await start(HOOKS, {"FAIL": "before"}, snap_start=True)
    result = await call({})
    assert (result.function_error, result.error_type) == ("Unhandled", "Runtime.BeforeSnapshotError")
    assert result.json()["errorMessage"] == "cannot be kept"


async def test_it_brings_invocation_ids_back(start):
    source = "def handler(event, context):\n    if event == 0: raise ValueError('as asked')\n    return event\n"
    call = await start(source, invocation_id=True)
    assert [(await call(event)).function_error for event in (1, 0, 2)] == [None, "Unhandled", None]


WORKERS = """
import os, time
def handler(event, context):
    if event == "raise":
        raise ValueError("as asked")
    if isinstance(event, dict):
        open(os.path.join(event["folder"], str(os.getpid())), "w").close()
        until = time.monotonic() + 5
        while len(os.listdir(event["folder"])) < 3 and time.monotonic() < until:
            time.sleep(0.002)  # in the function: it waits for the other worker's file, as functions do
    return [os.getpid(), os.getppid(), context.aws_request_id, os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]
"""


@pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric.lambda_multi_concurrent_utils") is None, reason="an older awslambdaric"
)
async def test_its_workers_run_at_once(start, tmp_path):
    together = tmp_path / "together"
    together.mkdir()
    call = await start(WORKERS, max_concurrency=3)
    results = await asyncio.gather(*(call({"folder": str(together)}) for _ in range(3)))
    answers = [result.json() for result in results]
    assert len({worker for worker, *_ in answers}) == 3
    assert len({parent for _, parent, *_ in answers}) == 1
    assert [request_id for _, _, request_id, _ in answers] == [result.request_id for result in results]
    assert {kind for *_, kind in answers} == {"lambda-managed-instances"}
    failed = await call("raise")
    assert (failed.function_error, failed.json()["errorType"]) == ("Unhandled", "ValueError")
    assert (await call(1)).function_error is None


@pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric.lambda_multi_concurrent_utils") is None, reason="an older awslambdaric"
)
async def test_an_init_that_fails_in_every_worker(start):
    call = await start("import nothing_of_this_name\n", max_concurrency=3)
    results = await asyncio.gather(*(call(1) for _ in range(3)))
    assert {result.json()["errorType"] for result in results} == {"Runtime.ImportModuleError"}
