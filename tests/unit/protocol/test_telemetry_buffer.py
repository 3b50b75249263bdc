"""Batches of telemetry (contract 3.2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambdabox.protocol.telemetry_api import Buffering
from lambdabox.protocol.telemetry_buffer import BACKLOG_BATCHES, TelemetryBuffer


def buffer(max_items: int = 1000, max_bytes: int = 262_144, timeout_ms: int = 1000) -> TelemetryBuffer:
    return TelemetryBuffer(Buffering(max_items=max_items, max_bytes=max_bytes, timeout_ms=timeout_ms))


def test_an_empty_buffer_is_never_due():
    empty = buffer()
    assert empty.due is None
    empty.flush(5.0)
    assert empty.due is None
    assert empty.take(99.0) == []


def test_a_record_is_due_when_its_time_is_up():
    some = buffer(timeout_ms=100)
    some.add(b"1", 10.0)
    some.add(b"2", 10.05)
    assert some.due == 10.1
    assert some.take(10.09) == []
    assert some.take(10.1) == [b"1", b"2"]
    assert some.due is None


def test_a_batch_is_due_at_once_when_there_are_enough_records():
    some = buffer(max_items=3)
    for record in (b"1", b"2"):
        some.add(record, 10.0)
    assert some.due == 11.0
    for record in (b"3", b"4"):
        some.add(record, 10.5)
    assert some.due == 10.5
    assert some.take(10.5) == [b"1", b"2", b"3"]
    assert some.due == 11.5
    assert some.take(11.5) == [b"4"]


def test_a_batch_is_due_at_once_when_there_are_enough_bytes():
    some = buffer(max_bytes=10)
    some.add(b"12345", 10.0)
    assert some.due == 11.0
    some.add(b"678", 10.2)
    assert some.due == 10.2
    assert some.take(10.2) == [b"12345", b"678"]


def test_a_batch_stays_within_twice_the_bytes():
    some = buffer(max_bytes=10)
    some.add(b"123456", 10.0)
    some.add(b"x" * 12, 10.0)
    some.add(b"x" * 14, 10.0)
    assert some.take(10.0) == [b"123456", b"x" * 12]
    assert some.due == 10.0
    assert some.take(10.0) == [b"x" * 14]


def test_a_record_that_is_larger_goes_alone():
    some = buffer(max_bytes=10)
    some.add(b"1", 10.0)
    some.add(b"x" * 99, 10.0)
    some.add(b"2", 10.0)
    some.flush(10.0)
    assert [some.take(10.0) for _ in range(4)] == [[b"1"], [b"x" * 99], [b"2"], []]


def test_a_flush_makes_due_what_is_there_and_nothing_later():
    some = buffer(max_items=2)
    for record in (b"1", b"2", b"3"):
        some.add(record, 10.0)
    some.flush(10.0)
    some.add(b"4", 10.1)
    assert some.take(10.1) == [b"1", b"2"]
    assert some.take(10.1) == [b"3", b"4"]
    some.add(b"5", 10.2)
    assert some.due == 11.2


def test_too_much_is_dropped_and_told_once():
    some = buffer(max_items=1)
    kept = [some.add(b"abc", 10.0) for _ in range(BACKLOG_BATCHES + 2)]
    assert kept == [True] * BACKLOG_BATCHES + [False] * 2
    some.take(10.0)
    dropped = some.overflow()
    assert dropped is not None
    assert (dropped.dropped_records, dropped.dropped_bytes) == (2, 6)
    assert some.overflow() is None
    assert some.add(b"again", 10.0)


def test_too_many_bytes_are_dropped_but_never_the_only_record():
    some = buffer(max_bytes=1)
    assert some.add(b"x" * 1000, 10.0)
    assert not some.add(b"x" * 1000, 10.0)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["add", "take", "flush", "wait"])), max_size=80),
    st.integers(1, 5),
    st.integers(5, 60),
)
def test_nothing_is_lost_doubled_or_reordered(steps, max_items, max_bytes):
    some = buffer(max_items=max_items, max_bytes=max_bytes, timeout_ms=1000)
    now, sent, got, batches = 0.0, [], [], []
    for number, (size, what) in enumerate(steps):
        if what == "add":
            record = f"{number}:".encode() + b"x" * size
            if some.add(record, now):
                sent.append(record)
        elif what == "flush":
            some.flush(now)
        elif what == "wait":
            now += size / 40
        else:
            batch = some.take(now)
            batches.append(batch)
            got += batch
        assert (some.due is None) == (len(some) == 0)
        assert some.due is None or some.due <= now + 1.0
    some.flush(now)
    while batch := some.take(now):
        batches.append(batch)
        got += batch
    assert got == sent
    assert len(some) == 0
    for batch in batches:
        assert len(batch) <= max_items
        assert len(batch) <= 1 or sum(len(record) + 1 for record in batch) <= 2 * max_bytes
