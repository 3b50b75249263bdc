"""Bytes on a connection of the HTTP server, in any pieces: well-formed answers in the order of the requests, and never a fault of ours."""

from __future__ import annotations

import asyncio
import random
import re
import sys

import httptools
from harness import main, mangled, pieces

from lambdabox.http.connection import Connection
from lambdabox.http.exchange import BodyEnd, Exchange
from lambdabox.http.limits import Limits
from lambdabox.http.server import HttpServer, plain_refusal

REFUSALS = {400, 403, 408, 413, 414, 431, 500, 501, 505}
TARGETS = (
    "/",
    "/a?b=c",
    "/2018-06-01/runtime/invocation/next",
    "http://h/x",
    "*",
    "/%00",
    "/" + "p" * 3000,
    "x",
    "/a b",
    "/\xff",
)
HEADERS = (
    "Host: h", "host: h", "X-One: 1", "x-one: 2", "Content-Type: application/json", "Connection: close", "Connection: keep-alive",
    "Expect: 100-continue", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Content-Length: 3", "Content-Length: -1",
    "Content-Length: 99999999999999999999", "Content-Length: 0x3", "Trailer: T", "Upgrade: h2c", "Connection: Upgrade", ": empty",
    "Bad Header: x", "Folded: a\r\n b", "X-Long: " + "v" * 3000,
)  # fmt: skip


class Wire(asyncio.Transport):
    """A socket's stand-in, which keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.is_over = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes) -> None:
        assert not self.is_over, "written after close"
        self.sent += data

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        self.is_over = True

    def abort(self) -> None:
        self.is_over = True

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def request(chance: random.Random) -> bytes:
    """A request; every other one is as it should be."""
    is_sane = chance.random() < 0.5
    method = (
        chance.choice(("GET", "POST", "PUT"))
        if is_sane
        else chance.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "PRI", "get"))
    )
    body = chance.randbytes(chance.choice((0, 1, 5, 70, 5000)))
    lines = ["Host: h"] if chance.random() < 0.9 else []
    coding = chance.randrange(4) if method != "HEAD" else 0
    if coding == 1:
        lines.append(f"Content-Length: {len(body)}")
    elif coding == 2:
        lines.append("Transfer-Encoding: chunked")
        parts = [b"%x%s\r\n%s\r\n" % (len(part), chance.choice((b"", b";a=b")), part) for part in pieces(chance, body)]
        body = b"".join(parts) + b"0\r\n" + chance.choice((b"", b"T: 1\r\n")) + b"\r\n"
    else:
        body = b""
    lines += [] if is_sane else [chance.choice(HEADERS) for _ in range(chance.choice((0, 0, 1, 2)))]
    if chance.random() < 0.02:
        lines += [f"X-{number}: 1" for number in range(1100)]
    version = "1.1" if is_sane else chance.choice(("1.1",) * 8 + ("1.0", "2.0", "1.5"))
    where = chance.choice(TARGETS[:4] if is_sane else TARGETS)
    head = f"{method} {where} HTTP/{version}\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"
    message = head.encode("latin-1") + body
    return message if is_sane else mangled(chance, message)


class Seen:
    """The application: answers at once, later, or in parts, and notes what it was asked."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.requests: list[tuple] = []

    def __call__(self, exchange: Exchange) -> None:
        self.requests.append((exchange.method, exchange.path, exchange.query, tuple(sorted(exchange.headers.items()))))
        number = len(self.requests)
        how = self.chance.randrange(4)
        if how == 0:
            exchange.respond(200, (("N", str(number)),), b"at once")
        elif how == 1:
            exchange.collect(2000, lambda end, body, size: self.collected(exchange, number, end, body, size))
        elif how == 2:
            exchange.respond(200, (("N", str(number)),), b"lazily", lazily=True)
        else:
            exchange.start(200, (("N", str(number)),))
            exchange.write(b"in ")
            exchange.write(b"parts")
            exchange.end((("T", "1"),))

    def collected(self, exchange: Exchange, number: int, end: BodyEnd, body: bytes, size: int) -> None:
        assert len(body) <= 2000
        assert end is not BodyEnd.COMPLETE or len(body) == size
        if not exchange.is_closed:
            exchange.respond(200, (("N", str(number)),), b"%d" % size)


class Answers:
    """Reads what was written as a client would."""

    def __init__(self, data: bytes) -> None:
        self.statuses: list[int] = []
        self.numbers: list[int] = []
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~\w-]+", name), name
        if name == b"N":
            self.numbers.append(int(value))

    def on_headers_complete(self) -> None:
        self.statuses.append(self.parser.get_status_code())


async def target(chance: random.Random) -> None:
    data = b"".join(request(chance) for _ in range(chance.randrange(1, 6)))
    faults: list[BaseException] = []
    seed = chance.random()
    heard = []
    # The second time with a head that was seen before, and the third in other pieces.
    server = None
    for parts in ([data], [data], pieces(chance, data)):
        application = Seen(random.Random(seed))
        previous, server = server, HttpServer(application, Limits(head_seconds=None, linger_seconds=0), plain_refusal)
        if previous is not None and chance.random() < 0.5:
            server.heads = previous.heads
        server.report = faults.append
        wire = Wire()
        wire.protocol = Connection(server)
        wire.protocol.connection_made(wire)
        for part in parts:
            feed(wire, part)
        if not wire.is_over:
            wire.protocol.eof_received()
        wire.protocol.connection_lost(None)
        if server._sweeper is not None:
            server._sweeper.cancel()
        heard.append(application.requests)
        assert not faults, (data, faults)
        if b"HEAD" not in data:  # its answers have a length and no body, which this reader does not know
            answers = Answers(bytes(wire.sent).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
            assert answers.numbers == sorted(set(answers.numbers)), (data, answers.numbers)
            assert all(status in REFUSALS or status in (100, 200) for status in answers.statuses), (data, answers.statuses)
            assert 500 not in answers.statuses, data
    assert heard[0] == heard[1], (data, heard)
    # In pieces a request may be shown before what is wrong with its body has arrived; what is shown is the same.
    assert heard[2][: len(heard[0])] == heard[0] or heard[0][: len(heard[2])] == heard[2], (data, heard)


def feed(wire: Wire, data: bytes) -> None:
    while data and not wire.is_over:
        protocol = wire.protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            buffer = memoryview(protocol.get_buffer(-1))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            protocol.buffer_updated(count)
            data = data[count:]
        else:
            protocol.data_received(data)
            return


if __name__ == "__main__":
    sys.exit(main(target))
