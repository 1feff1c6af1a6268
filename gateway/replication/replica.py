"""What the I/O side needs of a journal and of a channel: Protocols, fulfilled elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from gateway.journal.records import Adopted, Record
from gateway.model import Position, Term
from gateway.replication.effects import Book
from gateway.replication.sender import Summary


class Replica(Book, Protocol):
    """A journal, as far as replication reads and feeds it (gateway/journal/journal.py)."""

    def adopt(self, records: Sequence[Adopted]) -> asyncio.Future[int]:
        """Commit records of the peer; raises StoreFull when the queue is full.

        The future fails with ReplicaError when they don't follow, JournalError with the store.
        """

    def keep(self, records: Sequence[Adopted]) -> asyncio.Future[int]:
        """Take over kept records whose originals no longer exist."""

    async def adopt_room(self) -> None:
        """Wait until less than half of the queue of the peer's records is taken."""

    async def forgo(self, term: Term, through_seq: int, before_ns: int) -> None:
        """Nobody has the term up to there: raise the floor, declare the gap."""

    async def records(
        self, term: Term, from_seq: int, limit: int = 1000, size_max: int = 1 << 20
    ) -> list[tuple[int, bytes, bytes]]:
        """(seq, wire, digest), contiguous from a seq on."""

    async def kept_summary(self) -> Summary:
        """Count and digests' xor of the kept records of each term."""

    async def kept_records(
        self, terms: Collection[Term], after: Position | None = None
    ) -> list[Adopted]:
        """A page of kept records of these terms."""

    def on_commit(self, sink: Callable[[Sequence[Record], bool], None]) -> None:
        """Have `sink(records, stored)` called after each commit."""


class Channel(Protocol):
    """A framed, bounded, ordered stream of messages to the peer (gateway/pair/channel.py)."""

    peer: str
    path: str

    async def send(self, frame: bytes) -> None:
        """Waits while the peer takes nothing. Raises LinkClosed."""

    async def receive(self) -> bytes:
        """The next message. Raises LinkClosed."""

    def close(self) -> None:
        """End it, at once."""
