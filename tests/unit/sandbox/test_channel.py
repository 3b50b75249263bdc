"""The engine's end of a control line, against the keeper's end, in one process."""

import asyncio
import os
import select
import socket

import pytest

from lambdabox.sandbox.channel import Channel, Message
from lambdabox.sandbox.wire import EngineGone, Line


class Ends:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.received: list[Message] = []
        self.arrived = asyncio.Event()
        self.lost = asyncio.Event()
        self.channel = Channel(ours, asyncio.get_running_loop(), self._message, self.lost.set)
        self.line = Line(theirs.detach())

    def _message(self, message: Message) -> None:
        self.received.append(message)
        self.arrived.set()

    def close(self) -> None:
        self.channel.close()
        self.line.socket.close()


async def test_messages_arrive_whole_and_in_order_both_ways() -> None:
    ends = Ends()
    ends.channel.send((1, "a"))
    ends.channel.send((2, b"b"))
    assert ends.line.receive() == [(1, "a"), (2, b"b")]
    for number in range(3):
        ends.line.send(number, "x" * 40_000)
    while len(ends.received) < 3:
        ends.arrived.clear()
        await ends.arrived.wait()
    assert [message[0] for message in ends.received] == [0, 1, 2]
    ends.close()


async def test_a_message_larger_than_the_sockets_room_follows_as_it_empties_with_its_descriptor() -> None:
    ends = Ends()
    read_end, write_end = os.pipe()
    ends.channel.send((1, b"x" * 3_000_000), [write_end])
    ends.channel.send((2,))
    received: list[Message] = []
    while len(received) < 2:
        if select.select([ends.line], [], [], 0)[0]:
            received += ends.line.receive()
        await asyncio.sleep(0)  # the channel's turn to send more
    assert [message[0] for message in received] == [1, 2]
    (descriptor,) = ends.line.descriptors
    os.write(descriptor, b"through")
    assert os.read(read_end, 100) == b"through"
    assert not os.get_inheritable(descriptor)
    for fd in (descriptor, read_end):
        os.close(fd)
    ends.close()


async def test_the_end_of_the_other_side_is_told_once_and_later_messages_are_dropped() -> None:
    ends = Ends()
    ends.line.socket.close()
    async with asyncio.timeout(5):
        await ends.lost.wait()
    read_end, write_end = os.pipe()
    ends.channel.send((1,), [write_end])
    assert os.read(read_end, 1) == b""  # closed with the message
    os.close(read_end)
    ends.close()


async def test_the_keepers_end_hears_of_the_engines_end() -> None:
    ends = Ends()
    ends.channel.close()
    with pytest.raises(EngineGone):
        ends.line.receive()
    ends.close()
