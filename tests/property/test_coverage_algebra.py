"""The interval algebra against sets of whole instants, which are too dumb to be wrong."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.coverage import (
    Except,
    Interval,
    Lost,
    OwnRun,
    Ruled,
    Run,
    cause_of,
    complete_ns,
    cut,
    gaps,
    intersect,
    is_in,
    lagging,
    oldest_ns,
    shrink,
    streams,
    subtract,
    union,
    unite,
    withdrawn,
)
from gateway.journal.records import Behind, Coverage
from gateway.model import Cause, Term

END = 40
TERMS = [Term(1, "a", 1), Term(2, "a", 9), Term(2, "b", 5), Term(3, "b", 2)]

instants = st.integers(0, END)
intervals = st.lists(st.tuples(instants, instants), max_size=8)
shared_runs = st.builds(Run, st.sampled_from(TERMS), st.integers(1, 2), instants, instants)
own_runs = st.builds(
    OwnRun,
    st.sampled_from(TERMS),
    st.integers(1, 2),
    st.just("plc1"),
    st.sampled_from(["fast", "slow"]),
    instants,
    instants,
    instants,
    instants,
)
runs = st.lists(shared_runs | own_runs, max_size=8)
holes = st.lists(
    st.builds(
        Except,
        st.sampled_from(TERMS),
        st.just("plc1"),
        st.sampled_from(["fast", "slow"]),
        st.sampled_from([Cause.LINK, Cause.DEVICE, Cause.STORE]),
        instants,
        instants,
    ),
    max_size=6,
)
losses = st.lists(
    st.builds(Lost, st.sampled_from([Cause.CLOCK, Cause.STORE]), instants, instants), max_size=3
)
rulings = st.lists(
    st.builds(
        Ruled, st.sampled_from(TERMS), st.sampled_from(TERMS), instants, instants, st.booleans()
    ),
    max_size=3,
)


def points(parts: Any) -> set[int]:
    return {t for start, end in parts for t in range(start, end)}


def is_tidy(parts: list[Interval]) -> bool:
    return all(s < e for s, e in parts) and all(a[1] < b[0] for a, b in pairwise(parts))


@given(intervals)
def test_a_union_holds_the_same_instants_and_is_tidy(parts: list[Interval]) -> None:
    assert points(union(parts)) == points(parts)
    assert is_tidy(union(parts))


@given(intervals, intervals)
def test_subtracting_and_intersecting_are_those_of_sets(
    left: list[Interval], right: list[Interval]
) -> None:
    a, b = union(left), union(right)
    assert points(subtract(a, b)) == points(a) - points(b)
    assert points(intersect(a, b)) == points(a) & points(b)
    assert is_tidy(subtract(a, b))


@given(intervals, st.integers(0, 4))
def test_shrinking_takes_the_margin_off_both_ends(parts: list[Interval], margin: int) -> None:
    whole = union(parts)
    expected = {
        t
        for start, end in whole
        for t in range(start, end)
        if t - margin >= start and t + margin < end
    }
    assert points(shrink(whole, margin)) == expected


def has_plc1(term: Term, revision: int) -> bool:
    return revision == 1


def claims_of(term: Term, run_list: list[Run | OwnRun], revisions: tuple[int, ...]) -> set[int]:
    """What a term's runs claim for the fast class of plc1, by looking at everything."""
    found: set[int] = set()
    mine = [run for run in run_list if run.term == term and run.revision in revisions]
    own = [run for run in mine if isinstance(run, OwnRun) and run.scan_class == "fast"]
    for run in mine:
        if isinstance(run, Run):
            found |= set(range(run.since_ns, run.through_ns))
    for run in own:
        found -= set(range(run.from_ns, run.to_ns))
    for run in own:
        found |= set(range(run.since_ns, run.through_ns))
    return found


@given(runs, holes, losses, instants, instants, st.none() | instants, st.randoms())
def test_gaps_are_what_no_term_covers_whatever_the_order_of_arrival(
    run_list: list[Run | OwnRun],
    hole_list: list[Except],
    loss_list: list[Lost],
    start: int,
    end: int,
    floor: int | None,
    rng: Any,
) -> None:
    covered: set[int] = set()
    for term in TERMS:
        claimed = claims_of(term, run_list, (1,))
        for h in hole_list:
            if h.term == term and h.scan_class == "fast":
                claimed -= set(range(h.from_ns, h.to_ns))
        covered |= claimed
    if floor is not None:
        covered -= set(range(floor))
    expected = set(range(start, end)) - covered

    def ask() -> list[Any]:
        return gaps("plc1", "fast", (start, end), run_list, hole_list, loss_list, floor, has_plc1)

    found = ask()
    assert points((g.from_ns, g.to_ns) for g in found) == expected
    for gap in found:
        for t in range(gap.from_ns, gap.to_ns):
            assert gap.cause is dumb_cause(t, run_list, hole_list, loss_list, floor)
    for one, other in pairwise(found):
        assert one.to_ns < other.from_ns or one.cause is not other.cause
    for items in (run_list, hole_list, loss_list):
        rng.shuffle(items)
    assert ask() == found


def dumb_cause(
    t: int,
    run_list: list[Run | OwnRun],
    hole_list: list[Except],
    loss_list: list[Lost],
    floor: int | None,
) -> Cause:
    """The cause of an uncovered instant, by looking at everything."""
    order = list(Cause)
    if floor is not None and t < floor:
        return Cause.RETENTION
    told = [
        ((h.term.number, h.term.nonce, order.index(h.cause)), h.cause)
        for h in hole_list
        if h.scan_class == "fast" and h.from_ns <= t < h.to_ns
    ]
    told += [
        ((r.term.number, r.term.nonce, order.index(Cause.DISABLED)), Cause.DISABLED)
        for r in run_list
        if isinstance(r, Run) and r.revision != 1 and r.since_ns <= t < r.through_ns
    ]
    if told:
        return max(told)[1]
    lost = [order.index(x.cause) for x in loss_list if x.from_ns <= t < x.to_ns]
    return order[max(lost)] if lost else Cause.NODE_DOWN


@given(runs, holes, st.integers(0, 3))
def test_several_writers_are_shrunk_before_they_are_united_one_is_not(
    run_list: list[Run | OwnRun], hole_list: list[Except], margin: int
) -> None:
    by_term = streams(run_list, hole_list, "plc1", "fast")
    alone = {term: parts for term, parts in by_term.items() if term.node == "a"}
    assert unite(alone, margin) == union(i for parts in alone.values() for i in parts)
    if {term.node for term in by_term} == {"a", "b"}:
        expected: set[int] = set()
        for node in "ab":
            parts = union(i for t, ps in by_term.items() if t.node == node for i in ps)
            expected |= points(shrink(parts, margin))
        assert points(unite(by_term, margin)) == expected


def test_a_cause_of_a_later_version_counts_as_the_devices() -> None:
    assert cause_of("link") is Cause.LINK
    assert cause_of("gremlins") is Cause.DEVICE


@given(runs, holes, rulings, instants, instants, st.randoms())
def test_what_a_ruling_discards_is_the_losers_gap_unless_another_covers_it(
    run_list: list[Run | OwnRun],
    hole_list: list[Except],
    ruling_list: list[Ruled],
    start: int,
    end: int,
    rng: Any,
) -> None:
    out: dict[Term, set[int]] = {}
    for ruled in ruling_list:
        if ruled.discard:
            out.setdefault(ruled.loser, set()).update(range(ruled.from_ns, ruled.to_ns))
    assert {t: points(i) for t, i in withdrawn(ruling_list).items()} == {
        t: i for t, i in out.items() if i
    }
    before = streams(run_list, hole_list, "plc1", "fast")
    after = streams(run_list, hole_list, "plc1", "fast", rulings=ruling_list)
    gone: dict[Term, set[int]] = {}
    for term in TERMS:
        expected = set()
        for first, last in before.get(term, []):
            # What follows a stretch that was taken out has no beginning to stand on.
            cut = min((t for t in out.get(term, ()) if first <= t < last), default=last)
            expected |= set(range(first, cut))
        assert points(after.get(term, [])) == expected
        gone[term] = points(before.get(term, [])) - expected
        assert {t for t in range(END + 1) if is_in(after.get(term, []), t)} == expected
    covered = {t for parts in after.values() for t in points(parts)}

    def ask() -> list[Any]:
        window = (start, end)
        return gaps("plc1", "fast", window, run_list, hole_list, rulings=ruling_list)

    found = ask()
    assert points((g.from_ns, g.to_ns) for g in found) == set(range(start, end)) - covered
    holes_of = [h for h in hole_list if h.scan_class == "fast"]
    for gap in found:
        for t in range(gap.from_ns, gap.to_ns):
            ruled_out = any(t in lost for lost in gone.values())
            excepted = any(h.from_ns <= t < h.to_ns for h in holes_of)
            if not excepted:
                assert gap.cause is (Cause.OTHER_MASTER if ruled_out else Cause.NODE_DOWN)
    for items in (run_list, hole_list, ruling_list):
        rng.shuffle(items)
    assert ask() == found


steps = st.lists(st.tuples(st.integers(1, 6), st.none() | st.integers(0, 6)), max_size=8)


def records_of(told: list[tuple[int, int | None]]) -> list[Coverage]:
    """The records of a term in which one class is behind at times, by so much."""
    found: list[Coverage] = []
    since = own = 0
    for length, lag in told:
        through = since + length
        end = max(own, through - (lag or 0))
        behind = () if (own, end) == (since, through) else (Behind("plc1", "fast", own, end),)
        found.append(Coverage(1, since, through, (), behind))
        since, own = through, end
    return found


@given(steps, st.sets(st.integers(0, 7)), st.randoms())
def test_a_class_is_claimed_what_the_records_that_came_say_and_nothing_of_those_that_did_not(
    told: list[tuple[int, int | None]], missing: set[int], rng: Any
) -> None:
    records = [r for number, r in enumerate(records_of(told)) if number not in missing]
    expected = {
        "fast": {
            t
            for r in records
            for own in r.behind or (Behind("plc1", "fast", r.since_ns, r.through_ns),)
            for t in range(own.since_ns, own.through_ns)
        },
        "slow": {t for r in records for t in range(r.since_ns, r.through_ns)},
    }
    rng.shuffle(records)
    term = TERMS[0]
    found: list[Run | OwnRun] = []
    for r in records:
        found.append(Run(term, 1, r.since_ns, r.through_ns))
        found += [
            OwnRun(
                term, 1, o.device, o.scan_class, r.since_ns, r.through_ns, o.since_ns, o.through_ns
            )
            for o in r.behind
        ]
    for scan_class, instants_claimed in expected.items():
        assert points(unite(streams(found, [], "plc1", scan_class))) == instants_claimed


@given(steps, instants)
def test_a_record_is_cut_for_every_class_and_says_how_far_it_reaches(
    told: list[tuple[int, int | None]], from_ns: int
) -> None:
    for record in records_of(told):
        own = record.behind[0] if record.behind else None
        stretches = [(record.since_ns, record.through_ns)]
        stretches += [(own.since_ns, own.through_ns)] if own else []
        assert oldest_ns(record) == min(since for since, _ in stretches)
        assert complete_ns(record) == min(through for _, through in stretches)
        late = own is not None and own.through_ns < record.through_ns
        assert lagging(record) == ({("plc1", "fast"): complete_ns(record)} if late else {})
        after = cut(record, from_ns)
        left = [(after.since_ns, after.through_ns)]
        left += [(o.since_ns, o.through_ns) for o in after.behind]
        assert [e for _, e in left] == [e for _, e in stretches]
        for before, now in zip(stretches, left, strict=True):
            assert points([now]) == {t for t in points([before]) if t >= from_ns}
