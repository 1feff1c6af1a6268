"""One log with what its records say: columns, stamps, numbers, laid out as the profile tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.model import Value
from hil.outstation.devicelog import DeviceLog, Held, Moment, Running, Zone
from hil.outstation.encode import arrange, encode, no_value
from hil.outstation.stamps import fraction, stamp
from hil.plant import PlantPoint
from hil.settings import SiteError
from hil.truth import EPOCH_NS
from profiles.records import Column, Record, TimeFormat, Word
from profiles.registers import WORDS, ByteOrder, WireType

FULL: Final = b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Cell:
    """A column in its place: `at` words from the start of a record."""

    point: PlantPoint
    wire: WireType
    order: ByteOrder
    words: int
    at: int
    scale: float = 1.0
    offset: float = 0.0

    def data(self, held: Held, true_ns: int) -> bytes:
        """What the record says of the point."""
        raw = held.raw(self.point, true_ns)
        if raw is None:
            own = self.wire is self.point.place.type
            blank = no_value(self.wire, self.order, self.point.place.point.nan if own else ())
            if blank is not None:
                return blank
            raw = self.point.raw_at(true_ns)
        return self.encoded(raw)

    def encoded(self, raw: Value) -> bytes:
        """A raw value of the point in the form of the column."""
        settings = self.point.place.point
        if isinstance(raw, str):
            return encode(raw, self.wire, self.order, self.words, settings.encoding)
        if self.wire is WireType.BOOL:
            word = int(bool(raw)) << (settings.bit or 0)
            return arrange(word.to_bytes(2, "big"), self.order)
        assert isinstance(raw, int | float)
        number: int | float = raw
        if self.scale != 1 or self.offset != 0:
            number = (raw - self.offset) / self.scale
        number = float(number) if self.wire.is_float else round(number)
        return encode(number, self.wire, self.order)


def lay_out(
    columns: Sequence[Column],
    points: Mapping[str, PlantPoint],
    at: int,
    record: Record | None = None,
) -> tuple[Cell, ...]:
    """The columns of a record from word `at` on. Raises SiteError for one that is no point."""
    said = record.model_fields_set if record is not None else frozenset()
    cells = []
    for column in columns:
        point = points.get(column.point)
        if point is None:
            raise SiteError(f"the log has a column {column.point}, which is no point")
        own = point.place
        wire, order = own.type, own.byte_order
        if record is not None and "column_type" in said and wire is not WireType.STRING:
            wire = record.column_type
        if record is not None and "byte_order" in said:
            order = record.byte_order
        wire = column.type or wire
        words = own.words if wire is WireType.STRING else WORDS[wire]
        place = at if column.at is None else column.at
        cells.append(
            Cell(
                point,
                wire,
                column.byte_order or order,
                words,
                place,
                column.scale,
                column.offset,
            )
        )
        at = place + words
    return tuple(cells)


@dataclass(slots=True)
class Book:
    """One log of a device: when its records are made, and what is in them.

    `places` is the room for records, though the log may be told to hold fewer. `torn`: the newest
    record is only half written when it is read. `shift` and `select` are the profile's for this
    log, `clock` is how the device's clock runs now.
    """

    id: str
    log: DeviceLog
    held: Held
    zone: Zone
    cells: tuple[Cell, ...]
    places: int
    clock: Running
    select: int | None = None
    shift: Mapping[str, int] = field(default_factory=dict)
    torn: bool = False

    @property
    def words(self) -> int:
        """How far the columns reach."""
        return max((cell.at + cell.words for cell in self.cells), default=0)

    def wall(self, moment: Moment) -> tuple[int, bool]:
        """The wall time that a record's stamp shows, and whether the device calls it summer."""
        return self.zone.shown(moment.device_ns, moment.shift_s)

    def wall_at(self, true_ns: int) -> int:
        """The wall time that the device's clock shows at an instant."""
        device_ns = self.clock.device_at(true_ns)
        return self.wall(Moment(true_ns, device_ns, self.clock.shift_s))[0]

    def fill(self, data: bytearray, true_ns: int) -> None:
        """Put the columns into an empty record; several bits may be of one word."""
        for cell in self.cells:
            value = cell.data(self.held, true_ns)
            if cell.wire is WireType.BOOL:
                place = 2 * cell.at
                value = bytes((value[0] | data[place], value[1] | data[place + 1]))
            put(data, cell.at, value)

    def row(
        self, record: Record, index: int, words: int, quality: int = 0, modulo: int | None = None
    ) -> bytes:
        """One record as the profile lays it out, `words` long."""
        data = bytearray(2 * words)
        moment = self.log.moment(index)
        wall_ns, summer = self.wall(moment)
        if record.key is not None:
            key = index % (modulo or 2 ** (16 * WORDS[record.key.type]))
            put(data, record.key.at, encode(key, record.key.type, record.byte_order))
        put(data, record.time.at, stamped(record.time, wall_ns, record.byte_order, summer))
        if record.time.fraction is not None:
            part = record.time.fraction
            put(data, part.at, fraction(part, wall_ns, record.byte_order))
        if record.quality is not None:
            word = encode(quality, record.quality.type, record.byte_order)
            put(data, record.quality.at, word)
        self.fill(data, moment.true_ns)
        return bytes(data)

    def size(self, record: Record) -> int:
        """Words of a record: what the profile says, else as far as anything in it reaches."""
        if record.words is not None:
            return record.words
        return max(self.words, head_words(record))


def put(data: bytearray, at: int, value: bytes) -> None:
    """Words into a record, `at` words from its start."""
    data[2 * at : 2 * at + len(value)] = value


def stamped(word: Word, wall_ns: int, order: ByteOrder, summer: bool = False) -> bytes:
    """A wall time in the form of a word of a record."""
    return stamp(word.format or TimeFormat.UNIX_S, wall_ns, word.type, order, summer)


def head_words(record: Record) -> int:
    """How far number, stamp and quality of a record reach."""
    ends = [record.time.at + len(stamped(record.time, EPOCH_NS, record.byte_order)) // 2]
    parts = (record.key, record.quality, record.time.fraction)
    ends += [part.at + WORDS[part.type] for part in parts if part is not None]
    return max(ends)
