"""History goes on under a new name."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.driver import PointSettings, PointSpec
from gateway.journal.renamed import RenamedHistory, former_id, last_values
from gateway.model import (
    Access,
    Cause,
    DataType,
    Gap,
    HistoryPage,
    HistoryRow,
    Origin,
    Position,
    Term,
)

TERM = Term(1, "a", 1)


def row(time_ns: int) -> HistoryRow:
    return HistoryRow(time_ns, time_ns, 0, time_ns, Origin.POLL, Position(TERM, 1))


class Shelf:
    """A dumb reader over lists; its cursor is the time of the last row."""

    def __init__(self, **points: list[int]) -> None:
        self.points = {f"plc/{name}": sorted(times) for name, times in points.items()}

    async def read(
        self,
        point: str,
        from_ns: int,
        to_ns: int,
        limit: int,
        cursor: tuple[int, ...] | None = None,
        reverse: bool = False,
    ) -> HistoryPage:
        times = [t for t in self.points.get(point, []) if from_ns <= t < to_ns]
        if reverse:
            times.reverse()
        if cursor is not None:
            times = times[times.index(cursor[0]) + 1 :]
        more = len(times) > limit
        times = times[:limit]
        return HistoryPage([row(t) for t in times], (times[-1],) if more else None)

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        return next((row(t) for t in self.points.get(point, [])[::-1] if t <= time_ns), None)

    async def after(self, point: str, time_ns: int) -> HistoryRow | None:
        return next((row(t) for t in self.points.get(point, []) if t > time_ns), None)

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        return [Gap(device, "fast", from_ns, to_ns, Cause.DEVICE)]


instants = st.lists(st.integers(0, 30), unique=True, max_size=12)


@given(instants, instants, st.integers(0, 35), st.integers(0, 35), st.integers(1, 5), st.booleans())
async def test_pages_of_a_renamed_point_are_the_old_history_and_then_its_own(
    old: list[int], new: list[int], from_ns: int, to_ns: int, limit: int, reverse: bool
) -> None:
    history = RenamedHistory(Shelf(old=old, new=new), {"plc/new": "plc/old"})
    began = min(new, default=10**9)
    whole = [t for t in sorted(old) if t < began] + sorted(new)
    expected = [t for t in whole if from_ns <= t < to_ns]
    if reverse:
        expected.reverse()
    found: list[int] = []
    cursor: tuple[int, ...] | None = None
    for _ in range(40):
        page = await history.read("plc/new", from_ns, to_ns, limit, cursor, reverse)
        assert len(page.rows) <= limit
        found += [r.time_ns for r in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == expected


@given(instants, instants, st.integers(-1, 35))
async def test_neighbours_of_an_instant_are_found_across_the_change_of_name(
    old: list[int], new: list[int], at_ns: int
) -> None:
    history = RenamedHistory(Shelf(old=old, new=new), {"plc/new": "plc/old"})
    began = min(new, default=10**9)
    whole = [t for t in sorted(old) if t < began] + sorted(new)
    after = await history.after("plc/new", at_ns)
    assert (after and after.time_ns) == next((t for t in whole if t > at_ns), None)
    if not new or at_ns >= began:
        before = await history.at_or_before("plc/new", at_ns)
        assert (before and before.time_ns) == max((t for t in whole if t <= at_ns), default=None)


async def test_other_points_and_gaps_pass_through() -> None:
    history = RenamedHistory(Shelf(level=[1, 2]), {"plc/new": "plc/old"})
    assert [r.time_ns for r in (await history.read("plc/level", 0, 9, 9)).rows] == [1, 2]
    assert await history.at_or_before("plc/level", 0) is None
    assert (await history.gaps("plc", 0, 9))[0].cause is Cause.DEVICE


def test_a_bare_former_name_is_one_of_the_same_device() -> None:
    def former(said: str | None) -> str | None:
        settings = PointSettings(renamed_from=said)
        point = PointSpec(0, "plc", "new", DataType.BOOL, "fast", Access.READ, settings)
        return former_id(point)

    assert former(None) is None
    assert former("old") == "plc/old"
    assert former("plc0/old") == "plc0/old"


async def test_the_last_value_of_a_renamed_point_is_its_own_else_that_of_its_former_name() -> None:
    stored = {"plc/old": row(1), "plc/kept": row(2), "plc/both": row(3), "plc/was": row(9)}

    async def newest(points: Sequence[str]) -> dict[str, HistoryRow]:
        return {point: stored[point] for point in points if point in stored}

    names = {"plc/new": "plc/old", "plc/both": "plc/was", "plc/none": "plc/never"}
    points = ["plc/new", "plc/kept", "plc/both", "plc/none"]
    found = await last_values(newest, points, names)
    assert {point: r.time_ns for point, r in found.items()} == {
        "plc/kept": 2,
        "plc/both": 3,
        "plc/new": 1,
    }
    assert await last_values(newest, [], names) == {}
