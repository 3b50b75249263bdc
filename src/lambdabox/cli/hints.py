"""The next step for what commonly goes wrong with a function: what was looked for, and what is there instead."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lambdabox.config.events import similar_files
from lambdabox.errors import LambdaboxError, did_you_mean, listed
from lambdabox.model.function import Function
from lambdabox.model.runtimes import RUNTIMES

_NODE_SUFFIXES = (".js", ".mjs", ".cjs")
_MISSING_PACKAGE = re.compile(r"No module named '([^']+)'|Cannot find (?:module|package) '([^']+)'")
_SYNTAX_PLACE = re.compile(r"\(([^(),]+), line (\d+)\)")
_PYTHON_NAMES = re.compile(r"^(?:(?:async\s+)?def|class)\s+([A-Za-z_]\w*)|^([A-Za-z_]\w*)\s*(?::[^=\n]+)?=(?!=)", re.MULTILINE)
_NODE_NAMES = re.compile(
    r"\bexports\.([A-Za-z_$][\w$]*)\s*=|^\s*export\s+(?:async\s+)?(?:const|let|var|function\*?|class)\s+([A-Za-z_$][\w$]*)",
    re.MULTILINE,
)
_NODE_LISTS = re.compile(r"(?:\bmodule\.exports\s*=\s*|^\s*export\s*)\{([^}]*)\}", re.MULTILINE)


def hint_for(function: Function, error_type: str, message: str) -> str | None:
    """The hint for an error document, or None where there is nothing to add."""
    if error_type == "Sandbox.Timedout":
        return f"the timeout is {function.timeout:g} s: --timeout SECONDS changes it for this run, --no-timeout takes it away"
    if error_type == "Runtime.InvalidEntrypoint" and function.runtime.startswith(("provided", "go")):
        return _entrypoint_hint(function, message)
    if error_type == "Runtime.InvalidWorkingDir":
        return f"the code folder is {function.code}: does it exist?"
    language = RUNTIMES[function.runtime].language if function.runtime in RUNTIMES else ""
    if language not in ("python", "nodejs"):
        return None
    if error_type == "Runtime.MalformedHandlerName":
        return (
            f"the handler is {function.handler!r}: a file's path without its suffix, a dot and a function, as in src/app.handler"
        )
    files = handler_files(function, language)
    file = next((path for path in files if path.is_file()), None)
    if error_type in ("Runtime.ImportModuleError", "Runtime.HandlerNotFound") and file is None:
        return _missing_file(function, files)
    if error_type == "Runtime.UserCodeSyntaxError":
        found = _SYNTAX_PLACE.search(message)
        place = f"{found[1]}:{found[2]}" if found else str(file or function.handler)
        return f"{place} does not parse with the interpreter of {function.runtime}; --debug shows which one that is"
    if error_type == "Runtime.HandlerNotFound" and file is not None:
        return _missing_export(function, file, language)
    if error_type == "Runtime.ImportModuleError":
        return _missing_package(function, message, language)
    return None


def handler_files(function: Function, language: str) -> list[Path]:
    """The files that a handler's module may be, in the order they are looked for."""
    if language == "python":
        module = function.handler.rpartition(".")[0].replace("/", os.sep)
        module = module.replace(".", os.sep) if module.count(".") and not module.startswith(".") else module
        stem = function.code / module
        return [stem.with_name(stem.name + ".py"), stem / "__init__.py"]
    folder, _, base = function.handler.rpartition("/")
    stem = function.code / folder / base.partition(".")[0]
    return [stem.with_name(stem.name + suffix) for suffix in _NODE_SUFFIXES]


def _missing_file(function: Function, files: list[Path]) -> str:
    looked_for = listed([_relative(path, function) for path in files])
    similar = [_relative(path.parent / name, function) for path in files[:1] for name in _similar(path)]
    text = f"no file for handler {function.handler}: looked for {looked_for} in {function.code}"
    if similar:
        return f"{text}; did you mean {' or '.join(similar)}?"
    if not files[0].parent.is_dir():
        return f"{text}; there is no folder {_relative(files[0].parent, function)}"
    return text


def _similar(path: Path) -> list[str]:
    return [name for name in similar_files(path) if Path(name).suffix in (".py", *_NODE_SUFFIXES, ".ts", ".rb")]


def _missing_export(function: Function, file: Path, language: str) -> str:
    wanted = (
        function.handler.rpartition(".")[2] if language == "python" else function.handler.rpartition("/")[2].partition(".")[2]
    )
    names = exported_names(file, language)
    meant = did_you_mean(wanted, names)
    text = f"{_relative(file, function)} has no {wanted!r}" + (f", did you mean {meant!r}?" if meant else "")
    return f"{text} (it has {listed(names)})" if names else text


def exported_names(file: Path, language: str) -> list[str]:
    """The names a file looks like it exports, in their order: a look at its text, not a run."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    if language == "python":
        names = [found[0] or found[1] for found in _PYTHON_NAMES.findall(text)]
        return list(dict.fromkeys(name for name in names if not name.startswith("_")))
    names = [found[0] or found[1] for found in _NODE_NAMES.findall(text)]
    for group in _NODE_LISTS.findall(text):
        for part in group.split(","):
            word = re.match(r"\s*(?:[\w$]+\s+as\s+)?([A-Za-z_$][\w$]*)", part)
            if word is not None:
                names.append(word[1])
    return list(dict.fromkeys(names))


def _missing_package(function: Function, message: str, language: str) -> str | None:
    found = _MISSING_PACKAGE.search(message)
    if found is None:
        return None
    name = found[1] or found[2]
    if language == "nodejs":
        if name.startswith((".", "/")):
            return f"a file that the handler requires is missing: {name}"
        return f"the package {name} is not in {function.code} or its layers: `npm install {name}` puts it into node_modules"
    top = name.partition(".")[0]
    folder = function.code / top
    if folder.is_dir() and not (folder / "__init__.py").exists():
        return f"the folder {top} has no __init__.py, so Python takes another module named {top} for it: add {top}/__init__.py"
    chosen = _interpreter(function)
    where = f"{chosen} -m pip install {top}" if chosen else f"pip install {top}"
    return f"the interpreter that runs this function has no {top}: `{where}`, a virtual environment (.venv), or --python chooses another"


def _interpreter(function: Function) -> str | None:
    from lambdabox.runtimes.interpreters import InterpreterCache, resolve_interpreter

    try:
        found = resolve_interpreter(
            RUNTIMES[function.runtime],
            project=function.project or function.code,
            override=None,
            environ=os.environ,
            cache=InterpreterCache.of_user(os.environ),
        )
    except LambdaboxError:
        return None
    return str(found.path)


def _entrypoint_hint(function: Function, message: str) -> str:
    bootstrap = function.code / "bootstrap"
    if not bootstrap.exists():
        return f"there is no {bootstrap}: build the executable and name it `bootstrap`"
    if "permission denied" in message:
        return f"chmod +x {bootstrap}"
    return f"{bootstrap} cannot be started: is it built for this machine, and is the interpreter of its first line here?"


def _relative(path: Path, function: Function) -> str:
    try:
        return str(path.relative_to(function.code))
    except ValueError:
        return str(path)
