"""The Simulator with real processes: spawned and registered ones, freezing, the blocking twin, systems without POSIX."""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambdabox import FreezeMode, InvocationStatus, Simulator
from lambdabox.errors import LaunchError, UsageError, WaitTimeoutError
from lambdabox.simulator import Phase
from lambdabox.testing import ScriptedRuntime

RUNTIME = """
import http.client, json, os, sys
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
print("runtime started", os.environ.get("EXTRA"), flush=True)
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event = json.loads(answer.read())
    request_id = answer.getheader("Lambda-Runtime-Aws-Request-Id")
    if event == "exit":
        os._exit(3)
    print("got", json.dumps(event), flush=True)
    result = {name: os.environ.get(name) for name in event} if isinstance(event, list) else event
    api.request("POST", "/2018-06-01/runtime/invocation/" + request_id + "/response", json.dumps(result))
    api.getresponse().read()
"""

EXTENSION = """
import http.client, json, os, sys
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body, **headers):
    api.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = api.getresponse()
    return answer, json.loads(answer.read())
answer, _ = call("POST", "register", '{"events": ["INVOKE", "SHUTDOWN"]}', **{"Lambda-Extension-Name": os.path.basename(sys.argv[0])})
identity = {"Lambda-Extension-Identifier": answer.getheader("Lambda-Extension-Identifier")}
while True:
    _, event = call("GET", "event/next", None, **identity)
    print("extension got", event["eventType"], event.get("shutdownReason", ""), flush=True)
    if event["eventType"] == "SHUTDOWN":
        break
"""


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return str(path)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def freezing() -> AsyncIterator[Simulator]:
    async with Simulator(freeze_mode=FreezeMode.ENABLED) as simulator:
        yield simulator


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def child(*argv: str, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, **settings)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# -- spawned processes ------------------------------------------------------------------------------------------------


async def test_a_spawned_runtime_answers(simulator: Simulator, tmp_path: Path) -> None:
    process = await simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME), env={"EXTRA": "more"})
    request_id = await simulator.enqueue_payload({"a": 1})
    state = await simulator.wait_for_invocation_complete(request_id)
    assert state.json() == {"a": 1}
    assert (process.name, process.role, process.is_running) == ("runtime", "runtime", True)
    assert process.output.splitlines() == ["runtime started more", 'got {"a": 1}']
    assert operator.index(process) == process.pid


async def test_a_spawned_runtime_has_the_variables_of_its_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_SHELL", "here")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "another")
    async with Simulator(function_name="orders", handler="app.handler") as simulator:
        await simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME), cwd=tmp_path)
        names = ["AWS_LAMBDA_FUNCTION_NAME", "_HANDLER", "OF_THE_SHELL", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_RUNTIME_API"]
        state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload(names))
        assert list(state.json().values()) == ["orders", "app.handler", "here", str(tmp_path), simulator.runtime_api]


async def test_a_runtime_and_its_extension_work_together(simulator: Simulator, tmp_path: Path) -> None:
    extension = await simulator.spawn_process(sys.executable, script(tmp_path, "collector", EXTENSION), role="extension")
    await simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
    for number in range(2):
        state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload(number))
        assert state.status is InvocationStatus.SUCCESS
    assert [found.name for found in simulator.registered_extensions] == ["collector"] == [extension.name]
    await simulator.wait_for_phase(Phase.IDLE)
    await simulator.graceful_shutdown("spindown")
    assert extension.returncode == 0
    assert extension.output.splitlines()[-1] == "extension got SHUTDOWN spindown"


async def test_what_processes_write_is_telemetry(simulator: Simulator, tmp_path: Path) -> None:
    await simulator.spawn_process(sys.executable, script(tmp_path, "collector", EXTENSION), role="extension")
    await simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
    request_id = await simulator.enqueue_payload("hello")
    await simulator.wait_for(lambda: simulator.get_telemetry_events_by_type("platform.report"))
    assert 'got "hello"' in "".join(event.record for event in simulator.get_telemetry_events_by_type("function"))
    assert "extension got INVOKE" in "".join(event.record for event in simulator.get_telemetry_events_by_type("extension"))
    assert 'got "hello"' in simulator.invocation_state(request_id).logs


async def test_memory_of_a_spawned_runtime_is_measured(simulator: Simulator, tmp_path: Path, needs_proc: None) -> None:
    await simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
    request_id = await simulator.enqueue_payload({})
    await simulator.wait_for(lambda: simulator.invocation_state(request_id).is_finished)
    report = simulator.invocation_state(request_id).report
    assert report is not None
    assert 1 < report.max_memory_used_mb < 128


async def test_a_spawned_runtime_that_dies_is_an_error_and_may_be_spawned_again(simulator: Simulator, tmp_path: Path) -> None:
    path = script(tmp_path, "runtime.py", RUNTIME)
    process = await simulator.spawn_process(sys.executable, path)
    state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload("exit"))
    assert (state.status, state.error_type) == (InvocationStatus.ERROR, "Runtime.ExitError")
    assert await process.wait() == 3
    await simulator.wait_for_phase(Phase.DORMANT)
    await simulator.spawn_process(sys.executable, path)
    state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload("again"))
    assert state.json() == "again"


async def test_spawned_processes_end_with_the_simulator(tmp_path: Path, watch: Any) -> None:
    async with Simulator() as simulator:
        process = await simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
        pid = process.pid
        assert watch.is_running(pid)
    assert not watch.is_running(pid)


async def test_what_runs_at_the_end_is_lost_with_the_simulator(tmp_path: Path) -> None:
    path = script(tmp_path, "runtime.py", RUNTIME.replace('print("got"', 'import time; time.sleep(60); print("got"'))
    async with Simulator(timeout=60) as simulator:
        await simulator.spawn_process(sys.executable, path)
        request_id = await simulator.enqueue_payload({})
        await simulator.wait_for(lambda: simulator.invocation_state(request_id).status is InvocationStatus.IN_PROGRESS)
    state = simulator.invocation_state(request_id)
    assert (state.status, state.error_type) == (InvocationStatus.ERROR, "Sandbox.Failure")


async def test_a_spawned_process_can_be_killed(simulator: Simulator, tmp_path: Path) -> None:
    process = await simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
    with pytest.raises(WaitTimeoutError, match=r"the end of runtime \(process \d+\)"):
        await process.wait(0.01)
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert re.fullmatch(r"<SpawnedProcess runtime \(runtime\), pid \d+, ended with -9>", repr(process))


async def test_a_program_is_found_on_path_and_from_the_folder(simulator: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "bin" / "tool"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\nexit 7\n")
    path.chmod(0o755)
    process = await simulator.spawn_process("bin/tool", role="extension", cwd=tmp_path)
    assert (process.name, await process.wait()) == ("tool", 7)


async def test_a_bare_program_is_the_one_beside_this_python(simulator: Simulator) -> None:
    process = await simulator.spawn_process("python3", "-c", "import sys; print(sys.prefix)", role="extension", name="printer")
    await process.wait()
    assert process.output.strip() == sys.prefix


async def test_what_cannot_be_spawned_is_refused(simulator: Simulator, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no program no-such-program"):
        await simulator.spawn_process("no-such-program")
    with pytest.raises(UsageError, match=r"the folder .*/nowhere does not exist"):
        await simulator.spawn_process(sys.executable, cwd=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="needs a program"):
        await simulator.spawn_process()
    with pytest.raises(UsageError, match="no role 'butler'"):
        await simulator.spawn_process(sys.executable, role="butler")  # type: ignore[arg-type]
    (tmp_path / "text").write_text("no program")
    with pytest.raises(LaunchError, match="permission denied"):
        await simulator.spawn_process(str(tmp_path / "text"), role="extension")


async def test_there_is_one_runtime(simulator: Simulator, tmp_path: Path) -> None:
    path = script(tmp_path, "runtime.py", RUNTIME)
    await simulator.spawn_process(sys.executable, path)
    with pytest.raises(UsageError, match="a process named runtime runs already"):
        await simulator.spawn_process(sys.executable, path)


# -- freezing ---------------------------------------------------------------------------------------------------------


async def test_spawned_processes_stand_still_between_invocations(
    freezing: Simulator, tmp_path: Path, needs_proc: None, watch: Any
) -> None:
    process = await freezing.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
    await freezing.wait_for_frozen()
    watch.until(lambda: state_of(process.pid) == "T")
    epoch = freezing.freeze_epoch
    state = await freezing.wait_for_invocation_complete(await freezing.enqueue_payload(1))
    assert state.json() == 1
    assert freezing.freeze_epoch == epoch + 1
    await freezing.wait_for_frozen()
    watch.until(lambda: state_of(process.pid) == "T")


async def test_a_registered_process_and_its_children_stand_still(freezing: Simulator, needs_proc: None, watch: Any) -> None:
    code = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    with child(sys.executable, "-c", code, start_new_session=True) as process:
        watch.until(lambda: Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip() != "")
        grandchild = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        watch.until(lambda: Path(f"/proc/{grandchild}/comm").read_text() == "sleep\n")  # not before it is what it will be
        freezing.register_pid_for_freeze(process.pid)
        assert not freezing.is_frozen
        async with ScriptedRuntime(freezing) as runtime:
            runtime.start(lambda event: event)
            await freezing.wait_for_frozen()
            watch.until(lambda: state_of(process.pid) == state_of(grandchild) == "T")
            request_id = await freezing.enqueue_payload({})
            watch.until(lambda: state_of(process.pid) == state_of(grandchild) == "S")
            await freezing.wait_for_invocation_complete(request_id)
            await freezing.wait_for_frozen()
        await freezing.shutdown()
        watch.until(lambda: state_of(grandchild) == "S")
        os.killpg(process.pid, signal.SIGKILL)


async def test_one_that_is_registered_while_all_stand_still_stands_still(
    freezing: Simulator, needs_proc: None, watch: Any
) -> None:
    with child("sleep", "60") as first, child("sleep", "60") as second:
        freezing.register_pid_for_freeze(first.pid)
        async with ScriptedRuntime(freezing) as runtime:
            runtime.start(lambda event: event)
            await freezing.wait_for_frozen()
            freezing.register_pid_for_freeze(second.pid)
            watch.until(lambda: state_of(second.pid) == "T")


async def test_without_processes_nothing_is_frozen(freezing: Simulator) -> None:
    async with ScriptedRuntime(freezing) as runtime:
        runtime.start(lambda event: event)
        await freezing.wait_for_phase(Phase.IDLE)
        assert not freezing.is_frozen
        with pytest.raises(WaitTimeoutError, match="no process to freeze: register_pid_for_freeze"):
            await freezing.wait_for_frozen(0.01)


async def test_without_the_mode_nothing_is_frozen(simulator: Simulator) -> None:
    assert simulator.freeze_mode is FreezeMode.DISABLED
    with child("sleep", "60") as process:
        simulator.register_pid_for_freeze(process.pid)
        async with ScriptedRuntime(simulator) as runtime:
            runtime.start(lambda event: event)
            await simulator.wait_for_phase(Phase.IDLE)
            assert not simulator.is_frozen
            assert simulator.freeze_epoch == 0
    with pytest.raises(UsageError, match="nothing is ever frozen"):
        await simulator.wait_for_frozen()


async def test_processes_that_cannot_be_frozen_are_refused(freezing: Simulator) -> None:
    with child("true") as process:
        process.wait()
    with pytest.raises(UsageError, match=f"there is no process {process.pid}"):
        freezing.register_pid_for_freeze(process.pid)
    for pid in (os.getpid(), os.getppid()):
        with pytest.raises(UsageError, match="is this process, or started it"):
            freezing.register_pid_for_freeze(pid)


async def test_a_registered_process_that_ended_is_passed_over(freezing: Simulator) -> None:
    with child("sleep", "60") as process:
        freezing.register_pid_for_freeze(process.pid)
    async with ScriptedRuntime(freezing) as runtime:
        runtime.start(lambda event: event)
        await freezing.wait_for_phase(Phase.IDLE)
        assert not freezing.is_frozen


async def test_an_invocation_right_behind_another_is_never_frozen(freezing: Simulator, tmp_path: Path) -> None:
    await freezing.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
    ids = [await freezing.enqueue_payload(number) for number in range(20)]
    for request_id in ids:
        state = await freezing.wait_for_invocation_complete(request_id)
        assert state.status is InvocationStatus.SUCCESS


# -- without `await` --------------------------------------------------------------------------------------------------


def test_the_blocking_twin_has_the_same_names() -> None:
    simulator = Simulator.blocking()
    public = {name for name in dir(Simulator) if not name.startswith("_")} | {"freeze_mode"}
    assert public - {"blocking"} <= set(dir(simulator))


def test_the_blocking_twin_works_without_a_loop(tmp_path: Path) -> None:
    with Simulator.blocking(function_name="orders") as simulator:
        extension = simulator.spawn_process(sys.executable, script(tmp_path, "collector", EXTENSION), role="extension")
        simulator.wait_for(lambda: simulator.extension_count >= 1)
        runtime = simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
        request_id = simulator.enqueue_payload({"a": 1})
        assert simulator.wait_for_invocation_complete(request_id).json() == {"a": 1}
        simulator.wait_for_extensions_ready(request_id)
        simulator.wait_for(lambda: simulator.get_telemetry_events_by_type("platform.report"))
        assert [found.name for found in simulator.registered_extensions] == ["collector"]
        assert simulator.lambda_environment()["AWS_LAMBDA_FUNCTION_NAME"] == "orders"
        assert "got" in runtime.output
        assert (simulator.is_initialized, simulator.init_error, simulator.is_frozen) == (True, None, False)
        simulator.wait_for_phase("idle")
        simulator.graceful_shutdown()
        assert extension.returncode == 0
        assert simulator.phase is Phase.CLOSED
    with pytest.raises(UsageError):
        simulator.enqueue_payload({})


def test_the_blocking_twin_serves_many_threads(tmp_path: Path) -> None:
    with Simulator.blocking() as simulator:
        simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
        seen = []

        def call(number: int) -> None:
            seen.append(simulator.wait_for_invocation_complete(simulator.enqueue_payload(number)).json())

        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == list(range(8))


def test_a_predicate_cannot_wait_for_the_simulator_itself() -> None:
    with Simulator.blocking() as simulator, pytest.raises(UsageError, match="a predicate cannot wait"):
        simulator.wait_for(lambda: simulator.enqueue_payload(1), 1)


# -- systems without POSIX --------------------------------------------------------------------------------------------

WITHOUT_POSIX = """
import os, signal, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "killpg", "getpgid", "setsid", "O_CLOEXEC", "O_DIRECTORY", "geteuid", "getuid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGSTOP", "SIGCONT", "SIGKILL", "SIGHUP"):
    delattr(signal, name)
    import _signal
    delattr(_signal, name)

import asyncio
from lambdabox import FreezeMode, Simulator
from lambdabox.testing import FakeLambdaContext, ManualClock, ScriptedExtension, ScriptedRuntime
from lambdabox.errors import SandboxUnavailableError, UsageError

async def main():
    async with Simulator() as simulator:
        extension = ScriptedExtension(simulator)
        await extension.register("INVOKE", "SHUTDOWN")
        extension.start()
        async with ScriptedRuntime(simulator) as runtime:
            runtime.start(lambda event: event)
            state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({"a": 1}))
            print(state.json())
            await simulator.wait_for(lambda: simulator.get_telemetry_events_by_type("platform.report"))
            simulator.lambda_environment()
            simulator.register_pid_for_freeze(1)
            try:
                await simulator.spawn_process(sys.executable)
            except SandboxUnavailableError as error:
                print(error)
        await simulator.graceful_shutdown()
        await extension.close()
    try:
        Simulator(freeze_mode=FreezeMode.ENABLED)
    except UsageError as error:
        print(error)

asyncio.run(main())
"""


def test_the_simulator_runs_without_posix() -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, timeout=30, check=False)
    assert found.stderr == ""
    answer, spawning, freezing = found.stdout.splitlines()
    assert answer == "{'a': 1}"
    assert spawning.startswith("processes cannot be started through the Simulator on this system: import of ")
    assert freezing == "FreezeMode.ENABLED needs SIGSTOP and SIGCONT, which this system lacks"


async def test_an_unclosed_simulator_of_a_cancelled_test_leaves_nothing(tmp_path: Path) -> None:
    async def use() -> None:
        async with Simulator() as simulator:
            await simulator.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await asyncio.sleep(0.05)  # somewhere in the middle
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_spawned_into_a_frozen_environment_lets_it_run(
    freezing: Simulator, tmp_path: Path, needs_proc: None, watch: Any
) -> None:
    process = await freezing.spawn_process(sys.executable, script(tmp_path, "runtime.py", RUNTIME))
    await freezing.wait_for_frozen()
    watch.until(lambda: state_of(process.pid) == "T")
    await freezing.spawn_process("sleep", "60", role="extension")
    assert not freezing.is_frozen
    watch.until(lambda: state_of(process.pid) != "T")
    await freezing.wait_for_invocation_complete(await freezing.enqueue_payload(1))
    await freezing.wait_for_frozen()
    watch.until(lambda: state_of(process.pid) == "T")
