"""The processes of an environment as the engine sees them in /proc: everything below the warden.

The walk runs after each invocation (freeze, memory), so the files of the warden and of the processes it was asked for are kept
open: reading an open file of /proc costs a microsecond or two, opening it several.
"""

from __future__ import annotations

import contextlib
import os
import signal

from lambdabox.sandbox.process_table import children_of, send_signal

_PF_EXITING = 4
_MOST_PASSES = 20
"""A large process can take long to end; the engine does not wait for it."""


class ProcessFiles:
    """What /proc tells of one process, with its files kept open."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._task = _open(f"/proc/{pid}/task", os.O_DIRECTORY)
        self._children = _open(f"/proc/{pid}/task/{pid}/children")
        self._status = _open(f"/proc/{pid}/status")

    def children(self) -> list[int]:
        """The children of all threads; empty when the process is gone."""
        try:
            # Two links and one for each thread: with one thread, the first, its file tells all.
            if self._children >= 0 and os.fstat(self._task).st_nlink == 3:
                text = os.pread(self._children, 4096, 0)
                if len(text) < 4000:
                    return [int(pid) for pid in text.split()]
        except OSError:
            return []
        return children_of(self.pid)

    def memory(self) -> tuple[int, int]:
        """Peak and present resident bytes; zeros when the process is gone."""
        if self._status < 0:
            return 0, 0
        try:
            text = os.pread(self._status, 4096, 0)
        except OSError:
            return 0, 0
        return _kilobytes(text, b"VmHWM:"), _kilobytes(text, b"VmRSS:")

    def close(self) -> None:
        """Close the files. Twice does nothing."""
        for descriptor in (self._task, self._children, self._status):
            if descriptor >= 0:
                os.close(descriptor)
        self._task = self._children = self._status = -1


class ProcessTree:
    """The processes below a warden; `follow` those that are asked about often."""

    def __init__(self, warden: int) -> None:
        self._warden = ProcessFiles(warden)
        self._followed: dict[int, ProcessFiles] = {}

    def follow(self, pid: int) -> None:
        """Keep the files of a process open until `leave`."""
        self._followed[pid] = ProcessFiles(pid)

    def leave(self, pid: int) -> None:
        """The process has ended."""
        files = self._followed.pop(pid, None)
        if files is not None:
            files.close()

    def close(self) -> None:
        """Close every file. Twice does nothing."""
        self._warden.close()
        for files in self._followed.values():
            files.close()
        self._followed.clear()

    def members(self) -> list[int]:
        """Every process below the warden."""
        found: list[int] = []
        waiting = self._warden.children()
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting += self._children(pid)
        return found

    def stop(self) -> list[int]:
        """SIGSTOP every process below the warden, also those that are forked or orphaned meanwhile; returns them.

        The signal goes to the process groups too: a fork that is under way ends with a stopped child only for a signal to the group.
        What loses its parent meanwhile falls to the warden, whose list is read again until it holds nothing new; such a process is
        told a second time, since the kernel continues stopped processes whose group has lost its last tie to a session.
        """
        stopped: list[int] = []
        roots: set[int] = set()
        passes = 0
        while True:
            waiting = [pid for pid in self._warden.children() if pid not in roots]
            passes += 1
            if not waiting and (
                passes > _MOST_PASSES or not any(_is_exiting(pid) for pid in stopped if pid not in self._followed)
            ):
                return stopped
            roots.update(waiting)
            groups = {self._warden.pid}  # that a process may join, but that is not to be stopped
            while waiting:
                pid = waiting.pop()
                self._stop(pid, groups)
                stopped.append(pid)
                waiting += self._children(pid)

    def memory(self) -> dict[int, tuple[int, int]]:
        """Peak and present resident bytes of every process below the warden."""
        figures = {}
        for pid in self.members():
            files = self._followed.get(pid)
            if files is not None:
                figures[pid] = files.memory()
            else:
                files = ProcessFiles(pid)
                figures[pid] = files.memory()
                files.close()
        return figures

    def _stop(self, pid: int, groups: set[int]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(pid)
            if group not in groups:
                groups.add(group)
                os.killpg(group, signal.SIGSTOP)
        send_signal(pid, signal.SIGSTOP)

    def _children(self, pid: int) -> list[int]:
        files = self._followed.get(pid)
        return children_of(pid) if files is None else files.children()


def _is_exiting(pid: int) -> bool:
    """True between a process's decision to end, when it takes no signals any more, and the moment its children are given away."""
    descriptor = _open(f"/proc/{pid}/stat")
    if descriptor < 0:
        return False
    try:
        after_name = os.read(descriptor, 1024).rpartition(b")")[2].split()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return after_name[0] not in (b"Z", b"X") and bool(int(after_name[6]) & _PF_EXITING)


def _open(path: str, flags: int = 0) -> int:
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    return -1


def _kilobytes(text: bytes, key: bytes) -> int:
    start = text.find(key)
    if start < 0:
        return 0
    start += len(key)
    return int(text[start : text.index(b"kB", start)]) * 1024
