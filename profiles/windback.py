"""How a device hands over its own log, and its clock: the vocabulary of `windback:` and `clock:`.

Pure. Modbus has no history service; every vendor made one, but they fall into a handful of
families. A method is code (in a driver), a device is data (here). Parsed and validated now, so
that a profile can't say what no method could do.

The words for records, columns and clocks are in `records`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, model_validator

from gateway.model import Duration, Settings
from profiles.records import (
    Clock,
    Column,
    ColumnMap,
    Fraction,
    Log,
    Logs,
    Method,
    Record,
    Register,
    TimeFormat,
    Word,
)
from profiles.registers import Area, ByteOrder, parse_address

if TYPE_CHECKING:
    from profiles.schema import Profile

__all__ = [
    "ADAPTER",
    "METHODS",
    "Clock",
    "Column",
    "ColumnMap",
    "Enron",
    "FileRecord",
    "Fraction",
    "Log",
    "Method",
    "NoLog",
    "OpcUaHistory",
    "Pointer",
    "Record",
    "RecordSelect",
    "Register",
    "Ring",
    "RingHeader",
    "RingRecord",
    "TimeFormat",
    "TimeSelect",
    "Windback",
    "WindowSession",
    "Word",
    "effective",
    "overlay",
]


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
    older than `oldest_seq` read afterwards. A PLC with several rings lists them in `logs`, each
    with its columns and how far it is shifted: `shift: {address: 2000}`.
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

    def lacking(self) -> tuple[str, ...]:
        missing = ["address"] if self.address is None else []
        if not self.columns and not (self.logs and all(log.columns for log in self.logs)):
            missing.append("columns")
        return tuple(missing)

    @model_validator(mode="after")
    def _addressable(self) -> Ring:
        if self.address is not None:
            parse_address(self.address, 0)
        return self


class RecordSelect(Logs):
    """Write a record number, read a block of records.

    Without `status: {oldest, newest}` both are found by asking: what is not there is refused with
    one of `not_there`. Without `available` a block holds one record.
    """

    method: Literal["record_select"]
    select: Mapping[Literal["log", "start"], Register]
    status: Mapping[
        Literal["oldest", "newest", "available", "max_records", "config_id", "columns"], Register
    ] = {}
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


class TimeSelect(Logs):
    """Write a moment and a direction, read a block, ask for the next by writing 1 to `next`.

    A moment leads to the first record at or after it. What is all ones is no record; `newest_first`
    tells the order inside a block. `channel` gets the log's `select`. Where the device reads is one
    place for all who ask.
    """

    method: Literal["time_select"]
    idempotent: bool = False
    moment: Register
    direction: Register | None = None
    forward: int = 1
    next: Register | None = None
    channel: Register | None = None
    data: Register
    data_words: int = Field(125, ge=1, le=125)
    record: Record
    newest_first: bool = False


class WindowSession(Logs):
    """Lock a log, move a window over it, read, unlock.

    What is written to `session` has the log's `select` in its high byte and `engage` or
    `disengage` in its low byte. `control` are three words: records per window (high byte) and
    `repeat` (low byte), then the wanted index, 32 bits. The first word of the window has its state
    in the high byte (`ready`, `not_ready`), the low 24 bits of the first two the index of its first
    record. With `repeat` 1 reading the window's last word moves it on. On engaging, the oldest
    record becomes index 0. With `filler`, record 0 of a log that never was full is none (all
    0xFF). A lock ends by itself `unlock_after` the last request.
    """

    method: Literal["window_session"]
    lock: Literal["none", "port", "device", "client"] = "port"
    idempotent: bool = False
    session: Register = Field(description="written to engage and disengage a log")
    engage: int = Field(ge=0, le=0xFF)
    disengage: int = Field(ge=0, le=0xFF)
    owner: Register | None = Field(None, description="which port holds the log; 0 free")
    disabled: int | None = Field(None, description="what `owner` says of a log that is off")
    own_port: Register | None = None
    unlock_after_ns: Duration | None = Field(None, alias="unlock_after")
    window: Register
    window_words: int = Field(125, ge=3, le=125)
    control: Register = Field(description="records per window, repeat count, index")
    repeat: int = Field(1, ge=0, le=1)
    status: Mapping[Literal["used", "capacity", "record_bytes", "first", "last"], Register] = {}
    settings: ColumnMap | None = None
    ready: int = 0
    not_ready: int = 0xFF
    filler: bool = False
    record: Record

    @property
    def discovers(self) -> bool:
        """Whether the device itself says what it records."""
        return self.settings is not None


class Enron(Logs):
    """Modified Modbus: the count field is the record's index; events are acknowledged by FC05.

    A 32-bit value is one register: `pointer`, read with count 1, is answered with four bytes.
    Records lie in places 1 to capacity (a log's `depth_records`) and are overwritten in turn.
    FC03 of `event_register` gives as many unread events as fit, 20 bytes each: u16 bits, u16
    register, f32 time, f32 date, f32 old, f32 new; FC05 of the same address with FF00 clears them.
    """

    method: Literal["enron"]
    archive: int = Field(ge=0, le=0xFFFF)
    pointer: Register | None = None
    pointer_is: Literal["newest", "next"] = "newest"
    capacity: int = Field(ge=1, le=65535)
    event_register: int | None = Field(None, ge=0, le=0xFFFF)
    record: Record


class Pointer(Logs):
    """The device keeps a read pointer; reading may advance it.

    A sequence number that is written to `pointer` and isn't there is refused with `not_there`.
    `next` has the number that the next record will get (0: the log is empty).
    """

    method: Literal["pointer"]
    idempotent: bool = False
    pointer: Register
    unread: Register | None = None
    oldest: Register | None = None
    newest: Register | None = None
    next: Register | None = None
    data: Register
    data_words: int = Field(125, ge=1, le=125)
    settable: bool = Field(True, description="the wanted record can be written to the pointer")
    advances: bool = Field(True, description="reading moves the pointer to the record after")
    modulo: int | None = Field(None, ge=2, description="where the sequence starts again")
    not_there: tuple[int, ...] = Field((3,), description="exceptions that mean: no such record")
    record: Record


class FileRecord(Logs):
    """Function 20: files of records.

    The log with `shift: {file: n}` lies n files further. Records lie in places `first_record` to
    `first_record + records - 1` and are overwritten in turn; `newest` has the place of the newest.
    The record number of a request is a place with `unit_is_record`, else the word in the file
    where the place begins: place times words of a record (Modbus Application Protocol V1.1b3
    section 6.14).
    """

    method: Literal["file_record"]
    file: int = Field(ge=0, le=0xFFFF)
    first_record: int = Field(0, ge=0, le=0xFFFF)
    records: int = Field(ge=1, le=0x10000)
    unit_is_record: bool = Field(False, description="the length field counts records, not words")
    newest: Register | None = None
    not_there: tuple[int, ...] = Field((2, 3), description="exceptions that mean: no such record")
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


_DURATIONS: Final = frozenset(
    {"resolution", "depth", "slice", "overlap", "unlock_after", "intervals"}
)


def _as_said(value: Any, key: str = "") -> Any:
    """A dumped model as a file would say it: durations with their unit."""
    if isinstance(value, Mapping):
        return {k: _as_said(v, key if key in _DURATIONS else str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_as_said(item) for item in value]
    return f"{value // 1000}us" if key in _DURATIONS and isinstance(value, int) else value


def overlay(inherited: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What a site says of a log, laid over what its profile says; both as in a file.

    Another method than the profile's replaces it; else key by key. `logs:` chooses: each log that
    the site names gets what the profile says of a log with that id, and the site's words over it.
    """
    if said.get("method", inherited.get("method")) != inherited.get("method"):
        return dict(said)
    found = {**inherited, **said}
    logs = said.get("logs")
    if isinstance(logs, list | tuple):
        known = {log["id"]: log for log in inherited.get("logs") or ()}
        found["logs"] = [
            {**known.get(log.get("id"), {}), **log} if isinstance(log, Mapping) else log
            for log in logs
        ]
    return found


def effective(profile: Profile | None, site: Mapping[str, Any] | None) -> Windback | None:
    """The windback of a device: what its site says over what its profile says.

    None: neither says anything. Raises pydantic.ValidationError, and ValueError naming the keys
    that the site must still give.
    """
    inherited = profile.windback if profile is not None else None
    if site is None:
        chosen = inherited
    else:
        # Only what the profile itself said, by the names a file uses.
        dumped = inherited.model_dump(by_alias=True, exclude_unset=True) if inherited else {}
        known: dict[str, Any] = _as_said(dumped)
        chosen = ADAPTER.validate_python(overlay(known, site) if known else dict(site))
    if chosen is not None and chosen.lacking():
        missing = ", ".join(f"`{key}:`" for key in chosen.lacking())
        raise ValueError(f"windback {chosen.method} still needs {missing}")
    return chosen
