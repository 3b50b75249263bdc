"""Request heads that were parsed before, recognized by their bytes.

Clients repeat themselves: a runtime polls with the same bytes thousands of times, and of an invocation's two other requests
only the path changes. The header block of a request that the parser accepted is kept; when the same bytes come again, with
a plain request line before them and the whole body behind them, the parser is not asked a second time. Blocks that change
the connection (Upgrade, Expect, chunked bodies, `Connection: close`) are never kept, and neither is one the host policy refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lambdabox.http.served import ServedExchange

if TYPE_CHECKING:
    from lambdabox.http.connection import Connection

HEADS_KEPT = 512
HEAD_BYTES = 4096
_REQUEST_LINE = re.compile(rb"(GET|POST|PUT|DELETE|HEAD|PATCH|OPTIONS) (/[!$-;=@-Z_a-z~%]*)(?:\?([!$-;=?@-Z_a-z~%]*))? HTTP/1\.1")
_NEVER = frozenset({"transfer-encoding", "upgrade", "expect", "connection"})


class SeenHeads:
    """The memory of one server."""

    __slots__ = ("_blocks", "_lines")

    def __init__(self) -> None:
        # The names and values of a block, and the length of the body it announces.
        self._blocks: dict[bytes, tuple[dict[str, str], int]] = {}
        self._lines: dict[bytes, tuple[str, str, str]] = {}

    def recognize(self, connection: Connection, data: bytes) -> ServedExchange | None:
        """The complete request that `data` begins with, if its head is known; `received` is how many bytes of `data` it is."""
        line_end = data.find(b"\r\n", 0, HEAD_BYTES)
        end = data.find(b"\r\n\r\n", line_end, line_end + HEAD_BYTES)
        if line_end < 0 or end < 0:
            return None
        known = self._blocks.get(data[line_end:end])
        if known is None:
            return None
        size = end + 4 + known[1]
        if len(data) < size:
            return None
        line = data[:line_end]
        parts = self._lines.get(line)
        if parts is None:
            parts = self._parse_line(line)
            if parts is None:
                return None
        exchange = ServedExchange(connection, parts[0], parts[1], parts[2], known[0].copy(), keep_alive=True)
        exchange.received = size
        if known[1]:
            exchange.body = data[end + 4 : size]
        return exchange

    def candidate(self, data: bytes) -> bytes | None:
        """The header block at the start of `data`, if it is one that could be remembered."""
        line_end = data.find(b"\r\n", 0, HEAD_BYTES)
        end = data.find(b"\r\n\r\n", line_end, line_end + HEAD_BYTES)
        # A plain request line makes sure that the block begins where the parser thinks it does.
        if line_end <= 0 or end < 0 or _REQUEST_LINE.fullmatch(data, 0, line_end) is None:
            return None
        return data[line_end:end]

    def remember(self, block: bytes, headers: dict[str, str]) -> None:
        """Keep a block that was parsed into `headers` and accepted."""
        if any(name in headers and headers[name].lower() != "keep-alive" for name in _NEVER):
            return
        if len(self._blocks) >= HEADS_KEPT:
            self._blocks.clear()
        self._blocks[block] = (headers.copy(), int(headers.get("content-length", "0")))

    def _parse_line(self, line: bytes) -> tuple[str, str, str] | None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            return None
        method, path, query = match.groups()
        if len(self._lines) >= HEADS_KEPT:
            self._lines.clear()
        parts = (method.decode("ascii"), path.decode("ascii"), "" if query is None else query.decode("ascii"))
        self._lines[line] = parts
        return parts
