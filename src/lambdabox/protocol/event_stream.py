"""Amazon's event-stream framing, as InvokeWithResponseStream answers it (contract 5.4)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from lambdabox.protocol.payloads import go_json

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def encode(headers: Sequence[tuple[str, str]], payload: bytes) -> bytes:
    """One message: string headers and a payload."""
    block = bytearray()
    for name, value in headers:
        raw_name, raw_value = name.encode(), value.encode()
        block += bytes((len(raw_name),)) + raw_name + b"\x07" + len(raw_value).to_bytes(2, "big") + raw_value
    total = 16 + len(block) + len(payload)
    prelude = total.to_bytes(4, "big") + len(block).to_bytes(4, "big")
    message = b"".join((prelude, zlib.crc32(prelude).to_bytes(4, "big"), bytes(block), payload))
    return message + zlib.crc32(message).to_bytes(4, "big")


def payload_chunk(data: bytes) -> bytes:
    """Some bytes of the function's response."""
    return encode(
        ((":message-type", "event"), (":event-type", "PayloadChunk"), (":content-type", "application/octet-stream")), data
    )


def invoke_complete(*, error_code: str | None = None, error_details: str | None = None, log_result: str | None = None) -> bytes:
    """The end of the response: how it went, and the log tail when it was asked for."""
    document: dict[str, str] = {}
    if error_code is not None:
        document["ErrorCode"] = error_code
    if error_details is not None:
        document["ErrorDetails"] = error_details
    if log_result is not None:
        document["LogResult"] = log_result
    return encode(
        ((":message-type", "event"), (":event-type", "InvokeComplete"), (":content-type", "application/json")),
        go_json(document),
    )
