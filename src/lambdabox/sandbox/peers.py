"""Who is connected to a port of this machine's loopback: the processes behind the other ends, where /proc tells (Linux)."""

from __future__ import annotations

import os

_ESTABLISHED = b"01"


def connected_processes(port: int, *, known: dict[int, int]) -> set[int]:
    """The ids of this user's processes that hold a connection to `port`.

    `known` remembers sockets (inode to process id) between calls: looking for the owner of a new one reads the descriptors of every process.
    """
    wanted = _client_sockets(port)
    missing = wanted - known.keys()
    if missing:
        _find_owners(missing, known)
    for inode in known.keys() - wanted:
        del known[inode]
    return {known[inode] for inode in wanted if inode in known}


def _client_sockets(port: int) -> set[int]:
    """Inodes of the sockets whose remote end is `port` on this machine."""
    suffix = f":{port:04X}".encode()
    found: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, "rb") as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[2].endswith(suffix) and fields[3] == _ESTABLISHED and fields[9] != b"0":
                found.add(int(fields[9]))
    return found


def _find_owners(inodes: set[int], known: dict[int, int]) -> None:
    own = os.getpid()
    links = {f"socket:[{inode}]": inode for inode in inodes}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == own:
            continue
        folder = f"/proc/{entry}/fd"
        try:
            numbers = os.listdir(folder)
        except OSError:  # gone, or another user's
            continue
        for number in numbers:
            try:
                inode = links.get(os.readlink(f"{folder}/{number}"))
            except OSError:
                continue
            if inode is not None:
                # Of a process and its forks, which share a socket, the first: the one with the lowest id.
                known[inode] = min(int(entry), known.get(inode, int(entry)))
