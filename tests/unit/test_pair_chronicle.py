"""Who was Main: the reigns that journalled roles of both nodes add up to."""

from __future__ import annotations

from gateway.journal.records import Role as RoleTaken
from gateway.model import Position, Term
from gateway.pair.chronicle import ReignSpan, reigns
from gateway.pair.words import RAN_OUT

A1, B2, A3 = Term(1, "a", 11), Term(2, "b", 22), Term(3, "a", 33)


def taken(*roles: RoleTaken) -> list[tuple[Position, RoleTaken]]:
    return [(Position(Term(0, role.node, 5), n + 1), role) for n, role in enumerate(roles)]


def test_a_changeover_ends_one_reign_and_begins_the_next() -> None:
    found = reigns(
        taken(
            RoleTaken("b", "main", 110, "a handed over", B2),
            RoleTaken("a", "main", 10, "start rule", A1),
            RoleTaken("a", "standby (synced)", 100, "handed over", A1),
        )
    )
    assert found == [
        ReignSpan("a", A1, 10, 100, "start rule", "handed over"),
        ReignSpan("b", B2, 110, None, "a handed over", ""),
    ]


def test_a_killed_main_s_reign_ends_when_the_other_became_main() -> None:
    found = reigns(
        taken(
            RoleTaken("a", "main", 10, "start rule", A1),
            RoleTaken("b", "main", 100, "a is dead", B2),
            RoleTaken("a", "standby (syncing)", 200, "b is Main"),
        )
    )
    assert [(r.node, r.to_ns) for r in found] == [("a", 100), ("b", None)]
    assert found[0].ended == "b became Main: a is dead"


def test_a_node_alone_that_was_killed_ends_its_reign_with_its_next() -> None:
    found = reigns(
        taken(RoleTaken("a", "main", 10, "x", A1), RoleTaken("a", "main", 90, "no link", A3))
    )
    assert [(r.term, r.to_ns) for r in found] == [(A1, 90), (A3, None)]


def test_in_a_split_both_reigns_stand_side_by_side() -> None:
    found = reigns(
        taken(
            RoleTaken("a", "main", 10, "start rule", A1),
            RoleTaken("b", "main", 50, "a is silent", B2),
            RoleTaken("b", "standby (syncing)", 90, "Main-Main: longer reign", B2),
            RoleTaken("a", "main", 91, "Main-Main was won", A3),
        )
    )
    assert [(r.node, r.from_ns, r.to_ns) for r in found] == [
        ("a", 10, 91),
        ("b", 50, 90),
        ("a", 91, None),
    ]


def test_a_frozen_main_s_reign_ends_when_the_other_became_main_not_when_it_woke_up() -> None:
    found = reigns(
        taken(
            RoleTaken("a", "main", 10, "start rule", A1),
            RoleTaken("b", "main", 100, "a is silent", B2),
            RoleTaken("a", "standby (syncing)", 200, RAN_OUT, A1),
        )
    )
    assert [(r.node, r.to_ns) for r in found] == [("a", 100), ("b", None)]
    assert found[0].ended == "the reign ran out; b became Main: a is silent"
    alone = taken(
        RoleTaken("a", "main", 10, "start rule", A1),
        RoleTaken("a", "standby (syncing)", 200, RAN_OUT, A1),
    )
    assert reigns(alone)[0].to_ns == 200
