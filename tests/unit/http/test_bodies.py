"""How request bodies reach the application."""

from __future__ import annotations

import pytest

from lambdabox.errors import InternalError
from lambdabox.http.exchange import BodyEnd
from lambdabox.http.limits import Limits

GET = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def post(length, body=b""):
    return b"POST /r HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length + body


@pytest.fixture
def collecting(recorder):
    recorder.action = lambda exchange: exchange.collect(10, recorder.done)
    return recorder


@pytest.fixture
def streaming(recorder):
    recorder.action = lambda exchange: exchange.stream(recorder)
    return recorder


@pytest.mark.parametrize("parts", [[post(5, b"hello")], [post(5, b"he"), b"llo"], [post(5), b"h", b"ello"]])
async def test_collect_gathers_a_body(wire, collecting, parts):
    wire(collecting).feed(*parts)
    assert collecting.bodies == [(BodyEnd.COMPLETE, b"hello", 5)]


@pytest.mark.parametrize("parts", [[post(12, b"x" * 12)], [post(12, b"x" * 11), b"x"]])
async def test_an_oversized_body_is_counted_and_the_connection_goes_on(wire, collecting, parts):
    line = wire(collecting).feed(*parts)
    assert collecting.bodies == [(BodyEnd.OVERSIZED, b"", 12)]
    collecting.last.respond(413)
    collecting.action = lambda exchange: exchange.respond(200)
    line.feed(GET)
    assert (line.statuses, line.transport.is_closing()) == ([413, 200], False)


async def test_an_oversized_body_is_not_kept(wire, collecting):
    line = wire(collecting).feed(post(1000, b"x" * 500))
    assert line.connection._active.chunks == []


async def test_a_body_cut_by_a_half_close_is_truncated_and_can_be_answered(wire, collecting):
    line = wire(collecting).feed(post(5, b"he"))
    collecting.last.on_disconnect = collecting.vanished
    assert line.eof()
    assert (collecting.bodies, collecting.gone) == ([(BodyEnd.TRUNCATED, b"he", 2)], 0)
    collecting.last.respond(400)
    assert (line.statuses, line.transport.closed) == ([400], True)


async def test_a_body_cut_by_a_reset_is_truncated_and_the_peer_is_gone(wire, collecting):
    line = wire(collecting).feed(post(5, b"he"))
    collecting.last.on_disconnect = collecting.vanished
    line.lose()
    assert (collecting.bodies, collecting.gone, collecting.last.is_closed) == ([(BodyEnd.TRUNCATED, b"he", 2)], 1, True)
    collecting.last.respond(400)


async def test_a_bad_chunk_truncates_the_body(wire, streaming):
    line = wire(streaming).feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"zz\r\n")
    assert (streaming.parts, streaming.ends) == ([b"abc"], [(BodyEnd.TRUNCATED, {})])
    streaming.last.respond(400)
    assert line.statuses == [400]
    assert line.transport.ended


async def test_stream_hands_on_what_arrives(wire, streaming):
    line = wire(streaming).feed(post(6, b"ab"))
    assert streaming.parts == [b"ab"]
    line.feed(b"cd", b"ef")
    assert (streaming.parts, streaming.ends) == ([b"ab", b"cd", b"ef"], [(BodyEnd.COMPLETE, {})])


async def test_stream_works_for_a_complete_request(wire, streaming):
    wire(streaming).feed(post(2, b"ab"))
    assert (streaming.parts, streaming.ends) == ([b"ab"], [(BodyEnd.COMPLETE, {})])


async def test_stream_gives_trailers_at_the_end(wire, streaming):
    wire(streaming).feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"0\r\nX-T: v\r\n\r\n")
    assert streaming.ends == [(BodyEnd.COMPLETE, {"x-t": "v"})]


async def test_a_paused_body_stops_the_socket_and_holds_the_end(wire, streaming):
    line = wire(streaming).feed(post(4, b"ab"))
    streaming.last.pause_body()
    assert not line.transport.is_reading_now
    line.feed(b"cd")
    assert (streaming.parts, streaming.ends) == ([b"ab"], [])
    streaming.last.resume_body()
    assert (streaming.parts, streaming.ends) == ([b"ab", b"cd"], [(BodyEnd.COMPLETE, {})])
    assert line.transport.is_reading_now


async def test_a_sink_may_pause_while_it_is_fed(wire, recorder):
    def body_data(data):
        recorder.parts.append(data)
        recorder.last.pause_body()

    recorder.body_data = body_data
    recorder.action = lambda exchange: exchange.stream(recorder)
    wire(recorder).feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    assert recorder.parts == [b"a"]
    recorder.last.resume_body()
    assert (recorder.parts, recorder.ends) == ([b"a", b"b"], [])
    recorder.last.resume_body()
    assert recorder.ends == [(BodyEnd.COMPLETE, {})]


async def test_a_body_nobody_has_asked_for_yet_stops_the_socket(wire, recorder):
    line = wire(recorder, limits=Limits(waiting_bytes=10)).feed(post(30, b"x" * 11))
    assert not line.transport.is_reading_now
    recorder.last.collect(100, recorder.done)
    assert line.transport.is_reading_now
    line.feed(b"x" * 19)
    assert recorder.bodies == [(BodyEnd.COMPLETE, b"x" * 30, 30)]


async def test_an_early_answer_throws_the_rest_away_and_the_connection_goes_on(wire, recorder):
    recorder.action = lambda exchange: exchange.respond(413)
    line = wire(recorder).feed(post(10, b"12345"))
    assert line.statuses == [413]
    recorder.action = lambda exchange: exchange.respond(200)
    line.feed(b"67890" + GET)
    assert line.statuses == [413, 200]


async def test_a_broken_body_after_an_early_answer_gets_no_second_answer(wire, recorder):
    recorder.action = lambda exchange: exchange.respond(413)
    line = wire(recorder).feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
    assert (line.statuses, line.transport.ended) == ([413], True)


@pytest.mark.parametrize("action", ["collect", "stream"])
async def test_continue_is_sent_when_the_body_is_wanted(wire, recorder, action):
    line = wire(recorder).feed(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert line.sent == b""
    if action == "collect":
        recorder.last.collect(10, recorder.done)
    else:
        recorder.last.stream(recorder)
    assert line.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.feed(b"ab")
    recorder.last.respond(200)
    assert (line.statuses, line.transport.is_closing()) == ([100, 200], False)


async def test_continue_is_not_sent_when_the_body_is_here(wire, collecting):
    line = wire(collecting).feed(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab")
    assert line.sent == b""


async def test_a_body_is_taken_once(wire, collecting):
    wire(collecting).feed(post(2))
    with pytest.raises(InternalError, match="taken twice"):
        collecting.last.collect(1, collecting.done)


async def test_continue_is_not_sent_behind_an_answer(wire, recorder):
    line = wire(recorder).feed(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    recorder.last.start(200)
    recorder.last.stream(recorder)
    recorder.last.end()
    assert (line.statuses, line.transport.ended) == ([200], True)
