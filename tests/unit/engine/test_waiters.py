"""Waiters are awoken by what happens, whatever their predicates do."""

from __future__ import annotations

import asyncio

from lambdabox.engine.waiters import ROUNDS, Waiters


def told() -> tuple[str, str]:
    return "it", "nothing"


async def test_a_predicate_that_changes_something_itself_is_asked_again_not_anew() -> None:
    waiters = Waiters()
    asked = []

    def predicate() -> bool:
        asked.append(1)
        if len(asked) < 4:
            waiters.changed()
        return len(asked) >= 3

    waiting = asyncio.ensure_future(waiters.wait(predicate, 5, told))
    await asyncio.sleep(0)
    waiters.changed()
    await waiting
    assert len(asked) == 3


async def test_a_predicate_that_changes_something_each_time_does_not_spin() -> None:
    waiters = Waiters()
    asked = []

    def predicate() -> bool:
        asked.append(1)
        waiters.changed()
        return False

    waiting = asyncio.ensure_future(waiters.wait(predicate, 5, told))
    await asyncio.sleep(0)
    before = len(asked)
    waiters.changed()
    assert len(asked) == before + ROUNDS
    waiting.cancel()


async def test_every_waiter_is_asked_after_one_that_is_through() -> None:
    waiters = Waiters()
    done: list[str] = []

    def first() -> bool:
        waiters.changed()
        return True

    one = asyncio.ensure_future(waiters.wait(lambda: bool(done) and first(), 5, told))
    two = asyncio.ensure_future(waiters.wait(lambda: bool(done), 5, told))
    await asyncio.sleep(0)
    done.append("now")
    waiters.changed()
    await asyncio.gather(one, two)
