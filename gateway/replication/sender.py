"""The answering side of a pull: what the peer lacks, then what is newly committed. Pure.

Wire forms pass through as they are. One object a connection: nothing is remembered of the one
before, the peer says what it has. Commits go into a bounded memory and are never delayed by a slow
peer; what falls out of that memory is read from the store again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.errors import ReplicaError
from gateway.journal.holdings import Holding, Holdings, wanted
from gateway.journal.records import Adopted, Batch, Record
from gateway.model import NS_PER_MS, Position, Term
from gateway.replication.effects import (
    Acked,
    Alarm,
    Book,
    Load,
    LoadKept,
    Send,
    SenderEffect,
    Summarise,
)
from gateway.replication.frames import Ack, Fault, Floor, Frame, Have, Head, Kept, Records
from gateway.replication.kept_queue import KeptQueue
from gateway.replication.lanes import Item, Lane
from gateway.replication.window import LIMITS, Flight, Limits, Window

HEAD_NS: Final = 200 * NS_PER_MS

Summary = Mapping[Term, tuple[int, bytes]]
"""term -> (count, xor of digests) of the kept records."""


class Sender:
    """Feed it what happens, then call `next` until it gives None.

    `level_ns` is when the peer last had everything, as an earlier connection left it (monotonic).
    """

    def __init__(self, book: Book, level_ns: int, limits: Limits = LIMITS) -> None:
        self._book = book
        self._limits = limits
        self.level_ns = level_ns
        self.peer = ""
        self.equal: bool | None = None
        self.durable = False
        self._have: Have | None = None
        self._theirs = Holdings()
        self._lanes: dict[Term, Lane] = {}  # terms ascending, each with something to send
        self._faulted: set[Term] = set()
        self._interleave = False
        self._old_turn = True
        self._out: deque[SenderEffect] = deque()
        self._window = Window(limits)
        self._kept = KeptQueue()
        self._told: dict[Term, Holding] = {}
        self._head_ns = 0
        self._echo = (0, 0)
        self._worst_lag_ns = 0
        self._sent_records = 0
        self._sent_samples = 0

    # ------------------------------------------------------------------ what happens

    def heard(self, frame: Frame, now_ns: int) -> None:
        """A frame of the Receiver. Raises ReplicaError when it breaks the protocol."""
        if isinstance(frame, Have):
            self._answer(frame, now_ns)
        elif isinstance(frame, Ack):
            self._echo = (frame.sent_ns, now_ns)
            self.durable = frame.durable
            self.equal = frame.equal
            self._acknowledged(frame.frames, now_ns)
        elif isinstance(frame, Fault):
            self._out.append(Alarm(800, f"the peer does not take what it is sent: {frame.text}"))
            if frame.term is not None:
                self._skip(frame.term)
        else:
            raise ReplicaError(
                f"the peer sent {type(frame).__name__}, which is not its to send", ""
            )

    def committed(self, records: Sequence[Record], now_ns: int) -> None:
        """Records were committed here, own or adopted ones, after they show in the holdings.

        Kept records that came alone do not show there; they go the same way, by Kept.
        """
        if self._have is None:
            return
        if self.level:
            self.level_ns = now_ns
        held, lane = self._book.holdings, None
        for record in records:
            term, seq = record.position
            if term.node == self.peer or term in self._faulted:
                continue
            if self._theirs.holds(record.position) or not held.holds(record.position):
                continue
            if lane is None or lane.term != term:
                lane = self._lane(term)
            body = record.body
            samples = len(body.samples) if isinstance(body, Batch) else 0
            lane.commit(Item(seq, record.wire, record.digest, samples, now_ns))
        if lane is not None:
            others = sum(other.recent_size for other in self._lanes.values() if other is not lane)
            lane.forget(max(0, self._limits.memory_size - others))

    def summarised(self, summary: Summary) -> None:
        """The kept records here, as asked for by `Summarise`."""
        if self._have is None:
            return
        theirs = {term: (count, mark) for term, count, mark in self._have.kept}
        differs = [term for term in sorted(summary) if summary[term] != theirs.get(term)]
        self._kept.want(tuple(term for term in differs if self._kept_needed(term)))

    def kept_loaded(self, load: LoadKept, items: Sequence[Adopted]) -> None:
        """Kept records were read; none at all: that was the last of them."""
        self._kept.loaded(load, items)

    def loaded(self, load: Load, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Records were read from the store; fewer than asked for when some are not there."""
        lane = self._lanes.get(load.term)
        if lane is None or lane.loading != load:
            return
        lane.loading = None
        if lane.accept(rows):
            return
        holding = self._book.holdings.of(load.term) or Holding()
        if holding.floor > load.first:
            self._out.append(Send(Floor(load.term, holding.floor, self._book.floor_ns)))
        elif self._book.holdings.holds(Position(load.term, load.first)):
            self.unreadable(load, "the store gave nothing")
            return
        self._kept.add(load.term)
        lane.keep_only(holding)
        if not lane.active:
            del self._lanes[load.term]

    def unreadable(self, load: Load, why: str) -> None:
        """Records that should be there can't be read: both sides are told, others go on."""
        text = f"{Position(load.term, load.first)} can't be read back: {why}"
        self._out.append(Send(Fault(text, load.term)))
        self._out.append(Alarm(800, f"{text}; the peer does not get it"))
        self._skip(load.term)

    # ------------------------------------------------------------------ what is to be done

    def next(self, now_ns: int) -> SenderEffect | None:
        """The next thing to do; None when there is nothing until something happens.

        Ask again at least each `HEAD_NS`, when something was fed in, and when a Send is through.
        """
        if self._out:
            return self._out.popleft()
        if self._have is None:
            return None
        if now_ns - self._head_ns >= 2 * HEAD_NS:
            return self._head(now_ns)
        effect = self._send_kept() or self._send_records()
        if effect is None and now_ns - self._head_ns >= HEAD_NS:
            return self._head(now_ns)
        return effect

    # ------------------------------------------------------------------ status

    @property
    def level(self) -> bool:
        """Whether the peer has acknowledged all that it is to get."""
        return self._have is not None and not self._window and not self._lanes

    @property
    def records_behind(self) -> int:
        """Records that the peer has not acknowledged."""
        return self._ahead + self._window.records

    @property
    def samples_behind(self) -> int:
        """Samples of these; those still in the store are estimated."""
        return self._samples_ahead + self._window.samples

    @property
    def percent(self) -> float:
        """How much of what is here the peer has acknowledged."""
        if self._have is None:
            return 0.0
        held = self._book.holdings.terms.values()
        total = sum(last - first + 1 for holding in held for first, last in holding.stretches)
        return 100.0 * max(0.0, 1 - self.records_behind / total) if total else 100.0

    def lag_ns(self, now_ns: int) -> int:
        """The longest delay from commit to acknowledgement since the Head before, or up to now."""
        return max(self._worst_lag_ns, self.pending_ns(now_ns))

    def pending_ns(self, now_ns: int) -> int:
        """How long the oldest record waits for its acknowledgement by now; 0 when none does."""
        if self._have is None or self.level:
            return 0
        times = self._window.times() + [lane.oldest_ns for lane in self._lanes.values()]
        known = [time_ns for time_ns in times if time_ns is not None]
        return now_ns - (min(known) if len(known) == len(times) else self.level_ns)

    @property
    def faulted(self) -> frozenset[Term]:
        """Terms that are skipped until the peer asks anew."""
        return frozenset(self._faulted)

    # ------------------------------------------------------------------ the question

    def _answer(self, have: Have, now_ns: int) -> None:
        """Compare what the peer has with what is here, and begin anew with the difference."""
        self._have, self.peer, self.durable = have, have.node, have.durable
        self._echo = (have.sent_ns, now_ns)
        self._faulted.clear()
        self._kept = KeptQueue()
        self._told, self._head_ns = {}, now_ns - 2 * HEAD_NS
        self._theirs = Holdings()
        for term, holding in have.holdings:
            self._theirs.drop(term, holding.floor - 1)
            for first, last in holding.stretches:
                self._theirs.hold(term, first, last, holding.digest)
        mine, theirs = self._book.holdings.terms, dict(have.holdings)
        stretches: dict[Term, list[tuple[int, int]]] = {}
        for want in wanted(theirs, mine):
            stretches.setdefault(want.term, []).append((want.first, want.last))
        self._lanes = {
            term: Lane(term, found, mine[term].last) for term, found in stretches.items()
        }
        live = self._book.term
        old_records = sum(lane.count for lane in self._lanes.values() if lane.term != live)
        self._interleave = live.number > 0 and old_records > self._limits.long_records
        self._out.extend(
            Send(Floor(term, mine[term].floor, self._book.floor_ns))
            for term in sorted(mine)
            if _lacks_below(theirs.get(term, Holding()), mine[term].floor)
        )
        self._out.append(Summarise())

    def _kept_needed(self, term: Term) -> bool:
        """Whether a term's kept records must go by themselves, before all others.

        Those of the term in use come with its records, if none of these was dropped or damaged:
        it may be a reign of years.
        """
        holding = self._book.holdings.of(term) or Holding()
        whole = holding.stretches == ((1, holding.last),)
        return not (term == self._book.term and whole and term in self._lanes)

    # ------------------------------------------------------------------ sending

    def _lane(self, term: Term) -> Lane:
        lane = self._lanes.get(term)
        if lane is None:
            lane = self._lanes[term] = Lane(term, (), 0)
            self._lanes = {key: self._lanes[key] for key in sorted(self._lanes)}
        return lane

    def _skip(self, term: Term) -> None:
        self._faulted.add(term)
        self._lanes.pop(term, None)

    def _send_kept(self) -> SenderEffect | None:
        """Kept records come first."""
        records, size = self._window.room()
        taken, cost = self._kept.take(records, size, not self._window)
        if not taken:
            return self._kept.load()
        self._window.take_off(Flight(None, 1, len(taken), b"", cost, 0, None))
        return Send(Kept(tuple(taken)))

    def _send_records(self) -> SenderEffect | None:
        if self._kept.ahead:
            return None
        for lane, share in self._turns():
            records, size = self._window.room(share)
            taken = lane.take(records, size, not self._window) if records > 0 else None
            if isinstance(taken, Load):
                return taken
            if taken:
                self._old_turn = lane.term == self._book.term
                return self._fly(lane, taken)
        return None

    def _turns(self) -> list[tuple[Lane, int]]:
        """Whose turn it is: terms ascending; in a long catch-up the newest shares the window."""
        if not self._lanes:
            return []
        oldest = next(iter(self._lanes.values()))
        live = self._lanes.get(self._book.term)
        if not self._interleave or oldest is live:
            return [(oldest, 1)]
        if live is None:
            return [(oldest, 2)]
        turns = [(oldest, 2), (live, 1)]
        return turns if self._old_turn else turns[::-1]

    def _fly(self, lane: Lane, items: list[Item]) -> Send:
        size = sum(item.size for item in items)
        samples = sum(item.samples for item in items)
        first, last = items[0], items[-1]
        self._window.take_off(
            Flight(lane.term, first.seq, last.seq, last.digest, size, samples, first.at_ns)
        )
        self._sent_records += len(items)
        self._sent_samples += samples
        if not lane.active:
            del self._lanes[lane.term]
        rows = tuple((item.wire, item.digest) for item in items)
        return Send(Records(lane.term, first.seq, rows))

    def _acknowledged(self, frames: int, now_ns: int) -> None:
        reached: dict[Term, Acked] = {}
        for flight in self._window.land(frames):
            term = flight.term
            if term is None or term in self._faulted:
                continue
            self._theirs.hold(term, flight.first, flight.last, flight.digest)
            lag_ns = None if flight.at_ns is None else now_ns - flight.at_ns
            self._worst_lag_ns = max(self._worst_lag_ns, lag_ns or 0)
            if term in reached:
                lag_ns = reached[term].lag_ns
            reached[term] = Acked(Position(term, flight.last), self.durable, lag_ns)
        self._out.extend(reached.values())
        self.level_ns = max(self.level_ns, now_ns - self.pending_ns(now_ns))

    # ------------------------------------------------------------------ where it stands

    @property
    def _ahead(self) -> int:
        return self._kept.ahead + sum(lane.count for lane in self._lanes.values())

    @property
    def _samples_ahead(self) -> int:
        mean = self._sent_samples / self._sent_records if self._sent_records else 0.0
        return sum(lane.samples(mean) for lane in self._lanes.values())

    def _head(self, now_ns: int) -> Send:
        assert self._have is not None
        mine, told = self._book.holdings.terms, self._told
        changed = tuple((term, held) for term, held in mine.items() if told.get(term) != held)
        self._told, self._head_ns = dict(mine), now_ns
        lag_ns, self._worst_lag_ns = self.lag_ns(now_ns), 0
        echo_ns, heard_ns = self._echo
        return Send(
            Head(
                self._have.number,
                self._book.term,
                changed,
                self._ahead,
                self._samples_ahead,
                lag_ns,
                echo_ns,
                now_ns - heard_ns,
            )
        )


def _lacks_below(theirs: Holding, floor: int) -> bool:
    """Whether the peer lacks something below our floor that it would still take."""
    term = Term(0, "", 0)
    return bool(wanted({term: theirs}, {term: Holding(1, ((1, floor - 1),) if floor > 1 else ())}))
