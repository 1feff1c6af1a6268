"""Holdings against plain sets of numbers, which are too dumb to be wrong."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.holdings import (
    Holding,
    Holdings,
    Want,
    difference,
    fingerprint,
    wanted,
)
from gateway.journal.records import EMPTY_DIGEST
from gateway.model import Position, Term

END = 24
TERMS = [Term(0, "a", 7), Term(1, "a", 1), Term(1, "b", 9), Term(2, "b", 3)]
seqs = st.integers(1, END)
terms = st.sampled_from(TERMS)
steps = st.lists(
    st.tuples(st.just("note"), terms, seqs, seqs)
    | st.tuples(st.just("hold"), terms, seqs, seqs)
    | st.tuples(st.just("drop"), terms, seqs, seqs)
    | st.tuples(st.just("lose"), terms, seqs, seqs),
    max_size=25,
)
Step = tuple[str, Term, int, int]


def digest_of(term: Term, seq: int) -> bytes:
    return bytes([term.number + 1, ord(term.node), seq]).rjust(16, b"d")


class Dumb:
    """Every held number of every term."""

    def __init__(self) -> None:
        self.held: dict[Term, set[int]] = {}
        self.floors: dict[Term, int] = {}

    def do(self, step: Step) -> None:
        what, term, first, last = step
        if what == "lose" and first > last:
            return
        held, floor = self.held.setdefault(term, set()), self.floors.setdefault(term, 1)
        if what == "note":
            held |= {first} & set(range(floor, END + 1))
        elif what == "hold":
            held |= set(range(max(first, floor), last + 1))
        elif what == "drop":
            self.floors[term] = max(floor, first + 1)
            held -= set(range(self.floors[term]))
        else:
            held -= set(range(first, last + 1))


def played(script: list[Step]) -> tuple[Holdings, Dumb]:
    real, dumb = Holdings(), Dumb()
    for step in script:
        what, term, first, last = step
        if what == "note":
            real.note(Position(term, first), digest_of(term, first))
        elif what == "hold":
            real.hold(term, first, last, digest_of(term, last))
        elif what == "drop":
            real.drop(term, first)
        else:
            real.lose(term, first, last)
        dumb.do(step)
    return real, dumb


def numbers(holding: Holding) -> set[int]:
    return {seq for first, last in holding.stretches for seq in range(first, last + 1)}


@given(steps)
def test_stretches_are_the_set_of_what_is_held_tidy_and_above_the_floor(script: list[Step]) -> None:
    real, dumb = played(script)
    assert set(real.terms) == set(dumb.held)
    for term, held in dumb.held.items():
        holding = real.of(term)
        assert holding is not None
        assert holding == real.terms[term]
        assert numbers(holding) == held
        assert holding.floor == dumb.floors[term]
        assert holding.last == max(held, default=0)
        assert all(first <= last for first, last in holding.stretches)
        assert all(a[1] + 1 < b[0] for a, b in pairwise(holding.stretches))
        for seq in range(END + 2):
            assert real.holds(Position(term, seq)) == (seq in held)
            known = real.digest_at(Position(term, seq))
            assert known is None or (seq in held and seq + 1 not in held)
        assert holding.digest in (EMPTY_DIGEST, digest_of(term, holding.last))
        if held:
            real.note(Position(term, max(held)), digest_of(term, max(held)))
            assert real.terms[term].digest == digest_of(term, max(held))
    assert not real.holds(Position(Term(9, "z", 1), 1))
    assert real.of(Term(9, "z", 1)) is None
    assert real.digest_at(Position(Term(9, "z", 1), 1)) is None


@given(steps)
def test_a_digest_is_known_unless_damage_took_the_last_record(script: list[Step]) -> None:
    real, _ = played([step for step in script if step[0] != "lose"])
    for term, holding in real.terms.items():
        expected = digest_of(term, holding.last) if holding.stretches else EMPTY_DIGEST
        assert holding.digest == expected


@given(steps, steps)
def test_wanted_is_what_they_have_and_i_lack_above_my_floor(
    left: list[Step], right: list[Step]
) -> None:
    (mine, my_dumb), (theirs, their_dumb) = played(left), played(right)
    wants = wanted(mine.terms, theirs.terms)
    assert wants == sorted(wants)
    for term in TERMS:
        floor = my_dumb.floors.get(term, 1)
        expected = their_dumb.held.get(term, set()) - my_dumb.held.get(term, set())
        found = [s for w in wants if w.term == term for s in range(w.first, w.last + 1)]
        assert found == sorted(seq for seq in expected if seq >= floor)


@given(steps, steps)
def test_after_pulling_both_ways_there_is_no_difference(
    left: list[Step], right: list[Step]
) -> None:
    (mine, a), (theirs, b) = played(left), played(right)
    found = difference(mine.terms, theirs.terms)
    assert found == [] or found != difference(mine.terms, mine.terms)
    unequal = {
        term
        for term in TERMS
        for floor in (max(a.floors.get(term, 1), b.floors.get(term, 1)),)
        if {s for s in a.held.get(term, set()) if s >= floor}
        != {s for s in b.held.get(term, set()) if s >= floor}
    }
    assert all(any(str(term) in text for text in found) for term in unequal)
    first, second = wanted(mine.terms, theirs.terms), wanted(theirs.terms, mine.terms)
    for holdings, wants in ((mine, first), (theirs, second)):
        for want in wants:
            for seq in range(want.first, want.last + 1):
                holdings.note(Position(want.term, seq), digest_of(want.term, seq))
        for term, holding in list(holdings.terms.items()):
            if holding.stretches:
                holdings.note(Position(term, holding.last), digest_of(term, holding.last))
    assert difference(mine.terms, theirs.terms) == []
    assert wanted(mine.terms, theirs.terms) == []


@given(steps, st.randoms())
def test_a_fingerprint_tells_what_is_held_whatever_the_order(
    script: list[Step], rng: object
) -> None:
    real, _ = played(script)
    turned = dict(reversed(list(real.terms.items())))
    assert fingerprint(turned) == fingerprint(real.terms)
    assert len(fingerprint({})) == 16
    real.note(Position(TERMS[0], END + 5), digest_of(TERMS[0], END + 5))
    assert fingerprint(real.terms) != fingerprint(turned)


def test_what_differs_is_said_in_a_sentence_a_term() -> None:
    one, other = TERMS[1], TERMS[3]
    mine = {one: Holding(1, ((1, 2), (4, 5), (7, 7), (9, 9), (11, 12)), b"x" * 16)}
    theirs = {one: Holding(1, ((1, 12),), b"x" * 16), other: Holding(1, ((1, 3),), b"y" * 16)}
    assert difference(mine, theirs) == [
        f"term {one}: here …, 4-5, 7-7, 9-9, 11-12, there 1-12",
        f"term {other}: here nothing, there 1-3",
    ]
    assert difference({other: Holding(1, ((1, 3),), b"z" * 16)}, {other: theirs[other]}) == [
        f"term {other}: record 3 has another digest there"
    ]
    assert difference({other: Holding(4, (), EMPTY_DIGEST)}, theirs | {one: Holding()}) == []
    assert wanted(mine, theirs)[0] == Want(one, 3, 3)


def test_a_view_of_the_terms_does_not_change_under_whoever_took_it() -> None:
    holdings = Holdings()
    holdings.note(Position(TERMS[1], 1), digest_of(TERMS[1], 1))
    before = holdings.terms
    assert holdings.terms is before
    holdings.note(Position(TERMS[1], 2), digest_of(TERMS[1], 2))
    assert before[TERMS[1]].stretches == ((1, 1),)
    assert holdings.terms[TERMS[1]].stretches == ((1, 2),)
