"""The words of design.md section 1 as types: what every package may speak about.

Everything here is a value: no clock, no socket, no chance.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, NamedTuple, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000

Value = bool | int | float | str | bytes | None
"""What a point may hold. `None` goes with a Bad status; a `datetime` point is int ns in UTC."""


class DataType(StrEnum):
    """The published type of a point; each has one OPC UA built-in type."""

    BOOL = "bool"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    BYTES = "bytes"
    DATETIME = "datetime"


INTEGER_RANGES: Final[dict[DataType, tuple[int, int]]] = {
    DataType.INT8: (-(2**7), 2**7 - 1),
    DataType.UINT8: (0, 2**8 - 1),
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.UINT64: (0, 2**64 - 1),
}
FLOAT_TYPES: Final = frozenset({DataType.FLOAT32, DataType.FLOAT64})
NUMERIC_TYPES: Final = frozenset(INTEGER_RANGES) | FLOAT_TYPES


class Access(StrEnum):
    """What clients may do with a point."""

    READ = "r"
    WRITE = "w"
    READ_WRITE = "rw"

    @property
    def readable(self) -> bool:
        return self is not Access.WRITE

    @property
    def writable(self) -> bool:
        return self is not Access.READ


class Origin(IntEnum):
    """Where a sample came from."""

    POLL = 0
    SUBSCRIPTION = 1
    WINDBACK = 2
    WRITE = 3
    SUBSTITUTE = 4
    GAP = 5
    """No sample: a row of a raw read that says that nothing is known from its time on."""


class Cause(StrEnum):
    """Why a stretch of time is not covered (rules.md 3)."""

    DEVICE = "device"
    LINK = "link"
    NODE_DOWN = "node_down"
    OVERRUN = "overrun"
    DISABLED = "disabled"
    STORE = "store"
    CLOCK = "clock"
    RETENTION = "beyond_retention"
    OTHER_MASTER = "other_master"
    STARTING = "starting"


class GapState(StrEnum):
    """What became of a gap, by what the device's own log could give (rules.md 3)."""

    OPEN = "open"
    FILLING = "filling"
    FILLED = "filled"
    COARSE = "coarse"
    LOST = "lost"


class Status:
    """OPC UA StatusCodes (OPC 10000-6 A.2): the only quality vocabulary there is."""

    GOOD: Final = 0x00000000
    GOOD_LOCAL_OVERRIDE: Final = 0x00960000
    GOOD_NO_DATA: Final = 0x00A50000
    GOOD_MORE_DATA: Final = 0x00A60000
    UNCERTAIN: Final = 0x40000000
    UNCERTAIN_NO_COMMUNICATION_LAST_USABLE: Final = 0x408F0000
    UNCERTAIN_LAST_USABLE: Final = 0x40900000
    UNCERTAIN_SUBSTITUTE_VALUE: Final = 0x40910000
    UNCERTAIN_INITIAL_VALUE: Final = 0x40920000
    UNCERTAIN_SENSOR_NOT_ACCURATE: Final = 0x40930000
    UNCERTAIN_EU_EXCEEDED: Final = 0x40940000
    UNCERTAIN_SUB_NORMAL: Final = 0x40950000
    BAD: Final = 0x80000000
    BAD_INTERNAL_ERROR: Final = 0x80020000
    BAD_OUT_OF_MEMORY: Final = 0x80030000
    BAD_RESOURCE_UNAVAILABLE: Final = 0x80040000
    BAD_COMMUNICATION_ERROR: Final = 0x80050000
    BAD_DECODING_ERROR: Final = 0x80070000
    BAD_TIMEOUT: Final = 0x800A0000
    BAD_SERVICE_UNSUPPORTED: Final = 0x800B0000
    BAD_SHUTDOWN: Final = 0x800C0000
    BAD_SERVER_HALTED: Final = 0x800E0000
    BAD_TOO_MANY_OPERATIONS: Final = 0x80100000
    BAD_USER_ACCESS_DENIED: Final = 0x801F0000
    BAD_NO_COMMUNICATION: Final = 0x80310000
    BAD_WAITING_FOR_INITIAL_DATA: Final = 0x80320000
    BAD_NODE_ID_INVALID: Final = 0x80330000
    BAD_NODE_ID_UNKNOWN: Final = 0x80340000
    BAD_ATTRIBUTE_ID_INVALID: Final = 0x80350000
    BAD_INDEX_RANGE_INVALID: Final = 0x80360000
    BAD_INDEX_RANGE_NO_DATA: Final = 0x80370000
    BAD_NOT_READABLE: Final = 0x803A0000
    BAD_NOT_WRITABLE: Final = 0x803B0000
    BAD_OUT_OF_RANGE: Final = 0x803C0000
    BAD_NOT_SUPPORTED: Final = 0x803D0000
    BAD_NOT_FOUND: Final = 0x803E0000
    BAD_OBJECT_DELETED: Final = 0x803F0000
    BAD_NOT_IMPLEMENTED: Final = 0x80400000
    BAD_WRITE_NOT_SUPPORTED: Final = 0x80730000
    BAD_TYPE_MISMATCH: Final = 0x80740000
    BAD_CONFIGURATION_ERROR: Final = 0x80890000
    BAD_NOT_CONNECTED: Final = 0x808A0000
    BAD_DEVICE_FAILURE: Final = 0x808B0000
    BAD_SENSOR_FAILURE: Final = 0x808C0000
    BAD_OUT_OF_SERVICE: Final = 0x808D0000
    BAD_NO_DATA: Final = 0x809B0000
    BAD_DATA_LOST: Final = 0x809D0000
    BAD_DATA_UNAVAILABLE: Final = 0x809E0000
    BAD_INVALID_STATE: Final = 0x80AF0000


_STATUS_NAMES: Final[dict[int, str]] = {
    code: "".join(part.capitalize() for part in name.split("_"))
    for name, code in vars(Status).items()
    if isinstance(code, int)
}


def status_name(code: int) -> str:
    """The name of a StatusCode without its info bits, or its hexadecimal form."""
    return _STATUS_NAMES.get(code & 0xFFFF0000, f"0x{code:08X}")


def is_good(code: int) -> bool:
    """Whether the severity bits of a StatusCode say Good (OPC 10000-4 section 7.39)."""
    return code & 0xC0000000 == 0


def is_bad(code: int) -> bool:
    """Whether the severity bits of a StatusCode say Bad."""
    return code & 0x80000000 != 0


class Term(NamedTuple):
    """One reign as Main: exactly one writer, even in a split. Ordered by number first."""

    number: int
    node: str
    nonce: int

    def __str__(self) -> str:
        return f"{self.number}.{self.node}.{self.nonce:016x}"


class Position(NamedTuple):
    """The identity of a journal record; `seq` counts from 1 without holes inside a term."""

    term: Term
    seq: int

    def __str__(self) -> str:
        return f"{self.term}/{self.seq}"


class Sample(NamedTuple):
    """(point, source time in ns UTC, value, status); `point` is its number in the revision."""

    point: int
    time_ns: int
    value: Value
    status: int


class HistoryRow(NamedTuple):
    """One stored sample of one point, with where it came from and when it was learned."""

    time_ns: int
    value: Value
    status: int
    received_ns: int
    origin: Origin
    position: Position


class HistoryPage(NamedTuple):
    """Rows in reading order, and where to go on (opaque to the caller; None: that was all)."""

    rows: list[HistoryRow]
    cursor: tuple[int, ...] | None


class HistoryReader(Protocol):
    """What history is read through; times are ns UTC, points are named `device/point`."""

    async def read(
        self,
        point: str,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: tuple[int, ...] | None = None,
        reverse: bool = False,
    ) -> HistoryPage:
        """The samples in [from, to), oldest first, or newest first with `reverse`."""

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        """The last sample at or before an instant, or None."""

    async def after(self, point: str, time_ns: int) -> HistoryRow | None:
        """The first sample after an instant, or None."""

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        """The stretches of [from, to) that coverage does not cover, by scan class, in order."""


class Gap(NamedTuple):
    """A stretch of one device and scan class that coverage does not cover: [from, to).

    `state` is that of its worst point (open, lost, coarse, filled, in this order); `points` names
    the device's points in that state where others of the class are better off, and `why` says why.
    `resolution_ns` is that of the log where any point of the class is coarse; what was wound back
    has times known to `uncertainty_ns`, as well as the device's clock was.
    """

    device: str
    scan_class: str
    from_ns: int
    to_ns: int
    cause: Cause
    state: GapState = GapState.OPEN
    why: str = ""
    points: tuple[str, ...] = ()
    resolution_ns: int = 0
    uncertainty_ns: int = 0


# ------------------------------------------------------------------ quantities as people write them

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|min|h|d|w)\s*\Z")
_DURATION_NS: Final = {
    "us": 1_000,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86_400 * NS_PER_S,
    "w": 7 * 86_400 * NS_PER_S,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*\Z")
_SIZE_BYTES: Final = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


def parse_duration(text: object) -> int:
    """A duration such as `200ms`, `1s`, `1.5m`, `30d`, in ns; ValueError tells what to write."""
    match = _DURATION.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("write a number with a unit: 200ms, 1s, 5m, 2h or 30d")
    return round(float(match[1]) * _DURATION_NS[match[2]])


def parse_size(text: object) -> int:
    """A size such as `10GB` or `64MiB`, in bytes; ValueError tells what to write."""
    match = _SIZE.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("write a number with a unit: 500MB, 10GB or 64MiB")
    return round(float(match[1]) * _SIZE_BYTES[match[2]])


def format_duration(ns: int) -> str:
    """A duration as a person writes it, in the largest unit that divides it."""
    for unit in ("w", "d", "h", "m", "s", "ms", "us"):
        size = _DURATION_NS[unit]
        if ns >= size and ns % size == 0:
            return f"{ns // size}{unit}"
    return "0s" if ns == 0 else f"{ns / NS_PER_MS:g}ms"


def format_time(time_ns: int) -> str:
    """A UTC time in ISO 8601 with milliseconds, such as `2026-11-22T09:30:00.125Z`."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % NS_PER_S // NS_PER_MS:03d}Z"


def parse_time(text: str) -> int:
    """An ISO 8601 time in ns UTC; without an offset it is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_S + moment.microsecond * 1_000


_DURATION_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": r"^\d+(\.\d+)?(us|ms|s|m|min|h|d|w)$",
    "examples": ["200ms", "1s", "30d"],
}
_SIZE_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": r"^\d+(\.\d+)?([kKMGT]?i?B)$",
    "examples": ["500MB", "10GB"],
}
Duration = Annotated[
    int, BeforeValidator(parse_duration), Field(json_schema_extra=_DURATION_SCHEMA)
]
"""ns in the program, `200ms` in a file. Models give the field a name in `_ns` and an alias."""
Size = Annotated[int, BeforeValidator(parse_size), Field(json_schema_extra=_SIZE_SCHEMA)]
"""Bytes in the program, `10GB` in a file."""


class Settings(BaseModel):
    """The base of every model that a file fills: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)
