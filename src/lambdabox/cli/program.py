"""From arguments to an exit code: which command, and how its errors are shown."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence

from lambdabox.cli.console import BROKEN_PIPE, Console
from lambdabox.errors import LambdaboxError, UsageError, did_you_mean, listed

INTERRUPTED = 130
OUR_BUG = 70

# name: (module of lambdabox.cli, what the list of commands says)
COMMANDS: dict[str, tuple[str, str]] = {
    "invoke": ("invoke", "run a function once and print its result"),
    "serve": ("serve", "serve the Lambda API for every function of the project"),
    "simulate": ("simulate", "serve the Runtime API for a runtime or extension that you start yourself"),
    "list": ("listing", "list the functions of the project"),
    "doctor": ("doctor", "show what this machine can run, and how to get the rest"),
}

_USAGE = """\
usage: lambdabox COMMAND [OPTIONS]

AWS Lambda on your own machine: real runtimes on a real Runtime API, without Docker and without an account.

commands:
{commands}

options:
  -h, --help     show this text; `lambdabox COMMAND --help` explains a command
  --version      show the version

examples:
  lambdabox invoke src/app.handler -d '{{"name": "Ada"}}'
  lambdabox invoke hello -p event.json       a function of serverless.yml
  lambdabox serve                            then AWS_ENDPOINT_URL_LAMBDA=http://127.0.0.1:3001
"""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; nothing is raised. For the arguments of this process it does not return."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    console = Console()
    try:
        code = _dispatch(argv, console)
    except LambdaboxError as error:
        if error.exit_code == OUR_BUG or wants_traceback(argv):
            console.traceback()
        console.error(error.message, error.hint)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - whatever it is, it is ours, and must be told with its place
        console.traceback()
        console.error(
            f"{type(error).__name__}: {error}", "this is a fault of lambdabox: please report it with the output of --debug"
        )
        code = OUR_BUG
    console.close()
    if arguments is None and sys.gettrace() is None and sys.getprofile() is None:
        os._exit(code)  # everything is written and closed: Python's own tidying up would take as long as an invocation
    return code


def _dispatch(argv: list[str], console: Console) -> int:
    if not argv:
        console.note(usage())
        return 2
    name, *rest = argv
    if name in ("-h", "--help", "help"):
        if name == "help" and rest and rest[0] in COMMANDS:
            return _dispatch([rest[0], "--help"], console)
        console.write(usage().encode())
        return 0
    if name in ("-V", "--version", "version"):
        import importlib.metadata

        console.write(f"lambdabox {importlib.metadata.version('lambdabox')}\n".encode())
        return 0
    command = COMMANDS.get(name)
    if command is None:
        meant = did_you_mean(name, [*COMMANDS, "--help", "--version"])
        hint = (f"did you mean {meant}? " if meant else "") + f"commands: {listed(list(COMMANDS))}"
        raise UsageError(f"no {'option' if name.startswith('-') else 'command'} {name}", hint=hint)
    if name == "invoke":
        gc.disable()  # one short run: what it leaves, its end collects
        _import_asyncio(with_uvloop=False)
    elif name in ("serve", "simulate"):
        _import_asyncio(with_uvloop=True)
    import importlib

    code: int = importlib.import_module(f"lambdabox.cli.{command[0]}").run(rest, console)
    return code


def _import_asyncio(*, with_uvloop: bool) -> None:
    """Import asyncio, and uvloop, without TLS: no command speaks it through them, and OpenSSL takes a fifth of their memory and time.

    asyncio does without where Python has no TLS. uvloop only looks a few names up; where it wants more than names, it is
    imported as usual.
    """
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # how Python spells that a module cannot be imported
    try:
        import asyncio as _asyncio  # noqa: F401 - for whoever imports it next

        if with_uvloop:
            sys.modules["ssl"] = _NamesOfTls("ssl")
            with contextlib.suppress(Exception):
                import uvloop as _uvloop  # noqa: F401
    finally:
        del sys.modules["ssl"]


class _NamesOfTls(type(sys)):  # type: ignore[misc]  # the class of modules
    """What an importer may ask `ssl` for: exceptions, classes and numbers that nobody uses."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0 if name.isupper() else type(name, (Exception,), {})


def usage() -> str:
    """The text of `lambdabox --help`."""
    return _USAGE.format(commands="\n".join(f"  {name:<14} {about}" for name, (_, about) in COMMANDS.items()))


def wants_traceback(argv: Sequence[str]) -> bool:
    """Whether the user asked to see the inside of a failure."""
    return "--debug" in argv or bool(os.environ.get("LAMBDABOX_DEBUG"))
