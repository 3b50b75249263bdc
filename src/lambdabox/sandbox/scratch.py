"""The scratch folder of an environment, its /tmp, and what a killed run left of such folders.

An engine holds a lock on each folder it made (`flock` on the folder itself): a folder that nobody holds is left over. Unlike a
process id in a file, a lock cannot be mistaken for that of another process or of another container that shares the folder above.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

PREFIX = "lambdabox-"


class ScratchFolder:
    """A new, empty, locked folder; `release` gives up the lock (removing the folder is the warden's work)."""

    def __init__(self) -> None:
        parent = folder_above()
        while True:
            # The engine's process id is for people who wonder what the folder is.
            path = f"{parent}/{PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue
            lock = _try_lock(path)
            if lock is not None:
                break
            # Another run took it for left over in the moment before it was locked, and removes it.
        self.path = Path(path)
        self._lock: int | None = lock

    def release(self) -> None:
        """Give up the lock. Twice does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def folder_above() -> str:
    """Where temporary files go: what `tempfile.gettempdir` says, mostly without its imports, which cost a command 5 ms."""
    for folder in (os.environ.get("TMPDIR"), os.environ.get("TEMP"), os.environ.get("TMP"), "/tmp"):  # noqa: S108 -- a mkdir'ed name in it
        if folder and os.path.isabs(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    import tempfile

    return tempfile.gettempdir()


def _try_lock(path: str) -> int | None:
    """Lock a folder that is there and ours, and that nobody else holds; the lock lasts as long as the descriptor."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid() and os.path.samestat(status, os.stat(path, follow_symlinks=False)):
            return descriptor
    os.close(descriptor)
    return None


def leftovers() -> list[str]:
    """Scratch folders of this user that no running engine holds, under the names they have now: nobody can take one of them any more."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder_above()) as entries:
        for entry in entries:
            if not entry.name.startswith(PREFIX) or not _is_scratch_name(entry.name):
                continue
            lock = _try_lock(entry.path)
            if lock is not None:
                # Renamed under the lock: an engine that has just made the folder and not locked it yet finds it gone then,
                # and makes another, instead of losing it later under a running function.
                dead = f"{folder_above()}/{PREFIX}0-{entry.name.rpartition('-')[2]}"
                with contextlib.suppress(OSError):
                    os.rename(entry.path, dead)
                    found.append(dead)
                os.close(lock)
    return found


def _is_scratch_name(name: str) -> bool:
    pid, dash, token = name.removeprefix(PREFIX).partition("-")
    return dash == "-" and pid.isdigit() and len(token) == 8 and all(letter in "0123456789abcdef" for letter in token)
