"""`lambdabox simulate` as a command, with runtimes started beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RUNTIME = """
import http.client, json, os, sys
def connect():
    return http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
api = connect()
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event = json.loads(answer.read())
    place = "/2018-06-01/runtime/invocation/" + answer.getheader("Lambda-Runtime-Aws-Request-Id")
    if event == "leave":
        sys.exit()
    if event == "fail":
        api.request("POST", place + "/error", json.dumps({"errorType": "Oops", "errorMessage": "it broke"}))
    elif event == "text":
        api.request("POST", place + "/response", "two\\nlines")
    else:
        api.request("POST", place + "/response", json.dumps({"got": event}, indent=1))
    api.getresponse().read()
"""

Started = tuple[subprocess.Popen[bytes], str]


@pytest.fixture
def simulate(start: Callable[..., subprocess.Popen[bytes]]) -> Callable[..., Started]:
    """Start the command on a free port, read what it says first, and return it with its address."""

    def simulate_(*arguments: str, **settings: Any) -> Started:
        process = start("simulate", "--port", "0", *arguments, **settings)
        return process, said(process, r"export AWS_LAMBDA_RUNTIME_API=(\S+)")

    return simulate_


def said(process: subprocess.Popen[bytes], pattern: str) -> str:
    """What stands in the next line on standard error that has it."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(pattern, line.decode()):
            return found[1]
    raise AssertionError(f"ended with {process.wait()} before {pattern}")


@pytest.fixture
def run_runtime(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a runtime as a person would, in another terminal."""
    path = tmp_path / "runtime.py"
    path.write_text(RUNTIME)
    started = []

    def run(address: str) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "AWS_LAMBDA_RUNTIME_API": address}
        process = subprocess.Popen([sys.executable, str(path)], env=environ, stderr=subprocess.DEVNULL)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_a_runtime_of_another_terminal_answers(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("-d", '{"a": 1}', "-d", "2")
    run_runtime(address)
    out, err = process.communicate(timeout=20)
    assert out == b'{"got":{"a":1}}\n{"got":2}\n'
    assert process.returncode == 0
    assert err.decode().count("REPORT RequestId: ") == 2


def test_events_are_lines_of_standard_input(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("-q", stdin=subprocess.PIPE)
    run_runtime(address)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"a": 1}\n\n')
    process.stdin.flush()
    assert process.stdout.readline() == b'{"got":{"a":1}}\n'  # before the input has ended
    out, err = process.communicate(b'"last"', timeout=20)
    assert (out, process.returncode) == (b'{"got":"last"}\n', 0)
    assert b"REPORT" not in err


def test_a_line_that_is_not_json_is_told_and_passed_over(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate(stdin=subprocess.PIPE)
    run_runtime(address)
    out, err = process.communicate(b"{bad\n1\n", timeout=20)
    assert (out, process.returncode) == (b'{"got":1}\n', 2)
    assert b"error: line 1 of standard input is not JSON" in err


def test_an_event_comes_from_a_file(simulate: Callable[..., Started], run_runtime: Any, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"from": "file"}')
    process, address = simulate("-p", "event.json", cwd=tmp_path)
    run_runtime(address)
    assert process.communicate(timeout=20)[0] == b'{"got":{"from":"file"}}\n'


def test_a_function_error_is_exit_1(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("-d", '"fail"', "-d", "1")
    run_runtime(address)
    first, second = process.communicate(timeout=20)[0].splitlines()
    assert json.loads(first) == {"errorType": "Oops", "errorMessage": "it broke"}
    assert json.loads(second) == {"got": 1}
    assert process.returncode == 1


def test_each_result_is_one_line_of_json(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("-d", '"text"')
    run_runtime(address)
    assert process.communicate(timeout=20)[0] == b'"two\\nlines"\n'


def test_envelopes_name_their_invocation(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("-d", "1", "--output", "json")
    run_runtime(address)
    envelope = json.loads(process.communicate(timeout=20)[0])
    assert (envelope["StatusCode"], envelope["Payload"]) == (200, {"got": 1})
    assert re.fullmatch(r"[0-9a-f-]{36}", envelope["RequestId"])


def test_telemetry_is_appended_as_json_lines(simulate: Callable[..., Started], run_runtime: Any, tmp_path: Path) -> None:
    process, address = simulate("-d", "1", "--telemetry", "telemetry.jsonl", cwd=tmp_path)
    run_runtime(address)
    process.communicate(timeout=20)
    types = [json.loads(line)["type"] for line in (tmp_path / "telemetry.jsonl").read_text().splitlines()]
    assert types == [
        f"platform.{name}" for name in ("initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report")
    ]


def test_the_lambda_api_is_served_beside(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("--invoke-port", "0", "--function-name", "orders")
    url = said(process, r"AWS_ENDPOINT_URL_LAMBDA=(\S+)")
    run_runtime(address)
    request = urllib.request.Request(f"{url}/2015-03-31/functions/orders/invocations", data=b'{"a": 1}')
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert json.loads(answer.read()) == {"got": {"a": 1}}
    assert process.stdout is not None
    assert process.stdout.readline() == b'{"got":{"a":1}}\n'
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_a_runtime_that_connects_again_gets_the_same_event(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("--no-timeout", "-d", '{"a": 1}')
    with urllib.request.urlopen(f"http://{address}/2018-06-01/runtime/invocation/next", timeout=20) as answer:
        assert answer.read() == b'{"a": 1}'  # a debugger whose session is killed here
    run_runtime(address)
    assert process.communicate(timeout=20)[0] == b'{"got":{"a":1}}\n'


def test_who_does_not_answer_in_time_is_a_function_error(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("--timeout", "0.2", "-d", '"leave"')
    run_runtime(address)
    out, _ = process.communicate(timeout=20)
    assert json.loads(out)["errorType"] == "Sandbox.Timedout"
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="there is no /proc")
def test_connected_processes_stand_still_between_invocations(simulate: Callable[..., Started], run_runtime: Any) -> None:
    process, address = simulate("--freeze", stdin=subprocess.PIPE)
    runtime = run_runtime(address)
    assert int(said(process, r"process (\d+) is frozen between invocations")) == runtime.pid
    assert os.waitid(os.P_PID, runtime.pid, os.WSTOPPED | os.WNOWAIT) is not None
    assert process.stdin is not None
    assert process.communicate(b"1\n", timeout=20)[0] == b'{"got":1}\n'
    os.kill(runtime.pid, 0)  # it goes on when the command is over
    assert Path(f"/proc/{runtime.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T"


def test_ctrl_c_names_what_was_not_answered(simulate: Callable[..., Started]) -> None:
    process, _ = simulate("-d", "1")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert re.search(r"warning: invocation [0-9a-f-]{36} was not answered", err.decode())


def test_a_taken_port_is_exit_3(simulate: Callable[..., Started], run: Any) -> None:
    _, address = simulate()
    found = run("simulate", "--port", address.rpartition(":")[2])
    assert found.returncode == 3
    assert b"cannot listen on" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--timeout", "0"], "--timeout 0 is out of range"),
        (["--memory", "1"], "--memory 1 is out of range"),
        (["-d", "{bad"], "is not JSON"),
        (["--telemetry", "/no/such/folder/file"], "--telemetry /no/such/folder/file: No such file or directory"),
        (["--client-context", "1"], "--client-context is not a JSON object"),
    ],
)
def test_what_cannot_be_right_is_exit_2(run: Any, arguments: list[str], words: str) -> None:
    found = run("simulate", *arguments)
    assert (found.returncode, found.stdout) == (2, b"")
    assert words in found.stderr.decode()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_a_full_disk_costs_the_telemetry_and_no_result(
    simulate: Callable[..., Started], run_runtime: Callable[[str], Any]
) -> None:
    process, address = simulate("-d", "1", "-d", "2", "--telemetry", "/dev/full")
    run_runtime(address)
    out, err = process.communicate(timeout=20)
    assert out == b'{"got":1}\n{"got":2}\n'
    assert process.returncode == 3
    assert b"--telemetry /dev/full: No space left on device" in err
    assert b"Traceback" not in err
