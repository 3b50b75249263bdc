"""SnapStart: Init ends in a snapshot, and Restore comes before the first invocation (contract 1.7)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

RUNTIME = f"""#!{sys.executable} -SE
import http.client, json, os, sys
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None, **headers):
    connection.request(method, "/2018-06-01/runtime/" + path, body, {{k.replace("_", "-"): v for k, v in headers.items()}})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()
def serve():
    while True:
        _, headers, body = call("GET", "invocation/next")
        value = {{"event": json.loads(body), "seen": seen, "variables": sorted(k for k in os.environ if k.startswith("AWS_LAMBDA"))}}
        value["type"] = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
        call("POST", "invocation/" + headers["Lambda-Runtime-Aws-Request-Id"] + "/response", json.dumps(value))
seen = []
"""
RESTORES = RUNTIME + 'seen.append(call("GET", "restore/next")[0::2][0])\nserve()\n'
GOES_ON = RUNTIME + "serve()\n"
FAILS = (
    RUNTIME
    + """
call("GET", "restore/next")
call("POST", "restore/error", '{"errorType": "Mine", "errorMessage": "no"}',
     Lambda_Runtime_Function_Error_Type="Runtime.AfterRestoreError")
sys.exit(65)
"""
)


@pytest.fixture
async def start(run: Any, workshop: Any) -> Any:
    async def start(source: str, **settings: Any) -> Any:
        return await run(workshop.provided(source, **settings))

    return start


async def test_a_runtime_is_restored_before_its_first_event(start):
    call = await start(RESTORES, snap_start=True)
    result = await call({"n": 1})
    assert result.json()["seen"] == [200]
    assert result.json()["type"] == "snap-start"
    report = result.report
    assert report.init_duration_ms is None
    assert report.restore_duration_ms is not None
    assert report.billed_restore_duration_ms >= 0
    assert set(report.as_dict()) >= {"RestoreDurationMs", "BilledRestoreDurationMs"}
    assert "\tRestore Duration: " in result.logs[-1]
    assert "\tBilled Restore Duration: " in result.logs[-1]
    again = await call({"n": 2})
    assert again.json()["seen"] == [200]
    assert again.report.restore_duration_ms is None
    assert "Restore" not in again.logs[-1]


async def test_a_runtime_that_knows_nothing_of_it_is_restored_at_once(start):
    call = await start(GOES_ON, snap_start=True)
    result = await call({"n": 1})
    assert (result.json()["event"], result.json()["type"]) == ({"n": 1}, "snap-start")
    assert result.report.restore_duration_ms is not None


async def test_a_snapshot_has_no_log_group_and_stream_among_its_variables(start):
    group = {"AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"}
    assert not group & set((await (await start(GOES_ON, snap_start=True))({})).json()["variables"])
    assert group <= set((await (await start(GOES_ON))({})).json()["variables"])


async def test_without_it_there_are_no_restore_endpoints(start):
    call = await start(RESTORES)
    result = await call({"n": 1})
    assert (result.json()["seen"], result.json()["type"]) == ([404], "on-demand")


async def test_a_restore_that_fails_answers_its_invocation(start):
    call = await start(FAILS, snap_start=True)
    for _ in range(2):
        result = await call({})
        assert (result.function_error, result.json()) == ("Unhandled", {"errorType": "Mine", "errorMessage": "no"})
        assert result.error_type == "Runtime.AfterRestoreError"


async def test_an_environment_in_its_snapshot_is_frozen_and_thawed(run, workshop):
    call = await run(workshop.provided(RESTORES, snap_start=True), freeze=True)
    assert [(await call({"n": n})).json()["event"] for n in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_our_own_runtimes_run_with_it(run, workshop, has_node):
    code = "def handler(event, context):\n    return [event, context.log_group_name]\n"
    functions = [
        workshop.python(code, "py", snap_start=True),
        workshop.node("exports.handler = async (event) => [event, null];", "js", snap_start=True),
    ]
    call = await run(*functions)
    for name in ("py", "js"):
        result = await call({"n": 1}, function=name)
        assert (result.function_error, result.json()[0]) == (None, {"n": 1})
        assert result.report.restore_duration_ms is not None
