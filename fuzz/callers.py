"""Several peers that call the APIs of a Simulator at random, over real connections; and what must hold whatever they do."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

import httptools
from harness import as_bytes, changed

from lambdabox import FreezeMode, InvocationStatus, Simulator
from lambdabox.errors import LambdaboxError

STATUSES = {200, 202, 400, 403, 404, 405, 408, 413, 414, 431, 501, 505}
STEPS = 60


class World:
    """One environment and its peers; `ids` are those that its answers named."""

    def __init__(self, chance: random.Random, simulator: Simulator) -> None:
        self.chance = chance
        self.simulator = simulator
        host, _, port = simulator.runtime_api.rpartition(":")
        self.peers = [Peer(self, host, int(port)) for _ in range(4)]
        self.request_ids: list[str] = ["nonsense"]
        self.identifiers: list[str] = ["00000000-0000-0000-0000-000000000000", "nonsense"]
        self.is_wild = False  # what was just made may be several requests, or none


class Peer(asyncio.Protocol):
    """A connection that is opened again after it was closed."""

    def __init__(self, world: World, host: str, port: int) -> None:
        self.world, self.host, self.port = world, host, port
        self.transport: asyncio.Transport | None = None
        self.owed = 0
        self.is_wild = False

    async def send(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            self.parser = httptools.HttpResponseParser(self)
            self.owed, self.is_wild = 0, False
            loop = asyncio.get_running_loop()
            self.transport, _ = await loop.create_connection(lambda: self, self.host, self.port)
        self.owed += 1
        self.is_wild |= self.world.is_wild
        self.world.is_wild = False
        self.transport.write(data)

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None

    # -- the parser's calls

    def on_message_begin(self) -> None:
        self.headers: dict[bytes, str] = {}
        self.body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        world, status = self.world, self.parser.get_status_code()
        assert status in STATUSES, (status, self.body)
        self.owed -= 1
        assert self.owed >= 0 or self.is_wild, "an answer that nobody asked for"
        if status == 403 and self.headers.get(b"content-type", "").startswith("application/json"):
            assert {"errorType", "errorMessage"} <= json.loads(self.body).keys(), self.body
        if found := self.headers.get(b"lambda-runtime-aws-request-id"):
            assert int(self.headers[b"lambda-runtime-deadline-ms"]) > 0
            world.request_ids.append(found)
        if found := self.headers.get(b"lambda-extension-identifier"):
            world.identifiers.append(found)


async def play(chance: random.Random, call: Callable[[World], bytes]) -> None:
    """A story of STEPS random calls, then the end; every invocation has an answer, every record its form."""
    simulator = Simulator(
        timeout=chance.choice((0.05, 3, float("inf"))),
        init_timeout=chance.choice((0.05, 10)),
        extension_ready_timeout=chance.choice((None, 0.01)),
        external_extensions=chance.choice((None, ["one"])),
        freeze_mode=chance.choice(list(FreezeMode)),
        shutdown_timeout=0.05,
    )
    async with simulator:
        world = World(chance, simulator)
        try:
            for _ in range(STEPS):
                await step(world, call)
            if chance.random() < 0.3:
                await simulator.graceful_shutdown(chance.choice(("spindown", "timeout", "failure")))
        finally:
            for peer in world.peers:
                peer.cut()
    check(simulator)


async def step(world: World, call: Callable[[World], bytes]) -> None:
    chance = world.chance
    what = chance.random()
    peer = chance.choice(world.peers)
    if what < 0.12:
        payload = as_bytes(chance, changed(chance, {"name": "Ada", "list": [1, 2, {"a": None}]}))
        try:
            await world.simulator.enqueue_payload(payload, **chance.choice(({}, {"timeout": 0.02}, {"tenant_id": "t"})))
        except LambdaboxError:  # what is not JSON is refused here
            return
    elif what < 0.17:
        peer.cut()
    elif peer.owed and peer.transport is not None and chance.random() < 0.8:
        pass  # it has a poll open: few clients pipeline, but some do
    else:
        await peer.send(call(world))
    for _ in range(chance.choice((0, 2, 6, 12))):
        await asyncio.sleep(0)


def check(simulator: Simulator) -> None:
    """What holds when everything is over."""
    starts: dict[str, int] = {}
    for event in simulator.telemetry_events:
        json.dumps(event.record)
        assert event.time.endswith("Z")
        if event.type in ("platform.start", "platform.runtimeDone", "platform.report"):
            key = f"{event.type} {event.record['requestId']}"
            starts[key] = starts.get(key, 0) + 1
    assert not [key for key, count in starts.items() if count > 1], starts
    for state in simulator.invocation_states().values():
        assert state.is_complete, state
        assert state.status in (InvocationStatus.SUCCESS, InvocationStatus.ERROR, InvocationStatus.TIMEOUT)
        assert state.response is not None


def request(method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> bytes:
    """One request, whole."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
