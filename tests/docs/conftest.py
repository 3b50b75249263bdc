"""Pages that are run: what a reader would do with the blocks of a page, in the order of the page.

A block is told what to do with it by HTML comments in front of it, which a reader does not see:

    <!-- file: NAME -->          the block is the content of a file; `<!-- file: NAME, executable -->` may be started
    <!-- new folder -->          from here on in a new, empty folder
    <!-- checkout -->            the folder has this repository in it, as `lambdabox`
    <!-- background -->          the command goes on while the rest of the page is read; it is ended with Ctrl-C
    <!-- exit: 1 -->             the last command ends with this code, not with 0
    <!-- shown only: REASON -->  nothing is done

`console` blocks are typed into a terminal: lines after `$ ` are commands, the others what they show. `...` stands for any lines
where it is alone on its line, else for any text. Where nothing is shown nothing is compared. `python` blocks run in one namespace
a page. `json` and `yaml` blocks must parse. The port 3001 of the pages is a free one here.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]
LINKED = [*PAGES, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", ROOT / "runtime" / "README.md"]
RUN_SECONDS = 30
_KEPT = ("HOME", "TMPDIR", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
_SHOWN_ADDRESS = "127.0.0.1:3001"
_BEGIN, _END = "\x1e", "\x1f"
_SPINNER = re.compile(r"\r\x1b\[K(?:. starting [^\r\n\x1b]*)?|\x1b\[[\d;]*m")  # and bold or dim text
# Which interpreters a machine has is not the page's business.
_NOT_COMPARED = re.compile(r"^warning: .*(?: is served by | was retired by ).*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block and what its comments say."""

    page: Path
    line: int
    language: str
    text: str
    directives: tuple[str, ...]

    def directive(self, name: str) -> str | None:
        """What a comment of that name says; empty when it says nothing more."""
        for directive in self.directives:
            head, _, rest = directive.partition(":")
            if head.strip() == name:
                return rest.strip()
        return None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    found: list[Block] = []
    directives: list[str] = []
    fence: str | None = None
    language, start, content = "", 0, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        stripped = line.strip()
        if fence is not None:
            if stripped == fence:
                found.append(Block(page, start, language, "\n".join(content) + "\n", tuple(directives)))
                fence, directives = None, []
            else:
                content.append(line)
        elif match := re.fullmatch(r"(`{3,})(\w*)", stripped):
            fence, language, start, content = match[1], match[2], number, []
        elif match := re.fullmatch(r"<!--(.*)-->", stripped):
            directives.append(match[1].strip())
        elif stripped:
            directives = []
    assert fence is None, f"{page}: a block that does not end"
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, pages in (("page", PAGES), ("linked_page", LINKED)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, pages, ids=[str(page.relative_to(ROOT)) for page in pages])


@pytest.fixture
def blocks(page: Path) -> list[Block]:
    """The blocks of a page."""
    return blocks_of(page)


@pytest.fixture(scope="session")
def reader_environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of somebody's shell: this interpreter's commands first, nothing of AWS, no colours."""
    return {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("pyc")),
        "NO_COLOR": "1",
        "TERM": "xterm",
    }


@pytest.fixture
def reader(
    tmp_path: Path, reader_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[list[Block]], None]]:
    """Does what a page says, in a temporary folder."""
    reading = Reading(tmp_path, reader_environ, monkeypatch)

    def read(blocks: list[Block]) -> None:
        for block in blocks:
            reading.do(block)

    yield read
    reading.close()


class Reading:
    """One page being read: its folder, its namespace, and what it left running."""

    def __init__(self, folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = folder
        self.folder = folder
        self.environ = environ
        self.monkeypatch = monkeypatch
        self.namespace: dict[str, Any] = {"__name__": "page"}
        self.address: str | None = None
        self.running: subprocess.Popen[str] | None = None
        self.folders = 0
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        self._enter()

    def _enter(self) -> None:
        self.folders += 1
        self.folder = self.home / f"project{self.folders}"
        self.folder.mkdir()
        self.monkeypatch.chdir(self.folder)
        for name in [name for name, module in sys.modules.items() if _lies_in(module, self.home)]:
            del sys.modules[name]

    def do(self, block: Block) -> None:
        if block.directive("new folder") is not None:
            self._enter()
        if block.directive("checkout") is not None:
            (self.folder / "lambdabox").symlink_to(ROOT)
        if block.directive("shown only") is not None:
            assert block.directive("shown only"), f"{block.place}: say why the block is only shown"
            return
        _require(block)
        name = block.directive("file")
        if name is not None:
            self._write(name, block.text)
        elif block.language == "console":
            self._type(block)
        elif block.language == "python":
            exec(compile("\n" * block.line + self._addressed(block.text), str(block.page), "exec"), self.namespace)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language in ("yaml", "yml"):
            import yaml

            yaml.safe_load(block.text)
        else:
            assert block.language in ("", "text"), f"{block.place}: nothing is done with a block of {block.language}"

    def _write(self, name: str, text: str) -> None:
        name, _, mode = name.partition(",")
        path = self.folder / name.strip()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if mode.strip() == "executable":
            path.chmod(0o755)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _addressed(self, text: str) -> str:
        return text.replace(_SHOWN_ADDRESS, self.address) if self.address else text

    def _type(self, block: Block) -> None:
        steps = _steps(block)
        if block.directive("background") is not None:
            self._start(steps[0][0])
            return
        script = "".join(f"printf '{_BEGIN}'\n{self._addressed(command)}\nprintf '{_END}%s\\n' $?\n" for command, _ in steps)
        shown = in_terminal(["bash", "-c", script], self.folder, self.environ)
        found = re.findall(f"{_BEGIN}(.*?){_END}(\\d+)\n", shown, re.DOTALL)
        assert len(found) == len(steps), f"{block.place}: the shell stopped early:\n{shown}"
        last = int(block.directive("exit") or 0)
        for index, ((command, expected), (raw, code)) in enumerate(zip(steps, found, strict=True)):
            output = _NOT_COMPARED.sub("", raw)
            output = output.replace(self.address or _SHOWN_ADDRESS, _SHOWN_ADDRESS)
            wanted = last if index == len(steps) - 1 else 0
            assert int(code) == wanted, f"{block.place}: `{command}` ended with {code}, not {wanted}:\n{output}"
            if expected is not None:
                assert matches(expected, output), f"{block.place}: `{command}` showed\n{output}\nnot\n{expected}"

    def _start(self, command: str) -> None:
        """`lambdabox serve`, on a free port, until it says where."""
        assert self.running is None, "one command in the background is enough"
        self.running = subprocess.Popen(
            ["bash", "-c", f"exec {command} --port 0"],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.running.stdout is not None
        self.address = self.running.stdout.readline().strip().removeprefix("http://")
        assert self.address, f"`{command}` ended with {self.running.wait()}"

    def close(self) -> None:
        if self.running is not None:
            assert self.running.stdout is not None
            self.running.send_signal(signal.SIGINT)
            code = self.running.wait(RUN_SECONDS)
            self.running.stdout.close()
            assert code == 130


def _lies_in(module: object, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).is_relative_to(folder)


def _require(block: Block) -> None:
    """Skip a page whose commands this machine has not, and say so; in CI that is a failure."""
    needed = []
    if (block.directive("file") or "").endswith((".js", ".mjs", ".cjs")):
        needed.append("node")
    if block.language == "console":
        commands = "\n".join(line for line in block.text.splitlines() if line.startswith("$ "))
        needed += ["bash", *(tool for tool in ("curl", "node") if re.search(rf"\b{tool} ", commands))]
    for tool in needed:
        if shutil.which(tool) is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{block.place} needs {tool}")
            pytest.skip(f"{block.place} needs {tool}")


def _steps(block: Block) -> list[tuple[str, str | None]]:
    """Commands, each with what it shows (None: nothing is shown)."""
    steps: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            steps.append(([line[2:]], []))
        elif line.startswith("> ") and not steps[-1][1] and steps[-1][0][-1].endswith("\\"):
            steps[-1][0].append(line[2:])
        else:
            assert steps, f"{block.place}: begin with `$ `"
            steps[-1][1].append(line)
    return [("\n".join(command), "\n".join(shown) if any(shown) else None) for command, shown in steps]


def matches(expected: str, output: str) -> bool:
    """Whether an output is the expected one; `...` stands for any lines, or for any text in a line."""
    pattern = ""
    for line in expected.strip("\n").replace("\t", " ").splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace(r"\.\.\.", ".*") + r" *\n"
    return re.fullmatch(pattern, output.strip("\n").replace("\t", " ") + "\n") is not None


def in_terminal(argv: list[str], folder: Path, environ: dict[str, str]) -> str:
    """Run a program in a terminal of 120 columns and return what stands there in the end."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process = subprocess.Popen(
            argv, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
    finally:
        os.close(theirs)
    shown = bytearray()
    horizon = time.monotonic() + RUN_SECONDS
    try:
        while True:
            readable, _, _ = select.select([ours], [], [], max(horizon - time.monotonic(), 0))
            if not readable:
                os.killpg(process.pid, signal.SIGKILL)
                raise AssertionError(f"not over after {RUN_SECONDS} s:\n{shown.decode(errors='replace')}")
            try:
                data = os.read(ours, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                break
            if not data:
                break
            shown += data
    finally:
        process.wait()
        os.close(ours)
    return _SPINNER.sub("", shown.decode(errors="replace").replace("\r\n", "\n"))
