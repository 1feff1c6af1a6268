"""`hotpair verify`: a device's log is read once more, and held against history."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from gateway.driver import DeviceSpec, LogPage, LogSpec, LogWanted, Observation
from gateway.errors import ControlError
from gateway.journal.coverage import union
from gateway.model import NS_PER_S, GapState, HistoryReader, HistoryRow
from gateway.windback.comparing import Comparison, compare
from gateway.windback.runner import Runner

VERIFY_MAX_NS: Final = 600 * NS_PER_S
"""How much one request compares; the command line asks for one piece after the other."""
SLACK_NS: Final = NS_PER_S // 4
"""How late a scan may be for its instant."""
ROWS_MAX: Final = 20_000


async def verify(
    runner: Runner,
    history: HistoryReader,
    device: DeviceSpec,
    log: LogSpec,
    from_ns: int,
    to_ns: int,
) -> Comparison:
    """Compare [from, to) of a log with history, point by point. Raises HotpairError."""
    if to_ns - from_ns > VERIFY_MAX_NS:
        raise ControlError("at most ten minutes are compared at once", "Ask for them in pieces")
    found = Comparison()
    async with aclosing(runner.pages(device.name, LogWanted(log.name, from_ns, to_ns))) as pages:
        async for page in pages:
            found = found.plus(await _page(history, device, log, page))
    return found


async def _page(
    history: HistoryReader, device: DeviceSpec, log: LogSpec, page: LogPage
) -> Comparison:
    unsure_ns = page.clock.uncertainty_ns if page.clock is not None else 0
    resolution_ns = page.resolution_ns or log.resolution_ns or 0
    gaps = await history.gaps(device.name, page.from_ns, page.through_ns)
    by_point: dict[int, list[Observation]] = {}
    for seen in page.observations:
        by_point.setdefault(seen.point, []).append(seen)
    found = Comparison()
    for point in device.points:
        logged = by_point.get(point.number)
        if not logged:
            continue
        scan_class = next(iter(device.scan_classes)) if device.subscribed else point.scan_class
        period_ns = device.scan_classes.get(scan_class, 0)
        slack_ns = unsure_ns + resolution_ns + period_ns + SLACK_NS
        rows = await _rows(history, point.id, page.from_ns - slack_ns, page.through_ns + slack_ns)
        excused = union(
            (gap.from_ns, gap.to_ns)
            for gap in gaps
            if gap.scan_class == scan_class and gap.state is not GapState.FILLED
        )
        found = found.plus(compare(point, logged, rows, excused, slack_ns))
    return found


async def _rows(history: HistoryReader, point: str, from_ns: int, to_ns: int) -> list[HistoryRow]:
    before = await history.at_or_before(point, from_ns)
    rows = [] if before is None else [before]
    cursor = None
    while True:  # bounded by what ten minutes hold
        page = await history.read(point, from_ns + 1, to_ns, ROWS_MAX, cursor)
        rows += page.rows
        if page.cursor is None:
            return rows
        cursor = page.cursor
