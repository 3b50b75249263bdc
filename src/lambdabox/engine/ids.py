"""Fresh ids."""

from __future__ import annotations

import os
import random
import time

_bits = random.Random().getrandbits  # noqa: S311  # ids of invocations guard nothing; a system call for each would cost more than the rest


def new_request_id() -> str:
    """A lower-case version 4 UUID."""
    return _uuid(f"{_bits(128):032x}")


def new_identifier() -> str:
    """A version 4 UUID that nobody can guess: extensions prove with it who they are."""
    return _uuid(os.urandom(16).hex())


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}"


def new_trace_id() -> str:
    """An X-Ray tracing header for a caller that brought none: not sampled."""
    return f"Root=1-{int(time.time()):08x}-{_bits(96):024x};Parent={_bits(64):016x};Sampled=0"
