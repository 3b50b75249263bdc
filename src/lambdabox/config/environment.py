"""A function's own variables: their rules (contract 6.1, 6.2), `.env` files, and `--env` over both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lambdabox.config.document import Diagnostic
from lambdabox.errors import ConfigError, UsageError, listed
from lambdabox.model.limits import ENVIRONMENT_MAX_BYTES
from lambdabox.protocol.environment_variables import RESERVED, size_of

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def name_problem(name: str) -> str | None:
    """What AWS has against a variable's name; None when nothing.

    Parity: AWS wants two characters at least; a single letter is accepted here.
    """
    if name in RESERVED:
        return f"environment variable {name} is reserved: AWS Lambda sets it and refuses it among a function's own"
    if not _NAME.fullmatch(name):
        return (
            f"environment variable {name!r} has a name that AWS Lambda refuses: "
            "a letter first, then letters, digits and underscores"
        )
    return None


def size_problem(environment: Mapping[str, str]) -> str | None:
    """What AWS has against the size of a function's variables; None when nothing."""
    size = size_of(environment)
    if size <= ENVIRONMENT_MAX_BYTES:
        return None
    largest = sorted(environment, key=lambda key: -len(environment[key]))[:3]
    return (
        f"environment variables take {size} bytes, AWS Lambda allows {ENVIRONMENT_MAX_BYTES} for all keys and values "
        f"together; the largest: {listed(largest)}"
    )


def check_environment(environment: Mapping[str, str]) -> None:
    """Names and size of variables that were given in code. Raises ConfigError."""
    for problem in (*(name_problem(name) for name in environment), size_problem(environment)):
        if problem is not None:
            raise ConfigError(problem)


def parse_pair(text: str) -> tuple[str, str]:
    """`--env A=b=c` is A with `b=c`; `A` and `A=` are empty. Raises UsageError for a name that AWS refuses."""
    name, _, value = text.partition("=")
    problem = name_problem(name)
    if problem is not None:
        raise UsageError(f"--env {text}: {problem}", hint="--env takes NAME=VALUE")
    return name, value


_LINE = re.compile(r"\s*(?:export\s+)?([^\s=#][^\s=]*)\s*=[^\S\n]*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def parse_dotenv(text: str, *, file: str) -> dict[str, str]:
    r"""The variables of a `.env` file: `NAME=value`, `export`, comments, and quotes that may span lines.

    Double quotes know `\n`, `\r`, `\t`, `\"`, `\\` and `\$`; single quotes take everything as it stands. Values are not expanded.
    Raises ConfigError with file and line.
    """
    out: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    at, line = 0, 1
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        content = text[at:end].strip()
        if not content or content.startswith("#"):
            at, line = end + 1, line + 1
            continue
        match = _LINE.match(text, at, end)
        if match is None:
            raise ConfigError(f"not NAME=VALUE: {content}", file=file, line=line)
        name, value_at = match[1], match.end()
        quote = text[value_at] if value_at < end and text[value_at] in "'\"" else ""
        if quote:
            closing = _closing_quote(text, value_at + 1, quote)
            if closing < 0:
                raise ConfigError(f"{name} has a quote that is not closed", file=file, line=line)
            value = text[value_at + 1 : closing]
            line += value.count("\n")
            if quote == '"':
                value = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), value, flags=re.DOTALL)
            end = text.find("\n", closing)
            end = len(text) if end < 0 else end
            rest = text[closing + 1 : end].strip()
            if rest and not rest.startswith("#"):
                raise ConfigError(f"{name} has text after its closing quote: {rest}", file=file, line=line)
        else:
            value = re.split(r"(?:^|\s)#", text[value_at:end], maxsplit=1)[0].strip()
        problem = name_problem(name)
        if problem is not None:
            raise ConfigError(problem, file=file, line=line)
        out[name] = value
        at, line = end + 1, line + 1
    return out


def _closing_quote(text: str, at: int, quote: str) -> int:
    while at < len(text):
        if text[at] == "\\" and quote == '"':
            at += 1
        elif text[at] == quote:
            return at
        at += 1
    return -1


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a `.env` file on disk. Raises ConfigError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no env file {path}", hint="--env-file takes the path of a file with NAME=VALUE lines") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"env file {path} cannot be read: {error}") from error
    return parse_dotenv(text, file=str(path))


def merged_environment(
    environment: Mapping[str, str], *, env_files: Sequence[Path] = (), pairs: Sequence[str] = ()
) -> tuple[dict[str, str], tuple[Diagnostic, ...]]:
    """A function's variables, then `--env-file`s in order, then `--env` pairs; the later wins.

    Over 4 KB is a warning here: it is the project's own size that AWS would refuse.
    """
    out = dict(environment)
    for path in env_files:
        out.update(read_dotenv(path))
    out.update(parse_pair(pair) for pair in pairs)
    problem = size_problem(out) if env_files or pairs else None
    return out, (Diagnostic(message=problem, hint="AWS would refuse to deploy this many"),) if problem else ()
