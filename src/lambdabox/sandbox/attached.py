"""The sandbox of an environment whose processes its user starts.

Processes that the user names by their ids are stopped, continued and measured, never ended: they are the user's. Processes that
the environment is asked to start run in another backend's sandbox, which is opened for the first of them; until then nothing is
needed of the system, so that this works where that backend does not.

Parity: a process that was only registered for freezing keeps standing still when lambdabox itself is killed while it is frozen.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lambdabox.errors import SandboxClosedError, SandboxUnavailableError, UsageError
from lambdabox.sandbox import process_table
from lambdabox.sandbox.base import ExitStatus, ProcessSpec, Sandbox, SandboxBackend, SandboxObserver

if TYPE_CHECKING:
    from lambdabox.sandbox.process_tree import ProcessFiles

OpenBackend = Callable[[], SandboxBackend]

OUTPUT_KEPT_BYTES = 1_048_576
"""How much of what a process wrote is kept: the end of it."""


def can_freeze() -> bool:
    """Whether this system can stop and continue processes."""
    import signal

    return hasattr(signal, "SIGSTOP") and hasattr(signal, "SIGCONT")


class _Registered:
    """A process of the user's; a number that was given to another process since is not mistaken for it."""

    __slots__ = ("birth", "files", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.birth = _birth(pid)
        self.files: ProcessFiles | None = None

    @property
    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return _birth(self.pid) == self.birth


class StartedProcess:
    """A process that was started for the user: its id, the end of what it wrote, and how it ended."""

    __slots__ = ("name", "output", "pid", "status")

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        self.output = bytearray()
        self.status: ExitStatus | None = None


class AttachedSandbox(Sandbox):
    """The user's processes, and those started for them."""

    def __init__(self, observer: SandboxObserver, open_backend: OpenBackend) -> None:
        self._observer = observer
        self._open_backend = open_backend
        self.processes: dict[str, StartedProcess] = {}
        self._backend: SandboxBackend | None = None
        self._inner: Sandbox | None = None
        self._registered: dict[int, _Registered] = {}
        self._stopped: list[int] | None = None
        self._is_closed = False

    @property
    def tmp(self) -> Path:  # type: ignore[override]  # known once it is needed
        return Path(tempfile.gettempdir()) if self._inner is None else self._inner.tmp

    @property
    def is_frozen(self) -> bool:
        """Whether it was told to stop them, and not to continue since."""
        return self._stopped is not None

    @property
    def holds_processes(self) -> bool:
        """Whether there is anything that freezing would stop."""
        return any(process.status is None for process in self.processes.values()) or any(
            process.is_alive for process in self._registered.values()
        )

    def register(self, pid: int) -> None:
        """Have a process of this user stopped and continued with the others, with all its descendants. Raises UsageError."""
        if any(process.pid == pid for process in self.processes.values()):
            return  # one that was started here stands still with the others
        if pid in _own_line():
            raise UsageError(
                f"process {pid} is this process, or started it: stopping it would stop the tests themselves",
                hint="register the process id of the runtime or extension",
            )
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            raise UsageError(f"there is no process {pid}", hint="register a process while it runs") from None
        except PermissionError:
            raise UsageError(f"process {pid} is another user's") from None
        except (OverflowError, OSError) as error:
            raise UsageError(f"{pid} is no process id: {error}") from None
        self._registered[pid] = process = _Registered(pid)
        if process_table.has_proc():
            from lambdabox.sandbox.process_tree import ProcessFiles

            process.files = ProcessFiles(pid)
        if self._stopped is not None:
            self._stopped += process_table.stop_tree([pid])

    def check_name(self, name: str) -> None:
        """Raise UsageError for the name of a process that runs."""
        known = self.processes.get(name)
        if known is not None and known.status is None:
            hint = "an environment has one runtime; name= tells extensions apart"
            raise UsageError(f"a process named {name} runs already", hint=hint)

    def output_lines(self) -> list[tuple[str, str]]:
        """What the processes wrote: name and line."""
        return [
            (process.name, line)
            for process in tuple(self.processes.values())  # at one stroke: from any thread
            for line in process.output.decode("utf-8", "replace").splitlines()
        ]

    async def prepare(self) -> Sandbox:
        """The sandbox for processes that are started here. Raises SandboxUnavailableError."""
        if self._is_closed:
            raise SandboxClosedError
        if self._inner is None:
            try:
                backend = self._open_backend()
            except ImportError as error:
                raise SandboxUnavailableError(
                    f"processes cannot be started through the Simulator on this system: {error}",
                    hint="start them yourself with the variables of lambda_environment()",
                ) from error
            self._inner = await backend.open(self)
            self._backend = backend
        return self._inner

    async def start(self, spec: ProcessSpec) -> int:
        inner = await self.prepare()
        self.thaw()
        process = self.processes[spec.name] = StartedProcess(spec.name, 0)  # before: it may write before its id is known here
        try:
            process.pid = await inner.start(spec)
        except BaseException:
            del self.processes[spec.name]
            raise
        return process.pid

    def process_output(self, name: str, data: bytes) -> None:
        """What a process wrote, on its way to the observer."""
        kept = self.processes[name].output
        kept += data
        if len(kept) > OUTPUT_KEPT_BYTES:
            del kept[: len(kept) - OUTPUT_KEPT_BYTES]
        self._observer.process_output(name, data)

    def process_exited(self, name: str, status: ExitStatus) -> None:
        """The end of a process, on its way to the observer."""
        self.processes[name].status = status
        self._observer.process_exited(name, status)

    def memory_exceeded(self) -> None:
        """Never: there is no limit."""

    def drain(self, name: str) -> None:
        if self._inner is not None:
            self._inner.drain(name)

    def signal(self, name: str, number: int) -> None:
        self.thaw()
        if self._inner is not None:
            self._inner.signal(name, number)

    def kill(self, name: str) -> None:
        if self._inner is not None:
            self._inner.kill(name)

    async def clear(self) -> None:
        self._continue()
        if self._inner is not None:
            await self._inner.clear()

    def freeze(self) -> None:
        if self._stopped is not None:
            return
        # A parent is stopped before its children are read: none can be forked behind the walk.
        alive = [process.pid for process in self._registered.values() if process.is_alive]
        self._stopped = process_table.stop_tree(alive) if alive else []
        if self._inner is not None:
            self._inner.freeze()

    def thaw(self) -> None:
        self._continue()
        if self._inner is not None:
            self._inner.thaw()

    def _continue(self) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped:
            import signal

            for pid in stopped:
                process_table.send_signal(pid, signal.SIGCONT)

    def peak_memory_bytes(self) -> int:
        own = sum(process.files.memory()[0] for process in self._registered.values() if process.files is not None)
        return own + (0 if self._inner is None else self._inner.peak_memory_bytes())

    async def close(self) -> None:
        self._is_closed = True
        self._continue()
        for process in self._registered.values():
            if process.files is not None:
                process.files.close()
        self._registered.clear()
        inner, self._inner = self._inner, None
        backend, self._backend = self._backend, None
        if inner is not None:
            await inner.close()
        if backend is not None:
            await backend.close()


class AttachedBackend(SandboxBackend):
    """Opens the sandbox of one self-started environment; `open_backend` makes the backend of what is started there."""

    name = "attached"

    def __init__(self, open_backend: OpenBackend) -> None:
        self._open_backend = open_backend
        self.sandbox: AttachedSandbox | None = None

    async def open(self, observer: SandboxObserver, *, memory_limit_bytes: int | None = None) -> AttachedSandbox:
        assert memory_limit_bytes is None, "the user's own processes have no limit of ours"
        self.sandbox = AttachedSandbox(observer, self._open_backend)
        return self.sandbox

    async def close(self) -> None:
        if self.sandbox is not None:
            await self.sandbox.close()


def _birth(pid: int) -> bytes:
    """When a process was started, as /proc counts it; empty where there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read().rpartition(b")")[2].split()[19]
    except (OSError, IndexError):
        return b""


def _own_line() -> set[int]:
    """This process and those it descends from."""
    line = {os.getpid()}
    pid = os.getppid() if sys.platform != "win32" else 0
    while pid > 0 and pid not in line:
        line.add(pid)
        try:
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            break
    return line
