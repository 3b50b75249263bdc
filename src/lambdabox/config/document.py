"""A parsed project file: its values, and where each of them stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lambdabox.errors import ConfigError

Key = str | int
Keys = tuple[Key, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """Something a person should know of their project that stops nothing."""

    message: str
    file: Path | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        if self.file is None:
            return self.message
        place = ":".join(str(part) for part in (self.file.name, self.line, self.column) if part is not None)
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Plain values (dict, list, str, int, float, bool, None) and the place, from 1, of every key path.

    A place is that of the key in a mapping, and of the item in a sequence.
    """

    file: Path
    data: Any
    places: Mapping[Keys, tuple[int, int]] = field(default_factory=dict)

    def place(self, keys: Keys) -> tuple[int, int] | tuple[None, None]:
        """Line and column of a key path, or of the nearest path above it that has one."""
        while keys:
            if keys in self.places:
                return self.places[keys]
            keys = keys[:-1]
        return self.places.get((), (None, None))

    def error(self, keys: Keys, message: str, *, hint: str | None = None) -> ConfigError:
        """The error to raise for what stands at a key path."""
        line, column = self.place(keys)
        return ConfigError(message, file=self.file.name, line=line, column=column, hint=hint)

    def diagnostic(self, keys: Keys, message: str, *, hint: str | None = None) -> Diagnostic:
        line, column = self.place(keys)
        return Diagnostic(message=message, file=self.file, line=line, column=column, hint=hint)


def dotted(keys: Keys) -> str:
    """A key path as people write it: `functions.hello.memorySize`."""
    return ".".join(map(str, keys))
