"""The judge of windback: what is missing though the device's log still held it.

Pure. A gap may stay open only for what no log had at the last attempt to read it. The rig knows
what a log held at any instant (`recorded` on its control socket); the gateway says what it filled
and when it tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.model import NS_PER_S, Cause, Gap, format_time
from hil.runs import Happening
from hil.settings import PlcHistory
from hil.truth import Span

CLOCK_SLACK_NS: Final = NS_PER_S // 2
"""How near to the end of a stretch a record may lie and still be on its other side: clocks."""


class Unfilled(NamedTuple):
    """A stretch [from, to) of a device's points that has no values; `attempted_ns` is when its log
    was last asked for it (None: never)."""

    device: str
    points: frozenset[str]
    from_ns: int
    to_ns: int
    attempted_ns: int | None


class ClockSet(NamedTuple):
    """When a device's clock was set, and by how much, whichever way."""

    at_ns: int
    by_ns: int


def unwatched(gaps: Sequence[Gap]) -> list[Span]:
    """When nobody read a device, and no node was there at first or amid it, by its gaps.

    Gaps of a class without a scan between them are one: also who came later has not seen its clock.
    """
    found: list[Span] = []
    for scan_class in dict.fromkeys(gap.scan_class for gap in gaps):
        runs: list[list[Gap]] = []
        own = [gap for gap in gaps if gap.scan_class == scan_class]
        for gap in sorted(own, key=lambda gap: gap.from_ns):
            if runs and gap.from_ns <= max(before.to_ns for before in runs[-1]):
                runs[-1].append(gap)
            else:
                runs.append([gap])
        found += [
            Span(run[0].from_ns, max(gap.to_ns for gap in run), None)
            for run in runs
            if any(gap.cause is Cause.NODE_DOWN for gap in run)
        ]
    return found


def unplaced(gap: Gap, away: Sequence[Span], sets: Sequence[ClockSet]) -> bool:
    """Whether a clock was set while it was `unwatched`, so near to a stretch that it moved it.

    Before and after it the clock was read by different runs of nodes: it may be theirs that differ,
    and what a jump of the stamps leaves out is lost rightly (drivers/modbus/log/clock_steps.py).
    """
    return any(
        span.from_ns <= gap.from_ns
        and gap.to_ns <= span.to_ns
        and span.from_ns - one.by_ns <= one.at_ns <= span.to_ns + one.by_ns
        for span in away
        for one in sets
    )


class LogHeld(NamedTuple):
    """What one log held of a stretch: runs of records as (first, last) true instants."""

    log: str
    points: frozenset[str]
    resolution_ns: int
    runs: tuple[tuple[int, int], ...]

    def records(self, from_ns: int, to_ns: int) -> int:
        """How many records lie in [from, to)."""
        count = 0
        for first, last in self.runs:
            low, high = max(first, from_ns), min(last, to_ns - 1)
            if low <= high:
                skipped = -((first - low) // self.resolution_ns)
                count += max(0, (high - first) // self.resolution_ns - skipped + 1)
        return count


class Missed(NamedTuple):
    """Records that a log held when it was last asked, and that the history has not."""

    device: str
    log: str
    points: tuple[str, ...]
    from_ns: int
    to_ns: int
    records: int
    why: str

    def __str__(self) -> str:
        return (
            f"{self.device} {self.log}, {format_time(self.from_ns)} to {format_time(self.to_ns)}: "
            f"{self.records} records of {', '.join(self.points)} {self.why}"
        )


def recorded_by_plc(
    settings: PlcHistory, points: frozenset[str], off: Sequence[Span], now_ns: int, span: Span
) -> LogHeld:
    """What an OPC UA PLC that records by itself holds of a stretch, as if it were once a second.

    It records whenever it has power (`off` is when it had none), so far back as its depth goes; a
    volatile history only since it came up last. One that does `odd` things is not asked for any.
    """
    from_ns = max(span.from_ns, now_ns - settings.depth_ns)
    if settings.volatile and off:
        from_ns = max(from_ns, off[-1].to_ns)
    runs, at_ns = [], from_ns
    for gone in sorted(off, key=lambda gone: gone.from_ns):
        runs.append((at_ns, min(gone.from_ns, span.to_ns)))
        at_ns = max(at_ns, gone.to_ns)
    runs.append((at_ns, span.to_ns))
    whole = tuple((a, b) for a, b in runs if a < b) if not settings.odd else ()
    return LogHeld("history", points - settings.without, NS_PER_S, whole)


def without_power(journal: Sequence[Happening], device: str, to_ns: int) -> list[Span]:
    """When a device had no power, by the journal of the outstations; it may last at `to_ns`."""
    found: list[Span] = []
    since_ns: int | None = None
    for item in journal:
        if item.device == device and item.what == "power off" and since_ns is None:
            since_ns = item.time_ns
        elif item.device == device and item.what == "power on" and since_ns is not None:
            found.append(Span(since_ns, item.time_ns, None))
            since_ns = None
    return found if since_ns is None else [*found, Span(since_ns, to_ns, None)]


def unproven(off: Sequence[Span], last_change_ns: Callable[[int], int]) -> list[Span]:
    """When a PLC's history can't show that its server ran: since the last change before a stop.

    A history of changes holds nothing of the time after its last one (OPC 10000-11 section 6.4.3):
    what a server that was stopped held until then nobody can tell.
    """
    return [Span(last_change_ns(gone.from_ns), gone.to_ns, gone.value) for gone in off]


Held = Callable[[str, int, int, int], Sequence[LogHeld]]
"""(device, from, to, at) to what its logs held at `at` of [from, to)."""


def parse_held(answer: Mapping[str, Any]) -> list[LogHeld]:
    """What the rig answers to `recorded`."""
    return [
        LogHeld(
            name,
            frozenset(said["points"]),
            int(said["resolution_ns"]),
            tuple((int(first), int(last)) for first, last in said["runs"]),
        )
        for name, said in answer["logs"].items()
    ]


def missed(
    unfilled: Sequence[Unfilled], held: Held, now_ns: int, slack_ns: int = CLOCK_SLACK_NS
) -> list[Missed]:
    """What the logs could still give, for stretches that stayed empty.

    A stretch that was never asked for is judged by what the log holds now. Records within
    `slack_ns` of an end of the stretch don't count: by another clock they lie outside.
    """
    found: list[Missed] = []
    for stretch in unfilled:
        at_ns = now_ns if stretch.attempted_ns is None else stretch.attempted_ns
        why = "were never asked for" if stretch.attempted_ns is None else "were in the log"
        low, high = stretch.from_ns + slack_ns, stretch.to_ns - slack_ns
        for log in held(stretch.device, stretch.from_ns, stretch.to_ns, at_ns):
            points = tuple(sorted(log.points & stretch.points))
            records = log.records(low, high) if points else 0
            if records:
                found.append(
                    Missed(
                        stretch.device,
                        log.log,
                        points,
                        stretch.from_ns,
                        stretch.to_ns,
                        records,
                        why,
                    )
                )
    return found
