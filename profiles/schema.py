"""The vocabulary of Modbus points and device profiles, shared by driver, configuration and rig.

Keys follow Telegraf (`register`, `address`, `type`, `byte_order`, `scale`), wb-mqtt-serial (limits)
and Home Assistant (`nan`). Value = raw * scale + offset, always multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from gateway.driver import PointSettings
from gateway.model import DataType, Settings


class Area(StrEnum):
    """The four Modbus tables (Modbus Application Protocol V1.1b3 section 4.3)."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"

    @property
    def is_bits(self) -> bool:
        return self in (Area.COIL, Area.DISCRETE)


class ByteOrder(StrEnum):
    """How the bytes of a 32-bit value ABCD arrive; 64-bit values follow the same rule by words."""

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"


class WireType(StrEnum):
    """How a value lies in registers."""

    BOOL = "bool"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    BCD16 = "bcd16"
    BCD32 = "bcd32"


WORDS: Final[dict[WireType, int]] = {
    WireType.BOOL: 1,
    WireType.INT16: 1,
    WireType.UINT16: 1,
    WireType.BCD16: 1,
    WireType.INT32: 2,
    WireType.UINT32: 2,
    WireType.FLOAT32: 2,
    WireType.BCD32: 2,
    WireType.INT64: 4,
    WireType.UINT64: 4,
    WireType.FLOAT64: 4,
}
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
    nan: tuple[int | str, ...] = Field((), description="raw values that mean: no value; or 'nan'")
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
        return self


class Defaults(Settings):
    """What points of a profile say unless they say otherwise."""

    register_: Area = Field(Area.HOLDING, alias="register")
    byte_order: ByteOrder = ByteOrder.ABCD
    address_base: Literal[0, 1] = 0


class Busy(Settings):
    """What to do when the device says it is busy (exceptions 5 and 6)."""

    codes: tuple[int, ...] = (5, 6)
    backoff_ms: tuple[int, ...] = (50, 100, 200, 500)
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


class Quirks(Settings):
    """Known departures from the specification."""

    ignore_tid: bool = Field(False, description="replies carry a wrong transaction id")
    one_request_per_point: bool = False
    has_fc22: bool = Field(False, description="mask write register works")
    reads_by_fc03_only: bool = Field(False, description="input registers are read with FC03")


class SunSpec(Settings):
    """Where to look for the 'SunS' mark, in order."""

    bases: tuple[int, ...] = (40000, 0, 50000)


class Example(Settings):
    """A worked example: registers as the manual prints them, and the values they mean.

    `registers` maps a start address (of `area`) to consecutive 16-bit words.
    """

    source: str
    area: Area | None = None
    registers: dict[int, tuple[int, ...]]
    expect: dict[str, bool | int | float | str | None]


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
    clock: dict[str, Any] | None = None
    windback: dict[str, Any] | None = None
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


_MODICON: Final = {"0": Area.COIL, "1": Area.DISCRETE, "3": Area.INPUT, "4": Area.HOLDING}


def parse_address(address: int | str, base: int) -> tuple[int, Area | None]:
    """The 0-based wire address, and the area if a Modicon number names it. Raises ValueError.

    `43001`, `400001`, `4x0001` count from 1 whatever the base; integers count from `base`.
    """
    if isinstance(address, int):
        wire, area = address - base, None
    else:
        text = address.strip().lower()
        if text[1:2] == "x" and text[0] in _MODICON and text[2:].isdigit():
            area, wire = _MODICON[text[0]], int(text[2:]) - 1
        elif text.isdigit() and len(text) in (5, 6) and text[0] in _MODICON:
            area, wire = _MODICON[text[0]], int(text[1:]) - 1
        else:
            raise ValueError(
                "write 0-based 0x1000 or 4096, or a Modicon number '43001' or '4x3001'"
            )
    if not 0 <= wire <= 0xFFFF:
        raise ValueError(f"address {address} is outside 0..65535")
    return wire, area


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
