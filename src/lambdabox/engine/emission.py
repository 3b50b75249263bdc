"""Something that was said in an environment, as Python values and as JSON, rendered when it is wanted and once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lambdabox.model.moment import iso
from lambdabox.model.telemetry import PlatformRecord, TelemetryEvent


class Emission:
    """Something that was said, rendered when it is wanted, and once."""

    __slots__ = ("_event", "_json", "_source", "type", "wall")

    def __init__(self, kind: str, wall: float, source: PlatformRecord | bytes) -> None:
        self.type = kind
        self.wall = wall
        self._source = source
        self._event: TelemetryEvent | None = None
        self._json: dict[bool, bytes] = {}

    def event(self, *, as_object: bool) -> TelemetryEvent:
        """The event as Python values."""
        if self._event is None:
            self._event = TelemetryEvent(time=iso(self.wall), type=self.type, record=self._record(as_object=as_object))
        return self._event

    def _record(self, *, as_object: bool) -> Any:
        source = self._source
        if not isinstance(source, bytes):
            return source.record()
        found = _object(source) if as_object else None
        return source.decode("utf-8", "replace") if found is None else found

    def json(self, *, as_object: bool) -> bytes:
        """The event as JSON; with `as_object` a log line that is a JSON object is one here too."""
        found = self._json.get(as_object)
        if found is None:
            source = self._source
            if as_object and isinstance(source, bytes) and _object(source) is not None and b"\n" not in source.strip():
                head = f'{{"time":"{iso(self.wall)}","type":"{self.type}","record":'
                found = head.encode() + source.strip() + b"}"
            else:
                event = {"time": iso(self.wall), "type": self.type, "record": self._record(as_object=as_object)}
                found = _encode(event)
            self._json[as_object] = found
        return found


_encoder: list[Callable[[Any], bytes]] = []


def _encode(value: Any) -> bytes:
    if not _encoder:
        import msgspec  # only who subscribes needs it

        _encoder.append(msgspec.json.Encoder().encode)
    try:
        return _encoder[0](value)
    except UnicodeEncodeError:  # half a character, which JSON can say and UTF-8 cannot
        import json

        return json.dumps(value, separators=(",", ":")).encode()


def _object(line: bytes) -> dict[str, Any] | None:
    from lambdabox.protocol.json_logs import json_object  # only who reads JSON logs needs it

    return json_object(line)
