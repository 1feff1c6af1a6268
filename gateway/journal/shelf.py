"""The partitions of a journal: opened, rolled, flushed, set aside and dropped.

Called by the writer's task only, one call after the other. What readers need of it, they take as
a `View`: which files there are, up to which segment each may be read, and the samples of a point
that are still in memory. Segments that were committed after a view was taken are not in it, their
samples are: so a reader sees each sample once, whatever the writer does meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.journal.database import (
    UNREADABLE,
    Emptied,
    checkpoint,
    execute,
    is_damage,
    open_writer,
    remove,
    set_aside,
    size_of,
    synchronise,
    why_of,
)
from gateway.journal.dealing import Dealer
from gateway.journal.holdings import Holdings
from gateway.journal.kept import KeptState
from gateway.journal.partition_file import Flush, Partition, reread
from gateway.journal.partitions import (
    HistorySettings,
    PartitionKey,
    day_of,
    next_key,
    parse_file_name,
    to_drop,
)
from gateway.journal.records import Loss, Record
from gateway.journal.reopening import open_partition
from gateway.journal.schema import (
    INSERT_META,
    INSERT_SCAN,
    PARTITION_TABLES,
    PartitionState,
    Statement,
)
from gateway.journal.tail import TailSet
from gateway.journal.views import Views
from gateway.model import NS_PER_S, Term

CHUNK_PIECES: Final = 256
RESTATED_NS: Final = 5 * NS_PER_S
"""How long it takes until every value in force is restated in a new file."""
_KEPT_FROM_PARTITIONS: Final = 3


class Shelf(Views):
    """The partitions as the writer handles them."""

    def __init__(
        self,
        directory: Path,
        settings: HistorySettings,
        kept: KeptState,
        on_event: Callable[[int, str], None],
        forget: Callable[[Path], None],
    ) -> None:
        self._directory = directory
        self.settings = settings
        super().__init__(kept)
        self._on_event = on_event
        self._forget = forget
        self.dealer = Dealer(kept, on_event)
        self.holdings = Holdings()
        self.latest_ns = 0
        self.through_ns = 0
        self._synchronous = "NORMAL"
        self.losses: list[Loss] = []
        self._removals: set[asyncio.Task[None]] = set()

    async def open(self, now_ns: int) -> list[tuple[Any, ...]]:
        """Open what is there, set damaged files aside. Raises sqlite3.Error when nothing can be.

        Gives the kept records of the newest files, for the copy in the state file.
        """
        kept: list[tuple[Any, ...]] = []
        keys = sorted(
            key for path in self._directory.iterdir() if (key := parse_file_name(path.name))
        )
        for key in keys:
            kept += await self._open_existing(key, now_ns, key in keys[-_KEPT_FROM_PARTITIONS:])
        if not self.partitions:
            taken = max(keys, default=PartitionKey(0))
            first = PartitionKey(day_of(now_ns))
            if taken >= first:
                first = PartitionKey(taken.day, taken.part + 1)
            await self._begin(first, now_ns, reigns=False)
        elif self.current.database is None:
            key = self.current.key
            await self._begin(PartitionKey(key.day, key.part + 1), now_ns, reigns=False)
        return kept

    async def _open_existing(
        self, key: PartitionKey, now_ns: int, with_kept: bool
    ) -> list[tuple[Any, ...]]:
        path = self._directory / key.file_name
        try:
            database, loaded, kept = await open_partition(path, with_kept)
        except UNREADABLE as error:
            if not is_damage(error):
                raise
            from_ns = key.from_ns
            if isinstance(error, Emptied):  # it never held more than since it was made
                from_ns = max(from_ns, path.stat().st_mtime_ns)
            self._lose(path, from_ns, min(key.to_ns, now_ns), why_of(error), now_ns)
            return []
        begun_ns = key.from_ns if loaded.begun_ns is None else loaded.begun_ns
        self.latest_ns = max(self.latest_ns, loaded.latest_ns)
        self.through_ns = max(self.through_ns, loaded.through_ns)
        self.partitions.append(
            Partition(
                key,
                path,
                database,
                loaded.state,
                begun_ns,
                begun_ns + RESTATED_NS if loaded.alone_ns is None else loaded.alone_ns,
                loaded.points,
                loaded.flushed,
                loaded.held,
                loaded.segments,
                loaded.span,
                loaded.outline,
            )
        )
        self._hold_again(self.partitions[-1], loaded.held.terms)
        self.claims.take_all(loaded.claims)
        return kept

    def let_go(self, dropped: Mapping[Term, int]) -> None:
        """Up to a seq of each term the retention has let go, whatever a file still has of it."""
        for term, seq in dropped.items():
            self.holdings.drop(term, seq)

    def _hold_again(self, partition: Partition, terms: Iterable[Term]) -> None:
        for term in terms:
            for first, last, digest in partition.held.stretches(term):
                self.holdings.hold(term, first, last, digest)

    def _lose(self, path: Path, from_ns: int, to_ns: int, why: str, now_ns: int) -> None:
        self._forget(path)
        aside = set_aside(path, str(now_ns))
        self.losses.append(Loss(from_ns, max(from_ns, to_ns), "store", f"{aside.name}: {why}"))
        self._on_event(900, f"{path.name} is damaged ({why}); it was set aside as {aside.name}")

    async def replay(self, start_ns: int | None = None) -> None:
        """Rebuild the tails from the records that are in no segment; old partitions get sealed.

        At the start, which is at `start_ns`, a file that is met damaged is set aside. Raises
        sqlite3.Error.
        """
        self.dealer.find_adrift(self.partitions)
        self.dealer.numbers_changed()
        for partition in list(self.partitions):
            if partition.database is None:
                continue
            try:
                await self.dealer.replay(partition)
            except sqlite3.Error as error:
                if start_ns is None or not is_damage(error):
                    raise
                await self.replace_damaged(partition, why_of(error), start_ns, reigns=False)
                continue
            if partition is not self.current:
                self._freeze(partition)

    async def reread(self) -> None:
        """Ask the file in use what it holds: a commit that failed may be there all the same."""
        current = self.current
        if current.database is not None:
            known = current.held
            work = partial(reread, known)
            current.state, current.held, claims, current.outline = await current.database.run(work)
            self.claims.take_all(claims)
            self._hold_again(current, current.held.terms)
            await self.dealer.replay(current)

    async def catch_up(self) -> None:
        """Deal out what waited for its revision, or got other points by a ruling."""
        if self.dealer.numbers_changed():
            self.dealer.anew(self.current)
            await self.dealer.replay(self.current)
        if self.dealer.can_catch_up():
            await self.replay()

    def committed(self, records: Sequence[Record], at_ns: int, state: PartitionState) -> None:
        """Take over what a committed transaction changed."""
        current = self.current
        current.state = state
        self.latest_ns = max(self.latest_ns, at_ns)
        for position, _, digest, body in records:
            current.held.note(position, digest)
            self.holdings.note(position, digest)
            self.dealer.deal_out(current, position, body)
            self.claims.hear(position.term, body)
            current.outline.hear(position.term, body)

    # ------------------------------------------------------------------ rolling and flushing

    async def roll_if_due(self, now_ns: int, reigns: bool, size_bytes: int = 0) -> bool:
        """Begin a new partition when the day or the size asks for it. Raises sqlite3.Error.

        A node that `reigns` restates every point then; the peer's next restatement comes with
        its next day, so that a part of a day stands alone only from there on.
        """
        current = self.current
        key = next_key(current.key, size_bytes, now_ns, self.settings.part_size_bytes)
        if key == current.key:
            return False
        await self._begin(key, now_ns, reigns)
        self._freeze(current)
        return True

    async def set_durable(self, on: bool) -> None:
        """From now on commits are FULL, or NORMAL again. Raises sqlite3.Error."""
        wanted = "FULL" if on else "NORMAL"
        database = self.current.database
        if wanted != self._synchronous and database is not None:
            await database.run(lambda connection: synchronise(connection, wanted))
            self._synchronous = wanted

    async def _begin(
        self,
        key: PartitionKey,
        now_ns: int,
        reigns: bool = True,
        scans: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        path = self._directory / key.file_name
        restated_ns = now_ns if reigns else (key.to_ns if key.part else key.from_ns)
        alone_ns = max(now_ns, restated_ns) + RESTATED_NS
        database = await open_writer(path, PARTITION_TABLES, self._synchronous)
        begun: list[Statement] = [
            (INSERT_META, [("begun_ns", now_ns), ("alone_ns", alone_ns)]),
        ]
        if scans:
            begun.append((INSERT_SCAN, sorted(scans)))
        try:
            await database.run(lambda connection: execute(connection, begun))
        except BaseException:  # a connection left behind would hang the exit for ever
            await database.close()
            raise
        self.partitions.append(
            Partition(key, path, database, PartitionState(scans=scans), now_ns, alone_ns)
        )

    def _freeze(self, partition: Partition) -> None:
        if partition.frozen is None:
            partition.frozen, partition.live = partition.live, TailSet()
            partition.frozen.freeze()

    def freeze_if_due(self, now_ns: int) -> None:
        """Start a flush when the live tail is large or old."""
        current = self.current
        live = current.live
        old = live.since_ns is not None and now_ns - live.since_ns >= self.settings.tail_age_ns
        if live.count >= self.settings.tail_samples_max or old:
            self._freeze(current)

    @property
    def flushing(self) -> Partition | None:
        """The oldest partition with something to flush."""
        return next((p for p in self.partitions if p.frozen is not None), None)

    async def flush_step(self) -> None:
        """Store one chunk of frozen tails as segments. Raises sqlite3.Error; nothing is lost."""
        partition = self.flushing
        if partition is None:
            return
        frozen, database = partition.frozen, partition.database
        assert frozen is not None
        assert database is not None
        pieces = frozen.pieces(CHUNK_PIECES)
        columns = [frozen.columns(piece) for piece in pieces]
        flush = Flush(partition, pieces, columns, last=len(pieces) < CHUNK_PIECES)
        await database.run(flush.run)
        partition.state, partition.points = flush.state, flush.points
        partition.segments, partition.span = flush.segments, flush.span
        frozen.drop(pieces)
        if flush.last:
            partition.flushed, partition.frozen = flush.flushed, None
            if partition is not self.current:
                if partition.live.dealt.terms:
                    self._freeze(partition)
                elif not partition.not_dealt():
                    await self._seal(partition)

    async def _seal(self, partition: Partition) -> None:
        database = partition.database
        assert database is not None
        sealed: list[Statement] = [(INSERT_META, [("sealed", 1)])]

        def work(connection: sqlite3.Connection) -> None:
            execute(connection, sealed)
            checkpoint(connection)

        await database.run(work)
        partition.database = None
        await database.close()

    # ------------------------------------------------------------------ loss and retention

    async def replace_damaged(
        self, partition: Partition, why: str, now_ns: int, reigns: bool
    ) -> None:
        """Set a damaged file aside; samples that are still in memory go to the file in use.

        Its records are not held any more, so that they are pulled back from the peer.
        """
        if partition not in self.partitions:
            return
        was_current = partition is self.current
        if was_current:  # first, so that whoever reads meanwhile misses nothing
            key = PartitionKey(
                max(partition.key.day, day_of(now_ns)),
                partition.key.part + 1 if day_of(now_ns) <= partition.key.day else 0,
            )
            # Which scan classes there are must be known, or what is lost is nobody's gap.
            await self._begin(key, now_ns, reigns, partition.state.scans)
        if partition.database is not None:
            with suppress(sqlite3.Error):  # it is damaged: closing is all that is wanted
                await partition.database.close()
            partition.database = None
        index = self.partitions.index(partition)
        del self.partitions[index]
        if was_current:
            self.current.live = partition.live
            if partition.frozen is not None and not partition.frozen.begun:
                self.current.frozen = partition.frozen
        end_ns = now_ns if was_current else self.partitions[index].begun_ns
        self._lose(partition.path, partition.begun_ns, end_ns, why, now_ns)
        for term, holding in partition.held.terms.items():
            for first, last in holding.stretches:
                self.holdings.lose(term, first, last)
        for other in self.partitions:
            self._hold_again(other, partition.held.terms)
        self.dealer.find_adrift(self.partitions)

    def expired(self, now_ns: int, trusted: bool) -> list[Partition]:
        """The partitions that age or size no longer allow, if nothing of them is in memory.

        By age only if the clock is `trusted`.
        """
        sizes = [(partition.key, size_of(partition.path)) for partition in self.partitions]
        keys = to_drop(sizes, now_ns, self.latest_ns, self.settings, trusted)
        return [p for p in self.partitions if p.key in keys and p.frozen is None]

    async def drop(self, partitions: Sequence[Partition]) -> None:
        """Forget partitions and delete their files in the background."""
        for partition in partitions:
            for term, holding in partition.held.terms.items():
                self.holdings.drop(term, holding.last)
            self.partitions.remove(partition)
            if partition.database is not None:  # it waited for a revision that never came
                await partition.database.close()
            self._forget(partition.path)
            removal = asyncio.create_task(asyncio.to_thread(remove, partition.path))
            self._removals.add(removal)
            removal.add_done_callback(self._removed)
        self.dealer.find_adrift(self.partitions)

    def _removed(self, task: asyncio.Task[None]) -> None:
        self._removals.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._on_event(600, f"an expired partition could not be deleted: {task.exception()}")

    async def close(self) -> None:
        """Empty the WALs and close every file; the tails are rebuilt from the records."""
        for partition in self.partitions:
            database, partition.database = partition.database, None
            if database is None:
                continue
            try:
                await database.run(checkpoint)
            except sqlite3.Error:
                pass  # the WAL is read again at the next start
            finally:
                await database.close()
        if self._removals:
            await asyncio.wait(self._removals)
