"""Aggregates against the examples of OPC 10000-13 Annex A.

The numbers are those of AggregateExamples.csv, which Annex A of version 1.05 refers to
(opcfoundation.org/UA/schemas/1.05), and of the tables of version 1.04 for the aggregates marked so.
Points here are held until the next sample, so where an aggregate draws a sloped line between
samples only the tables of the stepped historians 3 and 4 apply.
"""

from __future__ import annotations

import re
from typing import Final

import pytest

from gateway.model import NS_PER_MS, NS_PER_S, DataType, Status
from gateway.server.aggregate_scans import Interval
from gateway.server.aggregates import (
    AGGREGATES,
    BAD_AGGREGATE_CONFIGURATION_REJECTED,
    BAD_AGGREGATE_INVALID_INPUTS,
    BAD_AGGREGATE_NOT_SUPPORTED,
    BAD_INVALID_ARGUMENT,
    BAD_TOO_MANY_OPERATIONS,
    DEFAULTS,
    Intervals,
    intervals,
    rules,
)
from gateway.server.bounds import (
    BAD_NO_DATA,
    CALCULATED,
    INTERPOLATED,
    MULTIPLE_VALUES,
    PARTIAL,
    UNCERTAIN_DATA_SUB_NORMAL,
    Before,
    Result,
    Rules,
    Sample,
    interpolated_bound,
    simple_bound,
)
from gateway.server.history_plan import PlanRefused

T0: Final = 1_000_000 * NS_PER_S
"""12:00:00 of the examples."""
UNTIL_NS: Final = T0 + 90 * NS_PER_S + NS_PER_MS
"""The last sample of each is at 12:01:30, and their resolution is a millisecond."""
UNEVEN = "2:10 25:20 28:25 39:30 42:B 48:40 52:50 72:60 77:U70 83:70 86:80 90:90"
HISTORIANS = {
    1: ("10:10 20:20 30:30 40:B 50:50 60:60 70:U70 80:80 90:90", Rules(False, 100, 100)),
    2: (UNEVEN, Rules(True, 100, 100)),
    3: (UNEVEN, Rules(True, 50, 50)),
    4: (
        "2:1 25:0 28:1 39:1 42:B 48:1 52:0 72:0 77:U1 83:1 86:0 90:1",
        Rules(True, 100, 100),
    ),
    5: (
        "2:10 25:20 28:10 39:30 42:B 48:30 52:50 72:30 77:U70 83:70 86:80 90:70",
        Rules(False, 100, 100),
    ),
}
"""Samples by the second after 12:00:00, B(ad) and U(ncertain); and the configuration. The first
row of each, Bad_NoData at 12:00:00, says that the point was made then: no sample."""

# What is expected of each interval: [u]value[cipm][@second of its timestamp]; - is Bad_NoData, B
# is Bad, U a value that is Uncertain, u one that is Uncertain_DataSubNormal.
FIVE_S = {
    ("Interpolative", 3): "- 10i 10i 10i 10i 20 25i 25i 30i u30i 40i 50i 50i 50i 50i 60i u60i 70i"
    " 90 u90i",
    ("Average", 1): "- - 10c - 20c - 30c - - - 50c - 60c - - - 80c - 90c -",
    ("Average", 2): "10c - - - - 22.5c - 30c - 40c 50c - - - 60c - 70c 80c 90c -",
    ("Average", 3): "10c - - - - 22.5c - 30c - 40c 50c - - - 60c - 70c 80c 90c -",
    ("Average", 5): "10c - - - - 15c - 30c - 30c 50c - - - 30c - 70c 80c 70c -",
    ("TimeAverage", 1): "- - 12.5c 17.5c 22.5c 27.5c u32.5c u37.5c u42.5c u47.5c 52.5c 57.5c"
    " u62.5c u67.5c u72.5c u77.5c 82.5c 87.5c u90cp -",
    ("TimeAverage", 3): "u10.652cp 12.391c 14.565c 16.739c 18.913c 23.682c 27.045c u29.384c"
    " u33.889c u40c 49.45c 52.75c 55.25c 57.75c u60.618c u65c u70.515c 83.667c u90cp -",
    ("TimeAverage", 5): "u10.6522cp 12.3913c 14.5652c 16.7391c 18.9130c 13.7273c 18.1818c"
    " u27.0909c u30c u32c 47.1c 44.5c 39.5c 34.5c u37.6c u66.8c u71.3333c 75.6667c u70cp -",
    # Issue 6227 of the OPC Foundation's tracker lists what 1.05 changed in A.5.
    ("TimeAverage2", 3): "10cp 10c 10c 10c 10c 22c 25c 26c u30c u40c 46c 50c 50c 50c 56c u60c",
}
SIXTEEN_S = {
    ("Minimum", 1): "10cp 20c - 50c - 80p -",
    ("Minimum", 2): "10cp 20c u30c 40 u60c 70cp -",
    ("Minimum", 3): "10cp 20c u30c 40 u60c 70cp -",
    ("Minimum", 5): "10cp 10c u30c 30 30c 70cmp -",
    ("Maximum", 1): "10cp 30c - 60c - 90cp -",
    ("Maximum", 2): "10cp 25c u30c 50c u60c 90cp -",
    ("Maximum", 3): "10cp 25c u30c 50c u60c 90cp -",
    # The example gives 30c for the fifth, though an Uncertain 70 is above the maximum: Table 22.
    ("Maximum", 5): "10cp 20c u30c 50c u30c 80cp -",
    ("Count", 1): "1cp 2c B 2c u0c 2cp -",
    ("Count", 2): "1cp 2c u1c 2c u1c 3cp -",
    ("Count", 3): "1cp 2c 1c 2c 1c 3cp -",
    ("Count", 4): "1cp 2c u1c 2c u1c 3cp -",
    ("Count", 5): "1cp 2c u1c 2c u1c 3cp -",
    ("Start", 1): "10p@10 20@20 B@40 50@50 U70@70 80p@80 -",
    ("Start", 2): "10p@2 20@25 30@39 40@48 60@72 70p@83 -",
    ("Start", 5): "10p@2 20@25 30@39 30@48 30@72 70p@83 -",
    ("End", 1): "10p@10 30@30 B@40 60@60 U70@70 90p@90 -",
    ("End", 2): "10p@2 25@28 B@42 50@52 U70@77 90p@90 -",
    ("End", 5): "10p@2 10@28 B@42 50@52 U70@77 70p@90 -",
    # Version 1.04. It leaves out the Calculated bit that Tables 23 and 24 ask for.
    ("MinimumActualTime", 1): "10p@10 20@20 - 50@50 - 80p@80 -",
    ("MinimumActualTime", 3): "10p@2 20@25 u30c@39 40@48 u60c@72 70p@83 -",
    ("MaximumActualTime", 1): "10p@10 30@30 - 60@60 - 90p@90 -",
    ("MaximumActualTime", 3): "10p@2 25@28 u30c@39 50@52 u60c@72 90p@90 -",
    ("Minimum2", 3): "10cp 10i 25i 40 50i 70cp -",
    ("DurationGood", 3): "14000cp 16000c 10000c 16000c 13000c 7001cp -",
    ("DurationGood", 4): "14000cp 16000c 10000c 16000c 13000c 7001cp -",
}
_SEVERITIES = {"": 0, "u": UNCERTAIN_DATA_SUB_NORMAL, "U": Status.UNCERTAIN}
_BITS = {"c": CALCULATED, "i": INTERPOLATED, "p": PARTIAL, "m": MULTIPLE_VALUES}
_EXPECTED = re.compile(r"(u|U|)([\d.]+)([cipm]*)")


def samples(text: str) -> list[Sample]:
    found = []
    for word in text.split():
        second, value = word.split(":")
        at_ns = T0 + int(second) * NS_PER_S
        if value == "B":
            found.append(Sample(at_ns, None, Status.BAD))
        elif value[0] == "U":
            found.append(Sample(at_ns, float(value[1:]), Status.UNCERTAIN))
        else:
            found.append(Sample(at_ns, float(value), Status.GOOD))
    return found


def calculate(
    name: str,
    blocks: Intervals,
    history: list[Sample],
    how: Rules = DEFAULTS,
    until_ns: int = UNTIL_NS,
) -> list[Result]:
    """All intervals as one block, as the shell does it."""
    block = blocks.block(0, blocks.size)
    from_ns, to_ns = block[0].from_ns, min(block[-1].to_ns, until_ns)
    before = [s for s in history if s.time_ns < from_ns]
    usable = [s for s in before if how.usable(s.status)]
    known = Before(before[-1] if before else None, usable[-1] if usable else None)
    scan = AGGREGATES[name].scan(block, how, known, until_ns)
    scan.feed(
        s for s in history if s.time_ns >= from_ns and (s.time_ns < to_ns or scan.looks_ahead)
    )
    found = scan.finish()
    assert scan.done
    return found[::-1] if blocks.reverse else found


def expected(text: str, at_ns: int) -> Result:
    text, _, second = text.partition("@")
    at_ns = T0 + int(second) * NS_PER_S if second else at_ns
    if text in ("-", "B"):
        return Result(at_ns, None, BAD_NO_DATA if text == "-" else Status.BAD)
    found = _EXPECTED.fullmatch(text)
    assert found
    status = _SEVERITIES[found[1]]
    for bit in found[3]:
        status |= _BITS[bit]
    return Result(at_ns, pytest.approx(float(found[2]), abs=6e-4), status)


@pytest.mark.parametrize(
    ("step_s", "name", "historian", "text"),
    [(5, *key, text) for key, text in FIVE_S.items()]
    + [(16, *key, text) for key, text in SIXTEEN_S.items()],
)
def test_what_annex_a_says(step_s: int, name: str, historian: int, text: str) -> None:
    words = text.split()
    history, how = HISTORIANS[historian]
    blocks = intervals(T0, T0 + 100 * NS_PER_S, step_s * 1000, 100)
    found = calculate(name, blocks, samples(history), how)
    wanted = [expected(word, blocks.at(n).stamp_ns) for n, word in enumerate(words)]
    assert found[: len(wanted)] == wanted


# ------------------------------------------------------------------------------------ intervals


def seconds(blocks: Intervals) -> list[tuple[int, ...]]:
    return [
        ((i.from_ns - T0) // NS_PER_S, (i.to_ns - T0) // NS_PER_S, (i.stamp_ns - T0) // NS_PER_S)
        for i in (blocks.at(n) for n in range(blocks.size))
    ]


def test_a_range_is_cut_from_its_start_and_the_rest_is_short() -> None:
    blocks = intervals(T0, T0 + 20 * NS_PER_S, 6_000, 10)
    assert seconds(blocks) == [(0, 6, 0), (6, 12, 6), (12, 18, 12), (18, 20, 18)]
    assert [blocks.at(n).short for n in range(4)] == [False, False, False, True]
    assert not any(intervals(T0, T0 + 18 * NS_PER_S, 6_000, 10).at(n).short for n in range(3))


def test_backwards_the_late_end_belongs_to_an_interval_and_the_early_one_does_not() -> None:
    blocks = intervals(T0 + 20 * NS_PER_S, T0, 12_000, 10)
    late, early = blocks.at(0), blocks.at(1)
    assert late == Interval(T0 + 8 * NS_PER_S + 100, T0 + 20 * NS_PER_S + 100, T0 + 20 * NS_PER_S)
    assert early == Interval(T0 + 100, T0 + 8 * NS_PER_S + 100, T0 + 8 * NS_PER_S, short=True)
    assert blocks.block(0, 5) == [early, late]
    history = samples("0:1 4:3 8:5 20:7")
    assert [r.value for r in calculate("Count", blocks, history)] == [1, 2]
    assert [r.value for r in calculate("Interpolative", blocks, history)] == [7.0, 5.0]


@pytest.mark.parametrize("interval_ms", [0, 20_000, 1e9])
def test_no_processing_interval_or_a_long_one_is_one_interval(interval_ms: float) -> None:
    blocks = intervals(T0, T0 + 20 * NS_PER_S, interval_ms, 1)
    assert (blocks.size, blocks.at(0)) == (1, Interval(T0, T0 + 20 * NS_PER_S, T0))


@pytest.mark.parametrize(
    ("range_ns", "interval_ms", "status"),
    [
        (0, 0, BAD_INVALID_ARGUMENT),
        (NS_PER_S, -1, BAD_AGGREGATE_INVALID_INPUTS),
        (NS_PER_S, float("nan"), BAD_AGGREGATE_INVALID_INPUTS),
        (NS_PER_S, float("inf"), BAD_AGGREGATE_INVALID_INPUTS),
        (NS_PER_S, 1e-9, BAD_AGGREGATE_INVALID_INPUTS),
        (NS_PER_S, 1, BAD_TOO_MANY_OPERATIONS),
    ],
)
def test_intervals_without_a_meaning_and_too_many_are_refused(
    range_ns: int, interval_ms: float, status: int
) -> None:
    with pytest.raises(PlanRefused) as refused:
        intervals(T0, T0 + range_ns, interval_ms, 999)
    assert refused.value.status == status


# -------------------------------------------------------------------------------- configuration


def test_shares_that_leave_nothing_to_say_are_refused() -> None:
    assert rules(False, 80, 20) == Rules(False, 80, 20)
    for bad, good in ((80, 0), (101, 100), (100, 101)):
        with pytest.raises(PlanRefused) as refused:
            rules(True, bad, good)
        assert refused.value.status == BAD_AGGREGATE_INVALID_INPUTS


@pytest.mark.parametrize(
    ("bad", "good", "statuses"),
    [
        (100, 100, [Status.GOOD, UNCERTAIN_DATA_SUB_NORMAL, Status.BAD]),
        (50, 90, [Status.GOOD, Status.BAD, Status.BAD]),
        # Where the two meet the share of good data decides.
        (50, 50, [Status.GOOD, Status.GOOD, UNCERTAIN_DATA_SUB_NORMAL]),
        (0, 100, [Status.GOOD, UNCERTAIN_DATA_SUB_NORMAL, UNCERTAIN_DATA_SUB_NORMAL]),
        (0, 101, [UNCERTAIN_DATA_SUB_NORMAL, Status.BAD, Status.BAD]),
    ],
)
def test_a_status_by_the_shares_of_good_and_bad(bad: int, good: int, statuses: list[int]) -> None:
    how = Rules(True, bad, good)
    assert [how.judge(share, 10 - share, 10) for share in (10, 5, 0)] == statuses


def test_more_bad_data_than_is_allowed_leaves_no_value() -> None:
    how = Rules(True, 20, 90)
    blocks = intervals(T0, T0 + 10 * NS_PER_S, 0, 1)
    history = samples("0:1 4:B 8:3")
    for name in ("Average", "Count", "TimeAverage2", "Minimum2"):
        assert calculate(name, blocks, history, how) == [Result(T0, None, Status.BAD)]


def test_aggregates_that_calculate_are_for_numbers() -> None:
    for kind in (DataType.BOOL, DataType.STRING, DataType.DATETIME):
        AGGREGATES["Count"].check(kind, sloped_extrapolation=True)
        with pytest.raises(PlanRefused) as refused:
            AGGREGATES["Average"].check(kind, sloped_extrapolation=False)
        assert refused.value.status == BAD_AGGREGATE_NOT_SUPPORTED


def test_what_is_held_has_no_slope_to_extrapolate() -> None:
    AGGREGATES["TimeAverage2"].check(DataType.FLOAT64, sloped_extrapolation=True)
    for name in ("TimeAverage", "Interpolative"):
        with pytest.raises(PlanRefused) as refused:
            AGGREGATES[name].check(DataType.FLOAT64, sloped_extrapolation=True)
        assert refused.value.status == BAD_AGGREGATE_CONFIGURATION_REJECTED


# ------------------------------------------------------------------------------- what they say


def test_the_difference_between_the_ends_says_what_it_skipped() -> None:
    blocks = intervals(T0, T0 + 60 * NS_PER_S, 20_000, 3)
    found = calculate("Delta", blocks, samples("1:5 9:2 21:B 22:4 25:4 41:B"))
    assert found == [
        Result(T0, -3.0, CALCULATED | PARTIAL),
        Result(T0 + 20 * NS_PER_S, 0.0, UNCERTAIN_DATA_SUB_NORMAL | CALCULATED),
        Result(T0 + 40 * NS_PER_S, None, BAD_NO_DATA),
    ]


def test_a_gap_is_bad_data() -> None:
    blocks = intervals(T0, T0 + 40 * NS_PER_S, 10_000, 4)
    lost = Sample(T0 + 5 * NS_PER_S, None, 0x809D0000)
    history = [*samples("0:1"), lost, *samples("25:3")]
    said = {name: calculate(name, blocks, history) for name in AGGREGATES}
    assert [r.value for r in said["PercentGood"]] == [50.0, 0.0, 50.0, 100.0]
    assert [r.value for r in said["PercentBad"]] == [50.0, 100.0, 50.0, 0.0]
    assert [r.value for r in said["DurationBad"]] == [5_000.0, 10_000.0, 5_000.0, 0.0]
    assert [r.value for r in said["TimeAverage2"]] == [1.0, None, 3.0, 3.0]
    severities = [Status.GOOD, *[UNCERTAIN_DATA_SUB_NORMAL] * 2, Status.GOOD]
    assert [r.status & 0xFFFF0000 for r in said["Interpolative"]] == severities
    assert said["TimeAverage2"][1].status == BAD_NO_DATA
    assert said["TimeAverage2"][2].status == UNCERTAIN_DATA_SUB_NORMAL | CALCULATED


def test_what_goes_on_is_held_up_to_now_and_nothing_is_known_later() -> None:
    blocks = intervals(T0, T0 + 40 * NS_PER_S, 10_000, 4)
    until_ns = T0 + 25 * NS_PER_S
    for name in ("TimeAverage", "TimeAverage2", "Minimum2", "Maximum2"):
        found = calculate(name, blocks, samples("0:7"), until_ns=until_ns)
        assert [r.value for r in found] == [7.0, 7.0, 7.0, None]
        assert found[1].status >> 30 == 0
        assert (found[2].status & PARTIAL, found[3].status) == (PARTIAL, BAD_NO_DATA)
    found = calculate("Interpolative", blocks, samples("0:7"), until_ns=until_ns)
    assert [r.value for r in found] == [7.0, 7.0, 7.0, 7.0]
    assert found[3].status == UNCERTAIN_DATA_SUB_NORMAL | INTERPOLATED


def test_a_line_begins_where_an_interval_does() -> None:
    blocks = intervals(T0, T0 + 30 * NS_PER_S, 10_000, 3)
    found = calculate("TimeAverage", blocks, samples("10:0 20:10"))
    assert found[0] == Result(T0, None, BAD_NO_DATA)
    assert found[1] == Result(T0 + 10 * NS_PER_S, 5.0, CALCULATED)
    assert calculate("TimeAverage", blocks, []) == [
        Result(blocks.at(n).stamp_ns, None, BAD_NO_DATA) for n in range(3)
    ]


def test_the_least_of_what_was_held_and_came_is_named_by_where_it_was() -> None:
    blocks = intervals(T0, T0 + 30 * NS_PER_S, 10_000, 3)
    found = calculate("Minimum2", blocks, samples("5:3 10:3 15:3 25:2"))
    assert [r.status for r in found] == [
        UNCERTAIN_DATA_SUB_NORMAL | CALCULATED | PARTIAL,
        Status.GOOD | MULTIPLE_VALUES,
        CALCULATED,
    ]
    assert calculate("Maximum2", blocks, samples("5:B")) == [
        Result(blocks.at(n).stamp_ns, None, BAD_NO_DATA) for n in range(3)
    ]
    assert calculate("Maximum2", blocks, samples("5:3 15:3"))[1].status == (
        INTERPOLATED | MULTIPLE_VALUES
    )


def test_bounds_at_one_instant() -> None:
    good, bad, doubtful = samples("0:1 10:B 20:U3")
    at_ns = T0 + 30 * NS_PER_S
    assert simple_bound(T0, good, DEFAULTS, UNTIL_NS) == good
    assert simple_bound(at_ns, good, DEFAULTS, UNTIL_NS) == Result(at_ns, 1.0, INTERPOLATED)
    for newest, how in ((None, DEFAULTS), (bad, DEFAULTS), (doubtful, DEFAULTS)):
        assert simple_bound(at_ns, newest, how, UNTIL_NS) == Result(at_ns, None, BAD_NO_DATA)
    assert simple_bound(at_ns, good, DEFAULTS, at_ns) == Result(at_ns, None, BAD_NO_DATA)
    lenient = Rules(treat_uncertain_as_bad=False)
    uncertain = Result(at_ns, 3.0, UNCERTAIN_DATA_SUB_NORMAL | INTERPOLATED)
    assert simple_bound(at_ns, doubtful, lenient, UNTIL_NS) == uncertain
    assert interpolated_bound(at_ns, Before(doubtful, doubtful), UNTIL_NS) == uncertain
    over_bad = interpolated_bound(at_ns, Before(bad, good), UNTIL_NS)
    assert over_bad == Result(at_ns, 1.0, UNCERTAIN_DATA_SUB_NORMAL | INTERPOLATED)
    assert interpolated_bound(at_ns, Before(bad, None), UNTIL_NS).status == BAD_NO_DATA
    assert interpolated_bound(T0, Before(good, good), UNTIL_NS) == good
