"""The HTTP server on real sockets, judged by clients that are not ours."""

from __future__ import annotations

import asyncio
import http.client
import inspect
import shutil
import socket
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import pytest
import uvloop

from lambdabox.errors import AddressInUseError
from lambdabox.http.client import HttpClient
from lambdabox.http.exchange import BodyEnd
from lambdabox.http.limits import Limits
from lambdabox.http.policy import HostPolicy
from lambdabox.http.server import open_server

TEXT = (("Content-Type", "text/plain"),)


class Application:
    """Answers by path; `parked` exchanges wait for the test."""

    def __init__(self):
        self.parked = []
        self.arrived = asyncio.Event()
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.ends = []

    def __call__(self, exchange):
        getattr(self, exchange.path.strip("/") or "root")(exchange)

    def root(self, exchange):
        exchange.respond(200, TEXT, b"0123456789")

    def echo(self, exchange):
        def done(end, body, size):
            self.ends.append((end, size))
            exchange.respond({BodyEnd.COMPLETE: 200, BodyEnd.OVERSIZED: 413, BodyEnd.TRUNCATED: 400}[end], TEXT, body)

        exchange.collect(6_000_000, done)

    def refuse(self, exchange):
        exchange.respond(413, TEXT, b"too large")

    def park(self, exchange):
        exchange.on_disconnect = self.gone.set
        self.parked.append(exchange)
        self.arrived.set()

    def pour(self, exchange):
        exchange.on_writable = self.writable.set
        exchange.start(200)
        self.park(exchange)

    def mirror(self, exchange):
        class Sink:
            def body_data(self, data):
                if not self.is_started:
                    exchange.start(200)
                self.is_started = True
                exchange.write(data)

            def body_end(self, end, trailers):
                exchange.end(trailers.items())

            is_started = False

        exchange.stream(Sink())


@asynccontextmanager
async def opened():
    application = Application()
    async with (
        await open_server(application, policy=HostPolicy(), limits=Limits(linger_seconds=0.2)) as server,
        HttpClient(server.host, server.port) as client,
    ):
        yield {"application": application, "server": server, "client": client}


def on_both_loops(test):
    """Run a test on asyncio's own loop and on uvloop, with an application, its server and a client of ours."""
    wanted = inspect.signature(test).parameters
    others = [parameter for name, parameter in wanted.items() if name not in {"application", "server", "client"}]

    def run(loop, **arguments):
        async def main():
            async with opened() as world:
                await test(**arguments, **{name: value for name, value in world.items() if name in wanted})

        with asyncio.Runner(loop_factory={"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[loop]) as runner:
            runner.run(main())

    run.__name__ = test.__name__
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what pytest reads the fixtures from
        [
            inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY),
            *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in others),
        ]
    )
    return pytest.mark.parametrize("loop", ["asyncio", "uvloop"])(run)


async def raw(server, data, *, eof=False):
    """Send bytes, read until the server closes."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(data)
    if eof:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@on_both_loops
async def test_http_client_of_the_standard_library_reuses_one_connection(server):
    def talk():
        connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
        results = []
        for method, path, body in (
            ("GET", "/", None),
            ("POST", "/echo", b"abc"),
            ("HEAD", "/", None),
            ("POST", "/echo", b"x" * 5_000_000),
        ):
            connection.request(method, path, body)
            first = connection.sock
            answer = connection.getresponse()
            results.append((answer.status, len(answer.read())))
            assert connection.sock is first
        connection.request("POST", "/echo", iter([b"ab", b"cde"]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        results.append((200, len(connection.getresponse().read())))
        connection.request("POST", "/echo", b"x" * 6_500_000)
        answer = connection.getresponse()
        results.append((answer.status, len(answer.read())))
        connection.request("GET", "/")
        results.append((200, len(connection.getresponse().read())))
        connection.close()
        return results

    results = await asyncio.to_thread(talk)
    assert results == [(200, 10), (200, 3), (200, 0), (200, 5_000_000), (200, 5), (413, 0), (200, 10)]


@on_both_loops
async def test_urllib_reads_answers_and_refusals(server):
    def talk():
        with urllib.request.urlopen(f"http://{server.address}/", timeout=5) as answer:
            body = answer.read()
        request = urllib.request.Request(f"http://{server.address}/", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(request, timeout=5)
        with refusal.value as error:
            return body, error.code, error.read()

    body, status, reason = await asyncio.to_thread(talk)
    assert (body, status) == (b"0123456789", 403)
    assert b"evil.example" in reason


async def curl(*arguments):
    process = await asyncio.create_subprocess_exec(
        shutil.which("curl") or "curl", "-sS", "--max-time", "10", "-o", "-", "-w", "\n%{http_code}", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    body, _, status = out.rpartition(b"\n")
    return int(status), body, err


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
@on_both_loops
async def test_curl_uploads_after_100_continue(server, tmp_path, application):
    (tmp_path / "big").write_bytes(b"x" * 2_000_000)
    url = f"http://{server.address}/echo"
    status, body, _ = await curl(
        "--data-binary", f"@{tmp_path / 'big'}", "-H", "Expect: 100-continue", "--expect100-timeout", "9", url
    )
    assert (status, len(body)) == (200, 2_000_000)


@needs_curl
@on_both_loops
async def test_curl_reads_the_refusal_of_an_upload_it_has_not_sent(server, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 2_000_000)
    url = f"http://{server.address}/refuse"
    status, body, _ = await curl(
        "--data-binary", f"@{tmp_path / 'big'}", "-H", "Expect: 100-continue", "--expect100-timeout", "9", url
    )
    assert (status, body) == (413, b"too large")


@needs_curl
@on_both_loops
async def test_curl_reads_the_refusal_of_an_upload_it_is_sending(server, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 8_000_000)
    status, body, _ = await curl("--data-binary", f"@{tmp_path / 'big'}", "-H", "Expect:", f"http://{server.address}/refuse")
    assert (status, body) == (413, b"too large")


@needs_curl
@on_both_loops
async def test_curl_mirrors_a_chunked_upload(server, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    arguments = ["-T", str(tmp_path / "big"), "-H", "Transfer-Encoding: chunked", f"http://{server.address}/mirror"]
    status, body, _ = await curl(*arguments)
    assert (status, len(body)) == (200, 3_000_000)


@needs_curl
@on_both_loops
async def test_curl_offers_h2c_and_is_answered_in_http_1_1(server):
    status, body, _ = await curl("--http2", "--data-binary", "abc", f"http://{server.address}/echo")
    assert (status, body) == (200, b"abc")


@on_both_loops
async def test_our_client_meets_our_server(client):
    answers = [await client.request("GET", "/"), await client.request("POST", "/echo", (("X-A", "b"),), b"abc")]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"0123456789"), (200, b"abc")]
    assert (await client.request("HEAD", "/")).headers["content-length"] == "10"
    assert (await client.request("GET", "/")).body == b"0123456789"


@on_both_loops
async def test_our_client_streams_an_answer_with_trailers(client, application):
    async with client.stream("GET", "/pour", timeout=5) as response:
        application.parked[0].write(b"one")
        parts = aiter(response)
        assert await anext(parts) == b"one"
        application.parked[0].write(b"two")
        application.parked[0].end((("X-T", "v"),))
        assert b"".join([part async for part in parts]) == b"two"
    assert response.trailers == {"x-t": "v"}
    assert (await client.request("GET", "/")).status == 200


@on_both_loops
async def test_our_client_notices_an_aborted_answer(client, application):
    async with client.stream("GET", "/pour", timeout=5) as response:
        application.parked[0].write(b"one")
        application.parked[0].abort()
        with pytest.raises(ConnectionError):
            await response.read()
    assert (await client.request("GET", "/")).status == 200


@on_both_loops
async def test_our_client_gives_up_in_time_and_the_server_notices(client, application):
    with pytest.raises(TimeoutError):
        await client.request("GET", "/park", timeout=0.01)
    await asyncio.wait_for(application.gone.wait(), 5)


@on_both_loops
async def test_our_client_reconnects_when_the_server_was_restarted(client, server, application):
    await client.request("GET", "/")
    await server.close()
    async with await open_server(application, port=server.port):
        assert (await client.request("GET", "/")).status == 200


@pytest.mark.parametrize("reset", [False, True])
@on_both_loops
async def test_a_parked_exchange_hears_at_once_that_its_peer_left(server, application, reset):
    peer = socket.create_connection((server.host, server.port))
    peer.sendall(b"GET /park HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.wait_for(application.arrived.wait(), 5)
    if reset:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    await asyncio.wait_for(application.gone.wait(), 5)
    assert application.parked[0].is_closed


@on_both_loops
async def test_a_short_body_is_answered_after_a_half_close(server):
    answer = await raw(server, b"POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", eof=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


@on_both_loops
async def test_a_chunked_body_without_its_end_is_truncated(server, application):
    await raw(server, b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", eof=True)
    assert application.ends == [(BodyEnd.TRUNCATED, 3)]


@on_both_loops
async def test_a_refused_peer_that_sends_on_reads_its_answer(server):
    answer = await raw(server, b"nonsense\r\n\r\n" + b"x" * 5_000_000, eof=True)
    assert answer.startswith(b"HTTP/1.1 400 ")


@on_both_loops
async def test_a_request_then_half_close_is_answered(server):
    answer = await raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", eof=True)
    assert answer.endswith(b"0123456789")


@on_both_loops
async def test_the_megabyte_of_headers_is_the_limit(server):
    def request(size):
        start = b"GET / HTTP/1.1\r\nA: "
        return start + b"x" * (size - len(start) - 5) + b"\r\n\r\n"

    assert (await raw(server, request(1_048_576), eof=True)).startswith(b"HTTP/1.1 200 ")
    assert (await raw(server, request(1_048_700), eof=True)).startswith(b"HTTP/1.1 431 ")
    assert (await raw(server, b"GET /" + b"x" * 1_050_000 + b" HTTP/1.1\r\n\r\n", eof=True)).startswith(b"HTTP/1.1 414 ")


@on_both_loops
async def test_a_slow_reader_is_told_to_the_writer(server, application):
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
    writer.write(b"GET /pour HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.wait_for(application.arrived.wait(), 5)
    exchange = application.parked[0]
    total = 0
    while exchange.write(b"x" * 262_144):
        total += 262_144
        await asyncio.sleep(0)
    assert not application.writable.is_set()
    while not application.writable.is_set():
        await reader.read(65536)
    exchange.end()
    await drain_until(reader, b"0\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def drain_until(reader, end):
    tail = b""
    while not tail.endswith(end):
        tail = (tail + await reader.read(65536))[-16:]


@on_both_loops
async def test_every_socket_has_nodelay(server, client, application):
    parked = asyncio.create_task(client.request("GET", "/park"))
    await asyncio.wait_for(application.arrived.wait(), 5)
    (transport,) = server._connections.values()
    assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    application.parked[0].respond(200)
    await parked


@on_both_loops
async def test_a_slow_head_is_refused_and_a_slow_keep_alive_closed(application):
    limits = Limits(head_seconds=0.04, idle_seconds=0.04, linger_seconds=0.01)
    async with await open_server(application, limits=limits) as server:
        slow, idle = await asyncio.gather(raw(server, b"GET / HT"), raw(server, b"GET / HTTP/1.1\r\n\r\n"))
    assert slow.startswith(b"HTTP/1.1 408 ")
    assert idle.startswith(b"HTTP/1.1 200 ")


@on_both_loops
async def test_a_taken_port_is_named(server, application):
    with pytest.raises(AddressInUseError, match=f":{server.port}: another program listens there"):
        await open_server(application, port=server.port)


@on_both_loops
async def test_a_foreign_address_is_named(application):
    with pytest.raises(AddressInUseError, match="not one of this machine's"):
        await open_server(application, host="192.0.2.1")


@on_both_loops
async def test_a_port_out_of_range_is_named(application):
    with pytest.raises(AddressInUseError, match=r"127\.0\.0\.1:70000"):
        await open_server(application, port=70000)


@on_both_loops
async def test_localhost_is_one_port(application):
    async with await open_server(application, host="localhost") as server:
        assert len({each.getsockname()[1] for each in server.sockets}) == 1


@on_both_loops
async def test_closing_ends_every_connection(application):
    server = await open_server(application)
    idle, parked = HttpClient(server.host, server.port), HttpClient(server.host, server.port)
    await idle.request("GET", "/")
    waiting = asyncio.create_task(parked.request("GET", "/park"))
    await asyncio.wait_for(application.arrived.wait(), 5)
    assert server.connections == 2
    await server.close()
    await server.close()
    assert server.connections == 0
    assert application.gone.is_set()
    with pytest.raises(ConnectionError):
        await waiting
    with pytest.raises(OSError):
        await idle.request("GET", "/")
    await idle.close()
    await parked.close()


@on_both_loops
async def test_closing_with_grace_lets_an_answer_out(application):
    server = await open_server(application)
    async with HttpClient(server.host, server.port) as client:
        waiting = asyncio.create_task(client.request("GET", "/park"))
        await asyncio.wait_for(application.arrived.wait(), 5)
        closing = asyncio.create_task(server.close(grace=5))
        await asyncio.sleep(0)
        application.parked[0].respond(200, TEXT, b"last")
        answer = await waiting
        await closing
    assert (answer.body, answer.headers["connection"]) == (b"last", "close")


@on_both_loops
async def test_closing_after_grace_cuts(application):
    server = await open_server(application)
    async with HttpClient(server.host, server.port) as client:
        waiting = asyncio.create_task(client.request("GET", "/park"))
        await asyncio.wait_for(application.arrived.wait(), 5)
        await server.close(grace=0.01)
        with pytest.raises(ConnectionError):
            await waiting


@on_both_loops
async def test_a_name_that_does_not_resolve_is_named(application):
    with pytest.raises(AddressInUseError, match=r"cannot listen on no-such-host\.invalid:0: "):
        await open_server(application, host="no-such-host.invalid")
