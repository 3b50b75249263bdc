"""Waiting until something is true, awoken by what happens and never by a clock."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from lambdabox.errors import UsageError, WaitTimeoutError

WAIT_SECONDS = 5.0
"""How long a waiter waits when it is not told."""

ROUNDS = 10  # how often predicates that change something are asked again at once; after that they wait for the next change

Predicate = Callable[[], Any]
"""What is waited for: true when it returns, or when what it returns is awaited and gives, something true."""


class Waiters:
    """Who waits for what. `changed` is to be called after everything that may have made something true.

    A predicate that returns a value is asked on the spot, so that not even a moment that passes at once is missed; one that has
    to be awaited is asked as soon as its waiter has its turn.
    """

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Predicate | None] = {}
        self._is_asking = False
        self._has_changed = False

    def changed(self) -> None:
        """Ask the predicates. One that changes something itself (it reads output that is logged then) does not begin this anew."""
        self._has_changed = True
        if self._is_asking or not self._waiting:
            return
        self._is_asking = True
        try:
            for _ in range(ROUNDS):
                if not self._has_changed:
                    break
                self._has_changed = False
                self._ask()
        finally:
            self._is_asking = False

    def _ask(self) -> None:
        for future, predicate in tuple(self._waiting.items()):
            if future.done():
                continue
            try:
                if predicate is None or _asked(predicate):
                    future.set_result(None)
            except BaseException as error:  # noqa: BLE001 - a predicate's error, pytest.fail's too, is its waiter's and nobody else's
                future.set_exception(error)

    async def wait(self, predicate: Predicate, timeout: float | None, describe: Callable[[], tuple[str, str]]) -> None:
        """Return when `predicate` is true. Raises WaitTimeoutError with what was waited for and the present state: `describe` tells both."""
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                value = _asked(predicate)
                if not inspect.isawaitable(value):
                    if not value:
                        await self._next(predicate)
                    return
                while True:
                    # In place before the answer is awaited: what happens meanwhile is not missed.
                    change = self._enter(None)
                    try:
                        if await value:
                            return
                        await change
                    finally:
                        del self._waiting[change]
                    value = _asked(predicate)
        except TimeoutError as error:
            if not limit.expired():
                raise
            waited_for, state = describe()
            assert timeout is not None
            raise WaitTimeoutError(waited_for, timeout, state=state) from error

    async def _next(self, predicate: Predicate) -> None:
        change = self._enter(predicate)
        try:
            await change
        finally:
            del self._waiting[change]

    def _enter(self, predicate: Predicate | None) -> asyncio.Future[None]:
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[change] = predicate
        return change


def _asked(predicate: Predicate) -> Any:
    """What a predicate says. StopIteration, of a `next()` that finds nothing, would end whatever it passes through."""
    try:
        return predicate()
    except StopIteration as error:
        hint = "a `next(...)` in it wants a default: `next(..., None)`"
        raise UsageError(f"{described(predicate)} raised StopIteration", hint=hint) from error


def described(predicate: Predicate) -> str:
    """What a predicate says of itself: its name, or its source where it is a lambda."""
    name = getattr(predicate, "__name__", None) or type(predicate).__name__
    if name != "<lambda>":
        return f"{name}()"
    try:
        source = " ".join(inspect.getsource(predicate).split())
    except (OSError, TypeError, SyntaxError):
        return "the condition"
    _, _, after = source.partition("lambda")
    body = after.partition(":")[2].strip()
    return _expression(body) or "the condition"


def _expression(text: str) -> str:
    """The expression that a text begins with: up to the bracket or comma that belongs to whoever called."""
    depth = 0
    quote = ""
    for index, letter in enumerate(text):
        if quote:
            if letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth < 0:
                return text[:index].strip()
        elif letter == "," and depth == 0:
            return text[:index].strip()
    return text.strip()
