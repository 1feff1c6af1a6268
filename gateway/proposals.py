"""What becomes of a proposed revision, and the list of those that there are: values and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from gateway.config.differences import brief
from gateway.errors import ControlError
from gateway.journal.records import Revision
from gateway.model import Position, format_time

Dated = tuple[Position, Revision]


class Head(Protocol):
    """The record of the head revision."""

    @property
    def position(self) -> Position: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def revision(self) -> Revision: ...


class Ledger(Protocol):
    """What the journal knows of revisions, newest first."""

    @property
    def head(self) -> Head | None: ...
    @property
    def diverged(self) -> Sequence[Dated]: ...
    async def revisions(self, limit: int = 100) -> Sequence[Dated]: ...


class Applied(NamedTuple):
    """What became of a proposal. `number` 0: nothing was committed; all in words for people.

    `problems` and `warnings` are those of both nodes, each beginning with the node's name;
    `peer` says what the other node had to do with it; `in_force` whether it runs here by now.
    """

    node: str
    number: int
    in_force: bool
    problems: list[str]
    warnings: list[str]
    changes: list[str]
    peer: str


def told(by_node: Mapping[str, Sequence[str]]) -> list[str]:
    """Each problem once, with the names of the nodes that have it."""
    nodes: dict[str, list[str]] = {}
    for node, texts in by_node.items():
        for text in texts:
            nodes.setdefault(text, []).append(node)
    return [f"{_nodes(names)}: {text}" for text, names in nodes.items()]


def _nodes(names: Sequence[str]) -> str:
    return f"node {names[0]}" if len(names) == 1 else f"nodes {' and '.join(names)}"


def reference(position: Position, revision: Revision) -> str:
    """How a revision is named where its number alone is not enough: `6.3.a`."""
    return f"{revision.number}.{position.term.number}.{position.term.node}"


def find(known: Sequence[Dated], diverged: Sequence[Position], wanted: str) -> Dated:
    """The revision that `6`, `6.3` or `6.3.a` names. Raises ControlError.

    A number alone names the one on the branch that runs, if it is there.
    """
    hits = [
        (position, revision)
        for position, revision in known
        if (reference(position, revision) + ".").startswith(wanted + ".")
    ]
    if "." not in wanted:
        hits = [hit for hit in hits if hit[0] not in diverged] or hits
    if not hits:
        raise ControlError(f"there is no revision {wanted}", "`hotpair revisions` lists them")
    if len(hits) > 1:
        names = ", ".join(reference(*hit) for hit in hits)
        raise ControlError(f"{wanted} names {len(hits)} revisions", f"Write one of {names}")
    return hits[0]


def listed(
    known: Sequence[Dated], diverged: Sequence[Position], head: Position | None, running: int
) -> list[dict[str, Any]]:
    """The revisions for people, newest first, each with what it changed of the one before it."""
    rows = []
    for index, (position, revision) in enumerate(known):
        before = _before(known[index + 1 :], diverged, revision)
        is_head = position == head
        state = "head" if is_head else "diverged" if position in diverged else ""
        rows.append(
            {
                "number": revision.number,
                "reference": reference(position, revision),
                "term": str(position.term),
                "at": format_time(revision.at_ns),
                "who": revision.who,
                "state": state,
                "running": revision.number == running and state != "diverged",
                "parent": revision.parent_digest.hex(),
                "before": reference(*before) if before else "",
                "points": len(revision.points),
                "changed": _changed(before[1] if before else None, revision),
            }
        )
    return rows


def _before(
    older: Sequence[Dated], diverged: Sequence[Position], revision: Revision
) -> Dated | None:
    """The one it was made from: the newest with the number before, off the lost branch first."""
    hits = [hit for hit in older if hit[1].number == revision.number - 1]
    hits = [hit for hit in hits if hit[0] not in diverged] or hits
    return hits[0] if hits else None


def _changed(before: Revision | None, revision: Revision) -> str:
    if before is None:
        return "first known" if revision.number > 1 else "first"
    old, new = dict(before.points), dict(revision.points)
    words = [brief(before.files, revision.files)]
    if added := len(new.keys() - old.keys()):
        words.append(f"+{added} points")
    if removed := len(old.keys() - new.keys()):
        words.append(f"-{removed} points")
    return ", ".join(word for word in words if word) or "nothing"
