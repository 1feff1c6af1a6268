"""After a run: brings from nodes, outstations and files what the judges see.

What can't be got is noted, and ends as `unknown`; nothing here ends the run.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx
import msgspec

from gateway.driver import SUBSCRIPTION_CLASS
from gateway.model import NS_PER_MS, NS_PER_S, Gap, GapState, HistoryRow, Origin, parse_time
from hil import verdicts
from hil.asking import Asked
from hil.gateway import ProgramError
from hil.judges import EXCUSED, Judged, Verdict, judge
from hil.judges_client import Seen, lacking, not_sync, parse_seen, unkept
from hil.judges_journal import odd
from hil.judges_pair import unlike
from hil.judges_windback import (
    ClockSet,
    LogHeld,
    Unfilled,
    missed,
    parse_held,
    recorded_by_plc,
    unplaced,
    unproven,
    unwatched,
    without_power,
)
from hil.outstation.polls import Poll
from hil.plant import Plant
from hil.real import between, steps_of
from hil.recording import Act, Recording, Reign, Stretch, Told
from hil.runs import Happening, judged
from hil.truth import Span
from hil.verdicts import Gathered
from hil.words import CLOCK, NODES

EQUAL_TRIES: Final = 3
EQUAL_S: Final = 30.0
EVIDENCE_A_POINT: Final = 5
TOLD_MAX: Final = 20_000
WITNESS_REGISTERS: Final = 3
LINE_MAX: Final = 400
CHANGED_NS: Final = 600 * NS_PER_S
"""So far back a PLC's last change before a stop is looked for."""
_LOGGED: Final = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT[\d:.]+) (?P<level>[A-Z]+) (?P<text>.*)", re.DOTALL
)
_SEVERITY: Final = {"DEBUG": 0, "INFO": 200, "WARNING": 500, "ERROR": 700, "CRITICAL": 900}
_MODE: Final = re.compile(r"replication is (async|sync again) since")
_GONE: Final = (httpx.HTTPError, OSError, ProgramError, TimeoutError)


async def gather(asked: Asked, run: Recording, found: Gathered) -> None:
    """Fill a recording and what is judged beside it; both nodes are as healed as they became."""
    found.real = frozenset(asked.plant.rig.real)
    await _told(asked, run, found)
    for name in NODES:
        try:
            found.gaps[name] = await asked.gaps(name, run.from_ns, run.to_ns)
        except _GONE as error:
            found.lacks[name] = f"node {name} told no gaps: {error!r}"
    run.gaps_told = bool(found.gaps)
    run.stretches = [_stretch(gap) for gap in found.gaps.get("a", found.gaps.get("b", []))]
    await _histories(asked, run, found)
    await _polls(asked, run, found)
    await _journals(asked, run, found)
    await _logs(asked, run, found)


def _stretch(gap: Gap) -> Stretch:
    span = (gap.from_ns, gap.to_ns)
    return Stretch(
        gap.device, gap.scan_class, gap.cause.value, gap.state.value, *span, points=gap.points
    )


# ------------------------------------------------------------------------------ what was told


async def _told(asked: Asked, run: Recording, found: Gathered) -> None:
    """Reigns, events (both nodes have them: `node` is empty) and the lines of both logs."""
    told: list[Told] = []
    for name in NODES:
        try:
            reigns = await asked.reigns(name)
            events = await asked.events(name, asked.born_ns, time.time_ns())
        except _GONE as error:
            found.lacks[name] = f"node {name} did not answer: {error!r}"
            continue
        run.reigns = [
            Reign(r["term"], r["node"], r["from_ns"], r["to_ns"] or 0, r["why"], r["ended"] or "")
            for r in reigns
        ]
        told = [
            Told(parse_time(e["time"]), "", e["source"], e["severity"], e["text"]) for e in events
        ]
    for name in NODES:
        text = await asyncio.to_thread(asked.log, name)
        if not text:
            found.lacks.setdefault("log", f"node {name} left no log")
        lines = await asyncio.to_thread(log_lines, text or "", name)
        found.broken += [(f"node {t.node}: {t.text}", t.time_ns) for t in lines if _broke(t)]
        told += lines
    run.told = sorted(told, key=lambda line: line.time_ns)[-TOLD_MAX:]


def _broke(line: Told) -> bool:
    return "Traceback (most recent call last)" in line.text


def log_lines(text: str, node: str) -> list[Told]:
    """The lines of a node's log; what follows a line without a time of its own belongs to it."""
    found: list[Told] = []
    for line in text.splitlines():
        match = _LOGGED.match(line)
        if match is not None:
            at_ns = parse_time(f"{match['time']}Z")
            found.append(
                Told(at_ns, node, "log", _SEVERITY.get(match["level"], 500), match["text"])
            )
        elif found and len(found[-1].text) < LINE_MAX * 10:
            last = found.pop()
            found.append(msgspec.structs.replace(last, text=f"{last.text}\n{line[:LINE_MAX]}"))
    return found


# ------------------------------------------------------------------------------ histories


async def _histories(asked: Asked, run: Recording, found: Gathered) -> None:
    """Judge each point while its rows are here: whole histories are too much at once."""
    try:
        told = await asked.outstations({"journal": True})
        journal = [Happening(*item) for item in told["journal"]]
    except (OSError, ValueError, KeyError) as error:
        for name in NODES:
            found.lacks.setdefault(name, f"the outstations did not say what they held: {error!r}")
        return
    points = [_known(asked.plant, p, found) for p in judged(asked.plant, journal, run.to_ns)]
    seen = await asyncio.to_thread(lambda: read_client(asked.client()))
    found.seen = sum(map(len, seen.values())) if seen else None
    settings = asked.settings
    modes = [(t.time_ns, "async" if m[1] == "async" else "sync")
             for t in run.told if (m := _MODE.search(t.text)) is not None]  # fmt: skip
    away = not_sync(modes, settings, asked.born_ns, time.time_ns())
    found.sync = settings.get("replication") == "sync"
    logged = [(t.time_ns, t.node, t.text) for t in run.told if t.node]
    paused = unkept(logged, time.time_ns())
    discards = settings.get("duty") == "discard"
    discarded = [Span(a, b, None) for a, b in run.splits] if discards else []
    parts: dict[str, list[Verdict]] = {name: [] for name in NODES if name in found.gaps}
    for point in points:
        rows = await _rows(asked, point, found)
        if not rows:
            # Of what was read till then nothing can be said for all.
            found.histories = found.stored = 0
            return
        _compare(point, rows, run, found)
        if point.id not in found.unjudged:
            _judge_point(point, rows, run, found, parts)
        one = next(iter(rows))
        mine = [gap for gap in found.gaps[one] if gap.device == point.device]
        own = seen.get(point.id, [])
        found.lacking += lacking(own, rows[one], mine, away, discarded, paused)
        found.histories += 1
    found.verdicts = {n: verdicts.total(own) for n, own in parts.items() if n not in found.lacks}


def _known(plant: Plant, point: Judged, found: Gathered) -> Judged:
    """A point of a real device with what was written to it, else noted as one that isn't judged."""
    if point.device not in plant.rig.real:
        return point
    written = found.written.get(point.id)
    if not written:
        found.unjudged.setdefault(point.id, f"{point.device} is real, and what it held not known")
        return point
    place = next(p for p in plant.devices[point.device].points if p.id == point.id)
    steps = steps_of(place, written, time.time_ns())
    return point._replace(truth=lambda from_ns, to_ns: between(steps, from_ns, to_ns))


async def _rows(asked: Asked, point: Judged, found: Gathered) -> dict[str, list[HistoryRow]]:
    to_ns, rows = time.time_ns(), {}

    async def read(name: str) -> None:
        try:
            rows[name] = await asked.history(name, point.id, asked.born_ns, to_ns)
        except _GONE as error:
            found.lacks[name] = f"node {name} gave no history of {point.id}: {error!r}"

    await asyncio.gather(*(read(name) for name in found.gaps))
    return dict(sorted(rows.items()))


def _until(run: Recording, rows: Mapping[str, Sequence[HistoryRow]]) -> dict[str, list[HistoryRow]]:
    return {name: [r for r in own if r.time_ns < run.to_ns] for name, own in rows.items()}


def _compare(
    point: Judged, rows: Mapping[str, Sequence[HistoryRow]], run: Recording, found: Gathered
) -> None:
    """What both nodes have of a point, whatever it held."""
    until = _until(run, rows)
    if len(until) == len(NODES):
        found.unlike += unlike({point.id: until["a"]}, {point.id: until["b"]})
    first = next(iter(until.values()))
    stop_ns = run.to_ns - run.to_ns % NS_PER_MS
    found.stored += sum(row.time_ns < stop_ns for row in first)
    found.wound_back += sum(row.origin is Origin.WINDBACK for row in first)


def _judge_point(
    point: Judged,
    rows: Mapping[str, Sequence[HistoryRow]],
    run: Recording,
    found: Gathered,
    parts: Mapping[str, list[Verdict]],
) -> None:
    """What the device held, against what each node has of it."""
    until = _until(run, rows)
    for name, own in until.items():
        mine = [gap for gap in found.gaps[name] if gap.device == point.device]
        verdict = judge([point], {point.id: own}, mine, run.from_ns, run.to_ns)
        other = "b" if name == "a" else "a"
        beside = [verdicts.beside(item, other, until.get(other, ()))
                  for item in verdict.evidence[:EVIDENCE_A_POINT]]  # fmt: skip
        found.missing.setdefault(name, []).extend(beside)
        parts[name].append(verdict._replace(evidence=()))


def read_client(text: str | None) -> dict[str, list[Seen]]:
    """What the rig's client saw, by point; a line that was being written at the end is left out."""
    lines = (text or "").split("\n")
    return parse_seen(json.loads(line) for line in lines if line.endswith("]"))


# ------------------------------------------------------------------------------ polls, journals


async def _polls(asked: Asked, run: Recording, found: Gathered) -> None:
    found.askers = asked.askers
    votes = witness_registers(asked.settings)
    real = asked.plant.rig.real
    found.unseen = frozenset(name for name, device in real.items() if not device.to)
    polls = await asked.polls()
    if polls is not None:
        from_ns = min((reign.from_ns for reign in run.reigns), default=0)
        found.polls = [p for p in polls if counts(p, from_ns, run.to_ns, votes)]
        run.polls = len(found.polls)


def witness_registers(settings: Mapping[str, Any]) -> list[tuple[str, range]]:
    """The registers that both nodes may read and write at any time, by device."""
    said = (settings.get("witness") or {}).get("modbus") or []
    return [(w["device"], range(w["address"], w["address"] + WITNESS_REGISTERS)) for w in said]


def counts(poll: Poll, from_ns: int, to_ns: int, votes: Sequence[tuple[str, range]]) -> bool:
    """Whether a poll is one of a reign: of a HistoryRead the PLC doesn't know who sent it.

    Before `from_ns`, when the first reign began, both nodes may have tried whether they reach the
    field: who becomes Main depends on it.
    """
    if not poll.peer or not from_ns <= poll.received_ns < to_ns:
        return False
    return not any(poll.device == device and poll.address in own for device, own in votes)


async def _journals(asked: Asked, run: Recording, found: Gathered) -> None:
    """Both journals' files; what one only has may still be on its way, so it is looked at again."""
    try:
        for _ in range(EQUAL_TRIES):
            for name in NODES:
                found.journals[name] = await asyncio.to_thread(asked.journal, name)
            if not odd(found.journals, run.to_ns):
                return
            await asked.until_equal(EQUAL_S)
    except (sqlite3.Error, *_GONE) as error:
        found.lacks["journals"] = f"{error!r}"


# ------------------------------------------------------------------------------ logs of devices


def with_logs(plant: Plant) -> frozenset[str]:
    """All devices whose gaps can be filled: Modbus with a log, OPC UA that records by itself."""
    stations = frozenset(n for n, d in plant.devices.items() if d.windback is not None)
    return stations | set(plant.rig.opcua_history)


async def _logs(asked: Asked, run: Recording, found: Gathered) -> None:
    """What the devices' logs hold to this moment of stretches that stayed empty."""
    found.logging = with_logs(asked.plant)
    own = found.logging - asked.plant.rig.absent
    gaps = next(iter(found.gaps.values()), None)
    if gaps is None:
        return
    empty: list[Unfilled] = []
    held: dict[tuple[str, int, int], list[LogHeld]] = {}
    for gap in gaps:
        if gap.state not in EXCUSED or gap.device not in own:
            continue
        away = unwatched([other for other in gaps if other.device == gap.device])
        sets = clock_sets(run.acts, gap.device, away)
        if gap.state is GapState.LOST and unplaced(gap, away, sets):
            continue
        names = {
            p.name
            for p in asked.plant.devices[gap.device].points
            if gap.scan_class in (SUBSCRIPTION_CLASS, p.scan_class)
        }
        points = frozenset(gap.points or names)
        empty.append(Unfilled(gap.device, points, gap.from_ns, gap.to_ns, None))
        try:
            held[gap.device, gap.from_ns, gap.to_ns] = await _held(asked, gap, points)
        except (OSError, ValueError, KeyError) as error:
            found.lacks["logs"] = f"{gap.device}: {error!r}"
            return
    found.missed = missed(empty, lambda device, start, end, _: held[device, start, end], 0)


def clock_sets(acts: Sequence[Act], device: str, away: Sequence[Span]) -> list[ClockSet]:
    """When the timeline set a device's clock while it was `unwatched`.

    Or before the next node had looked at it, after its first scan.
    """
    return [
        ClockSet(act.begun_ns, abs(round(float(act.options.get("step", 0)) * NS_PER_S)))
        for act in acts
        if act.word == CLOCK
        and act.hit == device
        and any(span.from_ns <= act.begun_ns < span.to_ns + NS_PER_S for span in away)
    ]


async def _held(asked: Asked, gap: Gap, points: frozenset[str]) -> list[LogHeld]:
    """What a device's log holds of a gap now. Raises OSError, ValueError, KeyError."""
    settings = asked.plant.rig.opcua_history.get(gap.device)
    if settings is None:
        span = {"from": gap.from_ns, "to": gap.to_ns}
        return parse_held(await asked.outstations({"recorded": gap.device, **span}))
    told = await asked.outstations({"journal": True})
    journal, now_ns = [Happening(*item) for item in told["journal"]], time.time_ns()
    recorded = [p for p in asked.plant.devices[gap.device].points if p.name in points]

    def last_change_ns(before_ns: int) -> int:
        steps = (p.steps(before_ns - CHANGED_NS, before_ns) for p in recorded)
        return max((found[-1].time_ns for found in steps if found), default=before_ns)

    off = unproven(without_power(journal, gap.device, now_ns), last_change_ns)
    span_of = Span(gap.from_ns, gap.to_ns, None)
    return [recorded_by_plc(settings, points, off, now_ns, span_of)]
