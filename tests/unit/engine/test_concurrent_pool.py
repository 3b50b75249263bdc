"""Placing invocations on environments that run several at once."""

from __future__ import annotations

from typing import Any

import pytest

from lambdabox.engine.pool import FunctionPool
from lambdabox.errors import SandboxError
from lambdabox.model.function import Function
from lambdabox.protocol import events as ev


def pool_of(stage: Any, workers: int = 2, **options: Any) -> FunctionPool:
    dispatcher = stage.engine(stage.function(max_concurrency=workers), **options)
    pool: FunctionPool = dispatcher.pool(dispatcher.functions[0])
    return pool


async def test_what_comes_while_an_environment_opens_waits_for_it(stage):
    pool = pool_of(stage)
    stage.opening.clear()
    for name in ("a", "b", "c"):
        await stage.submit(pool, name)
    assert len(pool.environments) == 2
    stage.opening.set()
    await stage.settle()
    first, second = stage.where("a"), stage.where("c")
    assert first is not second
    stage.poll(first)
    assert stage.where("b") is first


async def test_an_environment_that_cannot_be_opened_fails_all_that_wait_for_it(stage):
    pool = pool_of(stage)
    stage.opening.clear()
    stage.open_fails = SandboxError("nothing works")
    for name in ("a", "b"):
        await stage.submit(pool, name)
    stage.opening.set()
    await stage.settle()
    assert set(stage.failures) == {"a", "b"}
    assert (pool.in_flight, pool.environments, pool._opening) == (0, set(), {})


async def test_an_answer_makes_room(stage):
    pool = pool_of(stage)
    await stage.submit(pool, "a")
    environment = stage.where("a")
    stage.poll(environment)
    await stage.submit(pool, "b")
    assert (stage.where("b"), environment.has_room) == (environment, False)
    stage.answer("a")
    assert environment.has_room
    await stage.submit(pool, "c")
    assert stage.where("c") is environment
    assert len(pool.environments) == 1


async def test_a_busy_environment_does_not_retire(stage):
    pool = pool_of(stage, idle_timeout=60.0)
    await stage.submit(pool, "a", timeout=900)
    environment = stage.where("a")
    stage.poll(environment)
    await stage.submit(pool, "b")
    stage.answer("b")
    stage.clock.advance(500)
    await stage.settle()
    assert not stage.sandboxes[0].is_closed
    stage.answer("a")
    stage.clock.advance(61)
    await stage.settle()
    assert stage.sandboxes[0].is_closed
    assert pool.environments == set()


async def test_a_timeout_leaves_the_environment_as_it_is(stage):
    pool = pool_of(stage)
    await stage.submit(pool, "a", timeout=3)
    environment = stage.where("a")
    stage.clock.advance(3.1)
    await stage.settle()
    assert stage.results["a"].json()["errorType"] == "Sandbox.Timedout"
    environment.runtime_called(ev.RuntimeResponded(object(), "a", b"1", 1))
    environment.runtime_called(ev.RuntimeResponded(object(), "a", b"1", 1))
    assert stage.refused == [(410, "InvokeTimeout"), (400, "InvalidRequestID")]
    assert pool.in_flight == 0
    assert stage.sandboxes[0].running == {"runtime"}


async def test_nothing_is_frozen_with_several_at_once(stage):
    pool = pool_of(stage, freezes=True)
    await stage.submit(pool, "a")
    stage.answer("a")
    assert stage.sandboxes[0].did == ["start runtime"]


@pytest.mark.parametrize("runtime", ["python3.12", "nodejs22.x"])
async def test_only_custom_runtimes_run_several_at_once(stage, runtime):
    function = Function(name="f", handler="app.handler", runtime=runtime, code=stage.folder, max_concurrency=4)
    assert (function.is_concurrent, function.initialization_type, function.log_format) == (False, "on-demand", "Text")
    assert stage.function(max_concurrency=4).initialization_type == "lambda-managed-instances"
