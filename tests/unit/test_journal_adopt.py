"""Records of the peer: taken once, whatever the order, with the same history on both nodes."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from journal_pair import (
    POINTS,
    T0,
    Side,
    adopted,
    all_rows,
    batch,
    covered,
    pull,
    revision,
    until,
    values,
)

from gateway.errors import JournalError, ReplicaError, StoreFull
from gateway.journal.adoption import AdoptionLine
from gateway.journal.holdings import difference, fingerprint, wanted
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.partitions import NS_PER_DAY
from gateway.journal.records import (
    EMPTY_DIGEST,
    Adopted,
    Audit,
    Batch,
    Body,
    Coverage,
    Event,
    Fact,
    Hole,
    Record,
    Revision,
    Role,
    chain,
    encode,
    seal,
)
from gateway.model import NS_PER_S, Cause, HistoryRow, Origin, Position, Term


@pytest.fixture
def a(tmp_path: Path) -> Side:
    return Side(tmp_path, "a")


@pytest.fixture
def b(tmp_path: Path) -> Side:
    return Side(tmp_path, "b")


async def collect(journal: Journal, first: int = 0, end: int = 10) -> None:
    """Seconds of one point, each with its coverage."""
    for second in range(first, end):
        journal.append(batch(second, float(second)))
        await journal.append(covered(second, second + 1))


async def flushed(journal: Journal) -> None:
    journal._shelf._freeze(journal._shelf.current)
    await until(lambda: journal._shelf.flushing is None)


def observed(rows: list[HistoryRow]) -> list[HistoryRow]:
    """Without what says that nothing came since: that is told by each node's own clock."""
    return [row for row in rows if row.origin is not Origin.GAP]


async def same(one: Journal, other: Journal) -> None:
    assert difference(one.holdings.terms, other.holdings.terms) == []
    assert await one.verify() == await other.verify() == []
    assert one.coverage_end_ns == other.coverage_end_ns
    for point, _ in POINTS:
        assert observed(await all_rows(one, point)) == observed(await all_rows(other, point))
    for device in ("plc1", "plc2"):
        span = (device, T0 - NS_PER_S, one.coverage_end_ns)
        assert await one.gaps(*span) == await other.gaps(*span)


async def test_an_adopted_record_is_the_same_record_and_is_read_as_history(
    a: Side, b: Side
) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        heard: list[Record] = []
        standby.on_commit(lambda records, stored: heard.extend(records))
        await main.append(revision())
        await collect(main)
        assert await pull(main, standby) == 21
        assert [r.position for r in heard] == [Position(main.term, n) for n in range(1, 22)]
        assert standby.term.number == 0
        assert standby.term_seen == main.term.number
        assert standby.coverage_end_ns == main.coverage_end_ns == T0 + 10 * NS_PER_S
        assert values(await all_rows(standby, "plc1/level")) == [float(n) for n in range(10)]
        assert standby.revision == revision()
        assert standby.head == main.head
        assert main.names(1, main.term) == standby.names(1, main.term)
        assert fingerprint(standby.holdings.terms) == fingerprint(main.holdings.terms)
        assert await pull(main, standby) == 0
        assert await standby.adopt(await adopted(main, main.term, 1, 21)) == 0
        await same(main, standby)
        assert standby.conflicts == 0
    async with b.journal() as standby:
        assert standby.holdings.of(heard[-1].position.term) == (1, ((1, 21),), heard[-1].digest)
        assert standby.coverage_end_ns == T0 + 10 * NS_PER_S
        assert values(await all_rows(standby, "plc1/level")) == [float(n) for n in range(10)]


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_arrival_gives_the_same_history_also_over_crashes_and_flushes(
    a: Side, b: Side, seed: int
) -> None:
    rng = random.Random(seed)
    hole = Hole("plc1", "normal", T0 + 3 * NS_PER_S, T0 + 5 * NS_PER_S, "link")
    async with a.journal() as main:
        await main.append(Event("node", 100, "started", T0))
        for reign in range(3):
            await main.begin_term()
            await main.append(revision(reign + 1))
            for second in range(reign * 10, reign * 10 + 10):
                main.append(
                    Batch(
                        "plc1",
                        "normal",
                        reign + 1,
                        0,
                        T0,
                        second + T0,
                        ((0, T0 + second * NS_PER_S, second, 0),),
                    )
                )
                held = (hole,) if second == 5 else ()
                await main.append(
                    Coverage(reign + 1, T0 + second * NS_PER_S, T0 + (second + 1) * NS_PER_S, held)
                )
            await main.rest()
            await main.append(Fact("plc1", "reign", reign, T0))
        parts = [
            (term, first, min(first + 2, holding.last))
            for term, holding in main.holdings.terms.items()
            for first in range(1, holding.last + 1, 3)
        ]
        rng.shuffle(parts)
        half = len(parts) // 2
        for some in (parts[:half], parts[half:]):
            async with b.journal() as standby:
                for term, first, last in some:
                    sent = await adopted(main, term, first, last)
                    assert await standby.adopt(sent) == last - first + 1
                    if rng.random() < 0.2:
                        await flushed(standby)
                b = b.killed()
        async with b.journal() as standby:
            await same(main, standby)
            await flushed(standby)
            await same(main, standby)
            assert standby.facts == main.facts
        async with b.journal() as standby:
            await same(main, standby)
    assert b.told(900) == b.told(800) == []


async def test_a_stretch_below_what_was_flushed_is_there_after_a_crash(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as main:
        await main.append(revision())
        await collect(main)
        async with b.journal() as standby:
            await standby.adopt(await adopted(main, main.term, 1, 1))
            await standby.adopt(await adopted(main, main.term, 12, 21))
            await flushed(standby)
            await standby.adopt(await adopted(main, main.term, 2, 11))
            after = b.killed()
        async with after.journal() as standby:
            assert values(await all_rows(standby, "plc1/level")) == [float(n) for n in range(10)]
            await same(main, standby)


async def test_a_chain_that_breaks_is_refused_as_a_whole(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        await collect(main, 0, 3)
        sent = await adopted(main, main.term, 1, 6)
        bad = sent[3]._replace(wire=encode(batch(9, 9.0)))
        with pytest.raises(ReplicaError, match="does not follow"):
            await standby.adopt([*sent[:3], bad])
        assert standby.holdings.of(main.term) is None
        await standby.adopt(sent[:3])
        with pytest.raises(ReplicaError, match="does not follow"):
            await standby.adopt([bad])
        with pytest.raises(ReplicaError, match="came twice"):
            await standby.adopt([sent[3], sent[3]._replace(digest=b"x" * 16)])
        both = (standby.adopt([bad]), standby.adopt(sent[3:]))
        assert await both[1] == 3
        with pytest.raises(ReplicaError):
            await both[0]
        await same(main, standby)


async def test_what_can_not_be_a_record_is_refused_and_stops_nothing(a: Side, b: Side) -> None:
    term = Term(3, "a", 5)

    def made(body: Body, **changed: Any) -> Adopted:
        position = Position(changed.get("term", term), changed.get("seq", 1))
        wire = encode(body)
        return Adopted(position, wire, changed.get("digest", chain(bytes(16), position, wire)))

    sample = (0, T0, 1.0, 0)
    wrong = [
        Adopted(Position(term, 1), b"\xc1", b"x" * 16),
        made(Event("x", 1, "y", 2**63)),
        made(Event("x", 1, "y", 1), seq=0),
        made(Event("x", 1, "y", 1), digest=b"short"),
        made(Event("x", 1, "y", 1), term=Term(2**63, "a", 1)),
        made(Batch("d", "c", 1, 0, 0, 0, (sample,)), term=Term(0, "a", 1)),
        made(Coverage(1, 0, 1), term=Term(0, "a", 1)),
        made(Coverage(1, 0, 2**63)),
        made(Coverage(1, 0, 9, (Hole("d", "c", 0, 2**64 - 1, "link"),))),
        made(Batch("d", "c", 1, 9, 0, 0, (sample,))),
        made(Batch("d", "c", 1, 0, 2**63, 0, (sample,))),
        made(Batch("d", "c", 1, 0, 0, 0, ((0, 2**63, 1.0, 0),))),
        made(Batch("d", "c", 1, 0, 0, 0, ((0, 1, 1.0, 2**32),))),
        made(Batch("d", "c", 1, 0, 0, 0, ((2**63, 1, 1.0, 0),))),
    ]
    async with b.journal() as standby:
        for record in wrong:
            with pytest.raises(ReplicaError):
                await standby.adopt([record])
        with pytest.raises(ReplicaError, match="not kept"):
            await standby.keep([made(Event("x", 1, "y", 1))])
        assert not standby.task.done()
        await standby.begin_term()
        ahead = made(Event("x", 1, "y", 1), term=standby.term, seq=9)
        with pytest.raises(ReplicaError, match="this node writes"):
            await standby.adopt([ahead])
        assert standby.holdings.of(term) is None


async def test_two_records_at_one_position_are_both_kept_and_told(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        await main.append(Role("a", "main", T0, "start", main.term))
        await pull(main, standby)
        other = seal(main.term, 1, bytes(16), Role("a", "main", T0, "another"))
        for _ in range(2):
            assert await standby.adopt([Adopted(*other[:3])]) == 0
        assert standby.conflicts == 1
        assert len(standby.holdings.of(main.term) or ()) == 3
        assert any("both are kept" in text for text in b.told(950))
        later = seal(main.term, 1, bytes(16), Role("a", "main", T0, "a third"))
        assert await standby.keep([Adopted(*later[:3])]) == 0
        assert standby.conflicts == 2
        assert [role.why for _, role in await standby.roles()] == ["start"]
        assert (await standby.roles())[0][1].term == main.term
    async with b.journal() as standby:
        assert standby.conflicts == 2


async def test_samples_wait_for_their_revision_and_appear_with_it(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as main:
        await main.append(revision())
        await collect(main)
        async with b.journal() as standby:
            await standby.adopt(await adopted(main, main.term, 2, 21))
            assert await all_rows(standby, "plc1/level") == []
            assert len(b.told(700)) == 1
            await flushed(standby)
            b.clock.now_ns += NS_PER_DAY  # their file is not the one in use any more
            await standby.append(Event("x", 1, "a new day", b.clock.now_ns))
            await until(lambda: standby._shelf.flushing is None)
        async with b.journal() as standby:
            assert await all_rows(standby, "plc1/level") == []
            await standby.adopt(await adopted(main, main.term, 1, 1))
            whole = [*map(float, range(10)), None]
            assert values(await all_rows(standby, "plc1/level")) == whole, "and then nothing"
            await until(lambda: standby._shelf.partitions[0].database is None)
            await pull(standby, main)
            await same(main, standby)
        async with b.journal() as standby:
            await same(main, standby)


async def test_kept_records_outlive_their_originals_and_are_exchanged(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        term = main.term
        await main.append(revision())
        await main.append(Audit("write", "plc1/level", T0, "bob", "good"))
        await main.append(Fact("plc1", "base", 7, T0))
        summary = await main.kept_summary()
        assert summary[term][0] == 3
        assert term not in await standby.kept_summary()
        first = await main.kept_records([term])
        assert [record.position.seq for record in first] == [1, 2, 3]
        rest = await main.kept_records([term, Term(0, "z", 1)], first[0].position)
        assert rest == first[1:]
        assert await main.kept_records([Term(0, "z", 1)], first[0].position) == []
        heard: list[Record] = []
        standby.on_commit(lambda records, stored: heard.extend(records))
        assert await standby.keep(first) == 3
        assert [record.position for record in heard] == [record.position for record in first]
        assert await standby.keep(first) == 0
        assert await standby.kept_summary() == {term: summary[term]}
        assert standby.facts == main.facts
        assert standby.revision == main.revision
        assert standby.term_seen == term.number
        assert standby.holdings.of(term) is None, "the originals are wanted all the same"
        await pull(main, standby)
        await same(main, standby)


async def test_what_damage_took_is_pulled_back_and_each_sample_is_there_once(
    a: Side, b: Side
) -> None:
    async with a.journal() as standby, b.journal(reigns=True) as main:
        await main.append(revision())
        await collect(main)
        await pull(main, standby)
        b.clock.now_ns = T0 + 11 * NS_PER_S
        main._writer.damage.report(main._shelf.current.path.name, "a test says so")
        await until(lambda: len(b.told(900)) == 1)
        holding = main.holdings.of(main.term)
        assert holding is not None
        assert 21 not in {n for f, e in holding.stretches for n in range(f, e + 1)}
        wants = wanted(main.holdings.terms, standby.holdings.terms)
        assert [(w.first, w.last) for w in wants if w.term == main.term] == [(1, 21)]
        assert values(await all_rows(main, "plc1/level")) == [float(n) for n in range(10)]
        b.clock.now_ns = T0 + 60 * NS_PER_S
        lost = await main.gaps("plc1", T0, T0 + 10 * NS_PER_S)
        assert {gap.cause for gap in lost} == {Cause.STORE}
        assert await pull(standby, main) >= 21
        whole = [*map(float, range(10)), None]
        assert values(await all_rows(main, "plc1/level")) == whole, "and then nothing"
        assert await main.gaps("plc1", T0, T0 + 10 * NS_PER_S) == []
        await collect(main, 10, 12)
        await flushed(main)
        await pull(main, standby)
        await same(main, standby)
    async with b.journal() as main:
        seen = observed(await all_rows(main, "plc1/level"))
        assert values(seen) == [float(n) for n in range(12)]
        assert await main.verify() == []


async def test_records_of_a_file_damaged_between_runs_are_wanted_back(a: Side, b: Side) -> None:
    async with a.journal() as standby:
        async with b.journal(reigns=True) as main:
            term = main.term
            await main.append(revision())
            await collect(main, 0, 5)
            b.clock.now_ns += NS_PER_DAY
            await collect(main, 5, 10)
            await pull(main, standby)
            first = main._shelf.partitions[0].path
        first.write_bytes(b"no database at all" * 500)
        for suffix in ("-wal", "-shm"):
            first.with_name(first.name + suffix).unlink(missing_ok=True)
        async with b.journal() as main:
            holding = main.holdings.of(term)
            assert holding is not None
            assert [s[1] for s in holding.stretches] == [21]
            await pull(standby, main)
            await pull(main, standby)
            await same(main, standby)


async def test_a_file_that_its_disk_emptied_is_set_aside_and_wanted_back(a: Side, b: Side) -> None:
    """The tables were in the WAL when the disk failed; the header of the file was not."""
    async with a.journal() as standby:
        async with b.journal(reigns=True) as main:
            term = main.term
            await main.append(revision())
            await collect(main, 0, 5)
            await pull(main, standby)
            path = main._shelf.partitions[-1].path
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        empty = sqlite3.connect(path)
        empty.execute("PRAGMA journal_mode=WAL")
        empty.close()
        assert path.stat().st_size == 4096
        async with b.journal() as main:
            assert main.holdings.of(term) is None
            assert next(path.parent.glob("*.sqlite.damaged-*"))
            assert any("its disk lost what it held" in told for _, told in b.events)
            await pull(standby, main)
            await pull(main, standby)
            await same(main, standby)


async def test_a_blank_peer_gets_its_own_old_records_back_and_goes_on_above_them(
    a: Side, b: Side
) -> None:
    async with b.journal() as standby:
        async with a.journal(reigns=True) as main:
            old = main.term
            await main.append(revision())
            await collect(main)
            await pull(main, standby)
        wiped = Side(a.folder.parent / "w", "a")
        wiped.folder.parent.mkdir()
        wiped.rng = random.Random(99)
        async with wiped.journal() as main:
            assert (main.term_seen, main.coverage_end_ns) == (0, 0)
            await pull(standby, main)
            assert main.term_seen == old.number
            assert (await main.begin_term(1)).number == old.number + 1
            assert (await main.begin_term(40)).number == 40
            await pull(main, standby)
            await same(main, standby)


async def test_below_the_floor_nothing_is_wanted_or_taken_again(a: Side, b: Side) -> None:
    a.settings = HistorySettings(retention_ns=2 * NS_PER_DAY, ballast_bytes=65_536)
    async with b.journal() as standby:
        async with a.journal(reigns=True) as main:
            term = main.term
            await main.append(revision())
            await collect(main)
            await pull(main, standby)
            sent = await adopted(main, term, 1, 21)
            for _ in range(5):
                a.clock.now_ns += NS_PER_DAY
                await main.append(Event("x", 1, "a day", a.clock.now_ns))
            await until(lambda: main._writer._retention_ns == a.clock.now_ns)
            await until(lambda: main._shelf.flushing is None)
            assert main.holdings.terms[term].floor > 21
            await pull(main, standby)
            assert wanted(main.holdings.terms, standby.holdings.terms) == []
            assert await main.adopt(sent) == 0
            assert difference(main.holdings.terms, standby.holdings.terms) == []
            assert main.floor_ns > 0
            assert await main.records(term, 1) == []
        async with a.journal() as main:
            holding = main.holdings.of(term)
            assert holding is not None
            assert holding.floor > 21
            assert wanted(main.holdings.terms, standby.holdings.terms) == []
            assert main.revision == revision(), "kept kinds outlive the retention"


async def test_what_nobody_has_any_more_is_forgone_once_and_for_good(b: Side) -> None:
    term = Term(4, "a", 1)
    async with b.journal() as standby:
        await standby.forgo(term, 30, T0)
        await standby.forgo(term, 30, T0)
        await standby.forgo(term, 3, T0)
        assert (await standby.append(Event("x", 1, "y", T0))).position.seq == 2
    async with b.journal() as standby:
        holding = standby.holdings.of(term)
        assert holding is not None
        assert holding.floor == 31


async def test_adopting_waits_while_the_store_is_full_and_goes_on_after(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        await main.append(revision())
        await collect(main, 0, 60)
        database = standby._shelf.current.database
        assert database is not None

        def limit(connection: sqlite3.Connection, more: int) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages + more}")

        await database.run(lambda c: limit(c, 0))
        future = standby.adopt(await adopted(main, main.term, 1, 121))
        await until(lambda: standby.store_failed_since_ns is not None)
        assert not future.done()
        assert standby.holdings.of(main.term) is None
        assert await all_rows(standby, "plc1/level") == []
        standby._shelf.losses.clear()
        await database.run(lambda c: limit(c, 100_000))
        assert await future == 121
        assert standby.store_failed_since_ns is None
        await pull(main, standby)
        await pull(standby, main)
        await same(main, standby)
        gaps = await standby.gaps("plc1", T0, T0 + 60 * NS_PER_S)
        assert gaps == [], "a Standby lost nothing, so it declares nothing"


async def test_a_commit_that_failed_and_is_there_all_the_same_is_found(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        await main.append(revision())
        await collect(main, 0, 5)
        database = standby._shelf.current.database
        assert database is not None
        run, broken = database.run, []

        async def stores_and_fails(work: Any) -> Any:
            found = await run(work)
            if not broken:
                broken.append(1)
                raise sqlite3.OperationalError("disk I/O error")
            return found

        database.run = stores_and_fails  # type: ignore[method-assign]
        heard: list[Record] = []
        standby.on_commit(lambda records, stored: heard.extend(records))
        assert await standby.adopt(await adopted(main, main.term, 1, 11)) == 11
        assert len(heard) == 11
        assert values(await all_rows(standby, "plc1/level")) == [float(n) for n in range(5)]
        await pull(main, standby)
        assert standby.holdings.terms[main.term] == main.holdings.terms[main.term]


async def test_the_queue_of_adopted_records_is_bounded_and_ends_with_the_journal(
    a: Side, b: Side
) -> None:
    b.settings = HistorySettings(ballast_bytes=65_536, queue_max=40)
    async with a.journal(reigns=True) as main:
        await main.append(revision())
        await collect(main, 0, 40)
        async with b.journal() as standby:
            first = standby.adopt(await adopted(main, main.term, 1, 30))
            with pytest.raises(StoreFull):
                standby.adopt(await adopted_now(main, 31, 60))
            async with asyncio.timeout(10):
                await standby.adopt_room()
            assert await first == 30
            await standby._writer.close()
            with pytest.raises(JournalError, match="closed"):
                standby.adopt([])


async def test_a_group_of_adopted_records_is_small_enough_for_one_turn_of_the_loop() -> None:
    line = AdoptionLine(1_000)
    one = batch(0, 1.0)
    sizes = [2_000, 4_000, 3_000, 30_000, 1_000, *[2_000] * 20]
    for seq, count in enumerate(sizes, 1):
        wire = encode(msgspec.structs.replace(one, samples=one.samples * count))
        line.join([Adopted(Position(Term(1, "a", 5), seq), wire, EMPTY_DIGEST)], kept_only=False)
    taken: list[int] = []
    while line:
        group = [record for call in line.take() for record in call.records]
        taken += [record.position.seq for record in group]
        bytes_ = sum(len(record.wire) for record in group)
        assert len(group) == 1 or bytes_ <= 256 << 10
        if len(group) == 1:
            assert group[0].position.seq == 4  # larger than a group may be: by itself
    assert taken == list(range(1, len(sizes) + 1))
    assert len(line) == 0


async def adopted_now(journal: Journal, first: int, last: int) -> list[Adopted]:
    return [Adopted(Position(journal.term, n), b"", b"") for n in range(first, last + 1)]


async def test_durable_commits_are_full_also_in_a_new_file(b: Side) -> None:
    async with b.journal() as standby:

        async def mode() -> int:
            database = standby._shelf.current.database
            assert database is not None
            return await database.run(lambda c: c.execute("PRAGMA synchronous").fetchone()[0])

        assert await mode() == 1
        standby.set_durable(True)
        await standby.append(Event("x", 1, "y", T0))
        assert await mode() == 2
        b.clock.now_ns += NS_PER_DAY
        await standby.append(Event("x", 1, "y", T0))
        assert len(standby._shelf.partitions) == 2
        assert await mode() == 2
        standby.set_durable(False)
        await standby.append(Event("x", 1, "y", T0))
        assert await mode() == 1


async def test_the_peers_day_begins_the_file_so_that_its_restatement_is_in_it(
    a: Side, b: Side
) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        await main.append(revision())
        midnight_ns = (T0 // NS_PER_DAY + 1) * NS_PER_DAY
        b.clock.now_ns = midnight_ns - NS_PER_S  # a second behind
        a.clock.now_ns = midnight_ns + 1
        second = (midnight_ns - T0) // NS_PER_S
        await main.append(batch(second + 1, 1.0))
        await pull(main, standby)
        assert len(standby._shelf.partitions) == 2
        assert standby._shelf.current.alone_ns >= midnight_ns + 5 * NS_PER_S
        b.clock.now_ns = midnight_ns + 9 * NS_PER_S
        standby._shelf.settings = HistorySettings(max_size_bytes=1)
        for size in (0, 2 * 1024 * 1024):
            await standby._shelf.roll_if_due(b.clock.now_ns, False, size)
        assert standby._shelf.current.alone_ns == midnight_ns + NS_PER_DAY + 5 * NS_PER_S


async def test_a_revision_as_large_as_it_gets_goes_through(a: Side, b: Side) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        large = Revision(1, b"", T0, "x", {"points.csv": "x" * 3_000_000}, POINTS)
        await main.append(large)
        await main.append(large)
        assert len(await main.records(main.term, 1)) == 1
        assert await pull(main, standby) == 2
        assert standby.revision == large


async def test_a_file_of_an_earlier_version_is_known_to_hold_what_it_holds(a: Side) -> None:
    async with a.journal(reigns=True) as main:
        term = main.term
        await main.append(revision())
        await collect(main)
        await flushed(main)
        await collect(main, 10, 12)
        path, before = main._shelf.current.path, main.holdings.terms
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM meta WHERE key IN ('held', 'alone_ns')")
    old = msgspec.msgpack.encode({1: 21, 2: 7})  # the last seq of each term; the second is empty
    connection.execute("INSERT INTO term VALUES(2, 9, 'a', '00')")
    connection.execute("UPDATE meta SET value = ? WHERE key = 'flushed'", (old,))
    connection.commit()
    connection.close()
    async with a.journal() as main:
        assert main.holdings.of(term) == before[term]
        assert values(await all_rows(main, "plc1/level")) == [float(n) for n in range(12)]
        assert main._shelf.current.alone_ns == main._shelf.current.begun_ns + 5 * NS_PER_S


async def test_the_state_file_failing_refuses_kept_records_and_harms_nothing_else(
    a: Side, b: Side
) -> None:
    async with a.journal(reigns=True) as main, b.journal() as standby:
        await main.append(revision())
        await main.append(Audit("write", "plc1/level", T0, "bob", "x" * 200_000))
        kept = await main.kept_records([main.term])
        state = standby._state._database
        await state.run(lambda c: c.execute("PRAGMA max_page_count=1"))
        with pytest.raises(JournalError, match="state file"):
            await standby.keep(kept)
        with pytest.raises(JournalError, match="state file"):
            for number in range(1, 2_000):
                await standby.forgo(Term(number, "a", 1), 1, T0)
        await state.run(lambda c: c.execute("PRAGMA max_page_count=1000000"))
        assert await standby.keep(kept) == 2
