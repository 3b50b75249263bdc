"""Calls of the Runtime API in any order and form: each has an answer of AWS's, and every invocation ends once."""

from __future__ import annotations

import random
import sys
from collections.abc import Awaitable

from callers import World, play, request
from harness import as_bytes, changed, main, mangled

BASE = "/2018-06-01/runtime"
ERROR = {"errorType": "Runtime.Odd", "errorMessage": "it broke", "stackTrace": ["a", "b"]}
CAUSE = {"exceptions": [{"type": "A", "message": "m", "stack": [{"path": "p", "line": 1, "label": "l"}]}], "paths": ["p"]}
HEADERS = (
    {}, {}, {"Lambda-Runtime-Function-Error-Type": "Function.Odd"}, {"Lambda-Runtime-Function-Error-Type": "x" * 500},
    {"Lambda-Runtime-Function-Response-Mode": "streaming"}, {"Lambda-Runtime-Function-Response-Mode": "odd"},
    {"Lambda-Runtime-Invocation-Id": "nonsense"}, {"Content-Type": "application/vnd.aws.lambda.error.cause+json"},
)  # fmt: skip


def call(world: World) -> bytes:
    """A call, mostly one that makes sense now."""
    chance = world.chance
    kind = chance.randrange(12)
    # The newest id is nearly always the one that runs.
    request_id = world.request_ids[-1] if chance.random() < 0.8 else chance.choice(world.request_ids)
    headers = dict(chance.choice(HEADERS))
    if chance.random() < 0.1:
        headers["Lambda-Runtime-Function-XRay-Error-Cause"] = as_bytes(chance, changed(chance, CAUSE)).decode("latin-1")
        headers = {name: " ".join(value.split()).replace("\0", "") for name, value in headers.items()}
    if kind < 4:
        return request("GET", f"{BASE}/invocation/next")
    if kind < 7:
        return request(
            "POST", f"{BASE}/invocation/{request_id}/response", headers, as_bytes(chance, changed(chance, {"ok": True}))
        )
    if kind == 7:
        return request("POST", f"{BASE}/invocation/{request_id}/error", headers, as_bytes(chance, changed(chance, ERROR)))
    if kind == 8 and chance.random() < 0.3:
        return request("POST", f"{BASE}/init/error", headers, as_bytes(chance, changed(chance, ERROR)))
    if kind == 9:  # a stream, whole, or with trailers, or without an end
        headers["Lambda-Runtime-Function-Response-Mode"] = "streaming"
        head = request("POST", f"{BASE}/invocation/{request_id}/response", {**headers, "Transfer-Encoding": "chunked"})
        world.is_wild = chance.random() < 0.3  # the next request is then taken for a part of this one
        trailers = b"Lambda-Runtime-Function-Error-Type: Runtime.Odd\r\nLambda-Runtime-Function-Error-Body: e30=\r\n"
        end = b"" if world.is_wild else chance.choice((b"0\r\n\r\n", b"0\r\n" + trailers + b"\r\n"))
        return head + b"3\r\nabc\r\n" + end
    if kind == 10:
        method = chance.choice(("GET", "PUT", "POST", "DELETE"))
        path = chance.choice(
            ("/ping", "/2018-06-01/ping", f"{BASE}/restore/next", f"{BASE}/invocation//response", f"{BASE}/x", "/")
        )
        return request(method, path, headers, b"")
    world.is_wild = True
    return mangled(chance, request("GET", f"{BASE}/invocation/next", headers))


def target(chance: random.Random) -> Awaitable[None]:
    return play(chance, call)


if __name__ == "__main__":
    sys.exit(main(target))
