"""How answers leave, and who is told when the peer is gone."""

from __future__ import annotations

import pytest

from lambdabox.errors import InternalError

from .conftest import Recorder, Wire

GET = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
OLD = b"GET /next HTTP/1.0\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\n\r\n"


async def test_a_small_answer_is_one_write(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.respond(200, (("Content-Type", "text/plain"), ("X-A", "b")), b"hi")
    assert line.sent == b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi"
    assert line.transport.writes == 1


async def test_a_large_body_is_not_copied_behind_its_head(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.respond(200, (), b"x" * 1_000_000)
    assert line.transport.writes == 2


@pytest.mark.parametrize(("status", "tail"), [(204, b"204 No Content\r\n\r\n"), (304, b"304 Not Modified\r\n\r\n")])
async def test_an_answer_without_content_has_no_length(wire, recorder, status, tail):
    line = wire(recorder).feed(GET)
    recorder.last.respond(status, (), b"")
    assert line.sent.endswith(tail)


async def test_an_answer_to_head_has_a_length_and_no_body(wire, recorder):
    line = wire(recorder).feed(HEAD)
    recorder.last.respond(200, (), b"hello")
    assert line.sent.endswith(b"Content-Length: 5\r\n\r\n")


async def test_a_streamed_answer_to_head_has_no_body(wire, recorder):
    line = wire(recorder).feed(HEAD)
    recorder.last.start(200)
    recorder.last.write(b"hello")
    recorder.last.end()
    assert line.sent.endswith(b"Transfer-Encoding: chunked\r\n\r\n")


async def test_a_streamed_answer_is_chunked_with_trailers(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.start(200, (("X-A", "b"),))
    assert recorder.last.write(b"hello")
    recorder.last.write(b"")
    recorder.last.end((("X-T", "1"),))
    assert line.sent.endswith(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")


async def test_a_streamed_answer_with_a_length_is_not_chunked(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.start(200, (("content-length", "5"),))
    recorder.last.write(b"he")
    recorder.last.write(b"llo")
    recorder.last.end()
    assert line.sent == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_streamed_answer_shorter_than_its_length_is_cut(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.start(200, (("Content-Length", "5"),))
    with pytest.raises(InternalError, match="5 bytes shorter"):
        recorder.last.end()
    assert line.transport.aborted


async def test_a_streamed_answer_to_http_1_0_ends_with_the_connection(wire, recorder):
    line = wire(recorder).feed(OLD)
    recorder.last.start(200)
    recorder.last.write(b"hello")
    recorder.last.end()
    assert line.sent == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert line.transport.closed


async def test_http_1_0_is_closed_unless_it_asks_to_be_kept(wire, ok):
    line = wire(ok).feed(OLD)
    assert line.transport.closed
    line = wire(ok).feed(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"Connection: keep-alive\r\n" in line.sent
    assert not line.transport.closed


@pytest.mark.parametrize(
    "header",
    [("X-A", "b\r\nX-B: c"), ("X-A", "b\nc"), ("X-A", "b\0"), ("X A", "b"), ("", "b"), ("X-A:", "b"), ("Content-Length", "1"),
     ("transfer-encoding", "chunked"), ("Connection", "close"), ("X-A", "\u20ac")],
)  # fmt: skip
async def test_a_header_that_breaks_the_message_is_refused(wire, recorder, header):
    line = wire(recorder).feed(GET)
    for headers in ((header,), [header], [("X-Ok", "1"), header]):
        with pytest.raises(InternalError):
            recorder.last.respond(200, headers)
    recorder.last.respond(200)
    assert line.statuses == [200]


async def test_answering_twice_is_our_own_fault(wire, recorder):
    wire(recorder).feed(GET)
    recorder.last.respond(200)
    for act in (
        lambda: recorder.last.respond(200),
        lambda: recorder.last.start(200),
        lambda: recorder.last.write(b""),
        recorder.last.end,
    ):
        with pytest.raises(InternalError):
            act()


async def test_a_slow_reader_is_waited_for(wire, recorder):
    line = wire(recorder).feed(GET + GET)
    first = recorder.last
    first.start(200)
    calls = []
    first.on_writable = lambda: calls.append(1)
    line.connection.pause_writing()
    assert not first.write(b"a")
    first.end()
    assert len(recorder.exchanges) == 1  # the next request waits for the buffer
    line.connection.resume_writing()
    assert len(recorder.exchanges) == 2


async def test_on_writable_is_called_when_the_buffer_is_drained(wire, recorder):
    line = wire(recorder).feed(GET)
    calls = []
    recorder.last.on_writable = lambda: calls.append(1)
    recorder.last.start(200)
    line.connection.pause_writing()
    line.connection.resume_writing()
    assert calls == [1]


async def test_a_parked_exchange_is_told_of_a_lost_peer_once(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.on_disconnect = recorder.vanished
    line.lose()
    assert (recorder.gone, recorder.last.is_closed) == (1, True)
    recorder.last.respond(200)
    assert line.sent == b""


async def test_a_parked_exchange_is_told_of_a_half_close(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.on_disconnect = recorder.vanished
    assert not line.eof()
    assert recorder.gone == 1


async def test_an_exchange_that_did_not_ask_answers_a_half_closed_peer(wire, recorder):
    line = wire(recorder).feed(GET)
    assert line.eof()
    recorder.last.respond(200)
    assert (line.statuses, line.transport.closed) == ([200], True)


async def test_a_queued_exchange_that_parks_after_the_end_is_told(wire, recorder):
    def park(exchange):
        exchange.on_disconnect = recorder.vanished

    line = wire(recorder).feed(GET + GET)
    assert line.eof()
    recorder.action = park
    recorder.exchanges[0].respond(200)
    assert (len(recorder.exchanges), recorder.gone, line.transport.closed) == (2, 1, True)


async def test_an_answered_exchange_is_not_told(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.on_disconnect = recorder.vanished
    recorder.last.respond(200)
    line.lose()
    assert recorder.gone == 0


async def test_abort_cuts_the_connection_and_tells_nobody(wire, recorder):
    line = wire(recorder).feed(GET)
    recorder.last.on_disconnect = recorder.vanished
    recorder.last.start(200)
    recorder.last.abort()
    line.lose()
    assert (line.transport.aborted, recorder.gone, recorder.last.is_closed) == (True, 0, True)


async def test_a_failing_application_is_a_500_and_is_reported():
    def application(exchange):
        raise ZeroDivisionError

    line = Wire(application).feed(GET)
    assert line.statuses == [500]
    assert [ZeroDivisionError] == [type(error) for error in line.errors]
    line.feed(GET)
    assert line.statuses == [500, 500]


async def test_an_application_that_fails_after_it_started_is_cut():
    def application(exchange):
        exchange.start(200)
        raise ZeroDivisionError

    line = Wire(application).feed(GET)
    assert line.transport.aborted


async def test_a_failing_sink_is_a_500():
    recorder = Recorder(lambda exchange: exchange.stream(None))
    line = Wire(recorder).feed(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\na")
    assert line.statuses == []  # no sink, nothing to hand on to
    recorder = Recorder(lambda exchange: exchange.stream(recorder))
    recorder.body_data = lambda data: 1 / 0  # type: ignore[method-assign]  # a sink with a fault
    line = Wire(recorder).feed(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", b"a")
    assert line.statuses == [500]
    line.feed(b"b" + GET)


async def test_draining_answers_what_is_owed_and_says_close(wire, recorder):
    line = wire(recorder).feed(GET)
    line.connection.drain()
    assert not line.transport.closed
    recorder.last.respond(200)
    assert b"Connection: close\r\n" in line.sent
    assert line.transport.closed


async def test_draining_closes_an_idle_connection_at_once(wire, ok):
    line = wire(ok).feed(GET)
    line.connection.drain()
    assert line.transport.closed
