"""etcd's vote, by real members; a server that answers nonsense is this test's own."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from etcd_members import Member, etcd, free_ports

from gateway.clock import SystemClock
from gateway.config.site import EtcdWitness, Witness
from gateway.model import NS_PER_S
from gateway.pair.events import Veto, WitnessVote
from gateway.pair.witnesses import Witnesses
from gateway.pair.words import Timing
from tests.e2e.third_party.rig import need_program

TIMING = Timing(takeover_after_ns=NS_PER_S)
PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def _needs_etcd() -> None:
    need_program("etcd")


def no_registers(device: str) -> None:
    raise AssertionError("no PLC is configured")


@dataclass
class Node:
    """One node with etcd as its only witness."""

    name: str
    endpoints: tuple[str, ...]
    site: str = "site1"
    clock: SystemClock = field(default_factory=SystemClock)
    votes: list[int] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    witnesses: Witnesses = field(init=False)

    def __post_init__(self) -> None:
        self.witnesses = Witnesses(
            Witness(etcd=EtcdWitness(endpoints=self.endpoints)),
            self.name,
            None,
            TIMING,
            self.clock,
            no_registers,  # type: ignore[arg-type]
            self.told,
            self.alarm,
            site=self.site,
            rng=random.Random(f"{self.name} {self.site}"),
        )

    def told(self, event: WitnessVote | Veto) -> None:
        assert isinstance(event, WitnessVote)
        self.votes.append(event.granted_until_ns or 0)
        self.news.set()

    def alarm(self, severity: int, text: str) -> None:
        self.alarms.append(text)
        self.news.set()

    @property
    def holds(self) -> bool:
        return bool(self.votes) and self.clock.monotonic_ns() < self.votes[-1]

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not what():
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def node(name: str, *endpoints: str, site: str = "site1") -> AsyncIterator[Node]:
    this = Node(name, endpoints, site)
    await this.witnesses.start()
    try:
        yield this
    finally:
        await this.witnesses.stop()


async def test_the_key_is_created_once_kept_and_let_go_at_once(tmp_path: Path) -> None:
    async with etcd(tmp_path) as (member,):
        bare = member.endpoint.removeprefix("http://")
        async with node("a", bare) as a, node("b", member.endpoint) as b:
            a.witnesses.claim()
            await a.until(lambda: len(a.votes) >= 4)
            assert 0 not in a.votes
            assert a.votes[0] - a.clock.monotonic_ns() < 2 * NS_PER_S
            b.witnesses.claim()
            await a.until(lambda: len(a.votes) >= 8)
            assert b.votes == []
            row = b.witnesses.status()[0]
            assert (row["owner"], row["votes"]) == ("a", False)
            released_ns = a.clock.monotonic_ns()
            a.witnesses.release()
            assert a.votes[-1] == 0
            await b.until(lambda: b.holds)
            assert b.clock.monotonic_ns() - released_ns < NS_PER_S
            assert not a.holds


async def test_sites_do_not_meet(tmp_path: Path) -> None:
    async with (
        etcd(tmp_path) as (member,),
        node("a", member.endpoint) as a,
        node("a", member.endpoint, site="site2") as other,
    ):
        a.witnesses.claim()
        other.witnesses.claim()
        await a.until(lambda: a.holds)
        await other.until(lambda: other.holds)
        assert a.holds


async def test_a_node_that_vanished_is_followed_when_its_lease_ran_out(tmp_path: Path) -> None:
    async with etcd(tmp_path) as (member,), node("b", member.endpoint) as b:
        a = Node("a", (member.endpoint,))
        await a.witnesses.start()
        a.witnesses.claim()
        await a.until(lambda: len(a.votes) >= 3)
        b.witnesses.claim()
        task = a.witnesses._tasks[0]
        etcd_of_a = a.witnesses._etcd
        assert etcd_of_a is not None
        etcd_of_a._sent_ns.clear()  # it dies without a word: nothing is revoked
        task.cancel()
        last_ns = a.votes[-1]
        await b.until(lambda: b.holds)
        assert b.clock.monotonic_ns() >= last_ns
        assert b.clock.monotonic_ns() < last_ns + 3 * NS_PER_S
        await a.witnesses.stop()


async def test_an_etcd_that_stands_still_costs_the_vote_in_time(tmp_path: Path) -> None:
    async with etcd(tmp_path) as (member,), node("a", member.endpoint) as a:
        a.witnesses.claim()
        await a.until(lambda: len(a.votes) >= 2)
        member.send(signal.SIGSTOP)
        last_ns = a.votes[-1]
        await a.until(lambda: a.votes[-1] == 0)
        assert a.clock.monotonic_ns() >= last_ns
        await a.until(lambda: any("no answer within" in text for text in a.alarms))
        member.send(signal.SIGCONT)
        await a.until(lambda: a.holds)
        await a.until(lambda: a.alarms[-1].endswith("well again"))


async def test_a_lost_member_costs_no_vote_where_others_are_left(tmp_path: Path) -> None:
    async with etcd(tmp_path, size=3) as members:
        leader = await leader_of(members)
        others = [member for member in members if member is not leader]
        first = others[0]
        async with node("a", *(m.endpoint for m in (first, others[1], leader))) as a:
            a.witnesses.claim()
            await a.until(lambda: len(a.votes) >= 3)
            first.kill()
            count = len(a.votes)
            await a.until(lambda: len(a.votes) >= count + 6)
            assert 0 not in a.votes
            first.start()
            await first.healthy()
            leader.kill()
            await a.until(lambda: a.votes[-1] > a.clock.monotonic_ns() + NS_PER_S)


async def leader_of(members: list[Member]) -> Member:
    async with httpx.AsyncClient(trust_env=False) as client:
        for member in members:
            status = (await client.post(f"{member.endpoint}/v3/maintenance/status", json={})).json()
            if status["leader"] == status["header"]["member_id"]:
                return member
    raise AssertionError("a healthy cluster has a leader")


async def test_nobody_there_and_nonsense_are_told_with_what_to_look_at() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (nobody,) = free_ports(1)
    async with server, node("a", f"127.0.0.1:{port}", f"127.0.0.1:{nobody}") as a:
        a.witnesses.claim()
        await a.until(lambda: len(a.alarms) >= 1)
        await a.until(lambda: any("does not speak as etcd" in text for text in a.alarms))
        await a.until(lambda: any(f":{nobody}" in text for text in a.alarms))
        assert "endpoints" in a.alarms[0]
        assert a.votes == []
