"""A process that a self-started environment started for its user."""

from __future__ import annotations

from lambdabox.engine.waiters import WAIT_SECONDS, Waiters
from lambdabox.sandbox.attached import AttachedSandbox


class SpawnedProcess:
    """A process that the Simulator started; it ends with the Simulator at the latest. Where a process id is wanted, it is one."""

    def __init__(self, sandbox: AttachedSandbox, name: str, role: str, waiters: Waiters) -> None:
        self._waiters = waiters
        self._sandbox = sandbox
        self._process = sandbox.processes[name]
        self.name = name
        self.role = role

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def __index__(self) -> int:
        return self.pid

    @property
    def is_running(self) -> bool:
        """Whether its end has not been seen yet."""
        return self._process.status is None

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it; None while it runs."""
        status = self._process.status
        if status is None:
            return None
        return status.code if status.code is not None else -(status.signal or 0)

    @property
    def output(self) -> str:
        """What it wrote to standard output and standard error, the last megabyte of it."""
        if self.is_running:
            self._sandbox.drain(self.name)
        return self._process.output.decode("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL the process and its descendants."""
        if self.is_running:
            self._sandbox.kill(self.name)

    async def wait(self, timeout: float | None = WAIT_SECONDS) -> int:
        """Wait for its end and return `returncode`. Raises WaitTimeoutError after `timeout` seconds."""
        await self._waiters.wait(
            lambda: not self.is_running, timeout, lambda: (f"the end of {self.name} (process {self.pid})", "it runs")
        )
        assert self.returncode is not None
        return self.returncode

    def __repr__(self) -> str:
        state = "running" if self.is_running else f"ended with {self.returncode}"
        return f"<SpawnedProcess {self.name} ({self.role}), pid {self.pid}, {state}>"
