"""`lambdabox serve`: the Lambda API for every function of the project."""

from __future__ import annotations

import asyncio
import gc
import signal
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lambdabox.cli.arguments import CommandParser, number
from lambdabox.cli.console import BOLD, DIM, Console
from lambdabox.errors import UsageError

if TYPE_CHECKING:
    from lambdabox.cli.sink import ConsoleSink
    from lambdabox.model.function import Function
    from lambdabox.service import LambdaService, ServiceOptions

EVENT_PATIENCE_SECONDS = 2.0
"""How long Event invocations may take to finish after the first Ctrl-C: as long as AWS's longest Shutdown phase."""

_ABOUT = """\
Serve the Lambda API for every function of the project: for SDKs, the aws CLI, curl and front ends.

Functions start when they are first invoked and stay warm; concurrent invocations get environments of their own.
The endpoint's URL is the only line on standard output; everything else goes to standard error."""

_EXAMPLES = """\
examples:
  lambdabox serve                                    every function of serverless.yml
  lambdabox serve src/app.handler --port 0           one handler, on a free port
  lambdabox serve --cors http://localhost:5173       a web page of that origin may call
  aws lambda invoke --function-name my-service-dev-hello --endpoint-url http://127.0.0.1:3001 out.json
  AWS_ENDPOINT_URL_LAMBDA=http://127.0.0.1:3001 python my_script.py

Ctrl-C or SIGTERM ends it: every environment gets its Shutdown phase. A second one kills at once.
exit codes: 130 after Ctrl-C, 0 after SIGTERM or SIGHUP, 2 project file or usage, 3 the port is taken."""


def parser() -> CommandParser:
    """The options of the command."""
    from lambdabox.cli.target import environment_options, project_options

    out = CommandParser("serve", usage="[TARGET] [OPTIONS]", about=_ABOUT, examples=_EXAMPLES)
    out.group("functions")
    out.option("target", metavar="TARGET", nargs="?", help="serve this function alone: a key, a handler, or a folder")
    project_options(out)
    out.option("--python", metavar="PYTHON", help="the interpreter for Python functions: a path, a version or a name on PATH")
    environment_options(out)
    out.group("network")
    out.option("--port", metavar="PORT", default="3001", help="port to listen on (default 3001; 0 picks a free one)")
    out.option("--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    out.option(
        "--cors", metavar="ORIGIN", action="append", default=[], help="web pages of this origin may call (* for all); repeatable"
    )
    out.option(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="accept requests for this host name (* for all) besides loopback; repeatable",
    )
    out.group("environments")
    out.option("--max-concurrency", metavar="N", default="32", help="invocations at one time before callers get 429 (default 32)")
    out.option("--idle-timeout", metavar="SECONDS", default="600", help="end an environment that was idle so long (default 600)")
    out.option("--freeze", action="store_true", help="stop an environment's processes between invocations, as AWS does")
    out.option("--enforce-memory", action="store_true", help="end functions that exceed their memory size, as AWS does")
    out.option("--no-timeout", action="store_true", help="no timeouts: for debuggers")
    out.group("output")
    out.option("-q", "--quiet", action="store_true", help="no logs, no START/END/REPORT: warnings and errors only")
    out.option("-v", "--verbose", "--debug", action="store_true", dest="debug", help="tell what is chosen for each function")
    out.option("-h", "--help", action="store_true", help="show this text")
    return out


def run(argv: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code."""
    options = parser().parse(argv, lambda text: console.write(text.encode()))
    if options is None:
        return 0
    port = number(options.port, "--port", least=0, most=65535, unit="", whole=True)
    concurrency = number(options.max_concurrency, "--max-concurrency", least=1, most=100_000, unit="invocations", whole=True)
    idle = number(options.idle_timeout, "--idle-timeout", least=0, most=float("inf"), unit="seconds")
    assert port is not None
    assert concurrency is not None
    assert idle is not None
    for origin in options.cors:
        if origin != "*" and "://" not in origin:
            raise UsageError(f"--cors {origin} is no origin", hint="an origin is scheme, host and port: http://localhost:5173")
    from lambdabox.cli.target import changed, load, served_functions
    from lambdabox.service import ServiceOptions, new_event_loop

    project = load(options, console)
    if options.target is None:
        functions = served_functions(project, options, console)
    else:
        from lambdabox.cli.target import sniffed_target

        functions = changed([sniffed_target(project, options.target, options)], options, console)
    service_options = ServiceOptions(
        max_concurrency=int(concurrency),
        idle_timeout=idle,
        freeze=options.freeze,
        enforce_memory=options.enforce_memory,
        python=options.python,
        credentials=not options.no_credentials,
        init_timeout=float("inf") if options.no_timeout else None,
    )
    if options.debug:
        from lambdabox.cli.debug import explain

        for function in functions:
            explain(console, function, options)
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_serve(options, console, functions, service_options, int(port)))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _serve(
    options: Namespace, console: Console, functions: list[Function], service_options: ServiceOptions, port: int
) -> int:
    from lambdabox.cli.interruption import Interruption
    from lambdabox.cli.sink import ConsoleSink
    from lambdabox.servers.invoke import InvokeApiOptions
    from lambdabox.service import LambdaService

    sink = ConsoleSink(console, names_functions=len(functions) > 1)
    service_options.sinks = () if options.quiet else (sink,)  # without one nothing is rendered at all
    service_options.on_warning = sink.tell
    service = LambdaService(functions, service_options)
    api = InvokeApiOptions(
        hosts=tuple(name for name in options.allow_host if name != "*"),
        origins=tuple(options.cors),
        allows_any_host="*" in options.allow_host,
        no_timeout=options.no_timeout,
    )
    stopped = asyncio.Event()
    with Interruption(console, stopped.set, service.kill) as interruption:
        try:
            endpoint = await service.listen(options.host, port, api)
            if options.host not in ("127.0.0.1", "::1", "localhost"):
                console.warning(
                    f"{options.host} is not loopback: whoever reaches it can run these functions",
                    "--allow-host NAME names the hosts that requests may be for",
                )
            _announce(console, endpoint, functions)
            gc.freeze()  # what is here now stays: collections need not look at it again
            await stopped.wait()
            console.note("shutting down; once more kills at once")
        finally:
            await _close(service, console, sink)
    return interruption.code if interruption.number in (None, signal.SIGINT) else 0


async def _close(service: LambdaService, console: Console, sink: ConsoleSink) -> None:
    unfinished = await service.close(event_patience=EVENT_PATIENCE_SECONDS)
    sink.end()
    for key, request_id in unfinished:
        console.warning(f"{key}: Event invocation {request_id} did not finish")


def _announce(console: Console, endpoint: str, functions: list[Function]) -> None:
    """The URL alone on standard output, for scripts; the rest for people."""
    key_width = max(len(function.key) for function in functions)
    name_width = max(len(function.name) for function in functions)
    runtime_width = max(len(function.runtime) for function in functions)
    first = functions[0]
    lines = [f"The Lambda API is served at {console.paint(endpoint, BOLD)}", ""]
    for function in functions:
        name = "" if function.name == function.key else function.name
        lines.append(
            f"  {console.paint(function.key.ljust(key_width), BOLD)}  {name.ljust(name_width)}  "
            f"{function.runtime.ljust(runtime_width)}  {function.handler}".rstrip()
        )
    command = f"curl -d '{{}}' {endpoint}/2015-03-31/functions/{first.name}/invocations"
    aws = f"aws lambda invoke --endpoint-url {endpoint} --function-name {first.name} /dev/stdout"
    lines += [
        "",
        f"  {console.paint('curl', DIM)}   {command}",
        f"  {console.paint('aws', DIM)}    {aws}",
        f"  {console.paint('SDKs', DIM)}   export AWS_ENDPOINT_URL_LAMBDA={endpoint}",
        "",
        "Ctrl-C ends it.",
    ]
    console.note("\n".join(lines))
    console.write(f"{endpoint}\n".encode())
