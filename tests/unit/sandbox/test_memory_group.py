"""Where a control group for memory is made, read from copies of what the kernel shows (the real thing is in tests/contract)."""

from pathlib import Path

import pytest

from lambdabox.sandbox.memory_group import open_memory_group

LIMIT = 128 << 20


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    return folder


def describe(proc: Path, cgroup: str, mountinfo: str) -> None:
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mountinfo)


def make_group(folder: Path, *, controllers: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.procs").write_text("")
    (folder / "cgroup.subtree_control").write_text(controllers)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each new folder filled as the kernel fills a new group."""
    mkdir = Path.mkdir

    def mkdir_like_kernel(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        mkdir(self, mode, parents, exist_ok)
        if self.name.startswith("lambdabox-"):
            for name in ("memory.max", "memory.swap.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
                (self / name).write_text("")

    monkeypatch.setattr(Path, "mkdir", mkdir_like_kernel)


@pytest.mark.usefixtures("kernel")
def test_version_2_makes_a_sibling_where_the_group_above_hands_memory_down(proc: Path, tmp_path: Path) -> None:
    make_group(tmp_path / "cg/user/app", controllers="cpu memory pids")
    make_group(tmp_path / "cg/user/app/shell")
    describe(proc, "0::/user/app/shell\n", f"30 23 0:26 / {tmp_path}/cg rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n")
    group = open_memory_group(LIMIT, proc=proc)
    assert group is not None
    assert group.folder.parent == tmp_path / "cg/user/app"
    assert (group.folder / "memory.max").read_text() == str(LIMIT)
    assert (group.folder / "memory.swap.max").read_text() == "0"
    assert group.home_procs_file == f"{tmp_path}/cg/user/app/shell/cgroup.procs"


def test_version_2_without_the_memory_controller_makes_nothing(proc: Path, tmp_path: Path) -> None:
    make_group(tmp_path / "cg/app", controllers="pids")
    make_group(tmp_path / "cg/app/shell")
    describe(proc, "0::/app/shell\n", f"30 23 0:26 / {tmp_path}/cg rw - cgroup2 cgroup2 rw\n")
    assert open_memory_group(LIMIT, proc=proc) is None
    assert [entry.name for entry in (tmp_path / "cg/app").iterdir() if entry.is_dir()] == ["shell"]


@pytest.mark.usefixtures("kernel")
def test_version_1_makes_a_child_below_its_own_group(proc: Path, tmp_path: Path) -> None:
    make_group(tmp_path / "memory/own")
    describe(proc, "4:cpu:/\n3:memory:/box/own\n", f"35 31 0:32 /box {tmp_path}/memory rw - cgroup cgroup rw,memory\n")
    group = open_memory_group(LIMIT, proc=proc)
    assert group is not None
    assert group.folder.parent == tmp_path / "memory/own"
    assert (group.folder / "memory.limit_in_bytes").read_text() == str(LIMIT)


def test_a_group_outside_of_what_is_mounted_makes_nothing(proc: Path, tmp_path: Path) -> None:
    describe(proc, "3:memory:/elsewhere\n", f"35 31 0:32 /box {tmp_path}/memory rw - cgroup cgroup rw,memory\n")
    assert open_memory_group(LIMIT, proc=proc) is None


def test_no_proc_makes_nothing(proc: Path) -> None:
    assert open_memory_group(LIMIT, proc=proc / "missing") is None


@pytest.mark.usefixtures("kernel")
def test_each_kill_by_the_limit_is_told_once(proc: Path, tmp_path: Path) -> None:
    make_group(tmp_path / "memory")
    describe(proc, "3:memory:/\n", f"35 31 0:32 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n")
    group = open_memory_group(LIMIT, proc=proc)
    assert group is not None
    assert not group.killed_again()
    (group.folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert group.killed_again()
    assert not group.killed_again()
