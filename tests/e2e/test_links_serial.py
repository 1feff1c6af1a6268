"""The serial link over ptys: damage, loss, doubles, unplugging, a slow line."""

from __future__ import annotations

import asyncio
import os
import random
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from link_rig import Cable, Node, ends, free_port, node_of, started, until

from gateway.config.node import HostPort, LinkSerial
from gateway.pair.heartbeat import Heartbeat, encode_frame
from gateway.pair.words import Role


@asynccontextmanager
async def wired(tmp_path: Path, baudrate: int = 115_200) -> AsyncIterator[tuple[Node, Node, Cable]]:
    """Nodes a and b joined by a cable only: their network paths lead nowhere."""
    cable = Cable(tmp_path)
    cable.plug()
    at_a, at_b = ends()
    nowhere = (HostPort("127.0.9.9", free_port()),)
    a, b = (
        node_of(name, at, nowhere, serial=LinkSerial(port=str(port), baudrate=baudrate))
        for name, at, port in zip("ab", (at_a, at_b), cable.ports, strict=True)
    )
    try:
        async with started(a, b):
            await until(lambda: a.up == b.up == ["serial"])
            yield a, b, cable
    finally:
        if cable._ends:
            cable.unplug()


async def test_heartbeats_go_both_ways_over_the_cable_alone(tmp_path: Path) -> None:
    async with wired(tmp_path) as (a, b, _):
        a.beat()
        b.beat()
        await until(lambda: a.seqs("serial") == b.seqs("serial") == [1])
        link = a.link(1)
        assert (link["name"], link["kind"], link["garbled"]) == ("serial", "serial", 0)
        assert link["refused_why"] == "" and link["last_heard_age_ms"] < 1_000
        assert "certificate_until" not in link


async def test_loss_garbage_and_doubles_cost_only_what_they_hit(tmp_path: Path) -> None:
    dice = random.Random(3)

    def spoil(data: bytes) -> bytes:
        roll = dice.random()
        if roll < 0.2:
            return b""
        if roll < 0.4:
            place = dice.randrange(len(data))
            return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        if roll < 0.6:
            return data + data
        return dice.randbytes(20) + b"\0" + data if roll < 0.8 else data

    async with wired(tmp_path, 4_000_000) as (a, b, cable):
        cable.alter = spoil
        for _ in range(300):
            a.beat()
            await asyncio.sleep(0.002)  # paces: a frame for each roll of the dice
        cable.alter = lambda data: data
        last = a.beat().seq
        await until(lambda: last in b.seqs())
        assert len(set(b.seqs())) > 100 and max(b.seqs()) == last
        link = b.link(1)
        assert link["garbled"] > 20 and link["doubled"] > 10


async def test_a_port_that_is_unplugged_is_opened_again(tmp_path: Path) -> None:
    async with wired(tmp_path) as (a, b, cable):
        cable.unplug()
        await until(lambda: not a.up and not b.up)
        a.beat()
        assert a.said("link serial is down: ")
        await until(lambda: "can't be opened" in a.link(1)["refused_why"])
        cable.plug()
        await until(lambda: a.up == b.up == ["serial"])
        a.beat()
        await until(b.seqs)
        assert a.said("link serial is open")


async def test_only_the_newest_waits_for_a_slow_line(tmp_path: Path) -> None:
    async with wired(tmp_path, 9_600) as (a, b, cable):
        began_ns = a.clock.monotonic_ns()
        for _ in range(50):
            a.beat()
            await asyncio.sleep(0.01)  # paces: faster than the line carries
        await until(lambda: 50 in b.seqs())
        took_s = (a.clock.monotonic_ns() - began_ns) / 1e9
        assert len(b.heard) < 15
        assert cable.bytes * 10 / 9_600 < took_s + 0.5


async def test_a_goodbye_leaves_three_times_even_if_the_line_is_busy(tmp_path: Path) -> None:
    async with wired(tmp_path, 19_200) as (a, b, _):
        a.beat()
        a.beat(goodbye=True)
        await a.links.stop()
        await until(lambda: len(b.heard) == 4)
        assert [beat.goodbye for _, beat in b.heard] == [False, True, True, True]


async def test_a_drain_reads_the_line_without_a_turn_of_the_loop(tmp_path: Path) -> None:
    async with wired(tmp_path, 4_000_000) as (a, b, cable):
        (_, _), (far, slave) = cable._ends
        heartbeat = Heartbeat(site="plant", node="a", boot=a.boot, seq=1, role=Role.MAIN)
        os.write(far, encode_frame(1, heartbeat))
        select.select([slave], [], [], 5)
        assert not b.heard
        b.links.drain()
        assert b.seqs() == [1]


async def test_a_line_that_echoes_is_told_and_not_heard(tmp_path: Path) -> None:
    async with wired(tmp_path) as (a, _, cable):
        loop = asyncio.get_running_loop()
        master = cable._ends[0][0]
        loop.remove_reader(master)
        loop.add_reader(master, lambda: os.write(master, os.read(master, 65_536)))
        a.beat()
        await until(lambda: "echoes" in a.link(1)["refused_why"])
        assert a.said("check the cable") and not a.heard


async def test_another_sites_node_on_the_cable_is_shown(tmp_path: Path) -> None:
    async with wired(tmp_path) as (a, b, _):
        a.beat(site="harbour")
        await until(lambda: b.heard)
        assert "node a of site harbour" in b.link(1)["refused_why"]
        a.beat()
        await until(lambda: not b.link(1)["refused_why"])
