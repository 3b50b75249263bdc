"""The fuzz targets run, and find nothing in their first inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz"
TARGETS = {"subscriptions": 400, "log_frames": 200, "http_requests": 300, "runtime_calls": 20, "extension_calls": 20}


def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", f"{name}.py", *options]
    return subprocess.run(command, cwd=FUZZ, capture_output=True, text=True, timeout=50, check=False)


def test_every_target_is_tried() -> None:
    assert {path.stem for path in FUZZ.glob("*.py") if "main(target)" in path.read_text()} == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing_in_its_first_inputs(name: str) -> None:
    done = run(name, "--seed", "1", "--runs", str(TARGETS[name]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{TARGETS[name]} inputs from seed 1")
    assert done.stderr == ""


def test_a_target_stops_by_itself() -> None:
    done = run("subscriptions", "--seconds", "0.1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_promise_is_told_with_its_seed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import sys\n"
        f"sys.path.append({str(FUZZ)!r})\n"
        "from harness import main\n"
        "def target(chance):\n    assert chance.random() < 0.9\n"
        "sys.exit(main(target))\n"
    )
    done = subprocess.run(
        [sys.executable, "broken.py", "--seed", "1"], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
    again = done.stderr.splitlines()[-1].removeprefix("again with: python ").split()
    done = subprocess.run([sys.executable, *again], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
