"""The partitions of a journal: opened, rolled, flushed, set aside and dropped.

Called by the writer's task only, one call after the other. What readers need of it, they take as
a `View`: which files there are, up to which segment each may be read, and the samples of a point
that are still in memory. Segments that were committed after a view was taken are not in it, their
samples are: so a reader sees each sample once, whatever the writer does meanwhile.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from gateway.journal.columns import Columns
from gateway.journal.database import (
    checkpoint,
    execute,
    is_damage,
    open_writer,
    remove,
    set_aside,
    size_of,
)
from gateway.journal.kept import KeptState
from gateway.journal.partition_file import Flush, Partition, load, load_sealed, read_kept
from gateway.journal.partitions import (
    HistorySettings,
    PartitionKey,
    day_of,
    next_key,
    parse_file_name,
    to_drop,
)
from gateway.journal.reconstruct import reading_order
from gateway.journal.records import Batch, Loss, Record, decode
from gateway.journal.schema import (
    INSERT_META,
    INSERT_SCAN,
    PARTITION_TABLES,
    SEQ_BITS,
    PartitionState,
    Statement,
    split_record_id,
)
from gateway.journal.tail import TailSet
from gateway.model import HistoryRow, Origin, Position, Term

CHUNK_PIECES: Final = 256
_REPLAY_ROWS: Final = 500
_KEPT_FROM_PARTITIONS: Final = 3


class FileView(NamedTuple):
    """A partition as a reader may see it: segments up to `segments`, their times in `span`."""

    path: Path
    segments: int
    span: tuple[int, int] | None


class View(NamedTuple):
    """All that is known of one point, at one moment."""

    files: list[FileView]
    tails: list[tuple[Term, Origin, Columns]]


class Shelf:
    """All partitions of a journal, oldest first; the last one is written to."""

    def __init__(
        self,
        directory: Path,
        settings: HistorySettings,
        kept: KeptState,
        on_event: Callable[[int, str], None],
        forget: Callable[[Path], None],
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._kept = kept
        self._on_event = on_event
        self._forget = forget
        self.partitions: list[Partition] = []
        self.latest_ns = 0
        self.losses: list[Loss] = []
        self._removals: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Partition:
        return self.partitions[-1]

    async def open(self, now_ns: int) -> None:
        """Open what is there, set damaged files aside. Raises sqlite3.Error when nothing can be."""
        keys = sorted(
            key for path in self._directory.iterdir() if (key := parse_file_name(path.name))
        )
        for key in keys:
            await self._open_existing(key, now_ns)
        if not self.partitions:
            taken = max(keys, default=PartitionKey(0))
            first = PartitionKey(day_of(now_ns))
            if taken >= first:
                first = PartitionKey(taken.day, taken.part + 1)
            await self._begin(first, now_ns)
        elif self.current.database is None:
            key = self.current.key
            await self._begin(PartitionKey(key.day, key.part + 1), now_ns)

    async def _open_existing(self, key: PartitionKey, now_ns: int) -> None:
        path = self._directory / key.file_name
        database = None
        try:
            loaded = await asyncio.to_thread(load_sealed, path)
            if loaded is None:
                database = await open_writer(path, PARTITION_TABLES, "NORMAL")
                loaded = await database.run(load)
        except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
            if database is not None:
                await database.close()
            if isinstance(error, sqlite3.DatabaseError) and not is_damage(error):
                raise
            self._lose(path, key.from_ns, min(key.to_ns, now_ns), str(error), now_ns)
            return
        begun_ns = key.from_ns if loaded.begun_ns is None else loaded.begun_ns
        self.latest_ns = max(self.latest_ns, loaded.latest_ns)
        self.partitions.append(
            Partition(
                key,
                path,
                database,
                loaded.state,
                loaded.points,
                loaded.flushed,
                loaded.segments,
                loaded.span,
                begun_ns,
            )
        )

    def _lose(self, path: Path, from_ns: int, to_ns: int, why: str, now_ns: int) -> None:
        self._forget(path)
        aside = set_aside(path, str(now_ns))
        self.losses.append(Loss(from_ns, max(from_ns, to_ns), "store", f"{aside.name}: {why}"))
        self._on_event(900, f"{path.name} is damaged ({why}); it was set aside as {aside.name}")

    async def kept_rows(self) -> list[tuple[Any, ...]]:
        """The kept records of the newest partitions, for the copy in the state file."""
        rows: list[tuple[Any, ...]] = []
        for partition in self.partitions[-_KEPT_FROM_PARTITIONS:]:
            if partition.database is not None:
                rows += await partition.database.run(read_kept)
        return rows

    async def replay(self) -> None:
        """Rebuild the tails from the records above each watermark; old partitions get sealed."""
        for partition in self.partitions:
            if partition.database is None:
                continue
            for term, term_id in list(partition.state.terms.items()):
                await self._replay_term(partition, term, term_id)
            if partition is not self.current:
                self._freeze(partition)

    async def _replay_term(self, partition: Partition, term: Term, term_id: int) -> None:
        assert partition.database is not None
        at = term_id << SEQ_BITS | partition.flushed.get(term, 0)
        end = (term_id + 1) << SEQ_BITS

        def read(connection: sqlite3.Connection) -> list[tuple[int, str, bytes]]:
            return connection.execute(
                "SELECT record_id, kind, wire FROM record WHERE record_id > ? AND record_id < ?"
                " ORDER BY record_id LIMIT ?",
                (at, end, _REPLAY_ROWS),
            ).fetchall()

        while chunk := await partition.database.run(read):
            for row_id, kind, wire in chunk:
                at = row_id
                seq = split_record_id(row_id)[1]
                if kind == "b":
                    self._deal_out_again(partition, Position(term, seq), wire)
                partition.live.note(term, seq)

    def _deal_out_again(self, partition: Partition, position: Position, wire: bytes) -> None:
        try:
            body = decode(wire)
        except msgspec.MsgspecError as error:
            self._on_event(900, f"record {position} is damaged and was left out: {error}")
            return
        if isinstance(body, Batch):
            self.deal_out(partition, position, body)

    def deal_out(self, partition: Partition, position: Position, body: Batch) -> None:
        """Put a committed batch into the tail of its partition."""
        names = self._kept.names(body.revision, position.term)
        if names is None:
            self._on_event(
                700, f"revision {body.revision} of {position} is unknown: not readable as history"
            )
            return
        partition.live.ingest(position.term, position.seq, body, names)

    def committed(self, records: Sequence[Record], at_ns: int, state: PartitionState) -> None:
        """Take over what a committed transaction changed."""
        current = self.current
        current.state = state
        self.latest_ns = max(self.latest_ns, at_ns)
        for position, _, _, body in records:
            if isinstance(body, Batch):
                self.deal_out(current, position, body)
            current.live.note(position.term, position.seq)

    # ------------------------------------------------------------------ rolling and flushing

    async def roll_if_due(self, now_ns: int) -> bool:
        """Begin a new partition when the day or the size asks for it. Raises sqlite3.Error."""
        current = self.current
        limit = self._settings.part_size_bytes
        key = next_key(current.key, 0, now_ns, limit)
        if key == current.key:
            return False
        await self._begin(key, now_ns)
        self._freeze(current)
        return True

    async def split_if_large(self, now_ns: int) -> bool:
        """Begin a new part of the day when the file has grown too large. Raises sqlite3.Error."""
        current = self.current
        size = size_of(current.path)
        key = next_key(current.key, size, now_ns, self._settings.part_size_bytes)
        if key == current.key:
            return False
        await self._begin(key, now_ns)
        self._freeze(current)
        return True

    async def _begin(
        self, key: PartitionKey, now_ns: int, scans: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        path = self._directory / key.file_name
        database = await open_writer(path, PARTITION_TABLES, "NORMAL")
        begun: list[Statement] = [(INSERT_META, [("begun_ns", now_ns)])]
        if scans:
            begun.append((INSERT_SCAN, sorted(scans)))
        try:
            await database.run(lambda connection: execute(connection, begun))
        except BaseException:  # a connection left behind would hang the exit for ever
            await database.close()
            raise
        self.partitions.append(
            Partition(key, path, database, PartitionState(scans=scans), {}, {}, 0, None, now_ns)
        )

    def _freeze(self, partition: Partition) -> None:
        if partition.frozen is None:
            partition.frozen, partition.live = partition.live, TailSet()
            partition.frozen.freeze()

    def freeze_if_due(self, now_ns: int) -> None:
        """Start a flush when the live tail is large or old."""
        current = self.current
        live = current.live
        old = live.since_ns is not None and now_ns - live.since_ns >= self._settings.tail_age_ns
        if live.count >= self._settings.tail_samples_max or old:
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
                if partition.live.empty:
                    await self._seal(partition)
                else:
                    self._freeze(partition)

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

    async def replace_damaged(self, partition: Partition, why: str, now_ns: int) -> None:
        """Set a damaged file aside; samples that are still in memory go to the file in use."""
        if partition not in self.partitions:
            return
        index = self.partitions.index(partition)
        was_current = partition is self.current
        if partition.database is not None:
            with suppress(sqlite3.Error):  # it is damaged: closing is all that is wanted
                await partition.database.close()
            partition.database = None
        del self.partitions[index]
        end_ns = now_ns if was_current else self.partitions[index].begun_ns
        self._lose(partition.path, partition.begun_ns, end_ns, why, now_ns)
        if was_current:
            key = PartitionKey(
                max(partition.key.day, day_of(now_ns)),
                partition.key.part + 1 if day_of(now_ns) <= partition.key.day else 0,
            )
            # Which scan classes there are must be known, or what is lost is nobody's gap.
            await self._begin(key, now_ns, partition.state.scans)
            self.current.live = partition.live
            self.current.frozen = partition.frozen

    def expired(self, now_ns: int) -> list[Partition]:
        """The partitions that age or size no longer allow; sealed ones only."""
        sizes = [(partition.key, size_of(partition.path)) for partition in self.partitions]
        keys = to_drop(sizes, now_ns, self.latest_ns, self._settings)
        return [p for p in self.partitions if p.key in keys and p.database is None]

    def drop(self, partitions: Sequence[Partition]) -> None:
        """Forget partitions and delete their files in the background."""
        for partition in partitions:
            self.partitions.remove(partition)
            self._forget(partition.path)
            removal = asyncio.create_task(asyncio.to_thread(remove, partition.path))
            self._removals.add(removal)
            removal.add_done_callback(self._removed)

    def _removed(self, task: asyncio.Task[None]) -> None:
        self._removals.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._on_event(600, f"an expired partition could not be deleted: {task.exception()}")

    def view(self, point: str) -> View:
        """What a reader may see of a point now."""
        tails: list[tuple[Term, Origin, Columns]] = []
        for partition in self.partitions:
            if partition.frozen is not None:
                tails += partition.frozen.columns_of(point)
            tails += partition.live.columns_of(point)
        return View(self.files(), tails)

    def last_in_memory(self, points: Sequence[str]) -> dict[str, HistoryRow]:
        """The newest sample of each point among those that are still in memory."""
        found: dict[str, HistoryRow] = {}
        for partition in self.partitions:
            for tail_set in (partition.frozen, partition.live):
                for point, row in tail_set.last_rows(points) if tail_set is not None else ():
                    known = found.get(point)
                    if known is None or reading_order(row) >= reading_order(known):
                        found[point] = row
        return found

    def files(self) -> list[FileView]:
        """The files that there are, oldest first."""
        return [FileView(p.path, p.segments, p.span) for p in self.partitions]

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
