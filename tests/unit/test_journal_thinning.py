"""Trends of a real journal: thinned in slices, over segments, memory, gaps and new names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journal_pair import T0, Side, batch, covered, revision
from test_journal import flushed
from test_renamed import Shelf

from gateway.journal import thinning
from gateway.journal.buckets import Buckets
from gateway.journal.journal import Journal
from gateway.journal.records import Hole
from gateway.journal.renamed import RenamedHistory
from gateway.journal.thinning import clipped, outside
from gateway.model import NS_PER_S, Origin

POINT = "plc1/level"


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path, "a")


def at(second: int) -> int:
    return T0 + second * NS_PER_S


async def thinned(journal: Journal, number: int, first: int = 0, end: int = 100) -> Buckets:
    buckets = Buckets(at(first), at(end), number)
    await journal.thin(POINT, at(first), at(end), buckets)
    return buckets


def table(buckets: Buckets) -> list[Any]:
    return [(i, b.count, b.least, b.greatest) for i, b in sorted(buckets.found.items())]


async def test_segments_and_memory_are_thinned_alike(side: Side) -> None:
    async with side.journal(reigns=True) as journal:
        journal.append(revision())
        for second in range(100):
            journal.append(batch(second, float(second % 10)))
        await journal.append(covered(0, 100))
        expected = [(i, 20, 0.0, 9.0) for i in range(5)]
        assert table(await thinned(journal, 5)) == expected
        await flushed(journal)
        assert table(await thinned(journal, 5)) == expected
        assert table(await thinned(journal, 1, 5, 8)) == [(0, 3, 5.0, 7.0)]


async def test_a_long_stretch_is_worked_on_in_slices(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "SLICE_SAMPLES", 50)
    async with side.journal(reigns=True) as journal:
        journal.append(revision())
        for part in range(4):
            for second in range(25 * part, 25 * part + 25):
                journal.append(batch(second, second))
            await journal.append(covered(25 * part, 25 * part + 25))
            await flushed(journal)
        hops = 0
        run = journal._reader.run

        async def counted(work: Any) -> Any:
            nonlocal hops
            hops += 1
            return await run(work)

        monkeypatch.setattr(journal._reader, "run", counted)
        buckets = await thinned(journal, 2)
        assert table(buckets) == [(0, 50, 0, 49), (1, 50, 50, 99)]
        assert hops > 3, "others had their turn in between"


async def test_a_gap_and_what_was_wound_back_into_one_are_seen(side: Side) -> None:
    from test_journal_fills import fill

    async with side.journal(reigns=True) as journal:
        journal.append(revision())
        for second in (0, 10, 30, 60):
            journal.append(batch(second, second))
        holes = tuple(Hole("plc1", "normal", at(a), at(b), "link") for a, b in ((20, 30), (40, 60)))
        await journal.append(covered(0, 100, *holes))
        await journal.append(batch(25, 7, origin=Origin.WINDBACK))
        await journal.append(fill(20, 30))
        found = (await thinned(journal, 10)).found
        assert (found[2].wound, found[2].least) == (1, 7)
        assert found[4].gap and not found[4].count
        assert not found[2].gap and not found[6].gap


async def test_a_new_name_goes_on_where_the_old_one_ended() -> None:
    class Thinning(Shelf):
        def __init__(self, **points: list[int]) -> None:
            super().__init__(**points)
            self.asked: list[tuple[str, int, int]] = []

        async def thin(self, point: str, from_ns: int, to_ns: int, buckets: Buckets) -> None:
            self.asked.append((point, from_ns, to_ns))

    shelf = Thinning(old=[1, 5], new=[7, 9])
    history = RenamedHistory(shelf, {"plc/new": "plc/old"})
    for span in ((0, 20), (8, 20), (0, 6)):
        await history.thin("plc/new", *span, Buckets(0, 20, 1))
    await history.thin("plc/old", 0, 20, Buckets(0, 20, 1))
    assert shelf.asked == [
        ("plc/old", 0, 7),
        ("plc/new", 7, 20),
        ("plc/new", 8, 20),
        ("plc/old", 0, 6),
        ("plc/old", 0, 20),
    ]


def test_stretches_are_cut_and_turned_inside_out() -> None:
    assert clipped([(0, 5), (6, 9), (12, 15)], 3, 13) == [(3, 5), (6, 9), (12, 13)]
    assert outside([(3, 5), (6, 9)], 0, 9) == [(0, 3), (5, 6)]
    assert outside([], 2, 4) == [(2, 4)]
    assert outside([(2, 4)], 2, 4) == []
