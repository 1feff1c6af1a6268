"""The records that wait for their commit: bounded, in order, with back-pressure."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gateway.errors import JournalError, StoreFull
from gateway.journal.coverage import oldest_ns
from gateway.journal.records import EMPTY_DIGEST, Batch, Body, Coverage, Event, Fill, Record, encode
from gateway.model import Position, Term

_EVENTS_WAITING_MAX: Final = 1_000
"""Records among which a failing store still queues events; the rest of the line is for others."""


class Waiting(NamedTuple):
    """A body that is not committed yet."""

    body: Body
    wire: bytes
    future: asyncio.Future[Record]

    def fail(self, error: Exception) -> None:
        """Tell whoever waits, if anybody still does."""
        if not self.future.done():
            self.future.set_exception(error)


class WaitingLine:
    """At most `limit` bodies; `joined` and `left` count them, so that a place can be named."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line: deque[Waiting] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self.joined = 0
        self.left = 0

    def __len__(self) -> int:
        return len(self._line)

    @property
    def holds_observations(self) -> bool:
        """Whether batches or claims wait here: what a failing store sends off at once."""
        return any(isinstance(waiting.body, Batch | Coverage | Fill) for waiting in self._line)

    def join(self, body: Body, failing: bool = False) -> asyncio.Future[Record]:
        """Add a body at the end; few events while the store is `failing`, as they heap up then.

        Raises StoreFull; TypeError or OverflowError if it has no wire.
        """
        wire = encode(body)
        if failing and isinstance(body, Event) and len(self._line) >= _EVENTS_WAITING_MAX:
            raise StoreFull("too many events wait for a failing store", "Make room on the disk")
        if len(self._line) >= self._limit:
            raise StoreFull("too many records wait for the journal", "await room() first")
        self._line.append(Waiting(body, wire, self._future()))
        self.joined += 1
        if len(self._line) >= self._limit // 2:
            self._room.clear()
        return self._line[-1].future

    def join_first(self, body: Body) -> None:
        """Add a record of the journal's own before all others, whatever the limit."""
        self._line.appendleft(Waiting(body, encode(body), self._future()))
        self.joined += 1

    def _future(self) -> asyncio.Future[Record]:
        future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        future.add_done_callback(look_at)
        return future

    async def room(self) -> None:
        """Wait until less than half of the line is taken."""
        await self._room.wait()

    def take(self, count: int) -> list[Waiting]:
        """The first `count`; they have left only when `done` is told so."""
        return [self._line.popleft() for _ in range(min(count, len(self._line)))]

    def put_back(self, group: Sequence[Waiting]) -> None:
        """They could not be committed: they are the first again."""
        self._line.extendleft(reversed(group))

    def withdraw(self, future: asyncio.Future[Record]) -> bool:
        """Take a body back that nobody began to store; False when it is too late for that."""
        for place, waiting in enumerate(self._line):
            if waiting.future is future:
                del self._line[place]
                waiting.fail(StoreFull("the record was withdrawn: it could not be stored in time"))
                self.done(1)
                return True
        return False

    def done(self, count: int) -> None:
        """So many have left for good."""
        self.left += count
        if len(self._line) < max(1, self._limit // 2):
            self._room.set()

    def oldest_claim_ns(self, now_ns: int) -> int:
        """The earliest instant that the batches and coverage in line speak of, at most now."""
        times = [now_ns]
        for waiting in self._line:
            if isinstance(waiting.body, Batch):
                times.append(waiting.body.requested_ns)
            elif isinstance(waiting.body, Coverage):
                times.append(oldest_ns(waiting.body))
        return min(times)

    def shed(self, term: Term) -> list[Record]:
        """Send off what the failing store can't take; the batches, as unstored records (seq 0).

        Coverage and fills go too: they would claim what is not kept.
        """
        batches: list[Record] = []
        rest: deque[Waiting] = deque()
        for waiting in self._line:
            if isinstance(waiting.body, Batch):
                position = Position(term, 0)
                batches.append(Record(position, waiting.wire, EMPTY_DIGEST, waiting.body))
                waiting.fail(StoreFull("the batch was not stored"))
            elif isinstance(waiting.body, Coverage | Fill):
                waiting.fail(StoreFull("it would claim what is not stored"))
            else:
                rest.append(waiting)
        gone = len(self._line) - len(rest)
        self._line = rest
        self.done(gone)
        return batches

    def refuse_claims(self) -> None:
        """Send off the claims in line: what they claim was not stored, or is lost with its file."""
        rest: deque[Waiting] = deque()
        for waiting in self._line:
            if isinstance(waiting.body, Coverage | Fill):
                waiting.fail(StoreFull("it would claim what is lost"))
            else:
                rest.append(waiting)
        gone = len(self._line) - len(rest)
        self._line = rest
        self.done(gone)

    def close(self) -> None:
        """Nobody will be served any more."""
        for waiting in self._line:
            waiting.fail(JournalError("the journal closed before it was stored"))
        self._line.clear()
        self._room.set()


def look_at(future: asyncio.Future[Any]) -> None:
    """Many callers never ask what became of a record; the sinks and events have told already."""
    if not future.cancelled():
        future.exception()
