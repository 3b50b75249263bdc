"""The engine's end of a line to the keeper or to a warden: whole messages both ways, never blocking."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

Message = tuple[Any, ...]


class Channel:
    """Sends messages with descriptors and hands over those that arrive; `on_closed` is called once, when the other end is gone."""

    def __init__(
        self,
        line: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_message: Callable[[Message], None],
        on_closed: Callable[[], None],
    ) -> None:
        line.setblocking(False)
        self._line = line
        self._fd = line.fileno()
        self._loop = loop
        self._on_message = on_message
        self._on_closed = on_closed
        self._incoming = bytearray()
        self._outgoing: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self.is_open = True
        loop.add_reader(self._fd, self._readable)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send now or as soon as there is room. The descriptors belong to the channel from here on and are closed once sent."""
        if not self.is_open:
            for descriptor in descriptors:
                os.close(descriptor)
            return
        data = marshal.dumps(message)
        self._outgoing.append((len(data).to_bytes(4, "little") + data, tuple(descriptors)))
        if len(self._outgoing) == 1:
            self._flush()

    def finish(self) -> None:
        """Tell the other end that nothing more comes; `on_closed` follows when it has closed too."""
        if self.is_open:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close this end; what has not been sent is dropped."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        for _, descriptors in self._outgoing:
            for descriptor in descriptors:
                os.close(descriptor)
        self._outgoing.clear()
        self._line.close()

    def _flush(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                sent = socket.send_fds(self._line, [data], list(descriptors)) if descriptors else self._line.send(data)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._fd, self._flush)
                return
            except OSError:
                self._lost()
                return
            for descriptor in descriptors:
                os.close(descriptor)
            if sent == len(data):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = (data[sent:], ())
        self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = self._line.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        incoming = self._incoming
        incoming += data
        while self.is_open and len(incoming) >= 4:
            end = 4 + int.from_bytes(incoming[:4], "little")
            if len(incoming) < end:
                return
            message = marshal.loads(bytes(incoming[4:end]))  # noqa: S302 -- from our own keeper
            del incoming[:end]
            self._on_message(message)

    def _lost(self) -> None:
        if self.is_open:
            self.close()
            self._on_closed()
