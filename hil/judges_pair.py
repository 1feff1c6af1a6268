"""Judges of a pair: who polled what when, and whether both nodes tell one history. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from gateway.model import NS_PER_S, Cause, Gap, HistoryRow, format_time
from hil.outstation.polls import Poll
from hil.recording import Act, Look, Reign, Stretch
from hil.truth import Span

FREEZE: Final = "freeze"
KILL: Final = "kill"
LATE: Final = "late"
"""Of a poll's outcome: answers that later ones overtake."""
STEP_CLOCK: Final = "step_clock"
"""The times of reigns are no proof then."""
SLEWED_S: Final = 1.0
"""A clock that was set by less is followed so slowly that no stamp is wrong (rules.md 4)."""
WOKEN_NS: Final = 2 * NS_PER_S
"""How long after a node woke its one late request may arrive: a request's time-out, and a retry."""
KNOCKS_NS: Final = 3 * NS_PER_S
"""How long a Standby goes on knocking at devices when one of them was lost no more."""
DYING_NS: Final = NS_PER_S // 10
"""How long a node that is being killed may still send."""
ALONE_NS: Final = 10 * NS_PER_S
"""Who asks again after longer has that port for another connection: one polls more often."""
LOSSES: Final = frozenset({Cause.DEVICE.value, Cause.LINK.value})
"""Causes of gaps that say of a device that it did not answer the Main."""


class Turn(NamedTuple):
    """One node polled a device, and no other did, from its first to its last request (ns UTC)."""

    device: str
    node: str
    from_ns: int
    to_ns: int
    polls: int

    def __str__(self) -> str:
        return (
            f"{self.device}: node {self.node} asked {self.polls} times from "
            f"{format_time(self.from_ns)} to {format_time(self.to_ns)}"
        )


def asker(poll: Poll, nodes: Mapping[str, str]) -> str:
    """The node that sent a request; `nodes` names them by address or serial port.

    Whoever is not in `nodes` stays as the address it has.
    """
    address = poll.peer if poll.peer in nodes else poll.peer.rpartition(":")[0]
    return nodes.get(address, poll.peer)


def turns(polls: Iterable[Poll], nodes: Mapping[str, str]) -> dict[str, list[Turn]]:
    """Who polled each device, in order of time: a new turn wherever the node changes."""
    found: dict[str, list[Turn]] = {}
    ordered = sorted(polls, key=lambda poll: (poll.device, poll.received_ns))
    for (device, node), run in groupby(ordered, key=lambda p: (p.device, asker(p, nodes))):
        times = [poll.received_ns for poll in run]
        turn = Turn(device, node, times[0], times[-1], len(times))
        found.setdefault(device, []).append(turn)
    return found


def strays(
    polls: Iterable[Poll],
    nodes: Mapping[str, str],
    reigns: Sequence[str],
    splits: Sequence[Span] = (),
) -> list[Turn]:
    """The turns that no reign explains: [] when no two nodes ever polled one device at once.

    `reigns` are the nodes that were Main, in order. A device is asked by one after the other, each
    in one turn; some may be left out (a device that was down). Polls inside `splits` don't count:
    without a witness both nodes may poll then.
    """
    outside = [p for p in polls if not any(s.from_ns <= p.received_ns < s.to_ns for s in splits)]
    order = [node for node, _ in groupby(reigns)]
    found: list[Turn] = []
    for own in turns(outside, nodes).values():
        at = -1
        for turn in own:
            if at >= 0 and order[at] == turn.node:
                continue  # a stray between two polls of one reign ended nothing
            later = next((i for i in range(at + 1, len(order)) if order[i] == turn.node), None)
            if later is None:
                found.append(turn)
            else:
                at = later
    return found


def explaining(reigns: Sequence[Reign], splits: Sequence[Span]) -> list[str]:
    """The nodes that were Main, in order, but for reigns that lay inside a split.

    Polls there don't count, so such a reign explains none; it would explain a stray elsewhere.
    """
    return [
        reign.node
        for reign in reigns
        if not reign.to_ns
        or not any(s.from_ns <= reign.from_ns and reign.to_ns <= s.to_ns for s in splits)
    ]


def past_the_check(turn: Turn, acts: Sequence[Act]) -> bool:
    """Whether a turn is the one request that a frozen node had let go of when it was stopped.

    A socket may deliver one that was past the check of the reign (rules.md 5, Reign).
    """
    return turn.polls == 1 and any(
        act.word == FREEZE and act.hit == turn.node and 0 <= turn.from_ns - act.ended_ns < WOKEN_NS
        for act in acts
        if not act.failed
    )


def field_lost(stretches: Iterable[Stretch], devices: Iterable[str]) -> list[Span]:
    """When the Main had lost every device, by the gaps that it declared."""
    edges: list[tuple[int, int, str]] = []
    for each in stretches:
        if each.cause in LOSSES:
            edges += [(each.from_ns, 1, each.device), (each.to_ns, -1, each.device)]
    known, open_ = set(devices), Counter[str]()
    found: list[Span] = []
    since_ns: int | None = None
    for at_ns, change, device in sorted(edges):
        open_[device] += change
        lost = all(open_[name] > 0 for name in known)
        if lost and since_ns is None:
            since_ns = at_ns
        elif not lost and since_ns is not None:
            found.append(Span(since_ns, at_ns, None))
            since_ns = None
    return found


def knocks(
    polls: Sequence[Poll], nodes: Mapping[str, str], reigns: Sequence[Reign], lost: Sequence[Span]
) -> set[Poll]:
    """What a Standby asked to learn whether it reaches a field that the Main had lost.

    Rules.md 5, Field loss: one request a device, on a connection that carries nothing else, and
    never on a serial line, which has no connections.
    """
    times: dict[str, list[int]] = {}
    for poll in polls:
        times.setdefault(poll.peer, []).append(poll.received_ns)

    def alone(poll: Poll) -> bool:
        near = (abs(at_ns - poll.received_ns) <= ALONE_NS for at_ns in times[poll.peer])
        return sum(near) == 1

    return {
        poll
        for poll in polls
        if poll.peer not in nodes
        and any(s.from_ns <= poll.received_ns < s.to_ns + KNOCKS_NS for s in lost)
        and not any(
            reign.node == asker(poll, nodes)
            and reign.from_ns <= poll.received_ns
            and (not reign.to_ns or poll.received_ns < reign.to_ns)
            for reign in reigns
        )
        and alone(poll)
    }


def astray(acts: Sequence[Act], looks: Sequence[Look]) -> str:
    """A node that was seen as Main while its clock was set wrong; empty: none was."""
    for act in acts:
        wrong = act.word == STEP_CLOCK and abs(float(act.options.get("seconds", 0))) >= SLEWED_S
        if wrong and any(
            look.node == act.hit and look.role == "main"
            for look in looks
            if act.begun_ns <= look.time_ns < act.ended_ns
        ):
            return act.hit
    return ""


def doubled(
    polls: Iterable[Poll], nodes: Mapping[str, str], acts: Sequence[Act] = ()
) -> list[tuple[Poll, Poll]]:
    """Requests that one node sent to a device before the other's request was answered.

    A request ends with the process that sent it. One that is answered too late, after others, held
    nothing up: its node gave it up.
    """
    killed = [act for act in acts if act.word == KILL and not act.failed]

    def over(one: Poll, at_ns: int) -> bool:
        """Whether who sent a request was killed since, before `at_ns`."""
        return any(
            act.hit == asker(one, nodes) and one.received_ns - DYING_NS < act.begun_ns < at_ns
            for act in killed
        )

    found: list[tuple[Poll, Poll]] = []
    open_: dict[str, Poll] = {}
    for poll in sorted(polls, key=lambda poll: poll.received_ns):
        before = open_.get(poll.device)
        if (
            before is not None
            and before.answered_ns > poll.received_ns
            and asker(before, nodes) != asker(poll, nodes)
            and not over(before, poll.received_ns)
        ):
            found.append((before, poll))
        if poll.outcome != LATE and (before is None or poll.answered_ns >= before.answered_ns):
            open_[poll.device] = poll
    return found


def unlike(
    one: Mapping[str, Sequence[HistoryRow]], other: Mapping[str, Sequence[HistoryRow]]
) -> list[str]:
    """Where two nodes' histories of the same stretch differ: a sentence a point, [] if nowhere."""
    found = []
    for point in sorted({*one, *other}):
        mine, theirs = set(one.get(point, ())), set(other.get(point, ()))
        if odd := sorted((mine ^ theirs), key=lambda row: row.time_ns):
            row = odd[0]
            where = "the first" if row in mine else "the other"
            found.append(
                f"{point}: {len(mine - theirs)} samples only in the first, {len(theirs - mine)} "
                f"only in the other; {where} has {row.value!r} at {format_time(row.time_ns)} "
                f"({row.position.term}/{row.position.seq})"
            )
    return found


def longest_gap_ns(gaps: Iterable[Gap], from_ns: int, to_ns: int) -> int:
    """The longest that the gaps of one device and scan class last together inside [from, to).

    What the gateway declares because it came too late on a busy machine is not counted.
    """
    total: dict[tuple[str, str], int] = {}
    for gap in gaps:
        if gap.cause is not Cause.OVERRUN:
            key = gap.device, gap.scan_class
            inside_ns = min(gap.to_ns, to_ns) - max(gap.from_ns, from_ns)
            total[key] = total.get(key, 0) + max(0, inside_ns)
    return max(total.values(), default=0)
