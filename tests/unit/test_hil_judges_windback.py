"""The judge of windback: still in the log, yet missing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from log_world import Logged

from gateway.model import NS_PER_S, Cause, Gap
from hil.judges_windback import (
    ClockSet,
    LogHeld,
    Unfilled,
    missed,
    parse_held,
    recorded_by_plc,
    unplaced,
    unproven,
    unwatched,
    without_power,
)
from hil.runs import Happening
from hil.settings import PlcHistory
from hil.truth import EPOCH_NS, Span

S = NS_PER_S
T = EPOCH_NS


def log(*runs: tuple[float, float], points: str = "ab", resolution_s: float = 1) -> LogHeld:
    spans = tuple((T + round(a * S), T + round(b * S)) for a, b in runs)
    return LogHeld("ring", frozenset(points), round(resolution_s * S), spans)


@pytest.mark.parametrize(
    ("runs", "from_s", "to_s", "count"),
    [
        ([(0, 9)], 0, 10, 10),
        ([(0, 9)], 2.5, 4.5, 2),
        ([(0, 9)], 2, 4, 2),
        ([(0, 9)], 2.1, 2.9, 0),
        ([(0, 3), (6, 9)], 3, 7, 2),
        ([(0, 9)], 20, 30, 0),
        ([(0.25, 9.25)], 1, 3, 2),
        ([], 0, 9, 0),
    ],
)
def test_records_in_a_stretch(
    runs: Sequence[tuple[float, float]], from_s: float, to_s: float, count: int
) -> None:
    assert log(*runs).records(T + round(from_s * S), T + round(to_s * S)) == count


def stretch(points: str = "ab", attempted_s: int | None = 100) -> Unfilled:
    at_ns = None if attempted_s is None else T + attempted_s * S
    return Unfilled("plc1", frozenset(points), T + 10 * S, T + 20 * S, at_ns)


def test_what_the_log_held_at_the_last_attempt_is_missed() -> None:
    asked: list[int] = []

    def held(device: str, from_ns: int, to_ns: int, at_ns: int) -> list[LogHeld]:
        assert (device, from_ns, to_ns) == ("plc1", T + 10 * S, T + 20 * S)
        asked.append((at_ns - T) // S)
        return [log((0, 14)), log((0, 99), points="c")]

    (found,) = missed([stretch("bc")], held, T + 500 * S)[:1]
    assert (found.log, found.points, found.records) == ("ring", ("b",), 4)
    assert "4 records of b were in the log" in str(found)
    assert asked == [100]
    (first, second) = missed([stretch("bc", None)], held, T + 500 * S)
    assert first.why == "were never asked for"
    assert second.points == ("c",)
    assert asked == [100, 500]


def test_what_no_log_held_or_lies_at_an_end_is_not_missed() -> None:
    def gone(device: str, from_ns: int, to_ns: int, at_ns: int) -> list[LogHeld]:
        return [log((0, 9), (30, 40)), log((10, 10), (20, 20)), log((0, 99), points="c")]

    assert missed([stretch()], gone, T) == []


def test_the_rig_says_what_its_logs_held() -> None:
    said = {"method": "ring", "address": 100, "columns": ["v"], "resolution": "1s"}
    logs = Logged(said, {"v": {"address": 0}}, {}).logs

    def held(device: str, from_ns: int, to_ns: int, at_ns: int) -> list[LogHeld]:
        return parse_held({"ok": True, "logs": logs.recorded(from_ns, to_ns, at_ns)})

    empty = Unfilled("dev", frozenset("v"), T + 20 * S, T + 30 * S, T + 60 * S)
    (found,) = missed([empty], held, T + 60 * S)
    assert found.records == 9
    logs.disturb("clear", {}, T + 61 * S)
    assert missed([empty._replace(attempted_ns=T + 62 * S)], held, T + 70 * S) == []
    (again,) = missed([empty], held, T + 70 * S)
    assert again.records == 9, "it is asked what the log held then, not now"


@pytest.mark.parametrize(
    ("settings", "runs"),
    [
        (PlcHistory(), [(10, 12), (15, 20)]),
        (PlcHistory(depth_ns=84 * S), [(16, 20)]),
        (PlcHistory(volatile=True), [(15, 20)]),
        (PlcHistory(odd=frozenset({"cut_off"})), []),
    ],
)
def test_a_plc_holds_what_it_had_power_for(
    settings: PlcHistory, runs: Sequence[tuple[int, int]]
) -> None:
    journal = [
        Happening(T + at * S, device, what)
        for at, device, what in (
            (1, "plc", "power on"),
            (12, "plc", "power off"),
            (13, "plc", "power off"),
            (14, "other", "power on"),
            (15, "plc", "power on"),
        )
    ]
    off = without_power(journal, "plc", T + 100 * S)
    assert off == [Span(T + 12 * S, T + 15 * S, None)]
    span = Span(T + 10 * S, T + 20 * S, None)
    found = recorded_by_plc(settings, frozenset("ab"), off, T + 100 * S, span)
    assert found.runs == tuple((T + a * S, T + b * S) for a, b in runs)
    assert found.points == frozenset("ab")


def test_a_plc_shows_that_it_ran_by_its_last_change() -> None:
    off = [Span(T + 12 * S, T + 15 * S, None), Span(T + 18 * S, T + 19 * S, None)]
    found = unproven(off, lambda ns: ns - 2 * S)
    assert found == [Span(T + 10 * S, T + 15 * S, None), Span(T + 16 * S, T + 19 * S, None)]


def test_a_plc_that_is_off_records_nothing_and_some_points_never() -> None:
    off = without_power([Happening(T, "plc", "power off")], "plc", T + 9 * S)
    assert off == [Span(T, T + 9 * S, None)]
    settings = PlcHistory(without=frozenset("b"))
    span = Span(T + 1 * S, T + 9 * S, None)
    found = recorded_by_plc(settings, frozenset("ab"), off, T + 9 * S, span)
    assert found.points == frozenset("a") and found.runs == ()


@pytest.mark.parametrize(
    ("cause", "set_at", "by", "excused"),
    [
        (Cause.NODE_DOWN, 15, 1, True),
        (Cause.NODE_DOWN, 8, 5, True),
        (Cause.NODE_DOWN, 23, 3, True),
        (Cause.NODE_DOWN, 8, 1, False),
        (Cause.NODE_DOWN, 25, 3, False),
        (Cause.DEVICE, 15, 1, False),
    ],
)
def test_a_clock_that_is_set_while_no_node_is_there_moves_what_lies_near(
    cause: Cause, set_at: int, by: int, excused: bool
) -> None:
    gap = Gap("plc", "fast", T + 10 * S, T + 20 * S, cause)
    away = unwatched([gap])
    assert unplaced(gap, away, [ClockSet(T + set_at * S, by * S)]) is excused
    assert not unplaced(gap, away, [])


def test_a_clock_is_unwatched_until_somebody_reads_its_device_again() -> None:
    """Of campaign 20261213, round 17: both nodes were down, then the device had no power."""
    down = Gap("meter1", "normal", T + 10 * S, T + 20 * S, Cause.NODE_DOWN)
    off = Gap("meter1", "normal", T + 20 * S, T + 30 * S, Cause.LINK)
    apart = Gap("meter1", "normal", T + 31 * S, T + 40 * S, Cause.LINK)
    slow = Gap("meter1", "slow", T + 15 * S, T + 50 * S, Cause.LINK)
    away = unwatched([apart, off, down, slow])
    assert away == [Span(T + 10 * S, T + 30 * S, None)]
    sets = [ClockSet(T + 28 * S, 5 * S)]
    excused = [unplaced(gap, away, sets) for gap in (down, off, apart, slow)]
    assert excused == [True, True, False, False]
