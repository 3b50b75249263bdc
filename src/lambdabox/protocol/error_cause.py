"""The X-Ray error cause that a runtime sends along with an error (contract 1.11)."""

from __future__ import annotations

import json
from typing import Any

from lambdabox.model.limits import ERROR_CAUSE_MAX_BYTES
from lambdabox.protocol.payloads import go_json

_FACTORS = (1.0, 0.8, 0.6, 0.4, 0.2)  # how much is kept of the stacks and paths, until it fits
_TEXT_MAX = (ERROR_CAUSE_MAX_BYTES - 4096) // 2  # of message and directory each, when nothing else is left
_CUT = "..."


def error_cause(text: str | bytes | None) -> bytes | None:
    """The cause as X-Ray gets it, cropped to 64 KB; None when it is not a cause or says nothing."""
    if not text:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    cause = _known_parts(document)
    return None if cause is None else _cropped(cause)


def _known_parts(document: Any) -> dict[str, Any] | None:
    """What a cause consists of, each part of its type; None when a part is not, or when all are empty."""
    if not isinstance(document, dict):
        return None
    exceptions = _listed(document.get("exceptions"), dict)
    paths = _listed(document.get("paths"), str)
    directory = document.get("working_directory") or ""
    message = document.get("message") or ""
    if exceptions is None or paths is None or not isinstance(directory, str) or not isinstance(message, str):
        return None
    if not (exceptions or paths or directory or message):
        return None
    cause: dict[str, Any] = {"exceptions": exceptions, "working_directory": directory, "paths": paths}
    if message:
        cause["message"] = message
    return cause


def _listed(value: Any, kind: type) -> list[Any] | None:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(member, kind) for member in value):
        return None
    return value


def _cropped(cause: dict[str, Any]) -> bytes:
    """The whole of it, or with less and less of its stacks and paths, or without them and with what fits of its texts."""
    for factor in _FACTORS:
        less: dict[str, Any] = {part: cause[part][: int(len(cause[part]) * factor)] for part in ("exceptions", "paths")}
        out = go_json({**cause, **less})
        if len(out) <= ERROR_CAUSE_MAX_BYTES:
            return out
    texts: dict[str, Any] = {part: _shortened(cause[part]) for part in ("message", "working_directory") if part in cause}
    return go_json({**cause, "exceptions": [], "paths": [], **texts})


def _shortened(text: str) -> str:
    """`text` in as many bytes of JSON as there is room for."""
    if len(go_json(text)) <= _TEXT_MAX + 2:
        return text
    keep = _TEXT_MAX - len(_CUT)
    cut = text[:keep]
    while len(go_json(cut)) > keep + 2:
        cut = cut[: len(cut) * keep // len(go_json(cut))]
    return cut + _CUT
