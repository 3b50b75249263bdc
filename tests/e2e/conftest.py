"""The command line as a subprocess, away from the settings of whoever runs the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_KEPT = ("PATH", "HOME", "LAMBDABOX_TEST_NODES", "TMPDIR", "LD_LIBRARY_PATH")

PYTHON_FUNCTIONS = """
import json, os, sys, time

def echo(event, context):
    return event

def hello(event, context):
    print("a log line")
    print("to standard error", file=sys.stderr)
    return {"hello": event.get("name", "world")}

def env(event, context):
    return {name: os.environ.get(name) for name in event}

def about(event, context):
    return {"custom": getattr(context, "custom", None), "function": context.function_name, "memory": context.memory_limit_in_mb,
            "client": context.client_context.custom if context.client_context else None}

def outer(event, context):
    return inner()

def inner():
    raise KeyError("missing")

def slow(event, context):
    with open(event["started"], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)

def crash(event, context):
    os._exit(3)

def noisy(event, context):
    for number in range(event["lines"]):
        print("line", number, "x" * 80)
    return "done"

def open_line(event, context):
    os.write(1, b"no newline")
    return None

def unicode(event, context):
    return "\\u00e9\\u4e16"
"""

SERVERLESS = """
service: shop
provider:
  name: aws
  runtime: {runtime}
  environment:
    STAGE_WORD: from-project
functions:
  hello:
    handler: app.hello
  echo:
    handler: app.echo
    memorySize: 256
  env:
    handler: app.env
  gone:
    handler: nowhere.handler
"""


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A quiet environment whose cache is shared by the tests."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("pyc")),
    }


@pytest.fixture(scope="session")
def runtime() -> str:
    return f"python3.{min(max(sys.version_info.minor, 11), 14)}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with handlers and no project file."""
    (tmp_path / "app.py").write_text(PYTHON_FUNCTIONS)
    return tmp_path


@pytest.fixture
def serverless(project: Path, runtime: str) -> Path:
    """The same with a serverless.yml."""
    (project / "serverless.yml").write_text(SERVERLESS.format(runtime=runtime))
    return project


Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Run:
    """Run the command to its end."""

    def run_(
        *arguments: str, cwd: Path = tmp_path, stdin: Any = None, env: dict[str, str] | None = None, timeout: float = 30
    ) -> subprocess.CompletedProcess[bytes]:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        if isinstance(stdin, int):
            given = {"stdin": stdin}
        return subprocess.run(
            [sys.executable, "-m", "lambdabox", *arguments],
            cwd=cwd,
            env={**environ, **(env or {})},
            capture_output=True,
            timeout=timeout,
            check=False,
            **given,
        )

    return run_


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start the command; it is killed when the test is over."""
    started: list[subprocess.Popen[bytes]] = []

    def start_(
        *arguments: str, cwd: Path = tmp_path, env: dict[str, str] | None = None, **settings: Any
    ) -> subprocess.Popen[bytes]:
        defaults: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [sys.executable, "-m", "lambdabox", *arguments], cwd=cwd, env={**environ, **(env or {})}, **(defaults | settings)
        )
        started.append(process)
        return process

    yield start_
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
