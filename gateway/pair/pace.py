"""How often paths are dialled, which one is the best, and how often the same thing is told: pure.

Times are ns of the node's monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.model import NS_PER_MS, NS_PER_S

EAGER_NS: Final = 20 * NS_PER_MS
EAGER_FOR_NS: Final = 2 * NS_PER_S
PATIENT_NS: Final = 200 * NS_PER_MS
REFUSED_NS: Final = NS_PER_S
"""A certificate or a site does not mend itself within milliseconds."""
LINES_MAX: Final = 6
LINES_WITHIN_NS: Final = 60 * NS_PER_S
SAME_WITHIN_NS: Final = 3_600 * NS_PER_S
NAMES_MAX: Final = 64


def redial_ns(down_ns: int, refused: bool) -> int:
    """How long after the beginning of one attempt the next begins, on a path down for so long."""
    if refused:
        return REFUSED_NS
    return EAGER_NS if down_ns < EAGER_FOR_NS else PATIENT_NS


class Redialling:
    """When one path is dialled again.

    One that stood and fell is dialled at once and eagerly: the first dial may meet the kernel while
    it takes the killed process apart, which accepts and resets, and only the next is refused. One
    that stood shorter than a patient pause flaps: it did not mend, so its pace doesn't change.
    """

    def __init__(self, now_ns: int) -> None:
        self._down_since_ns = now_ns

    def pause_ns(self, began_ns: int, now_ns: int, stood: bool, refused: bool) -> int:
        """How long to wait now, after the attempt that began then, which `stood` or was refused."""
        if stood and now_ns - began_ns >= PATIENT_NS:
            self._down_since_ns = now_ns
            return 0
        due_ns = began_ns + redial_ns(now_ns - self._down_since_ns, refused)
        return max(0, due_ns - now_ns)


class Standing(NamedTuple):
    """A path that carries heartbeats: its name, round trip, and since when."""

    name: str
    rtt_ns: int
    since_ns: int


def best_first(paths: Sequence[Standing]) -> list[str]:
    """Paths for bulk data: the shortest round trip, then the one that stood longest.

    Round trips within a factor of two, and all below a millisecond, count as equal: jitter must
    not decide.
    """
    return [
        path.name
        for path in sorted(
            paths, key=lambda path: ((path.rtt_ns // NS_PER_MS).bit_length(), path.since_ns)
        )
    ]


class Told:
    """Lets a text of a name through when it is news, and few lines within a while at most.

    The same text again is no news for an hour, unless it was `over` meanwhile. Other lines that
    were held back are counted, and the count goes with the next line. At most `NAMES_MAX` names
    are remembered.
    """

    def __init__(self, within_ns: int = LINES_WITHIN_NS) -> None:
        self._within_ns = within_ns
        self._lines: dict[str, deque[int]] = {}
        self._last: dict[str, tuple[str, int]] = {}
        self._held_back: dict[str, int] = {}

    def news(self, now_ns: int, name: str, text: str) -> str | None:
        """The line to be told, or None."""
        lines = self._lines.pop(name, None) or deque(maxlen=LINES_MAX)
        self._lines[name] = lines
        while len(self._lines) > NAMES_MAX:
            self._forget(next(iter(self._lines)))
        last_text, last_ns = self._last.get(name, ("", 0))
        if last_text == text and now_ns - last_ns < SAME_WITHIN_NS:
            return None
        if len(lines) == LINES_MAX and now_ns - lines[0] < self._within_ns:
            self._held_back[name] = self._held_back.get(name, 0) + 1
            return None
        lines.append(now_ns)
        self._last[name] = (text, now_ns)
        held_back = self._held_back.pop(name, 0)
        return f"{text} ({held_back} more held back)" if held_back else text

    def over(self, name: str) -> None:
        """It is mended: the same text would be news."""
        self._last.pop(name, None)

    def _forget(self, name: str) -> None:
        for kept in (self._lines, self._last, self._held_back):
            kept.pop(name, None)
