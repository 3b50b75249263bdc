"""When processes are stopped, and when work comes in time to keep them running."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lambdabox.engine.environment import Environment
from lambdabox.engine.pool import FunctionPool
from lambdabox.protocol import events as ev
from lambdabox.protocol.states import Phase


async def begun(stage: Any) -> tuple[FunctionPool, Environment]:
    """An environment that freezes, with the invocation `a` under way."""
    pool = stage.pool(freezes=True)
    await stage.submit(pool, "a")
    return pool, stage.where("a")


async def test_work_that_waits_when_a_freeze_is_decided_keeps_the_processes_running(stage):
    pool, environment = await begun(stage)
    environment.on_over = lambda _over: environment.submit(stage.ticket(pool.function, "b"))
    stage.answer("a")
    assert environment.machine.phase is Phase.INVOKE
    assert stage.where("b") is environment
    assert stage.sandboxes[0].did == ["start runtime"]
    environment.on_over = None
    stage.answer("b")
    assert environment.machine.is_frozen
    assert stage.sandboxes[0].did == ["start runtime", "freeze"]


async def test_what_else_waits_does_not_keep_a_freeze_from_happening(stage):
    _pool, environment = await begun(stage)
    environment.on_over = lambda _over: environment.handle(ev.PollAbandoned(object()))
    stage.answer("a")
    assert stage.sandboxes[0].did == ["start runtime", "freeze"]


async def test_a_shutdown_that_waits_ends_processes_that_were_never_stopped(stage):
    _pool, environment = await begun(stage)
    environment.on_over = lambda _over: environment.handle(ev.ShutdownRequested("spindown"))
    stage.answer("a")
    await stage.settle()
    assert stage.sandboxes[0].did == ["start runtime", "clear"]
    assert stage.sandboxes[0].is_closed


async def test_a_reset_thaws_what_it_ends(stage):
    _pool, environment = await begun(stage)
    stage.answer("a")
    stage.sandboxes[0].die()
    await stage.settle()
    assert environment.machine.phase is Phase.DORMANT
    assert stage.sandboxes[0].did == ["start runtime", "freeze", "thaw", "clear"]


@pytest.mark.parametrize("count", [2, 5])
async def test_every_idle_moment_is_frozen_once(stage, count):
    pool, environment = await begun(stage)
    stage.answer("a")
    for number in range(1, count):
        await stage.submit(pool, f"n{number}", timeout=math.inf)
        stage.answer(f"n{number}")
    assert stage.sandboxes[0].did == ["start runtime", "freeze", *["thaw", "freeze"] * (count - 1)]
    assert environment.machine.freeze_epoch == count - 1
