"""The port of every sandbox: what the engine asks of the place where an environment's processes run.

A backend starts processes, tells of their output and their end, freezes, thaws, measures and kills them. It decides
nothing. All calls come from the event loop's thread; the observer is called from the same thread, never re-entrantly from
within `Sandbox.signal` or `Sandbox.kill`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process to start.

    `name` is unique within its environment (`runtime`, or the extension's file name). `argv[0]` is the executable's path.
    `framed_logs` gives the process a descriptor that takes framed log records (`_LAMBDA_TELEMETRY_LOG_FD`, set by the backend
    in the process's variables); frames and plain output arrive through the same ordered stream.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    framed_logs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How a process ended: an exit code, or the number of the signal that killed it. `out_of_memory`: the memory limit did."""

    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False


class SandboxObserver(Protocol):
    """Who is told what happens in a sandbox."""

    def process_output(self, name: str, data: bytes) -> None:
        """Bytes that the process wrote to stdout, stderr or its framed descriptor, in the order of writing."""

    def process_exited(self, name: str, status: ExitStatus) -> None:
        """The process ended; everything it wrote itself was delivered before."""

    def memory_exceeded(self) -> None:
        """The processes together went over `memory_limit_bytes` (only when a limit is enforced by sampling)."""


class Sandbox(ABC):
    """The processes of one execution environment and its /tmp."""

    tmp: Path
    """The environment's scratch folder: survives `clear`, is removed by `close`."""

    @abstractmethod
    async def start(self, spec: ProcessSpec) -> int:
        """Start a process and return its id. Raises LaunchError, SandboxClosedError."""

    @abstractmethod
    def drain(self, name: str) -> None:
        """Deliver what the process has written so far: never waits, reads no more than was there at the call."""

    @abstractmethod
    def signal(self, name: str, number: int) -> None:
        """Send a signal to the process group of `name`; nothing happens when it ended before. A frozen sandbox is thawed first."""

    @abstractmethod
    def kill(self, name: str) -> None:
        """SIGKILL the process and all its descendants."""

    @abstractmethod
    async def clear(self) -> None:
        """SIGKILL every process of the environment and return when none is left. `tmp` stays."""

    @abstractmethod
    def freeze(self) -> None:
        """Stop every process until `thaw`. Twice does nothing."""

    @abstractmethod
    def thaw(self) -> None:
        """Let every process go on. Twice does nothing."""

    @abstractmethod
    def peak_memory_bytes(self) -> int:
        """Peak resident memory of the environment's processes since it was opened or last cleared; 0 when it cannot be measured."""

    @abstractmethod
    async def close(self) -> None:
        """End every process, remove `tmp`. Twice does nothing."""


class SandboxBackend(ABC):
    """Opens sandboxes."""

    name: str

    @abstractmethod
    async def open(self, observer: SandboxObserver, *, memory_limit_bytes: int | None = None) -> Sandbox:
        """A new, empty sandbox. `memory_limit_bytes` is enforced when given. Raises SandboxUnavailableError."""

    @abstractmethod
    async def close(self) -> None:
        """Close every sandbox and what serves them all."""
