"""Reconstruction against a list scan: at each instant one stream speaks, or nobody does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.coverage import Interval, Ruled, union
from gateway.journal.fills import Missing
from gateway.journal.reconstruct import Reconstruction, Restated, reading_order, shown_order
from gateway.model import GapState, HistoryRow, Origin, Position, Status, Term

END = 24
TERMS = [Term(1, "a", 1), Term(2, "a", 9), Term(2, "b", 5)]
ORIGINS = [Origin.POLL, Origin.POLL, Origin.SUBSTITUTE, Origin.WINDBACK, Origin.WINDBACK]
instants = st.integers(0, END)


@st.composite
def row(draw: st.DrawFn) -> HistoryRow:
    time_ns = draw(instants)
    return HistoryRow(
        time_ns,
        draw(st.integers(0, 99)),
        draw(st.sampled_from([0, 0, Status.BAD_NO_COMMUNICATION])),
        time_ns + draw(st.integers(0, 3)),
        draw(
            st.sampled_from([Origin.POLL, Origin.POLL, Origin.SUBSTITUTE, *2 * [Origin.WINDBACK]])
        ),
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


def disjoint(parts: list[Missing]) -> list[Missing]:
    """As `fills.missing` gives them: in order, one at an instant; who speaks is filled."""
    found: list[Missing] = []
    for number, part in enumerate(sorted(parts, key=lambda part: part[:2])):
        start = max(part.from_ns, found[-1].to_ns if found else 0)
        state = (GapState.FILLED, GapState.COARSE) if part.term else (GapState.OPEN, GapState.LOST)
        if start < part.to_ns:
            found.append(part._replace(from_ns=start, state=state[number % 2]))
    return found


stretches = st.lists(
    st.builds(
        Missing,
        instants,
        instants,
        st.just(GapState.OPEN),
        st.none() | st.sampled_from(TERMS),
    ),
    max_size=5,
).map(disjoint)
Cover = dict[Term, list[Interval]]


def covering(by_term: Cover, t: int) -> list[tuple[int, int, Term, int, int]]:
    return [
        (term.number, term.nonce, term, start, end)
        for term, parts in by_term.items()
        for start, end in parts
        if start <= t < end
    ]


def part_at(missing: list[Missing], t: int) -> Missing | None:
    return next((part for part in missing if part.from_ns <= t < part.to_ns), None)


def seen(rows: list[HistoryRow], by_term: Cover, missing: list[Missing]) -> list[HistoryRow]:
    """What of the rows is seen, by looking at everything."""
    found: list[HistoryRow] = []
    for r in rows:
        wound = r.origin is Origin.WINDBACK
        part = None if covering(by_term, r.time_ns) else part_at(missing, r.time_ns)
        if part is None or part.term is None:
            if wound:
                continue
        elif wound:
            again = [
                o
                for o in rows
                if (o.time_ns, o.origin, o.position.term) == (r.time_ns, r.origin, r.position.term)
            ]
            if r.position.term != part.term or r != again[-1]:
                continue
        elif r.origin is Origin.POLL and r.status:
            continue
        found.append(r)
    return found


def dumb(
    given_rows: list[HistoryRow],
    by_term: Cover,
    t: int,
    ruled: list[Ruled],
    missing: list[Missing],
) -> tuple[HistoryRow, bool] | None:
    """The rule as it is written down, by looking at everything."""
    covers = covering(by_term, t)
    if covers:
        terms = {entry[2] for entry in covers}
        beaten = {r.loser for r in ruled if r.from_ns <= t < r.to_ns and r.winner in terms}
        *_, term, start, end = max([e for e in covers if e[2] not in beaten] or covers)
        own = [
            r
            for r in given_rows
            if r.position.term == term
            and r.origin is not Origin.WINDBACK
            and r.received_ns >= start
        ]
        before = [r for r in own if r.time_ns <= t]
        if before:
            return before[-1], False
        opening = [r for r in own if t < r.time_ns < end]
        return (opening[0], False) if opening else None
    part = part_at(missing, t)
    if part is None or part.term is None:
        return None
    inside = [
        r
        for r in seen(given_rows, by_term, missing)
        if part.from_ns <= r.time_ns <= t and not covering(by_term, r.time_ns)
        # What is as of its receipt may have been read long before.
        if r.origin is not Origin.POLL or r.time_ns != r.received_ns
    ]
    if inside:
        return inside[-1], inside[-1].origin is Origin.WINDBACK
    return dumb(given_rows, by_term, part.from_ns - 1, ruled, missing)


@given(rows, cover, rulings, stretches, st.randoms())
def test_the_value_in_force_is_that_of_the_one_covering_stream_or_of_the_fill(
    given_rows: list[HistoryRow],
    by_term: Cover,
    ruled: list[Ruled],
    missing: list[Missing],
    rng: Any,
) -> None:
    reconstruction = Reconstruction(given_rows, by_term, ruled, missing)
    turned = list(by_term.items())
    rng.shuffle(turned)
    other = Reconstruction(given_rows, dict(turned), ruled[::-1], missing)
    for t in range(-1, END + 3):
        held = reconstruction.at(t)
        expected = dumb(given_rows, by_term, t, ruled, missing)
        assert (None if held is None else tuple(held)) == expected
        assert other.at(t) == held, "whatever the order of arrival"


@given(rows, cover, rulings, stretches, instants, instants)
def test_the_raw_view_holds_what_is_seen_and_read_as_steps_says_what_held(
    given_rows: list[HistoryRow],
    by_term: Cover,
    ruled: list[Ruled],
    missing: list[Missing],
    start: int,
    cut: int,
) -> None:
    missing = [part for part in missing if not any_covered(by_term, part)]
    reconstruction = Reconstruction(given_rows, by_term, ruled, missing, cut, END)
    view = reconstruction.raw_view(-1, END + 3)
    assert view == sorted(view, key=shown_order)
    visible = seen(given_rows, by_term, missing)
    marks = [row for row in view if row.origin is Origin.GAP]
    assert [
        row for row in view if not isinstance(row, Restated) and row.origin is not Origin.GAP
    ] == visible
    bad = {r.time_ns for r in visible if r.status}
    lacking = [p for p in missing if p.term is None and p.from_ns > cut and p.from_ns not in bad]
    assert [(row.time_ns, row.value, row.status) for row in marks] == [
        (
            part.from_ns,
            None,
            Status.BAD_NO_COMMUNICATION
            if part.to_ns >= END
            else Status.BAD_DATA_LOST
            if part.state is GapState.LOST
            else Status.BAD_DATA_UNAVAILABLE,
        )
        for part in lacking
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


def any_covered(by_term: Cover, part: Missing) -> bool:
    return any(covering(by_term, t) for t in range(part.from_ns, part.to_ns))


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


def test_a_filled_stretch_begins_with_what_was_in_force_and_shows_each_record_once() -> None:
    low, high = TERMS[0], TERMS[1]

    def wound(time_ns: int, value: int, term: Term, seq: int) -> HistoryRow:
        return HistoryRow(time_ns, value, 0, 50 + seq, Origin.WINDBACK, Position(term, seq))

    def polled(time_ns: int, value: int | None, seq: int) -> HistoryRow:
        status = 0 if value is not None else Status.BAD_TIMEOUT
        return HistoryRow(time_ns, value, status, time_ns + 1, Origin.POLL, Position(low, seq))

    history = [
        polled(1, 10, 1),
        polled(5, None, 2),
        wound(7, 70, low, 8),
        polled(7, 71, 3),
        wound(7, 72, low, 9),
        wound(8, 80, high, 1),
        polled(9, 90, 4),
        HistoryRow(10, 71, 0, 10, Origin.POLL, Position(low, 5)),
        polled(20, 100, 6),
    ]
    history.sort(key=reading_order)
    filled = [
        Missing(4, 6, GapState.COARSE, high),
        Missing(6, 12, GapState.FILLED, low),
        Missing(12, 14, GapState.LOST),
        Missing(14, 16, GapState.FILLED, low),
        Missing(16, 20, GapState.OPEN),
    ]
    known = Reconstruction(history, {low: [(0, 4), (20, 30)]}, (), filled, 1)
    assert shown_values(known, 0, 30) == [
        (1, 10),
        (7, 71),
        (7, 72),
        (9, 90),
        (10, 71),
        (10, 90),
        (12, None),
        (16, None),
        (20, 100),
    ], "what a stream states as of its receipt is shown, and does not hold"
    spoken = [held.row.value for t in range(12) if (held := known.at(t)) is not None]
    assert spoken == [10, 10, 10, 10, 10, 10, 10, 72, 72, 90, 90, 90]
    assert [known.at(t) for t in (12, 13, 14, 15, 16)] == [None] * 5
    statuses = [row.status for row in known.raw_view(11, 20)]
    assert statuses == [Status.BAD_DATA_LOST, Status.BAD_DATA_UNAVAILABLE]
    heard = Reconstruction(history, {low: [(0, 4)]}, (), filled, 12, 20)
    assert [(row.time_ns, row.status) for row in heard.raw_view(11, 20)] == [
        (16, Status.BAD_NO_COMMUNICATION)
    ], "it goes on; and before a point was heard of it lacks nothing"
