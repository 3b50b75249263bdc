"""A runtime on a raw socket that answers every event with `{}`: the same one for every Simulator.

.venv/bin/python bench/simulator_runtime.py HOST:PORT
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys

BASE = b"/2018-06-01/runtime/invocation/"
NEXT = b"GET " + BASE + b"next HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
REQUEST_ID = re.compile(rb"(?i)\r\nlambda-runtime-aws-request-id: (\S+)")
LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


def read(connection: socket.socket) -> bytes:
    """The head of one answer; its body is thrown away."""
    data = connection.recv(65536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError
        data += part
    head = data[:end]
    length = LENGTH.search(head)
    missing = end + 4 + (int(length[1]) if length else 0) - len(data)
    while missing > 0:
        missing -= len(connection.recv(missing))
    return head


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    with socket.create_connection((host, int(port))) as connection, contextlib.suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            connection.sendall(NEXT)
            request_id = REQUEST_ID.search(read(connection))[1]
            connection.sendall(
                b"POST " + BASE + request_id + b"/response HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}"
            )
            read(connection)


if __name__ == "__main__":
    main()
