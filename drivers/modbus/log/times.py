"""When a record was made: every `TimeFormat` to ns UTC, zones, and how far a clock is off. Pure.

A stamp is read in two steps. Its *wall* time is what the device's clock showed, in ns since 1970 as
if it ran on UTC; what a zone makes of that may be two moments, in the hour that summer time ends,
and is settled by the order of the records. A wall time that a zone skips (the device has not
changed to summer time yet) is taken as standard time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from drivers.modbus.log.places import big_endian, number, words_of
from gateway.driver import ClockReading
from gateway.model import NS_PER_MS, NS_PER_S
from profiles.records import TimeFormat
from profiles.registers import WORDS, ByteOrder, WireType

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_TO_2000_S: Final = (date(2000, 1, 1).toordinal() - _EPOCH_DAY) * 86_400
_WALL_MAX_NS: Final = (date(2200, 1, 1).toordinal() - _EPOCH_DAY) * 86_400 * NS_PER_S
UNREAD_NS: Final = 600 * NS_PER_S
"""How far ahead a clock is thought to be that can't be read: far less than an hour."""
_FLAGS: Final = (0x7F, 0x0F, 0x1F, 0x1F, 0x3F, 0x3F)
"""What of the six bytes of BYTES_YMDHMS is time; the rest is flags."""
_UNIX_UNITS: Final = {
    TimeFormat.UNIX_S: (WireType.UINT32, NS_PER_S, 0),
    TimeFormat.UNIX_MS: (WireType.UINT64, NS_PER_MS, 0),
    TimeFormat.SINCE_2000_S: (WireType.UINT32, NS_PER_S, _TO_2000_S * NS_PER_S),
}
_WORDS: Final = {
    TimeFormat.BYTES_YMDHMS: 3,
    TimeFormat.PACKED_YMDHMS: 3,
    TimeFormat.PACKED_YMDHMS_MS: 4,
    TimeFormat.FLOAT_MMDDYY_HHMMSS: 4,
    TimeFormat.FLOAT_HHMMSS_MMDDYY: 4,
    TimeFormat.INT_YYMMDD_HHMMSS: 4,
    TimeFormat.WORDS_YMDHMS: 6,
}


def _count_type(format_: TimeFormat, type_: WireType) -> WireType:
    """The type of a count since an epoch: what is declared, if a count fits in it."""
    return type_ if WORDS[type_] > 1 else _UNIX_UNITS[format_][0]


def stamp_words(format_: TimeFormat, type_: WireType = WireType.UINT16) -> int:
    """How many words a stamp takes; `type_` matters for counts since an epoch only."""
    if format_ in _UNIX_UNITS:
        return WORDS[_count_type(format_, type_)]
    return _WORDS[format_]


def wall_ns(
    format_: TimeFormat,
    words: Sequence[int],
    byte_order: ByteOrder = ByteOrder.ABCD,
    type_: WireType = WireType.UINT16,
) -> int | None:
    """The wall time in `stamp_words` words; None where they are no moment (empty, damaged).

    `byte_order` orders the words of numbers that are longer than one; packed bytes have theirs.
    """
    if format_ in _UNIX_UNITS:
        return _since(format_, words, byte_order, _count_type(format_, type_))
    if format_ in (TimeFormat.FLOAT_MMDDYY_HHMMSS, TimeFormat.FLOAT_HHMMSS_MMDDYY):
        return _decimal(format_, words, WireType.FLOAT32, byte_order)
    if format_ is TimeFormat.INT_YYMMDD_HHMMSS:
        return _decimal(format_, words, WireType.INT32, byte_order)
    if format_ is TimeFormat.WORDS_YMDHMS:
        year, *rest = words
        return _wall(year if year >= 100 else 2000 + year, *rest)
    fields = list(big_endian(words[:3], ByteOrder.ABCD))
    if format_ is TimeFormat.BYTES_YMDHMS:
        fields = [field & mask for field, mask in zip(fields, _FLAGS, strict=True)]
    wall = _wall(2000 + fields[0], *fields[1:])
    if format_ is TimeFormat.PACKED_YMDHMS_MS:
        return with_fraction(wall, words[3], "ms")
    return wall


def moment_words(
    format_: TimeFormat,
    wall: int,
    byte_order: ByteOrder = ByteOrder.ABCD,
    type_: WireType = WireType.UINT16,
) -> tuple[int, ...]:
    """The words that `wall_ns` reads as this wall time; what the format can't say is cut off.

    Raises ValueError for a time that the format has no words for.
    """
    if format_ in _UNIX_UNITS:
        _, unit_ns, zero_ns = _UNIX_UNITS[format_]
        return words_of((wall - zero_ns) // unit_ns, _count_type(format_, type_), byte_order)
    at = _EPOCH + timedelta(seconds=wall // NS_PER_S)
    fields = (at.month, at.day, at.hour, at.minute, at.second)
    if format_ is TimeFormat.WORDS_YMDHMS:
        return (at.year, *fields)
    year = at.year - 2000
    if not 0 <= year < 100:
        raise ValueError(f"the year {at.year} does not fit in a {format_}")
    month, day, hour, minute, second = fields
    clock = (hour * 100 + minute) * 100 + second
    if format_ is TimeFormat.INT_YYMMDD_HHMMSS:
        return _each(((year * 100 + month) * 100 + day, clock), WireType.INT32, byte_order)
    date_ = (month * 100 + day) * 100 + year
    if format_ is TimeFormat.FLOAT_MMDDYY_HHMMSS:
        return _each((date_, clock), WireType.FLOAT32, byte_order)
    if format_ is TimeFormat.FLOAT_HHMMSS_MMDDYY:
        return _each((clock, date_), WireType.FLOAT32, byte_order)
    words = (year << 8 | month, day << 8 | hour, minute << 8 | second)
    if format_ is TimeFormat.PACKED_YMDHMS_MS:
        return (*words, wall % NS_PER_S // NS_PER_MS)
    return words


def _each(pair: Sequence[int], type_: WireType, byte_order: ByteOrder) -> tuple[int, ...]:
    return tuple(word for value in pair for word in words_of(value, type_, byte_order))


def with_fraction(wall: int | None, fraction: float | None, unit: str) -> int | None:
    """A wall time with the part of its second that was kept apart, in ms or us."""
    per_second = 1_000 if unit == "ms" else 1_000_000
    if wall is None or fraction is None or not 0 <= fraction < per_second:
        return None
    return wall + int(fraction) * (NS_PER_S // per_second)


def _since(
    format_: TimeFormat, words: Sequence[int], byte_order: ByteOrder, type_: WireType
) -> int | None:
    _, unit_ns, zero_ns = _UNIX_UNITS[format_]
    count = number(words, type_, byte_order)
    if not count or not math.isfinite(count) or all(word == 0xFFFF for word in words):
        return None
    wall = round(count * unit_ns) + zero_ns
    return wall if 0 <= wall < _WALL_MAX_NS else None


def _decimal(
    format_: TimeFormat, words: Sequence[int], type_: WireType, byte_order: ByteOrder
) -> int | None:
    """Date and time as decimal digits of two numbers."""
    pair = [number(words[at : at + 2], type_, byte_order) for at in (0, 2)]
    if any(not 0 <= (value or 0) < 1_000_000 for value in pair):
        return None
    day, clock = (int(value or 0) for value in pair)
    if format_ is TimeFormat.FLOAT_HHMMSS_MMDDYY:
        day, clock = clock, day
    first, second, third = day // 10_000, day // 100 % 100, day % 100
    if format_ is TimeFormat.INT_YYMMDD_HHMMSS:
        year, month, of_month = first, second, third
    else:
        month, of_month, year = first, second, third
    return _wall(2000 + year, month, of_month, clock // 10_000, clock // 100 % 100, clock % 100)


def _wall(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    if hour > 23 or minute > 59 or second > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    wall = ((days * 24 + hour) * 60 + minute) * 60 + second
    return wall * NS_PER_S if 0 <= wall * NS_PER_S < _WALL_MAX_NS else None


# -------------------------------------------------------------------------------------------- zones


class NodeZone(tzinfo):
    """The zone that this node is set to."""

    def fromutc(self, moment: datetime) -> datetime:
        return moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()


def zone_of(name: str) -> tzinfo | None:
    """The zone that a profile names: utc (None), local (this node's), or Europe/Prague.

    Raises ValueError when this node doesn't know the name.
    """
    if name == "utc":
        return None
    if name == "local":
        return NodeZone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"this node knows no zone `{name}`") from None


def moments(wall: int, zone: tzinfo | None) -> tuple[int, int]:
    """What a wall time may be in ns UTC: the earliest and the latest, the same but for one hour."""
    if zone is None:
        return wall, wall
    shown = (_EPOCH + timedelta(seconds=wall // NS_PER_S)).replace(tzinfo=zone)
    offsets = [shown.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1)]
    first, second = (wall - round(each.total_seconds()) * NS_PER_S for each in offsets)
    # Where summer time begins the zone skips an hour: the device still shows standard time.
    return (first, second) if first <= second else (first, first)


def shown(moment_ns: int, zone: tzinfo | None) -> int:
    """The wall time that a clock in a zone shows at a moment, ns UTC: the reverse of `moments`."""
    if zone is None:
        return moment_ns
    seconds, rest_ns = divmod(moment_ns, NS_PER_S)
    local = (_EPOCH + timedelta(seconds=seconds)).astimezone(zone).replace(tzinfo=UTC)
    return round((local - _EPOCH).total_seconds()) * NS_PER_S + rest_ns


def settle(
    walls: Sequence[int],
    zone: tzinfo | None,
    after_ns: int | None = None,
    before_ns: int | None = None,
) -> list[int]:
    """The moments of stamps in the order of their records, in ns UTC.

    `after_ns` is the record before the first, `before_ns` what none can exceed (the present), both
    by the device's clock. A stamp that could be two moments is the first that doesn't go back.
    """
    pairs = [moments(wall, zone) for wall in walls]
    found = [0] * len(pairs)
    unsure = 0
    if after_ns is None:
        while unsure < len(pairs) and pairs[unsure][0] != pairs[unsure][1]:
            unsure += 1
        # Nothing before them tells: the records after them do.
        limit = pairs[unsure][0] if unsure < len(pairs) else before_ns
        for at in reversed(range(unsure)):
            early, late = pairs[at]
            limit = found[at] = late if limit is None or late <= limit else early
        after_ns = limit if unsure == len(pairs) else found[unsure - 1] if unsure else None
    for at in range(unsure, len(pairs)):
        early, late = pairs[at]
        after_ns = found[at] = early if after_ns is None or early >= after_ns else late
    return found


# ------------------------------------------------------------------------------------------- clocks


def clock_reading(
    device_ns: int, sent_ns: int, received_ns: int, resolution_ns: int
) -> ClockReading:
    """A device's clock against the middle of the exchange that read it."""
    uncertainty_ns = (received_ns - sent_ns) // 2 + resolution_ns
    return ClockReading(device_ns - (sent_ns + received_ns) // 2, uncertainty_ns)


def agree(one: ClockReading, other: ClockReading) -> bool:
    """Whether two readings can be of a clock that nobody touched."""
    return abs(one.offset_ns - other.offset_ns) <= one.uncertainty_ns + other.uncertainty_ns


def applied(reading: ClockReading | None) -> int:
    """The offset that stamps are corrected by: within its uncertainty it counts as 0."""
    if reading is None or abs(reading.offset_ns) <= reading.uncertainty_ns:
        return 0
    return reading.offset_ns


def present(now_ns: int, reading: ClockReading | None) -> int:
    """What no stamp can exceed, by the device's clock: a bit after this node's `now_ns`."""
    return now_ns + applied(reading) + (UNREAD_NS if reading is None else NS_PER_S)


class Step(NamedTuple):
    """The clock was set back before record `at`, by `by_ns`; below 0: it was set forward."""

    at: int
    by_ns: int


class Unplaced(NamedTuple):
    """The clock was set by `by_ns`, at some time before `until_ns`, this node's time."""

    until_ns: int
    by_ns: int


class Known(NamedTuple):
    """How far a device's clock was ahead at an instant, by a node's clock; from a log's fact.

    `since` is the run of that clock that measured it, `until` the last one that found it so, at
    `last_ns` or a bit later: two nodes have two clocks, and one that was set, or a process that
    began anew, has another run.
    """

    at_ns: int
    offset_ns: int
    since: str = ""
    until: str = ""
    last_ns: int = 0

    @property
    def seen_ns(self) -> int:
        """When it was found so last, as far as it was told."""
        return max(self.at_ns, self.last_ns)


KNOWN_MAX: Final = 4
SEEN_NS: Final = 60 * NS_PER_S
"""So much later it is told again that a clock is as it was: what it was set by is after that."""
DRIFT_PPM: Final = 200
"""What clocks of devices may drift, and more: a greater change is one that somebody made."""


def known_clock(
    told: Sequence[Sequence[Any]],
    at_ns: int,
    clock: ClockReading | None,
    coarse_ns: int,
    run: str = "",
) -> list[Known]:
    """What is known of a clock once it is read again: a reading that tells nothing new is left out.

    A change of less than `coarse_ns` is nothing new, nor what its uncertainty may hide; that it is
    as it was is new after a while, or when another run says so.
    """
    known = [Known(*each[: len(Known._fields)]) for each in told]  # a later version may tell more
    if clock is not None:
        unsure_ns = max(2 * clock.uncertainty_ns, coarse_ns)
        if not known or abs(clock.offset_ns - known[-1].offset_ns) > unsure_ns:
            known.append(Known(at_ns, clock.offset_ns, run, run))
        elif known[-1].until != run or at_ns - known[-1].seen_ns >= SEEN_NS:
            known[-1] = known[-1]._replace(until=run, last_ns=at_ns)
    return known[-KNOWN_MAX:]
