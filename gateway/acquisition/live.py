"""The current value of every point, as committed: what readers see between two samples.

Columns indexed by point number: ten thousand points change each second, and nobody should pay for
an object a point. ServerTimestamp of a good point is the last good poll of its scan class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.driver import DeviceSpec, PointSpec
from gateway.journal.records import SampleRow
from gateway.model import Status, Value


class Live(NamedTuple):
    """A point now: SourceTimestamp is the last change, ServerTimestamp the last good poll."""

    value: Value
    status: int
    source_ns: int
    server_ns: int


class LiveTable:
    """The live values of one configuration revision; point numbers index every column."""

    def __init__(self, devices: Sequence[DeviceSpec]) -> None:
        self.points: tuple[PointSpec, ...] = tuple(
            sorted((p for d in devices for p in d.points), key=lambda p: p.number)
        )
        assert [p.number for p in self.points] == list(range(len(self.points)))
        count = len(self.points)
        self.values: list[Value] = [None] * count
        self.statuses: list[int] = [
            Status.BAD_WAITING_FOR_INITIAL_DATA if p.access.readable else Status.BAD_NOT_READABLE
            for p in self.points
        ]
        self.source_ns: list[int] = [0] * count
        groups: dict[tuple[str, str], int] = {}
        self._group: list[int] = [
            groups.setdefault((p.device, p.scan_class), len(groups)) for p in self.points
        ]
        self._groups = groups
        self._polled_ns: list[int] = [0] * len(groups)

    def apply(self, samples: Sequence[SampleRow]) -> list[int]:
        """Take over committed samples; the points that changed.

        A restated sample tells history what still holds: it is no change, and moves no time.
        """
        values, statuses, source_ns = self.values, self.statuses, self.source_ns
        changed: list[int] = []
        for point, time_ns, value, status in samples:
            old = values[point]
            if status == statuses[point] and value == old and type(value) is type(old):
                continue
            values[point] = value
            statuses[point] = status
            source_ns[point] = time_ns
            changed.append(point)
        return changed

    def polled(self, device: str, scan_class: str, received_ns: int) -> None:
        """A scan class was read well, whether or not anything in it changed."""
        self._polled_ns[self._groups[device, scan_class]] = received_ns

    def take_over(self, old: LiveTable, former: Mapping[str, str]) -> None:
        """Begin with what another revision's table holds, by name, or by the `former` one.

        A point whose type or readability changed begins anew.
        """
        known = {p.id: p for p in old.points}
        for point in self.points:
            was = known.get(point.id) or known.get(former.get(point.id, ""))
            if was is None or was.data_type is not point.data_type:
                continue
            if was.access.readable and point.access.readable:
                self.values[point.number] = old.values[was.number]
                self.statuses[point.number] = old.statuses[was.number]
                self.source_ns[point.number] = old.source_ns[was.number]
        for group, index in self._groups.items():
            if group in old._groups:
                self._polled_ns[index] = old._polled_ns[old._groups[group]]

    def translation(self, names: Sequence[str]) -> list[int | None]:
        """Where the points of another revision, by its numbers, are here; None: nowhere."""
        numbers = {p.id: p.number for p in self.points}
        return [numbers.get(name) for name in names]

    def get(self, point: int) -> Live:
        """A point now."""
        source_ns = self.source_ns[point]
        return Live(
            self.values[point],
            self.statuses[point],
            source_ns,
            max(source_ns, self._polled_ns[self._group[point]]),
        )
