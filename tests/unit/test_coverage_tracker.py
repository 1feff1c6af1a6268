"""What may be claimed, and what must be declared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.coverage import (
    BEHIND_MANY,
    BEHIND_NS,
    CLAIM_NS,
    HOLES_KEPT_MAX,
    CoverageTracker,
    Key,
)
from gateway.journal.coverage import Except, OwnRun, Run, cause_of, complete_ns, lagging, streams
from gateway.journal.records import Behind, Coverage, Hole
from gateway.model import NS_PER_MS, NS_PER_S, Cause, Term

KEY = ("plc", "fast")
OTHER = ("rtu", "slow")


def tracker(start: int = 0, patience: int = 10) -> CoverageTracker:
    return CoverageTracker([(KEY, patience), (OTHER, patience)], 7, start)


def holes(record: Coverage | None, device: str = "plc") -> list[tuple[int, int, str]]:
    assert record is not None
    return [(h.from_ns, h.to_ns, h.cause) for h in record.holes if h.device == device]


def test_before_the_first_good_scan_everything_is_a_hole_called_starting() -> None:
    cover = tracker()
    record = cover.record(100)
    assert record == Coverage(
        7,
        0,
        100,
        (Hole("plc", "fast", 0, 100, "starting"), Hole("rtu", "slow", 0, 100, "starting")),
    )
    assert cover.through_ns == 100
    assert cover.record(100) is None


def test_the_first_good_scan_ends_the_hole_and_begins_a_stream() -> None:
    cover = tracker()
    assert cover.scanned(KEY, 40, 140) is True
    assert cover.scanned(KEY, 140, 240) is False
    assert holes(cover.record(200)) == [(0, 40, "starting")]
    assert holes(cover.record(220)) == []


def test_an_answer_asked_for_before_the_clock_was_set_claims_nothing_before_itself() -> None:
    cover = tracker()
    cover.failed(KEY, Cause.CLOCK, 0)
    assert cover.scanned(KEY, 3600, 5) is True
    cover.scanned(OTHER, 3600, 3700)
    assert holes(cover.record(3601)) == [(0, 3600, "clock")]


def test_what_was_lost_for_all_is_a_hole_from_there_on_also_of_a_key_that_failed_later() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 100)
    cover.scanned(OTHER, 1, 100)
    cover.failed(KEY, Cause.DEVICE, 50)
    cover.failed_all(Cause.STORE, 30)
    record = cover.record(60)
    for device in ("plc", "rtu"):
        assert holes(record, device)[-1] == (30, 60, "store")


def test_a_key_that_is_merely_late_holds_the_claim_back_and_nothing_is_lost() -> None:
    cover = tracker(patience=50)
    cover.scanned(KEY, 1, 100)
    cover.scanned(OTHER, 1, 1000)
    record = cover.record(130)
    assert record is not None and record.through_ns == 100
    cover.scanned(KEY, 131, 200)
    later = cover.record(150)
    assert later is not None
    assert (later.since_ns, later.through_ns, holes(later)) == (100, 150, [])


def test_a_key_that_is_behind_is_claimed_as_far_as_it_is_and_holds_nobody_back() -> None:
    cover = tracker(patience=10 * NS_PER_S)
    cover.scanned(KEY, 1, NS_PER_S)
    cover.scanned(OTHER, 1, 60 * NS_PER_S)
    late_ns = NS_PER_S + BEHIND_NS + 1
    record = cover.record(late_ns)
    assert record is not None
    assert (record.since_ns, record.through_ns) == (0, late_ns)
    assert record.behind == (Behind(*KEY, 0, NS_PER_S),)
    assert lagging(record) == {KEY: NS_PER_S}
    assert cover.complete_ns == complete_ns(record) == NS_PER_S
    still = cover.record(late_ns + 5)
    assert still is not None and still.behind == (Behind(*KEY, NS_PER_S, NS_PER_S),)
    cover.scanned(KEY, late_ns + 6, 30 * NS_PER_S)
    caught_up = cover.record(late_ns + 10)
    assert caught_up is not None
    assert caught_up.since_ns == late_ns + 5
    assert caught_up.behind == (Behind(*KEY, NS_PER_S, late_ns + 10),)
    assert caught_up.holes == () and lagging(caught_up) == {}
    after = cover.record(late_ns + 20)
    assert after == Coverage(7, late_ns + 10, late_ns + 20)


def test_a_key_that_was_behind_and_is_lost_has_its_hole_told_from_where_it_was_complete() -> None:
    cover = tracker(patience=2 * NS_PER_S)
    for key in (KEY, OTHER):
        cover.scanned(key, 1, NS_PER_S)
    cover.scanned(OTHER, NS_PER_S, 60 * NS_PER_S)
    assert holes(cover.record(2 * NS_PER_S)) == [(0, 1, "starting")]
    record = cover.record(3 * NS_PER_S + 1)
    assert holes(record) == [(NS_PER_S, 3 * NS_PER_S + 1, "overrun")]
    assert record is not None
    assert record.behind == (Behind(*KEY, NS_PER_S, 3 * NS_PER_S + 1),)


def test_who_is_late_at_a_turn_is_claimed_by_the_new_term_from_where_the_old_one_left_it() -> None:
    cover = tracker(patience=10 * NS_PER_S)
    cover.scanned(KEY, 1, NS_PER_S)
    cover.scanned(OTHER, 1, 60 * NS_PER_S)
    old = cover.turn(NS_PER_S + 7)
    assert old is not None and old.behind == (Behind(*KEY, 0, NS_PER_S),)
    cover.scanned(KEY, NS_PER_S + 8, 2 * NS_PER_S)
    new = cover.record(NS_PER_S + 20)
    assert new == Coverage(
        7, NS_PER_S + 7, NS_PER_S + 20, (), (Behind(*KEY, NS_PER_S, NS_PER_S + 20),)
    )


def test_a_new_term_claims_nothing_of_a_late_key_until_the_claim_reaches_its_first_value() -> None:
    cover = tracker(patience=10 * NS_PER_S)
    cover.scanned(KEY, 1, NS_PER_S)
    cover.scanned(OTHER, 1, NS_PER_S)
    cover.turn(2 * NS_PER_S)
    cover.scanned(KEY, 2 * NS_PER_S + 5, 3 * NS_PER_S)
    cover.scanned(OTHER, 2 * NS_PER_S + 10, 9 * NS_PER_S)
    cover.scanned(KEY, 3 * NS_PER_S, 3 * NS_PER_S + 2)
    early = cover.record(2 * NS_PER_S + 10)
    assert early is not None and early.behind == (
        Behind(*KEY, NS_PER_S, 2 * NS_PER_S + 10),
        Behind(*OTHER, NS_PER_S, NS_PER_S),
    ), "the value that would speak for it is not in what is claimed"
    later = cover.record(2 * NS_PER_S + 20)
    assert later is not None
    assert later.behind == (Behind(*OTHER, NS_PER_S, 2 * NS_PER_S + 20),)


def test_a_first_value_at_the_moment_of_a_turn_is_the_new_terms_to_wait_for_again() -> None:
    cover = tracker(patience=10 * NS_PER_S)
    for key in (KEY, OTHER):
        cover.scanned(key, 1, NS_PER_S)
    cover.turn(2 * NS_PER_S)
    for key in (KEY, OTHER):
        cover.scanned(key, 2 * NS_PER_S + 5, 9 * NS_PER_S)
    between = cover.turn(2 * NS_PER_S + 5)
    assert between is not None and {own.through_ns for own in between.behind} == {NS_PER_S}
    new = cover.record(3 * NS_PER_S)
    assert new is not None and {own.through_ns for own in new.behind} == {NS_PER_S}
    cover.scanned(KEY, 3 * NS_PER_S, 9 * NS_PER_S)
    after = cover.record(4 * NS_PER_S)
    assert after is not None and after.behind[0] == Behind(*KEY, NS_PER_S, 4 * NS_PER_S)


def test_a_device_that_a_revision_changes_has_a_hole_from_where_it_was_claimed_last() -> None:
    cover = tracker(patience=10 * NS_PER_S)
    cover.scanned(KEY, 1, NS_PER_S)
    cover.scanned(OTHER, 1, NS_PER_S)
    assert cover.record(2 * NS_PER_S) is not None
    after = cover.succeed([(KEY, 10), (OTHER, 10 * NS_PER_S)], 8, [OTHER])
    record = after.record(2 * NS_PER_S + 10)
    assert holes(record) == [(NS_PER_S, 2 * NS_PER_S + 10, "starting")]
    assert holes(record, "rtu") == []
    assert record is not None and lagging(record) == {OTHER: NS_PER_S}


def test_records_come_each_quarter_of_a_second_and_each_second_while_they_name_many() -> None:
    keys = [(f"plc{number}", "fast") for number in range(BEHIND_MANY + 1)]
    cover = CoverageTracker([(key, 60 * NS_PER_S) for key in keys], 1, 0)
    for key in keys:
        cover.scanned(key, 1, NS_PER_S)
    assert cover.wait_ns(NS_PER_S // 10) == CLAIM_NS - NS_PER_S // 10
    assert cover.wait_ns(NS_PER_S) == CLAIM_NS
    assert cover.record(NS_PER_S) is not None
    assert cover.record(2 * NS_PER_S) is not None
    assert cover.wait_ns(2 * NS_PER_S + 1) == NS_PER_S - 1
    for key in keys:
        cover.scanned(key, 2 * NS_PER_S, 9 * NS_PER_S)
    cover.record(3 * NS_PER_S)
    cover.record(3 * NS_PER_S + 1)
    assert cover.wait_ns(3 * NS_PER_S + 1) == CLAIM_NS - 1


def test_a_key_that_is_late_beyond_its_patience_is_declared_and_the_others_go_on() -> None:
    cover = tracker(patience=50)
    cover.scanned(KEY, 1, 100)
    cover.scanned(OTHER, 1, 1000)
    record = cover.record(151)
    assert record is not None and record.through_ns == 151
    assert holes(record) == [(0, 1, "starting"), (100, 151, "overrun")]


def test_a_fault_opens_a_hole_where_the_key_was_complete_through() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 100)
    cover.failed(KEY, Cause.LINK, 120)
    assert cover.in_hole(KEY)
    assert holes(cover.record(300)) == [(0, 1, "starting"), (100, 300, "link")]
    cover.scanned(KEY, 350, 400)
    assert holes(cover.record(360)) == [(300, 350, "link")]


def test_a_hole_whose_cause_changes_is_two_holes() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 100)
    cover.failed(KEY, Cause.LINK, 120)
    cover.failed(KEY, Cause.LINK, 140)
    cover.failed(KEY, Cause.DISABLED, 160)
    assert holes(cover.record(200))[1:] == [(100, 160, "link"), (160, 200, "disabled")]


def test_a_slow_class_whose_next_instant_is_far_ends_when_the_loss_is_noticed() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 1000)
    cover.failed(KEY, Cause.LINK, 120)
    cover.scanned(KEY, 150, 1150)
    assert holes(cover.record(200)) == [(0, 1, "starting"), (120, 150, "link")]


def test_the_cause_of_an_open_hole_changes_from_then_on_when_the_moment_is_known() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 100)
    cover.failed(KEY, Cause.LINK, 110)
    cover.scanned(KEY, 150, 200)
    cover.failed_all(Cause.STORE, 180)
    cover.failed(KEY, Cause.CLOCK, 250)
    assert holes(cover.record(300)) == [
        (0, 1, "starting"),
        (100, 150, "link"),
        (180, 250, "store"),
        (250, 300, "clock"),
    ]


def test_skipped_instants_are_a_hole_of_their_own() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 500)
    cover.skipped(KEY, 200, 300, Cause.OVERRUN)
    cover.skipped(OTHER, 200, 300, Cause.OVERRUN)
    assert holes(cover.record(250)) == [(0, 1, "starting"), (200, 250, "overrun")]
    assert holes(cover.record(400)) == [(250, 300, "overrun")]


def test_the_number_of_holes_between_two_records_is_bounded_and_none_is_forgotten() -> None:
    cover = tracker()
    for start in range(0, 1000 * (HOLES_KEPT_MAX + 10), 1000):
        cover.scanned(KEY, start + 500, start + 600)
        cover.failed(KEY, Cause.DEVICE, start + 700)
    found = holes(cover.record(10**6))
    assert len(found) <= HOLES_KEPT_MAX + 2
    declared = sum(to - start for start, to, _ in found)
    assert declared >= 390 * (HOLES_KEPT_MAX + 9)


steps = st.lists(
    st.tuples(st.sampled_from(["good", "bad", "skip", "claim", "quiet"]), st.integers(1, 60)),
    max_size=60,
)


@given(steps)
def test_no_instant_is_claimed_that_no_scan_answered_for(events: list[tuple[str, int]]) -> None:
    """A dumb model: the set of instants that good scans proved, against all that was claimed."""
    cover = CoverageTracker([(KEY, 25)], 1, 0)
    now, proven, claimed, through = 0, set[int](), set[int](), 0
    for kind, elapsed in events:
        now += elapsed
        if kind == "good":
            end = now + 10
            start = through if not cover.in_hole(KEY) and through >= now - 25 else now
            proven |= set(range(start, end))
            cover.scanned(KEY, now, end)
            through = max(through, end)
        elif kind == "bad":
            cover.failed(KEY, Cause.DEVICE, now)
        elif kind == "skip":
            cover.skipped(KEY, now - 3, now, Cause.OVERRUN)
        elif kind == "claim" and (record := cover.record(now)) is not None:
            instants = set(range(record.since_ns, record.through_ns))
            for hole in record.holes:
                instants -= set(range(hole.from_ns, hole.to_ns))
            claimed |= instants
    assert claimed <= proven


MS = NS_PER_MS
KEYS = [("plc", "fast"), ("rtu", "slow"), ("srv", "subscription")]
lives = st.lists(
    st.tuples(
        st.sampled_from(["good", "good", "bad", "claim", "claim", "claim", "turn", "revision"]),
        st.sampled_from(KEYS),
        st.integers(1, 400),
    ),
    max_size=60,
)


def covered(told: list[tuple[Term, Coverage]], key: Key) -> dict[Term, list[tuple[int, int]]]:
    """What the records of all terms claim of a key, by the algebra that readers use."""
    runs: list[Run | OwnRun] = []
    found: list[Except] = []
    for term, record in told:
        stretch = (record.since_ns, record.through_ns)
        runs.append(Run(term, record.revision, *stretch))
        runs += [
            OwnRun(
                term, record.revision, b.device, b.scan_class, *stretch, b.since_ns, b.through_ns
            )
            for b in record.behind
        ]
        found += [
            Except(term, h.device, h.scan_class, cause_of(h.cause), h.from_ns, h.to_ns)
            for h in record.holes
        ]
    return streams(runs, found, *key)


@given(lives)
def test_each_key_is_claimed_where_it_is_proven_once_and_is_told_of_without_a_break(
    events: list[tuple[str, Key, int]],
) -> None:
    """A dumb model in whole milliseconds: what good scans proved, and how far each key was told."""
    cover = CoverageTracker([(key, 900 * MS) for key in KEYS], 1, 0)
    now, number, revision = 0, 1, 1
    proven = {key: set[int]() for key in KEYS}
    learned: dict[tuple[int, Key], list[tuple[int, set[int]]]] = {}
    ends = dict.fromkeys(KEYS, 0)
    told: list[tuple[Term, Coverage]] = []
    for kind, key, elapsed in events:
        now += elapsed
        if kind == "good":
            begin = now if cover.in_hole(key) or now - ends[key] > 900 else ends[key]
            new = set(range(begin, now + 150)) - proven[key]
            proven[key] |= new
            learned.setdefault((number, key), []).append((now, new))
            cover.scanned(key, now * MS, (now + 150) * MS)
            ends[key] = max(ends[key], now + 150)
        elif kind == "bad":
            cover.failed(key, Cause.DEVICE, now * MS)
        elif kind == "revision":
            revision += 1
            cover = cover.succeed(
                [(k, 900 * MS) for k in KEYS], revision, [k for k in KEYS if k != key]
            )
        else:
            record = cover.turn(now * MS) if kind == "turn" else cover.record(now * MS)
            if record is not None:
                told.append((Term(number, "a", number), record))
                assert len(record.behind) <= len(KEYS)
                assert record.through_ns >= (now - 100) * MS
            number += kind == "turn"
    behind = lagging(told[-1][1]) if told else {}
    for key in KEYS:
        by_term = covered(told, key)
        claimed: list[int] = []
        for term, parts in by_term.items():
            claimed += [t for start, end in parts for t in range(start // MS, end // MS)]
            of_term = learned.get((term.number, key), [])
            for start, end in parts:
                stretch = set(range(start // MS, end // MS))
                if any(new & stretch for _, new in of_term):
                    assert stretch & {at for at, _ in of_term}, "no value speaks for it"
        assert len(claimed) == len(set(claimed)), "two terms claimed the same"
        assert set(claimed) <= proven[key]
        excepted = {
            t
            for _, record in told
            for h in record.holes
            if (h.device, h.scan_class) == key
            for t in range(h.from_ns // MS, h.to_ns // MS)
        }
        end = behind.get(key, cover.through_ns) // MS
        assert set(claimed) | excepted == set(range(end))
