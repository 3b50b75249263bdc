"""Telemetry and Logs API with real extensions: subscribing, replay, delivery, failures (contract 3)."""

from __future__ import annotations

import asyncio
import json
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from lambdabox import LocalLambda

COLLECTOR = """
import http.server, socketserver, threading
def write(value):
    with open(os.environ["NOTES"] + "." + NAME, "a") as notes:
        notes.write(json.dumps(value) + "\\n")
statuses = []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = statuses.pop(0) if statuses else 200
        write({"status": status, "path": self.path, "host": self.headers["Host"],
               "type": self.headers["Content-Type"], "events": json.loads(body)})
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
reported = threading.Event()
class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            write({"status": 200, "events": [json.loads(line)]})
            if b"platform.report" in line:
                reported.set()
def listen(server):
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]
def http_port():
    return listen(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
def tcp_port():
    return listen(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lines))
def put(body, path="/2022-07-01/telemetry", **headers):
    headers.setdefault("Lambda-Extension-Identifier", globals().get("identifier"))
    connection.request("PUT", path, body if isinstance(body, str) else json.dumps(body), headers)
    answer = connection.getresponse()
    return [answer.status, json.loads(answer.read())]
def wanted(port, *types, version="2022-12-13", **more):
    return {"schemaVersion": version, "types": list(types or ("platform", "function", "extension")),
            "buffering": {"timeoutMs": 25}, "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}/in"}, **more}
def subscribe(port, *types, **more):
    return put(wanted(port, *types, **more))
def live():
    while next_event()["eventType"] != "SHUTDOWN":
        pass
"""
HANDLER = """
import sys, time
def handler(event, context):
    if event.get("say"):
        print(event["say"], flush=True)
    if event.get("do"):
        exec(event["do"])
    return 1
"""


def batches(notes: Path, name: str = "collector") -> list[Any]:
    path = Path(f"{notes}.{name}")
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [note for note in found if "events" in note]


def events(notes: Path, name: str = "collector") -> list[Any]:
    return [event for batch in batches(notes, name) if batch["status"] == 200 for event in batch["events"]]


def types(notes: Path, name: str = "collector") -> list[str]:
    return [event["type"] for event in events(notes, name)]


def records(notes: Path, kind: str, name: str = "collector") -> list[Any]:
    return [event["record"] for event in events(notes, name) if event["type"] == kind]


def noted(notes: Path) -> list[Any]:
    return [json.loads(line) for line in notes.read_text().splitlines()]


@pytest.fixture
def start(workshop, run, notes):
    """A Python function with collectors."""

    async def start(*sources: str, code: str = HANDLER, names: tuple[str, ...] = ("collector", "second"), **settings: Any) -> Any:
        paths = tuple(workshop.extension(COLLECTOR + source, name) for source, name in zip(sources, names, strict=False))
        options = {key: settings.pop(key) for key in ("freeze", "init_timeout") if key in settings}
        environment = {"NOTES": str(notes), **settings.pop("environment", {})}
        return await run(workshop.python(code, extensions=paths, environment=environment, **settings), **options)

    return start


WHOLE = "register('INVOKE', 'SHUTDOWN')\nnote(subscribe(http_port()))\nprint('I collect', flush=True)\nlive()\n"
INIT = [
    "platform.initStart",
    "platform.telemetrySubscription",
    "platform.initRuntimeDone",
    "platform.extension",
    "platform.initReport",
]
INVOCATION = ["platform.start", "function", "platform.runtimeDone", "platform.report"]


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_a_subscriber_hears_the_whole_life_of_the_environment(start, notes):
    call = await start(WHOLE)
    results = [await call({"say": f"packed {n} boxes"}) for n in range(2)]
    await call.service.close()
    assert noted(notes) == [[200, "OK"]]
    told = types(notes)
    assert [kind for kind in told if kind != "extension"] == INIT + INVOCATION * 2
    assert records(notes, "extension") == ["I collect\n"]
    assert records(notes, "function") == ["packed 0 boxes\n", "packed 1 boxes\n"]
    for kind in ("platform.start", "platform.runtimeDone", "platform.report"):
        assert [record["requestId"] for record in records(notes, kind)] == [result.request_id for result in results]
    (begun,) = records(notes, "platform.initStart")
    assert (begun["functionName"], begun["phase"], begun["initializationType"]) == ("function", "init", "on-demand")
    assert records(notes, "platform.telemetrySubscription") == [
        {"name": "collector", "state": "Subscribed", "types": ["platform", "function", "extension"]}
    ]
    assert records(notes, "platform.extension") == [{"name": "collector", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}]
    done = records(notes, "platform.runtimeDone")[0]
    assert done["status"] == "success"
    assert done["metrics"]["producedBytes"] == 1
    assert [span["name"] for span in done["spans"]] == ["responseLatency", "responseDuration", "runtimeOverhead"]
    assert done["tracing"]["value"].startswith("Root=1-")
    first, second = records(notes, "platform.report")
    assert "initDurationMs" in first["metrics"]
    assert "initDurationMs" not in second["metrics"]
    assert [span["name"] for span in second["spans"]] == ["extensionOverhead"]
    assert all(len(event["time"]) == 24 and event["time"].endswith("Z") for event in events(notes))


async def test_deliveries_are_posts_of_json_to_the_path(start, notes):
    call = await start(WHOLE)
    await call({})
    await call.service.close()
    for batch in batches(notes):
        assert batch["path"] == "/in"
        assert batch["type"] == "application/json"
        assert batch["host"].startswith("sandbox.localdomain:")


async def test_a_tcp_subscriber_gets_lines(start, notes):
    source = """
    register("INVOKE", "SHUTDOWN")
    note(put(wanted(0, destination={"protocol": "TCP", "port": tcp_port()})))
    live()
    reported.wait(5)  # nobody acknowledges lines: an extension reads what is there before it ends
    """
    call = await start(textwrap.dedent(source))
    await call({"say": "packed"})
    await call.service.close()
    assert noted(notes) == [[200, "OK"]]
    assert types(notes) == INIT + INVOCATION
    assert records(notes, "function") == ["packed\n"]


async def test_two_subscribers_get_their_own_types(start, notes):
    call = await start(
        "register('SHUTDOWN')\nsubscribe(http_port(), 'platform')\nlive()\n",
        "register('SHUTDOWN')\nsubscribe(http_port(), 'function')\nlive()\n",
    )
    await call({"say": "packed"})
    await call.service.close()
    assert types(notes, "second") == ["function"]
    assert {"platform.start", "platform.report"} < set(types(notes))
    assert all(kind.startswith("platform.") for kind in types(notes))


async def test_an_internal_extension_may_subscribe(workshop, run, notes):
    code = f"""
import http.client, json, os, sys
NAME = "inside"
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
connection.request("POST", "/2020-01-01/extension/register", json.dumps({{"events": []}}), {{"Lambda-Extension-Name": NAME}})
answer = connection.getresponse()
identifier = answer.getheader("Lambda-Extension-Identifier")
answer.read()
{COLLECTOR}
subscribe(http_port(), "platform")
def wait():
    connection.request("GET", "/2020-01-01/extension/event/next", headers={{"Lambda-Extension-Identifier": identifier}})
threading.Thread(target=wait, daemon=True).start()
{HANDLER}
"""
    call = await run(workshop.python(code, environment={"NOTES": str(notes)}))
    await call({})
    await call.service.close()
    assert types(notes, "inside")[:2] == ["platform.initStart", "platform.telemetrySubscription"]
    assert "platform.report" in types(notes, "inside")


async def test_a_log_line_without_an_end_is_told_before_the_report(start, notes):
    call = await start(WHOLE)
    await call({"do": "sys.stdout.write('half a line')"})
    await call.service.close()
    assert records(notes, "function") == ["half a line"]
    told = types(notes)
    assert told.index("function") < told.index("platform.report")


async def test_a_framed_record_is_one_event(start, notes):
    code = "import logging\nlogging.getLogger().setLevel('INFO')\ndef handler(event, context):\n    logging.info('a\\nb')\n    return 1\n"
    call = await start(WHOLE, code=code)
    await call({})
    await call.service.close()
    (record,) = records(notes, "function")
    assert record.startswith("[INFO]\t")
    assert record.rstrip("\n").endswith("a\nb")


async def test_many_lines_all_arrive_in_order(start, notes):
    call = await start("register('SHUTDOWN')\nsubscribe(http_port(), 'function')\nlive()\n", timeout=20.0)
    await call({"do": "for n in range(20000): print('line', n)"})
    await call.service.close()
    assert records(notes, "function") == [f"line {n}\n" for n in range(20_000)]
    assert all(len(batch["events"]) <= 10_000 for batch in batches(notes))


# -- subscribing ------------------------------------------------------------------------------------------------------


async def test_subscriptions_are_refused_in_aws_words(start, notes):
    source = """
    note(put({}, **{"Lambda-Extension-Identifier": ""}))
    note(put(wanted(1), **{"Lambda-Extension-Identifier": "00000000-0000-4000-8000-000000000000"}))
    register("SHUTDOWN")
    note(put(wanted(1, types=[], destination={"protocol": "HTTP", "URI": "http://sandbox.localdomain"})))
    note(put(wanted(9001)))
    note(put("{"))
    note(put(wanted(1, types=[], version=None), path="/2020-08-15/logs"))
    live()
    """
    call = await start(textwrap.dedent(source))
    await call({})
    found = [(status, body["errorType"], body["errorMessage"]) for status, body in noted(notes)]
    assert found[0][:2] == (403, "Extension.MissingExtensionIdentifier")
    unknown = "00000000-0000-4000-8000-000000000000"
    assert found[1] == (403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {unknown}")
    assert found[2] == (400, "ValidationError", "URI port is not provided; types should not be empty")
    assert found[3] == (400, "ValidationError", "port 9001 is reserved")
    assert found[4][:2] == (400, "ValidationError")
    assert found[5] == (400, "Logs.ValidationError", "types should not be empty")


@pytest.mark.parametrize(("path", "api"), [("/2022-07-01/telemetry", "Telemetry"), ("/2020-08-15/logs", "Logs")])
async def test_after_init_subscriptions_are_closed(start, notes, path, api):
    version = "2022-12-13" if api == "Telemetry" else "2020-08-15"
    source = f"register('INVOKE')\nnext_event()\nnote(put(wanted(http_port(), version='{version}'), path='{path}'))\nlive()\n"
    call = await start(source)
    await call({})
    ((status, body),) = noted(notes)
    assert (status, body["errorType"]) == (403, f"{api}.SubscriptionClosed")
    assert body["errorMessage"].startswith(f"{api} API subscription is closed")


async def test_an_identical_subscription_changes_nothing(start, notes):
    call = await start("register('SHUTDOWN')\nport = http_port()\nnote(subscribe(port))\nnote(subscribe(port))\nlive()\n")
    await call({})
    await call.service.close()
    assert noted(notes) == [[200, "OK"], [200, "OK"]]
    assert types(notes).count("platform.initStart") == 1
    assert types(notes).count("platform.report") == 1


async def test_another_subscription_replaces_the_first(start, notes):
    source = "register('SHUTDOWN')\nsubscribe(http_port(), 'function')\nnote(subscribe(http_port(), 'platform'))\nlive()\n"
    call = await start(source)
    await call({"say": "packed"})
    await call.service.close()
    assert noted(notes) == [[200, "OK"]]
    assert records(notes, "function") == []
    assert types(notes).count("platform.report") == 1


async def test_an_extension_uses_one_api_only(start, notes):
    source = "register('SHUTDOWN')\nsubscribe(http_port())\nnote(put(wanted(1, version='2020-08-15'), path='/2020-08-15/logs'))\nlive()\n"
    call = await start(source)
    await call({})
    ((status, _),) = noted(notes)
    assert status == 400


async def test_the_logs_api_has_records_of_its_own(start, notes):
    source = "register('SHUTDOWN')\nnote(put(wanted(http_port(), version='2020-08-15'), path='/2020-08-15/logs'))\nlive()\n"
    call = await start(source)
    result = await call({"say": "packed"})
    crashed = await call({"do": "import os; os._exit(3)"})
    await call.service.close()
    assert noted(notes)[0] == [200, "OK"]
    told = types(notes)
    assert told[0] == "platform.logsSubscription"
    assert not any(kind.startswith("platform.init") for kind in told)
    assert "platform.runtimeDone" not in told
    assert [record["requestId"] for record in records(notes, "platform.end")] == [result.request_id, crashed.request_id]
    assert records(notes, "platform.fault") == [f"RequestId: {crashed.request_id} Status: error\tErrorType: Runtime.ExitError"]


# -- subscribers that fail --------------------------------------------------------------------------------------------


async def test_a_subscriber_that_answers_500_gets_the_batch_again(start, notes):
    call = await start("statuses += [500, 503]\n" + WHOLE)
    await call({"say": "packed"})
    await call.service.close()
    assert [batch["status"] for batch in batches(notes)][:3] == [500, 503, 200]
    assert [kind for kind in types(notes) if kind != "extension"] == INIT + INVOCATION


async def test_a_subscriber_that_listens_late_gets_everything(start, notes):
    source = """
    import socket
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    register("SHUTDOWN")
    note(subscribe(port))
    holder.close()
    time.sleep(0.1)
    listen(http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler))
    live()
    """
    call = await start(textwrap.dedent(source))
    await call({"say": "packed"})
    await call.service.close()
    assert [kind for kind in types(notes) if kind != "extension"] == INIT + INVOCATION


@pytest.mark.parametrize("listener", ["socket.create_server(('127.0.0.1', 0)).getsockname()[1]", "silent.getsockname()[1]"])
async def test_a_subscriber_that_is_gone_or_never_answers_disturbs_nobody(start, notes, listener):
    deaf = f"import socket\nsilent = socket.create_server(('127.0.0.1', 0))\nregister('SHUTDOWN')\nnote(subscribe({listener}))\nlive()\n"
    call = await start(deaf, "register('SHUTDOWN')\nsubscribe(http_port())\nlive()\n")
    begun = time.monotonic()
    for n in range(5):
        assert (await call({"say": f"packed {n}"})).json() == 1
    assert time.monotonic() - begun < 3
    begun = time.monotonic()
    await call.service.close()
    assert time.monotonic() - begun < 2.0
    assert records(notes, "function", "second") == [f"packed {n}\n" for n in range(5)]
    assert [record["status"] for record in records(notes, "platform.report", "second")] == ["success"] * 5


# -- buffering --------------------------------------------------------------------------------------------------------


async def test_records_wait_for_the_timeout_but_not_longer(start, notes):
    source = "register('SHUTDOWN')\nsubscribe(http_port(), 'function', buffering={'timeoutMs': 30000})\nlive()\n"
    call = await start(source)
    for n in range(3):
        await call({"say": f"packed {n}"})
    assert batches(notes) == []
    await call.service.close()
    assert [[event["record"] for event in batch["events"]] for batch in batches(notes)] == [
        ["packed 0\n", "packed 1\n", "packed 2\n"]
    ]


async def test_as_many_records_as_wished_go_out_at_once(start, notes):
    source = (
        "register('SHUTDOWN')\nsubscribe(http_port(), 'function', buffering={'timeoutMs': 30000, 'maxItems': 1000})\nlive()\n"
    )
    call = await start(source)
    await call({"do": "for n in range(2500): print(n)"})
    await call.service.close()
    assert [len(batch["events"]) for batch in batches(notes)] == [1000, 1000, 500]


async def test_a_body_stays_within_twice_the_bytes(start, notes):
    source = (
        "register('SHUTDOWN')\nsubscribe(http_port(), 'function', buffering={'timeoutMs': 30000, 'maxBytes': 262144})\nlive()\n"
    )
    call = await start(source)
    await call({"do": "for n in range(100): print('x' * 20000)"})
    await call.service.close()
    sizes = [len(json.dumps(batch["events"], separators=(",", ":"))) for batch in batches(notes)]
    assert sum(len(batch["events"]) for batch in batches(notes)) == 100
    assert len(sizes) > 3
    assert max(sizes) <= 2 * 262_144


# -- ends -------------------------------------------------------------------------------------------------------------


async def test_after_a_timeout_the_report_comes_before_shutdown_and_init_begins_anew(start, notes):
    source = """
    register("INVOKE", "SHUTDOWN")
    subscribe(http_port(), "platform")
    while True:
        event = next_event()
        write({"told": event["eventType"]})
        if event["eventType"] == "SHUTDOWN":
            break
    """
    call = await start(textwrap.dedent(source), timeout=0.4)
    await call({})
    await call({"do": "time.sleep(60)"})
    await call({})
    await call.service.close()
    assert [report["status"] for report in records(notes, "platform.report")] == ["success", "timeout", "success"]
    assert [report["phase"] for report in records(notes, "platform.initStart")] == ["init", "invoke"]
    lines = [json.loads(line) for line in Path(f"{notes}.collector").read_text().splitlines()]
    order = ["SHUTDOWN" if line.get("told") == "SHUTDOWN" else "batch" for line in lines if line.get("told") != "INVOKE"]
    timed_out = next(
        index
        for index, line in enumerate(line for line in lines if line.get("told") != "INVOKE")
        if '"timeout"' in json.dumps(line)
    )
    assert timed_out < order.index("SHUTDOWN")


async def test_an_extension_that_is_only_killed_gets_its_last_records_too(start, notes):
    call = await start("register('INVOKE')\nsubscribe(http_port(), 'platform', buffering={'timeoutMs': 30000})\nlive()\n")
    await call({})
    await call.service.close()
    assert types(notes)[-1] == "platform.report"


async def test_a_frozen_subscriber_gets_its_records_when_it_is_thawed(start, notes):
    call = await start(WHOLE, freeze=True)
    for n in range(3):
        await call({"say": f"packed {n}"})
        await asyncio.sleep(0.05)  # the time of a batch passes while everything is frozen
    await call.service.close()
    assert records(notes, "function") == [f"packed {n}\n" for n in range(3)]
    assert [batch["status"] for batch in batches(notes)] == [200] * len(batches(notes))
    assert len(records(notes, "platform.report")) == 3


def test_local_lambda_runs_a_telemetry_extension(workshop, notes):
    code = workshop.code({"app.py": HANDLER})
    extension = workshop.extension(COLLECTOR + WHOLE)
    with LocalLambda(
        "app.handler", code=code, runtime="python3.11", extensions=[extension], environment={"NOTES": str(notes)}
    ) as function:
        result = function.invoke({"say": "packed"})
    assert [record["requestId"] for record in records(notes, "platform.report")] == [result.request_id]


async def test_the_log_tells_of_subscriptions(start):
    call = await start(WHOLE)
    await call({})
    assert "TELEMETRY\tName: collector\tState: Subscribed\tTypes: [Platform, Function, Extension]" in call.book.of("platform")


# -- JSON logs --------------------------------------------------------------------------------------------------------


def system_types(call: Any) -> list[str]:
    return [json.loads(line)["type"] for line in call.book.of("platform")]


async def test_json_system_logs_show_what_info_shows(workshop, run):
    call = await run(workshop.python(HANDLER, log_format="JSON"))
    result = await call({})
    assert system_types(call) == ["platform.initStart", "platform.start", "platform.report"]
    report = json.loads(call.book.of("platform")[-1])
    assert report["record"]["requestId"] == result.request_id
    assert [json.loads(line)["type"] for line in result.logs] == ["platform.start", "platform.report"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("DEBUG", ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"]),
        ("INFO", ["initStart", "start", "report"]),
        ("WARN", []),
    ],
)
async def test_the_system_log_level_decides_what_the_log_shows(workshop, run, level, shown):
    call = await run(workshop.python(HANDLER, log_format="JSON", system_log_level=level))
    await call({})
    assert system_types(call) == [f"platform.{name}" for name in shown]


async def test_failures_are_logged_at_warn(workshop, run):
    call = await run(workshop.python(HANDLER, log_format="JSON", system_log_level="WARN", timeout=0.3))
    await call({"do": "time.sleep(60)"})
    assert system_types(call) == ["platform.runtimeDone", "platform.report"]


async def test_telemetry_has_everything_whatever_the_system_log_level(start, notes):
    call = await start(WHOLE, log_format="JSON", system_log_level="WARN")
    await call({"say": '{"boxes": 3}'})
    await call.service.close()
    assert call.book.of("platform") == []
    assert [kind for kind in types(notes) if kind != "extension"] == INIT + INVOCATION
    assert records(notes, "function") == [{"boxes": 3}]


async def test_before_2022_12_13_json_lines_are_strings(start, notes):
    source = "register('SHUTDOWN')\nsubscribe(http_port(), 'function', version='2022-07-01')\nlive()\n"
    call = await start(source, log_format="JSON")
    await call({"say": '{"boxes": 3}'})
    await call.service.close()
    assert records(notes, "function") == ['{"boxes": 3}\n']


BOOTSTRAP = """#!/bin/sh
for level in DEBUG INFO WARN ERROR; do echo "{\\"level\\":\\"$level\\",\\"message\\":\\"m\\"}"; done
echo plain
while :; do
  id=$(curl -sS -D - -o /dev/null "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next" | tr -d '\\r' | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
  echo '{"level":"DEBUG","message":"hidden"}'
  echo '{"level":"ERROR","message":"shown"}'
  curl -sS -o /dev/null -d 1 "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"
done
"""


@pytest.mark.parametrize(
    ("log_format", "level", "shown"),
    [
        ("JSON", None, ["INFO", "WARN", "ERROR", "plain", "ERROR"]),
        ("JSON", "WARN", ["WARN", "ERROR", "ERROR"]),
        ("JSON", "TRACE", ["DEBUG", "INFO", "WARN", "ERROR", "plain", "DEBUG", "ERROR"]),
        ("Text", "ERROR", ["DEBUG", "INFO", "WARN", "ERROR", "plain", "DEBUG", "ERROR"]),
    ],
)
async def test_lines_of_a_custom_runtime_are_filtered_by_their_level(workshop, run, log_format, level, shown):
    call = await run(workshop.provided(BOOTSTRAP, log_format=log_format, application_log_level=level))
    assert (await call({})).json() == 1
    lines = call.book.of("runtime")
    assert [json.loads(line)["level"] if line.startswith("{") else line for line in lines] == shown
