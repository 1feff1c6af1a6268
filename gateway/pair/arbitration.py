"""Who wins: between two that start, and between two that are Main. Pure comparisons with a reason.

Both nodes must never reach different verdicts for long. The start rule compares what both hold
still (coverage, priority, id) and acts only with the loser's consent. Main-Main compares what moves
(ages, lengths of reigns), so one node alone decides: the one with the lower id rules, once for each
pair of terms, and the other obeys.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.model import NS_PER_S, format_time


class Candidate(NamedTuple):
    """What the start rule compares; `coverage_end_ns` is UTC, 0 for a blank journal."""

    able: bool
    synced: bool
    coverage_end_ns: int
    priority: int
    node: str


class Reigning(NamedTuple):
    """What Main-Main compares; `collected_age_ns` is -1 for a reign that collected nothing."""

    collected_age_ns: int
    priority: int
    reign_ns: int
    node: str


class Outcome(NamedTuple):
    """Who wins, and by what."""

    winner: str
    why: str


def start_rule(a: Candidate, b: Candidate) -> Outcome:
    """Able, synced Standby, later coverage end, priority, lower node id; a blank one never wins.

    Able is who can begin a term: else a full disk would keep both from it. A synced Standby knows
    all that its last Main knew, and takes over when it hears one start.
    """
    if a.able != b.able:
        winner, loser = (a, b) if a.able else (b, a)
        return Outcome(winner.node, f"{loser.node} can't begin a term")
    blank = {c.node for c in (a, b) if c.coverage_end_ns == 0}
    if len(blank) == 1:
        winner = b if a.node in blank else a
        return Outcome(winner.node, f"{blank.pop()} is blank")
    if a.synced != b.synced:
        return Outcome((a if a.synced else b).node, "the synced Standby")
    if a.coverage_end_ns != b.coverage_end_ns:
        later = max(a, b, key=lambda c: c.coverage_end_ns)
        return Outcome(later.node, f"later coverage end ({format_time(later.coverage_end_ns)})")
    return _by_priority(a, b) or Outcome(min(a.node, b.node), "node id")


def arbitrate(a: Reigning, b: Reigning) -> Outcome:
    """Reaches the field (collected while both reigned), priority, longer reign, lower node id."""
    a_reaches, b_reaches = (0 <= c.collected_age_ns < both_reigned_ns(a, b) for c in (a, b))
    if a_reaches != b_reaches:
        winner, loser = (a, b) if a_reaches else (b, a)
        return Outcome(winner.node, f"{loser.node} did not reach the field")
    if decided := _by_priority(a, b):
        return decided
    if a.reign_ns != b.reign_ns:
        winner, loser = (a, b) if a.reign_ns > b.reign_ns else (b, a)
        lengths = f"{winner.reign_ns / NS_PER_S:.3f} s over {loser.reign_ns / NS_PER_S:.3f} s"
        return Outcome(winner.node, f"longer unbroken reign ({lengths})")
    return Outcome(min(a.node, b.node), "node id")


def both_reigned_ns(a: Reigning, b: Reigning) -> int:
    """For how long both reigned, up to now: as long as the shorter reign lasts."""
    return min(a.reign_ns, b.reign_ns)


def _by_priority(a: Candidate | Reigning, b: Candidate | Reigning) -> Outcome | None:
    if a.priority == b.priority:
        return None
    winner, loser = (a, b) if a.priority > b.priority else (b, a)
    return Outcome(winner.node, f"priority {winner.priority} over {loser.priority}")
