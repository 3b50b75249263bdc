"""A server without a socket: bytes are fed through a transport that only writes down what happens."""

from __future__ import annotations

import asyncio
import re

import pytest

from lambdabox.http.connection import Connection
from lambdabox.http.limits import Limits
from lambdabox.http.server import HttpServer, plain_refusal


class FakeTransport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.sent = b""
        self.writes = 0
        self.closed = False
        self.aborted = False
        self.is_reading_now = True
        self.ended = False
        self.protocol = None

    def set_protocol(self, protocol):
        self.protocol = protocol

    def write(self, data):
        assert not self.closed, "written after close"
        self.sent += data
        self.writes += 1

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def is_closing(self):
        return self.closed or self.aborted

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True

    def write_eof(self):
        self.ended = True

    def pause_reading(self):
        assert self.is_reading_now
        self.is_reading_now = False

    def resume_reading(self):
        assert not self.is_reading_now
        self.is_reading_now = True


class Wire:
    """One connection: `feed` bytes, look at `sent`, `statuses` and `transport`."""

    def __init__(self, application, limits=None, policy=None):
        self.errors: list[BaseException] = []
        self.server = HttpServer(application, limits or Limits(head_seconds=None), plain_refusal)
        self.server.report = self.errors.append  # type: ignore[method-assign, assignment]  # what it would print is looked at here
        if policy is not None:
            self.server.guard = policy.guard("127.0.0.1", 9001)
        self.connect()

    def connect(self):
        self.transport = FakeTransport()
        self.connection = Connection(self.server)
        self.connection.connection_made(self.transport)

    def feed(self, *parts):
        for data in parts:
            part = data
            while part:
                protocol = self.transport.protocol or self.connection
                if isinstance(protocol, asyncio.BufferedProtocol):
                    buffer = memoryview(protocol.get_buffer(-1))
                    size = min(len(buffer), len(part))
                    buffer[:size] = part[:size]
                    buffer.release()
                    protocol.buffer_updated(size)
                    part = part[size:]
                else:
                    protocol.data_received(part)
                    break
        return self

    def eof(self):
        keep_open = (self.transport.protocol or self.connection).eof_received()
        if not keep_open:
            self.lose()
        return keep_open

    def lose(self):
        self.transport.closed = True
        self.connection.connection_lost(None)

    @property
    def sent(self):
        return self.transport.sent

    @property
    def statuses(self):
        return [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", self.transport.sent)]


class Recorder:
    """An application that keeps its exchanges, and a body sink that keeps what it is given."""

    def __init__(self, action=None):
        self.exchanges = []
        self.action = action
        self.bodies = []
        self.parts = []
        self.ends = []
        self.gone = 0

    def __call__(self, exchange):
        self.exchanges.append(exchange)
        if self.action is not None:
            self.action(exchange)

    @property
    def last(self):
        return self.exchanges[-1]

    def done(self, end, body, size):
        self.bodies.append((end, body, size))

    def body_data(self, data):
        self.parts.append(data)

    def body_end(self, end, trailers):
        self.ends.append((end, dict(trailers)))

    def vanished(self):
        self.gone += 1


@pytest.fixture
async def recorder():
    return Recorder()


@pytest.fixture
async def wire():
    """Makes wires; asynchronous because a server belongs to a loop."""
    made = []

    def make(application, **options):
        made.append(Wire(application, **options))
        return made[-1]

    yield make
    for each in made:
        if each.connection._linger is not None:
            each.connection._linger.cancel()
        if each.server._sweeper is not None:
            each.server._sweeper.cancel()
        assert each.errors == []


@pytest.fixture
def ok():
    return lambda exchange: exchange.respond(200, (), exchange.body)
