"""The transport against Runtime APIs that behave, and that do not."""

from __future__ import annotations

import os
import socket
import time

import pytest

from lambdabox_runtime import ConfigurationError, DefaultRuntimeApi, HttpTransport, RuntimeApiError, TransportError
from lambdabox_runtime.transport import clean_header, parse_address

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSE = b"<close>"


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def transport(api, pauses):
    transport = HttpTransport(api.address, pause=pauses.append)
    yield transport
    transport.close()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:9001", ("127.0.0.1", 9001, "127.0.0.1:9001")),
        ("http://127.0.0.1:9001/", ("127.0.0.1", 9001, "127.0.0.1:9001")),
        ("HTTP://localhost:80", ("localhost", 80, "localhost:80")),
        ("[::1]:9001", ("::1", 9001, "[::1]:9001")),
    ],
)
def test_an_address_is_host_and_port(address, expected):
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", ":80", "https://x:y", "x:80:z"])
def test_another_address_is_refused_by_name(address):
    with pytest.raises(ConfigurationError, match="must be host:port"):
        parse_address(address)


def test_names_are_resolved(api):
    transport = HttpTransport(f"localhost:{api.port}")
    api.scripted["next"] = [OK]
    assert transport.get("/next").body == b"ok"
    transport.close()


def test_a_header_value_cannot_end_its_line():
    assert clean_header("a\r\nb\x00c\x7f\u00e9\t") == "a  b c \u00e9 "


def test_request_lines_headers_and_bodies_arrive(api, transport):
    response = transport.post("/x/response", [("Content-Type", "a/b"), ("X-Y", "z\r\nInjected: 1")], b"body")
    request = api.wait("response")
    assert (request.method, request.path, request.body) == ("POST", "/x/response", b"body")
    assert request.headers == {"host": api.address, "content-length": "4", "content-type": "a/b", "x-y": "z  Injected: 1"}
    assert (response.status, response.headers["content-type"], response.body) == (202, "application/json", b'{"status":"OK"}\n')


@pytest.mark.parametrize("size", [0, 1, 32 * 1024, 32 * 1024 + 1, 6_291_556])
def test_bodies_of_any_size_go_both_ways(api, transport, size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    transport.post("/response", (), body)
    assert api.wait("response").body == body
    api.enqueue_raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)
    assert transport.get("/next").body == body


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nabc0123456789",
        b"HTTP/1.0 200 OK\r\n\r\nabc0123456789" + CLOSE,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:13\r\n\r\nabc0123456789" + CLOSE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nabc0123456789surplus",
    ],
)
def test_every_framing_of_a_response_is_read(api, transport, pauses, answer):
    api.scripted["next"] = [answer, OK]
    response = transport.get("/next")
    assert (response.status, bytes(response.body)) == (200, b"abc0123456789")
    assert transport.get("/next").body == b"ok"
    assert pauses == []


def test_large_chunked_bodies_are_read(api, transport):
    chunk = b"x" * 100_000
    api.scripted["next"] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + chunk + b"\r\n186a0\r\n" + chunk + b"\r\n0\r\n\r\n"
    ]
    assert transport.get("/next").body == chunk * 2


def test_headers_over_the_first_buffer_are_read(api, transport):
    api.scripted["next"] = [b"HTTP/1.1 200 OK\r\nBig: " + b"x" * 500_000 + b"\r\nContent-Length: 2\r\n\r\nok"]
    response = transport.get("/next")
    assert (len(response.headers["big"]), response.body) == (500_000, b"ok")


def test_headers_without_end_are_refused(api, transport):
    api.scripted["next"] = [b"HTTP/1.1 200 OK\r\nBig: " + b"x" * 5_000_000 + CLOSE]
    with pytest.raises(TransportError, match="headers over"):
        transport.get("/next")


def test_header_values_may_be_utf8(api, transport):
    api.scripted["next"] = ["HTTP/1.1 200 OK\r\nName: h\u00e9\r\nContent-Length: 0\r\n\r\n".encode()]
    assert transport.get("/next").headers["name"] == "h\u00e9"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_refused(api, transport, answer):
    api.scripted["next"] = [answer, OK]
    with pytest.raises(TransportError, match="does not speak HTTP"):
        transport.get("/next")
    assert transport.get("/next").body == b"ok"


def test_a_kept_connection_that_was_closed_is_replaced_at_once(api, transport, pauses):
    api.scripted["next"] = [OK + CLOSE, OK]
    transport.get("/next")
    assert transport.get("/next").body == b"ok"
    assert (api.connections, pauses) == (2, [])


@pytest.mark.parametrize("half", [CLOSE, b"HTT" + CLOSE, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf" + CLOSE])
def test_half_an_event_is_asked_for_again(api, transport, pauses, half):
    api.scripted["next"] = [half, half, half, OK]
    assert transport.get("/next").body == b"ok"
    assert pauses == [0.01, 0.02, 0.04]


def test_half_an_answer_to_a_post_counts_by_its_status(api, transport):
    api.scripted["response"] = [b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{" + CLOSE]
    assert transport.post("/response", (), b"x").status == 202
    assert len(api.all("response")) == 1


def test_a_post_without_an_answer_is_sent_again(api, transport):
    api.scripted["response"] = [CLOSE]
    assert transport.post("/response", (), b"x").status == 202
    assert [request.body for request in api.all("response")] == [b"x", b"x"]


def test_an_answer_that_comes_before_the_body_is_through_is_read():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = HttpTransport(f"127.0.0.1:{listener.getsockname()[1]}")
        transport._connect()
        peer, _ = listener.accept()
        peer.sendall(b"HTTP/1.1 413 Too large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
        peer.shutdown(socket.SHUT_RDWR)
        response = transport.post("/response", (), b"x" * 8_000_000)
        peer.close()
        transport.close()
    assert response.status == 413


def test_nothing_listening_is_tried_with_growing_pauses_and_then_told(pauses):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    started = time.process_time()
    with pytest.raises(TransportError, match=f"127.0.0.1:{port} cannot be reached"):
        HttpTransport(f"127.0.0.1:{port}", pause=pauses.append).get("/next")
    assert len(pauses) == 15
    assert 5 < sum(pauses) < 15
    assert max(pauses) == 1.0
    assert time.process_time() - started < 1


def test_default_timeouts_of_user_code_do_not_reach_the_connection(api, transport):
    socket.setdefaulttimeout(0.001)
    try:
        api.scripted["next"] = [OK]
        transport.get("/next")
        assert transport._socket.gettimeout() is None
    finally:
        socket.setdefaulttimeout(None)


def test_the_connection_is_not_inherited_and_does_not_wait_for_more(api, transport):
    api.scripted["next"] = [OK]
    transport.get("/next")
    assert transport._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert os.get_inheritable(transport._socket.fileno()) is False


def test_an_interrupted_wait_leaves_no_half_response_behind(api, transport):
    class ComplainingError(Exception):
        pass

    class Broken:
        def recv_into(self, _view):
            raise ComplainingError

        def sendall(self, *_):
            pass

        def close(self):
            self.is_closed = True

    broken = transport._socket = Broken()
    with pytest.raises(ComplainingError):
        transport.get("/next")
    assert broken.is_closed
    api.scripted["next"] = [OK]
    assert transport.get("/next").body == b"ok"


def test_the_calls_of_the_api_have_their_paths_and_headers(api, transport):
    runtime_api = DefaultRuntimeApi(transport)
    api.enqueue({"a": 1}, request_id="r", invocation_id="n", client_context="{}")
    invocation = runtime_api.next()
    runtime_api.response(invocation, b"1", "text/plain")
    runtime_api.error(invocation, b"{}", error_type="Function.Odd", cause='{"message": "\u00e9"}')
    runtime_api.init_error(b"{}", "Runtime.Odd")
    seen = [(request.method, request.path) for request in api.requests]
    assert seen == [
        ("GET", "/2018-06-01/runtime/invocation/next"),
        ("POST", "/2018-06-01/runtime/invocation/r/response"),
        ("POST", "/2018-06-01/runtime/invocation/r/error"),
        ("POST", "/2018-06-01/runtime/init/error"),
    ]
    assert (invocation.body, invocation.deadline_ms, invocation.client_context, invocation.tenant_id) == (
        b'{"a": 1}',
        4102444800000,
        "{}",
        None,
    )
    assert api.requests[1].headers["lambda-runtime-invocation-id"] == "n"
    assert api.requests[2].headers["lambda-runtime-function-error-type"] == "Function.Odd"
    assert api.requests[2].headers["lambda-runtime-function-xray-error-cause"] == '{"message": "\\u00e9"}'
    assert api.requests[3].headers["lambda-runtime-function-error-type"] == "Runtime.Odd"


# -- polling ahead ----------------------------------------------------------------------------------------------------


@pytest.fixture
def ahead(transport):
    return DefaultRuntimeApi(transport, polls_ahead=True, pause=lambda _: None)


def test_an_answer_takes_the_next_poll_along(api, ahead):
    for number in range(3):
        api.enqueue(number, request_id=f"id-{number}")
    for number in range(3):
        invocation = ahead.next()
        assert (invocation.request_id, invocation.body) == (f"id-{number}", b"%d" % number)
        ahead.response(invocation, b"x" * 100_000 * number, "text/plain")
        api.wait("next", number + 2)  # it is there before we ask for it
    assert api.connections == 1


def test_a_poll_ahead_whose_connection_is_lost_is_sent_again(api, ahead):
    api.enqueue(0)
    invocation = ahead.next()
    api.scripted["next"] = [CLOSE]
    ahead.response(invocation, b"1", "text/plain")
    api.enqueue(1, request_id="id-2")
    assert ahead.next().request_id == "id-2"
    assert [request.call for request in api.requests] == ["next", "response", "next", "next"]


def test_a_busy_answer_is_sent_again_on_a_connection_without_a_poll_on_it(api, ahead):
    api.enqueue(0)
    invocation = ahead.next()
    api.scripted["response"] = [b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"]
    ahead.response(invocation, b"1", "text/plain")
    assert api.wait("response", 2).body == b"1"
    assert api.connections == 2


def test_an_event_that_comes_in_one_piece_with_the_answer_before_it_is_read():
    event = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: b\r\nContent-Length: 100000\r\n\r\n" + b"y" * 100_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = HttpTransport(f"127.0.0.1:{listener.getsockname()[1]}")
        transport._connect()
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n" + event[:60_000])
            assert transport.post("/a/response", (), b"1", ahead="/a/next").status == 202
            peer.sendall(event[60_000:])
            response = transport.get("/a/next")
        transport.close()
    assert (response.headers["lambda-runtime-aws-request-id"], response.body) == ("b", b"y" * 100_000)


GARBLED = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 11\r\n\r\nBad Request" + CLOSE


@pytest.mark.parametrize("polls_ahead", [False, True])
def test_an_answer_that_was_garbled_on_its_way_is_sent_once_more(api, transport, polls_ahead):
    runtime_api = DefaultRuntimeApi(transport, polls_ahead=polls_ahead)
    api.enqueue({}, request_id="a")
    api.scripted["response"] = [GARBLED]
    runtime_api.response(runtime_api.next(), b"1", "application/json")
    assert [request.connection for request in api.all("response")] == [1, 2]


def test_an_answer_that_is_garbled_twice_is_refused(api, transport):
    runtime_api = DefaultRuntimeApi(transport)
    api.enqueue({}, request_id="a")
    api.scripted["response"] = [GARBLED, GARBLED]
    invocation = runtime_api.next()
    with pytest.raises(RuntimeApiError, match="400"):
        runtime_api.response(invocation, b"1", "application/json")
