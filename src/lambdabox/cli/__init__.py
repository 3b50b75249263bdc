"""The command line.

Start-up time is part of the product: each command imports what it needs, when it needs it, and `main` imports nothing that a
command might not use.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `python -m lambdabox` and the console script call it."""
    from lambdabox.cli.program import run

    return run(arguments)
