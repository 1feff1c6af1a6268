"""What windback made of the gaps: the state of each stretch, and who speaks there for which point.

Pure, and set operations only, so that the order of arrival makes no difference. Of all that was
judged of one point at one instant the best kind counts, then the higher term, then the later
record. A fill is a stream of its own: where a point is filled, the term of the record that counts
speaks. Coverage that arrives later makes the gap vanish, whatever was judged.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

from gateway.journal.coverage import Interval, Intervals, subtract
from gateway.journal.kept import rank
from gateway.journal.records import Fill
from gateway.model import Cause, Gap, GapState, Position, Term

_KINDS: Final = {
    GapState.OPEN: 0,
    GapState.LOST: 1,
    GapState.COARSE: 2,
    GapState.FILLED: 3,
}
"""How good a kind is; a gap is as bad as its worst point."""
SPOKEN: Final = frozenset({GapState.FILLED, GapState.COARSE})
"""States in which wound-back samples speak."""
DROPPED: Final = "history of that time is kept no more"


_NOTHING_TOLD: Final = (GapState.OPEN, "", (), 0, 0)
"""As if nothing had been judged: open, and nobody says why."""


class Written(NamedTuple):
    """A Fill record, and where it is written."""

    position: Position
    fill: Fill


class Judged(NamedTuple):
    """What counts of one point during [from, to): where it is filled, `term` speaks of it."""

    from_ns: int
    to_ns: int
    state: GapState
    term: Term
    why: str
    resolution_ns: int
    uncertainty_ns: int


class Missing(NamedTuple):
    """What nobody polled in [from, to), for one point: where it is filled `term` speaks."""

    from_ns: int
    to_ns: int
    state: GapState
    term: Term | None = None


def kind_of(text: str) -> GapState:
    """The kind that a record names; one that a later version invented tells nothing: `open`."""
    try:
        state = GapState(text)
    except ValueError:
        return GapState.OPEN
    return state if state in _KINDS else GapState.OPEN


def judged(
    fills: Iterable[Written], point: str, withdrawn: Mapping[Term, Intervals] = {}
) -> list[Judged]:
    """What was judged of one point, named as the device names it; ordered and disjoint.

    `withdrawn` is what `coverage.withdrawn` gives: there a term's fills count no more.
    """
    return _topmost(
        layer
        for written in fills
        if point in written.fill.points
        for layer in _layers(written, withdrawn)
    )


def missing(stretches: Sequence[Interval], told: Sequence[Judged]) -> list[Missing]:
    """What became of the stretches that nobody polled, for the point of which this was judged."""
    found: list[Missing] = []

    def add(start_ns: int, end_ns: int, state: GapState, term: Term | None) -> None:
        term = term if state in SPOKEN else None
        last = found[-1] if found else None
        if last is not None and last.to_ns == start_ns and last[2:] == (state, term):
            found[-1] = last._replace(to_ns=end_ns)
        elif start_ns < end_ns:
            found.append(Missing(start_ns, end_ns, state, term))

    for start_ns, end_ns in stretches:
        first = bisect_right(told, start_ns, key=lambda part: part.to_ns)
        last = bisect_left(told, end_ns, key=lambda part: part.from_ns)
        for part in told[first:last]:
            add(start_ns, max(start_ns, part.from_ns), GapState.OPEN, None)
            start_ns = max(start_ns, part.from_ns)
            add(start_ns, min(end_ns, part.to_ns), part.state, part.term)
            start_ns = min(end_ns, part.to_ns)
        add(start_ns, end_ns, GapState.OPEN, None)
    return found


def states(
    gaps: Sequence[Gap], fills: Iterable[Written], withdrawn: Mapping[Term, Intervals] = {}
) -> list[Gap]:
    """The gaps, cut wherever their state changes, with the points and the reasons of the state."""
    by_class: dict[tuple[str, str], list[Written]] = {}
    for written in fills:
        key = (written.fill.device, written.fill.scan_class)
        by_class.setdefault(key, []).append(written)
    parts = {key: _parts(own, withdrawn) for key, own in by_class.items()}
    return [
        piece for gap in gaps for piece in _cut(gap, parts.get((gap.device, gap.scan_class), []))
    ]


class _Part(NamedTuple):
    """A stretch of a scan class whose state is that of `points`, or of all where it is empty."""

    from_ns: int
    to_ns: int
    state: GapState
    why: str
    points: tuple[str, ...]
    resolution_ns: int
    uncertainty_ns: int


def _cut(gap: Gap, parts: Sequence[_Part]) -> Iterator[Gap]:
    """What no part tells of is open; what retention dropped is lost, whatever was judged."""
    if gap.cause is Cause.RETENTION:
        yield gap._replace(state=GapState.LOST, why=DROPPED)
        return
    at_ns = gap.from_ns
    first = bisect_right(parts, gap.from_ns, key=lambda part: part.to_ns)
    end = bisect_left(parts, gap.to_ns, key=lambda part: part.from_ns)
    for part in parts[first:end]:
        start_ns, end_ns = max(part.from_ns, at_ns), min(part.to_ns, gap.to_ns)
        if at_ns < start_ns:
            yield gap._replace(from_ns=at_ns, to_ns=start_ns)
        told = {name: getattr(part, name) for name in _Part._fields[2:]}
        yield gap._replace(from_ns=start_ns, to_ns=end_ns, **told)
        at_ns = end_ns
    if at_ns < gap.to_ns:
        yield gap._replace(from_ns=at_ns)


def _parts(fills: Sequence[Written], withdrawn: Mapping[Term, Intervals]) -> list[_Part]:
    """The stretches of one class that anything was judged of; ordered and disjoint.

    Points that the same records name are looked at together: a class may have thousands.
    """
    naming: dict[tuple[str, ...], list[Written]] = {}
    for written in fills:
        naming.setdefault(written.fill.points, []).append(written)
    named_by: dict[str, list[tuple[str, ...]]] = {}
    for points in naming:
        for point in dict.fromkeys(points):
            named_by.setdefault(point, []).append(points)
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for point, by in named_by.items():
        alike.setdefault(tuple(by), []).append(point)
    timelines = [
        (
            tuple(points),
            _topmost(
                layer
                for names in by
                for written in naming[names]
                for layer in _layers(written, withdrawn)
            ),
        )
        for by, points in alike.items()
    ]
    return list(_together(timelines))


def _together(timelines: Sequence[tuple[tuple[str, ...], list[Judged]]]) -> Iterator[_Part]:
    """What groups of points come to: as bad as the worst of them, at each instant."""
    edges = sorted({t for _, parts in timelines for part in parts for t in part[:2]})
    at = [0] * len(timelines)
    last: _Part | None = None
    for start_ns, end_ns in pairwise(edges):
        here: list[tuple[tuple[str, ...], Judged]] = []
        for index, (points, parts) in enumerate(timelines):
            while at[index] < len(parts) and parts[at[index]].to_ns <= start_ns:
                at[index] += 1
            if at[index] < len(parts) and parts[at[index]].from_ns <= start_ns:
                here.append((points, parts[at[index]]))
        part = _worst(start_ns, end_ns, here) if here else None
        if part is None or part[2:] == _NOTHING_TOLD:
            continue
        if last is not None and last.to_ns == start_ns and last[2:-1] == part[2:-1]:
            last = _joined(last, part)
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last


def _worst(start_ns: int, end_ns: int, here: Sequence[tuple[tuple[str, ...], Judged]]) -> _Part:
    state = min((part.state for _, part in here), key=lambda state: _KINDS[state])
    worst = [(points, part) for points, part in here if part.state is state]
    whys = sorted({part.why for _, part in worst if part.why})
    names = sorted(point for points, _ in worst for point in points)
    coarse = [part.resolution_ns for _, part in here if part.state is GapState.COARSE]
    unsure = [part.uncertainty_ns for _, part in here if part.state in SPOKEN]
    return _Part(
        start_ns,
        end_ns,
        state,
        "; ".join(whys),
        () if len(worst) == len(here) else tuple(names),
        max(coarse, default=0),
        max(unsure, default=0),
    )


class _Layer(NamedTuple):
    """What one record says of [from, to); the highest key on top counts."""

    from_ns: int
    to_ns: int
    key: tuple[int, ...]
    state: GapState
    term: Term
    why: str
    resolution_ns: int
    uncertainty_ns: int


def _layers(written: Written, withdrawn: Mapping[Term, Intervals]) -> Iterator[_Layer]:
    position, fill = written
    state = kind_of(fill.kind)
    key = (_KINDS[state], *rank(position))
    for start_ns, end_ns in subtract(
        [(fill.from_ns, fill.to_ns)] if fill.from_ns < fill.to_ns else [],
        withdrawn.get(position.term, ()),
    ):
        told = (fill.why, fill.resolution_ns, max(0, fill.uncertainty_ns))
        yield _Layer(start_ns, end_ns, key, state, position.term, *told)


def _topmost(layers: Iterable[_Layer]) -> list[Judged]:
    """The topmost layer of each instant, where there is any."""
    waiting = sorted(layers, reverse=True)
    active: list[tuple[tuple[int, ...], _Layer]] = []
    found: list[Judged] = []
    at_ns = 0
    while waiting or active:
        if not active:
            at_ns = waiting[-1].from_ns
        while waiting and waiting[-1].from_ns <= at_ns:
            layer = waiting.pop()
            heapq.heappush(active, (tuple(-part for part in layer.key), layer))
        top = active[0][1]
        end_ns = min(top.to_ns, waiting[-1].from_ns) if waiting else top.to_ns
        part = Judged(at_ns, end_ns, *top[3:])
        if found and found[-1].to_ns == at_ns and found[-1][2:-1] == part[2:-1]:
            found[-1] = _joined(found[-1], part)
        else:
            found.append(part)
        at_ns = end_ns
        while active and active[0][1].to_ns <= at_ns:
            heapq.heappop(active)
    return found


_Stretch = TypeVar("_Stretch", Judged, _Part)


def _joined(before: _Stretch, after: _Stretch) -> _Stretch:
    """Two stretches that meet and differ at most in how well times are known: the worse holds."""
    unsure_ns = max(before.uncertainty_ns, after.uncertainty_ns)
    return before._replace(to_ns=after.to_ns, uncertainty_ns=unsure_ns)
