"""The judge of windback: what was wound back is the plant's truth, and lost is what no log held.

A wound-back time is by the clock of the node that read the log, as that clock was set at the time
of reading: the device's stamp was corrected to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.journal.fills import SPOKEN, Missing, Written
from gateway.journal.reconstruct import Reconstruction
from gateway.model import NS_PER_MS, NS_PER_S, GapState, is_bad
from tests.simulation.agenda import meant
from tests.simulation.declared import gaps_now, told_fills
from tests.simulation.plant import CLASSES, POINTS, value_at

if TYPE_CHECKING:
    from tests.simulation.node import Process
    from tests.simulation.world import World

MS = NS_PER_MS
TOLD_MAX = 3
FRESH_NS = 10 * NS_PER_S
"""A disk that was lost so lately may have vouched for what was on it."""
SLACK_NS = 150 * MS
"""What clocks drift between a record and its reading, and what a stamp rounds."""


class Wound:
    """What became of the gaps of one point, on one node."""

    def __init__(
        self,
        world: World,
        process: Process,
        fills: Sequence[Written],
        point: str,
        parts: Sequence[Missing],
    ) -> None:
        device, _, self._name = point.partition("/")
        self._world = world
        self._point = point
        self._period_ns = next(
            CLASSES[device][scan_class]
            for owner, name, scan_class, _ in POINTS
            if (owner, name) == (device, self._name)
        )
        self._logged = world.logged.get(device)
        self._born_ns = process.store.kept.born_ns or 0
        self._fills = [written for written in fills if self._name in written.fill.points]
        self._parts = parts
        self._starts = [part.from_ns for part in parts]

    def wrong(self, known: Reconstruction, at_ns: int) -> str | None:
        """Why an instant that nobody polled is not as it must be; None if it is well."""
        place = bisect_right(self._starts, at_ns) - 1
        if self._logged is None or at_ns < self._born_ns or place < 0:
            return None
        part = self._parts[place]
        if at_ns >= part.to_ns or part.state is GapState.LOST:
            return None
        if part.state is GapState.OPEN:
            settled_ns = self._world.settled_ns
            return "nobody judged it" if settled_ns and at_ns < settled_ns else None
        return self._filled(known, at_ns, place)

    def _filled(self, known: Reconstruction, at_ns: int, place: int) -> str | None:
        assert self._logged is not None
        held, part = known.at(at_ns), self._parts[place]
        while place and self._joins(place):
            place -= 1
        spacing_ns = self._logged.kept.resolution_ns * 3 // 2 + SLACK_NS
        if held is None:
            # Where nothing is known from before, the first record is the first that is known.
            begun = at_ns - self._parts[place].from_ns < spacing_ns
            return None if begun else f"{part}, but no value is known"
        row = held.row
        if is_bad(row.status) or not isinstance(row.value, int):
            return f"{part}, but Bad ({row.status:#x})"
        if not held.wound_back or row.time_ns < part.from_ns:
            # Two reads may have placed the records where they meet as far apart as they said.
            spacing_ns += max(
                (w.fill.uncertainty_ns for w in self._fills if w.fill.from_ns == part.from_ns),
                default=0,
            )
        if at_ns - max(row.time_ns, self._parts[place].from_ns) > spacing_ns:
            return f"{part}, but the last record is of {row.time_ns}"
        if not held.wound_back:
            return self._outdone(row.time_ns, row.value, self._parts[place])
        begun = any(written.fill.from_ns == row.time_ns for written in self._fills)
        older_ns = self._period_ns if begun else 0  # what was in force where a gap begins
        clock = self._world.hosts[row.position.term.node].clock
        for true_ns in meant(clock, row.received_ns):
            if self._logged.hides_a_step(true_ns):
                return None
            about_ns = row.time_ns - (row.received_ns - true_ns)
            unsure_ns = self._unsure_ns(row.time_ns)
            low = value_at(self._point, about_ns - unsure_ns - older_ns)
            high = value_at(self._point, about_ns + unsure_ns)
            if low <= row.value <= high:
                return None
        return f"{row.value} was read for {row.time_ns} at {row.received_ns}: it was not held then"

    def _outdone(self, time_ns: int, value: int, part: Missing) -> str | None:
        """Why a poll may not speak in a filled stretch: its log knew better where that began."""
        assert self._logged is not None
        if time_ns >= part.from_ns:
            return None  # it is judged as the poll it is
        for position, fill in self._fills:
            if fill.from_ns != part.from_ns or position.term != part.term:
                continue
            if fill.kind not in SPOKEN:
                continue
            unsure_ns = max(0, fill.uncertainty_ns) + SLACK_NS
            reach_ns = min(self._period_ns, self._logged.kept.resolution_ns * 3 // 2)
            known: list[int] = []
            for true_ns in meant(self._world.hosts[position.term.node].clock, fill.at_ns):
                begin_ns = part.from_ns - (fill.at_ns - true_ns)
                made = [self._logged.made_ns(n) for n in self._logged.held(true_ns)]
                near = [ns for ns in made if unsure_ns <= begin_ns - ns < reach_ns - unsure_ns]
                if not near or self._logged.hides_a_step(true_ns):
                    return None
                known.append(value_at(self._point, near[-1]))
            if known and value < min(known):
                return f"{part} begins with {value} of {time_ns}, but the log held {known}"
        return None

    def _joins(self, place: int) -> bool:
        before, part = self._parts[place - 1], self._parts[place]
        # Between two terms a node's clock may have been set: a record is in both reads or in none.
        return before.to_ns == part.from_ns and before.state in SPOKEN and before.term == part.term

    def _unsure_ns(self, time_ns: int) -> int:
        told = [
            written.fill.uncertainty_ns
            for written in self._fills
            if written.fill.from_ns <= time_ns < written.fill.to_ns
        ]
        return max(told, default=0) + SLACK_NS


def wrongly_lost(world: World, fills: Mapping[str, Sequence[Written]]) -> list[str]:
    """Stretches that were called lost while the log still held a record of them."""
    found: list[str] = []
    for device, logged in world.logged.items():
        for position, fill in fills[device]:
            if fill.kind != GapState.LOST:
                continue
            unsure_ns = max(0, fill.uncertainty_ns) + SLACK_NS
            runs: list[int] = []
            for true_ns in meant(world.hosts[position.term.node].clock, fill.at_ns):
                ahead_ns = fill.at_ns - true_ns
                low_ns = fill.from_ns - ahead_ns + unsure_ns
                high_ns = fill.to_ns - ahead_ns - unsure_ns
                hidden = logged.hides_a_step(true_ns)
                runs.append(0 if hidden else logged.records_in(low_ns, high_ns, true_ns))
            if runs and all(runs):
                seconds = (fill.to_ns - fill.from_ns) / NS_PER_S
                found.append(
                    f"{position}: {device} {fill.scan_class} {seconds:.3f} s from {fill.from_ns}"
                    f" ({fill.why}), but at {fill.at_ns} the log held {runs} records"
                )
    return found


def unsafe(
    world: World, process: Process, device: str, numbers: range, true_ns: int, both: bool
) -> list[str]:
    """What would be gone of a log, though a gap needs it that is open, or filled on one node only.

    Judged by what the node that tells the device to forget knows, and by its clock.
    """
    logged, now_ns = world.logged[device], process.clock.utc_ns()
    disks = [process.host.disk]
    other = world.other(process.host)
    if both and world.agenda.now_ns - world.forgotten.get(other.node, -FRESH_NS) >= FRESH_NS:
        disks.append(other.disk)
    durable = [disk.durable() for disk in disks]
    gaps = gaps_now(process.store, now_ns, device, 0, now_ns)
    fills = told_fills(process.store.disk.connection, device, 0, now_ns)
    found: list[str] = []
    held = logged.held(true_ns)
    for number in range(held.start, min(held.stop, numbers.stop)):
        at_ns = logged.made_ns(number) + now_ns - true_ns
        for gap in gaps:
            if not gap.from_ns + SLACK_NS <= at_ns < gap.to_ns - SLACK_NS:
                continue
            if gap.state is GapState.OPEN:
                found.append(f"{device}: record {number} of {at_ns} for {gap}")
            elif gap.state in SPOKEN:
                safe = [
                    written.position
                    for written in fills
                    if written.fill.scan_class == gap.scan_class
                    and written.fill.from_ns <= at_ns < written.fill.to_ns
                    and all(written.position in each for each in durable)
                ]
                if not safe:
                    found.append(f"{device}: record {number} of {at_ns} is not safe: {gap}")
    return found[:TOLD_MAX]
