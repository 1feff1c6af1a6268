"""A server's history in this process, without a library: rightly or wrongly handed over."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from drivers.opcua.log.method import Wanted, read_history
from drivers.opcua.log.ops import (
    BAD_CONTINUATION_POINT_INVALID,
    BAD_NO_CONTINUATION_POINTS,
    Answer,
    Ask,
    Begin,
    Free,
    Hands,
    Op,
    Refusal,
    Reply,
    Told,
    Wait,
)
from drivers.opcua.log.slices import Pace
from drivers.opcua.nodes import Item, Member, NodeText
from drivers.opcua.observe import Decoder, Reading
from drivers.opcua.values import Builtin
from gateway.driver import LogPage
from gateway.model import NS_PER_MS, NS_PER_S, DataType, Status, Value

S = NS_PER_S
START = 1_000 * S
REQUESTS_MAX = 20_000
TOO_MANY = 0x80100000


def reading(at_ns: int | None, value: Value, status: int = Status.GOOD) -> Reading:
    """A Double as a server gives it."""
    builtin = Builtin.NULL if value is None else Builtin.DOUBLE
    return Reading(value, builtin, 0, status, at_ns)


def decoder(place: int, *indexes: int | None) -> Decoder:
    """A node with one point, or with elements of an array as points: numbers place * 10 + n."""
    members = tuple(
        Member(place * 10 + n, f"p{place}.{n}", DataType.FLOAT64, index)
        for n, index in enumerate(indexes or (None,))
    )
    return Decoder(Item(f"ns=1;i={place}", NodeText(None, 1, place), members))


@dataclass
class World:
    """Nodes by place with their records in the order stored; `odd` as hil's PLC has it, and more.

    Time goes by 1 ms a request. `reverse`: what the server makes of newest first (right, forward,
    first: right for the first node of a call only, beyond the range, none).
    """

    held: dict[int, list[Reading]]
    now_ns: int = START + 10_000 * S
    page: int = 1_000
    points_max: int = 10
    nodes_max: int = 0
    odd: frozenset[str] = frozenset()
    reverse: str = "right"
    start_ns: int | None = None
    clock_ns: int = 0
    grain_ns: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    refusals: list[int] = field(default_factory=list)
    points: dict[bytes, tuple[int, list[Reading], int]] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    requests: int = 0
    names: itertools.count[int] = field(default_factory=itertools.count)
    begun: tuple[Ask, Answer | Refusal] | None = None

    # ------------------------------------------------------------------------------ driving

    def read(
        self,
        from_ns: int,
        to_ns: int,
        pace: Pace | None = None,
        decoders: dict[int, Decoder] | None = None,
        overlap_ns: int = 2 * S,
        bounds: bool = False,
        starts: Sequence[int] = (),
    ) -> list[LogPage]:
        """The pages that a read yields; no continuation point is left open. Raises DeviceError."""
        ops = self.operations(from_ns, to_ns, pace, decoders, overlap_ns, bounds, starts)
        return [op for op in ops if isinstance(op, LogPage)]

    def operations(
        self,
        from_ns: int,
        to_ns: int,
        pace: Pace | None = None,
        decoders: dict[int, Decoder] | None = None,
        overlap_ns: int = 2 * S,
        bounds: bool = False,
        starts: Sequence[int] = (),
    ) -> list[Op | LogPage]:
        """All that a read yields. Raises DeviceError."""
        known = decoders or {place: decoder(place) for place in self.held}
        pace = pace or Pace.begin(1_000, 3600 * S, 100)
        wanted = Wanted(from_ns, to_ns, overlap_ns, bounds, starts)
        reading = read_history(known, wanted, pace)
        ops: list[Op | LogPage] = []
        reply: Reply = None
        try:
            while True:
                op = reading.send(reply)
                ops.append(op)
                reply = None if isinstance(op, LogPage) else self.carry_out(op)
        except StopIteration:
            pass
        assert not self.points or "forget_points" in self.odd, "continuation points left open"
        return ops

    def carry_out(self, op: Op) -> Reply:
        """What the server answers."""
        if isinstance(op, Wait):
            self.now_ns += op.ns
            return None
        if isinstance(op, Free):
            for point in op.points:
                self.points.pop(point, None)
            return None
        if isinstance(op, Ask) and self.begun is not None:
            (ask, answer), self.begun = self.begun, None
            assert op == ask
            return answer
        assert self.begun is None, "one request at a time"
        self.requests += 1
        assert self.requests < REQUESTS_MAX
        sent_ns, self.now_ns = self.now_ns, self.now_ns + NS_PER_MS
        if isinstance(op, Ask):
            return self._answer(op)
        if isinstance(op, Begin):
            self.begun = op.ask, self._answer(op.ask)
            return None
        return Hands(self._shown(sent_ns), self.start_ns, sent_ns, self.now_ns)

    def _shown(self, sent_ns: int) -> int:
        now_ns = sent_ns + NS_PER_MS // 2 + self.clock_ns
        return now_ns - now_ns % self.grain_ns if self.grain_ns else now_ns

    # ------------------------------------------------------------------------------ serving

    def _answer(self, ask: Ask) -> Answer | Refusal:
        self.asks.append(ask)
        if self.refusals:
            return Refusal(self.refusals.pop(0), "no")
        if self.nodes_max and len(ask.places) > self.nodes_max:
            return Refusal(TOO_MANY, "too many")
        points = ask.points or [None] * len(ask.places)
        return Answer(
            tuple(
                self._one(ask, n, place, point)
                for n, (place, point) in enumerate(zip(ask.places, points, strict=True))
            )
        )

    def _one(self, ask: Ask, n: int, place: int, point: bytes | None) -> Told:
        if place in self.statuses:
            return Told(self.statuses[place])
        if point is None:
            left, pages = self._chosen(ask, n, place), 0
        elif point not in self.points or "forget_points" in self.odd:
            self.points.pop(point, None)
            return Told(BAD_CONTINUATION_POINT_INVALID)
        else:
            _, left, pages = self.points.pop(point)
        size = min(ask.most, self.page)
        page, rest = left[:size], left[size:]
        if "empty_pages" in self.odd and not pages % 2:
            page, rest = [], left
        if "repeat_point" in self.odd and point is not None and rest:
            rest = left
        if not rest or ("cut_off" in self.odd and ask.most <= self.page):
            return Told(Status.GOOD if page else Status.GOOD_NO_DATA, page)
        if len(self.points) >= self.points_max:
            return Told(BAD_NO_CONTINUATION_POINTS)
        fixed = self.odd & {"same_point", "repeat_point"}
        name = b"%d" % place if fixed else b"%d" % next(self.names)
        self.points[name] = (place, rest, pages + 1)
        return Told(Status.GOOD, page, name)

    def _chosen(self, ask: Ask, n: int, place: int) -> list[Reading]:
        records = self.held[place]
        newest_first = ask.from_ns is None or ask.to_ns < ask.from_ns
        low = ask.to_ns if newest_first else ask.from_ns
        high = ask.from_ns if newest_first else ask.to_ns
        assert low is not None
        if ask.from_ns is None:
            low, high = 0, ask.to_ns
        assert high is not None
        found = [r for r in records if r.source_ns is None or low <= r.source_ns <= high]
        if newest_first:
            right = self.reverse == "right" or (self.reverse == "first" and n == 0)
            if self.reverse == "first" and ask.from_ns is None:
                right = True
            if self.reverse == "none":
                return []
            if self.reverse == "beyond":
                return records[::-1]
            return found[::-1] if right else found
        if ask.bounds:
            before = [r for r in records if r.source_ns is not None and r.source_ns < low]
            none = reading(low, None, 0x80D70000)
            found = [before[-1] if before else none, *found]
        if "newest_first" in self.odd:
            found = found[::-1]
        if "outside" in self.odd:
            found = [reading(low - 500 * S, 13.0), *found, reading(high + 500 * S, 14.0)]
        if "unstamped" in self.odd:
            found = [reading(None, 15.0), *found]
        return found


# -------------------------------------------------------------------------------------- judging


def joined(pages: Sequence[LogPage], from_ns: int, to_ns: int) -> None:
    """Assert what `LogPage` promises of pages."""
    at_ns = from_ns
    for page in pages:
        assert page.from_ns == at_ns < page.through_ns
        times = [o.time_ns for o in page.observations]
        assert times == sorted(times)
        assert all(page.from_ns <= t < page.through_ns for t in times)
        for part in page.lacking:
            assert page.from_ns <= part.from_ns < part.to_ns <= page.through_ns
        at_ns = page.through_ns
    assert at_ns <= to_ns


class Said:
    """What pages say of one node's only point."""

    def __init__(self, pages: Sequence[LogPage], place: int) -> None:
        name = f"p{place}.0"
        parts = (part for page in pages for part in page.lacking)
        self._lacking = [p for p in parts if name in (p.points or (name,))]
        self._seen = [o for p in pages for o in p.observations if o.point == place * 10]

    def at(self, at_ns: int) -> tuple[Value, int] | None:
        """Value and status at an instant; None where they lack it."""
        if any(part.from_ns <= at_ns < part.to_ns for part in self._lacking):
            return None
        after = bisect_right(self._seen, at_ns, key=lambda o: o.time_ns)
        if not after:
            return "nothing said", 0
        return self._seen[after - 1].value, self._seen[after - 1].status


def known(pages: Sequence[LogPage], place: int, at_ns: int) -> tuple[Value, int] | None:
    """Value and status of a node's only point at an instant; None where the pages lack it."""
    return Said(pages, place).at(at_ns)


def truth(records: Sequence[Reading], at_ns: int) -> tuple[Value, int] | None:
    """What a node held at an instant; its records are in order."""
    before = bisect_right(records, at_ns, key=lambda r: r.source_ns or 0)
    return (records[before - 1].value, records[before - 1].status) if before else None


def lacking(pages: Sequence[LogPage]) -> list[tuple[int, int, str, tuple[str, ...]]]:
    """What pages lack, stretches that go on over pages as one."""
    found: list[tuple[int, int, str, tuple[str, ...]]] = []
    for part in (part for page in pages for part in page.lacking):
        same = [f for f in found if f[1] == part.from_ns and f[2:] == (part.why, part.points)]
        begin_ns = part.from_ns
        for other in same:
            found.remove(other)
            begin_ns = other[0]
        found.append((begin_ns, part.to_ns, part.why, part.points))
    return found
