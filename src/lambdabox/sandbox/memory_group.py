"""A memory limit kept by the kernel: a control group (cgroup) for the processes of one environment, where this user can make one.

Version 2 needs a group that may be written and whose parent hands the memory controller down; a systemd user session gives that to
the user, and root has it. Version 1 needs a writable memory hierarchy. Elsewhere the backend samples the processes instead.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath


class MemoryGroup:
    """One control group with a limit and without swap; the warden puts the processes in and removes the folder in the end."""

    def __init__(self, folder: Path, home: Path, *, version: int) -> None:
        self.folder = folder
        self.procs_file = str(folder / "cgroup.procs")
        self.home_procs_file = str(home / "cgroup.procs")
        self._events = folder / ("memory.events" if version == 2 else "memory.oom_control")
        self._kills_seen = 0

    def killed_again(self) -> bool:
        """True when the limit has killed a process since the last call."""
        kills = 0
        with contextlib.suppress(OSError, ValueError):
            for line in self._events.read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    kills = int(value)
        again = kills > self._kills_seen
        self._kills_seen = kills
        return again

    def remove(self) -> None:
        """Remove the group if nobody did."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def open_memory_group(limit_bytes: int, *, proc: Path = Path("/proc/self")) -> MemoryGroup | None:
    """Make a group with this limit; None where this user or this machine cannot."""
    try:
        places = _places((proc / "cgroup").read_text(), (proc / "mountinfo").read_text())
    except OSError:
        return None
    for version, home, parent in places:
        group = _make(version, home, parent, limit_bytes)
        if group is not None:
            return group
    return None


def _make(version: int, home: Path, parent: Path, limit_bytes: int) -> MemoryGroup | None:
    if version == 2:
        try:
            if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
                return None
        except OSError:
            return None
        # The kernel lets a process move only for who may write to the groups at both ends and above both.
        if not os.access(parent / "cgroup.procs", os.W_OK):
            return None
        limits = (("memory.max", True), ("memory.swap.max", False))
        values = {"memory.max": str(limit_bytes), "memory.swap.max": "0"}
    else:
        # The limit of memory and swap together may not be under that of memory: it is set second.
        limits = (("memory.limit_in_bytes", True), ("memory.memsw.limit_in_bytes", False))
        values = dict.fromkeys(("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), str(limit_bytes))
    if not os.access(home / "cgroup.procs", os.W_OK):
        return None
    folder = parent / f"lambdabox-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        folder.mkdir()
    except OSError:
        return None
    group = MemoryGroup(folder, home, version=version)
    for file, required in limits:
        try:
            _write(folder / file, values[file])
        except OSError:
            if required:
                group.remove()
                return None
    return group


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _places(cgroup: str, mountinfo: str) -> list[tuple[int, Path, Path]]:
    """Where a group could be made: version, the group that this process is in, the group that would be the parent."""
    paths: dict[int, str] = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            paths[2] = path
        elif "memory" in controllers.split(","):
            paths[1] = path
    places = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        root, mount_point = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            version = 2
        elif kind == "cgroup" and "memory" in options.split(" ")[-1].split(","):
            version = 1
        else:
            continue
        if version not in paths:
            continue
        try:
            inside = PurePosixPath(paths[version]).relative_to(root)
        except ValueError:
            continue
        home = Path(mount_point, inside)
        places.append((version, home, home))
        if version == 2 and home != Path(mount_point):
            # A group with processes of its own cannot hand controllers down: a sibling then.
            places.append((version, home, home.parent))
    return sorted(places, key=lambda place: -place[0])
