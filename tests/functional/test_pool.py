"""Who gets which environment: concurrency, limits, retirement, and environments that die (contract 5.5)."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
from pathlib import Path
from typing import Any

import boto3
import pytest

from lambdabox.engine.ticket import Ticket
from lambdabox.errors import ServiceException, TooManyRequestsException
from lambdabox.model.invocation import InvocationResult
from lambdabox.protocol.states import Phase
from lambdabox.service import make_invocation

COUNTER = """
import os, pathlib, time
count = 0
def handler(event, context):
    global count
    count += 1
    if "arrive" in event:
        folder = pathlib.Path(event["folder"])
        (folder / event["arrive"]).touch()
        horizon = time.monotonic() + 10
        while not all((folder / name).exists() for name in event["wait"]) and time.monotonic() < horizon:
            time.sleep(0.002)
    return {"count": count, "pid": os.getpid()}
"""


def meet(folder: Any, me: str, *others: str) -> dict[str, Any]:
    """An event: say that one is here, and wait for the others."""
    return {"arrive": me, "wait": others, "folder": str(folder)}


async def arrived(folder: Any, name: str) -> None:
    for _ in range(2000):
        if (folder / name).exists():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{name} never came")


async def test_concurrent_calls_get_environments_of_their_own(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER))
    names = ("a", "b", "c")
    results = await asyncio.gather(*(call(meet(tmp_path, name, *names)) for name in names))
    assert [result.json()["count"] for result in results] == [1, 1, 1]
    assert len({result.json()["pid"] for result in results}) == 3


async def test_the_most_recently_used_idle_environment_comes_first(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER))
    first = asyncio.ensure_future(call(meet(tmp_path, "a", "go-a")))
    await arrived(tmp_path, "a")
    second = asyncio.ensure_future(call(meet(tmp_path, "b", "go-b")))
    await arrived(tmp_path, "b")
    (tmp_path / "go-b").touch()
    pid_of_b = (await second).json()["pid"]
    (tmp_path / "go-a").touch()
    pid_of_a = (await first).json()["pid"]
    assert pid_of_a != pid_of_b
    for _ in range(3):
        assert (await call({})).json()["pid"] == pid_of_a


async def test_over_the_limit_is_a_throttle_with_its_reason(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER), workshop.python(COUNTER, "other"), max_concurrency=1)
    running = asyncio.ensure_future(call(meet(tmp_path, "a", "go")))
    await arrived(tmp_path, "a")
    for name in ("function", "other"):
        with pytest.raises(TooManyRequestsException) as caught:
            await call({}, function=name)
        assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
        assert caught.value.retry_after == 1
    (tmp_path / "go").touch()
    await running
    assert (await call({}, function="other")).json()["count"] == 1


async def test_reserved_concurrency_is_a_ceiling_of_the_function_alone(workshop, run, tmp_path):
    one = workshop.python(COUNTER, "one", reserved_concurrency=1)
    none = workshop.python(COUNTER, "none", reserved_concurrency=0)
    call = await run(one, none, workshop.python(COUNTER, "free"))
    running = asyncio.ensure_future(call(meet(tmp_path, "a", "go"), function="one"))
    await arrived(tmp_path, "a")
    for name in ("one", "none"):
        with pytest.raises(TooManyRequestsException) as caught:
            await call({}, function=name)
        assert caught.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert (await call({}, function="free")).json()["count"] == 1
    (tmp_path / "go").touch()
    assert (await running).json()["count"] == 1
    assert (await call({}, function="one")).json()["count"] == 2


async def test_sequential_calls_over_http_stay_in_one_environment(workshop, run):
    call = await run(workshop.python(COUNTER))
    url = await call.service.listen()

    def five_hundred() -> dict[str, Any]:
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        with contextlib.closing(connection):
            for _ in range(500):
                connection.request("POST", "/2015-03-31/functions/function/invocations", b"{}")
                answer = json.loads(connection.getresponse().read())
        return dict(answer)

    assert (await asyncio.to_thread(five_hundred))["count"] == 500


async def test_sequential_calls_in_process_stay_in_one_environment(workshop, run):
    call = await run(workshop.python(COUNTER))
    results = [await call({}) for _ in range(100)]
    assert results[-1].json()["count"] == 100


async def test_idle_environments_retire(workshop, run, watch):
    call = await run(workshop.python(COUNTER), idle_timeout=0.05)
    first = (await call({})).json()
    assert first["count"] == 1
    for _ in range(1000):
        if not call.pool.environments:
            break
        await asyncio.sleep(0.005)
    assert not call.pool.environments
    assert not watch.is_running(first["pid"])
    assert (await call({})).json()["count"] == 1


async def test_an_environment_in_use_does_not_retire(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER), idle_timeout=0.05)
    pid = (await call({})).json()["pid"]
    running = asyncio.ensure_future(call(meet(tmp_path, "a", "go")))
    await arrived(tmp_path, "a")
    await asyncio.sleep(0.12)
    (tmp_path / "go").touch()
    assert (await running).json() == {"count": 2, "pid": pid}


async def settled(call: Any) -> None:
    """Until every environment of the function rests."""
    for _ in range(1000):
        if call.pool.environments and all(e.machine.phase in (Phase.IDLE, Phase.DORMANT) for e in call.pool.environments):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the environments never came to rest")


async def killed(call: Any, pid: int, watch: Any) -> None:
    os.kill(pid, signal.SIGKILL)
    for _ in range(1000):
        if not watch.is_running(pid):
            break
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.02)  # the engine hears of it through its keeper
    await settled(call)


async def test_a_dead_environment_is_never_handed_out(workshop, run, watch):
    call = await run(workshop.python(COUNTER))
    pid = (await call({})).json()["pid"]
    await killed(call, pid, watch)
    after = await call({})
    assert (after.function_error, after.json()["count"]) == (None, 1)
    assert after.json()["pid"] != pid


async def test_an_environment_that_died_while_idle_is_there_once_only(workshop, run, watch, tmp_path):
    """Its reset makes it available again: it must not stand in the list of idle ones twice."""
    call = await run(workshop.python(COUNTER))
    pid = (await call({})).json()["pid"]
    await killed(call, pid, watch)
    results = await asyncio.gather(*(call(meet(tmp_path, name, "a", "b")) for name in ("a", "b")))
    assert [result.json()["count"] for result in results] == [1, 1]
    assert len({result.json()["pid"] for result in results}) == 2


async def test_the_death_of_a_warden_costs_one_invocation_at_most(workshop, run, needs_proc):
    call = await run(workshop.python(COUNTER, timeout=3))
    pid = (await call({})).json()["pid"]
    with open(f"/proc/{pid}/stat") as stat:
        warden = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(warden, signal.SIGKILL)
    failed = 0
    while (result := await call({})).is_error or result.json()["pid"] == pid:
        failed += result.is_error
    assert failed <= 1
    assert [(await call({})).json()["count"] for _ in range(3)] == [2, 3, 4]


INVOKER = """
import json, os, urllib.error, urllib.request
def handler(event, context):
    depth = event.get("depth", 0)
    if depth == 0:
        return {"depth": 0}
    url = os.environ["AWS_ENDPOINT_URL_LAMBDA"] + "/2015-03-31/functions/" + context.function_name + "/invocations"
    request = urllib.request.Request(url, json.dumps({"depth": depth - 1}).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            inner = json.load(answer)
    except urllib.error.HTTPError as refused:
        inner = {"refused": refused.code, "retry": refused.headers["Retry-After"], **json.load(refused)}
    return {"depth": depth, "inner": inner}
"""


async def test_a_function_invokes_itself_through_the_api(workshop, run):
    call = await run(workshop.python(INVOKER))
    await call.service.listen()
    assert (await call({"depth": 2})).json() == {"depth": 2, "inner": {"depth": 1, "inner": {"depth": 0}}}


async def test_a_recursion_without_end_ends_in_a_throttle(workshop, run):
    call = await run(workshop.python(INVOKER, timeout=30), max_concurrency=3)
    await call.service.listen()
    inner = (await call({"depth": 100})).json()
    depth = 0
    while "inner" in inner:
        inner, depth = inner["inner"], depth + 1
    assert depth == 3
    assert inner == {
        "refused": 429,
        "retry": "1",
        "Reason": "ConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }


async def test_boto3_inside_a_function_finds_the_local_endpoint(workshop, run):
    source = """
def handler(event, context):
    if event:
        return event
    import boto3
    client = boto3.client("lambda", aws_access_key_id="a", aws_secret_access_key="b")
    return client.invoke(FunctionName=context.function_name, Payload=b'{"from": "boto3"}')["Payload"].read().decode()
"""
    packages = str(Path(boto3.__file__).parents[1])
    call = await run(workshop.python(source, timeout=30, memory_size=512, environment={"PYTHONPATH": packages}))
    await call.service.listen()
    assert (await call({})).json() == '{"from": "boto3"}'


async def test_without_reuse_every_call_has_a_new_environment_that_ends(workshop, run, watch):
    call = await run(workshop.python(COUNTER), reuse=False)
    results = [(await call({})).json() for _ in range(3)]
    assert [result["count"] for result in results] == [1, 1, 1]
    assert len({result["pid"] for result in results}) == 3
    for _ in range(1000):
        if not call.pool.environments:
            break
        await asyncio.sleep(0.005)
    assert not any(watch.is_running(result["pid"]) for result in results)


async def test_without_reuse_a_bad_function_leaves_nothing(workshop, run):
    call = await run(workshop.python("import time\ndef handler(event, context):\n    time.sleep(60)\n", timeout=0.2), reuse=False)
    results = await asyncio.gather(*(call({}) for _ in range(2)))
    assert {result.json()["errorType"] for result in results} == {"Sandbox.Timedout"}


async def test_closing_answers_what_runs_and_refuses_what_comes(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER), workshop.python(COUNTER, "other"))
    running = asyncio.ensure_future(call(meet(tmp_path, "a", "never")))
    await arrived(tmp_path, "a")
    pool, dispatcher = call.pool, call.service._dispatcher
    closing = asyncio.ensure_future(call.service.close())
    while not pool._is_closing:
        await asyncio.sleep(0)
    for function in call.service.functions:
        with pytest.raises(ServiceException, match="closed"):
            dispatcher.submit(Ticket(function, make_invocation(function.arn, {})))
    await closing
    result = await running
    assert result.json()["errorType"] == "Sandbox.Failure"
    assert not pool.environments


async def test_closing_while_an_environment_starts_leaves_nothing(workshop, run):
    call = await run(workshop.python(COUNTER))
    await call({})
    calls = [asyncio.ensure_future(call({})) for _ in range(4)]
    await asyncio.sleep(0)
    pool = call.pool
    await call.service.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert len(results) == 4
    assert all(isinstance(result, ServiceException | InvocationResult) for result in results)
    assert not pool.environments


async def test_killing_leaves_nothing(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER))
    await call({})
    running = asyncio.ensure_future(call(meet(tmp_path, "a", "never")))
    await arrived(tmp_path, "a")
    starting = [asyncio.ensure_future(call({})) for _ in range(3)]
    await asyncio.sleep(0)
    await call.service.kill()
    for task in (running, *starting):
        task.cancel()
    await asyncio.gather(running, *starting, return_exceptions=True)


async def test_a_caller_that_leaves_does_not_disturb(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(meet(tmp_path, "a", "go")), 0.3)
    (tmp_path / "go").touch()
    await settled(call)
    assert (await call({})).json()["count"] == 2


async def test_event_invocations_run_in_the_background_and_wait_for_capacity(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER), max_concurrency=1)
    running = asyncio.ensure_future(call(meet(tmp_path, "a", "go")))
    await arrived(tmp_path, "a")
    for name in ("b", "c"):
        await call.service.invoke_event("function", meet(tmp_path, name))
    await asyncio.sleep(0.02)
    assert not (tmp_path / "b").exists()
    (tmp_path / "go").touch()
    await running
    assert await call.service.close(event_patience=5) == []
    assert (tmp_path / "b").exists()
    assert (tmp_path / "c").exists()


async def test_event_invocations_that_are_not_over_are_named_at_the_end(workshop, run, tmp_path):
    call = await run(workshop.python(COUNTER))
    request_id = await call.service.invoke_event("function", meet(tmp_path, "a", "never"))
    await arrived(tmp_path, "a")
    assert await call.service.close() == [("function", request_id)]


async def test_two_services_side_by_side_do_not_meet(workshop, run):
    function = workshop.python(COUNTER)
    one, two = await run(function), await run(function)
    assert (await one({})).json()["count"] == 1
    assert (await two({})).json()["count"] == 1
    assert (await one({})).json()["count"] == 2
