"""`lambdabox invoke`: run a function once, print what it gives."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lambdabox.cli.arguments import CommandParser
from lambdabox.cli.console import Console
from lambdabox.errors import SandboxUnavailableError, UsageError

if TYPE_CHECKING:
    from lambdabox.model.function import Function
    from lambdabox.model.invocation import Invocation, InvocationResult
    from lambdabox.sandbox.process import ProcessBackend
    from lambdabox.service import LambdaService

_ABOUT = """\
Run a function once in a real runtime process, and print its result.

TARGET is a function of the project file, a handler (src/app.handler), or a folder with an executable `bootstrap`.
Without it the only function of the project is meant; without a project file, the usual handler in this folder:
lambda_function.lambda_handler, app.handler, app.lambda_handler, index.handler, main.handler or bootstrap.

The result goes to standard output, unchanged; logs and everything else go to standard error."""

_EXAMPLES = """\
examples:
  lambdabox invoke hello -d '{"name": "Ada"}'        a function of serverless.yml
  lambdabox invoke src/app.handler -p event.json     a handler, an event from a file
  lambdabox invoke hello -d @event.json | jq .body   only the result is on the pipe
  cat event.json | lambdabox invoke hello            an event from a pipe
  lambdabox invoke build/                            a custom runtime: the folder with `bootstrap`
  lambdabox invoke hello --no-timeout -e DEBUG=1     with time for a debugger
  lambdabox invoke hello --output json               status, result, report and logs as one JSON document

exit codes:
  0 success   1 the function failed, crashed or timed out   2 usage or project file
  3 this machine lacks something   130 Ctrl-C   70 a fault of lambdabox"""


def parser() -> CommandParser:
    """The options of the command."""
    out = CommandParser("invoke", usage="[TARGET] [OPTIONS]", about=_ABOUT, examples=_EXAMPLES)
    out.group("function")
    out.option("target", metavar="TARGET", nargs="?", help="a function key, a handler, or a folder")
    out.option("-f", "--function", metavar="NAME", help="the same as TARGET")
    from lambdabox.cli.target import environment_options, project_options

    project_options(out)
    out.option("--handler", metavar="HANDLER", help="the handler, instead of the configured one")
    out.option("--runtime", metavar="NAME", help="the runtime identifier, for example python3.13 or nodejs22.x")
    out.option("--python", metavar="PYTHON", help="the interpreter for Python functions: a path, a version or a name on PATH")
    out.option("--memory", metavar="MB", help="memory size, 128 to 10240")
    out.option("--timeout", metavar="SECONDS", help="timeout, up to 900")
    out.option("--no-timeout", action="store_true", help="no timeout, and no limit for Init: for debuggers")
    out.option("--fresh", action="store_true", help="a new environment (always so for a single invocation)")
    out.option("--enforce-memory", action="store_true", help="end the function when it exceeds its memory size, as AWS does")
    out.group("event")
    out.option("-d", "--data", metavar="DATA", help="the event: JSON text, @FILE, file://FILE, or - for standard input")
    out.option(
        "-p", "--path", metavar="FILE", help="the event from a file: .json, .yml, .js/.mjs/.ts (its default export), or text"
    )
    out.option("--raw", action="store_true", help="send the event's text as a JSON string")
    out.option("--context", metavar="DATA", help="a JSON object that is merged over the handler's context")
    out.option("-x", "--context-path", "--contextPath", metavar="FILE", help="the same from a file")
    out.option("--client-context", metavar="DATA", help="the client context of a mobile SDK: a JSON object, or @FILE")
    out.group("environment")
    environment_options(out)
    out.option("--docker", action="store_true", help="not in this version: functions run without Docker")
    out.option("--docker-arg", metavar="ARGS", action="append", default=[], help="not in this version")
    out.group("output")
    out.option(
        "--output", metavar="FORMAT", choices=("text", "json"), default="text", help="text (default) or json: one envelope"
    )
    out.option("-v", "--verbose", "--debug", action="store_true", dest="debug", help="tell what is chosen and how long it takes")
    out.option("-h", "--help", action="store_true", help="show this text")
    return out


def run(argv: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code."""
    began = time.perf_counter()
    options = parser().parse(argv, lambda text: console.write(text.encode()))
    if options is None:
        return 0
    _refuse_docker(options)
    if options.data is not None and options.path is not None:
        raise UsageError("both -d/--data and -p/--path give the event", hint="leave one out")
    if options.context is not None and options.context_path is not None:
        raise UsageError("both --context and -x/--context-path give the context", hint="leave one out")

    # The keeper takes as long to start as the imports below: let both go on at once.
    from lambdabox.sandbox.process import ProcessBackend

    backend = ProcessBackend()
    backend.start_early()
    invoke = _Invoke(options, console, backend, began)
    try:
        return invoke.run()
    finally:
        invoke.let_go()


def _refuse_docker(options: Namespace) -> None:
    if options.docker or options.docker_arg:
        name = "--docker" if options.docker else "--docker-arg"
        raise SandboxUnavailableError(
            f"{name}: this version has no Docker sandbox",
            hint="leave it out: Python, Node.js and custom runtimes (bootstrap) run here without Docker; "
            "`lambdabox doctor` shows which",
        )


class _Invoke:
    """One run of the command, step by step; `phases` remembers how long each took."""

    def __init__(self, options: Namespace, console: Console, backend: ProcessBackend, began: float) -> None:
        self.options = options
        self.console = console
        self.backend = backend
        self.phases: list[tuple[str, float]] = []
        self._mark = began
        self.code = 0
        self._is_closed = False

    def _phase(self, name: str) -> None:
        now = time.perf_counter()
        self.phases.append((name, now - self._mark))
        self._mark = now

    def run(self) -> int:
        """From the project to the exit code."""
        import asyncio

        from lambdabox.cli import target
        from lambdabox.config.events import load_context, load_event

        options, console = self.options, self.console
        self._phase("start")
        project = target.load(options, console)
        function = target.named_function(project, options, console)
        self._phase("project")
        stdin = _stdin()
        folder = project.folder
        payload = load_event(options.data, options.path, stdin, options.raw, folder, _node)
        context = load_context(options.context, options.context_path, stdin, folder, _node)
        client_context = _client_context(options.client_context, folder)
        self._phase("event")
        from lambdabox.service import make_invocation

        invocation = make_invocation(
            function.arn,
            context=context,
            payload=payload,
            client_context=client_context,
            timeout=float("inf") if options.no_timeout else None,
        )
        self._phase("engine")
        if options.debug:
            from lambdabox.cli.debug import explain

            explain(console, function, options)
            self._phase("explaining")
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._run(function, invocation))
        finally:
            loop.close()
        self._phase("shutdown")
        if options.debug:
            for name, seconds in self.phases:
                console.debug(f"time: {name} {seconds * 1000:.1f} ms")
        return self.code

    async def _run(self, function: Function, invocation: Invocation) -> None:
        import asyncio

        from lambdabox.cli.interruption import Interruption
        from lambdabox.cli.sink import ConsoleSink, Spinner
        from lambdabox.service import LambdaService, ServiceOptions

        options, console = self.options, self.console
        sink = ConsoleSink(console)
        service = LambdaService(
            [function],
            ServiceOptions(
                reuse=not options.fresh,
                enforce_memory=options.enforce_memory,
                python=options.python,
                credentials=not options.no_credentials,
                sinks=(sink,),
                on_warning=sink.tell,
                init_timeout=float("inf") if options.no_timeout else None,
                backend=self.backend,
            ),
        )
        task = asyncio.ensure_future(service.run(function, invocation))
        spinner = Spinner(console, f"starting {function.key} ({function.runtime})") if console.stderr_is_terminal else None
        with Interruption(console, task.cancel, service.kill) as interruption:
            try:
                result = await task
                if spinner is not None:
                    spinner.stop()
                sink.end()
                self._phase("environment")
                self._show(result, function)
            except asyncio.CancelledError:
                if interruption.number is None:
                    raise
                sink.end()
                console.warning(f"interrupted: {function.key} is shut down; once more kills it at once")
            finally:
                if spinner is not None:
                    spinner.stop()
                await self._close(service)
                sink.end()
            if interruption.number is not None:
                self.code = interruption.code

    async def _close(self, service: LambdaService) -> None:
        await service.close()
        await self.backend.close()
        self._is_closed = True

    def let_go(self) -> None:
        """End the keeper of a run that came to nothing."""
        if not self._is_closed:
            import asyncio

            asyncio.run(self.backend.close())

    def _show(self, result: InvocationResult, function: Function) -> None:
        from lambdabox.cli.result import show_result

        self.code = show_result(self.console, result, function, as_envelope=self.options.output == "json")


def _stdin() -> BinaryIO | None:
    return None if sys.stdin is None else sys.stdin.buffer


def _node() -> Path:
    """The Node.js that evaluates event files written as modules."""
    from lambdabox.errors import RuntimeNotFoundError
    from lambdabox.runtimes.interpreters import InterpreterCache, default_interpreter

    found = default_interpreter("nodejs", project=None, environ=os.environ, cache=InterpreterCache.of_user(os.environ))
    if found is None:
        raise RuntimeNotFoundError("Node.js modules", ("node on PATH",))
    return found[0]


def _client_context(text: str | None, folder: Path) -> dict[str, Any] | None:
    if text is None:
        return None
    import json

    name = text.removeprefix("file://") if text.startswith("file://") else text[1:] if text.startswith("@") else None
    if name is not None:
        try:
            text = (folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--client-context: {name} cannot be read: {error}") from error
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--client-context is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("--client-context is not a JSON object", hint='for example \'{"client": {"app_title": "demo"}}\'')
    return value
