"""The judges: they pass what is right, and above all they fail what is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.model import NS_PER_S, Cause, Gap, GapState, Status, Value
from hil.judges import EVIDENCE_MAX, Judged, judge, pollers, same
from hil.outstation.polls import Poll
from hil.truth import Step

S = NS_PER_S
T0 = 1_800_000_000 * S
TRUTH = [Step(T0 - 100 * S, 1.0), Step(T0 + 10 * S, 2.0), Step(T0 + 20 * S, 3.0)]
END = T0 + 30 * S


def truth(from_ns: int, to_ns: int) -> Sequence[Step]:
    before = [step for step in TRUTH if step.time_ns <= from_ns]
    inside = [step for step in TRUTH if from_ns < step.time_ns < to_ns]
    return [Step(from_ns, before[-1].value), *inside]


POINT = Judged("plc/level", "plc", "normal", S, truth)
RIGHT: list[tuple[int, Value, int]] = [
    (T0 - 5 * S, 1.0, Status.GOOD),
    (T0 + 10 * S + S // 2, 2.0, Status.GOOD),
    (T0 + 20 * S + S // 2, 3.0, Status.GOOD),
]


def gap(from_s: float, to_s: float, device: str = "plc", scan_class: str = "normal") -> Gap:
    return Gap(device, scan_class, T0 + int(from_s * S), T0 + int(to_s * S), Cause.DEVICE)


def verdict_of(
    rows: Sequence[tuple[int, Value, int]], gaps: Sequence[Gap] = (), point: Judged = POINT
) -> tuple[int, int, int]:
    found = judge([point], {point.id: rows}, gaps, T0, END)
    assert found.expected == 30 == found.collected + found.declared + found.missing
    assert len(found.evidence) == min(found.missing, EVIDENCE_MAX)
    assert found.passed is (found.missing == 0)
    return found.collected, found.declared, found.missing


def test_a_history_that_follows_the_truth_is_collected() -> None:
    assert verdict_of(RIGHT) == (30, 0, 0)


def test_a_wrong_value_is_missing() -> None:
    rows = [RIGHT[0], (T0 + 10 * S + S // 2, 2.5, Status.GOOD), RIGHT[2]]
    found = judge([POINT], {POINT.id: rows}, (), T0, END)
    assert found.missing == 10
    assert "held 1.0, 2.0; history has 2.5 (Good)" in str(found.evidence[0])


def test_a_missing_sample_leaves_a_stale_value_and_is_missing() -> None:
    # 1.0 may stand until one period and the slack after the step at 10 s.
    assert verdict_of([RIGHT[0], RIGHT[2]]) == (21, 0, 9)


def test_a_value_that_comes_too_late_is_missing() -> None:
    late = [RIGHT[0], (T0 + 14 * S, 2.0, Status.GOOD), RIGHT[2]]
    assert verdict_of(late) == (28, 0, 2)


def test_no_history_at_all_is_missing() -> None:
    found = judge([POINT], {}, (), T0, END)
    assert found.missing == 30
    assert "no sample and no gap" in str(found.evidence[0])
    assert "history has nothing" in str(found.evidence[0])


def test_a_declared_gap_excuses_its_stretch_only() -> None:
    assert verdict_of([RIGHT[0], RIGHT[2]], [gap(12, 20.5)]) == (21, 9, 0)
    assert verdict_of([RIGHT[0], RIGHT[2]], [gap(12, 15)]) == (21, 3, 6)


def test_a_gap_of_another_device_or_class_excuses_nothing() -> None:
    assert verdict_of([RIGHT[0], RIGHT[2]], [gap(12, 21, device="other")])[2] == 9
    assert verdict_of([RIGHT[0], RIGHT[2]], [gap(12, 21, scan_class="fast")])[2] == 9


def test_a_gap_that_was_filled_excuses_nothing() -> None:
    stale = [RIGHT[0], RIGHT[2]]
    for state, missing in (("lost", 0), ("open", 0), ("filled", 9), ("coarse", 9)):
        assert verdict_of(stale, [gap(10, 21)._replace(state=GapState(state))])[2] == missing
    bad = [RIGHT[0], (T0 + 5 * S, None, Status.BAD_NO_COMMUNICATION), *RIGHT[1:]]
    assert verdict_of(bad, [gap(5, 11)._replace(state=GapState.FILLED)])[2] == 6


def test_a_gap_excuses_the_points_that_it_names() -> None:
    stale = [RIGHT[0], RIGHT[2]]
    lost = gap(10, 21)._replace(state=GapState.LOST, points=("level",))
    assert verdict_of(stale, [lost])[2] == 0
    assert verdict_of(stale, [lost._replace(points=("flow", "plc/level"))])[2] == 9


def test_where_the_log_is_coarse_its_resolution_is_allowed_and_no_more() -> None:
    late = [RIGHT[0], (T0 + 15 * S, 2.0, Status.GOOD), RIGHT[2]]
    coarse = gap(10, 21)._replace(state=GapState.COARSE, resolution_ns=5 * S)
    assert verdict_of(late) == (27, 0, 3)
    assert verdict_of(late, [coarse]) == (30, 0, 0)
    assert verdict_of(late, [coarse._replace(resolution_ns=S)]) == (28, 0, 2)
    assert verdict_of(late, [coarse._replace(to_ns=T0 + 13 * S)]) == (28, 0, 2)
    others = coarse._replace(state=GapState.LOST, points=("flow",))
    assert verdict_of(late, [others]) == (30, 0, 0), "this point is one of the coarse ones"
    wrong = [RIGHT[0], (T0 + 15 * S, 2.5, Status.GOOD), RIGHT[2]]
    assert verdict_of(wrong, [coarse])[2] > 0
    assert verdict_of(RIGHT[1:], [gap(0, 10)._replace(state=GapState.COARSE, resolution_ns=S)])[2]


def test_as_well_as_a_devices_clock_is_known_a_time_may_be_wrong_and_no_worse() -> None:
    early = [RIGHT[0], (T0 + 9 * S, 2.0, Status.GOOD), RIGHT[2]]
    unsure = gap(5, 21)._replace(state=GapState.FILLED, uncertainty_ns=S)
    assert verdict_of(early) == (29, 0, 1)
    assert verdict_of(early, [unsure]) == (30, 0, 0)
    assert verdict_of(early, [unsure._replace(uncertainty_ns=S // 2)])[2] == 1
    late = [RIGHT[0], (T0 + 13 * S, 2.0, Status.GOOD), RIGHT[2]]
    assert verdict_of(late)[2] == verdict_of(late, [unsure])[2] + 1


def test_an_undeclared_bad_sample_is_missing() -> None:
    rows = [RIGHT[0], (T0 + 5 * S, None, Status.BAD_NO_COMMUNICATION), *RIGHT[1:]]
    found = judge([POINT], {POINT.id: rows}, (), T0, END)
    assert (found.collected, found.missing) == (24, 6)
    assert "Bad sample outside any gap" in str(found.evidence[0])
    assert verdict_of(rows, [gap(5, 11)]) == (24, 6, 0)


def test_a_bad_sample_has_one_period_of_slack_at_the_edges_of_a_gap_and_no_more() -> None:
    rows = [RIGHT[0], (T0 + 5 * S, None, Status.BAD_NO_COMMUNICATION), *RIGHT[1:]]
    assert verdict_of(rows, [gap(6, 9.5)]) == (24, 6, 0)
    assert verdict_of(rows, [gap(7, 9)]) == (24, 4, 2)


def test_a_good_but_wrong_value_has_no_slack_at_the_edges() -> None:
    assert verdict_of([RIGHT[0], RIGHT[2]], [gap(13, 20)]) == (21, 7, 2)


def test_the_deadband_is_respected_and_not_exceeded() -> None:
    near = [(at, value + 0.05, status) for at, value, status in RIGHT if isinstance(value, float)]
    assert verdict_of(near, point=POINT._replace(deadband=0.05))[2] == 0
    assert verdict_of(near, point=POINT._replace(deadband=0.04))[2] == 30


def test_a_device_that_holds_no_value_is_rightly_bad_and_wrongly_good() -> None:
    held = [Step(T0 - 100 * S, 1.0), Step(T0 + 10 * S, None), Step(T0 + 20 * S, 3.0)]

    def blank(from_ns: int, to_ns: int) -> Sequence[Step]:
        return [Step(from_ns, 1.0), *[s for s in held if from_ns < s.time_ns < to_ns]]

    point = POINT._replace(truth=blank)
    bad = (T0 + 10 * S + S // 2, None, Status.BAD_SENSOR_FAILURE)
    assert verdict_of([RIGHT[0], bad, RIGHT[2]], point=point) == (30, 0, 0)
    assert verdict_of(RIGHT, point=point)[2] > 0


def test_an_uncertain_value_counts_if_it_is_right() -> None:
    rows = [(at, value, Status.UNCERTAIN_EU_EXCEEDED) for at, value, _ in RIGHT]
    assert verdict_of(rows) == (30, 0, 0)


def test_nothing_judged_is_not_passed() -> None:
    found = judge([], {}, (), T0, END)
    assert found.expected == 0
    assert not found.passed


def test_evidence_is_bounded_and_names_the_last_poll() -> None:
    polls = [
        Poll(T0 + number * S, 0, "plc", 1, 3, "holding", 0, 1, "127.0.0.1:9", "silence")
        for number in range(3)
    ]
    fast = POINT._replace(period_ns=S // 10)
    found = judge([fast], {}, (), T0, END, polls)
    assert found.missing == 300
    assert len(found.evidence) == EVIDENCE_MAX
    assert found.evidence[-1].last_poll.endswith("02.000Z: silence")
    assert "no poll" in judge([POINT], {}, (), T0, END).evidence[0].last_poll


@pytest.mark.parametrize(
    ("found", "held", "equal"),
    [
        (1, 1.0, True),
        (0.1 + 0.2, 0.3, True),
        (1, True, False),
        (True, True, True),
        ("a", "a", True),
        ("a", "b", False),
        ("1", 1, False),
        (None, None, False),
        (float("nan"), float("nan"), False),
    ],
)
def test_values_are_compared_by_kind(found: Value, held: Value, equal: bool) -> None:
    assert same(found, held) is equal


def test_pollers_are_told_by_address() -> None:
    polls = [
        Poll(T0, 0, "plc", 1, 3, "holding", 0, 1, "127.0.0.1:9", "ok"),
        Poll(T0 + 1, 0, "plc", 1, 3, "holding", 0, 1, "127.0.0.2:9", "ok"),
        Poll(T0 + 2, 0, "rtu", 1, 3, "holding", 0, 1, "run/bus1", "ok"),
        Poll(END, 0, "rtu", 1, 3, "holding", 0, 1, "late", "ok"),
    ]
    assert pollers(polls, T0, END) == {"plc": {"127.0.0.1", "127.0.0.2"}, "rtu": {"run/bus1"}}
