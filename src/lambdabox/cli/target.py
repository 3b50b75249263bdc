"""Which functions a command means, with what the command line changes of them."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lambdabox.cli.arguments import CommandParser, number
from lambdabox.cli.console import Console
from lambdabox.config.environment import merged_environment
from lambdabox.config.project import Project, find_target, load_project, required_functions
from lambdabox.errors import UsageError
from lambdabox.model.function import Function
from lambdabox.model.limits import MEMORY_MAX_MB, MEMORY_MIN_MB, TIMEOUT_MAX_SECONDS

if TYPE_CHECKING:
    from lambdabox.config.document import Diagnostic


def project_options(parser: CommandParser) -> None:
    """Options that say where the functions come from."""
    parser.option("-c", "--config", metavar="FILE", help="the project file (default: serverless.yml in this folder)")
    parser.option("-s", "--stage", metavar="NAME", help="stage (default: what the project file says, else dev)")
    parser.option("-r", "--region", metavar="NAME", help="AWS region (default: what the project file says, else us-east-1)")


def environment_options(parser: CommandParser) -> None:
    """Options that say what functions see."""
    parser.option(
        "-e", "--env", metavar="NAME=VALUE", action="append", default=[], help="environment variable; repeatable, wins over files"
    )
    parser.option(
        "--env-file", metavar="FILE", action="append", default=[], help="environment variables from a .env file; repeatable"
    )
    parser.option("--no-credentials", action="store_true", help="keep AWS credentials of this shell away from the function")


def load(options: Namespace, console: Console) -> Project:
    """The project of this folder, or of `--config`; what it warns of is told."""
    try:
        folder, config = Path.cwd(), None
    except FileNotFoundError as error:
        raise UsageError("the current folder does not exist any more", hint="change into one that does") from error
    if options.config is not None:
        config = Path(options.config).expanduser().absolute()
        folder = config if config.is_dir() else config.parent
        config = None if config.is_dir() else config

    def sniff(code: Path, handler: str, /) -> str:
        from lambdabox.runtimes.catalog import runtime_for_handler

        return runtime_for_handler(code, handler, project=folder, environ=os.environ, python=getattr(options, "python", None))

    project = load_project(
        folder, config=config, stage=options.stage, region=options.region, environ=os.environ, runtime_for=sniff
    )
    _tell(project.warnings, console)
    return project


def named_function(project: Project, options: Namespace, console: Console) -> Function:
    """The one function that TARGET, `-f` or `--handler` names, as the other options change it."""
    if options.target is not None and options.function is not None:
        raise UsageError(
            f"both TARGET ({options.target}) and -f/--function ({options.function}) name a function", hint="leave one out"
        )
    target: str | None = options.target if options.target is not None else options.function
    if target == "":
        raise UsageError("the name of the function is empty")
    if options.runtime is not None:
        from lambdabox.runtimes.catalog import known_runtime

        known_runtime(options.runtime)
    handler: str | None = options.handler
    if target is None and handler is not None:
        alone = replace(project, functions=())
        function = sniffed_target(alone, handler, options)
    else:
        function = sniffed_target(project, target, options)
        if handler is not None:
            from lambdabox.config.fields import handler_problem

            problem = handler_problem(handler)
            if problem is not None:
                raise UsageError(problem)
            function = replace(function, handler=handler)
    return changed([function], options, console)[0]


def sniffed_target(project: Project, target: str | None, options: Namespace) -> Function:
    """The function that a TARGET names; a handler's runtime follows its file and what is installed here."""

    def sniff(code: Path, handler: str, /) -> str:
        from lambdabox.runtimes.catalog import runtime_for_handler

        return runtime_for_handler(
            code, handler, project=project.folder, environ=os.environ, python=getattr(options, "python", None)
        )

    return find_target(project, target, runtime=getattr(options, "runtime", None), runtime_for=sniff, region=options.region)


def served_functions(project: Project, options: Namespace, console: Console) -> list[Function]:
    """Every function of the project, as the options change them."""
    return changed(required_functions(project), options, console)


def changed(functions: Iterable[Function], options: Namespace, console: Console) -> list[Function]:
    """Functions with the command line's environment, timeout, memory and runtime."""
    timeout = number(getattr(options, "timeout", None), "--timeout", least=0.001, most=TIMEOUT_MAX_SECONDS, unit="seconds")
    memory = number(getattr(options, "memory", None), "--memory", least=MEMORY_MIN_MB, most=MEMORY_MAX_MB, unit="MB", whole=True)
    runtime = getattr(options, "runtime", None)
    files = [Path(name).expanduser() for name in options.env_file]
    out = []
    for number_of, function in enumerate(functions):
        environment = function.environment
        notes: tuple[Diagnostic, ...] = ()
        if files or options.env:
            environment, notes = merged_environment(function.environment, env_files=files, pairs=options.env)
        if number_of == 0:
            _tell(notes, console)
        out.append(
            replace(
                function,
                environment=environment,
                timeout=function.timeout if timeout is None else timeout,
                memory_size=function.memory_size if memory is None else int(memory),
                runtime=runtime or function.runtime,
                runtime_is_assumed=function.runtime_is_assumed and runtime is None,
            )
        )
    return out


def _tell(diagnostics: Iterable[Diagnostic], console: Console) -> None:
    for diagnostic in diagnostics:
        console.warning(str(diagnostic), diagnostic.hint)
