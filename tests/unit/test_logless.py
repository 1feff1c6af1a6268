"""What nothing will fill is lost, not open; and it is open again once a log is known."""

from __future__ import annotations

import pytest

from gateway.journal.buckets import Buckets
from gateway.journal.logless import NO_LOG, LoglessHistory
from gateway.model import (
    Cause,
    Gap,
    GapState,
    HistoryPage,
    HistoryRow,
    Origin,
    Position,
    Status,
    Term,
)

POSITION = Position(Term(1, "a", 1), 1)


def row(time_ns: int, status: int, origin: Origin) -> HistoryRow:
    return HistoryRow(time_ns, None, status, time_ns, origin, POSITION)


ROWS = [
    row(1, Status.BAD_DATA_UNAVAILABLE, Origin.GAP),
    row(2, Status.BAD_NO_COMMUNICATION, Origin.GAP),
    row(3, Status.BAD_DATA_UNAVAILABLE, Origin.POLL),  # what the device itself said
    row(4, Status.GOOD, Origin.POLL),
]
GAPS = [
    Gap("meter", "normal", 1, 2, Cause.LINK),
    Gap("meter", "normal", 3, 4, Cause.LINK, GapState.LOST, "overwritten"),
    Gap("meter", "normal", 5, 6, Cause.LINK, GapState.FILLED),
]


class Shelf:
    """A reader that holds the rows and gaps above, of every point and device."""

    def __init__(self) -> None:
        self.thinned: list[tuple[str, int, int]] = []

    async def read(
        self,
        point: str,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: tuple[int, ...] | None = None,
        reverse: bool = False,
    ) -> HistoryPage:
        return HistoryPage(list(ROWS), (7,))

    async def thin(self, point: str, from_ns: int, to_ns: int, buckets: Buckets) -> None:
        self.thinned.append((point, from_ns, to_ns))

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        return next((row for row in ROWS[::-1] if row.time_ns <= time_ns), None)

    async def after(self, point: str, time_ns: int) -> HistoryRow | None:
        return next((row for row in ROWS if row.time_ns > time_ns), None)

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        return list(GAPS)


@pytest.fixture
def logged() -> set[str]:
    return {"plc"}


@pytest.fixture
def history(logged: set[str]) -> LoglessHistory:
    return LoglessHistory(Shelf(), logged.__contains__)


async def test_the_gaps_of_a_device_without_a_log_are_lost_and_say_why(
    history: LoglessHistory, logged: set[str]
) -> None:
    assert await history.gaps("plc", 0, 9) == GAPS
    lost = GAPS[0]._replace(state=GapState.LOST, why=NO_LOG)
    assert await history.gaps("meter", 0, 9) == [lost, *GAPS[1:]]
    logged.add("meter")
    assert await history.gaps("meter", 0, 9) == GAPS, "once a log is known it may yet be filled"


async def test_history_says_that_data_is_lost_where_no_log_is_known(
    history: LoglessHistory,
) -> None:
    lost = ROWS[0]._replace(status=Status.BAD_DATA_LOST)
    assert await history.read("plc/x", 0, 9, 100) == HistoryPage(ROWS, (7,))
    assert await history.read("meter/x", 0, 9, 100) == HistoryPage([lost, *ROWS[1:]], (7,))
    assert await history.at_or_before("meter/x", 1) == lost
    assert await history.after("meter/x", 0) == lost
    assert await history.after("plc/x", 0) == ROWS[0]
    assert await history.after("meter/x", 1) == ROWS[1], "one that lasts is told as before"
    assert await history.at_or_before("meter/x", 0) is None


async def test_thinning_goes_on_to_the_reader_below() -> None:
    shelf = Shelf()
    await LoglessHistory(shelf, lambda device: False).thin("meter/x", 2, 5, Buckets(2, 5, 3))
    assert shelf.thinned == [("meter/x", 2, 5)]
