"""The server's clock against ours, though many servers set theirs anew only once a second. Pure."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple

from drivers.opcua.log.ops import Hands, Op, Reply, Times, Wait, told_time
from gateway.driver import ClockReading, LogPage
from gateway.model import NS_PER_MS

TICK_WAIT_NS: Final = 50 * NS_PER_MS
TICKS_MAX: Final = 30
"""Looked at for 1.5 s: a clock that stands still for longer is none."""


class Offset(NamedTuple):
    """The server's clock minus ours; `grain_ns` is the step in which it is set anew."""

    offset_ns: int
    uncertainty_ns: int
    grain_ns: int

    @property
    def corrected_ns(self) -> int:
        """What source times are corrected by: an offset within its uncertainty counts as none."""
        return self.offset_ns if abs(self.offset_ns) > self.uncertainty_ns else 0

    def reading(self) -> ClockReading:
        """The same, as a page tells it."""
        return ClockReading(self.corrected_ns, self.uncertainty_ns)


def _ahead_ns(hands: Hands, now_ns: int) -> int:
    return now_ns - (hands.sent_ns + hands.received_ns) // 2


def read_offset(
    first: Hands,
) -> Generator[Op | LogPage, Reply, Offset | None]:
    """Look again until the clock has moved on; None where it can't be read, or stands still.

    A clock that is seen to move was set between the look before and this one, so its age is known.
    """
    before = first
    for look in range(TICKS_MAX):
        if before.now_ns is None:
            return None
        if look:
            yield Wait(TICK_WAIT_NS)
        hands = told_time((yield Times()))
        if hands.now_ns is not None and hands.now_ns != before.now_ns:
            uncertainty_ns = hands.received_ns - before.sent_ns
            grain_ns = abs(hands.now_ns - before.now_ns)
            return Offset(_ahead_ns(hands, hands.now_ns), uncertainty_ns, grain_ns)
        before = hands
    return None


def still(offset: Offset | None, hands: Hands) -> Offset | None:
    """The offset after a later look: with more uncertainty if the clock was set meanwhile.

    The history was stamped by the clock as it was before, so the offset itself stays.
    """
    if offset is None or hands.now_ns is None:
        return offset
    off_ns = _ahead_ns(hands, hands.now_ns) - offset.offset_ns
    allowed_ns = offset.uncertainty_ns + (hands.received_ns - hands.sent_ns) // 2
    if -offset.grain_ns - allowed_ns <= off_ns <= allowed_ns:
        return offset
    return offset._replace(uncertainty_ns=max(offset.uncertainty_ns, abs(off_ns)))
