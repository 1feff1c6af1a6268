"""How a promise is broken in what was kept of a run: histories, gaps, clients.

Each function alters it, by the rig alone. It returns what the evidence against it must name (a
point, a device, a position), and raises CanaryError where the run has nothing to break.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final

from gateway.model import NS_PER_MS, NS_PER_S, Cause, Gap, GapState, HistoryRow, Origin, is_bad
from hil.judges import EXCUSED
from hil.judges_client import STAMP_NS
from hil.kept import Kept, values_of
from hil.plant import PlantPoint
from hil.words import NODES

LOST_NS: Final = 4 * NS_PER_S
ODD: Final = 1_000.0
MINUTE_NS: Final = 60 * NS_PER_S
AWAY: Final = "plc2"
"""In the scenario: its gap is filled."""
LOST: Final = "plc1"
"""In the scenario: it lost its log with its power."""
STEADY: Final = "meter1"
"""In the scenario: nothing happens to it."""


class CanaryError(RuntimeError):
    """The run has nothing that this canary could break; the message says what is lacking."""


# ------------------------------------------------------------------------------ where to break


def _calm(kept: Kept, point: PlantPoint, from_ns: int, to_ns: int) -> bool:
    """Whether nothing excuses a point anywhere near a stretch, on any node."""
    return not any(
        gap.device == point.device
        and gap.state in (*EXCUSED, GapState.FILLING)
        and gap.from_ns - 2 * NS_PER_S < to_ns
        and from_ns < gap.to_ns + 2 * NS_PER_S
        for node in NODES
        for gap in kept.gaps[node]
    )


def _inside(kept: Kept, node: str, point: str, from_ns: int, to_ns: int) -> list[HistoryRow]:
    return [row for row in kept.rows[node][point] if from_ns <= row.time_ns < to_ns]


def _liveliest(kept: Kept) -> tuple[PlantPoint, int]:
    """The point and the begin of the stretch in which most samples can be lost. CanaryError."""
    run = kept.run
    best: tuple[int, PlantPoint | None, int] = (0, None, 0)
    for point in _readable(kept):
        for at_ns in range(run.from_ns, run.to_ns - LOST_NS - 2 * NS_PER_S, NS_PER_S):
            if _calm(kept, point, at_ns, at_ns + LOST_NS):
                count = len(_inside(kept, "a", point.id, at_ns, at_ns + LOST_NS))
                best = max(best, (count, point, at_ns), key=lambda found: found[0])
    if best[1] is None or best[0] < 3:
        raise CanaryError("no stretch of 4 s without gaps has samples")
    return best[1], best[2]


def _readable(kept: Kept) -> Iterator[PlantPoint]:
    return (point for point in kept.plant.points() if point.access.readable)


def _in_force(kept: Kept, wanted: Callable[[PlantPoint, HistoryRow], bool]) -> tuple[str, int]:
    """The number that was longest in force among what both nodes have. CanaryError."""
    run, best = kept.run, (0, "", 0)
    for point in _readable(kept):
        other = set(kept.rows["b"][point.id])
        rows = kept.rows["a"][point.id]
        for at, row in enumerate(rows):
            until_ns = min(rows[at + 1].time_ns if at + 1 < len(rows) else run.to_ns, run.to_ns)
            numeric = isinstance(row.value, int | float) and not isinstance(row.value, bool)
            begins = run.from_ns <= row.time_ns and row in other and not is_bad(row.status)
            if numeric and begins and _calm(kept, point, row.time_ns, until_ns):
                lasts_ns = until_ns - row.time_ns - point.period_ns
                if lasts_ns > best[0] and wanted(point, row):
                    best = (lasts_ns, point.id, row.time_ns)
    if not best[1]:
        raise CanaryError("no sample was in force for a scan instant")
    return best[1], best[2]


def _seen(kept: Kept) -> set[tuple[str, int]]:
    """The Good values that the client saw, by point and microsecond."""
    lines = map(json.loads, kept.client or ())
    good = [(line[2], line[3] // STAMP_NS) for line in lines if line[5] == 0]
    return {(point, stamp + near) for point, stamp in good for near in (-1, 0, 1)}


def _change(
    kept: Kept, node: str, point: str, at_ns: int, change: Callable[[HistoryRow], HistoryRow]
) -> None:
    rows = kept.rows[node][point]
    kept.rows[node][point] = [change(row) if row.time_ns == at_ns else row for row in rows]


def _more(row: HistoryRow) -> HistoryRow:
    assert isinstance(row.value, int | float)
    return row._replace(value=row.value + ODD)


# ------------------------------------------------------------------------------ histories


def lose_samples(*nodes: str) -> Callable[[Kept], str]:
    """Four seconds of a point are gone from histories."""

    def breaks(kept: Kept) -> str:
        point, from_ns = _liveliest(kept)
        for node in nodes:
            gone = _inside(kept, node, point.id, from_ns, from_ns + LOST_NS)
            rows = kept.rows[node][point.id]
            kept.rows[node][point.id] = [row for row in rows if row not in gone]
        kept.read_back["values"] = values_of(kept)
        return point.id

    return breaks


def alter_seen(*nodes: str) -> Callable[[Kept], str]:
    """A sample that a client saw has another value in histories."""

    def breaks(kept: Kept) -> str:
        seen = _seen(kept)
        point, at_ns = _in_force(kept, lambda p, r: (p.id, r.time_ns // STAMP_NS) in seen)
        for node in nodes:
            _change(kept, node, point, at_ns, _more)
        return point

    return breaks


def alter_wound_back(kept: Kept) -> str:
    """A sample from a device's log has another value on both nodes."""
    seen = _seen(kept)
    point, at_ns = _in_force(
        kept,
        lambda p, r: r.origin is Origin.WINDBACK and (p.id, r.time_ns // STAMP_NS) not in seen,
    )
    for node in NODES:
        _change(kept, node, point, at_ns, _more)
    return point


def learn_later(kept: Kept) -> str:
    """One node says that it learned a sample a millisecond later."""
    point, at_ns = _in_force(kept, lambda p, r: True)
    _change(kept, "b", point, at_ns, lambda r: r._replace(received_ns=r.received_ns + NS_PER_MS))
    return point


def forget_gaps(*nodes: str) -> Callable[[Kept], str]:
    """The records of the gaps of a device that can't give back what was lost are gone."""

    def breaks(kept: Kept) -> str:
        if not any(gap.device == LOST and gap.state is GapState.LOST for gap in kept.gaps["a"]):
            raise CanaryError(f"{LOST} lost nothing")
        for node in nodes:
            kept.gaps[node] = [gap for gap in kept.gaps[node] if gap.device != LOST]
        return LOST

    return breaks


def _filled(kept: Kept) -> Gap:
    """The longest gap that was filled of the device that was away."""
    own = [g for g in kept.gaps["a"] if (g.device, g.state) == (AWAY, GapState.FILLED)]
    if not own:
        raise CanaryError(f"no gap of {AWAY} was filled")
    return max(own, key=lambda gap: gap.to_ns - gap.from_ns)


def _with_gap(kept: Kept, old: Gap | None, new: Gap) -> None:
    for node in NODES:
        kept.gaps[node] = [*(gap for gap in kept.gaps[node] if gap != old), new]


def unfill(kept: Kept) -> str:
    """What was wound back is gone, its gap open, though the device's log has it."""
    gap = _filled(kept)
    _with_gap(kept, gap, gap._replace(state=GapState.OPEN))
    for node in NODES:
        for point, rows in kept.rows[node].items():
            if point.partition("/")[0] == gap.device:
                kept.rows[node][point] = [
                    row
                    for row in rows
                    if row.origin is not Origin.WINDBACK
                    or not gap.from_ns <= row.time_ns < gap.to_ns
                ]
    kept.read_back["values"] = values_of(kept)
    return gap.device


def keep_filling(kept: Kept) -> str:
    """A gap is being filled for ever, though all its samples are there."""
    gap = _filled(kept)
    _with_gap(kept, gap, gap._replace(state=GapState.FILLING))
    return gap.device


def a_gap_more(kept: Kept) -> str:
    """A device that was polled all the time has a gap, filled at once."""
    at_ns = kept.run.from_ns + NS_PER_S
    span = (at_ns, at_ns + NS_PER_S)
    _with_gap(kept, None, Gap(STEADY, "normal", *span, Cause.DEVICE, GapState.FILLED))
    return STEADY


def a_longer_gap(kept: Kept) -> str:
    """A device was away for a minute longer, and all of it was filled."""
    gap = _filled(kept)
    _with_gap(kept, gap, gap._replace(to_ns=gap.to_ns + MINUTE_NS))
    return gap.device


# ------------------------------------------------------------------------------ clients


def hand_out(kept: Kept) -> str:
    """The client was given a value that never was."""
    for at, text in enumerate(reversed(kept.client or ())):
        line = json.loads(text)
        number = isinstance(line[4], int | float) and not isinstance(line[4], bool)
        if number and line[5] == 0 and line[3] < kept.run.to_ns:
            line[4] += ODD
            assert kept.client is not None
            kept.client[len(kept.client) - 1 - at] = json.dumps(line)
            return str(line[2])
    raise CanaryError("the client saw no number")


def short_read(kept: Kept) -> str:
    """A client that reads all history is given one value too few."""
    kept.read_back["values"] -= 1
    return "the journal holds"
