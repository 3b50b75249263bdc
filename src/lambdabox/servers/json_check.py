"""Is it JSON? The one look that is taken at an event.

Small events are decoded by the scanner of the standard library, which is loaded anyway; for large ones a validator that builds
nothing is ten times faster, and worth loading then.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from lambdabox.errors import InvalidRequestContentException

LARGE = 16 * 1024


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(parse_constant=_refuse_constant).scan_once  # type: ignore[attr-defined]  # typeshed leaves it out
_validate: list[Callable[[bytes], object]] = []


def check_json(body: bytes) -> None:
    """Raises InvalidRequestContentException unless `body` is UTF-8 and JSON (contract 5.2)."""
    try:
        if len(body) < LARGE:
            _check_small(body)
        else:
            _check_large(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestContentException(str(error) or "nested too deeply") from error


def _check_small(body: bytes) -> None:
    text = body.decode().strip(" \t\n\r")
    try:
        _, end = _scan(text, 0)
    except StopIteration as error:
        raise ValueError(f"a JSON value is expected at character {error.value}") from None
    if end != len(text):
        raise ValueError(f"there is more after the JSON value, from character {end} on")


def _check_large(body: bytes) -> None:
    if not _validate:
        import msgspec

        _validate.append(msgspec.json.Decoder(msgspec.Raw).decode)
    _validate[0](body)
    if not body.isascii():
        body.decode()
