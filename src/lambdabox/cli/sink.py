"""The logs of functions on standard error, and the spinner of a cold start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lambdabox.cli.console import Console

if TYPE_CHECKING:
    from lambdabox.engine.environment import Environment

SPINNER_DELAY = 0.3
GATHER_SECONDS = 0.005  # under load one write serves hundreds of lines; no eye sees the delay
_SPINNER_STEP = 0.08
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class ConsoleSink:
    """Gathers what is logged for a few milliseconds and writes it at once: it stands on the hot path of `serve`."""

    def __init__(self, console: Console, *, names_functions: bool = False) -> None:
        self._console = console
        self._loop = asyncio.get_running_loop()
        self._pending: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ends_line = True
        self._dims = console.colours_stderr
        self._names = names_functions and console.stderr_is_terminal

    def platform_line(self, environment: Environment, text: str) -> None:
        data = text.encode()
        if self._dims:
            data = b"\x1b[2m" + data[:-1] + b"\x1b[0m\n"
        if self._names:
            data = self._named(environment, data)
        self._add(data if self._ends_line else b"\n" + data)
        self._ends_line = True

    def function_output(self, environment: Environment, _name: str, data: bytes) -> None:
        if data:
            if self._names and self._ends_line:
                data = self._named(environment, data)
            self._add(data)
            self._ends_line = data.endswith(b"\n")

    def _named(self, environment: Environment, data: bytes) -> bytes:
        """Each line behind its function's name: only on a terminal, where several functions share it."""
        name = self._console.paint(f"{environment.function.key} | ", "36").encode()
        return b"".join(name + line for line in data.splitlines(keepends=True))

    def warning(self, environment: Environment, text: str) -> None:
        self.tell(f"{environment.function.key}: {text}")

    def tell(self, text: str) -> None:
        """A warning that belongs to no environment."""
        self.flush()
        self._console.warning(text)

    def _add(self, data: bytes) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._flush_in_time)
        self._pending.append(data)

    def _flush_in_time(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Write what is gathered."""
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            self._console.log(data)

    def end(self) -> None:
        """Everything is logged: flush, and end a line that was left open."""
        if not self._ends_line:
            self._ends_line = True
            self._add(b"\n")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()


class Spinner:
    """Shows on a terminal that something is still starting; gone, without a trace, before anything else is written."""

    def __init__(self, console: Console, text: str) -> None:
        self._console = console
        self._text = text
        self._loop = asyncio.get_running_loop()
        self._frame = 0
        self._shown = False
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(SPINNER_DELAY, self._show)
        console.before_stderr = self.clear

    def _show(self) -> None:
        frame = _FRAMES[self._frame % len(_FRAMES)]
        self._frame += 1
        self._console.before_stderr = None
        self._console.log(f"\r\x1b[K{self._console.paint(frame, '36')} {self._text}".encode())
        self._console.before_stderr = self.clear
        self._shown = True
        self._timer = self._loop.call_later(_SPINNER_STEP, self._show)

    def clear(self) -> None:
        """Take the spinner off its line; it comes back with its next step."""
        if self._shown:
            self._shown = False
            self._console.before_stderr = None
            self._console.log(b"\r\x1b[K")
            self._console.before_stderr = self.clear

    def stop(self) -> None:
        """The start is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.clear()
        self._console.before_stderr = None
