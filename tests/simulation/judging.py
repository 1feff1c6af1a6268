"""The judges of a world, over what it recorded and what both disks hold in the end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.acquisition.schedule import next_instant, phase_of
from gateway.journal.coverage import (
    Except,
    Intervals,
    Lost,
    OwnRun,
    Run,
    cause_of,
    gaps,
    streams,
    union,
    withdrawn,
)
from gateway.journal.fills import Missing, Written, missing, states
from gateway.journal.fills import judged as judged_of
from gateway.journal.reconstruct import Reconstruction, reading_order
from gateway.journal.records import Batch
from gateway.model import (
    NS_PER_MS,
    NS_PER_S,
    Gap,
    HistoryRow,
    Origin,
    Position,
    Term,
    is_bad,
)
from hil.judges_pair import strays, unlike
from hil.outstation.polls import Poll
from tests.simulation.agenda import EPOCH_NS, HostClock, meant
from tests.simulation.declared import told_fills
from tests.simulation.judging_windback import Wound, wrongly_lost
from tests.simulation.plant import CLASSES, POINTS, value_at

if TYPE_CHECKING:
    from tests.simulation.node import Process
    from tests.simulation.world import Fault, World

MS = NS_PER_MS
S = NS_PER_S
SLACK_NS = 250 * MS
"""How much older than one period a value in force may be, as in hil/judges.py."""
TOLD_MAX = 5


FOREVER_NS = 2**62


class View(NamedTuple):
    """A point's history as a reader of the journal has it."""

    known: Reconstruction
    parts: Sequence[Missing]


class Told(NamedTuple):
    """What one node's files say of the whole run."""

    runs: list[Run | OwnRun]
    holes: list[Except]
    losses: list[Lost]
    rows: dict[str, list[HistoryRow]]
    fills: dict[str, list[Written]]
    asked: dict[Position, int]


def judged(world: World) -> list[str]:
    """Everything that both nodes promise and do not keep."""
    problems: list[str] = []
    living = [host.process for host in world.hosts.values() if host.process is not None]
    if len(living) < 2 or world.problems:
        return [text for process in living for text in _history(world, process)]
    first, second = living
    problems += _history(world, first)
    problems += _history(world, second)
    problems += _same(world, first, second)
    problems += _asked(world)
    problems += _seen(world, living)
    problems += [f"lost: {text}" for text in wrongly_lost(world, read(first).fills)][:TOLD_MAX]
    if world.conditions.calm:
        problems += _takeovers(world)
        problems += _claimed(world, first)
    return problems


def window(world: World) -> tuple[int, int]:
    """The whole run, by any of its clocks."""
    marks = [host.clock.marks for host in world.hosts.values()]
    return min(utc for each in marks for utc, _ in each), min(each[-1][0] for each in marks)


def read(process: Process) -> Told:
    """The records and tables of a node's disk."""
    database = process.store.disk.connection
    terms = {
        term_id: Term(number, node, int(nonce, 16))
        for term_id, number, node, nonce in database.execute("SELECT * FROM term")
    }
    runs: list[Run | OwnRun] = [
        Run(terms[term_id], revision, since_ns, through_ns)
        for term_id, revision, since_ns, through_ns in database.execute(
            "SELECT term_id, revision, since_ns, through_ns FROM run"
        )
    ]
    runs += [
        OwnRun(terms[term_id], revision, device, scan_class, *stretches)
        for term_id, revision, device, scan_class, *stretches in database.execute(
            "SELECT term_id, revision, device, scan_class, from_ns, to_ns, since_ns, through_ns"
            " FROM own_run"
        )
    ]
    holes = [
        Except(terms[term_id], device, scan_class, cause_of(cause), from_ns, to_ns)
        for term_id, device, scan_class, cause, from_ns, to_ns in database.execute(
            "SELECT term_id, device, scan_class, cause, from_ns, to_ns FROM hole"
        )
    ]
    losses = [
        Lost(cause_of(cause), from_ns, to_ns)
        for cause, from_ns, to_ns in database.execute("SELECT cause, from_ns, to_ns FROM loss")
    ]
    names = [f"{device}/{name}" for device, name, _, _ in POINTS]
    rows: dict[str, list[HistoryRow]] = {name: [] for name in names}
    asked: dict[Position, int] = {}
    for records, _, _ in process.store.disk.groups:
        for record in records:
            body = record.body
            if not isinstance(body, Batch):
                continue
            origin = Origin(body.origin)
            asked[record.position] = body.requested_ns
            for number, time_ns, value, status in body.samples:
                row = HistoryRow(time_ns, value, status, body.received_ns, origin, record.position)
                rows[names[number]].append(row)
    for found in rows.values():
        found.sort(key=reading_order)
    fills = {device: told_fills(database, device, 0, FOREVER_NS) for device in CLASSES}
    return Told(runs, holes, losses, rows, fills, asked)


def classes() -> list[tuple[str, str, int]]:
    """Every (device, scan class, period)."""
    return [(d, c, period_ns) for d, each in CLASSES.items() for c, period_ns in each.items()]


def _points(device: str, scan_class: str) -> list[str]:
    return [f"{d}/{name}" for d, name, c, _ in POINTS if (d, c) == (device, scan_class)]


def gaps_of(process: Process, told: Told, device: str, scan_class: str, span: Any) -> list[Gap]:
    """What nobody polled, with what windback made of it."""
    kept = process.store.kept
    found = gaps(
        device,
        scan_class,
        span,
        told.runs,
        told.holes,
        told.losses,
        configured=lambda term, revision: kept.has_device(revision, term, device),
        rulings=kept.rulings,
    )
    return states(found, told.fills[device], withdrawn(kept.rulings))


def known_of(process: Process, told: Told, point: str, missing_gaps: Sequence[Gap]) -> View:
    """What history says of a point, and what became of its gaps."""
    device, _, name = point.partition("/")
    rulings = process.store.kept.rulings
    scan_class = next(c for d, n, c, _ in POINTS if (d, n) == (device, name))
    by_term = streams_of(process, told, device, scan_class)
    stretches = union((gap.from_ns, gap.to_ns) for gap in missing_gaps)
    parts = missing(stretches, judged_of(told.fills[device], name, withdrawn(rulings)))
    return View(Reconstruction(told.rows[point], by_term, rulings, parts), parts)


def streams_of(
    process: Process, told: Told, device: str, scan_class: str
) -> Mapping[Term, Intervals]:
    kept = process.store.kept
    return streams(told.runs, told.holes, device, scan_class, rulings=kept.rulings)


def _history(world: World, process: Process) -> list[str]:
    """Every scan instant is right or declared."""
    problems: list[str] = []
    told = read(process)
    span = window(world)
    clocks = {node: host.clock for node, host in world.hosts.items()}
    for device, scan_class, period_ns in classes():
        lacking = gaps_of(process, told, device, scan_class, span)
        starts = [gap.from_ns for gap in lacking]
        phase_ns = phase_of(device, scan_class, period_ns)
        for point in _points(device, scan_class):
            view = known_of(process, told, point, lacking)
            wound = Wound(world, process, told.fills[device], point, view.parts)
            at_ns = next_instant(period_ns, phase_ns, span[0])
            while at_ns < span[1]:
                why = _wrong(
                    view.known, lacking, starts, point, at_ns, period_ns, clocks, told.asked
                )
                why = why or wound.wrong(view.known, at_ns)
                if why is not None:
                    problems.append(
                        f"history of {process.node}: {point} at {at_ns}"
                        f" (+{(at_ns - EPOCH_NS) / S:.3f} s): {why}"
                    )
                    if len(problems) >= TOLD_MAX:
                        return problems
                at_ns += period_ns
    return problems


def _wrong(
    known: Reconstruction,
    lacking: Sequence[Gap],
    starts: Sequence[int],
    point: str,
    at_ns: int,
    period_ns: int,
    clocks: Mapping[str, HostClock],
    asked: Mapping[Position, int],
) -> str | None:
    """Why an instant is neither right nor declared, or both at once; None if it is well."""
    place = bisect_right(starts, at_ns) - 1
    declared = place >= 0 and at_ns < lacking[place].to_ns
    speaker = known.speaker(at_ns)
    if speaker is None:
        return None if declared else "neither covered nor declared"
    if declared:
        return f"covered by {speaker}, and declared too"
    held = known.at(at_ns)
    if held is None:
        return f"covered by {speaker}, but no value is known"
    row = held.row
    if is_bad(row.status) or not isinstance(row.value, int):
        return f"covered by {speaker}, but Bad ({row.status:#x}, learned {row.received_ns})"
    # A value is what the device held at any moment between request and reply.
    late_ns = max(0, row.received_ns - asked[row.position])
    for true_ns in meant(clocks[speaker.node], at_ns):
        low_ns, high_ns = true_ns - period_ns - SLACK_NS - late_ns, true_ns + SLACK_NS
        if row.time_ns > at_ns:  # the poll that opened the interval
            high_ns += period_ns
        if value_at(point, low_ns) <= row.value <= value_at(point, high_ns):
            return None
    return (
        f"{speaker} says {row.value} (time {row.time_ns}, learned {row.received_ns}), it held "
        f"{[value_at(point, true_ns) for true_ns in meant(clocks[speaker.node], at_ns)]}"
    )


def _same(world: World, first: Process, second: Process) -> list[str]:
    """Both nodes draw the same conclusions."""
    problems: list[str] = []
    one, two = read(first), read(second)
    span = window(world)
    for name in ("facts", "rulings", "head", "diverged", "maintenance"):
        mine, theirs = (getattr(p.store.kept, name) for p in (first, second))
        if mine != theirs:
            problems.append(f"same: {name} differ: {mine} and {theirs}")
    problems += [f"same: {text}" for text in unlike(one.rows, two.rows)]
    for device, scan_class, period_ns in classes():
        found = [
            gaps_of(process, told, device, scan_class, span)
            for process, told in ((first, one), (second, two))
        ]
        if found[0] != found[1]:
            problems.append(f"same: gaps of {device} {scan_class} differ: {found}")
        for point in _points(device, scan_class):
            known = [
                known_of(first, one, point, found[0]).known,
                known_of(second, two, point, found[1]).known,
            ]
            for at_ns in range(span[0], span[1], 3 * period_ns):
                if known[0].at(at_ns) != known[1].at(at_ns):
                    problems.append(f"same: {point} at {at_ns} differs")
                    break
    problems += [
        f"positions: {process.node} met {process.store.conflicts} conflicts"
        for process in (first, second)
        if process.store.conflicts
    ]
    return problems[:TOLD_MAX]


def _asked(world: World) -> list[str]:
    """What was sent to each device: by one node after the other, in the order of the reigns.

    One request a socket, past the check when the reign ended, may arrive late (rules.md 5).
    """
    if any(request.split for request in world.plant.requests):
        return []
    polls = [
        Poll(request.sent_ns, 0, request.device, 1, 3, "", 0, 1, request.node, "ok")
        for request in world.plant.requests
        if request.arrived_ns
    ]
    found = strays(polls, {"a": "a", "b": "b"}, world.reigns)
    return [f"exclusion: {turn}" for turn in found[:TOLD_MAX]]


def _seen(world: World, living: Sequence[Process]) -> list[str]:
    """In sync stretches no client saw what history lacks; in no stretch what nobody ever stored."""
    held = living[0].store.holdings
    lost: list[str] = []
    for seen in world.shown:
        if not seen.sync or seen.position.seq == 0 or held.holds(seen.position):
            continue
        other = "b" if seen.node == "a" else "a"
        if world.forgotten.get(other, -1) >= seen.true_ns:
            continue  # the disk that vouched for it is gone
        lost.append(f"seen: {seen.position} was shown at {seen.true_ns / S:.3f} s and is lost")
    return lost[:TOLD_MAX]


LIMITS_NS = {
    "kill": 700 * MS,
    "power": 1_500 * MS,
    "freeze": 1_500 * MS,
    "changeover": 300 * MS,
    "stop": 600 * MS,
    "cut": 1_500 * MS,
}
"""From the fault to the other node's first request, in a calm world without a witness."""


def _takeovers(world: World) -> list[str]:
    """Where all else is well, the other node polls within its time."""
    problems: list[str] = []
    for fault in world.faults:
        limit_ns = LIMITS_NS.get(fault.kind)
        if limit_ns is None or fault.main is None or fault.patient or not fault.synced:
            continue
        if fault.kind == "freeze" and not _reign_lost(world, fault):
            continue
        first = next(
            (
                request.sent_ns
                for request in world.plant.requests
                if request.sent_ns > fault.true_ns and request.node != fault.main
            ),
            None,
        )
        if first is None or first - fault.true_ns > limit_ns:
            took = "never" if first is None else f"{(first - fault.true_ns) / S:.3f} s"
            problems.append(f"takeover: {fault.kind} at {fault.true_ns / S:.3f} s: {took}")
    return problems


CLAIMED_NS = 450 * MS
"""From the last claim of a killed Main to its end: the records' pace, slack, commits, the way."""


def _claimed(world: World, process: Process) -> list[str]:
    """What a killed Main had collected is covered; a slow device holds no other one back."""
    problems: list[str] = []
    told, span = read(process), window(world)
    for fault in world.faults:
        if fault.kind != "kill" or fault.main is None or not fault.synced:
            continue
        if fault.reigned_ns < S:
            continue  # it may not have claimed anything yet
        at_ns = EPOCH_NS + fault.true_ns
        for device, scan_class, _ in classes():
            if device in world.conditions.lag_ns:
                continue
            for gap in gaps_of(process, told, device, scan_class, span):
                if gap.from_ns <= at_ns < gap.to_ns and at_ns - gap.from_ns > CLAIMED_NS:
                    lost_ms = (at_ns - gap.from_ns) // MS
                    problems.append(
                        f"claimed: {device} {scan_class} lost {lost_ms} ms before a kill at"
                        f" {fault.true_ns / S:.3f} s"
                    )
    return problems[:TOLD_MAX]


def _reign_lost(world: World, fault: Fault) -> bool:
    """Whether a freeze lasted so long that the Main lost its reign."""
    polls = [r.sent_ns for r in world.plant.requests if r.node == fault.main]
    after = [sent_ns for sent_ns in polls if fault.true_ns < sent_ns < fault.true_ns + 2 * S]
    return not after
