"""Standard output and error that hold nothing back: what a function printed is out even if it crashes in the next line."""

from __future__ import annotations

import io
import os
import sys


def write_through():
    for name, errors in (("stdout", "strict"), ("stderr", "backslashreplace")):
        stream = getattr(sys, name)
        if stream is None:
            continue  # the descriptor was closed before we started
        stream.flush()
        raw = getattr(stream.buffer, "raw", stream.buffer)
        fresh = io.TextIOWrapper(
            raw, encoding="utf-8", errors=errors, newline="\n" if os.name == "posix" else None, write_through=True
        )
        setattr(sys, name, fresh)
        setattr(sys, "__{0}__".format(name), fresh)
