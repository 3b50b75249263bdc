"""An environment whose processes its user starts: what stands in the place of a launch."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lambdabox.engine.provision import Machine, Provision
from lambdabox.errors import UsageError
from lambdabox.model.function import Function
from lambdabox.model.limits import MEMORY_MAX_MB, MEMORY_MIN_MB, TIMEOUT_MAX_SECONDS
from lambdabox.protocol.environment_variables import RESERVED, extension_environment, runtime_environment

RUNTIME_ROLE = "runtime"
EXTENSION_ROLE = "extension"
ROLES = (RUNTIME_ROLE, EXTENSION_ROLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfStarted:
    """How an environment treats processes that it did not start. Times in seconds.

    `external_extensions`: only these names are external, as on AWS; None: every name is. `extension_ready_timeout`: how long after the
    runtime an invocation waits for its extensions; None: until its deadline.
    """

    external_extensions: tuple[str, ...] | None = None
    extension_ready_timeout: float | None = None
    shutdown_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfStartedProvision(Provision):
    """A function of which only the configuration is known: nothing is launched, and no runtime version is claimed."""

    stream: str | None = None
    has_handler: bool = True

    @property
    def runtime_version(self) -> None:
        return None

    @property
    def runtime_version_arn(self) -> None:  # type: ignore[override]  # there is no version to have an ARN
        return None

    def log_stream(self, instance: str) -> str:
        # Not `super()`: a slotted dataclass is another class than the one its body names.
        return self.stream or Provision.log_stream(self, instance)

    def variables(self, role: str, *, runtime_api: str, log_stream: str, tmp: str | None, task_root: Path) -> dict[str, str]:
        """What a process of this role finds in its environment."""
        here = replace(
            self.surroundings(runtime_api=runtime_api, tmp=tmp or tempfile.gettempdir(), log_stream=log_stream),
            task_root=str(task_root),
            host={},
        )
        if role == EXTENSION_ROLE:
            return extension_environment(self.function, here)
        out = runtime_environment(self.function, here)
        if not self.has_handler:
            del out["_HANDLER"]
        return out


def self_started_provision(
    function: Function, *, environ: Mapping[str, str], stream: str | None, has_handler: bool
) -> SelfStartedProvision:
    """A provision for `function`."""
    return SelfStartedProvision(
        function=function,
        machine=Machine(environ=environ),
        opt=None,
        extensions=(),
        launch=None,
        entrypoint_error=None,
        warnings=(),
        stream=stream,
        has_handler=has_handler,
    )


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What a process started beside its user's own has of their shell: all but what speaks for another function."""
    return {name: value for name, value in environ.items() if name not in RESERVED}


def process_name(argv: tuple[str, ...]) -> str:
    """What a process goes by when nobody names it: its script's file name behind an interpreter, else its executable's."""
    first = os.path.basename(argv[0])
    if first.rstrip("0123456789.").lower() in _INTERPRETERS:
        for argument in argv[1:]:
            if not argument.startswith("-") and os.path.isfile(argument):
                return os.path.basename(argument)
    return first


_INTERPRETERS = frozenset({"python", "node", "nodejs", "ruby", "java", "perl", "php", "deno", "bun", "bash", "sh"})


def located(
    argv: Sequence[str | os.PathLike[str]], cwd: str | os.PathLike[str] | None, name: str | None
) -> tuple[tuple[str, ...], Path, str]:
    """A command line with its program's path (beside this Python, on PATH, or counted from the folder), the folder to run in, and a name."""
    words = tuple(os.fspath(word) for word in argv)
    if not words:
        raise UsageError("spawn_process needs a program", hint='spawn_process("python3", "runtime.py")')
    folder = Path.cwd() if cwd is None else Path(cwd).absolute()
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} does not exist")
    program = os.path.join(folder, words[0]) if os.path.dirname(words[0]) else _found(words[0])
    if program is None or not os.path.exists(program):
        raise UsageError(
            f"there is no program {words[0]}", hint="it is looked for beside this Python and on PATH; a path counts from `cwd`"
        )
    return (program, *words[1:]), folder, name or process_name(words)


def _found(program: str) -> str | None:
    """A virtual environment need not be activated for its programs to be meant."""
    return shutil.which(program, path=os.path.dirname(sys.executable)) or shutil.which(program)


def check_limits(*, memory_size: int, timeout: float, **seconds: float | None) -> None:
    """Raise UsageError for figures that cannot be right."""
    if not MEMORY_MIN_MB <= memory_size <= MEMORY_MAX_MB:
        raise UsageError(f"memory_size is {memory_size} MB: AWS takes {MEMORY_MIN_MB} to {MEMORY_MAX_MB}")
    if not (0 < timeout <= TIMEOUT_MAX_SECONDS or timeout == float("inf")):
        raise UsageError(f"timeout is {timeout:g} s: AWS takes 1 to {TIMEOUT_MAX_SECONDS}", hint='float("inf") rests deadlines')
    for name, value in seconds.items():
        if value is not None and not value >= 0:
            raise UsageError(f"{name} is {value:g} s: it cannot be less than 0")
    if seconds.get("shutdown_timeout") == float("inf"):
        raise UsageError("shutdown_timeout is infinite: extensions are told when they have to be gone", hint="give seconds")


def names_of(extensions: Iterable[str] | None) -> tuple[str, ...] | None:
    """The names of external extensions. Raises UsageError for a single string."""
    if isinstance(extensions, str):
        raise UsageError("external_extensions is one string", hint="give a list of names")
    return None if extensions is None else tuple(extensions)
