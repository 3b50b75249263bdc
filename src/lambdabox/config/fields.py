"""Values of a project file as the types a function needs, or an error that names the place."""

from __future__ import annotations

import os
import re
from typing import Any

from lambdabox.config.document import Document, Keys, dotted
from lambdabox.errors import did_you_mean, listed
from lambdabox.model.limits import HANDLER_MAX_CHARS, MEMORY_MAX_MB, MEMORY_MIN_MB, TIMEOUT_MAX_SECONDS, TIMEOUT_MIN_SECONDS
from lambdabox.model.runtimes import RUNTIMES


def kind_of(value: Any) -> str:
    """A value's type in the words of a YAML file."""
    if value is None:
        return "nothing"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), "a variable that cannot be resolved here")


def text(document: Document, keys: Keys, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise document.error(keys, f"{dotted(keys)} must be text, it is {kind_of(value)}")


def mapping(document: Document, keys: Keys, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise document.error(keys, f"{dotted(keys)} must be a mapping, it is {kind_of(value)}")


def whole(document: Document, keys: Keys, value: Any, *, least: int, most: int | None, unit: str = "") -> int:
    """A whole number in a range; text that is one counts, as Serverless has it."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,12}", value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    allowed = f"from {least} to {most}" if most is not None else f"at least {least}"
    if not isinstance(value, int) or isinstance(value, bool):
        shown = f"{value!r}" if isinstance(value, (str, float)) else kind_of(value)
        raise document.error(keys, f"{dotted(keys)} must be a whole number, {allowed}{unit}, it is {shown}")
    if value < least or (most is not None and value > most):
        raise document.error(keys, f"{dotted(keys)} is {value}, AWS Lambda allows {allowed}{unit}")
    return value


def memory_size(document: Document, keys: Keys, value: Any) -> int:
    return whole(document, keys, value, least=MEMORY_MIN_MB, most=MEMORY_MAX_MB, unit=" MB")


def timeout(document: Document, keys: Keys, value: Any) -> int:
    return whole(document, keys, value, least=TIMEOUT_MIN_SECONDS, most=TIMEOUT_MAX_SECONDS, unit=" seconds")


def choice(document: Document, keys: Keys, value: Any, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in known:
        return value
    shown = repr(value) if isinstance(value, str) else kind_of(value)
    raise document.error(keys, f"{dotted(keys)} must be {' or '.join(known)}, it is {shown}")


def runtime(document: Document, keys: Keys, value: Any) -> str:
    name = text(document, keys, value)
    if name in RUNTIMES:
        return name
    meant = did_you_mean(name, RUNTIMES)
    current = [known for known, facts in RUNTIMES.items() if facts.retired is None]
    hint = (f"did you mean {meant}? " if meant else "") + f"AWS's identifiers: {listed(current, most=40)}"
    raise document.error(keys, f"unknown runtime {name!r}", hint=hint)


def handler(document: Document, keys: Keys, value: Any) -> str:
    name = text(document, keys, value)
    problem = handler_problem(name)
    if problem is not None:
        raise document.error(
            keys, f"{dotted(keys)}: {problem}", hint="a handler is a path from the project folder: src/app.handler"
        )
    return name


def handler_problem(name: str) -> str | None:
    """What is wrong with a handler's text; None when nothing."""
    if not name.strip():
        return "the handler is empty"
    if len(name) > HANDLER_MAX_CHARS:
        return f"handler has {len(name)} characters, AWS Lambda allows {HANDLER_MAX_CHARS}"
    path = os.path.normpath(name.replace("\\", "/"))
    if path.startswith(("/", "../")) or path == ".." or re.match(r"[A-Za-z]:/", path):
        return f"handler {name!r} leaves the project folder"
    return None


def check_keys(
    document: Document, keys: Keys, value: dict[str, Any], known: frozenset[str], mistakes: dict[str, str]
) -> list[str]:
    """Refuse keys that are typing errors of known ones; returns the others that are not known."""
    unknown: list[str] = []
    for key in value:
        if key in known or key.startswith("x-"):
            continue
        meant = mistakes.get(key) or did_you_mean(key, known)
        if meant is not None:
            raise document.error((*keys, key), f"unknown key {dotted((*keys, key))}", hint=f"did you mean {meant}?")
        unknown.append(key)
    return unknown
