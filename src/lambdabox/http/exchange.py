"""One HTTP request and its answer, as a server's application sees them.

The server calls the application once per request, as soon as the headers are in and either the whole body has arrived or
the bytes read so far are used up. Most requests are `complete` then and can be answered at once; for the others the
application chooses `collect` or `stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol

Headers = Iterable[tuple[str, str]]


class BodyEnd(Enum):
    """How a request body ended."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"  # shorter than declared, or the connection was cut
    OVERSIZED = "oversized"  # over the limit given to `collect`; the rest was read and thrown away


class BodySink(Protocol):
    """Takes a streamed request body."""

    def body_data(self, data: bytes) -> None:
        """Some bytes of the body."""

    def body_end(self, end: BodyEnd, trailers: dict[str, str]) -> None:
        """The body is over (COMPLETE or TRUNCATED); trailer names are in lower case."""


class Exchange(Protocol):
    """One request and its answer. After `respond` or `end` nothing more may be called."""

    method: str
    path: str  # as sent, without the query; not decoded
    query: str  # as sent, without '?'
    headers: dict[str, str]  # lower-case names; repeated headers joined by ', '
    complete: bool  # the whole body is in `body`
    body: bytes
    trailers: dict[str, str]
    is_closed: bool  # the peer is gone: nothing that is written arrives
    on_disconnect: Callable[[], None] | None  # called once when the peer vanishes before the answer is finished

    def watch_peer(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the connection is closed, however long after the answer; never for a peer that asked for one answer only."""

    def collect(self, limit: int, done: Callable[[BodyEnd, bytes, int], None]) -> None:
        """Gather the body, at most `limit` bytes, then call `done(end, body, size)`; `size` counts what was sent, kept or not.

        Works for complete requests too (then `done` is called at once).
        """

    def stream(self, sink: BodySink) -> None:
        """Hand the body on as it arrives. Works for complete requests too."""

    def pause_body(self) -> None:
        """Stop reading the request body until `resume_body` (backpressure)."""

    def resume_body(self) -> None:
        """Go on after `pause_body`."""

    def respond(self, status: int, headers: Headers = (), body: bytes = b"", *, lazily: bool = False) -> None:
        """Answer with a whole body: one write. Content-Length is added; if the request body is not in yet, the rest of it is thrown away.

        `lazily`: a peer that has already sent its next request does not wait for this answer, so it may go out together with the next
        one, whenever that is.
        """

    def start(self, status: int, headers: Headers = ()) -> None:
        """Begin a streamed answer (chunked, unless Content-Length is among the headers)."""

    def write(self, data: bytes) -> bool:
        """Send a part of a streamed answer. False: the peer reads slowly; stop until `on_writable` is called."""

    on_writable: Callable[[], None] | None

    def end(self, trailers: Headers = ()) -> None:
        """Finish a streamed answer."""

    def abort(self) -> None:
        """Cut the connection: the only honest end for a streamed answer that failed."""
