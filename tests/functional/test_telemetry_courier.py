"""Couriers against real listeners."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lambdabox.engine.courier import HttpCourier, TcpCourier, open_courier
from lambdabox.http.exchange import Exchange
from lambdabox.http.policy import HostPolicy
from lambdabox.http.server import open_server
from lambdabox.protocol.telemetry_api import Destination


@pytest.mark.parametrize(("status", "taken"), [(200, True), (204, True), (299, True), (301, False), (400, False), (500, False)])
async def test_any_2xx_is_success(status, taken):
    seen: list[Any] = []

    def application(exchange: Exchange) -> None:
        def done(_end: Any, body: bytes, _size: int) -> None:
            seen.append((exchange.method, exchange.path, exchange.query, exchange.headers["content-type"], body))
            exchange.respond(status)

        exchange.collect(1000, done)

    def refusal(_status: int, message: str) -> Any:
        return (), message.encode()

    hosts = HostPolicy(allowed_hosts={"sandbox.localdomain"})
    server = await open_server(application, host="127.0.0.1", port=0, policy=hosts, render_refusal=refusal)
    courier = HttpCourier(Destination(protocol="HTTP", port=server.port, path="/in?a=b", method="PUT"))
    assert await courier.deliver([b"1", b"2"]) is taken
    assert seen == [("PUT", "/in", "a=b", "application/json", b"[1,2]")]
    await courier.close()
    await server.close(grace=0)


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
async def test_where_nobody_listens_nothing_is_delivered(protocol):
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    courier = open_courier(Destination(protocol=protocol, port=port))
    with pytest.raises(OSError):
        await courier.deliver([b"1"])
    await courier.close()


async def test_lines_go_over_one_connection_and_over_a_new_one_when_it_was_closed():
    connections: list[list[bytes]] = []
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    closed = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append([])
        while line := await reader.readline():
            connections[-1].append(line)
            arrived.put_nowait(line)
            if line == b"3\n":
                break
        writer.close()
        await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    courier = TcpCourier(Destination(protocol="TCP", port=server.sockets[0].getsockname()[1]))
    assert await courier.deliver([b"1", b"2"])
    assert await courier.deliver([b"3"])
    for _ in range(3):
        await arrived.get()
    await closed.wait()
    while not courier.is_cut:
        await asyncio.sleep(0)
    assert await courier.deliver([b"4"])
    await arrived.get()
    assert connections == [[b"1\n", b"2\n", b"3\n"], [b"4\n"]]
    await courier.close()
    server.close()
    await server.wait_closed()


async def test_a_delivery_that_is_given_up_leaves_no_half_line_behind():
    connected, released = asyncio.Event(), asyncio.Event()
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connected.is_set():
            seen.put_nowait(await reader.readline())
        else:
            connected.set()
            await released.wait()  # reads nothing: the sender has to stop
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, limit=1)
    courier = TcpCourier(Destination(protocol="TCP", port=server.sockets[0].getsockname()[1]))
    delivery = asyncio.create_task(courier.deliver([b"x" * 20_000_000]))
    await connected.wait()
    delivery.cancel()
    await asyncio.wait([delivery])
    assert delivery.cancelled()
    released.set()
    assert await courier.deliver([b"1"])
    assert await seen.get() == b"1\n"
    await courier.close()
    server.close()
    await server.wait_closed()
