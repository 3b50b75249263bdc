"""Ctrl-C and the signals that end a command: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Self

from lambdabox.cli.console import Console

KILL_SECONDS = 2.0
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interruption:
    """Listens for the signals while it is entered. `number` is the first that came; `code` the exit code that stands for it."""

    def __init__(self, console: Console, first: Callable[[], object], kill: Callable[[], Awaitable[None]]) -> None:
        self._console = console
        self._first = first
        self._kill = kill
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self.number: int | None = None

    @property
    def code(self) -> int:
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> Self:
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants SIGHUP left alone
                self._loop.add_signal_handler(number, self._came, number)
        return self

    def __exit__(self, *_: object) -> None:
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None:
                self._loop.remove_signal_handler(number)

    def _came(self, number: int) -> None:
        if self.number is None:
            self.number = number
            self._first()
        elif self._task is None:
            self._task = self._loop.create_task(self._end_at_once())

    async def _end_at_once(self) -> None:
        try:
            await asyncio.wait_for(self._kill(), KILL_SECONDS)
        finally:
            # Whatever is still running has no say any more; the keeper sees our end and kills what is left.
            self._console.close()
            os._exit(self.code)
