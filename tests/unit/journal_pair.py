"""Two journals side by side, and a pull between them: what replication does, without its wire."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from test_journal import DAY, POINTS, T0, HandClock, all_rows, batch, covered, revision, until

from gateway.journal.holdings import wanted
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.records import Adopted
from gateway.model import Position, Term

__all__ = [
    "DAY",
    "POINTS",
    "T0",
    "Side",
    "adopted",
    "all_rows",
    "batch",
    "covered",
    "pull",
    "revision",
    "until",
]


class Side:
    """A node's folder, its clock and what was told."""

    def __init__(self, folder: Path, node: str, clock: HandClock | None = None) -> None:
        self.folder = folder / node
        self.node = node
        self.clock = clock or HandClock()
        self.settings = HistorySettings(ballast_bytes=65_536, commit_interval_ms=1)
        self.events: list[tuple[int, str]] = []
        self.lives = 0
        self.rng = random.Random(ord(node[0]))

    @asynccontextmanager
    async def journal(self, reigns: bool = False) -> AsyncIterator[Journal]:
        self.folder.mkdir(exist_ok=True)
        journal = await Journal.open(
            self.folder,
            self.node,
            self.clock,
            self.settings,
            lambda severity, text: self.events.append((severity, text)),
            self.rng,
        )
        try:
            if reigns:
                await journal.begin_term()
            yield journal
        finally:
            await journal.close()

    def killed(self) -> Side:
        """The node as it is after a kill at this moment: its files as they lie on the disk."""
        self.lives += 1
        after = Side(self.folder.parent / f"life{self.lives}", self.node, self.clock)
        shutil.copytree(self.folder, after.folder)
        after.events, after.lives = self.events, self.lives
        return after

    def told(self, severity: int) -> list[str]:
        return [text for level, text in self.events if level == severity]


async def adopted(journal: Journal, term: Term, first: int, last: int) -> list[Adopted]:
    """A stretch of a term's records, as they are sent."""
    found: list[Adopted] = []
    while first <= last:
        rows = await journal.records(term, first, last - first + 1)
        assert rows, f"{term}/{first} is not there"
        found += [Adopted(Position(term, seq), wire, digest) for seq, wire, digest in rows]
        first = rows[-1][0] + 1
    return found


async def pull(source: Journal, target: Journal, size: int = 1000) -> int:
    """Everything that the target lacks, in the order of `wanted`; how many records were new."""
    count = 0
    for want in wanted(target.holdings.terms, source.holdings.terms):
        for first in range(want.first, want.last + 1, size):
            last = min(first + size - 1, want.last)
            count += await target.adopt(await adopted(source, want.term, first, last))
    return count


def values(rows: Sequence[Any]) -> list[Any]:
    return [row.value for row in rows]
