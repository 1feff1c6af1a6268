"""Pages of a log: whatever it holds and however it is read, joined, in order, each record once."""

from __future__ import annotations

import math
from collections.abc import Generator
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.log.paging import (
    NOT_RECORDED,
    OVERWRITTEN,
    TORN,
    Pager,
)
from drivers.modbus.log.records import Entry
from drivers.modbus.log.searching import GONE, first_since, unwrapped
from gateway.driver import LogPage, LogWanted

START = 1_700_000_000
SECOND = 1_000_000_000


def record(number: int, seconds: int | None) -> Entry:
    wall = None if seconds is None else seconds * SECOND
    return Entry(number, wall, 0, ((7, number, 0),))


def ran(asking: Generator[Any, Any, int]) -> int:
    """The result of a search whose probes ask nothing."""
    try:
        next(asking)
    except StopIteration as done:
        return int(done.value)
    raise AssertionError("it asked the device")


logs = st.lists(st.integers(0, 5), min_size=0, max_size=60).map(
    lambda steps: [START + sum(steps[: at + 1]) for at in range(len(steps))]
)


@given(
    times=logs,
    begin=st.integers(-10, 200),
    length=st.integers(1, 200),
    page_records=st.integers(1, 9),
    chunk=st.integers(1, 7),
    torn=st.sets(st.integers(0, 59), max_size=6),
    resolution=st.sampled_from([None, 1, 2]),
)
def test_pages_hold_exactly_the_records_of_the_stretch(
    times: list[int],
    begin: int,
    length: int,
    page_records: int,
    chunk: int,
    torn: set[int],
    resolution: int | None,
) -> None:
    wanted = LogWanted("log", (START + begin) * SECOND, (START + begin + length) * SECOND)
    pager = Pager(
        wanted,
        None,
        None if resolution is None else resolution * SECOND,
        None,
        (START + 1000) * SECOND,
        page_records,
    )
    entries = [record(n, None if n in torn else time) for n, time in enumerate(times)]
    pages: list[LogPage] = []
    for at in range(0, len(entries), chunk):
        pager.take(entries[at : at + chunk])
        pages += pager.pages()
        if pager.done:
            break
    pages += pager.finish()
    expected = [
        n
        for n, t in enumerate(times)
        if wanted.from_ns <= t * SECOND < wanted.to_ns and n not in torn
    ]
    seen = [observation for page in pages for observation in page.observations]
    assert [observation.value for observation in seen] == expected
    assert sum(page.records for page in pages) == len(expected)
    assert_joined(pages, wanted, page_records)
    for observation in seen:
        assert isinstance(observation.value, int)
        # Only stamps that fill pages by themselves are moved, by less than any clock can tell.
        assert 0 <= observation.time_ns - times[observation.value] * SECOND <= 60
    assert_lacking_is_right(pages, entries, wanted, resolution)
    assert_before_is_right(pages, times, torn, resolution)


def assert_joined(pages: list[LogPage], wanted: LogWanted, page_records: int) -> None:
    through_ns = wanted.from_ns
    for page in pages:
        assert page.from_ns == through_ns < page.through_ns
        through_ns = page.through_ns
        stamps = [observation.time_ns for observation in page.observations]
        assert stamps == sorted(stamps)
        assert all(page.from_ns <= stamp < page.through_ns for stamp in stamps)
        assert page.records <= page_records
        ends = [end for lack in page.lacking for end in (lack.from_ns, lack.to_ns)]
        assert ends == sorted(ends)
        assert all(page.from_ns <= end <= page.through_ns for end in ends)
    assert through_ns <= wanted.to_ns


def assert_before_is_right(
    pages: list[LogPage], times: list[int], torn: set[int], resolution: int | None
) -> None:
    given: list[int] = []
    for page in pages:
        for seen in page.before:
            assert isinstance(seen.value, int)
            assert seen.time_ns <= page.from_ns
            assert resolution is None or page.from_ns - seen.time_ns <= 1.5 * resolution * SECOND
            assert not any(lack.from_ns <= page.from_ns for lack in page.lacking)
            later = [n for n in range(seen.value + 1, len(times)) if n not in torn]
            following = later[0] if later else None
            first = page.observations[0].value if page.observations else None
            assert first is None or first == following, "it is the last one before the page"
        if given and resolution is None and page.observations:
            assert [seen.value for seen in page.before] == given[-1:] or page.lacking
        given += [o.value for o in page.observations if isinstance(o.value, int)]


def assert_lacking_is_right(
    pages: list[LogPage], entries: list[Entry], wanted: LogWanted, resolution: int | None
) -> None:
    lacking = [lack for page in pages for lack in page.lacking]
    assert all(lack.from_ns < lack.to_ns for lack in lacking)
    good = [e.wall_ns for e in entries if e.wall_ns is not None]
    last = max((page.through_ns for page in pages), default=wanted.from_ns)
    for lack in lacking:
        assert lack.why in (OVERWRITTEN, TORN, NOT_RECORDED)
        # Nothing that was handed over is called lacking, but for the instant a page was full of.
        assert not any(lack.from_ns <= time < lack.to_ns for time in good)
    if good and wanted.from_ns < good[0] and last > wanted.from_ns:
        assert lacking[0].from_ns == wanted.from_ns
    for one, other in pairwise(good):
        if resolution and other - one > 1.5 * resolution * SECOND:
            hole = (max(one + resolution * SECOND, wanted.from_ns), min(other, wanted.to_ns, last))
            assert hole[0] >= hole[1] or any(
                lack.from_ns == hole[0] and lack.to_ns == hole[1] for lack in lacking
            )


@given(
    times=logs,
    since=st.integers(-2, 210),
    hint=st.one_of(st.none(), st.integers(-5, 70)),
    blind=st.sets(st.integers(0, 59)),
    gone=st.integers(0, 10),
)
def test_a_search_passes_over_nothing_and_ends_soon(
    times: list[int], since: int, hint: int | None, blind: set[int], gone: int
) -> None:
    probes = 0

    def probe(number: int) -> Generator[Any, Any, int | None]:
        nonlocal probes
        probes += 1
        assert 0 <= number < len(times)
        yield from ()
        if number < gone:
            return GONE
        return None if number in blind else times[number]

    found = ran(first_since(0, len(times) - 1, START + since, probe, hint))
    wanted = [n for n, t in enumerate(times) if t >= START + since and n >= gone]
    assert found <= min(wanted, default=len(times))
    assert probes <= 3 + math.log2(len(times) + 1)
    if not blind:
        assert found == min(wanted, default=len(times))


@given(oldest=st.integers(0, 65535), count=st.integers(0, 65535))
def test_numbers_go_on_where_the_device_starts_again(oldest: int, count: int) -> None:
    assert unwrapped((oldest + count) % 65536, oldest, 65536) == oldest + count
    assert unwrapped(count, oldest, None) == count
