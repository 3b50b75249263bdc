"""Functions written by a test, and services that run them in real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lambdabox.model.function import Function
from lambdabox.service import LambdaService, ServiceOptions

PYTHON_RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"


class Workshop:
    """Writes functions and extensions below a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def code(self, files: Mapping[str, str]) -> Path:
        """A code folder with these files; a file that begins with `#!` is executable."""
        self._count += 1
        folder = self.folder / f"code{self._count}"
        for name, text in files.items():
            write(folder / name, text)
        folder.mkdir(exist_ok=True)
        return folder

    def python(self, source: str, name: str = "function", /, **settings: Any) -> Function:
        """A Python function with this module."""
        settings.setdefault("timeout", 5.0)
        settings.setdefault("runtime", PYTHON_RUNTIME)
        return Function(name=name, handler="app.handler", code=self.code({"app.py": source}), **settings)

    def node(self, source: str, name: str = "function", /, *, file: str = "index.cjs", **settings: Any) -> Function:
        """A Node.js function with this module."""
        settings.setdefault("timeout", 5.0)
        return Function(
            name=name,
            handler="index.handler",
            runtime=settings.pop("runtime", node_runtime()),
            code=self.code({file: source}),
            **settings,
        )

    def provided(
        self, bootstrap: str | None, name: str = "function", /, *, files: Mapping[str, str] | None = None, **settings: Any
    ) -> Function:
        """A custom runtime with this bootstrap."""
        settings.setdefault("timeout", 5.0)
        every = dict(files or {})
        if bootstrap is not None:
            every["bootstrap"] = bootstrap
        return Function(
            name=name,
            handler=settings.pop("handler", "app.handler"),
            runtime="provided.al2023",
            code=self.code(every),
            **settings,
        )

    def extension(self, source: str, name: str = "collector", /) -> Path:
        """An executable Python file that knows how to talk to the Extensions API: `register`, `next_event`, `note`."""
        self._count += 1
        return write(
            self.folder / f"extensions{self._count}" / name, f"#!{sys.executable} -SE\n{EXTENSION}\n{textwrap.dedent(source)}"
        )


EXTENSION = """
import http.client, json, os, signal, sys, time
NAME = os.path.basename(sys.argv[0])
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None, **headers):
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read() or b"null")
def register(*events, **headers):
    global identifier
    status, headers, body = call("POST", "register", json.dumps({"events": list(events)}), **{"Lambda-Extension-Name": NAME}, **headers)
    identifier = headers.get("lambda-extension-identifier")
    return status, body
def next_event():
    return call("GET", "event/next", **{"Lambda-Extension-Identifier": identifier})[2]
def note(value):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps(value) + "\\n")
"""


def write(path: Path, text: str) -> Path:
    """Write a file, executable if it begins with `#!`; closed and complete when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text) if not text.startswith("#!") else text)
    if text.startswith("#!"):
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def node_runtime() -> str:
    """The identifier that fits the `node` of this machine."""
    from lambdabox.runtimes.catalog import nearest_identifier
    from lambdabox.runtimes.interpreters import InterpreterCache, default_interpreter

    cache = InterpreterCache.of_user(os.environ)
    here = default_interpreter("nodejs", project=Path.cwd(), environ=os.environ, cache=cache)
    return nearest_identifier("nodejs", here[1] if here else None)


@dataclass
class LogBook:
    """A log sink that keeps everything; `lines` are the platform's and the functions' lines in order."""

    events: list[tuple[str, str]] = field(default_factory=list)

    def platform_line(self, environment: Any, text: str) -> None:
        self.events += [("platform", line) for line in text.splitlines()]

    def function_output(self, environment: Any, name: str, data: bytes) -> None:
        self.events += [(name, line) for line in data.decode("utf-8", "replace").splitlines()]

    def warning(self, environment: Any, text: str) -> None:
        self.events.append(("warning", text))

    def of(self, kind: str) -> list[str]:
        return [text for name, text in self.events if name == kind]


class Runner:
    """A service with one way to call its first function."""

    def __init__(self, service: LambdaService, book: LogBook) -> None:
        self.service = service
        self.book = book

    async def __call__(self, event: Any = None, **more: Any) -> Any:
        return await self.service.invoke(more.pop("function", self.service.functions[0].name), event, **more)

    @property
    def pool(self) -> Any:
        assert self.service._dispatcher is not None
        return self.service._dispatcher.pool(self.service.functions[0])


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
async def run() -> AsyncIterator[Callable[..., Any]]:
    """`await run(function, ..., option=value)` starts a service; it is closed after the test."""
    async with AsyncExitStack() as stack:

        async def start(*functions: Function, **options: Any) -> Runner:
            book = LogBook()
            options.setdefault("python", sys.executable)
            service = LambdaService(functions, ServiceOptions(sinks=(book,), **options))
            await stack.enter_async_context(service)
            return Runner(service, book)

        yield start


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A file that extensions write to; their NOTES variable."""
    path = tmp_path / "notes"
    path.touch()
    return path


@pytest.fixture(scope="session")
def has_node() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")


@pytest.fixture
def needs_proc() -> None:
    """Memory that is measured while processes run, and processes that leave their group: see `ProcessBackend.limitations`."""
    if os.environ.get("LAMBDABOX_HIDE_PROC") or not Path("/proc/self").exists():
        pytest.skip("there is no /proc")


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Watch something that has no event: the end of a process that is not ours."""
    horizon = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < horizon, "it did not happen in time"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """The process exists and is no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@pytest.fixture
def watch() -> Any:
    """`watch.until(condition)` and `watch.is_running(pid)`."""

    class Watch:
        until = staticmethod(wait_until)
        is_running = staticmethod(is_running)

    return Watch
