"""The error payloads that the platform writes itself (contract 4.6), in AWS's wording, which is Go's."""

from __future__ import annotations

import json
import re

from lambdabox.model.limits import RESPONSE_MAX_BYTES

# Go's os/exec names signals in words of its own; numbers are Linux's.
SIGNAL_NAMES: dict[int, str] = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
    16: "stack fault",
    17: "child exited",
    18: "continued",
    19: "stopped (signal)",
    20: "stopped",
    21: "stopped (tty input)",
    22: "stopped (tty output)",
    23: "urgent I/O condition",
    24: "CPU time limit exceeded",
    25: "file size limit exceeded",
    26: "virtual timer expired",
    27: "profiling timer expired",
    28: "window changed",
    29: "I/O possible",
    30: "power failure",
    31: "bad system call",
}

_GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})

_SURROGATES = re.compile("[\ud800-\udfff]")


def go_json(value: object) -> bytes:
    """Compact JSON as AWS's own services print it: `<`, `>` and `&` escaped, half characters replaced."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).translate(_GO_ESCAPES)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode()


def error_payload(error_type: str, text: str, request_id: str | None = None) -> bytes:
    """The generic payload; the text is prefixed with the request id when there is one."""
    prefix = f"RequestId: {request_id} " if request_id is not None else ""
    return go_json({"errorType": error_type, "errorMessage": f"{prefix}Error: {text}"})


def response_too_large_payload(size: int) -> bytes:
    """What the caller of a function with a response of `size` bytes gets."""
    text = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({RESPONSE_MAX_BYTES} bytes)."
    return go_json({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text})


def timed_out_text(timeout_seconds: float) -> str:
    """`Task timed out after 3.00 seconds`: the configured timeout, two decimals, plural even for one."""
    return f"Task timed out after {timeout_seconds:.2f} seconds"


def exit_text(code: int | None, signal: int | None) -> str:
    """How a process ended, in Go's words: `exit status 1`, `signal: killed`; `exit code 0` for a clean exit."""
    if signal is not None:
        return f"signal: {SIGNAL_NAMES.get(signal, f'signal {signal}')}"
    if code:
        return f"exit status {code}"
    return "exit code 0"


def runtime_exit_text(code: int | None, signal: int | None) -> str:
    """The text of Runtime.ExitError."""
    if signal is None and not code:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: {exit_text(code, signal)}"
