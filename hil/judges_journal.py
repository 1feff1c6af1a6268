"""The judge of journals: no position twice, both equal by digest. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Where = tuple[int, str, str, int]
"""A position: number, node and nonce of the term, and the record's number in it."""


class Journal(NamedTuple):
    """What a node's journal holds: each position with the digests found under it, when it was."""

    records: Mapping[Where, frozenset[bytes]]
    at_ns: Mapping[Where, int]
    conflicts: int = 0


def twice(journals: Mapping[str, Journal]) -> list[tuple[str, int]]:
    """Positions that hold more than one record, in one journal or between two; when they are of."""
    found: dict[Where, set[bytes]] = {}
    for journal in journals.values():
        for where, own in journal.records.items():
            found.setdefault(where, set()).update(own)
    said = []
    for where, digests in found.items():
        if len(digests) > 1:
            has = "; ".join(
                f"node {name} has {', '.join(sorted(d.hex()[:12] for d in held))}"
                for name, journal in journals.items()
                if (held := journal.records.get(where))
            )
            at_ns = next(j.at_ns[where] for j in journals.values() if where in j.at_ns)
            said.append((f"position {shown(where)} holds {len(digests)} records: {has}", at_ns))
    for name, journal in journals.items():
        if journal.conflicts:
            said.append((f"node {name} keeps {journal.conflicts} conflicting records", 0))
    return said


def odd(journals: Mapping[str, Journal], before_ns: int) -> list[tuple[str, int]]:
    """Records older than `before_ns` that one journal has and another hasn't; when they are of."""
    said = []
    for name, journal in journals.items():
        for other, theirs in journals.items():
            if other == name:
                continue
            only = [w for w in journal.records if w not in theirs.records]
            said += [
                (f"record {shown(where)} is in the journal of node {name} only", at_ns)
                for where in sorted(only)
                if (at_ns := journal.at_ns[where]) < before_ns
            ]
    return said


def shown(where: Where) -> str:
    """A position for people."""
    number, node, nonce, seq = where
    return f"{number}.{node}.{nonce}/{seq}"
