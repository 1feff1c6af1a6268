"""One node's history over one slice of time, page by page, whatever the server makes of it. Pure.

Values are known by their source time: of several with the same one the last counts, as the server
itself should see it (OPC 10000-11 section 6.5.3.2). So a page that is read twice does no harm, and
a read that broke off goes on from the last value, by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from drivers.opcua.log.ops import (
    BAD_BOUND_NOT_FOUND,
    BAD_BOUND_NOT_SUPPORTED,
    BAD_CONTINUATION_POINT_INVALID,
    BAD_NO_CONTINUATION_POINTS,
    SEVERITY_AND_CODE,
    TICK_NS,
    Told,
)
from drivers.opcua.observe import Reading
from gateway.model import Status, is_bad, status_name

BARREN_MAX: Final = 50
"""Pages in a row without anything new: zero values with a continuation point are allowed."""
NODE_REQUESTS_MAX: Final = 200
"""Requests for one node in one slice; then the slice ends where the node's values end."""
TORN_MAX: Final = 20
ENDLESS: Final = "the server comes to no end"
_NO_BOUND: Final = frozenset({BAD_BOUND_NOT_FOUND, BAD_BOUND_NOT_SUPPORTED})


class Next(Enum):
    """What a node's read needs after a page."""

    DONE = "all of the slice is read"
    MORE = "go on with the continuation point"
    AGAIN = "begin a new read at `start_ns`"
    CROWDED = "the server has no continuation point left for it"
    FAILED = "nothing more can be had: see `ended`"


@dataclass(slots=True)
class NodeRead:
    """The history of the node at `place` from `start_ns` on, before `to_ns`.

    `weight`: observations that one value makes. `found` is by source time. At each time in `torn`
    the server had more values than it gave. `ended` says why the read broke off. `odd` is what the
    server did that no server should.
    """

    place: int
    start_ns: int
    to_ns: int
    weight: int = 1
    bounds: bool = False
    found: dict[int, Reading] = field(default_factory=dict)
    torn: list[int] = field(default_factory=list)
    ended: str = ""
    odd: set[str] = field(default_factory=set)
    back_ns: int = 0
    point: bytes | None = None
    requests: int = 0
    _newest_ns: int | None = None
    _page_ns: int | None = None
    _barren: int = 0
    _given: bool = False
    _again: bool = False
    _descending: bool = False
    _ascending: bool = False

    @property
    def through_ns(self) -> int:
        """Everything before this has been read."""
        if self._descending or self._newest_ns is None:
            return self.start_ns
        return max(self.start_ns, self._newest_ns)

    def take(self, told: Told, most: int) -> Next:
        """Keep what one page brought; `most` values were asked for."""
        self.requests += 1
        what = self._take(told, most)
        if what in (Next.MORE, Next.AGAIN) and self.requests > 2 * NODE_REQUESTS_MAX:
            return self._end(ENDLESS)
        return what

    def _take(self, told: Told, most: int) -> Next:
        code = told.status & SEVERITY_AND_CODE
        repeated = told.point is not None and told.point == self.point
        self.point = told.point
        if code == BAD_NO_CONTINUATION_POINTS:
            self.start_ns = self.through_ns
            return Next.CROWDED
        if code == BAD_CONTINUATION_POINT_INVALID:
            self.odd.add("the server forgot a continuation point")
            return self.lost()
        if is_bad(code) and code != Status.BAD_NO_DATA:
            return self._end(status_name(code))
        new = self._keep(told.readings)
        if told.point is None:
            return self._after_last(told.readings, code, most)
        self._given = True
        self._barren = 0 if new else self._barren + 1
        if repeated and told.readings and not new:
            self.odd.add("the server repeated a continuation point")
            return self._step_over()
        return Next.MORE if self._barren <= BARREN_MAX else self._end(ENDLESS)

    def lost(self) -> Next:
        """The continuation point is of no use: go on by time, or begin again once."""
        self.point = None
        if self._descending:
            return self._end("the server gave up amid values in reversed order")
        if self.through_ns > self.start_ns:
            if not self._ascending:  # nobody knows on which side of a single value the rest lies
                self.found, self._newest_ns = {}, None
                return self._end("the server gave up before it showed an order")
            return self._from(self.through_ns)
        if self._again:
            return self._end("the server gave up twice at the same place")
        self._again = True
        return Next.AGAIN

    def cut(self, to_ns: int) -> None:
        """Read no further than this; what lies beyond is for the next slice."""
        self.to_ns = min(self.to_ns, to_ns)
        self.found = {at_ns: r for at_ns, r in self.found.items() if at_ns < self.to_ns}
        self.torn = [at_ns for at_ns in self.torn if at_ns < self.to_ns]

    # --------------------------------------------------------------------------- one page

    def _keep(self, readings: Sequence[Reading]) -> bool:
        """Whether there was anything new among them."""
        stamps = [r.source_ns for r in readings if r.source_ns is not None]
        if len(stamps) < len(readings):
            self.odd.add("the server gives values without a time")
        descending = bool(stamps) and stamps[0] > stamps[-1]
        if descending or (stamps and self._page_ns is not None and stamps[-1] < self._page_ns):
            self._descending = True
            self.odd.add("the server gives values in reversed order")
        else:
            self._notice_steps(stamps)
            before = stamps if self._page_ns is None else [self._page_ns]
            self._ascending |= bool(stamps) and stamps[-1] > before[0]
        self._page_ns = min(stamps, default=self._page_ns)
        brought: dict[int, Reading] = {}
        for reading in reversed(readings) if descending else readings:
            at_ns = reading.source_ns
            if at_ns is None or reading.status & SEVERITY_AND_CODE in _NO_BOUND:
                continue
            if self._wanted(at_ns):
                brought[at_ns] = reading
        new = any(self.found.get(at_ns) != reading for at_ns, reading in brought.items())
        self.found |= brought
        if brought:
            self._newest_ns = max(*brought, self._newest_ns or 0)
        return new

    def _notice_steps(self, stamps: Sequence[int]) -> None:
        """Times that go back amid a page: the server's clock was set while it recorded."""
        highest = None
        for at_ns in stamps:
            if highest is not None and at_ns < highest and not self.bounds:
                self.back_ns = max(self.back_ns, highest - at_ns)
            highest = at_ns if highest is None else max(highest, at_ns)

    def _wanted(self, at_ns: int) -> bool:
        if at_ns < self.start_ns:
            if not self.bounds:
                self.odd.add("the server gives values outside of the range asked")
            return self.bounds
        if at_ns > self.to_ns and not self.bounds:
            self.odd.add("the server gives values outside of the range asked")
        return at_ns < self.to_ns

    def _after_last(self, readings: Sequence[Reading], code: int, most: int) -> Next:
        """A page without continuation point is the last, unless it is full.

        Servers cut off at the number asked for, though more follow, without a continuation point
        (asyncua 2.1 does): a full page proves nothing, unless it reaches the end.
        """
        count = len(readings)
        if not count or (count < most and code != Status.GOOD_MORE_DATA):
            return Next.DONE
        if any(r.source_ns is not None and r.source_ns >= self.to_ns for r in readings[-1:]):
            return Next.DONE
        if self._descending:
            if self._given:
                return Next.DONE
            return self._end("the server cuts off amid values in reversed order")
        return self._step_over()

    def _step_over(self) -> Next:
        """Go on from the last value; if that was tried, too many values share its time."""
        if self.through_ns > self.start_ns:
            return self._from(self.through_ns)
        if len(self.torn) >= TORN_MAX:
            return self._end(ENDLESS)
        self.torn.append(self.start_ns)
        return self._from(self.start_ns + TICK_NS)

    def _from(self, start_ns: int) -> Next:
        self.point, self.start_ns = None, start_ns
        self._again, self._given, self._barren, self._page_ns = False, False, 0, None
        return Next.AGAIN if start_ns < self.to_ns else Next.DONE

    def _end(self, why: str) -> Next:
        self.ended = why
        return Next.FAILED
