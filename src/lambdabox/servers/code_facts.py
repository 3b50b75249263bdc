"""What GetFunction says about a code folder: its size, its digest, when it changed last."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime
from pathlib import Path

_FILES_MAX = 5_000


class CodeFacts:
    """Reads a folder at most once; the digest covers names, sizes and times of change, not every byte.

    Parity: CodeSha256 is not the digest of a zip file: there is none.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, str, str]] = {}

    def of(self, folder: Path) -> tuple[int, str, str]:
        """Size in bytes, base64 SHA-256, and the time of the last change in AWS's form."""
        facts = self._known.get(folder)
        if facts is None:
            facts = self._known[folder] = _read(folder)
        return facts


def _read(folder: Path) -> tuple[int, str, str]:
    import hashlib  # OpenSSL with it: only who asks for a function's configuration pays

    digest = hashlib.sha256()
    size, latest, count = 0, 0.0, 0
    for root, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name not in (".git", "node_modules", ".venv", "venv", "__pycache__"))
        for name in sorted(files):
            path = os.path.join(root, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            size += status.st_size
            latest = max(latest, status.st_mtime)
            digest.update(
                f"{os.path.relpath(path, folder)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape")
            )
            count += 1
        if count >= _FILES_MAX:
            break
    modified = datetime.fromtimestamp(latest, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return size, base64.b64encode(digest.digest()).decode(), modified
