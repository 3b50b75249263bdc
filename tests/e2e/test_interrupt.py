"""Ctrl-C and SIGTERM: the first shuts down, the second kills; no process is left either way."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from pathlib import Path

import pytest
from tests.e2e.conftest import is_alive

STUBBORN = """
import os, signal, time

def handler(event, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(event["started"], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)
"""


def wait_for_fifo(fifo: Path) -> int:
    """The process id that the function writes into a FIFO; blocks until it does."""
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        assert poller.poll(20_000), "the function did not start"
        return int(os.read(descriptor, 100))
    finally:
        os.close(descriptor)


def assert_gone(pid: int) -> None:
    horizon = time.monotonic() + 3
    while is_alive(pid):
        assert time.monotonic() < horizon, f"{pid} is still there"
        time.sleep(0.005)  # the end of somebody else's child is no event


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "started"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_shuts_down(start, project: Path, fifo: Path, number: int, code: int) -> None:
    process = start("invoke", "app.slow", "-d", json.dumps({"started": str(fifo)}), "--timeout", "50")
    pid = wait_for_fifo(fifo)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=15)
    assert process.returncode == code
    assert stdout == b""
    assert b"interrupted: app.slow" in stderr
    assert b"Traceback" not in stderr
    assert_gone(pid)


def test_two_signals_kill_at_once(start, tmp_path: Path, fifo: Path) -> None:
    (tmp_path / "app.py").write_text(STUBBORN)
    process = start("invoke", "app.handler", "-d", json.dumps({"started": str(fifo)}), "--timeout", "50")
    pid = wait_for_fifo(fifo)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=15)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert_gone(pid)


def test_a_killed_command_leaves_no_process(start, project: Path, fifo: Path) -> None:
    process = start("invoke", "app.slow", "-d", json.dumps({"started": str(fifo)}), "--timeout", "50")
    pid = wait_for_fifo(fifo)
    process.kill()
    process.wait()
    assert_gone(pid)
