"""What a run came to: one finding a promise, each with its evidence. Pure.

`gather` in hil/gathering.py brings what is judged here; what it could not get is `unknown`, and
that is no pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.model import NS_PER_S, Gap, format_time
from hil.expect import Expectation, finding, judge_expectation, unknown
from hil.judges import Evidence, Row, Verdict
from hil.judges_client import Lacking
from hil.judges_journal import Journal, odd, twice
from hil.judges_pair import (
    STEP_CLOCK,
    asker,
    astray,
    doubled,
    explaining,
    field_lost,
    knocks,
    past_the_check,
    strays,
)
from hil.judges_windback import Missed
from hil.outstation.polls import Poll
from hil.real import Written
from hil.recording import Act, Finding, Look, Outcome, Recording, Switch
from hil.truth import Span
from hil.words import TOGETHER

Against = list[tuple[str, int]]
"""Evidence: a sentence, and the moment it speaks of (ns UTC)."""
NODES: Final = ("a", "b")
PLAYED: Final = "the timeline was played as it is written"
ONE_POLLER: Final = "one poller a device, outside of splits"
RIGHT: Final = "every scan instant right or declared"
NOT_TWICE: Final = "no position twice"
SAME: Final = "both nodes tell one history"
EQUAL: Final = "both journals are equal by digest"
CLIENTS: Final = "no client saw a value that history lacks"
CLOSED: Final = "gaps close where a log remembers"
ONE_MAIN: Final = "exactly one Main after healing"
IN_TIME: Final = "each takeover within its time"
WHOLE: Final = "no node broke"


@dataclass(slots=True)
class Gathered:
    """Everything that the judges see beside the recording. Times in ns UTC.

    `verdicts` are of all points, by node; `missing` their evidence with what the other node holds.
    `waits` are what had to come about after healing and did not. None: it could not be got.
    `unjudged` are points whose truth is not known, and why; `written` is what the rig wrote to real
    devices, by point, `unseen` those of them of which it sees no poll.
    """

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    missing: dict[str, Against] = field(default_factory=dict)
    unlike: list[str] = field(default_factory=list)
    gaps: dict[str, list[Gap]] = field(default_factory=dict)
    histories: int = 0
    polls: list[Poll] | None = None
    askers: Mapping[str, str] = field(default_factory=dict)
    journals: dict[str, Journal] = field(default_factory=dict)
    seen: int | None = None
    lacking: list[Lacking] = field(default_factory=list)
    sync: bool = False
    missed: list[Missed] | None = None
    logging: frozenset[str] = frozenset()
    waits: Against = field(default_factory=list)
    main: str = ""
    broken: Against = field(default_factory=list)
    lacks: dict[str, str] = field(default_factory=dict)
    read_back: Finding | None = None
    wound_back: int = 0
    stored: int = 0
    unjudged: dict[str, str] = field(default_factory=dict)
    written: Mapping[str, Sequence[Written]] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    real: frozenset[str] = frozenset()


def findings(run: Recording, found: Gathered, expect: Sequence[Expectation]) -> list[Finding]:
    """All verdicts on a run."""
    refused = {one.word for one in expect if one.word}
    judged = [
        played(run.acts, refused, run.entries),
        one_main(found),
        in_time(run),
        *([] if _no_poll_seen(run, found) else [one_poller(run, found)]),
        *([] if _nothing_known(found) else [right(name, run, found) for name in NODES]),
        same_history(found),
        not_twice(found),
        equal(run, found),
        clients(found),
        closed(run, found),
        whole(found),
    ]
    if found.read_back is not None:
        judged.append(found.read_back)
    return judged + [judge_expectation(one, run) for one in expect]


def _no_poll_seen(run: Recording, found: Gathered) -> bool:
    """Whether all devices are real ones whose polls the rig can't see."""
    return bool(found.unseen) and found.unseen == set(run.devices)


def _nothing_known(found: Gathered) -> bool:
    """Whether of no point it is known what it held: there is no truth to judge by."""
    return bool(found.unjudged) and len(found.unjudged) == found.histories


def unjudged(run: Recording, found: Gathered) -> list[str]:
    """What no judge looked at, for people."""
    why: dict[str, list[str]] = {}
    for point, reason in found.unjudged.items():
        why.setdefault(reason, []).append(point)
    said = [
        f"the values of {len(points)} points, such as {min(points)}: {reason}"
        for reason, points in why.items()
    ]
    if found.unseen:
        said.append(f"who polled {', '.join(sorted(found.unseen))}: the rig sees no poll of them")
    if logs := sorted(found.logging & found.real):
        said.append(f"what the logs of {', '.join(logs)} hold: they are real")
    return said


def played(acts: Sequence[Act], refused: Iterable[str] = (), entries: int = 0) -> Finding:
    """Whether everything could be done; what the scenario expects to be refused may fail.

    `entries` is how many the timeline has: what left no act was never begun.
    """
    failed = [(f"{a}: {a.failed}", a.begun_ns) for a in acts if a.failed and a.word not in refused]
    if failed:
        return unknown(PLAYED, f"{len(failed)} of {len(acts)} entries could not be done", failed)
    if len(acts) < entries:
        return unknown(PLAYED, f"only {len(acts)} of {entries} entries were begun")
    return finding(PLAYED, True, f"{len(acts)} entries")


def one_main(found: Gathered) -> Finding:
    """One Main and a synced Standby, with all that had to come about after healing."""
    said = f"node {found.main} is Main" if found.main else "no node is Main alone"
    return finding(ONE_MAIN, bool(found.main) and not found.waits, said, found.waits)


def in_time(run: Recording) -> Finding:
    """The takeovers that were measured; too busy a machine proves nothing."""
    late = [(_late(s), s.fault_ns) for s in run.switches if _is_late(s)]
    said = ", ".join(f"{s.kind} {s.took_ms} ms" for s in run.switches if s.fresh_ns)
    said = said or "no takeover was to be measured"
    if len(run.switches) < run.awaited:
        return unknown(IN_TIME, f"{run.awaited} takeovers had to come, known are: {said}", late)
    if late and run.busy:
        return unknown(IN_TIME, f"{said}; the machine was too busy to keep time", late)
    return finding(IN_TIME, not late, said, late)


def _is_late(switch: Switch) -> bool:
    return not switch.fresh_ns or (0 < switch.limit_ms < switch.took_ms)


def _late(switch: Switch) -> str:
    within = f"within {switch.limit_ms} ms"
    if not switch.fresh_ns:
        return f"{switch.kind} of node {switch.left}: node {switch.taken} never served fresh values"
    return f"{switch}, promised {within}"


def one_poller(run: Recording, found: Gathered) -> Finding:
    """Who asked which device when, by the outstations' own log."""
    if not found.polls or not run.reigns:
        lacks = "the outstations logged no poll" if not found.polls else "no reign is known"
        return unknown(ONE_POLLER, lacks)
    splits = [Span(start, end, None) for start, end in run.splits]
    stepped = any(act.word == STEP_CLOCK for act in run.acts)
    order = [r.node for r in run.reigns] if stepped else explaining(run.reigns, splits)
    lost = field_lost(run.stretches, run.devices)
    knocked = knocks(found.polls, found.askers, run.reigns, lost)
    polls = [poll for poll in found.polls if poll not in knocked]
    odd_turns = strays(polls, found.askers, order, splits)
    woken = [turn for turn in odd_turns if past_the_check(turn, run.acts)]
    turns = [turn for turn in odd_turns if turn not in woken]
    against = [(f"no reign explains: {turn}", turn.from_ns) for turn in turns]
    excused = [*splits, *(Span(turn.from_ns, turn.to_ns + 1, None) for turn in woken)]
    apart = (p for p in polls if not _inside(p.received_ns, excused))
    pairs = doubled(apart, found.askers, run.acts)
    against += [(_both(one, other, found.askers), other.received_ns) for one, other in pairs]
    said = (
        f"{len(found.polls)} polls, {len(turns)} turns that no reign explains, {len(pairs)} "
        f"requests while the other node's was open{_woken(len(woken))}{_knocked(len(knocked))}"
    )
    return finding(ONE_POLLER, not against, said, against)


def _woken(count: int) -> str:
    return f"; {count} of a woken node, past its check already" if count else ""


def _knocked(count: int) -> str:
    return f"; {count} of a Standby, at a field that the Main had lost" if count else ""


def _inside(at_ns: int, spans: Sequence[Span]) -> bool:
    return any(span.from_ns <= at_ns < span.to_ns for span in spans)


def _both(one: Poll, other: Poll, askers: Mapping[str, str]) -> str:
    who = f"{asker(one, askers)} and {asker(other, askers)}"
    return f"{one.device}: requests of {who} were open at once: {one} {other}"


def right(name: str, run: Recording, found: Gathered) -> Finding:
    """The promise itself, on one node. Of a Main whose clock was set wrong no stamp is proof."""
    judge = f"{RIGHT}, node {name}"
    verdict = found.verdicts.get(name)
    if verdict is None:
        return unknown(judge, found.lacks.get(name, f"node {name} gave no history"))
    if verdict.expected == 0:
        return unknown(judge, "no scan instant was judged")
    share = 100 * verdict.collected / verdict.expected
    said = (
        f"{verdict.expected} scan instants, {verdict.collected} right ({share:.3f} %), "
        f"{verdict.declared} in declared gaps, {verdict.missing} missing"
    )
    if not verdict.passed and (node := astray(run.acts, run.looks)):
        said = f"{said}; node {node} was Main while its clock was set wrong"
        return unknown(judge, said, found.missing.get(name, ()))
    return finding(judge, verdict.passed, said, found.missing.get(name, ()))


def same_history(found: Gathered) -> Finding:
    """Rows and gaps of both nodes, as their clients are given them."""
    if set(found.gaps) != set(NODES) or not found.histories or set(NODES) & set(found.lacks):
        return unknown(SAME, "; ".join(found.lacks.values()) or "no history was read")
    against = [(text, 0) for text in found.unlike]
    only = set(found.gaps["a"]) ^ set(found.gaps["b"])
    for gap in sorted(only, key=lambda gap: gap.from_ns):
        name = "a" if gap in found.gaps["a"] else "b"
        against.append((f"a gap is known to node {name} only: {gap}", gap.from_ns))
    said = f"{found.histories} points, {len(found.gaps['a'])} gaps"
    return finding(SAME, not against, said, against)


def not_twice(found: Gathered) -> Finding:
    """By the journals' own files."""
    if set(found.journals) != set(NODES):
        return unknown(NOT_TWICE, found.lacks.get("journals", "a journal could not be read"))
    if not all(journal.records for journal in found.journals.values()):
        return unknown(NOT_TWICE, "a journal is empty")
    against = twice(found.journals)
    said = ", ".join(f"node {n}: {len(j.records)} records" for n, j in found.journals.items())
    return finding(NOT_TWICE, not against, said, against)


def equal(run: Recording, found: Gathered) -> Finding:
    """By the journals' own files, too; their digests are compared by position."""
    if set(found.journals) != set(NODES):
        return unknown(EQUAL, found.lacks.get("journals", "a journal could not be read"))
    older = [sum(at < run.to_ns for at in j.at_ns.values()) for j in found.journals.values()]
    if not all(older):
        return unknown(EQUAL, "a journal is empty")
    against = odd(found.journals, run.to_ns) + twice(found.journals)
    return finding(EQUAL, not against, f"{older[0]} and {older[1]} records to the end", against)


def clients(found: Gathered) -> Finding:
    """What the rig's own client was given, held against history."""
    if not found.seen:
        return unknown(CLIENTS, found.lacks.get("client", "the client saw no value"))
    if not found.histories:
        return unknown(CLIENTS, "no history was read")
    against = [(str(one), one.seen.received_ns) for one in found.lacking]
    how = "" if found.sync else " (replication was asynchronous: journals are united since)"
    said = f"{found.seen} values, {len(found.lacking)} of them in no history{how}"
    return finding(CLIENTS, not against, said, against)


def closed(run: Recording, found: Gathered) -> Finding:
    """What stayed empty though a device's log holds it."""
    if found.missed is None:
        return unknown(
            CLOSED, found.lacks.get("logs", "the outstations did not say what they hold")
        )
    states: dict[str, float] = {}
    for stretch in run.stretches:
        if stretch.device in found.logging:
            length_s = (stretch.to_ns - stretch.from_ns) / NS_PER_S
            states[stretch.became] = states.get(stretch.became, 0.0) + length_s
    became = ", ".join(f"{length:.1f} s {state}" for state, length in sorted(states.items()))
    said = (
        f"{became or 'no gap of a device with a log'}; {found.wound_back} samples wound back; "
        f"{len(found.missed)} stretches are empty though a log still holds some of it"
    )
    against = [(str(one), one.from_ns) for one in found.missed]
    return finding(CLOSED, not against, said, against)


def whole(found: Gathered) -> Finding:
    """Tracebacks in the logs, ends that nobody asked for, exit statuses."""
    if not found.broken and "log" in found.lacks:
        return unknown(WHOLE, found.lacks["log"])
    return finding(WHOLE, not found.broken, f"{len(found.broken)} faults", found.broken)


# ------------------------------------------------------------------------------ from what was seen


def may_split(settings: Mapping[str, Any]) -> bool:
    """Whether both nodes can be Main when they can't hear each other.

    `settings` are those under `pair:`; with a witness that votes they can't, hosts only veto
    (rules.md 6).
    """
    witness = settings.get("witness") or {}
    return not (witness.get("modbus") or witness.get("etcd"))


def splits(
    acts: Sequence[Act], words: frozenset[str], looks: Sequence[Look], to_ns: int
) -> list[tuple[int, int]]:
    """When both nodes may have polled: from each act that splits until both were a pair again.

    So does one of two that strike together.
    """
    return [
        (act.begun_ns, paired_since(looks, act.ended_ns) or to_ns)
        for act in acts
        if act.word in words or act.options.get(TOGETHER)
    ]


def paired_since(looks: Sequence[Look], after_ns: int) -> int:
    """The first moment after another at which one node was Main and the other synced; 0: never."""
    last: dict[str, str] = {}
    for look in looks:
        if look.time_ns >= after_ns:
            last[look.node] = look.role
            if sorted(last.values()) == ["main", "synced"]:
                return look.time_ns
    return 0


def beside(item: Evidence, other: str, rows: Sequence[Row]) -> tuple[str, int]:
    """Evidence of one node, and what the other node's history has of that instant."""
    row = next((row for row in reversed(rows) if row[0] <= item.instant_ns), None)
    has = f"{row[1]!r} of {format_time(row[0])}" if row is not None else "nothing"
    return f"{item}; node {other} has {has}", item.instant_ns


def total(parts: Sequence[Verdict]) -> Verdict:
    """One verdict of the verdicts on single points."""
    return Verdict(
        sum(part.expected for part in parts),
        sum(part.collected for part in parts),
        sum(part.declared for part in parts),
        sum(part.missing for part in parts),
        tuple(item for part in parts for item in part.evidence),
    )


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Of several runs: failed, else unknown, else passed; unknown of none."""
    seen = set(outcomes)
    if Outcome.FAILED in seen:
        return Outcome.FAILED
    return Outcome.PASSED if seen == {Outcome.PASSED} else Outcome.UNKNOWN
