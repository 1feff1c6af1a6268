"""The method `opcua_history` from end to end: the clock, what was before, slices, pages. Pure."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from drivers.opcua.log.clock import Offset, read_offset, still
from drivers.opcua.log.ops import TICK_NS, Ask, Asking, Begin, Op, Reply, Times, told_time
from drivers.opcua.log.pages import Hole, Ledger
from drivers.opcua.log.slices import Pace, SliceReader, Waiting, read_before
from drivers.opcua.observe import Decoder, Reading
from gateway.driver import LogPage


class Wanted(NamedTuple):
    """[from, to) by our clock; `starts` are when the server is known to have been started."""

    from_ns: int
    to_ns: int
    overlap_ns: int
    bounds: bool
    starts: Sequence[int] = ()


def read_history(decoders: Mapping[int, Decoder], wanted: Wanted, pace: Pace) -> Asking:
    """Read the history of nodes, by place, and yield its pages. Raises DeviceError.

    What the server got in the last `overlap_ns` may not be stored yet: the read ends before that.
    """
    hands = told_time((yield Times()))
    clock = yield from read_offset(hands)
    offset_ns = clock.corrected_ns if clock is not None else 0
    at_ns, to_ns = wanted.from_ns, min(wanted.to_ns, _settled_ns(wanted, clock, hands.sent_ns))
    if to_ns <= at_ns:
        return
    ledger = yield from _begin(decoders, wanted, (at_ns + offset_ns, to_ns + offset_ns), pace)
    weights = {place: len(decoder.item.members) for place, decoder in decoders.items()}

    def slice_at(at_ns: int) -> SliceReader:
        span = (at_ns + offset_ns, min(to_ns, at_ns + pace.length_ns) + offset_ns)
        return SliceReader(weights, *span, wanted.overlap_ns, pace, wanted.bounds)

    reader = slice_at(at_ns)
    asking = reader.run()
    while True:
        yield from asking
        hands = told_time((yield Times()))
        clock = still(clock, hands)
        said = clock.reading()._replace(offset_ns=offset_ns) if clock is not None else None
        done, read_ns = reader, reader.to_ns - reader.from_ns
        at_ns += read_ns
        pace.adapt(read_ns, done.observations)
        if at_ns < to_ns:
            reader = slice_at(at_ns)
            asking = yield from _begun(reader.run())
        yield from ledger.pages(done.reads, done.from_ns, done.to_ns, said)
        if done is reader:
            return


def _begun(asking: Waiting) -> Generator[Op | LogPage, Reply, Waiting]:
    """Have the first request of a slice sent; the slice, which is to be read from there."""
    first = next(asking)
    assert isinstance(first, Ask)
    yield Begin(first)
    return _from(first, asking)


def _from(op: Op | LogPage, asking: Waiting) -> Waiting:
    with suppress(StopIteration):
        while True:
            op = asking.send((yield op))


def _settled_ns(wanted: Wanted, clock: Offset | None, sent_ns: int) -> int:
    unsure_ns = clock.uncertainty_ns if clock is not None else 0
    return sent_ns - wanted.overlap_ns - unsure_ns


def _begin(
    decoders: Mapping[int, Decoder], wanted: Wanted, span: tuple[int, int], pace: Pace
) -> Generator[Op | LogPage, Reply, Ledger]:
    """What was in force at the beginning, and when the server was not running.

    A server's history ends with its last value before it stopped, of whichever node; from then
    until it was started again nothing was recorded, though a read of that says Good. It may have
    been started only after the end of the read.
    """
    from_ns, to_ns = span
    places = list(decoders)
    holes: list[Hole] = []
    before: dict[int, Reading] = {}
    if not wanted.bounds:
        before = yield from read_before(places, from_ns, pace)
    for start_ns in wanted.starts:
        if start_ns <= from_ns:
            holes.append(Hole(start_ns - TICK_NS, start_ns))
            continue
        last = yield from read_before(places, start_ns - TICK_NS, pace)
        times = (r.source_ns for r in last.values() if r.source_ns is not None)
        holes.append(Hole(max(times, default=from_ns - TICK_NS), start_ns))
        if start_ns >= to_ns:
            break  # what it stopped for later lies behind this one
    return Ledger(decoders, from_ns, before, holes)
