"""PLC witnesses over real sockets: two nodes, one, three or failing PLCs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from modbus_peer import (
    SILENCE,
    Exc,
    Fault,
    House,
    Late,
    Peer,
    device,
    registers,
    serve_tcp,
    serve_udp,
    tcp,
)

from drivers.modbus.registers import open_registers
from drivers.modbus.settings import ModbusLine
from gateway.config.site import ModbusWitness, Witness
from gateway.driver import LineSpec, Registers
from gateway.errors import DeviceError, LinkError, Refused
from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair.events import Veto, WitnessVote
from gateway.pair.votes import LeaseTiming
from gateway.pair.witnesses import Witnesses
from gateway.pair.words import Timing

TIMING = Timing(takeover_after_ns=500 * NS_PER_MS)
LEASE = LeaseTiming.of(TIMING.takeover_after_ns)
PATIENCE_S = 15.0
ADDRESS = 900


def line_of(settings: ModbusLine, **keys: object) -> LineSpec:
    return LineSpec("plc", "modbus", settings, (device("plc", registers(0), **keys),))


@dataclass
class Node:
    """One node's witnesses, and what they told."""

    name: str
    house: House
    witnesses: Witnesses = field(init=False)
    until_ns: int = 0
    votes: list[int] = field(default_factory=list)
    alarms: list[tuple[int, str]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self, event: WitnessVote | Veto) -> None:
        assert isinstance(event, WitnessVote)
        self.until_ns = event.granted_until_ns or 0
        self.votes.append(self.until_ns)
        self.news.set()

    def alarm(self, severity: int, text: str) -> None:
        self.alarms.append((severity, text))
        self.news.set()

    @property
    def holds(self) -> bool:
        return self.house.clock.monotonic_ns() < self.until_ns

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not what():
                self.news.clear()
                await self.news.wait()

    async def has_alarm(self, part: str) -> None:
        await self.until(lambda: any(part in text for _, text in self.alarms))


@asynccontextmanager
async def node(
    name: str, *lines: LineSpec, peer_lower: bool | None = None, knows: bool = True
) -> AsyncIterator[Node]:
    """A node with one witness a line; nodes are called a and b."""
    this = Node(name, House())
    by_name = {f"plc{number}": line for number, line in enumerate(lines)}

    def opened(plc: str) -> Registers:
        return open_registers(by_name[plc], "plc", this.house.context())

    this.witnesses = Witnesses(
        Witness(modbus=tuple(ModbusWitness(device=plc, address=ADDRESS) for plc in by_name)),
        name,
        (name == "b") if knows and peer_lower is None else peer_lower,
        TIMING,
        this.house.clock,
        opened,
        this.told,
        this.alarm,
        rng=random.Random(name),
    )
    await this.witnesses.start()
    try:
        yield this
    finally:
        await this.witnesses.stop()


def never_both(a: Node, b: Node) -> None:
    assert not (a.holds and b.holds)


async def test_a_claim_gets_the_vote_and_keeps_it() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port, node("a", line_of(tcp(port))) as a:
        a.witnesses.claim()
        await a.until(lambda: len(a.votes) >= 6)
        assert 0 not in a.votes
        row = a.witnesses.status()[0]
        assert (row["name"], row["votes"], row["owner"]) == ("plc0:900", True, "a")
        assert plc.words[1, ADDRESS] != 0
        assert (1, ADDRESS + 1) not in plc.words
        a.witnesses.release()
        assert not a.holds
        assert a.witnesses.voting


async def test_the_second_node_waits_for_the_first_to_end_and_follows_in_the_stated_time() -> None:
    plc = Peer()
    async with (
        serve_tcp(plc) as port,
        node("a", line_of(tcp(port))) as a,
        node("b", line_of(tcp(port))) as b,
    ):
        a.witnesses.claim()
        await a.until(lambda: len(a.votes) >= 3)
        b.witnesses.claim()
        await a.until(lambda: len(a.votes) >= 8)
        assert b.votes == []
        await a.witnesses.stop()
        last_ns = a.votes[-2]
        assert a.votes[-1] == 0
        began_ns = b.house.clock.monotonic_ns()
        await b.until(lambda: b.votes)
        now_ns = b.house.clock.monotonic_ns()
        assert now_ns > last_ns
        assert now_ns - began_ns < LEASE.takeover_max_ns
        await b.until(lambda: len(b.votes) >= 3)
        assert b.witnesses.status()[0]["owner"] == "b"


async def test_of_two_that_claim_at_once_exactly_one_gets_the_vote() -> None:
    plc = Peer()
    async with (
        serve_tcp(plc) as port,
        node("a", line_of(tcp(port))) as a,
        node("b", line_of(tcp(port))) as b,
    ):
        for each in (a, b):
            each.witnesses.claim()
        first, other = (a, b) if await winner(a, b) is a else (b, a)
        count = len(first.votes)
        await first.until(lambda: len(first.votes) >= count + 8)
        assert other.votes == []


async def winner(a: Node, b: Node) -> Node:
    tasks = [asyncio.create_task(each.until(lambda each=each: each.votes)) for each in (a, b)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    never_both(a, b)
    return a if a.votes else b


async def test_a_plc_that_dies_costs_the_vote_and_gives_it_again_when_it_is_back() -> None:
    plc = Peer()
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(AsyncExitStack())
        port = await served.enter_async_context(serve_tcp(plc))
        a = await stack.enter_async_context(node("a", line_of(tcp(port))))
        a.witnesses.claim()
        await a.until(lambda: a.holds)
        await served.aclose()
        await a.until(lambda: not a.holds)
        await a.has_alarm("Connect call failed")
        plc.words.clear()  # it starts with zeroed registers
        async with serve_tcp(plc, port=port):
            await a.until(lambda: a.holds)
            await a.has_alarm("well again")


async def test_a_plc_that_falls_silent_costs_the_vote_before_the_lease_is_over() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port, node("a", line_of(tcp(port))) as a:
        a.witnesses.claim()
        await a.until(lambda: a.holds)
        plc.rule = lambda unit, pdu: SILENCE
        await a.until(lambda: not a.holds)
        assert a.house.clock.monotonic_ns() >= max(a.votes)
        plc.rule = None
        await a.until(lambda: a.holds)


async def test_one_lost_answer_costs_nothing() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port, node("a", line_of(tcp(port))) as a:
        a.witnesses.claim()
        await a.until(lambda: a.holds)
        for fault in (SILENCE, Late(0.15)):
            plc.script.append(fault)
            count = len(a.votes)
            await a.until(lambda count=count: len(a.votes) >= count + 4)
        assert 0 not in a.votes
        assert plc.connections > 1


async def test_three_plcs_vote_by_majority_and_one_may_be_away() -> None:
    plcs = [Peer(), Peer(), Peer()]
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(serve_tcp(plc)) for plc in plcs]
        a = await stack.enter_async_context(node("a", *[line_of(tcp(port)) for port in ports]))
        plcs[0].rule = lambda unit, pdu: SILENCE
        a.witnesses.claim()
        await a.until(lambda: a.holds)
        await a.has_alarm("plc0:900")
        assert a.holds
        assert [row["votes"] for row in a.witnesses.status()] == [False, True, True]
        plcs[1].rule = lambda unit, pdu: SILENCE
        await a.until(lambda: not a.holds)


def refusing(*functions: int, code: int) -> Callable[[int, bytes], Fault]:
    return lambda unit, pdu: Exc(code) if pdu[0] in functions else None


@pytest.mark.parametrize("function", [3, 6])
async def test_registers_that_do_not_exist_are_an_alarm_with_its_remedy(function: int) -> None:
    plc = Peer(rule=refusing(function, code=2))
    async with serve_tcp(plc) as port, node("a", line_of(tcp(port))) as a:
        a.witnesses.claim()
        await a.has_alarm("illegal data address")
        assert "three holding registers" in a.alarms[-1][1]
        assert a.votes == []


async def test_a_device_without_fc6_is_written_with_fc16() -> None:
    plc = Peer(rule=refusing(6, code=1))
    async with serve_tcp(plc) as port, node("a", line_of(tcp(port))) as a:
        a.witnesses.claim()
        await a.until(lambda: len(a.votes) >= 4)
        assert len([pdu for _, pdu in plc.requests if pdu[0] == 6]) == 1


async def test_without_the_peers_id_nobody_votes_and_it_is_said_why() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port, node("a", line_of(tcp(port)), knows=False) as a:
        a.witnesses.claim()
        await a.has_alarm("node id is not known yet")
        assert a.witnesses.status()[0]["owner"] == ""
        a.witnesses.peer_is("a", 0)  # itself: said by nobody
        a.witnesses.peer_is("b", 5)
        await a.until(lambda: a.holds)
        assert plc.words[1, ADDRESS] != ADDRESS


@asynccontextmanager
async def witness_registers(settings: ModbusLine, **keys: object) -> AsyncIterator[Registers]:
    opened = open_registers(line_of(settings, **keys), "plc", House(may_send=False).context())
    try:
        yield opened
    finally:
        opened.close()
        await asyncio.sleep(0)


async def test_registers_are_read_and_written_though_this_node_may_not_poll() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port, witness_registers(tcp(port)) as three:
        assert three.connection == 0
        await three.write(ADDRESS, [1, 2, 3])
        assert await three.read(ADDRESS, 3) == [1, 2, 3]
        assert three.connection == 1
        three.close()
        assert await three.read(ADDRESS, 1) == [1]
        assert three.connection == 2


async def test_a_request_that_is_given_up_costs_the_connection() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port, witness_registers(tcp(port), timeout="5s") as three:
        await three.read(ADDRESS, 1)
        plc.script.append(SILENCE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await three.read(ADDRESS, 1)
        assert await three.read(ADDRESS, 1) == [ADDRESS]
        assert three.connection == 2


async def test_wrong_answers_and_refusals_are_device_errors() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port, witness_registers(tcp(port)) as three:
        plc.script.append(Exc(4))
        with pytest.raises(Refused):
            await three.write(ADDRESS, [ADDRESS])
        plc.script.append("function")
        with pytest.raises(DeviceError):
            await three.read(ADDRESS, 1)
        plc.script.append("short")
        with pytest.raises(DeviceError):
            await three.read(ADDRESS, 2)
        assert await three.read(ADDRESS, 1) == [ADDRESS]


async def test_what_may_repeat_a_datagram_or_is_shared_carries_no_witness() -> None:
    async with serve_udp(Peer()) as port:
        udp = ModbusLine(udp={"host": "127.0.0.1", "port": port})
        async with witness_registers(udp) as three:
            with pytest.raises(LinkError, match="twice"):
                await three.read(ADDRESS, 1)
    async with witness_registers(ModbusLine(rtu={})) as three:
        with pytest.raises(LinkError, match="serial"):
            await three.read(ADDRESS, 1)


async def test_the_peers_beats_are_watched_at_a_gentle_pace() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port, node("b", line_of(tcp(port))):
        while len(plc.requests) < 5:
            plc.asked.clear()
            began_ns = House().clock.monotonic_ns()
            await plc.asked.wait()
        assert House().clock.monotonic_ns() - began_ns > LEASE.renew_ns // 2
        assert {pdu[0] for _, pdu in plc.requests} == {3}
        assert NS_PER_S // LEASE.renew_ns <= 10
