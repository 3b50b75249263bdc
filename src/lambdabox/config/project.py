"""A project: its functions, whatever file they come from; and the one that a person means.

Loaders are a table from file names to functions that read them. A loader knows files and functions, nothing of how those run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lambdabox.config.document import Diagnostic
from lambdabox.errors import ConfigError, UsageError, did_you_mean, listed
from lambdabox.model.function import Function


class RuntimeSniffer(Protocol):
    """Says which runtime identifier a handler wants that names none."""

    def __call__(self, code: Path, handler: str, /) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The functions of a folder. `file` is None for zero configuration, where `functions` are the candidates that were found."""

    functions: tuple[Function, ...]
    folder: Path
    file: Path | None = None
    service: str | None = None
    stage: str = "dev"
    warnings: tuple[Diagnostic, ...] = ()

    def function(self, name: str) -> Function | None:
        """The function with this key, else with this deployed name."""
        by_key = (each for each in self.functions if each.key == name)
        by_name = (each for each in self.functions if each.name == name)
        return next(by_key, None) or next(by_name, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What a loader is given."""

    file: Path
    stage: str | None
    region: str | None
    environ: Mapping[str, str]
    runtime_for: RuntimeSniffer


def _serverless(request: LoadRequest) -> Project:
    from lambdabox.config.serverless import load_serverless

    return load_serverless(request)


# in order of preference: what a folder holds, and who reads it
LOADERS: tuple[tuple[tuple[str, ...], Callable[[LoadRequest], Project]], ...] = (
    (("serverless.yml", "serverless.yaml", "serverless.json"), _serverless),
)
_NOT_YET = ("serverless.ts", "serverless.js", "serverless.mjs", "serverless.cjs")


def load_project(
    folder: Path,
    *,
    config: Path | None = None,
    stage: str | None = None,
    region: str | None = None,
    environ: Mapping[str, str],
    runtime_for: RuntimeSniffer | None = None,
) -> Project:
    """The project of a folder, or of the file `config`.

    Without a project file the functions are what zero configuration finds, which may be none or several: `required_functions`
    and `find_target` say so. `runtime_for` fills in runtimes that nobody names. Raises ConfigError.
    """
    from lambdabox.config.zero import load_zero, suffix_runtime

    sniff = runtime_for or suffix_runtime
    folder = folder.absolute()
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder}")
    if config is not None:
        file = config if config.is_absolute() else folder / config
        if not file.is_file():
            known = [name for names, _ in LOADERS for name in names if (folder / name).is_file()]
            raise ConfigError(f"no project file {file}", hint=f"this folder has {listed(known)}")
        for names, loader in LOADERS:
            if file.name in names or file.suffix in {Path(name).suffix for name in names}:
                return loader(LoadRequest(file=file, stage=stage, region=region, environ=environ, runtime_for=sniff))
        readable = [name for names, _ in LOADERS for name in names]
        raise ConfigError(f"{file.name} is not a project file that can be read", hint=f"project files: {listed(readable)}")
    for names, loader in LOADERS:
        for name in names:
            if (folder / name).is_file():
                return loader(LoadRequest(file=folder / name, stage=stage, region=region, environ=environ, runtime_for=sniff))
    for name in _NOT_YET:
        if (folder / name).is_file():
            raise ConfigError(
                f"{name} is not read by this version", hint="`serverless print > serverless.yml` writes what can be read"
            )
    return load_zero(folder, region=region, runtime_for=sniff)


def required_functions(project: Project) -> tuple[Function, ...]:
    """The functions to serve. Raises ConfigError when there are none, or when zero configuration found several candidates."""
    if project.file is None:
        return (_only_candidate(project),)
    if not project.functions:
        raise ConfigError(f"{project.file.name} has no functions that can run here", hint="add one under `functions:`")
    return project.functions


def find_target(
    project: Project | Path,
    target: str | None = None,
    *,
    runtime: str | None = None,
    runtime_for: RuntimeSniffer | None = None,
    region: str | None = None,
) -> Function:
    """The function that a TARGET names: a key, a deployed name, a folder or an executable, a handler; without one, the only function.

    `runtime` is the identifier a person gave for a handler; with it the handler's file is not looked for. Raises UsageError
    that lists what is known, ConfigError for a path that leaves the project.
    """
    from lambdabox.config.zero import function_of_handler, function_of_path, suffix_runtime

    if isinstance(project, Path):
        project = Project(functions=(), folder=project.absolute())
    if target is None:
        return _only(project)
    found = project.function(target)
    if found is not None:
        return found
    sniff = runtime_for or suffix_runtime
    region = region or next((function.region for function in project.functions), None)
    found = function_of_path(project.folder, target, runtime_for=sniff, region=region)
    if found is None:
        found = function_of_handler(project.folder, target, runtime=runtime, runtime_for=sniff, region=region)
    if found is not None:
        return found
    raise _unknown(project, target)


def _only(project: Project) -> Function:
    if project.file is None:
        return _only_candidate(project)
    if len(project.functions) == 1:
        return project.functions[0]
    keys = [function.key for function in required_functions(project)]
    raise UsageError(f"{project.file.name} has {len(keys)} functions: which one?", hint=f"name one of {listed(keys)}")


def _only_candidate(project: Project) -> Function:
    from lambdabox.config.zero import CANDIDATES

    if len(project.functions) == 1:
        return project.functions[0]
    if not project.functions:
        names = next(names for names, _ in LOADERS)
        raise ConfigError(
            f"no function in {project.folder}: looked for {names[0]} and for {listed(CANDIDATES)}",
            hint="name a handler, for example `lambdabox invoke src/app.handler`, or a folder with `bootstrap`",
        )
    found = [f"{function.handler} ({function.source.file.name})" for function in project.functions if function.source is not None]
    raise ConfigError(
        f"several handlers could be meant: {listed(found)}", hint="name one, for example `lambdabox invoke app.handler`"
    )


def _unknown(project: Project, target: str) -> UsageError:
    if project.functions and project.file is not None:
        keys = [function.key for function in project.functions]
        meant = did_you_mean(target, [*keys, *(function.name for function in project.functions)])
        hint = (f"did you mean {meant}? " if meant else "") + f"functions here: {listed(keys)}"
        return UsageError(f"no function {target!r} in {project.file.name}", hint=hint)
    from lambdabox.config.zero import looked_for

    files = looked_for(target)
    if files:
        return UsageError(
            f"no file for handler {target!r} in {project.folder}: looked for {listed(files)}",
            hint="a handler is a file's path without its suffix, a dot and a function: src/app.handler",
        )
    return UsageError(
        f"no function {target!r} in {project.folder}: it is neither a folder, an executable, nor a handler",
        hint="a handler is a file's path without its suffix, a dot and a function: src/app.handler",
    )
