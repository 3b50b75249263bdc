"""Waiters."""

from __future__ import annotations

import asyncio

import pytest

from lambdabox.engine.waiters import described
from lambdabox.errors import WaitTimeoutError
from lambdabox.testing import Waiters


def nothing() -> tuple[str, str]:
    return "it", "nothing"


async def test_what_is_true_is_not_waited_for() -> None:
    await Waiters().wait(lambda: True, 0.01, nothing)


async def test_a_change_wakes_who_waits() -> None:
    waiters, facts = Waiters(), list[int]()
    waiting = asyncio.create_task(waiters.wait(lambda: facts, None, nothing))
    await asyncio.sleep(0)
    waiters.changed()
    await asyncio.sleep(0)
    assert not waiting.done()
    facts.append(1)
    waiters.changed()
    await waiting


async def test_a_moment_that_passes_is_not_missed() -> None:
    waiters, facts = Waiters(), list[int]()
    waiting = asyncio.create_task(waiters.wait(lambda: facts, None, nothing))
    await asyncio.sleep(0)
    facts.append(1)
    waiters.changed()
    facts.clear()
    waiters.changed()
    await waiting


async def test_a_change_while_a_predicate_is_awaited_is_not_missed() -> None:
    waiters, facts = Waiters(), list[int]()

    async def slow() -> bool:
        seen = bool(facts)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return seen

    waiting = asyncio.create_task(waiters.wait(slow, 1, nothing))
    await asyncio.sleep(0)
    facts.append(1)
    waiters.changed()  # while `slow` has looked already
    await waiting


async def test_waiting_in_vain_is_told() -> None:
    with pytest.raises(WaitTimeoutError, match=r"^it did not happen within 0\.01 s; now: nothing$"):
        await Waiters().wait(lambda: False, 0.01, nothing)


async def test_a_timeout_of_a_predicates_own_is_its_own() -> None:
    def fails() -> bool:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await Waiters().wait(fails, 1, nothing)


async def test_who_is_cancelled_waits_no_more() -> None:
    waiters = Waiters()
    waiting = asyncio.create_task(waiters.wait(lambda: False, None, nothing))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    waiters.changed()
    assert not waiters._waiting


def test_a_predicate_is_described_by_its_source_or_name() -> None:
    def is_done() -> bool:
        return True

    things = [1]
    assert described(is_done) == "is_done()"
    assert described(lambda: len(things) >= 2) == "len(things) >= 2"
    wanted = (lambda: things[0] == 3 and str(things) != "a)", 1)[0]
    assert described(wanted) == 'things[0] == 3 and str(things) != "a)"'
    assert described(eval("lambda: 1")) == "the condition"
