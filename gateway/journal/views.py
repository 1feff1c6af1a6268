"""What readers and the peer take of the partitions: views, and where which record lies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from gateway.journal.columns import Columns
from gateway.journal.contested import Claims
from gateway.journal.coverage import Interval, union, withdrawn
from gateway.journal.history import FileView, View
from gateway.journal.kept import KeptState
from gateway.journal.outline import Unsettled
from gateway.journal.partition_file import Partition, digests_at, digests_in
from gateway.journal.reconstruct import reading_order
from gateway.journal.schema import record_id
from gateway.model import HistoryRow, Origin, Position, Term


class Views:
    """All partitions of a journal, oldest first; the last one is written to."""

    def __init__(self, kept: KeptState) -> None:
        self._kept = kept
        self.partitions: list[Partition] = []
        self.claims = Claims()
        self._unsettled = Unsettled()

    @property
    def current(self) -> Partition:
        return self.partitions[-1]

    def view(self, point: str, window: Interval, behind: Mapping[str, int]) -> View:
        """What a reader may see of a point now.

        Gaps are looked for in the window only, and of classes that are behind up to where they are
        claimed.
        """
        tails: list[tuple[Term, Origin, Columns]] = []
        for partition in self.partitions:
            if partition.frozen is not None:
                tails += partition.frozen.columns_of(point)
            tails += partition.live.columns_of(point)
        rulings = self._kept.rulings
        device = point.partition("/")[0]
        doubts, having = self._unsettled.of(
            device,
            [partition.outline for partition in self.partitions],
            window,
            behind,
            lambda key: self._kept.has_device(key[1], key[0], device),
            self._kept.learned,
            rulings,
        )
        weighed = self.claims.contested
        if doubts:
            weighed = union([*weighed, *doubts])
        return View(
            self.files(), tails, withdrawn(rulings), weighed, rulings, window, behind, having
        )

    def last_in_memory(self, points: Sequence[str]) -> dict[str, HistoryRow]:
        """The newest sample of each point among those that are still in memory."""
        found: dict[str, HistoryRow] = {}
        out_of_view = withdrawn(self._kept.rulings)
        for partition in self.partitions:
            for tail_set in (partition.frozen, partition.live):
                for point, row in (
                    tail_set.last_rows(points, out_of_view) if tail_set is not None else ()
                ):
                    known = found.get(point)
                    if known is None or reading_order(row) >= reading_order(known):
                        found[point] = row
        return found

    def files(self) -> list[FileView]:
        """The files that there are, oldest first."""
        return [self._view_of(partition) for partition in self.partitions]

    def _view_of(self, partition: Partition) -> FileView:
        return FileView(partition.path, partition.segments, partition.span)

    async def digests(self, positions: Sequence[Position]) -> dict[Position, bytes]:
        """The stored digests of records that are held. Raises sqlite3.Error."""
        found: dict[Position, bytes] = {}
        for partition in self.partitions:
            here = [position for position in positions if partition.held.holds(position)]
            if not here:
                continue
            rows = {record_id(partition.state.terms[p.term], p.seq): p for p in here}
            stored = await self._look_up(partition, list(rows))
            found |= {rows[row]: digest for row, digest in stored.items()}
        return found

    async def _look_up(self, partition: Partition, rows: list[int]) -> dict[int, bytes]:
        if partition.database is not None:
            return await partition.database.run(partial(digests_at, rows))
        return await asyncio.to_thread(digests_in, partition.path, rows)

    def pieces(self, term: Term, from_seq: int) -> list[tuple[FileView, int, int]]:
        """Where the records of a term lie, from a seq on, as far as they follow without a hole."""
        found: list[tuple[FileView, int, int]] = []
        stretches = [(f, e, p) for p in self.partitions for f, e, _ in p.held.stretches(term)]
        for first, last, partition in sorted(stretches, key=lambda stretch: stretch[:2]):
            if first <= from_seq <= last:
                found.append((self._view_of(partition), from_seq, last))
                from_seq = last + 1
        return found
