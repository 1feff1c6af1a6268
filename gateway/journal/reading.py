"""What is read back of a journal: history, gaps, events, records, and what was kept."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.clock import Clock
from gateway.errors import ControlError, JournalError
from gateway.journal import history, ledger, raw
from gateway.journal.buckets import Buckets
from gateway.journal.coverage import Lost, Ruled, lagging, withdrawn
from gateway.journal.coverage import gaps as gaps_of
from gateway.journal.fills import Written, states
from gateway.journal.history import FileView, View
from gateway.journal.kept import Head
from gateway.journal.opening import Parts
from gateway.journal.records import (
    Adopted,
    Audit,
    Coverage,
    Delivered,
    Event,
    Fill,
    Maintenance,
    Revision,
    Role,
)
from gateway.journal.state import kept_records, kept_summary, newest_kept
from gateway.journal.thinning import Thinning
from gateway.model import NS_PER_S, Cause, Gap, HistoryPage, HistoryRow, Position, Term

_HORIZON_NS: Final = 5 * NS_PER_S
_RECORDS_MAX: Final = 10_000
WRITABLE: Final = (
    "Name a folder that the node may write to; hotpair.service lets it below /var/lib/hotpair only"
)
Key = tuple[str, str]
"""(device, scan class)."""
T = TypeVar("T")


class JournalReading:
    """Everything about a journal that changes nothing."""

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self._state, self._shelf, self._kept = parts.state, parts.shelf, parts.kept
        self._writer, self._reader, self._slow_reader = (
            parts.writer,
            parts.reader,
            parts.slow_reader,
        )
        self._clock = clock
        self._term_opened_ns = clock.utc_ns()

    # ------------------------------------------------------------------ what was kept

    @property
    def facts(self) -> dict[tuple[str, str], Any]:
        """(device, key) -> value of every device fact."""
        return self._kept.facts

    @property
    def maintenance(self) -> list[Maintenance]:
        """What is disabled or substituted now."""
        return self._kept.maintenance

    @property
    def head(self) -> Head | None:
        """The head revision of the configuration, with its record's position and digest."""
        return self._kept.head

    @property
    def revision(self) -> Revision | None:
        """The head revision of the configuration."""
        head = self._kept.head
        return None if head is None else head.revision

    @property
    def diverged(self) -> list[tuple[Position, Revision]]:
        """The revisions that the loser of a split wrote in it, newest first."""
        return self._kept.diverged

    @property
    def begins_ns(self) -> int:
        """History begins here: what was before retention let go of, or before there was a site."""
        born_ns = self._kept.born_ns
        return max(self._writer.floor_ns or 0, self._clock.utc_ns() if born_ns is None else born_ns)

    @property
    def rulings(self) -> tuple[Ruled, ...]:
        """What was ruled on Main-Main: what `Reconstruction` and `streams` take."""
        return self._kept.rulings

    def names(self, revision: int, term: Term) -> tuple[str, ...] | None:
        """The point ids of a revision by number, as a term knew it; None if it isn't known."""
        return self._kept.names(revision, term)

    async def revisions(self, limit: int = 100) -> list[tuple[Position, Revision]]:
        """The newest revisions, newest first, diverged ones among them."""
        return await self._reader.run(lambda c: newest_kept(c, "v", limit))

    async def roles(self, limit: int = 100) -> list[tuple[Position, Role]]:
        """The newest role changes of both nodes, newest first."""
        return await self._reader.run(lambda c: newest_kept(c, "r", limit))

    async def audit(self, limit: int = 100) -> list[tuple[Position, Audit]]:
        """The newest audit entries, newest first."""
        return await self._reader.run(lambda c: newest_kept(c, "a", limit))

    async def events(self, from_ns: int, to_ns: int, limit: int = 1000) -> list[Event]:
        """The events of [from, to), oldest first."""
        return await self._ask(
            lambda: partial(ledger.events, self._reader, self._shelf.files(), from_ns, to_ns, limit)
        )

    async def delivered(self, feed: str) -> list[Delivered]:
        """What a northbound feed last told of its deliveries, newest first, back to a whole one."""
        return await self._ask(
            lambda: partial(ledger.deliveries, self._reader, self._shelf.files(), feed)
        )

    async def _ask(self, work: Callable[[], Callable[[], T]]) -> T:
        return await self._reader.ask(work, self._writer.damage.met)

    def _view(self, point: str) -> View:
        """What may be seen of a point now."""
        device = point.partition("/")[0]
        begin_ns, end_ns, behind = self._gap_window(self._clock.utc_ns())
        own = {scan_class: told_ns for (d, scan_class), told_ns in behind.items() if d == device}
        begin_ns = max(begin_ns, self._writer.floor_ns or 0)
        return self._shelf.view(point, (begin_ns, max(begin_ns, end_ns)), own)

    # ------------------------------------------------------------------ HistoryReader

    async def read(
        self,
        point: str,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: tuple[int, ...] | None = None,
        reverse: bool = False,
    ) -> HistoryPage:
        """The rows in [from, to), oldest first, or newest first with `reverse`.

        Every observation, where streams meet the value that holds restated, in gaps what was wound
        back, and where nothing was a row that says so (`raw`). A page holds at most `limit` (and
        20,000) rows; the cursor stays good over restarts.
        """
        span = (from_ns, to_ns, limit, cursor, reverse)
        return await self._ask(
            lambda: partial(raw.page, self._reader, self._view(point), point, *span)
        )

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        """The last row at or before an instant, or None."""
        return await self._ask(
            lambda: partial(raw.at_or_before, self._reader, self._view(point), point, time_ns)
        )

    async def after(self, point: str, time_ns: int) -> HistoryRow | None:
        """The first row after an instant, or None."""
        return await self._ask(
            lambda: partial(raw.after, self._reader, self._view(point), point, time_ns)
        )

    async def thin(self, point: str, from_ns: int, to_ns: int, buckets: Buckets) -> None:
        """Take what a raw read of [from, to) gives into buckets, in slices between other reads."""
        thinning = Thinning(self._reader, self._view(point), point, from_ns, to_ns, buckets)
        while not await self._reader.run(lambda _: thinning.go_on()):
            pass
        await self._writer.damage.met()  # then `gaps` tell what is missing

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        """The stretches of [from, to) that coverage does not cover, by scan class, in order.

        Each with its cause, and with what windback made of it (`fills.states`). What is yet to be
        declared (the newest seconds; on a Standby, what its Main has yet to send) is not a gap, nor
        is the time before the site's first revision.
        """

        def told(files: Sequence[FileView]) -> tuple[ledger.Declared, list[Written]]:
            asked = (self._reader, files, device, from_ns, to_ns)
            return ledger.coverage(*asked), ledger.fills(*asked)

        found, fills = await self._ask(lambda: partial(told, self._shelf.files()))
        now_ns = self._clock.utc_ns()
        losses = list(found.losses)
        failed_ns = self._writer.store_failed_since_ns
        if failed_ns is not None and self._writer.reigns:
            losses.append(Lost(Cause.STORE, failed_ns, now_ns))
        first_ns, last_ns, behind = self._gap_window(now_ns)
        begin_ns = max(from_ns, first_ns)

        def window(scan_class: str) -> tuple[int, int]:
            end_ns = min(to_ns, behind.get((device, scan_class), last_ns))
            return begin_ns, max(begin_ns, end_ns)

        def configured(term: Term, revision: int) -> bool:
            return self._kept.has_device(revision, term, device)

        missing = [
            gap
            for scan_class in found.scan_classes
            for gap in gaps_of(
                device,
                scan_class,
                window(scan_class),
                found.runs,
                found.holes,
                losses,
                self._writer.floor_ns,
                configured,
                rulings=self._kept.rulings,
            )
        ]
        return states(missing, fills, withdrawn(self._kept.rulings))

    async def fills(self, device: str, from_ns: int, to_ns: int) -> list[Fill]:
        """What was judged of a device's log for [from, to), in the order of term and seq.

        Of two that speak of the same the later one in the list was written later.
        """
        found = await self._ask(
            lambda: partial(ledger.fills, self._reader, self._shelf.files(), device, from_ns, to_ns)
        )
        return [written.fill for written in found]

    def _gap_window(self, now_ns: int) -> tuple[int, int, Mapping[Key, int]]:
        """From when to when gaps are told of, and of which classes only up to when."""
        begin_ns = self._kept.born_ns or 0
        if self._writer.store_failed_since_ns is not None and self._writer.reigns:
            return begin_ns, max(begin_ns, now_ns), {}
        end_ns, behind = self._horizon(now_ns)
        return begin_ns, max(begin_ns, end_ns), behind

    def _horizon(self, now_ns: int) -> tuple[int, Mapping[Key, int]]:
        """Up to when coverage can be expected to be here, and for which classes only up to when."""
        writer, behind = self._writer, self.behind
        if writer.reigns:
            end_ns = self._term_opened_ns if writer.claim is None else writer.claim.through_ns
            fresh = end_ns > now_ns - _HORIZON_NS
        else:
            end_ns, heard_ns = writer.coverage_end_ns, writer.adopted_coverage_ns
            fresh = heard_ns is not None and abs(now_ns - heard_ns) < _HORIZON_NS
        return (end_ns, behind) if fresh else (max(end_ns, now_ns - _HORIZON_NS), {})

    @property
    def claimed_ns(self) -> int:
        """Through when the newest stored record claims all but what is `behind`; 0 if blank."""
        claim = self._claim
        return self._writer.coverage_end_ns if claim is None else claim.through_ns

    @property
    def behind(self) -> Mapping[Key, int]:
        """The classes that the newest stored record claims less far than others: how far."""
        claim = self._claim
        return {} if claim is None else lagging(claim)

    @property
    def _claim(self) -> Coverage | None:
        """The last of this reign, or else the newest that is known of any."""
        return self._writer.claim or self._writer.newest_claim

    async def last_values(self, points: Sequence[str]) -> dict[str, HistoryRow]:
        """The newest sample of each point that has any: what the live table starts from."""
        tails, view = self._shelf.last_in_memory(points), self._view("")
        return await self._reader.run(
            lambda _: history.last_values(self._reader, view, tails, points)
        )

    # ------------------------------------------------------------------ replication and care

    async def records(
        self, term: Term, from_seq: int, limit: int = 1000, size_max: int = 1 << 20
    ) -> list[tuple[int, bytes, bytes]]:
        """(seq, wire, digest) of a term's records from a seq on, without a hole.

        At least one if it is held, however large; else at most `size_max` bytes of wire.
        """
        pieces = self._shelf.pieces(term, from_seq)
        limit = min(limit, _RECORDS_MAX)
        return await self._slow_reader.run(
            lambda _: ledger.records(self._slow_reader, pieces, term, limit, size_max)
        )

    async def kept_summary(self) -> dict[Term, tuple[int, bytes]]:
        """Term -> how many of its records are kept, and the exclusive or of their digests."""
        return await self._slow_reader.run(kept_summary)

    async def kept_records(
        self, terms: Collection[Term], after: Position | None = None
    ) -> list[Adopted]:
        """The kept records of these terms by position; 10,000 or 8 MiB a call, then `after`."""
        return await self._slow_reader.run(lambda c: kept_records(c, terms, after))

    async def verify(self) -> list[Position]:
        """Compute every chain anew; the positions whose digest does not follow from the wire."""
        pieces = {
            term: [self._shelf.pieces(term, first) for first, _ in holding.stretches]
            for term, holding in self._shelf.holdings.terms.items()
        }
        return await self._slow_reader.run(lambda _: ledger.verify(self._slow_reader, pieces))

    async def backup(self, target: Path) -> None:
        """Copy the journal as it stands into a new folder; collecting goes on.

        Raises ControlError where that can't be, JournalError.
        """
        if not target.is_absolute():
            raise ControlError(f"{target} is not an absolute path", "Give the full path")
        try:
            if await asyncio.to_thread(target.exists):
                raise ControlError(f"{target} exists already", "Choose a new folder")
        except OSError as error:
            raise ControlError(f"the node may not look at {target}", WRITABLE) from error
        files = self._shelf.files()

        def work(state: sqlite3.Connection) -> None:
            ledger.backup(self._slow_reader, files, state, target)

        try:
            await self._slow_reader.run(work)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the backup to {target} failed: {error}", WRITABLE) from error
