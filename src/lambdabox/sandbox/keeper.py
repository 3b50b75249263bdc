"""The keeper: the small program that starts every process of every environment and sees to it that none outlives the engine.

It runs as a process of its own (`main`), single-threaded, with as few imports as can be (it must be up in 10 ms), and talks to the
engine through a unix socket (`wire`). For each sandbox it forks a *warden*: child subreaper of exactly one environment, so that
whatever the environment's processes start, double-forked or in a session of its own, stays a descendant of the warden and can be found.

- The warden starts processes, reaps everything and tells the engine how the processes it was asked for ended.
- When the engine is gone (end of file on the socket, or its pidfd) the warden stops and kills its whole tree, removes the environment's
  scratch folder, and ends. Stopping first means that nothing can fork while it is being killed.
- When a warden dies, its processes fall to the keeper, which is a subreaper too and kills them.

`COMMAND` runs this file and its neighbours as a package of another name, so that nothing else of lambdabox is imported.
"""

# ruff: noqa: BLE001, SIM105 -- contextlib would cost milliseconds; whatever goes wrong must be told the engine

import os
import resource
import select
import time

from .process_table import children_of, remove_tree, send_signal, stop_tree
from .warden import GIVE_UP_SECONDS, RETRY_MS, Alarm, Machine, Warden, quiet_child_stops
from .wire import FAULT, OPEN, REMOVE, EngineGone, Line, report_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, NoReturn
else:
    # As in `process_table`.
    import _signal as signal

COMMAND = (
    "import sys; m = type(sys)('keeper_program'); m.__path__ = sys.argv[1:2]; sys.modules['keeper_program'] = m; "
    "from keeper_program import keeper; keeper.main(sys.argv[2:])"
)
"""Program text for `python -c`; its arguments are this folder, the socket's descriptor, and switches."""

OPEN_FILES = 1024
"""Descriptors of a function's process, as on AWS (contract 6.7); the hard limit too, since Node.js raises itself to that."""


class Keeper:
    """Forks a warden for each sandbox and inherits what a dead one leaves."""

    def __init__(self, line: Line, machine: Machine) -> None:
        self._line = line
        self._machine = machine
        self._alarm = Alarm()
        self._own: set[int] = set()  # wardens and removers
        self._strays = False
        self._give_up_at = 0.0
        self._engine_gone = False

    def run(self) -> None:
        self._machine.become_subreaper()
        poller = select.poll()
        for fd in (self._line.fileno(), self._alarm.fd, self._machine.engine_pidfd):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        while True:
            self._reap()
            if self._strays:
                self._kill_strays()
            if self._engine_gone and not self._own and not self._strays:
                return
            for fd, _ in poller.poll(RETRY_MS if self._strays else None):
                if fd == self._alarm.fd:
                    self._alarm.reset()
                    continue
                if fd == self._line.fileno():
                    try:
                        for message in self._line.receive():
                            self._obey(message)
                        continue
                    except EngineGone:
                        pass
                # The wardens see the same and end by themselves; the keeper stays until the last of them has.
                self._engine_gone = True
                for gone in (self._line.fileno(), self._machine.engine_pidfd):
                    try:
                        poller.unregister(gone)
                    except (KeyError, ValueError):
                        pass
                break

    def _obey(self, message: "tuple[Any, ...]") -> None:
        if message[0] == OPEN:
            line_fd = self._line.descriptors.pop(0)
            try:
                pid = os.fork()
            except OSError as error:
                Line(line_fd).send(FAULT, f"fork: {error.strerror}")
                return
            if pid == 0:
                self._become_warden(line_fd, message[1], message[2])
            os.close(line_fd)
            self._own.add(pid)
        elif message[0] == REMOVE:
            pid = os.fork()
            if pid == 0:
                remove_tree(message[1])
                os._exit(0)
            self._own.add(pid)

    def _become_warden(self, line_fd: int, scratch: str, cgroup: str) -> "NoReturn":
        line = Line(line_fd)
        try:
            self._alarm.close()
            os.close(self._line.fileno())
            os.setsid()
            Warden(line, self._machine, scratch, cgroup).run()
        except BaseException as error:
            report_fault(line, error)
            os._exit(1)
        os._exit(0)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._strays = False
                return
            if pid == 0:
                return
            if pid in self._own:
                self._own.discard(pid)
                if status != 0:
                    self._strays = True
                    self._give_up_at = time.monotonic() + GIVE_UP_SECONDS

    def _kill_strays(self) -> None:
        if not self._machine.proc or time.monotonic() > self._give_up_at:
            self._strays = False
            return
        strays = [pid for pid in children_of(os.getpid()) if pid not in self._own]
        self._strays = bool(strays)
        for member in stop_tree(strays):
            send_signal(member, signal.SIGKILL)


def main(arguments: "list[str]") -> None:
    """Serve the engine on the socket whose descriptor is the first argument, until it is gone."""
    line = Line(int(arguments[0]))
    os.set_inheritable(line.fileno(), False)
    try:
        # Only the end of the engine ends the keeper, not the signals that a terminal or a service manager sends to everyone.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        quiet_child_stops()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        Keeper(line, Machine("hide-proc" in arguments, "hide-subreaper" in arguments)).run()
    except BaseException as error:
        report_fault(line, error)
        os._exit(1)
    # Without the interpreter's own clean-up: the engine waits for this end.
    os._exit(0)
