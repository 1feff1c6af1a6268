"""The pure parts of the journal: columns, tails, tables, partitions, kept state."""

from __future__ import annotations

import sqlite3
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal import columns as columns_module
from gateway.journal.columns import Columns, in_order, pack, rows, unpack
from gateway.journal.coverage import Ruled
from gateway.journal.database import execute
from gateway.journal.kept import KeptState
from gateway.journal.partitions import (
    NS_PER_DAY,
    ClockTrust,
    HistorySettings,
    PartitionKey,
    day_of,
    next_key,
    parse_file_name,
    to_drop,
)
from gateway.journal.records import (
    EMPTY_DIGEST,
    Audit,
    Batch,
    Behind,
    Body,
    Coverage,
    Fact,
    Hole,
    Loss,
    Maintenance,
    Record,
    Revision,
    Ruling,
    seal,
)
from gateway.journal.schema import (
    PARTITION_TABLES,
    STATE_TABLES,
    PartitionState,
    kept_statements,
    transaction,
)
from gateway.journal.tail import TailSet
from gateway.model import NS_PER_S, Origin, Position, Term

TERM = Term(1, "a", 2**64 - 1)
OTHER = Term(2, "b", 0)

int64 = st.integers(-(2**63), 2**63 - 1)
value = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
)
alike = st.one_of(
    st.lists(st.floats(allow_nan=False) | st.none(), min_size=1),
    st.lists(int64 | st.none(), min_size=1),
    st.lists(st.integers(0, 2**64 - 1), min_size=1),
    st.lists(st.booleans() | st.none(), min_size=1),
    st.lists(value, min_size=1),
)


def typed(values: Any) -> list[tuple[type, Any]]:
    return [(type(v), v) for v in values]


@given(alike, st.data())
def test_columns_come_back_as_they_were_packed(values: list[Any], data: st.DataObject) -> None:
    def column(numbers: st.SearchStrategy[int]) -> list[int]:
        return data.draw(st.lists(numbers, min_size=len(values), max_size=len(values)))

    statuses = data.draw(st.booleans()) and column(st.integers(0, 2**32 - 1))
    given_columns = Columns(
        sorted(column(int64)), column(int64), column(int64), statuses or None, values
    )
    found = unpack(pack(given_columns))
    assert [list(part or []) for part in found[:4]] == [
        list(part or []) for part in given_columns[:4]
    ]
    assert typed(found.values) == typed(values)


def test_columns_of_the_other_byte_order_are_turned_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_columns = Columns([1, 2], [3, 4], [5, 6], [7, 8], [1.5, 2.5])
    packed = pack(given_columns)
    monkeypatch.setattr(columns_module, "_NATIVE", 0)
    swapped = unpack(packed)
    times = array("q", [1, 1])
    times.byteswap()
    assert swapped.times[0] == times[0]


@given(st.binary(max_size=40))
def test_nonsense_is_called_a_damaged_segment(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged segment"):
        unpack(data)


def test_a_cut_or_foreign_segment_is_called_damaged() -> None:
    packed = pack(Columns([1, 2], [3, 4], [5, 6], None, [1.5, 2.5]))
    for bad in (packed[:-3], bytes([9]) + packed[1:], packed[:3] + b"\x05" + packed[4:]):
        with pytest.raises(ValueError, match="damaged segment"):
            unpack(bad)


def test_columns_are_ordered_by_time_then_seq_keeping_the_order_of_equals() -> None:
    ordered = in_order(Columns([5, 3, 3, 3], [1, 2, 3, 4], [1, 9, 2, 9], [0, 1, 2, 3], "abcd"))
    assert list(ordered.values) == ["c", "b", "d", "a"]
    assert list(ordered.statuses or ()) == [2, 1, 3, 0]
    part = rows(ordered, TERM, Origin.POLL, 3, 5)
    assert [(r.value, r.status, r.position.seq) for r in part] == [
        ("c", 2, 2),
        ("b", 1, 9),
        ("d", 3, 9),
    ]


def batch(samples: list[tuple[int, int, Any, int]], revision: int = 1, seq: int = 0) -> Batch:
    return Batch("d", "normal", revision, 0, 0, 1000 + seq, tuple(samples))


@given(st.lists(st.lists(st.tuples(value, st.sampled_from([0, 0, 0, 0x80310000])), max_size=6)))
def test_a_tail_gives_back_every_sample_that_was_dealt_out(
    batches: list[list[tuple[Any, int]]],
) -> None:
    tails = TailSet()
    expected: list[tuple[Any, ...]] = []
    time_ns = 0
    for seq, samples in enumerate(batches, 1):
        dealt = []
        for item, status in samples:
            time_ns += 1
            dealt.append((0, time_ns, item, status))
            expected.append((time_ns, type(item), item, status, 1000 + seq, seq))
        tails.ingest(TERM, seq, batch(dealt, seq=seq), ["d/x"])
    found = tails.columns_of("d/x")
    got = [
        (r.time_ns, type(r.value), r.value, r.status, r.received_ns, r.position.seq)
        for term, origin, part in found
        for r in rows(part, term, origin, 0, 2**62)
    ]
    assert got == expected


def test_a_tail_set_leaves_out_unknown_numbers_and_forgets_what_was_flushed() -> None:
    tails = TailSet()
    tails.ingest(TERM, 1, batch([(0, 1, 1.0, 0), (7, 1, 1.0, 0), (-1, 1, 1.0, 0)]), ["d/x"])
    tails.ingest(TERM, 2, batch([(0, 2, 2.0, 0)], revision=2), ["d/y"])
    tails.note(Position(TERM, 3))
    tails.note(Position(TERM, 2))
    assert [h.stretches for h in tails.dealt.terms.values()] == [((2, 3),)]
    assert {point: row.value for point, row in tails.last_rows(["d/x", "d/y", "d/z"], {})} == {
        "d/x": 1.0,
        "d/y": 2.0,
    }
    wound = Batch("d", "normal", 1, Origin.WINDBACK, 0, 9, ((0, 0, 5.0, 0),))
    tails.ingest(TERM, 4, wound, ["d/x"])
    assert len(dict(tails.last_rows(["d/x"], {}))) == 1
    tails.freeze()
    pieces = tails.pieces(10)
    assert len(pieces) == 3
    assert tails.columns(pieces[0]).last_ns == 1
    tails.drop(pieces)
    assert tails.empty


def sealed(bodies: list[Body], term: Term = TERM, first: int = 1) -> list[Record]:
    records: list[Record] = []
    digest = EMPTY_DIGEST
    for seq, body in enumerate(bodies, first):
        records.append(seal(term, seq, digest, body))
        digest = records[-1].digest
    return records


@pytest.fixture
def partition() -> Any:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    execute(connection, [(sql, [()]) for sql in PARTITION_TABLES])
    yield connection
    connection.close()


def test_touching_coverage_becomes_one_run_and_continued_holes_one_hole(partition: Any) -> None:
    def hole(start: int, end: int, cause: str = "link") -> Hole:
        return Hole("d", "fast", start, end, cause)

    state = PartitionState()
    steps: list[list[Body]] = [
        [Coverage(1, 0, 10, (hole(5, 10), hole(3, 3)))],
        [Coverage(1, 10, 20, (hole(10, 20),)), Coverage(1, 20, 30, (hole(8, 12),))],
        [Coverage(1, 40, 40), Coverage(1, 40, 50, (hole(42, 44), hole(41, 42, "device")))],
        [Coverage(2, 50, 60), Coverage(2, 60, 70), Coverage(3, 70, 80)],
    ]
    seq = 1
    for bodies in steps:
        statements, state = transaction(sealed(bodies, first=seq), 7, state)
        execute(partition, statements)
        seq += len(bodies)
    assert partition.execute("SELECT revision, since_ns, through_ns FROM run").fetchall() == [
        (1, 0, 30),
        (1, 40, 50),
        (2, 50, 70),
        (3, 70, 80),
    ]
    assert partition.execute(
        "SELECT cause, from_ns, to_ns FROM hole ORDER BY from_ns"
    ).fetchall() == [("link", 5, 20), ("device", 41, 42), ("link", 42, 44)]
    assert partition.execute("SELECT * FROM scan").fetchall() == [("d", "fast")]
    assert partition.execute("SELECT count(*) FROM record").fetchone() == (8,)


def test_a_class_that_stays_behind_is_one_row_and_its_next_time_behind_another(
    partition: Any,
) -> None:
    def told(since: int, through: int, own: tuple[int, int] | None, revision: int = 1) -> Coverage:
        behind = () if own is None else (Behind("d", "fast", *own),)
        return Coverage(revision, since, through, (), behind)

    steps: list[list[Body]] = [
        [told(0, 10, (0, 4)), told(10, 20, (4, 4))],
        [told(20, 30, (4, 30)), told(30, 40, None), told(40, 50, (40, 41))],
        [told(50, 60, (41, 60), revision=2)],
    ]
    state, seq = PartitionState(), 1
    for bodies in steps:
        statements, state = transaction(sealed(bodies, first=seq), 7, state)
        execute(partition, statements)
        seq += len(bodies)
    found = partition.execute(
        "SELECT revision, from_ns, to_ns, since_ns, through_ns FROM own_run"
    ).fetchall()
    assert found == [(1, 0, 30, 0, 30), (1, 40, 50, 40, 41), (2, 50, 60, 41, 60)]
    assert partition.execute("SELECT * FROM scan").fetchall() == [("d", "fast")]


def test_a_transaction_that_was_not_committed_leaves_the_state_as_it_was() -> None:
    state = PartitionState()
    _, after = transaction(sealed([Coverage(1, 0, 10)]), 7, state)
    assert state == PartitionState()
    assert after != state


def test_losses_and_notes_are_found_without_reading_all_records(partition: Any) -> None:
    bodies: list[Body] = [
        batch([(0, 1, 1.0, 0)]),
        batch([(0, 1, 1.0, 0)]),
        Loss(1, 2, "store", "x"),
    ]
    statements, _ = transaction([*sealed(bodies), *sealed(bodies, OTHER)], 7, PartitionState())
    execute(partition, statements)
    assert partition.execute("SELECT at_ns, kind FROM note").fetchall() == [(7, "l"), (7, "l")]
    assert (
        partition.execute("SELECT from_ns, to_ns, cause FROM loss").fetchall()
        == [(1, 2, "store")] * 2
    )
    assert partition.execute("SELECT nonce FROM term ORDER BY term_id").fetchall() == [
        ("f" * 16,),
        ("0" * 16,),
    ]


def test_copying_kept_records_twice_changes_nothing() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    execute(connection, [(sql, [()]) for sql in STATE_TABLES])
    records = sealed([Audit("write", "x", 1, "bob", "good"), Coverage(1, 0, 1)])
    for _ in range(2):
        execute(connection, kept_statements(records))
    assert connection.execute("SELECT kind, seq FROM kept").fetchall() == [("a", 1)]
    assert kept_statements(records[1:]) == []
    connection.close()


def test_partition_names_go_both_ways_and_nothing_else_is_taken_for_one() -> None:
    for key in (PartitionKey(20_000), PartitionKey(20_000, 3)):
        assert parse_file_name(key.file_name) == key
    assert PartitionKey(0).file_name == "1970-01-01.sqlite"
    assert PartitionKey(1).from_ns == NS_PER_DAY == PartitionKey(0).to_ns
    for name in ("state.sqlite", "2026-13-01.sqlite", "2026-11-22.sqlite.damaged-1", "x"):
        assert parse_file_name(name) is None


def test_the_next_record_never_goes_to_an_earlier_file() -> None:
    current = PartitionKey(100, 1)
    assert next_key(current, 0, 99 * NS_PER_DAY, 10) == current
    assert next_key(current, 10, 99 * NS_PER_DAY, 10) == PartitionKey(100, 2)
    assert next_key(current, 0, 101 * NS_PER_DAY, 10) == PartitionKey(101)
    assert day_of(NS_PER_DAY - 1) == 0


def test_retention_goes_by_age_then_size_and_never_takes_the_newest() -> None:
    keys = [PartitionKey(day) for day in range(5)]
    sizes = [(key, 10) for key in keys]
    now = 5 * NS_PER_DAY
    age = HistorySettings(retention_ns=3 * NS_PER_DAY, max_size_bytes=100)
    assert to_drop(sizes, now, now, age, True) == keys[:2]
    assert to_drop(sizes, now, now, age, False) == [], "the clock has just jumped"
    assert to_drop(sizes, now - 1, now, age, True) == [], "it is behind the journal"
    size = HistorySettings(retention_ns=100 * NS_PER_DAY, max_size_bytes=25)
    assert to_drop(sizes, now, now, size, True) == keys[:3]
    assert to_drop(sizes, now - 1, now, size, False) == keys[:3], "the disk must not fill"
    nothing = HistorySettings(retention_ns=0, max_size_bytes=0)
    assert to_drop(sizes, now, now, nothing, True) == keys[:4]
    assert size.part_size_bytes == 1024 * 1024


def test_a_clock_that_was_just_set_does_not_say_how_old_history_is() -> None:
    minute, hour, utc = 60 * NS_PER_S, 3_600 * NS_PER_S, 20_000 * NS_PER_DAY
    trust = ClockTrust.at_start(utc, 0)
    assert not trust.holds(hour - 1), "what the clock did before the start is not known"
    assert trust.holds(hour)
    assert trust.looked(utc + 7 * NS_PER_DAY, 7 * NS_PER_DAY).holds(7 * NS_PER_DAY)
    for slow in range(1, 400):  # no jump: a clock that was 5 min off, steered for days
        trust = trust.looked(utc + slow * (hour + NS_PER_S), slow * hour)
    assert trust.holds(400 * hour)
    utc, now = utc + 400 * (hour + NS_PER_S), 400 * hour
    assert trust.looked(utc + 4 * minute, now).holds(now)
    for jump in (-6 * minute, 6 * minute, 3650 * NS_PER_DAY):
        after = trust.looked(utc + jump, now)
        assert after.jumped
        assert not after.holds(now + 6 * hour - 1)
        assert after.looked(utc + jump + 6 * hour, now + 6 * hour).holds(now + 6 * hour)
        back = after.looked(utc + hour, now + hour)
        assert not back.holds(now + 7 * hour - 1), "it jumped again, back to what is right"
    assert not trust.jumped


def test_kept_state_is_the_same_whatever_the_order_of_arrival() -> None:
    points = (("plc1/a", "bool"), ("plc2/b", "bool"))
    records: list[tuple[Position, Body]] = [
        (Position(TERM, 1), Revision(1, b"", 0, "x", {}, points)),
        (Position(TERM, 2), Fact("d", "k", 1, 0)),
        (Position(OTHER, 1), Fact("d", "k", 2, 0)),
        (Position(TERM, 3), Maintenance("disable", "d", 0, "bob", "")),
        (Position(OTHER, 2), Maintenance("enable", "d", 0, "bob", "")),
        (Position(OTHER, 3), Revision(1, b"", 0, "y", {}, points[:1])),
        (Position(OTHER, 4), Audit("x", "y", 0, "bob", "good")),
        (Position(OTHER, 5), Maintenance("substitute", "d/p", 0, "bob", "", 5)),
    ]
    for order in (records, records[::-1]):
        kept = KeptState()
        for position, body in order:
            kept.apply(position, body)
        assert kept.facts == {("d", "k"): 2}
        assert [m.action for m in kept.maintenance] == ["substitute"]
        assert kept.head is not None
        assert kept.head.revision.who == "y"
        assert kept.names(1, TERM) == ("plc1/a", "plc2/b")
        assert kept.names(1, Term(9, "c", 0)) == ("plc1/a",), "taken over from the newest before"
        assert kept.names(1, Term(0, "c", 0)) == ("plc1/a",)
        assert kept.names(5, TERM) is None
        assert kept.has_device(1, TERM, "plc2")
        assert not kept.has_device(1, OTHER, "plc2")
        assert kept.has_device(5, OTHER, "plc2"), "what isn't known isn't denied"


def test_only_the_newest_revisions_are_remembered() -> None:
    kept = KeptState()
    for number in range(100):
        kept.apply(Position(TERM, number + 1), Revision(number, b"", 0, "x", {}, ()))
    assert kept.names(0, TERM) is None
    assert kept.names(99, TERM) == ()


def test_numbers_beyond_64_bits_signed_move_a_column_to_a_wider_form() -> None:
    for values in ([1, 2**63, 3], [None, 2**64 - 1, 1], [2**63, None, 2**63 + 1], [True, 1, "x"]):
        tails = TailSet()
        for seq, item in enumerate(values, 1):
            tails.ingest(TERM, seq, batch([(0, seq, item, 0)], seq=seq), ["d/x"])
        ((_, _, found),) = tails.columns_of("d/x")
        assert typed(found.values) == typed(values)


def test_times_further_apart_than_64_bits_are_packed_all_the_same() -> None:
    far = Columns([-(2**63), 0, 2**63 - 1], [2**63 - 1, -(2**63), 5], [1, 2, 3], None, [1, 2, 3])
    assert [list(part) for part in unpack(pack(far))[:3]] == [list(part) for part in far[:3]]


def test_of_rulings_that_contradict_each_other_the_higher_position_holds() -> None:
    def ruling(winner: Term, loser: Term, duty: str = "merge") -> Ruling:
        return Ruling(winner, loser, 10, 20, duty, "longer reign", 20)

    first, second = ruling(TERM, OTHER), ruling(OTHER, TERM, "discard")
    given = [(Position(TERM, 5), first), (Position(OTHER, 3), second)]
    for order in (given, given[::-1]):
        kept = KeptState()
        for position, body in order:
            kept.apply(position, body)
        assert kept.rulings == (Ruled(OTHER, TERM, 10, 20, True),)


def test_a_revision_of_the_lost_branch_is_head_on_no_node_and_means_its_own_term_alone() -> None:
    low, high, later = Term(5, "a", 1), Term(6, "b", 2), Term(7, "a", 3)
    lost = Revision(2, b"", 15, "b", {}, (("d/lost", "bool"),))
    records: list[tuple[Position, Body]] = [
        (Position(low, 1), Revision(1, b"", 0, "first", {}, (("d/x", "bool"),))),
        (Position(low, 9), Revision(2, b"", 14, "a", {}, (("d/y", "bool"),))),
        (Position(high, 3), lost),
        (Position(low, 10), Ruling(low, high, 10, 20, "merge", "priority", 20)),
    ]
    for order in (records, records[::-1]):
        kept = KeptState()
        for position, body in order:
            kept.apply(position, body, bytes([position.seq]) * 16)
        assert kept.head is not None
        assert (kept.head.position, kept.head.revision.who) == (Position(low, 9), "a")
        assert kept.head.digest == bytes([9]) * 16
        assert kept.diverged == [(Position(high, 3), lost)]
        assert kept.names(2, later) == ("d/y",)
        assert kept.names(2, high) == ("d/lost",)
    alone = KeptState()
    alone.apply(*records[2])
    assert alone.head is not None
    alone.apply(*records[3])
    assert alone.head is None, "it is nobody's head"


def test_old_rulings_are_forgotten_at_their_bound() -> None:
    kept = KeptState()
    for seq in range(1, 1_003):
        body = Ruling(TERM, OTHER, seq, seq + 1, "merge", "priority", 20)
        kept.apply(Position(TERM, seq), body)
    assert len(kept.rulings) == 1_000
    assert kept.rulings[0].from_ns == 3


covering = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 6), st.integers(0, 9), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


@given(covering, st.randoms())
def test_the_tables_say_the_same_of_coverage_in_whatever_order_and_group_records_come(
    claims: list[tuple[int, int, int, int]], rng: Any
) -> None:
    """What is behind (hole and size of a claim, taken as its own stretch) among it."""
    records: list[Record] = []
    for number, (since, length, hole, size) in enumerate(claims):
        term = (TERM, OTHER)[number % 2]
        holes = (Hole("d", "c", hole, hole + size, "link"),) if size else ()
        behind = (Behind("d", "c", hole, hole + size),) if length % 2 else ()
        body = Coverage(1 + number % 3 // 2, since, since + length, holes, behind)
        records.append(seal(term, number + 1, EMPTY_DIGEST, body))

    def told(order: list[Record]) -> tuple[Any, ...]:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        execute(connection, [(sql, [()]) for sql in PARTITION_TABLES])
        state = PartitionState()
        for at in range(0, len(order), 3):
            statements, state = transaction(order[at : at + 3], 7, state)
            execute(connection, statements)
        numbers = {number: term for term, number in state.terms.items()}
        runs: dict[Any, set[int]] = {}
        for term_id, revision, since, through in connection.execute(
            "SELECT term_id, revision, since_ns, through_ns FROM run"
        ):
            runs.setdefault((numbers[term_id], revision), set()).update(range(since, through))
        holes: dict[Any, set[int]] = {}
        for term_id, start, end in connection.execute("SELECT term_id, from_ns, to_ns FROM hole"):
            holes.setdefault(numbers[term_id], set()).update(range(start, end))
        own: dict[Any, tuple[set[int], set[int]]] = {}
        for term_id, revision, start, end, since, through in connection.execute(
            "SELECT term_id, revision, from_ns, to_ns, since_ns, through_ns FROM own_run"
        ):
            known = own.setdefault((numbers[term_id], revision), (set(), set()))
            known[0].update(range(start, end))
            known[1].update(range(since, through))
        connection.close()
        return runs, holes, own

    turned = list(records)
    rng.shuffle(turned)
    assert told(turned) == told(records)
