"""A result as a person or a pipe gets it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from lambdabox.cli.console import Console

if TYPE_CHECKING:
    from lambdabox.model.function import Function
    from lambdabox.model.invocation import InvocationResult

_LARGEST_PRETTY = 1_000_000
_TOKENS = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d[\d.eE+-]*)')


def show_result(console: Console, result: InvocationResult, function: Function, *, as_envelope: bool) -> int:
    """Print a result, and on standard error what helps with a failed one; returns the exit code."""
    if as_envelope:
        data = json.dumps(result.envelope(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    else:
        data = result.payload
    console.write(rendered(console, data))
    if not result.is_error:
        return 0
    from lambdabox.cli.failure import explain_failure

    explain_failure(console, result, function)
    return 1


def rendered(console: Console, payload: bytes) -> bytes:
    """The bytes to print: as they are plus one newline if there is none; on a terminal indented and coloured."""
    if console.stdout_is_terminal and len(payload) <= _LARGEST_PRETTY:
        try:
            text = json.dumps(json.loads(payload), ensure_ascii=False, indent=2)
        except (ValueError, RecursionError):
            pass
        else:
            return (coloured(text) if console.colours_stdout else text).encode("utf-8", "backslashreplace") + b"\n"
    return payload if payload.endswith(b"\n") else payload + b"\n"


def coloured(text: str) -> str:
    """JSON text with colours for a terminal."""

    def paint(match: re.Match[str]) -> str:
        string, colon, word, _number = match.groups()
        if string is not None:
            return f"\x1b[34m{string}\x1b[0m{colon}" if colon else f"\x1b[32m{string}\x1b[0m"
        return f"\x1b[{'35' if word else '36'}m{match[0]}\x1b[0m"

    return _TOKENS.sub(paint, text)
