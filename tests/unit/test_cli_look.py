"""What the commands that look print."""

from __future__ import annotations

import pytest

from gateway.cli.look import but_behind, complete, console, counted, draw_gaps, table
from gateway.model import Cause, Gap, GapState


def test_texts_of_devices_and_people_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = ["urn:plant:b: trust it", "[refused] by [bold]plc1[/bold]"]
    console().print(table(":b:", ("said",), [(text,) for text in texts]))
    printed = capsys.readouterr().out
    assert all(text in printed for text in (*texts, ":b:"))


def test_a_table_in_a_pipe_is_wide(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(table("t", ("long",), [("x" * 110,)]))
    assert "x" * 110 in capsys.readouterr().out


def test_the_classes_that_are_behind_are_named_and_many_are_counted() -> None:
    assert but_behind({"behind": {}, "complete_through": "12:00"}) == ""
    one = {"behind": {"plc2/subscription": "11:59"}, "complete_through": "11:59"}
    assert but_behind(one) == ", plc2/subscription behind: all through 11:59"
    many = {"behind": {f"plc{n}/fast": "" for n in range(5)}, "complete_through": "11:58"}
    assert (
        but_behind(many) == ", plc0/fast, plc1/fast, plc2/fast and 2 more behind: all through 11:58"
    )


def test_before_the_first_poll_nothing_is_said_to_be_complete() -> None:
    found = {"claimed_through": None, "complete_through": None, "behind": {}}
    assert complete(found) == "nothing was polled yet"
    assert complete(found | {"claimed_through": "12:00"}) == "complete through 12:00"
    late = {"claimed_through": "12:00", "complete_through": None, "behind": {"plc1/fast": ""}}
    assert complete(late) == "complete through 12:00, plc1/fast behind: all through nothing yet"


def test_one_is_one() -> None:
    assert [counted("x" * n, "gap") for n in (0, 1, 2)] == ["0 gaps", "1 gap", "2 gaps"]


def test_gaps_are_listed_with_what_became_of_them_and_summed_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    def gap(state: str, points: tuple[str, ...] = (), why: str = "") -> dict[str, object]:
        found = Gap("plc1", "fast", 0, 2_500_000_000, Cause.LINK, GapState(state), why, points)
        return found._asdict()

    many = tuple(f"p{number}" for number in range(6))
    console().print(
        draw_gaps([gap("filled"), gap("lost", many, "overwritten"), gap("open"), gap("filled")])
    )
    printed = capsys.readouterr().out
    assert "4 gaps: 1 open, 1 lost, 2 filled" in printed
    assert "p0, p1, p2, p3 and 2 more" in printed
    assert "2.500 s" in printed and "overwritten" in printed and "link" in printed
    assert "±" not in printed
    console().print(draw_gaps([gap("filled") | {"uncertainty_ns": 1_001_000_000}]))
    assert "times ± 1.0 s" in capsys.readouterr().out
    console().print(draw_gaps([]))
    assert "0 gaps" in capsys.readouterr().out
