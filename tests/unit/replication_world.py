"""Two nodes that pull from each other, with a journal in memory, under hand-driven time.

A frame goes through its wire form each time. Commits take a while; a crash loses what was not
committed; a cut loses what is under way.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gateway.errors import ReplicaError
from gateway.journal.holdings import Holding, Holdings, difference
from gateway.journal.records import (
    EMPTY_DIGEST,
    KEPT,
    Adopted,
    Batch,
    Body,
    Fact,
    Record,
    chain,
    decode,
    seal,
)
from gateway.model import NS_PER_MS, Position, Term
from gateway.replication import effects as ef
from gateway.replication.frames import Assembler, Frame, Kept, Records, encode
from gateway.replication.receiver import Receiver
from gateway.replication.sender import Sender
from gateway.replication.window import LIMITS, Limits

STEP_NS = 10 * NS_PER_MS
SMALL = Limits(window_size=2_000, window_records=12, memory_size=600, long_records=30)


def a_batch(number: int, samples: int = 3) -> Batch:
    rows = tuple((point, number, float(number), 0) for point in range(samples))
    return Batch("plc1", "normal", 1, 0, number, number, rows)


def a_fact(number: int) -> Fact:
    return Fact("plc1", f"key{number % 5}", number, number)


class ModelJournal:
    """What replication may rely on of a journal, and nothing more."""

    def __init__(self, node: str, term: Term) -> None:
        self.node = node
        self.term = term
        self.floor_ns = 0
        self.holdings = Holdings()
        self.rows: dict[Term, dict[int, tuple[bytes, bytes]]] = {}
        self.kept: dict[Position, Adopted] = {}
        self.unreadable: set[Position] = set()
        self.page = 1_000
        self._end: dict[Term, tuple[int, bytes]] = {}

    def append(self, bodies: Sequence[Body]) -> list[Record]:
        records = []
        for body in bodies:
            seq, digest = self._end.get(self.term, (0, EMPTY_DIGEST))
            record = seal(self.term, seq + 1, digest, body)
            self._end[self.term] = (seq + 1, record.digest)
            self._take(Adopted(record.position, record.wire, record.digest))
            records.append(record)
        return records

    def adopt(self, records: Sequence[Adopted]) -> list[Record]:
        for record in records:
            rows = self.rows.get(record.position.term, {})
            known = rows.get(record.position.seq)
            if known is not None and known != (record.wire, record.digest):
                raise ReplicaError(f"{record.position} is another record here")
            before = rows.get(record.position.seq - 1)
            previous = EMPTY_DIGEST if record.position.seq == 1 else before and before[1]
            if previous and chain(previous, record.position, record.wire) != record.digest:
                raise ReplicaError(f"{record.position} does not follow")
            if (
                record.position.seq
                > (self.holdings.of(record.position.term) or Holding()).floor - 1
            ):
                self._take(record)
        return [Record(r.position, r.wire, r.digest, decode(r.wire)) for r in records]

    def keep(self, records: Sequence[Adopted]) -> list[Record]:
        for record in records:
            self.kept.setdefault(record.position, record)
        return [Record(r.position, r.wire, r.digest, decode(r.wire)) for r in records]

    def _take(self, record: Adopted) -> None:
        self.rows.setdefault(record.position.term, {})[record.position.seq] = record[1:]
        if isinstance(decode(record.wire), KEPT):
            self.kept.setdefault(record.position, record)
        self.holdings.note(record.position, record.digest)

    def records(self, load: ef.Load) -> list[ef.Row]:
        found: list[ef.Row] = []
        rows = self.rows.get(load.term, {})
        seq, size = load.first, 0
        limit = min(load.limit, self.page)
        while seq in rows and len(found) < limit and (size < load.size_max or not found):
            if Position(load.term, seq) in self.unreadable:
                break
            found.append((seq, *rows[seq]))
            size += len(rows[seq][0])
            seq += 1
        return found

    def kept_summary(self) -> dict[Term, tuple[int, bytes]]:
        found: dict[Term, tuple[int, bytes]] = {}
        for position, record in self.kept.items():
            count, mark = found.get(position.term, (0, bytes(16)))
            both = bytes(a ^ b for a, b in zip(mark, record.digest, strict=True))
            found[position.term] = (count + 1, both)
        return found

    def kept_records(self, load: ef.LoadKept, limit: int = 4) -> list[Adopted]:
        chosen = sorted(p for p in self.kept if p.term in load.terms)
        return [self.kept[p] for p in chosen if load.after is None or p > load.after][:limit]

    def drop(self, term: Term, through: int) -> None:
        self.holdings.drop(term, through)
        for seq in [seq for seq in self.rows.get(term, {}) if seq <= through]:
            del self.rows[term][seq]
        self.floor_ns = max(self.floor_ns, through)

    def lose(self, term: Term, first: int, last: int) -> None:
        rows = self.rows.get(term, {})
        for seq in [seq for seq in rows if first <= seq <= last]:
            del rows[seq]
        self.holdings.lose(term, first, last)
        if rows:
            self.holdings.note(Position(term, max(rows)), rows[max(rows)][1])


class Pull:
    """One direction: `dialler` pulls from `answerer`."""

    def __init__(self, world: World, dialler: Node, answerer: Node) -> None:
        self.world, self.dialler, self.answerer = world, dialler, answerer
        self.receiver = Receiver(dialler.journal, durable=True)
        self.sender = Sender(answerer.journal, world.now_ns, world.limits)
        self.to_sender: deque[bytes] = deque()
        self.to_receiver: deque[bytes] = deque()
        self.assemblers = Assembler(), Assembler()
        self.reads: deque[ef.Load | ef.LoadKept | ef.Summarise] = deque()
        self.sent: list[Frame] = []
        self.acked: list[ef.Acked] = []
        self.alarms: list[str] = []
        self.proven: list[tuple[str, ...]] = []
        self.caught: list[bool] = []
        self.open = True
        self._do_receiver(self.receiver.begin(dialler.journal.kept_summary(), world.now_ns))

    def actions(self) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        if self.to_sender:
            found.append(self._deliver_to_sender)
        if self.to_receiver:
            found.append(self._deliver_to_receiver)
        if self.reads:
            found.append(self._read)
        return found

    def speak(self) -> None:
        while (effect := self.sender.next(self.world.now_ns)) is not None:
            match effect:
                case ef.Send(frame):
                    self.sent.append(frame)
                    self.to_receiver.extend(encode(frame))
                case ef.Load() | ef.LoadKept() | ef.Summarise():
                    self.reads.append(effect)
                case ef.Acked():
                    self.acked.append(effect)
                case ef.Alarm():
                    self.alarms.append(effect.text)

    def tick(self) -> None:
        self._do_receiver(self.receiver.tick(self.world.now_ns))
        self.speak()

    def settle(self, ticket: int, error: str | None) -> None:
        now_ns = self.world.now_ns
        if error is None:
            self._do_receiver(self.receiver.done(ticket, now_ns))
        else:
            self._do_receiver(self.receiver.failed(ticket, error, now_ns))

    def _deliver_to_sender(self) -> None:
        frame = self.assemblers[0].take(self.to_sender.popleft())
        if frame is not None:
            self.sender.heard(frame, self.world.now_ns)
        self.speak()

    def _deliver_to_receiver(self) -> None:
        frame = self.assemblers[1].take(self.to_receiver.popleft())
        if frame is not None:
            self._do_receiver(self.receiver.heard(frame, self.world.now_ns))

    def _read(self) -> None:
        journal, effect = self.answerer.journal, self.reads.popleft()
        if isinstance(effect, ef.Load):
            self.sender.loaded(effect, journal.records(effect))
        elif isinstance(effect, ef.LoadKept):
            self.sender.kept_loaded(effect, journal.kept_records(effect))
        else:
            self.sender.summarised(journal.kept_summary())
        self.speak()

    def _do_receiver(self, effects: Sequence[ef.ReceiverEffect]) -> None:
        for effect in effects:
            match effect:
                case ef.Send(frame):
                    self.to_sender.extend(encode(frame))
                case ef.Adopt(ticket, records) | ef.Keep(ticket, records):
                    keep = isinstance(effect, ef.Keep)
                    self.dialler.commits.append((self, ticket, records, keep))
                case ef.Forgo(term, through_seq, before_ns):
                    self.dialler.forgone.append((term, through_seq, before_ns))
                    self.dialler.journal.holdings.drop(term, through_seq)
                case ef.CaughtUp(caught):
                    self.caught.append(caught)
                case ef.Proven(differences):
                    self.proven.append(differences)
                case ef.Alarm(_, text):
                    self.alarms.append(text)
                case ef.Summarise():
                    kept = self.dialler.journal.kept_summary()
                    self._do_receiver(self.receiver.begin(kept, self.world.now_ns))


class Node:
    """A journal, what it is about to commit, and the pulls it takes part in."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.journal = ModelJournal(name, world.term(name))
        self.commits: deque[tuple[Pull, int, Sequence[Adopted], bool]] = deque()
        self.forgone: list[tuple[Term, int, int]] = []
        self.copy: Any = None

    def append(self, *bodies: Body) -> list[Record]:
        records = self.journal.append(bodies)
        self._tell(records)
        return records

    def commit_one(self) -> None:
        pull, ticket, records, keep = self.commits.popleft()
        error: str | None = None
        try:
            self._tell((self.journal.keep if keep else self.journal.adopt)(records))
        except ReplicaError as problem:
            error = str(problem)
        if pull.open:
            pull.settle(ticket, error)

    def _tell(self, records: Sequence[Record]) -> None:
        for pull in self.world.pulls.values():
            if pull is not None and pull.answerer is self:
                pull.sender.committed(records, self.world.now_ns)
                pull.speak()

    def restart(self, journal: ModelJournal | None = None) -> None:
        """Come back with what is committed (or with another journal), under a new term."""
        self.world.cut()
        self.commits.clear()
        self.journal = journal or self.journal
        self.journal.term = self.world.term(self.name)

    def wipe(self) -> None:
        self.restart(ModelJournal(self.name, self.world.term(self.name)))

    def save(self) -> None:
        self.copy = copy.deepcopy(self.journal)

    def restore(self) -> None:
        self.restart(copy.deepcopy(self.copy))


class World:
    """Both nodes, both directions, and time."""

    def __init__(self, seed: int = 1, limits: Limits = LIMITS) -> None:
        self.random = random.Random(seed)
        self.limits = limits
        self.now_ns = 1_000_000_000
        self._terms = 0
        self.pulls: dict[str, Pull | None] = {"a": None, "b": None}
        self.a, self.b = Node(self, "a"), Node(self, "b")
        self.nodes = {"a": self.a, "b": self.b}

    def term(self, node: str) -> Term:
        self._terms += 1
        return Term(self._terms, node, self._terms * 7)

    def connect(self, *diallers: str) -> None:
        for name in diallers or ("a", "b"):
            if self.pulls[name] is None:
                peer = self.b if name == "a" else self.a
                self.pulls[name] = Pull(self, self.nodes[name], peer)

    def cut(self, *diallers: str) -> None:
        for name in diallers or ("a", "b"):
            if (pull := self.pulls[name]) is not None:
                pull.open = False
                self.pulls[name] = None

    def step(self) -> None:
        """One thing happens, by chance, or time passes."""
        actions: list[Callable[[], None]] = []
        for pull in self.pulls.values():
            if pull is not None:
                actions += pull.actions()
        actions += [node.commit_one for node in self.nodes.values() if node.commits]
        if actions and self.random.random() < 0.9:
            self.random.choice(actions)()
            return
        self.pass_time()

    def pass_time(self, ns: int = STEP_NS) -> None:
        self.now_ns += ns
        for pull in self.pulls.values():
            if pull is not None:
                pull.tick()

    def run(self, ms: int) -> None:
        """Let everything happen for so long."""
        end_ns = self.now_ns + ms * NS_PER_MS
        while self.now_ns < end_ns:
            self.step()

    def settle_pull(self, name: str) -> None:
        """Let everything happen until that direction is quiet and proven equal."""
        self.settle(100_000, name)
        assert self._settled(self.pulls[name])

    def settle(self, limit_ms: int, *names: str) -> None:
        """Let everything happen until these (or both) directions are quiet and proven equal."""
        end_ns = self.now_ns + limit_ms * NS_PER_MS
        pulls = [self.pulls[name] for name in names or ("a", "b")]
        while self.now_ns < end_ns and not all(map(self._settled, pulls)):
            busy = any(pull and pull.actions() for pull in self.pulls.values())
            if busy or any(node.commits for node in self.nodes.values()):
                self.step()
            else:
                self.pass_time(100 * NS_PER_MS)

    def _settled(self, pull: Pull | None) -> bool:
        if pull is None or pull.reads or pull.dialler.commits or not pull.sender.equal:
            return False
        if not pull.receiver.caught or pull.sender.records_behind or pull.receiver.records_behind:
            return False
        return pull.proven[-1] == () and not self.differences()

    def differences(self) -> list[str]:
        return difference(self.a.journal.holdings.terms, self.b.journal.holdings.terms)

    def pull(self, name: str) -> Pull:
        pull = self.pulls[name]
        assert pull is not None
        return pull

    def frames(self, name: str, kind: type[Frame] = Records) -> list[Any]:
        return [frame for frame in self.pull(name).sent if isinstance(frame, kind)]

    def kept_frames(self, name: str) -> list[Kept]:
        return self.frames(name, Kept)
