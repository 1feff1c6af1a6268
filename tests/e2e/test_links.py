"""Two nodes' links over real sockets: heartbeats, channels, questions, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from link_rig import (
    Node,
    ends,
    make_certificates,
    node_of,
    pair,
    proxied,
    started,
    tls,
    until,
)

from gateway.config.node import HostPort
from gateway.errors import AskRefused, ControlError, LinkClosed, LinkDown
from gateway.pair.channel import Channel
from gateway.pair.greeting import Addresses, Greeter
from gateway.pair.hello import LinkIdentity
from gateway.pair.wire import FRAME_SIZE_MAX

CHILD = Path(__file__).with_name("link_child.py")


async def echo(channel: Channel) -> None:
    """A service that gives back what it gets."""
    while True:
        await channel.send(await channel.receive())


# ---------------------------------------------------------------------------------- heartbeats


async def test_heartbeats_are_heard_on_every_path(tmp_path: Path) -> None:
    async with pair(tmp_path, paths=2) as (a, b):
        a.beat()
        b.beat()
        await until(lambda: len(a.heard) == len(b.heard) == 2)
        assert {name for name, _ in b.heard} == set(b.up)
        await until(lambda: all(link["rtt_ms"] for link in a.links.status()))
        link = a.link()
        assert link["kind"] == "tcp" and link["peer_version"] == "0.1.0"
        assert link["refused_why"] == "" and link["last_heard_age_ms"] < 1_000
        assert link["certificate_until"] > "2040" and link["peer_certificate_until"] > "2040"
        assert b.heard[0][1].utc_ns > 0
        assert a.said("stands: node b, Hotpair 0.1.0")


async def test_a_drain_tells_what_lies_in_the_kernel_without_a_turn_of_the_loop(
    tmp_path: Path,
) -> None:
    async with pair(tmp_path, paths=2) as (a, b):
        for _ in range(30):
            a.beat()
        assert not b.heard
        b.links.drain()
        for name in b.up:
            assert b.seqs(name) == list(range(1, 31))


async def test_a_goodbye_arrives_though_the_links_close_right_after(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        a.beat(goodbye=True)
        await a.links.stop()
        await until(lambda: b.heard)
        assert [beat.goodbye for _, beat in b.heard] == [True] * 3
        await until(lambda: b.refused)
        await until(lambda: b.said("is down: nothing listens there"))


async def test_without_tls_a_link_works_on_loopback_and_says_so(tmp_path: Path) -> None:
    at_a, at_b = ends()
    a, b = node_of("a", at_a, at_b), node_of("b", at_b, at_a)
    async with started(a, b):
        await until(lambda: a.up and b.up)
        a.beat()
        await until(lambda: b.heard)
        assert a.said("no TLS") and "certificate_until" not in a.link()


async def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.9.1", 0)) as taken:
        address = HostPort("127.0.9.1", taken.getsockname()[1])
        other = HostPort("127.0.9.3", address.port)
        node = node_of("a", (other, address), (HostPort("127.0.9.2", 1),))
        with pytest.raises(ControlError, match=r"can't listen on 127\.0\.9\.1.*in use"):
            await node.links.start()
        socket.create_server(tuple(other)).close()
        await node.links.stop()


async def test_a_silent_cut_is_survived_and_the_path_heals(tmp_path: Path) -> None:
    make_certificates(tmp_path, "a", "b")
    at_a, at_b = ends()
    async with proxied(at_b[0]) as (proxy,):
        a = node_of("a", at_a, (proxy.address,), tls(tmp_path, "a", "b"))
        b = node_of("b", at_b, at_a, tls(tmp_path, "b", "a"))
        async with started(a, b):
            await until(lambda: a.up and b.up)
            a.beat()
            await until(lambda: b.seqs() == [1])
            proxy.there.open.clear()  # one way
            a.beat()
            b.beat()
            await until(lambda: a.seqs() == [1])
            assert b.seqs() == [1]
            proxy.heal()
            await until(lambda: b.seqs() == [1, 2])
            proxy.cut()
            proxy.drop()
            await until(lambda: not a.up)
            proxy.heal()
            await until(lambda: a.up)
            a.beat()
            await until(lambda: b.seqs() == [1, 2, 3])


async def test_a_path_that_flaps_is_told_in_few_lines(tmp_path: Path) -> None:
    make_certificates(tmp_path, "a", "b")
    at_a, at_b = ends()
    async with proxied(at_b[0]) as (proxy,):
        a = node_of("a", at_a, (proxy.address,), tls(tmp_path, "a", "b"))
        b = node_of("b", at_b, at_a, tls(tmp_path, "b", "a"))
        async with started(a, b):
            path = a.links._paths[0]
            for _ in range(20):
                await until(lambda: a.up and b.up)
                stood = path.beats
                proxy.drop()
                await until(lambda stood=stood: path.beats is not stood)
            await until(lambda: a.up)
            assert len(a.alarms) <= 12


# ----------------------------------------------------------------------- the peer's process


@asynccontextmanager
async def child_of(a: Node, folder: Path, at_b: Any, at_a: Any) -> AsyncIterator[Any]:
    """Node b as a process; gives it back when the links stand both ways."""
    order = json.dumps({"folder": str(folder), "listen": at_b, "peer": at_a})
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), order, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert (await asyncio.wait_for(child.stdout.readline(), 20)).strip() == b"up"
        await until(lambda: len(a.up) == len(at_b))
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGCONT)
            child.kill()
            await child.wait()


async def test_the_death_of_the_peers_process_is_proved_within_milliseconds(
    tmp_path: Path,
) -> None:
    make_certificates(tmp_path, "a", "b")
    at_a, at_b = ends(2)
    a = node_of("a", at_a, at_b, tls(tmp_path, "a", "b"))
    async with started(a), child_of(a, tmp_path, at_b, at_a) as child:
        await until(lambda: len(a.heard) > 4)
        a.refused.clear()
        began_ns = a.clock.monotonic_ns()
        child.kill()
        await until(lambda: set(a.refused) >= {str(end) for end in at_b})
        took_ms = (a.clock.monotonic_ns() - began_ns) / 1e6
        assert took_ms < 500, f"{took_ms:.1f} ms"
        # It is said again and again, since a heartbeat that was under way takes it back.
        count = len(a.refused)
        await until(lambda: len(a.refused) > count + 4)


async def test_a_dial_that_is_accepted_and_reset_by_a_dying_host_is_followed_by_the_proof() -> None:
    at_a, at_b = ends()
    a = node_of("a", at_a, at_b)
    loop = asyncio.get_running_loop()
    with socket.create_server(at_b[0]) as listener:
        listener.setblocking(False)
        async with started(a):
            me = LinkIdentity("plant", "b", 7, "0.1.0")
            greeter = Greeter(me, None, a.clock, Addresses())
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            stood = await greeter.welcome(sock)
            await greeter.answer(stood)
            await until(lambda: a.up)
            stood.stream.close()
            # The kernel closes what a killed process had open one after the other.
            backlog, _ = await loop.sock_accept(listener)
            backlog.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert not a.refused
            listener.close()
            backlog.close()
            await until(lambda: a.refused)
            assert a.refused[0] == str(at_b[0])


async def test_a_frozen_peer_keeps_its_connections_and_drains_them_when_it_wakes(
    tmp_path: Path,
) -> None:
    make_certificates(tmp_path, "a", "b")
    at_a, at_b = ends()
    a = node_of("a", at_a, at_b, tls(tmp_path, "a", "b"))
    async with started(a), child_of(a, tmp_path, at_b, at_a) as child:
        a.beat()
        a.refused.clear()
        child.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, child.pid, os.WSTOPPED)
        for _ in range(25):
            a.beat()
            await asyncio.sleep(0.1)  # paces: heartbeats while the peer is frozen
        assert a.up and not a.refused
        child.send_signal(signal.SIGCONT)
        line = await asyncio.wait_for(child.stdout.readline(), 5)
        assert line.split() == [b"drained", b"26"]
        heard = len(a.heard)
        await until(lambda: len(a.heard) > heard)


async def test_strangers_do_not_hinder_a_standing_link(tmp_path: Path) -> None:
    dice = random.Random(7)
    async with pair(tmp_path, serve={"echo": echo}) as (a, b):
        target = tuple(b.links._link.listen[0])
        idle = [socket.create_connection(target) for _ in range(100)]  # say nothing
        before = len(b.alarms)
        worst_ms = 0.0
        for number in range(2_000):
            with socket.socket() as sock:
                sock.setblocking(False)
                try:
                    await asyncio.get_running_loop().sock_connect(sock, target)
                    kind = number % 4
                    if kind == 1:
                        sock.send(dice.randbytes(dice.randrange(1, 2_000)))
                    elif kind == 2:
                        sock.send(b"\x16\x03\x01" + dice.randbytes(300))
                    elif kind == 3:
                        sock.send(b"HOTP" + dice.randbytes(30))
                except OSError:
                    pass
            if number % 50 == 0:
                began_ns = a.clock.monotonic_ns()
                seq = a.beat().seq
                await until(lambda seq=seq: seq in b.seqs())
                worst_ms = max(worst_ms, (a.clock.monotonic_ns() - began_ns) / 1e6)
        assert worst_ms < 250, f"{worst_ms:.0f} ms"
        assert a.up and b.up and len(b.alarms) - before <= 8
        assert b.link()["strangers"] >= 1_000
        channel = await a.links.dial("echo")  # a place for the peer, among a hundred idle ones
        await channel.send(b"hello")
        assert await channel.receive() == b"hello"
        for sock in idle:
            sock.close()
        await until(lambda: len(b.links._listener._greeting) == 0)


async def test_a_node_without_file_handles_takes_the_peer_later(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        knocking = socket.socket()
        knocking.setblocking(False)
        filling: list[int] = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
            with contextlib.suppress(OSError):
                while True:
                    filling.append(os.dup(knocking.fileno()))
            with contextlib.suppress(BlockingIOError):
                knocking.connect(tuple(b.links._link.listen[0]))
            await until(lambda: b.said("Too many open files"))
            a.beat()
            await until(b.seqs)
        finally:
            for number in filling:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        knocking.close()
        await until(lambda: b.link()["strangers"] > 1)
        assert await a.links.ask("x", 1, 5.0) == ["x", 1]


async def test_a_path_that_is_dialled_anew_leaves_no_second_ear(tmp_path: Path) -> None:
    make_certificates(tmp_path, "a", "b")
    at_a, at_b = ends()
    async with proxied(at_b[0]) as (proxy,):
        a = node_of("a", at_a, (proxy.address,), tls(tmp_path, "a", "b"))
        b = node_of("b", at_b, at_a, tls(tmp_path, "b", "a"))
        async with started(a, b):
            await until(lambda: a.up and b.up)
            path = a.links._paths[0]
            for _ in range(5):
                assert path.beats is not None
                proxy.back.open.clear()
                path.beats.end("as if it were dead")
                await until(lambda: not a.up)
                proxy.back.open.set()
                await until(lambda: a.up)
            a.beat()
            await until(b.seqs)
            assert len(b.links._ears) == 1


# ------------------------------------------------------------------------------------ channels


async def test_a_channel_carries_messages_both_ways(tmp_path: Path) -> None:
    async with pair(tmp_path, paths=2, serve={"echo": echo}) as (a, _):
        channel = await a.links.dial("echo")
        assert channel.peer == "b" and channel.path in a.up
        for size in (1, 1_000, FRAME_SIZE_MAX):
            await channel.send(b"x" * size)
            assert len(await channel.receive()) == size
        channel.close()
        with pytest.raises(LinkClosed):
            await channel.send(b"x")
        with pytest.raises(LinkDown, match="serves no `nonsense`"):
            await a.links.dial("nonsense")


async def test_a_bug_in_a_service_ends_its_channel_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def buggy(channel: Channel) -> None:
        await channel.receive()
        raise ZeroDivisionError

    async with pair(tmp_path, serve={"buggy": buggy}) as (a, b):
        channel = await a.links.dial("buggy")
        await channel.send(b"x")
        with pytest.raises(LinkClosed):
            await channel.receive()
        assert b.said("failed: see the log") and a.up and b.up
        assert "ZeroDivisionError" in caplog.text


async def test_too_many_channels_are_refused_not_queued(tmp_path: Path) -> None:
    async with pair(tmp_path, serve={"echo": echo}) as (a, _):
        channels = [await a.links.dial("echo") for _ in range(16)]
        with pytest.raises(LinkDown, match="too many channels"):
            await a.links.dial("echo")
        channels[0].close()

        async def again() -> None:
            while True:
                try:
                    channels[0] = await a.links.dial("echo")
                    return
                except LinkDown:
                    await asyncio.sleep(0)

        await asyncio.wait_for(again(), 5)


async def test_a_silent_cut_is_noticed_on_both_ends_of_a_channel_within_two_seconds(
    tmp_path: Path,
) -> None:
    ended = asyncio.Event()

    async def listen(channel: Channel) -> None:
        try:
            await channel.receive()
        finally:
            ended.set()

    make_certificates(tmp_path, "a", "b")
    at_a, at_b = ends()
    async with proxied(at_b[0]) as (proxy,):
        a = node_of("a", at_a, (proxy.address,), tls(tmp_path, "a", "b"))
        b = node_of("b", at_b, at_a, tls(tmp_path, "b", "a"), serve={"listen": listen})
        async with started(a, b):
            await until(lambda: a.up and b.up)
            channel = await a.links.dial("listen")
            with pytest.raises(TimeoutError):  # kept alive with nothing to say
                await asyncio.wait_for(channel.receive(), 2.5)
            proxy.cut()
            began_ns = a.clock.monotonic_ns()
            with pytest.raises(LinkClosed, match="silent"):
                await channel.receive()
            await ended.wait()
            assert (a.clock.monotonic_ns() - began_ns) / 1e9 < 2.2


async def test_channels_go_by_the_best_path_and_end_with_it(tmp_path: Path) -> None:
    make_certificates(tmp_path, "a", "b")
    at_a, at_b = ends(2)
    async with proxied(*at_b) as (slow, quick):
        slow.there.delay_s = slow.back.delay_s = 0.05
        a = node_of("a", at_a, (slow.address, quick.address), tls(tmp_path, "a", "b"))
        b = node_of("b", at_b, at_a, tls(tmp_path, "b", "a"), serve={"echo": echo})
        async with started(a, b):
            await until(lambda: len(a.up) == len(b.up) == 2)
            a.beat()
            await until(lambda: all(link["rtt_ms"] for link in a.links.status()))
            channel = await a.links.dial("echo")
            assert channel.path == str(quick.address)
            quick.cut()
            quick.drop()
            with pytest.raises(LinkClosed):
                await channel.receive()
            await until(lambda: a.up == [str(slow.address)])
            channel = await a.links.dial("echo")
            assert channel.path == str(slow.address)
            await channel.send(b"hello")
            assert await channel.receive() == b"hello"


# ----------------------------------------------------------------------------------- questions


async def test_a_question_is_answered_refused_or_not_answered(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def answer(what: str, body: Any) -> Any:
        if what == "refuse":
            raise ControlError("this node is no Main", "Ask the other one")
        if what == "sleep":
            await never.wait()
        return [what, body]

    async with pair(tmp_path, answer=answer) as (a, b):
        assert await a.links.ask("x", {"y": 1}, 5.0) == ["x", {"y": 1}]
        big = "z" * 5_000_000
        assert await b.links.ask("x", big, 5.0) == ["x", big]
        with pytest.raises(AskRefused, match="this node is no Main"):
            await a.links.ask("refuse", None, 5.0)
        with pytest.raises(LinkDown, match="did not answer `sleep` within"):
            await a.links.ask("sleep", None, 0.2)
        answers = await asyncio.gather(*(a.links.ask("x", n, 5.0) for n in range(8)))
        assert answers == [["x", n] for n in range(8)]
        await b.links.stop()
        with pytest.raises(LinkDown, match="no link to the peer carries data"):
            await a.links.ask("x", None, 5.0)


async def test_links_stop_while_everything_is_under_way(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def answer(what: str, body: Any) -> Any:
        await never.wait()

    async with pair(tmp_path, serve={"echo": echo}, answer=answer) as (a, b):
        channel = await a.links.dial("echo")
        asking = asyncio.create_task(a.links.ask("x", None, 60.0))
        await until(lambda: len(b.links._services) == 2)
        await b.links.stop()
        with pytest.raises(LinkDown):
            await asking
        with pytest.raises(LinkClosed):
            await channel.receive()
        b.beat()
        b.links.drain()
