"""What is calculated from a journal's own rows: gaps, samples from afar, budgets, slices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from journal_pair import T0, Side
from test_journal import batch, covered, revision
from test_journal_fills import fill, hole, wound

from gateway.driver import PointSpec
from gateway.journal.journal import Journal
from gateway.journal.records import Batch
from gateway.model import NS_PER_S, Access, DataType, Origin, Status
from gateway.server.aggregates import AGGREGATES, DEFAULTS, intervals
from gateway.server.bounds import (
    BAD_NO_DATA,
    CALCULATED,
    INTERPOLATED,
    UNCERTAIN_DATA_SUB_NORMAL,
    Result,
)
from gateway.server.encoding import ticks
from gateway.server.history_derived import (
    INTERVAL_BYTES,
    LOOK_SAMPLES,
    AtTimeRest,
    Budget,
    ProcessedRest,
    Samples,
    at_times,
    processed,
)

LEVEL = PointSpec(0, "plc1", "level", DataType.FLOAT64, "normal", Access.READ, None)
UNCERTAIN = UNCERTAIN_DATA_SUB_NORMAL
ALL = 10**9


def at(second: float) -> int:
    return T0 + round(second * NS_PER_S)


def lost(second: int) -> Batch:
    """A sample that says that the device didn't answer."""
    sample = (0, at(second), None, Status.BAD_NO_COMMUNICATION)
    return Batch("plc1", "normal", 1, Origin.POLL, at(second), at(second), (sample,))


@asynccontextmanager
async def journal_of(folder: Path) -> AsyncIterator[Journal]:
    """Claimed from second 0 to 60, but for a hole from 20 to 30."""
    async with Side(folder, "a").journal(reigns=True) as journal:
        await journal.append(revision())
        for second, value in ((0, 1.0), (10, 2.0), (30, 4.0), (50, 8.0)):
            await journal.append(batch(second, value))
        await journal.append(covered(0, 60, hole(20, 30)))
        yield journal


def ask(name: str, first: int, end: int, step_s: float = 0.0, until: float = 60) -> ProcessedRest:
    cut = intervals(at(first), at(end), step_s * 1000, 1_000_000)
    return ProcessedRest(LEVEL, AGGREGATES[name], DEFAULTS, cut, at(until))


def samples_of(journal: Journal, budget: int = ALL) -> Samples:
    return Samples(journal, LEVEL, Budget(budget))


async def said(journal: Journal, rest: ProcessedRest) -> list[tuple[object, int]]:
    found, left = await processed(samples_of(journal), rest, ALL)
    assert left is None
    return [(result.value, result.status) for result in found]


async def times(journal: Journal, *seconds: float, simple: bool = False) -> list[Result]:
    asked = b"".join(ticks(at(second)).to_bytes(8, "little") for second in seconds)
    rest = AtTimeRest(LEVEL, asked, simple, at(60))
    found, left = await at_times(samples_of(journal), rest, 1_000)
    assert left is None
    return [result for result, _ in found]


async def test_an_open_gap_is_bad_data_and_a_filled_one_is_not(tmp_path: Path) -> None:
    async with journal_of(tmp_path) as journal:
        percent = [(100.0, CALCULATED), (50.0, CALCULATED), (100.0, CALCULATED)]
        assert await said(journal, ask("PercentGood", 0, 60, 20)) == percent
        average = (4.0, UNCERTAIN | CALCULATED)
        assert (await said(journal, ask("TimeAverage2", 0, 60, 20)))[1] == average
        assert (await times(journal, 25, simple=True))[0].status == BAD_NO_DATA
        assert await times(journal, 25) == [Result(at(25), 2.0, UNCERTAIN | INTERPOLATED)]

        journal.append(wound(20, 3.0))
        await journal.append(fill(20, 30))
        percent = [(100.0, CALCULATED)] * 3
        assert await said(journal, ask("PercentGood", 0, 60, 20)) == percent
        assert (await said(journal, ask("TimeAverage2", 0, 60, 20)))[1] == (3.5, CALCULATED)
        assert await times(journal, 25, simple=True) == [Result(at(25), 3.0, INTERPOLATED)]


async def test_what_is_known_ends_now_or_behind_a_sample_that_is_ahead(tmp_path: Path) -> None:
    async with journal_of(tmp_path) as journal:
        samples = samples_of(journal)
        assert await samples.known_until(at(70), at(40)) == at(70)
        assert await samples.known_until(at(70), at(80)) == at(70)
        assert await samples.known_until(at(45) + 7, at(80)) == at(50) + 100
        nothing = Samples(journal, replace(LEVEL, name="nothing"), Budget(ALL))
        assert await nothing.known_until(at(45), at(80)) == at(45)


async def test_before_1970_and_after_what_fits_there_is_nothing(tmp_path: Path) -> None:
    async with journal_of(tmp_path) as journal:
        start_ns = -(10**19)
        rest = ask("Count", 0, 1)
        for begin_ns, end_ns in ((start_ns, start_ns + NS_PER_S), (2**62, 2**62 + NS_PER_S)):
            cut = intervals(begin_ns, end_ns, 0, 1)
            whole = ProcessedRest(LEVEL, rest.aggregate, DEFAULTS, cut, at(60))
            found, _ = await processed(samples_of(journal), whole, 1)
            assert [result.status for result in found] == [BAD_NO_DATA]


async def test_a_usable_sample_is_found_behind_many_that_are_not(tmp_path: Path) -> None:
    async with Side(tmp_path, "a").journal(reigns=True) as journal:
        await journal.append(revision())
        await journal.append(batch(0, 1.0))
        for second in range(1, LOOK_SAMPLES):
            journal.append(lost(second))
        await journal.append(covered(0, 3_000))
        assert (await times(journal, 999))[0].value == 1.0
        for second in range(LOOK_SAMPLES, LOOK_SAMPLES + 64):
            journal.append(lost(second))
        await journal.append(batch(2_000, 5.0))
        assert await times(journal, 1_999) == [Result(at(1_999), None, BAD_NO_DATA)]


@pytest.mark.parametrize("name", sorted(AGGREGATES))
async def test_a_budget_and_pages_change_nothing_of_what_is_said(name: str, tmp_path: Path) -> None:
    async with Side(tmp_path, "a").journal(reigns=True) as journal:
        await journal.append(revision())
        for second in range(0, 2_600, 2):
            journal.append(batch(second, float(second % 7)))
        await journal.append(covered(0, 2_600))
        for first, end, step_s in ((1, 2_599, 3), (2_599, 1, 3), (0, 2_600, 0)):
            whole = ask(name, first, end, step_s, until=2_600)
            at_once, left = await processed(samples_of(journal), whole, ALL)
            assert left is None
            found: list[Result] = []
            rest: ProcessedRest | None = whole
            for _ in range(100):
                assert rest is not None
                part, rest = await processed(samples_of(journal, 250), rest, 97)
                found += part
                if rest is None:
                    break
            assert found == at_once


async def test_what_goes_on_says_how_much_it_holds(tmp_path: Path) -> None:
    async with Side(tmp_path, "a").journal(reigns=True) as journal:
        await journal.append(revision())
        for second in range(100):
            journal.append(batch(second, float(second)))
        await journal.append(covered(0, 100))
        whole = ask("Average", 0, 100, 1, until=100)
        assert whole.size == 0
        _, left = await processed(samples_of(journal, 50), whole, ALL)
        assert left is not None and left.size == 100 * INTERVAL_BYTES
        asked = AtTimeRest(LEVEL, bytes(8 * 10), False, at(60))
        assert asked.size == 80
        found, rest = await at_times(samples_of(journal, 3), asked, 1_000)
        assert rest is not None and (len(found), rest.size) == (3, 56)
        found, rest = await at_times(samples_of(journal, 0), asked, 1_000)
        assert (found, rest) == ([], asked), "another node used up what this request may read"
