"""Whatever ends the engine, nothing of it stays; and nothing of it needs root, /proc or control groups."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

import lambdabox

SOURCE = """
import json, os, subprocess, sys, time
helper = subprocess.Popen(["sleep", "600"], start_new_session=True)
def handler(event, context):
    return {"pids": [os.getpid(), helper.pid], "uid": os.getuid(), "tmp": os.environ["TMPDIR"]}
"""

SERVICE = """
import asyncio, json, os, sys
from pathlib import Path
from lambdabox.model.function import Function
from lambdabox.service import LambdaService, ServiceOptions
async def main(freeze):
    function = Function(name="f", handler="app.handler", runtime="RUNTIME", code=Path(sys.argv[1]), timeout=20)
    service = LambdaService([function], ServiceOptions(python=sys.executable, freeze=freeze))
    results = [(await service.invoke("f")).json()]
    busy = asyncio.ensure_future(service.invoke("f"))
    await busy
    print(json.dumps(results[0]), flush=True)
    await asyncio.sleep(600)
asyncio.run(main(sys.argv[2] == "frozen"))
""".replace("RUNTIME", f"python{sys.version_info[0]}.{sys.version_info[1]}")

LOCAL = """
import json, sys
from lambdabox import LocalLambda
with LocalLambda("app.handler", code=sys.argv[1], runtime="RUNTIME", timeout=1.0, python=sys.executable) as function:
    first = function.invoke({}).json()
    late = function.invoke({"sleep": 60}).json() if len(sys.argv) > 2 else None
    second = function.invoke({}).json()
print(json.dumps([first, late, second]))
""".replace("RUNTIME", f"python{sys.version_info[0]}.{sys.version_info[1]}")


def children(pid: int) -> set[int]:
    """A process and everything below it."""
    found, todo = set(), [pid]
    while todo:
        member = todo.pop()
        found.add(member)
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                todo += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("state", ["awake", "frozen"])
def test_sigkill_of_the_engine_leaves_no_process(workshop, needs_proc, watch, state):
    code = workshop.code({"app.py": SOURCE})
    script = workshop.folder / "service.py"
    script.write_text(SERVICE)
    command = [sys.executable, str(script), str(code), state]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": PACKAGES})
    try:
        assert process.stdout is not None
        seen = json.loads(process.stdout.readline())
        below = children(process.pid) | set(seen["pids"])
        assert all(watch.is_running(pid) for pid in below)
        assert len(below) >= 5  # engine, keeper, warden, runtime, its child
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    watch.until(lambda: not any(watch.is_running(pid) for pid in below))
    watch.until(lambda: not Path(seen["tmp"]).exists())


def run(script: str, code: Path, *arguments: str, command: tuple[str, ...] = (sys.executable,), **environment: str) -> Any:
    """Run a script in a process of its own and return the JSON it prints."""
    done = subprocess.run(
        [*command, "-c", script, str(code), *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
        env={**os.environ, "PYTHONPATH": PACKAGES, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_a_normal_end_leaves_no_folder_and_no_process(workshop, needs_proc, watch, tmp_path):
    code = workshop.code({"app.py": SOURCE})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    first, _, second = run(LOCAL, code, TMPDIR=str(scratch))
    assert first == second
    assert list(scratch.iterdir()) == []
    assert not any(watch.is_running(pid) for pid in first["pids"])


PACKAGES = os.pathsep.join([str(Path(lambdabox.__file__).parents[1]), str(Path(msgspec.__file__).parents[1])])
"""Where a process that we start finds lambdabox and what it needs, whoever runs it."""

LATE = SOURCE.replace("    return", "    time.sleep(event.get('sleep', 0))\n    return").replace(", start_new_session=True", "")
"""Without /proc a process that leaves its group is out of reach: this one stays."""


def shared_folder() -> Path:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="shared-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


def as_nobody() -> tuple[tuple[str, ...], dict[str, str]]:
    """The command and the variables with which another user runs Python with our packages."""
    if os.name != "posix" or os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, with setpriv")
    candidates = [
        sys.executable,
        str(Path(sys.executable).resolve()),
        f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}",
    ]
    for candidate in candidates:
        command = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", candidate)
        probe = "import os, sys, lambdabox.service; os.stat(sys.executable)"
        environment = {"PYTHONPATH": PACKAGES}
        done = subprocess.run(
            [*command, "-c", probe], check=False, capture_output=True, cwd="/", env={**os.environ, **environment}
        )
        if done.returncode == 0:
            return command, environment
    pytest.skip("no interpreter here can be run by another user")


@pytest.mark.parametrize("hidden", [False, True])
def test_an_unprivileged_user_runs_functions(hidden):
    command, environment = as_nobody()
    folder = shared_folder()
    try:
        (folder / "app.py").write_text(LATE)
        scratch = folder / "scratch"
        scratch.mkdir()
        scratch.chmod(0o777)
        if hidden:
            environment |= {"LAMBDABOX_HIDE_PROC": "1", "LAMBDABOX_NO_CGROUP": "1"}
        environment |= {"TMPDIR": str(scratch), "HOME": str(scratch), "XDG_CACHE_HOME": str(scratch / "cache")}
        first, late, second = run(LOCAL, folder, "late", command=command, **environment)
        assert first["uid"] == 65534
        assert late["errorType"] == "Sandbox.Timedout"
        assert second["pids"] != first["pids"]
        assert [path.name for path in scratch.iterdir() if path.name.startswith("lambdabox-")] == []
    finally:
        shutil.rmtree(folder)


def test_without_proc_and_control_groups_functions_run(workshop, watch):
    code = workshop.code({"app.py": LATE})
    first, late, second = run(LOCAL, code, "late", LAMBDABOX_HIDE_PROC="1", LAMBDABOX_NO_CGROUP="1")
    assert late["errorType"] == "Sandbox.Timedout"
    assert first["pids"] != second["pids"]
    assert not any(watch.is_running(pid) for pid in (*first["pids"], *second["pids"]))
