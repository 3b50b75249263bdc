"""Which function a caller names, and what a ticket keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lambdabox.engine.background import EventQueue
from lambdabox.engine.ids import new_request_id, new_trace_id
from lambdabox.engine.ticket import Ticket
from lambdabox.errors import InvalidParameterValueException, ResourceNotFoundException, ValidationException
from lambdabox.model.invocation import InvocationResult

ARN = "arn:aws:lambda:us-east-1:123456789012:function:shop-dev-one"


@pytest.fixture
def dispatcher(stage: Any) -> Any:
    return stage.engine(stage.function("shop-dev-one", key="one"), stage.function("one-more", key="two"))


@pytest.mark.parametrize(
    ("name", "qualifier", "arn"),
    [
        ("one", None, ARN),
        ("shop-dev-one", None, ARN),
        (ARN, None, ARN),
        ("123456789012:shop-dev-one", None, ARN),
        ("one:$LATEST", None, f"{ARN}:$LATEST"),
        ("one", "$LATEST", f"{ARN}:$LATEST"),
    ],
)
async def test_the_ways_to_name_a_function(dispatcher, name, qualifier, arn):
    for _ in range(2):
        function, found = dispatcher.find(name, qualifier)
        assert (function.key, found) == ("one", arn)


@pytest.mark.parametrize(
    ("name", "qualifier", "arn"),
    [
        ("nobody", None, "arn:aws:lambda:us-east-1:123456789012:function:nobody"),
        ("one", "live", f"{ARN}:live"),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:shop-dev-one",
            None,
            "arn:aws:lambda:eu-west-1:123456789012:function:shop-dev-one",
        ),
        ("210987654321:function:shop-dev-one", None, "arn:aws:lambda:us-east-1:210987654321:function:shop-dev-one"),
    ],
)
async def test_what_is_not_there_is_named_with_its_arn(dispatcher, name, qualifier, arn):
    with pytest.raises(ResourceNotFoundException) as caught:
        dispatcher.find(name, qualifier)
    assert caught.value.message == f"Function not found: {arn}"
    assert caught.value.known == ("one", "two")


async def test_names_that_cannot_be(dispatcher):
    with pytest.raises(ValidationException):
        dispatcher.find("a b")
    with pytest.raises(InvalidParameterValueException):
        dispatcher.find("one:live", "$LATEST")


async def test_a_deployed_name_wins_over_a_key(stage):
    dispatcher = stage.engine(stage.function("b", key="a"), stage.function("a", key="c"))
    assert dispatcher.find("a")[0].key == "c"
    assert dispatcher.find("b")[0].key == "a"


async def test_a_ticket_keeps_the_whole_log_and_the_last_4_kb(stage):
    results: list[InvocationResult] = []
    function = stage.function()
    ticket = Ticket(function, stage.ticket(function).invocation, on_finish=results.append, wants_logs=True)
    for number in range(1000):
        ticket.log(b"line %d\n" % number)
    ticket.answer(InvocationResult(request_id="x", payload=b""))
    ticket.finish()
    assert results[0].logs == [f"line {number}" for number in range(1000)]
    assert len(results[0].log_tail) == 4096
    assert results[0].log_tail.endswith(b"line 999\n")


async def test_an_event_waits_for_capacity_and_is_not_lost(stage):
    dispatcher = stage.engine(concurrency_max=1)
    events = EventQueue(dispatcher, stage.warnings.append)
    function = dispatcher.functions[0]
    await stage.submit(dispatcher.pool(function), "busy")
    invocation = stage.ticket(function, "event").invocation
    events.accept(function, invocation)
    assert events.unfinished == [("function", "event")]
    stage.answer("busy")
    while not any(found.request_id == "event" for _, found in stage.running):
        await asyncio.sleep(0.005)
    stage.answer("event")
    assert events.unfinished == []
    assert await events.drain(1) == []


async def test_an_event_that_cannot_run_is_a_warning(stage):
    dispatcher = stage.engine()
    stage.open_fails = OSError("no room")
    events = EventQueue(dispatcher, stage.warnings.append)
    function = dispatcher.functions[0]
    events.accept(function, stage.ticket(function, "event").invocation)
    await stage.settle()
    assert events.unfinished == []
    assert stage.warnings == ["function: Event invocation event could not run: no environment could be made: no room"]


async def test_a_throttled_event_is_named_at_the_end(stage):
    dispatcher = stage.engine(stage.function(reserved_concurrency=0))
    events = EventQueue(dispatcher, None)
    function = dispatcher.functions[0]
    events.accept(function, stage.ticket(function, "event").invocation)
    assert await events.drain(0.01) == [("function", "event")]


def test_ids_are_what_they_say():
    import re

    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", new_request_id()) for _ in range(200)
    )
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", new_trace_id())
    assert len({new_request_id() for _ in range(1000)}) == 1000
