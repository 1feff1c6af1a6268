"""What is covered and what is missing: interval algebra over the coverage records.

Everything here is a set operation, so the order in which records arrived (polled here, replicated,
merged after a split) makes no difference. An interval is half-open, [from, to), in ns UTC; a list
of intervals is ordered and disjoint.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from gateway.journal.records import Coverage
from gateway.model import Cause, Gap, Term

Interval = tuple[int, int]
Intervals = list[Interval]

_RANK: Final = {cause: rank for rank, cause in enumerate(Cause)}


class Run(NamedTuple):
    """One term covered everything in its revision during [since, through), except its holes.

    And except what an `OwnRun` of the term says otherwise.
    """

    term: Term
    revision: int
    since_ns: int
    through_ns: int


class OwnRun(NamedTuple):
    """One class was, at times, behind: what one term's records claimed for it in their stead.

    The runs of the term don't hold for it in [from, to), where those records speak; it was covered
    during [since, through), except its holes.
    """

    term: Term
    revision: int
    device: str
    scan_class: str
    from_ns: int
    to_ns: int
    since_ns: int
    through_ns: int


class Except(NamedTuple):
    """One term did not cover this device and scan class during [from, to)."""

    term: Term
    device: str
    scan_class: str
    cause: Cause
    from_ns: int
    to_ns: int


class Lost(NamedTuple):
    """History of [from, to) is gone, whatever was covered then."""

    cause: Cause
    from_ns: int
    to_ns: int


class Ruled(NamedTuple):
    """Both terms reigned in [from, to); the winner's stream speaks there (rules.md 2).

    With `discard` the loser's coverage and view are withdrawn there.
    """

    winner: Term
    loser: Term
    from_ns: int
    to_ns: int
    discard: bool


def cause_of(text: str) -> Cause:
    """The cause that a record names; one that a later version invented counts as `device`."""
    try:
        return Cause(text)
    except ValueError:
        return Cause.DEVICE


def union(intervals: Iterable[Interval]) -> Intervals:
    """The union, ordered and disjoint; touching intervals become one, empty ones vanish."""
    result: Intervals = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            if end > result[-1][1]:
                result[-1] = (result[-1][0], end)
        else:
            result.append((start, end))
    return result


def subtract(whole: Sequence[Interval], minus: Sequence[Interval]) -> Intervals:
    """What of `whole` is not in `minus`; both ordered and disjoint."""
    result: Intervals = []
    at = 0
    for start, end in whole:
        while at < len(minus) and minus[at][1] <= start:
            at += 1
        probe = at
        while probe < len(minus) and minus[probe][0] < end:
            if minus[probe][0] > start:
                result.append((start, minus[probe][0]))
            start = max(start, minus[probe][1])
            probe += 1
        if start < end:
            result.append((start, end))
    return result


def intersect(left: Sequence[Interval], right: Sequence[Interval]) -> Intervals:
    """What is in both; both ordered and disjoint."""
    return subtract(left, subtract(left, right))


def is_in(intervals: Sequence[Interval], time_ns: int) -> bool:
    """Whether an instant is in one of them; ordered and disjoint."""
    index = bisect_right(intervals, time_ns, key=lambda interval: interval[0]) - 1
    return index >= 0 and time_ns < intervals[index][1]


def shrink(intervals: Sequence[Interval], epsilon_ns: int) -> Intervals:
    """Each interval smaller by the clock's uncertainty at both ends (rules.md 3)."""
    return [(s + epsilon_ns, e - epsilon_ns) for s, e in intervals if e - s > 2 * epsilon_ns]


def lagging(record: Coverage) -> dict[tuple[str, str], int]:
    """(device, scan class) -> through when, of those that a record claims less far than others."""
    return {
        (own.device, own.scan_class): own.through_ns
        for own in record.behind
        if own.through_ns < record.through_ns
    }


def oldest_ns(record: Coverage) -> int:
    """The earliest instant that a record claims for any class."""
    return min((record.since_ns, *(own.since_ns for own in record.behind)))


def complete_ns(record: Coverage) -> int:
    """Through when the records up to this one claim every class."""
    return min((record.through_ns, *(own.through_ns for own in record.behind)))


def cut(record: Coverage, from_ns: int) -> Coverage:
    """The record without what it claims before an instant."""
    if oldest_ns(record) >= from_ns:
        return record
    behind = tuple(
        replace(own, since_ns=max(own.since_ns, min(from_ns, own.through_ns)))
        for own in record.behind
    )
    since_ns = max(record.since_ns, min(from_ns, record.through_ns))
    return replace(record, since_ns=since_ns, behind=behind)


def withdrawn(rulings: Iterable[Ruled]) -> dict[Term, Intervals]:
    """What of each term is out of the view, by rulings that discard."""
    found: dict[Term, Intervals] = {}
    for ruled in rulings:
        if ruled.discard and ruled.from_ns < ruled.to_ns:
            found.setdefault(ruled.loser, []).append((ruled.from_ns, ruled.to_ns))
    return {term: union(intervals) for term, intervals in found.items()}


def streams(
    runs: Iterable[Run | OwnRun],
    holes: Iterable[Except],
    device: str,
    scan_class: str,
    configured: Callable[[Term, int], bool] = lambda term, revision: True,
    rulings: Iterable[Ruled] = (),
) -> dict[Term, Intervals]:
    """What each term covered of one device and scan class.

    A hole withdraws what any record of the same term claimed; so does a ruling that discards, and
    with it what is left of the stretch that it cuts, which has no beginning to stand on.
    `configured` tells whether a term's revision has the device at all.
    """
    claimed: dict[Term, Intervals] = {}
    instead: dict[Term, Intervals] = {}
    own: dict[Term, Intervals] = {}
    for run in runs:
        if not configured(run.term, run.revision):
            continue
        if isinstance(run, Run):
            claimed.setdefault(run.term, []).append((run.since_ns, run.through_ns))
        elif (run.device, run.scan_class) == (device, scan_class):
            instead.setdefault(run.term, []).append((run.from_ns, run.to_ns))
            own.setdefault(run.term, []).append((run.since_ns, run.through_ns))
    for term, intervals in instead.items():
        shared = subtract(union(claimed.get(term, ())), union(intervals))
        claimed[term] = [*shared, *own[term]]
    excepted: dict[Term, Intervals] = {}
    for hole in holes:
        if (hole.device, hole.scan_class) == (device, scan_class):
            excepted.setdefault(hole.term, []).append((hole.from_ns, hole.to_ns))
    covered = {
        term: subtract(union(claims), union(excepted.get(term, ())))
        for term, claims in claimed.items()
    }
    for term, intervals in withdrawn(rulings).items():
        begun = {start for start, _ in covered.get(term, ())}
        left = subtract(covered.get(term, ()), intervals)
        covered[term] = [interval for interval in left if interval[0] in begun]
    return {term: intervals for term, intervals in covered.items() if intervals}


def unite(by_term: Mapping[Term, Sequence[Interval]], epsilon_ns: int = 0) -> Intervals:
    """The union over terms; with several writers, each writer's part is shrunk by ε first."""
    by_node: dict[str, Intervals] = {}
    for term, intervals in by_term.items():
        by_node.setdefault(term.node, []).extend(intervals)
    margin_ns = epsilon_ns if len(by_node) > 1 else 0
    return union(
        interval for part in by_node.values() for interval in shrink(union(part), margin_ns)
    )


def gaps(
    device: str,
    scan_class: str,
    window: Interval,
    runs: Sequence[Run | OwnRun],
    holes: Sequence[Except],
    losses: Sequence[Lost] = (),
    floor_ns: int | None = None,
    configured: Callable[[Term, int], bool] = lambda term, revision: True,
    epsilon_ns: int = 0,
    rulings: Sequence[Ruled] = (),
) -> list[Gap]:
    """The stretches of the window that nothing covers, in order, each with its cause.

    Where several causes are known the higher term speaks, then the later one in `Cause`; a known
    loss speaks before `node_down`, which is what time is called that no record mentions. Before
    `floor_ns` history was dropped: `beyond_retention`. What a ruling withdrew is `other_master`.
    """
    after = streams(runs, holes, device, scan_class, configured, rulings)
    covered = unite(after, epsilon_ns)
    if floor_ns is not None:
        covered = [(max(s, floor_ns), e) for s, e in covered if e > floor_ns]
    missing = subtract(union([window]), covered)
    layers: list[_Layer] = []
    if floor_ns is not None:
        layers.append(_Layer(window[0], floor_ns, (2, 0, 0, 0), Cause.RETENTION))
    layers += [_Layer(x.from_ns, x.to_ns, (0, 0, 0, _RANK[x.cause]), x.cause) for x in losses]
    for hole in holes:
        if (hole.device, hole.scan_class) == (device, scan_class):
            key = (1, hole.term.number, hole.term.nonce, _RANK[hole.cause])
            layers.append(_Layer(hole.from_ns, hole.to_ns, key, hole.cause))
    before = streams(runs, holes, device, scan_class, configured) if rulings else after
    for term, intervals in before.items():
        key = (1, term.number, term.nonce, _RANK[Cause.OTHER_MASTER])
        layers += [
            _Layer(start, end, key, Cause.OTHER_MASTER)
            for start, end in subtract(intervals, after.get(term, ()))
        ]
    for run in runs:
        if isinstance(run, Run) and not configured(run.term, run.revision):
            key = (1, run.term.number, run.term.nonce, _RANK[Cause.DISABLED])
            layers.append(_Layer(run.since_ns, run.through_ns, key, Cause.DISABLED))
    return [
        Gap(device, scan_class, start, end, cause)
        for start, end, cause in _painted(missing, layers)
    ]


class _Layer(NamedTuple):
    """A reason that holds during [from, to); the highest key on top is the one that is told."""

    from_ns: int
    to_ns: int
    key: tuple[int, int, int, int]
    cause: Cause


def _painted(missing: Sequence[Interval], layers: Iterable[_Layer]) -> list[tuple[int, int, Cause]]:
    """Cut the missing stretches wherever the topmost layer changes."""
    waiting = sorted(layer for layer in layers if layer.from_ns < layer.to_ns)
    waiting.reverse()
    active: list[tuple[tuple[int, ...], int, Cause]] = []
    result: list[tuple[int, int, Cause]] = []
    for start, end in missing:
        while start < end:
            while waiting and waiting[-1].from_ns <= start:
                layer = waiting.pop()
                negated = tuple(-part for part in layer.key)
                heapq.heappush(active, (negated, layer.to_ns, layer.cause))
            while active and active[0][1] <= start:
                heapq.heappop(active)
            stop, cause = end, Cause.NODE_DOWN
            if active:
                stop, cause = min(end, active[0][1]), active[0][2]
            if waiting:
                stop = min(stop, waiting[-1].from_ns)
            if result and result[-1][1] == start and result[-1][2] is cause:
                result[-1] = (result[-1][0], stop, cause)
            else:
                result.append((start, stop, cause))
            start = stop
    return result
