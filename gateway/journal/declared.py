"""What was declared of one point around a stretch: who covered it, and what became of the gaps.

Coverage is by scan class, and the class that a point was read in is told by the batches of its
samples, those too whose samples a ruling withdrew. Run in a reader's thread.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateway.journal import history, ledger
from gateway.journal.coverage import (
    Interval,
    Intervals,
    OwnRun,
    Run,
    intersect,
    streams,
    subtract,
    union,
)
from gateway.journal.fills import Missing, judged, missing
from gateway.journal.history import Files, View
from gateway.journal.outline import Key
from gateway.model import NS_PER_S, Term

REACH_NS: Final = 86_400 * NS_PER_S
"""How far before a stretch what was declared can matter: each day is restated."""
_CLASS_TRIES_MAX: Final = 32
_FOREVER: Final = 2**63 - 1


class Declared(NamedTuple):
    """What each term covered of a point, what nobody did, and until when anything was declared."""

    reach: Interval
    by_term: Mapping[Term, Intervals]
    missing: Sequence[Missing]
    until_ns: int

    def covering(self, first_ns: int, last_ns: int) -> list[tuple[Term, int]]:
        """The terms that cover one of these instants, or end there, and since when they do."""
        return [
            (term, start_ns)
            for term, intervals in self.by_term.items()
            for start_ns, end_ns in intervals
            if start_ns <= last_ns and end_ns >= first_ns
        ]

    def part(self, time_ns: int) -> Missing | None:
        """What became of an instant that nobody covered."""
        index = bisect_right(self.missing, time_ns, key=lambda part: part.from_ns) - 1
        part = self.missing[index] if index >= 0 else None
        return part if part is not None and time_ns < part.to_ns else None


def look_up(files: Files, view: View, point: str, reach: Interval) -> Declared:
    """Look for what was declared in a stretch."""
    device, _, name = point.partition("/")
    told = ledger.coverage(files, view.files, device, reach[0] - REACH_NS, reach[1])
    fills = [
        written
        for written in ledger.fills(files, view.files, device, *reach)
        if name in written.fill.points
    ]
    own = [run for run in told.runs if isinstance(run, OwnRun)]
    runs = [
        run for run in told.runs if isinstance(run, Run) and (run.term, run.revision) in view.having
    ]
    runs.sort(key=lambda run: run.since_ns)
    classes = _classes(files, view, point, runs)

    def covered(class_of: Mapping[Key, str]) -> dict[Term, Intervals]:
        by_class: dict[str, list[Run | OwnRun]] = {}
        for run in runs:
            if (scan_class := class_of.get((run.term, run.revision))) is not None:
                by_class.setdefault(scan_class, list(own)).append(run)
        found: dict[Term, Intervals] = {}
        for scan_class, claims in by_class.items():
            own_terms = {run.term for run in claims if isinstance(run, Run)}
            claims = [run for run in claims if run.term in own_terms]
            parts = streams(claims, told.holes, device, scan_class, rulings=view.rulings)
            for term, intervals in parts.items():
                found[term] = union([*found.get(term, ()), *intervals])
        return found

    by_term = covered(classes)
    assumed = dict(classes)
    unknown = [run for run in runs if (run.term, run.revision) not in classes]
    last = _first_class(files, view, point) if unknown or not runs else ""
    if last is None:
        return Declared(reach, by_term, (), view.window[1])
    assumed |= {(run.term, run.revision): last for run in unknown}
    if runs:
        last = assumed[runs[-1].term, runs[-1].revision]
    until_ns = view.behind.get(last, view.window[1])
    whole = union(part for parts in covered(assumed).values() for part in parts)
    stretches = subtract(intersect([reach], union([(view.window[0], until_ns)])), whole)
    parts = missing(stretches, judged(fills, name, view.withdrawn))
    return Declared(reach, by_term, parts, until_ns)


def _classes(files: Files, view: View, point: str, runs: Sequence[Run]) -> dict[Key, str]:
    """The scan class that the point was read in, by term and revision, as far as samples tell.

    Of a revision without a sample the class of the one before it in the term is taken.
    """
    spans: dict[Key, Interval] = {}
    for run in runs:
        key = (run.term, run.revision)
        known = spans.get(key, (run.since_ns, run.through_ns))
        spans[key] = (min(known[0], run.since_ns), max(known[1], run.through_ns))
    found = {
        key: scan_class
        for key, span in spans.items()
        if (scan_class := _class_of(files, view, point, key, span)) is not None
    }
    for term in {term for term, _ in spans}:
        _fill_up([key for key in spans if key[0] == term], found)
    return found


def _fill_up(keys: Sequence[Key], classes: dict[Key, str]) -> None:
    """Give each that has no class that of the one before it; at the beginning, of the first."""
    last = next((classes[key] for key in keys if key in classes), None)
    for key in keys:
        last = classes.get(key, last)
        if last is not None:
            classes[key] = last


def _class_of(files: Files, view: View, point: str, key: Key, span: Interval) -> str | None:
    """The scan class that the first batches of a run name; None if only faults speak in it."""
    term, revision = key
    own = view.of(term, wound=False)._replace(withdrawn={})
    for row in history.page(files, own, point, *span, _CLASS_TRIES_MAX, None, False).rows:
        batch = ledger.batch_at(files, view.files, row.position)
        if batch is not None and batch.scan_class and batch.revision == revision:
            return batch.scan_class
    return None


def _first_class(files: Files, view: View, point: str) -> str | None:
    """The class that the point's first batches name, or else a fill; None if it is unheard of.

    It stands for the class in runs that say nothing of the point.
    """
    polled = view.of(wound=False)._replace(withdrawn={})
    page = history.page(files, polled, point, -_FOREVER, _FOREVER, _CLASS_TRIES_MAX, None, False)
    for row in page.rows:
        batch = ledger.batch_at(files, view.files, row.position)
        if batch is not None and batch.scan_class:
            return batch.scan_class
    device, _, name = point.partition("/")
    for written in ledger.fills(files, view.files, device, -_FOREVER, _FOREVER):
        if name in written.fill.points:
            return written.fill.scan_class
    return None
