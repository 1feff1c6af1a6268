"""What goes into the role machine (events) and what comes out of it (effects), all frozen data.

The shell executes the effects of one step in the order given, which is `EFFECT_ORDER`: nothing is
sent or opened under a term that is not committed, the field is closed before anybody hears that it
is, and a goodbye leaves after polling stopped. Times are ns of the node's monotonic clock, unless
they say UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.model import Term
from gateway.pair.heartbeat import Due, Heartbeat
from gateway.pair.words import Role

# --------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; at least one each half heartbeat period."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A heartbeat came in on the link of that name; `utc_ns` is this node's clock at receipt."""

    link: str
    heartbeat: Heartbeat
    utc_ns: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer's host refused a connection on the path of that name."""

    link: str


@dataclass(frozen=True, slots=True)
class TermBegun:
    """The term asked for by `BeginTerm` is committed with FULL synchronisation.

    Its number is the one asked for, or higher when the journal knew of a higher one. From now on
    the journal seals in it: when the machine's `term` is another after this step, end it again.
    """

    term: Term


@dataclass(frozen=True, slots=True)
class TermFailed:
    """The term asked for could not be committed."""

    why: str


@dataclass(frozen=True, slots=True)
class Drained:
    """Polling stopped at a scan boundary and all is committed; next scan per class, ns UTC."""

    next_due: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class Caught:
    """Replication caught up with the Main, or fell behind.

    Told only while the data link stands: what was true when it fell stays true.
    """

    synced: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """The journal's coverage end, ns UTC; whether a device answered since the last `Progress`."""

    coverage_end_ns: int
    collected: bool = False


@dataclass(frozen=True, slots=True)
class FieldSeen:
    """Any field device answers, or none does: by polling as Main, else by a probe."""

    reached: bool


@dataclass(frozen=True, slots=True)
class StoreState:
    """The store works, or it failed."""

    works: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class WitnessVote:
    """The witness grants the reign until then, counted from the request's sending; None: lost."""

    granted_until_ns: int | None


@dataclass(frozen=True, slots=True)
class Veto:
    """`hosts` witnesses: no host answers, so this node must not take over; False: they answer."""

    holds: bool


@dataclass(frozen=True, slots=True)
class Changeover:
    """Somebody asks the Main to hand over."""

    who: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Automatic changes stop (True) or go on (False), on both nodes."""

    paused: bool
    who: str


@dataclass(frozen=True, slots=True)
class PeerAbsent:
    """The peer is under repair and counts as agreeing; ends by itself when it is heard."""

    absent: bool
    who: str


@dataclass(frozen=True, slots=True)
class Renew:
    """A Main needs a new term without leaving its reign: the clock was set."""

    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The process is asked to end (SIGTERM)."""


Event = (
    Tick
    | Heard
    | Refused
    | TermBegun
    | TermFailed
    | Drained
    | Caught
    | Progress
    | FieldSeen
    | StoreState
    | WitnessVote
    | Veto
    | Changeover
    | Pause
    | PeerAbsent
    | Renew
    | Stop
)

# -------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class DrainLinks:
    """This step was late: feed all heartbeats that lie unread, before any other event."""


@dataclass(frozen=True, slots=True)
class StopPolling:
    """Stop at the next scan boundary and commit what is under way, then tell `Drained`."""


@dataclass(frozen=True, slots=True)
class CloseField:
    """Send nothing more to the field, at once; close its connections."""


@dataclass(frozen=True, slots=True)
class CloseEndpoint:
    """Close the OPC UA endpoint."""


@dataclass(frozen=True, slots=True)
class ReleaseWitness:
    """Stop renewing the witness's vote."""


@dataclass(frozen=True, slots=True)
class ClaimWitness:
    """Claim the witness's vote and keep renewing it, telling each `WitnessVote`."""


@dataclass(frozen=True, slots=True)
class BeginTerm:
    """Commit a term of this number with FULL synchronisation, then tell `TermBegun`."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class JournalRole:
    """Journal that this node took the role, and why; `term` is its own latest, if it had one."""

    role: Role
    term: Term | None
    why: str


@dataclass(frozen=True, slots=True)
class JournalRuling:
    """Journal that Main-Main was settled: both reigned for the last `both_ns`."""

    winner: Term
    loser: Term
    both_ns: int
    why: str


@dataclass(frozen=True, slots=True)
class NewTerm:
    """The same reign goes on under a new term: each class's next scan is kept whole."""

    term: Term
    why: str


@dataclass(frozen=True, slots=True)
class OpenField:
    """Open connections and poll, each class first at its due time (ns UTC) where one is given."""

    term: Term
    next_due: tuple[Due, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenEndpoint:
    """Open the OPC UA endpoint."""


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    """Send on every link; one that says goodbye three times, since nothing follows it."""

    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class ProbeField:
    """Look once whether any device answers (never on a shared serial line), tell `FieldSeen`."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person must know."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command."""

    accepted: bool
    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """All is said: the process may end."""


Effect = (
    DrainLinks
    | StopPolling
    | CloseField
    | CloseEndpoint
    | ReleaseWitness
    | ClaimWitness
    | BeginTerm
    | JournalRole
    | JournalRuling
    | NewTerm
    | OpenField
    | OpenEndpoint
    | SendHeartbeat
    | ProbeField
    | Alarm
    | Answer
    | Exit
)

EFFECT_ORDER: Final[tuple[type[Effect], ...]] = (
    DrainLinks,
    StopPolling,
    CloseField,
    CloseEndpoint,
    ReleaseWitness,
    ClaimWitness,
    BeginTerm,
    JournalRole,
    JournalRuling,
    NewTerm,
    OpenField,
    OpenEndpoint,
    SendHeartbeat,
    ProbeField,
    Alarm,
    Answer,
    Exit,
)


def in_order(effects: list[Effect]) -> tuple[Effect, ...]:
    """The effects in `EFFECT_ORDER`; equal kinds keep their order."""
    return tuple(sorted(effects, key=lambda effect: EFFECT_ORDER.index(type(effect))))
