"""How records of a log and a device's clock are laid out: the words that all methods share.

Pure vocabulary, below `windback`, which has the methods. Words are counted from 0; `at` counts
words from the start of a record. Register addresses follow the rules of points: 0-based integers,
hex, or quoted Modicon numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, model_validator

from gateway.model import Duration, Settings
from profiles.registers import Area, ByteOrder, WireType, parse_address


class TimeFormat(StrEnum):
    """How devices write a moment (seen in the wild; see the profile's source for the zone)."""

    UNIX_S = "unix_s"
    UNIX_MS = "unix_ms"
    SINCE_2000_S = "since_2000_s"
    BYTES_YMDHMS = "bytes_ymdhms"
    """six bytes, year since 2000; the high bits of each are flags (EIG)"""
    PACKED_YMDHMS = "packed_ymdhms"
    """three words yy/mm dd/hh mi/ss (CET, ABB relays)"""
    PACKED_YMDHMS_MS = "packed_ymdhms_ms"
    """the same and a fourth word of milliseconds"""
    FLOAT_MMDDYY_HHMMSS = "float_mmddyy_hhmmss"
    """two float32: date, then time (Enron)"""
    FLOAT_HHMMSS_MMDDYY = "float_hhmmss_mmddyy"
    """two float32: time, then date (Enron events)"""
    INT_YYMMDD_HHMMSS = "int_yymmdd_hhmmss"
    """two int32: 00YYMMDD, then 00HHMMSS (OMNI)"""
    WORDS_YMDHMS = "words_ymdhms"
    """six words: year, month, day, hour, minute, second"""


class Register(Settings):
    """One value at an address of the device, to be read or written by a method."""

    register_: Area = Field(Area.HOLDING, alias="register")
    address: int | str
    type: WireType = WireType.UINT16
    byte_order: ByteOrder = ByteOrder.ABCD
    format: TimeFormat | None = None

    @model_validator(mode="after")
    def _addressable(self) -> Register:
        parse_address(self.address, 0)
        return self


class Fraction(Settings):
    """The part of a second that a device keeps in a field of its own."""

    at: int = Field(ge=0)
    type: WireType = WireType.UINT16
    unit: Literal["ms", "us"]


class Word(Settings):
    """One value inside a record, `at` words from its start."""

    at: int = Field(ge=0)
    type: WireType = WireType.UINT16
    format: TimeFormat | None = None
    fraction: Fraction | None = None


class Column(Settings):
    """A logged value: the point it belongs to, and its wire form (the point's own if absent).

    What is logged, times `scale` plus `offset`, is the point's raw value. A column without a type
    has the record's `column_type` where that is said, else the point's; text stays text. A bool is
    a word with the point's `bit` (0 where it has none).
    """

    point: str
    type: WireType | None = None
    byte_order: ByteOrder | None = None
    at: int | None = Field(None, ge=0, description="words from the record's start; else in order")
    scale: float = 1.0
    offset: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, data: Any) -> Any:
        return {"point": data} if isinstance(data, str) else data


class Record(Settings):
    """How one record is laid out."""

    words: int | None = Field(None, ge=1, le=125)
    key: Word | None = None
    time: Word
    quality: Word | None = None
    bad_bits: int = Field(0, ge=0, le=0xFFFF, description="of `quality`: this is no record")
    last_bits: int = Field(0, ge=0, le=0xFFFF, description="of `quality`: this is the newest")
    columns_at: int = Field(0, ge=0)
    column_type: WireType = WireType.FLOAT32
    byte_order: ByteOrder = ByteOrder.ABCD


class Log(Settings):
    """One log of a device; `columns` may be left to the site, `select` is what chooses it.

    `shift` says how many addresses further than its method tells a part of this log lies, by the
    method's key (`status`, `settings`, `data`, `select`, `pointer`, `archive`; a number shifts all
    registers of that key). `resolution` and `depth_records` are this log's own.
    """

    id: str
    select: int | None = None
    shift: Mapping[str, int] = {}
    columns: tuple[Column, ...] = ()
    resolution_ns: Duration | None = Field(None, alias="resolution")
    depth_records: int | None = Field(None, ge=1)


class ColumnMap(Settings):
    """Where a device keeps which registers a log records, so that nobody has to say it again.

    One word has their count (in its high byte with `count_in`), from `identifiers_at` on each word
    is the wire address of a register; a value of two registers is listed by both. `intervals` says
    what a bit of the word at `interval_at` means.
    """

    register_: Area = Field(Area.HOLDING, alias="register")
    address: int | str
    words: int = Field(ge=1, le=125, description="of which one read has all")
    count_at: int = Field(0, ge=0)
    count_in: Literal["word", "high_byte"] = "word"
    interval_at: int | None = Field(None, ge=0)
    intervals: Mapping[int, Duration] = {}
    identifiers_at: int = Field(ge=0)

    @model_validator(mode="after")
    def _addressable(self) -> ColumnMap:
        parse_address(self.address, 0)
        return self


class Method(Settings):
    """What every method says of itself, for planner and page.

    `resolution` is the interval at which the device makes records; how fine its stamps are is said
    by their format. `lock`: what a lock of the device excludes. `destructive`: what makes the
    device forget. `ack`: where records must be durable before it may forget them, or never
    acknowledge (rules.md 8).
    """

    idempotent: bool = True
    exclusive: Literal["none", "client", "port", "device"] = "none"
    lock: Literal["none", "port", "device", "client"] = "none"
    destructive: Literal["no", "ack", "advance"] = "no"
    per_client_cursor: bool = False
    zone: str = Field("utc", description="utc, local, or a zone such as Europe/Prague")
    resolution_ns: Duration | None = Field(None, alias="resolution")
    depth_records: int | None = Field(None, ge=1)
    depth_ns: Duration | None = Field(None, alias="depth")
    ack: Literal["both", "local", "never"] = "both"
    order: Literal["newest", "oldest"] = Field("newest", description="which gaps come first")
    budget_percent: int = Field(20, ge=1, le=80, description="share of the device's polling time")
    logs: tuple[Log, ...] = ()

    def lacking(self) -> tuple[str, ...]:
        """Keys that the site must still give before this can be executed."""
        return ()


class Logs(Method):
    """A method whose logs are listed, each with its columns."""

    @property
    def discovers(self) -> bool:
        """Whether the device itself says what it records."""
        return False

    def lacking(self) -> tuple[str, ...]:
        if not self.logs:
            return ("logs",)
        if self.discovers or all(log.columns for log in self.logs):
            return ()
        return ("logs: columns",)


class Clock(Settings):
    """How the device's clock is read and, only if asked for, set."""

    read: Register
    zone: str = "utc"
    resolution_ns: Duration = Field(1_000_000_000, alias="resolution")
    fraction: Register | None = None
    fraction_unit: Literal["ms", "us"] = "ms"
    set: Literal["never", "on_request"] = "never"

    @model_validator(mode="after")
    def _formatted(self) -> Clock:
        if self.read.format is None:
            raise ValueError("a clock needs `read: {…, format: …}`, such as unix_s")
        return self
