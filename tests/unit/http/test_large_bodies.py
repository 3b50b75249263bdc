"""Large bodies of known length go straight into one buffer; every other rule about bodies stays."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lambdabox.http.exchange import BodyEnd
from lambdabox.http.large_body import LARGE_BODY

from .conftest import Recorder, Wire

LIMIT = 1_000_000
GET = b"GET /after HTTP/1.1\r\n\r\n"


def collecting(recorder, limit=LIMIT):
    """An application that collects every body and answers it."""

    def answer(exchange):
        def done(end, body, size):
            recorder.done(end, bytes(body), size)
            exchange.respond(200)

        exchange.collect(limit, done)

    recorder.action = answer
    return recorder


def post(body, *, length=None):
    return b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


def pattern(size):
    return bytes(i % 251 for i in range(size))


async def test_a_large_body_comes_in_whole_without_the_parser(recorder, wire):
    body = pattern(LARGE_BODY * 3)
    message = post(body)
    line = wire(collecting(recorder))
    line.feed(message[:5000])
    assert isinstance(line.transport.protocol, asyncio.BufferedProtocol)
    line.feed(message[5000:])
    assert recorder.bodies == [(BodyEnd.COMPLETE, body, len(body))]
    assert line.transport.protocol is line.connection


async def test_what_follows_a_large_body_is_served(recorder, wire):
    body = pattern(LARGE_BODY * 2)
    message = post(body) + GET + post(body) + GET
    line = wire(collecting(recorder)).feed(*(message[at : at + 60_000] for at in range(0, len(message), 60_000)))
    assert line.statuses == [200, 200, 200, 200]
    assert [size for _, _, size in recorder.bodies] == [len(body), 0, len(body), 0]


async def test_a_large_body_that_is_cut_is_truncated_and_can_be_answered(recorder, wire):
    line = wire(collecting(recorder)).feed(post(pattern(400_000), length=500_000)[:300_000])
    line.eof()
    ((end, body, size),) = recorder.bodies
    assert end is BodyEnd.TRUNCATED
    assert body == pattern(400_000)[: len(body)]
    assert size == len(body) > 299_000
    assert line.statuses == [200]


async def test_a_body_over_the_limit_is_counted_and_thrown_away(recorder, wire):
    body = pattern(400_000)
    line = wire(collecting(recorder, limit=300_000)).feed(post(body)[:1000], post(body)[1000:])
    assert recorder.bodies == [(BodyEnd.OVERSIZED, b"", 400_000)]
    assert line.statuses == [200]


async def test_a_connection_that_breaks_in_a_large_body_tells_the_application(recorder, wire):
    line = wire(collecting(recorder)).feed(post(pattern(400_000))[:1000])
    line.transport.closed = True
    line.transport.protocol.connection_lost(None)
    assert [end for end, _, _ in recorder.bodies] == [BodyEnd.TRUNCATED]


@given(st.lists(st.integers(min_value=1, max_value=500_000), max_size=8))
def test_any_split_of_a_large_request_reads_the_same(cuts):
    async def main():
        body = pattern(LARGE_BODY * 3)
        message = post(body) + GET
        recorder = Recorder()
        line = Wire(collecting(recorder))
        places = sorted({0, len(message), *(cut for cut in cuts if cut < len(message))})
        line.feed(*(message[a:b] for a, b in pairwise(places)))
        assert recorder.bodies == [(BodyEnd.COMPLETE, body, len(body)), (BodyEnd.COMPLETE, b"", 0)]
        assert line.statuses == [200, 200]

    asyncio.run(main())
