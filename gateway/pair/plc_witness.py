"""A PLC's three registers as witness: timed mutual exclusion without compare-and-swap. Pure.

`address` is the beat of the node with the lower id, then the other's, then the owner word (1 or 2,
for people and for the PLC's program; nothing here rests on it). The algorithm is rules.md 6.

Why two leases never overlap. A lease rests on a write of the own beat and lasts L from its sending.
Who claims saw the other beat stand still from a read that was received (1) to a read that was sent
after its own write was answered (3), W apart or more. Each write is executed at most once and has a
value of its own, so none of the other node was executed between. What was executed before (1) was
sent before (1): its lease ended within L, which W outlasts whatever the clocks do. What is executed
after (3) is read back too late to prolong a lease that has lapsed, and if it is a claim of its own,
it finds this node's write at its (3). Any delay, drop or freeze only makes these times longer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.model import NS_PER_S
from gateway.pair.plc_events import (
    Claim,
    Effect,
    Event,
    Failure,
    Peer,
    Read,
    Release,
    Reply,
    Tick,
    Trouble,
    Vote,
    Write,
)
from gateway.pair.votes import LeaseTiming

NEVER_NS: Final = 1 << 62
REGISTERS: Final = 3
OWNER: Final = 2
OWN_KEPT: Final = 16
"""Own writes that may still come to light late, after a lost connection."""
STRANGE_MAX: Final = 3
REFUSED_WAIT_NS: Final = NS_PER_S
BACKOFF_MAX: Final = 3
_REMEDY: Final = (
    "Give the witness three holding registers that exist and may be written "
    "(`pair: witness: modbus: address:`)"
)
_VALUES: Final = 0xFFFF
_APART: Final = 1_000
"""A new process starts this far from the value in force: nothing under way can equal its own."""


class _For(Enum):
    LOOK = "look"
    BEAT = "beat"
    PROOF = "proof"
    OWNER = "owner"


@dataclass(slots=True)
class _Asked:
    number: int
    purpose: _For
    sent_ns: int
    claim: bool


@dataclass(slots=True)
class _Beat:
    """A write of the own beat that waits to be read back."""

    word: int
    sent_ns: int
    claim: bool


class PlcWitness:
    """One PLC's vote. One request is out at a time: `step` gives the next once it is answered."""

    def __init__(self, timing: LeaseTiming, start: int, now_ns: int) -> None:
        """`start` is a random number of at least 16 bits."""
        self._timing = timing
        self._start = start
        self._number = 0
        self._asked: _Asked | None = None
        self._beat: _Beat | None = None
        self._word = 0
        self._written: deque[int] = deque(maxlen=OWN_KEPT)
        self._lower: bool | None = None
        self._gives_way = False
        self._wait_ns = timing.watch_ns
        self._words: tuple[int, ...] | None = None
        self._connection = -1
        self._still_since_ns = now_ns
        self._stood_still = False
        self._failures = 1  # the first request has to connect
        self._strange = 0
        self._unread = 0
        self._trouble = self._unwritten = Trouble("")
        self._not_before_ns = now_ns
        self._renew_ns = now_ns
        self._owner_told = False
        self._out: list[Effect] = []
        self.wanted = False
        self.until_ns = 0

    @property
    def words(self) -> tuple[int, ...] | None:
        """The registers as last read."""
        return self._words

    @property
    def trouble(self) -> Trouble:
        """What hinders the vote."""
        return self._trouble

    @property
    def due_ns(self) -> int:
        """When to call `step` again, if nothing happens before; far off while a request is out."""
        next_ns = NEVER_NS if self._asked is not None else self._not_before_ns
        return min(next_ns, self.until_ns) if self.until_ns else next_ns

    def step(self, now_ns: int, event: Event) -> list[Effect]:
        """Take one event in; at most one Read or Write comes out, never while one is out."""
        self._out = []
        if self.until_ns and now_ns >= self.until_ns:
            self._lose()
        match event:
            case Claim():
                if not self.wanted:
                    self.wanted, self._wait_ns = True, self._timing.watch_ns
                    self._not_before_ns = min(self._not_before_ns, now_ns)
            case Release():
                self.wanted = False
                self._unread = 0
                self._unwritten = Trouble("")
                self._beat = None
                self._lose()
            case Peer():
                self._meet(now_ns, event)
            case Reply():
                self._replied(now_ns, event)
            case Failure():
                self._failed(now_ns, event)
            case Tick():
                pass
        if self._asked is None and now_ns >= self._not_before_ns:
            self._ask(now_ns)
        return self._out

    # ----------------------------------------------------------------------------- asking

    def _ask(self, now_ns: int) -> None:
        if self._beat is not None:
            self._send(now_ns, _For.PROOF)
        elif self.until_ns:
            early = now_ns < self._renew_ns
            self._send(now_ns, _For.OWNER if early and self._owner_is_wrong() else _For.BEAT)
        elif self.wanted and self._stood_still:
            self._send(now_ns, _For.BEAT)
        else:
            self._send(now_ns, _For.LOOK)

    def _send(self, now_ns: int, purpose: _For) -> None:
        self._number += 1
        self._asked = _Asked(self._number, purpose, now_ns, claim=self.until_ns == 0)
        # A request that has to connect first gets time for that too.
        timeout_ns = self._timing.timeout_ns * (2 if self._failures else 1)
        if purpose is _For.BEAT:
            self._word = self._next_word()
            self._written.append(self._word)
            self._renew_ns = now_ns + self._timing.renew_ns
            self._out.append(Write(self._number, timeout_ns, self._mine, self._word))
        elif purpose is _For.OWNER:
            self._owner_told = True
            self._out.append(Write(self._number, timeout_ns, OWNER, self._me))
        else:
            self._out.append(Read(self._number, timeout_ns))

    def _owner_is_wrong(self) -> bool:
        """Whether the owner word is to be written: once, until it was seen right."""
        right = self._words is not None and self._words[OWNER] == self._me
        if right:
            self._owner_told = False
        return not right and not self._owner_told

    def _next_word(self) -> int:
        if self._word:
            return self._word % _VALUES + 1
        held = self._words[self._mine] if self._words is not None else 0
        return (held + _APART + self._start % (_VALUES - 2 * _APART)) % _VALUES + 1

    @property
    def _mine(self) -> int:
        return 0 if self._lower else 1

    @property
    def _me(self) -> int:
        return self._mine + 1

    # ---------------------------------------------------------------------------- hearing

    def _replied(self, now_ns: int, reply: Reply) -> None:
        asked = self._asked
        if asked is None or asked.number != reply.number:
            return  # of a request that was given up
        self._asked = None
        self._failures = 0
        if asked.purpose is _For.OWNER or (asked.purpose is _For.BEAT and not self.until_ns):
            self._unwritten = Trouble("")
        if asked.purpose is _For.BEAT:
            if self.wanted and (asked.claim or self.until_ns):
                self._beat = _Beat(self._word, asked.sent_ns, asked.claim)
            self._not_before_ns = now_ns
        elif asked.purpose is _For.OWNER:
            self._not_before_ns = self._renew_ns
        else:
            self._looked(now_ns, asked, reply)
            self._pace(now_ns, asked)

    def _looked(self, now_ns: int, asked: _Asked, reply: Reply) -> None:
        before, self._words = self._words, reply.words
        broken = reply.connection != self._connection or before is None or self._lower is None
        self._connection = reply.connection
        other = 1 - self._mine
        moved = before is not None and reply.words[other] != before[other]
        if broken or moved or self._is_strange(before, reply.words):
            self._still_since_ns = now_ns
            self._stood_still = False
        elif asked.sent_ns - self._still_since_ns >= self._wait_ns:
            self._stood_still = True
            self._strange = 0
        if self._beat is not None:
            self._proved(now_ns, reply, moved, broken)
        elif not self._unwritten.text and max(self._strange, self._unread) < STRANGE_MAX:
            self._tell("")

    def _is_strange(self, before: tuple[int, ...] | None, words: tuple[int, ...]) -> bool:
        """Whether somebody else wrote this node's beat; two pairs on one address look like this."""
        own = words[self._mine]
        if before is None or self._lower is None or own == before[self._mine]:
            return False
        if own == 0:
            return True  # the PLC started anew
        if own in self._written:
            return own != self._word  # a late write of our own
        self._strange += 1
        if self._strange >= STRANGE_MAX:
            self._tell(
                "somebody else writes the beat of this node",
                "Give each pair registers of its own, and each node an id of its own",
            )
        return True

    def _proved(self, now_ns: int, reply: Reply, moved: bool, broken: bool) -> None:
        """Steps (2) and (3): the own beat is read back, with the other's in the same answer."""
        beat, self._beat = self._beat, None
        assert beat is not None
        until_ns = beat.sent_ns + self._timing.lease_ns
        if reply.words[self._mine] != beat.word:
            self._lacks(now_ns)
        elif self.until_ns and not beat.claim:
            # A renewal, while the lease stands: what is read back later revives nothing.
            self._hold(max(self.until_ns, until_ns))
        elif beat.claim and moved:
            # Both claim: the one that gives way waits twice as long from now on.
            self._wait_ns = self._timing.watch_ns * (2 if self._gives_way else 1)
        elif beat.claim and not broken and now_ns < until_ns:
            # `broken` looks back to the look before the write, so the write was on it too.
            self._owner_told = False
            self._hold(until_ns)

    def _lacks(self, now_ns: int) -> None:
        """The own beat reads back as something else: perhaps the PLC's program writes there."""
        self._unread += 1
        self._renew_ns = now_ns + self._timing.renew_ns // 2
        if self._unread >= STRANGE_MAX and self._strange < STRANGE_MAX:
            self._tell(
                "what this node writes to its beat does not read back",
                "Give the witness registers that the PLC's program leaves alone",
            )

    def _hold(self, until_ns: int) -> None:
        self.until_ns = until_ns
        self._strange = self._unread = 0
        self._trouble = self._unwritten
        self._out.append(Vote(until_ns))

    def _lose(self) -> None:
        if self.until_ns:
            self.until_ns = 0
            self._out.append(Vote(0))

    def _pace(self, now_ns: int, asked: _Asked) -> None:
        """When the next request is due."""
        if self.until_ns:
            self._not_before_ns = now_ns if self._owner_is_wrong() else self._renew_ns
            return
        if self._stood_still and self.wanted:
            self._not_before_ns = max(now_ns, self._renew_ns) if self._unread else now_ns
            return
        ripe_ns = self._still_since_ns + self._wait_ns
        next_ns = asked.sent_ns + self._timing.renew_ns
        self._not_before_ns = min(next_ns, ripe_ns) if ripe_ns > now_ns else next_ns

    # ---------------------------------------------------------------------------- trouble

    def _failed(self, now_ns: int, failure: Failure) -> None:
        asked = self._asked
        if asked is None or asked.number != failure.number:
            return
        self._asked = None
        if failure.refused and asked.purpose is _For.OWNER:
            self._trouble = self._unwritten = Trouble(failure.why, _REMEDY)
            self._not_before_ns = self._renew_ns
            return
        self._failures += 1
        self._stood_still = False
        if self._beat is not None and (self._beat.claim or self._failures > 1):
            self._beat = None
        if failure.refused:
            self._beat = None
            self._tell(failure.why, _REMEDY)
            if asked.purpose is _For.BEAT:
                self._unwritten = self._trouble
            self._not_before_ns = now_ns + REFUSED_WAIT_NS
            return
        self._tell(failure.why)
        if self.until_ns:
            first = self._failures <= 1
            self._not_before_ns = now_ns if first else now_ns + self._timing.renew_ns // 2
        else:
            tries = 0 if self.wanted else min(self._failures, BACKOFF_MAX)
            self._not_before_ns = now_ns + (self._timing.renew_ns << tries)

    def _meet(self, now_ns: int, peer: Peer) -> None:
        self._gives_way = peer.gives_way
        if peer.mine_is_lower is not self._lower:
            self._lower = peer.mine_is_lower
            self._word = 0
            if self._asked is not None:
                self._asked.claim = False
            self._stood_still, self._still_since_ns = False, now_ns
            self._beat = None
            self._lose()

    def _tell(self, text: str, remedy: str = "") -> None:
        self._trouble = Trouble(text, remedy)
