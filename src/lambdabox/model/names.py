"""How functions, environments and invocations are named (contract 5.1, 3.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lambdabox.errors import InvalidParameterValueException, ValidationException

# API model, FunctionName: partial and full ARNs, name, optional qualifier.
_FUNCTION = re.compile(
    r"(?:(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):)?"
    r"(?:(?P<account>\d{12}):)?function:|(?P<account2>\d{12}):)?"
    r"(?P<name>[a-zA-Z0-9_-]{1,140})(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]{1,128}))?"
)
_QUALIFIER = re.compile(r"\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]{1,128}")
_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionReference:
    """A function as a caller names it: plain name, partial or full ARN, with or without a qualifier."""

    name: str
    qualifier: str | None = None
    account_id: str | None = None
    region: str | None = None


def parse_function_reference(text: str, qualifier: str | None = None) -> FunctionReference:
    """The function that `text` and a separate `qualifier` name.

    Raises ValidationException when `text` is no function name, InvalidParameterValueException when the qualifiers differ.
    """
    match = _FUNCTION.fullmatch(text)
    if match is None:
        raise ValidationException(
            f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {_PATTERN}"
        )
    if qualifier is not None and _QUALIFIER.fullmatch(qualifier) is None:
        raise ValidationException(
            f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)"
        )
    own = match["qualifier"]
    if own is not None and qualifier is not None and own != qualifier:
        raise InvalidParameterValueException(
            f"The derived qualifier from the function name does not match the specified qualifier: {own} and {qualifier}"
        )
    return FunctionReference(
        name=match["name"],
        qualifier=own or qualifier,
        account_id=match["account"] or match["account2"],
        region=match["region"],
    )


def log_stream_name(date: str, version: str, instance: str, *, custom_group_of: str | None = None) -> str:
    """`YYYY/MM/DD/[version]instance`, or with the function's name in a custom log group; `date` is `YYYY/MM/DD`."""
    if custom_group_of is not None:
        return f"{date}/{custom_group_of}[{version}]{instance}"
    return f"{date}/[{version}]{instance}"
