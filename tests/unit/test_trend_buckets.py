"""Samples thinned to buckets: what a bucket says, by slices of columns and by rows."""

from __future__ import annotations

import math
from array import array
from typing import Any

from gateway.journal.buckets import BUCKETS_MAX, Buckets, worse
from gateway.journal.columns import Columns
from gateway.model import HistoryRow, Origin, Position, Status, Term

BAD = Status.BAD_NO_COMMUNICATION


def columns(values: Any, statuses: list[int] | None = None, first_ns: int = 0) -> Columns:
    times = array("q", range(first_ns, first_ns + len(values)))
    return Columns(times, times, array("q", range(len(values))), statuses, values)


def row(time_ns: int, value: Any, status: int = 0, origin: Origin = Origin.POLL) -> HistoryRow:
    return HistoryRow(time_ns, value, status, time_ns, origin, Position(Term(1, "a", 1), time_ns))


def test_columns_of_numbers_are_cut_at_the_edges_of_buckets() -> None:
    buckets = Buckets(0, 10, 3)
    assert buckets.step_ns == 4
    assert buckets.fold(columns(array("d", [3, 1, 2, 5, 4, 9, 7, 8, 6, 0])), 0, 99) == 10
    assert sorted(buckets.found) == [0, 1, 2]
    first = buckets.found[0]
    assert (first.least, first.greatest, first.first, first.last, first.count) == (1, 5, 3, 5, 4)
    last = buckets.found[2]
    assert (last.least, last.greatest, last.first, last.last, last.count) == (0, 6, 6, 0, 2)


def test_the_order_in_which_columns_come_does_not_matter() -> None:
    early, late = columns(array("q", [5, 1])), columns(array("q", [7, 2]), first_ns=2)
    for parts in ((early, late), (late, early)):
        buckets = Buckets(0, 4, 1)
        for part in parts:
            buckets.fold(part, 0, 4)
        (found,) = buckets.found.values()
        assert (found.least, found.greatest, found.first, found.last) == (1, 7, 5, 2)


def test_only_the_stretch_that_is_asked_for_is_taken() -> None:
    buckets = Buckets(2, 8, 1)
    assert buckets.fold(columns(array("q", range(10))), 4, 99) == 4
    assert (buckets.found[0].least, buckets.found[0].greatest) == (4, 7)
    assert buckets.fold(columns(array("q", range(10))), 9, 99) == 0


def test_what_is_bad_has_no_value_and_makes_the_bucket_bad() -> None:
    buckets = Buckets(0, 4, 1)
    buckets.fold(columns([1.0, None, 3.0, 2.0], [0, BAD, Status.UNCERTAIN_LAST_USABLE, 0]), 0, 4)
    (found,) = buckets.found.values()
    assert (found.least, found.greatest, found.last, found.last_status) == (1.0, 3.0, 2.0, 0)
    assert found.status == BAD
    assert worse(BAD, 0) == worse(0, BAD) == BAD


def test_nan_hides_no_other_number() -> None:
    for values in ([math.nan, 1.0, 2.0], [1.0, math.nan, 2.0], [1.0, 2.0, math.nan]):
        buckets = Buckets(0, 3, 1)
        buckets.fold(columns(array("d", values)), 0, 3)
        (found,) = buckets.found.values()
        assert (found.least, found.greatest) == (1.0, 2.0)


def test_texts_have_a_first_and_a_last_only() -> None:
    buckets = Buckets(0, 2, 1)
    buckets.fold(columns(["on", "off"]), 0, 2)
    (found,) = buckets.found.values()
    assert (found.least, found.greatest, found.first, found.last) == (None, None, "on", "off")


def test_rows_tell_what_was_wound_back_and_from_when_on_nothing_is_known() -> None:
    buckets = Buckets(0, 4, 2)
    wound = row(1, 4, origin=Origin.WINDBACK)
    buckets.add([row(0, 1), wound, row(3, None, BAD, Origin.GAP), row(4, 9)])
    assert (buckets.found[0].count, buckets.found[0].wound, buckets.found[0].gap) == (2, 1, False)
    assert (buckets.found[1].count, buckets.found[1].gap) == (0, True)
    assert sorted(buckets.found) == [0, 1], "a row outside is passed over"


def test_of_two_rows_at_one_time_the_later_one_is_the_last() -> None:
    buckets = Buckets(0, 4, 1)
    buckets.add([row(2, None, BAD), row(2, 1.0)])
    assert (buckets.found[0].first, buckets.found[0].last) == (None, 1.0)


def test_buckets_are_bounded_and_never_empty() -> None:
    assert Buckets(0, 10**9, 10**9).step_ns == 10**9 // BUCKETS_MAX
    assert Buckets(5, 5, 0).step_ns == 1
