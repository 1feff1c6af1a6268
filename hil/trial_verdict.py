"""What a trial of a pair came to: both histories judged, compared, and held against the polls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.driver import SUBSCRIPTION_CLASS
from gateway.model import NS_PER_MS, NS_PER_S, Gap, HistoryRow, Origin
from hil.judges import EVIDENCE_MAX, EXCUSED, Evidence, Judged, Verdict, judge
from hil.judges_pair import asker, doubled, strays, unlike
from hil.judges_windback import LogHeld, Missed, Unfilled, missed, parse_held
from hil.outstation.control import send
from hil.outstation.polls import Poll, read_polls
from hil.pair import Pair
from hil.runs import Happening, judged
from hil.truth import Span

SETTLE_S = 60.0


@dataclass(slots=True)
class Judgement:
    """All findings; lists are empty when all is well."""

    to_ns: int
    stored: int = 0
    polls: int = 0
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    unlike: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    declared_s: dict[tuple[str, str], float] = field(default_factory=dict)
    wound_back: int = 0
    states_s: dict[tuple[str, str], float] = field(default_factory=dict)
    missed: list[Missed] = field(default_factory=list)


async def find(pair: Pair, from_ns: int, splits: Sequence[Span]) -> Judgement:
    """Judge [from, now) on both nodes. Raises ProgramError when they don't become equal."""
    to_ns = time.time_ns()
    found = Judgement(to_ns)
    await pair.until_complete(to_ns, SETTLE_S)
    stations = {n for n, d in pair.plant.devices.items() if d.windback is not None}
    logging = stations | set(pair.plant.rig.opcua_history)
    await pair.until_filled(from_ns, to_ns, SETTLE_S, logging)
    await pair.until_equal(SETTLE_S)
    told = await send(pair.rig_socket, {"journal": True})
    points = judged(pair.plant, [Happening(*item) for item in told["journal"]], to_ns)
    gaps = {name: await n.control.gaps(from_ns, to_ns) for name, n in pair.nodes.items()}
    if gaps["a"] != gaps["b"]:
        odd = set(gaps["a"]) ^ set(gaps["b"])
        found.unlike.append(f"{len(odd)} gaps are known to one node only: {min(odd)}")
    parts: dict[str, list[Verdict]] = {name: [] for name in pair.nodes}
    stop_ns = to_ns - to_ns % NS_PER_MS
    for point in points:
        rows = await _rows(pair, point, to_ns)
        found.unlike += unlike({point.id: rows["a"]}, {point.id: rows["b"]})
        found.stored += sum(1 for row in rows["a"] if row.time_ns < stop_ns)
        found.wound_back += sum(row.origin is Origin.WINDBACK for row in rows["a"])
        for name, own in rows.items():
            mine = [gap for gap in gaps[name] if gap.device == point.device]
            parts[name].append(judge([point], {point.id: own}, mine, from_ns, to_ns))
    found.verdicts = {name: _together(own) for name, own in parts.items()}
    for gap in gaps["a"]:
        key = (gap.device, gap.cause.value)
        found.declared_s[key] = found.declared_s.get(key, 0.0) + _length_s(gap)
        if gap.device in logging:
            became = (gap.device, gap.state.value)
            found.states_s[became] = found.states_s.get(became, 0.0) + _length_s(gap)
    found.missed = await _held_still(pair, [g for g in gaps["a"] if g.device in stations])
    await _held_against_polls(pair, found, splits)
    return found


async def _held_still(pair: Pair, gaps: Sequence[Gap]) -> list[Missed]:
    """What the devices' logs hold to this moment of stretches that stayed empty."""
    empty: list[Unfilled] = []
    held: dict[tuple[str, int, int], list[LogHeld]] = {}
    polled = {(p.device, p.scan_class, p.name) for p in pair.plant.points()}
    for gap in gaps:
        if gap.state in EXCUSED:
            any_class = gap.scan_class == SUBSCRIPTION_CLASS
            names = {
                name
                for device, scan_class, name in polled
                if device == gap.device and (any_class or scan_class == gap.scan_class)
            }
            points = frozenset(gap.points or names)
            empty.append(Unfilled(gap.device, points, gap.from_ns, gap.to_ns, None))
            span = {"from": gap.from_ns, "to": gap.to_ns}
            answer = await send(pair.rig_socket, {"recorded": gap.device, **span})
            held[gap.device, gap.from_ns, gap.to_ns] = parse_held(answer)
    return missed(empty, lambda device, start, end, _: held[device, start, end], 0)


async def _rows(pair: Pair, point: Judged, to_ns: int) -> dict[str, list[HistoryRow]]:
    return {
        name: await node.control.history(point.id, pair.born_ns, to_ns)
        for name, node in pair.nodes.items()
    }


def _length_s(gap: Gap) -> float:
    return (gap.to_ns - gap.from_ns) / NS_PER_S


def _together(parts: Sequence[Verdict]) -> Verdict:
    """One verdict of the verdicts on single points."""
    evidence: list[Evidence] = [item for part in parts for item in part.evidence]
    expected = sum(part.expected for part in parts)
    collected = sum(part.collected for part in parts)
    declared = sum(part.declared for part in parts)
    missing = sum(part.missing for part in parts)
    return Verdict(expected, collected, declared, missing, tuple(evidence[:EVIDENCE_MAX]))


async def _held_against_polls(pair: Pair, found: Judgement, splits: Sequence[Span]) -> None:
    """No device was polled by both nodes at once, but in a split."""
    main = await pair.main()
    reigns = (await main.control.get("/roles", limit=1000))["reigns"]
    nodes = {node.bind: name for name, node in pair.nodes.items()}
    for name, node in pair.nodes.items():
        nodes |= {str(path): name for path in node.ports}
    polls = [p for p in read_polls(pair.polls_file) if p.received_ns < found.to_ns]
    polls = [p for p in polls if p.peer]  # of a HistoryRead the PLC doesn't know who sent it
    found.polls = len(polls)
    found.strays = [str(turn) for turn in strays(polls, nodes, [r["node"] for r in reigns], splits)]
    outside = [p for p in polls if not any(s.from_ns <= p.received_ns < s.to_ns for s in splits)]

    def both(one: Poll, other: Poll) -> str:
        who = f"{asker(one, nodes)} and {asker(other, nodes)}"
        return f"{one.device}: requests of {who} were open at once: {one} {other}"

    found.doubled = [both(one, other) for one, other in doubled(outside, nodes)]
