"""Standard output and error that hold nothing back: what a function printed is out even if it crashes in the next line."""

from __future__ import annotations

import io
import os
import sys


def write_through():
    for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        old = getattr(sys, name)
        if old is None:
            continue  # the descriptor was closed before we started
        old.flush()
        # A raw file of its own: the old stream closes the one it has when it goes.
        raw = io.FileIO(number, "wb", closefd=False)
        raw.name = "<{0}>".format(name)
        stream = io.TextIOWrapper(
            raw, encoding="utf-8", errors=errors, newline="\n" if os.name == "posix" else None, write_through=True
        )
        stream.mode = "w"
        setattr(sys, name, stream)
        setattr(sys, "__{0}__".format(name), stream)
