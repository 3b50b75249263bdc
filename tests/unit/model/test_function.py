"""What a function is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lambdabox.model.function import Function, SourcePlace, partition


def function(**more: Any) -> Function:
    return Function(name="svc-dev-orders", handler="app.handler", runtime="python3.12", code=Path("/c"), **more)


def test_awss_defaults() -> None:
    found = function()
    assert (found.timeout, found.memory_size, found.ephemeral_storage, found.version) == (3, 128, 512, "$LATEST")


def test_the_key_is_the_name_unless_there_is_one() -> None:
    assert function().key == "svc-dev-orders"
    assert function(key="orders").key == "orders"


@pytest.mark.parametrize(("region", "name"), [("eu-west-3", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")])
def test_the_arn_has_the_regions_partition(region: str, name: str) -> None:
    assert partition(region) == name
    assert function(region=region).arn == f"arn:{name}:lambda:{region}:123456789012:function:svc-dev-orders"


def test_the_log_group() -> None:
    assert function().log_group_name == "/aws/lambda/svc-dev-orders"
    assert function(log_group="mine").log_group_name == "mine"


def test_a_place() -> None:
    assert SourcePlace(file=Path("s.yml"), line=3).line == 3
