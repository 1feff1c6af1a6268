"""Stored batches become samples of points: dealt out to the tail of their file, each one once.

A batch names its points by number, so it can be dealt out only when its revision is known. One that
is not (it arrived before its revision did) stays behind: it is stored and replicated, and its
samples appear as soon as the revision is there. What is dealt out and what is not is a set of
positions, never a watermark: records of the peer arrive in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.errors import UNDECODABLE
from gateway.journal.holdings import Holdings, Stretch, without
from gateway.journal.kept import KeptState
from gateway.journal.partition_file import Partition, records_between
from gateway.journal.records import EMPTY_DIGEST, Batch, Body, decode
from gateway.journal.schema import split_record_id
from gateway.journal.tail import TailSet
from gateway.model import Position, Term


class Dealer:
    """Deals batches out to tails; `on_event(severity, text)` hears of what can't be."""

    def __init__(self, kept: KeptState, on_event: Callable[[int, str], None]) -> None:
        self._kept = kept
        self._on_event = on_event
        self._unknown: set[tuple[int, Term]] = set()
        self._branches = kept.branches
        self._adrift = Holdings()

    def deal_out(self, partition: Partition, position: Position, body: Body) -> None:
        """Take a committed record into the tail of its partition, if its points are known."""
        if isinstance(body, Batch) and not self._adrift.holds(position):
            names = self._kept.names(body.revision, position.term)
            if names is None:
                key = (body.revision, position.term)
                if key not in self._unknown:
                    self._on_event(
                        700,
                        f"revision {body.revision} of {position} is unknown: its batches are"
                        " readable as history once it is",
                    )
                self._unknown.add(key)
                return
            partition.live.ingest(position.term, position.seq, body, names)
        partition.live.note(position)

    async def replay(self, partition: Partition) -> None:
        """Deal out what is stored and not dealt out yet. Raises sqlite3.Error."""
        for term, stretch in partition.not_dealt():
            await self._replay_stretch(partition, term, stretch)

    async def _replay_stretch(self, partition: Partition, term: Term, stretch: Stretch) -> None:
        assert partition.database is not None
        term_id = partition.state.terms[term]
        first, last = stretch
        while first <= last:
            rows = await partition.database.run(partial(records_between, term_id, first, last))
            if not rows:
                return
            for row_id, kind, wire in rows:
                first = split_record_id(row_id)[1] + 1
                position = Position(term, first - 1)
                if kind == "b":
                    self._deal_out_again(partition, position, wire)
                else:
                    partition.live.note(position)

    def _deal_out_again(self, partition: Partition, position: Position, wire: bytes) -> None:
        try:
            body = decode(wire)
        except UNDECODABLE as error:
            self._on_event(900, f"record {position} is damaged and was left out: {error}")
            partition.live.note(position)
            return
        self.deal_out(partition, position, body)

    def numbers_changed(self) -> bool:
        """Whether a ruling gave the numbers of batches another meaning since this was asked."""
        before, self._branches = self._branches, self._kept.branches
        return before != self._branches

    def can_catch_up(self) -> bool:
        """Whether the revision of a batch that stayed behind is known by now."""
        known = {key for key in self._unknown if self._kept.names(*key) is not None}
        self._unknown -= known
        return bool(known)

    def anew(self, partition: Partition) -> None:
        """Forget the tail in use; `replay` deals it out again. Not one that damage left alone."""
        if not any(holding.stretches for holding in self._adrift.terms.values()):
            partition.live = TailSet()

    def find_adrift(self, partitions: list[Partition]) -> None:
        """Which samples are here though their record was lost to damage.

        When such a record is pulled back from the peer it must not be dealt out a second time.
        """
        self._adrift = Holdings()
        for partition in partitions:
            tails = [t for t in (partition.live, partition.frozen) if t is not None]
            for dealt in (partition.flushed, *(tail.dealt for tail in tails)):
                for term, holding in dealt.terms.items():
                    own = partition.held.of(term)
                    for first, last in without(holding.stretches, own.stretches if own else ()):
                        self._adrift.hold(term, first, last, EMPTY_DIGEST)
