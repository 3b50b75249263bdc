"""What a person or a pipe gets to see: bytes to standard output, words to standard error, colour on terminals only."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

BROKEN_PIPE = 141
"""What a shell reports of a program that SIGPIPE ended: nobody reads any more."""

BOLD, DIM, RED, GREEN, YELLOW, BLUE, CYAN = "1", "2", "31", "32", "33", "34", "36"


class Console:
    """Standard output and standard error.

    Whole writes, also to pipes that do not block. A reader of standard error who has gone loses the logs and nothing else; one
    of standard output raises BrokenPipeError. `NO_COLOR` takes colour away, `FORCE_COLOR` gives it to standard error on a pipe
    too; the payload on standard output stays as it is on a pipe in any case.
    """

    def __init__(self, *, stdout: int = 1, stderr: int = 2) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._stderr_lost = False
        self.stdout_is_terminal = _is_terminal(stdout)
        self.stderr_is_terminal = _is_terminal(stderr)
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        forced = os.environ.get("FORCE_COLOR", "0") not in ("", "0", "false")
        self.colours_stdout = self.stdout_is_terminal and wanted
        self.colours_stderr = wanted and (self.stderr_is_terminal or forced)
        self.before_stderr: Callable[[], None] | None = None
        """Called before each write to standard error: what stands on the line is to be taken away."""

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Bytes to standard output. Raises BrokenPipeError when nobody reads them."""
        _write_all(self._stdout, data)

    def log(self, data: bytes) -> None:
        """Bytes to standard error; never raises."""
        if self._stderr_lost:
            return
        if self.before_stderr is not None:
            self.before_stderr()
        try:
            _write_all(self._stderr, data)
        except OSError:
            self._stderr_lost = True

    def note(self, text: str) -> None:
        """A line for a person."""
        self.log((text if text.endswith("\n") else text + "\n").encode("utf-8", "backslashreplace"))

    def error(self, message: str, hint: str | None = None) -> None:
        """What went wrong, and the next step."""
        self.note(f"{self.paint('error:', RED, BOLD)} {message}")
        if hint:
            self.hint(hint)

    def hint(self, text: str) -> None:
        self.note(f"{self.paint('hint:', CYAN)} {text}")

    def warning(self, text: str, hint: str | None = None) -> None:
        """What should be known and stops nothing."""
        self.note(f"{self.paint('warning:', YELLOW)} {text}")
        if hint:
            self.hint(hint)

    def debug(self, text: str) -> None:
        """What --debug tells."""
        self.note(self.paint("debug: ", DIM) + text)

    def traceback(self) -> None:
        """The traceback of the exception that is being handled."""
        import traceback

        self.note(traceback.format_exc())

    def paint(self, text: str, *styles: str) -> str:
        """Text for standard error, coloured where that is wanted."""
        return f"\x1b[{';'.join(styles)}m{text}\x1b[0m" if self.colours_stderr else text

    def close(self) -> None:
        """Flush what others wrote through `sys.stdout` and `sys.stderr`, and keep Python's own end from failing over a lost reader."""
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                _redirect_to_null(stream)


def _write_all(number: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(number, view) :]
        except BlockingIOError:
            import select

            select.select([], [number], [])
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise BrokenPipeError from error
            raise


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number)
    except OSError:
        return False


def _redirect_to_null(stream: Any) -> None:
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        return
