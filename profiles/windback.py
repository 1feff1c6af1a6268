"""How a device hands over its own log, and its clock: the vocabulary of `windback:` and `clock:`.

Pure. Modbus has no history service; every vendor made one, but they fall into a handful of
families. A method is code (in a driver), a device is data (here). Parsed and validated now, so
that a profile can't say what no method could do.

Words are counted from 0; `at` counts words from the start of a record. Register addresses follow
the rules of points: 0-based integers, hex, or quoted Modicon numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, TypeAdapter, model_validator

from gateway.model import Duration, Settings
from profiles.registers import Area, ByteOrder, WireType, parse_address

if TYPE_CHECKING:
    from profiles.schema import Profile


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
    """A logged value: the point it belongs to, and its wire form (the point's own if absent)."""

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
    columns_at: int = Field(0, ge=0)
    column_type: WireType = WireType.FLOAT32
    byte_order: ByteOrder = ByteOrder.ABCD


class Log(Settings):
    """One log of a device; `columns` may be left to the site, `select` is what chooses it."""

    id: str
    select: int | None = None
    columns: tuple[Column, ...] = ()


class Method(Settings):
    """What every method says of itself, for planner and page.

    `lock`: what a lock of the device excludes. `destructive`: what makes the device forget. `ack`:
    where records must be durable before it may forget them, or never acknowledge (rules.md 8).
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

    REQUIRED: ClassVar[tuple[str, ...]] = ()

    def lacking(self) -> tuple[str, ...]:
        """Keys that the site must still give before this can be executed."""
        return tuple(key for key in self.REQUIRED if not getattr(self, key))


class NoLog(Method):
    """The device keeps no history that Modbus can reach."""

    method: Literal["none"]


class RingHeader(Settings):
    """Where the words of a ring's header lie, counted from its base."""

    magic_at: int = 0
    version_at: int = 1
    record_words_at: int = 2
    capacity_at: int = 3
    head_seq_at: int = 4
    oldest_seq_at: int = 6
    clock_at: int = 8
    clock_ms_at: int = 10
    flags_at: int = 11
    words: int = Field(12, ge=1, le=125)


class RingRecord(Settings):
    """Where the words of a ring's record lie; the last word repeats the low half of seq."""

    seq_at: int = 0
    time_at: int = 2
    ms_at: int = 4
    quality_at: int = 5
    columns_at: int = 6


class Ring(Method):
    """An array of records in PLC memory with a header; nothing is ever written by the reader.

    The reader keeps its own cursor, so Main, Standby and a third master may all read. A record
    counts if its seq is the expected one, its last word copies the low half of seq, and it is not
    older than `oldest_seq` read afterwards.
    """

    method: Literal["ring"]
    register_: Area = Field(Area.HOLDING, alias="register")
    address: int | str | None = Field(None, description="where the header begins")
    byte_order: ByteOrder = ByteOrder.ABCD
    magic: int = Field(0x5742, ge=0, le=0xFFFF)
    version: int = Field(1, ge=0, le=0xFFFF)
    header: RingHeader = RingHeader()
    record: RingRecord = RingRecord()
    columns: tuple[Column, ...] = ()

    REQUIRED: ClassVar[tuple[str, ...]] = ("columns",)

    def lacking(self) -> tuple[str, ...]:
        return (*(("address",) if self.address is None else ()), *super().lacking())

    @model_validator(mode="after")
    def _addressable(self) -> Ring:
        if self.address is not None:
            parse_address(self.address, 0)
        return self


class RecordSelect(Method):
    """Write a record number, read a block of records."""

    method: Literal["record_select"]
    select: Mapping[Literal["log", "start"], Register]
    status: Mapping[Literal["oldest", "newest", "available", "config_id", "columns"], Register] = {}
    data: Register
    data_words: int = Field(125, ge=1, le=125)
    header_words: int = Field(0, ge=0, le=124)
    column_words: int = Field(2, ge=1, le=4)
    record: Record
    not_there: tuple[int, ...] = Field((3,), description="exceptions that mean: no such record")

    @model_validator(mode="after")
    def _selects(self) -> RecordSelect:
        if "start" not in self.select:
            raise ValueError("record_select needs `select: {start: …}`")
        return self


class TimeSelect(Method):
    """Write a moment and a direction, read a block, ask for the next."""

    method: Literal["time_select"]
    moment: Register
    direction: Register | None = None
    forward: int = 1
    next: Register | None = None
    channel: Register | None = None
    data: Register
    data_words: int = Field(125, ge=1, le=125)
    record: Record
    newest_first: bool = False


class WindowSession(Method):
    """Lock a log, move a window over it, read, unlock."""

    method: Literal["window_session"]
    lock: Literal["none", "port", "device", "client"] = "port"
    idempotent: bool = False
    session: Register = Field(description="written to engage and disengage a log")
    engage: int
    disengage: int
    owner: Register | None = Field(None, description="which port holds the log; 0 free")
    own_port: Register | None = None
    window: Register
    window_words: int = Field(125, ge=1, le=125)
    control: Register = Field(description="records per window, repeat count, index")
    status: Mapping[Literal["used", "capacity", "record_bytes", "first", "last"], Register] = {}
    ready: int = 0
    record: Record


class Enron(Method):
    """Modified Modbus: the count field is the record's index; events are acknowledged by FC05."""

    method: Literal["enron"]
    archive: int = Field(ge=0, le=0xFFFF)
    pointer: Register | None = None
    capacity: int = Field(ge=1, le=65535)
    event_register: int | None = Field(None, ge=0, le=0xFFFF)
    record: Record


class Pointer(Method):
    """The device keeps a read pointer; reading may advance it."""

    method: Literal["pointer"]
    idempotent: bool = False
    pointer: Register
    unread: Register | None = None
    oldest: Register | None = None
    newest: Register | None = None
    data: Register
    data_words: int = Field(125, ge=1, le=125)
    settable: bool = Field(True, description="the wanted record can be written to the pointer")
    modulo: int | None = Field(None, ge=2, description="where the sequence starts again")
    record: Record


class FileRecord(Method):
    """Function 20: files of records."""

    method: Literal["file_record"]
    file: int = Field(ge=0, le=0xFFFF)
    first_record: int = Field(0, ge=0, le=0xFFFF)
    records: int = Field(ge=1, le=0x10000)
    unit_is_record: bool = Field(False, description="the length field counts records, not words")
    record: Record


class OpcUaHistory(Method):
    """HistoryRead raw, in slices of time."""

    method: Literal["opcua_history"]
    page: int = Field(1000, ge=1, le=100_000)
    slice_ns: Duration = Field(3_600_000_000_000, alias="slice")
    overlap_ns: Duration = Field(2_000_000_000, alias="overlap")
    return_bounds: bool = False


Windback = Annotated[
    NoLog
    | Ring
    | RecordSelect
    | TimeSelect
    | WindowSession
    | Enron
    | Pointer
    | FileRecord
    | OpcUaHistory,
    Field(discriminator="method"),
]
"""One of the methods, told apart by `method:`."""

METHODS: Final = (
    "ring",
    "record_select",
    "time_select",
    "window_session",
    "enron",
    "pointer",
    "file_record",
    "opcua_history",
    "none",
)
ADAPTER: Final[TypeAdapter[Windback]] = TypeAdapter(Windback)


class Clock(Settings):
    """How the device's clock is read and, only if asked for, set."""

    read: Register
    zone: str = "utc"
    resolution_ns: Duration = Field(1_000_000_000, alias="resolution")
    fraction: Register | None = None
    set: Literal["never", "on_request"] = "never"

    @model_validator(mode="after")
    def _formatted(self) -> Clock:
        if self.read.format is None:
            raise ValueError("a clock needs `read: {…, format: …}`, such as unix_s")
        return self


def effective(profile: Profile | None, site: Mapping[str, Any] | None) -> Windback | None:
    """The windback of a device: what its site says over what its profile says.

    A site that names another method than the profile replaces it; else its keys are laid over the
    profile's, one level deep. None: neither says anything. Raises pydantic.ValidationError, and
    ValueError naming the keys that the site must still give.
    """
    inherited = profile.windback if profile is not None else None
    if site is None:
        chosen = inherited
    elif inherited is None or site.get("method", inherited.method) != inherited.method:
        chosen = ADAPTER.validate_python(dict(site))
    else:
        # Only what the profile itself said, by the names a file uses.
        kept = inherited.model_dump(mode="python", by_alias=True, exclude_unset=True)
        for key in ("resolution", "depth", "slice", "overlap"):
            if isinstance(kept.get(key), int):
                kept[key] = f"{kept[key] // 1000}us"
        chosen = ADAPTER.validate_python(kept | dict(site))
    if chosen is not None and chosen.lacking():
        missing = ", ".join(f"`{key}:`" for key in chosen.lacking())
        raise ValueError(f"windback {chosen.method} still needs {missing}")
    return chosen
