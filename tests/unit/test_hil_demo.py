"""What the demo draws."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from gateway.model import NS_PER_S, Cause, Gap
from hil.demo_view import BAR_CELLS, Seen, coverage_bar, draw, role_bar

NOW = 1_795_000_000 * NS_PER_S


def gap(from_s: int, to_s: int) -> Gap:
    return Gap("plc1", "fast", NOW - from_s * NS_PER_S, NOW - to_s * NS_PER_S, Cause.NODE_DOWN)


def test_roles_are_drawn_a_cell_a_second_oldest_first() -> None:
    looks = [(NOW - s * NS_PER_S, "main" if s > 3 else "silent") for s in (5, 4, 3, 2, 1)]
    bar = role_bar(looks, NOW).plain
    assert len(bar) == BAR_CELLS
    assert bar.endswith("██×××")
    assert not bar[:-5].strip(), "nobody looked before"


def test_coverage_is_complete_not_complete_or_not_known() -> None:
    bar = coverage_bar([gap(20, 18)], "plc1", NOW, NOW - 30 * NS_PER_S).plain
    assert bar == "·" * 30 + "█" * 10 + "▒▒" + "█" * 14 + "····"
    assert "▒" not in coverage_bar([gap(20, 18)], "plc2", NOW, 0).plain


def test_old_looks_are_forgotten_and_a_node_that_does_not_answer_is_silent() -> None:
    seen = Seen(NOW)
    for second in range(200):
        seen.note(NOW + second * NS_PER_S, {"a": {}, "b": {"role": "main"}})
    assert len(seen.roles["a"]) == 61
    assert seen.roles["a"][-1][1] == "silent"
    assert seen.told == {"role": "main"}


def test_a_view_of_nodes_that_both_are_silent_says_so() -> None:
    seen = Seen(NOW)
    seen.note(NOW, {"a": {}, "b": {}})
    page = StringIO()
    Console(width=120, file=page).print(draw(seen, NOW))
    assert seen.told == {}
    assert "no node answers" in page.getvalue()
