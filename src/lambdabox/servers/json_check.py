"""Is it JSON? The one look that is taken at an event."""

from __future__ import annotations

import msgspec

from lambdabox.errors import InvalidRequestContentException

_decoder = msgspec.json.Decoder(msgspec.Raw)


def check_json(body: bytes) -> None:
    """Raises InvalidRequestContentException unless `body` is UTF-8 and JSON (contract 5.2)."""
    try:
        _decoder.decode(body)
        if not body.isascii():
            body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestContentException(str(error)) from error
