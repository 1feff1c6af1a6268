"""The dialling side of a pull: asks, has what comes committed, and judges. Pure.

One object a connection. Frames are acknowledged in the order of their arrival, each after its
commit. Whether this node is caught up is judged by its own clock: a Head was said after what it
echoes was sent from here, however long it lay on the way.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway.errors import ReplicaError
from gateway.journal.holdings import Holding, difference, wanted
from gateway.journal.records import Adopted
from gateway.model import NS_PER_MS, NS_PER_S, Position, Term
from gateway.replication.effects import (
    Adopt,
    Alarm,
    Book,
    CaughtUp,
    Forgo,
    Keep,
    Proven,
    ReceiverEffect,
    Send,
    Summarise,
)
from gateway.replication.frames import Ack, Fault, Floor, Frame, Have, Head, Kept, Records
from gateway.replication.sender import Summary
from gateway.replication.window import LIMITS

CAUGHT_NS: Final = NS_PER_S
"""Caught up: all that the peer had at most this long ago is committed."""
BEHIND_NS: Final = 2 * NS_PER_S
"""Fell behind: nothing newer than this is known to be complete."""
ACK_NS: Final = 200 * NS_PER_MS
"""How often an acknowledgement is sent even when nothing was committed."""
PROVE_NS: Final = NS_PER_S
ASK_NS: Final = 5 * NS_PER_S
ASK_MAX_NS: Final = 60 * NS_PER_S
"""What is missing or faulted is asked for again after `ASK_NS`, doubled up to this."""


@dataclass(slots=True)
class _Work:
    """A frame that is under way here, or a Head that waits for those before it."""

    ticket: int
    arrival: int
    records: int = 0
    term: Term | None = None
    head: Head | None = None
    done: bool = False


class Receiver:
    """Begin with `begin`; each call gives what is to be done, in order.

    `durable` says whether commits are FULL at the moment; it may be changed at any time.
    """

    def __init__(self, book: Book, durable: bool = False) -> None:
        self._book = book
        self.durable = durable
        self.equal: bool | None = None
        self.caught: bool | None = None
        self._number = 0
        self._theirs: dict[Term, Holding] = {}
        self._head: Head | None = None
        self._work: deque[_Work] = deque()
        self._waiting_records = 0
        self._tickets = 0
        self._arrivals = 0
        self._moved: dict[Term, int] = {}
        self._faulted: set[Term] = set()
        self._frames = 0
        self._acked_ns = 0
        self._begun_ns = 0
        self._good_ns: int | None = None
        self._proved_ns: int | None = None
        self._asked_ns = 0
        self._pace_ns = ASK_NS
        self._incomplete = False

    # ------------------------------------------------------------------ what happens

    def begin(self, kept: Summary, now_ns: int) -> list[ReceiverEffect]:
        """Ask: at the start of the connection, and each time `Summarise` was wanted."""
        if not self._number:
            self._begun_ns = now_ns
        self._number += 1
        self._asked_ns = self._acked_ns = now_ns
        self._incomplete = False
        self._faulted.clear()
        holdings = tuple(self._book.holdings.terms.items())
        summary = tuple((term, count, mark) for term, (count, mark) in kept.items())
        node = self._book.term.node
        return [Send(Have(node, self._number, holdings, summary, self.durable, now_ns))]

    def heard(self, frame: Frame, now_ns: int) -> list[ReceiverEffect]:
        """A frame of the Sender. Raises ReplicaError when it breaks the protocol."""
        self._arrivals += 1
        if isinstance(frame, Records):
            return self._records(frame, now_ns)
        if isinstance(frame, Kept):
            work = self._queue(len(frame.items), None)
            return [Keep(work.ticket, frame.items)]
        if isinstance(frame, Head):
            self._work.append(_Work(0, self._arrivals, head=frame, done=True))
            return self._advance(now_ns)
        if isinstance(frame, Floor):
            own = self._book.holdings.of(frame.term) or Holding()
            if own.floor >= frame.seq:
                return []
            return [Forgo(frame.term, frame.seq - 1, frame.before_ns)]
        if isinstance(frame, Fault):
            if frame.term is not None:
                self._faulted.add(frame.term)
            return [Alarm(700, f"the peer can't send all that it has: {frame.text}")]
        raise ReplicaError(f"the peer sent {type(frame).__name__}, which is not its to send")

    def done(self, ticket: int, now_ns: int) -> list[ReceiverEffect]:
        """What an Adopt or Keep asked for is committed."""
        self._find(ticket).done = True
        return self._advance(now_ns)

    def failed(self, ticket: int, why: str, now_ns: int) -> list[ReceiverEffect]:
        """It can't be taken, since it does not follow: the term is skipped, others go on."""
        work = self._find(ticket)
        work.done = True
        effects: list[ReceiverEffect] = []
        if work.term is None or work.term not in self._faulted:
            if work.term is not None:
                self._faulted.add(work.term)
            effects += [Send(Fault(why, work.term)), Alarm(800, f"not taken from the peer: {why}")]
        return effects + self._advance(now_ns)

    def tick(self, now_ns: int) -> list[ReceiverEffect]:
        """Time passed; at least one each `ACK_NS`."""
        effects: list[ReceiverEffect] = []
        since_ns = self._begun_ns if self._good_ns is None else self._good_ns
        if self.caught is not False and now_ns - since_ns > BEHIND_NS:
            effects += self._catch(False)
        if self._incomplete and now_ns - self._asked_ns >= self._pace_ns:
            self._incomplete = False
            self._pace_ns = min(2 * self._pace_ns, ASK_MAX_NS)
            effects.append(Summarise())
        if now_ns - self._acked_ns >= ACK_NS:
            effects.append(self._ack(now_ns))
        return effects

    # ------------------------------------------------------------------ status

    @property
    def records_behind(self) -> int:
        """Records that are known to be at the peer and are not committed here."""
        return self._waiting_records + (self._head.ahead if self._head else 0)

    @property
    def samples_behind(self) -> int:
        """Samples that the peer had not sent at its last Head."""
        return self._head.samples_ahead if self._head else 0

    @property
    def percent(self) -> float:
        """How much of what the peer has is committed here."""
        if self._head is None:
            return 0.0
        stretches = [stretch for held in self._theirs.values() for stretch in held.stretches]
        total = sum(last - first + 1 for first, last in stretches)
        return 100.0 * max(0.0, 1 - self.records_behind / total) if total else 100.0

    def lag_ns(self, now_ns: int) -> int:
        """The delay from a commit there to its acknowledgement, as the peer measured it last.

        Not caught up, or not heard of for long: the time since everything was complete.
        """
        since_ns = self._begun_ns if self._good_ns is None else self._good_ns
        measured_ns = self._head.lag_ns if self._head else 0
        age_ns = now_ns - since_ns
        return measured_ns if self.caught and age_ns <= BEHIND_NS else max(measured_ns, age_ns)

    @property
    def faulted(self) -> frozenset[Term]:
        """Terms that are skipped until asked for anew."""
        return frozenset(self._faulted)

    # ------------------------------------------------------------------ inside

    def _records(self, frame: Records, now_ns: int) -> list[ReceiverEffect]:
        if not frame.items or frame.first < 1:
            raise ReplicaError(f"the peer sent no records of {frame.term}/{frame.first}")
        self._moved[frame.term] = self._arrivals
        work = self._queue(len(frame.items), frame.term)
        if frame.term in self._faulted:
            work.done = True
            return self._advance(now_ns)
        records = [
            Adopted(Position(frame.term, seq), wire, digest)
            for seq, (wire, digest) in enumerate(frame.items, frame.first)
        ]
        return [Adopt(work.ticket, records)]

    def _queue(self, records: int, term: Term | None) -> _Work:
        self._waiting_records += records
        if self._waiting_records > 2 * LIMITS.window_records:
            raise ReplicaError("the peer sends more than its window allows", "Compare versions")
        self._tickets += 1
        work = _Work(self._tickets, self._arrivals, records, term)
        self._work.append(work)
        return work

    def _find(self, ticket: int) -> _Work:
        return next(work for work in self._work if work.ticket == ticket)

    def _advance(self, now_ns: int) -> list[ReceiverEffect]:
        """Whatever is committed at the front of the line is acknowledged, each Head in its turn."""
        effects: list[ReceiverEffect] = []
        frames = self._frames
        while self._work and self._work[0].done:
            work = self._work.popleft()
            if work.head is not None:
                effects += self._judge(work.head, work.arrival, now_ns)
                continue
            self._frames += 1
            self._waiting_records -= work.records
        if self._frames > frames:
            effects.append(self._ack(now_ns))
        return effects

    def _ack(self, now_ns: int) -> Send:
        self._acked_ns = now_ns
        return Send(Ack(self._frames, now_ns, self.durable, self.equal))

    def _judge(self, head: Head, arrival: int, now_ns: int) -> list[ReceiverEffect]:
        """All that was sent before this Head is committed."""
        self._head = head
        self._theirs.update(head.changed)
        if head.number != self._number:
            return []
        effects: list[ReceiverEffect] = []
        if head.ahead or head.live in self._faulted:
            effects += self._catch(False) if self.caught is None else []
        else:
            said_ns = head.echo_ns + head.held_ns
            self._good_ns = said_ns if self._good_ns is None else max(self._good_ns, said_ns)
            if now_ns - self._good_ns <= CAUGHT_NS:
                effects += self._catch(True)
        due = self._proved_ns is None or now_ns - self._proved_ns >= PROVE_NS
        if not head.ahead and (due or not self.equal):
            effects += self._prove(arrival, now_ns)
        return effects

    def _catch(self, caught: bool) -> list[ReceiverEffect]:
        if self.caught is caught:
            return []
        self.caught = caught
        return [CaughtUp(caught)]

    def _prove(self, arrival: int, now_ns: int) -> list[ReceiverEffect]:
        mine = self._book.holdings.terms
        theirs = {
            term: holding
            for term, holding in self._theirs.items()
            if not self._speaks_later(term, holding, arrival)
        }
        differences = tuple(
            difference({term: mine[term] for term in theirs if term in mine}, theirs)
        )
        self._incomplete = bool(wanted(mine, theirs) or self._faulted)
        self._proved_ns = now_ns
        self.equal = not differences
        if not self._incomplete:
            self._pace_ns = ASK_NS
        return [Proven(differences)]

    def _speaks_later(self, term: Term, theirs: Holding, arrival: int) -> bool:
        """Whether a term can't be compared now: it went on since, or waits for the other pull.

        What came since then was checked by its chain. Of a term that this node wrote the peer may
        lack the newest: that is for the pull the other way to tell.
        """
        if self._moved.get(term, 0) > arrival:
            return True
        own = self._book.holdings.of(term)
        return (
            term.node == self._book.term.node
            and own is not None
            and theirs.last < own.last
            and not wanted({term: own}, {term: theirs})
        )
