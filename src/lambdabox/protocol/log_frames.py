"""Splitting what a process wrote into log events: plain lines, and frames of the framed log descriptor (contract 3.4).

Both come through one pipe, so that their order is kept. A frame is a 4-byte type, a 4-byte length, an 8-byte time stamp in
microseconds, and that many bytes; it may hold newlines and is one event. Everything else is split at line ends.
"""

from __future__ import annotations

from lambdabox.model.fact import fact

_HEADER = 16
_MAGIC = b"\xa5\x5a\x00"
_LEVELS = {0: None, 1: "TRACE", 2: "DEBUG", 3: "INFO", 4: "WARN", 5: "ERROR", 6: "FATAL"}
_FRAME_MAX = 32 * 1024 * 1024  # a longer length is no frame but binary output that happens to look like one
LINE_MAX = 256 * 1024  # a longer line is given out in parts, as CloudWatch's event limit does


@fact
class LogEvent:
    """One log event: its bytes (with the newline, where there was one), its level when it is known, and whether it is JSON."""

    data: bytes
    level: str | None = None
    is_json: bool = False
    is_framed: bool = False


class LogSplitter:
    """Bytes in, log events out; keeps an unfinished line or frame until the rest arrives or `flush` is called."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[LogEvent]:
        """The events that are complete with `data`."""
        return self._scan(self._rest + data if self._rest else data, is_final=False)

    def flush(self) -> list[LogEvent]:
        """What is unfinished, as it is."""
        rest, self._rest = self._rest, b""
        return self._scan(rest, is_final=True) if rest else []

    def _scan(self, data: bytes, *, is_final: bool) -> list[LogEvent]:
        out: list[LogEvent] = []
        position, size = 0, len(data)
        while position < size:
            frame = _find_frame(data, position)
            plain_end = frame if frame >= 0 else size if is_final else size - _partial_magic(data)
            position = _split_lines(data, position, plain_end, out, is_closed=frame >= 0 or is_final)
            if position < plain_end or frame < 0:
                break
            end = frame + _HEADER + int.from_bytes(data[frame + 4 : frame + 8], "big")
            if size - frame < _HEADER or end > size:
                if is_final:
                    body = data[frame + _HEADER :] if size - frame > _HEADER else data[frame:]
                    out.append(LogEvent(body))
                    position = size
                break
            kind = data[frame + 3]
            out.append(LogEvent(data[frame + _HEADER : end], _LEVELS[kind >> 2], is_json=not kind & 1, is_framed=True))
            position = end
        self._rest = data[position:]
        return out


def _find_frame(data: bytes, position: int) -> int:
    """Where the next frame starts (its header may still be incomplete), or -1."""
    found = data.find(_MAGIC, position)
    while found >= 0 and len(data) - found >= _HEADER and not _is_header(data, found):
        found = data.find(_MAGIC, found + 1)
    return found


def _is_header(data: bytes, position: int) -> bool:
    kind = data[position + 3]
    length = int.from_bytes(data[position + 4 : position + 8], "big")
    return kind & 2 == 2 and (kind >> 2) in _LEVELS and length <= _FRAME_MAX


def _partial_magic(data: bytes) -> int:
    """How many bytes at the end could be the beginning of a frame."""
    for length in (2, 1):
        if data.endswith(_MAGIC[:length]):
            return length
    return 0


def _split_lines(data: bytes, position: int, end: int, out: list[LogEvent], *, is_closed: bool) -> int:
    """Give out the lines in `data[position:end]`; the last, unfinished one only if nothing can be added to it any more."""
    while position < end:
        newline = data.find(b"\n", position, min(end, position + LINE_MAX))
        if newline < 0:
            if end - position >= LINE_MAX:
                out.append(LogEvent(data[position : position + LINE_MAX]))
                position += LINE_MAX
                continue
            if not is_closed:
                return position
            newline = end - 1
        out.append(LogEvent(data[position : newline + 1]))
        position = newline + 1
    return position
