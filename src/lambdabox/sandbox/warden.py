"""The warden: child subreaper of exactly one environment; see `keeper`."""

# ruff: noqa: SIM105 -- contextlib and pathlib would cost the keeper milliseconds

import os
import resource
import select
import sys
import time

from .process_table import children_of, has_proc, remove_tree, send_group_signal, send_signal, stop_tree
from .wire import (
    AT_CGROUP,
    AT_CHDIR,
    AT_EXEC,
    CLEAR,
    CLEARED,
    CLOSE,
    EXITED,
    FAILED,
    FRAMED_LOG_FD,
    KILL,
    READY,
    SIGNAL,
    START,
    STARTED,
    EngineGone,
    Line,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    # As in `process_table`.
    import _signal as signal

PR_SET_CHILD_SUBREAPER = 36
GIVE_UP_SECONDS = 5.0
"""Then what cannot be killed (it changed its user, or hangs in the kernel) is left alone."""
RETRY_MS = 20
"""While a tree is being killed: when to look again if no child's end wakes us first."""


class Alarm:
    """Wakes a poll when a child has ended: a pipe that the interpreter's C signal handler writes to."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)
        signal.set_wakeup_fd(self._write_fd)

    def reset(self) -> None:
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self.fd)
        os.close(self._write_fd)


class Machine:
    """What the operating system offers, found once in the keeper and handed to each warden by the fork."""

    def __init__(self, hide_proc: bool, hide_subreaper: bool) -> None:
        self.proc = has_proc(hide_proc)
        self._prctl: Any = None
        if sys.platform == "linux" and not hide_subreaper:
            try:
                import ctypes

                self._prctl = ctypes.CDLL(None).prctl
            except (ImportError, OSError, AttributeError):
                pass
        self.engine_pidfd = -1
        if hasattr(os, "pidfd_open"):
            try:
                # Beside end of file: a process that the engine forked may hold a copy of the socket beyond the engine's end.
                self.engine_pidfd = os.pidfd_open(os.getppid())
            except OSError:
                pass

    def become_subreaper(self) -> None:
        # Without /proc what is adopted could not be found: it is left to the system's own first process.
        if self._prctl is not None and self.proc:
            self._prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def quiet_child_stops() -> None:
    """Ask for no SIGCHLD when a child is stopped or continued: each freeze would wake the warden for nothing.

    Python has no way to set SA_NOCLDSTOP. The layout used is that of glibc and musl on the two machines named; elsewhere the warden
    is woken a little more often.
    """
    if sys.platform != "linux" or os.uname().machine not in ("x86_64", "aarch64"):
        return
    try:
        import ctypes

        action = ctypes.create_string_buffer(256)
        sigaction = ctypes.CDLL(None).sigaction
        if sigaction(int(signal.SIGCHLD), None, action) != 0:
            return
        flags = ctypes.c_int.from_buffer(action, 136)
        flags.value |= 1  # SA_NOCLDSTOP
        sigaction(int(signal.SIGCHLD), action, None)
    except (ImportError, OSError, AttributeError):
        pass


class Warden:
    """Starts, reaps and ends the processes of one environment."""

    def __init__(self, line: Line, machine: Machine, scratch: str, cgroup: str) -> None:
        self._line = line
        self._machine = machine
        self._scratch = scratch
        self._cgroup = cgroup
        self._alarm = Alarm()
        self._pid = os.getpid()
        self._pids: dict[int, int] = {}  # number -> pid, of processes that run
        self._numbers: dict[int, int] = {}  # pid -> number
        self._groups: set[int] = set()  # every group started since the last clear: members may outlive their leader
        self._clearing: list[int] = []
        self._ending = False
        self._engine_gone = False

    def run(self) -> None:
        self._machine.become_subreaper()
        poller = select.poll()
        poller.register(self._line.fileno(), select.POLLIN)
        poller.register(self._alarm.fd, select.POLLIN)
        if self._machine.engine_pidfd >= 0:
            poller.register(self._machine.engine_pidfd, select.POLLIN)
        self._send(READY, self._pid, self._own_peak())
        give_up_at = 0.0
        while True:
            if self._clearing or self._ending:
                give_up_at = give_up_at or time.monotonic() + GIVE_UP_SECONDS
                self._kill_everything()
                if self._reap() or time.monotonic() > give_up_at:
                    give_up_at = 0.0
                    self._groups.clear()
                    for request in self._clearing:
                        self._send(CLEARED, request)
                    self._clearing.clear()
                    if self._ending:
                        break
            for fd, _ in poller.poll(RETRY_MS if self._clearing or self._ending else None):
                if fd == self._alarm.fd:
                    self._alarm.reset()
                elif fd == self._line.fileno() and not self._engine_gone:
                    self._listen()
                else:
                    self._end_without_engine()
                if self._engine_gone:
                    for gone in (self._line.fileno(), self._machine.engine_pidfd):
                        try:
                            poller.unregister(gone)
                        except (KeyError, ValueError):
                            pass
                    break
            self._reap()
        if self._scratch:
            remove_tree(self._scratch)
        if self._cgroup:
            try:
                os.rmdir(self._cgroup)
            except OSError:
                pass

    def _end_without_engine(self) -> None:
        self._engine_gone = self._ending = True

    def _send(self, *message: "Any") -> None:
        if not self._engine_gone:
            try:
                self._line.send(*message)
            except EngineGone:
                self._end_without_engine()

    def _own_peak(self) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def _listen(self) -> None:
        try:
            messages = self._line.receive()
        except EngineGone:
            self._end_without_engine()
            return
        for message in messages:
            if message[0] == START:
                self._start(*message[1:])
            elif message[0] == SIGNAL:
                pid = self._pids.get(message[1])
                if pid is not None:
                    send_group_signal(pid, message[2])
            elif message[0] == KILL:
                self._kill(message[1])
            elif message[0] == CLEAR:
                self._clearing.append(message[1])
            elif message[0] == CLOSE:
                self._ending = True

    def _start(
        self,
        number: int,
        path: bytes,
        argv: "list[bytes]",
        environment: "dict[bytes, bytes]",
        folder: bytes,
        framed: bool,
        cgroup: str,
        home: str,
    ) -> None:
        output = self._line.descriptors.pop(0)
        step = AT_CHDIR
        try:
            os.chdir(folder)
            step = AT_CGROUP
            self._enter_cgroup(cgroup)
            step = AT_EXEC
            actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
            if framed:
                actions.append((os.POSIX_SPAWN_DUP2, output, FRAMED_LOG_FD))
            # Everything else the warden has open is close-on-exec; its standard input is /dev/null already.
            pid = os.posix_spawn(
                path,
                argv,
                environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=[],
                setsigdef=[n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP)],
            )
        except OSError as error:
            self._send(FAILED, number, step, error.errno or 0)
        except ValueError:
            # A NUL byte in an argument or in a variable, or a variable without a name.
            self._send(FAILED, number, step, 22)
        else:
            self._pids[number] = pid
            self._numbers[pid] = number
            self._groups.add(pid)
            self._send(STARTED, number, pid)
        finally:
            os.close(output)
            try:
                self._enter_cgroup(home)
            except OSError:
                pass
            os.chdir("/")

    def _enter_cgroup(self, procs_file: str) -> None:
        """Move the warden, so that the next process starts inside; it does not stay, or the kernel might choose it to end."""
        if procs_file:
            fd = os.open(procs_file, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, b"%d" % self._pid)
            finally:
                os.close(fd)

    def _reap(self) -> bool:
        """Take the status of what has ended; True when no child is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            number = self._numbers.pop(pid, None)
            if number is not None:
                del self._pids[number]
                self._send(EXITED, number, status, usage.ru_maxrss)

    def _kill(self, number: int) -> None:
        pid = self._pids.get(number)
        if pid is None:
            return
        if self._machine.proc:
            for member in stop_tree([pid]):
                send_signal(member, signal.SIGKILL)
        send_group_signal(pid, signal.SIGKILL)

    def _kill_everything(self) -> None:
        # The tree first, as a whole: where there is no subreaper, what loses its parent can be found no more.
        members = stop_tree(children_of(self._pid)) if self._machine.proc else list(self._numbers)
        for member in members:
            send_signal(member, signal.SIGKILL)
        for group in self._groups:
            send_group_signal(group, signal.SIGKILL)
