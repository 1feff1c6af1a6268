"""Records of an addressed log found by their times, without reading all of them. Sans-IO, pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import tzinfo
from typing import Final, NamedTuple

from drivers.modbus.log.ops import Asking
from drivers.modbus.log.times import Step, moments
from gateway.model import NS_PER_S

GONE: Final = -(2**63)
"""What a probe gives for a record that the log doesn't hold any more."""
STEP_PROBES_MAX: Final = 64
STEP_TRIES: Final = 8
"""Records beside one without a stamp that are tried in its place."""
MEANWHILE_NS: Final = 10 * NS_PER_S
"""How much a device may have recorded between two requests of a look at its log."""


class Jumps(NamedTuple):
    """Where stamps leave something out; `whole` if there is none besides."""

    steps: list[Step]
    whole: bool


Probe = Callable[[int], Asking[int | None]]
"""Reads one record: the latest that its corrected time may be, GONE, or None (can't be told)."""


def unwrapped(number: int, oldest: int, modulo: int | None) -> int:
    """The number of a record as if the device counted on; `oldest` is that of the oldest."""
    return number if modulo is None else oldest + (number - oldest) % modulo


def first_since(
    oldest: int, newest: int, from_ns: int, probe: Probe, hint: int | None = None
) -> Asking[int]:
    """The first record at or after a time, `newest` + 1 if there is none.

    At most log2 of the records and two more probes; with a right `hint` just those two. It never
    passes over a record at or after `from_ns`: a probe that can't tell only makes it begin earlier.
    """
    low, high = oldest, newest + 1
    guesses = [] if hint is None else [hint, hint - 1]
    while low < high:
        guess = guesses.pop() if guesses else (low + high) // 2
        if not low <= guess < high:
            continue
        latest = yield from probe(guess)
        if latest is None or latest >= from_ns:
            high = guess
        else:
            low = guess + 1
    return low


def steps_between(
    low: int,
    high: int,
    spacing_ns: int,
    zone: tzinfo | None,
    wall_of: Callable[[int], Asking[int | None]],
) -> Asking[list[Step]]:
    """Where the clock was set back between two records, found without reading all of them.

    Records are made every `spacing_ns`; where stamps span less time than that, the clock was set
    back, and each half tells whether it was there. A pause of the device hides as much as it is
    long. `wall_of` reads a record's stamp; in place of one without the next one that has a stamp is
    taken, and however many of the oldest are overwritten by now, the first that is not. At most
    STEP_PROBES_MAX records are read.
    """
    found = yield from _between(low, high, spacing_ns, zone, wall_of, lambda ns: ns > spacing_ns)
    return found.steps


def jumps_between(
    low: int,
    high: int,
    spacing_ns: int,
    zone: tzinfo | None,
    wall_of: Callable[[int], Asking[int | None]],
    least_ns: int,
) -> Asking[Jumps]:
    """Where stamps leave out `least_ns` or more, found in the same way.

    The device paused, or its clock was set forward: the stamps alone don't tell.
    """
    return (yield from _between(low, high, spacing_ns, zone, wall_of, lambda ns: -ns >= least_ns))


def _between(
    low: int,
    high: int,
    spacing_ns: int,
    zone: tzinfo | None,
    wall_of: Callable[[int], Asking[int | None]],
    counts: Callable[[int], bool],
) -> Asking[Jumps]:
    """Where stamps span as much less time than the records as `counts`."""
    walls: dict[int, int] = {}
    asked: set[int] = set()

    def readable(numbers: Iterable[int]) -> Asking[int | None]:
        for number in numbers:
            if number not in asked:
                if len(asked) >= STEP_PROBES_MAX:
                    return None
                asked.add(number)
                if (wall_ns := (yield from wall_of(number))) is not None:
                    walls[number] = wall_ns
            if number in walls:
                return number
        return None

    def oldest() -> Asking[int | None]:
        """The first record that has a stamp, by steps twice as long each time, and by halving."""
        gone, ahead = low - 1, 0
        while (found := (yield from readable([low + ahead]))) is None:
            if (gone := low + ahead) >= high:
                return None
            ahead = min(2 * ahead or 1, high - low)
        while found - gone > 1:
            if (nearer := (yield from readable([(gone + found) // 2]))) is None:
                gone = (gone + found) // 2
            else:
                found = nearer
        return found

    first = yield from oldest()
    last = yield from readable(range(high, max(low, high - STEP_TRIES), -1))
    parts = [] if first is None or last is None else [(first, last)]
    found: list[Step] = []
    whole = bool(parts)
    while parts:
        a, b = parts.pop()
        made_ns = (b - a) * spacing_ns
        missing_ns = made_ns - _apart(walls[a], walls[b], made_ns, zone)
        if not counts(missing_ns):
            continue
        half = (a + b) // 2
        after = range(max(half, a + 1), min(b, half + STEP_TRIES))
        before = range(half - 1, max(a, half - STEP_TRIES), -1)
        middle = yield from readable([*after, *before])
        if middle is not None:
            parts += [(a, middle), (middle, b)]
        elif all(number in asked for number in range(a + 1, b)):
            found.append(Step(b, missing_ns))
        else:
            whole = False
    return Jumps(sorted(found), whole)


def _apart(earlier: int, later: int, made_ns: int, zone: tzinfo | None) -> int:
    """The time between two stamps: of all they may mean what is nearest to what was made in it."""
    (early, late), (early_after, late_after) = moments(earlier, zone), moments(later, zone)
    spans = (late_after - early, late_after - late, early_after - early)
    return min(spans, key=lambda span_ns: abs(span_ns - made_ns))


TimeOf = Callable[[int], Asking["Moments | None"]]
"""Reads when the record in a place was made: what its stamp may mean; None if there is none."""


class Moments(NamedTuple):
    """What a stamp may mean: two moments in the hour that comes twice, else the same one."""

    early_ns: int
    late_ns: int

    @property
    def unsure(self) -> bool:
        return self.early_ns != self.late_ns


def newest_place(
    first: int, places: int, time_of: TimeOf, spacing_ns: int | None = None
) -> Asking[int | None]:
    """The place of the newest record, where places from `first` on are overwritten in turn.

    By halving: from the first place on the times rise, up to the newest. None: it is empty.
    `spacing_ns` tells what rises where stamps may mean two moments.
    """
    end = first + places
    begin = yield from time_of(first)
    if begin is None and places > 1:
        # It may be half written yet, the first of a new round: then the second is the oldest.
        first += 1
        begin = yield from time_of(first)
    if begin is None:
        return None
    low, high = first, end
    while high - low > 1:
        middle = (low + high) // 2
        found = yield from time_of(middle)
        if found is not None and _risen(begin, found, middle - first, places, spacing_ns):
            low = middle
        else:
            high = middle
    return low


def _risen(begin: Moments, found: Moments, ahead: int, places: int, spacing_ns: int | None) -> bool:
    """Whether a record so many places ahead was made after the first, not a round before it."""
    if spacing_ns is None or not (begin.unsure and found.unsure):
        return found.late_ns >= begin.early_ns
    spans = [a - b for a in found for b in begin]
    after, before = ahead * spacing_ns, (ahead - places) * spacing_ns
    return min(abs(span - after) for span in spans) <= min(abs(span - before) for span in spans)


def oldest_place(
    first: int,
    places: int,
    newest: int,
    time_of: TimeOf,
    newest_made: Moments | None = None,
) -> Asking[int]:
    """The next place after the newest that has a record; the first one where none of them has.

    With `newest_made`, when the newest was made, what the device recorded since then is not taken
    for its oldest: it lies there, too. A log as deep as the hour that comes twice has its oldest
    there in that hour: what may be that is.
    """

    def is_old(found: Moments | None) -> bool:
        if found is None or newest_made is None or (found.unsure and newest_made.unsure):
            return found is not None
        return not 0 < found.late_ns - newest_made.late_ns <= MEANWHILE_NS

    after, last = newest + 1, first + places - 1
    if after > last:
        return first
    if is_old((yield from time_of(after))):
        return after
    if not is_old((yield from time_of(last))):
        return first
    absent, there = after, last
    while there - absent > 1:
        middle = (absent + there) // 2
        if is_old((yield from time_of(middle))):
            there = middle
        else:
            absent = middle
    return there
