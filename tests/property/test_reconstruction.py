"""Reconstruction against a list scan: at each instant one stream speaks, or nobody does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.coverage import Interval, Ruled, union
from gateway.journal.reconstruct import Reconstruction, Restated, reading_order, shown_order
from gateway.model import HistoryRow, Origin, Position, Status, Term

END = 24
TERMS = [Term(1, "a", 1), Term(2, "a", 9), Term(2, "b", 5)]
instants = st.integers(0, END)


@st.composite
def row(draw: st.DrawFn) -> HistoryRow:
    time_ns = draw(instants)
    return HistoryRow(
        time_ns,
        draw(st.integers(0, 99)),
        0,
        time_ns + draw(st.integers(0, 3)),
        draw(st.sampled_from([Origin.POLL, Origin.POLL, Origin.WINDBACK])),
        Position(draw(st.sampled_from(TERMS)), draw(st.integers(1, 50))),
    )


rows = st.lists(row(), max_size=12, unique_by=lambda r: r.position).map(
    lambda items: sorted(items, key=reading_order)
)
cover = st.dictionaries(
    st.sampled_from(TERMS),
    st.lists(st.tuples(instants, instants), max_size=4).map(union),
)
rulings = st.lists(
    st.builds(
        Ruled, st.sampled_from(TERMS), st.sampled_from(TERMS), instants, instants, st.just(False)
    ).filter(lambda r: r.winner != r.loser),
    max_size=3,
)
Cover = dict[Term, list[Interval]]


def dumb(
    given_rows: list[HistoryRow], by_term: Cover, t: int, ruled: list[Ruled]
) -> tuple[HistoryRow, bool] | None:
    """The rule as it is written down, by looking at everything."""
    covering = [
        (term.number, term.nonce, term, start, end)
        for term, parts in by_term.items()
        for start, end in parts
        if start <= t < end
    ]
    if covering:
        terms = {entry[2] for entry in covering}
        beaten = {r.loser for r in ruled if r.from_ns <= t < r.to_ns and r.winner in terms}
        *_, term, start, end = max([e for e in covering if e[2] not in beaten] or covering)
        own = [
            r
            for r in given_rows
            if r.position.term == term and r.origin is Origin.POLL and r.received_ns >= start
        ]
        before = [r for r in own if r.time_ns <= t]
        if before:
            return before[-1], False
        opening = [r for r in own if t < r.time_ns < end]
        return (opening[0], False) if opening else None
    wound = [r for r in given_rows if r.origin is Origin.WINDBACK and r.time_ns <= t]
    if not wound:
        return None
    parts = [i for ps in by_term.values() for i in ps]
    between = range(wound[-1].time_ns, t)
    if any(start <= x < end for x in between for start, end in parts):
        return None
    return wound[-1], True


@given(rows, cover, rulings, st.randoms())
def test_the_value_in_force_is_that_of_the_one_covering_stream(
    given_rows: list[HistoryRow], by_term: Cover, ruled: list[Ruled], rng: Any
) -> None:
    reconstruction = Reconstruction(given_rows, by_term, ruled)
    turned = list(by_term.items())
    rng.shuffle(turned)
    other = Reconstruction(given_rows, dict(turned), ruled[::-1])
    for t in range(-1, END + 3):
        held = reconstruction.at(t)
        assert (None if held is None else tuple(held)) == dumb(given_rows, by_term, t, ruled)
        assert other.at(t) == held, "whatever the order of arrival"


@given(rows, cover, rulings, instants, instants)
def test_the_raw_view_holds_every_observation_and_read_as_steps_says_what_held(
    given_rows: list[HistoryRow], by_term: Cover, ruled: list[Ruled], start: int, cut: int
) -> None:
    reconstruction = Reconstruction(given_rows, by_term, ruled)
    view = reconstruction.raw_view(-1, END + 3)
    assert view == sorted(view, key=shown_order)
    assert [row for row in view if not isinstance(row, Restated)] == [
        r
        for r in given_rows
        if r.origin is not Origin.WINDBACK or reconstruction.speaker(r.time_ns) is None
    ]
    for t in range(-1, END + 3):
        held = reconstruction.at(t)
        if held is not None and held.row.time_ns <= t:
            step = [row for row in view if row.time_ns <= t][-1]
            assert (step.value, step.status) == (held.row.value, held.row.status)
    for row in view:
        if isinstance(row, Restated):
            held = reconstruction.at(row.time_ns)
            assert held is not None
            assert row == held.row._replace(time_ns=row.time_ns)
    low, high = sorted((start, cut))
    parts = [(-1, low), (low, high), (high, END + 3)]
    assert [row for part in parts for row in reconstruction.raw_view(*part)] == view


def shown_values(reconstruction: Reconstruction, from_ns: int, to_ns: int) -> list[tuple[int, Any]]:
    return [(row.time_ns, row.value) for row in reconstruction.raw_view(from_ns, to_ns)]


@given(rows, st.lists(st.tuples(instants, instants), max_size=4).map(union))
def test_one_stream_alone_is_shown_as_it_is(
    given_rows: list[HistoryRow], covered: list[Interval]
) -> None:
    """As it is journalled: each interval begins with a sample of its own, and order is kept."""
    term = TERMS[0]
    alone = [
        r._replace(position=Position(term, n), received_ns=r.time_ns, origin=Origin.POLL)
        for n, r in enumerate(given_rows)
    ]
    begun = [
        HistoryRow(s, 7, 0, s, Origin.POLL, Position(term, 100 + n))
        for n, (s, _) in enumerate(covered)
    ]
    whole = sorted([*alone, *begun], key=reading_order)
    view = Reconstruction(whole, {term: covered}).raw_view(-1, END + 3)
    assert view == whole
    assert not any(isinstance(row, Restated) for row in view)


def test_where_the_higher_stream_ends_the_other_is_restated() -> None:
    low, high = TERMS[0], TERMS[1]
    history = [
        HistoryRow(1, 10, 0, 1, Origin.POLL, Position(low, 1)),
        HistoryRow(3, 20, 0, 3, Origin.POLL, Position(high, 1)),
    ]
    reconstruction = Reconstruction(history, {low: [(0, 10)], high: [(3, 6)]})
    assert shown_values(reconstruction, 0, 10) == [(1, 10), (3, 20), (6, 10)]
    assert len(reconstruction.raw_view(0, 20)) == 3, "where all end, nothing is restated"


def test_a_node_without_its_field_hides_nothing_of_the_other() -> None:
    low, high = TERMS[0], TERMS[1]
    bad = HistoryRow(3, None, Status.BAD_NO_COMMUNICATION, 3, Origin.POLL, Position(high, 1))
    history = [HistoryRow(1, 10, 0, 1, Origin.POLL, Position(low, 1)), bad]
    reconstruction = Reconstruction(history, {low: [(0, 10)]})
    assert shown_values(reconstruction, 0, 10) == [(1, 10), (3, None), (3, 10)]
    shown = reconstruction.raw_view(0, 10)[-1]
    assert shown == history[0]._replace(time_ns=3), "with its own receipt and position"
    same = Reconstruction([history[0], bad._replace(value=10, status=0)], {low: [(0, 10)]})
    assert shown_values(same, 0, 10) == [(1, 10), (3, 10)], "who says the same hides nothing"


def test_a_value_with_an_old_stamp_is_restated_where_its_interval_begins() -> None:
    term = TERMS[0]
    old = HistoryRow(3, 10, 0, 6, Origin.POLL, Position(term, 2))
    bad = HistoryRow(5, None, Status.BAD_NO_COMMUNICATION, 5, Origin.POLL, Position(term, 1))
    reconstruction = Reconstruction([old, bad], {term: [(6, 12)]})
    assert shown_values(reconstruction, 0, 12) == [(3, 10), (5, None), (6, 10)]


def test_an_interval_speaks_only_by_what_was_learned_since_it_began() -> None:
    term = TERMS[0]
    stale = HistoryRow(1, 10, 0, 1, Origin.POLL, Position(term, 1))
    held_back = HistoryRow(7, 15, 0, 3, Origin.POLL, Position(term, 2))
    fresh = HistoryRow(8, 20, 0, 8, Origin.POLL, Position(term, 3))
    ahead = HistoryRow(30, 30, 0, 30, Origin.POLL, Position(term, 4))
    whole = Reconstruction([stale, held_back, fresh, ahead], {term: [(0, 4), (6, 12)]})
    opening = whole.at(6)
    assert opening is not None
    assert opening.row is fresh, "stamped after the interval began, held from its beginning"
    assert whole.at(5) is None
    assert Reconstruction([stale, ahead], {term: [(6, 12)]}).at(8) is None
    assert Reconstruction([stale], {term: [(6, 12)]}).at(8) is None


def test_where_both_streams_cover_the_winner_speaks_though_its_term_is_lower() -> None:
    low, high = TERMS[0], TERMS[1]
    history = [
        HistoryRow(1, 10, 0, 1, Origin.POLL, Position(low, 1)),
        HistoryRow(3, 20, 0, 3, Origin.POLL, Position(high, 1)),
    ]
    cover = {low: [(0, 8)], high: [(3, 12)]}
    ruled = [Ruled(low, high, 4, 10, False)]
    reconstruction = Reconstruction(history, cover, ruled)
    spoken = [held.row.value for t in range(12) if (held := reconstruction.at(t)) is not None]
    assert spoken == [10, 10, 10, 20, 10, 10, 10, 10, 20, 20, 20, 20]
    assert shown_values(reconstruction, 0, 20) == [
        (1, 10),
        (3, 20),
        (4, 10),
        (8, 20),
    ], "where the ruling begins, and where the winner's stream ends, the other is restated"
    both = [Ruled(low, high, 0, 20, False), Ruled(high, low, 0, 20, False)]
    contradicted = Reconstruction(history, cover, both).at(5)
    assert contradicted is not None
    assert contradicted.row.value == 20, "rulings that contradict each other rule nothing"
