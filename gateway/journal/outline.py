"""Where a device may have a gap: the outline of what the coverage records of one file claim.

Pure, in memory, and generous: outside of what is told here every class of the device was covered,
so that raw reads give what was polled as it is stored. Inside it they look closer, which costs
more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from gateway.journal.coverage import Interval, Intervals, Ruled, intersect, subtract, union
from gateway.journal.records import Body, Coverage
from gateway.model import NS_PER_S, Term

HOUR_NS: Final = 3_600 * NS_PER_S
FOREVER: Final = 2**63 - 1

Key = tuple[Term, int]
"""A term and the revision that it claims for."""


class Outline:
    """What one file's records claim: runs by term and revision, and what they except by device.

    Bounded by the runs of a file, and by one stretch an hour for each device. `version` grows when
    anything changes but the end of the newest run.
    """

    def __init__(self) -> None:
        self.runs: dict[Key, Intervals] = {}
        self.version = 0
        self._end_ns = 0
        self._excepted: dict[str, dict[int, Interval]] = {}
        self._behind: dict[str, dict[tuple[Term, str], Interval]] = {}

    def claim(self, term: Term, revision: int, since_ns: int, through_ns: int) -> None:
        """A term claims [since, through) for every class of a revision."""
        if through_ns <= since_ns:
            return
        parts = self.runs.get((term, revision))
        if parts and parts[-1][0] <= since_ns <= parts[-1][1] and parts[-1][1] == self._end_ns:
            parts[-1] = (parts[-1][0], max(parts[-1][1], through_ns))
        else:
            self.runs[term, revision] = union([*(parts or ()), (since_ns, through_ns)])
            self.version += 1
        self._end_ns = max(self._end_ns, through_ns)

    def excepted(self, device: str, from_ns: int, to_ns: int) -> None:
        """Something of a device is not covered in [from, to)."""
        if to_ns <= from_ns:
            return
        hours = self._excepted.setdefault(device, {})
        known = hours.get(from_ns // HOUR_NS)
        wider = (from_ns, to_ns)
        if known is not None:
            wider = (min(from_ns, known[0]), max(to_ns, known[1]))
        if wider != known:
            hours[from_ns // HOUR_NS] = wider

    def lagged(
        self, term: Term, device: str, scan_class: str, since_ns: int, stretch: Interval
    ) -> None:
        """A class was claimed from `since_ns` to the beginning of this stretch, and not in it.

        Where the record before it left off, its stretch is not in doubt any more.
        """
        waiting = self._behind.setdefault(device, {})
        before = waiting.pop((term, scan_class), None)
        if before is not None and (since_ns != before[0] or max(stretch) < before[1]):
            self.excepted(device, *before)
        if stretch[0] < stretch[1]:
            waiting[term, scan_class] = stretch

    def hear(self, term: Term, body: Body) -> None:
        """A record of a term is in the file."""
        if not isinstance(body, Coverage):
            return
        self.claim(term, body.revision, body.since_ns, body.through_ns)
        for hole in body.holes:
            self.excepted(hole.device, hole.from_ns, hole.to_ns)
        for own in body.behind:
            self.excepted(own.device, body.since_ns, own.since_ns)
            stretch = (own.through_ns, body.through_ns)
            self.lagged(term, own.device, own.scan_class, own.since_ns, stretch)

    def doubts(self, device: str, behind: Mapping[str, int] = {}) -> list[Interval]:
        """Where a run does not hold for all classes of a device.

        A class that is `behind` now is merely late after the instant up to which it is claimed.
        """
        waiting = self._behind.get(device, {})
        return [
            *self._excepted.get(device, {}).values(),
            *(part for key, part in waiting.items() if behind.get(key[1]) != part[0]),
        ]


class Unsettled:
    """The outlines of all files, put together for a device; what was put together is kept."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, Intervals, frozenset[Key]]] = {}

    def of(
        self,
        device: str,
        outlines: Sequence[Outline],
        window: Interval,
        behind: Mapping[str, int],
        has_device: Callable[[Key], bool],
        learned: int,
        rulings: Sequence[Ruled] = (),
    ) -> tuple[Intervals, frozenset[Key]]:
        """Where in the window a device may have a gap, and the claims that hold for it.

        `has_device` says whether a term's revision has it; `learned` changes when that may change.
        """
        state = (learned, rulings, [(outline, outline.version) for outline in outlines])
        known = self._known.get(device)
        if known is None or known[0] != state:
            keys = frozenset(k for o in outlines for k in o.runs if has_device(k))
            known = self._known[device] = (state, _between(outlines, keys, rulings), keys)
        _, between, keys = known
        ends = (o.runs[key][-1][1] for o in outlines for key in o.runs if key in keys)
        found = [*between, (max(ends, default=-FOREVER), FOREVER)]
        found += [part for outline in outlines for part in outline.doubts(device, behind)]
        doubts = intersect(union(found), union([window]))
        # Where a gap ends what holds may be restated: that instant is looked at closely, too.
        return intersect(union((a, b + 1) for a, b in doubts), union([window])), keys


def _between(
    outlines: Sequence[Outline], keys: frozenset[Key], rulings: Iterable[Ruled]
) -> Intervals:
    """What no run holds, but for what comes after the last one; what rulings took away among it."""
    own = [(key, part) for o in outlines for key, parts in o.runs.items() for part in parts]
    runs = union(part for key, part in own if key in keys)
    end_ns = runs[-1][1] if runs else -FOREVER
    cut = [
        (ruled.from_ns, part[1])
        for ruled in rulings
        if ruled.discard
        for (term, _), part in own
        if term == ruled.loser and part[0] < ruled.to_ns and part[1] > ruled.from_ns
    ]
    return union([*subtract([(-FOREVER, end_ns)], runs), *cut])
