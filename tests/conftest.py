"""What every test gets: no left-overs, and the toolchains that `make test` put into .toolchains."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLCHAINS = ROOT / ".toolchains"
_GRACE_SECONDS = 3.0  # how long a process that was told to end may take to be gone


def pytest_configure() -> None:
    found = sorted(str(path) for path in TOOLCHAINS.glob("node/*/node_modules/*/bin/node"))
    known = os.environ.get("LAMBDABOX_TEST_NODES", "")
    os.environ["LAMBDABOX_TEST_NODES"] = os.pathsep.join([*found, *([known] if known else [])])
    client = TOOLCHAINS / "ric" / "node_modules" / "aws-lambda-ric"
    if client.exists():
        os.environ.setdefault("LAMBDABOX_TEST_NODE_RIC", str(client))
    # Nothing of the person who runs the tests decides what they say.
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL", "VIRTUAL_ENV", "PYTHONPATH", "NODE_OPTIONS"):
        os.environ.pop(name, None)


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(int(pid) for pid in task.read_text().split())
        except OSError:
            continue
    return found


def _scratch() -> set[str]:
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith(f"lambdabox-{os.getpid()}-")}


@pytest.fixture(autouse=True)
def no_leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test leaves no process and no scratch folder of ours behind."""
    if "unit" in request.path.parts:
        yield
        return
    before, scratch = _children(), _scratch()
    yield
    horizon = time.monotonic() + _GRACE_SECONDS
    while (left := _children() - before) and time.monotonic() < horizon:
        for pid in left:
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)  # a process that ends has no event that could be waited for here
    assert not left, f"processes left behind: {left}"
    assert not _scratch() - scratch, "scratch folders left behind"
