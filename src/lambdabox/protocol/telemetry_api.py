"""Subscribing to the Telemetry API and to the Logs API, on the wire (contract 3.1, 3.5).

| | Telemetry API | Logs API |
| request | PUT /2022-07-01/telemetry | PUT /2020-08-15/logs |
| schemaVersion | required: 2022-07-01, 2022-12-13, 2025-01-29 | 2020-08-15 (default), 2021-03-18 |
| a request that cannot be right | 400 ValidationError | 400 Logs.ValidationError |

What is wrong with a request is told at once, joined by `; `: the destination first, then types, buffering, schema version.

Parity: AWS takes `sandbox.localdomain` only; here a URI without a host and the loopback names are taken too, since programs
that see AWS_SAM_LOCAL (and nobody can resolve `sandbox.localdomain` without root) subscribe with them. Unknown types and malformed
members are told in words of our own. The default of maxItems is 10,000, as the guide says; the API page prints 1,000.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lambdabox.errors import RemoteProtocolError
from lambdabox.model.limits import (
    TELEMETRY_BYTES_DEFAULT,
    TELEMETRY_BYTES_MAX,
    TELEMETRY_BYTES_MIN,
    TELEMETRY_ITEMS_DEFAULT,
    TELEMETRY_ITEMS_MAX,
    TELEMETRY_ITEMS_MIN,
    TELEMETRY_PORT_RESERVED,
    TELEMETRY_TIMEOUT_DEFAULT_MS,
    TELEMETRY_TIMEOUT_MAX_MS,
    TELEMETRY_TIMEOUT_MIN_MS,
)

TELEMETRY = "telemetry"
LOGS = "logs"
TYPES = ("platform", "function", "extension")
BODY_MAX_BYTES = 1_048_576

_ROUTES = {"/2022-07-01/telemetry": TELEMETRY, "/2020-08-15/logs": LOGS}
_VERSIONS = {TELEMETRY: ("2022-07-01", "2022-12-13", "2025-01-29"), LOGS: ("2020-08-15", "2021-03-18")}
_VERSION_TEXTS = {
    TELEMETRY: "TelemetryAPI only supports the SchemaVersion released after 2021-03-18",
    LOGS: "LogsAPI only supports the following SchemaVersion: 2020-08-15, 2021-03-18",
}
_ERROR_TYPES = {TELEMETRY: "ValidationError", LOGS: "Logs.ValidationError"}
_SANDBOX = "sandbox.localdomain"
_HOSTS = frozenset({_SANDBOX, "sandbox", "", "localhost", "127.0.0.1", "0.0.0.0"})  # names, nothing binds
_PORT_MAX = 65_535
_OBJECTS_SINCE = "2022-12-13"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffering:
    """When a batch is sent: whichever of the three is reached first."""

    max_items: int = TELEMETRY_ITEMS_DEFAULT
    max_bytes: int = TELEMETRY_BYTES_DEFAULT
    timeout_ms: int = TELEMETRY_TIMEOUT_DEFAULT_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a subscriber listens; `protocol` is `HTTP` or `TCP`. Whatever `host` it says, it is the sandbox itself."""

    protocol: str
    port: int
    path: str = "/"
    method: str = "POST"
    host: str = "sandbox.localdomain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A whole parsed subscription: equal ones are the same."""

    api: str
    schema_version: str
    types: tuple[str, ...]
    buffering: Buffering
    destination: Destination

    @property
    def takes_objects(self) -> bool:
        """JSON log lines come as objects."""
        return self.api == TELEMETRY and self.schema_version >= _OBJECTS_SINCE


def route(method: str, path: str) -> str | int:
    """The API that a request subscribes to, or the status that refuses it."""
    api = _ROUTES.get(path.removesuffix("/"))
    if api is None:
        return 404
    return api if method == "PUT" else 405


def parse_subscription(api: str, body: bytes) -> Subscription:
    """A subscription, or RemoteProtocolError with everything that is wrong with it."""
    problems: list[str] = []
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _refused(api, [f"the request body is not JSON: {error}"]) from error
    if not isinstance(document, dict):
        raise _refused(api, ["the request body is not a JSON object"])
    destination = _destination(document.get("destination"), problems)
    types = _types(document.get("types"), problems)
    buffering = _buffering(document.get("buffering"), problems)
    version: Any = document.get("schemaVersion")
    if version is None and api == LOGS:
        version = _VERSIONS[LOGS][0]
    if version not in _VERSIONS[api]:
        problems.append(_VERSION_TEXTS[api])
    if problems or destination is None:
        raise _refused(api, problems)
    return Subscription(api=api, schema_version=version, types=types, buffering=buffering, destination=destination)


def _refused(api: str, problems: list[str]) -> RemoteProtocolError:
    return RemoteProtocolError("; ".join(problems), status=400, error_type=_ERROR_TYPES[api])


def _destination(found: Any, problems: list[str]) -> Destination | None:
    if not isinstance(found, dict):
        problems.append("destination should not be empty" if not found else "destination is not a JSON object")
        return None
    protocol = found.get("protocol")
    if protocol == "TCP":
        port = found.get("port")
        if port is None:
            problems.append("port is not provided")
        elif not _is_integer(port) or not 1 <= port <= _PORT_MAX:
            problems.append(f"port should be between 1 and {_PORT_MAX}")
        elif _is_free(port, problems):
            return Destination(protocol="TCP", port=port)
        return None
    if protocol != "HTTP":
        problems.append("protocol should be HTTP or TCP")
        return None
    method = found.get("method", "POST")
    if method not in ("POST", "PUT"):
        problems.append("method should be POST or PUT")
        return None
    return _http(found.get("URI"), method, problems)


def _http(uri: Any, method: str, problems: list[str]) -> Destination | None:
    if not isinstance(uri, str) or not uri:
        problems.append("URI is not provided")
        return None
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        problems.append(f"URI is not valid: {error}")
        return None
    if parts.scheme != "http":
        problems.append("Only 'http' scheme is supported.")
    elif (parts.hostname or "") not in _HOSTS:
        problems.append(f"Only '{_SANDBOX}' hostname is supported.")
    elif port is None:
        problems.append("URI port is not provided")
    elif port == 0:
        problems.append(f"port should be between 1 and {_PORT_MAX}")
    elif _is_free(port, problems):
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if path.isascii() and path.isprintable() and " " not in path:
            return Destination(protocol="HTTP", port=port, path=path, method=method, host=parts.hostname or _SANDBOX)
        problems.append("URI is not valid: its path has to be percent-encoded")
    return None


def _is_free(port: int, problems: list[str]) -> bool:
    if port == TELEMETRY_PORT_RESERVED:
        problems.append(f"port {TELEMETRY_PORT_RESERVED} is reserved")
        return False
    return True


def _types(found: Any, problems: list[str]) -> tuple[str, ...]:
    if not found:
        problems.append("types should not be empty")
    elif not isinstance(found, list) or any(kind not in TYPES for kind in found):
        problems.append("types should be platform, function or extension")
    elif len(set(found)) < len(found):
        problems.append("types should be unique")
    else:
        return tuple(found)
    return ()


def _buffering(found: Any, problems: list[str]) -> Buffering:
    if found is None:
        return Buffering()
    if not isinstance(found, dict):
        problems.append("buffering is not a JSON object")
        return Buffering()

    def read(name: str, least: int, most: int, default: int) -> int:
        value = found.get(name)
        if value is None:
            return default
        if not _is_integer(value) or not least <= value <= most:
            problems.append(f"{name} should be between {least} and {most}")
            return default
        return int(value)

    return Buffering(
        max_bytes=read("maxBytes", TELEMETRY_BYTES_MIN, TELEMETRY_BYTES_MAX, TELEMETRY_BYTES_DEFAULT),
        max_items=read("maxItems", TELEMETRY_ITEMS_MIN, TELEMETRY_ITEMS_MAX, TELEMETRY_ITEMS_DEFAULT),
        timeout_ms=read("timeoutMs", TELEMETRY_TIMEOUT_MIN_MS, TELEMETRY_TIMEOUT_MAX_MS, TELEMETRY_TIMEOUT_DEFAULT_MS),
    )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
