"""From slices of history to pages: values decoded, what is not known said, times corrected. Pure.

A history holds changes: a node's value at an instant is known from its last value before. It is
unknown from the beginning of a read until the node's first value, if none before was found; while
the server was not running; and after a place where the server gave less than it holds. Those
stretches are lacking, of those points only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, NamedTuple

from drivers.opcua.log.node import NodeRead
from drivers.opcua.log.ops import TICK_NS
from drivers.opcua.observe import Decoder, Reading
from gateway.driver import PAGE_RECORDS_MAX, ClockReading, Lacking, LogPage, Observation
from gateway.model import Value

NOT_HELD: Final = "the server's history of it begins later"
NOT_RUNNING: Final = "the server was not running"
TORN: Final = "the server holds more values of one time than it gives"


class Hole(NamedTuple):
    """The server was not running from somewhere in [from, to) on; it was started at `to_ns`."""

    from_ns: int
    to_ns: int


@dataclass(slots=True)
class _Line:
    """What is known of one node, while pages are made in order of time."""

    decoder: Decoder
    names: tuple[str, ...]
    newest_ns: int | None = None
    unknown_ns: int | None = None
    why: str = NOT_HELD
    said: dict[int, tuple[Value, int]] = field(default_factory=dict)


class Ledger:
    """Makes pages of slices that follow one another; times inside are the server's.

    `decoders` by place. `before` holds the last value of nodes at or before `from_ns`.
    """

    def __init__(
        self,
        decoders: Mapping[int, Decoder],
        from_ns: int,
        before: Mapping[int, Reading],
        holes: Sequence[Hole] = (),
    ) -> None:
        self._holes = holes
        self._before = dict(before)
        self._lines = {
            place: _Line(decoder, tuple(m.name for m in decoder.item.members), None, from_ns)
            for place, decoder in decoders.items()
        }
        self._names = sum(len(line.names) for line in self._lines.values())

    def pages(
        self, reads: Iterable[NodeRead], from_ns: int, to_ns: int, clock: ClockReading | None
    ) -> list[LogPage]:
        """The pages of the slice [from, to) of the server's time."""
        seen: list[Observation] = []
        unknown: dict[tuple[int, int, str], list[str]] = {}
        back_ns = 0
        for read in reads:
            line = self._lines[read.place]
            back_ns = max(back_ns, read.back_ns)
            for begin_ns, end_ns, why in self._follow(line, read, from_ns, to_ns, seen):
                unknown.setdefault((begin_ns, end_ns, why), []).extend(line.names)
        seen.sort(key=itemgetter(1, 0))
        if clock is not None and back_ns:
            clock = clock._replace(uncertainty_ns=max(clock.uncertainty_ns, back_ns))
        return self._cut(seen, unknown, from_ns, to_ns, clock)

    # ------------------------------------------------------------------------- one node

    def _follow(
        self, line: _Line, read: NodeRead, from_ns: int, to_ns: int, seen: list[Observation]
    ) -> list[tuple[int, int, str]]:
        """Observe what a node held in a slice; the stretches of it that are not known."""
        found = dict(read.found)
        if (first := self._before.pop(read.place, None)) is not None:
            assert first.source_ns is not None
            found.setdefault(first.source_ns, first)
        breaks = dict.fromkeys(read.torn, TORN)
        if read.ended:
            breaks[max(from_ns, read.through_ns)] = read.ended
        for at_ns in breaks:  # there may be a later value of the same time
            found.pop(at_ns, None)
        events: list[tuple[int, Reading | str]] = []
        early = [at_ns for at_ns in found if at_ns <= from_ns and from_ns not in breaks]
        if early and (line.newest_ns is None or max(early) > line.newest_ns):
            events.append((max(early), found[max(early)]))
        events += [(at_ns, found[at_ns]) for at_ns in found if from_ns < at_ns < to_ns]
        events += breaks.items()
        events += [
            (h.from_ns + TICK_NS, NOT_RUNNING)
            for h in self._holes
            if h.from_ns < to_ns and h.to_ns > from_ns
        ]
        events.sort(key=itemgetter(0))
        stretches: list[tuple[int, int, str]] = []
        for at_ns, what in events:
            if isinstance(what, str):
                self._forget(line, at_ns, what, from_ns)
            elif not self._stale(at_ns, from_ns):
                when_ns = max(at_ns, from_ns)
                self._known(line, when_ns, from_ns, stretches)
                line.newest_ns = at_ns
                seen += self._observed(line, what, when_ns)
        if line.unknown_ns is not None:
            begin_ns = max(line.unknown_ns, from_ns)
            if begin_ns < to_ns:
                stretches.append((begin_ns, to_ns, line.why))
        return stretches

    def _stale(self, at_ns: int, from_ns: int) -> bool:
        """Whether a value from before a slice was overtaken by a stop of the server."""
        return bool(self._holes) and any(
            at_ns <= h.from_ns and h.to_ns <= from_ns for h in self._holes
        )

    @staticmethod
    def _forget(line: _Line, at_ns: int, why: str, from_ns: int) -> None:
        """From this time on the node's value is not known."""
        if line.newest_ns is not None and line.newest_ns >= at_ns:
            return
        begin_ns = max(at_ns, from_ns)
        if line.unknown_ns is None or line.unknown_ns == begin_ns:
            line.unknown_ns, line.why = begin_ns, why
            line.said.clear()

    @staticmethod
    def _known(
        line: _Line, at_ns: int, from_ns: int, stretches: list[tuple[int, int, str]]
    ) -> None:
        """From this time on it is."""
        if line.unknown_ns is not None:
            begin_ns = max(line.unknown_ns, from_ns)
            if begin_ns < at_ns:
                stretches.append((begin_ns, at_ns, line.why))
            line.unknown_ns = None

    @staticmethod
    def _observed(line: _Line, reading: Reading, at_ns: int) -> list[Observation]:
        """The observations of a value; of an array only the elements that changed."""
        if not reading.rank:
            line.said.clear()
            return [Observation(n, at_ns, v, s) for n, v, s in line.decoder.decode(reading)]
        observations = []
        for number, value, status in line.decoder.decode(reading):
            if line.said.get(number) == (value, status):
                continue
            line.said[number] = (value, status)
            observations.append(Observation(number, at_ns, value, status))
        return observations

    # ---------------------------------------------------------------------------- pages

    def _cut(
        self,
        seen: Sequence[Observation],
        unknown: Mapping[tuple[int, int, str], list[str]],
        from_ns: int,
        to_ns: int,
        clock: ClockReading | None,
    ) -> list[LogPage]:
        """Pages that join; observations of one time stay together, however many they are."""
        offset_ns = clock.offset_ns if clock is not None else 0
        pages: list[LogPage] = []
        begin, begin_ns = 0, from_ns
        while not pages or begin < len(seen):
            end = min(begin + PAGE_RECORDS_MAX, len(seen))
            end = _whole(seen, begin, end)
            end_ns = seen[end].time_ns if end < len(seen) else to_ns
            part = seen[begin:end]
            lacking = [
                Lacking(
                    max(a_ns, begin_ns) - offset_ns,
                    min(b_ns, end_ns) - offset_ns,
                    why,
                    self._of(names),
                )
                for (a_ns, b_ns, why), names in sorted(unknown.items())
                if a_ns < end_ns and b_ns > begin_ns
            ]
            pages.append(
                LogPage(
                    from_ns=begin_ns - offset_ns,
                    through_ns=end_ns - offset_ns,
                    observations=_earlier(part, offset_ns),
                    lacking=lacking,
                    records=len(part),
                    newest_ns=part[-1].time_ns - offset_ns if part else None,
                    clock=clock,
                )
            )
            begin, begin_ns = end, end_ns
        return pages

    def _of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Who lacks a stretch, as a page says it: (): all."""
        return () if len(names) == self._names else tuple(names)


def _earlier(seen: Sequence[Observation], by_ns: int) -> Sequence[Observation]:
    """Observations by our clock, which is this much behind; usually it isn't."""
    return [Observation(n, at - by_ns, v, s) for n, at, v, s in seen] if by_ns else seen


def _whole(seen: Sequence[Observation], begin: int, end: int) -> int:
    """Where to end a page so that a time is not divided: earlier if that leaves any, else later."""
    if end == len(seen):
        return end
    earlier = end
    while earlier > begin and seen[earlier - 1].time_ns == seen[end].time_ns:
        earlier -= 1
    if earlier > begin:
        return earlier
    while end < len(seen) and seen[end].time_ns == seen[begin].time_ns:
        end += 1
    return end
