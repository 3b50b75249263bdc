"""Who may talk to a server on loopback.

Loopback is not private: any web page can make a browser send requests to it, and a name that an attacker points at 127.0.0.1
(DNS rebinding) makes them look like requests of the page's own site. Both show in the headers: the Host a rebound page sends
is the attacker's name, and a browser says where a request comes from in Origin and Sec-Fetch-Site. Programs send neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

SANDBOX_NAME = "sandbox.localdomain"  # Developer Guide, telemetry-api: the name functions use for their own environment
_SEEN_LIMIT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicy:
    """Which Host and Origin headers a server accepts, beyond its own address and the names of loopback.

    `allowed_hosts` are names with or without a port, `allowed_origins` whole origins (`http://localhost:5173`) or `*`.
    """

    allowed_hosts: Collection[str] = ()
    allow_any: bool = False
    allowed_origins: Collection[str] = ()

    def guard(self, host: str, port: int) -> HostGuard:
        """The policy of a server that listens on `host` and `port`."""
        return HostGuard(self, host, port)


class HostGuard:
    """A policy bound to an address; remembers the hosts it accepted."""

    __slots__ = (
        "_accepted",
        "_any_origin",
        "_any_port_hosts",
        "_bound",
        "_is_wildcard",
        "_origins",
        "_policy",
        "_port",
        "_port_hosts",
    )

    def __init__(self, policy: HostPolicy, host: str, port: int) -> None:
        self._policy = policy
        self._port = port
        self._bound = host.lower().strip("[]")
        self._is_wildcard = self._bound in {"", "0.0.0.0", "::"}
        allowed = [name.lower() for name in policy.allowed_hosts]
        self._any_port_hosts = {name.strip("[]") for name in allowed if split_host(name)[1] is None}
        self._port_hosts = {name for name in allowed if split_host(name)[1] is not None}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in policy.allowed_origins)
        self._any_origin = "*" in self._origins
        self._accepted: set[str] = set()

    def refusal(self, headers: Mapping[str, str]) -> str | None:
        """Why a request with these headers is not served; None: it is."""
        host = headers.get("host")
        if host is not None and host not in self._accepted:
            if not self._accepts_host(host):
                return (
                    f"the Host header {host!r} does not name this server"
                    f" (it could be a web page that rebinds its name to this machine); allow the host if it is yours"
                )
            if len(self._accepted) >= _SEEN_LIMIT:
                self._accepted.clear()
            self._accepted.add(host)
        if "origin" in headers or "sec-fetch-site" in headers:
            return self._origin_refusal(headers, host)
        return None

    def _accepts_host(self, host: str) -> bool:
        if self._policy.allow_any:
            return True
        lowered = host.lower()
        if lowered in self._port_hosts:
            return True
        name, port = split_host(lowered)
        if name in self._any_port_hosts:
            return True
        if port is not None and port != str(self._port):
            return False
        return name == self._bound or is_loopback_name(name) or (self._is_wildcard and is_address(name))

    def _origin_refusal(self, headers: Mapping[str, str], host: str | None) -> str | None:
        origin = headers.get("origin")
        if origin is not None:
            lowered = origin.lower()
            own = host is not None and lowered in {f"http://{host.lower()}", f"https://{host.lower()}"}
            if own or self._any_origin or lowered in self._origins:
                return None
            return f"the Origin header {origin!r} is not allowed: a web page of another site sent this request; allow the origin if it is yours"
        if headers.get("sec-fetch-site", "").lower() == "cross-site" and not self._any_origin:
            return "Sec-Fetch-Site says cross-site: a web page of another site sent this request"
        return None


def split_host(host: str) -> tuple[str, str | None]:
    """A Host header's name (without brackets) and port, None if it has none."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name, rest[1:] if rest.startswith(":") else None
    name, separator, port = host.rpartition(":")
    if not separator or ":" in name:  # a bare IPv6 address has colons of its own
        return host, None
    return name, port


def is_address(name: str) -> bool:
    """An IP address, which no one can rebind."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback_name(name: str) -> bool:
    """A name or an address that always means this machine."""
    name = name.removesuffix(".")
    if name in {"localhost", SANDBOX_NAME} or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
