"""Finding, signalling and clearing away: what the keeper and the engine both do with processes and folders, without imports."""

# ruff: noqa: SIM105 -- contextlib and pathlib would cost the keeper milliseconds

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable
else:
    # The public twin imports enum, which alone takes a quarter of the keeper's time to start.
    import _signal as signal


def has_proc(hidden: bool = False) -> bool:
    """True when /proc shows processes."""
    return not hidden and os.path.exists(f"/proc/{os.getpid()}/stat")


def children_of(pid: int) -> "list[int]":
    """The children of a process, of all its threads; empty when it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            fd = os.open(f"/proc/{pid}/task/{thread}/children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if thread == str(pid) and os.path.exists(f"/proc/{pid}/task/{pid}/stat"):
                return _children_by_scan(pid)
            continue
        except OSError:
            continue
        try:
            found.extend(map(int, _read_all(fd).split()))
        except OSError:
            pass
        finally:
            os.close(fd)
    return found


def _read_all(fd: int) -> bytes:
    data = chunk = os.read(fd, 4096)
    while len(chunk) > 0 and len(data) >= 4000:
        chunk = os.read(fd, 65536)
        data += chunk
    return data


def _children_by_scan(parent: int) -> "list[int]":
    """The same for kernels built without the `children` files."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb", buffering=0) as file:
                # The name in parentheses may hold anything, blanks and parentheses included.
                after_name = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == parent:
            found.append(int(entry))
    return found


def send_signal(pid: int, number: int) -> None:
    """Signal a process; one that is gone, or that has changed its user, is passed over."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def send_group_signal(group: int, number: int) -> None:
    """Signal a process group; nothing happens when it has no members left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def stop_tree(roots: "Iterable[int]") -> "list[int]":
    """SIGSTOP processes and all their descendants; returns them all.

    A parent is stopped before its children are read, so nothing can be forked behind the walk. What falls to the subreaper while
    it runs is not seen: the caller looks at the subreaper's children again.
    """
    stopped = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        send_signal(pid, signal.SIGSTOP)
        stopped.append(pid)
        waiting.extend(children_of(pid))
    return stopped


def remove_tree(path: str) -> None:
    """Remove a folder and all that is in it, read-only folders included; what cannot be removed stays."""
    try:
        os.chmod(path, 0o700)
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(entry.path)
                else:
                    try:
                        os.unlink(entry.path)
                    except OSError:
                        pass
        os.rmdir(path)
    except OSError:
        pass
