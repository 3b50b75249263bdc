"""An environment that runs several invocations at once (contract 1.13)."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

RUNTIME = f"""#!{sys.executable} -SE
import http.client, json, os, threading, time
known = threading.Barrier(3) if os.environ.get("MEET") else None
def work(number):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    def call(method, path, body=None, **headers):
        connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    while True:
        _, headers, body = call("GET", "invocation/next")
        id = headers["Lambda-Runtime-Aws-Request-Id"]
        event = json.loads(body)
        print(json.dumps({{"level": "INFO", "requestId": id, "message": "mine"}}), flush=True)
        if event == "exit": os._exit(3)
        if event == "late": time.sleep(0.4)
        if event == "meet": known.wait(10)
        value = {{"worker": number, "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "pid": os.getpid(), "event": event}}
        status, _, answer = call("POST", "invocation/" + id + "/response", json.dumps(value))
        if status != 202:
            print(json.dumps({{"level": "INFO", "message": "refused " + str(status)}}), flush=True)
for number in range(int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])):
    threading.Thread(target=work, args=(number,)).start()
"""


@pytest.fixture
async def start(run: Any, workshop: Any) -> Any:
    async def start(source: str = RUNTIME, **settings: Any) -> Any:
        options = settings.pop("options", {})
        return await run(workshop.provided(source, **{"max_concurrency": 3, "environment": {"MEET": "1"}, **settings}), **options)

    return start


async def test_one_environment_runs_several_invocations_at_once(start):
    call = await start()
    results = await asyncio.gather(*(call("meet") for _ in range(3)))
    values = [result.json() for result in results]
    assert sorted(value["worker"] for value in values) == [0, 1, 2]
    assert {value["type"] for value in values} == {"lambda-managed-instances"}
    assert len({value["pid"] for value in values}) == 1


async def test_without_room_another_environment_is_started(start):
    call = await start()
    results = await asyncio.gather(*(call("meet") for _ in range(6)))
    assert len({result.json()["pid"] for result in results}) == 2
    assert len(call.pool.environments) == 2
    assert len({(await call(1)).json()["pid"] for _ in range(3)}) == 1


async def test_a_log_line_belongs_to_the_invocation_it_names(start):
    call = await start()
    results = await asyncio.gather(*(call("meet") for _ in range(3)))
    for result in results:
        (mine,) = [line for line in result.logs if "mine" in line]
        assert result.request_id in mine
        assert all(result.request_id in line for line in result.logs)


async def test_a_timeout_ends_nobody_else_and_a_late_answer_is_refused(start):
    call = await start()
    first = (await call(1)).json()["pid"]
    late, good = await asyncio.gather(call("late", timeout=0.2), call("late"))
    assert late.json() == {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 0.20 seconds"}
    assert good.json()["pid"] == first
    assert len(call.pool.environments) == 1
    for _ in range(200):
        if any("refused 410" in text for _, text in call.book.events):
            break
        await asyncio.sleep(0.01)
    assert any("refused 410" in text for _, text in call.book.events)


async def test_a_crash_answers_everybody_and_the_next_ones_are_served(start):
    call = await start()
    results = await asyncio.gather(call("late"), call("late"), call("exit"))
    assert {result.json()["errorType"] for result in results} == {"Runtime.ExitError"}
    assert (await call(1)).json()["event"] == 1


async def test_a_broken_init_answers_everybody(start):
    call = await start("#!/bin/sh\nexit 3\n")
    results = await asyncio.gather(*(call(number) for number in range(3)))
    assert {result.json()["errorType"] for result in results} == {"Runtime.ExitError"}


async def test_an_idle_environment_retires_and_a_busy_one_does_not(start):
    call = await start(options={"idle_timeout": 0.1})
    late = asyncio.ensure_future(call("late"))
    await call(1)
    assert (await late).json()["event"] == "late"
    for _ in range(500):
        if not call.pool.environments:
            break
        await asyncio.sleep(0.01)
    assert not call.pool.environments


async def test_fresh_environments_are_not_shared(start):
    call = await start(options={"reuse": False})
    results = await asyncio.gather(*(call(number) for number in range(3)))
    assert len({result.json()["pid"] for result in results}) == 3


async def test_a_runtime_of_ours_stays_with_one_at_a_time(run, workshop):
    call = await run(
        workshop.python(
            "import os\ndef handler(event, context):\n    return os.environ.get('AWS_LAMBDA_MAX_CONCURRENCY')\n",
            max_concurrency=3,
        )
    )
    assert (await call({})).json() is None


async def test_what_is_not_there_with_several_at_once(start):
    import http.client

    call = await start()
    await call(1)
    address = next(iter(call.pool.environments)).runtime_api

    def ask(method: str, path: str, body: bytes | None) -> int:
        connection = http.client.HTTPConnection(address, timeout=5)
        try:
            connection.request(method, path, body)
            return connection.getresponse().status
        finally:
            connection.close()

    assert await asyncio.to_thread(ask, "GET", "/2018-06-01/runtime/invocation/next", b"body") == 400
    assert await asyncio.to_thread(ask, "PUT", "/2020-08-15/logs", b"{}") == 404
    assert await asyncio.to_thread(ask, "GET", "/2018-06-01/runtime/restore/next", None) == 404
