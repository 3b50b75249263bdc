"""How functions and log streams are named."""

from __future__ import annotations

import pytest

from lambdabox.errors import InvalidParameterValueException, ValidationException
from lambdabox.model.names import FunctionReference, log_stream_name, parse_function_reference

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("orders", FunctionReference(name="orders")),
        ("orders:live", FunctionReference(name="orders", qualifier="live")),
        ("orders:7", FunctionReference(name="orders", qualifier="7")),
        ("orders:$LATEST", FunctionReference(name="orders", qualifier="$LATEST")),
        ("orders:$LATEST.PUBLISHED", FunctionReference(name="orders", qualifier="$LATEST.PUBLISHED")),
        (f"{ACCOUNT}:function:orders", FunctionReference(name="orders", account_id=ACCOUNT)),
        (f"{ACCOUNT}:orders", FunctionReference(name="orders", account_id=ACCOUNT)),
        (f"{ACCOUNT}:function:orders:live", FunctionReference(name="orders", account_id=ACCOUNT, qualifier="live")),
        ("function:orders", FunctionReference(name="orders")),
        (
            f"arn:aws:lambda:eu-west-3:{ACCOUNT}:function:orders",
            FunctionReference(name="orders", account_id=ACCOUNT, region="eu-west-3"),
        ),
        (
            f"arn:aws-us-gov:lambda:us-gov-west-1:{ACCOUNT}:function:orders:live",
            FunctionReference(name="orders", account_id=ACCOUNT, region="us-gov-west-1", qualifier="live"),
        ),
        (ACCOUNT, FunctionReference(name=ACCOUNT)),
        ("x" * 140, FunctionReference(name="x" * 140)),
    ],
)
def test_names(text: str, found: FunctionReference) -> None:
    assert parse_function_reference(text) == found


@pytest.mark.parametrize(
    "text", ["", "a b", "a/b", "a:b:c", "x" * 141, "arn:aws:s3:::bucket", "orders:", "orders\n", "orders:$OLD"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValidationException, match="'functionName' failed to satisfy constraint"):
        parse_function_reference(text)


def test_a_qualifier_may_come_apart() -> None:
    assert parse_function_reference("orders", "live").qualifier == "live"
    assert parse_function_reference("orders:live", "live").qualifier == "live"


def test_two_qualifiers_must_agree() -> None:
    with pytest.raises(InvalidParameterValueException, match="does not match the specified qualifier"):
        parse_function_reference("orders:live", "7")


@pytest.mark.parametrize("qualifier", ["a b", "$OLD", "x" * 129])
def test_what_is_no_qualifier(qualifier: str) -> None:
    with pytest.raises(ValidationException, match="'qualifier'"):
        parse_function_reference("orders", qualifier)


def test_log_streams() -> None:
    assert log_stream_name("2026/01/02", "$LATEST", "ab") == "2026/01/02/[$LATEST]ab"
    assert log_stream_name("2026/01/02", "7", "ab", custom_group_of="orders") == "2026/01/02/orders[7]ab"
