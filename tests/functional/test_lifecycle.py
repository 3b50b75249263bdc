"""Init, crashes, timeouts and memory, with real Python processes (contract 4.2-4.8)."""

from __future__ import annotations

import json
import math
import re
import shutil
from typing import Any

import pytest

COUNTER = """
import os, signal, sys, tempfile, time
count = 0
def handler(event, context):
    global count
    count += 1
    mark = os.path.join(tempfile.gettempdir(), "mark")
    if event.get("mark"):
        open(mark, "w").close()
    do = event.get("do")
    if do:
        exec(do)
    return {"count": count, "marked": os.path.exists(mark), "pid": os.getpid()}
"""


def error(result: Any) -> tuple[str, str]:
    assert result.function_error == "Unhandled"
    document = result.json()
    assert list(document) == ["errorType", "errorMessage"]
    assert result.payload == json.dumps(document, separators=(",", ":")).encode()
    prefix = f"RequestId: {result.request_id} Error: "
    assert document["errorMessage"].startswith(prefix)
    return document["errorType"], document["errorMessage"].removeprefix(prefix)


def report(result: Any) -> str:
    return str(result.logs[-1])


# -- crashes ----------------------------------------------------------------------------------------------------------

CRASHES = [
    ("os._exit(0)", "Runtime exited without providing a reason"),
    ("os._exit(3)", "Runtime exited with error: exit status 3"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "Runtime exited with error: signal: killed"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "Runtime exited with error: signal: segmentation fault"),
    ("os.kill(os.getpid(), signal.SIGABRT)", "Runtime exited with error: signal: aborted"),
    ("os.kill(os.getpid(), signal.SIGTERM)", "Runtime exited with error: signal: terminated"),
]


@pytest.mark.parametrize(("statement", "text"), CRASHES)
async def test_a_crash_in_the_handler_is_an_exit_error_and_the_next_call_runs_init_again(workshop, run, statement, text):
    call = await run(workshop.python(COUNTER))
    first = await call({"mark": True})
    assert first.json() == {"count": 1, "marked": True, "pid": first.json()["pid"]}
    crashed = await call({"do": statement})
    assert error(crashed) == ("Runtime.ExitError", text)
    assert re.search(r"\tMax Memory Used: \d+ MB\tStatus: error\tError Type: Runtime\.ExitError$", report(crashed))
    assert crashed.report.status == "error"
    after = await call({})
    assert after.json()["count"] == 1
    assert after.json()["marked"] is True
    assert after.json()["pid"] != first.json()["pid"]
    assert "Init Duration" not in report(after)


@pytest.mark.parametrize(("code", "text"), [("0", "exit status 0"), ("3", "exit status 3"), ("'bye'", "exit status 1")])
async def test_sys_exit_in_the_handler_ends_the_runtime(workshop, run, code, text):
    call = await run(workshop.python(COUNTER))
    crashed = await call({"do": f"sys.exit({code})"})
    document = crashed.json()
    assert crashed.function_error == "Unhandled"
    assert document["errorType"] == "Runtime.ExitError"
    wanted = "Runtime exited without providing a reason" if code == "0" else f"Runtime exited with error: {text}"
    assert document["errorMessage"] == f"RequestId: {crashed.request_id} Error: {wanted}"
    assert (await call({})).json()["count"] == 1


@pytest.mark.parametrize(("statement", "text"), CRASHES[:4])
async def test_a_crash_while_the_module_loads_is_reported_twice_and_answered_once(workshop, run, statement, text):
    """Init ahead of the invocation fails, Init inside the invocation fails: its payload goes to the caller."""
    call = await run(workshop.python(f"import os, signal\n{statement}\ndef handler(event, context):\n    return 1\n"))
    crashed = await call({})
    assert error(crashed) == ("Runtime.ExitError", text)
    reports = [line for line in call.book.of("platform") if line.startswith("INIT_REPORT")]
    assert [re.sub(r"[\d.]+ ms", "N ms", line) for line in reports] == [
        "INIT_REPORT Init Duration: N ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError",
        "INIT_REPORT Init Duration: N ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError",
    ]
    assert error(await call({})) == ("Runtime.ExitError", text)


async def test_a_module_that_crashes_once_is_forgiven(workshop, run, tmp_path):
    source = f"""
import os
mark = {str(tmp_path / "tried")!r}
if not os.path.exists(mark):
    open(mark, "w").close()
    os._exit(7)
def handler(event, context):
    return "fine"
"""
    call = await run(workshop.python(source))
    assert (await call({})).json() == "fine"
    assert [line.split("\t")[1:] for line in call.book.of("platform") if line.startswith("INIT_REPORT")] == [
        ["Phase: init", "Status: error", "Error Type: Runtime.ExitError"]
    ]


# -- Init -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_init_over_its_limit_runs_again_inside_the_invocation(workshop, run, tmp_path):
    source = f"""
import time
runs = open({str(tmp_path / "runs")!r}, "a+"); runs.write("x"); runs.flush(); runs.seek(0)
count = len(runs.read())
if count == 1:
    time.sleep(60)
def handler(event, context):
    return count
"""
    call = await run(workshop.python(source), init_timeout=0.3)
    result = await call({})
    assert (result.function_error, result.json()) == (None, 2)
    reports = [line for line in call.book.of("platform") if line.startswith("INIT_REPORT")]
    assert len(reports) == 1
    assert re.fullmatch(r"INIT_REPORT Init Duration: 3\d\d\.\d\d ms\tPhase: init\tStatus: timeout", reports[0])
    assert "Init Duration" not in report(result)
    assert (await call({})).json() == 2


@pytest.mark.slow
async def test_an_init_that_outlasts_the_invocation_is_a_timeout(workshop, run):
    call = await run(workshop.python("import time\ntime.sleep(60)\n", timeout=0.4), init_timeout=0.2)
    result = await call({})
    assert error(result) == ("Sandbox.Timedout", "Task timed out after 0.40 seconds")
    assert [line.split("\t")[1:] for line in call.book.of("platform") if line.startswith("INIT_REPORT")] == [
        ["Phase: init", "Status: timeout"],
        ["Phase: invoke", "Status: timeout"],
    ]
    assert report(result).endswith("\tStatus: timeout")


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        (
            "import nothing_of_this_name\n",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_of_this_name'",
        ),
        ("def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': "),
        ("x = 1\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("raise ValueError('at import')\n", "ValueError", "at import"),
    ],
)
async def test_an_init_error_is_what_the_runtime_posted(workshop, run, source, error_type, message):
    call = await run(workshop.python(source))
    for _ in range(2):
        result = await call({})
        assert result.function_error == "Unhandled"
        document = result.json()
        assert document["errorType"] == error_type
        assert document["errorMessage"].startswith(message)
        assert result.report.status == "error"
    reports = [line.split("\t", 1)[1] for line in call.book.of("platform") if line.startswith("INIT_REPORT")]
    assert [line.partition("\t")[0] for line in reports] == ["Phase: init", "Phase: invoke", "Phase: invoke"]
    assert all("\tStatus: error\tError Type: " in line for line in reports)
    assert report(result).endswith(reports[0].partition("\t")[2])


async def test_a_mended_module_works_at_the_next_call(workshop, run):
    function = workshop.python("import nothing_of_this_name\n")
    call = await run(function)
    assert (await call({})).is_error
    (function.code / "app.py").write_text("def handler(event, context):\n    return 'mended'\n")
    assert (await call({})).json() == "mended"


# -- timeouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement", ["time.sleep(60)", "while True: pass", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"]
)
async def test_a_timeout_ends_the_environment_but_not_its_tmp(workshop, run, statement):
    call = await run(workshop.python(COUNTER, timeout=0.3))
    await call({"mark": True})
    late = await call({"do": statement})
    assert error(late) == ("Sandbox.Timedout", "Task timed out after 0.30 seconds")
    assert re.search(r"\tStatus: timeout$", report(late))
    assert 300 <= late.report.duration_ms < 1000
    assert is_rounded_up(late.report.billed_duration_ms, late.report.duration_ms)
    after = await call({})
    assert after.json()["count"] == 1
    assert after.json()["marked"] is True


async def test_the_timeout_of_one_invocation_can_be_overridden(workshop, run):
    call = await run(workshop.python(COUNTER, timeout=30))
    assert error(await call({"do": "time.sleep(60)"}, timeout=0.25)) == ("Sandbox.Timedout", "Task timed out after 0.25 seconds")


async def test_the_remaining_time_follows_the_deadline(workshop, run):
    source = "def handler(event, context):\n    return context.get_remaining_time_in_millis()\n"
    call = await run(workshop.python(source, timeout=7))
    assert 6000 < (await call({})).json() <= 7000


async def test_what_was_written_before_a_timeout_or_a_crash_is_in_the_log(workshop, run):
    call = await run(workshop.python(COUNTER, timeout=0.3))
    assert "almost" in (await call({"do": "print('almost', flush=True); time.sleep(9)"})).logs
    assert "nearly" in (await call({"do": "os.write(1, b'nearly'); os._exit(1)"})).logs


# -- log lines --------------------------------------------------------------------------------------------------------

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
FIGURES = rf"REPORT RequestId: ({UUID})\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\tMemory Size: 256 MB\tMax Memory Used: (\d+) MB\t"


def is_rounded_up(billed: int, milliseconds: float) -> bool:
    """Rounded up before the figures were cut to two decimals."""
    return billed in (math.ceil(milliseconds - 0.015), math.ceil(milliseconds + 0.015))


async def test_the_log_of_an_invocation_line_by_line(workshop, run, needs_proc):
    source = "print('loading')\ndef handler(event, context):\n    print('working')\n    return 1\n"
    call = await run(workshop.python(source, memory_size=256))
    cold, warm = await call({}), await call({})
    lines = [text for _, text in call.book.events]
    version = (
        r"INIT_START Runtime Version: python:3\.\d+\.\S+\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}"
    )
    wanted = [
        version,
        "loading",
        rf"START RequestId: {cold.request_id} Version: \$LATEST",
        "working",
        rf"END RequestId: {cold.request_id}",
        FIGURES + r"Init Duration: (\d+\.\d\d) ms\t",
        rf"START RequestId: {warm.request_id} Version: \$LATEST",
        "working",
        rf"END RequestId: {warm.request_id}",
        FIGURES,
    ]
    assert len(lines) == len(wanted)
    matches = [re.fullmatch(pattern, line) for pattern, line in zip(wanted, lines, strict=True)]
    assert all(matches), lines
    figures = [match.groups() for match in matches if match is not None and "REPORT" in match[0] and match.groups()]
    _, duration, billed, memory, init = figures[0]
    assert is_rounded_up(int(billed), float(duration) + float(init))
    assert 5 <= int(memory) <= 128
    _, duration, billed, _ = figures[1]
    assert is_rounded_up(int(billed), float(duration))
    assert (cold.report.init_duration_ms is not None, warm.report.init_duration_ms) == (True, None)
    assert cold.logs[-3:] == ["working", lines[4], lines[5]]
    assert warm.logs == lines[6:]


async def test_a_sampled_trace_adds_a_line_to_the_report(workshop, run):
    from dataclasses import replace

    from lambdabox.service import make_invocation

    function = workshop.python("def handler(event, context):\n    return 1\n")
    call = await run(function)
    trace = "Root=1-6b1f0a00-aaaaaaaaaaaaaaaaaaaaaaaa;Parent=bbbbbbbbbbbbbbbb;Sampled=1"
    result = await call.service.run(function, replace(make_invocation(function.arn, {}), trace_id=trace))
    assert result.logs[-1] == "XRAY TraceId: 1-6b1f0a00-aaaaaaaaaaaaaaaaaaaaaaaa\tSegmentId: bbbbbbbbbbbbbbbb\tSampled: true\t"


# -- memory -----------------------------------------------------------------------------------------------------------


async def test_memory_is_measured(workshop, run, needs_proc):
    call = await run(workshop.python(COUNTER, memory_size=1024))
    small = (await call({})).report.max_memory_used_mb
    large = (await call({"do": "blob = bytearray(100 * 1024 * 1024)"})).report.max_memory_used_mb
    assert 5 <= small < 60
    assert small + 90 <= large <= small + 130


async def test_memory_over_its_size_is_one_warning(workshop, run, needs_proc):
    call = await run(workshop.python(COUNTER, memory_size=128))
    for _ in range(2):
        result = await call({"do": "blob = bytearray(160 * 1024 * 1024)"})
        assert result.json()["count"] >= 1
    assert len(call.book.of("warning")) == 1
    assert re.fullmatch(r"used \d+ MB of its 128 MB: AWS would have ended it", call.book.of("warning")[0])


@pytest.mark.parametrize("way", ["cgroup", "sampling"])
async def test_memory_enforced_ends_as_out_of_memory(workshop, run, needs_proc, way, monkeypatch):
    if way == "sampling":
        monkeypatch.setenv("LAMBDABOX_NO_CGROUP", "1")
    else:
        from lambdabox.sandbox.memory_group import open_memory_group

        group = open_memory_group(1 << 28)
        if group is None:
            pytest.skip("no control group can be made here")
        group.remove()
    call = await run(workshop.python(COUNTER, memory_size=128, timeout=10), enforce_memory=True)
    assert (await call({"mark": True})).json()["count"] == 1
    hog = await call({"do": "blobs = []\nwhile True:\n    blobs.append(bytearray(b'x') * (8 << 20)); time.sleep(0.01)"})
    assert error(hog) == ("Runtime.OutOfMemory", "Runtime exited with error: signal: killed")
    assert report(hog).endswith("\tStatus: error\tError Type: Runtime.OutOfMemory")
    assert (await call({})).json()["marked"] is True


# -- the bootstrap of a custom runtime --------------------------------------------------------------------------------

SHELL = """#!/bin/sh
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  id=$(grep -i lambda-runtime-aws-request-id "$headers" | tr -d '[:space:]' | cut -d: -f2)
  rm "$headers"
  echo "handling $_HANDLER"
  curl -sS -o /dev/null "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d "{\\"event\\":$event,\\"from\\":\\"WHERE\\"}"
done
"""

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
async def test_a_bootstrap_in_shell_is_a_runtime(workshop, run):
    call = await run(workshop.provided(SHELL.replace("WHERE", "task")))
    for number in range(2):
        result = await call({"n": number})
        assert result.json() == {"event": {"n": number}, "from": "task"}
        assert "handling app.handler" in result.logs
    assert call.book.of("platform")[0].startswith("INIT_START Runtime Version: provided:al2023")


@needs_curl
async def test_the_bootstrap_of_the_code_wins_over_the_one_of_a_layer(workshop, run, tmp_path):
    layer = workshop.code({"bootstrap": SHELL.replace("WHERE", "opt")})
    call = await run(workshop.provided(SHELL.replace("WHERE", "task"), layers=(layer,)))
    assert (await call({})).json()["from"] == "task"
    call = await run(workshop.provided(None, layers=(layer,)))
    assert (await call({})).json()["from"] == "opt"
    call = await run(workshop.provided(None, files={"bootstrap/readme": "a folder is skipped"}, layers=(layer,)))
    assert (await call({})).json()["from"] == "opt"


async def test_no_bootstrap_is_an_invalid_entrypoint(workshop, run):
    call = await run(workshop.provided(None))
    for _ in range(2):
        assert error(await call({})) == (
            "Runtime.InvalidEntrypoint",
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
        )


@pytest.mark.parametrize(
    ("text", "reason"),
    [("echo", "permission denied"), ("#!/nowhere/sh\n", "no such file or directory"), ("#!\n", "exec format error")],
)
async def test_a_bootstrap_that_cannot_be_executed_is_an_invalid_entrypoint(workshop, run, text, reason):
    if reason == "exec format error":
        function = workshop.provided(None, files={})
        path = function.code / "bootstrap"
        path.write_bytes(b"\x7fELF no program")
        path.chmod(0o755)
    else:
        function = workshop.provided(text)
        path = function.code / "bootstrap"
    call = await run(function)
    for _ in range(2):
        assert error(await call({})) == ("Runtime.InvalidEntrypoint", f"fork/exec {path}: {reason}")


async def test_a_bootstrap_that_ends_at_once_is_an_exit_error(workshop, run):
    call = await run(workshop.provided("#!/bin/sh\necho here I am\nexit 9\n"))
    result = await call({})
    assert error(result) == ("Runtime.ExitError", "Runtime exited with error: exit status 9")
    assert "here I am" in result.logs


async def test_a_code_folder_that_is_gone_is_an_invalid_working_directory(workshop, run):
    function = workshop.python("")
    shutil.rmtree(function.code)
    call = await run(function)
    assert error(await call({})) == ("Runtime.InvalidWorkingDir", f"chdir {function.code}: no such file or directory")


# -- shutdown of a lone runtime ---------------------------------------------------------------------------------------


async def test_without_extensions_there_is_no_sigterm(workshop, run, tmp_path):
    source = f"""
import signal
def told(*_):
    open({str(tmp_path / "told")!r}, "w").close()
signal.signal(signal.SIGTERM, told)
def handler(event, context):
    return 1
"""
    call = await run(workshop.python(source))
    await call({})
    await call.service.close()
    assert not (tmp_path / "told").exists()


async def test_background_work_does_not_progress_while_the_environment_is_frozen(workshop, run, tmp_path):
    source = f"""
import threading, time
def work():
    with open({str(tmp_path / "ticks")!r}, "a") as ticks:
        while True:
            ticks.write("x"); ticks.flush()
            time.sleep(0.005)
def handler(event, context):
    if event.get("start"):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.05)
"""
    import asyncio

    call = await run(workshop.python(source), freeze=True)
    await call({"start": True})
    ticks = tmp_path / "ticks"
    size = ticks.stat().st_size
    assert size > 0
    await asyncio.sleep(0.1)
    assert ticks.stat().st_size <= size + 2
    await call({})
    assert ticks.stat().st_size > size + 2
