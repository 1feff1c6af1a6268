"""Records of the peer on their way in: a bounded line of them, and whether their chain holds.

An adopted record keeps its position, its wire and its digest. It is taken only if its digest
follows from the record before it, where that one is held; and it is taken once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.errors import UNDECODABLE, HotpairError, JournalError, ReplicaError, StoreFull
from gateway.journal.holdings import Holdings
from gateway.journal.records import (
    DIGEST_SIZE,
    EMPTY_DIGEST,
    KEPT,
    Adopted,
    Batch,
    Body,
    Coverage,
    Record,
    chain,
    decode,
)
from gateway.journal.schema import SEQ_BITS
from gateway.journal.waiting import look_at
from gateway.model import Origin, Position, Term

_RECORDS_MAX: Final = 2_000
_BYTES_MAX: Final = 256 << 10
"""A catching-up Standby: measured, a commit of 8 MiB stalls the loop for 160 ms of CPU."""
_ORIGINS: Final = frozenset(Origin)


class Call(NamedTuple):
    """What one call of `adopt` or `keep` brought; the future gives how many were new."""

    records: Sequence[Record]
    kept_only: bool
    future: asyncio.Future[int]

    def done(self, count: int) -> None:
        if not self.future.done():
            self.future.set_result(count)

    def fail(self, error: HotpairError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class AdoptionLine:
    """At most `limit` records of the peer that wait for the writer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: deque[Call] = deque()
        self._count = 0
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return bool(self._calls)

    def join(self, records: Sequence[Adopted], kept_only: bool) -> asyncio.Future[int]:
        """Put them at the end; what can't be decoded fails the future. Raises StoreFull."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.add_done_callback(look_at)
        if self._count and self._count + len(records) > self._limit:
            raise StoreFull("too many records of the peer wait", "await adopt_room() first")
        try:
            call = Call([_decoded(record, kept_only) for record in records], kept_only, future)
        except ReplicaError as error:
            future.set_exception(error)
            return future
        self._calls.append(call)
        self._count += len(records)
        if self._count >= self._limit // 2:
            self._room.clear()
        return future

    async def room(self) -> None:
        """Wait until less than half of the line is taken."""
        await self._room.wait()

    def take(self) -> list[Call]:
        """The first calls, together no more than a commit should hold, but at least one."""
        calls: list[Call] = []
        count = size = 0
        while self._calls:
            records = self._calls[0].records
            count += len(records)
            size += sum(len(record.wire) for record in records)
            if calls and (count > _RECORDS_MAX or size > _BYTES_MAX):
                break
            calls.append(self._calls.popleft())
        self._took(-sum(len(call.records) for call in calls))
        return calls

    def put_back(self, calls: Sequence[Call]) -> None:
        """They could not be stored: they are the first again."""
        self._calls.extendleft(reversed(calls))
        self._took(sum(len(call.records) for call in calls))

    def close(self) -> None:
        """Nobody will be served any more."""
        for call in self._calls:
            call.fail(JournalError("the journal closed before it was stored"))
        self._calls.clear()
        self._took(-self._count)

    def _took(self, change: int) -> None:
        self._count += change
        if self._count < max(1, self._limit // 2):
            self._room.set()


class Sorted(NamedTuple):
    """What is to be done with a group of calls."""

    accepted: list[tuple[Call, int]]
    refused: list[tuple[Call, ReplicaError]]
    new: list[Record]
    known: list[Record]


def sort_out(calls: Sequence[Call], holdings: Holdings, own: Position) -> Sorted:
    """Tell new records from known ones and from those that break their chain.

    `own` is the newest record of the term that this node itself writes: nobody else goes on there.
    """
    result = Sorted([], [], [], [])
    group: dict[Position, bytes] = {}
    for call in calls:
        added: dict[Position, bytes] = {}
        known: list[Record] = []
        new: list[Record] = []
        try:
            for record in call.records:
                if _is_new(record, holdings, group, added, known):
                    _check(record, holdings, group, added, own)
                    added[record.position] = record.digest
                    new.append(record)
        except ReplicaError as error:
            result.refused.append((call, error))
            continue
        group |= added
        result.new.extend(new)
        result.known.extend(known)
        result.accepted.append((call, len(new)))
    return result


def _is_new(
    record: Record,
    holdings: Holdings,
    group: dict[Position, bytes],
    added: dict[Position, bytes],
    known: list[Record],
) -> bool:
    position = record.position
    together = added.get(position) or group.get(position)
    if together is not None:
        if together != record.digest:
            raise ReplicaError(f"record {position} came twice, and not alike", _REMEDY)
        return False
    if holdings.holds(position):
        known.append(record)
        return False
    holding = holdings.of(position.term)
    return holding is None or position.seq >= holding.floor


def _check(
    record: Record,
    holdings: Holdings,
    group: dict[Position, bytes],
    added: dict[Position, bytes],
    own: Position,
) -> None:
    position, wire, digest, _ = record
    if position.term == own.term and position.seq > own.seq:
        raise ReplicaError(f"record {position} is of the term that this node writes", _REMEDY)
    before: bytes | None = EMPTY_DIGEST
    if position.seq > 1:
        previous = Position(position.term, position.seq - 1)
        before = added.get(previous) or group.get(previous) or holdings.digest_at(previous)
    if before is not None and chain(before, position, wire) != digest:
        raise ReplicaError(f"record {position} does not follow from the one before it", _REMEDY)


_REMEDY: Final = "Compare the journals with `hotpair status`; a disk or a backup may be at fault"


def _decoded(record: Adopted, kept_only: bool) -> Record:
    """The record with its body. Raises ReplicaError when it can't be one."""
    position, wire, digest = record
    try:
        body = decode(wire)
    except UNDECODABLE as error:
        raise ReplicaError(
            f"record {position} can't be decoded: {error}", "Run the same version on both nodes"
        ) from error
    term, seq = position
    sane = (
        0 <= term.number < 2**63
        and 0 <= term.nonce < 2**64
        and 0 < seq < 1 << SEQ_BITS
        and len(digest) == DIGEST_SIZE
        and _fits(body, term)
    )
    if not sane:
        raise ReplicaError(f"record {position} has values that no node writes", _REMEDY)
    if kept_only and not isinstance(body, KEPT):
        raise ReplicaError(f"record {position} is of a kind that is not kept", _REMEDY)
    return Record(position, wire, digest, body)


def _fits(body: Body, term: Term) -> bool:
    """Whether it is where such a thing may be: a diary holds no observations and claims nothing."""
    if isinstance(body, Batch):
        return term.number > 0 and body.origin in _ORIGINS
    return term.number > 0 or not isinstance(body, Coverage)
