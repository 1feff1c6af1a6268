"""Where the points of a device lie and which requests read them: the plan made ready to run.

Nothing here speaks to a device; `Layout` is rebuilt when something new was learned about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from drivers.modbus import frames
from drivers.modbus.codec import compile_block
from drivers.modbus.pdu import RawRequest
from drivers.modbus.plan import (
    REQUEST_COST,
    Request,
    plan,
    scale_factors,
    unreadable,
    volatile_ranges,
)
from drivers.modbus.refusals import Refusals
from drivers.modbus.settings import Effective
from drivers.modbus.sunspec import place
from gateway.driver import DeviceSpec, PointSpec
from gateway.model import Status, Value
from profiles.schema import Area, PointMap, resolve

SERIAL_REQUEST_COST: Final = 25
"""A request on a serial line costs some 25 ms, a register about 1 ms at 19200 baud."""

Decode = Callable[[bytes], list[tuple[int, Value, int]]]


@dataclass(slots=True)
class Block:
    """One request of the plan, ready to be sent, and the last that was answered."""

    request: Request
    raw: RawRequest
    size: int
    decode: Decode
    maps: Sequence[PointMap]
    numbers: tuple[int, ...]
    last: bytes | None = None
    status: int = Status.GOOD

    @property
    def point_numbers(self) -> tuple[int, ...]:
        numbers = (self.numbers[index] for index in self.request.points)
        return tuple(number for number in numbers if number >= 0)


@dataclass(slots=True)
class ClassPlan:
    """What one scan of one class does; `unread` are points that it can't read, with why."""

    blocks: list[Block]
    unread: list[tuple[int, int]]
    told: bool = False


@dataclass(slots=True)
class Layout:
    """The points of a device as they lie on this very device."""

    unit_id: int
    holds: Effective
    points: list[tuple[PointSpec, PointMap]]
    missing: dict[str, str]
    scan_classes: Mapping[str, int]
    serial: bool
    _all: tuple[PointSpec, ...] = ()
    _plans: dict[str, ClassPlan] = field(default_factory=dict)

    @classmethod
    def of(
        cls, device: DeviceSpec, holds: Effective, fact: Mapping[str, Any] | None, serial: bool
    ) -> Layout:
        """Resolve every point; `fact` is where the SunSpec models are. Raises ValueError."""
        specs = device.points
        maps = [resolve(spec.name, spec.settings, holds.defaults) for spec in specs]
        placed = place(maps, fact)
        missing = {specs[index].name: reason for index, reason in placed.missing.items()}
        points = [(s, m) for s, m in zip(specs, placed.points, strict=True) if m is not None]
        unit_id = device.settings.unit_id
        return cls(unit_id, holds, points, missing, device.scan_classes, serial, tuple(specs))

    @property
    def has_models(self) -> bool:
        return any(spec.settings.model is not None for spec in self._all)

    def map_of(self, name: str) -> PointMap | None:
        """Where a point lies, or None if this device lacks it."""
        return next((place for spec, place in self.points if spec.name == name), None)

    def replan(self) -> None:
        """Forget the plans: something was learned."""
        self._plans.clear()

    def forget(self) -> None:
        """Observe every point again at the next scan."""
        for prepared in self._plans.values():
            prepared.told = False
            for block in prepared.blocks:
                block.last, block.status = None, Status.GOOD

    def forget_point(self, name: str) -> None:
        """Observe a point (and what is read along with it) again at the next scan."""
        numbers = {spec.number for spec, _ in self.points if spec.name == name}
        for prepared in self._plans.values():
            for block in prepared.blocks:
                if not numbers.isdisjoint(block.point_numbers):
                    block.last = None

    def plan_of(self, scan_class: str, refusals: Refusals) -> ClassPlan:
        """The requests of a class, made once."""
        prepared = self._plans.get(scan_class)
        if prepared is None:
            prepared = self._plans[scan_class] = self._prepare(scan_class, refusals)
        return prepared

    def _prepare(self, scan_class: str, refusals: Refusals) -> ClassPlan:
        readable = [(s, m) for s, m in self.points if s.access.readable]
        every = [place for _, place in readable]
        wanted = [i for i, (spec, _) in enumerate(readable) if spec.scan_class == scan_class]
        chosen = [readable[i] for i in (*wanted, *scale_factors(every, wanted))]
        maps = [place for _, place in chosen]
        own = len(wanted)
        # Scale factors of another class are read along; that class observes them.
        numbers = [spec.number if i < own else -1 for i, (spec, _) in enumerate(chosen)]
        limits, quirks = self.holds.limits, self.holds.quirks
        others = self._unwanted(maps)
        untouched = volatile_ranges(others)
        safe = {m.name for m in every}
        known = [(m.area, m.address, m.address + m.words - 1) for m in others if m.name in safe]
        requests = plan(
            maps,
            limits,
            quirks,
            refusals.ranges,
            untouched=untouched,
            known=known,
            request_cost=SERIAL_REQUEST_COST if self.serial else REQUEST_COST,
        )
        barred = unreadable(maps, limits, refusals.ranges, untouched=untouched, known=known)
        unread = [
            (numbers[i], refusals.status_of(maps[i]) or Status.BAD_CONFIGURATION_ERROR)
            for i in barred
            if numbers[i] >= 0
        ]
        unread += [
            (spec.number, Status.BAD_CONFIGURATION_ERROR)
            for spec in self._all
            if spec.name in self.missing and spec.scan_class == scan_class and spec.access.readable
        ]
        blocks = [self.block(request, maps, numbers) for request in requests]
        return ClassPlan(blocks, unread)

    def _unwanted(self, maps: Sequence[PointMap]) -> list[PointMap]:
        wanted = {place.name for place in maps}
        return [place for _, place in self.points if place.name not in wanted]

    def block(
        self,
        request: Request,
        maps: Sequence[PointMap],
        numbers: Sequence[int],
    ) -> Block:
        """A request made ready; points with a negative number are read but not observed."""
        function = self.function(request.area)
        raw = RawRequest(
            self.unit_id, function, frames.read_payload(request.address, request.count)
        )
        size = frames.read_size(function, request.count)
        decode = compile_block(request, maps, numbers)
        return Block(request, raw, size, decode, maps, tuple(numbers))

    def function(self, area: Area) -> int:
        """The function code that reads an area of this device."""
        if area is Area.INPUT and self.holds.quirks.reads_by_fc03_only:
            return frames.READ_HOLDING
        return frames.READ_FUNCTION[area]

    def request_of(
        self, area: Area, first: int, last: int
    ) -> tuple[Request, list[PointMap], list[int]]:
        """The points that touch addresses [first, last], as one request over all of them."""
        touched = [
            (spec, place)
            for spec, place in self.points
            if place.area is area
            and place.address <= last
            and first < place.address + place.words
            and spec.access.readable
        ]
        touched.sort(key=lambda pair: pair[1].address)
        maps = [place for _, place in touched]
        start = min((place.address for place in maps), default=first)
        end = max((place.address + place.words for place in maps), default=first)
        request = Request(area, start, end - start, tuple(range(len(maps))))
        return request, maps, [spec.number for spec, _ in touched]

    def learn_limit(self, bits: bool, count: int) -> None:
        """The device refuses longer requests than this."""
        key = "max_read_bits" if bits else "max_read_words"
        limits = self.holds.limits.model_copy(update={key: count})
        self.holds = replace(self.holds, limits=limits)
        self.replan()
