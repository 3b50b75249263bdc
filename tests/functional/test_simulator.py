"""The Simulator: invocations, waiters, extensions, telemetry, shutdown. The cases follow those of the crate that the seed describes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lambdabox import Invocation, InvocationStatus, Simulator
from lambdabox.errors import (
    AddressInUseError,
    RemoteProtocolError,
    RequestTooLargeException,
    UsageError,
    WaitTimeoutError,
)
from lambdabox.simulator import Phase
from lambdabox.testing import ScriptedExtension, ScriptedRuntime, TelemetryReceiver

ARN = "arn:aws:lambda:us-east-1:123456789012:function:test-function"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def runtime(simulator: Simulator) -> AsyncIterator[ScriptedRuntime]:
    async with ScriptedRuntime(simulator) as runtime:
        yield runtime


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Enter what is given and leave it at the end of the test."""
    async with AsyncExitStack() as stack:
        yield stack.enter_async_context


def types_of(simulator: Simulator) -> list[str]:
    return [event.type for event in simulator.telemetry_events]


def has(simulator: Simulator, kind: str, count: int = 1) -> Callable[[], bool]:
    return lambda: len(simulator.get_telemetry_events_by_type(kind)) >= count


# -- invocations ------------------------------------------------------------------------------------------------------


async def test_an_answer_is_the_state_of_its_invocation(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({"message": "Hello"})
    invocation = await runtime.next()
    assert (invocation.request_id, invocation.json()) == (request_id, {"message": "Hello"})
    await runtime.respond(invocation, {"ok": True})
    state = await simulator.wait_for_invocation_complete(request_id)
    assert state.status is InvocationStatus.SUCCESS
    assert state.json() == {"ok": True}
    assert state.response == b'{"ok":true}'


async def test_an_error_has_its_type_message_and_stack(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({})
    await runtime.fail(await runtime.next(), "RuntimeError", "it broke", ["a.py:1", "b.py:2"])
    state = await simulator.wait_for_invocation_complete(request_id)
    assert state.status is InvocationStatus.ERROR
    assert (state.error_type, state.error_message, state.stack_trace) == ("RuntimeError", "it broke", ["a.py:1", "b.py:2"])


async def test_an_error_that_is_no_document_is_its_own_message(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({})
    invocation = await runtime.next()
    await runtime.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/error", body=b"plain words")
    state = await simulator.wait_for_invocation_complete(invocation.request_id)
    assert (state.error_type, state.error_message) == ("Runtime.Unknown", "plain words")


async def test_an_invocation_is_pending_then_in_progress(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({})
    assert simulator.invocation_state(request_id).status is InvocationStatus.PENDING
    await runtime.next()
    state = simulator.invocation_state(request_id)
    assert state.status is InvocationStatus.IN_PROGRESS
    assert state.created_at <= (state.started_at or 0)


async def test_invocations_go_out_in_order(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    ids = [await simulator.enqueue_payload(number) for number in range(3)]
    seen = []
    for _ in ids:
        invocation = await runtime.next()
        seen.append(invocation.request_id)
        await runtime.respond(invocation)
    assert seen == ids
    assert {state.status for state in simulator.invocation_states().values()} == {InvocationStatus.SUCCESS}
    assert list(simulator.invocation_states()) == ids


async def test_a_runtime_that_asks_first_waits(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    asking = asyncio.create_task(runtime.next())
    await simulator.wait_for_phase(Phase.IDLE)
    request_id = await simulator.enqueue_payload({})
    assert (await asking).request_id == request_id


async def test_a_second_poll_joins_the_wait(simulator: Simulator, opened: Callable[..., Any]) -> None:
    runtimes = [await opened(ScriptedRuntime(simulator)) for _ in range(2)]
    polls = [asyncio.create_task(runtime.next()) for runtime in runtimes]
    await simulator.wait_for_phase(Phase.IDLE)
    await asyncio.sleep(0.01)  # both polls are parked then, or the second comes a little later: it makes no difference
    first = await simulator.enqueue_payload(1)
    second = await simulator.enqueue_payload(2)
    (answered,), (waiting,) = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
    assert answered.result().request_id == first
    active = runtimes[polls.index(answered)]
    await active.respond(answered.result())
    again = asyncio.create_task(active.next())
    (following,), (left,) = await asyncio.wait([waiting, again], return_when=asyncio.FIRST_COMPLETED)
    assert following.result().request_id == second
    left.cancel()


async def test_next_says_all_of_the_invocation(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    await simulator.enqueue_payload(
        {},
        client_context={"custom": {"ä": 1}},
        cognito_identity={"cognitoIdentityId": "a", "cognitoIdentityPoolId": "b"},
        tenant_id="blue",
        invoked_function_arn=f"{ARN}:prod",
        trace_id="Root=1-00000000-000000000000000000000000;Sampled=1",
        request_id="0d3f5a7e-0000-4000-8000-000000000000",
    )
    invocation = await runtime.next()
    assert invocation.request_id == "0d3f5a7e-0000-4000-8000-000000000000"
    assert invocation.invoked_function_arn == f"{ARN}:prod"
    assert invocation.trace_id == "Root=1-00000000-000000000000000000000000;Sampled=1"
    assert json.loads(invocation.headers["lambda-runtime-client-context"]) == {"custom": {"ä": 1}}
    assert json.loads(invocation.headers["lambda-runtime-cognito-identity"])["cognitoIdentityPoolId"] == "b"
    assert invocation.headers["lambda-runtime-aws-tenant-id"] == "blue"


async def test_what_was_not_given_is_absent(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    await simulator.enqueue_payload({})
    invocation = await runtime.next()
    assert invocation.invoked_function_arn == ARN
    assert not {name for name in invocation.headers if name.endswith(("client-context", "identity", "tenant-id"))}


async def test_the_deadline_is_the_timeout_away(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    await simulator.enqueue_payload({}, timeout=5)
    before = time.time()
    invocation = await runtime.next()
    assert abs(invocation.deadline_ms / 1000 - before - 5) < 0.5


async def test_trace_ids_are_fresh_and_of_the_right_form(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    seen = []
    for _ in range(2):
        await simulator.enqueue_payload({})
        invocation = await runtime.next()
        seen.append(invocation.trace_id or "")
        await runtime.respond(invocation)
    assert all(re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};", trace) for trace in seen)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("payload", [None, "text", 5, [1], {"a": {"b": None}}, "ü\U0001f600"])
async def test_any_json_is_an_event(simulator: Simulator, runtime: ScriptedRuntime, payload: Any) -> None:
    await simulator.enqueue_payload(payload)
    assert (await runtime.next()).json() == payload


async def test_bytes_are_taken_as_they_are(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    payload = b'{ "spaces" :  1 }\n'
    await simulator.enqueue_payload(payload)
    assert (await runtime.next()).payload == payload


async def test_a_large_event_and_a_large_answer_arrive_whole(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    payload = b'"' + b"x" * 5_000_000 + b'"'
    request_id = await simulator.enqueue_payload(payload)
    invocation = await runtime.next()
    assert invocation.payload == payload
    await runtime.respond(invocation, payload)
    assert (await simulator.wait_for_invocation_complete(request_id)).response == payload


async def test_an_event_over_six_megabytes_is_refused(simulator: Simulator) -> None:
    with pytest.raises(RequestTooLargeException):
        await simulator.enqueue_payload(b"x" * 6_291_457)


async def test_a_prepared_invocation_is_enqueued(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    prepared = Invocation(request_id="an-id", payload=b"1", invoked_function_arn=ARN)
    assert await simulator.enqueue(prepared) == "an-id"
    invocation = await runtime.next()
    assert invocation.request_id == "an-id"
    assert invocation.trace_id is not None


async def test_a_finished_invocation_can_be_forgotten(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({})
    with pytest.raises(UsageError, match="is not finished"):
        simulator.forget(request_id)
    runtime.start(lambda event: event)
    await simulator.wait_for(lambda: simulator.invocation_state(request_id).is_finished)
    simulator.forget(request_id)
    assert simulator.invocation_states() == {}


async def test_a_request_id_counts_once(simulator: Simulator) -> None:
    await simulator.enqueue_payload({}, request_id="once")
    with pytest.raises(UsageError, match="used before"):
        await simulator.enqueue_payload({}, request_id="once")


async def test_an_unknown_id_has_no_state(simulator: Simulator) -> None:
    with pytest.raises(UsageError, match="no invocation has the request id nothing"):
        simulator.invocation_state("nothing")


async def test_what_is_not_json_is_no_event(simulator: Simulator) -> None:
    with pytest.raises(UsageError, match="the payload is not JSON"):
        await simulator.enqueue_payload({1, 2})
    with pytest.raises(UsageError, match="the payload is not JSON"):
        await simulator.enqueue_payload(float("nan"))


async def test_an_answer_to_an_unknown_id_is_refused_and_the_right_one_taken(
    simulator: Simulator, runtime: ScriptedRuntime
) -> None:
    request_id = await simulator.enqueue_payload({})
    invocation = await runtime.next()
    with pytest.raises(RemoteProtocolError) as refusal:
        await runtime.respond("00000000-0000-4000-8000-000000000000", {})
    assert (refusal.value.status, refusal.value.error_type) == (400, "InvalidRequestID")
    await runtime.respond(invocation, 1)
    assert (await simulator.wait_for_invocation_complete(request_id)).json() == 1


async def test_the_first_answer_counts(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({})
    invocation = await runtime.next()
    await runtime.respond(invocation, 1)
    with pytest.raises(RemoteProtocolError) as refusal:
        await runtime.fail(invocation, "Late", "too late")
    assert refusal.value.status in (400, 403)
    assert simulator.invocation_state(request_id).json() == 1


async def test_an_answer_is_not_read(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({})
    await runtime.respond(await runtime.next(), b"{ not json")
    state = await simulator.wait_for_invocation_complete(request_id)
    assert (state.status, state.response) == (InvocationStatus.SUCCESS, b"{ not json")


async def test_an_invocation_that_takes_too_long_is_a_timeout(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({}, timeout=0.05)
    invocation = await runtime.next()
    state = await simulator.wait_for_invocation_complete(request_id)
    assert state.status is InvocationStatus.TIMEOUT
    assert "timed out after 0.05 seconds" in (state.error_message or "").lower()
    with pytest.raises((RemoteProtocolError, ConnectionError)):
        await runtime.respond(invocation, "late")


async def test_after_a_timeout_another_runtime_may_come(simulator: Simulator, opened: Callable[..., Any]) -> None:
    first = await opened(ScriptedRuntime(simulator))
    lost = await simulator.enqueue_payload({}, timeout=0.05)
    await first.next()
    await simulator.wait_for_invocation_complete(lost)
    await simulator.wait_for_phase("dormant")
    request_id = await simulator.enqueue_payload({})
    assert simulator.invocation_state(request_id).status is InvocationStatus.PENDING
    second = await opened(ScriptedRuntime(simulator))
    second.start(lambda event: event)
    assert (await simulator.wait_for_invocation_complete(request_id)).status is InvocationStatus.SUCCESS


# -- Init -------------------------------------------------------------------------------------------------------------


async def test_a_runtime_that_asks_is_initialized(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    assert simulator.phase is Phase.INIT
    assert not simulator.is_initialized
    runtime.start(lambda event: event)
    await simulator.wait_for(lambda: simulator.is_initialized)
    await simulator.wait_for_phase(Phase.IDLE, timeout=0)
    assert simulator.init_error is None


async def test_an_init_error_is_told(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    await runtime.init_error("InitError", "Failed to initialize")
    assert simulator.init_error == "InitError: Failed to initialize"
    assert not simulator.is_initialized


async def test_init_takes_no_longer_than_its_limit(opened: Callable[..., Any]) -> None:
    simulator = await opened(Simulator(init_timeout=0.05))
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("INVOKE")
    await simulator.wait_for(lambda: simulator.init_error)
    assert simulator.init_error == "Sandbox.Timedout"


async def test_init_that_nobody_began_does_not_time_out(opened: Callable[..., Any]) -> None:
    simulator = await opened(Simulator(init_timeout=0.02))
    with pytest.raises(WaitTimeoutError):
        await simulator.wait_for(lambda: simulator.phase is not Phase.INIT, timeout=0.1)
    runtime = await opened(ScriptedRuntime(simulator))
    runtime.start(lambda event: event)
    await simulator.wait_for_phase(Phase.IDLE)


# -- waiting ----------------------------------------------------------------------------------------------------------


async def test_waiting_in_vain_says_for_what_and_how_things_stand(simulator: Simulator) -> None:
    await simulator.enqueue_payload({})
    with pytest.raises(WaitTimeoutError) as error:
        await simulator.wait_for(lambda: simulator.extension_count >= 1, timeout=0.01)
    assert str(error.value) == (
        "simulator.extension_count >= 1 did not happen within 0.01 s; "
        "now: phase init; runtime Started; no extensions; invocations: 1 PENDING"
    )


async def test_a_wait_in_vain_is_a_timeout_error(simulator: Simulator) -> None:
    with pytest.raises(TimeoutError):
        await simulator.wait_for_invocation_complete(await simulator.enqueue_payload({}), timeout=0.01)


async def test_a_predicate_may_be_awaited(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    asked = 0

    async def is_initialized() -> bool:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return simulator.is_initialized

    waiting = asyncio.create_task(simulator.wait_for(is_initialized))
    await asyncio.sleep(0)
    runtime.start(lambda event: event)
    await waiting
    assert asked < 10  # awoken by events, not by a clock


async def test_a_predicate_that_raises_fails_its_waiter_only(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    waiting = asyncio.create_task(simulator.wait_for(lambda: simulator.is_initialized and 1 / 0))
    other = asyncio.create_task(simulator.wait_for(lambda: simulator.is_initialized))
    await asyncio.sleep(0)
    runtime.start(lambda event: event)
    with pytest.raises(ZeroDivisionError):
        await waiting
    await other


async def test_a_phase_that_passes_at_once_is_not_missed(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    waiting = asyncio.create_task(simulator.wait_for_phase("INVOKE"))
    await asyncio.sleep(0)
    runtime.start(lambda event: event)
    await simulator.enqueue_payload({})
    await waiting


async def test_recheck_asks_again(simulator: Simulator) -> None:
    seen: list[int] = []
    waiting = asyncio.create_task(simulator.wait_for(lambda: seen))
    await asyncio.sleep(0)
    seen.append(1)
    simulator.recheck()
    await waiting


async def test_a_phase_that_does_not_exist_is_refused(simulator: Simulator) -> None:
    with pytest.raises(UsageError, match="no phase 'sleeping'"):
        await simulator.wait_for_phase("sleeping")


# -- extensions -------------------------------------------------------------------------------------------------------


async def test_an_extension_is_seen_with_its_events(simulator: Simulator, opened: Callable[..., Any]) -> None:
    extension = await opened(ScriptedExtension(simulator, "collector"))
    about = await extension.register("INVOKE", "SHUTDOWN")
    assert (about["functionName"], about["functionVersion"]) == ("test-function", "$LATEST")
    (found,) = simulator.registered_extensions
    assert (found.name, found.events, found.identifier) == ("collector", ("INVOKE", "SHUTDOWN"), extension.identifier)
    assert found.is_external
    assert simulator.extension_count == 1


async def test_two_extensions_have_ids_of_their_own(simulator: Simulator, opened: Callable[..., Any]) -> None:
    first, second = await opened(ScriptedExtension(simulator, "a")), await opened(ScriptedExtension(simulator, "b"))
    await first.register()
    await second.register("INVOKE")
    assert first.identifier != second.identifier
    assert simulator.extension_count == 2


async def test_a_name_is_needed(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    answer = await runtime.request("POST", "/2020-01-01/extension/register", body=b"{}")
    assert answer.status == 403
    assert json.loads(answer.body)["errorType"] == "Extension.InvalidExtensionName"


async def test_an_extension_gets_each_invocation(
    simulator: Simulator, runtime: ScriptedRuntime, opened: Callable[..., Any]
) -> None:
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("INVOKE")
    extension.start()
    runtime.start(lambda event: event)
    ids = [await simulator.enqueue_payload(number) for number in range(3)]
    await simulator.wait_for(lambda: all(state.is_finished for state in simulator.invocation_states().values()))
    assert [event.request_id for event in extension.events] == ids
    body = extension.events[0].body
    assert (body["eventType"], body["invokedFunctionArn"], body["tracing"]["type"]) == ("INVOKE", ARN, "X-Amzn-Trace-Id")


async def test_external_extensions_can_be_named(opened: Callable[..., Any]) -> None:
    simulator = await opened(Simulator(external_extensions=["known"]))
    other = await opened(ScriptedExtension(simulator, "other"))
    with pytest.raises(RemoteProtocolError) as refusal:
        await other.register("SHUTDOWN")
    assert refusal.value.error_type == "Extension.InvalidEventType"
    known = await opened(ScriptedExtension(simulator, "known"))
    await known.register("SHUTDOWN")
    assert simulator.registered_extensions[-1].is_external


async def test_extensions_are_ready_when_they_have_asked_again(
    simulator: Simulator, runtime: ScriptedRuntime, opened: Callable[..., Any]
) -> None:
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("INVOKE")
    asking = asyncio.create_task(extension.next_event())
    runtime.start(lambda event: event)
    await simulator.wait_for_extensions_ready()
    request_id = await simulator.enqueue_payload({})
    await asking
    await simulator.wait_for_invocation_complete(request_id)
    with pytest.raises(WaitTimeoutError, match="scripted-extension Running"):
        await simulator.wait_for_extensions_ready(request_id, timeout=0.02)
    assert simulator.get_telemetry_events_by_type("platform.report") == []
    asking = asyncio.create_task(extension.next_event())
    await simulator.wait_for_extensions_ready(request_id)
    await simulator.wait_for(has(simulator, "platform.report"))
    assert (simulator.extension_overhead_ms(request_id) or 0) >= 20
    asking.cancel()


async def test_without_extensions_everybody_is_ready(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    runtime.start(lambda event: event)
    request_id = await simulator.enqueue_payload({})
    await simulator.wait_for_extensions_ready(request_id)
    await simulator.wait_for(has(simulator, "platform.report"))
    assert simulator.extension_overhead_ms(request_id) is None


async def test_an_extension_that_keeps_silent_is_waited_for_so_long(opened: Callable[..., Any]) -> None:
    simulator = await opened(Simulator(extension_ready_timeout=0.05))
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("INVOKE")
    asking = asyncio.create_task(extension.next_event())
    runtime = await opened(ScriptedRuntime(simulator))
    runtime.start(lambda event: event)
    request_id = await simulator.enqueue_payload({})
    await asking
    await simulator.wait_for(has(simulator, "platform.report"))
    (report,) = simulator.get_telemetry_events_by_type("platform.report")
    assert report.record["metrics"]["durationMs"] >= 40
    assert simulator.invocation_state(request_id).status is InvocationStatus.SUCCESS


async def test_who_subscribed_to_shutdown_alone_is_not_woken_and_not_waited_for(
    simulator: Simulator, runtime: ScriptedRuntime, opened: Callable[..., Any]
) -> None:
    for name, events in (("quiet", ()), ("last", ("SHUTDOWN",))):
        extension = await opened(ScriptedExtension(simulator, name))
        await extension.register(*events)
        extension.start()
    runtime.start(lambda event: event)
    request_id = await simulator.enqueue_payload({})
    await simulator.wait_for(lambda: simulator.invocation_state(request_id).is_finished)
    assert [found.state for found in simulator.registered_extensions] == ["Ready", "Ready"]
    assert simulator.extension_overhead_ms(request_id) is None


async def test_who_comes_too_late_is_refused(simulator: Simulator, runtime: ScriptedRuntime, opened: Callable[..., Any]) -> None:
    runtime.start(lambda event: event)
    await simulator.wait_for_phase(Phase.IDLE)
    extension = await opened(ScriptedExtension(simulator))
    with pytest.raises(RemoteProtocolError) as refusal:
        await extension.register("INVOKE")
    assert (refusal.value.status, refusal.value.error_type) == (403, "Extension.RegistrationClosed")


async def test_an_extension_that_vanishes_is_missed_until_the_deadline(
    simulator: Simulator, runtime: ScriptedRuntime, opened: Callable[..., Any]
) -> None:
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("INVOKE")
    asking = asyncio.create_task(extension.next_event())
    runtime.start(lambda event: event)
    request_id = await simulator.enqueue_payload({}, timeout=0.1)
    await asking
    await extension.close()
    state = await simulator.wait_for_invocation_complete(request_id)
    assert state.status is InvocationStatus.SUCCESS
    await simulator.wait_for(has(simulator, "platform.report"))
    assert simulator.get_telemetry_events_by_type("platform.report")[0].record["status"] == "timeout"


# -- telemetry --------------------------------------------------------------------------------------------------------


async def test_init_is_told_once_and_in_order(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    assert types_of(simulator) == ["platform.initStart"]
    record = simulator.telemetry_events[0].record
    assert (record["initializationType"], record["phase"], record["functionName"]) == ("on-demand", "init", "test-function")
    runtime.start(lambda event: event)
    for number in range(3):
        await simulator.wait_for_invocation_complete(await simulator.enqueue_payload(number))
    await simulator.wait_for(has(simulator, "platform.report", 3))
    types = types_of(simulator)
    assert types[:4] == ["platform.initStart", "platform.initRuntimeDone", "platform.initReport", "platform.start"]
    assert (
        types[4:]
        == ["platform.runtimeDone", "platform.report"] + ["platform.start", "platform.runtimeDone", "platform.report"] * 2
    )


async def test_an_invocation_is_reported(opened: Callable[..., Any]) -> None:
    simulator = await opened(Simulator(memory_size=256))
    runtime = await opened(ScriptedRuntime(simulator))
    runtime.start(lambda event: event)
    request_id = await simulator.enqueue_payload({})
    await simulator.wait_for(has(simulator, "platform.report"))
    (report,) = simulator.get_telemetry_events_by_type("platform.report")
    metrics = report.record["metrics"]
    assert (report.record["requestId"], report.record["status"], metrics["memorySizeMB"]) == (request_id, "success", 256)
    assert metrics["billedDurationMs"] >= 1
    state = simulator.invocation_state(request_id)
    assert state.is_finished
    assert state.report is not None
    assert state.report.duration_ms == metrics["durationMs"]


async def test_an_error_is_reported_as_one(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    runtime.start(lambda event: event["missing"])
    await simulator.enqueue_payload({})
    await simulator.wait_for(has(simulator, "platform.report"))
    statuses = [
        simulator.get_telemetry_events_by_type(f"platform.{name}")[0].record["status"] for name in ("runtimeDone", "report")
    ]
    assert statuses == ["error", "error"]


async def test_captured_events_can_be_forgotten(simulator: Simulator) -> None:
    simulator.enable_telemetry_capture()
    assert len(simulator.telemetry_events) == 1
    simulator.clear_telemetry_events()
    assert simulator.telemetry_events == []


async def test_a_subscriber_gets_what_is_captured(simulator: Simulator, opened: Callable[..., Any]) -> None:
    receiver = await opened(TelemetryReceiver())
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("INVOKE")
    await extension.subscribe_telemetry(
        receiver.uri, ["platform"], buffering={"timeoutMs": 25, "maxItems": 1000, "maxBytes": 262144}
    )
    extension.start()
    runtime = await opened(ScriptedRuntime(simulator))
    runtime.start(lambda event: event)
    request_id = await simulator.enqueue_payload({})
    await receiver.wait_for(lambda: receiver.of_type("platform.report"))
    assert [event.type for event in receiver.events] == types_of(simulator)
    assert receiver.of_type("platform.report")[0].record["requestId"] == request_id


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["spindown", "timeout", "failure"])
async def test_extensions_are_told_why_it_ends(simulator: Simulator, opened: Callable[..., Any], reason: Any) -> None:
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("SHUTDOWN")
    extension.start()
    runtime = await opened(ScriptedRuntime(simulator))
    runtime.start(lambda event: event)
    await simulator.wait_for_extensions_ready()
    await simulator.wait_for_phase(Phase.IDLE)
    before = time.time()
    await simulator.graceful_shutdown(reason)
    assert time.time() - before < 1  # it does not wait for more than the extension
    (event,) = extension.events
    assert (event.type, event.shutdown_reason) == ("SHUTDOWN", reason)
    assert abs(event.deadline_ms / 1000 - before - 2) < 0.5
    assert simulator.phase is Phase.CLOSED


async def test_an_extension_that_does_not_end_is_waited_for_so_long(opened: Callable[..., Any]) -> None:
    simulator = await opened(Simulator(shutdown_timeout=0.1))
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("SHUTDOWN")
    asking = asyncio.create_task(extension.next_event())
    runtime = await opened(ScriptedRuntime(simulator))
    runtime.start(lambda event: event)
    await simulator.wait_for_phase(Phase.IDLE)
    before = time.monotonic()
    await simulator.graceful_shutdown()
    assert 0.05 < time.monotonic() - before < 1
    assert (await asking).type == "SHUTDOWN"


async def test_without_subscribers_the_end_is_quick(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    runtime.start(lambda event: event)
    await simulator.wait_for_phase(Phase.IDLE)
    before = time.monotonic()
    await simulator.graceful_shutdown()
    assert time.monotonic() - before < 0.3


async def test_an_answer_on_its_way_is_taken_before_the_end(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    request_id = await simulator.enqueue_payload({})
    invocation = await runtime.next()
    ending = asyncio.create_task(simulator.graceful_shutdown())
    await asyncio.sleep(0)
    await runtime.respond(invocation, "in time")
    await ending
    assert simulator.invocation_state(request_id).json() == "in time"


async def test_who_waits_at_the_end_is_told(simulator: Simulator) -> None:
    request_id = await simulator.enqueue_payload({})
    waiting = asyncio.create_task(simulator.wait_for_invocation_complete(request_id))
    await asyncio.sleep(0)
    await simulator.shutdown()
    state = await waiting
    assert (state.status, state.error_type) == (InvocationStatus.ERROR, "Sandbox.Failure")


async def test_after_the_end_nothing_is_taken(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    await simulator.graceful_shutdown()
    with pytest.raises(UsageError, match="shut down"):
        await simulator.enqueue_payload({})
    with pytest.raises(ConnectionError):
        await runtime.next()
    await simulator.shutdown()
    await simulator.graceful_shutdown()


async def test_a_reason_that_does_not_exist_is_refused(simulator: Simulator) -> None:
    with pytest.raises(UsageError, match="no shutdown reason 'boredom'"):
        await simulator.graceful_shutdown("boredom")  # type: ignore[arg-type]


# -- options ----------------------------------------------------------------------------------------------------------


async def test_the_address_is_said_twice(simulator: Simulator) -> None:
    assert re.fullmatch(r"127\.0\.0\.1:\d+", simulator.runtime_api)
    assert simulator.runtime_api_url == f"http://{simulator.runtime_api}"


async def test_a_port_that_is_taken_is_told(simulator: Simulator) -> None:
    port = int(simulator.runtime_api.rpartition(":")[2])
    with pytest.raises(AddressInUseError):
        await Simulator(port=port).start()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory_size": 64}, "memory_size is 64 MB"),
        ({"timeout": 0}, "timeout is 0 s"),
        ({"timeout": 901}, "timeout is 901 s"),
        ({"init_timeout": -1}, "init_timeout is -1 s"),
        ({"external_extensions": "one"}, "external_extensions is one string"),
    ],
)
def test_options_that_cannot_be_right_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Simulator(**options)


async def test_the_variables_of_a_runtime_and_of_an_extension(opened: Callable[..., Any]) -> None:
    simulator = await opened(
        Simulator(
            function_name="orders",
            function_version="7",
            handler="app.handler",
            memory_size=512,
            region="eu-central-1",
            account_id="210987654321",
            log_group="/custom",
            log_stream="a/stream",
        )
    )
    runtime, extension = simulator.lambda_environment(), simulator.lambda_environment("extension")
    assert runtime["AWS_LAMBDA_RUNTIME_API"] == extension["AWS_LAMBDA_RUNTIME_API"] == simulator.runtime_api
    assert (runtime["AWS_LAMBDA_FUNCTION_NAME"], runtime["AWS_LAMBDA_FUNCTION_VERSION"]) == ("orders", "7")
    assert (runtime["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], runtime["AWS_REGION"]) == ("512", "eu-central-1")
    assert (runtime["_HANDLER"], runtime["AWS_LAMBDA_LOG_GROUP_NAME"]) == ("app.handler", "/custom")
    assert runtime["AWS_LAMBDA_LOG_STREAM_NAME"] == "a/stream"
    assert "_HANDLER" not in extension
    assert simulator.function.arn == "arn:aws:lambda:eu-central-1:210987654321:function:orders"


async def test_without_a_handler_there_is_no_such_variable(simulator: Simulator) -> None:
    assert "_HANDLER" not in simulator.lambda_environment()
    with pytest.raises(UsageError, match="no role 'butler'"):
        simulator.lambda_environment("butler")  # type: ignore[arg-type]


async def test_before_the_start_there_is_no_address() -> None:
    with pytest.raises(UsageError, match="not started"):
        Simulator().runtime_api  # noqa: B018  # the access is the test
    assert repr(Simulator()) == "<Simulator of test-function, not started>"


# -- the Lambda API in front ------------------------------------------------------------------------------------------


async def test_the_lambda_api_invokes_the_environment(simulator: Simulator, runtime: ScriptedRuntime) -> None:
    url = await simulator.listen()
    runtime.start(lambda event: {"got": event["a"]})
    async with ScriptedRuntime(url) as client:  # any HTTP client will do
        for name in ("test-function", "function"):
            answer = await client.request("POST", f"/2015-03-31/functions/{name}/invocations", body=b'{"a": 1}')
            assert (answer.status, answer.body) == (200, b'{"got":1}')
        answer = await client.request("POST", "/2015-03-31/functions/test-function/invocations", body=b"{}")
        assert answer.headers["x-amz-function-error"] == "Unhandled"
    statuses = [state.status for state in simulator.invocation_states().values()]
    assert statuses == [InvocationStatus.SUCCESS, InvocationStatus.SUCCESS, InvocationStatus.ERROR]


# -- what must not disturb it -----------------------------------------------------------------------------------------


async def test_a_predicate_that_finds_nothing_or_fails_the_test_disturbs_nobody(
    simulator: Simulator, runtime: ScriptedRuntime
) -> None:
    runtime.start(lambda event: event)
    asked = iter([False])

    def fails() -> None:
        if simulator.get_telemetry_events_by_type("platform.start"):
            pytest.fail("too early")

    nothing = asyncio.create_task(simulator.wait_for(lambda: next(asked)))
    failing = asyncio.create_task(simulator.wait_for(fails))
    await asyncio.sleep(0)  # both have asked once
    state = await simulator.wait_for_invocation_complete(await simulator.enqueue_payload(1))
    assert state.status is InvocationStatus.SUCCESS
    with pytest.raises(UsageError, match="next\\(asked\\) raised StopIteration"):
        await nothing
    with pytest.raises(pytest.fail.Exception, match="too early"):
        await failing


async def test_in_the_shutdown_phase_nothing_is_enqueued(simulator: Simulator, opened: Callable[..., Any]) -> None:
    extension = await opened(ScriptedExtension(simulator))
    await extension.register("SHUTDOWN")
    event = asyncio.create_task(extension.next_event())
    runtime = await opened(ScriptedRuntime(simulator))
    runtime.start(lambda event: event)
    await simulator.wait_for(lambda: simulator.is_initialized)
    ending = asyncio.create_task(simulator.graceful_shutdown())
    assert (await event).type == "SHUTDOWN"
    with pytest.raises(UsageError, match="being shut down"):
        await simulator.enqueue_payload(1)
    assert simulator.invocation_states() == {}
    await extension.close()
    await ending


async def test_every_endpoint_is_closed_at_the_end() -> None:
    async with Simulator() as simulator:
        urls = [await simulator.listen(), await simulator.listen()]
    for url in urls:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


def test_the_shutdown_phase_has_an_end() -> None:
    with pytest.raises(UsageError, match="shutdown_timeout is infinite"):
        Simulator(shutdown_timeout=float("inf"))
