"""What is needed once per function before its environments can start: layers merged, the launch prepared, variables known."""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lambdabox.layers.merge import external_extensions, merge_layers
from lambdabox.model.function import Function, partition
from lambdabox.model.names import log_stream_name
from lambdabox.model.runtimes import RUNTIMES
from lambdabox.protocol.environment_variables import (
    CREDENTIALS,
    HOST_VARIABLES,
    Surroundings,
    extension_environment,
    runtime_environment,
)
from lambdabox.runtimes.catalog import EntrypointError, Launch, prepare_launch

_AWS_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_AWS_LIBRARY_PATH = ("/var/lang/lib", "/lib64", "/usr/lib64", "/var/runtime", "/var/runtime/lib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What of this machine every function sees: the host's variables and the options that choose interpreters and credentials."""

    environ: Mapping[str, str]
    interpreter: str | None = None
    passes_credentials: bool = True
    extra: Mapping[str, str] | None = None  # defaults below the function's own variables


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """A function made ready: everything about its processes but the address of their Runtime API."""

    function: Function
    machine: Machine
    opt: Path | None
    extensions: tuple[Path, ...]
    launch: Launch | None
    entrypoint_error: EntrypointError | None
    warnings: tuple[str, ...]

    @property
    def extension_names(self) -> tuple[str, ...]:
        return tuple(path.name for path in self.extensions)

    @property
    def working_directory(self) -> Path:
        """Where processes other than the runtime start."""
        code = self.function.code
        return code if code.is_dir() else Path("/")

    @property
    def runtime_version(self) -> str | None:
        """The runtime's version as INIT_START shows it; `lambdabox` stands where AWS counts its builds."""
        identifier = RUNTIMES.get(self.function.runtime)
        if identifier is None:
            return None
        version = identifier.version or identifier.name.partition(".")[2] or identifier.name
        return f"{identifier.language}:{version}.lambdabox"

    @property
    def runtime_version_arn(self) -> str:
        """An ARN of AWS's form; its digits stand for no build of AWS's."""
        digits = f"{zlib.crc32((self.runtime_version or '').encode()):08x}" * 8
        return f"arn:{partition(self.function.region)}:lambda:{self.function.region}::runtime:{digits}"

    def log_stream(self, instance: str) -> str:
        """The log stream of an environment."""
        function = self.function
        date = datetime.now(UTC).strftime("%Y/%m/%d")
        return log_stream_name(
            date, function.version, instance, custom_group_of=function.name if function.log_group is not None else None
        )

    def surroundings(self, *, runtime_api: str, tmp: str, log_stream: str) -> Surroundings:
        """What one environment of the function adds."""
        environ = self.machine.environ
        opt = self.opt
        # AWS has the interpreter's own folder, /var/lang/bin, in front: a function's subprocesses find the Python they run on.
        interpreter = self.launch.interpreter if self.launch is not None else None
        search = [] if interpreter is None else [str(interpreter.path.parent)]
        search += [folder for folder in _AWS_PATH if os.path.isdir(folder) and folder not in search]
        library = [folder for folder in _AWS_LIBRARY_PATH if os.path.isdir(folder)] if sys.platform == "linux" else []
        code = str(self.function.code)
        library += [folder for folder in (code, f"{code}/lib") if folder == code or os.path.isdir(folder)]
        if opt is not None:
            search += [folder for folder in (f"{opt}/bin",) if os.path.isdir(folder)]
            library += [folder for folder in (f"{opt}/lib",) if os.path.isdir(folder)]
        search += [folder for folder in environ.get("PATH", "").split(os.pathsep) if folder and folder not in search]
        credentials = (
            {name: environ[name] for name in CREDENTIALS if environ.get(name)} if self.machine.passes_credentials else {}
        )
        return Surroundings(
            runtime_api=runtime_api,
            task_root=code,
            tmp=tmp,
            log_stream_name=log_stream,
            search_path=os.pathsep.join(search),
            library_path=os.pathsep.join(library),
            language_setting=_locale(),
            initialization_type=self.function.initialization_type,
            credentials=credentials,
            language=self.launch.environment if self.launch is not None else {},
            host={name: environ[name] for name in HOST_VARIABLES if name in environ} | {"HOME": tmp},
            defaults=self.machine.extra or {},
        )

    def runtime_variables(self, surroundings: Surroundings) -> dict[str, str]:
        return runtime_environment(self.function, surroundings)

    def extension_variables(self, surroundings: Surroundings) -> dict[str, str]:
        return extension_environment(self.function, surroundings)


def provision(function: Function, machine: Machine) -> Provision:
    """Make a function ready. Raises what `merge_layers` and `prepare_launch` raise; a missing entrypoint is kept for the caller's answer."""
    opt = merge_layers(function.layers) if function.layers else None
    extensions = (*(external_extensions(opt) if opt is not None else ()), *function.extensions)
    launch: Launch | None = None
    entrypoint_error: EntrypointError | None = None
    warnings: tuple[str, ...] = ()
    if not function.code.is_dir():
        entrypoint_error = EntrypointError(
            f"chdir {function.code}: no such file or directory", error_type="Runtime.InvalidWorkingDir"
        )
    else:
        try:
            launch = prepare_launch(function, opt=opt, environ=machine.environ, interpreter=machine.interpreter)
            warnings = launch.warnings
        except EntrypointError as error:
            entrypoint_error = error
    if function.max_concurrency > 1 and not function.is_concurrent:
        warnings += (f"max_concurrency is {function.max_concurrency}, and {function.runtime} runs one invocation at a time here",)
    return Provision(
        function=replace(function, code=function.code.resolve()),
        machine=machine,
        opt=opt,
        extensions=extensions,
        launch=launch,
        entrypoint_error=entrypoint_error,
        warnings=warnings,
    )


_found_locale: list[str] = []


def _locale() -> str:
    """AWS's en_US.UTF-8 where this machine has it, else C.UTF-8: with a locale that is missing, Ruby falls to US-ASCII."""
    if not _found_locale:
        _found_locale.append("en_US.UTF-8" if _has_locale() else "C.UTF-8")
    return _found_locale[0]


def _has_locale() -> bool:
    if sys.platform == "darwin" or os.path.isdir("/usr/lib/locale/en_US.utf8"):
        return True
    try:
        with open("/usr/lib/locale/locale-archive", "rb") as archive:
            return re.search(rb"en_US\.utf8\0", archive.read()) is not None
    except OSError:
        return False
