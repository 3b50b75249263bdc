"""What only the process backend promises: nothing outlives the engine, whoever dies first, with or without /proc."""

import asyncio
import contextlib
import functools
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from lambdabox.errors import SandboxUnavailableError
from lambdabox.sandbox import process_table, scratch
from lambdabox.sandbox.base import ExitStatus, ProcessSpec
from lambdabox.sandbox.process import ProcessBackend

SOURCE = Path(__file__).parents[2] / "src"

ENGINE = """
import asyncio, os, sys
from pathlib import Path
from lambdabox.sandbox.base import ProcessSpec
from lambdabox.sandbox.process import ProcessBackend

class Observer:
    def __init__(self): self.seen = b""; self.ready = asyncio.Event()
    def process_output(self, name, data):
        self.seen += data
        if b"ready" in self.seen: self.ready.set()
    def process_exited(self, name, status): pass
    def memory_exceeded(self): pass

async def main():
    backend = ProcessBackend()
    for number in range(2):
        observer = Observer()
        sandbox = await backend.open(observer)
        (sandbox.tmp / "file").write_text("x")
        argv = ("/bin/sh", "-c", sys.argv[2]) if sys.argv[1] == "sh" else (sys.executable, "-I", "-S", "-c", sys.argv[2])
        environment = {"PATH": os.environ["PATH"], "LAMBDABOX_TEST_MARK": sys.argv[3]}
        await sandbox.start(ProcessSpec(name="runtime", argv=argv, environment=environment, cwd=Path("/")))
        await observer.ready.wait()
        if sys.argv[4] == "frozen": sandbox.freeze()
        print(sandbox.tmp, flush=True)
    if sys.argv[5] == "forks" and os.fork() == 0:
        import time; time.sleep(20); os._exit(0)
    print(backend.keeper_pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

TREES = {
    "plain": ("sh", "sleep 60 & echo ready; wait"),
    "double-forked": ("sh", "(sleep 60 & sleep 61 &) ; echo ready; sleep 60"),
    "orphaned": ("sh", "setsid sh -c 'sleep 60 & sleep 61' & echo ready; exit 0"),
    "own session": ("sh", "setsid sh -c 'sleep 60; sleep 61' & setsid sleep 62 & echo ready; wait"),
    "stopped": ("sh", "sleep 60 & kill -STOP $!; echo ready; kill -STOP $$"),
    "ignores signals": ("sh", "trap '' TERM HUP INT PIPE; sleep 60 & echo ready; sleep 60; sleep 60"),
    "re-forking": (
        "python",
        """
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
""",
    ),
}


class Recorder:
    def __init__(self) -> None:
        self.data = b""
        self.exits: list[tuple[str, ExitStatus]] = []
        self.memory_reports = 0
        self.changed = asyncio.Event()

    def process_output(self, name: str, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def process_exited(self, name: str, status: ExitStatus) -> None:
        self.exits.append((name, status))
        self.changed.set()

    def memory_exceeded(self) -> None:
        self.memory_reports += 1
        self.changed.set()

    async def until(self, fact: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not fact():
                self.changed.clear()
                await self.changed.wait()


def shell(script: str, *, name: str = "runtime", mark: str = "none") -> ProcessSpec:
    environment = {"PATH": os.environ["PATH"], "LAMBDABOX_TEST_MARK": mark}
    return ProcessSpec(name=name, argv=("/bin/sh", "-c", script), environment=environment, cwd=Path("/"))


def marked(mark: str) -> list[int]:
    """Processes that have the mark in their variables."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if f"LAMBDABOX_TEST_MARK={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def wait_gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 20)[0], f"{pid} lives"
    finally:
        os.close(descriptor)


def run_engine(
    kind: str,
    mark: str,
    *,
    frozen: bool = False,
    forks: bool = False,
    command: tuple[str, ...] = (sys.executable,),
    environment: dict[str, str] | None = None,
) -> tuple[subprocess.Popen[str], list[Path], int]:
    """Run an engine until its processes are ready; returns it, its scratch folders and its keeper's process id."""
    language, program = TREES[kind]
    engine = subprocess.Popen(
        [*command, "-c", ENGINE, language, program, mark, "frozen" if frozen else "running", "forks" if forks else ""],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **(environment or {})},
    )
    assert engine.stdout is not None
    folders = [Path(engine.stdout.readline().strip()) for _ in range(2)]
    keeper = int(engine.stdout.readline())
    return engine, folders, keeper


def end(engine: subprocess.Popen[str]) -> None:
    engine.kill()
    engine.wait()
    assert engine.stdout is not None
    engine.stdout.close()


# -- the engine dies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.parametrize("kind", TREES)
def test_nothing_outlives_a_killed_engine(kind: str, frozen: bool, tmp_path: Path) -> None:
    mark = f"{tmp_path.name}-{os.getpid()}"
    engine, folders, keeper = run_engine(kind, mark, frozen=frozen)
    assert all(folder.exists() for folder in folders)
    assert marked(mark)
    end(engine)
    wait_gone(keeper)
    assert marked(mark) == []
    assert not any(folder.exists() for folder in folders)


def test_nothing_outlives_a_killed_engine_that_has_forked(tmp_path: Path) -> None:
    """The fork holds a copy of the engine's sockets, so they do not end with the engine."""
    mark = f"{tmp_path.name}-{os.getpid()}"
    engine, _, keeper = run_engine("plain", mark, forks=True)
    fork = [pid for pid in process_table.children_of(engine.pid) if pid != keeper]
    assert fork
    try:
        end(engine)
        wait_gone(keeper)
        assert marked(mark) == []
    finally:
        for pid in fork:
            os.kill(pid, signal.SIGKILL)


def test_a_signal_to_every_process_of_the_engine_but_the_engine_ends_nothing(tmp_path: Path) -> None:
    mark = f"{tmp_path.name}-{os.getpid()}"
    engine, _, keeper = run_engine("plain", mark)
    try:
        before = sorted(marked(mark))
        for pid in (keeper, *process_table.children_of(keeper)):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, number)
        assert sorted(marked(mark)) == before
        assert os.getsid(keeper) == keeper
    finally:
        end(engine)
    wait_gone(keeper)
    assert marked(mark) == []


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")


def python_for_everyone() -> str | None:
    """An interpreter that can run our source and that an unprivileged user may execute; None when there is none."""
    # It must be able to run itself: the keeper is run with it. (The first time, root's rights may have helped.)
    check = f"""if True:
        import subprocess, sys
        sys.path.append({str(SOURCE)!r})
        import lambdabox.sandbox.base
        sys.exit(sys.version_info < (3, 11) or subprocess.call([sys.executable, "-c", ""]))
    """
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([*NOBODY, candidate, "-B", "-c", check], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return candidate
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_engine_without_privileges_leaves_nothing_either(tmp_path: Path) -> None:
    interpreter = python_for_everyone()
    if interpreter is None:
        pytest.skip("no Python 3.11 here that another user may execute")
    mark = f"{tmp_path.name}-{os.getpid()}"
    engine, folders, keeper = run_engine(
        "own session", mark, command=(*NOBODY, interpreter), environment={"PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert folders[0].stat().st_uid == 65534
    end(engine)
    wait_gone(keeper)
    assert marked(mark) == []
    assert not any(folder.exists() for folder in folders)


def test_without_proc_process_groups_do_not_outlive_the_engine(tmp_path: Path) -> None:
    mark = f"{tmp_path.name}-{os.getpid()}"
    engine, folders, keeper = run_engine("double-forked", mark, environment={"LAMBDABOX_HIDE_PROC": "1"})
    processes = marked(mark)
    end(engine)
    wait_gone(keeper)
    for pid in processes:
        wait_gone(pid)
    assert marked(mark) == []
    assert not any(folder.exists() for folder in folders)


# -- the keeper or a warden dies --------------------------------------------------------------------------------------


async def test_when_a_warden_is_killed_its_processes_end_and_the_sandbox_can_start_again(tmp_path: Path) -> None:
    mark = f"{tmp_path.name}-{os.getpid()}"
    backend, recorder = ProcessBackend(), Recorder()
    sandbox = await backend.open(recorder)
    await sandbox.start(shell("setsid sleep 60 & echo ready; wait", mark=mark))
    await recorder.until(lambda: b"ready" in recorder.data)
    pids = marked(mark)
    assert len(pids) == 2
    assert backend.keeper_pid is not None
    (warden,) = process_table.children_of(backend.keeper_pid)
    os.kill(warden, signal.SIGKILL)
    await recorder.until(lambda: recorder.exits)
    assert recorder.exits == [("runtime", ExitStatus(signal=9))]
    for pid in pids:
        await asyncio.to_thread(wait_gone, pid)
    await sandbox.clear()
    assert sandbox.tmp.exists()
    await sandbox.start(shell("echo again"))
    await recorder.until(lambda: b"again" in recorder.data)
    await backend.close()
    assert not sandbox.tmp.exists()


async def test_when_the_keeper_is_killed_open_sandboxes_go_on_and_the_next_one_gets_a_new_keeper() -> None:
    backend, recorder = ProcessBackend(), Recorder()
    first = await backend.open(recorder)
    await first.start(shell("echo ready; sleep 60"))
    await recorder.until(lambda: b"ready" in recorder.data)
    keeper = backend.keeper_pid
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    await asyncio.to_thread(wait_gone, keeper)
    second = await backend.open(recorder)
    await second.start(shell("echo second"))
    await recorder.until(lambda: b"second" in recorder.data)
    assert backend.keeper_pid != keeper
    first.kill("runtime")
    await recorder.until(lambda: len(recorder.exits) == 2)
    await backend.close()
    assert not first.tmp.exists()


async def test_a_keeper_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    backend = ProcessBackend()
    with pytest.raises(SandboxUnavailableError, match="/no/such/python"):
        await backend.open(Recorder())
    await backend.close()


def test_a_keeper_started_early_and_not_used_ends_with_the_backend() -> None:
    backend = ProcessBackend()
    backend.start_early()
    keeper = backend.keeper_pid
    assert keeper is not None
    asyncio.run(backend.close())
    with pytest.raises(ProcessLookupError):
        os.kill(keeper, 0)


async def run_once(backend: ProcessBackend) -> bytes:
    recorder = Recorder()
    sandbox = await backend.open(recorder)
    await sandbox.start(shell("echo hello"))
    await recorder.until(lambda: recorder.exits)
    await backend.close()
    return recorder.data


def test_loops_of_both_kinds_can_follow_one_another() -> None:
    for run in (asyncio.run, uvloop.run, asyncio.run, uvloop.run):
        backend = ProcessBackend()
        backend.start_early()
        assert run(run_once(backend)) == b"hello\n"


# -- less machine -----------------------------------------------------------------------------------------------------


async def test_without_proc_everything_but_the_exact_tree_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDABOX_HIDE_PROC", "1")
    backend, recorder = ProcessBackend(), Recorder()
    assert "there is no /proc" in backend.limitations[0]
    sandbox = await backend.open(recorder)
    pid = await sandbox.start(shell("sleep 60 & echo ready; wait"))
    await recorder.until(lambda: b"ready" in recorder.data)
    assert sandbox.peak_memory_bytes() == 0
    sandbox.freeze()
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}/stat").read_text().split()[2] != "T":
            await asyncio.sleep(0.001)
    sandbox.thaw()
    sandbox.freeze()
    await sandbox.clear()
    assert recorder.exits == [("runtime", ExitStatus(signal=9))]
    await sandbox.start(shell("setsid sleep 1 & head -c 30000000 /dev/zero | tail | wc -c", name="other"))
    await recorder.until(lambda: len(recorder.exits) == 2)
    assert sandbox.peak_memory_bytes() > 30_000_000
    with pytest.raises(SandboxUnavailableError, match="memory limit"):
        await backend.open(recorder, memory_limit_bytes=1 << 27)
    await backend.close()


async def test_without_subreapers_the_tree_below_the_warden_is_still_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAMBDABOX_HIDE_SUBREAPER", "1")
    mark = f"{tmp_path.name}-{os.getpid()}"
    backend, recorder = ProcessBackend(), Recorder()
    assert "subreaper" in backend.limitations[0]
    sandbox = await backend.open(recorder)
    await sandbox.start(shell("setsid sh -c 'sleep 60; sleep 61' & (sleep 62 &); echo ready; wait; sleep 60", mark=mark))
    await recorder.until(lambda: b"ready" in recorder.data)
    await sandbox.clear()
    async with asyncio.timeout(10):
        while marked(mark):  # their new parent, the system's first process, tells us nothing
            await asyncio.sleep(0.001)
    await backend.close()


def reported(recorder: Recorder, count: int) -> bool:
    return recorder.memory_reports == count


async def test_sampling_tells_once_that_the_limit_is_exceeded_and_again_after_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDABOX_NO_CGROUP", "1")
    backend, recorder = ProcessBackend(), Recorder()
    sandbox = await backend.open(recorder, memory_limit_bytes=40 << 20)
    hog = "import time; held = b'x' * (60 << 20); print('held', flush=True); time.sleep(60)"
    spec = ProcessSpec(name="runtime", argv=(sys.executable, "-I", "-S", "-c", hog), environment={}, cwd=Path("/"))
    for count in (1, 2):
        await sandbox.start(spec)
        await recorder.until(functools.partial(reported, recorder, count))
        assert sandbox.peak_memory_bytes() > 40 << 20
        await sandbox.clear()
    assert recorder.memory_reports == 2
    assert {status.out_of_memory for _, status in recorder.exits} == {False}
    await backend.close()


# -- left-overs -------------------------------------------------------------------------------------------------------


async def test_scratch_folders_of_dead_runs_are_removed_and_those_of_living_ones_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    dead = tmp_path / "lambdabox-12345-0123abcd"
    (dead / "sub").mkdir(parents=True)
    (dead / "sub" / "file").write_text("x")
    foreign = tmp_path / "lambdabox-notes"
    foreign.mkdir()
    link = tmp_path / "lambdabox-12345-aaaabbbb"
    link.symlink_to(foreign)
    living = scratch.ScratchFolder()
    backend = ProcessBackend()
    sandbox = await backend.open(Recorder())
    assert sandbox.tmp.parent == tmp_path
    await backend.close()
    assert not dead.exists()
    assert foreign.exists()
    assert link.is_symlink()
    assert living.path.exists()
    living.release()
    assert scratch.leftovers() == [str(tmp_path / f"lambdabox-0-{living.path.name[-8:]}")]


def test_a_left_over_folder_cannot_be_taken_by_who_has_just_made_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Between making a folder and locking it another run may take it for left over: then it is gone, not shared."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = tmp_path / "lambdabox-12345-0123abcd"
    made.mkdir()
    (renamed,) = scratch.leftovers()
    assert not made.exists()
    assert Path(renamed).exists()
    assert scratch.leftovers() == [renamed]
