"""Zero configuration: functions found by their files, and functions that a TARGET describes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lambdabox.config.fields import handler_problem
from lambdabox.config.project import Project, RuntimeSniffer
from lambdabox.errors import ConfigError, UsageError
from lambdabox.model.function import DEFAULT_REGION, Function, SourcePlace
from lambdabox.model.runtimes import RUNTIMES

CANDIDATES = ("lambda_function.lambda_handler", "app.handler", "app.lambda_handler", "index.handler", "main.handler", "bootstrap")
SUFFIXES = {
    ".py": "python",
    ".js": "nodejs",
    ".mjs": "nodejs",
    ".cjs": "nodejs",
    ".ts": "nodejs",
    ".mts": "nodejs",
    ".rb": "ruby",
}
_SCANNED = {suffix: SUFFIXES[suffix] for suffix in (".py", ".js", ".mjs", ".cjs")}  # TypeScript is what these are built from
_SCAN_BYTES = 2_000_000
_NAME_MAX = 64


def load_zero(folder: Path, *, region: str | None, runtime_for: RuntimeSniffer) -> Project:
    """A folder without a project file: one function for every candidate whose file has the export."""
    functions: list[Function] = []
    for handler in CANDIDATES:
        if handler == "bootstrap":
            files = [folder / "bootstrap"] if _is_executable(folder / "bootstrap") else []
        else:
            module, _, export = handler.rpartition(".")
            paths = [(folder / (module + suffix), language) for suffix, language in _SCANNED.items()]
            files = [path for path, language in paths if path.is_file() and has_export(path, export, language)]
        many = len(files) > 1
        functions += [_function(folder, handler, file=file, region=region, runtime_for=runtime_for, many=many) for file in files]
    return Project(functions=tuple(functions), folder=folder)


def has_export(file: Path, name: str, language: str) -> bool:
    """Whether a file looks like it exports a name: a look at its text, not a run."""
    try:
        with file.open("rb") as source:
            text = source.read(_SCAN_BYTES).decode("utf-8", "replace")
    except OSError:
        return False
    word = re.escape(name)
    if language == "python":
        return re.search(
            rf"^(?:(?:async\s+)?def|class)\s+{word}\b|^{word}\s*(?::[^=\n]+)?=|^\s*(?:from|import)\b.*\b{word}\b",
            text,
            re.MULTILINE,
        ) is not None or (re.search(rf"^from\s+\S+\s+import\s*\([^)]*\b{word}\b", text, re.MULTILINE) is not None)
    return re.search(r"\bexports?\b", text) is not None and re.search(rf"\b{word}\b", text) is not None


def suffix_runtime(code: Path, handler: str, /) -> str:
    """The newest current runtime for a handler's file; used when nobody can say which interpreters are here."""
    if handler == "bootstrap" or Path(handler).is_absolute():
        return "provided.al2023"
    for stem in _stems(handler):
        for suffix, language in SUFFIXES.items():
            if (code / (stem + suffix)).is_file():
                return newest(language)
    raise ConfigError(f"no runtime for handler {handler!r}: no file matches", hint="name one, for example --runtime python3.13")


def newest(language: str) -> str:
    """AWS's newest identifier of a language that is no preview."""
    facts = [known for known in RUNTIMES.values() if known.language == language and known.deprecation is not None]
    return max(facts, key=lambda known: known.version_tuple).name


def looked_for(target: str) -> list[str]:
    """The files that would make a TARGET a handler; none when it cannot be one."""
    return [stem + suffix for stem in _stems(target) for suffix in (".py", ".js", ".mjs", ".cjs")] if "." in target else []


def function_of_path(folder: Path, target: str, *, runtime_for: RuntimeSniffer, region: str | None) -> Function | None:
    """A TARGET that is a folder (with `bootstrap`, or with what zero configuration finds) or an executable."""
    path = Path(target).expanduser()
    path = path if path.is_absolute() else folder / path
    if path.is_dir():
        path = Path(os.path.realpath(path)) if target in (".", "..") else path
        if _is_executable(path / "bootstrap"):
            return _function(path, "bootstrap", file=path / "bootstrap", region=region, runtime_for=runtime_for)
        if (path / "bootstrap").is_file():
            raise UsageError(f"{path / 'bootstrap'} is not executable", hint=f"chmod +x {path / 'bootstrap'}")
        found = load_zero(path, region=region, runtime_for=runtime_for)
        if len(found.functions) == 1:
            return found.functions[0]
        what = "several handlers" if found.functions else "no `bootstrap` and no handler"
        raise UsageError(f"the folder {target} has {what}", hint="name a handler, for example src/app.handler")
    if _is_executable(path) and path.suffix not in SUFFIXES:
        if path.name == "bootstrap":
            return _function(path.parent, "bootstrap", file=path, region=region, runtime_for=runtime_for)
        return _function(path.parent, str(path.absolute()), file=path, region=region, runtime_for=runtime_for)
    if path.is_file() and path.suffix in SUFFIXES:
        example = f"{os.path.splitext(target)[0]}.handler"
        raise UsageError(f"{target} is a file, not a handler", hint=f"name the function in it, for example {example}")
    return None


def function_of_handler(
    folder: Path, target: str, *, runtime: str | None, runtime_for: RuntimeSniffer, region: str | None
) -> Function | None:
    """A TARGET that is a handler whose file exists; with `runtime`, any handler."""
    if Path(target).is_absolute() and Path(target).is_relative_to(folder):
        target = str(Path(target).relative_to(folder))
    target = target.removeprefix("./")  # what a shell completes; Python would take the dot for a relative import
    looks_like_one = "." in target.rpartition("/")[2].lstrip(".") or "::" in target
    if not looks_like_one and runtime is None:
        return None
    problem = handler_problem(target)
    if problem is not None:
        raise ConfigError(
            problem, hint="run from the folder that holds the code, and name the handler from there: src/app.handler"
        )
    files = (folder / (stem + suffix) for stem in _stems(target) for suffix in SUFFIXES)
    file = next((path for path in files if path.is_file()), None)
    if file is None and runtime is None:
        return None
    return _function(folder, target, file=file, region=region, runtime_for=runtime_for, runtime=runtime)


def _function(
    code: Path,
    handler: str,
    *,
    file: Path | None,
    region: str | None,
    runtime_for: RuntimeSniffer,
    runtime: str | None = None,
    many: bool = False,
) -> Function:
    is_assumed = runtime is None
    if runtime is None:  # of several files with one name each knows only its own language
        runtime = newest(SUFFIXES[file.suffix]) if many and file is not None else runtime_for(code, handler)
    code = code.absolute()
    return Function(
        name=function_name(code.name),
        key=handler if handler != "bootstrap" and not Path(handler).is_absolute() else function_name(code.name),
        handler=handler,
        runtime=runtime,
        runtime_is_assumed=is_assumed,
        code=code,
        region=region or DEFAULT_REGION,
        project=code,
        source=SourcePlace(file=file) if file is not None else None,
    )


def function_name(text: str) -> str:
    """A name that AWS allows for a function, made of any text."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:_NAME_MAX] or "function"


def _stems(handler: str) -> list[str]:
    """A handler's file without its suffix: Python splits at the last dot, Node.js at the first of the base name."""
    folder, slash, base = handler.rpartition("/")
    stems = [folder + slash + base.rpartition(".")[0], folder + slash + base.partition(".")[0]]
    dotted = handler.rpartition(".")[0].replace(".", "/")  # pkg.module.handler
    return [stem for stem in dict.fromkeys([*stems, dotted]) if stem and not stem.endswith("/")]


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
