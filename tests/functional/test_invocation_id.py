"""Lambda-Runtime-Invocation-Id: an answer to an earlier delivery of the event does not count (contract 1.12)."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any

import pytest

NEXT = "/2018-06-01/runtime/invocation/next"
HEADER = "Lambda-Runtime-Invocation-Id"
LARGE = b'"' + b"x" * 6_291_556 + b'"'


class Player:
    """The test as a runtime; a process that only sleeps stands for it."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any, bytes]:
        return await asyncio.to_thread(self._call, method, path, body, headers)

    def _call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


@pytest.fixture
async def play(workshop: Any, run: Any) -> Any:
    async def play(**options: Any) -> tuple[Player, Any]:
        call = await run(workshop.provided("#!/bin/sh\nexec sleep 600\n", timeout=20), **options)
        result = asyncio.ensure_future(call({"n": 1}))
        while not call.pool.environments or not (address := next(iter(call.pool.environments)).runtime_api):
            await asyncio.sleep(0.001)
        return Player(address), result

    return play


async def finish(runtime: Player) -> None:
    """Ask for an event that never comes, so that the invocation is over."""
    with_no_answer = asyncio.ensure_future(runtime.call("GET", NEXT))
    with_no_answer.add_done_callback(lambda done: done.exception())


@pytest.mark.parametrize("kind", ["response", "error"])
async def test_a_stale_answer_is_refused_with_410_and_the_latest_counts(play, kind):
    runtime, result = await play(invocation_id=True)
    _, first, _ = await runtime.call("GET", NEXT)
    _, second, _ = await runtime.call("GET", NEXT)
    request_id = first["Lambda-Runtime-Aws-Request-Id"]
    assert request_id == second["Lambda-Runtime-Aws-Request-Id"]
    assert first[HEADER] != second[HEADER]
    path = f"/2018-06-01/runtime/invocation/{request_id}/{kind}"
    status, _, body = await runtime.call("POST", path, b'"old"', **{HEADER: first[HEADER]})
    assert (status, json.loads(body)) == (410, {"errorType": "InvokeTimeout", "errorMessage": "Invoke timeout"})
    assert (await runtime.call("POST", path, b'"new"', **{HEADER: second[HEADER]}))[0] == 202
    await finish(runtime)
    assert (await result).json() == "new"


async def test_a_stale_stream_is_refused(play):
    runtime, result = await play(invocation_id=True)
    _, first, _ = await runtime.call("GET", NEXT)
    await runtime.call("GET", NEXT)
    path = f"/2018-06-01/runtime/invocation/{first['Lambda-Runtime-Aws-Request-Id']}/response"
    mode = {"Lambda-Runtime-Function-Response-Mode": "streaming"}
    assert (await runtime.call("POST", path, b"old", **{HEADER: first[HEADER]}, **mode))[0] == 410
    assert (await runtime.call("POST", path, b"1"))[0] == 202
    await finish(runtime)
    assert (await result).json() == 1


async def test_unless_it_is_asked_for_there_is_no_invocation_id(play):
    runtime, result = await play()
    _, headers, _ = await runtime.call("GET", NEXT)
    assert HEADER not in headers
    path = f"/2018-06-01/runtime/invocation/{headers['Lambda-Runtime-Aws-Request-Id']}/response"
    assert (await runtime.call("POST", path, b"1", **{HEADER: "anything"}))[0] == 202
    await finish(runtime)
    assert (await result).json() == 1


async def test_our_own_runtimes_bring_it_back(run, workshop, has_node):
    functions = [
        workshop.python("def handler(event, context):\n    if event == 0: 1 / 0\n    return event\n", "py"),
        workshop.node("exports.handler = async (event) => { if (event === 0) throw new Error('x'); return event; };", "js"),
    ]
    call = await run(*functions, invocation_id=True)
    for name in ("py", "js"):
        for event in (1, 0, 2, 3):
            result = await call(event, function=name)
            assert (result.is_error, None if event == 0 else result.json()) == (event == 0, None if event == 0 else event)


async def test_an_error_over_the_limit_is_refused_and_answered_by_the_platform(play):
    runtime, result = await play()
    _, headers, _ = await runtime.call("GET", NEXT)
    path = f"/2018-06-01/runtime/invocation/{headers['Lambda-Runtime-Aws-Request-Id']}/error"
    assert (await runtime.call("POST", path, LARGE))[0] == 413
    await finish(runtime)
    assert (await result).json()["errorType"] == "Function.ResponseSizeTooLarge"


async def test_an_init_error_over_the_limit_is_answered_by_the_platform(play):
    runtime, result = await play()
    accepted = 0
    while accepted < 2:  # Init runs again inside the invocation, and has to fail there, too
        status, _, _ = await runtime.call("POST", "/2018-06-01/runtime/init/error", LARGE)
        accepted += status == 202
        await asyncio.sleep(0.01)
    assert (await result).json()["errorType"] == "Function.ResponseSizeTooLarge"
