"""The Simulator without `await`: it runs in an event loop of its own, in a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from lambdabox.blocking import LoopThread
from lambdabox.engine.invocation_state import InvocationState
from lambdabox.errors import UsageError
from lambdabox.model.function import Function
from lambdabox.model.invocation import Invocation
from lambdabox.model.telemetry import TelemetryEvent
from lambdabox.protocol.states import Phase

if TYPE_CHECKING:
    from lambdabox.simulator import ExtensionInfo, FreezeMode, Simulator, SpawnedProcess

T = TypeVar("T")
_WAIT_SECONDS = 5.0

__all__ = ["BlockingSimulator", "BlockingSpawnedProcess"]


class BlockingSpawnedProcess:
    """A process that the Simulator started; see `lambdabox.simulator.SpawnedProcess`."""

    def __init__(self, owner: BlockingSimulator, process: SpawnedProcess) -> None:
        self._owner = owner
        self._process = process
        self.name = process.name
        self.role = process.role

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def __index__(self) -> int:
        return self.pid

    @property
    def is_running(self) -> bool:
        """Whether its end has not been seen yet."""
        return self._process.is_running

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it; None while it runs."""
        return self._process.returncode

    @property
    def output(self) -> str:
        """What it wrote to standard output and standard error, the last megabyte of it."""
        return self._owner.in_loop(lambda: self._process.output)

    def kill(self) -> None:
        """SIGKILL the process and its descendants."""
        self._owner.in_loop(self._process.kill)

    def wait(self, timeout: float | None = _WAIT_SECONDS) -> int:
        """Wait for its end and return `returncode`. Raises WaitTimeoutError."""
        return self._owner.wait_until(lambda: self._process.wait(timeout))

    def __repr__(self) -> str:
        return repr(self._process)


class BlockingSimulator:
    """A Simulator for code without an event loop; use it as `with`, from any thread. Names, units and errors are the Simulator's.

    Predicates of `wait_for` are called in the simulator's thread: they should look, not act.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._thread = LoopThread()
        self._ident: int | None = None

    def __repr__(self) -> str:
        return repr(self._simulator)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def wait_until(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run an asynchronous call in the simulator's thread and wait for it."""
        if threading.get_ident() == self._ident:
            raise UsageError("a predicate cannot wait for the Simulator", hint="look at its properties and states only")

        async def run() -> T:
            return await call()

        return self._thread.run(run())

    def in_loop(self, call: Callable[[], T]) -> T:
        """Run a plain call in the simulator's thread."""
        if threading.get_ident() == self._ident or not self._thread.is_running:
            return call()

        async def run() -> T:
            return call()

        return self._thread.run(run())

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, and begin Init. Raises AddressInUseError."""
        self._thread.start()

        async def run() -> None:
            self._ident = threading.get_ident()
            await self._simulator.start()

        try:
            self._thread.run(run())
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        self._ident = None
        self._thread.stop()

    def shutdown(self) -> None:
        """End at once. Twice does nothing."""
        if self._thread.is_running:
            try:
                self.wait_until(self._simulator.shutdown)
            finally:
                self._stop()

    def graceful_shutdown(self, reason: Literal["spindown", "timeout", "failure"] = "spindown") -> None:
        """Run the Shutdown phase."""
        if self._thread.is_running:
            self.wait_until(lambda: self._simulator.graceful_shutdown(reason))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.shutdown()

    # -- how it stands ------------------------------------------------------------------------------------------------

    @property
    def runtime_api(self) -> str:
        """`host:port`, for AWS_LAMBDA_RUNTIME_API."""
        return self._simulator.runtime_api

    @property
    def runtime_api_url(self) -> str:
        """The same as a URL."""
        return self._simulator.runtime_api_url

    @property
    def function(self) -> Function:
        """What the environment says of its function."""
        return self._simulator.function

    @property
    def log_stream(self) -> str:
        """The name of the log stream."""
        return self._simulator.log_stream

    @property
    def phase(self) -> Phase:
        """Where the environment stands."""
        return self._simulator.phase

    @property
    def is_initialized(self) -> bool:
        """Whether Init is over."""
        return self._simulator.is_initialized

    @property
    def init_error(self) -> str | None:
        """Why the last Init failed."""
        return self._simulator.init_error

    @property
    def registered_extensions(self) -> list[ExtensionInfo]:
        """The extensions that have registered, in that order."""
        return self.in_loop(lambda: self._simulator.registered_extensions)

    @property
    def extension_count(self) -> int:
        """How many extensions have registered."""
        return len(self.registered_extensions)

    @property
    def is_frozen(self) -> bool:
        """Whether the environment's processes stand still."""
        return self.in_loop(lambda: self._simulator.is_frozen)

    @property
    def freeze_mode(self) -> FreezeMode:
        """Whether processes stand still between invocations."""
        return self._simulator.freeze_mode

    @property
    def freeze_epoch(self) -> int:
        """How often the environment was thawed."""
        return self._simulator.freeze_epoch

    def register_pid_for_freeze(self, pid: int | BlockingSpawnedProcess) -> None:
        """Stop and continue this process with the environment."""
        if not isinstance(pid, BlockingSpawnedProcess):
            self.in_loop(lambda: self._simulator.register_pid_for_freeze(pid))

    # -- invocations --------------------------------------------------------------------------------------------------

    def enqueue(self, invocation: Invocation) -> str:
        """Put an invocation into the queue and return its request id."""
        return self.wait_until(lambda: self._simulator.enqueue(invocation))

    def enqueue_payload(self, payload: Any, **details: Any) -> str:
        """Put an event into the queue and return its request id."""
        return self.wait_until(lambda: self._simulator.enqueue_payload(payload, **details))

    def make_invocation(self, payload: Any, **details: Any) -> Invocation:
        """An invocation of the function with this event."""
        return self._simulator.make_invocation(payload, **details)

    def invocation_state(self, request_id: str) -> InvocationState:
        """How an invocation stands."""
        return self._simulator.invocation_state(request_id)

    def invocation_states(self) -> dict[str, InvocationState]:
        """Every invocation by its request id."""
        return self.in_loop(self._simulator.invocation_states)

    def forget(self, request_id: str) -> None:
        """Let go of an invocation that is finished."""
        self.in_loop(lambda: self._simulator.forget(request_id))

    def extension_overhead_ms(self, request_id: str) -> float | None:
        """How many milliseconds extensions went on after the runtime was done."""
        return self._simulator.extension_overhead_ms(request_id)

    def listen(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve the Lambda API's Invoke for this environment and return its endpoint URL."""
        return self.wait_until(lambda: self._simulator.listen(host, port))

    # -- waiting ------------------------------------------------------------------------------------------------------

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = _WAIT_SECONDS, *, what: str | None = None) -> None:
        """Return as soon as `predicate` is true. Raises WaitTimeoutError."""
        self.wait_until(lambda: self._simulator.wait_for(predicate, timeout, what=what))

    def recheck(self) -> None:
        """Ask the predicates of `wait_for` again."""
        self.in_loop(self._simulator.recheck)

    def wait_for_invocation_complete(self, request_id: str, timeout: float | None = _WAIT_SECONDS) -> InvocationState:
        """Return the state of an invocation when it is answered."""
        return self.wait_until(lambda: self._simulator.wait_for_invocation_complete(request_id, timeout))

    def wait_for_phase(self, phase: Phase | str, timeout: float | None = _WAIT_SECONDS) -> None:
        """Return when the environment stands there."""
        self.wait_until(lambda: self._simulator.wait_for_phase(phase, timeout))

    def wait_for_frozen(self, timeout: float | None = _WAIT_SECONDS) -> None:
        """Return when the environment's processes stand still."""
        self.wait_until(lambda: self._simulator.wait_for_frozen(timeout))

    def wait_for_extensions_ready(self, request_id: str | None = None, timeout: float | None = _WAIT_SECONDS) -> None:
        """Return when every registered extension waits for its next event."""
        self.wait_until(lambda: self._simulator.wait_for_extensions_ready(request_id, timeout))

    # -- processes ----------------------------------------------------------------------------------------------------

    def lambda_environment(self, role: Literal["runtime", "extension"] = "runtime") -> dict[str, str]:
        """The variables that a process of this role finds on Lambda."""
        return self._simulator.lambda_environment(role)

    def spawn_process(
        self,
        *argv: str | os.PathLike[str],
        role: Literal["runtime", "extension"] = "runtime",
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        name: str | None = None,
    ) -> BlockingSpawnedProcess:
        """Start a runtime or an external extension with the variables of its role."""
        process = self.wait_until(lambda: self._simulator.spawn_process(*argv, role=role, env=env, cwd=cwd, name=name))
        return BlockingSpawnedProcess(self, process)

    def process_output(self) -> list[tuple[str, str]]:
        """What spawned processes wrote: name and line."""
        return self.in_loop(self._simulator.process_output)

    # -- telemetry ----------------------------------------------------------------------------------------------------

    def enable_telemetry_capture(self) -> None:
        """Keep telemetry in memory."""
        self._simulator.enable_telemetry_capture()

    @property
    def telemetry_events(self) -> list[TelemetryEvent]:
        """What a subscriber to everything would have got, in order."""
        return self.in_loop(lambda: self._simulator.telemetry_events)

    def get_telemetry_events_by_type(self, type: str) -> list[TelemetryEvent]:  # noqa: A002 - AWS's word for it
        """Those of one type."""
        return self.in_loop(lambda: self._simulator.get_telemetry_events_by_type(type))

    def clear_telemetry_events(self) -> None:
        """Forget what was captured so far."""
        self.in_loop(self._simulator.clear_telemetry_events)
