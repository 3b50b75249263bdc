"""A scripted Runtime API and processes that talk to it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "src"
BOOTSTRAP = Path(__file__).resolve().parents[2] / "src/lambdabox/runtimes/bootstraps/python/bootstrap.py"
VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

if str(LIBRARY) not in sys.path:
    sys.path.insert(0, str(LIBRARY))

AWS_CLIENT = "import sys; from awslambdaric.__main__ import main; import runtime_client; sys.path.insert(0, sys.argv.pop(1)); main(sys.argv)"
ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
ARN = "arn:aws:lambda:us-east-1:123456789012:function:my-function"


@dataclass(frozen=True)
class Request:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def call(self) -> str:
        """`next`, `response`, `error` or `init/error`."""
        return "init/error" if self.path.endswith("/init/error") else self.path.rsplit("/", 1)[1]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedApi:
    """Answers `/next` from a queue and everything else with 202, unless a test scripted raw answers for a call.

    A raw answer is sent as it is; CLOSE ends the connection instead, and an answer that ends in CLOSE ends it afterwards.
    """

    CLOSE = b"<close>"
    requests: list[Request] = field(default_factory=list)
    scripted: dict[str, list[bytes]] = field(default_factory=dict)
    connections: int = 0

    def __post_init__(self) -> None:
        self._pending: list[bytes] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._spawn(self._accept)

    def enqueue(self, event: Any = None, *, request_id: str = "id-1", body: bytes | None = None, **headers: str | None) -> None:
        """Have `/next` answer with an event; keyword arguments set headers (`trace_id=`) or drop them (None)."""
        payload = json.dumps(event).encode() if body is None else body
        lines = {
            "content_type": "application/json",
            "aws_request_id": request_id,
            "deadline_ms": "4102444800000",
            "invoked_function_arn": ARN,
            "trace_id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1",
        }
        lines.update(headers)
        head = "HTTP/1.1 200 OK\r\n"
        for name, value in lines.items():
            if value is not None:
                title = "-".join(part.title() for part in name.split("_"))
                head += f"{title if name == 'content_type' else 'Lambda-Runtime-' + title}: {value}\r\n"
        self.enqueue_raw(head.encode() + b"Content-Length: %d\r\n\r\n" % len(payload) + payload)

    def enqueue_raw(self, answer: bytes) -> None:
        """Have `/next` answer with these bytes."""
        with self._changed:
            self._pending.append(answer)
            self._changed.notify_all()

    def wait(self, call: str, count: int = 1) -> Request:
        """The `count`-th request of a call, waited for."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.all(call)) >= count, timeout=10):
                seen = [request.call for request in self.requests]
                pytest.fail(f"no {call} within 10 s; seen: {seen}")
            return self.all(call)[count - 1]

    def all(self, call: str) -> list[Request]:
        return [request for request in self.requests if request.call == call]

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        # Closing a listener does not wake who accepts on it; shutting it down does.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
            assert not thread.is_alive()

    def _spawn(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(connection)
            self._spawn(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            while True:
                request = self._read(stream, connection, number)
                if request is None:
                    return
                with self._changed:
                    self.requests.append(request)
                    self._changed.notify_all()
                answer = self._answer(request.call)
                if answer is None:
                    return
                connection.sendall(answer.replace(self.CLOSE, b""))
                if answer.endswith(self.CLOSE):
                    return

    @staticmethod
    def _read(stream: Any, connection: socket.socket, number: int) -> Request | None:
        first = stream.readline().decode("latin-1").split()
        if len(first) != 3:
            return None
        headers: dict[str, str] = {}
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(headers.get("content-length", 0))
        body = stream.read(length)
        if len(body) < length:
            return None
        return Request(first[0], first[1], headers, body, number)

    def _answer(self, call: str) -> bytes | None:
        script = self.scripted.get(call)
        if script:
            return script.pop(0)
        if call != "next":
            return ACCEPTED
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._is_closed)
            return None if self._is_closed else self._pending.pop(0)


@dataclass
class Running:
    """A runtime process that was started by a test."""

    process: subprocess.Popen[bytes]
    stdout_file: Any
    stderr_file: Any
    log_reader: int | None = None

    def exit_code(self) -> int:
        return self.process.wait(20)

    def output(self) -> tuple[str, str]:
        """End the process, if it has not ended, and give what it wrote to stdout and stderr."""
        self.end()
        self.stdout_file.seek(0)
        self.stderr_file.seek(0)
        return self.stdout_file.read().decode("utf-8", "backslashreplace"), self.stderr_file.read().decode()

    def end(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def stdout(self) -> str:
        return self.output()[0]

    def log_frames(self) -> list[tuple[str, str]]:
        """The frames of the log descriptor: type in hexadecimal and message."""
        self.output()
        assert self.log_reader is not None
        with os.fdopen(self.log_reader, "rb") as stream:
            data = stream.read()
        self.log_reader = None
        frames = []
        while data:
            size = int.from_bytes(data[4:8], "big")
            assert int.from_bytes(data[8:16], "big") > 1_700_000_000_000_000
            frames.append((data[:4].hex(), data[16 : 16 + size].decode()))
            data = data[16 + size :]
        return frames


class Starter:
    """Starts functions under a bootstrap, in a folder of their own."""

    def __init__(self, api: ScriptedApi, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.running: list[Running] = []
        self._descriptors: list[int] = []

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def __call__(
        self,
        source: str,
        handler: str = "app.handler",
        *,
        bootstrap: str = "ours",
        python: str = sys.executable,
        env: dict[str, str] | None = None,
        framed: bool = False,
        identifier: str = "python3.12",
    ) -> Running:
        self.write(handler.rsplit(".", 1)[0] + ".py" if "." in handler else "app.py", source)
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{identifier}",
            "AWS_LAMBDA_FUNCTION_NAME": "my-function",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/my-function",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/20/[$LATEST]0123456789abcdef0123456789abcdef",
            "LAMBDA_TASK_ROOT": str(self.folder),
            "_HANDLER": handler,
        }
        if bootstrap == "ours":
            command = [python, str(BOOTSTRAP), handler]
        else:
            # As on Lambda, the function's folder is put in front after the client has made its own imports.
            command = [python, "-P", "-c", AWS_CLIENT, str(self.folder), handler]
        variables.update(env or {})
        reader, passed = None, ()
        if framed:
            reader, writer = os.pipe()
            variables["_LAMBDA_TELEMETRY_LOG_FD"] = str(writer)
            passed = (writer,)
        # Files take whatever is written, so that no process waits for a test to read.
        out, err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - closed with the starter
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=passed,
        )
        for descriptor in passed:
            os.close(descriptor)
        running = Running(process, out, err, reader)
        self.running.append(running)
        return running

    def close(self) -> None:
        for running in self.running:
            running.end()
            running.stdout_file.close()
            running.stderr_file.close()
            if running.log_reader is not None:
                os.close(running.log_reader)


def find_python(version: str) -> str | None:
    """An interpreter of a version that really runs: past pyenv's shims, which exist for versions that are not installed."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [*sorted(root.glob(f"versions/{version}.*/bin/python3")), shutil.which(f"python{version}")]
    for candidate in candidates:
        if candidate is not None:
            probe = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, check=False
            )
            if probe.returncode == 0 and probe.stdout.decode().strip() == version:
                return str(candidate)
    return None


@pytest.fixture
def api() -> Any:
    server = ScriptedApi()
    yield server
    server.close()


@pytest.fixture
def start(api: ScriptedApi, tmp_path: Path) -> Any:
    starter = Starter(api, tmp_path)
    yield starter
    starter.close()


@pytest.fixture(params=["ours", "awslambdaric"])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Our bootstrap and AWS's: what a test says about both is AWS's behaviour, judged by AWS's own client."""
    if request.param == "awslambdaric" and importlib.util.find_spec("awslambdaric") is None:
        pytest.skip("awslambdaric is not installed")
    return str(request.param)


@pytest.fixture(params=VERSIONS)
def interpreter(request: pytest.FixtureRequest) -> str:
    found = find_python(request.param)
    if found is None:
        pytest.skip(f"no Python {request.param} on this machine")
    return found
