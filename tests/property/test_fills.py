"""What windback made of the gaps, against a model that looks at each instant and point."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.coverage import Ruled, union, withdrawn
from gateway.journal.fills import (
    DROPPED,
    SPOKEN,
    Judged,
    Missing,
    Written,
    judged,
    kind_of,
    missing,
    states,
)
from gateway.journal.records import Fill
from gateway.model import Cause, Gap, GapState, Position, Term

END = 30
TERMS = [Term(1, "a", 1), Term(2, "a", 9), Term(2, "b", 5), Term(3, "b", 2)]
POINTS = ["flow", "level", "temp"]
BEST = [GapState.OPEN, GapState.LOST, GapState.COARSE, GapState.FILLED]

instants = st.integers(0, END)


class Told(NamedTuple):
    term: Term
    scan_class: str
    from_ns: int
    to_ns: int
    kind: str
    points: tuple[str, ...]
    why: str
    resolution: int
    unsure: int


told = st.lists(
    st.builds(
        Told,
        st.sampled_from(TERMS),
        st.sampled_from(["fast", "fast", "slow"]),
        instants,
        instants,
        st.sampled_from(["open", "lost", "coarse", "filled", "filled"]),
        st.sampled_from([("flow",), ("flow", "level"), ("level", "temp"), tuple(POINTS)]),
        st.sampled_from(["", "overwritten", "cleared"]),
        st.integers(0, 2),
        st.integers(-1, 2),
    ),
    max_size=8,
)
gaps = st.lists(
    st.builds(
        lambda start, end, cause: Gap("plc1", "fast", start, end, cause),
        instants,
        instants,
        st.sampled_from([Cause.LINK, Cause.NODE_DOWN, Cause.RETENTION]),
    ),
    max_size=3,
)
rulings = st.lists(
    st.builds(
        Ruled, st.sampled_from(TERMS), st.sampled_from(TERMS), instants, instants, st.booleans()
    ),
    max_size=2,
)


def written(items: list[Told]) -> list[Written]:
    return [
        Written(
            Position(t.term, seq),
            Fill(
                *("plc1", t.scan_class, "log", *t[2:6], 0, t.why, t.resolution),
                uncertainty_ns=t.unsure,
            ),
        )
        for seq, t in enumerate(items, 1)
    ]


def dumb(
    fills: list[Written], point: str, at: int, out: dict[Term, Any]
) -> tuple[GapState, Term, str, int, int] | None:
    """What counts of one point at one instant, by looking at everything."""
    told = [
        (
            BEST.index(GapState(f.kind)),
            p.term.number,
            p.term.nonce,
            p.seq,
            f.why,
            p.term,
            f.resolution_ns,
            f.uncertainty_ns,
        )
        for p, f in fills
        if point in f.points
        and f.from_ns <= at < f.to_ns
        and not any(s <= at < e for s, e in out.get(p.term, ()))
    ]
    if not told:
        return None
    kind, *_, why, term, resolution, unsure = max(told)
    return BEST[kind], term, why, resolution, unsure


def disjoint(gap_list: list[Gap]) -> list[Gap]:
    """As coverage gives them: in order, and one at an instant."""
    found: list[Gap] = []
    for gap in sorted(g for g in gap_list if g.from_ns < g.to_ns):
        if not found or gap.from_ns >= found[-1].to_ns:
            found.append(gap)
    return found


@given(told, gaps, rulings, st.randoms())
def test_a_gap_is_as_bad_as_its_worst_point_whatever_the_order_of_arrival(
    items: list[Told], gap_list: list[Gap], ruling_list: list[Ruled], rng: Any
) -> None:
    fills, holes, out = written(items), disjoint(gap_list), withdrawn(ruling_list)
    found = states(holes, fills, out)
    assert union((g.from_ns, g.to_ns) for g in found) == union((g.from_ns, g.to_ns) for g in holes)
    own = [item for item in fills if item.fill.scan_class == "fast"]
    for gap in found:
        whole = next(g for g in holes if g.from_ns <= gap.from_ns < g.to_ns)
        assert gap.to_ns <= whole.to_ns
        assert gap[:2] == whole[:2] and gap.cause is whole.cause
        for at in range(gap.from_ns, gap.to_ns):
            by_point = {p: d for p in POINTS if (d := dumb(own, p, at, out)) is not None}
            if gap.cause is Cause.RETENTION:
                assert (gap.state, gap.why, gap.points) == (GapState.LOST, DROPPED, ())
            elif not by_point:
                assert (gap.state, gap.why, gap.points) == (GapState.OPEN, "", ())
            else:
                state = min((d[0] for d in by_point.values()), key=BEST.index)
                worst = [p for p, d in by_point.items() if d[0] is state]
                assert gap.state is state
                assert gap.points == (() if len(worst) == len(by_point) else tuple(worst))
                coarse = [d[3] for d in by_point.values() if d[0] is GapState.COARSE]
                assert gap.resolution_ns == max(coarse, default=0)
                unsure = [d[4] for d in by_point.values() if d[0] in SPOKEN]
                told_of = [f.uncertainty_ns for _, f in own]
                assert max(unsure, default=0) <= gap.uncertainty_ns <= max(0, *told_of)
                assert gap.why == "; ".join(sorted({by_point[p][2] for p in worst} - {""}))
    for one, other in pairwise(found):
        whole = next(g for g in holes if g.from_ns <= one.from_ns < g.to_ns)
        same = one.to_ns == other.from_ns < whole.to_ns and one[4:-1] == other[4:-1]
        assert not same, "cut only where something changes"
    rng.shuffle(fills)
    assert states(holes, fills, out) == found


@given(told, rulings, st.randoms())
def test_of_one_point_the_best_kind_counts_and_then_the_higher_term(
    items: list[Told], ruling_list: list[Ruled], rng: Any
) -> None:
    fills, out = written(items), withdrawn(ruling_list)
    for point in POINTS:
        found = judged(fills, point, out)
        at_each = {t: part[2:] for part in found for t in range(part.from_ns, part.to_ns)}
        told = {t: d for t in range(END + 1) if (d := dumb(fills, point, t, out)) is not None}
        assert {t: part[:-1] for t, part in at_each.items()} == {t: d[:-1] for t, d in told.items()}
        for part in found:  # parts that are otherwise alike are as unsure as the worst of them
            worst = max(max(0, told[t][4]) for t in range(part.from_ns, part.to_ns))
            assert part.uncertainty_ns == worst
        assert sum(p.to_ns - p.from_ns for p in found) == len(at_each)
        for one, other in pairwise(found):
            assert one.to_ns <= other.from_ns
            assert one.to_ns < other.from_ns or one[2:-1] != other[2:-1]
        rng.shuffle(fills)
        assert judged(fills, point, out) == found


def test_where_fills_of_several_terms_overlap_the_best_kind_then_the_higher_term_speaks() -> None:
    low, high = TERMS[0], TERMS[3]
    fills = [
        Written(Position(low, 7), Fill("d", "c", "log", 0, 20, "filled", ("p",), 1)),
        Written(Position(high, 3), Fill("d", "c", "log", 5, 10, "filled", ("p",), 2)),
        Written(Position(high, 4), Fill("d", "c", "log", 15, 30, "coarse", ("p",), 2, "60 s", 60)),
    ]
    assert judged(fills, "p") == [
        Judged(0, 5, GapState.FILLED, low, "", 0, 0),
        Judged(5, 10, GapState.FILLED, high, "", 0, 0),
        Judged(10, 20, GapState.FILLED, low, "", 0, 0),
        Judged(20, 30, GapState.COARSE, high, "60 s", 60, 0),
    ]
    assert judged(fills, "q") == []
    gap = Gap("d", "c", 2, 40, Cause.LINK)
    assert states([gap], fills) == [
        gap._replace(to_ns=20, state=GapState.FILLED),
        gap._replace(from_ns=20, to_ns=30, state=GapState.COARSE, why="60 s", resolution_ns=60),
        gap._replace(from_ns=30),
    ]


def test_what_nothing_was_judged_of_is_open_before_between_and_after() -> None:
    term = TERMS[0]
    fills = [
        Written(Position(term, seq), Fill("d", "c", "log", start, start + 5, "filled", ("p",), 1))
        for seq, start in ((1, 10), (2, 20))
    ]
    gap = Gap("d", "c", 2, 40, Cause.LINK)
    found = [(piece.from_ns, piece.to_ns, piece.state.value) for piece in states([gap], fills)]
    assert found == [
        (2, 10, "open"),
        (10, 15, "filled"),
        (15, 20, "open"),
        (20, 25, "filled"),
        (25, 40, "open"),
    ]


def test_stretches_of_one_state_that_meet_are_one() -> None:
    told = [Judged(0, 5, GapState.FILLED, TERMS[0], "", 0, 0)]
    told.append(told[0]._replace(from_ns=5, to_ns=8, why="read again"))
    assert missing([(2, 9)], told) == [
        Missing(2, 8, GapState.FILLED, TERMS[0]),
        Missing(8, 9, GapState.OPEN),
    ]


def test_a_kind_of_a_later_version_tells_nothing() -> None:
    assert kind_of("guessed") is GapState.OPEN
    assert kind_of("filling") is GapState.OPEN
    assert kind_of("coarse") is GapState.COARSE
