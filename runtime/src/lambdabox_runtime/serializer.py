"""From the bytes of an event to what the handler gets, and from what it returns to the bytes of the result."""

from __future__ import annotations

import gc
import marshal

try:
    import _json
except ImportError:  # an interpreter without CPython's accelerator
    _json = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Tuple, Union

    from .invocation import Body

_JSON = "application/json"
_LARGE_EVENT = (
    256 * 1024
)  # from here on the collector rests while an event is decoded: all that is new stays, and looking costs as much again
_SCALARS = frozenset((str, int, float, bool, type(None)))


class TextSerializer:
    """Leaves decoding to the handler: it gets `str`, None for an empty body, or `bytes` when the event is neither JSON nor text.

    Results become JSON; `bytes` are sent as they are.
    """

    def __init__(self) -> None:
        self._encoder = JsonEncoder(ensure_ascii=False)

    def load(self, body: Body, content_type: Optional[str]) -> Union[str, bytes, None]:
        if not body:
            return None
        kind = (content_type or _JSON).split(";", 1)[0].strip().lower()
        if kind == _JSON or kind.endswith("+json") or kind.startswith("text/"):
            return str(body, "utf-8")
        return bytes(body)

    def dump(self, result: Any) -> Tuple[bytes, str]:
        if isinstance(result, bytes):
            return result, "application/octet-stream"
        return self._encoder.encode(result), _JSON


class JsonSerializer:
    """The rules of AWS's managed Python runtimes.

    An event of any content type but application/json reaches the handler as bytes. A result of type bytes is sent as it is.
    `ensure_ascii` escapes what is not ASCII, as Python 3.11 and earlier do on Lambda.
    """

    def __init__(self, *, ensure_ascii: bool = False) -> None:
        self._encoder = JsonEncoder(ensure_ascii=ensure_ascii)
        self._scan = _scanner()

    def load(self, body: Body, content_type: Optional[str]) -> Any:
        if content_type != _JSON:
            return bytes(body)
        if len(body) < _LARGE_EVENT or not gc.isenabled():
            return self._decode(body)
        gc.disable()
        try:
            return self._decode(body)
        finally:
            gc.enable()

    def _decode(self, body: Body) -> Any:
        text = str(body, "utf-8")
        if text[:1] == "\ufeff":
            text = text[1:]
        scan = self._scan
        if scan is not None:
            bare = text.strip(" \t\n\r")
            try:
                value, end = scan(bare, 0)
            except Exception:  # noqa: BLE001 - not JSON, or too deep: said below, by `json` itself
                end = -1
            if end == len(bare):
                return value
        import json  # for its answer to the rare text that is not plain JSON, or its words on what is wrong

        return json.loads(text)

    def dump(self, result: Any) -> Tuple[bytes, str]:
        if isinstance(result, bytes):
            return result, "application/unknown"
        return self._encoder.encode(result), _JSON


class JsonEncoder:
    """JSON as Lambda's Python runtimes write it.

    `, ` and `: ` separate; NaN and the infinities appear as bare words; a Decimal is written as its own text; named tuples are
    objects and other tuples arrays; keys are coerced as `json` does.
    """

    def __init__(self, *, ensure_ascii: bool) -> None:
        self._is_ascii = ensure_ascii
        self._encode = _encoder(ensure_ascii)

    def encode(self, value: Any) -> bytes:
        if type(value) in _SCALARS or (type(value) is dict and _SCALARS.issuperset(map(type, value.values()))):
            text = self._encode(value)
        else:
            try:
                # At the speed of C this proves that nothing in the value needs the care of `_plain`: it refuses every
                # class that is not exactly a builtin one.
                marshal.dumps(value)
            except ValueError:
                text = self._encode_with_care(value)
            else:
                text = self._encode(value)
        try:
            return text.encode()
        except UnicodeEncodeError:
            # Half a surrogate pair has no UTF-8; escaped it survives.
            return JsonEncoder(ensure_ascii=True).encode(value)

    def _encode_with_care(self, value: Any) -> str:
        numbers: list[str] = []
        marker = ""
        plain = value
        if _needs_care(value, set()):
            import os

            marker = "\ue000" + os.urandom(8).hex()
            plain = _plain(value, marker, numbers, set())
        text = self._encode(plain)
        if numbers:
            shown = marker.encode("ascii", "backslashreplace").decode() if self._is_ascii else marker
            text = text.replace('"' + shown, "").replace(shown + '"', "")
        return text


def _needs_care(value: Any, above: set[int]) -> bool:
    if isinstance(value, dict):
        inside: Any = value.values()
    elif isinstance(value, (list, tuple)):
        if hasattr(value, "_asdict"):
            return True
        inside = value
    else:
        return _is_decimal(value)
    if id(value) in above:
        return False  # a circle: the encoder has the words for it
    above.add(id(value))
    found = any(_needs_care(item, above) for item in inside)
    above.discard(id(value))
    return found


def _plain(value: Any, marker: str, numbers: list[str], above: set[int]) -> Any:
    """A copy in which a Decimal is a marked string and a named tuple a dict."""
    if _is_decimal(value):
        text = "NaN" if value.is_nan() else str(value)
        numbers.append(text)
        return marker + text + marker
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) in above:
        raise ValueError("Circular reference detected")
    above.add(id(value))
    if isinstance(value, dict):
        copy: Any = {key: _plain(item, marker, numbers, above) for key, item in value.items()}
    elif hasattr(value, "_asdict"):
        copy = {key: _plain(item, marker, numbers, above) for key, item in value._asdict().items()}
    else:
        copy = [_plain(item, marker, numbers, above) for item in value]
    above.discard(id(value))
    return copy


def _is_decimal(value: Any) -> bool:
    import sys

    decimal = sys.modules.get("decimal")  # without the module there is no such value
    return decimal is not None and isinstance(value, decimal.Decimal)


def _refuse(value: Any) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class _ScannerSettings:
    """What `_json.make_scanner` reads; the same as a JSONDecoder's defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}.__getitem__
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own cache of keys, emptied by it after each call


def _scanner() -> Optional[Callable[[str, int], Tuple[Any, int]]]:
    """The C scanner under `json`, without the regular expressions that importing `json` costs a cold start."""
    try:
        scan: Callable[[str, int], Tuple[Any, int]] = _json.make_scanner(_ScannerSettings())  # type: ignore[arg-type]  # typeshed names the class after itself
        probe = '{"a": [1, 2.5, "\\u00e9", null]}'
        if scan(probe, 0) == ({"a": [1, 2.5, "\u00e9", None]}, len(probe)):
            return scan
    except Exception:  # noqa: BLE001, S110 - a private module may change in any way: `json` then does the work
        pass
    return None


def _encoder(ensure_ascii: bool) -> Callable[[Any], str]:
    """The C encoder under `json`, likewise."""
    try:
        text: Any = _json.encode_basestring_ascii if ensure_ascii else _json.encode_basestring

        def encode(value: Any) -> str:
            if isinstance(value, str):
                return text(value)  # type: ignore[no-any-return]
            make = _json.make_encoder({}, _refuse, text, None, ": ", ", ", False, False, True)
            return "".join(make(value, 0))

        if encode({"a": [1, 2.5, "\n", None], 1: float("nan")}) == '{"a": [1, 2.5, "\\n", null], "1": NaN}':
            return encode
    except Exception:  # noqa: BLE001, S110 - as above
        pass
    import json

    return json.JSONEncoder(ensure_ascii=ensure_ascii, default=_refuse).encode
