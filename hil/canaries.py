"""Canaries: each promise of a real run broken in what is left of it, and which judges must say so.

A judge that can't fail judges nothing. Each canary alters a copy of what was kept of one run
(hil.kept), by the rig alone, and says exactly which judges must fail and which can't know any
more; every other one must find what it found before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from hil.breaking import (
    a_gap_more,
    a_longer_gap,
    alter_seen,
    alter_wound_back,
    forget_gaps,
    hand_out,
    keep_filling,
    learn_later,
    lose_samples,
    short_read,
    unfill,
)
from hil.breaking_pair import (
    allow,
    break_node,
    come_late,
    empty_journal,
    fail_act,
    hold_another,
    hold_twice,
    keep_conflict,
    lose_log,
    lose_record,
    poll_across,
    poll_beside,
    stay_apart,
    swap_mains,
    tell_nothing,
    untell,
)
from hil.foreign import JUDGE as READ_BACK
from hil.kept import Kept
from hil.recording import Finding, Outcome
from hil.transcript import WHOLE_AGAIN
from hil.verdicts import (
    CLIENTS,
    CLOSED,
    EQUAL,
    IN_TIME,
    NOT_TWICE,
    ONE_MAIN,
    ONE_POLLER,
    PLAYED,
    RIGHT,
    SAME,
    WHOLE,
)
from hil.words import NODES

RIGHT_A: Final = f"{RIGHT}, node a"
RIGHT_B: Final = f"{RIGHT}, node b"
BOTH: Final = frozenset({RIGHT_A, RIGHT_B})
GAPS: Final = frozenset({"expect filled", "expect gap", "expect no_gaps"})
NEVER_FAIL: Final = frozenset({PLAYED})
"""What could not be played is the rig's fault, and no verdict on the pair: unknown at worst."""


class Canary(NamedTuple):
    """What is broken, how, and what must come of it.

    `breaks` alters what it is given, and returns what the evidence against it must name. `fails`
    and `unknown` are judges by `name_of`: exactly these.
    """

    said: str
    breaks: Callable[[Kept], str]
    fails: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


class Live(NamedTuple):
    """What is broken while the pair stands, what evidence must name, and which judges must fail."""

    said: str
    clue: str
    fails: frozenset[str]
    unknown: frozenset[str] = frozenset()


class Caught(NamedTuple):
    """What came of a canary: `amiss` is empty if every judge said what it must."""

    canary: Canary | Live
    findings: Mapping[str, Finding]
    amiss: tuple[str, ...]


def name_of(finding: Finding) -> str:
    """A judge's name; of an expectation without what was expected: `expect takeover`."""
    judge = finding.judge
    return judge.partition(":")[0] if judge.startswith("expect ") else judge


def caught(
    canary: Canary | Live, clue: str, before: Sequence[Finding], after: Sequence[Finding]
) -> Caught:
    """Hold what the judges found in what is broken against what they must find."""
    was = {name_of(f): f.outcome for f in before}
    now = {name_of(f): f for f in after}
    amiss = [f"{name} judged before, and no more" for name in was if name not in now]
    for name, finding in now.items():
        wanted = was.get(name, Outcome.PASSED)
        if name in canary.fails:
            wanted = Outcome.FAILED
        elif name in canary.unknown:
            wanted = Outcome.UNKNOWN
        if finding.outcome is not wanted:
            amiss.append(f"{name}: {finding.outcome.value}, must be {wanted.value}")
        elif name in canary.fails and not any(clue in text for text in finding.evidence):
            amiss.append(f"{name}: failed, and no evidence names {clue}")
    amiss += [f"{name}: no such judge" for name in canary.fails | canary.unknown if name not in now]
    return Caught(canary, now, tuple(amiss))


def unproven(judges: Collection[str], canaries: Iterable[Canary | Live]) -> list[str]:
    """The judges that no canary makes fail."""
    failing = {name for canary in canaries for name in canary.fails}
    return sorted(name for name in judges if name not in failing | NEVER_FAIL)


def silence(*doors: str) -> Callable[[Kept], str]:
    """Nobody answers at these doors."""

    def breaks(kept: Kept) -> str:
        kept.silent.update(doors)
        return ""

    return breaks


def without(field: str, value: Any) -> Callable[[Kept], str]:
    """Something was never recorded."""

    def breaks(kept: Kept) -> str:
        owner = kept if hasattr(kept, field) else kept.run
        setattr(owner, field, value)
        return ""

    return breaks


def _set(*names: str) -> frozenset[str]:
    return frozenset(names)


CANARIES: Final[tuple[Canary, ...]] = (
    Canary("4 s of samples lost on node a", lose_samples("a"), _set(RIGHT_A, SAME, CLIENTS)),
    Canary("4 s of samples lost on node b", lose_samples("b"), _set(RIGHT_B, SAME)),
    Canary("4 s of samples lost on both nodes", lose_samples(*NODES), BOTH | {CLIENTS}),
    Canary("a wrong value on node b", alter_seen("b"), _set(RIGHT_B, SAME)),
    Canary("a wrong value on both nodes", alter_seen(*NODES), BOTH | {CLIENTS}),
    Canary("a wound-back sample altered", alter_wound_back, BOTH),
    Canary("a sample learned 1 ms later on node b", learn_later, _set(SAME)),
    Canary("the records of lost gaps deleted", forget_gaps(*NODES), BOTH),
    Canary("the records of lost gaps deleted on node b", forget_gaps("b"), _set(RIGHT_B, SAME)),
    Canary("what was wound back deleted", unfill, _set(CLOSED, "expect filled")),
    Canary("a gap that is being filled for ever", keep_filling, _set("expect filled")),
    Canary("a gap of a device that was never away", a_gap_more, _set("expect no_gaps")),
    Canary("a gap that is a minute longer", a_longer_gap, _set("expect gap")),
    Canary("a client given a value that never was", hand_out, _set(CLIENTS)),
    Canary("a history read one value short", short_read, _set(READ_BACK)),
    Canary("one request of the Standby", poll_beside, _set(ONE_POLLER)),
    Canary("requests that cross at a handover", poll_across, _set(ONE_POLLER)),
    Canary("a position that holds two records", hold_twice, _set(NOT_TWICE, EQUAL)),
    Canary("another record on node b than on node a", hold_another, _set(NOT_TWICE, EQUAL)),
    Canary("a record in conflict on node a", keep_conflict, _set(NOT_TWICE, EQUAL)),
    Canary("a record gone from the journal of node b", lose_record, _set(EQUAL)),
    Canary("a takeover a minute late", come_late, _set(IN_TIME, "expect takeover")),
    Canary("a Standby that is never synced again", stay_apart, _set(WHOLE_AGAIN)),
    Canary("another Main at the end", swap_mains, _set("expect main")),
    Canary("a traceback in the log of node b", break_node, _set(WHOLE)),
    Canary("events and lines of logs removed", untell, _set("expect told")),
    Canary("a refusal that was none", allow, _set("expect refused")),
    Canary("an entry that could not be played", fail_act, unknown=_set(PLAYED)),
    Canary("no history of node b", silence("history b"), unknown=_set(RIGHT_B, SAME)),
    Canary(
        "no history of one point",
        silence("history a meter1/power", "history b meter1/power"),
        unknown=BOTH | {SAME, CLIENTS, READ_BACK},
    ),
    Canary("no gaps of node a", silence("gaps a"), unknown=_set(RIGHT_A, SAME)),
    Canary(
        "no gaps of either node",
        silence("gaps a", "gaps b"),
        unknown=BOTH | GAPS | {SAME, CLIENTS, CLOSED, READ_BACK},
    ),
    Canary(
        "no truth of the outstations",
        silence("outstations"),
        unknown=BOTH | {SAME, CLIENTS, READ_BACK},
    ),
    Canary("no gap of a device", without("gaps", {"a": [], "b": []}), BOTH, _set("expect filled")),
    Canary("no log of any device", silence("recorded"), unknown=_set(CLOSED)),
    Canary("no journal of node b", silence("journal b"), unknown=_set(NOT_TWICE, EQUAL)),
    Canary("an empty journal of node b", empty_journal, unknown=_set(NOT_TWICE, EQUAL)),
    Canary("no log of polls", without("polls", None), unknown=_set(ONE_POLLER)),
    Canary("an empty log of polls", without("polls", []), unknown=_set(ONE_POLLER)),
    Canary(
        "no reign", without("reigns", {"a": [], "b": []}), unknown=_set(ONE_POLLER)
    ),
    Canary("no recording of the client", without("client", None), unknown=_set(CLIENTS)),
    Canary("no log of one node", lose_log, unknown=_set(WHOLE)),
    Canary(
        "nothing told by either node",
        tell_nothing,
        unknown=BOTH | {SAME, ONE_POLLER, WHOLE, "expect told"},
    ),
    Canary(
        "no look at any node", without("looks", []), unknown=_set(WHOLE_AGAIN, "expect main")
    ),
    Canary(
        "no takeover", without("switches", []), unknown=_set(IN_TIME, "expect takeover")
    ),
    Canary(
        "no act", without("acts", []), unknown=_set(PLAYED, WHOLE_AGAIN, "expect refused")
    ),
)  # fmt: skip
"""What is broken in what is left of a run."""
LIVE: Final[Mapping[str, Live]] = {
    "poller": Live("a second poller beside the Main", "plc1", _set(ONE_POLLER)),
    "record": Live("a record deleted from node b's file", "of node a only", _set(EQUAL)),
    "takeover": Live(
        "a takeover withheld: both nodes stopped",
        "never served fresh values",
        _set(IN_TIME, "expect takeover"),
    ),
    "main": Live("no Main: both nodes stopped", "did not come about", _set(ONE_MAIN)),
}
"""What is broken while the pair stands; hil.canary does it."""
