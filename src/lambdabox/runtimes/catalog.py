"""What a function's processes are started with: a table from language to recipe.

A recipe is facts: which bootstrap, which flags, which layer folders. Nothing is started here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lambdabox.errors import ConfigError, LambdaboxError, RuntimeNotFoundError, did_you_mean, listed
from lambdabox.model.error_types import ErrorType
from lambdabox.model.function import Function
from lambdabox.model.runtimes import RUNTIMES, RuntimeIdentifier
from lambdabox.runtimes.interpreters import Interpreter, InterpreterCache, default_interpreter, resolve_interpreter

# glibc gives a freed megabyte back to the system and gets it again, page by page, for the next event: with large events that
# is a third of an invocation. The bootstrap takes these variables away before the function sees them.
_KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432"}

BOOTSTRAPS = Path(__file__).parent / "bootstraps"
SUPPORTED_LANGUAGES = ("Python", "Node.js", "OS-only (provided, go1.x)")


class EntrypointError(LambdaboxError):
    """The function has nothing that could be started: AWS answers with an error document, not with a refusal."""

    exit_code = 1

    def __init__(self, text: str, *, error_type: str = ErrorType.RUNTIME_INVALID_ENTRYPOINT, hint: str | None = None) -> None:
        super().__init__(text, hint=hint)
        self.text = text
        self.error_type = error_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a function's runtime process is started.

    `environment` holds what the language adds to the variables that every function has; it never holds a variable that
    the customer sets. `interpreter` is None where the function brings its own executable.
    """

    argv: tuple[str, ...]
    cwd: Path
    environment: dict[str, str] = field(default_factory=dict)
    framed_logs: bool = False
    interpreter: Interpreter | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What a recipe may look at."""

    function: Function
    identifier: RuntimeIdentifier
    opt: Path | None
    environ: Mapping[str, str]
    override: str | None
    cache: InterpreterCache | None

    def interpreter(self, override: str | None = None) -> Interpreter:
        project = self.function.project or self.function.code
        return resolve_interpreter(self.identifier, project=project, override=override, environ=self.environ, cache=self.cache)

    def layer_folders(self, *names: str) -> list[str]:
        """Those of the named folders that the merged layers have."""
        if self.opt is None:
            return []
        return [str(folder) for folder in (self.opt / name for name in names) if folder.is_dir()]


def known_runtime(name: str) -> RuntimeIdentifier:
    """The facts of an identifier. Raises ConfigError for one that AWS does not list."""
    identifier = RUNTIMES.get(name)
    if identifier is None:
        meant = did_you_mean(name, RUNTIMES)
        current = [known for known, facts in RUNTIMES.items() if facts.retired is None]
        hint = (f"did you mean {meant}? " if meant else "") + f"AWS's identifiers: {listed(current, most=40)}"
        raise ConfigError(f"unknown runtime {name!r}", hint=hint)
    return identifier


def prepare_launch(
    function: Function,
    *,
    opt: Path | None,
    environ: Mapping[str, str],
    interpreter: str | None = None,
    cache: InterpreterCache | None = None,
) -> Launch:
    """How `function` is started here, with its layers merged at `opt`.

    `interpreter` is what `--python` names and counts for Python functions only. Raises ConfigError (unknown identifier),
    RuntimeNotFoundError (nothing here serves it), EntrypointError (no bootstrap), UsageError (a bad `interpreter`).
    """
    identifier = known_runtime(function.runtime)
    recipe = _RECIPES.get(identifier.language)
    if recipe is None:
        raise RuntimeNotFoundError(
            function.runtime,
            (),
            hint=f"it runs {listed(SUPPORTED_LANGUAGES)}",
        )
    cache = cache or InterpreterCache.of_user(environ)
    request = _Request(function=function, identifier=identifier, opt=opt, environ=environ, override=interpreter, cache=cache)
    launch = recipe(request)
    warnings = launch.warnings
    # A runtime that nobody named follows what is here: there is nothing to warn of.
    if launch.interpreter is not None and launch.interpreter.warning is not None and not function.runtime_is_assumed:
        warnings = (launch.interpreter.warning, *warnings)
    if identifier.retired is not None and not function.runtime_is_assumed:
        warnings = (f"{identifier.name} was retired by AWS on {identifier.retired}; it still runs here", *warnings)
    return Launch(
        argv=_wrapped(launch.argv, request),
        cwd=launch.cwd,
        environment={k: v for k, v in launch.environment.items() if k not in function.environment},
        framed_logs=launch.framed_logs,
        interpreter=launch.interpreter,
        warnings=warnings,
    )


# -- recipes ----------------------------------------------------------------------------------------------------------


def _python(request: _Request) -> Launch:
    """Contract 7.1; layer folders follow the identifier, not the interpreter that serves it."""
    interpreter = request.interpreter(request.override)
    environment = {"_LAMBDABOX_RUNTIME_LIBRARY": str(runtime_library()), "_LAMBDABOX_POLLS_AHEAD": "1"}
    kept = {name: value for name, value in _KEPT_MEMORY.items() if name not in request.function.environment}
    if sys.platform == "linux" and kept:
        environment |= {**kept, "_LAMBDABOX_ALLOCATOR": ",".join(kept)}
    layers = request.layer_folders("python", f"python/lib/python{request.identifier.version}/site-packages")
    if layers:
        environment["_LAMBDABOX_LAYER_PATHS"] = os.pathsep.join(layers)
    bootstrap = BOOTSTRAPS / "python" / "bootstrap.py"
    return Launch(
        argv=(str(interpreter.path), str(bootstrap)),  # the handler is in `_HANDLER` alone: a wrapper script may change it
        cwd=request.function.code,
        environment=environment,
        framed_logs=True,
        interpreter=interpreter,
    )


def _nodejs(request: _Request) -> Launch:
    """Contract 7.2 and 6.2."""
    interpreter = request.interpreter()
    layers = request.layer_folders(f"nodejs/node{request.identifier.version}/node_modules", "nodejs/node_modules")
    bootstrap = BOOTSTRAPS / "nodejs" / "bootstrap.cjs"
    return Launch(
        argv=(str(interpreter.path), *_node_flags(request, interpreter), str(bootstrap)),
        cwd=request.function.code,
        environment={"_LAMBDABOX_POLLS_AHEAD": "1"} | ({"NODE_PATH": os.pathsep.join(layers)} if layers else {}),
        framed_logs=True,
        interpreter=interpreter,
    )


# flag: (identifiers that pass it, first and last version of Node.js that knows it) - contract 6.2, NODE_OPTIONS
_NODE_FLAGS: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]] = {
    "--no-experimental-require-module": (("nodejs20.x", "nodejs22.x"), (20, 17), (24, 999)),
    "--no-experimental-detect-module": (("nodejs22.x",), (20, 10), (24, 999)),
}


def _node_flags(request: _Request, interpreter: Interpreter) -> list[str]:
    """The flags Lambda itself passes, unless the customer's NODE_OPTIONS speaks of the same thing."""
    options = request.function.environment.get("NODE_OPTIONS", "")
    return [
        flag
        for flag, (identifiers, first, last) in _NODE_FLAGS.items()
        if request.identifier.name in identifiers
        and first <= interpreter.version <= last
        and flag.removeprefix("--no-") not in options
    ]


def _own_executable(request: _Request) -> Launch:
    """Contract 4.7: the first `bootstrap` that exists and is not a folder.

    Parity: a handler that is the absolute path of a file (AWS allows none) is that executable: so TARGET may name one.
    `go1.x` functions without a bootstrap start the executable that their handler names, as AWS did.
    """
    function = request.function
    candidates = [function.code / "bootstrap"]
    if request.opt is not None:
        candidates.append(request.opt / "bootstrap")
    named = Path(function.handler)
    if named.is_absolute():
        candidates = [named]
    elif request.identifier.language == "go" and function.handler:
        candidates.append(function.code / function.handler)
    for candidate in candidates:
        if candidate.exists() and not candidate.is_dir():
            return Launch(argv=(str(candidate),), cwd=function.code)
    raise EntrypointError(
        "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
        hint=f"looked for {listed([str(candidate) for candidate in candidates])}: build the executable and name it `bootstrap`",
    )


_RECIPES: dict[str, Callable[[_Request], Launch]] = {
    "python": _python,
    "nodejs": _nodejs,
    "provided": _own_executable,
    "go": _own_executable,
}


def _wrapped(argv: tuple[str, ...], request: _Request) -> tuple[str, ...]:
    """Contract 6.5: a managed runtime's wrapper gets the interpreter and every argument."""
    wrapper = request.function.environment.get("AWS_LAMBDA_EXEC_WRAPPER")
    if not wrapper or request.identifier.is_os_only:
        return argv
    for literal, folder in (("/opt/", request.opt), ("/var/task/", request.function.code)):
        if wrapper.startswith(literal) and folder is not None:
            return (str(folder / wrapper.removeprefix(literal)), *argv)
    return (wrapper, *argv)


def runtime_library() -> Path:
    """The folder of `lambdabox_runtime` that the Python bootstrap loads: the wheel's copy, else the checkout's."""
    packaged = BOOTSTRAPS / "python" / "lambdabox_runtime"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "runtime" / "src" / "lambdabox_runtime"


# -- which runtime a file wants ---------------------------------------------------------------------------------------

_SUFFIXES = {
    ".py": "python",
    ".js": "nodejs",
    ".mjs": "nodejs",
    ".cjs": "nodejs",
    ".ts": "nodejs",
    ".mts": "nodejs",
    ".rb": "ruby",
}


def runtime_for_handler(
    code: Path,
    handler: str,
    *,
    project: Path | None = None,
    environ: Mapping[str, str] | None = None,
    cache: InterpreterCache | None = None,
    python: str | None = None,
) -> str:
    """The identifier for a handler that names none: its file's language in the version that is used here.

    Python: the version of `python` (what `--python` names), of the project's environment or of `python3` if AWS has it, else AWS's newest. Node.js: the AWS
    version nearest to `node`. Raises ConfigError when no file says which language it is.
    """
    if handler == "bootstrap" or Path(handler).is_absolute():
        return "provided.al2023"
    folder, _, base = handler.rpartition("/")
    module = base.rpartition(".")[0]
    # Python splits at the last dot and takes those before it for folders, Node.js splits at the first dot of the base name.
    stems = {os.path.join(folder, stem) for stem in (module, module.replace(".", "/"), base.partition(".")[0])}
    found = {language for stem in stems for suffix, language in _SUFFIXES.items() if (code / (stem + suffix)).is_file()}
    if len(found) != 1:
        what = "files of several languages match" if found else "no file matches"
        raise ConfigError(f"no runtime for handler {handler!r}: {what}", hint="name one, for example --runtime python3.13")
    language = found.pop()
    if language not in ("python", "nodejs"):
        return _identifiers(language)[-1].name
    environ = os.environ if environ is None else environ
    here = default_interpreter(
        language,
        project=project or code,
        environ=environ,
        cache=cache or InterpreterCache.of_user(environ),
        override=python if language == "python" else None,
    )
    return nearest_identifier(language, here[1] if here else None)


def nearest_identifier(language: str, version: tuple[int, ...] | None) -> str:
    """AWS's identifier for a version: the same one, else (Node.js) the nearest, else the newest."""
    known = _identifiers(language)
    if version is None:
        return known[-1].name
    if language == "nodejs":
        return min(reversed(known), key=lambda facts: abs(facts.version_tuple[0] - version[0])).name
    return next((facts.name for facts in known if facts.version_tuple == version[: len(facts.version_tuple)]), known[-1].name)


def _identifiers(language: str) -> list[RuntimeIdentifier]:
    """A language's identifiers by version, without previews."""
    facts = [known for known in RUNTIMES.values() if known.language == language and known.deprecation is not None]
    return sorted(facts, key=lambda known: known.version_tuple)
