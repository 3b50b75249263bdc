"""What a person at a terminal sees, which nobody on a pipe does."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest


class Terminal:
    """The command with a terminal as its three streams."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = {**environ, "TERM": "xterm-256color"}

    def run(self, *arguments: str, cwd: Path, **environ: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "lambdabox", *arguments],
            cwd=cwd,
            env={**self.environ, **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        seen = b""
        try:
            while True:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
                if not data:
                    break
                seen += data
            return process.wait(20), seen.decode().replace("\r\n", "\n")
        finally:
            process.kill()
            process.wait()
            os.close(ours)


@pytest.fixture
def terminal(environ: dict[str, str]) -> Terminal:
    return Terminal(environ)


def test_the_payload_is_indented_and_coloured(terminal: Terminal, project: Path) -> None:
    code, seen = terminal.run("invoke", "app.echo", "-d", '{"a": [1, true]}', cwd=project)
    assert code == 0
    assert '{\n  \x1b[34m"a"\x1b[0m: [\n    \x1b[36m1\x1b[0m,\n    \x1b[35mtrue\x1b[0m\n  ]\n}\n' in seen


def test_no_color_is_respected(terminal: Terminal, project: Path) -> None:
    _, seen = terminal.run("invoke", "app.echo", "-d", '{"a": 1}', cwd=project, NO_COLOR="1")
    assert "\x1b[3" not in seen
    assert '{\n  "a": 1\n}\n' in seen


def test_a_terminal_as_standard_input_gives_no_event(terminal: Terminal, project: Path) -> None:
    code, seen = terminal.run("invoke", "app.echo", cwd=project, NO_COLOR="1")
    assert code == 0
    assert seen.endswith("{}\n")


def test_a_failure_shows_the_users_frames(terminal: Terminal, project: Path) -> None:
    code, seen = terminal.run("invoke", "app.outer", cwd=project, NO_COLOR="1")
    assert code == 1
    line = next(
        number for number, text in enumerate((project / "app.py").read_text().splitlines(), 1) if "raise KeyError" in text
    )
    assert f"  app.py:{line} in inner\n" in seen
    assert f'{line:>5} |     raise KeyError("missing")\n' in seen


def test_our_own_frames_are_folded(terminal: Terminal, tmp_path: Path) -> None:
    import shutil

    if shutil.which("node") is None:
        pytest.skip("no node here")
    (tmp_path / "index.js").write_text("exports.handler = async () => { throw new Error('bad') }\n")
    _, seen = terminal.run("invoke", "index.handler", cwd=tmp_path, NO_COLOR="1")
    shown = seen.partition("where it failed")[2]
    assert "index.js:1 in " in shown
    assert "of the runtime" in shown
    assert "bootstraps" not in shown


def test_a_slow_cold_start_spins_and_leaves_no_trace(terminal: Terminal, tmp_path: Path) -> None:
    # The handler's module waits longer than the spinner does; there is no event to wait for instead.
    (tmp_path / "app.py").write_text("import time\ntime.sleep(0.8)\ndef handler(event, context):\n    return 1\n")
    _, seen = terminal.run("invoke", "app.handler", cwd=tmp_path)
    assert "starting app.handler" in seen
    last = seen.rpartition("starting app.handler")[2]
    assert "\r\x1b[K" in last


def test_a_quick_start_does_not_spin(terminal: Terminal, project: Path) -> None:
    _, seen = terminal.run("invoke", "app.echo", cwd=project)
    assert "starting" not in seen
    assert "\r\x1b[K" not in seen


def test_doctor_is_a_table(terminal: Terminal, tmp_path: Path) -> None:
    code, seen = terminal.run("doctor", cwd=tmp_path)
    assert code == 0
    assert "RUNTIME" in seen
    assert "\x1b[" in seen
