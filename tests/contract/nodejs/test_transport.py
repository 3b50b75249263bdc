"""How the bootstrap speaks HTTP: one connection, any split of the bytes, trouble on the line."""

from __future__ import annotations

import pytest
from tests.contract.nodejs.conftest import Starter

ECHO = "exports.handler = async (event) => event"


def test_everything_goes_over_one_connection(start: Starter) -> None:
    function = start(ECHO)
    answers = [function.invoke({"n": n}) for n in range(30)]
    assert {answer.connection for answer in answers} == {1}
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_any_split_of_the_answer_reads_the_same(start: Starter, size: int) -> None:
    function = start(ECHO)
    function.api.answer_bytes = lambda whole: [whole[i : i + size] for i in range(0, len(whole), size)]
    event = {"text": "é€😀" * 40}
    assert function.result(event) == event
    assert function.result(event) == event


@pytest.mark.parametrize("size", [1000, 16 * 1024, 65_400, 65_536, 70_000, 1_000_000, 6 * 1024 * 1024])
def test_events_and_results_of_any_size(start: Starter, size: int) -> None:
    function = start(ECHO)
    event = "é" * (size // 2)
    assert function.result(event) == event
    assert function.result("small") == "small"


def test_a_chunked_answer_is_understood(start: Starter) -> None:
    function = start(ECHO)
    body = b'{"chunked": "' + b"x" * 200_000 + b'"}'

    def chunked(whole: bytes) -> list[bytes]:
        head, _, _ = whole.partition(b"\r\n\r\n")
        if b"Runtime-Aws-Request-Id" not in head:
            return [whole]
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length"))
        parts = [body[i : i + 30_000] for i in range(0, len(body), 30_000)]
        sent = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
        return [head + b"\r\nTransfer-Encoding: chunked\r\n\r\n", sent, b"0\r\n", b"\r\n"]

    function.api.answer_bytes = chunked
    assert len(function.result({})["chunked"]) == 200_000
    assert len(function.result({})["chunked"]) == 200_000


def test_a_lost_connection_is_made_again(start: Starter) -> None:
    function = start(ECHO)
    assert function.result(1) == 1
    function.api.drop_next_connections = 2
    assert function.result(2) == 2
    assert function.result(3) == 3


@pytest.mark.parametrize("status", [400, 403, 410, 413])
def test_a_refused_answer_does_not_end_the_process(start: Starter, status: int) -> None:
    function = start(ECHO)
    function.api.statuses["response"] = [status]
    function.invoke(1)
    assert function.result(2) == 2


def test_a_container_error_ends_the_process(start: Starter) -> None:
    function = start(ECHO)
    function.api.statuses["response"] = [500]
    function.invoke(1)
    assert function.exit_code() == 1


def test_the_invocation_id_is_echoed(start: Starter) -> None:
    function = start("exports.handler = async (e) => { if (e === 'x') throw new Error('x') }")
    headers = {"Lambda-Runtime-Invocation-Id": "nonce-1"}
    assert function.invoke(1, headers=headers).headers["lambda-runtime-invocation-id"] == "nonce-1"
    assert function.invoke("x", headers=headers).headers["lambda-runtime-invocation-id"] == "nonce-1"
    assert "lambda-runtime-invocation-id" not in function.invoke(1).headers


@pytest.mark.slow
def test_a_platform_that_is_gone_ends_the_process(start: Starter) -> None:
    function = start(ECHO)
    function.wait_until_waiting()
    function.api.close()
    assert function.exit_code() == 1


def test_replaced_globals_do_not_stop_the_loop(start: Starter) -> None:
    function = start(
        "exports.handler = async (e) => { global.setTimeout = global.setImmediate = () => { throw new Error('fake') };"
        " process.exit = () => {}; return e }"
    )
    assert function.result(1) == 1
    function.api.drop_next_connections = 1
    assert function.result(2) == 2


def test_a_patched_net_module_does_not_reach_the_connection(start: Starter) -> None:
    function = start("require('net').connect = () => { throw new Error('no network here') };\n" + ECHO)
    assert function.result(1) == 1
