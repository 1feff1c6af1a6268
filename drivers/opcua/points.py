"""The points of one device: where they live, what they last said, what is wrong with them. No I/O.

History is ordered by time, so an observation must never stand before one that came earlier: after a
fault the collector has said "bad since then", and a value that the server has held for days must be
restated at the moment when it was read again, not at its old source time (values.place). Only when
our own clock was set back, what comes next stands where that clock now says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from drivers.opcua.nodes import Identifier, Member, group, known_types, resolve
from drivers.opcua.observe import Decoder, Reading
from drivers.opcua.values import LEAD_MAX_NS, Builtin, place, type_name
from gateway.driver import DeviceSpec, DriverContext, Observation, PointSpec
from gateway.model import Status, Value, status_name

PROBLEM_SEVERITY: Final = 500
_BAD_NODE_ID_INVALID: Final = 0x80330000
_BAD_ATTRIBUTE_ID_INVALID: Final = 0x80350000
_MISCONFIGURED: Final = frozenset(
    {
        Status.BAD_NODE_ID_UNKNOWN,
        _BAD_NODE_ID_INVALID,
        _BAD_ATTRIBUTE_ID_INVALID,
        Status.BAD_NOT_READABLE,
        Status.BAD_USER_ACCESS_DENIED,
        Status.BAD_DECODING_ERROR,
    }
)
"""What a person must mend; other Bad statuses are values like any other."""


class _Known(NamedTuple):
    """What a point last said, when, and by which source time."""

    time_ns: int
    value: Value
    status: int
    source_ns: int | None


class Moment(NamedTuple):
    """Own clock when a request left and its answer came; `initial` marks a first notification."""

    asked_ns: int
    received_ns: int
    initial: bool = False


class Points:
    """All points of one device, as nodes to read; a node is named by its place in `decoders`."""

    def __init__(self, spec: DeviceSpec, context: DriverContext) -> None:
        self.device = spec.name
        self.decoders: list[Decoder] = []
        self.of_class: dict[str, list[int]] = {}
        self._context = context
        self._place: dict[str, int] = {}
        self._known: dict[int, _Known] = {}
        self._owed: set[int] = set()
        self._numbers = [point.number for point in spec.points]
        self._told: dict[str, str] = {}
        self._reported: dict[int, object] = {}
        self._types = known_types(context.facts.get((spec.name, "types")))
        for scan_class in dict.fromkeys(point.scan_class for point in spec.points):
            self._add(scan_class, [p for p in spec.points if p.scan_class == scan_class])

    def _add(self, scan_class: str, points: Sequence[PointSpec]) -> None:
        pairs = [
            (p.settings.node, Member(p.number, p.name, p.data_type, p.settings.index))
            for p in points
        ]
        for item in group(pairs):
            for member in item.members:
                self._place[member.name] = len(self.decoders)
            self.of_class.setdefault(scan_class, []).append(len(self.decoders))
            self.decoders.append(Decoder(item))

    def place_of(self, point: str) -> int:
        """The place of the node that a point lives on."""
        return self._place[point]

    def resolved(self, namespaces: Sequence[str]) -> list[tuple[Identifier, int] | None]:
        """Identifier and namespace index of each node here; None if the server lacks the URI."""
        found = [resolve(decoder.item.node, namespaces) for decoder in self.decoders]
        for where, (decoder, node) in enumerate(zip(self.decoders, found, strict=True)):
            if node is None:
                self._reported[where] = decoder.item.node.uri
                text = f"the server has no namespace {decoder.item.node.uri}"
                self._tell_item(decoder, text)
        return found

    # ------------------------------------------------------------------------- observations

    def observe(self, where: int, reading: Reading, moment: Moment) -> Iterator[Observation]:
        """What a reading of a node says anew of its points."""
        for number, value, status in self.decoders[where].decode(reading):
            seen = self._take(number, value, status, reading.source_ns, moment)
            if seen is not None:
                yield seen

    def fail(self, where: int, status: int, moment: Moment) -> Iterator[Observation]:
        """The points of a node can't be read."""
        for number, value, code in self.decoders[where].fail(status):
            seen = self._take(number, value, code, None, moment)
            if seen is not None:
                yield seen

    def _take(
        self, number: int, value: Value, status: int, source_ns: int | None, moment: Moment
    ) -> Observation | None:
        known = self._known.get(number)
        if known is not None and moment.initial and _older(source_ns, known.source_ns):
            return None
        same = known is not None and (value, status) == (known.value, known.status)
        if same and number not in self._owed:
            return None
        if known is None or _set_back(known, moment.received_ns):
            time_ns = _first_time(source_ns, moment)
        elif same:
            time_ns = max(moment.asked_ns, known.time_ns)
        else:
            time_ns = place(source_ns, known.time_ns, moment.received_ns)
        self._owed.discard(number)
        self._known[number] = _Known(time_ns, value, status, source_ns)
        return Observation(number, time_ns, value, status)

    def read_back(
        self, name: str, value: Value, status: int, source_ns: int | None, received_ns: int
    ) -> None:
        """A write read a point back, and said so: what comes next is told, and apart from that."""
        members = self.decoders[self._place[name]].item.members
        number = next(member.number for member in members if member.name == name)
        self._known[number] = _Known(received_ns, value, status, source_ns)
        self._owed.add(number)

    def lost(self) -> None:
        """The device is gone: whatever comes next is a first observation."""
        self._known.clear()
        self._owed.clear()

    def owe_all(self) -> None:
        """Observe every point again when it is next heard of, changed or not."""
        self._owed.update(self._numbers)

    def restated(self, now_ns: int) -> list[Observation]:
        """What is owed, from memory: for a subscription, which says nothing of unchanged points."""
        observations = []
        for number in sorted(self._owed):
            if (known := self._known.get(number)) is not None:
                time_ns = now_ns if _set_back(known, now_ns) else max(now_ns, known.time_ns)
                self._known[number] = known._replace(time_ns=time_ns)
                observations.append(Observation(number, time_ns, known.value, known.status))
        self._owed.clear()
        return observations

    # ------------------------------------------------------------------- problems and types

    def tell(self, key: str, severity: int, text: str) -> None:
        """Raise an alarm, once for as long as `key` has this same text."""
        if self._told.get(key) != text:
            self._told[key] = text
            self._context.alarm(self.device, severity, text)

    def _tell_item(self, decoder: Decoder, text: str) -> None:
        for member in decoder.item.members:
            self.tell(member.name, PROBLEM_SEVERITY, f"point {member.name}: {text}")

    def _state(self, where: int, reading: Reading) -> object:
        """What would be told of a node after this reading; None for nothing."""
        if reading.status in _MISCONFIGURED:
            return reading.status
        decoder = self.decoders[where]
        return decoder.shape if decoder.problems else None

    def news(self, where: int, reading: Reading) -> bool:
        """Whether `report` would say something that it did not say before."""
        return self._state(where, reading) != self._reported.get(where)

    def report(self, where: int, reading: Reading, label: str = "") -> None:
        """Tell what is wrong with the points on a node, and take back what no longer is.

        `label` is the server's name for the type of a structure.
        """
        decoder = self.decoders[where]
        self._reported[where] = self._state(where, reading)
        if reading.status in _MISCONFIGURED:
            text = f"the server says {status_name(reading.status)} to {decoder.item.text}"
            if reading.status == Status.BAD_DECODING_ERROR:
                text = f"what the server says of {decoder.item.text} can't be decoded"
            self._tell_item(decoder, text)
            return
        for member in decoder.item.members:
            self._told.pop(member.name, None)
        for name, text in decoder.problems:
            named = f"{text} (its type is {label})" if label else text
            self.tell(name, PROBLEM_SEVERITY, f"point {name}: {named}")

    def report_unmonitored(self, where: int, status: int) -> None:
        """Tell that the server would not monitor a node, unless that status was told of it."""
        if self._reported.get(where) == status:
            return
        decoder = self.decoders[where]
        self._reported[where] = status
        text = f"the server does not monitor {decoder.item.text}: {status_name(status)}"
        self._tell_item(decoder, text)

    def learn_types(self) -> None:
        """Journal the nodes' types as a device fact, if they are not what was known."""
        types = dict(self._types)
        for decoder in self.decoders:
            if (text := decoder.type_text) is not None:
                types.update(dict.fromkeys((m.name for m in decoder.item.members), text))
        if types != self._types:
            self._types = types
            self._context.learned(self.device, "types", dict(types))

    def learned_type(self, point: str) -> Builtin | None:
        """The built-in type that a point's node had when it, or the fact, was last seen."""
        decoder = self.decoders[self._place[point]]
        if decoder.shape is not None:
            return decoder.shape[0]
        text = self._types.get(point, "").partition("[")[0]
        return next((b for b in Builtin if b is not Builtin.NULL and type_name(b) == text), None)


def _first_time(source_ns: int | None, moment: Moment) -> int:
    """When the server was asked: the value is proven for that moment, whenever it was made."""
    asked_ns = min(moment.asked_ns, moment.received_ns)  # our clock may be set back in between
    if source_ns is None or source_ns > moment.received_ns + LEAD_MAX_NS:
        return asked_ns
    return max(source_ns, asked_ns)


def _set_back(known: _Known, now_ns: int) -> bool:
    """Whether our own clock was set back since a point was observed.

    No clock of a device leads an observation that far (`values.place`). Were it held there, all
    that comes would be stamped in the future until our clock has caught up.
    """
    return known.time_ns > now_ns + LEAD_MAX_NS


def _older(source_ns: int | None, than_ns: int | None) -> bool:
    return source_ns is not None and than_ns is not None and source_ns <= than_ns
