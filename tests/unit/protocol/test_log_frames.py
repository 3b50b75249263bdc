"""Splitting output into log events, however the bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdabox.protocol.log_frames import LINE_MAX, LogEvent, LogSplitter


def frame(body: bytes, kind: int = 0x0F) -> bytes:
    return b"\xa5\x5a\x00" + bytes((kind,)) + len(body).to_bytes(4, "big") + (1).to_bytes(8, "big") + body


def split(*parts: bytes) -> list[LogEvent]:
    splitter = LogSplitter()
    out = [event for part in parts for event in splitter.feed(part)]
    return out + splitter.flush()


def test_lines_keep_their_newlines() -> None:
    assert split(b"a\nb\n\nc") == [LogEvent(b"a\n"), LogEvent(b"b\n"), LogEvent(b"\n"), LogEvent(b"c")]


def test_an_unfinished_line_waits_for_its_end() -> None:
    splitter = LogSplitter()
    assert splitter.feed(b"hel") == []
    assert splitter.feed(b"lo\nx") == [LogEvent(b"hello\n")]
    assert splitter.flush() == [LogEvent(b"x")]
    assert splitter.flush() == []


@pytest.mark.parametrize(
    ("kind", "level", "is_json"),
    [
        (0x03, None, False),
        (0x02, None, True),
        (0x07, "TRACE", False),
        (0x0B, "DEBUG", False),
        (0x0F, "INFO", False),
        (0x0E, "INFO", True),
        (0x13, "WARN", False),
        (0x17, "ERROR", False),
        (0x1B, "FATAL", False),
        (0x1A, "FATAL", True),
    ],
)
def test_a_frame_says_its_level_and_format(kind: int, level: str | None, is_json: bool) -> None:
    assert split(frame(b"x", kind)) == [LogEvent(b"x", level, is_json, is_framed=True)]


def test_a_frame_with_newlines_is_one_event() -> None:
    assert split(frame(b"a\nb\n")) == [LogEvent(b"a\nb\n", "INFO", is_framed=True)]


def test_an_empty_frame_is_an_event() -> None:
    assert split(frame(b"")) == [LogEvent(b"", "INFO", is_framed=True)]


def test_a_frame_ends_an_unfinished_line() -> None:
    assert split(b"half" + frame(b"x") + b"rest\n") == [
        LogEvent(b"half"),
        LogEvent(b"x", "INFO", is_framed=True),
        LogEvent(b"rest\n"),
    ]


def test_a_frame_inside_a_frame_is_content() -> None:
    assert split(frame(frame(b"x"))) == [LogEvent(frame(b"x"), "INFO", is_framed=True)]


@pytest.mark.parametrize(
    "data",
    [
        b"\xa5\x5a\x00\x0d" + bytes(20),  # no kind of frame
        b"\xa5\x5a\x00\x23" + bytes(20),  # no level
        b"\xa5\x5a\x00\x0f\xff\xff\xff\xff" + bytes(20),  # longer than any frame
    ],
)
def test_what_only_looks_like_a_frame_is_output(data: bytes) -> None:
    assert split(data) == [LogEvent(data)]
    assert split(data + frame(b"x")) == [LogEvent(data), LogEvent(b"x", "INFO", is_framed=True)]


def test_an_incomplete_frame_is_given_out_in_the_end() -> None:
    assert split(frame(b"abc")[:-1]) == [LogEvent(b"ab")]
    assert split(frame(b"abc")[:9]) == [LogEvent(frame(b"abc")[:9])]


def test_the_beginning_of_a_frame_waits_for_more() -> None:
    splitter = LogSplitter()
    assert splitter.feed(b"a\n\xa5") == [LogEvent(b"a\n")]
    assert splitter.feed(b"\x5a") == []
    assert splitter.feed(frame(b"x")[2:]) == [LogEvent(b"x", "INFO", is_framed=True)]


def test_a_line_that_is_too_long_comes_in_parts() -> None:
    sizes = [len(event.data) for event in split(b"x" * (LINE_MAX + 5) + b"\n")]
    assert sizes == [LINE_MAX, 6]


Piece = st.one_of(
    st.sampled_from([b"plain\n", b"half", b"\n", b"\xa5", b"\xa5\x5a", b"\xff\x00\n"]),
    st.builds(frame, st.sampled_from([b"", b"a", b"a\nb", b"\xa5\x5a\x00"]), st.sampled_from([0x03, 0x0E, 0x17])),
)


def joined(events: list[LogEvent]) -> list[LogEvent]:
    """Neighbouring pieces of plain output as one."""
    out: list[LogEvent] = []
    for event in events:
        if out and not event.is_framed and not out[-1].is_framed:
            out[-1] = LogEvent(out[-1].data + event.data)
        else:
            out.append(event)
    return out


@given(st.lists(Piece, max_size=8).map(b"".join), st.lists(st.integers(0, 120), max_size=6))
def test_any_split_of_the_bytes_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(data)) for cut in cuts})
    parts = [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]
    assert joined(split(*parts)) == joined(split(data))


@given(st.binary(max_size=200))
def test_plain_output_is_given_out_whole(data: bytes) -> None:
    plain = data.replace(b"\xa5", b"")
    assert b"".join(event.data for event in split(plain)) == plain
