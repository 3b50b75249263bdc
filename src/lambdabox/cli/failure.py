"""What helps with a failed invocation: the user's frames with their source lines, and the next step."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambdabox.cli.console import BOLD, DIM, RED, Console
from lambdabox.model.function import Function
from lambdabox.model.invocation import InvocationResult

_PYTHON_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?')
_NODE_FRAME = re.compile(
    r"\s*at (?:(?:async )?(?P<name>.+?) \()?(?:file://)?(?P<file>[^()]+?):(?P<line>\d+):\d+\)?$",
)
_SOURCE_WIDTH = 160


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in a stack trace. `is_ours`: of lambdabox, or of the language's own machinery."""

    file: str
    line: int
    name: str
    is_ours: bool


def explain_failure(console: Console, result: InvocationResult, function: Function) -> None:
    """Show a failure on a terminal, and the hint on a terminal and on a pipe."""
    try:
        document = json.loads(result.payload)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        document = {}
    if console.stderr_is_terminal:
        frames = frames_of(document)
        for line in rendered_frames(console, frames, function):
            console.note(line)
    from lambdabox.cli.hints import hint_for

    hint = hint_for(function, str(document.get("errorType", "")), str(document.get("errorMessage", "")))
    if hint is not None:
        console.hint(hint)


def frames_of(document: dict[str, Any]) -> list[Frame]:
    """The frames of an error document, the innermost last, whatever language wrote it."""
    python, node = document.get("stackTrace"), document.get("trace")
    if isinstance(python, list):
        found = [_PYTHON_FRAME.match(entry) for entry in python if isinstance(entry, str)]
    elif isinstance(node, list):
        found = [_NODE_FRAME.match(entry) for entry in reversed(node) if isinstance(entry, str)]
    else:
        return []
    return [
        Frame(match["file"], int(match["line"]), match["name"] or "module level", _is_ours(match["file"]))
        for match in found
        if match is not None
    ]


def _is_ours(file: str) -> bool:
    if file.startswith(("<frozen", "node:", "internal/")):
        return True
    from lambdabox.runtimes.catalog import BOOTSTRAPS, runtime_library

    return any(Path(file).is_relative_to(folder) for folder in (BOOTSTRAPS, runtime_library()))


def rendered_frames(console: Console, frames: list[Frame], function: Function) -> list[str]:
    """The frames as lines of text; those of ours as one line that counts them."""
    if not any(not frame.is_ours for frame in frames):
        return []
    out = [console.paint("where it failed (innermost last):", RED, BOLD)]
    folded = 0
    for frame in [*frames, None]:
        if frame is not None and frame.is_ours:
            folded += 1
            continue
        if folded:
            out.append(console.paint(f"  … {folded} frame{'s' if folded > 1 else ''} of the runtime", DIM))
            folded = 0
        if frame is None:
            break
        place = f"{_short(frame.file, function)}:{frame.line}"
        out.append(f"  {console.paint(place, BOLD)} in {frame.name}")
        source = _source_line(frame)
        if source:
            out.append(f"  {console.paint(f'{frame.line:>5} |', DIM)} {source}")
    return out


def _short(file: str, function: Function) -> str:
    """A path relative to the project where it lies in it."""
    for folder in (function.project, function.code):
        if folder is not None:
            try:
                return str(Path(file).relative_to(os.path.realpath(folder)))
            except ValueError:
                continue
    return file


def _source_line(frame: Frame) -> str:
    import linecache

    text = linecache.getline(frame.file, frame.line).rstrip()
    return text if len(text) <= _SOURCE_WIDTH else text[: _SOURCE_WIDTH - 1] + "…"
