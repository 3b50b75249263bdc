"""`lambdabox serve`: what it says, what it answers, how it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.e2e.test_interrupt import assert_gone, wait_for_fifo


def endpoint_of(process) -> str:
    """The first line of standard output."""
    ready, _, _ = select.select([process.stdout], [], [], 20)
    assert ready, "serve did not start"
    line: bytes = process.stdout.readline()
    return line.decode().strip()


def call(endpoint: str, function: str, event: object, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"{endpoint}/2015-03-31/functions/{function}/invocations",
        data=json.dumps(event).encode(),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def end(process, number: int = signal.SIGINT) -> tuple[int, str]:
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    return process.returncode, stderr.decode()


def test_functions_answer_by_key_and_by_name(start, serverless: Path) -> None:
    process = start("serve", "--port", "0")
    endpoint = endpoint_of(process)
    assert call(endpoint, "hello", {"name": "a"}) == (200, b'{"hello": "a"}')
    assert call(endpoint, "shop-dev-hello", {"name": "b"}) == (200, b'{"hello": "b"}')
    assert call(endpoint, "nope", {})[0] == 404
    code, stderr = end(process)
    assert code == 130
    assert "Traceback" not in stderr


def test_what_is_served_is_told_on_standard_error(start, serverless: Path) -> None:
    process = start("serve", "--port", "0")
    endpoint = endpoint_of(process)
    _, stderr = end(process)
    assert f"AWS_ENDPOINT_URL_LAMBDA={endpoint}" in stderr
    assert f"curl -d '{{}}' {endpoint}/2015-03-31/functions/shop-dev-hello/invocations" in stderr
    for word in ("hello", "app.echo", "shop-dev-env"):
        assert word in stderr
    assert "\x1b[" not in stderr


def test_logs_are_on_standard_error(start, serverless: Path) -> None:
    process = start("serve", "--port", "0")
    call(endpoint_of(process), "hello", {})
    _, stderr = end(process)
    assert "a log line" in stderr
    assert "REPORT RequestId: " in stderr


def test_quiet_has_no_logs(start, serverless: Path) -> None:
    process = start("serve", "--port", "0", "--quiet")
    assert call(endpoint_of(process), "hello", {})[0] == 200
    _, stderr = end(process)
    assert "a log line" not in stderr
    assert "START" not in stderr


def test_a_target_serves_one_function(start, project: Path) -> None:
    process = start("serve", "app.echo", "--port", "0")
    assert call(endpoint_of(process), "function", [1]) == (200, b"[1]")


def test_env_and_credentials(start, serverless: Path) -> None:
    process = start("serve", "--port", "0", "-e", "GIVEN=1", "--no-credentials", env={"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"})
    status, body = call(endpoint_of(process), "env", ["GIVEN", "AWS_ACCESS_KEY_ID"])
    assert (status, json.loads(body)) == (200, {"GIVEN": "1", "AWS_ACCESS_KEY_ID": None})


def test_functions_find_the_endpoint(start, serverless: Path) -> None:
    process = start("serve", "--port", "0")
    endpoint = endpoint_of(process)
    _, body = call(endpoint, "env", ["AWS_ENDPOINT_URL_LAMBDA"])
    assert json.loads(body) == {"AWS_ENDPOINT_URL_LAMBDA": endpoint}


def test_a_foreign_page_is_refused_unless_it_is_let_in(start, serverless: Path) -> None:
    process = start("serve", "--port", "0", "--cors", "http://localhost:5173")
    endpoint = endpoint_of(process)
    assert call(endpoint, "echo", 1, Origin="http://evil.example")[0] == 403
    assert call(endpoint, "echo", 1, Origin="http://localhost:5173") == (200, b"1")


def test_an_origin_needs_a_scheme(run, serverless: Path) -> None:
    done = run("serve", "--cors", "localhost:5173")
    assert done.returncode == 2
    assert b"--cors localhost:5173 is no origin" in done.stderr


def test_a_taken_port_is_exit_3(run, serverless: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port))
    assert (done.returncode, done.stdout) == (3, b"")
    assert f"cannot listen on 127.0.0.1:{port}".encode() in done.stderr
    assert b"--port" in done.stderr


@pytest.mark.parametrize("value", ["70000", "-1", "http"])
def test_a_port_that_cannot_be(run, serverless: Path, value: str) -> None:
    done = run("serve", "--port", value)
    assert done.returncode == 2
    assert f"--port {value}".encode() in done.stderr


def test_concurrency_is_limited(start, serverless: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = start("serve", "app.slow", "--port", "0", "--max-concurrency", "1", "--no-timeout")
    endpoint = endpoint_of(process)
    assert call(endpoint, "function", {"started": str(fifo)}, X_Amz_Invocation_Type="Event")[0] == 202
    pid = wait_for_fifo(fifo)
    status, body = call(endpoint, "function", {"started": str(fifo)})
    assert (status, json.loads(body)["Reason"]) == (429, "ConcurrentInvocationLimitExceeded")
    code, stderr = end(process, signal.SIGTERM)
    assert code == 0
    assert "Event invocation " in stderr
    assert "did not finish" in stderr
    assert_gone(pid)


def test_the_second_signal_kills_at_once(start, project: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = start("serve", "app.slow", "--port", "0", "--no-timeout")
    call(endpoint_of(process), "function", {"started": str(fifo)}, X_Amz_Invocation_Type="Event")
    pid = wait_for_fifo(fifo)
    process.send_signal(signal.SIGINT)
    while b"shutting down" not in process.stderr.readline():
        pass
    code, stderr = end(process)
    assert code == 130
    assert "did not finish" not in stderr
    assert_gone(pid)


def test_an_environment_is_reused(start, serverless: Path) -> None:
    process = start("serve", "--port", "0")
    endpoint = endpoint_of(process)
    call(endpoint, "hello", {})
    call(endpoint, "hello", {})
    _, stderr = end(process)
    assert stderr.count("INIT_START") == 1
