"""HTTP/1.1 on one kept connection: what a runtime needs to talk to the Runtime API, and nothing more.

A call to `/next` may wait for hours in a frozen process, so reads have no timeout. A kept connection may be gone when the process
thaws, so the first failure on one is repeated at once on a new connection; failures after that wait longer each time and
end, after some ten seconds of trying, in a TransportError. Repeating an answer is safe: the platform takes only one per request id.

An answer can take the next poll along in the same write (`ahead`): one turn of the loop is one round trip then, not two.

The socket comes from the C module under `socket`: it has the same methods, costs a tenth of the import, and stays itself when user
code patches `socket`. Python opens sockets close-on-exec, so the handler's subprocesses never hold the connection.
"""

from __future__ import annotations

import errno
from time import sleep

try:
    import _socket as socket
except ImportError:  # an interpreter without CPython's C module
    import socket  # type: ignore[no-redef]

from .errors import ConfigurationError, TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, NoReturn, Optional, Tuple

    from .invocation import Body

_BUFFER_SIZE = 64 * 1024
_HEAD_LIMIT = 2 * 1024 * 1024  # twice what Lambda allows for a request line with its headers
_JOIN_LIMIT = 32 * 1024  # up to here copying a body behind its head is cheaper than a scattered write
_ATTEMPTS = 16
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 1.0
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)  # a handler may have given SIGPIPE back its deadly default


class Response:
    """An HTTP response: header names are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Dict[str, str], body: Body) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class _ConnectionLostError(OSError):
    """The peer closed before its response was complete."""


class HttpTransport:
    """One keep-alive connection to `address`, which is `host:port` with or without a leading `http://`."""

    def __init__(self, address: str, *, pause: Callable[[float], object] = sleep) -> None:
        self._host, self._port, self._authority = parse_address(address)
        self._pause = pause
        self._socket: Optional[socket.socket] = None
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._ahead: Optional[str] = None  # the path of a GET that was sent along with the last POST
        self._early = b""  # what has come of its answer

    def get(self, path: str, headers: Iterable[Tuple[str, str]] = ()) -> Response:
        """GET, waiting for the response as long as it takes."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and self._socket is not None:
            if ahead == path:
                try:
                    return self._receive(self._socket, needs_body=True)
                except OSError as error:
                    self._forget(error)
                except BaseException:
                    self.close()
                    raise
            else:
                self.close()
        head = f"GET {path} HTTP/1.1\r\nHost: {self._authority}\r\n{_lines(headers)}\r\n"
        return self._exchange(head.encode("utf-8", "surrogateescape"), b"", needs_body=True)

    def post(self, path: str, headers: Iterable[Tuple[str, str]], body: bytes, *, ahead: Optional[str] = None) -> Response:
        """POST a body of known length; `ahead` is the path that will be got next: that request is sent along, in the same write."""
        if self._ahead is not None:
            self.close()
        head = f"POST {path} HTTP/1.1\r\nHost: {self._authority}\r\nContent-Length: {len(body)}\r\n{_lines(headers)}\r\n"
        tail = b"" if ahead is None else f"GET {ahead} HTTP/1.1\r\nHost: {self._authority}\r\n\r\n".encode()
        return self._exchange(head.encode("utf-8", "surrogateescape"), body, needs_body=False, tail=tail, ahead=ahead)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        connection, self._socket = self._socket, None
        self._ahead = None
        self._early = b""
        if connection is None:
            return
        try:
            connection.close()
        except OSError as error:
            # A handler that closed every descriptor closed ours too, and its number may be somebody else's by now.
            if error.errno != errno.EBADF:
                raise

    # -- one exchange -------------------------------------------------------------------------------------------------

    def _exchange(
        self, head: bytes, body: bytes, *, needs_body: bool, tail: bytes = b"", ahead: Optional[str] = None
    ) -> Response:
        attempts = 0
        pause = _FIRST_PAUSE_SECONDS
        while True:
            connection = self._socket
            is_kept = connection is not None
            try:
                if connection is None:
                    connection = self._connect()
                try:
                    _send(connection, head, body, tail)
                except (BrokenPipeError, ConnectionResetError):
                    # A server that refuses a body early answers, then closes: its answer may be here already.
                    response = self._receive(connection, needs_body=needs_body)
                    self.close()
                    return response
                self._ahead = ahead
                return self._receive(connection, needs_body=needs_body)
            except OSError as error:
                self._forget(error)
                if is_kept:
                    continue
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise TransportError(f"the Runtime API at {self._authority} cannot be reached: {error}") from error
                self._pause(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            except BaseException:
                # Half a response must not be taken for the start of the next one.
                self.close()
                raise

    def _connect(self) -> socket.socket:
        failure: Optional[OSError] = None
        for family, kind, protocol, _, address in self._addresses():
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(None)  # whatever default timeout user code has set
                connection.connect(address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                connection.close()
                failure = error
                continue
            self._socket = connection
            return connection
        raise failure or OSError(f"no address for {self._authority}")

    def _addresses(self) -> Iterable[Tuple[int, int, int, str, Any]]:
        if self._host.replace(".", "").isdigit():
            return ((socket.AF_INET, socket.SOCK_STREAM, 0, "", (self._host, self._port)),)
        return socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM)  # type: ignore[no-any-return,unused-ignore]

    def _forget(self, error: OSError) -> None:
        connection = self._socket
        if connection is not None and error.errno in (errno.EBADF, errno.ENOTSOCK):
            # The number is no longer our socket's: let go of it without closing it.
            self._socket = self._ahead = None
            self._early = b""
            connection.detach()
            return
        self.close()

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _receive(self, connection: socket.socket, *, needs_body: bool) -> Response:
        early = self._early
        filled = len(early)
        if filled:
            self._early = b""
            if filled > len(self._buffer):
                self._buffer = memoryview(bytearray(filled))
            self._buffer[:filled] = early
        while True:
            filled, end = self._receive_head(connection, filled)
            status, headers = parse_head(str(self._buffer[:end], "utf-8", "surrogateescape"))
            start = end + 4
            if status >= 200:
                break
            # An interim response: what follows it moves to the front.
            rest = bytes(self._buffer[start:filled])
            filled = len(rest)
            self._buffer[:filled] = rest
        keeps_open = headers.get("connection", "").lower() != "close"
        try:
            if status in (204, 304):
                body: Body = b""
                surplus = bytes(self._buffer[start:filled])
            elif "chunked" in headers.get("transfer-encoding", "").lower():
                body, surplus = self._receive_chunks(connection, start, filled)
            elif "content-length" in headers:
                body, surplus = self._receive_length(connection, _length(headers["content-length"]), start, filled)
            else:
                body, surplus = self._receive_rest(connection, start, filled)
                keeps_open = False
        except OSError:
            # The answer to a POST is its status; a body that never came does not unsay it.
            if needs_body:
                raise
            body, surplus, keeps_open = b"", b"", False
        if not keeps_open or (surplus and self._ahead is None):
            self.close()
        else:
            self._early = surplus
        return Response(status, headers, body)

    def _receive_head(self, connection: socket.socket, filled: int) -> Tuple[int, int]:
        searched = 0
        while True:
            buffer = self._buffer
            end = buffer.obj.find(b"\r\n\r\n", searched, filled)  # type: ignore[attr-defined]
            if end >= 0:
                return filled, end
            searched = max(filled - 3, 0)
            if filled == len(buffer):
                if filled >= _HEAD_LIMIT:
                    raise TransportError(f"the Runtime API at {self._authority} sent headers over {_HEAD_LIMIT} bytes")
                self._buffer = memoryview(bytearray(filled * 2))
                self._buffer[:filled] = buffer
                buffer = self._buffer
            count = connection.recv_into(buffer[filled:])
            if not count:
                raise _ConnectionLostError("the connection was closed")
            filled += count

    def _receive_length(self, connection: socket.socket, length: int, start: int, filled: int) -> Tuple[Body, bytes]:
        at_hand = filled - start
        if at_hand >= length:
            end = start + length
            return bytes(self._buffer[start:end]), bytes(self._buffer[end:filled]) if end < filled else b""
        body = bytearray(length)
        view = memoryview(body)
        view[:at_hand] = self._buffer[start:filled]
        while at_hand < length:
            count = connection.recv_into(view[at_hand:])
            if not count:
                raise _ConnectionLostError("the connection was closed within a body")
            at_hand += count
        return body, b""

    def _receive_rest(self, connection: socket.socket, start: int, filled: int) -> Tuple[Body, bytes]:
        body = bytearray(self._buffer[start:filled])
        while True:
            chunk = connection.recv(_BUFFER_SIZE)
            if not chunk:
                return body, b""
            body += chunk

    def _receive_chunks(self, connection: socket.socket, start: int, filled: int) -> Tuple[Body, bytes]:
        pending = bytearray(self._buffer[start:filled])
        body = bytearray()
        while True:
            line = self._take_line(connection, pending)
            try:
                size = int(line.split(b";", 1)[0], 16)
            except ValueError:
                _not_http(line)
            if size == 0:
                break
            while len(pending) < size + 2:
                self._more(connection, pending)
            body += memoryview(pending)[:size]
            if pending[size : size + 2] != b"\r\n":
                _not_http(pending[size : size + 2])
            pending = pending[size + 2 :]
        while self._take_line(connection, pending):
            pass  # trailers carry nothing a runtime asks for
        return body, bytes(pending)

    def _take_line(self, connection: socket.socket, pending: bytearray) -> bytes:
        while True:
            end = pending.find(b"\r\n")
            if end >= 0:
                line = bytes(pending[:end])
                del pending[: end + 2]
                return line
            if len(pending) > _HEAD_LIMIT:
                _not_http(pending[:20])
            self._more(connection, pending)

    @staticmethod
    def _more(connection: socket.socket, pending: bytearray) -> None:
        chunk = connection.recv(_BUFFER_SIZE)
        if not chunk:
            raise _ConnectionLostError("the connection was closed within a chunked body")
        pending += chunk


def parse_address(address: str) -> Tuple[str, int, str]:
    """Host, port and `Host` header of `host:port`, `[v6]:port` or either with a leading `http://`."""
    authority = address[7:] if address[:7].lower() == "http://" else address
    authority = authority.rstrip("/")
    host, separator, port = authority.rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ConfigurationError(f"AWS_LAMBDA_RUNTIME_API must be host:port, not {address!r}")
    if host[0] == "[" and host[-1] == "]":
        host = host[1:-1]
    return host, int(port), authority


def parse_head(head: str) -> Tuple[int, Dict[str, str]]:
    """The status and the headers of a response head, without its empty last line."""
    lines = head.split("\r\n")
    first = lines[0]
    if first[:7] != "HTTP/1." or not first[9:12].isdigit():
        _not_http(first[:40])
    headers = {}
    del lines[0]
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if first[7] == "0":
        headers.setdefault("connection", "close")
    return int(first[9:12]), headers


def clean_header(value: str) -> str:
    """A header value that cannot end its line: control characters become spaces."""
    if value.isprintable():
        return value
    return "".join(" " if char < " " or char == "\x7f" else char for char in value)


def _lines(headers: Iterable[Tuple[str, str]]) -> str:
    text = ""
    for name, value in headers:
        text += f"{name}: {clean_header(value)}\r\n"
    return text


def _send(connection: socket.socket, head: bytes, body: bytes, tail: bytes) -> None:
    if len(body) <= _JOIN_LIMIT:
        connection.sendall(head + body + tail if body else head + tail, _SEND_FLAGS)
        return
    sent = connection.sendmsg((head, body), (), _SEND_FLAGS) if hasattr(connection, "sendmsg") else 0
    if sent < len(head):
        connection.sendall(head[sent:], _SEND_FLAGS)
        sent = len(head)
    rest = memoryview(body)[sent - len(head) :]
    if rest:
        connection.sendall(rest, _SEND_FLAGS)
    if tail:
        connection.sendall(tail, _SEND_FLAGS)


def _length(text: str) -> int:
    if not text.isdigit():
        _not_http(text)
    return int(text)


def _not_http(what: object) -> NoReturn:
    raise TransportError(f"the Runtime API does not speak HTTP/1.1: {what!r}")
