"""The pytest plugin: functions, projects and simulators for tests, and failures that say what the invocation said.

Loaded by pytest by itself where lambdabox is installed. The fixtures are factories: call them with what differs from the defaults.

    def test_greeting(local_lambda):
        result = local_lambda("src/app.handler").invoke({"name": "Ada"})
        assert result.json() == {"hello": "Ada"}

In a test with an event loop (pytest-asyncio, anyio) what they return is asynchronous and used as `async with`; in any other test
it is the blocking form, open until the test is over.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lambdabox.blocking import BlockingLambdaService
    from lambdabox.blocking_simulator import BlockingSimulator
    from lambdabox.local import LocalLambda
    from lambdabox.model.function import Function
    from lambdabox.service import LambdaService
    from lambdabox.simulator import Simulator

__all__ = ["local_lambda", "lambda_service", "simulator"]  # noqa: RUF022 - from the smallest to the barest

_MOST_LINES = 40
_seen = pytest.StashKey["Witness"]()
_Paths = Iterable[str | os.PathLike[str]]


class Witness:
    """What the factories of one test have made, and what came of it: for the report of a failure."""

    def __init__(self, node: pytest.Item) -> None:
        self.folder = node.path.parent
        self.results: list[Any] = []
        self.simulators: list[Simulator] = []

    def states(self) -> list[Any]:
        """Results and invocation states alike: both know their status, request id and payload."""
        return [*self.results, *(state for made in self.simulators for state in made.invocation_states().values())]

    def located(self, path: str | os.PathLike[str]) -> Path:
        """A path from the current folder where it exists there, else from the test's own."""
        found = Path(path).absolute()
        beside = self.folder / path
        return beside if not found.exists() and beside.exists() else found

    def code_of(self, handler: str) -> Path | None:
        """The folder that a handler counts from: the current one unless only the test's own has its file."""
        module = handler.rpartition(".")[0] or handler
        for folder in (Path.cwd(), self.folder):
            if (folder / handler).exists() or any(folder.glob(f"{module}.*")):
                return folder
        return None


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _witness(request: pytest.FixtureRequest) -> Witness:
    return request.node.stash.setdefault(_seen, Witness(request.node))  # type: ignore[no-any-return]  # pytest's stash is typed by its key


# -- fixtures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def local_lambda(request: pytest.FixtureRequest) -> Iterator[Callable[..., LocalLambda]]:
    """Make a LocalLambda: `local_lambda("src/app.handler", timeout=3, extensions=["collector.py"], layers=["layer"])`.

    Takes what LocalLambda takes. Paths count from the current folder, or from the test's own where they exist only there. In a test with
    an event loop use it as `async with local_lambda(...) as function`, and `ainvoke`.
    """
    witness = _witness(request)
    stack = ExitStack()

    def make(handler: str, **options: Any) -> LocalLambda:
        from lambdabox.local import LocalLambda

        class Watched(LocalLambda):
            """A LocalLambda whose results are remembered."""

            def invoke(self, *args: Any, **more: Any) -> Any:
                witness.results.append(result := super().invoke(*args, **more))
                return result

            async def ainvoke(self, *args: Any, **more: Any) -> Any:
                witness.results.append(result := await super().ainvoke(*args, **more))
                return result

        options.setdefault("code", witness.code_of(handler))
        for name in ("extensions", "layers"):
            options[name] = [witness.located(path) for path in options.get(name, ())]
        function = Watched(handler, **options)
        stack.callback(function.close)
        return function

    with stack:  # its own: what another fixture made is open until that one's turn
        yield make


@pytest.fixture
def lambda_service(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make a LambdaService that serves the Lambda API: `lambda_service().endpoint_url` is for boto3.

    `lambda_service(project=".", *, functions=None, extensions=(), layers=(), **options)`: a project file, its folder, a handler, or
    `functions`; every function gets the extensions and layers; options are those of ServiceOptions. In a test with an event loop use
    it as `async with lambda_service(...) as service`.
    """
    witness = _witness(request)
    stack = ExitStack()

    def make(
        project: str | os.PathLike[str] = ".",
        *,
        functions: Iterable[Function] | None = None,
        extensions: _Paths = (),
        layers: _Paths = (),
        stage: str | None = None,
        **options: Any,
    ) -> Any:
        from lambdabox.service import LambdaService, ServiceOptions

        class Watched(LambdaService):
            """A LambdaService whose results are remembered, and that listens."""

            async def run(self, function: Function, invocation: Any) -> Any:
                witness.results.append(result := await super().run(function, invocation))
                return result

            async def start(self) -> None:
                await super().start()
                if self._endpoint is None:
                    self._endpoint = ""  # `listen` starts: once is enough
                    await self.listen()

        found = _functions(witness, project, functions, stage)
        found = [_with(function, witness, extensions, layers) for function in found]
        service = Watched(found, ServiceOptions(**options))
        return service if _has_loop() else _opened(stack, service)

    with stack:
        yield make


def _functions(
    witness: Witness, project: str | os.PathLike[str], functions: Iterable[Function] | None, stage: str | None
) -> list[Function]:
    from lambdabox.service import LambdaService

    if functions is not None:
        return list(functions)
    path = witness.located(project)
    if path.exists() and not os.access(path / "bootstrap", os.X_OK):
        return list(LambdaService.from_project(path, stage=stage).functions)
    from lambdabox.local import LocalLambda

    handler = os.fspath(project)
    return [LocalLambda(handler, code=witness.code_of(handler)).function]


def _with(function: Function, witness: Witness, extensions: _Paths, layers: _Paths) -> Function:
    from dataclasses import replace

    return replace(
        function,
        extensions=(*function.extensions, *(witness.located(path) for path in extensions)),
        layers=(*function.layers, *(witness.located(path) for path in layers)),
    )


def _opened(stack: ExitStack, service: LambdaService) -> BlockingLambdaService:
    from lambdabox.blocking import BlockingLambdaService

    return stack.enter_context(BlockingLambdaService(service))


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make a Simulator: `simulator(function_name="orders", extensions=["collector.py"], layers=["layer"])`.

    Takes what Simulator takes. `extensions` are started as external extensions, and so are those in the `extensions` folders of `layers`. In
    a test with an event loop use it as `async with simulator(...) as environment`.
    """
    witness = _witness(request)
    stack = ExitStack()

    def make(*, extensions: _Paths = (), layers: _Paths = (), **options: Any) -> Any:
        from lambdabox.simulator import Simulator

        made = Simulator(**options)
        witness.simulators.append(made)
        programs = [str(witness.located(path)) for path in extensions]
        if layers:
            from lambdabox.layers.merge import external_extensions, merge_layers

            opt = merge_layers(tuple(witness.located(path) for path in layers))
            programs += [] if opt is None else [str(path) for path in external_extensions(opt)]
        if _has_loop():
            return _Opening(made, programs)
        return _opened_simulator(stack, made, programs)

    with stack:
        yield make


class _Opening:
    """A Simulator that starts its extensions when it is entered."""

    def __init__(self, simulator: Simulator, programs: Sequence[str]) -> None:
        self._simulator = simulator
        self._programs = programs
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Simulator:
        simulator = await self._stack.enter_async_context(self._simulator)
        try:
            for program in self._programs:
                await simulator.spawn_process(program, role="extension")
        except BaseException:
            await self._stack.aclose()
            raise
        return simulator

    async def __aexit__(self, *details: object) -> None:
        await self._stack.aclose()


def _opened_simulator(stack: ExitStack, simulator: Simulator, programs: Sequence[str]) -> BlockingSimulator:
    from lambdabox.blocking_simulator import BlockingSimulator

    blocking = stack.enter_context(BlockingSimulator(simulator))
    for program in programs:
        blocking.spawn_process(program, role="extension")
    return blocking


# -- failures ---------------------------------------------------------------------------------------------------------


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """A result that is compared as if it were its payload is shown as one."""
    found = _payload_of(left), _payload_of(right)
    if op not in ("==", "!=") or found == (None, None):
        return None
    result, other = (left, right) if found[0] is not None else (right, left)
    return [
        f"{type(result).__name__} {op} {type(other).__name__}",
        "",
        f"a result is not its payload: compare `.json()`, which is {(found[0] or found[1])!r}",
        *_told(result),
    ]


def _payload_of(value: object) -> Any:
    if type(value).__name__ not in ("InvocationResult", "InvocationState"):
        return None
    try:
        return value.json()  # type: ignore[attr-defined]  # the two classes have it
    except ValueError:
        return getattr(value, "payload", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that failed tells what its invocations came to and what was logged."""
    report: Any = yield
    witness = item.stash.get(_seen, None)
    if call.when == "call" and report.failed and witness is not None:
        lines = [line for state in witness.states() for line in [_headline(state), *_told(state)]]
        for made in witness.simulators:
            lines.append(repr(made))
            lines += [f"  {event.time} {event.type} {event.record}" for event in made.telemetry_events[-10:]]
            lines += [f"  {name}: {line}" for name, line in made.process_output()]
        if lines:
            report.sections.append(("lambdabox", "\n".join(_cut(lines))))
    return report  # type: ignore[no-any-return]  # what a wrapper returns is the hook's result


def _headline(state: Any) -> str:
    payload = getattr(state, "response", None) if hasattr(state, "is_complete") else state.payload
    text = (payload or b"").decode("utf-8", "replace")
    return f"{state.request_id} {state.status.name}: {text if len(text) <= 500 else text[:500] + '…'}"


def _told(state: Any) -> list[str]:
    """The stack trace and the log of an invocation, as a person reads them."""
    try:
        document = state.json()
    except ValueError:
        document = None
    lines = []
    if state.status.name not in ("SUCCESS", "PENDING", "IN_PROGRESS") and isinstance(document, dict):
        lines.append(f"  {document.get('errorType')}: {document.get('errorMessage')}")
        trace = document.get("stackTrace") or document.get("trace")
        lines += [f"    {line.rstrip()}" for line in trace if isinstance(line, str)] if isinstance(trace, list) else []
    lines += [f"  log: {line}" for line in state.logs]
    return lines


def _cut(lines: list[str]) -> list[str]:
    if len(lines) <= 2 * _MOST_LINES:
        return lines
    return [*lines[:_MOST_LINES], f"… {len(lines) - 2 * _MOST_LINES} lines", *lines[-_MOST_LINES:]]
