"""`lambdabox doctor`: what this machine can run, and how to get the rest."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lambdabox.cli.arguments import CommandParser
from lambdabox.cli.console import Console
from lambdabox.runtimes.doctor import RuntimeReport, ToolReport, survey, survey_tools

_ABOUT = """\
Show what this machine can run: for every runtime identifier the interpreter that would serve it and why, and how to get
what is missing; then the tools that lambdabox makes use of. Nothing is changed."""

_EXAMPLES = """\
examples:
  lambdabox doctor
  lambdabox doctor --all                        retired identifiers too
  lambdabox doctor --output json | jq '.runtimes[] | select(.available)'

The interpreter of Python functions: --python, then VIRTUAL_ENV, then .venv or venv in the project, then the one that the
identifier names (python3.12), then the nearest, with a warning. The exit code is 0 whatever is missing."""


def parser() -> CommandParser:
    """The options of the command."""
    out = CommandParser("doctor", usage="[OPTIONS]", about=_ABOUT, examples=_EXAMPLES)
    out.group("options")
    out.option("-a", "--all", action="store_true", help="retired runtime identifiers too")
    out.option("--output", metavar="FORMAT", choices=("text", "json"), default="text", help="text (default) or json")
    out.option("--debug", action="store_true", help="show the traceback of an error")
    out.option("-h", "--help", action="store_true", help="show this text")
    return out


def run(argv: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code."""
    options = parser().parse(argv, lambda text: console.write(text.encode()))
    if options is None:
        return 0
    everything = survey(os.environ, Path.cwd())
    runtimes = [report for report in everything if options.all or options.output == "json" or report.identifier.retired is None]
    tools = survey_tools(os.environ)
    if options.output == "json":
        document = {"machine": _machine(), "runtimes": [_runtime(r) for r in runtimes], "tools": [_tool(t) for t in tools]}
        indent = 2 if console.stdout_is_terminal else None
        console.write(json.dumps(document, indent=indent).encode("utf-8", "backslashreplace") + b"\n")
    else:
        text = _tables(runtimes, tools) if console.stdout_is_terminal else _plain(runtimes, tools)
        hidden = len(everything) - len(runtimes)
        if hidden:
            text += f"\n{hidden} retired identifiers are not shown: --all shows them\n"
        console.write(text.encode("utf-8", "backslashreplace"))
    return 0


def _machine() -> dict[str, str]:
    from importlib.metadata import version

    return {
        "lambdabox": version("lambdabox"),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
    }


def _runtime(report: RuntimeReport) -> dict[str, Any]:
    return {
        "runtime": report.identifier.name,
        "retired": report.identifier.retired,
        "available": report.is_available,
        "exact": report.is_exact,
        "path": None if report.path is None else str(report.path),
        "version": report.version or None,
        "detail": report.detail,
        "get": report.get or None,
    }


def _tool(report: ToolReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "available": report.is_available,
        "used_for": report.used_for,
        "path": None if report.path is None else str(report.path),
        "version": report.version or None,
        "detail": report.detail,
        "get": report.get or None,
    }


def _status(report: RuntimeReport) -> str:
    return "no" if not report.is_available else "yes" if report.is_exact else "nearest"


def _rows(runtimes: Sequence[RuntimeReport], tools: Sequence[ToolReport]) -> tuple[list[list[str]], list[list[str]]]:
    first = [
        [
            report.identifier.name,
            _status(report),
            report.version or "-",
            str(report.path or "-"),
            report.detail + (f"; get it: {report.get}" if report.get else ""),
        ]
        for report in runtimes
    ]
    second = [
        [
            tool.name,
            "yes" if tool.is_available else "no",
            tool.version or "-",
            str(tool.path or "-"),
            f"for {tool.used_for}" + (f"; {tool.detail}" if tool.detail else "") + (f"; get it: {tool.get}" if tool.get else ""),
        ]
        for tool in tools
    ]
    return first, second


_HEADS = (["RUNTIME", "RUNS", "VERSION", "SERVED BY", "WHY"], ["TOOL", "HERE", "VERSION", "PATH", "WHAT FOR"])


def _plain(runtimes: Sequence[RuntimeReport], tools: Sequence[ToolReport]) -> str:
    from lambdabox.cli.table import aligned

    first, second = _rows(runtimes, tools)
    head = [f"{name} {value}" for name, value in _machine().items()]
    return "\n".join([*head, "", *aligned([_HEADS[0], *first]), "", *aligned([_HEADS[1], *second])]) + "\n"


def _tables(runtimes: Sequence[RuntimeReport], tools: Sequence[ToolReport]) -> str:
    """The same as tables that fit the terminal."""
    import io

    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    width = os.get_terminal_size(1).columns or 100
    # With NO_COLOR nothing is written but letters: rich would still write bold and dim.
    plain = bool(os.environ.get("NO_COLOR"))
    rich = RichConsole(file=out, force_terminal=not plain, width=max(width, 40))
    for name, value in _machine().items():
        rich.print(Text(f"{name} {value}", style="dim"))
    colours = {"yes": "green", "nearest": "yellow", "no": "red"}
    for head, rows in zip(_HEADS, _rows(runtimes, tools), strict=True):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in head:
            table.add_column(column, overflow="fold", no_wrap=column in ("RUNTIME", "RUNS", "TOOL", "HERE", "VERSION"))
        for row in rows:
            table.add_row(*[Text(cell, style=colours[cell] if column == 1 else "") for column, cell in enumerate(row)])
        rich.print()
        rich.print(table)
    return out.getvalue()
