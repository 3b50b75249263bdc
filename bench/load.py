"""The callers: one program for every system, so that the client costs the same beside each.

One caller is a blocking raw socket; several callers are a closed loop on uvloop, each with its own kept-alive connection
and one call in flight. The number of calls is fixed. Every reply is counted as an error unless it is a 200 without a
function error; with --expect one body is compared, before the clock starts.

    .venv/bin/python bench/load.py --port 3001 --path /2015-03-31/functions/echo/invocations --callers 16 --calls 20000
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
import sys
import time
from pathlib import Path

EVENT = b'{"key": "value"}'


def request_bytes(port: int, path: str, body: bytes) -> bytes:
    """One Invoke request, complete."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class BrokenReply(Exception):
    """The connection ended, or the bytes on it are not an HTTP/1.1 reply."""


class Reader:
    """Finds the end of one reply at a time in what has arrived; knows Content-Length and chunked bodies."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.reset()

    def reset(self) -> None:
        self.buffer.clear()
        self.head_end = -1
        self.length = -1  # -1: chunked
        self.position = 0  # of the next chunk's size line
        self.chunks: list[tuple[int, int]] = []

    def is_complete(self) -> bool:
        """Has the whole reply arrived?"""
        buffer = self.buffer
        if self.head_end < 0:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.head_end = end + 4
            head = bytes(buffer[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            if at >= 0:
                self.length = int(head[at + 17 :].split(b"\r\n", 1)[0])
            elif b"\r\ntransfer-encoding: chunked" in head:
                self.position = self.head_end
            else:
                self.length = 0
        if self.length >= 0:
            return len(buffer) >= self.head_end + self.length
        while True:
            line_end = buffer.find(b"\r\n", self.position)
            if line_end < 0:
                return False
            size = int(bytes(buffer[self.position : line_end]).split(b";")[0], 16)
            if size == 0:
                # Either the empty line at once, or trailers and then the empty line.
                return buffer.find(b"\r\n\r\n", line_end) == line_end or buffer.endswith(b"\r\n\r\n")
            start = line_end + 2
            if len(buffer) < start + size + 2:
                return False
            self.chunks.append((start, size))
            self.position = start + size + 2

    def is_good(self) -> bool:
        head = bytes(self.buffer[: self.head_end]).lower()
        return head[9:12] == b"200" and b"\r\nx-amz-function-error:" not in head

    def body(self) -> bytes:
        if self.length >= 0:
            return bytes(self.buffer[self.head_end : self.head_end + self.length])
        return b"".join(bytes(self.buffer[start : start + size]) for start, size in self.chunks)


class Caller:
    """One caller on a blocking socket."""

    def __init__(self, port: int, timeout: float = 60.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader()
        self.room = memoryview(bytearray(1 << 20))

    def call(self, request: bytes) -> bool:
        """Send, wait for the whole reply, and tell whether it was good; `reader.body()` has its body until the next call."""
        reader, receive, room = self.reader, self.socket.recv_into, self.room
        reader.reset()
        self.socket.sendall(request)
        while True:
            count = receive(room)
            if not count:
                raise BrokenReply("the server closed the connection")
            reader.buffer += room[:count]
            if reader.is_complete():
                return reader.is_good()

    def close(self) -> None:
        self.socket.close()


def one_caller(port: int, request: bytes, calls: int, warmup: int, expected: object) -> dict[str, object]:
    caller = Caller(port)
    errors = 0
    for _ in range(warmup):
        caller.call(request)
    if expected is not None:
        caller.call(request)
        check(caller.reader.body(), expected)
    times: list[float] = []
    clock = time.perf_counter
    gc.disable()
    begun = clock()
    for _ in range(calls):
        sent = clock()
        if not caller.call(request):
            errors += 1
        times.append(clock() - sent)
    seconds = clock() - begun
    caller.close()
    return figures(times, seconds, errors)


def many_callers(port: int, request: bytes, callers: int, calls: int, warmup: int, expected: object) -> dict[str, object]:
    import asyncio

    import uvloop

    clock = time.perf_counter

    class Connection(asyncio.Protocol):
        def __init__(self, run: Run) -> None:
            self.run = run
            self.reader = Reader()
            self.busy = False

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.transport = transport

        def next(self) -> None:
            run = self.run
            if run.left == 0:
                self.busy = False
                return
            run.left -= 1
            self.busy = True
            self.sent = clock()
            self.transport.write(request)

        def data_received(self, data: bytes) -> None:
            run, reader = self.run, self.reader
            reader.buffer += data
            if not reader.is_complete():
                return
            run.times.append(clock() - self.sent)
            if not reader.is_good():
                run.errors += 1
            if run.finished == 0:
                run.first_body = reader.body()
            reader.reset()
            run.finished += 1
            if run.finished == run.total:
                run.done.set_result(None)
            self.next()

        def connection_lost(self, error: Exception | None) -> None:
            if self.busy and not self.run.done.done():
                self.run.done.set_exception(error or BrokenReply("the server closed the connection"))

    class Run:
        """What the connections share."""

        async def go(self, connections: list[Connection], total: int) -> dict[str, object]:
            self.total = self.left = total
            self.finished = self.errors = 0
            self.times: list[float] = []
            self.done = asyncio.get_running_loop().create_future()
            begun = clock()
            for connection in connections:
                connection.next()
            await asyncio.wait_for(self.done, 120)
            return figures(self.times, clock() - begun, self.errors)

    async def main() -> dict[str, object]:
        run = Run()
        loop = asyncio.get_running_loop()
        connections = []
        for _ in range(callers):
            _, connection = await loop.create_connection(lambda: Connection(run), "127.0.0.1", port)
            connections.append(connection)
        if warmup or expected is not None:
            await run.go(connections, max(warmup, callers))
        if expected is not None:
            check(run.first_body, expected)
        gc.disable()
        result = await run.go(connections, calls)
        for connection in connections:
            connection.transport.close()
        return result

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def figures(times: list[float], seconds: float, errors: int) -> dict[str, object]:
    """Milliseconds per call and calls a second."""
    times = sorted(times)

    def at(part: float) -> float:
        return round(times[min(len(times) - 1, int(len(times) * part))] * 1000, 4)

    return {
        "calls": len(times),
        "errors": errors,
        "seconds": round(seconds, 4),
        "calls_per_second": round(len(times) / seconds, 1),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "min_ms": at(0),
        "max_ms": at(1),
    }


def check(body: bytes, expected: object) -> None:
    """An echo must be the event, whatever spaces the runtime writes."""
    try:
        got = json.loads(body)
    except ValueError:
        raise BrokenReply(f"the reply is not JSON: {body[:200]!r}") from None
    if got != expected:
        raise BrokenReply(f"the reply is not the event: {body[:200]!r}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Call one function, one or several callers at a time; figures as JSON on stdout."
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True, help="the path of the Invoke API for the function")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=0, help="calls before the clock starts")
    parser.add_argument("--body", type=Path, help="a file with the event; else a few bytes")
    parser.add_argument("--expect", action="store_true", help="check once that the function is an echo")
    options = parser.parse_args()
    body = options.body.read_bytes() if options.body else EVENT
    request = request_bytes(options.port, options.path, body)
    expected = json.loads(body) if options.expect else None
    try:
        if options.callers == 1:
            result = one_caller(options.port, request, options.calls, options.warmup, expected)
        else:
            result = many_callers(options.port, request, options.callers, options.calls, options.warmup, expected)
    except (BrokenReply, OSError, TimeoutError) as error:
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}))
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
