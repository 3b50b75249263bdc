"""YAML 1.2 with PyYAML's C parser.

PyYAML resolves plain scalars as YAML 1.1 does, where `NO` is false, `1:30` is ninety and `012` is ten; Serverless reads 1.2.
So only the parser is PyYAML's: scalars are resolved here by the core schema of YAML 1.2, duplicate keys are refused, CloudFormation's
short tags become their long form, and every node's place is kept. Merge keys (`<<`) work, as they do in Serverless.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambdabox.config.document import Document, Keys
from lambdabox.errors import ConfigError

if TYPE_CHECKING:
    import yaml

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
_INT_DIGITS_MAX = 4000  # int() of more digits is refused by Python itself

_CORE = "tag:yaml.org,2002:"
_NODES_MAX = 50_000  # how many nodes aliases may make of a small file
_DEPTH_MAX = 200


def parse_yaml(text: str, file: Path) -> Document:
    """Parse one YAML document. Raises ConfigError with file, line and column."""
    import yaml

    loader_class: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loader = loader_class(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(
            f"not valid YAML: {problem}",
            file=file.name,
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
            hint=_yaml_hint(text, mark.line if mark else None),
        ) from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise ConfigError(f"not valid YAML: {error}", file=file.name) from error
    except RecursionError as error:
        raise ConfigError("nested too deeply", file=file.name) from error
    builder = _Builder(file, len(text))
    data = builder.build(node, (), 0) if node is not None else None
    return Document(file=file, data=data, places=builder.places)


def _yaml_hint(text: str, line: int | None) -> str | None:
    lines = text.splitlines()
    if line is not None and any("\t" in each[: len(each) - len(each.lstrip())] for each in lines[max(0, line - 1) : line + 1]):
        return "YAML does not allow tabs for indentation"
    return None


def resolve_scalar(text: str) -> Any:
    """The value of a plain scalar by the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text) and len(text) < _INT_DIGITS_MAX:
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text, 8)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INFINITY.fullmatch(text):
        return -math.inf if match[1] == "-" else math.inf
    return math.nan if text in _NAN else text


class _Builder:
    """Makes values of nodes, once for every place where an alias puts them."""

    def __init__(self, file: Path, size: int) -> None:
        self.file = file
        self.places: dict[Keys, tuple[int, int]] = {}
        self.left = _NODES_MAX + size
        self.active: set[int] = set()

    def error(self, node: yaml.Node, message: str, *, hint: str | None = None) -> ConfigError:
        mark = node.start_mark
        return ConfigError(message, file=self.file.name, line=mark.line + 1, column=mark.column + 1, hint=hint)

    def build(self, node: yaml.Node, keys: Keys, depth: int) -> Any:
        import yaml

        self.places.setdefault(keys, (node.start_mark.line + 1, node.start_mark.column + 1))
        self.left -= 1
        if self.left < 0:
            raise self.error(node, "aliases make too much of this file")
        if depth > _DEPTH_MAX:
            raise self.error(node, "nested too deeply")
        if id(node) in self.active:
            raise self.error(node, "an anchor that contains itself")
        self.active.add(id(node))
        try:
            if isinstance(node, yaml.ScalarNode):
                value = self._scalar(node)
            elif isinstance(node, yaml.SequenceNode):
                value = [self.build(item, (*keys, index), depth + 1) for index, item in enumerate(node.value)]
            else:
                assert isinstance(node, yaml.MappingNode)
                value = self._mapping(node, keys, depth)
            return self._tagged(node, value)
        finally:
            self.active.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        is_plain = not node.style  # the C parser says "" or None, the Python one None
        if node.tag in (_CORE + "str", "!") and not is_plain:
            return text
        if node.tag.startswith("!") and node.tag != "!":
            return text
        return resolve_scalar(text) if is_plain else text

    def _mapping(self, node: yaml.MappingNode, keys: Keys, depth: int) -> dict[str, Any]:
        import yaml

        out: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be text")
            key: str = key_node.value
            if key == "<<" and not key_node.style:
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            if key in out:
                raise self.error(
                    key_node, f"duplicate key {key!r}", hint=f"the first one is in line {self.places[(*keys, key)][0]}"
                )
            self.places[(*keys, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            out[key] = self.build(value_node, (*keys, key), depth + 1)
        for each in merged:
            if not isinstance(each, yaml.MappingNode):
                raise self.error(each, "<< takes a mapping or a list of mappings")
            for key, value in self.build(each, (*keys, "<<"), depth + 1).items():
                if key not in out:
                    out[key] = value
                    self.places.setdefault((*keys, key), (each.start_mark.line + 1, each.start_mark.column + 1))
        return out

    def _tagged(self, node: yaml.Node, value: Any) -> Any:
        tag: str = node.tag or ""
        if not tag.startswith("!") or tag == "!":
            if tag == _CORE + "binary":
                raise self.error(node, "binary values have no place here")
            return value
        name = tag[1:]
        if name == "Ref":
            return {"Ref": value}
        if name == "Condition":
            return {"Condition": value}
        if name == "GetAtt" and isinstance(value, str):
            resource, _, attribute = value.partition(".")
            return {"Fn::GetAtt": [resource, attribute]}
        if re.fullmatch(r"[A-Za-z0-9:]+", name):
            return {f"Fn::{name}": value}
        raise self.error(node, f"unknown tag {tag}")
