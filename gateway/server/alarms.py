"""Alarms: what is wrong now, as conditions with a state (OPC 10000-9 sections 5.5 to 5.8).

A lost device and an open gap are OffNormalAlarms. What is wrong is read from the field as it is
now, never from what was told before; so a node that becomes Main has its alarms by itself. Who
acknowledged, and with which comment, is known to this node only, and on record. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.model import NS_PER_S
from gateway.server import event_types as types
from gateway.server.content_filter import Path
from gateway.server.event_types import Event, moment, node, standard_path
from gateway.server.event_values import (
    BOOLEAN,
    BYTE_STRING,
    LOCALIZED_TEXT,
    NODE_ID,
    STATUS_CODE,
    STRING,
    UINT16,
    Field,
    Id,
)

NO_NODE: Final = Id(0, 0)
EVENT_IDS_MAX: Final = 20
"""How many notifications of a condition may still be acknowledged or commented; the newest."""
GAP_DELAY_NS: Final = 10 * NS_PER_S
"""A gap is an alarm once it is so old: each start and each takeover has one for a moment."""
COMMENT_MAX: Final = 1_000
"""Characters of a comment."""
OVER_SEVERITY: Final = 200
GOOD: Final = 0
UNCERTAIN_LAST_USABLE: Final = 0x40900000
_ALARM: Final = "#Alarm."
NOT_WATCHED: Final = "this node watches it no more"


class Trouble(NamedTuple):
    """Something that is wrong with a device; `name` tells its troubles apart."""

    device: str
    name: str
    since_ns: int
    text: str
    severity: int

    @property
    def condition_id(self) -> Id:
        return Id(types.SITE, f"{self.device}{_ALARM}{self.name}")


def is_condition(found: Id) -> bool:
    """Whether a NodeId is of the form of our ConditionIds."""
    return found.namespace == types.SITE and _ALARM in str(found.identifier)


class Watched(NamedTuple):
    """What this node knows of the field now: what doesn't answer, and what nobody shall poll."""

    lost: list[Trouble]
    disabled: frozenset[str] = frozenset()


def lost(device: str, since_ns: int, detail: str) -> Trouble:
    """A device that doesn't answer."""
    return Trouble(device, "Lost", since_ns, f"{device} lost: {detail}", 700)


def open_gap(device: str, scan_class: str, since_ns: int, cause: str) -> Trouble:
    """Values of a scan class are not collected."""
    text = f"{device}/{scan_class}: a gap is open ({cause})"
    return Trouble(device, f"Gap.{scan_class}", since_ns, text, 500)


def all_wrong(watched: Watched, gaps: Iterable[Trouble], now_ns: int) -> list[Trouble]:
    """What people should know of devices in service: a lost one's gaps go without saying."""
    silent = watched.disabled | {found.device for found in watched.lost}
    old = [gap for gap in gaps if now_ns - gap.since_ns >= GAP_DELAY_NS]
    return [*watched.lost, *(gap for gap in old if gap.device not in silent)]


class AlarmRefused(Exception):
    """What was asked of a condition can't be done."""


class UnknownEvent(AlarmRefused):
    """No notification of a condition that is retained has this EventId."""


class AlreadyAcknowledged(AlarmRefused):
    """Nothing of it waits for an acknowledgement."""


class Said(NamedTuple):
    """What somebody said of a condition last."""

    who: str
    comment: str
    at_ns: int


_NOTHING: Final = Said("", "", 0)


@dataclass(slots=True)
class _Condition:
    """One condition while it is retained: active, or not yet acknowledged."""

    trouble: Trouble
    active: bool
    acked: bool
    at_ns: int
    changed_ns: int
    event_id: bytes
    text: str
    severity: int
    last_severity: int = 0
    quality: int = GOOD
    said: Said = _NOTHING
    known: list[bytes] = field(default_factory=list)
    """The EventIds that may be named, the oldest first."""

    @property
    def retained(self) -> bool:
        return self.quality == GOOD and (self.active or not self.acked)


class Alarms:
    """The conditions of a site; `name` makes EventIds."""

    def __init__(self, name: Callable[[], bytes]) -> None:
        self._name = name
        self._conditions: dict[Id, _Condition] = {}

    def look(self, troubles: Iterable[Trouble] | None, now_ns: int) -> list[Event]:
        """What changed, given all that is wrong now; None where this node doesn't watch."""
        if troubles is None:
            return self._forgotten(now_ns)
        wrong = {found.condition_id: found for found in troubles}
        told = []
        for condition_id, condition in list(self._conditions.items()):
            if condition.active and condition_id not in wrong:
                told.append(self._over(condition, now_ns))
        for condition_id, trouble in wrong.items():
            known = self._conditions.get(condition_id)
            if known is None or not known.active:
                told.append(self._begins(condition_id, trouble, known, now_ns))
        return told

    def retained(self) -> list[Event]:
        """Every condition that somebody should know, as it was told last: for a refresh."""
        return [_event(found) for found in self._conditions.values()]

    def acknowledge(
        self, condition_id: Id, event_id: bytes, who: str, comment: str | None, now_ns: int
    ) -> Event:
        """Somebody has seen it; None leaves the comment. Raises AlarmRefused."""
        condition = self._named(condition_id, event_id)
        if condition.acked:
            raise AlreadyAcknowledged
        condition.acked = True
        return self._says(condition, who, comment, now_ns)

    def comment(
        self, condition_id: Id, event_id: bytes, who: str, comment: str | None, now_ns: int
    ) -> Event:
        """Somebody has something to say of it. Raises AlarmRefused."""
        return self._says(self._named(condition_id, event_id), who, comment, now_ns)

    # ------------------------------------------------------------------------------- inside

    def _named(self, condition_id: Id, event_id: bytes) -> _Condition:
        condition = self._conditions.get(condition_id)
        if condition is None or event_id not in condition.known:
            raise UnknownEvent
        return condition

    def _begins(
        self, condition_id: Id, trouble: Trouble, known: _Condition | None, now_ns: int
    ) -> Event:
        condition = _Condition(
            trouble, True, False, trouble.since_ns, now_ns, b"", trouble.text, trouble.severity
        )
        if known is not None:
            condition.last_severity, condition.said = known.severity, known.said
        self._conditions[condition_id] = condition
        return self._told(condition, now_ns)

    def _over(self, condition: _Condition, now_ns: int) -> Event:
        condition.active, condition.at_ns = False, now_ns
        condition.text = f"over: {condition.trouble.text}"
        condition.last_severity, condition.severity = condition.severity, OVER_SEVERITY
        return self._told(condition, now_ns)

    def _says(self, condition: _Condition, who: str, comment: str | None, now_ns: int) -> Event:
        text = condition.said.comment if comment is None else comment[:COMMENT_MAX]
        condition.said = Said(who, text, now_ns)
        return self._told(condition, now_ns)

    def _forgotten(self, now_ns: int) -> list[Event]:
        """Nothing is known any more: whoever shows a condition shall show it no longer."""
        told = []
        for condition in list(self._conditions.values()):
            condition.quality, condition.text = UNCERTAIN_LAST_USABLE, NOT_WATCHED
            told.append(self._told(condition, now_ns))
        return told

    def _told(self, condition: _Condition, now_ns: int) -> Event:
        """The notification of a state that is new."""
        condition.event_id, condition.changed_ns = self._name(), now_ns
        condition.known = [*condition.known, condition.event_id][-EVENT_IDS_MAX:]
        if not condition.retained:
            self._conditions.pop(condition.trouble.condition_id, None)
        return _event(condition)


def _event(condition: _Condition) -> Event:
    """What is told of its state."""
    trouble, said = condition.trouble, condition.said
    values: Mapping[str, Field] = {
        "EventId": Field(BYTE_STRING, condition.event_id),
        "EventType": node(types.OFF_NORMAL_ALARM),
        "SourceNode": node(Id(types.SITE, trouble.device)),
        "SourceName": Field(STRING, trouble.device),
        "Time": moment(condition.changed_ns),
        "ReceiveTime": moment(condition.changed_ns),
        "Message": Field(LOCALIZED_TEXT, condition.text),
        "Severity": Field(UINT16, condition.severity),
        "ConditionClassId": node(types.SYSTEM_CONDITION_CLASS),
        "ConditionClassName": Field(LOCALIZED_TEXT, "SystemConditionClassType"),
        "ConditionName": Field(STRING, trouble.name),
        "BranchId": node(NO_NODE),
        "Retain": Field(BOOLEAN, condition.retained),
        "ClientUserId": Field(STRING, said.who),
        "InputNode": node(NO_NODE),
        "NormalState": node(NO_NODE),
        "SuppressedOrShelved": Field(BOOLEAN, False),
    }
    fields: list[tuple[Path, Field]] = [
        ((), Field(NODE_ID, trouble.condition_id)),
        *((standard_path(name), found) for name, found in values.items()),
        *_state("EnabledState", True, "Enabled", "Disabled"),
        *_state("AckedState", condition.acked, "Acknowledged", "Unacknowledged"),
        *_state("ActiveState", condition.active, "Active", "Inactive", condition.at_ns),
        *_variable("Quality", Field(STATUS_CODE, condition.quality), condition.changed_ns),
        *_variable("LastSeverity", Field(UINT16, condition.last_severity), condition.at_ns),
        *_variable("Comment", Field(LOCALIZED_TEXT, said.comment), said.at_ns),
    ]
    return Event(types.ALARM_IDS, fields, trouble.device)


def _state(
    name: str, holds: bool, yes: str, no: str, since_ns: int | None = None
) -> Iterable[tuple[Path, Field]]:
    """A TwoStateVariable (clause 5.2)."""
    yield standard_path(name), Field(LOCALIZED_TEXT, yes if holds else no)
    yield ((0, name), (0, "Id")), Field(BOOLEAN, holds)
    if since_ns is not None:
        yield ((0, name), (0, "TransitionTime")), moment(since_ns)


def _variable(name: str, value: Field, at_ns: int) -> Iterable[tuple[Path, Field]]:
    """A ConditionVariable (clause 5.3); 0 is a time that never was."""
    yield standard_path(name), value
    if at_ns:
        yield ((0, name), (0, "SourceTimestamp")), moment(at_ns)


def bracket(type_id: Id, event_id: bytes, text: str, now_ns: int) -> Event:
    """The event before, or behind, the conditions of a refresh (clause 5.11).

    It reaches every item of the subscription, whatever its filter (clause 4.5).
    """
    return Event(
        frozenset({type_id, types.SYSTEM, types.BASE}),
        [
            (standard_path("EventId"), Field(BYTE_STRING, event_id)),
            (standard_path("EventType"), node(type_id)),
            (standard_path("SourceNode"), node(types.SERVER)),
            (standard_path("SourceName"), Field(STRING, "Server")),
            (standard_path("Time"), moment(now_ns)),
            (standard_path("ReceiveTime"), moment(now_ns)),
            (standard_path("Message"), Field(LOCALIZED_TEXT, text)),
            (standard_path("Severity"), Field(UINT16, 1)),
        ],
        always=True,
    )
