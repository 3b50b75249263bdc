"""Events and contexts as people give them: text, a file, a module for Node.js, or standard input.

An event is bytes and passes through unchanged when it is JSON: it is looked at once, never parsed and written again. What is not
JSON is an error, unless `--raw` sends the text as a JSON string.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from lambdabox.errors import ConfigError, EventError, LambdaboxError, UsageError, listed

_RAW_HINT = "--raw sends text as a JSON string"
_NODE_SUFFIXES = (".js", ".cjs", ".mjs", ".ts", ".mts", ".cts")
_PIPE_GRACE_SECONDS = 0.1  # how long the writer of a pipe that nobody named may take for its first byte

# Reads the module, writes the value as JSON to the file named last. `import()` of a CommonJS module has module.exports as default.
_NODE_PROGRAM = """
const [file, out] = process.argv.slice(1);
const { pathToFileURL } = require('url');
(async () => {
  const module = await import(pathToFileURL(file).href);
  let value = 'default' in module ? module.default : module;
  if (typeof value === 'function') value = value();
  value = await value;
  const text = JSON.stringify(value);
  if (text === undefined) throw new Error('the module exports nothing that is JSON: it is ' + typeof value);
  require('fs').writeFileSync(out, text);
  process.exit(0);
})().catch((error) => { console.error(error && error.stack || error); process.exit(1); });
"""


def load_event(
    data: str | None,
    path: str | None,
    stdin: BinaryIO | None,
    raw: bool,
    folder: Path,
    node: Callable[[], Path],
) -> bytes:
    """The event of one invocation: `data` (text, `file://`, `@file`, `-`), `path`, else piped standard input, else `{}`.

    `node` finds the Node.js that evaluates module files. Raises EventError, and UsageError when both data and path are given.
    """
    found = _given("event", "--data", "--path", data, path, stdin, raw, folder, node)
    if found is not None:
        return found
    piped = piped_bytes(stdin)
    return _judged(piped, "standard input", raw, "event") if piped else b"{}"


def load_context(
    data: str | None,
    path: str | None,
    stdin: BinaryIO | None,
    folder: Path,
    node: Callable[[], Path],
) -> dict[str, Any] | None:
    """What `--context` or `--context-path` gives, an object; None when neither does. Standard input only when it is asked for (`-`)."""
    found = _given("context", "--context", "--context-path", data, path, stdin, False, folder, node)
    if found is None:
        return None
    value = json.loads(found)
    if not isinstance(value, dict):
        kinds = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
        raise EventError(
            f"the context must be a JSON object, it is {kinds.get(type(value), 'a number')}",
            hint='for example --context \'{"functionVersion": "7"}\'',
        )
    return value


def _given(
    what: str,
    data_option: str,
    path_option: str,
    data: str | None,
    path: str | None,
    stdin: BinaryIO | None,
    raw: bool,
    folder: Path,
    node: Callable[[], Path],
) -> bytes | None:
    """What was given by option, in one place for events and contexts."""
    if data is not None and path is not None:
        raise UsageError(f"both {data_option} and {path_option} give the {what}", hint="leave one out")
    if path is not None:
        if path == "-":
            return _asked_stdin(stdin, raw, what)
        return _from_file(path, raw, folder, node, what)
    if data is None:
        return None
    if data == "-":
        return _asked_stdin(stdin, raw, what)
    if data.startswith("file://"):
        return _from_file(data.removeprefix("file://"), raw, folder, node, what)
    if data.startswith("@"):
        return _from_file(data[1:], raw, folder, node, what)
    return _judged(data.encode("utf-8", "surrogateescape"), data_option, raw, what)


# -- standard input ---------------------------------------------------------------------------------------------------


def _asked_stdin(stdin: BinaryIO | None, raw: bool, what: str) -> bytes:
    if stdin is None:
        raise EventError(f"the {what} should come from standard input, which is closed")
    return _judged(stdin.read(), "standard input", raw, what)


def piped_bytes(stdin: BinaryIO | None) -> bytes | None:
    """What stands on standard input when it is a file or a pipe with data; None for a terminal, an idle pipe, or nothing.

    Never waits for an idle pipe: its writer has a tenth of a second for the first byte. Once there is one, all is read.
    """
    if stdin is None:
        return None
    try:
        number = stdin.fileno()
        mode = os.fstat(number).st_mode
    except (OSError, ValueError, AttributeError):  # no descriptor: a test's own stream
        return stdin.read() if not getattr(stdin, "closed", False) else None
    if stat.S_ISREG(mode):
        return stdin.read()
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    import select

    try:
        readable, _, _ = select.select([number], [], [], _PIPE_GRACE_SECONDS)
    except (OSError, ValueError):
        return None
    return stdin.read() if readable else None


# -- files ------------------------------------------------------------------------------------------------------------


def _from_file(name: str, raw: bool, folder: Path, node: Callable[[], Path], what: str) -> bytes:
    """An event file, relative to the project folder, else to the current one."""
    path = folder / Path(name).expanduser()
    if not path.exists() and Path(name).expanduser().exists():
        path = Path(name).expanduser()
    if not path.exists():
        similar = similar_files(path)
        hint = f"did you mean {listed(similar)}?" if similar else f"paths are relative to {folder}"
        raise EventError(f"no {what} file {name}", hint=hint)
    if path.is_dir():
        raise EventError(f"the {what} file {name} is a folder", hint="name a file in it")
    if path.suffix in _NODE_SUFFIXES:
        return _from_module(path.absolute(), node, what)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EventError(f"the {what} file {name} cannot be read: {error.strerror}") from error
    if path.suffix in (".yml", ".yaml"):
        return _from_yaml(content, path, what)
    return _judged(content, name, raw and path.suffix != ".json", what)


def similar_files(path: Path) -> list[str]:
    """Files beside a missing one that could have been meant: the same name with another suffix first."""
    import difflib

    try:
        beside = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    except OSError:
        return []
    same = [name for name in beside if Path(name).stem == path.stem]
    close = difflib.get_close_matches(path.name, beside, n=3, cutoff=0.6)
    return list(dict.fromkeys([*same, *close]))[:3]


def _from_yaml(content: bytes, path: Path, what: str) -> bytes:
    from lambdabox.config.yaml12 import parse_yaml

    try:
        value = parse_yaml(_decoded(content, str(path), what), path).data
    except ConfigError as error:
        raise EventError(error.message, hint=error.hint) from error
    if _has_no_json(value):
        raise EventError(f"the {what} file {path.name} has a number that JSON has no word for (.nan or .inf)")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _has_no_json(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_no_json(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_no_json(item) for item in value)
    return isinstance(value, float) and not math.isfinite(value)


def _from_module(path: Path, node: Callable[[], Path], what: str) -> bytes:
    """The default export of a module, called when it is a function and awaited when it is a promise. Its prints go to stderr."""
    import subprocess
    import sys
    import tempfile

    try:
        executable = node()
    except LambdaboxError as error:
        raise EventError(f"the {what} file {path.name} needs Node.js: {error.message}", hint=error.hint) from error
    with tempfile.TemporaryDirectory(prefix="lambdabox-event-") as scratch:
        out = Path(scratch) / "event.json"

        def run(*flags: str) -> subprocess.CompletedProcess[bytes]:
            command = [str(executable), *flags, "-e", _NODE_PROGRAM, "--", str(path), str(out)]
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=path.parent, check=False)

        done = run()
        is_typescript = path.suffix in (".ts", ".mts", ".cts")
        if done.returncode != 0 and is_typescript and b"ERR_UNKNOWN_FILE_EXTENSION" in done.stderr:
            done = run("--experimental-strip-types")
            if b"bad option" in done.stderr:
                raise EventError(
                    f"the {what} file {path.name} is TypeScript, which this Node.js does not read ({executable})",
                    hint="Node.js 22.6 and later read it; or give the event as .js or .json",
                )
        if done.returncode != 0 or not out.exists():
            _refuse_module(path, what, done.stderr.decode("utf-8", "replace"), done.returncode)
        if done.stdout or done.stderr:
            sys.stderr.write((done.stdout + done.stderr).decode("utf-8", "replace"))
        return out.read_bytes()


def _refuse_module(path: Path, what: str, stderr: str, code: int) -> NoReturn:
    if code in (0, 13):  # the event loop ran empty with an await unsettled: 13 when that is the module's own
        raise EventError(f"the {what} file {path.name} gives no value: its promise never settles, or it ends Node.js itself")
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    told = next((line for line in lines if "Error" in line.partition(":")[0]), lines[0] if lines else f"exit code {code}")
    place = next((line for line in lines if path.name in line), "")
    raise EventError(f"the {what} file {path.name} fails: {told}", hint=place or None)


# -- JSON -------------------------------------------------------------------------------------------------------------


def _judged(content: bytes, source: str, raw: bool, what: str) -> bytes:
    """JSON unchanged, or text as a JSON string when it is raw."""
    text = _decoded(content, source, what)
    if raw:
        return json.dumps(text, ensure_ascii=False).encode("utf-8")
    if not text.strip():
        raise EventError(f"the {what} from {source} is empty", hint=f"an empty event is {{}}; {_RAW_HINT}")
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise EventError(
            f"the {what} from {source} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})",
            hint=_json_hint(text),
        ) from error
    except ValueError as error:
        raise EventError(f"the {what} from {source} is not JSON: {error}", hint=_RAW_HINT) from error
    except RecursionError:
        return content  # deeper than can be looked at here; the runtime decides
    return content.removeprefix(b"\xef\xbb\xbf")


def _decoded(content: bytes, source: str, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EventError(
            f"the {what} from {source} is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}",
            hint="binary data goes into an event as Base64",
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _json_hint(text: str) -> str:
    stripped = text.strip()
    if stripped.startswith(("{'", "['")):
        return f"JSON has double quotes; {_RAW_HINT}"
    if stripped.startswith(("{", "[")):
        return _RAW_HINT
    return f"{_RAW_HINT}; -d @FILE and -p FILE read a file"
