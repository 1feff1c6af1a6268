"""What the journal's records are as OPC UA events: the one source, for this and every surface.

Pure. An event is told when its record was committed, never before; its EventId is the record's
position, so that both nodes give the same one. Where a gap begins and ends is read from coverage.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from gateway.journal.records import BACK, LOST, Audit, Coverage, Fill, Hole, Record, Role
from gateway.journal.records import Event as Noted
from gateway.model import NS_PER_S, Position, Term, status_name
from gateway.server import event_types as types
from gateway.server.content_filter import Path
from gateway.server.event_types import Event, EventType, moment, node, own_path, standard_path
from gateway.server.event_values import (
    ANY,
    BOOLEAN,
    BYTE_STRING,
    LOCALIZED_TEXT,
    STRING,
    UINT16,
    UINT32,
    Field,
    Id,
)

LATE_MAX_NS: Final = 3600 * NS_PER_S
"""What the other node tells later than this is history: `hotpair events` has it."""
ROLE_SEVERITY: Final = 500
OPENED_SEVERITY: Final = 500
CLOSED_SEVERITY: Final = 200
FILL_SEVERITIES: Final = {"filled": 200, "coarse": 300, "lost": 600}
AUDIT_SEVERITY: Final = 200
REFUSED_SEVERITY: Final = 400
VALUE_ATTRIBUTE: Final = 13

_KINDS: Final = {LOST: types.CONNECTION_LOST, BACK: types.CONNECTION_RESTORED}
TOLD: Final = (Fill, Noted, Role, Audit)
"""The kinds of records that may be events, beside coverage."""
TEXT_MAX: Final = 2_000
"""Characters of a message, and of a written value: filters look at each. The journal has all."""
SHOWN_MAX: Final = 100
"""Characters of a written value in a message."""
OVERFLOW_SEVERITY: Final = 500
Key = tuple[str, str]


class Stretch(NamedTuple):
    """[from, to) in ns UTC, and why nothing was collected in it."""

    from_ns: int
    to_ns: int
    cause: str


class Told(NamedTuple):
    """A gap of a scan class that opened or closed; several that closed at once are one."""

    event_type: EventType
    key: Key
    stretch: Stretch
    number: int = 1


Fields = list[tuple[Path, Field]]


class Notices:
    """Makes events of records; `knows` says whether there is a device of that name."""

    def __init__(self, server_id: str, knows: Callable[[str], bool]) -> None:
        self._server_id = server_id
        self._knows = knows
        self._term: Term | None = None
        self._through_ns = 0
        self.open_gaps: dict[Key, Stretch] = {}
        """By device and scan class: the gaps that go on."""

    def of(self, record: Record, own: bool, now_ns: int) -> Iterator[Event]:
        """The events that a committed record is; `own` says that this node wrote it.

        Of the other node's records, what it said of late is told, and nothing of its fills. Those
        of coverage come by `gaps`.
        """
        body, position = record.body, record.position
        match body:
            case Fill() if own:
                yield from self._fill(body, position, now_ns)
            case Noted() | Role() | Audit() if own or now_ns - body.at_ns <= LATE_MAX_NS:
                found = self._single(body, position, now_ns)
                if found is not None:
                    yield found

    def _single(self, body: Noted | Role | Audit, position: Position, now_ns: int) -> Event | None:
        if isinstance(body, Noted):
            return self._noted(body, position, now_ns)
        if isinstance(body, Role):
            return self._role(body, position, now_ns)
        if body.action != "write":
            return self._operation(body, position, now_ns)
        # What was intended is told with what came of it.
        return None if body.outcome == "intent" else self._write(body, position, now_ns)

    def _noted(self, body: Noted, position: Position, now_ns: int) -> Event:
        event_type = _KINDS.get(body.kind, types.NOTABLE)
        device = self._device(body.source)
        text = f"{body.source} {body.text}" if body.kind in _KINDS else body.text
        base = _base(event_type.type_id, position, 0, body.at_ns, now_ns, text, body.severity)
        return Event(event_type.ids, [*base, *self._source(body.source)], device)

    def _role(self, body: Role, position: Position, now_ns: int) -> Event:
        term = str(body.term) if body.term is not None else None
        fields: Fields = [
            *_base(
                types.ROLE_CHANGED.type_id,
                position,
                0,
                body.at_ns,
                now_ns,
                f"node {body.node} is {body.role}: {body.why}",
                ROLE_SEVERITY,
            ),
            *_from(types.NODE, body.node),
            *_own(Node=body.node, Role=body.role, Term=term, Why=body.why),
        ]
        return Event(types.ROLE_CHANGED.ids, fields)

    def _write(self, body: Audit, position: Position, now_ns: int) -> Event:
        device, detail = self._device(body.target.partition("/")[0]), body.detail
        value, good = detail.get("value"), body.outcome == f"result {status_name(0)}"
        text = f"{body.who} wrote {_cut(repr(value), SHOWN_MAX)} to {body.target}: {body.outcome}"
        if why := detail.get("detail"):
            text += f": {why}"
        severity = AUDIT_SEVERITY if good else REFUSED_SEVERITY
        fields: Fields = [
            *_base(types.AUDIT_WRITE, position, 0, body.at_ns, now_ns, text, severity),
            # As OPC 10000-5 section 6.4.24 names the source of an update.
            *_from(Id(types.SITE, body.target) if device else types.NODE, "Attribute/Write"),
            *self._audited(body, good),
            (standard_path("AttributeId"), Field(UINT32, VALUE_ATTRIBUTE)),
            (standard_path("NewValue"), Field(ANY, value if _is_short(value) else None)),
        ]
        return Event(types.WRITE_IDS, fields, device, audit=True)

    def _operation(self, body: Audit, position: Position, now_ns: int) -> Event:
        text = f"{body.action} {body.target} by {body.who}: {body.outcome}"
        fields: Fields = [
            *_base(types.OPERATION.type_id, position, 0, body.at_ns, now_ns, text, AUDIT_SEVERITY),
            *self._source(body.target),
            *self._audited(body, not body.outcome.startswith(("refused", "failed"))),
            *_own(Action=body.action, Target=body.target),
        ]
        return Event(types.OPERATION.ids, fields, self._device(body.target), audit=True)

    def _audited(self, body: Audit, good: bool) -> Fields:
        """The fields of AuditEventType (OPC 10000-5 section 6.4.3)."""
        return [
            (standard_path("ActionTimeStamp"), moment(body.at_ns)),
            (standard_path("Status"), Field(BOOLEAN, good)),
            (standard_path("ServerId"), Field(STRING, self._server_id)),
            (standard_path("ClientAuditEntryId"), Field(STRING, "")),
            (standard_path("ClientUserId"), Field(STRING, body.who)),
        ]

    # ------------------------------------------------------------------------------- gaps

    def gaps(self, body: Coverage, position: Position) -> list[Told]:
        """What began and ended with a record of this node: `gap_events` makes events of it.

        To be asked of each in turn. A hole that reaches to the end of what the record tells of its
        class goes on.
        """
        if position.term != self._term and body.since_ns > self._through_ns:
            self.open_gaps.clear()  # what this node told before it was Standby
        self._term, self._through_ns = position.term, body.through_ns
        if not self.open_gaps and not body.holes:
            return []
        ends = {(late.device, late.scan_class): late.through_ns for late in body.behind}
        holes: dict[Key, list[Stretch]] = {}
        for hole in body.holes:
            _add(holes.setdefault((hole.device, hole.scan_class), []), hole)
        told: list[Told] = []
        for key in dict.fromkeys([*self.open_gaps, *holes]):
            told += self._step(key, holes.get(key, []), ends.get(key, body.through_ns))
        return told

    def gap_events(self, told: list[Told], position: Position, now_ns: int) -> Iterator[Event]:
        """The events of what a coverage record told."""
        for number, found in enumerate(told):
            yield self._gap(found, (position, number), now_ns)

    def _step(self, key: Key, holes: list[Stretch], end_ns: int) -> Iterator[Told]:
        known = self.open_gaps.get(key)
        if known is not None and (not holes or holes[0].from_ns > known.to_ns):
            if end_ns <= known.to_ns:
                return  # nothing new was said of this class
            del self.open_gaps[key]
            yield Told(types.GAP_CLOSED, key, known)
            known = None
        if known is not None:
            holes = [Stretch(known.from_ns, holes[0].to_ns, known.cause), *holes[1:]]
        going_on = holes.pop() if holes and holes[-1].to_ns >= end_ns else None
        if holes:
            self.open_gaps.pop(key, None)
            joined = Stretch(holes[0].from_ns, holes[-1].to_ns, holes[0].cause)
            yield Told(types.GAP_CLOSED, key, joined, len(holes))
        if going_on is not None:
            if key not in self.open_gaps:
                yield Told(types.GAP_OPENED, key, going_on)
            self.open_gaps[key] = going_on

    def _gap(self, told: Told, name: tuple[Position, int], now_ns: int) -> Event:
        event_type, (device, scan_class), (from_ns, to_ns, cause), number = told
        opened = event_type is types.GAP_OPENED
        text = f"{device}/{scan_class}: a gap opened ({cause})"
        if not opened:
            what = "a gap" if number == 1 else f"{number} gaps"
            text = (
                f"{device}/{scan_class}: {what} of {(to_ns - from_ns) / NS_PER_S:.3f} s ({cause})"
            )
        severity = OPENED_SEVERITY if opened else CLOSED_SEVERITY
        at_ns = from_ns if opened else to_ns
        fields: Fields = [
            *_base(event_type.type_id, *name, at_ns, now_ns, text, severity),
            *self._source(device),
            *_own(Device=device, ScanClass=scan_class, Cause=cause),
            (own_path("FromTime"), moment(from_ns)),
        ]
        if not opened:
            fields.append((own_path("ToTime"), moment(to_ns)))
        return Event(event_type.ids, fields, self._device(device))

    def _fill(self, body: Fill, position: Position, now_ns: int) -> Iterator[Event]:
        severity = FILL_SEVERITIES.get(body.kind)
        if severity is None:
            return  # not judged yet
        length_s = (body.to_ns - body.from_ns) / NS_PER_S
        text = f"{body.device}/{body.scan_class}: {length_s:.3f} s {body.kind} by log {body.log}"
        text += f": {body.why}" if body.why else ""
        event_type = types.GAP_FILLED
        fields: Fields = [
            *_base(event_type.type_id, position, 0, body.at_ns, now_ns, text, severity),
            *self._source(body.device),
            *_own(
                Device=body.device,
                ScanClass=body.scan_class,
                Cause=body.why or None,
                Outcome=body.kind,
            ),
            (own_path("FromTime"), moment(body.from_ns)),
            (own_path("ToTime"), moment(body.to_ns)),
            (own_path("Points"), Field(UINT32, len(body.points))),
        ]
        yield Event(event_type.ids, fields, self._device(body.device))

    # ------------------------------------------------------------------------------ sources

    def _device(self, name: str) -> str:
        return name if name and self._knows(name) else ""

    def _source(self, name: str) -> Fields:
        return _from(Id(types.SITE, name) if self._device(name) else types.NODE, name)


def _add(stretches: list[Stretch], hole: Hole) -> None:
    """Holes that touch are one gap, whose cause is what began it."""
    if stretches and stretches[-1].to_ns >= hole.from_ns:
        last = stretches[-1]
        stretches[-1] = Stretch(last.from_ns, max(last.to_ns, hole.to_ns), last.cause)
    else:
        stretches.append(Stretch(hole.from_ns, hole.to_ns, hole.cause))


def _base(
    type_id: Id,
    position: Position,
    number: int,
    at_ns: int,
    now_ns: int,
    text: str,
    severity: int,
) -> Fields:
    """The fields of BaseEventType but the source (OPC 10000-5 section 6.4.2)."""
    return [
        (standard_path("EventId"), Field(BYTE_STRING, event_id(position, number))),
        (standard_path("EventType"), node(type_id)),
        (standard_path("Time"), moment(at_ns)),
        (standard_path("ReceiveTime"), moment(now_ns)),
        (standard_path("Message"), Field(LOCALIZED_TEXT, _cut(text, TEXT_MAX))),
        (standard_path("Severity"), Field(UINT16, min(max(severity, 1), 1000))),
    ]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _is_short(value: Any) -> bool:
    return not isinstance(value, str | bytes) or len(value) <= TEXT_MAX


def _from(source: Id, name: str) -> Fields:
    return [
        (standard_path("SourceNode"), node(source)),
        (standard_path("SourceName"), Field(STRING, name)),
    ]


def _own(**texts: str | None) -> Fields:
    return [(own_path(name), Field(STRING, text)) for name, text in texts.items()]


def event_id(position: Position, number: int) -> bytes:
    """The EventId: term, place in it, and which of the events of that record it is."""
    (term, name, nonce), seq = position
    return _EVENT_ID.pack(term, nonce % 2**64, seq, number) + name.encode()


_EVENT_ID: Final = struct.Struct(">QQQI")


def overflow_event(name: bytes, now_ns: int) -> Event:
    """Tells one client that its queue lost events (OPC 10000-5 section 6.4.34)."""
    fields: Fields = [
        (standard_path("EventId"), Field(BYTE_STRING, name)),
        (standard_path("EventType"), node(types.OVERFLOW)),
        (standard_path("Time"), moment(now_ns)),
        (standard_path("ReceiveTime"), moment(now_ns)),
        (standard_path("Message"), Field(LOCALIZED_TEXT, "events were lost: the queue was full")),
        (standard_path("Severity"), Field(UINT16, OVERFLOW_SEVERITY)),
        *_from(types.SERVER, "Internal/EventQueueOverflow"),
    ]
    return Event(types.OVERFLOW_IDS, fields)
