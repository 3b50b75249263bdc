"""The telemetry hub without sockets: who hears what, and when."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambdabox.engine import subscriber as subscriber_module
from lambdabox.engine import telemetry as hub_module
from lambdabox.engine.telemetry import TelemetryHub
from lambdabox.model import telemetry as t
from lambdabox.protocol.telemetry_api import LOGS, TELEMETRY, Buffering, Destination, Subscription

INIT_START = t.InitStart(
    initialization_type="on-demand", phase="init", function_name="f", function_version="1", instance_id="s", instance_max_memory=1
)
INIT_REPORT = t.InitReport(initialization_type="on-demand", phase="init", status="success", duration_ms=1.0)
START = t.Start(request_id="r", version="1")
DONE = t.RuntimeDone(request_id="r", status="success", duration_ms=1.0)


def report(**more: Any) -> t.InvocationReport:
    facts: dict[str, Any] = {"status": "success", "duration_ms": 1.0, "billed_duration_ms": 1}
    return t.InvocationReport(request_id="r", memory_size_mb=128, max_memory_used_mb=9, **(facts | more))


def subscription(*types: str, api: str = TELEMETRY, version: str = "2022-12-13", **buffering: int) -> Subscription:
    return Subscription(
        api=api,
        schema_version=version,
        types=types or ("platform", "function", "extension"),
        buffering=Buffering(**buffering),
        destination=Destination(protocol="HTTP", port=1),
    )


class Postman:
    """A courier that keeps what it carries; `answers` says how its next deliveries end."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.answers: list[Any] = []
        self.is_closed = False
        self.tried = asyncio.Event()

    async def deliver(self, batch: list[bytes]) -> bool:
        self.tried.set()
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        elif isinstance(answer, Exception):
            raise answer
        elif not answer:
            return False
        self.batches.append([json.loads(record) for record in batch])
        return True

    async def close(self) -> None:
        self.is_closed = True

    @property
    def events(self) -> list[Any]:
        return [event for batch in self.batches for event in batch]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


class Office:
    """A hub, its clock and its couriers."""

    def __init__(self, clock: Any, **options: Any) -> None:
        self.clock = clock
        self.postmen: list[Postman] = []
        self.hub = TelemetryHub(clock, open_courier=self.hire, **options)

    def hire(self, _destination: Destination) -> Postman:
        self.postmen.append(Postman())
        return self.postmen[-1]

    def subscribe(self, *types: str, name: str = "collector", **more: Any) -> Postman:
        self.hub.subscribe(name, subscription(*types, **more))
        return self.postmen[-1]

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        await self.settle()
        self.clock.advance(seconds)
        await self.settle()


@pytest.fixture
async def open_office(stage: Any) -> AsyncIterator[Any]:
    offices: list[Office] = []

    def open_office(**options: Any) -> Office:
        offices.append(Office(stage.clock, **options))
        return offices[-1]

    yield open_office
    for office in offices:
        await office.hub.close()


@pytest.fixture
def office(open_office: Any) -> Office:
    found: Office = open_office()
    return found


async def test_a_subscriber_gets_what_init_has_said_before_it_came(office):
    office.hub.platform(INIT_START)
    office.hub.log("extension", b"early\n")
    postman = office.subscribe()
    office.hub.platform(START)
    await office.pass_time(1.0)
    assert postman.types == ["platform.initStart", "extension", "platform.start"]
    assert postman.events[1]["record"] == "early\n"
    assert postman.events[0]["time"].endswith("Z")


async def test_each_subscriber_gets_its_types(office):
    postmen = [office.subscribe(kind, name=kind) for kind in ("platform", "function", "extension")]
    for record in (INIT_START, INIT_REPORT, START):
        office.hub.platform(record)
    office.hub.log("function", b"f\n")
    office.hub.log("extension", b"e\n")
    await office.pass_time(1.0)
    assert [postman.types for postman in postmen] == [
        ["platform.initStart", "platform.initReport", "platform.start"],
        ["function"],
        ["extension"],
    ]


async def test_without_subscribers_the_hub_is_silent_after_init(office):
    assert office.hub.is_active
    office.hub.platform(INIT_START)
    office.hub.platform(INIT_REPORT)
    assert not office.hub.is_active
    await office.hub.reset()
    assert office.hub.is_active


async def test_with_a_subscriber_the_hub_stays_active(office):
    office.subscribe()
    office.hub.platform(INIT_REPORT)
    assert office.hub.is_active


async def test_nothing_goes_out_before_the_time_is_up(office):
    postman = office.subscribe(timeout_ms=500)
    office.hub.platform(START)
    await office.pass_time(0.4)
    office.hub.platform(DONE)
    assert postman.batches == []
    await office.pass_time(0.1)
    assert [[event["type"] for event in batch] for batch in postman.batches] == [["platform.start", "platform.runtimeDone"]]


async def test_enough_records_go_out_at_once(office):
    postman = office.subscribe(max_items=1000)
    for number in range(2500):
        office.hub.log("function", b"%d\n" % number)
    await office.settle()
    assert [len(batch) for batch in postman.batches] == [1000, 1000]
    office.hub.flush()
    await office.settle()
    assert [event["record"] for event in postman.events] == [f"{number}\n" for number in range(2500)]


async def test_a_new_subscription_of_the_same_extension_replaces_the_old(office):
    office.hub.platform(INIT_START)
    first = office.subscribe()
    second = office.subscribe("platform")
    await office.hub.drain()
    assert first.is_closed
    assert second.types == ["platform.initStart"]


@pytest.mark.parametrize("failure", [False, ConnectionRefusedError(), TimeoutError()])
async def test_a_delivery_that_failed_is_tried_again(office, failure, monkeypatch):
    monkeypatch.setattr(subscriber_module, "RETRY_FIRST_SECONDS", 0.001)
    postman = office.subscribe()
    postman.answers = [failure, failure]
    office.hub.platform(START)
    await office.hub.drain(seconds=5)
    assert postman.types == ["platform.start"]


async def test_a_flush_does_not_wait_for_the_next_attempt(office):
    postman = office.subscribe()
    postman.answers = [False]
    office.hub.platform(START)
    await office.pass_time(1.0)
    await postman.tried.wait()
    await office.hub.drain(seconds=0.04)
    assert postman.types == ["platform.start"]


async def test_a_delivery_without_an_answer_is_tried_again(office, monkeypatch):
    monkeypatch.setattr(subscriber_module, "DELIVERY_SECONDS", 0.01)
    monkeypatch.setattr(subscriber_module, "RETRY_FIRST_SECONDS", 0.001)
    postman = office.subscribe()
    postman.answers = [asyncio.Event()]
    office.hub.platform(START)
    await office.hub.drain(seconds=5)
    assert postman.types == ["platform.start"]


async def test_one_that_never_answers_keeps_nobody_else_waiting(office):
    silent, other = office.subscribe(name="silent"), office.subscribe(name="other")
    silent.answers = [asyncio.Event()]
    office.hub.platform(START)
    await office.hub.drain(["other"])
    assert other.types == ["platform.start"]
    assert office.hub.has_pending(["silent"])
    assert not office.hub.has_pending(["other"])
    await office.hub.drain(["silent"], seconds=0.01)
    assert silent.batches == []


async def test_what_does_not_fit_is_dropped_and_told(office):
    postman = office.subscribe(max_items=1000, max_bytes=262_144)
    answer = asyncio.Event()
    postman.answers = [answer]
    line = b"x" * 100_000
    for _ in range(300):
        office.hub.log("function", line)
        await asyncio.sleep(0)
    answer.set()
    await office.hub.drain(seconds=5)
    dropped = [event["record"] for event in postman.events if event["type"] == "platform.logsDropped"]
    assert len(dropped) == 1
    assert dropped[0]["droppedRecords"] + len(postman.events) - 1 == 300
    assert dropped[0]["droppedBytes"] > dropped[0]["droppedRecords"] * 100_000
    assert "slower" in dropped[0]["reason"]


async def test_nobody_is_disturbed_while_the_environment_is_frozen(office, monkeypatch):
    monkeypatch.setattr(subscriber_module, "DELIVERY_SECONDS", 0.01)
    postman = office.subscribe()
    answer = asyncio.Event()
    postman.answers = [answer]
    office.hub.platform(START)
    await office.pass_time(1.0)
    office.hub.hold()
    office.hub.platform(DONE)
    await office.pass_time(60.0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.03)  # longer than a delivery may take
    answer.set()
    await office.settle()
    assert postman.types == ["platform.start"]
    office.hub.resume()
    await office.settle()
    assert postman.types == ["platform.start", "platform.runtimeDone"]


async def test_after_a_reset_everything_begins_anew(office):
    office.hub.platform(INIT_START)
    first = office.subscribe()
    await office.hub.reset()
    office.hub.platform(INIT_START)
    second = office.subscribe()
    await office.hub.drain()
    assert first.is_closed
    assert second.types == ["platform.initStart"]


# -- log records ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_format", "version", "line", "record"),
    [
        ("Text", "2022-12-13", b'{"a": 1}\n', '{"a": 1}\n'),
        ("JSON", "2022-07-01", b'{"a": 1}\n', '{"a": 1}\n'),
        ("JSON", "2022-12-13", b'{"a": 1}\n', {"a": 1}),
        ("JSON", "2025-01-29", b'{"a":\n1}', {"a": 1}),
        ("JSON", "2022-12-13", b'{"a":"\\ud800"}\n', {"a": "\ud800"}),
        ("JSON", "2022-12-13", b'{"a":\n"\\ud800"}\n', {"a": "\ud800"}),
        ("JSON", "2022-12-13", b"plain\n", "plain\n"),
        ("JSON", "2022-12-13", b"[1]\n", "[1]\n"),
        ("Text", "2022-12-13", b"caf\xc3\xa9 \xff", "café \ufffd"),
    ],
)
async def test_log_records_are_lines_or_objects(open_office, log_format, version, line, record):
    office = open_office(log_format=log_format)
    postman = office.subscribe("function", version=version)
    office.hub.log("function", line)
    await office.hub.drain()
    assert [event["record"] for event in postman.events] == [record]


# -- the Logs API -----------------------------------------------------------------------------------------------------

FINISHED = ["platform.start", "platform.end", "platform.report"]


@pytest.mark.parametrize(
    ("version", "types"),
    [
        ("2020-08-15", FINISHED),
        ("2021-03-18", ["platform.start", "platform.runtimeDone", "platform.end", "platform.report"]),
    ],
)
async def test_the_logs_api_says_end_and_knows_runtime_done_since_2021(office, version, types):
    postman = office.subscribe("platform", api=LOGS, version=version)
    modern = office.subscribe("platform", name="modern")
    for record in (START, DONE, report()):
        office.hub.platform(record)
    await office.hub.drain()
    assert postman.types == types
    assert modern.types == ["platform.start", "platform.runtimeDone", "platform.report"]
    assert postman.events[-2]["record"] == {"requestId": "r"}


@pytest.mark.parametrize(
    ("facts", "record"),
    [
        ({"status": "timeout"}, "RequestId: r Status: timeout"),
        ({"status": "error", "error_type": "Runtime.ExitError"}, "RequestId: r Status: error\tErrorType: Runtime.ExitError"),
        ({"status": "error", "error_type": "Function.Unknown"}, None),
    ],
)
async def test_the_logs_api_tells_of_faults(office, facts, record):
    postman = office.subscribe("platform", api=LOGS, version="2020-08-15")
    office.hub.platform(report(**facts))
    await office.hub.drain()
    assert [event["record"] for event in postman.events if event["type"] == "platform.fault"] == (
        [] if record is None else [record]
    )


async def test_each_api_has_its_own_subscription_record(office):
    telemetry = office.subscribe("platform", name="t")
    logs = office.subscribe("platform", name="l", api=LOGS, version="2020-08-15")
    office.hub.platform(t.TelemetrySubscription(name="t", types=("platform",)))
    office.hub.platform(t.LogsSubscription(name="l", types=("platform",)))
    await office.hub.drain()
    assert telemetry.types == ["platform.telemetrySubscription"]
    assert logs.types == ["platform.logsSubscription"]


# -- capture ----------------------------------------------------------------------------------------------------------


async def test_capture_keeps_everything_and_the_hub_active(open_office):
    office = open_office(captures=True, log_format="JSON")
    told = []
    office.hub.on_captured = lambda: told.append(1)
    for record in (INIT_START, INIT_REPORT, START):
        office.hub.platform(record)
    office.hub.log("function", b'{"a": 1}\n')
    assert office.hub.is_active
    found = office.hub.captured()
    assert [event.type for event in found] == ["platform.initStart", "platform.initReport", "platform.start", "function"]
    assert found[2].record == {"requestId": "r", "version": "1"}
    assert found[3].record == {"a": 1}
    assert len(told) == 4
    office.hub.clear()
    assert office.hub.captured() == []


async def test_capture_forgets_the_oldest(open_office, monkeypatch):
    monkeypatch.setattr(hub_module, "CAPTURE_MAX", 3)
    office = open_office(captures=True)
    for number in range(5):
        office.hub.log("function", b"%d" % number)
    assert [event.record for event in office.hub.captured()] == ["2", "3", "4"]
    postman = office.subscribe()
    await office.hub.drain()
    assert [event["record"] for event in postman.events if event["type"] == "function"] == ["0", "1", "2"]
    assert [event["record"]["droppedRecords"] for event in postman.events if event["type"] == "platform.logsDropped"] == [2]


async def test_without_capture_nothing_is_kept(office):
    office.hub.platform(INIT_START)
    assert office.hub.captured() == []
    office.hub.clear()


async def test_a_freeze_in_the_moment_of_a_late_answer_is_no_error(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber_module, "DELIVERY_SECONDS", 0.001)
    postman = office.subscribe()
    postman.answers = [asyncio.Event()]
    hub = office.hub
    hub.platform(INIT_START)
    hub.flush()
    await postman.tried.wait()
    loop = asyncio.get_running_loop()
    held: asyncio.Future[None] = loop.create_future()

    def hold() -> None:
        try:
            hub.hold()
            hub.resume()
        except RuntimeError as error:
            held.set_exception(error)
        else:
            held.set_result(None)

    # Both times are past in the same turn of the loop, the limit's first: its task has not heard of it when the freeze comes.
    loop.call_later(0.003, hold)
    time.sleep(0.01)
    await held
    await hub.drain()
    assert postman.types == ["platform.initStart"]


async def test_who_captures_is_told_of_what_was_dropped(open_office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "CAPTURE_MAX", 1)
    office = open_office(captures=True)
    told: list[str] = []
    office.hub.on_captured = lambda: told.append(office.hub.captured()[-1].type)
    office.hub.platform(INIT_START)
    office.hub.log("function", b"missed")
    office.subscribe()  # comes too late for one record
    assert told == ["platform.initStart", "function", "platform.logsDropped"]
    assert [event.type for event in office.hub.captured("platform.logsDropped")] == ["platform.logsDropped"]
