"""A slice of time of many nodes' history: so many nodes a call, as the server can bear. Pure.

At most `nodes` continuation points are open at a time: reads that have one are finished before
others are begun. A slice that turns out to hold too much is made shorter while it is read, so that
what is held in memory stays bounded, and the next one begins shorter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from drivers.opcua.log.node import NODE_REQUESTS_MAX, Next, NodeRead
from drivers.opcua.log.ops import (
    BAD_NO_CONTINUATION_POINTS,
    BAD_TIMEOUT,
    SEVERITY_AND_CODE,
    TOO_MUCH,
    UNSUPPORTED,
    Ask,
    Free,
    Op,
    Refusal,
    Reply,
    Told,
    asked,
)
from drivers.opcua.observe import Reading
from gateway.driver import PAGE_RECORDS_MAX, LogPage
from gateway.errors import LogUnavailable, Refused, ReplyTimeout
from gateway.model import NS_PER_S, is_bad

OBSERVATIONS_MAX: Final = PAGE_RECORDS_MAX
"""In one slice, about: one page, which is stored while the next slice is read; live polling waits
while it is made."""
SLICE_MIN_NS: Final = NS_PER_S
VALUES_PER_CALL: Final = 2_000
"""A server that finds them answers nobody else meanwhile; what isn't plain the library decodes in
one go, at some 13 us a value."""
NODES_PER_CALL: Final = 20
MOST_MIN: Final = 2
"""Of one value a page nobody could tell whether it is the last."""
TIMEOUTS_MAX: Final = 3
EMPTY_MAX: Final = 20
"""Answers without values, but with a continuation point, to what was before."""
RETRY_SOON_NS: Final = 10 * NS_PER_S
EARLIEST_NS: Final = 0
"""1970: before it there was no OPC UA server."""

Waiting = Generator[Op | LogPage, Reply, None]


@dataclass(slots=True)
class Pace:
    """How much is asked at a time; learned from refusals, kept for the whole read."""

    nodes: int
    most: int
    length_ns: int
    longest_ns: int
    odd: set[str] = field(default_factory=set)
    _timeouts: int = 0

    @staticmethod
    def begin(page: int, slice_ns: int, nodes_max: int) -> Pace:
        """`nodes_max` is what the server grants to one call."""
        nodes = max(1, min(nodes_max, NODES_PER_CALL))
        longest_ns = max(slice_ns, SLICE_MIN_NS)
        return Pace(nodes, max(MOST_MIN, page), longest_ns, longest_ns)

    def most_of(self, count: int) -> int:
        """The values to ask of each of `count` nodes."""
        return max(MOST_MIN, min(self.most, VALUES_PER_CALL // count))

    def granted(self) -> None:
        """A request was answered."""
        self._timeouts = 0

    def refused(self, count: int, refusal: Refusal) -> None:
        """Ask for less than `count` nodes, then for smaller pages.

        Raises LogUnavailable, ReplyTimeout or Refused when that is of no use.
        """
        if refusal.code in UNSUPPORTED:
            text = f"the server reads no history: {refusal.text}"
            raise LogUnavailable(text, None, "Remove `windback:` of this device")
        if refusal.code not in TOO_MUCH:
            raise Refused(refusal.text, refusal.code, status=refusal.code)
        if refusal.code == BAD_TIMEOUT:
            self._timeouts += 1
            if self._timeouts >= TIMEOUTS_MAX:
                raise ReplyTimeout(refusal.text)
        self.most = self.most_of(count)  # fewer nodes must not mean that each gives more
        if count > 1:
            self.nodes = count // 2
        elif self.most > MOST_MIN:
            self.most = max(MOST_MIN, self.most // 2)
        else:
            raise LogUnavailable(f"nothing smaller can be asked: {refusal.text}", RETRY_SOON_NS)

    def adapt(self, slice_ns: int, observations: int) -> None:
        """The length of the next slice, after one of this length held so many observations."""
        if observations < OBSERVATIONS_MAX // 4:
            slice_ns *= 2
        self.length_ns = min(max(slice_ns, SLICE_MIN_NS), self.longest_ns)


class SliceReader:
    """Reads [from, to) of the nodes in `weights`, by place; `to_ns` may come to lie earlier.

    `overlap_ns` before `from_ns` is read again, for values that were stored late.
    """

    def __init__(
        self,
        weights: Mapping[int, int],
        from_ns: int,
        to_ns: int,
        overlap_ns: int,
        pace: Pace,
        bounds: bool = False,
    ) -> None:
        self.from_ns, self.to_ns = from_ns, to_ns
        self._pace, self._bounds = pace, bounds
        start_ns = from_ns - overlap_ns
        self.reads = [
            NodeRead(place, start_ns, to_ns, weight, bounds) for place, weight in weights.items()
        ]
        self._fresh = deque(self.reads)
        self._again: deque[NodeRead] = deque()
        self._going: list[NodeRead] = []
        self._most = MOST_MIN

    @property
    def observations(self) -> int:
        """About how many observations it holds."""
        return sum(len(read.found) * read.weight for read in self.reads)

    def run(self) -> Waiting:
        """Read. Raises DeviceError."""
        while self._going or self._again or self._fresh:
            on = bool(self._going)
            wave = self._wave()
            if not on:  # a continuation has the parameters that it began with
                self._most = self._pace.most_of(len(wave))
            points = tuple(read.point for read in wave if read.point is not None)
            places = tuple(read.place for read in wave)
            asking = Ask(places, wave[0].start_ns, self.to_ns, self._most, self._bounds, points)
            reply = asked((yield asking))
            if isinstance(reply, Refusal):
                yield from self._refused(wave, reply)
                continue
            self._pace.granted()
            yield from self._sort(wave, reply.told)
            yield from self._shorten()
        for read in self.reads:
            self._pace.odd |= read.odd

    def _wave(self) -> list[NodeRead]:
        """Whom to ask next: those with continuation points first, then those with one start."""
        nodes = self._pace.nodes
        if self._going:
            wave, self._going = self._going[:nodes], self._going[nodes:]
            return wave
        if self._again:
            return [self._again.popleft()]
        return [self._fresh.popleft() for _ in range(min(nodes, len(self._fresh)))]

    def _refused(self, wave: Sequence[NodeRead], refusal: Refusal) -> Waiting:
        """A call failed as a whole: its continuation points are of unknown worth."""
        if any(read.point is not None for read in wave):
            yield from self._free(wave)
            for read in wave:
                self._next(read, read.lost())
        elif wave[0].requests:
            self._again.extendleft(reversed(wave))
        else:
            self._fresh.extendleft(reversed(wave))
        self._pace.refused(len(wave), refusal)

    def _sort(self, wave: Sequence[NodeRead], told: Sequence[Told]) -> Waiting:
        crowded = 0
        for read, said in zip(wave, told, strict=True):
            point = said.point or (read.point if is_bad(said.status) else None)
            what = read.take(said, self._most)
            crowded += what is Next.CROWDED
            if what is not Next.MORE and point is not None:
                yield Free((read.place,), (point,))
            self._next(read, what)
        if crowded == len(wave) == 1 and not self._going:
            self._halve()
        elif crowded:
            self._pace.nodes = max(1, len(wave) // 2)

    def _next(self, read: NodeRead, what: Next) -> None:
        if what is Next.MORE:
            self._going.append(read)
        elif what in (Next.AGAIN, Next.CROWDED):
            self._again.append(read)

    def _halve(self) -> None:
        """Not one continuation point is to be had: ask for what needs none."""
        half_ns = (self.to_ns - self.from_ns) // 2
        if half_ns < SLICE_MIN_NS:
            text = "the server has no continuation point left"
            raise LogUnavailable(text, RETRY_SOON_NS, "Another client may use them all")
        self._cut(self.from_ns + half_ns)

    def _shorten(self) -> Waiting:
        """End the slice earlier if it holds too much, or a node takes too many requests."""
        to_ns = self.to_ns
        share = OBSERVATIONS_MAX * (len(self.reads) - len(self._fresh)) // len(self.reads)
        if self.observations > max(share, OBSERVATIONS_MAX // 100):
            while to_ns - self.from_ns > SLICE_MIN_NS and self._held(to_ns) > share:
                to_ns = self.from_ns + max(SLICE_MIN_NS, (to_ns - self.from_ns) // 2)
        for read in (*self._going, *self._again):
            if read.requests > NODE_REQUESTS_MAX and read.through_ns > self.from_ns:
                to_ns = min(to_ns, read.through_ns)
        if to_ns < self.to_ns:
            self._cut(to_ns)
            done = [read for read in self._going if read.through_ns >= to_ns]
            self._going = [read for read in self._going if read.through_ns < to_ns]
            yield from self._free(done)

    def _held(self, to_ns: int) -> int:
        return sum(r.weight * sum(at_ns < to_ns for at_ns in r.found) for r in self.reads)

    def _cut(self, to_ns: int) -> None:
        self.to_ns = to_ns
        for read in self.reads:
            read.cut(to_ns)
        self._again = deque(read for read in self._again if read.start_ns < to_ns)

    def _free(self, reads: Sequence[NodeRead]) -> Waiting:
        points = tuple(read.point for read in reads if read.point is not None)
        if points:
            yield Free(tuple(read.place for read in reads if read.point is not None), points)


def read_before(
    places: Sequence[int], at_ns: int, pace: Pace
) -> Generator[Op | LogPage, Reply, dict[int, Reading]]:
    """The last value of each node at or before an instant; nodes of which none is known lack.

    Read newest first, two values, since their order shows whether the server knows how to. It is
    asked in both ways that the specification has: asyncua 2.1 ignores the end without a start,
    node-opcua 2 forgets the order of all nodes but the first with one.
    """
    found: dict[int, Reading] = {}
    for from_ns, to_ns in ((at_ns, EARLIEST_NS), (None, at_ns)):
        left = deque(place for place in places if place not in found)
        while left:
            run = tuple(left.popleft() for _ in range(min(pace.nodes, len(left))))
            crowded: list[int] = []
            refusal = yield from _newest(Ask(run, from_ns, to_ns, MOST_MIN), at_ns, found, crowded)
            if refusal is None:
                pace.granted()
                if crowded and len(run) > 1:
                    pace.nodes = len(run) // 2
                    left.extend(crowded)
            elif refusal.code in TOO_MUCH or refusal.code in UNSUPPORTED:
                pace.refused(len(run), refusal)
                left.extendleft(reversed(run))
            else:
                break
    return found


def _newest(
    ask: Ask, at_ns: int, found: dict[int, Reading], crowded: list[int]
) -> Generator[Op | LogPage, Reply, Refusal | None]:
    """Note what one call tells, and its continuations where it tells nothing yet.

    `crowded` gets those for which the server had no continuation point left.
    """
    for _ in range(EMPTY_MAX):
        reply = asked((yield ask))
        if isinstance(reply, Refusal):
            if ask.points:
                yield Free(ask.places, ask.points)
            return reply
        going: dict[int, bytes] = {}
        spare: dict[int, bytes] = {}
        for place, told in zip(ask.places, reply.told, strict=True):
            if (last := _last(told, at_ns)) is not None:
                found[place] = last
            if told.status & SEVERITY_AND_CODE == BAD_NO_CONTINUATION_POINTS:
                crowded.append(place)
            if told.point is not None:
                (spare if told.readings else going)[place] = told.point
        if spare:
            yield Free(tuple(spare), tuple(spare.values()))
        if not going:
            return None
        ask = ask._replace(places=tuple(going), points=tuple(going.values()))
    yield Free(ask.places, ask.points)
    return None


def _last(told: Told, at_ns: int) -> Reading | None:
    """The newest of a page that was asked newest first, if its order can be believed."""
    if is_bad(told.status) or not told.readings:
        return None
    first = told.readings[0]
    if first.source_ns is None or first.source_ns > at_ns:
        return None
    if len(told.readings) == 1:
        return first if told.point is None else None
    second_ns = told.readings[1].source_ns
    return first if second_ns is not None and second_ns < first.source_ns else None
