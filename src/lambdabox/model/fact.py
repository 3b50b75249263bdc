"""Records that nobody changes, at the price of those that one may.

A dataclass that is frozen at run time takes four times as long to make, and a warm invocation makes a dozen of these. And a
dataclass compiles five methods when its module is imported: with eighty small records that is a tenth of a command's start. So
these are slotted classes with one shared equality, hash and text, and an `__init__` that is compiled when it is first called.
"""

from __future__ import annotations

from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


class Fact:
    """What all facts share."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()
    _by_name = False
    _defaults: dict[str, Any] = {}  # noqa: RUF012  # each fact has its own; nobody changes it

    def __init__(self, *args: Any, **named: Any) -> None:
        """Compile the real `__init__`, once, and go on with it."""
        cls = type(self)
        cls.__init__ = _compiled_init(cls)  # type: ignore[method-assign]
        cls.__init__(self, *args, **named)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __hash__(self) -> int:
        return hash((self.__class__, *(getattr(self, name) for name in self.__match_args__)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__match_args__)})"


@dataclass_transform(frozen_default=True)
def fact(cls: type[T]) -> type[T]:
    """Make `cls` a slotted record that is frozen to type checkers; its members may be given by place or by name."""
    return _made(cls, by_name=False)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def named_fact(cls: type[T]) -> type[T]:
    """A `fact` whose members are given by name."""
    return _made(cls, by_name=True)


def _made(cls: type[T], *, by_name: bool) -> type[T]:
    names = tuple(name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar"))
    members = {key: value for key, value in cls.__dict__.items() if key not in ("__dict__", "__weakref__")}
    defaults = {name: members.pop(name) for name in names if name in members}
    members.update(__slots__=names, __match_args__=names, _by_name=by_name, _defaults=defaults)
    return type(cls.__name__, (Fact,), members)


def _compiled_init(cls: type[Fact]) -> Any:
    names, defaults = cls.__match_args__, cls._defaults
    parameters = "".join(f", {name}=_defaults[{name!r}]" if name in defaults else f", {name}" for name in names)
    star = ", *" if cls._by_name and names else ""
    body = "; ".join(f"self.{name} = {name}" for name in names) or "pass"
    scope: dict[str, Any] = {"_defaults": defaults}
    exec(f"def __init__(self{star}{parameters}): {body}", scope)  # noqa: S102  # names of our own members
    return scope["__init__"]
