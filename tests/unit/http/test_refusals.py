"""What is not served, and what becomes of the connection."""

from __future__ import annotations

import pytest

from lambdabox.http.limits import Limits
from lambdabox.http.policy import HostPolicy

GET = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x00", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT h:1 HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_a_message_two_readers_could_read_differently_is_refused(wire, recorder, request_bytes, status):
    line = wire(recorder).feed(request_bytes)
    assert ([status], []) == (line.statuses, recorder.exchanges)
    assert b"Connection: close\r\n" in line.sent
    assert line.transport.ended
    line.feed(GET)
    assert [status] == line.statuses


async def test_a_refusal_waits_for_the_answers_that_are_owed(wire, recorder):
    line = wire(recorder).feed(GET + b"nonsense\r\n\r\n")
    assert line.statuses == []
    recorder.last.respond(200)
    assert line.statuses == [200, 400]


async def test_the_front_end_chooses_the_body_of_a_refusal(wire, recorder):
    line = wire(recorder)
    line.server.render_refusal = lambda status, message: ((("Content-Type", "application/json"),), b'{"s":%d}' % status)
    line.feed(b"nonsense\r\n\r\n")
    assert line.sent.endswith(b'\r\n\r\n{"s":400}')


async def test_headers_up_to_the_limit_pass(wire, ok):
    head = b"GET / HTTP/1.1\r\nA: "
    line = wire(ok, limits=Limits(head_bytes=1000)).feed(head + b"x" * (995 - len(head)) + b"\r\n\r\n")
    assert line.statuses == [200]


@pytest.mark.parametrize("step", [64, 5000])
async def test_headers_over_the_limit_are_431(wire, recorder, step):
    data = b"GET / HTTP/1.1\r\nA: " + b"x" * 1000 + b"\r\n\r\n"
    line = wire(recorder, limits=Limits(head_bytes=1000))
    line.feed(*(data[at : at + step] for at in range(0, len(data), step)))
    assert line.statuses == [431]


async def test_endless_headers_are_refused_before_they_end(wire, recorder):
    line = wire(recorder, limits=Limits(head_bytes=1000)).feed(b"GET / HTTP/1.1\r\nA: ", *[b"x" * 100] * 11)
    assert line.statuses == [431]


@pytest.mark.parametrize("step", [64, 5000])
async def test_a_url_over_the_limit_is_414(wire, recorder, step):
    data = b"GET /" + b"x" * 1000 + b" HTTP/1.1\r\n\r\n"
    line = wire(recorder, limits=Limits(head_bytes=1000))
    line.feed(*(data[at : at + step] for at in range(0, len(data), step)))
    assert line.statuses == [414]


async def test_too_many_headers_are_431(wire, recorder):
    line = wire(recorder, limits=Limits(headers=10)).feed(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 11 + b"\r\n")
    assert line.statuses == [431]


async def test_trailers_over_the_limit_cut_the_body(wire, recorder):
    recorder.action = lambda exchange: exchange.collect(100, recorder.done)
    line = wire(recorder, limits=Limits(headers=3)).feed(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(4)),
        b"\r\n",
    )
    assert [end.value for end, _, _ in recorder.bodies] == ["truncated"]
    recorder.last.respond(400)
    assert line.statuses == [400]


async def test_endless_trailers_cut_the_body(wire, recorder):
    recorder.action = lambda exchange: exchange.collect(100, recorder.done)
    wire(recorder, limits=Limits(head_bytes=1000)).feed(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\na: ", *[b"x" * 100] * 12
    )
    assert [end.value for end, _, _ in recorder.bodies] == ["truncated"]


async def test_endless_chunk_extensions_cut_the_body(wire, recorder):
    recorder.action = lambda exchange: exchange.collect(100, recorder.done)
    wire(recorder, limits=Limits(head_bytes=1000)).feed(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;", *[b"x" * 100] * 12
    )
    assert [end.value for end, _, _ in recorder.bodies] == ["truncated"]


async def test_a_foreign_host_is_403_and_is_not_remembered(wire, recorder):
    line = wire(recorder, policy=HostPolicy()).feed(b"GET / HTTP/1.1\r\nHost: evil.example:9001\r\n\r\n")
    assert (line.statuses, line.server.heads._blocks) == ([403], {})
    assert b"evil.example:9001" in line.sent


async def test_a_refused_upload_is_not_told_to_continue(wire, recorder):
    recorder.action = lambda exchange: exchange.respond(413)
    line = wire(recorder).feed(b"POST / HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    assert line.statuses == [413]
    assert line.transport.ended


async def test_data_after_connection_close_is_ignored(wire, ok):
    line = wire(ok).feed(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n" + GET)
    assert (line.statuses, line.transport.closed) == ([200], True)
    assert b"Connection: close\r\n" in line.sent


async def test_a_slow_head_is_408(wire, recorder):
    line = wire(recorder, limits=Limits(head_seconds=0.0)).feed(b"GET / HTT")
    line.server._sweep()
    line.server._sweeper.cancel()
    line.server._sweep()
    assert line.statuses == [408]


async def test_an_idle_connection_is_closed_after_its_time(wire, ok):
    line = wire(ok, limits=Limits(head_seconds=None, idle_seconds=0.0)).feed(GET)
    line.server._sweep()
    line.server._sweeper.cancel()
    assert not line.transport.closed
    line.server._sweep()
    assert line.transport.closed


async def test_a_parked_exchange_has_no_time_limit(wire, recorder):
    line = wire(recorder, limits=Limits(head_seconds=0.0, idle_seconds=0.0)).feed(GET)
    for _ in range(3):
        line.server._sweeper.cancel()
        line.server._sweep()
    assert not line.transport.is_closing()
