"""Fresh ids."""

from __future__ import annotations

import os
import time


def new_request_id() -> str:
    """A lower-case version 4 UUID."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}"


def new_trace_id() -> str:
    """An X-Ray tracing header for a caller that brought none: not sampled."""
    digits = os.urandom(20).hex()
    return f"Root=1-{int(time.time()):08x}-{digits[:24]};Parent={digits[24:]};Sampled=0"
