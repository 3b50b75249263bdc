"""What no file of the repository says: where it was written, and where packages are fetched from."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Put together here, so that this file does not say them either.
MACHINE_PATH = re.compile(r"(?<![\w.~}>-])/(?:" + "|".join(["wor" + "k", "roo" + "t", "hom" + "e"]) + r")/\w")
REGISTRY = re.compile(
    "|".join([r"regis" + r"try\.\w", "pyp" + r"i\.org", "python" + r"hosted\.org", "npm" + r"js\.", r"\bindex-" + "url"])
)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every text file that is in the repository, or would be with the next commit."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = {}
    for name in filter(None, listed.stdout.split("\0")):
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # deleted, or no text
    return found


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY], ids=["machine paths", "registry hosts"])
def test_no_file_names_a_place_of_one_machine(texts: dict[str, str], pattern: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
