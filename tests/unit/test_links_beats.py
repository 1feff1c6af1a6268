"""One connection's heartbeats and one channel over a pair of sockets: back-pressure and ends."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.clock import SystemClock
from gateway.errors import LinkClosed
from gateway.model import NS_PER_S
from gateway.pair import channel as channels
from gateway.pair.beats import Beats
from gateway.pair.channel import Channel
from gateway.pair.greeting import Greeted
from gateway.pair.heartbeat import Heartbeat, encode_heartbeat
from gateway.pair.hello import Hello
from gateway.pair.stream import Stream
from gateway.pair.wire import FRAME_SIZE_MAX, FrameReader, beat, frame
from gateway.pair.words import Role

HELLO = Hello(1, 1, "plant", "b", 7, "heartbeat", "path", "0.1.0")


class SlowClock(SystemClock):
    """A clock that can be set forward."""

    ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


def sockets() -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    return near, far


def greeted(sock: socket.socket) -> Greeted:
    return Greeted(Stream(sock, None, True), FrameReader(), HELLO, 1)


def heartbeat(seq: int, **changes: object) -> Heartbeat:
    return Heartbeat(site="plant", node="b", boot=7, seq=seq, role=Role.MAIN, **changes)  # type: ignore[arg-type]


class End:
    """One end with all it told."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[int] = []
        self.ended: list[str] = []
        self.beats = Beats(greeted(sock), SystemClock(), self.hear, self.ended.append)

    def hear(self, heard: Heartbeat) -> None:
        self.heard.append(heard.seq)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_only_the_newest_heartbeat_waits_for_a_stalled_connection() -> None:
    near, far = sockets()
    end = End(near)
    end.beats.start()
    for seq in range(1, 2_000):
        end.beats.send(heartbeat(seq))
    assert end.beats._stream.pending < 8_192
    other = End(far)
    other.beats.start()
    while not other.heard or other.heard[-1] != 1_999:
        await asyncio.sleep(0)
    assert other.heard == sorted(set(other.heard)) and len(other.heard) < 200
    assert end.beats.rtt_ns > 0
    end.beats.end("done")
    await settle()
    assert end.ended == ["done"] and len(other.ended) == 1


async def test_a_goodbye_leaves_three_times() -> None:
    near, far = sockets()
    one, other = End(near), End(far)
    one.beats.send(heartbeat(1, goodbye=True))
    other.beats.drain()
    assert other.heard == [1, 1, 1]
    one.beats.end("")
    other.beats.end("")


async def test_a_drain_inside_a_telling_keeps_the_order_and_doubles_nothing() -> None:
    near, far = sockets()
    one, other = End(near), End(far)
    tell = other.hear

    def hear(heard: Heartbeat) -> None:
        if heard.seq == 2:
            other.beats.drain()
        tell(heard)

    other.beats._hear = hear
    for seq in range(1, 5):
        one.beats.send(heartbeat(seq))
    other.beats.drain()
    assert sorted(other.heard) == [1, 2, 3, 4]
    one.beats.end("")
    other.beats.end("")


async def test_what_lies_unread_is_told_though_the_connection_ended() -> None:
    near, far = sockets()
    one, other = End(near), End(far)
    one.beats.send(heartbeat(1))
    one.beats.send(heartbeat(2))
    one.beats.end("killed")
    one.beats.send(heartbeat(3))
    other.beats.drain()
    assert other.heard == [1, 2] and other.ended
    other.beats.drain()
    assert len(other.ended) == 1


async def test_what_arrived_before_a_reset_is_read_before_the_reset_is_told() -> None:
    near, far = sockets()
    stream = Stream(near, None, True)
    big = bytes(3 << 16)
    given = memoryview(big)
    found = b""
    while given:
        given = given[far.send(given[: 1 << 12]) :]
        found += stream.read()
    far.send(b"last")
    near.send(b"never read, so the end is a reset")
    far.close()
    found += stream.read()
    assert found == big + b"last"
    with pytest.raises((EOFError, ConnectionResetError)):
        stream.read()
    stream.close()


@pytest.mark.parametrize(
    "garbage", [b"\xff\xff\xff\xff", frame(b"\x09" * 20), beat(1, b"\xc1"), frame(b"")]
)
async def test_garbage_from_the_peer_ends_the_connection_with_a_reason(garbage: bytes) -> None:
    near, far = sockets()
    end = End(near)
    end.beats.start()
    far.send(beat(1, encode_heartbeat(heartbeat(1))) + garbage)
    while not end.ended:
        await asyncio.sleep(0)
    assert end.heard == [1] and end.ended[0]
    far.close()


# ------------------------------------------------------------------------------------ channels


def channel_pair(clock: SystemClock | None = None) -> tuple[Channel, Channel, list[Channel]]:
    near, far = sockets()
    gone: list[Channel] = []
    clock = clock or SystemClock()
    return (
        Channel(greeted(near), "p", clock, gone.append),
        Channel(greeted(far), "p", clock, gone.append),
        gone,
    )


async def test_messages_arrive_whole_and_in_order() -> None:
    one, other, gone = channel_pair()
    bodies = [bytes([n]) * (n * 1_000 + 1) for n in range(50)]

    async def speak() -> None:
        for body in bodies:
            await one.send(body)

    speaking = asyncio.create_task(speak())
    assert [await other.receive() for _ in bodies] == bodies
    await speaking
    assert (one.peer, one.path, one.protocol) == ("b", "p", 1)
    await one.finish()
    with pytest.raises(LinkClosed, match="the peer closed"):
        await other.receive()
    assert one in gone and other in gone and one.closed


async def test_a_message_of_no_or_too_many_bytes_is_refused() -> None:
    one, other, _ = channel_pair()
    for body in (b"", bytes(FRAME_SIZE_MAX + 1)):
        with pytest.raises(ValueError, match="can be sent"):
            await one.send(body)
    one.close()
    other.close()


async def test_a_slow_receiver_makes_the_sender_wait_and_memory_stays_bounded() -> None:
    one, other, _ = channel_pair()
    sent = 0

    async def speak() -> None:
        nonlocal sent
        for _ in range(64):
            await one.send(bytes(FRAME_SIZE_MAX))
            sent += 1

    speaking = asyncio.create_task(speak())
    before = -1
    while before != sent:
        before = sent
        for _ in range(2_000):
            await asyncio.sleep(0)
    assert sent < 12 and other._held <= channels.RECEIVED_MAX + FRAME_SIZE_MAX
    for _ in range(64):
        await other.receive()
    await speaking
    one.close()
    other.close()


async def test_what_arrived_before_the_end_can_still_be_received() -> None:
    one, other, _ = channel_pair()
    await one.send(b"last words")
    await one.finish()
    assert await other.receive() == b"last words"
    with pytest.raises(LinkClosed):
        await other.receive()
    with pytest.raises(LinkClosed):
        await other.send(b"x")
    with pytest.raises(LinkClosed, match="closed here"):
        await one.send(b"x")


async def test_who_waits_is_told_of_the_end() -> None:
    one, other, _ = channel_pair()

    async def fill() -> None:
        while True:
            await one.send(bytes(FRAME_SIZE_MAX))

    receiving = asyncio.create_task(one.receive())
    filling = asyncio.create_task(fill())
    await settle()
    one.close()
    one.close()
    for task in (receiving, filling):
        with pytest.raises(LinkClosed):
            await task
    other.close()


async def test_a_channel_with_nothing_to_say_is_kept_alive_and_a_silent_one_ends() -> None:
    clock = SlowClock()
    one, other, _ = channel_pair(clock)
    one._tick()
    assert other._stream.read() == b"\0\0\0\0"
    clock.ahead_ns += channels.TICK_NS
    for _ in range(3):
        clock.ahead_ns += channels.TICK_NS
        one._tick()
    assert not one.closed
    for _ in range(2):
        clock.ahead_ns += channels.TICK_NS
        one._tick()
    assert one.closed
    with pytest.raises(LinkClosed, match=r"silent for [12]\.\d s"):
        await one.receive()
    other.close()


async def test_a_node_that_was_frozen_does_not_take_its_own_sleep_for_silence() -> None:
    clock = SlowClock()
    one, other, _ = channel_pair(clock)
    clock.ahead_ns += 60 * NS_PER_S
    one._tick()
    assert not one.closed
    one.close()
    other.close()
