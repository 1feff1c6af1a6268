"""Where a device may have a gap: never less than it has, and no more where all is plain."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.coverage import (
    Except,
    OwnRun,
    Ruled,
    Run,
    cause_of,
    gaps,
    is_in,
    subtract,
    union,
)
from gateway.journal.outline import HOUR_NS, Outline, Unsettled
from gateway.journal.records import Batch, Behind, Coverage, Hole
from gateway.model import Term

END = 40
TERMS = [Term(1, "a", 1), Term(2, "a", 9), Term(2, "b", 5)]

instants = st.integers(0, END)
holes = st.lists(
    st.builds(
        Hole,
        st.just("plc1"),
        st.sampled_from(["fast", "slow"]),
        instants,
        instants,
        st.just("link"),
    ),
    max_size=2,
)
behind = st.lists(
    st.builds(Behind, st.just("plc1"), st.sampled_from(["fast", "slow"]), instants, instants),
    max_size=2,
)
records = st.lists(
    st.tuples(
        st.sampled_from(TERMS),
        st.builds(
            Coverage,
            st.integers(1, 2),
            instants,
            instants,
            holes.map(tuple),
            behind.map(tuple),
        ),
    ),
    max_size=8,
)
rulings = st.lists(
    st.builds(
        Ruled, st.sampled_from(TERMS), st.sampled_from(TERMS), instants, instants, st.booleans()
    ),
    max_size=2,
)


def has_device(key: tuple[Term, int]) -> bool:
    return key[1] == 1


@given(records, rulings, instants, instants, st.randoms())
def test_every_gap_is_in_doubt_whatever_the_order_of_records_and_files(
    told: list[tuple[Term, Coverage]],
    ruling_list: list[Ruled],
    start: int,
    end: int,
    rng: Any,
) -> None:
    runs: list[Run | OwnRun] = []
    excepts: list[Except] = []
    for term, r in told:
        stretch = (r.since_ns, r.through_ns)
        runs.append(Run(term, r.revision, *stretch))
        runs += [
            OwnRun(term, r.revision, b.device, b.scan_class, *stretch, b.since_ns, b.through_ns)
            for b in r.behind
        ]
        excepts += [
            Except(term, h.device, h.scan_class, cause_of(h.cause), h.from_ns, h.to_ns)
            for h in r.holes
        ]
    outlines, unsettled = [Outline(), Outline()], Unsettled()
    rng.shuffle(told)
    window = (start, end)
    for term, r in told:
        rng.choice(outlines).hear(term, r)
        # What was put together before must not be taken for what is known now.
        unsettled.of("plc1", outlines, window, {}, has_device, 1, ruling_list)
    doubts, _ = unsettled.of("plc1", outlines, window, {}, has_device, 1, ruling_list)
    assert doubts == union(doubts)
    assert all(start <= a < b <= end for a, b in doubts)
    for scan_class in ("fast", "slow"):
        missing = gaps(
            "plc1",
            scan_class,
            window,
            runs,
            excepts,
            configured=lambda term, revision: revision == 1,
            rulings=ruling_list,
        )
        assert subtract([(g.from_ns, g.to_ns) for g in missing], doubts) == []


@given(st.lists(st.tuples(st.sampled_from(TERMS), instants, instants), max_size=8))
def test_where_records_except_nothing_only_gaps_are_in_doubt(
    told: list[tuple[Term, int, int]],
) -> None:
    outline, unsettled = Outline(), Unsettled()
    for term, since, through in told:
        outline.hear(term, Coverage(1, since, through))
    doubts, _ = unsettled.of("plc1", [outline], (0, END), {}, has_device, 1)
    covered = union((since, through) for _, since, through in told)
    ends = [(end, end + 1) for _, end in subtract([(0, END)], covered) if end < END]
    assert doubts == union([*subtract([(0, END)], covered), *ends])


def test_a_run_that_grows_leaves_what_was_known_and_its_end_counts() -> None:
    outline, unsettled, term = Outline(), Unsettled(), TERMS[0]
    outline.hear(term, Coverage(1, 0, 10))
    outline.hear(term, Coverage(1, 20, 30))
    version = outline.version
    assert unsettled.of("plc1", [outline], (0, 50), {}, has_device, 1)[0] == [(10, 21), (30, 50)]
    outline.hear(term, Coverage(1, 30, 40))
    outline.hear(term, Batch("plc1", "fast", 1, 0, 40, 40, ()))
    assert outline.version == version
    assert unsettled.of("plc1", [outline], (0, 50), {}, has_device, 1)[0] == [(10, 21), (40, 50)]
    assert unsettled.of("plc1", [outline], (0, 40), {}, has_device, 1)[0] == [(10, 21)]
    lacks, _ = unsettled.of("plc1", [outline], (0, 50), {}, lambda key: False, 2)
    assert lacks == [(0, 50)], "another revision came to be known"


def test_who_is_behind_and_catches_up_leaves_no_doubt() -> None:
    outline, unsettled, term = Outline(), Unsettled(), TERMS[0]

    def told(since: int, through: int, own_since: int, own_through: int) -> list[tuple[int, int]]:
        own = Behind("plc1", "fast", own_since, own_through)
        outline.hear(term, Coverage(1, since, through, (), (own,)))
        return unsettled.of("plc1", [outline], (0, through), {}, has_device, 1)[0]

    assert told(0, 10, 0, 4) == [(4, 10)]
    assert told(10, 20, 4, 6) == [(6, 20)]
    assert outline.doubts("plc1", {"fast": 6}) == [], "it is merely late"
    assert told(20, 30, 6, 30) == []
    assert told(30, 40, 30, 35) == [(35, 40)]
    assert told(40, 50, 45, 50) == [(35, 46)], "nobody says what it was in the meantime"


def test_what_is_excepted_is_one_stretch_an_hour() -> None:
    outline = Outline()
    hours = [(0, 5), (30, 40), (HOUR_NS + 1, HOUR_NS + 2), (7, 7)]
    for start, end in hours:
        outline.excepted("plc1", start, end)
    assert outline.doubts("plc1") == [(0, 40), (HOUR_NS + 1, HOUR_NS + 2)]
    assert outline.doubts("plc2") == []
    assert not is_in(outline.doubts("plc1"), 50)
