"""What processes write, lines and frames, in any pieces: no byte is lost, added or moved, and whole frames are found whole."""

from __future__ import annotations

import random
import sys

from harness import main, mangled, pieces

from lambdabox.protocol.log_frames import LINE_MAX, LogSplitter

LEVELS = {0: None, 1: "TRACE", 2: "DEBUG", 3: "INFO", 4: "WARN", 5: "ERROR", 6: "FATAL"}
TEXTS = (b"", b"hello", b"two\nlines", b"\n", b"\r\n", b'{"level":"INFO"}', b"\xa5", b"\xa5\x5a", b"\xff\x00\xfe", b"x" * 4000)


def target(chance: random.Random) -> None:
    data, expected = b"", []
    for _ in range(chance.randrange(1, 8)):
        if chance.random() < 0.5:
            text = chance.choice(TEXTS) + bytes(chance.choices(range(128), k=chance.randrange(20)))
            kind, is_json = chance.randrange(7), chance.random() < 0.5
            data += (
                bytes((0xA5, 0x5A, 0x00, kind << 2 | 2 | (not is_json)))
                + len(text).to_bytes(4, "big")
                + chance.randbytes(8)
                + text
            )
            expected.append((text, LEVELS[kind], is_json))
        else:
            data += chance.choice(TEXTS[:6]) + b"\n"
    if chance.random() < 0.05:
        data += b"y" * (LINE_MAX + chance.randrange(-2, 3))

    whole = events_of([data])
    assert [(event.data, event.level, event.is_json) for event in whole if event.is_framed] == expected
    assert events_of(pieces(chance, data)) == whole, "how it arrives makes no difference"

    # Whatever it is: what is no frame comes out as it went in.
    junk = mangled(chance, chance.choice((data, chance.randbytes(200))))
    for parts in ([junk], pieces(chance, junk)):
        rest = junk
        found = events_of(parts)
        for number, event in enumerate(found, 1):
            is_cut = number == len(found) and rest[16:] == event.data  # a frame whose end never came: its text alone
            head = 16 if event.is_framed or (is_cut and rest.startswith(b"\xa5\x5a\x00")) else 0
            assert rest[head:].startswith(event.data), (junk, event)
            rest = rest[head + len(event.data) :]
        assert not rest, (junk, rest)


def events_of(parts: list[bytes]) -> list:
    splitter = LogSplitter()
    found = [event for part in parts for event in splitter.feed(part)]
    return found + splitter.flush()


if __name__ == "__main__":
    sys.exit(main(target))
