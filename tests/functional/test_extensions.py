"""Extensions in real processes: events, budgets, failures (contract 2, 4.5)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from lambdabox import LocalLambda

WHOLE = """
register("INVOKE", "SHUTDOWN")
note(["registered", time.time()])
while True:
    event = next_event()
    note(event)
    if event["eventType"] == "SHUTDOWN":
        break
"""
COUNTER = """
import os, time
count = 0
def handler(event, context):
    global count
    count += 1
    if event.get("do"):
        exec(event["do"])
    return {"count": count, "id": context.aws_request_id}
"""


def noted(notes: Path) -> list[Any]:
    return [json.loads(line) for line in notes.read_text().splitlines()]


def events(notes: Path, kind: str) -> list[Any]:
    return [note for note in noted(notes) if isinstance(note, dict) and note["eventType"] == kind]


@pytest.fixture
def start(workshop, run, notes):
    """A Python function with external extensions."""

    async def start(
        *sources: str, code: str = COUNTER, names: tuple[str, ...] = ("collector", "second", "third"), **settings: Any
    ) -> Any:
        paths = tuple(workshop.extension(source, name) for source, name in zip(sources, names, strict=False))
        options = {key: settings.pop(key) for key in ("reuse", "init_timeout", "share_ports") if key in settings}
        environment = {"NOTES": str(notes), **settings.pop("environment", {})}
        return await run(workshop.python(code, extensions=paths, environment=environment, **settings), **options)

    return start


async def test_an_extension_gets_every_invocation_and_the_end(start, notes):
    call = await start(WHOLE)
    before = time.time()
    results = [await call({"n": n}) for n in range(2)]
    await call.service.close()
    invokes = events(notes, "INVOKE")
    assert [event["requestId"] for event in invokes] == [result.request_id for result in results]
    for event in invokes:
        assert list(event) == ["eventType", "deadlineMs", "requestId", "invokedFunctionArn", "tracing"]
        assert event["invokedFunctionArn"] == call.service.functions[0].arn
        assert before * 1000 + 4000 < event["deadlineMs"] < before * 1000 + 15_000
        assert event["tracing"]["type"] == "X-Amzn-Trace-Id"
        assert event["tracing"]["value"].startswith("Root=1-")
    (shutdown,) = events(notes, "SHUTDOWN")
    assert list(shutdown) == ["eventType", "shutdownReason", "deadlineMs"]
    assert shutdown["shutdownReason"] == "spindown"
    assert time.time() * 1000 - 500 < shutdown["deadlineMs"] < time.time() * 1000 + 2100
    lines = [line for line in call.book.of("platform") if line.startswith("EXTENSION")]
    assert lines == ["EXTENSION\tName: collector\tState: Ready\tEvents: [INVOKE, SHUTDOWN]"]


async def test_registering_tells_about_the_function(start, notes):
    source = "note(register('INVOKE', **{'Lambda-Extension-Accept-Feature': 'accountId'}))\nwhile True: next_event()\n"
    call = await start(source)
    await call({})
    assert noted(notes) == [
        [200, {"functionName": "function", "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "123456789012"}]
    ]


async def test_a_timeout_is_told_to_extensions_and_init_runs_again(start, notes):
    call = await start(WHOLE, timeout=0.4)
    await call({})
    late = await call({"do": "time.sleep(60)"})
    assert late.json()["errorType"] == "Sandbox.Timedout"
    assert (await call({})).json()["count"] == 1
    await call.service.close()
    assert [event["shutdownReason"] for event in events(notes, "SHUTDOWN")] == ["timeout", "spindown"]
    assert sum(isinstance(note, list) for note in noted(notes)) == 2


async def test_a_crash_is_told_to_extensions_as_a_failure(start, notes):
    call = await start(WHOLE)
    await call({})
    assert (await call({"do": "os._exit(1)"})).json()["errorType"] == "Runtime.ExitError"
    assert (await call({})).json()["count"] == 1
    assert [event["shutdownReason"] for event in events(notes, "SHUTDOWN")] == ["failure"]


async def test_the_runtime_ends_before_the_extensions_are_told(start, notes):
    code = """
import json, os, signal, sys
def told(*_):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps(["runtime told"]) + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
def handler(event, context):
    return 1
"""
    call = await start(WHOLE, code=code)
    await call({})
    await call.service.close()
    assert [note[0] if isinstance(note, list) else note["eventType"] for note in noted(notes)][-2:] == [
        "runtime told",
        "SHUTDOWN",
    ]


async def test_an_extension_that_did_not_ask_for_shutdown_is_killed_at_once(start):
    call = await start("register('INVOKE')\nwhile True: next_event()\n", code="def handler(event, context):\n    return 1\n")
    await call({})
    begun = time.monotonic()
    await call.service.close()
    assert time.monotonic() - begun < 1.5


@pytest.mark.slow
async def test_an_extension_that_will_not_end_is_killed_after_two_seconds(start):
    call = await start("register('SHUTDOWN')\nnext_event()\ntime.sleep(60)\n")
    await call({})
    begun = time.monotonic()
    await call.service.close()
    assert 1.9 <= time.monotonic() - begun < 3


async def test_the_caller_is_answered_while_the_extension_still_works_and_the_next_call_waits(start, notes):
    source = """
register("INVOKE")
while True:
    event = next_event()
    time.sleep(0.3)
    note(["worked", event["requestId"]])
"""
    call = await start(source)
    import asyncio

    from lambdabox.engine.ticket import Ticket
    from lambdabox.service import make_invocation

    await call({})
    function = call.service.functions[0]
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    ticket = Ticket(function, make_invocation(function.arn, {}), on_answer=answered.set_result)
    call.service._dispatcher.submit(ticket)
    assert (await answered).json()["count"] == 2
    assert len(noted(notes)) == 1
    after = await call({})
    assert after.json()["count"] == 3
    assert len(noted(notes)) == 3
    assert after.report.duration_ms >= 300


async def test_an_extension_that_works_too_long_times_the_invocation_out_although_it_was_answered(start):
    call = await start("register('INVOKE')\nnext_event()\ntime.sleep(60)\n", timeout=0.4)
    result = await call({})
    assert (result.function_error, result.json()["count"]) == (None, 1)
    assert result.logs[-1].endswith("\tStatus: timeout")
    assert result.report.status == "timeout"
    assert (await call({})).json()["count"] == 1


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "error_type", "text"),
    [
        ("sys.exit(0)\n", "Extension.Crash", "exit code 0"),
        ("sys.exit(5)\n", "Extension.Crash", "exit status 5"),
        ("register()\nos.kill(os.getpid(), signal.SIGKILL)\n", "Extension.Crash", "signal: killed"),
        (
            (
                "register('INVOKE')\ncall('POST', 'init/error', '{}', **{'Lambda-Extension-Identifier': identifier,"
                " 'Lambda-Extension-Function-Error-Type': 'Extension.NoConfig'})\nsys.exit(1)\n"
            ),
            "Extension.InitError",
            "Extension.InitError",
        ),
    ],
)
async def test_an_extension_that_fails_in_init_fails_the_invocation(start, source, error_type, text):
    call = await start(source)
    result = await call({})
    assert result.json() == {"errorType": error_type, "errorMessage": f"RequestId: {result.request_id} Error: {text}"}
    reports = [line.split("\t")[1:] for line in call.book.of("platform") if line.startswith("INIT_REPORT")]
    assert reports == [[f"Phase: {phase}", "Status: error", f"Error Type: {error_type}"] for phase in ("init", "invoke")]
    assert any(line.startswith("EXTENSION\tName: collector\tState: ") for line in call.book.of("platform"))


@pytest.mark.parametrize(
    ("deed", "error_type", "text"),
    [
        ("sys.exit(0)", "Extension.Crash", "exit code 0"),
        ("os._exit(3)", "Extension.Crash", "exit status 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "Extension.Crash", "signal: segmentation fault"),
        (
            (
                "call('POST', 'exit/error', '{}', **{'Lambda-Extension-Identifier': identifier,"
                " 'Lambda-Extension-Function-Error-Type': 'Extension.Broken'})"
            ),
            "Extension.ExitError",
            "Extension.ExitError",
        ),
    ],
)
async def test_an_extension_that_fails_while_the_function_runs_fails_the_invocation(start, deed, error_type, text, tmp_path):
    source = f"""
register("INVOKE")
next_event()
if not os.path.exists({str(tmp_path / "failed")!r}):
    open({str(tmp_path / "failed")!r}, "w").close()
    {deed}
while True:
    next_event()
"""
    call = await start(
        source, code="import time\ndef handler(event, context):\n    time.sleep(event.get('sleep', 0))\n    return 'fine'\n"
    )
    result = await call({"sleep": 20})
    assert result.json() == {"errorType": error_type, "errorMessage": f"RequestId: {result.request_id} Error: {text}"}
    assert result.logs[-1].endswith(f"\tStatus: error\tError Type: {error_type}")
    assert (await call({})).json() == "fine"


async def test_an_extension_that_cannot_be_started_is_a_launch_error(workshop, run):
    path = workshop.code({"broken": "no program"}) / "broken"
    call = await run(workshop.python(COUNTER, extensions=(path,)))
    result = await call({})
    assert result.json() == {
        "errorType": "Extension.LaunchError",
        "errorMessage": f"RequestId: {result.request_id} Error: fork/exec {path}: permission denied",
    }


async def test_eleven_extensions_are_too_many(start):
    call = await start(*["register()\nnext_event()\n"] * 11, names=tuple(f"e{n}" for n in range(11)))
    result = await call({})
    assert result.json()["errorType"] == "Extension.LaunchError"
    assert result.json()["errorMessage"].endswith("Error: TooManyExtensions")


async def test_registering_after_init_is_refused(start, notes):
    source = """
register("INVOKE")
if os.fork() == 0:
    while next_event()["eventType"] != "INVOKE": pass
    again = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    again.request("POST", "/2020-01-01/extension/register", "{}", {"Lambda-Extension-Name": "late"})
    answer = again.getresponse()
    note([answer.status, json.loads(answer.read())])
    while True: next_event()
os.wait()
"""
    call = await start(source)
    await call({})
    await call({})
    assert noted(notes) == [
        [403, {"errorType": "Extension.RegistrationClosed", "errorMessage": "Extension registration closed already"}]
    ]


async def test_refusals_of_the_extensions_api(start, notes):
    source = """
note(call("GET", "event/next")[::2])
note(call("GET", "event/next", **{"Lambda-Extension-Identifier": "nonsense"})[::2])
unknown = "00000000-0000-4000-8000-000000000000"
note(call("GET", "event/next", **{"Lambda-Extension-Identifier": unknown})[::2])
note(call("POST", "register", "{}")[::2])
note(call("POST", "register", "{", **{"Lambda-Extension-Name": NAME})[0])
note(call("POST", "register", '{"events": ["NAP"]}', **{"Lambda-Extension-Name": NAME})[::2])
note(call("POST", "register", '{"events": ["SHUTDOWN"]}', **{"Lambda-Extension-Name": "internal"})[::2])
register("INVOKE")
note(call("POST", "register", "{}", **{"Lambda-Extension-Name": NAME})[::2])
note(call("POST", "exit/error", "{}", **{"Lambda-Extension-Identifier": identifier})[::2])
while True: next_event()
"""
    call = await start(source)
    await call({})
    found = [
        (note[0], note[1]["errorType"], note[1]["errorMessage"]) if isinstance(note, list) else note for note in noted(notes)
    ]
    unknown = "00000000-0000-4000-8000-000000000000"
    assert found == [
        (403, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"),
        (403, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
        (403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {unknown}"),
        (403, "Extension.InvalidExtensionName", "Empty extension name"),
        403,
        (403, "Extension.InvalidEventType", "NAP: ErrorInvalidEventType"),
        (403, "Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"),
        (403, "Extension.InvalidExtensionState", "Extension with this name already registered"),
        (403, "Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found"),
    ]


# -- internal extensions ----------------------------------------------------------------------------------------------

INTERNAL = """
import http.client, json, os, signal, sys, threading, time
def note(value):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps([value, time.monotonic()]) + "\\n")
def told(*_):
    note("SIGTERM")
    while os.environ.get("STAY"):
        time.sleep(0.01)
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
connection.request("POST", "/2020-01-01/extension/register", json.dumps({"events": []}), {"Lambda-Extension-Name": "inside"})
answer = connection.getresponse()
identifier = answer.getheader("Lambda-Extension-Identifier")
answer.read()
def wait():
    connection.request("GET", "/2020-01-01/extension/event/next", headers={"Lambda-Extension-Identifier": identifier})
threading.Thread(target=wait, daemon=True).start()
def handler(event, context):
    return 1
"""


@pytest.mark.parametrize("stays", [False, True])
async def test_an_internal_extension_gives_the_runtime_sigterm_and_half_a_second(workshop, run, notes, stays):
    environment = {"NOTES": str(notes)} | ({"STAY": "1"} if stays else {})
    call = await run(workshop.python(INTERNAL, environment=environment))
    assert (await call({})).json() == 1
    begun = time.monotonic()
    await call.service.close()
    taken = time.monotonic() - begun
    ((what, when),) = noted(notes)
    assert what == "SIGTERM"
    assert when - begun < 0.3
    assert 0.5 <= taken < 1.0 if stays else taken < 0.45


# -- the pool ---------------------------------------------------------------------------------------------------------


async def test_a_function_with_external_extensions_has_one_environment_and_waits_its_turn(start):
    import asyncio

    call = await start(WHOLE)
    results = await asyncio.gather(*(call({"do": "time.sleep(0.1)"}) for _ in range(4)))
    assert sorted(result.json()["count"] for result in results) == [1, 2, 3, 4]
    assert len(call.pool.environments) == 1


async def test_without_shared_ports_every_concurrent_call_has_its_own_environment(start):
    import asyncio

    call = await start(WHOLE, share_ports=False)
    results = await asyncio.gather(*(call({"do": "time.sleep(0.2)"}) for _ in range(2)))
    assert [result.json()["count"] for result in results] == [1, 1]


async def test_fresh_environments_with_extensions_run_one_after_another(start, notes):
    import asyncio

    call = await start(WHOLE, reuse=False)
    results = await asyncio.gather(*(call({}) for _ in range(3)))
    assert [result.json()["count"] for result in results] == [1, 1, 1]
    await call.service.close()
    kinds = ["registered" if isinstance(note, list) else note["eventType"] for note in noted(notes)]
    assert kinds == ["registered", "INVOKE", "SHUTDOWN"] * 3


# -- LocalLambda and layers -------------------------------------------------------------------------------------------


def test_local_lambda_runs_extensions(workshop, notes):
    code = workshop.code({"app.py": COUNTER})
    extension = workshop.extension(WHOLE)
    with LocalLambda(
        "app.handler", code=code, runtime="python3.11", extensions=[extension], environment={"NOTES": str(notes)}
    ) as function:
        result = function.invoke({})
        assert result.json()["count"] == 1
    assert [event["requestId"] for event in events(notes, "INVOKE")] == [result.request_id]
    assert [event["shutdownReason"] for event in events(notes, "SHUTDOWN")] == ["spindown"]


async def test_an_extension_in_a_layer_is_found(workshop, run, notes):
    extension = workshop.extension(WHOLE, "from-layer")
    layer = workshop.code({"extensions/from-layer": extension.read_text(), "extensions/data/readme": "a folder is no extension"})
    call = await run(workshop.python(COUNTER, layers=(layer,), environment={"NOTES": str(notes)}))
    await call({})
    assert [line for line in call.book.of("platform") if line.startswith("EXTENSION")] == [
        "EXTENSION\tName: from-layer\tState: Ready\tEvents: [INVOKE, SHUTDOWN]"
    ]


async def test_what_an_extension_writes_is_its_own_log(start):
    call = await start("print('from the extension', flush=True)\n" + WHOLE)
    result = await call({})
    assert call.book.of("collector") == ["from the extension"]
    assert "from the extension" not in result.logs
