"""The floor's runtime: next, handler, response on one raw blocking socket."""

from __future__ import annotations

import json
import socket
import sys


def handler(event: object, context: object) -> object:
    return event


def main(address: str) -> None:
    host, port = address.split(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask = f"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    answer = f"HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: "
    while True:
        connection.sendall(ask)
        head, body = receive(connection)
        request_id = head[head.index(b"Request-Id: ") + 12 :].split(b"\r\n", 1)[0].decode()
        result = json.dumps(handler(json.loads(body), None)).encode()
        line = f"POST /2018-06-01/runtime/invocation/{request_id}/response {answer}{len(result)}\r\n\r\n"
        connection.sendall(line.encode() + result)
        receive(connection)


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """One whole reply."""
    data = connection.recv(65536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += more(connection)
    length = int(data[data.index(b"Content-Length: ") + 16 : end + 2].split(b"\r\n", 1)[0])
    parts, missing = [data[end + 4 :]], length - (len(data) - end - 4)
    while missing > 0:
        parts.append(more(connection))
        missing -= len(parts[-1])
    return data[:end], b"".join(parts)


def more(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 20)
    if not data:
        raise EOFError
    return data


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (EOFError, ValueError, ConnectionError, KeyboardInterrupt):
        sys.exit(0)  # the other side is gone
