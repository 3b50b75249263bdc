"""Subscribing to the Telemetry and Logs APIs (contract 3.1, 3.5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdabox.errors import RemoteProtocolError
from lambdabox.protocol.telemetry_api import LOGS, TELEMETRY, Buffering, Destination, parse_subscription, route

HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8123/in"}


def body(**changes: Any) -> bytes:
    document = {"schemaVersion": "2022-12-13", "types": ["platform"], "destination": HTTP} | changes
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()


def problem(raw: bytes, api: str = TELEMETRY) -> str:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_subscription(api, raw)
    assert refused.value.status == 400
    assert refused.value.error_type == {TELEMETRY: "ValidationError", LOGS: "Logs.ValidationError"}[api]
    return refused.value.message


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("PUT", "/2022-07-01/telemetry", TELEMETRY),
        ("PUT", "/2022-07-01/telemetry/", TELEMETRY),
        ("PUT", "/2020-08-15/logs", LOGS),
        ("POST", "/2020-08-15/logs", 405),
        ("PUT", "/2020-08-15/telemetry", 404),
    ],
)
def test_routes(method, path, found):
    assert route(method, path) == found


def test_a_whole_subscription():
    buffering = {"maxItems": 1000, "maxBytes": 1_048_576, "timeoutMs": 25}
    found = parse_subscription(TELEMETRY, body(types=["platform", "function", "extension"], buffering=buffering))
    assert found.types == ("platform", "function", "extension")
    assert found.buffering == Buffering(max_items=1000, max_bytes=1_048_576, timeout_ms=25)
    assert found.destination == Destination(protocol="HTTP", port=8123, path="/in")
    assert found == parse_subscription(TELEMETRY, body(types=["platform", "function", "extension"], buffering=buffering))


def test_the_defaults_of_buffering():
    assert parse_subscription(TELEMETRY, body()).buffering == Buffering(max_items=10_000, max_bytes=262_144, timeout_ms=1000)
    assert parse_subscription(TELEMETRY, body(buffering={})).buffering == Buffering()


def test_tcp():
    found = parse_subscription(TELEMETRY, body(destination={"protocol": "TCP", "port": 8123}))
    assert found.destination == Destination(protocol="TCP", port=8123)


@pytest.mark.parametrize("uri", ["http://sandbox.localdomain:1", "http://sandbox:1/", "http://:1/", "http://127.0.0.1:1"])
def test_hosts_that_are_the_sandbox(uri):
    assert parse_subscription(TELEMETRY, body(destination={"protocol": "HTTP", "URI": uri})).destination.path == "/"


def test_a_query_and_a_method_are_kept():
    destination = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:1/a?b=c", "method": "PUT", "encoding": "JSON"}
    found = parse_subscription(TELEMETRY, body(destination=destination)).destination
    assert (found.path, found.method) == ("/a?b=c", "PUT")


def test_everything_that_is_wrong_is_told_at_once():
    raw = body(destination={"protocol": "HTTP", "URI": "http://sandbox.localdomain"}, types=[])
    assert problem(raw) == "URI port is not provided; types should not be empty"


TELEMETRY_VERSION = "TelemetryAPI only supports the SchemaVersion released after 2021-03-18"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"types": ...}, "types should not be empty"),
        ({"types": "platform"}, "types should be platform, function or extension"),
        ({"types": ["platform", "nap"]}, "types should be platform, function or extension"),
        ({"types": [{}]}, "types should be platform, function or extension"),
        ({"types": ["platform", "platform"]}, "types should be unique"),
        ({"schemaVersion": ...}, TELEMETRY_VERSION),
        ({"schemaVersion": "2021-03-18"}, TELEMETRY_VERSION),
        ({"schemaVersion": ["2022-12-13"]}, TELEMETRY_VERSION),
        ({"destination": ...}, "destination should not be empty"),
        ({"destination": "http"}, "destination is not a JSON object"),
        ({"destination": {"protocol": "UDP"}}, "protocol should be HTTP or TCP"),
        ({"destination": HTTP | {"method": "GET"}}, "method should be POST or PUT"),
        ({"destination": {"protocol": "HTTP"}}, "URI is not provided"),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox.localdomain:1"}}, "Only 'http' scheme is supported."),
        (
            {"destination": {"protocol": "HTTP", "URI": "http://example.com:1"}},
            "Only 'sandbox.localdomain' hostname is supported.",
        ),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:9001"}}, "port 9001 is reserved"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:0"}}, "port should be between 1 and 65535"),
        (
            {"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:1/a b"}},
            "URI is not valid: its path has to be percent-encoded",
        ),
        ({"destination": {"protocol": "TCP"}}, "port is not provided"),
        ({"destination": {"protocol": "TCP", "port": 9001}}, "port 9001 is reserved"),
        ({"destination": {"protocol": "TCP", "port": 70_000}}, "port should be between 1 and 65535"),
        ({"destination": {"protocol": "TCP", "port": "1"}}, "port should be between 1 and 65535"),
        ({"buffering": []}, "buffering is not a JSON object"),
        ({"buffering": {"maxItems": 999}}, "maxItems should be between 1000 and 10000"),
        ({"buffering": {"maxItems": 10_001}}, "maxItems should be between 1000 and 10000"),
        ({"buffering": {"maxBytes": 262_143}}, "maxBytes should be between 262144 and 1048576"),
        ({"buffering": {"maxBytes": 1_048_577}}, "maxBytes should be between 262144 and 1048576"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs should be between 25 and 30000"),
        ({"buffering": {"timeoutMs": 30_001}}, "timeoutMs should be between 25 and 30000"),
        ({"buffering": {"timeoutMs": True}}, "timeoutMs should be between 25 and 30000"),
        ({"buffering": {"timeoutMs": "25"}}, "timeoutMs should be between 25 and 30000"),
    ],
)
def test_a_subscription_that_cannot_be_right(changes, message):
    assert problem(body(**changes)) == message


def test_a_uri_that_is_none():
    assert problem(body(destination={"protocol": "HTTP", "URI": "http://sandbox.localdomain:x"})).startswith("URI is not valid: ")


def test_a_body_that_is_no_json():
    assert problem(b"{").startswith("the request body is not JSON: ")
    assert problem(b"[]") == "the request body is not a JSON object"
    assert problem(b"\xff").startswith("the request body is not JSON: ")
    assert problem(b"[" * 100_000).startswith("the request body is not JSON: ")


def test_the_logs_api_has_versions_of_its_own():
    assert parse_subscription(LOGS, body(schemaVersion=...)).schema_version == "2020-08-15"
    assert parse_subscription(LOGS, body(schemaVersion="2021-03-18")).schema_version == "2021-03-18"
    message = "LogsAPI only supports the following SchemaVersion: 2020-08-15, 2021-03-18"
    assert problem(body(schemaVersion="2022-12-13"), LOGS) == message


@pytest.mark.parametrize(
    ("api", "version", "takes"),
    [
        (TELEMETRY, "2022-07-01", False),
        (TELEMETRY, "2022-12-13", True),
        (TELEMETRY, "2025-01-29", True),
        (LOGS, "2021-03-18", False),
    ],
)
def test_objects_come_since_2022_12_13(api, version, takes):
    assert parse_subscription(api, body(schemaVersion=version)).takes_objects is takes
