"""Starting and ending the systems under measurement: lambdabox, its peers and the floor.

Every server listens on 127.0.0.1, runs in a process group of its own with its output in bench/.work/logs, and is ended by
process id, whatever happens: `end_all` runs at exit and on a signal.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import load, setup

BENCH = Path(__file__).resolve().parent
FUNCTIONS = BENCH / "functions"
WORK = BENCH / ".work"
LAMBDABOX = Path(sys.executable).parent / "lambdabox"
READY_SECONDS = 40.0


class NotAvailable(Exception):
    """A system cannot be measured here, and why."""


class Failed(Exception):
    """A system was there and did not do what it was asked."""


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = []
    try:
        for _ in range(count):
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            sockets.append(sock)
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


# Processes ------------------------------------------------------------------------------------------------------------


def parents() -> dict[int, int]:
    """Every process and its parent."""
    if sys.platform == "linux":
        found = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    found[int(name)] = int(Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()[1])
        return found
    lines = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.splitlines()
    return {int(pid): int(parent) for pid, parent in (line.split() for line in lines)}


def tree(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def birth(pid: int) -> str:
    """A mark that a later process with the same id does not have; empty when the process is gone."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def rss_kb(pid: int) -> int:
    """Resident memory of one process, in KiB; 0 when it is gone."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            for line in Path("/proc", str(pid), "status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0
    out = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return int(out) if out else 0


class Server:
    """A program that listens on a port of 127.0.0.1."""

    running: list[Server] = []

    def __init__(
        self, name: str, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], port: int, wait: bool = True
    ) -> None:
        self.name, self.port = name, port
        logs = WORK / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{name}.log"
        self.started = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        Server.running.append(self)
        if wait:
            try:
                self.connect(pause=0.02).close()
            except BaseException:
                self.end()
                raise

    def connect(self, pause: float) -> load.Caller:
        """A caller, as soon as the port is open."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                return load.Caller(self.port)
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with status {self.process.returncode}: {self.last_words()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} did not listen within {READY_SECONDS:g} s: {self.last_words()}")
            time.sleep(pause)

    def last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-3:])[-300:] or "it said nothing"

    def end(self) -> None:
        """End the process and all it started: asked first, then forced."""
        if self not in Server.running:
            return
        Server.running.remove(self)
        family = {pid: birth(pid) for pid in tree(self.process.pid)}
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(8)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        # Whoever left the group, a keeper with a session of its own for instance, gets a moment and then ends as well.
        deadline = time.monotonic() + 2
        while (left := [pid for pid, mark in family.items() if mark and birth(pid) == mark]) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def end_all() -> None:
    for server in Server.running[:]:
        server.end()


def guard() -> None:
    """End every server when this program ends, also by a signal."""
    atexit.register(end_all)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))


# The systems ----------------------------------------------------------------------------------------------------------


def need(*names: str) -> None:
    """Raise with the reason when a peer could not be installed."""
    known = setup.state()
    for name in names:
        entry = known.get(name, {"missing": "not installed; run bench/setup.py"})
        if "version" not in entry:
            raise NotAvailable(f"{name}: {entry['missing']}")


def python() -> str:
    """The interpreter that runs the Python functions of every system."""
    own = setup.RIC / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def environment() -> dict[str, str]:
    """One set of variables for every system; its VIRTUAL_ENV and PATH lead to `python()`."""
    env = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "TMPDIR", "USER") if name in os.environ}
    home = Path(python()).parent
    env["PATH"] = f"{home}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env["VIRTUAL_ENV"] = str(home.parent)
    env.update(SLS_TELEMETRY_DISABLED="1", SLS_NOTIFICATIONS_MODE="off", SLS_INTERACTIVE_SETUP_ENABLE="0", CI="1")
    return env


def path_of(function: str) -> str:
    return f"/2015-03-31/functions/{function}/invocations"


def lambdabox_command(*arguments: str) -> list[str]:
    if not LAMBDABOX.exists():
        raise NotAvailable("lambdabox: not installed beside this interpreter")
    return [str(LAMBDABOX), *arguments]


def lambdabox(folder: Path = FUNCTIONS, *options: str) -> Server:
    """`lambdabox serve` for a folder of functions."""
    (port,) = free_ports(1)
    command = lambdabox_command("serve", "--config", str(folder / "serverless.yml"), "--port", str(port), *options)
    return Server(
        "-".join(["lambdabox", *(option.strip("-") for option in options)]), command, cwd=folder, env=environment(), port=port
    )


def rie(handler: str, *, folder: Path = FUNCTIONS, wait: bool = True) -> Server:
    """AWS's Runtime Interface Emulator with AWS's Python runtime interface client."""
    need("rie", "awslambdaric")
    port, runtime_port = free_ports(2)
    command = [
        str(setup.RIE),
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
        "--runtime-api-address",
        f"127.0.0.1:{runtime_port}",
    ]
    return Server("rie", [*command, python(), "-m", "awslambdaric", handler], cwd=folder, env=environment(), port=port, wait=wait)


def serverless_project(name: str, functions: Mapping[str, tuple[str, str]]) -> Path:
    """A project for the Serverless Framework: key -> (handler, runtime); copied to where its plugin is found."""
    need("serverless")
    project = setup.NODE / name
    project.mkdir(parents=True, exist_ok=True)
    for source in [*FUNCTIONS.glob("*.py"), *FUNCTIONS.glob("*.js"), *(FUNCTIONS / "one").glob("whoami*")]:
        shutil.copy(source, project)
    lines = ["service: bench", "frameworkVersion: '3'", "provider:", "  name: aws", "  memorySize: 1024", "  timeout: 30"]
    lines += ["plugins:", "  - serverless-offline", "functions:"]
    for key, (handler, runtime) in functions.items():
        lines += [f"  {key}:", f"    handler: {handler}", f"    runtime: {runtime}"]
    (project / "serverless.yml").write_text("\n".join(lines) + "\n")
    return project


def serverless_command(*arguments: str) -> list[str]:
    node = shutil.which("node")
    if node is None:
        raise NotAvailable("serverless: node is not on PATH")
    return [node, str(setup.NODE / "node_modules" / "serverless" / "bin" / "serverless.js"), *arguments]


PYTHON_RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"


def serverless_offline(functions: Mapping[str, tuple[str, str]]) -> Server:
    """serverless-offline's Lambda API; the function `key` is called `bench-dev-key`."""
    project = serverless_project("offline", functions)
    http, lambda_port, websocket, alb = free_ports(4)
    command = serverless_command(
        "offline", "start", "--host", "127.0.0.1", "--httpPort", str(http), "--lambdaPort", str(lambda_port),
        "--websocketPort", str(websocket), "--albPort", str(alb),
    )  # fmt: skip
    return Server("serverless-offline", command, cwd=project, env=environment(), port=lambda_port)


def floor(environments: int) -> Server:
    """The bare loop of the same messages."""
    (port,) = free_ports(1)
    command = [
        sys.executable,
        str(BENCH / "floor.py"),
        "--port",
        str(port),
        "--environments",
        str(environments),
        "--python",
        python(),
    ]
    return Server("floor", command, cwd=BENCH, env=environment(), port=port)


# Measuring ------------------------------------------------------------------------------------------------------------


def run_load(
    server: Server, function: str, *, callers: int, calls: int, warmup: int = 0, body: Path | None = None
) -> dict[str, float]:
    """One measurement by a fresh load process."""
    command = [sys.executable, str(BENCH / "load.py"), "--port", str(server.port), "--path", path_of(function)]
    command += ["--callers", str(callers), "--calls", str(calls), "--warmup", str(warmup)]
    if body is not None:
        command += ["--body", str(body)]
    command.append("--expect")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise Failed(f"{server.name}: the load program failed: {done.stderr.strip()[-300:]}") from None
    if "failed" in result:
        raise Failed(f"{server.name}: {result['failed']}; its last words: {server.last_words()}")
    if result["errors"]:
        raise Failed(
            f"{server.name}: {result['errors']} of {result['calls']} calls failed; its last words: {server.last_words()}"
        )
    return result


def first_reply(server: Server, function: str, *, caller: load.Caller | None = None) -> load.Caller:
    """Call once and see that the reply is good."""
    own = caller or load.Caller(server.port)
    if not own.call(load.request_bytes(server.port, path_of(function), load.EVENT)):
        raise Failed(f"{server.name}: {function} answered {bytes(own.reader.buffer[:300])!r}")
    return own


def run_command(command: Sequence[str], *, cwd: Path, check: Callable[[str], bool]) -> float:
    """Milliseconds of one whole command whose output must pass `check`."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    took = (time.perf_counter() - begun) * 1000
    if done.returncode != 0 or not check(done.stdout):
        words = " / ".join((done.stderr + done.stdout).strip().splitlines()[-3:])[-300:]
        raise Failed(f"{Path(command[0]).name} ended with status {done.returncode}: {words}")
    return took
