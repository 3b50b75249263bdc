"""Calls of the Extensions, Telemetry and Logs APIs between those of a runtime: each has an answer of AWS's, and nobody hangs."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Awaitable

from callers import World, play, request
from harness import as_bytes, changed, main
from runtime_calls import call as runtime_call

BASE = "/2020-01-01/extension"
NAMES = ("one", "two", "three", "", "é", "x" * 200)
# Nobody listens there: what is not delivered must not hold anybody up.
SUBSCRIPTION = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function", "extension"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:1/"},
}


def call(world: World) -> bytes:
    """A call, mostly one that makes sense now."""
    chance = world.chance
    known = world.identifiers[2:]  # without the two that nobody was given
    if chance.random() < (0.4 if known else 0.1):
        return runtime_call(world)
    headers = {}
    if chance.random() < 0.95:
        headers["Lambda-Extension-Identifier"] = chance.choice(known if known and chance.random() < 0.9 else world.identifiers)
    kind = chance.randrange(10 if known else 3)
    if kind < 2:
        headers["Lambda-Extension-Name"] = chance.choice(NAMES[:3] if chance.random() < 0.8 else NAMES)
        headers["Lambda-Extension-Accept-Feature"] = chance.choice(("accountId", "", "odd, accountId"))
        events = chance.sample(("INVOKE", "SHUTDOWN"), chance.randrange(3))
        body = json.dumps({"events": events}).encode()
        return request(
            "POST", f"{BASE}/register", headers, body if known else as_bytes(chance, changed(chance, {"events": events}))
        )
    if kind < 5:
        return request("GET", f"{BASE}/event/next", headers)
    if kind in (5, 6):
        path, version = chance.choice((("/2022-07-01/telemetry", "2022-12-13"), ("/2020-08-15/logs", "2021-03-18")))
        wanted = {**SUBSCRIPTION, "schemaVersion": version}
        body = as_bytes(chance, changed(chance, wanted)) if chance.random() < 0.5 else json.dumps(wanted).encode()
        return request(chance.choice(("PUT", "PUT", "PUT", "POST")), path, headers, body)
    if kind == 7 and chance.random() < 0.4:
        if chance.random() < 0.8:
            headers["Lambda-Extension-Function-Error-Type"] = chance.choice(("Extension.Odd", "odd", "x" * 500))
        which = chance.choice(("init", "exit"))
        return request("POST", f"{BASE}/{which}/error", headers, as_bytes(chance, changed(chance, {"errorType": "a"})))
    if kind == 8:
        return request(
            chance.choice(("GET", "POST", "PUT")), f"{BASE}/{chance.choice(('register', 'event', 'x', ''))}", headers, b""
        )
    return request("GET", f"{BASE}/event/next", headers)


def target(chance: random.Random) -> Awaitable[None]:
    return play(chance, call)


if __name__ == "__main__":
    sys.exit(main(target))
