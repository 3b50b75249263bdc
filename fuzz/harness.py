"""What every fuzz target shares: inputs made from a seed, a clock that ends the program, and a way to see a failure again.

A target is a function that takes a `random.Random` and raises when a promise is broken. It is run with one seed after the other.

    python fuzz/NAME.py --seconds 10           until the time is up
    python fuzz/NAME.py --seed 4711 --runs 1   one input again
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import json
import random
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

RUN_SECONDS = 20.0
"""One input that takes longer hangs."""

Target = Callable[[random.Random], Any]


def main(target: Target) -> int:
    """Run a target as the options say; 0: every promise was kept."""
    parser = argparse.ArgumentParser(description=(inspect.getmodule(target).__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--runs", type=int, help="how many inputs, whatever the time")
    parser.add_argument("--seed", type=int, help="the first seed (default: by chance)")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000_000)
    begun = time.monotonic()
    count = 0
    with asyncio.Runner() as runner:
        while count < options.runs if options.runs is not None else time.monotonic() - begun < options.seconds:
            try:
                found = target(random.Random(seed + count))
                if inspect.isawaitable(found):
                    runner.run(_guarded(found))
            except Exception:
                traceback.print_exc()
                print(f"again with: python {sys.argv[0]} --seed {seed + count} --runs 1", file=sys.stderr)
                return 1
            count += 1
    print(f"{count} inputs from seed {seed} in {time.monotonic() - begun:.1f} s")
    return 0


async def _guarded(target: Any) -> None:
    """Run a coroutine; what the event loop was told of in the background breaks it, too."""
    told: list[str] = []

    def note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        trace = "" if error is None else "".join(traceback.format_exception(error))
        told.append(f"{context['message']}\n{trace}")

    asyncio.get_running_loop().set_exception_handler(note)
    async with asyncio.timeout(RUN_SECONDS):
        await target
    assert not told, "\n".join(told)


# Inputs ---------------------------------------------------------------------------------------------------------------

WORDS = ("", "a", "INVOKE", "SHUTDOWN", "platform", "function", "extension", "HTTP", "TCP", "é\u2028", "\x00", "x" * 300, "1e999")


def a_json(chance: random.Random, depth: int = 3) -> Any:
    """Any JSON document."""
    kind = chance.randrange(9 if depth else 6)
    if kind == 0:
        return None
    if kind == 1:
        return chance.random() < 0.5
    if kind == 2:
        return chance.choice((0, 1, -1, 25, 1000, 262_144, 2**31, 2**64, 10**40))
    if kind == 3:
        return chance.choice((0.5, -1e300, 1.0))
    if kind in (4, 5):
        return chance.choice(WORDS)
    if kind == 6:
        return [a_json(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(WORDS): a_json(chance, depth - 1) for _ in range(chance.randrange(4))}


def changed(chance: random.Random, document: Any) -> Any:
    """The document, or one in which something was left out or replaced, however deep."""
    if chance.random() < 0.3:
        return document
    if isinstance(document, dict) and document and chance.random() < 0.85:
        key = chance.choice(sorted(document))
        if chance.random() < 0.2:
            return {name: value for name, value in document.items() if name != key}
        return {**document, key: changed(chance, document[key])}
    if isinstance(document, list) and document and chance.random() < 0.7:
        index = chance.randrange(len(document))
        return [*document[:index], changed(chance, document[index]), *document[index : chance.choice((index, None))]]
    return a_json(chance)


def mangled(chance: random.Random, data: bytes) -> bytes:
    """The bytes, mostly as they are; else cut, doubled, or with some of them replaced."""
    if chance.random() < 0.7 or not data:
        return data
    found = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(found) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            del found[at : at + chance.randrange(1, 8)]
        elif kind == 1:
            found[at:at] = chance.randbytes(chance.randrange(1, 8))
        elif kind == 2:
            found[at : at + 1] = chance.choice((b"\r", b"\n", b"\r\n", b"\0", b":", b" ", b"\xff", b'"', b"{"))
        else:
            found[at:at] = found[: chance.randrange(len(found) + 1)]
    return bytes(found)


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    """The bytes in as many parts as a network might make of them."""
    found, at = [], 0
    while at < len(data):
        size = chance.choice((1, 2, 3, 7, 16, 100, 5000))
        found.append(data[at : at + size])
        at += size
    return found


def as_bytes(chance: random.Random, document: Any) -> bytes:
    """A document as JSON, mangled now and then."""
    with contextlib.suppress(ValueError):
        return mangled(chance, json.dumps(document, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass"))
    return b""
