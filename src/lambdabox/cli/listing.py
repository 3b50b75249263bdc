"""`lambdabox list`: the functions of a project."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lambdabox.cli.arguments import CommandParser
from lambdabox.cli.console import Console

_ABOUT = """\
List the functions of the project: key, deployed name, runtime and handler, one on a line."""

_EXAMPLES = """\
examples:
  lambdabox list
  lambdabox list --stage prod --output json"""


def parser() -> CommandParser:
    """The options of the command."""
    from lambdabox.cli.target import project_options

    out = CommandParser("list", usage="[OPTIONS]", about=_ABOUT, examples=_EXAMPLES)
    out.group("options")
    project_options(out)
    out.option("--output", metavar="FORMAT", choices=("text", "json"), default="text", help="text (default) or json")
    out.option("--debug", action="store_true", help="show the traceback of an error")
    out.option("-h", "--help", action="store_true", help="show this text")
    return out


def run(argv: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code."""
    options = parser().parse(argv, lambda text: console.write(text.encode()))
    if options is None:
        return 0
    from lambdabox.cli.table import aligned
    from lambdabox.cli.target import load
    from lambdabox.config.project import required_functions

    project = load(options, console)
    functions = project.functions or required_functions(project)
    if options.output == "json":
        facts = [
            {
                "Key": function.key,
                "FunctionName": function.name,
                "FunctionArn": function.arn,
                "Runtime": function.runtime,
                "Handler": function.handler,
                "Timeout": function.timeout,
                "MemorySize": function.memory_size,
            }
            for function in functions
        ]
        console.write(json.dumps(facts, indent=2 if console.stdout_is_terminal else None).encode() + b"\n")
        return 0
    rows = [[function.key, function.name, function.runtime, function.handler] for function in functions]
    console.write(("\n".join(aligned(rows)) + "\n").encode())
    return 0
