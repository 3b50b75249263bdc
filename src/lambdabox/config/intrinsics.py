"""CloudFormation intrinsics that a project file alone can answer: Ref of pseudo parameters, Fn::Sub and Fn::Join of those."""

from __future__ import annotations

import re
from typing import Any

from lambdabox.config.variables import UNRESOLVED, scalar_text
from lambdabox.model.function import partition

_NO_VALUE = "AWS::NoValue"


def is_intrinsic(value: Any) -> bool:
    """Whether a value is `{"Ref": ...}` or `{"Fn::...": ...}`."""
    return isinstance(value, dict) and len(value) == 1 and all(key == "Ref" or key.startswith("Fn::") for key in value)


def decide(value: Any, *, region: str, account_id: str, stack: str) -> Any:
    """The value of an intrinsic, None for no value, UNRESOLVED when only AWS knows."""
    if not is_intrinsic(value):
        return value
    pseudo: dict[str, str | None] = {
        "AWS::Region": region,
        "AWS::AccountId": account_id,
        "AWS::Partition": partition(region),
        "AWS::URLSuffix": "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com",
        "AWS::StackName": stack,
        _NO_VALUE: None,
    }
    return _decide(value, pseudo)


def _decide(value: Any, pseudo: dict[str, str | None]) -> Any:
    if not is_intrinsic(value):
        return value
    ((name, argument),) = value.items()
    if name == "Ref":
        return pseudo.get(argument, UNRESOLVED) if isinstance(argument, str) else UNRESOLVED
    if name == "Fn::Sub":
        return _sub(argument, pseudo)
    if name == "Fn::Join" and isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], list):
        parts = [_decide(part, pseudo) for part in argument[1]]
        if any(isinstance(part, (dict, list)) or part is UNRESOLVED or part is None for part in parts):
            return UNRESOLVED
        return str(argument[0]).join(scalar_text(part) for part in parts)
    return UNRESOLVED


def _sub(argument: Any, pseudo: dict[str, str | None]) -> Any:
    own: dict[str, Any] = {}
    if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], dict):
        own = {name: _decide(value, pseudo) for name, value in argument[1].items()}
        argument = argument[0]
    if not isinstance(argument, str):
        return UNRESOLVED
    known = {**pseudo, **own}
    unknown: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name.startswith("!"):
            return "${" + name[1:] + "}"
        value = known.get(name, UNRESOLVED)
        if value is UNRESOLVED or value is None or isinstance(value, (dict, list)):
            unknown.append(name)
            return ""
        return scalar_text(value)

    text = re.sub(r"\$\{([^}]*)\}", replaced, argument)
    return UNRESOLVED if unknown else text
