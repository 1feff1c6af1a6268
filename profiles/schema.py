"""The vocabulary of Modbus points and device profiles, shared by driver, configuration and rig.

Keys follow Telegraf (`register`, `address`, `type`, `byte_order`, `scale`), wb-mqtt-serial (limits)
and Home Assistant (`nan`). The value of a point is, in this order of operations,

    raw * scale + offset                                            always multiplied
    raw * 10.0 ** sf                                                with a SunSpec scale factor
    eu[0] + (raw - raw[0]) * (eu[1] - eu[0]) / (raw[1] - raw[0])    with a range that has both

and at most one of the three; `publish_as` converts the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from gateway.driver import PointSettings
from gateway.model import DataType, Settings
from profiles.registers import WORDS, Area, ByteOrder, WireType, parse_address
from profiles.windback import Clock, Windback

__all__ = [
    "WORDS",
    "Area",
    "Busy",
    "ByteOrder",
    "Defaults",
    "Example",
    "ExampleRecord",
    "Exchange",
    "Limits",
    "ModbusPoint",
    "PointMap",
    "Profile",
    "Quirks",
    "SunSpec",
    "WireType",
    "parse_address",
    "published_type",
    "resolve",
]

_DATA_TYPES: Final[dict[WireType, DataType]] = {
    WireType.BCD16: DataType.UINT16,
    WireType.BCD32: DataType.UINT32,
} | {wire: DataType(wire.value) for wire in WireType if wire.value in set(DataType)}


class ModbusPoint(PointSettings):
    """A point on a Modbus device, in a profile or in a site."""

    register_: Area | None = Field(None, alias="register")
    address: int | str = Field(
        description="0-based; hex; or a quoted Modicon number such as '43001'"
    )
    type: WireType = WireType.UINT16
    byte_order: ByteOrder | None = None
    bit: int | None = Field(None, ge=0, le=15, description="bool: bit of the register, 0 = lowest")
    length: int | None = Field(None, ge=1, le=125, description="string: registers")
    encoding: Literal["ascii", "latin-1", "utf-8", "utf-16-be", "utf-16-le"] = "ascii"
    scale: float = 1.0
    offset: float = 0.0
    sf: str | None = Field(None, description="point that holds the exponent: value = raw * 10^sf")
    nan: tuple[int | float | str, ...] = Field(
        (), description="raw values that mean: no value; integers: as bit pattern, too"
    )
    bits: dict[int, str] | None = Field(None, description="meaning of each bit of a bit field")
    model: int | None = Field(
        None, description="SunSpec model; address counts from its id register"
    )
    volatile: bool = Field(False, description="reading it has an effect: never read in passing")
    read_modify_write: bool = False
    write_multiple: bool = Field(False, description="write one register or coil by FC16 or FC15")

    @model_validator(mode="after")
    def _consistent(self) -> ModbusPoint:
        if self.type is WireType.STRING and self.length is None:
            raise ValueError("a string needs `length:` in registers")
        if self.type is not WireType.STRING and self.length is not None:
            raise ValueError("`length:` belongs to strings only")
        if self.bit is not None and self.type is not WireType.BOOL:
            raise ValueError("`bit:` belongs to `type: bool` only")
        if self.scale == 0:
            raise ValueError("`scale: 0` would lose the value")
        if not (math.isfinite(self.scale) and math.isfinite(self.offset)):
            raise ValueError("`scale:` and `offset:` must be finite numbers")
        self._one_scaling()
        self._published()
        for sentinel in self.nan:
            _sentinel(self.type, sentinel)
        if self.bits is not None:
            width = 16 * WORDS.get(self.type, 0)
            if self.type.is_float or self.type in (WireType.BOOL, WireType.STRING):
                raise ValueError("`bits:` names the bits of an integer")
            if any(not 0 <= bit < width for bit in self.bits):
                raise ValueError(f"`bits:` of {self.type} count from 0 to {width - 1}")
        return self

    def _one_scaling(self) -> None:
        linear = self.scale != 1 or self.offset != 0
        ranged = self.range is not None and self.range.raw is not None
        if linear + ranged + (self.sf is not None) > 1:
            raise ValueError("use one of `scale:`/`offset:`, `sf:` and `range: {raw: …}`")
        if linear or ranged or self.sf is not None:
            if self.type in (WireType.BOOL, WireType.STRING):
                raise ValueError(f"a {self.type} can't be scaled")
            if self.sf is not None and self.type.is_float:
                raise ValueError("`sf:` belongs to integers")

    def _published(self) -> None:
        target = self.publish_as
        if target is None:
            return
        text = (DataType.STRING, DataType.BYTES)
        if (self.type is WireType.STRING) != (target in text):
            raise ValueError(f"a {self.type} can't be published as {target}")


def _sentinel(type_: WireType, sentinel: float | str) -> None:
    """Check a `nan:` entry against the type of its point. Raises ValueError."""
    if type_ is WireType.STRING:
        if not isinstance(sentinel, str):
            raise ValueError("`nan:` of a string lists texts")
    elif type_ is WireType.BOOL:
        raise ValueError("a bool has no value to spare for `nan:`")
    elif isinstance(sentinel, str):
        if not type_.is_float:
            raise ValueError(f"`nan:` of {type_} lists raw integers, such as 0x8000")
        try:
            float(sentinel)
        except ValueError:
            raise ValueError("`nan:` lists numbers, such as 0x7FC00000 or 'nan'") from None
    elif not type_.is_float:
        width = 16 * WORDS[type_]
        lowest = -(1 << (width - 1)) if type_.is_signed else 0
        if not isinstance(sentinel, int) or not lowest <= sentinel < 1 << width:
            raise ValueError(f"`nan: [{sentinel}]` is no raw value of {type_}")


class Defaults(Settings):
    """What points of a profile say unless they say otherwise."""

    register_: Area = Field(Area.HOLDING, alias="register")
    byte_order: ByteOrder = ByteOrder.ABCD
    address_base: Literal[0, 1] = 0


class Busy(Settings):
    """What to do when the device says it is busy (exceptions 5 and 6)."""

    codes: tuple[int, ...] = (5, 6)
    backoff_ms: tuple[int, ...] = Field((50, 100, 200, 500), min_length=1, max_length=20)
    tries: int = Field(4, ge=1, le=20)


class Limits(Settings):
    """What one request may ask. `allowed_ranges` are inclusive wire addresses of each area."""

    max_read_words: int = Field(125, ge=1, le=125)
    max_read_bits: int = Field(2000, ge=1, le=2000)
    max_write_words: int = Field(123, ge=1, le=123)
    max_gap_words: int = Field(8, ge=0, le=124, description="undeclared registers read in passing")
    allowed_ranges: dict[Area, tuple[tuple[int, int], ...]] = {}
    min_gap_ms: int = Field(0, ge=0, le=10_000, description="silence between two requests")
    busy: Busy = Busy()

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Limits:
        for area, ranges in self.allowed_ranges.items():
            for first, last in ranges:
                if not 0 <= first <= last <= 0xFFFF:
                    raise ValueError(f"allowed_ranges of {area}: [{first}, {last}] is no stretch")
        return self


class Quirks(Settings):
    """Known departures from the specification."""

    ignore_tid: bool = Field(False, description="replies carry a wrong transaction id")
    one_request_per_point: bool = False
    has_fc22: bool = Field(False, description="mask write register works")
    reads_by_fc03_only: bool = Field(False, description="input registers are read with FC03")


class SunSpec(Settings):
    """Where to look for the 'SunS' mark, in order."""

    bases: tuple[int, ...] = Field((40000, 0, 50000), min_length=1, max_length=10)


class ExampleRecord(Settings):
    """One record of a log, as a worked example expects it to be read."""

    seq: int
    time: str = Field(description="ISO 8601, UTC")
    values: dict[str, bool | int | float | str | None]


class Exchange(Settings):
    """A request and its reply, in hexadecimal: unit address and PDU, without check bytes."""

    request: str
    reply: str


class Example(Settings):
    """A worked example: registers as the manual prints them, and the values they mean.

    `registers` maps a start address (of `area`) to consecutive 16-bit words, `expect` a point to
    its value (null: a Bad status). For a log, `site` says what a site would add to `windback:`,
    and `records` what must be read back, oldest first; `exchanges` are requests that no register
    read can say.
    """

    source: str
    area: Area | None = None
    registers: dict[int, tuple[int, ...]] = {}
    exchanges: tuple[Exchange, ...] = ()
    expect: dict[str, bool | int | float | str | None] = {}
    site: dict[str, Any] | None = None
    records: tuple[ExampleRecord, ...] = ()


class Profile(Settings):
    """A device family: its points, limits, quirks, clock and log, and where this was read."""

    profile: str
    version: int = Field(ge=1)
    vendor: str
    models: tuple[str, ...]
    status: Literal["manual", "field-tested"]
    source: str = Field(min_length=8)
    protocol: Literal["modbus"] = "modbus"
    description: str = ""
    defaults: Defaults = Defaults()
    limits: Limits = Limits()
    quirks: Quirks = Quirks()
    sunspec: SunSpec | None = None
    points: dict[str, ModbusPoint] = {}
    clock: Clock | None = None
    windback: Windback | None = None
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class PointMap:
    """Where a point lies and how it is read: every default applied, address on the wire.

    `address` is 0-based and absolute, or counts from the id register of SunSpec model `model`.
    """

    name: str
    area: Area
    address: int
    words: int
    type: WireType
    byte_order: ByteOrder
    point: ModbusPoint

    @property
    def model(self) -> int | None:
        return self.point.model


def resolve(name: str, point: ModbusPoint, defaults: Defaults) -> PointMap:
    """Apply the defaults to a point. Raises ValueError when it contradicts itself."""
    base = 0 if point.model is not None else defaults.address_base
    address, named_area = parse_address(point.address, base)
    area = point.register_ or named_area or defaults.register_
    if named_area is not None and point.register_ not in (None, named_area):
        raise ValueError(f"address {point.address} is a {named_area} but register says {area}")
    if area.is_bits and point.type is not WireType.BOOL:
        raise ValueError(f"a {area} holds a bool, not {point.type}")
    if area.is_bits and point.bit is not None:
        raise ValueError(f"a {area} is a single bit: `bit:` belongs to registers")
    if not area.is_bits and point.type is WireType.BOOL and point.bit is None:
        raise ValueError("a bool in a register needs `bit:`")
    if point.access.writable and area in (Area.DISCRETE, Area.INPUT):
        raise ValueError(f"a {area} can't be written: use access: r")
    words = point.length if point.length is not None else WORDS[point.type]
    if address + words > 0x10000:
        raise ValueError(f"the value ends beyond address 65535 (starts at {address})")
    byte_order = point.byte_order or defaults.byte_order
    return PointMap(name, area, address, words, point.type, byte_order, point)


def published_type(point: ModbusPoint) -> DataType:
    """The type of a point after scaling: Double if it is scaled, unless `publish_as` says."""
    if point.publish_as is not None:
        return point.publish_as
    scaled = point.scale != 1 or point.offset != 0 or point.sf is not None
    if scaled or (point.range is not None and point.range.raw is not None):
        return DataType.FLOAT64
    return _DATA_TYPES[point.type]
