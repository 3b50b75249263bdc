"""What a request may be: sizes, times, and what the parser lets pass but nobody should."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer may send, and how long it may take; None is no limit."""

    head_bytes: int = 1_048_576  # Developer Guide, gettingstarted-limits: request line and header values 1 MB
    headers: int = 1000
    queued: int = 8  # pipelined requests that wait for their turn before the socket is no longer read
    waiting_bytes: int = 262_144  # body bytes kept for a request whose application has not chosen yet
    head_seconds: float | None = 60.0  # from the first byte of a request to the end of its headers
    idle_seconds: float | None = None  # between requests; the Runtime API must never close on an idle runtime
    linger_seconds: float = 2.0  # how long a refused peer may go on sending before it is cut


def request_fault(method: str, version: str, headers: dict[str, str], count: int, limits: Limits) -> tuple[int, str] | None:
    """The status and reason that refuse a head: most are ways to make two readers see two different requests."""
    if count > limits.headers:
        return 431, f"the request has more than {limits.headers} headers"
    if version not in {"1.1", "1.0"}:
        return 505, f"HTTP/{version} is not served"
    if method == "CONNECT":
        return 400, "this is not a proxy"
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if version == "1.0" or "content-length" in headers:
            return 400, "the length of the request body is ambiguous"
        if coding.lower() != "chunked":
            return 501, f"the transfer coding {coding} is not served"
    if ", " in headers.get("host", ""):
        return 400, "the request has more than one Host header"
    return None


def origin_form(target: str, headers: dict[str, str]) -> str:
    """A client that takes us for its proxy sends the whole URL, and its authority outranks Host (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        return target  # `*` of OPTIONS
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    headers["host"] = rest[:cut]
    path = rest[cut:]
    return path if path.startswith("/") else "/" + path
