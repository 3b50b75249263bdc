"""Serverless variables: `${self:custom.x}`, `${opt:stage, 'dev'}`, `${sls:stage}`, `${env:NAME, fallback}`.

Only what a function needs is resolved, when it is asked for. A variable of another source keeps its fallback if it has one; without one
its value is `UNRESOLVED`, and either way it is remembered for a warning. `${AWS::Region}` and `${Name}` belong to CloudFormation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from lambdabox.config.document import Document, Keys, dotted
from lambdabox.config.yaml12 import resolve_scalar


class _Unresolved:
    """The value of a variable that cannot be decided here."""

    def __repr__(self) -> str:
        return "UNRESOLVED"


UNRESOLVED: Final = _Unresolved()

_VARIABLE_START = re.compile(r"\$\{(?=[A-Za-z]+(?:\([^)]*\))?:(?!:))|\$\{(?=file\()")
_DEPTH_MAX = 50


class Variables:
    """Resolves the variables of one project file."""

    def __init__(self, document: Document, *, options: Mapping[str, str | None], environ: Mapping[str, str]) -> None:
        self.document = document
        self.options = options
        self.environ = environ
        self.stage = "dev"
        self.region = "us-east-1"
        self.account_id = ""
        self.is_settled = False  # stage and region are known: options win over what the file says of them
        self.unresolved: dict[str, Keys] = {}
        self._active: list[str] = []

    def get(self, *keys: str | int) -> Any:
        """The resolved value at a key path of the document; None where there is nothing."""
        value = self.document.data
        for index, key in enumerate(keys):
            value = self._shallow(value, keys[:index])
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and str(key).isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                return UNRESOLVED if value is UNRESOLVED else None
        return self.resolve(value, keys)

    def resolve(self, value: Any, keys: Keys) -> Any:
        """A value with every variable in it resolved; parts that cannot be are UNRESOLVED."""
        if isinstance(value, str):
            return self._text(value, keys)
        if isinstance(value, dict):
            return {key: self.resolve(item, (*keys, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, (*keys, index)) for index, item in enumerate(value)]
        return value

    def _shallow(self, value: Any, keys: Keys) -> Any:
        return self._text(value, keys) if isinstance(value, str) else value

    def _text(self, text: str, keys: Keys) -> Any:
        """A text with variables: a lone variable keeps its type, others are put into the text."""
        if "${" not in text:
            return text
        parts: list[Any] = []
        at = 0
        while (start := _VARIABLE_START.search(text, at)) is not None:
            end = _closing(text, start.end())
            if end < 0:
                raise self.document.error(keys, f"{dotted(keys)}: a variable without its closing brace: {text[start.start() :]}")
            if start.start() > at:
                parts.append(text[at : start.start()])
            parts.append(self._variable(text[start.end() : end], keys))
            at = end + 1
        if at < len(text):
            parts.append(text[at:])
        if len(parts) == 1:
            return parts[0]
        if any(part is UNRESOLVED for part in parts):
            return UNRESOLVED
        for part in parts:
            if isinstance(part, (dict, list)):
                raise self.document.error(keys, f"{dotted(keys)}: a variable inside a text must be text or a number: {text}")
        return "".join(scalar_text(part) for part in parts)

    def _variable(self, inner: str, keys: Keys) -> Any:
        """The inside of `${...}`: a source with its address, then fallbacks."""
        first, *fallbacks = _split(inner)
        if inner in self._active or len(self._active) > _DEPTH_MAX:
            chain = " -> ".join(f"${{{each}}}" for each in [*self._active[-3:], inner])
            raise self.document.error(keys, f"{dotted(keys)}: variables that need each other: {chain}")
        self._active.append(inner)
        try:
            value, is_known_source = self._source(first, keys)
            for fallback in fallbacks:
                if value is not None and value is not UNRESOLVED:
                    break
                value = self._fallback(fallback, keys)
        finally:
            self._active.pop()
        if not is_known_source:
            self.unresolved.setdefault(f"${{{first}}}", keys)
        elif value is None:
            self.unresolved.setdefault(f"${{{first}}}", keys)
            return UNRESOLVED
        return value

    def _fallback(self, text: str, keys: Keys) -> Any:
        text = text.strip()
        if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
            return text[1:-1]
        if text.startswith("${") and text.endswith("}"):
            return self._text(text, keys)
        if re.match(r"(?:self|opt|env|sls|aws):", text):  # v3 takes a source without its braces
            return self._source(text, keys)[0]
        return resolve_scalar(self._text(text, keys) if "${" in text else text)

    def _source(self, text: str, keys: Keys) -> tuple[Any, bool]:
        """The value of `source:address` and whether the source is one that is resolved here."""
        source, _, address = text.strip().partition(":")
        if "${" in address:
            inner = self._text(address, keys)
            if inner is UNRESOLVED:
                return UNRESOLVED, False
            address = scalar_text(inner)
        address = address.strip()
        if source == "self":
            path = [part for part in address.split(".") if part]
            if path in (["provider", "stage"], ["provider", "region"]) and self.is_settled:
                return (self.stage if path[1] == "stage" else self.region), True
            return self.get(*path), True
        if source == "opt":
            return self.options.get(address), True
        if source == "env":
            return self.environ.get(address), True
        if source == "sls":
            return {"stage": self.stage, "instanceId": "local"}.get(address), True
        if source == "aws" and address in ("region", "accountId"):
            return (self.region if address == "region" else self.account_id), True
        return UNRESOLVED, False


def scalar_text(value: Any) -> str:
    """A scalar as JavaScript turns it into text: `true`, `1` for 1.0, `1e+21`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number_text(value)
    return str(value)


def _number_text(value: float) -> str:
    if isinstance(value, int) and abs(value) <= 2**53:
        return str(value)
    try:
        number = float(value)
    except OverflowError:
        return "Infinity" if value > 0 else "-Infinity"
    if number != number:  # noqa: PLR0124 - not a number
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    from decimal import Decimal

    sign, digits_tuple, exponent = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digits_tuple))
    point = len(digits) + exponent  # ECMAScript, Number::toString: k = len(digits), n = point
    if number == 0:
        return "0"
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
        text = f"{mantissa}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return ("-" if sign else "") + text


def _closing(text: str, at: int) -> int:
    """The index of the brace that closes a variable, or -1."""
    depth, quote = 1, ""
    while at < len(text):
        character = text[at]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif text.startswith("${", at):
            depth += 1
            at += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return -1


def _split(inner: str) -> list[str]:
    """A variable's inside at its top-level commas."""
    parts, depth, quote, start = [], 0, "", 0
    for index, character in enumerate(inner):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "{(":
            depth += 1
        elif character in "})":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(inner[start:index])
            start = index + 1
    parts.append(inner[start:])
    return [part.strip() for part in parts]
