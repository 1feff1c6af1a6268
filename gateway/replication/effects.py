"""What the Sender and the Receiver want done: frozen data, carried out by the session.

And what they must know of a journal: small Protocols, so that a simulation can give another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.journal.holdings import Holdings
from gateway.journal.records import Adopted
from gateway.model import Position, Term
from gateway.replication.frames import Frame

Row = tuple[int, bytes, bytes]
"""(seq, wire, digest)."""


class Book(Protocol):
    """What the pure side reads of a journal, at any moment; both are as of the last commit."""

    @property
    def term(self) -> Term:
        """The term that this node seals its own records in."""

    @property
    def holdings(self) -> Holdings:
        """What is held of each term."""

    @property
    def floor_ns(self) -> int:
        """History before this instant (UTC) was dropped by the retention; 0: nothing was."""


class Send(NamedTuple):
    """Send the frame, after all that was to be sent before."""

    frame: Frame


class Load(NamedTuple):
    """Read records of a term from the store and give them back by `loaded`."""

    term: Term
    first: int
    limit: int
    size_max: int


class Summarise(NamedTuple):
    """Summarise the kept records and give that back (`summarised`, `begin`)."""


class LoadKept(NamedTuple):
    """Read kept records of these terms after a position; give them back by `kept_loaded`."""

    terms: tuple[Term, ...]
    after: Position | None


class Acked(NamedTuple):
    """The peer has committed the term through this position, FULL when `durable`.

    `lag_ns` is the time since the oldest of the records was committed here; None when they came
    from the store.
    """

    position: Position
    durable: bool
    lag_ns: int | None


class Adopt(NamedTuple):
    """Commit these records, then tell `done(ticket)`, or `failed(ticket, why)`."""

    ticket: int
    records: Sequence[Adopted]


class Keep(NamedTuple):
    """Take over these kept records, then tell `done(ticket)` or `failed(ticket, why)`."""

    ticket: int
    records: Sequence[Adopted]


class Forgo(NamedTuple):
    """Nobody has the term up to here any more: raise the own floor, declare the gap."""

    term: Term
    through_seq: int
    before_ns: int


class CaughtUp(NamedTuple):
    """Everything that the peer had a second ago is committed here, or that is not so any more."""

    caught: bool


class Proven(NamedTuple):
    """The two journals were compared by digest: no sentences, they are equal."""

    differences: tuple[str, ...]


class Alarm(NamedTuple):
    """Something a person must know; severity 1 to 1000."""

    severity: int
    text: str


SenderEffect = Send | Load | Summarise | LoadKept | Acked | Alarm
ReceiverEffect = Send | Summarise | Adopt | Keep | Forgo | CaughtUp | Proven | Alarm


class PullStatus(NamedTuple):
    """How far one direction is, as either side shows it.

    `lag_ms` is the delay from a commit to the acknowledgement of the other node; while that node is
    behind, the time since it last had everything. `equal_at_ns` is UTC, 0 before the first proof.
    """

    connected: bool = False
    path: str = ""
    records_behind: int = 0
    samples_behind: int = 0
    lag_ms: float = 0.0
    percent: float = 0.0
    equal: bool | None = None
    equal_at_ns: int = 0
    differences: tuple[str, ...] = ()
