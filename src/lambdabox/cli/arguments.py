"""Options: declared once per command, parsed by argparse, with errors that name the option that was meant.

argparse and not a larger library, because its import is a tenth of the whole command's time budget cheaper.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lambdabox.errors import UsageError, did_you_mean


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, texts as they were written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_width())


_width_found: list[int] = []


def _width() -> int:
    if not _width_found:  # argparse makes a formatter for every option it is told
        try:
            columns = os.get_terminal_size(1).columns
        except OSError:
            columns = int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdigit() else 0
        _width_found.append(min(max(columns or 100, 60), 120) - 2)
    return _width_found[0]


class CommandParser(argparse.ArgumentParser):
    """The options of one command. `parse` raises UsageError for what cannot be right, and prints help when it is asked for."""

    def __init__(self, name: str, *, usage: str, about: str, examples: str) -> None:
        super().__init__(
            prog=f"lambdabox {name}",
            usage=f"lambdabox {name} {usage}",
            description=about,
            epilog=examples,
            formatter_class=_Formatter,
            add_help=False,
            allow_abbrev=False,
        )
        self._group: Any = self

    def group(self, title: str) -> None:
        """Options from here on stand under this heading."""
        self._group = self.add_argument_group(title)

    def option(self, *names: str, **settings: Any) -> None:
        self._group.add_argument(*names, **settings)

    def parse(self, argv: Sequence[str], show_help: Callable[[str], None]) -> argparse.Namespace | None:
        """The options; None when help was asked for and shown."""
        words = self._joined(argv)
        end = words.index("--") if "--" in words else len(words)
        if any(word in ("-h", "--help") for word in words[:end]):
            show_help(self.format_help())
            return None
        options, rest = self.parse_known_args(words)
        for word in rest:
            if word.startswith("-") and word != "--":
                self._refuse_option(word.partition("=")[0])
            raise UsageError(f"unexpected argument {word!r}", hint=f"`{self.prog} --help` shows what there is")
        return options

    def _joined(self, argv: Sequence[str]) -> list[str]:
        """The words with each option's value attached to it: a value may begin with a dash."""
        out: list[str] = []
        words = iter(argv)
        for word in words:
            if word == "--":
                out += [word, *words]
                break
            action = self._option_string_actions.get(word)
            if action is None or action.nargs == 0:
                out.append(word)
                continue
            value = next(words, None)
            if value is None:
                raise UsageError(f"{word} needs a value", hint=_help_of(self.prog, action))
            out.append(f"{_long_name(action)}={value}")
        return out

    def _refuse_option(self, word: str) -> NoReturn:
        meant = did_you_mean(word, [name for name in self._option_string_actions if name.startswith("--")])
        hint = f"did you mean {meant}?" if meant else f"`{self.prog} --help` lists the options"
        raise UsageError(f"no option {word}", hint=hint)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "), hint=f"`{self.prog} --help` shows what there is")


def _long_name(action: argparse.Action) -> str:
    return next((name for name in action.option_strings if name.startswith("--")), action.option_strings[0])


def _help_of(prog: str, action: argparse.Action) -> str:
    return f"{_long_name(action)}: {action.help}" if action.help else f"`{prog} --help` shows what there is"


# -- values -----------------------------------------------------------------------------------------------------------


def number(text: str | None, option: str, *, least: float, most: float, unit: str, whole: bool = False) -> float | None:
    """The value of an option as a number within limits, or None. Raises UsageError."""
    if text is None:
        return None
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        raise UsageError(f"{option} {text} is not a {'whole ' if whole else ''}number{unit and f' of {unit}'}") from None
    if not least <= value <= most:
        limits = f"{least:g} or more" if most == float("inf") else f"{least:g} to {most:g}"
        raise UsageError(f"{option} {text} is out of range: {limits}{unit and f' {unit}'}")
    return value
