"""The role machine as data: what each situation calls for, and what each change of role does.

Two tables. `CELLS` is total over what a node knows (my role, the peer as I see it, links, witness)
and names a verdict; the machine acts on a verdict when its guard (time, pause, promise) allows.
`MOVES` holds every change of role that exists, with its effects; any other is a bug and raises.
The diagram in DESIGN.md is drawn from `MOVES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum, StrEnum
from itertools import product
from typing import Final, NamedTuple

from gateway.pair.events import (
    ClaimWitness,
    CloseEndpoint,
    CloseField,
    Effect,
    Exit,
    JournalRole,
    OpenEndpoint,
    OpenField,
    ReleaseWitness,
    SendHeartbeat,
)
from gateway.pair.words import Role


class PeerView(StrEnum):
    """The peer as this node sees it: the role it last told, or the kind of its silence."""

    STARTING = "starting"
    STANDBY = "standby"
    MAIN = "main"
    SILENT = "silent"
    DEAD = "dead"
    NEVER = "never heard"


class Links(StrEnum):
    """What the links carry now: DOWN is two heartbeats missed on all, ABSENT none configured."""

    TWO_WAY = "two-way"
    ONE_WAY = "one-way"
    DOWN = "down"
    ABSENT = "absent"


class Witness(StrEnum):
    """The third party's vote; NONE is no witness configured."""

    HELD = "held"
    LOST = "lost"
    NONE = "none"


class Verdict(StrEnum):
    """What a cell calls for."""

    STAY = "stay"
    FOLLOW = "follow the Main"
    TAKE_OVER = "take over"
    ASK = "ask the witness, then take over"
    RULE = "start rule between two that hear each other"
    ALONE = "start rule alone"
    ALONE_ASK = "start rule alone, with the witness's vote"
    AT_ONCE = "Main at once"
    RESTART = "back to starting"
    ARBITRATE = "Main-Main: arbitrate"
    YIELD = "yield to a Main that can't hear me"


class Cause(IntEnum):
    """Why a role changes."""

    HEARD_MAIN = 0
    TERM_BEGUN = 1
    CAUGHT_UP = 2
    FELL_BEHIND = 3
    LOST_MAIN = 4
    REIGN_OVER = 5
    YIELDED = 6
    GRANTED = 7
    STOPPED = 8


class Cell(NamedTuple):
    """A situation."""

    mine: Role
    peer: PeerView
    links: Links
    witness: Witness


class Row(NamedTuple):
    """A line of the table: every cell in the product of its sets; the first row that fits holds."""

    mine: tuple[Role, ...]
    peer: tuple[PeerView, ...]
    links: tuple[Links, ...]
    witness: tuple[Witness, ...]
    verdict: Verdict


class Move(NamedTuple):
    """A change of role: where to, and the effects that it always has, in `EFFECT_ORDER`."""

    target: Role
    effects: tuple[type[Effect], ...]


_ANY_ROLE: Final = tuple(Role)
_ANY_PEER: Final = tuple(PeerView)
_ANY_LINK: Final = tuple(Links)
_ANY_VOTE: Final = tuple(Witness)
_STANDBY: Final = (Role.SYNCING, Role.SYNCED)
_UNHEARD: Final = (PeerView.SILENT, PeerView.DEAD, PeerView.NEVER)
_NO_MAIN: Final = (PeerView.STARTING, PeerView.STANDBY)
_FREE: Final = (Witness.HELD, Witness.NONE)
_HEARD: Final = (Links.TWO_WAY, Links.ONE_WAY)

ROWS: Final[tuple[Row, ...]] = (
    # Without `link:` a node is Main at once, also after a freeze that ended its reign.
    Row((Role.MAIN,), _ANY_PEER, (Links.ABSENT,), _ANY_VOTE, Verdict.STAY),
    Row((Role.STARTING,), _ANY_PEER, (Links.ABSENT,), _ANY_VOTE, Verdict.AT_ONCE),
    Row(_STANDBY, _ANY_PEER, (Links.ABSENT,), _ANY_VOTE, Verdict.RESTART),
    # A Main stays Main while its reign lasts, whoever else starts, stands by or is silent.
    Row((Role.MAIN,), (PeerView.MAIN,), (Links.TWO_WAY,), _ANY_VOTE, Verdict.ARBITRATE),
    Row((Role.MAIN,), (PeerView.MAIN,), (Links.ONE_WAY,), _ANY_VOTE, Verdict.YIELD),
    Row((Role.MAIN,), _ANY_PEER, _ANY_LINK, _ANY_VOTE, Verdict.STAY),
    # Nobody is heard: a synced Standby takes over, a syncing one starts anew, a starting one waits.
    Row((Role.SYNCED,), _UNHEARD, _ANY_LINK, _FREE, Verdict.TAKE_OVER),
    Row((Role.SYNCED,), _UNHEARD, _ANY_LINK, (Witness.LOST,), Verdict.ASK),
    Row((Role.SYNCING,), _UNHEARD, _ANY_LINK, _ANY_VOTE, Verdict.RESTART),
    Row((Role.STARTING,), _UNHEARD, _ANY_LINK, _FREE, Verdict.ALONE),
    Row((Role.STARTING,), _UNHEARD, _ANY_LINK, (Witness.LOST,), Verdict.ALONE_ASK),
    # Two heartbeats missed, but no proof and no silence yet.
    Row(_ANY_ROLE, _ANY_PEER, (Links.DOWN,), _ANY_VOTE, Verdict.STAY),
    # A Main is heard.
    Row((Role.STARTING,), (PeerView.MAIN,), _HEARD, _ANY_VOTE, Verdict.FOLLOW),
    Row(_STANDBY, (PeerView.MAIN,), _HEARD, _ANY_VOTE, Verdict.STAY),
    # A peer is heard, and it is not Main. A starting one has no reign: its Standby takes over.
    Row((Role.SYNCED,), (PeerView.STARTING,), _HEARD, _FREE, Verdict.TAKE_OVER),
    Row(_ANY_ROLE, _NO_MAIN, (Links.TWO_WAY,), _ANY_VOTE, Verdict.RULE),
    # It can't hear me, so it can't agree: it goes first, then I start alone.
    Row(_ANY_ROLE, _NO_MAIN, (Links.ONE_WAY,), _FREE, Verdict.ALONE),
    Row(_ANY_ROLE, _NO_MAIN, (Links.ONE_WAY,), (Witness.LOST,), Verdict.ALONE_ASK),
)


def every_cell() -> Iterator[Cell]:
    """All situations, in the order of the enumerations."""
    return (Cell(*values) for values in product(Role, PeerView, Links, Witness))


def rows_of(cell: Cell) -> list[Row]:
    """The rows that fit a cell; the first of them holds."""
    return [row for row in ROWS if all(x in among for x, among in zip(cell, row[:4], strict=True))]


CELLS: Final[dict[Cell, Verdict]] = {cell: rows_of(cell)[0].verdict for cell in every_cell()}

_RISE: Final = (JournalRole, OpenField, OpenEndpoint, SendHeartbeat)
_FALL: Final = (CloseField, CloseEndpoint, ReleaseWitness, JournalRole, SendHeartbeat)
_LEAVE: Final = (ReleaseWitness, SendHeartbeat, Exit)

MOVES: Final[dict[tuple[Role, Cause], Move]] = {
    (Role.STARTING, Cause.HEARD_MAIN): Move(Role.SYNCING, (JournalRole, SendHeartbeat)),
    (Role.STARTING, Cause.TERM_BEGUN): Move(Role.MAIN, _RISE),
    (Role.STARTING, Cause.STOPPED): Move(Role.STARTING, _LEAVE),
    (Role.SYNCING, Cause.CAUGHT_UP): Move(Role.SYNCED, (SendHeartbeat,)),
    (Role.SYNCING, Cause.LOST_MAIN): Move(Role.STARTING, (JournalRole, SendHeartbeat)),
    (Role.SYNCING, Cause.TERM_BEGUN): Move(Role.MAIN, _RISE),
    (Role.SYNCING, Cause.STOPPED): Move(Role.STARTING, _LEAVE),
    (Role.SYNCED, Cause.FELL_BEHIND): Move(Role.SYNCING, (SendHeartbeat,)),
    (Role.SYNCED, Cause.LOST_MAIN): Move(Role.STARTING, (JournalRole, SendHeartbeat)),
    (Role.SYNCED, Cause.TERM_BEGUN): Move(Role.MAIN, _RISE),
    (Role.SYNCED, Cause.STOPPED): Move(Role.STARTING, _LEAVE),
    (Role.MAIN, Cause.REIGN_OVER): Move(Role.SYNCING, _FALL),
    (Role.MAIN, Cause.YIELDED): Move(Role.SYNCING, _FALL),
    (Role.MAIN, Cause.GRANTED): Move(Role.SYNCED, _FALL),
    # A changeover that came to nothing: polling stopped, so it goes on under a new term.
    (Role.MAIN, Cause.TERM_BEGUN): Move(Role.MAIN, _RISE),
    (Role.MAIN, Cause.STOPPED): Move(Role.STARTING, (*_FALL, Exit)),
}

WITNESS_EFFECTS: Final = (ClaimWitness, ReleaseWitness)
"""Left out where no witness is configured."""


def diagram() -> str:
    """The role diagram as Mermaid text, drawn from `MOVES`."""
    arrows = [
        f"    {source.name.lower()} --> {move.target.name.lower()}: "
        f"{cause.name.lower().replace('_', ' ')}"
        for (source, cause), move in MOVES.items()
        if cause is not Cause.STOPPED
    ]
    leaves = [
        f"    {source.name.lower()} --> [*]: stopped"
        for source, cause in MOVES
        if cause is Cause.STOPPED
    ]
    return "\n".join(["stateDiagram-v2", "    [*] --> starting", *arrows, *leaves])
