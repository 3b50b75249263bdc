"""The event-stream framing, against the contract's vectors and AWS's own parser."""

from __future__ import annotations

import json

import pytest

from lambdabox.protocol.event_stream import invoke_complete, payload_chunk

eventstream = pytest.importorskip("botocore.eventstream", reason="botocore is AWS's own parser")


def test_the_contracts_payload_chunk() -> None:
    assert payload_chunk(b"hi").hex() == (
        "0000006c0000005ab25efdcf0d3a6d6573736167652d747970650700056576656e740b3a6576656e742d7479706507000c5061796c6f61644368756e6b"
        "0d3a636f6e74656e742d747970650700186170706c69636174696f6e2f6f637465742d73747265616d6869314138e4"
    )


def test_the_contracts_invoke_complete() -> None:
    assert invoke_complete().hex() == (
        "00000066000000541f56c8690d3a6d6573736167652d747970650700056576656e740b3a6576656e742d7479706507000e496e766f6b65436f6d706c657465"
        "0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b7dface259a"
    )


def test_botocore_reads_what_we_write() -> None:
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(payload_chunk(b"\x00\xff") + payload_chunk(b""))
    buffer.add_data(invoke_complete(error_code="Runtime.X", error_details='{"é":"<"}', log_result="bG9n"))
    first, second, last = list(buffer)
    assert first.headers == {":message-type": "event", ":event-type": "PayloadChunk", ":content-type": "application/octet-stream"}
    assert (first.payload, second.payload) == (b"\x00\xff", b"")
    assert last.headers[":event-type"] == "InvokeComplete"
    assert json.loads(last.payload) == {"ErrorCode": "Runtime.X", "ErrorDetails": '{"é":"<"}', "LogResult": "bG9n"}
