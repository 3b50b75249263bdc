"""What a process writes: one pipe for its stdout, its stderr and its framed log records, so that their order is kept."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable

from lambdabox.sandbox.base import SandboxObserver

PIPE_BYTES = 256 * 1024
"""Asked for where the system allows it (Linux): a burst of logs then need not wait for the engine.

A user has 64 MiB for enlarged pipes; beyond that Linux gives even new pipes of other programs only two pages. A hundred environments
with this size stay well below, and 20 MB still flow in some ten milliseconds."""


class Output:
    """The read end of a process's pipe; outlives the process while a child of it holds the other end."""

    def __init__(self, name: str, fd: int, loop: asyncio.AbstractEventLoop, observer: SandboxObserver) -> None:
        self.name = name
        self._fd = fd
        self._loop = loop
        self._observer = observer
        self._on_closed: Callable[[Output], None] | None = None

    @classmethod
    def open(cls, name: str, loop: asyncio.AbstractEventLoop, observer: SandboxObserver) -> tuple[Output, int]:
        """A new pipe: this end, and the descriptor of the other."""
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(read_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return cls(name, read_fd, loop, observer), write_fd

    def listen(self, on_closed: Callable[[Output], None]) -> None:
        """Deliver what is written from now on; `on_closed` is called when nobody is left to write."""
        self._on_closed = on_closed
        self._loop.add_reader(self._fd, self._readable)

    def drain(self) -> None:
        """Deliver what is in the pipe now, and no more."""
        if self._fd < 0:
            return
        waiting = self._waiting()
        while waiting > 0:
            try:
                data = os.read(self._fd, waiting)
            except (BlockingIOError, InterruptedError):
                return
            if not data:
                return
            waiting -= len(data)
            self._observer.process_output(self.name, data)
            if self._fd < 0:  # the observer closed us
                return

    def close(self) -> None:
        """Close this end. Twice does nothing."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _waiting(self) -> int:
        count: int = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, b"\0\0\0\0"))[0]
        return count

    def _readable(self) -> None:
        if self._waiting() > 0:
            self.drain()
            return
        try:
            data = os.read(self._fd, 65536)
        except (BlockingIOError, InterruptedError):
            return
        if data:
            self._observer.process_output(self.name, data)
            return
        self.close()
        if self._on_closed is not None:
            self._on_closed(self)
