"""A record's words to number, stamp, status and values: compiled once for each layout. Pure.

A logged column is decoded by the same code as the point it belongs to, so it is scaled, checked
and published as the point itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from drivers.modbus.codec import compile_block
from drivers.modbus.log.places import number
from drivers.modbus.log.times import stamp_words, wall_ns, with_fraction
from drivers.modbus.plan import Request
from gateway.model import Status, Value, is_bad, is_good
from profiles.records import Column, Record, TimeFormat, Word
from profiles.registers import WORDS, Area, ByteOrder, WireType
from profiles.schema import ModbusPoint, PointMap, published_type

_SEVERITY: Final = 0xC0000000


class Entry(NamedTuple):
    """One record: its number as the device counts (None: it doesn't), its wall time, its values.

    `wall_ns` is None where the stamp is no moment, or the quality has one of `bad_bits`: such a
    record is damaged or none. `values` are (point number, value, status) with the record's own
    status applied; `quality` is its quality word as it came.
    """

    number: int | None
    wall_ns: int | None
    status: int
    values: tuple[tuple[int, Value, int], ...]
    quality: int = 0


class Points(NamedTuple):
    """The points that columns can name: all that are declared, and the numbers of the device's."""

    maps: Mapping[str, PointMap]
    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RecordForm:
    """How the records of one log are laid out on one device."""

    words: int
    record: Record
    _decode: Callable[[bytes], list[tuple[int, Value, int]]]

    @classmethod
    def of(
        cls,
        record: Record,
        columns: Sequence[Column],
        points: Points,
        *,
        words: int | None = None,
        own_types: bool = False,
    ) -> RecordForm:
        """Lay the columns out. `words`: of a record, where neither profile nor columns tell.

        `own_types`: columns are of their points' types whatever the record says of columns. Raises
        ValueError when the columns don't fit, or name a point that isn't declared.
        """
        said = frozenset() if own_types else record.model_fields_set
        type_ = record.column_type if "column_type" in said else None
        order = record.byte_order if "byte_order" in said else None
        maps: list[PointMap] = []
        cursor = record.columns_at
        for column in columns:
            at = cursor if column.at is None else column.at
            maps.append(_column(column, at, points, type_, order))
            cursor = at + maps[-1].words
        needed = max(head_words(record), cursor, *(m.address + m.words for m in maps), 0)
        size = record.words or words or needed
        if needed > size:
            raise ValueError(f"its columns need {needed} words, a record has {size}")
        request = Request(Area.HOLDING, 0, size, tuple(range(len(maps))))
        numbers = [points.numbers.get(column.point, -1) for column in columns]
        return cls(size, record, compile_block(request, maps, numbers))

    def number_of(self, words: Sequence[int]) -> int | None:
        """The number that a record carries."""
        key = self.record.key
        found = None if key is None else _at(words, key.at, key.type, self.record.byte_order)
        return None if found is None else int(found)

    def decode(self, words: Sequence[int]) -> Entry:
        """One record of `words` words."""
        record, quality = self.record, self.record.quality
        raw = 0
        if quality is not None:
            raw = int(_at(words, quality.at, quality.type, record.byte_order) or 0)
        # Bits with a meaning of their own are no StatusCode.
        status = Status.GOOD if record.bad_bits or record.last_bits else status_of(raw)
        values = self._decode(struct.pack(f">{self.words}H", *words))
        return Entry(
            self.number_of(words),
            None if raw & record.bad_bits else stamp(words, record.time, record.byte_order),
            status,
            tuple(values) if status == Status.GOOD else _lowered(values, status),
            raw,
        )


def head_words(record: Record) -> int:
    """How far number, stamp and quality of a record reach."""
    ends = [record.time.at + stamp_words(record.time.format or TimeFormat.UNIX_S, record.time.type)]
    if record.time.fraction is not None:
        ends.append(record.time.fraction.at + WORDS[record.time.fraction.type])
    words = (word for word in (record.key, record.quality) if word is not None)
    return max([*ends, *(word.at + WORDS[word.type] for word in words)])


def stamp(words: Sequence[int], time: Word, byte_order: ByteOrder) -> int | None:
    """The wall time of a record."""
    format_ = time.format or TimeFormat.UNIX_S
    size = stamp_words(format_, time.type)
    wall = wall_ns(format_, words[time.at : time.at + size], byte_order, time.type)
    if time.fraction is None:
        return wall
    fraction = _at(words, time.fraction.at, time.fraction.type, byte_order)
    return with_fraction(wall, fraction, time.fraction.unit)


def status_of(quality: int) -> int:
    """The Status that a record's quality word means.

    0 is good. Any other is the upper half of a StatusCode (OPC 10000-4 section 7.39): bit 15 bad,
    bit 14 uncertain; without either the device doubts its values in words of its own.
    """
    if quality == 0:
        return Status.GOOD
    code = (quality & 0xFFFF) << 16
    if is_bad(code):
        return code
    return code if code & _SEVERITY else Status.UNCERTAIN


def _lowered(
    values: Sequence[tuple[int, Value, int]], status: int
) -> tuple[tuple[int, Value, int], ...]:
    """Values under a record's status: a bad record has none, an own worse status stays."""
    if is_bad(status):
        return tuple((n, None, own if is_bad(own) else status) for n, _, own in values)
    return tuple((n, value, status if is_good(own) else own) for n, value, own in values)


def _at(words: Sequence[int], at: int, type_: WireType, order: ByteOrder) -> int | float | None:
    return number(words[at : at + WORDS[type_]], type_, order)


def _column(
    column: Column,
    at: int,
    points: Points,
    type_: WireType | None,
    byte_order: ByteOrder | None,
) -> PointMap:
    """A column as the point it belongs to, moved to its place inside the record."""
    own = points.maps.get(column.point)
    if own is None:
        raise ValueError(f"column `{column.point}` is no point of the device")
    kind = column.type or (own.type if _keeps_type(own) else type_ or own.type)
    point = own.point
    if kind is not own.type:
        # Sentinels are patterns of the point's own type; what is published stays as it is.
        published = {"publish_as": published_type(point), "nan": (), "bit": None, "type": kind}
        point = point.model_copy(update=published)
    if column.scale != 1 or column.offset != 0:
        point = _rescaled(point, column.scale, column.offset)
    words = own.words if kind is WireType.STRING else WORDS[kind]
    order = column.byte_order or byte_order or own.byte_order
    return replace(
        own, area=Area.HOLDING, address=at, words=words, type=kind, byte_order=order, point=point
    )


def _keeps_type(own: PointMap) -> bool:
    """Whether a point can't be logged as a number: a column's default type isn't meant for it."""
    return own.type is WireType.STRING


def _rescaled(point: ModbusPoint, scale: float, offset: float) -> ModbusPoint:
    """A point whose raw value is first scaled as its column says."""
    if point.sf is not None:
        raise ValueError("a column of a point with `sf:` can't be scaled")
    update: dict[str, object] = {"publish_as": published_type(point)}
    if point.range is not None and point.range.raw is not None:
        raw = tuple((end - offset) / scale for end in point.range.raw)
        update["range"] = point.range.model_copy(update={"raw": raw})
    else:
        update["scale"] = scale * point.scale
        update["offset"] = offset * point.scale + point.offset
    return point.model_copy(update=update)
