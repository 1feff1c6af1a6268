"""A node's journal without asyncio: the real transactions, holdings, chains and kept state.

`Disk` is what a crash leaves behind, `Store` what a process makes of it. A commit is FULL or, in a
partition, NORMAL: power loss takes the newest of those that no FULL commit followed.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.journal.coverage import complete_ns, cut, oldest_ns
from gateway.journal.kept import KeptState
from gateway.journal.partition_file import load
from gateway.journal.records import (
    EMPTY_DIGEST,
    KEPT,
    Adopted,
    Batch,
    Body,
    Coverage,
    Fill,
    Loss,
    Record,
    chain,
    decode,
    encode,
    seal,
)
from gateway.journal.schema import PARTITION_TABLES, PartitionState, transaction
from gateway.model import NS_PER_S, Cause, Position, Term
from tests.simulation.agenda import HostClock

GROUPS_A_CHECKPOINT = 40
KEPT_A_PAGE = 50


class Disk:
    """One node's files."""

    def __init__(self) -> None:
        self.full = False
        self.groups: list[tuple[tuple[Record, ...], int, bool]] = []
        self.terms: set[Term] = set()
        self.kept: dict[Position, Record] = {}
        self.born = 0
        self._open()

    def _open(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA synchronous=OFF")
        for table in PARTITION_TABLES:
            self.connection.execute(table)

    def write(
        self, records: Sequence[Record], at_ns: int, full: bool, state: PartitionState
    ) -> PartitionState:
        """Commit records to the partition; the state that the next transaction needs."""
        statements, state = transaction(records, at_ns, state)
        self.connection.execute("BEGIN")
        for sql, rows in statements:
            self.connection.executemany(sql, rows)
        self.connection.execute("COMMIT")
        self.groups.append((tuple(records), at_ns, full))
        return state

    def make_durable(self) -> None:
        """What is committed outlives a loss of power from now on."""
        if self.groups:
            records, at_ns, _ = self.groups[-1]
            self.groups[-1] = (records, at_ns, True)

    def durable(self) -> set[Position]:
        """What outlives a loss of power."""
        last = max((at for at, (_, _, full) in enumerate(self.groups) if full), default=-1)
        kept = [record.position for records, _, _ in self.groups[: last + 1] for record in records]
        return {*kept, *self.kept}

    def lose_power(self, lost: Callable[[int], int]) -> int:
        """What was not FULL may be gone: `lost(n)` says how many of the n newest commits."""
        exposed = 0
        for _, _, full in reversed(self.groups):
            if full or exposed == GROUPS_A_CHECKPOINT:
                break
            exposed += 1
        gone = lost(exposed)
        if gone:
            self.become(self.groups[:-gone], self.terms, self.kept)
        return gone

    def copy(self) -> tuple[list[Any], set[Term], dict[Position, Record]]:
        """A backup, as it stands."""
        return list(self.groups), set(self.terms), dict(self.kept)

    def become(self, groups: list[Any], terms: set[Term], kept: dict[Position, Record]) -> None:
        """These are the files now."""
        self.groups, self.terms, self.kept = [], set(terms), dict(kept)
        self.connection.close()
        self._open()
        self.born += 1
        state = PartitionState()
        for records, at_ns, full in groups:
            state = self.write(records, at_ns, full, state)


@dataclass(slots=True)
class Ticket:
    """Something that waits for its commit; `then(error)` is called once."""

    item: Any
    then: list[Callable[[str | None], None]] = field(default_factory=list)
    done: bool = False
    record: Record | None = None

    def end(self, error: str | None = None) -> None:
        self.done = True
        for call in self.then:
            call(error)

    def __await__(self) -> Any:  # the real House hands out futures; nobody awaits in here
        raise AssertionError


class Store:
    """The journal of one process. `later` runs work in it, if it still lives then."""

    def __init__(
        self,
        disk: Disk,
        node: str,
        clock: HostClock,
        later: Callable[..., None],
        chance: Any,
        commit_ns: int,
        crash: Callable[[], bool],
    ) -> None:
        self.disk = disk
        self.node = node
        self.durable = False
        self.conflicts = 0
        self.floor_ns = 0
        self.failed_since_ns: int | None = None
        self.on_commit: list[Callable[[Sequence[Record], bool], None]] = []
        self.on_store: list[Callable[[int | None], None]] = []
        self._clock = clock
        self._later = later
        self._chance = chance
        self._commit_ns = commit_ns
        self._crash = crash
        self._queue: deque[Ticket] = deque()
        self._busy = False
        self.claim: Coverage | None = None
        loaded = load(disk.connection)
        self._state, self.holdings = loaded.state, loaded.held
        self.coverage_end_ns = loaded.through_ns
        self.kept = KeptState()
        for position, record in sorted(disk.kept.items()):
            self.kept.apply(position, record.body, record.digest)
        self._digests = {r.position: r.digest for records, _, _ in disk.groups for r in records}
        self.term_seen = max((t.number for t in {*disk.terms, *self.holdings.terms}), default=0)
        self._open_term(0)

    def _open_term(self, number: int) -> None:
        self.term = Term(number, self.node, self._chance.getrandbits(64))
        self.disk.terms.add(self.term)
        self.term_seen = max(self.term_seen, number)
        self._seq, self._digest = 0, EMPTY_DIGEST
        self.opened_ns = self._clock.utc_ns()
        if self.claim is not None:  # what followed it is this term's to declare
            self.opened_ns = min(self.opened_ns, self.claim.through_ns)
        self.claim = None
        self.resting = False
        self._resumed_ns = -(2**63)

    # ------------------------------------------------------------------------- what others call

    def refuses(self, body: Body) -> bool:
        """Whether the product's journal would take no such body: nobody reigns here."""
        return isinstance(body, Batch | Coverage | Fill) and (self.term.number == 0 or self.resting)

    def append(self, body: Body) -> Ticket:
        """Queue a body."""
        if isinstance(body, Coverage) and not any(map(self._is_barrier, self._queue)):
            body = cut(body, self._resumed_ns)
        return self._join(body)

    def adopt(self, records: Sequence[Adopted], then: Callable[[str | None], None]) -> None:
        """Commit records of the peer."""
        self._join(list(records)).then.append(then)

    def keep(self, records: Sequence[Adopted], then: Callable[[str | None], None]) -> None:
        """Take over kept records."""
        self._join(("keep", list(records))).then.append(then)

    def begin_term(self, number: int, then: Callable[[str | None], None]) -> None:
        """Seal what follows in a new term of at least that number; 0 for a diary."""
        self.resting = number == 0
        self._join(("term", number)).then.append(then)

    def rows(self, term: Term, first: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        """(seq, wire, digest), contiguous from `first`."""
        term_id = self._state.terms.get(term)
        if term_id is None:
            return []
        found = self.disk.connection.execute(
            "SELECT record_id & 0xFFFFFFFFFF, wire, digest FROM record"
            " WHERE record_id BETWEEN ? AND ? ORDER BY record_id LIMIT ?",
            (term_id << 40 | first, (term_id + 1) << 40, limit),
        ).fetchall()
        return [row for place, row in enumerate(found) if row[0] == first + place]

    def kept_summary(self) -> dict[Term, tuple[int, bytes]]:
        """Count and xor of the digests of all kept records, by term."""
        found: dict[Term, tuple[int, int]] = {}
        for position, record in self.disk.kept.items():
            count, mark = found.get(position.term, (0, 0))
            found[position.term] = count + 1, mark ^ int.from_bytes(record.digest, "big")
        return {term: (count, mark.to_bytes(16, "big")) for term, (count, mark) in found.items()}

    def kept_page(self, terms: Collection[Term], after: Position | None) -> list[Adopted]:
        """A page of kept records of these terms, by position."""
        found = [
            Adopted(position, record.wire, record.digest)
            for position, record in sorted(self.disk.kept.items())
            if position.term in terms and (after is None or position > after)
        ]
        return found[:KEPT_A_PAGE]

    # ------------------------------------------------------------------------------- commits

    def _join(self, item: Any) -> Ticket:
        ticket = Ticket(item)
        self._queue.append(ticket)
        if self.failed_since_ns is not None and isinstance(item, Batch | Coverage | Fill):
            self._later(0, self._shed)
        self._begin()
        return ticket

    def _begin(self, delay_ns: int | None = None) -> None:
        if not self._busy and self._queue:
            self._busy = True
            if delay_ns is None:
                delay_ns = int(self._commit_ns * (0.2 + 0.8 * self._chance.random()))
            self._later(delay_ns, self._commit)

    def _commit(self) -> None:
        self._busy = False
        if self.disk.full:
            self._fail()
        else:
            if self.failed_since_ns is not None:
                self._resume()
            group: list[Ticket] = []
            while self._queue and not self._is_barrier(self._queue[0]):
                group.append(self._queue.popleft())
            if group:
                self._write(group)
            elif self._queue:
                self._pass_barrier(self._queue.popleft())
        self._begin(NS_PER_S if self.failed_since_ns is not None else None)

    @staticmethod
    def _is_barrier(ticket: Ticket) -> bool:
        return isinstance(ticket.item, tuple) and ticket.item[0] == "term"

    def _pass_barrier(self, ticket: Ticket) -> None:
        number = ticket.item[1]
        if self._crash():
            return
        self._open_term(max(number, self.term_seen + 1) if number else 0)
        if not self._crash():
            ticket.end()

    def _write(self, group: list[Ticket]) -> None:
        if self._crash():
            return
        records: list[Record] = []
        keeps: list[Adopted] = []
        ended: list[tuple[Ticket, str | None]] = []
        seq, digest = self._seq, self._digest
        new: dict[Position, bytes] = {}
        for ticket in group:
            if isinstance(ticket.item, list):
                ended.append((ticket, self._adopted(ticket.item, records, new)))
                continue
            ended.append((ticket, None))
            if isinstance(ticket.item, tuple):
                keeps += ticket.item[1]
                continue
            seq += 1
            ticket.record = seal(self.term, seq, digest, ticket.item)
            digest = ticket.record.digest
            new[ticket.record.position] = digest
            records.append(ticket.record)
        now_ns = self._clock.utc_ns()
        if records:
            self._state = self.disk.write(records, now_ns, self.durable, self._state)
        for record in records:
            if isinstance(record.body, KEPT):
                self.disk.kept[record.position] = record
        for item in keeps:
            body = decode(item.wire)
            self.disk.kept.setdefault(
                item.position, Record(item.position, item.wire, item.digest, body)
            )
            self.kept.apply(item.position, body, item.digest)
        if self._crash():
            return
        self._seq, self._digest = seq, digest
        self._digests |= new
        self._committed(records, ended)

    def _committed(
        self, records: Sequence[Record], ended: Sequence[tuple[Ticket, str | None]]
    ) -> None:
        for record in records:
            position, body = record.position, record.body
            self.holdings.note(position, record.digest)
            self.kept.apply(position, body, record.digest)
            self.term_seen = max(self.term_seen, position.term.number)
            if isinstance(body, Coverage):
                self.coverage_end_ns = max(self.coverage_end_ns, body.through_ns)
                if position.term == self.term:
                    self.claim = body
        for ticket, error in ended:
            ticket.end(error)
        for sink in self.on_commit:
            sink(records, True)

    def _adopted(
        self, items: list[Adopted], records: list[Record], new: dict[Position, bytes]
    ) -> str | None:
        """Add what is new of them; why they can't be taken, if so."""
        mine: list[Record] = []
        known = dict(new)
        for position, wire, digest in items:
            held = known.get(position) or self._digests.get(position)
            if held is not None and self._is_held(position, known):
                self.conflicts += held != digest
                continue
            before = Position(position.term, position.seq - 1)
            previous = known.get(before) or (
                self._digests.get(before) if position.seq > 1 else EMPTY_DIGEST
            )
            if previous is not None and chain(previous, position, wire) != digest:
                return f"{position} does not follow from the record before it"
            known[position] = digest
            mine.append(Record(position, wire, digest, decode(wire)))
        records += mine
        new |= {record.position: record.digest for record in mine}
        return None

    def _is_held(self, position: Position, known: dict[Position, bytes]) -> bool:
        return position in known or self.holdings.holds(position)

    # ------------------------------------------------------------------------------- failure

    def _fail(self) -> None:
        """The disk takes nothing: batches go on unstored, claims are refused, the rest waits."""
        now_ns = self._clock.utc_ns()
        if self.failed_since_ns is None:
            times = [now_ns]
            for ticket in self._queue:
                if isinstance(ticket.item, Batch):
                    times.append(ticket.item.requested_ns)
                elif isinstance(ticket.item, Coverage):
                    times.append(oldest_ns(ticket.item))
            if self.claim is not None:
                times.append(complete_ns(self.claim))
            self.failed_since_ns = min(times)
            self._shed()
            for sink in self.on_store:
                sink(self.failed_since_ns)
        else:
            self._shed()

    def _shed(self) -> None:
        if self.failed_since_ns is None:
            return
        line, self._queue = self._queue, deque()
        unstored: list[Record] = []
        for ticket in line:
            if isinstance(ticket.item, Batch):
                wire = encode(ticket.item)
                unstored.append(Record(Position(self.term, 0), wire, EMPTY_DIGEST, ticket.item))
                ticket.end("not stored")
            elif isinstance(ticket.item, Coverage | Fill):
                ticket.end("not stored")
            elif self._is_barrier(ticket):
                if not ticket.item[1]:  # a diary needs no disk
                    self._open_term(0)
                self.resting = False
                ticket.end("not stored" if ticket.item[1] else None)
            else:
                self._queue.append(ticket)
        if unstored:
            for sink in self.on_commit:
                sink(unstored, False)

    def _refuse_claims(self) -> None:
        line, self._queue = self._queue, deque()
        for ticket in line:
            if isinstance(ticket.item, Coverage | Fill):
                ticket.end("it would claim what is lost")
            else:
                self._queue.append(ticket)

    def _resume(self) -> None:
        assert self.failed_since_ns is not None
        now_ns = self._clock.utc_ns()
        self._refuse_claims()  # said while nothing was kept, and not shed yet
        loss = Loss(self.failed_since_ns, now_ns, Cause.STORE, "the store took nothing")
        self._queue.appendleft(Ticket(loss))
        self.failed_since_ns = None
        self._resumed_ns = now_ns
        for sink in self.on_store:
            sink(None)
