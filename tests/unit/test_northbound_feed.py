"""A feed over a real journal: once each, whatever fails; what is skipped is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_journal import T0, World, batch, covered, revision, until

from gateway.config.northbound import MqttFeed
from gateway.errors import ControlError
from gateway.feeding import ended
from gateway.journal.holdings import Holdings
from gateway.journal.journal import Journal
from gateway.journal.records import Batch, Delivered
from gateway.model import NS_PER_S, Position, Term
from gateway.northbound import windows as w
from gateway.northbound.access import password_of, tls_of
from gateway.northbound.feed import PROBE, Feed, Ports, SessionEnded
from gateway.northbound.observations import Observation, Read


@dataclass
class Shelf:
    """An outlet that keeps what it is given, and fails where it is told to."""

    name: str = "shelf"
    where: str = "here"
    state: str = "standby"
    since: Position = field(default_factory=lambda: Position(Term(0, "", 0), 0))
    kept: Holdings = field(default_factory=Holdings)
    got: list[tuple[Observation, bool]] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    ends: int = 0
    deaf: bool = False

    async def open(self) -> Holdings:
        if self.fails:
            raise self.fails.pop()
        known = Holdings()
        for term, holding in self.kept.terms.items():
            for first, last in holding.stretches:
                w.deliver(known, term, first, last)
        return known

    async def hand_on(self, window: w.Window, read: Read, done: Holdings) -> int:
        if self.fails:
            raise self.fails.pop()
        self.got += [(each, window.live) for each in read.observations]
        w.deliver(done, window.term, window.first, window.last)
        w.deliver(self.kept, window.term, window.first, window.last)
        return len(read.observations)

    async def look_after(self, done: Holdings) -> None:
        if self.deaf:  # as what awaits `asyncio.wait_for` of Python 3.11 may be
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            self.deaf = False

    async def close(self) -> None:
        self.ends += 1

    async def drop(self) -> None:
        pass

    @property
    def seconds(self) -> list[int]:
        return [(each.time_ns - T0) // NS_PER_S for each, _ in self.got]


@dataclass
class Fed:
    """A feed that runs beside a journal."""

    feed: Feed
    shelf: Shelf
    alarms: list[tuple[int, str]]
    main: list[bool]


@asynccontextmanager
async def fed(
    journal: Journal,
    world: World,
    shelf: Shelf,
    backlog_ns: int | None = None,
    change: Callable[[Ports], Ports] = lambda ports: ports,
) -> AsyncIterator[Fed]:
    alarms: list[tuple[int, str]] = []
    main = [True]
    ports = change(
        Ports(
            clock=world.clock,
            held=lambda: journal.holdings.terms,
            records=journal.records,
            names=journal.names,
            since=lambda: Position(journal.term, 0),
            limit=lambda _: None,
            may_send=lambda: main[0],
            alarm=lambda severity, text: alarms.append((severity, text)),
        )
    )
    feed = Feed(shelf, ports, backlog_ns)
    journal.on_commit(lambda records, stored: feed.hear())
    task = asyncio.create_task(feed.run())
    try:
        yield Fed(feed, shelf, alarms, main)
    finally:
        await ended(feed, task)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def written(journal: Journal, first: int, end: int) -> None:
    await asyncio.gather(*(journal.append(batch(s, float(s))) for s in range(first, end)))
    await journal.append(covered(first, end))


async def aged(journal: Journal, world: World, shelf: Shelf) -> None:
    """Four hundred seconds of samples, all of them before now."""
    await journal.append(revision())
    for start in range(0, 400, 100):
        await written(journal, start, start + 100)
    shelf.since = Position(journal.term, 10_000)
    world.clock.now_ns = T0 + 400 * NS_PER_S


async def test_each_sample_once_over_failures_and_a_second_feed(world: World) -> None:
    shelf = Shelf()
    async with world.journal() as journal:
        await journal.append(revision())
        await written(journal, 0, 5)
        shelf.fails = [ConnectionError("no route"), SessionEnded("the other wrote")]
        async with fed(journal, world, shelf) as it:
            await until(lambda: len(shelf.got) == 5)
            await written(journal, 5, 9)
            await until(lambda: len(shelf.got) == 9)
            shelf.fails = [RuntimeError("a library's own")]
            await written(journal, 9, 12)
            await until(lambda: len(shelf.got) == 12)
            told = it.feed.status()
            assert told["samples"] == 12 and told["failures"] == 2 and told["sessions"] == 2
            assert told["last_error"] == "a library's own" and told["state"] == "delivering"
            said = [text for _, text in it.alarms]
            assert [("takes no samples" in t, "again" in t) for t in said] == [
                (True, False),
                (False, True),
            ] * 2
            it.main[0] = False
            await until(lambda: it.feed.outlet.state == "standby")
            assert it.feed.status()["records_behind"] is None and shelf.ends == 1
            await journal.begin_term()
            await written(journal, 12, 14)
        async with fed(journal, world, shelf):  # as the other node does after a takeover
            await until(lambda: len(shelf.got) == 14)
    assert shelf.seconds == list(range(14))
    assert len({each.position for each, _ in shelf.got}) == 14


async def test_a_feed_ends_though_a_library_lost_its_cancellation(world: World) -> None:
    shelf = Shelf(deaf=True)
    async with world.journal() as journal:
        await journal.append(revision())
        async with asyncio.timeout(5), fed(journal, world, shelf):
            await until(lambda: shelf.state == "delivering")
    assert shelf.ends == 1


async def test_a_feed_that_waits_to_try_again_as_the_reign_ends_is_a_standby_at_once(
    world: World,
) -> None:
    shelf = Shelf(fails=[ConnectionError("no route")] * 9)
    async with world.journal() as journal:
        await journal.append(revision())
        await written(journal, 0, 5)
        async with fed(journal, world, shelf) as it:
            await until(lambda: it.feed.status()["failures"] > 0)
            told = it.feed.status()
            assert told["state"] == "failing" and told["records_behind"] > 0
            assert told["lag_s"] is None, "nothing was delivered that could be late"
            it.main[0] = False
            told = it.feed.status()
            assert told["state"] == "standby" and told["records_behind"] is None


async def test_what_is_older_than_the_backlog_is_skipped_and_told(world: World) -> None:
    shelf = Shelf()
    async with world.journal() as journal:
        await aged(journal, world, shelf)
        async with fed(journal, world, shelf, 50 * NS_PER_S) as it:
            await until(lambda: len(shelf.got) == 50)
            assert shelf.seconds == list(range(350, 400))
            [(severity, text)] = it.alarms
            assert severity == 600 and "older than its backlog of 50s" in text
            held = journal.holdings.of(journal.term)
            assert held is not None
            assert it.feed.status()["skipped"] == held.last - 51
            await until(lambda: it.feed.status()["records_behind"] == 0)
    known = shelf.kept.of(shelf.got[0][0].position.term)
    assert known is not None and len(known.stretches) == 1, "what was skipped is over"


async def test_a_damaged_record_does_not_stop_the_search_for_the_backlog(world: World) -> None:
    probed: list[int] = []
    shelf = Shelf()
    async with world.journal() as journal:
        await aged(journal, world, shelf)

        async def records(term: Term, start: int, count: int, size: int) -> Any:
            rows = await journal.records(term, start, count, size)
            if count != PROBE:
                return rows
            probed.append(start)
            return [
                (seq, b"\xc1" if seq == probed[0] else wire, digest) for seq, wire, digest in rows
            ]

        spoilt = partial(replace, records=records)
        async with fed(journal, world, shelf, 50 * NS_PER_S, spoilt) as it:
            await until(lambda: len(shelf.got) == 50)
            assert len(probed) > 1 and it.feed.status()["failures"] == 0


async def test_what_history_dropped_is_told_once(world: World) -> None:
    shelf = Shelf()
    async with world.journal() as journal:
        await journal.append(revision())
        await written(journal, 0, 4)
        journal.holdings.drop(journal.term, 3)
        async with fed(journal, world, shelf) as it:
            await until(lambda: len(shelf.got) == 2)
            assert it.alarms == [(300, "shelf: 3 records are skipped: history no longer has them")]
        async with fed(journal, world, shelf) as it:
            await written(journal, 4, 5)
            await until(lambda: len(shelf.got) == 3)
            assert not it.alarms


async def test_a_batch_waits_for_its_revision_and_holds_nobody_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.northbound.feed.UNKNOWN_S", 0.0)
    shelf = Shelf()
    late = False

    def change(ports: Ports) -> Ports:
        def names(number: int, term: Term) -> tuple[str, ...] | None:
            return ports.names(1, term) if number == 1 or late else None

        return replace(ports, names=names)

    async with world.journal() as journal:
        await journal.append(revision())
        await journal.append(batch(0, 1.0))
        await journal.append(of_another_revision(1))
        await journal.append(batch(2, 1.0))
        async with fed(journal, world, shelf, change=change):
            await until(lambda: len(shelf.got) == 2)
            assert shelf.seconds == [0, 2]
            late = True
            world.clock.now_ns += NS_PER_S
            await until(lambda: len(shelf.got) == 3)
    assert shelf.seconds == [0, 2, 1]


def of_another_revision(second: int) -> Batch:
    return msgspec.structs.replace(batch(second, 1.0), revision=2)


async def test_the_journal_keeps_what_was_delivered_and_gives_back_what_still_tells(
    world: World,
) -> None:
    async with world.journal() as journal:
        term = journal.term
        for n, whole in enumerate((True, False, True, False)):
            spans = ((*term, n, n),)
            await journal.append(Delivered("mqtt", T0 + n, n, whole, spans))
        await journal.append(Delivered("other", T0 + 9, 9, True, ()))
        found = await journal.delivered("mqtt")
        assert [each.births for each in found] == [3, 2], "back to the newest whole one"
        assert [each.feed for each in await journal.delivered("other")] == ["other"]
        assert await journal.delivered("nobody") == []
    async with world.journal() as journal:
        assert [each.births for each in await journal.delivered("mqtt")] == [3, 2]


def test_secrets_that_are_not_there_are_named(tmp_path: Path) -> None:
    feed = MqttFeed.model_validate(
        {
            "broker": "mqtts://b",
            "group": "g",
            "user": "u",
            "password": {"file": "p"},
            "ca": "a",
            "cert": "c",
            "key": "k",
        }
    )
    with pytest.raises(ControlError, match=r"/p can't be read"):
        password_of(feed, tmp_path)
    with pytest.raises(ControlError, match="certificates"):
        tls_of(feed, tmp_path)
    (tmp_path / "p").write_text("se cret\r\n")
    assert password_of(feed, tmp_path) == "se cret"
    plain = MqttFeed.model_validate({"broker": "mqtt://b", "group": "g", "insecure": True})
    assert tls_of(plain, tmp_path) is None and password_of(plain, tmp_path) is None
