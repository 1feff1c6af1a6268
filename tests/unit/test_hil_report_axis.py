"""Time on paper: ticks, offsets, lengths, thinning, and labels that stay off one another."""

from __future__ import annotations

from itertools import pairwise

import pytest
from recordings import T0, at

from gateway.model import NS_PER_MS, NS_PER_S
from hil.report.axis import (
    LEFT,
    PLOT,
    TICKS_MAX,
    WIDTH,
    Axis,
    exact,
    length,
    offsets,
    sheets,
    since,
    step_ns,
    ticks,
)
from hil.report.marks import (
    NARROWEST,
    Stretched,
    beside,
    clipped,
    height_px,
    pixels,
    text_px,
    thinned,
)

S = NS_PER_S
MINUTE = Axis(T0, at(60), T0)
LATE = T0 + (5 * 3600 + 57 * 60) * S  # 23:59:00 of the same day


def test_a_moment_lies_where_its_share_of_the_time_is_and_never_outside() -> None:
    assert MINUTE.x(T0) == LEFT
    assert MINUTE.x(at(15)) == LEFT + PLOT / 4
    assert MINUTE.x(at(-5)) == LEFT
    assert MINUTE.x(at(90)) == LEFT + PLOT
    assert Axis(T0, T0, T0).x(T0) == LEFT  # a run that ended as it began


def test_a_stretch_is_shown_when_any_of_it_is() -> None:
    assert MINUTE.touches(at(-5), at(0))
    assert MINUTE.touches(at(59), at(99))
    assert not MINUTE.touches(at(-5), at(-1))
    assert not MINUTE.touches(at(60), at(61))  # its time is [from, to)


@pytest.mark.parametrize(
    ("seconds", "step"),
    [(0.004, 0.0005), (1, 0.1), (60, 5), (600, 60), (7200, 600), (86400, 7200), (4e9, 365 * 86400)],
)
def test_steps_are_round_and_few(seconds: float, step: float) -> None:
    found = step_ns(int(seconds * S))
    assert found == max(int(step * S), NS_PER_MS)
    assert seconds * S / found <= TICKS_MAX or seconds > 1e9


def test_ticks_are_round_times_of_day() -> None:
    found = list(ticks(Axis(at(1), at(61), T0)))
    assert found[0] == (at(5), "18:02:05")
    assert found[-1] == (at(60), "18:03:00")
    assert [b[0] - a[0] for a, b in pairwise(found)] == [5 * S] * 11


def test_ticks_of_hours_have_no_seconds_and_those_of_a_second_have_milliseconds() -> None:
    assert next(ticks(Axis(T0, at(7200), T0))) == (at(480), "18:10")
    assert list(ticks(Axis(T0, at(1), T0)))[1] == (at(0.1), "18:02:00.100")


def test_a_new_day_is_named_once() -> None:
    texts = [text for _, text in ticks(Axis(LATE, LATE + 120 * S, LATE))]
    assert texts[0] == "23:59:00"
    assert [text for text in texts if "Nov" in text] == ["26 Nov 00:00:00"]


def test_offsets_count_from_the_start_of_the_run_also_in_a_part_of_it() -> None:
    assert list(offsets(MINUTE))[:2] == [(T0, "0"), (at(5), "+5 s")]
    part = Axis(at(600), at(1200), T0)
    assert next(offsets(part)) == (at(600), "+10 min")


def test_parts_are_round_and_together_the_whole() -> None:
    found = sheets(Axis(T0, at(7000), T0), 12)
    assert [axis.length_ns for axis in found] == [600 * S] * 11 + [400 * S]
    assert [axis.from_ns for axis in found[1:]] == [axis.to_ns for axis in found[:-1]]
    found = sheets(Axis(T0, at(1800.3), T0), 12)
    assert found[-1].length_ns == round(300.3 * S), "a third of a second is no part of its own"
    assert found[-1].to_ns == at(1800.3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.612, "612 ms"), (1, "1 s"), (8.25, "8.2 s"), (60, "1 min"), (245, "4 min 5 s"),
        (7200, "2 h"), (7322, "2 h 2 min"), (90000, "1 d 1 h"), (59.96, "1 min"),
    ],
)  # fmt: skip
def test_lengths_are_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert length(round(seconds * S)) == text


def test_moments_tell_the_other_day_and_the_sign() -> None:
    assert exact(at(10.5), T0) == "18:02:10.500"
    assert exact(LATE + 61 * S, T0) == "26 Nov 00:00:01.000"
    assert since(at(10), T0) == "+10 s"
    assert since(at(-0.5), T0) == "\u2212500 ms"


def test_what_is_narrower_than_a_pixel_is_still_seen() -> None:
    x0, x1 = pixels(MINUTE, at(30), at(30))
    assert (x0, x1) == (LEFT + PLOT / 2, LEFT + PLOT / 2 + NARROWEST)
    assert pixels(MINUTE, at(60), at(60)) == (LEFT + PLOT - NARROWEST, LEFT + PLOT)
    assert pixels(MINUTE, at(-9), at(90)) == (LEFT, LEFT + PLOT)


def test_the_worse_of_two_in_a_pixel_is_seen_and_equal_ones_are_one() -> None:
    runs = thinned(
        MINUTE,
        [
            Stretched(at(10), at(10.001), 5, "lost"),
            Stretched(at(0), at(30), 1, "filled", "device"),
            Stretched(at(30), at(36), 1, "filled", "device"),
            Stretched(at(70), at(80), 1, "filled", "device"),
        ],
    )
    tenth = LEFT + PLOT // 6
    assert [(run.kind, run.x0, run.x1) for run in runs] == [
        ("filled", LEFT, tenth),
        ("lost", tenth, tenth + 2),
        ("filled", tenth + 2, LEFT + 600),
    ]
    assert (runs[2].from_ns, runs[2].to_ns) == (T0, at(36))


def test_neighbours_of_one_kind_for_other_reasons_stay_two() -> None:
    spans = [Stretched(T0, at(6), 1, "lost", "link"), Stretched(at(6), at(9), 1, "lost", "device")]
    assert [run.note for run in thinned(MINUTE, spans)] == ["link", "device"]


def test_a_label_stands_right_else_left_else_shorter_else_not_at_all() -> None:
    long = "a label of some length"
    marks = [(400.0, 410.0), (430.0, 440.0), (WIDTH - 30.0, WIDTH - 20.0)]
    first, second, last = beside(marks, [[long], [long], [long]])
    assert (first.x, first.anchor, first.text) == (396, "end", long)
    assert (second.x, second.anchor, second.text) == (444, "start", long)
    assert (last.x, last.anchor) == (WIDTH - 34, "end")
    crowd = [(float(LEFT), LEFT + 10.0), (LEFT + 30.0, LEFT + 40.0), (LEFT + 41.0, LEFT + 900.0)]
    assert [p.text for p in beside(crowd, [[long, "1"], [long, "2"], [long]])] == ["1", "", ""]


def test_a_label_is_not_put_onto_a_longer_mark_that_began_before() -> None:
    marks = [(200.0, 900.0), (250.0, 260.0)]
    assert beside(marks, [[], ["inside the other"]])[1].text == ""


def test_a_long_name_is_cut_and_a_short_one_is_not() -> None:
    assert clipped("pump1", 100) == "pump1"
    cut = clipped("pump station at the northern inlet", 100)
    assert cut.endswith("\u2026")
    assert text_px(cut) <= 100


def test_heights_grow_by_the_logarithm() -> None:
    assert height_px(0, 1, 1000, 40) == 0
    assert height_px(0.1, 1, 1000, 40) == 0
    assert height_px(1, 1, 1000, 40) == pytest.approx(10)
    assert height_px(1000, 1, 1000, 40) == pytest.approx(40)
