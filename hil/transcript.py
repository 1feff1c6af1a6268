"""What is told of a run beside its findings: takeovers, gaps, windback, reigns, events. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from gateway.model import NS_PER_S, format_time
from hil.expect import Expectation, finding, unknown
from hil.recording import Act, Finding, Look, Recording, Stretch
from hil.verdicts import Gathered, findings, paired_since

WHOLE_AGAIN: Final = "the pair is whole again after each act"
WHOLE_NS: Final = 60 * NS_PER_S
TEXT_SHOWN: Final = 160


def whole_again(run: Recording, words: Collection[str]) -> Finding:
    """One Main, the other synced within a minute of each act, unless the next one came before."""
    acts = sorted((act for act in run.acts if act.word in words), key=lambda act: act.begun_ns)
    if len(run.acts) < run.entries:
        return unknown(WHOLE_AGAIN, f"known are {len(run.acts)} of {run.entries} acts")
    if acts and not run.looks:
        return unknown(WHOLE_AGAIN, "no node was looked at")
    late = []
    slowest_ns = 0
    for at, act in enumerate(acts):
        paired_ns = paired_since(run.looks, act.ended_ns)
        disturbed = any(other.begun_ns < act.ended_ns + WHOLE_NS for other in acts[at + 1 :])
        if paired_ns and paired_ns - act.ended_ns <= WHOLE_NS:
            slowest_ns = max(slowest_ns, paired_ns - act.ended_ns)
        elif not disturbed:
            late.append((f"{act}: not whole within {WHOLE_NS / NS_PER_S:g} s", act.ended_ns))
    said = f"{len(acts)} acts; at most {slowest_ns / NS_PER_S:.1f} s after the end of one"
    return finding(WHOLE_AGAIN, not late, said, late)


def judged(
    run: Recording, found: Gathered, expect: Sequence[Expectation], words: Collection[str]
) -> list[Finding]:
    """Every finding on a run: a judge that isn't here judges nothing."""
    judged = findings(run, found, expect)
    judged.insert(2, whole_again(run, words))
    return judged


def equal_since(looks: Sequence[Look], after_ns: int) -> int:
    """The first moment after another at which a node had proven both journals equal; 0: never."""
    proven = [look.equal_ns for look in looks if look.equal_ns > after_ns]
    return min(proven, default=0)


def lines(run: Recording, logging: Collection[str], words: Collection[str]) -> Iterator[str]:
    """The facts of a run, for people. `logging` are the devices with logs of their own."""
    for act in run.acts:
        if act.word in words:
            yield f"pair: {act}: {_whole(run, act)}"
    for switch in run.switches:
        yield f"took over: {switch}" if switch.fresh_ns else f"took over: {switch.kind}: never"
    for (device, cause), length_s in _summed(run.stretches, "cause").items():
        yield f"declared: {device} {cause} {length_s:.1f} s (all scan classes together)"
    own = [stretch for stretch in run.stretches if stretch.device in logging]
    for (device, became), length_s in _summed(own, "became").items():
        yield f"windback: {device} {length_s:.1f} s {became} (all scan classes together)"
    for said in run.unjudged:
        yield f"NOT JUDGED: {said}"
    for reign in run.reigns:
        to = format_time(reign.to_ns) if reign.to_ns else "now"
        yield (
            f"Main was {reign.node} from {format_time(reign.from_ns)} to {to}, term {reign.term}: "
            f"{reign.why}; ended: {reign.ended or 'it lasts'}"
        )


def events(run: Recording) -> Iterator[str]:
    """What the nodes told in their journal, for people."""
    told = [line for line in run.told if line.source != "log"]
    yield f"the nodes told {len(told)} events:"
    for line in told:
        text = line.text[:TEXT_SHOWN]
        yield f"    {format_time(line.time_ns)} [{line.severity}] {line.source}: {text}"


def _whole(run: Recording, act: Act) -> str:
    if act.failed:
        return f"FAILED: {act.failed}"
    paired_ns, equal_ns = (
        paired_since(run.looks, act.ended_ns),
        equal_since(run.looks, act.ended_ns),
    )
    if not paired_ns:
        return "never whole again"
    after_s = (paired_ns - act.ended_ns) / NS_PER_S
    equal = f"{(equal_ns - act.ended_ns) / NS_PER_S:.1f} s" if equal_ns else "never"
    return f"whole again after {after_s:.1f} s, journals equal after {equal}"


def _summed(stretches: Sequence[Stretch], what: str) -> dict[tuple[str, str], float]:
    """Seconds by device and cause, or what became of them."""
    found: dict[tuple[str, str], float] = {}
    for stretch in stretches:
        key = stretch.device, str(getattr(stretch, what))
        found[key] = found.get(key, 0.0) + (stretch.to_ns - stretch.from_ns) / NS_PER_S
    return dict(sorted(found.items()))
