"""What every sandbox backend does: the contract of `lambdabox.sandbox.base`, with real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Container
from pathlib import Path

import pytest

from lambdabox.errors import LaunchError, SandboxClosedError
from lambdabox.sandbox.base import ExitStatus, ProcessSpec, Sandbox, SandboxBackend
from lambdabox.sandbox.process import ProcessBackend

ROOT = Path("/")
SHELL_PATH = "/usr/local/bin:/usr/bin:/bin"


class Recorder:
    """A sandbox observer whose facts can be awaited."""

    def __init__(self) -> None:
        self.outputs: dict[str, bytes] = {}
        self.exits: list[tuple[str, ExitStatus, bytes]] = []
        self.memory_reports = 0
        self._waiters: list[asyncio.Future[None]] = []

    def process_output(self, name: str, data: bytes) -> None:
        self.outputs[name] = self.outputs.get(name, b"") + data
        self._wake()

    def process_exited(self, name: str, status: ExitStatus) -> None:
        self.exits.append((name, status, self.outputs.get(name, b"")))
        self._wake()

    def memory_exceeded(self) -> None:
        self.memory_reports += 1
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def until(self, fact: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not fact():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter

    async def until_output(self, name: str, text: bytes) -> None:
        await self.until(lambda: text in self.outputs.get(name, b""))

    async def until_exit(self, name: str = "runtime") -> ExitStatus:
        await self.until(lambda: any(entry[0] == name for entry in self.exits))
        return next(status for entry, status, _ in self.exits if entry == name)


def shell(script: str, *, name: str = "runtime", cwd: Path = ROOT, environment: dict[str, str] | None = None) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        argv=("/bin/sh", "-c", script),
        environment={"PATH": SHELL_PATH, **(environment or {})},
        cwd=cwd,
    )


def python(code: str, *arguments: str, name: str = "runtime", framed_logs: bool = False) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-I", "-S", "-c", code, *arguments),
        environment={},
        cwd=Path("/"),
        framed_logs=framed_logs,
    )


def state_of(pid: int) -> str | None:
    """The letter of /proc/<pid>/stat: R, S, T (stopped), Z; None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None


def is_gone(pid: int) -> bool:
    return state_of(pid) in (None, "Z")


async def until_state(pid: int, letters: Container[str | None]) -> None:
    # The kernel tells nobody when a process has stopped: this is the one thing that has to be looked at again.
    async with asyncio.timeout(10):
        while state_of(pid) not in letters:
            await asyncio.sleep(0.002)


@pytest.fixture(params=[ProcessBackend], ids=["process"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[SandboxBackend]:
    backend: SandboxBackend = request.param()
    yield backend
    await backend.close()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def sandbox(backend: SandboxBackend, recorder: Recorder) -> AsyncIterator[Sandbox]:
    sandbox = await backend.open(recorder)
    yield sandbox
    await sandbox.close()


# -- starting ---------------------------------------------------------------------------------------------------------


async def test_a_process_starts_with_its_arguments_variables_and_folder_and_nothing_else(
    sandbox: Sandbox, recorder: Recorder, tmp_path: Path
) -> None:
    pid = await sandbox.start(shell("echo $$ $(pwd) $A; env | sort", cwd=tmp_path, environment={"A": "ä b"}))
    assert await recorder.until_exit() == ExitStatus(code=0)
    lines = recorder.outputs["runtime"].decode().splitlines()
    assert lines[0] == f"{pid} {tmp_path} ä b"
    assert {line.partition("=")[0] for line in lines[1:]} <= {"A", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}


async def test_a_process_inherits_only_the_standard_descriptors_and_reads_nothing(sandbox: Sandbox, recorder: Recorder) -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        code = "import os, sys; print(sorted(os.listdir('/dev/fd'))[:-1] == ['0', '1', '2'], sys.stdin.read() == '')"
        await sandbox.start(python(code))
        await recorder.until_exit()
    finally:
        os.close(leaked)
    assert recorder.outputs["runtime"] == b"True True\n"


async def test_a_process_starts_with_default_signals_and_the_descriptor_limit_of_lambda(
    sandbox: Sandbox, recorder: Recorder
) -> None:
    code = (
        "import os, resource, signal\n"
        "ignored = [n for n in signal.valid_signals() if n not in (9, 19) and signal.getsignal(n) == signal.SIG_IGN]\n"
        "print(ignored, signal.pthread_sigmask(signal.SIG_BLOCK, []), resource.getrlimit(resource.RLIMIT_NOFILE)[0], os.getpgrp() == os.getpid())"
    )
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        # -I keeps Python's own SIGPIPE and SIGXFSZ: they are what the interpreter ignores itself.
        await sandbox.start(python(code))
        await recorder.until_exit()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    assert recorder.outputs["runtime"] == b"[<Signals.SIGPIPE: 13>, <Signals.SIGXFSZ: 25>] set() 1024 True\n"


async def test_a_process_has_no_controlling_terminal_and_not_our_session(sandbox: Sandbox, recorder: Recorder) -> None:
    pid = await sandbox.start(shell("sleep 60"))
    assert os.getsid(pid) != os.getsid(0)
    assert os.getsid(pid) != os.getsid(os.getppid())


async def test_a_large_environment_arrives_whole(sandbox: Sandbox, recorder: Recorder) -> None:
    big = {f"V{number}": "x" * 60_000 for number in range(20)}
    await sandbox.start(shell("echo ${#V0} ${#V19}", environment=big))
    await recorder.until_exit()
    assert recorder.outputs["runtime"] == b"60000 60000\n"


async def test_many_processes_start_at_once(sandbox: Sandbox, recorder: Recorder) -> None:
    await asyncio.gather(*(sandbox.start(shell(f"echo {n}", name=f"p{n}")) for n in range(20)))
    await recorder.until(lambda: len(recorder.exits) == 20)
    assert {name: data for name, _, data in recorder.exits} == {f"p{n}": b"%d\n" % n for n in range(20)}


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0, "no such file or directory"),
        (b"#!/bin/sh\n", 0o644, "permission denied"),
        (b"\0\1\2\3 not a program", 0o755, "exec format error"),
        (b"echo no interpreter line\n", 0o755, "exec format error"),
        (b"#!/no/such/interpreter\n", 0o755, "no such file or directory"),
    ],
)
async def test_a_program_that_cannot_be_executed_is_a_launch_error_in_gos_words(
    sandbox: Sandbox, recorder: Recorder, tmp_path: Path, content: bytes | None, mode: int, reason: str
) -> None:
    bootstrap = tmp_path / "bootstrap"
    if content is not None:
        bootstrap.write_bytes(content)
        bootstrap.chmod(mode)
    with pytest.raises(LaunchError) as caught:
        await sandbox.start(ProcessSpec(name="runtime", argv=(str(bootstrap),), environment={}, cwd=tmp_path))
    assert caught.value.text == f"fork/exec {bootstrap}: {reason}"
    assert recorder.exits == []


async def test_a_folder_is_not_a_program(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="permission denied"):
        await sandbox.start(ProcessSpec(name="runtime", argv=(str(tmp_path),), environment={}, cwd=tmp_path))


async def test_a_missing_working_directory_is_a_launch_error_that_names_it(sandbox: Sandbox, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(LaunchError) as caught:
        await sandbox.start(shell("true", cwd=missing))
    assert caught.value.text == f"chdir {missing}: no such file or directory"
    assert caught.value.path == str(missing)


async def test_a_nul_byte_in_a_variable_is_a_launch_error(sandbox: Sandbox) -> None:
    with pytest.raises(LaunchError, match="invalid argument"):
        await sandbox.start(shell("true", environment={"A": "x\0y"}))


async def test_arguments_that_are_too_long_are_a_launch_error(sandbox: Sandbox) -> None:
    with pytest.raises(LaunchError, match="argument list too long"):
        await sandbox.start(shell("true", environment={"A": "x" * 3_000_000}))


async def test_a_sandbox_goes_on_after_a_failed_launch(sandbox: Sandbox, recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(LaunchError):
        await sandbox.start(shell("true", cwd=tmp_path / "missing"))
    await sandbox.start(shell("echo on"))
    assert await recorder.until_exit() == ExitStatus(code=0)


async def test_a_cancelled_start_leaves_no_process(sandbox: Sandbox, recorder: Recorder, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    task = asyncio.create_task(sandbox.start(shell(f"echo $$ > {mark}; exec sleep 60")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sandbox.start(shell("true", name="other"))
    await recorder.until_exit("other")
    await sandbox.clear()
    assert not mark.exists() or not mark.read_text() or is_gone(int(mark.read_text()))
    assert [name for name, _, _ in recorder.exits] == ["other"]


# -- ending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", ExitStatus(code=0)),
        ("exit 3", ExitStatus(code=3)),
        ("kill -9 $$", ExitStatus(signal=9)),
        ("kill -SEGV $$", ExitStatus(signal=11)),
    ],
)
async def test_how_a_process_ended_is_told(sandbox: Sandbox, recorder: Recorder, script: str, status: ExitStatus) -> None:
    await sandbox.start(shell(script))
    assert await recorder.until_exit() == status


async def test_a_name_can_be_used_again_after_its_process_ended(sandbox: Sandbox, recorder: Recorder) -> None:
    for _ in range(3):
        recorder.exits.clear()
        await sandbox.start(shell("exit 0"))
        await recorder.until_exit()


async def test_a_signal_reaches_the_whole_process_group(sandbox: Sandbox, recorder: Recorder) -> None:
    await sandbox.start(shell("trap 'echo got; exit 7' TERM; sh -c 'echo $$ ready; exec sleep 60' & wait"))
    await recorder.until_output("runtime", b"ready\n")
    child = int(recorder.outputs["runtime"].split()[0])
    sandbox.signal("runtime", signal.SIGTERM)
    assert await recorder.until_exit() == ExitStatus(code=7)
    await until_state(child, (None, "Z"))
    assert recorder.outputs["runtime"].endswith(b"got\n")


async def test_signals_to_a_process_that_ended_or_never_was_do_nothing(sandbox: Sandbox, recorder: Recorder) -> None:
    await sandbox.start(shell("exit 0"))
    await recorder.until_exit()
    sandbox.signal("runtime", signal.SIGTERM)
    sandbox.kill("runtime")
    sandbox.kill("nobody")
    await sandbox.clear()


async def test_kill_ends_the_process_and_its_descendants_and_no_other(sandbox: Sandbox, recorder: Recorder) -> None:
    other = await sandbox.start(shell("sleep 60", name="other"))
    await sandbox.start(shell("setsid sleep 60 & echo $! ready; wait"))
    await recorder.until_output("runtime", b"ready\n")
    child = int(recorder.outputs["runtime"].split()[0])
    sandbox.kill("runtime")
    assert await recorder.until_exit() == ExitStatus(signal=9)
    await until_state(child, (None, "Z"))
    assert not is_gone(other)


async def test_clear_ends_every_process_and_keeps_the_scratch_folder(sandbox: Sandbox, recorder: Recorder) -> None:
    (sandbox.tmp / "kept").write_text("x")
    first = await sandbox.start(shell("sleep 60"))
    second = await sandbox.start(shell("sleep 60", name="extension"))
    await sandbox.clear()
    assert state_of(first) is state_of(second) is None
    assert {(name, status) for name, status, _ in recorder.exits} == {
        ("runtime", ExitStatus(signal=9)),
        ("extension", ExitStatus(signal=9)),
    }
    assert (sandbox.tmp / "kept").read_text() == "x"
    await sandbox.start(shell("echo again"))
    await recorder.until_output("runtime", b"again")


async def test_clear_of_an_empty_sandbox_returns(sandbox: Sandbox) -> None:
    await sandbox.clear()
    await sandbox.clear()


TREES = {
    "double-forked": "(sleep 60 & echo $! mark) ; echo ready; sleep 60",
    "own session": "setsid sh -c 'echo $$ mark; sleep 60' & sleep 0.01; echo ready; wait",
    "stopped": "sleep 60 & kill -STOP $!; echo $! mark; echo ready; sleep 60",
    "ignores TERM and HUP": "trap '' TERM HUP INT; sleep 60 & echo $! mark; echo ready; sleep 60; sleep 60; sleep 60",
}

REFORKING = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if os.fork() != 0:
                os._exit(0)
            os.setsid()
            time.sleep(0.0005)
        os._exit(0)
os.write(1, b"ready\\n")
time.sleep(60)
"""


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.parametrize("kind", [*TREES, "re-forking"])
async def test_clear_leaves_nothing_of_a_tree_that_tries_to_get_away(
    sandbox: Sandbox, recorder: Recorder, tmp_path: Path, kind: str, frozen: bool
) -> None:
    mark = f"LAMBDABOX_TEST_MARK={tmp_path.name}-{os.getpid()}"
    key, _, value = mark.partition("=")
    if kind == "re-forking":
        spec = python(REFORKING)
        spec = ProcessSpec(name=spec.name, argv=spec.argv, environment={key: value}, cwd=spec.cwd)
    else:
        spec = shell(TREES[kind], environment={key: value})
    await sandbox.start(spec)
    await recorder.until_output("runtime", b"ready\n")
    assert marked(mark)
    if frozen:
        sandbox.freeze()
    await sandbox.clear()
    assert marked(mark) == []


def marked(mark: str) -> list[int]:
    """Processes that have this variable."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


async def test_close_ends_every_process_and_removes_the_scratch_folder_read_only_parts_included(
    sandbox: Sandbox, recorder: Recorder
) -> None:
    await sandbox.start(
        shell(
            'mkdir -p "$T/a/b" && echo x > "$T/a/b/c" && chmod 500 "$T/a/b" "$T/a"; ln -s / "$T/root"; echo ready; sleep 60',
            environment={"T": str(sandbox.tmp)},
        )
    )
    await recorder.until_output("runtime", b"ready")
    await sandbox.close()
    assert not sandbox.tmp.exists()
    assert Path("/bin").exists()
    await sandbox.close()


async def test_a_closed_sandbox_starts_nothing(sandbox: Sandbox) -> None:
    await sandbox.close()
    with pytest.raises(SandboxClosedError):
        await sandbox.start(shell("true"))
    sandbox.freeze()
    sandbox.thaw()
    sandbox.drain("runtime")
    await sandbox.clear()
    assert sandbox.peak_memory_bytes() >= 0


async def test_closing_the_backend_closes_its_sandboxes(backend: SandboxBackend, recorder: Recorder) -> None:
    sandboxes = [await backend.open(recorder) for _ in range(3)]
    pids = [await sandbox.start(shell("sleep 60")) for sandbox in sandboxes]
    await backend.close()
    assert all(is_gone(pid) for pid in pids)
    assert not any(sandbox.tmp.exists() for sandbox in sandboxes)
    with pytest.raises(SandboxClosedError):
        await backend.open(recorder)


async def test_each_sandbox_has_a_private_scratch_folder(backend: SandboxBackend, recorder: Recorder) -> None:
    first, second = await backend.open(recorder), await backend.open(recorder)
    assert first.tmp != second.tmp
    assert first.tmp.stat().st_mode & 0o777 == 0o700
    assert list(first.tmp.iterdir()) == []


async def test_a_sandbox_does_not_touch_another(backend: SandboxBackend, recorder: Recorder) -> None:
    first, second = await backend.open(recorder), await backend.open(Recorder())
    pid = await first.start(shell("sleep 60"))
    await second.start(shell("sleep 60"))
    await second.clear()
    await second.close()
    assert not is_gone(pid)


# -- output -----------------------------------------------------------------------------------------------------------


async def test_output_before_the_end_is_delivered_before_the_end(sandbox: Sandbox, recorder: Recorder) -> None:
    for _ in range(20):
        recorder.exits.clear()
        recorder.outputs.clear()
        await sandbox.start(shell("echo last words"))
        await recorder.until_exit()
        assert recorder.exits[0][2] == b"last words\n"


async def test_stdout_stderr_and_framed_records_keep_their_order(sandbox: Sandbox, recorder: Recorder) -> None:
    code = (
        "import os\n"
        "framed = int(os.environ['_LAMBDA_TELEMETRY_LOG_FD'])\n"
        "for number in range(300): os.write((1, 2, framed)[number % 3], b'%d\\n' % number)"
    )
    await sandbox.start(python(code, framed_logs=True))
    await recorder.until_exit()
    assert recorder.outputs["runtime"] == b"".join(b"%d\n" % number for number in range(300))


async def test_without_framed_logs_there_is_no_such_descriptor(sandbox: Sandbox, recorder: Recorder) -> None:
    await sandbox.start(shell("echo [$_LAMBDA_TELEMETRY_LOG_FD]"))
    await recorder.until_exit()
    assert recorder.outputs["runtime"] == b"[]\n"


async def test_twenty_megabytes_flow(sandbox: Sandbox, recorder: Recorder) -> None:
    size = 0

    def count(name: str, data: bytes) -> None:
        nonlocal size
        size += len(data)

    recorder.process_output = count  # type: ignore[method-assign] # too much to keep
    await sandbox.start(shell("head -c 20000000 /dev/zero"))
    await recorder.until_exit()
    assert size == 20_000_000


async def test_the_end_is_told_while_a_child_holds_the_output_open_and_the_child_is_still_heard(
    sandbox: Sandbox, recorder: Recorder, tmp_path: Path
) -> None:
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    await sandbox.start(shell(f"(read line < {fifo}; echo later) & echo now"))
    assert await recorder.until_exit() == ExitStatus(code=0)
    assert recorder.outputs["runtime"] == b"now\n"
    fifo.write_text("go\n")
    await recorder.until_output("runtime", b"later\n")


async def test_drain_delivers_at_once_what_was_written(sandbox: Sandbox, recorder: Recorder, tmp_path: Path) -> None:
    await sandbox.start(shell("echo one; kill -STOP $$"))
    pid = next(iter(sandbox._processes.values())).pid if hasattr(sandbox, "_processes") else 0
    # Blocks the loop on purpose: nothing but `drain` may deliver.
    while pid and state_of(pid) != "T":
        os.sched_yield()
    recorder.outputs.clear()
    sandbox.drain("runtime")
    assert recorder.outputs.get("runtime") == b"one\n"
    recorder.outputs.clear()
    sandbox.drain("runtime")
    sandbox.drain("nobody")
    assert recorder.outputs == {}


# -- freezing ---------------------------------------------------------------------------------------------------------


async def test_freeze_stops_every_process_and_thaw_lets_it_go_on(sandbox: Sandbox, recorder: Recorder) -> None:
    pid = await sandbox.start(shell("setsid sleep 60 & echo $! ready; read line; wait"))
    await recorder.until_output("runtime", b"ready")
    child = int(recorder.outputs["runtime"].split()[0])
    sandbox.freeze()
    sandbox.freeze()
    await until_state(pid, ("T",))
    await until_state(child, ("T",))
    sandbox.thaw()
    sandbox.thaw()
    await until_state(pid, ("S", "R"))
    await until_state(child, ("S", "R"))


async def test_a_tree_that_forks_all_the_time_is_frozen_whole(sandbox: Sandbox, recorder: Recorder, tmp_path: Path) -> None:
    mark = f"LAMBDABOX_TEST_MARK=freeze-{tmp_path.name}-{os.getpid()}"
    key, _, value = mark.partition("=")
    spec = python(REFORKING)
    await sandbox.start(ProcessSpec(name="runtime", argv=spec.argv, environment={key: value}, cwd=spec.cwd))
    await recorder.until_output("runtime", b"ready")
    for _ in range(10):
        sandbox.freeze()
        for pid in marked(mark):
            await until_state(pid, ("T", "Z", None))
        before = sorted(marked(mark))
        assert before == sorted(marked(mark))
        sandbox.thaw()


async def test_a_frozen_sandbox_is_thawed_to_be_signalled(sandbox: Sandbox, recorder: Recorder) -> None:
    await sandbox.start(shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"))
    await recorder.until_output("runtime", b"ready")
    sandbox.freeze()
    sandbox.signal("runtime", signal.SIGTERM)
    assert await recorder.until_exit() == ExitStatus(code=5)


async def test_a_frozen_process_is_killed(sandbox: Sandbox, recorder: Recorder) -> None:
    await sandbox.start(shell("echo ready; sleep 60"))
    await recorder.until_output("runtime", b"ready")
    sandbox.freeze()
    sandbox.kill("runtime")
    assert await recorder.until_exit() == ExitStatus(signal=9)


# -- memory -----------------------------------------------------------------------------------------------------------

HOG = """
import os, sys
held = bytearray(int(sys.argv[1]) << 20)
for place in range(0, len(held), 4096): held[place] = 1
os.write(1, b"held\\n")
if sys.argv[2] == "stay":
    import time; time.sleep(60)
"""


async def test_the_peak_of_a_running_process_is_measured_children_included(sandbox: Sandbox, recorder: Recorder) -> None:
    await sandbox.start(python(HOG, "30", "stay"))
    await recorder.until_output("runtime", b"held")
    alone = sandbox.peak_memory_bytes()
    assert 30 << 20 < alone < 60 << 20
    await sandbox.start(python(HOG, "20", "stay", name="extension"))
    await recorder.until_output("extension", b"held")
    assert alone + (20 << 20) < sandbox.peak_memory_bytes() < 120 << 20


async def test_the_peak_stays_after_the_process_ended_until_clear(sandbox: Sandbox, recorder: Recorder) -> None:
    await sandbox.start(python(HOG, "30", "go"))
    await recorder.until_exit()
    assert 30 << 20 < sandbox.peak_memory_bytes() < 60 << 20
    await sandbox.clear()
    assert sandbox.peak_memory_bytes() == 0


async def test_over_the_limit_the_process_is_ended_by_the_kernel_or_the_excess_is_told_once(
    backend: SandboxBackend, recorder: Recorder
) -> None:
    sandbox = await backend.open(recorder, memory_limit_bytes=64 << 20)
    await sandbox.start(python(HOG, "200", "stay"))
    await recorder.until(lambda: recorder.exits or recorder.memory_reports)
    if recorder.exits:
        assert recorder.exits[0][1] == ExitStatus(signal=9, out_of_memory=True)
    else:
        assert recorder.memory_reports == 1


async def test_under_the_limit_nothing_happens(backend: SandboxBackend, recorder: Recorder) -> None:
    sandbox = await backend.open(recorder, memory_limit_bytes=128 << 20)
    await sandbox.start(python(HOG, "20", "go"))
    assert await recorder.until_exit() == ExitStatus(code=0)
    assert recorder.memory_reports == 0
    await sandbox.start(shell("kill -9 $$", name="other"))
    assert await recorder.until_exit("other") == ExitStatus(signal=9)
