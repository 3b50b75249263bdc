"""What a request's bytes become."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdabox.http.limits import Limits
from lambdabox.http.server import HttpServer, plain_refusal

from .conftest import Recorder, Wire

POST = b"POST /a/b%20c?x=1&y HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nx-one: 2\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"POST /s HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nX-T: 1\r\nx-t: 2\r\n\r\n"
UPGRADE = b"POST /u HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\nContent-Length: 3\r\n\r\nabc"
UPGRADE_CHUNKED = (
    b"POST /v HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n"
)
UPGRADE_EMPTY = b"GET /w HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
ALL = [POST, GET, CHUNKED, UPGRADE, UPGRADE_CHUNKED, UPGRADE_EMPTY]


async def test_a_request_has_its_parts(wire, recorder):
    wire(recorder).feed(POST)
    exchange = recorder.last
    assert (exchange.method, exchange.path, exchange.query) == ("POST", "/a/b%20c", "x=1&y")
    assert exchange.headers == {"host": "h", "x-one": "1, 2", "content-length": "5"}
    assert (exchange.complete, exchange.body) == (True, b"hello")


async def test_an_incomplete_request_is_shown_when_its_bytes_are_used_up(wire, recorder):
    line = wire(recorder).feed(POST[:-2])
    assert not recorder.last.complete
    line.feed(POST[-2:])
    assert (recorder.last.complete, recorder.last.body) == (True, b"hello")


async def test_a_repeated_head_is_recognized_and_reads_the_same(wire, recorder):
    recorder.action = lambda exchange: exchange.respond(200)
    line = wire(recorder)
    line.feed(POST)
    first = recorder.last
    line.connection._parser = None  # it is not asked again
    line.feed(POST.replace(b"hello", b"HELLO").replace(b"/a/b%20c?x=1&y", b"/other"))
    assert (recorder.last.path, recorder.last.query, recorder.last.body) == ("/other", "", b"HELLO")
    assert first.headers == recorder.last.headers
    assert first.headers is not recorder.last.headers


async def test_a_known_head_with_a_short_body_waits_for_the_rest(wire, recorder):
    recorder.action = lambda exchange: exchange.collect(100, recorder.done)
    recorder.action = lambda exchange: exchange.respond(200) if exchange.complete else exchange.collect(100, recorder.done)
    wire(recorder).feed(POST, POST[:-3], POST[-3:])
    assert [(body, size) for _, body, size in recorder.bodies] == [(b"hello", 5)]


@pytest.mark.parametrize(
    "block",
    [b"Transfer-Encoding: chunked", b"Connection: close", b"Upgrade: x\r\nConnection: upgrade", b"Expect: 100-continue"],
)
async def test_heads_that_change_the_connection_are_not_remembered(wire, recorder, block):
    line = wire(recorder).feed(b"POST / HTTP/1.1\r\n" + block + b"\r\n\r\n")
    assert line.server.heads._blocks == {}


async def test_a_head_after_a_blank_line_is_not_remembered_wrongly(wire, ok):
    line = wire(ok).feed(b"\r\n\r\n" + POST)
    assert b"" not in line.server.heads._blocks
    line.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert line.statuses == [200, 200]


async def test_a_target_with_an_authority_is_read_as_a_path(wire, recorder):
    wire(recorder).feed(b"GET http://other:1?a=b HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (recorder.last.path, recorder.last.query, recorder.last.headers["host"]) == ("/", "a=b", "other:1")


async def test_trailers_are_kept_apart_from_headers(wire, recorder):
    wire(recorder).feed(CHUNKED)
    assert (recorder.last.trailers, recorder.last.body) == ({"x-t": "1, 2"}, b"abcdefg")
    assert "x-t" not in recorder.last.headers


@pytest.mark.parametrize("upgrade", [UPGRADE, UPGRADE_CHUNKED, UPGRADE_EMPTY])
async def test_an_offered_upgrade_is_not_taken(wire, recorder, upgrade):
    recorder.action = lambda exchange: exchange.respond(200, (), exchange.body)
    line = wire(recorder).feed(upgrade + GET)
    assert line.statuses == [200, 200]
    assert recorder.exchanges[0].body in {b"abc", b"xyz", b""}
    assert recorder.exchanges[1].path == "/next"


async def test_pipelined_requests_are_answered_in_order(wire, recorder):
    line = wire(recorder).feed(GET + POST + GET)
    assert len(recorder.exchanges) == 1
    recorder.exchanges[0].respond(200, (), b"1")
    recorder.exchanges[1].respond(200, (), b"2")
    recorder.exchanges[2].respond(200, (), b"3")
    assert [part[:1] for part in line.sent.split(b"\r\n\r\n")[1:]] == [b"1", b"2", b"3"]


async def test_many_pipelined_requests_do_not_nest(wire, ok):
    line = wire(ok).feed(GET * 5000)
    assert len(line.statuses) == 5000


async def test_reading_stops_while_too_much_is_queued(wire, recorder):
    line = wire(recorder, limits=Limits(queued=2)).feed(GET * 4)
    assert not line.transport.is_reading_now
    recorder.exchanges[0].respond(200)
    assert line.transport.is_reading_now


@settings(deadline=None, max_examples=150)
@given(
    messages=st.lists(st.sampled_from(ALL), min_size=1, max_size=5),
    cuts=st.lists(st.integers(min_value=0, max_value=900), max_size=12),
    streams=st.booleans(),
)
def test_any_split_of_the_bytes_reads_the_same(messages, cuts, streams):
    async def read(parts):
        seen = []

        class Sink:
            def __init__(self, exchange):
                self.exchange, self.body = exchange, b""

            def body_data(self, data):
                self.body += data

            def body_end(self, end, trailers):
                finish(self.exchange, end, self.body, dict(trailers))

        def finish(exchange, end, body, trailers):
            seen.append((exchange.method, exchange.path, exchange.query, exchange.headers, end, body, trailers))
            exchange.respond(200)

        def application(exchange):
            if streams:
                exchange.stream(Sink(exchange))
            else:
                exchange.collect(1000, lambda end, body, size: finish(exchange, end, body, exchange.trailers))

        line = Wire(application)
        line.feed(*parts)
        assert line.errors == []
        return seen, line.statuses

    data = b"".join(messages)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    parts = [data[start:end] for start, end in pairwise(places)]
    whole, statuses = asyncio.run(read([data]))
    assert [200] * len(messages) == statuses
    assert (whole, statuses) == asyncio.run(read(parts))


async def test_every_single_split_point_reads_the_same(wire, recorder):
    recorder.action = lambda exchange: exchange.collect(100, lambda end, body, size: exchange.respond(200, (), body))
    for message in ALL:
        for cut in range(1, len(message)):
            line = wire(recorder).feed(message[:cut], message[cut:] + GET)
            assert line.statuses == [200, 200], (message, cut)


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=200) | st.lists(st.sampled_from([*ALL, b"\r\n", b"GET ", b"0\r\n", b"\x00"])).map(b"".join))
def test_no_bytes_break_the_server(data):
    async def run():
        server = HttpServer(lambda exchange: exchange.respond(200), Limits(head_seconds=None), plain_refusal)
        line = Wire(Recorder(lambda exchange: exchange.respond(200)))
        del server
        line.feed(data)
        line.eof()
        assert line.errors == []
        assert set(line.statuses) <= {200, 400, 501, 505}

    asyncio.run(run())
