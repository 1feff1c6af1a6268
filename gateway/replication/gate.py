"""`replication: sync`: clients see a value only once the other node has it (rules.md 7). Pure.

Batches of this node wait in the order of their commits until they are acknowledged. Without an
acknowledgement for `timeout_ns` the gate falls back: either it lets go, after "async since" is
journalled, or it holds on. What the promise says holds between the two records only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from gateway.journal.records import Batch, Record
from gateway.model import NS_PER_S, Position, Term
from gateway.replication.effects import Alarm

HELD_SAMPLES_MAX: Final = 200_000
"""Samples that wait; beyond, a point's newer waiting value replaces its older ones for clients."""
RESUME_NS: Final = NS_PER_S
"""How long after a fall the gate may close again at the earliest."""
_ACKED_TERMS_MAX: Final = 8


class Release(NamedTuple):
    """Clients may see these records now; `stored` as the journal told it."""

    records: Sequence[Record]
    stored: bool


class Declare(NamedTuple):
    """Journal that releases are synchronous from here on, or not, and why; then `journalled`."""

    synchronous: bool
    why: str


GateEffect = Release | Declare | Alarm


class State(Enum):
    """Whether values wait; the words are for people."""

    SYNC = "sync"
    HELD = "held"
    FALLING = "falling back to async"
    ASYNC = "async"
    RISING = "going back to sync"


_CLOSED: Final = frozenset({State.SYNC, State.HELD})
_WAITS: Final = _CLOSED | {State.FALLING}


class _Waiting(NamedTuple):
    record: Record
    stored: bool
    at_ns: int


class SyncGate:
    """Feed it commits, acknowledgements and time; one object a reign.

    `level` says whether the peer follows at the start: if not, the gate falls back before the first
    value, so that a takeover doesn't wait for a node that is dead. With `hold` it never lets go.
    `fresh` says that the reign begins: else values went out unacknowledged until now.
    """

    def __init__(
        self, node: str, timeout_ns: int, hold: bool, level: bool, fresh: bool = True
    ) -> None:
        self._node = node
        self._timeout_ns = timeout_ns
        self._hold = hold
        self._wanted = True
        self.state = State.SYNC if level or hold else State.FALLING
        if not fresh:
            self.state = State.ASYNC
        self._waiting: deque[_Waiting] = deque()
        self._samples = 0
        self._samples_max = HELD_SAMPLES_MAX
        self._acked: dict[Term, int] = {}
        self._fell_ns = 0

    @property
    def waiting(self) -> int:
        """Samples that clients don't see yet."""
        return self._samples

    def revise(self, wanted: bool, timeout_ns: int, hold: bool) -> None:
        """The site says otherwise from now on; the next `tick` does what follows."""
        self._wanted, self._timeout_ns, self._hold = wanted, timeout_ns, hold

    def begin(self) -> list[GateEffect]:
        """What is to be done before the first value."""
        if self.state is State.FALLING:
            return [Declare(False, "the other node does not follow")]
        return []

    def committed(self, records: Sequence[Record], stored: bool, now_ns: int) -> list[GateEffect]:
        """Records were committed (or, unstored, given up by the store): who may see them?

        Only this node's own batches wait; a revision or a fact is no value.
        """
        if self.state not in _WAITS:
            return [Release(records, stored)]
        free = [record for record in records if not self._is_value(record)]
        for record in records:
            if self._is_value(record):
                self._waiting.append(_Waiting(record, stored, now_ns))
                self._samples += _count(record)
        if self._samples > self._samples_max:
            self._thin_out()
        effects: list[GateEffect] = [Release(free, stored)] if free else []
        return effects + self._let_go()

    def acknowledged(self, position: Position, durable: bool, now_ns: int) -> list[GateEffect]:
        """The peer has committed the term through there; only a FULL commit counts."""
        if not durable:
            return []
        term, seq = position
        self._acked[term] = max(seq, self._acked.get(term, 0))
        if len(self._acked) > _ACKED_TERMS_MAX:
            del self._acked[min(self._acked)]
        effects = self._let_go()
        if self.state is State.HELD and not self._late(now_ns):
            self.state = State.SYNC
            effects.append(Alarm(400, "values are acknowledged again: none is held back any more"))
        return effects

    def tick(self, now_ns: int, level: bool) -> list[GateEffect]:
        """Time passed. `level`: the peer follows, commits FULL, and lacks nothing."""
        if self.state in _CLOSED and not self._wanted:
            return self._fall("the site no longer asks for sync", now_ns)
        if self.state in _CLOSED and self._late(now_ns):
            text = f"no acknowledgement of the other node for {self._timeout_ns // 1_000_000} ms"
            if not self._hold:
                return self._fall(text, now_ns)
            if self.state is State.SYNC:
                self.state = State.HELD
                return [Alarm(850, f"{text}: values are held back from clients until there is one")]
        if self.state is State.ASYNC and self._wanted:
            if level and now_ns - self._fell_ns >= RESUME_NS:
                self.state = State.RISING
                return [Declare(True, "the other node has everything")]
            if self._hold:
                self.state = State.RISING
                return [
                    Declare(True, "the site asks for it, whether the other node follows or not")
                ]
        return []

    def journalled(self) -> list[GateEffect]:
        """The record that `Declare` asked for is committed: it holds from now on."""
        if self.state is State.FALLING:
            self.state = State.ASYNC
            return self._let_go()
        if self.state is State.RISING:
            self.state = State.SYNC
        return []

    # ------------------------------------------------------------------ inside

    def _fall(self, why: str, now_ns: int) -> list[GateEffect]:
        self.state, self._fell_ns = State.FALLING, now_ns
        return [Declare(False, why)]

    def _is_value(self, record: Record) -> bool:
        return isinstance(record.body, Batch) and record.position.term.node == self._node

    def _late(self, now_ns: int) -> bool:
        return bool(self._waiting) and now_ns - self._waiting[0].at_ns >= self._timeout_ns

    def _let_go(self) -> list[GateEffect]:
        """Release what may go, in order; neighbours that are stored alike go together."""
        effects: list[GateEffect] = []
        group: list[Record] = []
        stored = True
        while self._waiting and self._may_go(self._waiting[0]):
            entry = self._waiting.popleft()
            self._samples -= _count(entry.record)
            if group and entry.stored is not stored:
                effects.append(Release(group, stored))
                group = []
            stored = entry.stored
            group.append(entry.record)
        if not self._waiting:
            self._samples_max = HELD_SAMPLES_MAX
        return [*effects, Release(group, stored)] if group else effects

    def _may_go(self, entry: _Waiting) -> bool:
        if self.state not in _WAITS or not entry.stored:
            return True
        term, seq = entry.record.position
        return seq <= self._acked.get(term, 0)

    def _thin_out(self) -> None:
        """Keep of each point the newest waiting value alone; history has all of them."""
        seen: set[tuple[int, int]] = set()
        kept: deque[_Waiting] = deque()
        self._samples = 0
        for entry in reversed(self._waiting):
            body = entry.record.body
            assert isinstance(body, Batch)
            left = []
            for row in reversed(body.samples):
                key = (body.revision, row[0])
                if key not in seen:
                    seen.add(key)
                    left.append(row)
            if not left:
                continue
            thin = msgspec.structs.replace(body, samples=tuple(reversed(left)), complete=False)
            kept.appendleft(entry._replace(record=entry.record._replace(body=thin)))
            self._samples += len(left)
        self._waiting = kept
        self._samples_max = max(HELD_SAMPLES_MAX, 2 * self._samples)


def _count(record: Record) -> int:
    return len(record.body.samples) if isinstance(record.body, Batch) else 0
