"""What a scenario expects beyond the promises: each entry of `expect:` read, and judged. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from gateway.model import NS_PER_MS, NS_PER_S, Cause, GapState, format_time, parse_duration
from hil.recording import EVIDENCE_MAX, Finding, Outcome, Recording, Stretch
from hil.words import NODES

SAME: Final = "same"
OTHER: Final = "other"
NO_GAPS_TOLD: Final = "no node told its gaps"
DECLARED: Final = frozenset({GapState.OPEN, GapState.FILLING, GapState.LOST})


class Expectation(NamedTuple):
    """One entry of `expect:`; which fields count depends on the kind."""

    kind: str
    said: str
    limit_ns: int = 0
    devices: tuple[str, ...] = ()
    choice: str = ""
    text: str = ""
    word: str = ""

    def __str__(self) -> str:
        return f"expect {self.kind}: {self.said}"


class Kind(NamedTuple):
    """How an expectation is read, and how it is judged."""

    read: Callable[[Any], Expectation]
    judge: Callable[[Expectation, Recording], Finding]


def judge_expectation(expected: Expectation, run: Recording) -> Finding:
    """The verdict on one entry of `expect:`."""
    return EXPECTATIONS[expected.kind].judge(expected, run)


def finding(judge: str, good: bool, said: str, against: Iterable[tuple[str, int]] = ()) -> Finding:
    """A verdict with its evidence: what speaks against it, and when that was (ns UTC, 0: never)."""
    kept = list(against)[:EVIDENCE_MAX]
    outcome = Outcome.PASSED if good else Outcome.FAILED
    return Finding(judge, outcome, said, tuple(t for t, _ in kept), tuple(at for _, at in kept))


def unknown(judge: str, said: str, against: Iterable[tuple[str, int]] = ()) -> Finding:
    """A verdict that can't be given, and why."""
    kept = list(against)[:EVIDENCE_MAX]
    texts, times = tuple(t for t, _ in kept), tuple(at for _, at in kept)
    return Finding(judge, Outcome.UNKNOWN, said, texts, times)


# ------------------------------------------------------------------------------ reading


def device_of(name: str) -> str:
    """The device of `plc1` or `plc1/level`."""
    return name.partition("/")[0]


def _names(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError("write a device, or a list of devices")
    return tuple(names)


def _takeover(value: Any) -> Expectation:
    return Expectation("takeover", str(value), limit_ns=parse_duration(value))


def _main(value: Any) -> Expectation:
    if value not in (SAME, OTHER, *NODES):
        raise ValueError("write same, other, a or b: who is Main at the end")
    return Expectation("main", str(value), choice=str(value))


def _devices(kind: str) -> Callable[[Any], Expectation]:
    def read(value: Any) -> Expectation:
        names = _names(value)
        return Expectation(kind, ", ".join(names), devices=names)

    return read


def _gap(value: Any) -> Expectation:
    if not isinstance(value, Mapping) or set(value) != {"device", "at_most"}:
        raise ValueError("write {device: plc1, at_most: 3s}")
    limit_ns = parse_duration(value["at_most"])
    said = f"{value['device']} at most {value['at_most']}"
    return Expectation("gap", said, limit_ns, (str(value["device"]),))


def _told(value: Any) -> Expectation:
    if not isinstance(value, str) or not value:
        raise ValueError("write a part of an event or of a log line")
    return Expectation("told", repr(value), text=value)


def _refused(value: Any) -> Expectation:
    if not isinstance(value, str) or not value:
        raise ValueError("write a word of the timeline, such as changeover")
    return Expectation("refused", value, word=value)


# ------------------------------------------------------------------------------ judging


def _judge_takeover(expected: Expectation, run: Recording) -> Finding:
    if not run.switches:
        return unknown(str(expected), "no node took over, though a takeover is expected")
    late = [
        (
            str(s) if s.fresh_ns else f"{s.kind}: node {s.taken} never served fresh values",
            s.fault_ns,
        )
        for s in run.switches
        if not s.fresh_ns or s.took_ms * NS_PER_MS > expected.limit_ns
    ]
    longest = max((s.took_ms for s in run.switches if s.fresh_ns), default=0)
    said = f"{len(run.switches)} takeovers, {len(late)} of them late; the longest {longest} ms"
    return finding(str(expected), not late, said, late)


def _judge_main(expected: Expectation, run: Recording) -> Finding:
    mains = [look for look in run.looks if look.role == "main"]
    last_ns = max((look.time_ns for look in run.looks), default=0)
    if not mains:
        return unknown(str(expected), "no node was seen as Main")
    first, last = mains[0].node, mains[-1].node
    wanted = {SAME: first, OTHER: "b" if first == "a" else "a"}.get(
        expected.choice, expected.choice
    )
    said = f"node {first} was Main at the beginning, node {last} at the end"
    against = [(f"node {wanted} was expected to be Main at the end: {said}", last_ns)]
    return finding(str(expected), last == wanted, said, () if last == wanted else against)


def _judge_filled(expected: Expectation, run: Recording) -> Finding:
    names = expected.devices
    if not run.gaps_told:
        return unknown(str(expected), NO_GAPS_TOLD)
    own = [s for s in run.stretches if s.device in map(device_of, names)]
    if not own:
        return unknown(str(expected), "nothing was to be filled: the devices had no gap")
    left = [
        (_shown(s), s.from_ns)
        for s in own
        if s.state in DECLARED and any(_concerns(s, name) for name in names)
    ]
    said = f"{len(own)} gaps, {len(left)} of them not filled"
    return finding(str(expected), not left, said, left)


def _concerns(stretch: Stretch, name: str) -> bool:
    """Whether a gap is in this state for a device, or for one of its points."""
    device, _, point = name.partition("/")
    if stretch.device != device:
        return False
    return not point or not stretch.points or point in stretch.points


def _judge_no_gaps(expected: Expectation, run: Recording) -> Finding:
    if not run.gaps_told:
        return unknown(str(expected), NO_GAPS_TOLD)
    own = [(_shown(s), s.from_ns) for s in _counted(run) if s.device in expected.devices]
    if missing := [name for name in expected.devices if name not in run.devices]:
        return unknown(str(expected), f"nothing is known of {', '.join(missing)}")
    return finding(str(expected), not own, f"{len(own)} gaps", own)


def _judge_gap(expected: Expectation, run: Recording) -> Finding:
    """Time that was not polled, whatever was wound back later."""
    (device,) = expected.devices
    if not run.gaps_told:
        return unknown(str(expected), NO_GAPS_TOLD)
    if device not in run.devices:
        return unknown(str(expected), f"nothing is known of {device}")
    total: dict[str, int] = {}
    own = [s for s in _counted(run) if s.device == device]
    for stretch in own:
        length_ns = stretch.to_ns - stretch.from_ns
        total[stretch.scan_class] = total.get(stretch.scan_class, 0) + length_ns
    longest_ns = max(total.values(), default=0)
    good = longest_ns <= expected.limit_ns
    said = f"{device} was not polled for {longest_ns / NS_PER_S:.3f} s in its worst scan class"
    return finding(str(expected), good, said, () if good else [(_shown(s), s.from_ns) for s in own])


def _judge_told(expected: Expectation, run: Recording) -> Finding:
    found = [told for told in run.told if expected.text in told.text]
    if not run.told:
        return unknown(str(expected), "no node told anything")
    if found:
        first = found[0]
        said = f"node {first.node} at {format_time(first.time_ns)}: {first.text[:200]}"
        return finding(str(expected), True, f"{len(found)} times; the first: {said}")
    against = [(f"none of {len(run.told)} events and log lines has {expected.text!r}", 0)]
    return finding(str(expected), False, "never told", against)


def _judge_refused(expected: Expectation, run: Recording) -> Finding:
    acts = [act for act in run.acts if act.word == expected.word]
    if not acts:
        return unknown(str(expected), f"`{expected.word}` was never tried")
    done = [(f"{act} was not refused", act.begun_ns) for act in acts if not act.failed]
    said = "; ".join(act.failed for act in acts if act.failed)[:300]
    return finding(str(expected), not done, said or "not refused", done)


def _counted(run: Recording) -> list[Stretch]:
    """The gaps, but what was polled too late because the machine was far too busy."""
    return [s for s in run.stretches if not (run.busy and s.cause == Cause.OVERRUN)]


def _shown(stretch: Stretch) -> str:
    length_s = (stretch.to_ns - stretch.from_ns) / NS_PER_S
    points = f" ({', '.join(stretch.points[:5])})" if stretch.points else ""
    return (
        f"{stretch.device} ({stretch.scan_class}) {format_time(stretch.from_ns)} for "
        f"{length_s:.3f} s: {stretch.cause}, {stretch.state}{points}"
    )


EXPECTATIONS: Final[Mapping[str, Kind]] = {
    "takeover": Kind(_takeover, _judge_takeover),
    "main": Kind(_main, _judge_main),
    "filled": Kind(_devices("filled"), _judge_filled),
    "no_gaps": Kind(_devices("no_gaps"), _judge_no_gaps),
    "gap": Kind(_gap, _judge_gap),
    "told": Kind(_told, _judge_told),
    "refused": Kind(_refused, _judge_refused),
}
