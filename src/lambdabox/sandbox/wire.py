"""The line between the engine and its keeper: the messages, and the keeper's end of the socket.

Messages are `marshal` tuples behind a four-byte length: both ends are the same interpreter, and marshal costs no import.

    engine -> keeper   (OPEN, scratch folder, cgroup folder)   with the warden's end of a new socket
                       (REMOVE, folder)                        left over from a killed run
    engine -> warden   (START, number, path, argv, environment, folder, framed, cgroup file, home cgroup file)   with the output pipe
                       (SIGNAL, number, signal)  (KILL, number)  (CLEAR, request)  (CLOSE,)
    warden -> engine   (READY, pid, peak of the warden)  (STARTED, number, pid)  (FAILED, number, step, errno)
                       (EXITED, number, wait status, ru_maxrss)  (CLEARED, request)
    either -> engine   (FAULT, text)
"""

# ruff: noqa: SIM105 -- contextlib and pathlib would cost the keeper milliseconds

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any
else:
    # The public twin imports enum and selectors, which doubles the keeper's time to start.
    import _socket as socket

OPEN, REMOVE, START, SIGNAL, KILL, CLEAR, CLOSE = range(7)
READY, STARTED, FAILED, EXITED, CLEARED, FAULT = range(6)
AT_EXEC, AT_CHDIR, AT_CGROUP = range(3)

FRAMED_LOG_FD = 62
"""Out of the way of the low numbers that shell scripts give away."""


class EngineGone(Exception):  # noqa: N818 -- not an error: the keeper's reason to end
    """The engine closed its end or ended."""


class Line:
    """One end of a control socket: whole messages, with the descriptors that came along."""

    def __init__(self, fd: int) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
        self.socket.setblocking(True)
        self.descriptors: list[int] = []
        self._buffer = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, *message: "Any") -> None:
        data = marshal.dumps(message)
        try:
            self.socket.sendall(len(data).to_bytes(4, "little") + data)
        except OSError as error:
            raise EngineGone from error

    def receive(self) -> "list[tuple[Any, ...]]":
        """Read once and return the messages that are complete now."""
        try:
            data, ancillary, _, _ = self.socket.recvmsg(262144, socket.CMSG_SPACE(16 * 4), getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        except OSError as error:
            raise EngineGone from error
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                for start in range(0, len(content) - 3, 4):
                    descriptor = int.from_bytes(content[start : start + 4], sys.byteorder)
                    os.set_inheritable(descriptor, False)
                    self.descriptors.append(descriptor)
        if not data:
            raise EngineGone
        self._buffer += data
        messages = []
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "little")
            if len(self._buffer) < end:
                break
            messages.append(marshal.loads(self._buffer[4:end]))  # noqa: S302 -- from our own engine
            self._buffer = self._buffer[end:]
        return messages


def report_fault(line: Line, error: BaseException) -> None:
    """Tell the engine of a fault of ours, as far as it still listens."""
    import traceback

    try:
        line.send(FAULT, "".join(traceback.format_exception(error)))
    except EngineGone:
        pass
