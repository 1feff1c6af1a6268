"""The registers and bits of one unit, brought up to date only as far as somebody asks.

An image holds the wire form of every value. A heap knows when each point steps next: a request
first re-encodes the points that stepped since the last one and then is one slice, so a poll costs
the same whether the device has ten points or ten thousand.

A written value stays until `reset`, whatever the truth says meanwhile.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.model import Value
from hil.outstation.encode import encode, no_value
from hil.plant import PlantPoint
from hil.truth import EPOCH_NS
from profiles.schema import Area, ByteOrder, PointMap, WireType

HOLE: Final = 0
ZERO: Final = ord("0")
ONE: Final = ord("1")
UNIMPLEMENTED: Final = b"\xff\xff"
"""SunSpec's "not implemented" in most types, for offsets of a model that no point declares."""


class Bank:
    """One of the four tables: `width` bytes an address (2: registers; 1: a bit as ASCII 0 or 1).

    `valid[i]` is 1 where address `base + i` exists, `starts[i]` where a value begins or none lies.
    """

    def __init__(self, low: int, high: int, width: int) -> None:
        count = high - low + 1
        self.base, self.count, self.width = low, count, width
        self.data = bytearray(bytes(2 * count) if width == 2 else b"0" * count)
        self.valid = bytearray(count)
        self.starts = bytearray(b"\1" * (count + 1))
        self.locked = bytearray(count)

    def allow(self, low: int, high: int) -> None:
        """Make an inclusive stretch of addresses exist."""
        self.valid[low - self.base : high - self.base + 1] = b"\1" * (high - low + 1)

    def forbid(self, low: int, high: int) -> None:
        """Make an inclusive stretch of addresses not exist (what lies beyond never did)."""
        first, last = max(0, low - self.base), min(self.count, high - self.base + 1)
        if first < last:
            self.valid[first:last] = bytes(last - first)

    def holds(self, address: int, count: int, whole: bool = False) -> bool:
        """Whether every address exists and, with `whole`, no value is cut."""
        first = address - self.base
        if first < 0 or first + count > self.count or self.valid.find(0, first, first + count) >= 0:
            return False
        return not whole or bool(self.starts[first] and self.starts[first + count])

    def put(self, address: int, data: bytes) -> None:
        """Store the wire form of a value."""
        first = (address - self.base) * self.width
        self.data[first : first + len(data)] = data


class Memory:
    """All tables of one unit, and the truth that moves them."""

    def __init__(
        self,
        points: Sequence[PlantPoint],
        addresses: Mapping[str, int],
        constants: Mapping[Area, Mapping[int, bytes]],
        ranges: Mapping[Area, Sequence[tuple[int, int]]],
        refused: Mapping[Area, Sequence[tuple[int, int]]],
        whole: bool = False,
    ) -> None:
        """`addresses` gives the absolute address of each point; `constants` blocks that never
        change; `ranges` what exists besides; `refused` what doesn't, points or not."""
        self.whole = whole
        self.banks: dict[Area, Bank] = {}
        self._points = [p for p in points if p.bit_of is None]
        self._at = [addresses[p.name] for p in self._points]
        self._places: list[PointMap] = [p.place for p in self._points]
        self._blanks = [
            no_value(m.type, m.byte_order, m.point.nan) if m.type in BLANKABLE else None
            for m in self._places
        ]
        self._heap: list[tuple[int, int]] = []
        self._written: set[int] = set()
        self._frozen = False
        self._blank = False
        self._lay_out(constants, ranges, refused)
        self.reset(EPOCH_NS)

    def _lay_out(
        self,
        constants: Mapping[Area, Mapping[int, bytes]],
        ranges: Mapping[Area, Sequence[tuple[int, int]]],
        refused: Mapping[Area, Sequence[tuple[int, int]]],
    ) -> None:
        extent: dict[Area, list[tuple[int, int]]] = {a: list(r) for a, r in ranges.items()}
        for place, at in zip(self._places, self._at, strict=True):
            extent.setdefault(place.area, []).append((at, at + place.words - 1))
        for area, blocks in constants.items():
            for at, data in blocks.items():
                extent.setdefault(area, []).append((at, at + len(data) // 2 - 1))
        for area, stretches in extent.items():
            if not stretches:
                continue
            low, high = min(s[0] for s in stretches), max(s[1] for s in stretches)
            bank = self.banks[area] = Bank(low, high, 1 if area.is_bits else 2)
            for stretch in stretches:
                bank.allow(*stretch)
            for stretch in refused.get(area, ()):
                bank.forbid(*stretch)
            for at, data in constants.get(area, {}).items():
                bank.put(at, data)
        for point, place, at in zip(self._points, self._places, self._at, strict=True):
            bank = self.banks[place.area]
            first = at - bank.base
            bank.starts[first + 1 : first + place.words] = bytes(place.words - 1)
            if not point.access.writable:
                bank.locked[first : first + place.words] = b"\1" * place.words

    def reset(self, time_ns: int) -> None:
        """Forget what was written and what was faulted: the truth of `time_ns` holds again."""
        self._written.clear()
        self._frozen = self._blank = False
        self._refill(time_ns)

    def freeze(self, time_ns: int, frozen: bool) -> None:
        """Let every value stand still from now on, or move again."""
        self.advance(time_ns)
        self._frozen = frozen

    def blank(self, time_ns: int, blank: bool) -> None:
        """Let every value that can say "no value" say so, or hold its truth again."""
        self._blank = blank
        if blank:
            for number, data in enumerate(self._blanks):
                if data is not None and number not in self._written:
                    self.banks[self._places[number].area].put(self._at[number], data)
        else:
            self._refill(time_ns)

    def _refill(self, time_ns: int) -> None:
        self._heap = []
        for number in range(len(self._points)):
            if number not in self._written:
                self._renew(number, time_ns)
        heapq.heapify(self._heap)

    def _renew(self, number: int, time_ns: int) -> None:
        signal = self._points[number].signal
        index = signal.index_at(time_ns)
        self._store(number, signal.value_of(index))
        self._heap.append((signal.starts_at(index + 1), number))

    def _store(self, number: int, value: Value) -> None:
        place = self._places[number]
        bank = self.banks[place.area]
        if place.area.is_bits:
            bank.data[self._at[number] - bank.base] = ONE if value else ZERO
        elif place.point.bit is not None:
            swapped = place.byte_order in (ByteOrder.BADC, ByteOrder.DCBA)
            second = (place.point.bit < 8) is not swapped
            first = (self._at[number] - bank.base) * 2 + second
            mask = 1 << (place.point.bit % 8)
            bank.data[first] = bank.data[first] | mask if value else bank.data[first] & ~mask
        else:
            bank.put(
                self._at[number],
                encode(value, place.type, place.byte_order, place.words, place.point.encoding),
            )

    def advance(self, time_ns: int) -> None:
        """Bring the image up to an instant: only what stepped since is encoded again."""
        heap = self._heap
        if self._frozen or not heap or heap[0][0] > time_ns:
            return
        while heap[0][0] <= time_ns:
            number = heap[0][1]
            signal = self._points[number].signal
            index = signal.index_at(time_ns)
            heapq.heapreplace(heap, (signal.starts_at(index + 1), number))
            if number in self._written or (self._blank and self._blanks[number] is not None):
                continue
            self._store(number, signal.value_of(index))

    # ------------------------------------------------------------------ what requests do

    def read_words(self, area: Area, address: int, count: int) -> bytes | None:
        """The bytes of `count` registers, or None where they don't exist."""
        bank = self.banks.get(area)
        if bank is None or not bank.holds(address, count, self.whole):
            return None
        first = (address - bank.base) * 2
        return bytes(bank.data[first : first + 2 * count])

    def read_bits(self, area: Area, address: int, count: int) -> bytes | None:
        """Bits packed as the specification has it (first bit lowest), or None."""
        bank = self.banks.get(area)
        if bank is None or not bank.holds(address, count):
            return None
        first = address - bank.base
        digits = bytes(bank.data[first : first + count][::-1])
        return int(digits, 2).to_bytes((count + 7) // 8, "little")

    def write(self, area: Area, address: int, data: bytes) -> bool:
        """Store registers (two bytes each) or bits (a byte 0 or 1 each); False where refused."""
        bank = self.banks.get(area)
        count = 0 if bank is None else len(data) // bank.width
        if bank is None or not bank.holds(address, count):
            return False
        first = address - bank.base
        if bank.locked.find(1, first, first + count) >= 0:
            return False
        bank.put(address, data if bank.width == 2 else bytes(ZERO + bit for bit in data))
        self._written.update(self._touched(area, address, count))
        return True

    def _touched(self, area: Area, address: int, count: int) -> Iterable[int]:
        for number, place in enumerate(self._places):
            at = self._at[number]
            if place.area is area and at < address + count and address < at + place.words:
                yield number


BLANKABLE: Final = frozenset(WireType) - {WireType.BOOL, WireType.STRING}
