"""Which observations are worth keeping: change detection, deadband, longest interval, restatement.

Pure. Columns indexed by point number. `current` is what the device last said, `kept` what history
last said; deadband compares with *kept*, so that a slow drift is not lost one small step at a time.
A stream must stand alone (rules.md 2): a restatement keeps every point of a scan class.

A restatement is stamped when it is made, and a subscription may bring an earlier change after it:
what came later is placed at it, since history is ordered by time and would take the old value for
the newer one. What a scan read before a write was read back, and hands in after it, is the other
case: it is of before, stays where it is, and what was read back is stated once more behind it.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Sequence
from typing import Final

from gateway.driver import Observation, PointSpec
from gateway.journal.records import SampleRow
from gateway.model import NS_PER_S, Status, Value

_WAITING: Final = (None, Status.BAD_WAITING_FOR_INITIAL_DATA)
LATE_MAX_NS: Final = 2 * NS_PER_S
"""What lies further before a restatement is no late report: another clock stamped it."""


class ChangeFilter:
    """The last observed and the last kept value of every point of one revision."""

    def __init__(self, points: Sequence[PointSpec]) -> None:
        self._points = tuple(points)
        self._current: list[tuple[Value, int]] = [_WAITING] * len(points)
        self._kept: list[tuple[Value, int]] = [_WAITING] * len(points)
        self._kept_ns: list[int] = [0] * len(points)
        self._restated_ns: list[int] = [0] * len(points)
        self._deadband = [p.deadband for p in points]
        self._members: dict[tuple[str, str], list[int]] = {}
        self._restless: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._override: dict[int, tuple[Value, int]] = {}
        self._read_back_ns: dict[int, int] = {}
        for point in points:
            key = (point.device, point.scan_class)
            if point.access.readable:
                self._members.setdefault(key, []).append(point.number)
            if point.max_interval_ns is not None:
                self._restless.setdefault(key, []).append((0, point.number))

    def inherit(self, before: ChangeFilter, devices: Container[str]) -> None:
        """Know of the points of `devices` what the filter of the revision before knew, by id."""
        theirs = {p.id: p.number for p in before._points if p.device in devices}
        for point in self._points:
            number = theirs.get(point.id)
            if number is None:
                continue
            self._current[point.number] = before._current[number]
            self._kept[point.number] = before._kept[number]
            self._kept_ns[point.number] = before._kept_ns[number]
            self._restated_ns[point.number] = before._restated_ns[number]
            if number in before._override:
                self._override[point.number] = before._override[number]
            if number in before._read_back_ns:
                self._read_back_ns[point.number] = before._read_back_ns[number]

    def accept(
        self, observations: Iterable[Observation], now_ns: int, asked_ns: int | None = None
    ) -> list[SampleRow]:
        """Take in what a device said; the samples that history must keep, in the same order.

        `asked_ns`: when the scan began that brought this, if one did.
        """
        rows: list[SampleRow] = []
        if self._read_back_ns and asked_ns is not None:
            observations = self._of_now(observations, asked_ns, rows)
        current, kept, deadband = self._current, self._kept, self._deadband
        kept_ns, restated_ns, override = self._kept_ns, self._restated_ns, self._override
        for number, time_ns, value, status in observations:
            state = (value, status)
            current[number] = state
            if number in override:
                continue
            old = kept[number]
            if state == old and type(value) is type(old[0]):
                continue
            band = deadband[number]
            if (
                band
                and status == old[1]
                and type(value) in (int, float)
                and type(old[0]) in (int, float)
                and abs(value - old[0]) < band  # type: ignore[operator]
            ):
                continue
            if time_ns < restated_ns[number] or time_ns < kept_ns[number] == now_ns:
                # Nor before the one before it, if that was placed where it came.
                placed_ns = _not_before(restated_ns[number], time_ns, now_ns)
                time_ns = max(placed_ns, min(kept_ns[number], now_ns))
            kept[number] = state
            kept_ns[number] = time_ns
            rows.append((number, time_ns, value, status))
        return rows

    def read_back(self, seen: Observation, scanned: bool) -> list[SampleRow]:
        """Take in what a write read back; where devices are `scanned`, a scan may be under way."""
        if scanned:
            self._read_back_ns[seen.point] = seen.time_ns
        return self.accept([seen], seen.time_ns)

    def _of_now(
        self, observations: Iterable[Observation], asked_ns: int, rows: list[SampleRow]
    ) -> list[Observation]:
        """What a scan read since a write was read back, if one was; `rows` get what was before."""
        now: list[Observation] = []
        for seen in observations:
            number, time_ns, value, status = seen
            read_back_ns = self._read_back_ns.get(number, asked_ns)
            if asked_ns < read_back_ns and time_ns < read_back_ns:
                if number not in self._override:
                    rows.append((number, time_ns, value, status))
                    rows.append(self._keep_again(number, read_back_ns))
                continue
            self._read_back_ns.pop(number, None)
            now.append(seen)
        return now

    def overdue(self, device: str, scan_class: str, now_ns: int) -> list[SampleRow]:
        """The points whose longest interval has passed since they were kept, kept again now."""
        heap = self._restless.get((device, scan_class))
        rows: list[SampleRow] = []
        while heap and heap[0][0] <= now_ns:
            _, number = heap[0]
            interval_ns = self._points[number].max_interval_ns
            assert interval_ns is not None
            if self._kept_ns[number] + interval_ns <= now_ns:
                rows.append(self._keep_again(number, now_ns))
            heapq.heapreplace(heap, (self._kept_ns[number] + interval_ns, number))
        return rows

    def restate(
        self, device: str, scan_class: str, now_ns: int, but: Container[int] = ()
    ) -> list[SampleRow]:
        """Every point of a class as it is now, `but` those just kept: a stream begins here."""
        rows: list[SampleRow] = []
        for number in self._members.get((device, scan_class), ()):
            if number in but:
                self._restated_ns[number] = self._kept_ns[number]
            else:
                rows.append(self._keep_again(number, now_ns))
        return rows

    def clock_set(self) -> None:
        """Times of before mean nothing any more: nothing is placed by them."""
        self._restated_ns = [0] * len(self._points)
        self._read_back_ns.clear()

    def _keep_again(self, number: int, now_ns: int) -> SampleRow:
        state = self._override.get(number, self._current[number])
        self._kept[number] = state
        self._kept_ns[number] = self._restated_ns[number] = now_ns
        return (number, now_ns, state[0], state[1])

    def fail(self, numbers: Iterable[int], status: int, now_ns: int) -> list[SampleRow]:
        """Points that can't be read: a sample without a value for each that did not say so yet."""
        return self.accept((Observation(n, now_ns, None, status) for n in numbers), now_ns)

    def override(self, number: int, value: Value, status: int, now_ns: int) -> list[SampleRow]:
        """Hold a point at a value and status whatever the device says."""
        self._override[number] = (value, status)
        return [self._keep_again(number, now_ns)]

    def release(self, number: int, now_ns: int) -> list[SampleRow]:
        """Let a point follow its device again."""
        if self._override.pop(number, None) is None:
            return []
        return [self._keep_again(number, now_ns)]

    def numbers(self, device: str, scan_class: str | None = None) -> list[int]:
        """The point numbers of a device, or of one of its classes."""
        return [
            number
            for (name, class_), members in self._members.items()
            if name == device and scan_class in (None, class_)
            for number in members
        ]


def _not_before(restated_ns: int, time_ns: int, now_ns: int) -> int:
    """Where an observation stands that is stamped before what came earlier."""
    return restated_ns if restated_ns - time_ns <= LATE_MAX_NS else now_ns
