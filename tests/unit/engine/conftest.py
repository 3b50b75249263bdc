"""An engine without processes, sockets and time: a scripted sandbox, a scripted API, a clock that the test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambdabox.engine.dispatcher import Dispatcher
from lambdabox.engine.environment import Environment
from lambdabox.engine.ids import new_request_id
from lambdabox.engine.pool import EngineContext, EngineOptions, FunctionPool
from lambdabox.engine.provision import Machine
from lambdabox.engine.ticket import Ticket
from lambdabox.model.function import Function
from lambdabox.model.invocation import Invocation
from lambdabox.model.moment import Now
from lambdabox.protocol import events as ev
from lambdabox.sandbox.base import ExitStatus


class ManualClock:
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._alarms: list[tuple[float, int, Any]] = []
        self._ids = itertools.count()

    def now(self) -> Now:
        return Now(self.time, self.time + 1e9)

    def call_at(self, monotonic: float, callback: Callable[[], None]) -> Any:
        alarm = Alarm(callback)
        heapq.heappush(self._alarms, (monotonic, next(self._ids), alarm))
        return alarm

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        while self._alarms and self._alarms[0][0] <= end:
            when, _, alarm = heapq.heappop(self._alarms)
            self.time = max(self.time, when)
            alarm.ring()
        self.time = end


class Alarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def ring(self) -> None:
        if self.callback is not None:
            self.callback()


class ScriptedSandbox:
    """Knows which processes would run."""

    def __init__(self, stage: Stage, environment: Environment) -> None:
        self.stage = stage
        self.environment = environment
        self.tmp = Path("/nowhere")
        self.running: set[str] = set()
        self.is_closed = False
        self.did: list[str] = []

    async def start(self, spec: Any) -> int:
        self.did.append(f"start {spec.name}")
        if self.stage.start_fails is not None:
            raise self.stage.start_fails
        self.running.add(spec.name)
        if spec.name == "runtime" and self.stage.runtime_polls:
            asyncio.get_running_loop().call_soon(self.environment.runtime_called, ev.RuntimePolledNext(object()))
        elif spec.name != "runtime":
            asyncio.get_running_loop().call_soon(self._extension_comes, spec.name)
        return 1

    def _extension_comes(self, name: str) -> None:
        identifier = f"{name}-{id(self)}-{len(self.did)}"
        self.environment.handle(ev.ExtensionRegistered(object(), name, (), identifier, False))
        self.environment.handle(ev.ExtensionPolledNext(object(), identifier))

    def die(self, name: str = "runtime", **status: Any) -> None:
        self.running.discard(name)
        self.environment.process_exited(name, ExitStatus(**(status or {"signal": 9})))

    def drain(self, name: str) -> None:
        pass

    def signal(self, name: str, number: int) -> None:
        self.did.append(f"signal {name}")

    def kill(self, name: str) -> None:
        self.did.append(f"kill {name}")

    async def clear(self) -> None:
        await self.stage.clearing.wait()
        self.did.append("clear")
        self.running.clear()

    def freeze(self) -> None:
        self.did.append("freeze")

    def thaw(self) -> None:
        self.did.append("thaw")

    def peak_memory_bytes(self) -> int:
        return self.stage.memory

    async def close(self) -> None:
        self.running.clear()
        self.is_closed = True


class ScriptedBackend:
    name = "scripted"

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def open(self, observer: Any, *, memory_limit_bytes: int | None = None) -> Any:
        await self.stage.opening.wait()
        if self.stage.open_fails is not None:
            raise self.stage.open_fails
        sandbox = ScriptedSandbox(self.stage, observer)
        self.stage.sandboxes.append(sandbox)
        self.stage.limits.append(memory_limit_bytes)
        return sandbox

    async def close(self) -> None:
        pass


class ScriptedApi:
    """Keeps what would be answered."""

    address = "127.0.0.1:1"

    def __init__(self, stage: Stage, environment: Environment) -> None:
        self.stage = stage
        self.environment = environment
        self.is_closed = False

    def answer_next(self, _call: object, invocation: Invocation, *_: Any) -> None:
        self.stage.running.append((self.environment, invocation))

    def answer_restore(self, *_: Any) -> None: ...

    def answer_extension_invoke(self, *_: Any) -> None: ...

    def answer_extension_shutdown(self, *_: Any) -> None: ...

    def accept(self, *_: Any) -> None: ...

    def accept_registration(self, *_: Any, **__: Any) -> None: ...

    def refuse(self, call: object, status: int, error_type: str, message: str) -> None:
        self.stage.refused.append((status, error_type))

    def collect_response(self, *_: Any) -> None: ...

    def stream_response(self, *_: Any) -> None: ...

    def cut_connections(self) -> None: ...

    async def close(self) -> None:
        self.is_closed = True


class Stage:
    """One engine, and what happens on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.opening, self.clearing = asyncio.Event(), asyncio.Event()
        self.opening.set()
        self.clearing.set()
        self.open_fails: BaseException | None = None
        self.start_fails: BaseException | None = None
        self.runtime_polls = True
        self.memory = 0
        self.sandboxes: list[ScriptedSandbox] = []
        self.limits: list[int | None] = []
        self.running: list[tuple[Environment, Invocation]] = []
        self.refused: list[tuple[int, str]] = []
        self.results: dict[str, Any] = {}
        self.finished: dict[str, Any] = {}
        self.failures: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.context: EngineContext | None = None

    def function(self, name: str = "function", **settings: Any) -> Function:
        (self.folder / "bootstrap").touch()
        return Function(name=name, handler="x", runtime="provided.al2023", code=self.folder, **settings)

    def engine(self, *functions: Function, sinks: Any = (), **options: Any) -> Dispatcher:
        async def api(environment: Environment) -> Any:
            return ScriptedApi(self, environment)

        self.context = EngineContext(
            clock=self.clock,
            backend=ScriptedBackend(self),  # type: ignore[arg-type]
            api=api,
            machine=Machine(environ={}),
            options=EngineOptions(**options),
            sinks=sinks,
            on_warning=self.warnings.append,
        )
        return Dispatcher(functions or (self.function(),), self.context)

    def pool(self, **options: Any) -> FunctionPool:
        dispatcher = self.engine(**options)
        return dispatcher.pool(dispatcher.functions[0])

    def ticket(self, function: Function, request_id: str | None = None, **more: Any) -> Ticket:
        request_id = request_id or new_request_id()
        invocation = Invocation(
            request_id=request_id, payload=b"{}", invoked_function_arn=function.arn, timeout=more.pop("timeout", None)
        )
        return Ticket(
            function,
            invocation,
            on_answer=lambda result: self.results.__setitem__(request_id, result),
            on_finish=lambda result: self.finished.__setitem__(request_id, result),
            on_failure=lambda error: self.failures.__setitem__(request_id, error),
            **more,
        )

    async def settle(self) -> None:
        """Let everything happen that can happen without time."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def submit(self, pool: FunctionPool, name: str, **more: Any) -> None:
        pool.submit(self.ticket(pool.function, name, **more))
        await self.settle()

    def where(self, name: str) -> Environment:
        """The environment that an invocation was given to last."""
        return next(environment for environment, invocation in reversed(self.running) if invocation.request_id == name)

    def answer(self, name: str, *, polls: bool = True) -> None:
        """The runtime responds and, usually, asks for its next event."""
        environment = self.where(name)
        environment.runtime_called(ev.RuntimeResponded(object(), name, b"1", 1))
        if polls:
            self.poll(environment)

    def poll(self, environment: Environment) -> None:
        environment.runtime_called(ev.RuntimePolledNext(object()))


@pytest.fixture
async def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
