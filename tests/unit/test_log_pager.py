"""What becomes of records that are stamped by a clock that was set, or torn, or all alike."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_device import NOW_NS, SECOND, joined, lacking, rows

from drivers.modbus.log.paging import CLEARED, OVERWRITTEN, TORN, Pager
from drivers.modbus.log.records import Entry
from drivers.modbus.log.searching import STEP_PROBES_MAX, steps_between
from drivers.modbus.log.times import Step, zone_of
from gateway.driver import PAGE_VALUES_MAX, ClockReading, LogPage, LogWanted

CLOCK = ClockReading(0, SECOND)


def entry(number: int, seconds: float | None) -> Entry:
    wall = None if seconds is None else NOW_NS + round(seconds * SECOND)
    return Entry(number, wall, 0, ((0, number, 0),))


def wanted(begin: int, end: int) -> LogWanted:
    return LogWanted("log", NOW_NS + begin * SECOND, NOW_NS + end * SECOND)


def pager(what: LogWanted, clock: ClockReading | None = CLOCK, page_records: int = 100) -> Pager:
    return Pager(what, None, SECOND, clock, NOW_NS + 1000 * SECOND, page_records)


def paged(what: LogWanted, entries: list[Entry], page_records: int = 100) -> list[LogPage]:
    found = pager(what, page_records=page_records)
    found.take(entries)
    return list(found.finish())


def seconds(pages: list[LogPage]) -> list[float]:
    return [(time_ns - NOW_NS) / SECOND for _, time_ns, _ in rows(pages)]


def test_records_before_a_clock_was_set_back_were_late() -> None:
    late = [entry(n, n + 90) for n in range(10)]
    right = [entry(n, n) for n in range(10, 20)]
    (page,) = paged(wanted(0, 200), late + right)
    assert seconds([page]) == list(range(20))
    assert not page.lacking
    assert page.clock == ClockReading(0, 2 * SECOND)
    (event,) = page.events
    assert event.time_ns == NOW_NS + 10 * SECOND
    assert event.text == "its clock was set back by 90s: times before it may be wrong"


def before(page: LogPage) -> list[tuple[float, Any]]:
    return [((seen.time_ns - NOW_NS) / SECOND, seen.value) for seen in page.before]


def test_a_page_tells_what_was_in_force_where_it_begins() -> None:
    records = [entry(n, n + 0.5) for n in range(20)]
    pages = paged(wanted(5, 12), records, page_records=3)
    assert [before(page) for page in pages] == [[(4.5, 4)], [(7.5, 7)], [(10.5, 10)]]
    assert before(paged(wanted(-5, 3), records)[0]) == [], "nothing was before it"


def test_what_is_lacking_or_long_ago_is_in_force_no_more() -> None:
    torn = [entry(3, 3), entry(4, None), entry(5, None), entry(6, 6)]
    assert before(paged(wanted(4, 9), torn)[0]) == []
    paused = [entry(3, 2), entry(4, 3.6), entry(5, 20)]
    assert before(paged(wanted(4, 9), paused)[0]) == [(3.6, 4)], "until its time is over"
    assert before(paged(wanted(5, 9), paused)[0]) == []
    pages = paged(wanted(1, 9), [entry(1, 5.5), entry(2, 8.5)], page_records=1)
    assert [(seconds([page]), before(page)) for page in pages] == [([5.5], []), ([8.5], [])]
    # A clock that is set back moves what came before, and the last of that comes before the page.
    late = [entry(n, n + 90) for n in range(10)] + [entry(n, n) for n in range(10, 20)]
    (page,) = paged(wanted(5, 200), late)
    assert before(page) == [(4, 4)] and seconds([page])[0] == 5
    late = [entry(n, n + 89.5) for n in range(10)] + [entry(n, n - 0.5) for n in range(10, 20)]
    assert before(paged(wanted(5, 200), late)[0]) == [(4.5, 5)]


def test_a_read_that_goes_on_begins_with_the_record_before_its_seam() -> None:
    found = pager(wanted(5, 9)._replace(next_record=6))
    found.take([entry(n, n - 0.5) for n in range(3, 12)])  # 5 was read before, as of 5.2 maybe
    (page,) = found.finish()
    assert before(page) == [(4.5, 5)] and page.first_record == 6
    found = pager(wanted(5, 9)._replace(next_record=6))
    found.take([entry(n, n + 0.5) for n in range(3, 12)])
    (page,) = found.finish()
    assert before(page) == [(5, 5)], "by its number it is before, by its stamp it is after"
    assert page.first_record == 6 and seconds([page])[0] == 6.5


def test_a_clock_that_was_set_back_twice_is_twice_as_unsure() -> None:
    records = [entry(n, n + 95) for n in range(5)] + [entry(n, n + 5) for n in range(5, 8)]
    (page,) = paged(wanted(0, 200), records + [entry(n, n) for n in range(8, 20)])
    assert seconds([page]) == list(range(20))
    assert page.clock == ClockReading(0, 3 * SECOND)


def test_where_two_reads_meet_the_number_tells_what_was_read_already() -> None:
    """The second measured the device's clock a few ms otherwise: no record is lost, none twice."""
    clock = ClockReading(0, SECOND // 100)
    for off, times in ((-0.005, [5, 5.995, 6.995]), (0.005, [5.005, 6.005, 7.005])):
        found = pager(wanted(5, 8)._replace(next_record=5), clock)
        found.take([entry(n, n + off) for n in range(3, 8)])
        (page,) = found.finish()
        assert (seconds([page]), page.first_record) == (times, 5)
        found = pager(wanted(5, 8)._replace(next_record=6), clock)
        found.take([entry(n, n + off) for n in range(3, 8)])
        (page,) = found.finish()
        assert (seconds([page]), page.first_record) == (times[1:], 6)


@pytest.mark.parametrize("first_ms, second_ms", [(300, 0), (0, 300), (-400, 400)])
def test_a_step_that_two_reads_found_otherwise_loses_no_record_at_their_seam(
    first_ms: int, second_ms: int
) -> None:
    """By how much a clock was set is known to a record's time only, each time to another."""
    clock = ClockReading(0, SECOND // 100)
    late = [entry(n, n + 7.15) for n in range(20)] + [entry(20, 20)]
    given: list[int] = []
    seam = None
    for begin, end, off_ms in ((3, 8, first_ms), (8, 13, second_ms)):
        found = pager(wanted(begin, end)._replace(next_record=seam), clock)
        found.stamps.was_set([Step(20, 7 * SECOND + off_ms * SECOND // 1000)])
        found.take(late)
        (page,) = found.finish()
        given += [number for _, _, number in rows([page])]
        seam = page.next_record
    assert given == list(range(given[0], given[-1] + 1))


def test_where_the_numbers_may_have_begun_anew_or_are_far_from_the_seam_the_time_tells() -> None:
    clock = ClockReading(0, SECOND // 100)
    for number in (2, 9):
        found = pager(wanted(5, 8)._replace(next_record=number), clock)
        if number == 9:
            found.began(CLEARED)
        found.take([entry(n, n + 0.5 * (number == 2)) for n in range(3, 10)])
        (page,) = found.finish()
        assert page.first_record == 5


def test_a_step_moves_what_is_lacking_and_leaves_out_what_is_too_early() -> None:
    late = [entry(n, n + 90) for n in (0, 1, 2, 6, 7, 8, 9)]
    right = [entry(n, n) for n in range(10, 20)]
    what = wanted(7, 200)
    pages = paged(what, late + right)
    assert joined(pages, what)
    assert seconds(pages) == list(range(7, 20))
    assert not lacking(pages)
    what = wanted(1, 200)
    pages = paged(what, late + right)
    assert lacking(pages) == [
        (NOW_NS + 3 * SECOND, NOW_NS + 6 * SECOND, "the device recorded nothing")
    ]


def test_a_step_between_two_pages_does_not_take_back_what_was_told() -> None:
    late = [entry(n, n + 90) for n in range(10)]
    right = [entry(n, n) for n in range(10, 120)]
    what = wanted(0, 200)
    pages = paged(what, late + right, page_records=5)
    assert joined(pages, what)
    assert any(page.events for page in pages)


def test_a_step_that_is_known_beforehand_is_corrected_from_the_first_page_on() -> None:
    found = pager(wanted(5, 15), page_records=4)
    found.stamps.was_set([Step(8, 90 * SECOND), Step(10, 5 * SECOND)])
    late = [entry(n, n + 95) for n in range(8)] + [entry(n, n + 5) for n in (8, 9)]
    assert found.stamps.latest_ns(late[3], 3) == NOW_NS + 3 * SECOND
    found.take(late + [entry(n, n) for n in range(10, 20)])
    pages = [*found.pages(), *found.finish()]
    assert joined(pages, wanted(5, 15))
    assert seconds(pages) == list(range(5, 15))
    # Of each step only its length to a record's time is known: before both it is twice as unsure.
    assert [page.clock for page in pages] == [ClockReading(0, 3 * SECOND)] * 3
    assert [event.time_ns for page in pages for event in page.events] == [NOW_NS + 10 * SECOND]


@given(
    count=st.integers(2, 300),
    steps=st.dictionaries(st.integers(1, 299), st.integers(2, 500), max_size=2),
    blind=st.sets(st.integers(0, 299), max_size=2),
    gone=st.integers(0, 300),
)
def test_steps_are_found_without_reading_every_record(
    count: int, steps: dict[int, int], blind: set[int], gone: int
) -> None:
    steps = {at: by for at, by in steps.items() if at < count}
    gone = min(gone, count - 2)  # overwritten by now
    blind |= set(range(gone))
    reads = 0

    def wall_of(number: int) -> Generator[Any, Any, int | None]:
        nonlocal reads
        reads += 1
        yield from ()
        late = sum(by for at, by in steps.items() if at > number)
        return None if number in blind else NOW_NS + (number + late) * SECOND

    search = steps_between(0, count - 1, SECOND, None, wall_of)
    try:
        next(search)
    except StopIteration as done:
        found = done.value
    told = [number for number in range(count) if number not in blind]
    between = {b: sum(steps.get(at, 0) for at in range(a + 1, b + 1)) for a, b in pairwise(told)}
    assert found == [(at, by * SECOND) for at, by in between.items() if by]
    assert reads <= 64
    assert steps or gone or reads <= 2 + len(blind)


def test_a_clock_that_was_set_back_all_the_time_is_not_followed_without_end() -> None:
    reads = 0

    def wall_of(number: int) -> Generator[Any, Any, int | None]:
        nonlocal reads
        reads += 1
        yield from ()
        return NOW_NS + (number - number // 2 * 3) * SECOND

    search = steps_between(0, 2_000, SECOND, None, wall_of)
    with pytest.raises(StopIteration):
        next(search)
    assert reads == STEP_PROBES_MAX


def test_a_clock_that_disagrees_afterwards_makes_times_doubtful() -> None:
    found = pager(wanted(0, 3))
    found.take([entry(n, n) for n in range(3)])
    found.measured(ClockReading(SECOND, SECOND))
    found.measured(None)
    found.measured(ClockReading(90 * SECOND, SECOND))
    (page,) = found.finish()
    assert page.clock == ClockReading(0, 91 * SECOND)
    assert seconds([page]) == [0, 1, 2]


def test_times_are_corrected_by_an_offset_beyond_its_uncertainty() -> None:
    found = pager(wanted(0, 3), ClockReading(-90 * SECOND, SECOND))
    assert found.stamps.latest_ns(entry(1, -90)) == NOW_NS
    assert found.stamps.latest_ns(entry(1, None)) is None
    found.take([entry(n, n - 90) for n in range(4)])
    assert found.done
    found.take([entry(9, 9)])
    found.take([entry(10, 1)])
    (page,) = found.finish()
    assert seconds([page]) == [0, 1, 2]
    assert page.clock == ClockReading(-90 * SECOND, SECOND)
    assert page.next_record == 3


def test_a_device_without_a_clock_has_none_in_its_pages() -> None:
    found = pager(wanted(0, 1), None)
    found.measured(CLOCK)
    found.take([entry(0, 0)])
    (page,) = found.finish()
    assert page.clock is None


def test_the_first_reason_stays_and_a_record_ends_it() -> None:
    found = pager(wanted(0, 30))
    found.began(CLEARED)
    found.take([entry(5, 5), entry(6, None)])
    found.lack(OVERWRITTEN)
    found.take([entry(9, 9), entry(10, 10), entry(11, 20)])
    pages = list(found.finish())
    assert [(a - NOW_NS, b - NOW_NS, why) for a, b, why in lacking(pages)] == [
        (0, 5 * SECOND, CLEARED),
        (6 * SECOND, 9 * SECOND, TORN),
        (11 * SECOND, 20 * SECOND, "the device recorded nothing"),
    ]
    assert pages[-1].through_ns == NOW_NS + 21 * SECOND


def test_what_is_lost_ends_where_it_is_known() -> None:
    found = pager(wanted(0, 30))
    found.take([entry(5, 5)])
    (page,) = found.lost(NOW_NS + 20 * SECOND, CLEARED)
    assert (page.through_ns - NOW_NS, page.next_record) == (20 * SECOND, 6)
    assert [lack[1:] for lack in lacking([page])][-1] == (NOW_NS + 20 * SECOND, CLEARED)
    assert list(found.lost(NOW_NS + 20 * SECOND, CLEARED)) == []
    ahead = pager(wanted(0, 30))
    ahead.take([entry(25, 25)])
    (page,) = ahead.lost(NOW_NS + 20 * SECOND, CLEARED)
    assert seconds([page]) == [25]
    assert page.through_ns > NOW_NS + 25 * SECOND


def test_more_records_of_one_time_than_a_page_holds() -> None:
    what = wanted(0, 30)
    pages = paged(what, [entry(n, 5) for n in range(12)] + [entry(12, 6)], page_records=5)
    assert joined(pages, what)
    assert [page.records for page in pages] == [5, 5, 3]
    assert [value for *_, value in rows(pages)] == list(range(13))
    found = pager(what, page_records=5)
    found.take([entry(n, 5) for n in range(7)])
    first = list(found.flush())
    found.take([entry(n, 5) for n in range(7, 9)])
    pages = [*first, *found.finish()]
    assert [value for *_, value in rows(pages)] == list(range(9)), "they go on in what comes later"


def test_records_of_many_columns_make_short_pages() -> None:
    wide = [entry(n, n)._replace(values=((0, n, 0),) * (PAGE_VALUES_MAX // 4)) for n in range(10)]
    pages = paged(wanted(0, 30), wide)
    assert [page.records for page in pages] == [4, 4, 2]
    wider = [entry(n, n)._replace(values=((0, n, 0),) * (PAGE_VALUES_MAX + 1)) for n in range(3)]
    assert [page.records for page in paged(wanted(0, 30), wider)] == [1, 1, 1]


def test_an_hour_that_comes_twice_is_settled_across_what_is_taken() -> None:
    prague = zone_of("Europe/Prague")
    change = 1_792_890_000 * SECOND  # 2026-10-25 01:00 UTC, when 3 o'clock becomes 2
    seconds_shown = (0, 6600, 3600, 4200)
    what = LogWanted("log", change - 3600 * SECOND, change + 3600 * SECOND)
    found = Pager(what, prague, None, None, change + 7200 * SECOND)
    for number, shown in enumerate(seconds_shown):
        found.take([Entry(number, change + shown * SECOND, 0, ((0, number, 0),))])
    (page,) = found.finish()
    assert [(o.time_ns - change) // SECOND for o in page.observations] == [-600, 0, 600]
    assert found.stamps.is_unsure(Entry(0, change + 6600 * SECOND, 0, ()))
    assert not found.stamps.is_unsure(Entry(0, None, 0, ()))
