"""Telling late answers from true ones where frames carry no transaction id (RTU). Pure.

After a time-out the answer may still come, and would pass for the answer to the next question of
the same size. So the first question after it asks for a number of registers that no unanswered
question asked for: only its own answer has that length, and a device answers in order, so once it
is there, everything late has passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from gateway.model import NS_PER_S

HORIZON_NS: Final = 60 * NS_PER_S
"""No device answers later than this; what is older is forgotten."""
KEPT: Final = 32
GROWTH: Final = 33
"""Registers asked beyond what is wanted: enough to pass every size that is kept."""


class Suspects:
    """The questions that were given up, by unit: function, data bytes of the answer, when."""

    def __init__(self) -> None:
        self._sizes: dict[int, list[tuple[int, int, int]]] = {}

    def timed_out(self, unit: int, function: int, size: int, now_ns: int) -> None:
        """A question for `size` data bytes was given up; `size` 0 for a write."""
        kept = self._sizes.setdefault(unit, [])
        kept.append((function, size, now_ns))
        del kept[:-KEPT]

    def answered(self, unit: int) -> None:
        """A question of a unit was answered beyond doubt: nothing late can follow."""
        self._sizes.pop(unit, None)

    def is_suspect(self, unit: int, now_ns: int) -> bool:
        """Whether a late answer of this unit may still be on its way."""
        kept = [late for late in self._sizes.get(unit, ()) if late[2] + HORIZON_NS > now_ns]
        if kept:
            self._sizes[unit] = kept
        else:
            self._sizes.pop(unit, None)
        return bool(kept)

    def probe(self, unit: int, function: int, counts: Iterable[int], bits: bool) -> int | None:
        """A count out of `counts` whose answer can't be mistaken; None when there is none."""
        late = {size for asked, size, _ in self._sizes.get(unit, ()) if asked == function}
        for count in counts:
            if ((count + 7) // 8 if bits else 2 * count) not in late:
                return count
        return None


def probe_counts(count: int, limit: int) -> Iterator[int]:
    """Counts to ask for instead of `count`, the nearest first: shorter ones, then longer ones."""
    yield from range(min(count, limit), 0, -1)
    yield from range(count + 1, min(count + GROWTH, limit) + 1)
