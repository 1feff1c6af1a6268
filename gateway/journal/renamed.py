"""The history of renamed points: what the old name holds, then what the new one does (rules.md 2).

Samples keep the name they were stored under. A point that says `renamed_from` continues another:
its history is the old name's up to the first sample of its own, and its own from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from gateway.driver import PointSpec
from gateway.journal.buckets import Buckets
from gateway.model import Gap, HistoryPage, HistoryReader, HistoryRow

_NEVER_NS = 2**63 - 1
_ALWAYS_NS = -(2**63)


def former_id(point: PointSpec) -> str | None:
    """The id whose history a point continues, or None; a bare name is one of the same device."""
    old: str | None = point.settings.renamed_from
    return old if old is None or "/" in old else f"{point.device}/{old}"


async def last_values(
    newest: Callable[[Sequence[str]], Awaitable[dict[str, HistoryRow]]],
    points: Sequence[str],
    names: Mapping[str, str],
) -> dict[str, HistoryRow]:
    """The newest sample of each point, under its former name where it has none of its own.

    `newest` gives them by the names they are stored under; `names` is what RenamedHistory takes.
    """
    found = await newest(points)
    former = {names[point]: point for point in points if point in names and point not in found}
    older = await newest(list(former)) if former else {}
    return {**found, **{former[old]: row for old, row in older.items()}}


class TrendReader(HistoryReader, Protocol):
    """A HistoryReader that thins, too."""

    async def thin(self, point: str, from_ns: int, to_ns: int, buckets: Buckets) -> None:
        """Take what a raw read of [from, to) gives into buckets."""


class RenamedHistory:
    """A TrendReader over another; `names` maps a point to the one whose history it continues."""

    def __init__(self, reader: TrendReader, names: Mapping[str, str]) -> None:
        self._reader = reader
        self._names = names

    async def _switch(self, point: str) -> int:
        """When the point's own history begins; older samples may yet come from the peer."""
        first = await self._reader.after(point, _ALWAYS_NS)
        return _NEVER_NS if first is None else first.time_ns

    async def read(
        self,
        point: str,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: tuple[int, ...] | None = None,
        reverse: bool = False,
    ) -> HistoryPage:
        """As the reader below; a renamed point's cursor begins with the part that it is in."""
        old = self._names.get(point)
        if old is None:
            return await self._reader.read(point, from_ns, to_ns, limit, cursor, reverse)
        switch_ns = await self._switch(point)
        parts = [(old, from_ns, min(to_ns, switch_ns)), (point, max(from_ns, switch_ns), to_ns)]
        if reverse:
            parts.reverse()
        first, inner = (cursor[0], cursor[1:] or None) if cursor else (0, None)
        rows: list[HistoryRow] = []
        for index in range(first, len(parts)):
            name, begin_ns, end_ns = parts[index]
            if begin_ns < end_ns:
                left = limit - len(rows)
                page = await self._reader.read(name, begin_ns, end_ns, left, inner, reverse)
                rows += page.rows
                if page.cursor is not None:
                    return HistoryPage(rows, (index, *page.cursor))
                if len(rows) >= limit and index + 1 < len(parts):
                    return HistoryPage(rows, (index + 1,))
            inner = None
        return HistoryPage(rows, None)

    async def thin(self, point: str, from_ns: int, to_ns: int, buckets: Buckets) -> None:
        """As the reader below: what the old name holds, then what the new one does."""
        old = self._names.get(point)
        if old is not None and from_ns < (switch_ns := await self._switch(point)):
            await self._reader.thin(old, from_ns, min(to_ns, switch_ns), buckets)
            from_ns = switch_ns
        if from_ns < to_ns:
            await self._reader.thin(point, from_ns, to_ns, buckets)

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        """The last sample at or before an instant, or None."""
        found = await self._reader.at_or_before(point, time_ns)
        old = self._names.get(point)
        if found is not None or old is None:
            return found
        return await self._reader.at_or_before(old, time_ns)

    async def after(self, point: str, time_ns: int) -> HistoryRow | None:
        """The first sample after an instant, or None."""
        old = self._names.get(point)
        if old is not None and time_ns < (switch_ns := await self._switch(point)):
            found = await self._reader.after(old, time_ns)
            if found is not None and found.time_ns < switch_ns:
                return found
        return await self._reader.after(point, time_ns)

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        """Coverage is by device and class: names of points have no part in it."""
        return await self._reader.gaps(device, from_ns, to_ns)
