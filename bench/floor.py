"""The floor: the messages of a warm invoke (invoke, next, response, invoke) in a bare loop, and nothing else.

asyncio on uvloop with httptools on one side, a raw-socket Python process per environment (floor_runtime.py) on the other.
No lifecycle, no validation, no limits, no logs: what stays above this floor is what lambdabox adds. Each environment has a
listener of its own, as in lambdabox, and the requests carry the headers that a runtime needs.

    .venv/bin/python bench/floor.py --port 4000 --environments 16
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import deque
from pathlib import Path

import httptools
import uvloop

RUNTIME = Path(__file__).resolve().parent / "floor_runtime.py"
ARN = b"arn:aws:lambda:us-east-1:123456789012:function:floor"


class Messages(asyncio.Protocol):
    """One connection: whole requests, one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.parts: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_body(self, data: bytes) -> None:
        self.parts.append(data)

    def on_message_complete(self) -> None:
        parts = self.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self.request(body)

    def request(self, body: bytes) -> None:
        raise NotImplementedError


class Front(Messages):
    """A caller of the Invoke API."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor

    def request(self, body: bytes) -> None:
        idle = self.floor.idle
        if idle:
            idle.pop().invoke(self, body)
        else:
            self.floor.waiting.append((self, body))

    def reply(self, body: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


class Environment(Messages):
    """The runtime's connection: it asks for the next event and posts its answer."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor

    def request(self, body: bytes) -> None:
        if self.url.endswith(b"/next"):
            waiting = self.floor.waiting
            if waiting:
                self.invoke(*waiting.popleft())
            else:
                self.floor.idle.append(self)
                self.floor.ready()
        else:
            self.caller.reply(body)
            self.transport.write(
                b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
            )

    def invoke(self, caller: Front, body: bytes) -> None:
        self.caller = caller
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: %b\r\n"
            b"Lambda-Runtime-Deadline-Ms: %d\r\nLambda-Runtime-Invoked-Function-Arn: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (str(uuid.uuid4()).encode(), int(time.time() * 1000) + 30_000, ARN, len(body), body)
        )


class Floor:
    """Idle environments and callers that wait for one."""

    def __init__(self, environments: int) -> None:
        self.environments = environments
        self.idle: list[Environment] = []
        self.waiting: deque[tuple[Front, bytes]] = deque()
        self.all_ready = asyncio.Event()

    def ready(self) -> None:
        if len(self.idle) == self.environments:
            self.all_ready.set()


async def main(port: int, environments: int, python: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    floor = Floor(environments)
    runtimes = []
    try:
        for _ in range(environments):
            server = await loop.create_server(lambda: Environment(floor), "127.0.0.1", 0)
            address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
            runtimes.append(subprocess.Popen([python, str(RUNTIME), address], stdin=subprocess.DEVNULL))
        await asyncio.wait_for(floor.all_ready.wait(), 30)
        await loop.create_server(lambda: Front(floor), "127.0.0.1", port)  # the port opens when every environment waits
        await stop.wait()
    finally:
        for runtime in runtimes:
            runtime.kill()
        for runtime in runtimes:
            runtime.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The bare loop of a warm invoke's messages.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--environments", type=int, default=1)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the runtime processes")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.port, options.environments, options.python))
