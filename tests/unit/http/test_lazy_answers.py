"""An answer that nobody waits for goes out together with the next one."""

from __future__ import annotations

POST = b"POST /result HTTP/1.1\r\nContent-Length: 2\r\n\r\nok"
NEXT = b"GET /next HTTP/1.1\r\nHost: here\r\n\r\n"


def lazily(exchange):
    """Answer results lazily, park polls."""
    if exchange.method == "POST":
        exchange.respond(202, (), exchange.body, lazily=True)


async def test_a_lazy_answer_is_written_at_once_when_nothing_follows(recorder, wire):
    recorder.action = lazily
    line = wire(recorder).feed(POST)
    assert line.statuses == [202]


async def test_a_lazy_answer_waits_for_the_poll_that_came_with_it(recorder, wire):
    recorder.action = lazily
    line = wire(recorder).feed(POST + NEXT)
    assert line.statuses == []
    recorder.last.respond(200, (), b"event")
    assert line.statuses == [202, 200]
    assert line.transport.writes == 1


async def test_recognized_requests_in_one_piece_are_taken_one_by_one(recorder, wire):
    recorder.action = lazily
    line = wire(recorder).feed(NEXT)
    for turn in range(5):
        recorder.last.respond(200, (), b"event")
        line.feed(POST + NEXT)
        assert [exchange.method for exchange in recorder.exchanges[-2:]] == ["POST", "GET"]
        assert recorder.exchanges[-2].body == b"ok"
        assert len(line.statuses) == 2 * turn + 1


async def test_a_recognized_request_before_half_of_another_waits_for_no_one(recorder, wire):
    recorder.action = lazily
    line = wire(recorder).feed(NEXT)
    recorder.last.respond(200)
    line.feed(POST + NEXT)
    recorder.last.respond(200)
    line.feed(POST + NEXT[:9])
    assert line.statuses == [200, 202, 200, 202]
    line.feed(NEXT[9:])
    assert recorder.last.path == "/next"


async def test_a_held_answer_is_written_before_the_connection_closes(recorder, wire):
    def answer(exchange):
        if exchange.method == "POST":
            exchange.respond(202, (), b"", lazily=True)
        else:
            exchange.respond(200)

    recorder.action = answer
    line = wire(recorder).feed(POST + b"GET /next HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert line.statuses == [202, 200]
    assert line.transport.closed


async def test_a_streamed_answer_takes_the_held_one_along(recorder, wire):
    recorder.action = lazily
    line = wire(recorder).feed(POST + NEXT)
    recorder.last.start(200)
    assert line.statuses == [202, 200]
