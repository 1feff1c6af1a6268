"""Whatever a run was like: labels stay off marks and labels, pixels show the worst there was."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hil.report.axis import LEFT, PLOT, TICKS_MAX, WIDTH, Axis, step_ns, ticks
from hil.report.marks import NARROWEST, Stretched, beside, pixels, text_px, thinned

S = 1_000_000_000
AXIS = Axis(100 * S, 160 * S, 100 * S)
MARKS = st.lists(
    st.tuples(st.integers(LEFT, LEFT + PLOT), st.integers(2, 200)).map(
        lambda pair: (float(pair[0]), float(min(sum(pair), LEFT + PLOT)))
    ),
    max_size=30,
)
SPANS = st.lists(
    st.builds(
        lambda at, lasts, rank: Stretched(at, at + lasts, rank, str(rank)),
        st.integers(90 * S, 170 * S),
        st.integers(0, 20 * S),
        st.integers(1, 5),
    ),
    max_size=40,
)


@given(MARKS, st.lists(st.text("x", min_size=1, max_size=40), min_size=1, max_size=3))
def test_labels_meet_neither_marks_nor_labels_and_stay_on_the_page(
    marks: list[tuple[float, float]], wordings: list[str]
) -> None:
    placed = beside(marks, [wordings] * len(marks))
    taken = []
    for label in placed:
        if label.text:
            wide = text_px(label.text)
            x0 = label.x - wide if label.anchor == "end" else label.x
            taken.append((x0, x0 + wide))
            assert x0 >= LEFT
            assert x0 + wide <= WIDTH
    for x0, x1 in taken:
        assert not [mark for mark in marks if mark[0] < x1 and x0 < mark[1]]
    taken.sort()
    assert all(one[1] <= other[0] for one, other in pairwise(taken))


@given(SPANS)
def test_each_pixel_shows_the_worst_that_touches_it_and_nothing_else(
    spans: list[Stretched],
) -> None:
    runs = thinned(AXIS, spans)
    shown = {x: int(run.kind) for run in runs for x in range(run.x0, run.x1)}
    here = [span for span in spans if AXIS.touches(span.from_ns, span.to_ns)]
    wanted: dict[int, int] = {}
    for span in here:
        for x in range(*pixels(AXIS, span.from_ns, span.to_ns)):
            wanted[x] = max(span.rank, wanted.get(x, 0))
    assert shown == wanted
    assert all(LEFT <= x < LEFT + PLOT for x in shown)
    assert all(pixels(AXIS, s.from_ns, s.to_ns)[1] - LEFT >= NARROWEST for s in here)


@given(st.integers(0, 4 * 10**18), st.integers(1, 40 * 86400 * S))
def test_ticks_are_few_and_inside(from_ns: int, lasts_ns: int) -> None:
    axis = Axis(from_ns, from_ns + lasts_ns, from_ns)
    found = [time_ns for time_ns, _ in ticks(axis)]
    assert len(found) <= TICKS_MAX + 1
    assert all(axis.from_ns <= at <= axis.to_ns for at in found)
    assert all(at % step_ns(lasts_ns) == 0 for at in found)
