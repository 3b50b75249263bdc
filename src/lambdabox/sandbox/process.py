"""The process sandbox: an environment's processes run as plain processes of this machine, below a warden (see `keeper`).

The engine's side never blocks and needs no threads: control sockets and output pipes are readers of the event loop. What must be
exact (starting, signalling and reaping by process id) the warden does; what must be immediate (freeze, thaw, measuring) is done from
here by walking the processes below the warden.

Where /proc or child subreapers are missing (macOS), process groups stand in for the tree: see `ProcessBackend.limitations`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

from lambdabox.errors import InternalError, SandboxClosedError, SandboxUnavailableError
from lambdabox.sandbox import keeper, process_table, wire
from lambdabox.sandbox.base import ExitStatus, ProcessSpec, Sandbox, SandboxBackend, SandboxObserver
from lambdabox.sandbox.channel import Channel, Message
from lambdabox.sandbox.launch_reasons import chdir_failed, exec_failed
from lambdabox.sandbox.memory_group import MemoryGroup, open_memory_group
from lambdabox.sandbox.output import Output
from lambdabox.sandbox.process_tree import ProcessTree
from lambdabox.sandbox.scratch import ScratchFolder, leftovers

SAMPLE_SECONDS = 0.05
"""How often memory is sampled where the kernel does not keep the limit."""
OPEN_FILES = 65536
"""Descriptors that the engine asks for; the processes it starts get AWS's number."""

_KILLED = ExitStatus(signal=int(signal.SIGKILL))
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class _Process:
    """A process that runs, as far as we have been told."""

    __slots__ = ("name", "number", "peak", "pid")

    def __init__(self, number: int, name: str, pid: int) -> None:
        self.number = number
        self.name = name
        self.pid = pid
        self.peak = 0


class ProcessSandbox(Sandbox):
    """The processes below one warden."""

    def __init__(
        self, backend: ProcessBackend, observer: SandboxObserver, *, group: MemoryGroup | None, limit_bytes: int | None
    ) -> None:
        self._backend = backend
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._scratch = ScratchFolder()
        self.tmp = self._scratch.path
        self._channel: Channel | None = None
        self._tree: ProcessTree | None = None
        self._warden_peak = 0
        self._fault = ""
        self._last_number = 0
        self._starting: dict[int, tuple[str, asyncio.Future[Message]]] = {}
        self._clearing: dict[int, asyncio.Future[None]] = {}
        self._processes: dict[int, _Process] = {}
        self._outputs: list[Output] = []
        self._stopped: list[int] | None = None
        self._peak = 0
        self._group = group
        self._limit_bytes = limit_bytes
        self._sampler: asyncio.TimerHandle | None = None
        self._limit_reported = False
        self._closing: asyncio.Future[None] | None = None

    # -- processes ----------------------------------------------------------------------------------------------------

    async def start(self, spec: ProcessSpec) -> int:
        if self._closing is not None:
            raise SandboxClosedError
        if self._find(spec.name) is not None or any(name == spec.name for name, _ in self._starting.values()):
            raise InternalError(f"a process named {spec.name} runs already")
        self.thaw()
        while True:
            step, value = await self._start(spec)
            if step is None:
                return value
            if step == wire.AT_CHDIR:
                raise chdir_failed(spec.cwd, value)
            if step == wire.AT_EXEC:
                raise exec_failed(spec.argv[0], spec.cwd, value)
            # The control group could be made but not entered: sample instead.
            self._group = None

    async def _start(self, spec: ProcessSpec) -> tuple[int | None, int]:
        """Ask the warden once: (None, process id), or the step that failed and its errno."""
        self._last_number = number = self._last_number + 1
        environment = {_bytes(key): _bytes(value) for key, value in spec.environment.items()}
        if spec.framed_logs:
            environment[b"_LAMBDA_TELEMETRY_LOG_FD"] = b"%d" % wire.FRAMED_LOG_FD
        path = _bytes(spec.argv[0])
        request = (
            wire.START,
            number,
            path,
            [_bytes(argument) for argument in spec.argv],
            environment,
            _bytes(str(spec.cwd)),
            spec.framed_logs,
            self._group.procs_file if self._group else "",
            self._group.home_procs_file if self._group else "",
        )
        channel = self.connect()
        output, write_fd = Output.open(spec.name, self._loop, self._observer)
        answer: asyncio.Future[Message] = self._loop.create_future()
        self._starting[number] = (spec.name, answer)
        try:
            channel.send(request, [write_fd])
            reply = await answer
        except BaseException:
            # The warden's answer finds nobody waiting; `_on_message` has the process killed.
            self._starting.pop(number, None)
            output.close()
            raise
        if reply[0] == wire.FAILED:
            output.close()
            return reply[2], reply[3]
        self._outputs.append(output)
        output.listen(self._outputs.remove)
        self._watch_memory()
        return None, reply[2]

    def drain(self, name: str) -> None:
        for output in tuple(self._outputs):
            if output.name == name:
                output.drain()

    def signal(self, name: str, number: int) -> None:
        self.thaw()
        process = self._find(name)
        if process is not None and self._channel is not None:
            self._channel.send((wire.SIGNAL, process.number, int(number)))

    def kill(self, name: str) -> None:
        process = self._find(name)
        if process is not None and self._channel is not None:
            self._channel.send((wire.KILL, process.number))

    def _find(self, name: str) -> _Process | None:
        for process in self._processes.values():
            if process.name == name:
                return process
        return None

    async def clear(self) -> None:
        if self._closing is not None:
            await asyncio.shield(self._closing)
            return
        self._stop_watching_memory()
        if self._channel is not None:
            self._last_number = request = self._last_number + 1
            cleared: asyncio.Future[None] = self._loop.create_future()
            self._clearing[request] = cleared
            self._channel.send((wire.CLEAR, request))
            try:
                await cleared
            finally:
                self._clearing.pop(request, None)
        self._stopped = None
        self._close_outputs()
        self._peak = 0
        self._limit_reported = False

    async def close(self) -> None:
        if self._closing is not None:
            await asyncio.shield(self._closing)
            return
        self._closing = self._loop.create_future()
        self._stop_watching_memory()
        if self._channel is not None:
            self._channel.send((wire.CLOSE,))
            await asyncio.shield(self._closing)
        self._finish_closing()

    def _finish_closing(self) -> None:
        """The warden is gone: let go of what is left. Done by its end too, when nobody waits for `close` any more."""
        self._close_outputs()
        self._stopped = None
        self._scratch.release()
        if self.tmp.exists():
            # Only when the warden was killed: it removes the folder itself.
            process_table.remove_tree(str(self.tmp))
        if self._group is not None:
            self._group.remove()
        self._backend.forget(self)
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)

    def _close_outputs(self) -> None:
        for output in tuple(self._outputs):
            output.drain()
            output.close()
        self._outputs.clear()

    # -- freezing -----------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        if self._stopped is not None:
            return
        if self._tree is not None:
            self._stopped = self._tree.stop()
        else:
            self._stopped = [process.pid for process in self._processes.values()]
            for pid in self._stopped:
                process_table.send_group_signal(pid, signal.SIGSTOP)
        self._stop_watching_memory()

    def thaw(self) -> None:
        if self._stopped is None:
            return
        stopped, self._stopped = self._stopped, None
        send = process_table.send_group_signal if self._tree is None else process_table.send_signal
        for pid in stopped:
            send(pid, signal.SIGCONT)
        self._watch_memory()

    # -- memory -------------------------------------------------------------------------------------------------------

    def peak_memory_bytes(self) -> int:
        self._sample()
        return self._peak

    def _sample(self, *, ended: int = 0) -> int:
        """Take the peak of all processes together, with that of one that has just `ended`; returns what they hold now."""
        figures = self._tree.memory() if self._tree is not None and self._processes else {}
        for process in self._processes.values():
            process.peak = max(process.peak, figures.get(process.pid, (0, 0))[0])
        self._peak = max(self._peak, ended + sum(peak for peak, _ in figures.values()))
        return sum(now for _, now in figures.values())

    def _watch_memory(self) -> None:
        if self._limit_bytes is None or self._group is not None or self._sampler is not None or self._limit_reported:
            return
        if self._processes and self._stopped is None and self._closing is None:
            self._sampler = self._loop.call_later(SAMPLE_SECONDS, self._check_memory)

    def _stop_watching_memory(self) -> None:
        if self._sampler is not None:
            self._sampler.cancel()
            self._sampler = None

    def _check_memory(self) -> None:
        self._sampler = None
        held = self._sample()
        # Peaks of several processes need not have been at one time: only that of a single one counts by itself.
        largest = max((process.peak for process in self._processes.values()), default=0)
        if self._limit_bytes is not None and max(held, largest) > self._limit_bytes:
            self._limit_reported = True
            self._observer.memory_exceeded()
        else:
            self._watch_memory()

    # -- the warden ---------------------------------------------------------------------------------------------------

    def connect(self) -> Channel:
        """The line to the warden; a new warden when there is none yet or none any more."""
        if self._channel is None:
            ours, theirs = socket.socketpair()
            self._channel = Channel(ours, self._loop, self._on_message, self._on_lost)
            group = str(self._group.folder) if self._group else ""
            try:
                self._backend.open_warden(theirs, str(self.tmp), group)
            except BaseException:
                self._channel.close()
                self._channel = None
                raise
        return self._channel

    def _on_message(self, message: Message) -> None:
        kind = message[0]
        if kind == wire.READY:
            self._tree = ProcessTree(message[1]) if self._backend.has_proc else None
            self._warden_peak = message[2] * _MAXRSS_UNIT
        elif kind in (wire.STARTED, wire.FAILED):
            self._on_start_answered(message)
        elif kind == wire.EXITED:
            process = self._processes.get(message[1])
            if process is not None:
                # Later, so that who waits in `start` has been told of the process before it is told of its end.
                self._loop.call_soon(self._on_exited, process, message[2], message[3])
        elif kind == wire.CLEARED:
            cleared = self._clearing.get(message[1])
            if cleared is not None and not cleared.done():
                cleared.set_result(None)
        elif kind == wire.FAULT:
            self._fault = message[1]

    def _on_start_answered(self, message: Message) -> None:
        kind, number = message[:2]
        name, answer = self._starting.pop(number, ("", None))
        if answer is None or answer.done():
            if kind == wire.STARTED and self._channel is not None:
                self._channel.send((wire.KILL, number))
            return
        if kind == wire.STARTED:
            self._processes[number] = _Process(number, name, message[2])
            if self._tree is not None:
                self._tree.follow(message[2])
        answer.set_result(message)

    def _on_exited(self, process: _Process, status: int, maxrss: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            self._forget(process, ExitStatus(code=code), maxrss * _MAXRSS_UNIT)
        else:
            by_limit = code == -signal.SIGKILL and self._group is not None and self._group.killed_again()
            self._forget(process, ExitStatus(signal=-code, out_of_memory=by_limit), maxrss * _MAXRSS_UNIT)

    def _forget(self, process: _Process, status: ExitStatus, maxrss_bytes: int) -> None:
        if self._processes.pop(process.number, None) is None:
            return
        if self._tree is not None:
            self._tree.leave(process.pid)
        # What exec inherits from the warden is not the process's own peak.
        if maxrss_bytes > self._warden_peak:
            process.peak = max(process.peak, maxrss_bytes)
        self._sample(ended=process.peak)
        self.drain(process.name)
        self._observer.process_exited(process.name, status)

    def _on_lost(self) -> None:
        """The warden has ended: as asked, or because somebody killed it (the keeper then kills what it leaves)."""
        self._channel = None
        if self._tree is not None:
            self._tree.close()
            self._tree = None
        self._stopped = None
        for _, answer in self._starting.values():
            if not answer.done():
                answer.set_exception(SandboxUnavailableError("the sandbox's warden process ended", hint=self._fault or None))
        self._starting.clear()
        for cleared in self._clearing.values():
            if not cleared.done():
                cleared.set_result(None)
        for process in tuple(self._processes.values()):
            self._loop.call_soon(self._forget, process, _KILLED, 0)
        if self._closing is not None:
            self._loop.call_soon(self._finish_closing)


class ProcessBackend(SandboxBackend):
    """Opens process sandboxes, and owns the keeper that serves them."""

    name = "process"

    def __init__(self) -> None:
        # The two switches let tests on Linux see what other systems lack.
        self._flags = [
            flag
            for flag, variable in (("hide-proc", "LAMBDABOX_HIDE_PROC"), ("hide-subreaper", "LAMBDABOX_HIDE_SUBREAPER"))
            if os.environ.get(variable)
        ]
        self.has_proc = process_table.has_proc("hide-proc" in self._flags)
        self._keeper: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._channel: Channel | None = None
        self._keeper_ended: asyncio.Future[None] | None = None
        self._fault = ""
        self._sandboxes: set[ProcessSandbox] = set()
        self._is_closed = False
        self._looked_for_leftovers = False

    @property
    def limitations(self) -> tuple[str, ...]:
        """What this machine cannot do for a process sandbox, one sentence each."""
        found = []
        if not self.has_proc:
            found.append(
                "there is no /proc: processes that change their process group are neither frozen nor ended, and memory is known"
                " only when a process has ended"
            )
        if sys.platform != "linux" or "hide-subreaper" in self._flags:
            found.append("there are no child subreapers: processes that change their session can outlive their environment")
        return tuple(found)

    @property
    def keeper_pid(self) -> int | None:
        """The keeper's process id while there is one."""
        return None if self._keeper is None else self._keeper.pid

    def start_early(self) -> None:
        """Start the keeper without waiting for it; needs no event loop. Raises SandboxUnavailableError."""
        if self._keeper is not None:
            return
        _raise_open_files()
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            keeper.COMMAND,
            str(Path(__file__).parent),
            str(theirs.fileno()),
            *self._flags,
        ]
        try:
            self._keeper = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise SandboxUnavailableError(f"the keeper could not be started with {sys.executable}: {error.strerror}") from error
        finally:
            theirs.close()
        self._line = ours

    async def open(self, observer: SandboxObserver, *, memory_limit_bytes: int | None = None) -> ProcessSandbox:
        if self._is_closed:
            raise SandboxClosedError
        self.start_early()
        group = None
        if memory_limit_bytes is not None:
            if self.has_proc and not os.environ.get("LAMBDABOX_NO_CGROUP"):
                group = open_memory_group(memory_limit_bytes)
            if group is None and not self.has_proc:
                raise SandboxUnavailableError(
                    "a memory limit cannot be enforced here: there are no control groups and no /proc",
                    hint="run without --enforce-memory: memory is still reported",
                )
        try:
            sandbox = ProcessSandbox(self, observer, group=group, limit_bytes=memory_limit_bytes)
        except OSError as error:
            raise SandboxUnavailableError(f"no scratch folder can be made: {error}") from error
        self._sandboxes.add(sandbox)
        sandbox.connect()
        if not self._looked_for_leftovers:
            self._looked_for_leftovers = True
            self.reap_leftovers()
        return sandbox

    def reap_leftovers(self) -> list[str]:
        """Have the keeper remove what killed runs of this user left, and return the folders; the first `open` does it."""
        found = leftovers()
        if found:
            channel = self._connect()
            for path in found:
                channel.send((wire.REMOVE, path))
        return found

    def open_warden(self, line: socket.socket, scratch: str, group: str) -> None:
        """Have a warden forked that listens on this socket, which is ours no longer."""
        self._connect().send((wire.OPEN, scratch, group), [line.detach()])

    def forget(self, sandbox: ProcessSandbox) -> None:
        """The sandbox is closed."""
        self._sandboxes.discard(sandbox)

    async def close(self) -> None:
        self._is_closed = True
        await asyncio.gather(*(sandbox.close() for sandbox in tuple(self._sandboxes)))
        if self._channel is not None:
            if self._keeper_ended is None:
                self._keeper_ended = asyncio.get_running_loop().create_future()
            self._channel.finish()
            await asyncio.shield(self._keeper_ended)
        elif self._line is not None:
            # Started early and never needed.
            self._line.close()
            self._reap_keeper()

    def _connect(self) -> Channel:
        if self._channel is None:
            self.start_early()
            assert self._line is not None
            self._channel = Channel(self._line, asyncio.get_running_loop(), self._on_message, self._on_lost)
        return self._channel

    def _on_message(self, message: Message) -> None:
        if message[0] == wire.FAULT:
            self._fault = message[1]

    def _on_lost(self) -> None:
        """The keeper has ended; wardens go on without it, and the next `open` starts another."""
        self._channel = None
        self._reap_keeper()
        if self._keeper_ended is not None and not self._keeper_ended.done():
            self._keeper_ended.set_result(None)

    def _reap_keeper(self) -> None:
        if self._keeper is not None:
            # It has closed its end, or seen ours closed with nothing left to do: this waits for its very last step.
            self._keeper.wait()
        self._keeper = self._line = None


def _bytes(text: str) -> bytes:
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _raise_open_files() -> None:
    """Each environment takes several descriptors: raise the soft limit as far as this user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
