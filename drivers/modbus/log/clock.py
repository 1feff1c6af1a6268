"""Reading a device's clock as its profile's `clock:` says. Sans-IO; the clock is never set."""

from __future__ import annotations

from datetime import tzinfo

from drivers.modbus.log.ops import Asking, Read, Refusal, ask
from drivers.modbus.log.places import number, place_of
from drivers.modbus.log.times import (
    clock_reading,
    moments,
    stamp_words,
    wall_ns,
    with_fraction,
    zone_of,
)
from gateway.driver import ClockReading
from profiles.records import Clock, TimeFormat


def clock_words(clock: Clock) -> int:
    """How many registers the device's time takes, its fraction not counted."""
    return stamp_words(clock.read.format or TimeFormat.UNIX_S, clock.read.type)


def read_clock(clock: Clock | None, base: int, local: str = "local") -> Asking[ClockReading | None]:
    """The device's clock against this node's; None where there is none or it shows no moment.

    `local` is the zone of a clock that shows local time; the site may name one.

    A fraction is read together with the time, so it counts only where it follows it directly.
    """
    if clock is None:
        return None
    place, size = place_of(clock.read, base), clock_words(clock)
    extra = 0
    if clock.fraction is not None:
        apart = place_of(clock.fraction, base)
        if (apart.area, apart.address) == (place.area, place.address + size):
            extra = apart.words
    answer = yield from ask(Read(place.area, place.address, size + extra))
    if isinstance(answer, Refusal):
        return None
    format_ = clock.read.format or TimeFormat.UNIX_S
    wall = wall_ns(format_, answer.words[:size], place.byte_order, place.type)
    if extra and clock.fraction is not None:
        apart = place_of(clock.fraction, base)
        part = number(answer.words[size:], apart.type, apart.byte_order)
        wall = with_fraction(wall, part, clock.fraction_unit)
    if wall is None:
        return None
    zone = local if clock.zone == "local" else clock.zone
    device_ns = nearest(wall, zone_of(zone), answer.received_ns)
    return clock_reading(device_ns, answer.sent_ns, answer.received_ns, clock.resolution_ns)


def nearest(wall: int, zone: tzinfo | None, now_ns: int) -> int:
    """What a clock shows now, in ns UTC: of two moments the one nearer to this node's time."""
    return min(moments(wall, zone), key=lambda each: abs(each - now_ns))
