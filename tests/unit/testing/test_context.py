"""FakeLambdaContext."""

from __future__ import annotations

import re
import sys

from lambdabox.testing import FakeLambdaContext, ManualClock


def test_it_is_of_the_class_that_handlers_get() -> None:
    context = FakeLambdaContext()
    assert type(context).__mro__[1].__name__ == "LambdaContext"
    assert type(context).__mro__[1].__module__ == "_lambdabox_runtime.context"
    assert "lambdabox_runtime" not in {name.partition(".")[0] for name in sys.modules} - {"lambdabox_runtime"}


def test_it_has_defaults() -> None:
    context = FakeLambdaContext()
    assert context.function_name == "test-function"
    assert context.function_version == "$LATEST"
    assert context.memory_limit_in_mb == "128"
    assert context.invoked_function_arn == "arn:aws:lambda:us-east-1:123456789012:function:test-function"
    assert context.log_group_name == "/aws/lambda/test-function"
    assert re.fullmatch(r"[0-9a-f-]{36}", context.aws_request_id)
    assert context.client_context is None
    assert context.identity.cognito_identity_id is None
    assert context.tenant_id is None
    assert repr(context).startswith("LambdaContext([aws_request_id=")


def test_its_time_is_the_clocks() -> None:
    clock = ManualClock()
    context = FakeLambdaContext(timeout=5, clock=clock)
    assert context.get_remaining_time_in_millis() == 5000
    clock.advance(1.5)
    assert context.get_remaining_time_in_millis() == 3500
    context.clock.advance(60)
    assert context.get_remaining_time_in_millis() == 0


def test_everything_can_be_given() -> None:
    context = FakeLambdaContext(
        function_name="orders",
        memory_limit_in_mb=256,
        aws_request_id="an-id",
        invoked_function_arn="arn",
        identity={"cognitoIdentityId": "a", "cognitoIdentityPoolId": "b"},
        client_context={"custom": {"k": 1}, "client": {"app_title": "demo"}, "w3c": {"traceparent": "t"}},
        tenant_id="blue",
        more="attributes",
    )
    assert (context.function_name, context.memory_limit_in_mb, context.aws_request_id) == ("orders", "256", "an-id")
    assert context.identity.cognito_identity_pool_id == "b"
    assert context.client_context.custom == {"k": 1}
    assert context.client_context.client.app_title == "demo"
    assert context.w3c() == {"traceparent": "t"}
    assert context.tenant_id == "blue"
    assert context.more == "attributes"  # type: ignore[attr-defined]  # given by its name


def test_what_is_logged_is_kept() -> None:
    context = FakeLambdaContext()
    context.log("a")
    context.log(1)
    assert context.log_lines == ["a", "1"]
