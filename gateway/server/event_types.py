"""The types of our events: by table, so that both nodes have the same NodeIds.

Each is derived from a standard type (OPC 10000-5 section 6.4), so that a client that knows only
those shows it. A field that is ours has its browse name in the site's namespace. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway.server.content_filter import Path
from gateway.server.event_values import (
    DATE_TIME,
    NODE_ID,
    NULL,
    STRING,
    UINT32,
    Field,
    Id,
    Moment,
    Plain,
)

SITE: Final = 2
"""The namespace index of the site, on both nodes."""
BASE: Final = Id(0, 2041)
SYSTEM: Final = Id(0, 2130)
DEVICE_FAILURE: Final = Id(0, 2131)
AUDIT: Final = Id(0, 2052)
AUDIT_UPDATE: Final = Id(0, 2099)
AUDIT_WRITE: Final = Id(0, 2100)
OVERFLOW: Final = Id(0, 3035)
REFRESH_START: Final = Id(0, 2787)
REFRESH_END: Final = Id(0, 2788)
OFF_NORMAL_ALARM: Final = Id(0, 10637)
ALARM_IDS: Final = frozenset(
    {OFF_NORMAL_ALARM, BASE, *(Id(0, n) for n in (2782, 2881, 2915, 10523))}
)
"""OffNormalAlarmType and what it is derived from: Condition, AcknowledgeableCondition,
AlarmCondition and DiscreteAlarm (OPC 10000-9 section 5.8)."""
CONDITION: Final = Id(0, 2782)
SYSTEM_CONDITION_CLASS: Final = Id(0, 11166)

SERVER: Final = Id(0, 2253)
"""The Server object."""
SITE_NODE: Final = Id(SITE, "#Site")
NODE: Final = Id(SITE, "#Node")


def standard_path(name: str) -> Path:
    """The path of a field of a standard type."""
    return ((0, name),)


def own_path(name: str) -> Path:
    """The path of a field of one of our types."""
    return ((SITE, name),)


class FieldType(NamedTuple):
    """One field that a type of ours adds; `kind` is its built-in type, which is its DataType."""

    name: str
    kind: int
    description: str


class EventType(NamedTuple):
    """A type of ours; `lineage` are the standard types above it, the nearest first."""

    name: str
    lineage: tuple[Id, ...]
    description: str
    fields: tuple[FieldType, ...] = ()
    above: EventType | None = None
    abstract: bool = False

    @property
    def type_id(self) -> Id:
        return Id(SITE, f"#Type/{self.name}")

    @property
    def parent(self) -> Id:
        return self.lineage[0] if self.above is None else self.above.type_id

    @property
    def ids(self) -> frozenset[Id]:
        """Itself and all types above it."""
        upper = frozenset(self.lineage) if self.above is None else self.above.ids
        return upper | {self.type_id}


_SYSTEM: Final = (SYSTEM, BASE)
NOTABLE: Final = EventType(
    "NotableEventType", _SYSTEM, "Something that people should know; `hotpair events` lists it."
)
CONNECTION_LOST: Final = EventType(
    "ConnectionLostEventType", (DEVICE_FAILURE, *_SYSTEM), "A device no longer answers."
)
CONNECTION_RESTORED: Final = EventType(
    "ConnectionRestoredEventType", _SYSTEM, "A device answers again."
)
ROLE_CHANGED: Final = EventType(
    "RoleChangedEventType",
    _SYSTEM,
    "A node of the pair took a role.",
    (
        FieldType("Node", STRING, "The name of the node."),
        FieldType("Role", STRING, "starting, standby (syncing), standby (synced) or main."),
        FieldType("Term", STRING, "The term that it reigns in; null if it reigns in none."),
        FieldType("Why", STRING, "What made it take the role."),
    ),
)
GAP: Final = EventType(
    "GapEventType",
    _SYSTEM,
    "History has a gap, or had one.",
    (
        FieldType("Device", STRING, "The device."),
        FieldType("ScanClass", STRING, "The scan class of the points that lack values."),
        FieldType("FromTime", DATE_TIME, "Where the stretch begins."),
        FieldType("ToTime", DATE_TIME, "Where it ends; null while it goes on."),
        FieldType("Cause", STRING, "Why nothing was collected, or what can't be filled."),
    ),
    abstract=True,
)
GAP_OPENED: Final = EventType("GapOpenedEventType", _SYSTEM, "A gap begins.", above=GAP)
GAP_CLOSED: Final = EventType(
    "GapClosedEventType", _SYSTEM, "Values are collected again: a gap has its end.", above=GAP
)
GAP_FILLED: Final = EventType(
    "GapFilledEventType",
    _SYSTEM,
    "A stretch of a gap was judged against the device's own log.",
    (
        FieldType("Outcome", STRING, "filled, coarse (the log is slower than the scan) or lost."),
        FieldType("Points", UINT32, "How many points this holds for."),
    ),
    above=GAP,
)
OPERATION: Final = EventType(
    "OperationEventType",
    (AUDIT, BASE),
    "Somebody did something, or tried to.",
    (
        FieldType("Action", STRING, "What was done."),
        FieldType("Target", STRING, "To what."),
    ),
)
ALL: Final = (
    NOTABLE,
    CONNECTION_LOST,
    CONNECTION_RESTORED,
    ROLE_CHANGED,
    GAP,
    GAP_OPENED,
    GAP_CLOSED,
    GAP_FILLED,
    OPERATION,
)
"""In an order in which each follows the one above it."""
WRITE_IDS: Final = frozenset({AUDIT_WRITE, AUDIT_UPDATE, AUDIT, BASE})
OVERFLOW_IDS: Final = frozenset({OVERFLOW, BASE})


class Event:
    """One event: its type, whom it concerns, and its fields.

    `device` is empty where it is of no device. One that is `audit` says who did what; one that is
    `always` told passes every filter. What is sent of a field is encoded once, however many
    clients are told.
    """

    __slots__ = ("_encoded", "_fields", "always", "audit", "device", "type_ids")

    def __init__(
        self,
        type_ids: frozenset[Id],
        fields: Iterable[tuple[Path, Field]],
        device: str = "",
        audit: bool = False,
        always: bool = False,
    ) -> None:
        self.type_ids = type_ids
        self.device = device
        self.audit = audit
        self.always = always
        self._fields = dict(fields)
        self._encoded: dict[Path, bytes] = {}

    def is_of(self, type_id: Id) -> bool:
        """Whether its type is this one or derived from it."""
        return type_id in self.type_ids

    def value(self, type_id: Id | None, path: Path) -> Plain:
        """A field; null where the event has none, or is not of the type."""
        found = self._fields.get(path)
        if found is None or (type_id is not None and type_id not in self.type_ids):
            return None
        return found.value

    def encoded(self, type_id: Id | None, path: Path) -> bytes:
        """The same as a Variant."""
        if type_id is not None and type_id not in self.type_ids:
            return NULL
        known = self._encoded.get(path)
        if known is None:
            found = self._fields.get(path)
            if found is None:
                return NULL
            known = self._encoded[path] = found.encoded()
        return known


def moment(time_ns: int) -> Field:
    """A DateTime field."""
    return Field(DATE_TIME, Moment(time_ns))


def node(found: Id) -> Field:
    """A NodeId field."""
    return Field(NODE_ID, found)
