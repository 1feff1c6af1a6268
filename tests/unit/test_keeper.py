"""The shell around the role machine: order of effects, what takes time, commands, late ticks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from gateway.clock import SystemClock
from gateway.errors import ControlError, JournalError
from gateway.model import NS_PER_MS, NS_PER_S, Term
from gateway.pair import events as ev
from gateway.pair.heartbeat import Due, Heartbeat
from gateway.pair.keeper import Keeper
from gateway.pair.machine import Machine
from gateway.pair.words import Identity, Role, Timing


class StillClock:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc_ns(self) -> int:
        return 1_700_000_000 * NS_PER_S + self.now_ns


@dataclass
class NotedActs:
    """Notes what it is told, in order."""

    done: list[str] = field(default_factory=list)
    sent: list[Heartbeat] = field(default_factory=list)
    fails: bool = False
    breaks: str = ""
    reached: bool | None = True
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    unread: list[ev.Event] = field(default_factory=list)
    keeper: Keeper | None = None

    def note(self, what: str) -> None:
        self.done.append(what)
        if what == self.breaks:
            raise OSError(what)

    async def begin_term(self, number: int) -> Term:
        self.note(f"begin {number}")
        await self.begun.wait()
        if self.fails:
            raise JournalError("the disk is full")
        return Term(number, "a", 7)

    def unused_term(self) -> None:
        self.note("unused term")

    def new_term(self, term: Term, why: str) -> None:
        self.note(f"new term {term.number}")

    def journal_role(self, role: Role, term: Term | None, why: str) -> None:
        self.note(f"role {role.shown}")

    def journal_ruling(self, ruling: ev.JournalRuling) -> None:
        self.note("ruling")

    def open_field(self, term: Term, next_due: tuple[Due, ...]) -> None:
        self.note("open field")

    async def drain(self) -> tuple[Due, ...]:
        self.note("drain")
        await self.drained.wait()
        return (("", 5),)

    def close_field(self) -> None:
        self.note("close field")

    def open_endpoint(self) -> None:
        self.note("open endpoint")

    def close_endpoint(self, reason: str) -> None:
        self.note(f"close endpoint: {reason}")

    def send(self, heartbeat: Heartbeat) -> None:
        self.sent.append(heartbeat)

    def drain_links(self) -> None:
        self.note("drain links")
        assert self.keeper is not None
        for event in self.unread:
            self.keeper.feed(event)

    async def probe(self) -> bool | None:
        self.note("probe")
        return self.reached

    def claim_witness(self) -> None:
        self.note("claim witness")

    def release_witness(self) -> None:
        self.note("release witness")

    def alarm(self, text: str) -> None:
        self.note(f"alarm: {text}")

    def progress(self) -> ev.Progress:
        return ev.Progress(1)

    def stepped(self, role_before: Role) -> None:
        assert self.keeper is not None
        if self.keeper.machine.role is not role_before:
            self.note(f"now {self.keeper.machine.role.shown}")


def made(
    linked: bool = False, timing: Timing | None = None
) -> tuple[Keeper, NotedActs, StillClock]:
    clock, acts = StillClock(), NotedActs()
    paths = frozenset({"p"}) if linked else frozenset()
    identity = Identity("s", "a", 1, 0, paths, linked)
    machine = Machine(identity, timing or Timing(), clock.monotonic_ns())
    acts.keeper = Keeper(machine, clock, acts)
    return acts.keeper, acts, clock


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def heartbeat(seq: int, keeper: Keeper, role: Role, **more: object) -> ev.Heard:
    now_ns = keeper.now_ns()
    said = Heartbeat(
        site="s",
        node="b",
        boot=9,
        seq=seq,
        role=role,
        hears_you=True,
        echo_boot=keeper.machine.identity.boot,
        echo_ns=now_ns,
        sent_ns=seq,
        **more,  # type: ignore[arg-type]
    )
    return ev.Heard("p", said)


async def test_a_lone_node_is_main_once_its_term_is_committed_and_not_before() -> None:
    keeper, acts, _ = made()
    keeper.feed(ev.Tick())
    await turns()
    assert acts.done == ["begin 1"]
    assert not keeper.is_main and not keeper.may_send()
    acts.begun.set()
    await turns()
    assert acts.done[1:] == ["role main", "open field", "open endpoint", "now main"]
    assert keeper.is_main and keeper.may_send()


async def test_a_term_that_can_t_be_committed_is_told_and_asked_for_again_each_second() -> None:
    keeper, acts, clock = made()
    acts.fails = True
    acts.begun.set()
    keeper.feed(ev.Tick())
    await turns()
    assert acts.done[-1] == "alarm: no term could be begun: the disk is full"
    acts.fails = False
    for _ in range(6):
        clock.now_ns += NS_PER_S // 5
        keeper.feed(ev.Tick())
        await turns()
    assert keeper.is_main
    assert [what for what in acts.done if what.startswith("begin")] == ["begin 1", "begin 2"]


async def test_a_term_that_came_too_late_is_given_back_to_the_diary() -> None:
    keeper, acts, clock = made(linked=True)
    for seq in range(1, 40):
        clock.now_ns += 100 * NS_PER_MS
        keeper.feed(heartbeat(seq, keeper, Role.STARTING, consent=True))
        await turns(1)
    assert acts.done[-1].startswith("begin")
    keeper.feed(heartbeat(41, keeper, Role.MAIN, term=Term(9, "b", 1)))
    acts.begun.set()
    await turns()
    assert acts.done[-1] == "unused term"
    assert not keeper.is_main


async def test_an_event_that_comes_while_effects_are_carried_out_waits_for_their_end() -> None:
    keeper, acts, clock = made(linked=True)
    keeper.feed(heartbeat(1, keeper, Role.MAIN, term=Term(1, "b", 1)))
    assert keeper.machine.role is Role.SYNCING
    clock.now_ns += 5 * NS_PER_S
    acts.unread = [heartbeat(2, keeper, Role.MAIN, term=Term(1, "b", 1))]
    before = len(acts.sent)
    keeper.feed(ev.Tick())
    assert acts.done[-1] == "drain links"
    assert len(acts.sent) > before, "the late step's own effects come first"
    assert keeper.machine.peer.last is not None and keeper.machine.peer.last.seq == 2
    assert keeper.machine.role is Role.SYNCING, "what lay unread was heard first"


async def test_a_changeover_is_answered_when_it_is_decided() -> None:
    keeper, acts, clock = made(linked=True)
    acts.begun.set()
    with pytest.raises(ControlError, match="ask the Main"):
        await keeper.command(ev.Changeover("me"))
    seq = 0
    while not keeper.is_main:
        seq += 1
        clock.now_ns += 100 * NS_PER_MS
        keeper.feed(heartbeat(seq, keeper, Role.STARTING, consent=True))
        await turns()
    clock.now_ns += 100 * NS_PER_MS
    keeper.feed(heartbeat(seq + 1, keeper, Role.SYNCED))
    asked = asyncio.create_task(keeper.command(ev.Changeover("me")))
    await turns()
    assert acts.done[-1] == "drain"
    with pytest.raises(ControlError, match="under way"):
        await keeper.command(ev.Changeover("you"))
    acts.drained.set()
    await turns()
    assert acts.done[-4:-1] == [
        "close field",
        "close endpoint: handed over: changeover by me",
        "role standby (synced)",
    ]
    assert acts.sent[-1].grant is not None and acts.sent[-1].grant.next_due == (("", 5),)
    assert not asked.done()
    keeper.feed(heartbeat(seq + 2, keeper, Role.MAIN, term=Term(5, "b", 2)))
    assert await asked == "changeover: b is Main"


async def test_pause_and_peer_are_answered_at_once() -> None:
    keeper, _, _ = made(linked=True)
    assert await keeper.command(ev.Pause(True, "me")) == "paused by me"
    assert keeper.machine.paused
    assert "absent" in await keeper.command(ev.PeerAbsent(True, "me"))
    keeper.feed(heartbeat(1, keeper, Role.STARTING))
    with pytest.raises(ControlError, match="is heard"):
        await keeper.command(ev.PeerAbsent(True, "me"))


async def test_a_changeover_that_nobody_answers_ends_with_a_reason() -> None:
    timing = Timing(heartbeat_ns=10 * NS_PER_MS, takeover_after_ns=30 * NS_PER_MS)
    keeper, acts, clock = made(linked=True, timing=timing)
    acts.begun.set()
    seq = 0
    while not keeper.is_main:
        seq += 1
        clock.now_ns += 10 * NS_PER_MS
        keeper.feed(heartbeat(seq, keeper, Role.STARTING, consent=True))
        await turns()
    keeper.feed(heartbeat(seq + 1, keeper, Role.SYNCED))
    with pytest.raises(ControlError, match="not answered in time"):
        await keeper.command(ev.Changeover("me"))


async def test_what_an_act_could_not_do_ends_the_node_with_its_error() -> None:
    keeper, acts, _ = made()
    acts.begun.set()
    acts.breaks = "open field"
    with pytest.raises(OSError, match="open field"):
        await asyncio.wait_for(keeper.run(), 5)
    assert "open endpoint" not in acts.done
    keeper.feed(ev.Tick())
    assert "open endpoint" not in acts.done


async def test_a_probe_that_nobody_may_make_says_nothing() -> None:
    keeper, acts, clock = made(linked=True)
    acts.reached = None
    for _ in range(80):
        clock.now_ns += 50 * NS_PER_MS
        keeper.feed(ev.Tick())
        await turns(3)
    assert "probe" in acts.done
    assert not keeper.is_main, "it hears nobody and reaches nothing"
    acts.reached = True
    acts.begun.set()
    for _ in range(80):
        clock.now_ns += 50 * NS_PER_MS
        keeper.feed(ev.Tick())
        await turns(3)
    assert keeper.is_main


async def test_it_ticks_until_all_is_said_and_measures_how_late_it_was() -> None:
    acts = NotedActs()
    clock = SystemClock()
    timing = Timing(heartbeat_ns=20 * NS_PER_MS)
    machine = Machine(Identity("s", "a", 1, linked=False), timing, clock.monotonic_ns())
    keeper = acts.keeper = Keeper(machine, clock, acts)
    acts.begun.set()
    acts.drained.set()
    running = asyncio.create_task(keeper.run())
    async with asyncio.timeout(5):
        while not keeper.is_main:
            await asyncio.sleep(0.001)  # paces: the acts have no event
        while keeper.late_max_ms == 0.0:
            await asyncio.sleep(0.001)  # paces: until a tick was measured
        keeper.feed(ev.Stop())
        await running
    assert acts.done[-5:] == [
        "drain",
        "close field",
        "close endpoint: stopped",
        "role starting",
        "now starting",
    ]
    assert 0.0 < keeper.late_max_ms < 5_000.0
