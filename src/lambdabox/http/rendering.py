"""Response heads as bytes.

Only what a peer needs is sent: the status line, the application's own headers and the framing. There is no Date and no
Server header: nobody reads them here, and they would be rendered thousands of times a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lambdabox.errors import InternalError

Headers = Iterable[tuple[str, str]]

REASONS = {
    100: "Continue",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Payload Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n" for status, reason in REASONS.items()}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "trailer", "upgrade"})
_SEEN_LIMIT = 1024
_seen_names: set[str] = set()
_seen_heads: dict[tuple[int, tuple[tuple[str, str], ...]], str] = {}


def render_head(status: int, headers: Headers, framing: str) -> bytes:
    """The status line, the headers and the framing headers (`framing` ends every line with CRLF), with the empty line.

    Raises:
        InternalError: a header that would break the message: a line break, a bad name, or framing that is the server's own.
    """
    # One-header answers are nearly always the same constant (a content type), so they are rendered once.
    if type(headers) is tuple and len(headers) <= 1:
        key = (status, headers)
        text = _seen_heads.get(key)
        if text is None:
            text = status_line(status) + render_fields(headers)
            if len(_seen_heads) >= _SEEN_LIMIT:
                _seen_heads.clear()
            _seen_heads[key] = text
    else:
        text = status_line(status) + render_fields(headers)
    try:
        return f"{text}{framing}\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        message = f"a response header holds {error.object[error.start : error.end]!r}, which HTTP/1.1 cannot carry"
        raise InternalError(message) from error


def status_line(status: int) -> str:
    """`HTTP/1.1 200 OK` with its line end; an unknown status has no reason."""
    line = _STATUS_LINES.get(status)
    if line is None:
        if not 200 <= status <= 599:
            raise InternalError(f"{status} is not a status a response can have")
        line = f"HTTP/1.1 {status} \r\n"
    return line


def render_fields(headers: Headers) -> str:
    """Header lines, each with its line end."""
    text = ""
    count = 0
    for name, value in headers:
        if name not in _seen_names:
            _admit(name)
        text += f"{name}: {value}\r\n"
        count += 1
    # Counting line breaks once is cheaper than looking into every value, and finds the same.
    if text.count("\n") != count or text.count("\r") != count or "\0" in text:
        for name, value in headers:
            if "\r" in value or "\n" in value or "\0" in value:
                raise InternalError(f"the value of the response header {name} holds a line break or NUL: {value[:80]!r}")
        raise InternalError("a response header holds a line break or NUL")
    return text


def _admit(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise InternalError(f"{name[:80]!r} is not a header name")
    if name.lower() in _FRAMING:
        raise InternalError(f"the server sets the response header {name} itself")
    if len(_seen_names) >= _SEEN_LIMIT:
        _seen_names.clear()
    _seen_names.add(name)
