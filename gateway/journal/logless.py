"""The history of devices that keep no log: nothing will fill their gaps, so these are lost.

The journal can't know: it derives gaps from records, and which device keeps a log is learned from
the configuration and from the device. Once a log is known such a gap is open again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.journal.buckets import Buckets
from gateway.journal.renamed import TrendReader
from gateway.model import Gap, GapState, HistoryPage, HistoryRow, Origin, Status

NO_LOG: Final = "no log is known to fill it from"


class LoglessHistory:
    """A TrendReader over another; `keeps_log` says of a device whether it has a log to ask."""

    def __init__(self, reader: TrendReader, keeps_log: Callable[[str], bool]) -> None:
        self._reader = reader
        self._keeps_log = keeps_log

    async def read(
        self,
        point: str,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: tuple[int, ...] | None = None,
        reverse: bool = False,
    ) -> HistoryPage:
        """As the reader below; what says that a stretch is missing says whether it is for ever."""
        page = await self._reader.read(point, from_ns, to_ns, limit, cursor, reverse)
        if not any(map(_is_open, page.rows)) or self._keeps_log(_device(point)):
            return page
        return HistoryPage([_lost(row) if _is_open(row) else row for row in page.rows], page.cursor)

    async def thin(self, point: str, from_ns: int, to_ns: int, buckets: Buckets) -> None:
        """As the reader below: a bucket knows good from bad, not why."""
        await self._reader.thin(point, from_ns, to_ns, buckets)

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        """The last sample at or before an instant, or None."""
        return self._seen(point, await self._reader.at_or_before(point, time_ns))

    async def after(self, point: str, time_ns: int) -> HistoryRow | None:
        """The first sample after an instant, or None."""
        return self._seen(point, await self._reader.after(point, time_ns))

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        """As the reader below; one that nothing will fill is lost, and says why."""
        found = await self._reader.gaps(device, from_ns, to_ns)
        if self._keeps_log(device):
            return found
        return [
            gap._replace(state=GapState.LOST, why=gap.why or NO_LOG)
            if gap.state is GapState.OPEN
            else gap
            for gap in found
        ]

    def _seen(self, point: str, row: HistoryRow | None) -> HistoryRow | None:
        if row is None or not _is_open(row) or self._keeps_log(_device(point)):
            return row
        return _lost(row)


def _device(point: str) -> str:
    return point.partition("/")[0]


def _is_open(row: HistoryRow) -> bool:
    return row.origin is Origin.GAP and row.status == Status.BAD_DATA_UNAVAILABLE


def _lost(row: HistoryRow) -> HistoryRow:
    return row._replace(status=Status.BAD_DATA_LOST)
