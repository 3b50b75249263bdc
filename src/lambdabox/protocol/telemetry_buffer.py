"""What a subscriber has not got yet, cut into batches (contract 3.2). Pure: time is an argument, in monotonic seconds.

A batch is due when `max_items` or `max_bytes` are there, `timeout_ms` after its first record came, or at once after `flush`. It
holds at most `max_items` records; its size stays within twice `max_bytes`. While a subscriber is behind, records wait for it up to
BACKLOG_BATCHES full batches; what comes then is dropped and counted, and `overflow` tells of it as soon as there is room again.

Parity: AWS cuts a record longer than `maxBytes` into two bodies, neither of them JSON; here it is a batch of its own, whole.
How much AWS keeps for a slow subscriber before it drops is not documented.
"""

from __future__ import annotations

from collections import deque

from lambdabox.model.rare_telemetry import LogsDropped
from lambdabox.protocol.telemetry_api import Buffering

BACKLOG_BATCHES = 64


class TelemetryBuffer:
    """Records as JSON bytes in, batches out. `due` is when to `take` the next one, or None."""

    def __init__(self, buffering: Buffering) -> None:
        self.due: float | None = None
        self._max_items = buffering.max_items
        self._max_bytes = buffering.max_bytes
        self._timeout = buffering.timeout_ms / 1000
        self._records: deque[tuple[bytes, float]] = deque()
        self._bytes = 0
        self._flushed = 0  # how many of the first records need not wait
        self._dropped_records = 0
        self._dropped_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: bytes, now: float) -> bool:
        """Keep a record until its batch is due; False when it was dropped."""
        records = self._records
        size = len(record) + 1
        count = len(records)
        is_full = count >= BACKLOG_BATCHES * self._max_items or self._bytes + size > BACKLOG_BATCHES * self._max_bytes
        if is_full and count:
            self._dropped_records += 1
            self._dropped_bytes += len(record)
            return False
        records.append((record, now))
        self._bytes += size
        if self.due is None:
            self.due = now + self._timeout
        if (self._bytes >= self._max_bytes or count + 1 >= self._max_items) and self.due > now:
            self.due = now
        return True

    def flush(self, now: float) -> None:
        """Everything that is here is due now."""
        self._flushed = len(self._records)
        if self._flushed:
            self.due = now

    def take(self, now: float) -> list[bytes]:
        """The next batch, or nothing when none is due."""
        if self.due is None or now < self.due:
            return []
        records = self._records
        batch: list[bytes] = []
        size = 0
        while records and len(batch) < self._max_items and size < self._max_bytes:
            record, _ = records[0]
            if batch and size + len(record) + 1 > 2 * self._max_bytes:
                break
            records.popleft()
            size += len(record) + 1
            batch.append(record)
        self._bytes -= size
        self._flushed = max(0, self._flushed - len(batch))
        if not records:
            self.due = None
        elif self._flushed or self._bytes >= self._max_bytes or len(records) >= self._max_items:
            self.due = now
        else:
            self.due = records[0][1] + self._timeout
        return batch

    def overflow(self) -> LogsDropped | None:
        """What was dropped since this was asked last; to be asked, and added, after a batch was taken."""
        if not self._dropped_records:
            return None
        dropped = LogsDropped(dropped_bytes=self._dropped_bytes, dropped_records=self._dropped_records)
        self._dropped_records = self._dropped_bytes = 0
        return dropped
