"""Bodies of subscriptions to the Telemetry and Logs API: each is taken, and then it is within the limits, or refused in AWS's form."""

from __future__ import annotations

import random
import sys

from harness import as_bytes, changed, main

from lambdabox.errors import RemoteProtocolError
from lambdabox.protocol import telemetry_api
from lambdabox.protocol.telemetry_api import LOGS, TELEMETRY, TYPES

URIS = (
    "http://sandbox.localdomain:8080", "http://sandbox.localdomain:8080/a?b=c", "http://sandbox:1", "http://:4243/x", "http://localhost:65535",
    "https://sandbox.localdomain:1", "http://sandbox.localdomain", "http://sandbox.localdomain:9001", "http://[::1", "http://h:99999999999",
    "http://sandbox.localdomain:1/é", "http://sandbox.localdomain:1/a b", "http://a:b@sandbox.localdomain:80/", "//x", "http://sandbox.localdomain:0",
)  # fmt: skip


def target(chance: random.Random) -> None:
    destinations = (
        {"protocol": "HTTP", "URI": chance.choice(URIS), "method": chance.choice(("POST", "PUT", "GET"))},
        {"protocol": "HTTP", "URI": chance.choice(URIS), "encoding": "JSON"},
        {"protocol": "TCP", "port": chance.choice((1, 0, 65_535, 65_536, 9001, "80", True, 80.5))},
    )
    document = {
        "schemaVersion": chance.choice(("2022-07-01", "2022-12-13", "2025-01-29", "2020-08-15", "2021-03-18", "2019-01-01")),
        "types": chance.choices(TYPES, k=chance.randrange(4)),
        "buffering": {
            "maxItems": chance.choice((1000, 999, 10_000, 10_001)),
            "maxBytes": chance.choice((262_144, 262_143, 1_048_576, 1_048_577)),
            "timeoutMs": chance.choice((25, 24, 30_000, 30_001)),
        },
        "destination": chance.choice(destinations),
    }
    body = as_bytes(chance, changed(chance, document))
    api = chance.choice((TELEMETRY, LOGS))
    try:
        found = telemetry_api.parse_subscription(api, body)
    except RemoteProtocolError as error:
        assert error.status == 400, error
        assert error.error_type == ("ValidationError" if api == TELEMETRY else "Logs.ValidationError")
        assert str(error), body
        return
    assert found == telemetry_api.parse_subscription(api, body)
    hash(found)  # equal subscriptions are found by it
    assert found.types
    assert set(found.types) <= set(TYPES)
    assert len(set(found.types)) == len(found.types)
    buffering, destination = found.buffering, found.destination
    assert 1000 <= buffering.max_items <= 10_000
    assert 262_144 <= buffering.max_bytes <= 1_048_576
    assert 25 <= buffering.timeout_ms <= 30_000
    assert destination.protocol in ("HTTP", "TCP")
    assert 1 <= destination.port <= 65_535
    assert destination.port != 9001
    assert destination.method in ("POST", "PUT")
    # What becomes part of a request must not be able to end its line.
    assert destination.path.startswith("/") and destination.path.isascii() and destination.path.isprintable(), destination.path
    assert " " not in destination.path
    assert destination.host.isascii() and destination.host.isprintable()


if __name__ == "__main__":
    sys.exit(main(target))
