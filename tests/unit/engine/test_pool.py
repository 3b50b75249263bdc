"""The pool without processes: placing, waiting, retiring, ending."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lambdabox.errors import InternalError, LaunchError, SandboxUnavailableError, ServiceException, TooManyRequestsException
from lambdabox.protocol import events as ev
from lambdabox.protocol.scaling import FINISHING_PATIENCE_SECONDS


async def test_each_concurrent_invocation_has_an_environment(stage):
    pool = stage.pool()
    for name in ("a", "b", "c"):
        await stage.submit(pool, name)
    assert len({stage.where(name) for name in ("a", "b", "c")}) == 3
    assert (pool.in_flight, stage.context.in_flight) == (3, 3)
    for name in ("a", "b", "c"):
        stage.answer(name)
    assert (pool.in_flight, stage.context.in_flight) == (0, 0)
    assert set(stage.results) == set(stage.finished) == {"a", "b", "c"}


async def test_the_most_recently_used_environment_is_next(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    await stage.submit(pool, "b")
    stage.answer("b")
    stage.answer("a")
    await stage.submit(pool, "c")
    await stage.submit(pool, "d")
    assert (stage.where("c"), stage.where("d")) == (stage.where("a"), stage.where("b"))


async def test_an_invocation_waits_for_an_environment_that_is_finishing(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    stage.answer("a", polls=False)
    await stage.submit(pool, "b")
    assert len(stage.sandboxes) == 1
    stage.poll(stage.where("a"))
    assert stage.where("b") is stage.where("a")


async def test_its_patience_has_an_end(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    stage.answer("a", polls=False)
    await stage.submit(pool, "b")
    stage.clock.advance(FINISHING_PATIENCE_SECONDS)
    await stage.settle()
    assert stage.where("b") is not stage.where("a")
    stage.poll(stage.where("a"))
    stage.answer("b")
    assert (pool.in_flight, len(pool._idle)) == (0, 2)


async def test_no_more_wait_than_environments_finish(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    stage.answer("a", polls=False)
    await stage.submit(pool, "b")
    await stage.submit(pool, "c")
    assert len(stage.sandboxes) == 2
    assert stage.where("c") is not stage.where("a")


async def test_the_limit_of_all_functions_together(stage):
    dispatcher = stage.engine(stage.function("one"), stage.function("two"), concurrency_max=2)
    one, two = (dispatcher.pool(function) for function in dispatcher.functions)
    await stage.submit(one, "a")
    await stage.submit(two, "b")
    for pool in (one, two):
        with pytest.raises(TooManyRequestsException) as caught:
            await stage.submit(pool, "c")
        assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
    stage.answer("a", polls=False)  # capacity is free as soon as the caller is answered
    await stage.submit(two, "d")
    assert stage.context.in_flight == 2


async def test_the_limit_of_one_function(stage):
    dispatcher = stage.engine(stage.function("one", reserved_concurrency=1), stage.function("none", reserved_concurrency=0))
    one, none = (dispatcher.pool(function) for function in dispatcher.functions)
    with pytest.raises(TooManyRequestsException) as caught:
        await stage.submit(none, "x")
    assert caught.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    await stage.submit(one, "a")
    with pytest.raises(TooManyRequestsException):
        await stage.submit(one, "b")
    assert one.in_flight == 1
    assert none.in_flight == 0


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (SandboxUnavailableError("no room"), "no room"),
        (OSError(28, "No space left on device"), "No space left"),
        (ValueError("odd"), "odd"),
    ],
)
async def test_an_environment_that_cannot_be_made_fails_its_invocation_alone(stage, error, shown):
    pool = stage.pool()
    stage.open_fails = error
    await stage.submit(pool, "a")
    assert shown in stage.failures["a"].message
    assert isinstance(stage.failures["a"], SandboxUnavailableError | InternalError)
    assert (pool.in_flight, stage.context.in_flight, pool.environments) == (0, 0, set())
    stage.open_fails = None
    await stage.submit(pool, "b")
    stage.answer("b")
    assert stage.results["b"].payload == b"1"


async def test_a_function_that_cannot_be_made_ready_is_tried_again(stage, monkeypatch):
    pool = stage.pool()

    def unreadable(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied", "/code")

    with monkeypatch.context() as patched:
        patched.setattr("lambdabox.engine.pool.provision", unreadable)
        with pytest.raises(SandboxUnavailableError, match=r"function cannot be made ready: .*Permission denied"):
            await stage.submit(pool, "a")
    assert pool.in_flight == 0
    await stage.submit(pool, "b")
    assert stage.where("b")


async def test_waiters_are_served_when_the_environment_they_wait_for_is_gone(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    stage.answer("a", polls=False)
    await stage.submit(pool, "b")
    await stage.where("a").shut_down()
    await stage.settle()
    assert stage.where("b") is not stage.where("a")


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (LaunchError("/x", "permission denied"), "Runtime.InvalidEntrypoint"),
        (SandboxUnavailableError("gone"), "Runtime.InvalidEntrypoint"),
    ],
)
async def test_a_process_that_cannot_be_started_is_an_answer(stage, error, error_type):
    pool = stage.pool()
    stage.start_fails = error
    await stage.submit(pool, "a")
    assert stage.results["a"].json()["errorType"] == error_type
    assert stage.sandboxes[0].did == ["start runtime", "clear", "start runtime", "clear"]
    stage.start_fails = None
    await stage.submit(pool, "b")
    assert stage.where("b")


async def test_an_environment_that_dies_while_idle_stands_in_the_pool_once(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    stage.answer("a")
    stage.sandboxes[0].die()
    await stage.settle()
    assert len(pool._idle) == 1
    await stage.submit(pool, "b")
    await stage.submit(pool, "c")
    assert stage.where("b") is stage.where("a")
    assert stage.where("c") is not stage.where("b")
    stage.answer("b")
    stage.answer("c")
    assert len(pool._idle) == 2


async def test_an_invocation_for_an_environment_that_is_being_reset_is_not_lost(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    stage.answer("a")
    stage.clearing.clear()
    stage.sandboxes[0].die()
    await stage.submit(pool, "b")
    assert not any(invocation.request_id == "b" for _, invocation in stage.running)
    stage.clearing.set()
    await stage.settle()
    stage.answer("b")
    assert stage.results["b"].payload == b"1"
    assert len(pool._idle) == 1


async def test_idle_environments_retire_oldest_first(stage):
    pool = stage.pool(idle_timeout=60)
    for name in ("a", "b"):
        await stage.submit(pool, name, timeout=900)
    stage.answer("a")
    stage.clock.advance(40)
    stage.answer("b")
    stage.clock.advance(25)
    await stage.settle()
    assert [sandbox.is_closed for sandbox in stage.sandboxes] == [True, False]
    stage.clock.advance(36)
    await stage.settle()
    assert [sandbox.is_closed for sandbox in stage.sandboxes] == [True, True]
    assert pool.environments == set()


async def test_use_puts_retirement_off(stage):
    pool = stage.pool(idle_timeout=60)
    for name in ("a", "b", "c", "d"):
        await stage.submit(pool, name, timeout=900)
        stage.clock.advance(50)
        stage.answer(name)
        stage.clock.advance(50)
        await stage.settle()
    assert len(stage.sandboxes) == 1
    assert not stage.sandboxes[0].is_closed
    stage.clock.advance(11)
    await stage.settle()
    assert stage.sandboxes[0].is_closed


async def test_a_timeout_frees_its_capacity_and_the_environment_is_used_again(stage):
    pool = stage.pool()
    await stage.submit(pool, "a", timeout=3)
    stage.clock.advance(3.1)
    await stage.settle()
    assert stage.results["a"].json()["errorType"] == "Sandbox.Timedout"
    assert pool.in_flight == 0
    await stage.submit(pool, "b")
    assert stage.where("b") is stage.where("a")
    assert len(stage.sandboxes) == 1


async def test_a_fresh_environment_ends_with_its_invocation(stage):
    pool = stage.pool()
    await stage.submit(pool, "a", is_fresh=True)
    stage.answer("a")
    await stage.submit(pool, "b", is_fresh=True)
    assert stage.where("a") is not stage.where("b")
    assert stage.sandboxes[0].is_closed
    assert pool._idle == []
    stage.sandboxes[1].die()
    await stage.settle()
    assert stage.results["b"].json()["errorType"] == "Runtime.ExitError"
    assert pool.environments == set()


async def test_freezing_between_invocations(stage):
    pool = stage.pool(freezes=True)
    for name in ("a", "b"):
        await stage.submit(pool, name)
        stage.answer(name)
    assert stage.sandboxes[0].did == ["start runtime", "freeze", "thaw", "freeze"]


@pytest.mark.parametrize("enforced", [False, True])
async def test_the_memory_limit_is_given_only_when_it_is_enforced(stage, enforced):
    pool = stage.pool(enforces_memory=enforced)
    await stage.submit(pool, "a")
    assert stage.limits == [128 * 1024 * 1024 if enforced else None]


async def test_memory_over_the_limit_is_out_of_memory(stage):
    pool = stage.pool(enforces_memory=True)
    await stage.submit(pool, "a")
    stage.where("a").memory_exceeded()
    await stage.settle()
    assert stage.results["a"].json()["errorType"] == "Runtime.OutOfMemory"


# -- extensions -------------------------------------------------------------------------------------------------------


def extended(stage: Any, **options: Any) -> Any:
    path = Path(stage.folder / "collector")
    path.touch()
    dispatcher = stage.engine(stage.function(extensions=(path,)), **options)
    return dispatcher.pool(dispatcher.functions[0])


async def test_with_external_extensions_there_is_one_environment(stage):
    pool = extended(stage)
    for name in ("a", "b", "c"):
        await stage.submit(pool, name)
    stage.clock.advance(FINISHING_PATIENCE_SECONDS * 2)
    await stage.settle()
    assert len(stage.sandboxes) == 1
    for name in ("a", "b", "c"):
        stage.answer(name)
        await stage.settle()
    assert len(stage.sandboxes) == 1
    assert set(stage.results) == {"a", "b", "c"}


async def test_fresh_invocations_with_external_extensions_come_one_by_one(stage):
    pool = extended(stage)
    for name in ("a", "b", "c"):
        await stage.submit(pool, name, is_fresh=True)
    for count, name in enumerate(("a", "b", "c"), 1):
        assert len(stage.sandboxes) == count
        stage.answer(name)
        await stage.settle()
        stage.clock.advance(3)  # the extension is given its two seconds
        await stage.settle()
    assert set(stage.results) == {"a", "b", "c"}
    assert pool.environments == set()


async def test_ports_need_not_be_shared(stage):
    pool = extended(stage, shares_ports=False)
    for name in ("a", "b"):
        await stage.submit(pool, name)
    assert len(stage.sandboxes) == 2


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_answers_what_runs_and_fails_what_waits(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    stage.answer("a", polls=False)
    await stage.submit(pool, "b")
    await stage.submit(pool, "c")
    await pool.close()
    assert isinstance(stage.failures["b"], ServiceException)
    assert stage.results["c"].json()["errorType"] == "Sandbox.Failure"
    assert all(sandbox.is_closed for sandbox in stage.sandboxes)
    assert pool.environments == set()
    with pytest.raises(ServiceException):
        await stage.submit(pool, "d")
    assert pool.in_flight == 0


async def test_closing_waits_for_an_environment_that_is_being_made(stage):
    pool = stage.pool()
    stage.opening.clear()
    await stage.submit(pool, "a")
    closing = asyncio.ensure_future(pool.close())
    await stage.settle()
    assert not closing.done()
    stage.opening.set()
    await closing
    assert stage.results["a"].json()["errorType"] == "Sandbox.Failure"
    assert all(sandbox.is_closed for sandbox in stage.sandboxes)
    assert pool.environments == set()


async def test_killing_reaches_an_environment_that_is_being_made(stage):
    pool = stage.pool()
    stage.opening.clear()
    await stage.submit(pool, "a")
    await pool.kill()
    stage.opening.set()
    await stage.settle()
    assert [sandbox.is_closed for sandbox in stage.sandboxes] == [True]
    assert stage.running == []


async def test_a_closed_engine_makes_no_new_pool(stage):
    dispatcher = stage.engine(stage.function("one"), stage.function("two"))
    await dispatcher.close()
    with pytest.raises(ServiceException):
        dispatcher.submit(stage.ticket(dispatcher.functions[1]))


async def test_no_alarm_outlives_the_pool(stage):
    pool = stage.pool(idle_timeout=60)
    await stage.submit(pool, "a")
    stage.answer("a")
    await stage.submit(pool, "b")
    stage.answer("b", polls=False)
    await stage.submit(pool, "c")
    await pool.close()
    stage.clock.advance(10_000)
    await stage.settle()
    assert len(stage.sandboxes) == 1


# -- environments -----------------------------------------------------------------------------------------------------


async def test_a_response_for_nobody_is_refused(stage):
    pool = stage.pool()
    await stage.submit(pool, "a")
    stage.where("a").runtime_called(ev.RuntimeResponded(object(), "b", b"1", 1))
    assert stage.refused == [(400, "InvalidRequestID")]
    stage.answer("a")
    assert stage.results["a"].payload == b"1"


async def test_init_over_its_limit_runs_again_in_the_invocation(stage):
    pool = stage.pool(init_timeout=10)
    stage.runtime_polls = False
    await stage.submit(pool, "a", timeout=5)
    stage.clock.advance(10.1)
    stage.runtime_polls = True
    await stage.settle()
    assert stage.sandboxes[0].did == ["start runtime", "clear", "start runtime"]
    stage.answer("a")
    assert stage.finished["a"].report.init_duration_ms is None


async def test_a_warning_about_the_function_comes_once(stage):
    dispatcher = stage.engine(stage.function(timeout=3))
    pool = dispatcher.pool(dispatcher.functions[0])
    pool.provision()
    pool.provision()
    assert len(stage.warnings) <= 1
