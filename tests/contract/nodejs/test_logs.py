"""The console: Text and JSON, stdout and the framed descriptor."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from tests.contract.nodejs.conftest import Starter

ID = "8476a536-e9f4-11e8-9739-000000000001"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
EVERY_LEVEL = (
    "exports.handler = async () => { for (const m of ['trace', 'debug', 'log', 'info', 'warn', 'error', 'fatal']) console[m](m) }"
)


def test_text_lines_have_time_request_id_level_and_message(start_any: Starter) -> None:
    function = start_any("console.log('init'); " + EVERY_LEVEL)
    function.result({})
    lines = [line for line in function.lines() if "\t" in line]
    assert all(re.fullmatch(TIME + r"\t\S+\t[A-Z]+\t\w+", line) for line in lines)
    assert [line.split("\t")[1:] for line in lines] == [
        ["undefined", "INFO", "init"],
        [ID, "TRACE", "trace"],
        [ID, "DEBUG", "debug"],
        [ID, "INFO", "log"],
        [ID, "INFO", "info"],
        [ID, "WARN", "warn"],
        [ID, "ERROR", "error"],
        [ID, "FATAL", "fatal"],
    ]


def test_arguments_are_formatted_and_newlines_become_carriage_returns(start_any: Starter) -> None:
    function = start_any("exports.handler = async () => { console.log('%s has %d\\nlines', 'it', 2, { a: [1] }) }")
    function.result({})
    assert b"\tit has 2\rlines { a: [ 1 ] }\n" in function.stop()


def test_stdout_and_stderr_are_untouched_and_in_order(start: Starter) -> None:
    function = start(
        "exports.handler = async () => { process.stdout.write('raw\\n'); console.log('one');"
        " process.stderr.write('err\\n'); console.error('two') }"
    )
    function.result({})
    assert [line.split("\t")[-1] for line in function.lines()] == ["raw", "one", "err", "two"]


def test_a_log_line_is_written_before_the_answer(start: Starter) -> None:
    function = start("exports.handler = async (e) => { console.log('line ' + e.n) }")
    for n in range(50):
        function.invoke({"n": n})
    assert [line.split("\t")[3] for line in function.lines()] == [f"line {n}" for n in range(50)]


def _records(starter: Starter, source: str, **env: str) -> list[dict[str, Any]]:
    function = starter(source, env={"AWS_LAMBDA_LOG_FORMAT": "JSON", **env})
    function.invoke({}, headers={"Lambda-Runtime-Aws-Tenant-Id": env.get("TENANT", "")})
    return [json.loads(line) for line in function.lines() if line.startswith("{")]


def test_a_json_record_keeps_a_single_object(start_any: Starter) -> None:
    (record,) = _records(start_any, "exports.handler = async () => { console.warn({ a: { b: 1 } }) }", TENANT="blue")
    assert re.fullmatch(TIME, record.pop("timestamp"))
    assert record == {"level": "WARN", "requestId": ID, "tenantId": "blue", "message": {"a": {"b": 1}}}


def test_a_json_record_formats_several_arguments_and_tells_the_first_error(start_any: Starter) -> None:
    (record,) = _records(
        start_any, "exports.handler = async () => { console.error('got %s', 1, new RangeError('r'), new Error('second')) }"
    )
    assert record["message"].startswith("got 1 RangeError: r\n    at ")
    assert (record["errorType"], record["errorMessage"]) == ("RangeError", "r")
    assert record["stackTrace"][0] == "RangeError: r"


def test_a_single_error_is_the_message(start_any: Starter) -> None:
    (record,) = _records(
        start_any, "exports.handler = async () => { console.error(Object.assign(new TypeError('t'), { code: 'C' })) }"
    )
    message = record["message"]
    assert (message["errorType"], message["errorMessage"], message["code"]) == ("TypeError", "t", "C")
    assert message["stackTrace"][0] == "TypeError: t"


def test_what_has_no_json_is_formatted(start_any: Starter) -> None:
    records = _records(
        start_any, "exports.handler = async () => { const a = { n: 1 }; a.a = a; console.log(a); console.log(5n) }"
    )
    assert [record["message"] for record in records] == ["<ref *1> { n: 1, a: [Circular *1] }", "5n"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("TRACE", ["TRACE", "DEBUG", "INFO", "INFO", "WARN", "ERROR", "FATAL"]),
        ("info", ["INFO", "INFO", "WARN", "ERROR", "FATAL"]),
        ("ERROR", ["ERROR", "FATAL"]),
        ("FATAL", ["FATAL"]),
    ],
)
def test_levels_below_the_limit_are_dropped(start_any: Starter, level: str, expected: list[str]) -> None:
    assert [record["level"] for record in _records(start_any, EVERY_LEVEL, AWS_LAMBDA_LOG_LEVEL=level)] == expected


def test_an_invoke_error_is_logged_as_text(start: Starter) -> None:
    function = start("exports.handler = async () => { throw Object.assign(new TypeError('boom\\nline'), { extra: 1 }) }")
    function.error({})
    (line,) = function.lines()
    _, request_id, level, title, text = line.split("\t")
    assert (request_id, level, title) == (ID, "ERROR", "Invoke Error")
    record = json.loads(text)
    assert (record["errorType"], record["errorMessage"], record["extra"]) == ("TypeError", "boom\nline", 1)
    assert record["stack"][0] == "TypeError: boom"


def test_an_invoke_error_is_logged_as_json(start_any: Starter) -> None:
    records = _records(start_any, "exports.handler = async () => { throw 'text' }")
    assert records[-1]["level"] == "ERROR"
    assert (records[-1]["message"]["errorType"], records[-1]["message"]["errorMessage"]) == ("Error", "text")


def test_text_frames_carry_level_time_and_whole_messages(start_any: Starter) -> None:
    function = start_any(
        "exports.handler = async () => { console.log('two\\nlines é'); console.fatal('f'); return process.env._LAMBDA_TELEMETRY_LOG_FD ?? null }",
        framed=True,
    )
    assert function.result({}) is None
    data = function.stop()
    start = data.index(b"\xa5\x5a")
    function._output = data[start:]
    first, second = function.frames()
    assert first.kind == "a55a000f"
    assert second.kind == "a55a001b"
    assert re.fullmatch(TIME + "\t" + ID + "\tINFO\ttwo\nlines é\n", first.text)
    assert abs(first.time_us / 1e6 - time.time()) < 60


def test_json_frames(start: Starter) -> None:
    function = start(EVERY_LEVEL, framed=True, env={"AWS_LAMBDA_LOG_FORMAT": "JSON"})
    function.result({})
    frames = function.frames()
    assert [frame.kind for frame in frames] == [f"a55a00{mask}" for mask in ("06", "0a", "0e", "0e", "12", "16", "1a")]
    assert json.loads(frames[0].text)["message"] == "trace"


def test_frames_and_plain_output_share_one_pipe_in_order(start: Starter) -> None:
    function = start(
        "exports.handler = async () => { process.stdout.write('before\\n'); console.log('framed'); process.stdout.write('after\\n') }",
        framed=True,
    )
    function.result({})
    data = function.stop()
    assert data.startswith(b"before\n\xa5\x5a\x00\x0f")
    assert data.endswith(b"\tframed\nafter\n")


@pytest.mark.parametrize("framed", [False, True])
def test_twenty_megabytes_of_output_arrive_whole(start: Starter, framed: bool) -> None:
    function = start(
        "exports.handler = async () => { process.stdout.write(''); for (let i = 0; i < 20; i++) console.log('x'.repeat(1 << 20)) }",
        framed=framed,
    )
    function.result({})
    if framed:
        assert [len(frame.text.split("\t")[3]) for frame in function.frames()] == [(1 << 20) + 1] * 20
    else:
        assert [len(line.split("\t")[3]) for line in function.lines()] == [1 << 20] * 20


def test_a_closed_stdout_does_not_end_the_invocation(start: Starter) -> None:
    function = start(
        "exports.handler = async (e) => { if (e === 1) require('fs').closeSync(1); console.log('lost'); return 'fine' }"
    )
    assert [function.result(1), function.result(2)] == ["fine", "fine"]


def test_children_inherit_no_socket_of_ours(start: Starter) -> None:
    descriptors = (
        "require('fs').readdirSync('/proc/self/fd').map((f) => { try { return require('fs').readlinkSync('/proc/self/fd/' + f) }"
        " catch { return '' } }).filter((l) => /^socket:/.test(l))"
    )
    source = (
        f"exports.handler = async () => [{descriptors}, JSON.parse(require('child_process').execFileSync(process.execPath,"
        f" ['-e', {json.dumps(f'console.log(JSON.stringify({descriptors}))')}]).toString())]"
    )
    ours, childs = start(source, framed=True).result({})
    assert ours
    assert set(ours) & set(childs) == set()
