"""PUT /2022-07-01/telemetry and PUT /2020-08-15/logs: a subscription becomes an event; the engine decides."""

from __future__ import annotations

from lambdabox.engine.environment import Environment
from lambdabox.errors import RemoteProtocolError
from lambdabox.http.exchange import BodyEnd, Exchange
from lambdabox.protocol import events as ev
from lambdabox.protocol.extensions_api import parse_identifier
from lambdabox.protocol.runtime_api import JSON_HEADERS, error_body

SUBSCRIBED_BODY = b'"OK"\n'
_PATHS = ("/2022-07-01/", "/2020-08-15/")


def subscription_request(environment: Environment, exchange: Exchange) -> bool:
    """Take a request for one of the two APIs; False when it is for neither."""
    if not exchange.path.startswith(_PATHS):
        return False
    from lambdabox.protocol.telemetry_api import BODY_MAX_BYTES, route  # only who subscribes needs it

    api = route(exchange.method, exchange.path)
    if isinstance(api, int):
        if api == 405:
            exchange.respond(405, (("Allow", "PUT"),))
        return api == 405
    exchange.collect(BODY_MAX_BYTES, lambda end, body, _size: _subscribe(environment, exchange, api, end, body))
    return True


def accept_subscription(exchange: Exchange) -> None:
    """The subscription is taken."""
    exchange.respond(200, JSON_HEADERS, SUBSCRIBED_BODY)


def _subscribe(environment: Environment, exchange: Exchange, api: str, end: BodyEnd, body: bytes) -> None:
    from lambdabox.protocol.telemetry_api import BODY_MAX_BYTES, parse_subscription

    if end is BodyEnd.OVERSIZED:
        message = f"the request body is over {BODY_MAX_BYTES} bytes"
        exchange.respond(413, JSON_HEADERS, error_body("RequestEntityTooLarge", message))
        return
    try:
        identifier = parse_identifier(exchange.headers)
    except RemoteProtocolError as error:
        exchange.respond(error.status, JSON_HEADERS, error_body(error.error_type, error.message))
        return
    try:
        subscription = parse_subscription(api, body)
    except RemoteProtocolError as error:
        # The id and the phase come first: what is wrong with the body is said only to who may subscribe now.
        fault = (error.status, error.error_type, error.message)
        environment.handle(ev.TelemetrySubscribed(exchange, identifier, api, (), "", None, fault))
        return
    environment.handle(
        ev.TelemetrySubscribed(exchange, identifier, api, subscription.types, subscription.schema_version, subscription)
    )
