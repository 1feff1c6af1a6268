"""The acts of a reign, with everything around them played: grants, clocks, terms, drains."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.acquisition.begin import Begin
from gateway.errors import JournalError
from gateway.model import NS_PER_MS, NS_PER_S, Term
from gateway.pair.heartbeat import DUES_MAX
from gateway.pair.words import Role, Timing
from gateway.reign import Deeds

NOW_NS = 1_800_000_000 * NS_PER_S
TERM = Term(3, "a", 7)


class Around:
    """A node around its acts; `done` is what was asked of it, in order."""

    def __init__(self, linked: bool = True) -> None:
        self.done: list[Any] = []
        self.alarms: list[str] = []
        self.said: list[str] = []
        self.told: list[str] = []
        self.monotonic_ns = self.disk_ns = 0
        self.coverage_end_ns = NOW_NS - NS_PER_S
        self.begins = asyncio.Event()
        self.begins.set()
        self.drains = asyncio.Event()
        self.rest_fails = 0
        self.in_hole: set[tuple[str, str]] = set()
        self.classes: tuple[tuple[str, str], ...] = (("plc1", "fast"), ("plc2", "slow"))
        peer = SimpleNamespace(clock_ahead_ns=0, round_trip_ns=2 * NS_PER_MS)
        self.machine = SimpleNamespace(
            role=Role.MAIN, term=TERM, peer=peer, stopping=False, ended=False, timing=Timing(),
            paused=False, pause_version=0, handing=None, why="",
        )  # fmt: skip
        coverage = SimpleNamespace(classes=self.classes, in_hole=lambda key: key in self.in_hole)
        self.field = SimpleNamespace(
            polling=False,
            collector=SimpleNamespace(coverage=coverage, answers=0),
            writer=SimpleNamespace(tell_unfinished=lambda facts: self.done.append("pulses")),
            open=self.done.append,
            turn=lambda why: self.done.append("turn"),
            halt=lambda: self.done.append("halt"),
            close=self._close,
            drain=self._drain,
        )
        running: Any = SimpleNamespace(
            field=self.field, facts={}, number=1, reigns=lambda term: None,
            doubt=lambda: self.done.append("doubt"), renew_maintenance=lambda: None,
            windback=SimpleNamespace(begin=lambda: None, halt=lambda: None, end=self._released),
        )  # fmt: skip
        doors: Any = SimpleNamespace(
            alarm=lambda source, severity, text: self.alarms.append(text),
            tell=lambda source, severity, text: self.told.append(text),
            append=self.done.append,
        )
        node: Any = SimpleNamespace(node="a", link=object() if linked else None)
        clock: Any = SimpleNamespace(utc_ns=lambda: NOW_NS, monotonic_ns=lambda: self.monotonic_ns)
        journal: Any = self
        revisions: Any = SimpleNamespace()
        self.deeds = Deeds(
            node, clock, doors, journal, running, revisions, self.said.append, NOW_NS - 5
        )
        keeper: Any = SimpleNamespace(machine=self.machine, is_main=True)
        self.deeds.keeper = keeper

    async def _released(self, patience_s: float) -> None:
        """No log is being read."""

    async def begin_term(self, number: int) -> Term:
        self.monotonic_ns += self.disk_ns
        self.done.append(f"begin {number}")
        await self.begins.wait()
        return Term(number, "a", 9)

    async def rest(self) -> Term:
        if self.rest_fails:
            self.rest_fails -= 1
            raise JournalError("the disk is full")
        self.done.append("rest")
        return Term(0, "a", 9)

    async def _close(self) -> None:
        await asyncio.sleep(0)
        self.done.append("closed")

    async def _drain(self, patience_s: float) -> int:
        await self.drains.wait()
        return NOW_NS

    @property
    def begun(self) -> Begin:
        found = [item for item in self.done if isinstance(item, Begin)]
        assert len(found) == 1, self.done
        return found[0]


async def test_a_grant_says_through_when_all_is_answered_and_what_is_not() -> None:
    around = Around()
    around.deeds.open_field(TERM, (("", NOW_NS), ("plc2/slow", NOW_NS)))
    assert around.begun == Begin(granted_through_ns=NOW_NS, unanswered=[("plc2", "slow")])
    assert "doubt" not in around.done, "the old Main vouched for the values"


async def test_a_takeover_doubts_every_value_and_ends_no_hole_before_both_clocks_are_past() -> None:
    around = Around()
    around.deeds.open_field(TERM, ())
    assert around.begun == Begin(not_before_ns=NOW_NS + 2 * NS_PER_MS)
    assert around.done[0] == "doubt" and around.done[-1] == "pulses"
    for ahead_ns, expected_ns in ((70 * NS_PER_MS, 72 * NS_PER_MS), (-NS_PER_S, 2 * NS_PER_MS)):
        around = Around()
        around.machine.peer.clock_ahead_ns = ahead_ns
        around.deeds.open_field(TERM, ())
        assert around.begun.not_before_ns == NOW_NS + expected_ns


async def test_a_clock_behind_what_was_replicated_is_told_and_claims_nothing_before_it() -> None:
    around = Around()
    around.coverage_end_ns = NOW_NS + 4 * NS_PER_S
    around.deeds.open_field(TERM, ())
    assert around.begun.not_before_ns == NOW_NS + 4 * NS_PER_S
    assert "4.000 s behind what was replicated" in around.alarms[0]


async def test_a_lone_node_claims_from_its_start_once() -> None:
    around = Around(linked=False)
    around.deeds.open_field(TERM, ())
    assert around.begun == Begin(since_ns=NOW_NS - 5)
    around.done.clear()
    around.deeds.open_field(TERM, ())
    assert around.begun == Begin()


async def test_the_next_term_waits_for_the_close_of_the_reign_before() -> None:
    around = Around()
    around.deeds.close_field()
    assert around.done == ["halt"]
    term = await around.deeds.begin_term(4)
    assert term.number == 4
    assert around.done == ["halt", "closed", "begin 4"], "no diary: a term was asked for"
    around.deeds.open_field(TERM, ())
    assert isinstance(around.done[-2], Begin)


async def test_a_disk_that_takes_long_to_store_a_term_is_told() -> None:
    around = Around()
    await around.deeds.begin_term(4)
    assert around.told == []
    around.disk_ns = 900 * NS_PER_MS
    await around.deeds.begin_term(5)
    assert around.told == ["the disk took 0.90 s to store term 5"]


async def test_outside_a_reign_the_diary_is_asked_for_until_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.reign.AGAIN_S", 0.001)
    around = Around()
    around.rest_fails = 2
    around.deeds.close_field()
    await around.deeds.lanes[0].idle()
    assert around.done == ["halt", "closed", "rest"]


async def test_a_running_reign_turns_its_streams_as_it_asks_for_a_new_term() -> None:
    around = Around()
    around.field.polling = True
    await around.deeds.begin_term(5)
    assert around.done == ["turn", "begin 5"]


async def test_a_term_that_hangs_in_the_store_is_not_asked_for_twice() -> None:
    around = Around()
    around.begins.clear()
    first = asyncio.create_task(around.deeds.begin_term(5))
    await asyncio.sleep(0)
    with pytest.raises(JournalError, match="not committed"):
        await around.deeds.begin_term(6)
    around.begins.set()
    assert (await first).number == 5


async def test_a_reign_that_ended_while_the_field_was_closing_opens_nothing() -> None:
    around = Around()
    around.deeds.close_field()
    around.deeds.open_field(TERM, ())
    around.machine.role = Role.SYNCING
    await around.deeds.lanes[0].idle()
    assert not any(isinstance(item, Begin) for item in around.done)


async def test_a_drain_names_what_it_can_t_vouch_for_and_too_much_of_it_grants_no_time() -> None:
    around = Around()
    around.drains.set()
    around.in_hole = {("plc2", "slow")}
    assert await around.deeds.drain() == (("", NOW_NS), ("plc2/slow", NOW_NS))
    around.field.collector.coverage.classes = tuple((f"d{n}", "x") for n in range(DUES_MAX))
    around.in_hole = set(around.field.collector.coverage.classes)
    assert await around.deeds.drain() == ()


async def test_a_stop_does_not_wait_for_a_device_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.reign.STOP_DRAIN_S", 0.01)
    around = Around()
    around.machine.stopping = True
    assert await around.deeds.drain() == ()
    around.drains.set()


async def test_a_pause_is_kept_by_a_main_and_each_role_is_told() -> None:
    around = Around()
    around.machine.paused, around.machine.pause_version = True, 2
    around.deeds.stepped(Role.MAIN)
    around.deeds.stepped(Role.MAIN)
    kept = [item for item in around.done if getattr(item, "key", "") == "pause"]
    assert [item.value for item in kept] == [[True, 2]]
    around.machine.role = Role.SYNCED
    around.deeds.stepped(Role.MAIN)
    assert around.said == ["is standby (synced)"]
