"""The whole page: what it says first, that nothing is missing, that nothing breaks out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from html_tree import Element, tree
from recordings import T0, at, large, small

from gateway.model import NS_PER_S
from hil.recording import Act, Finding, Look, Outcome, Recording, Reign, Stretch, Told
from hil.report.axis import LEFT, PLOT
from hil.report.files import JUNIT_FILE, write
from hil.report.page import page

EVIL = "<script>alert('x')</script>\"&\x00\x1b[31m"


@pytest.fixture(scope="module")
def campaign() -> str:
    return page(large(seed=11))


def x_of(seconds: float, lasts: float = 60) -> float:
    return LEFT + PLOT * seconds / lasts


def marks(root: Element, attribute: str) -> dict[str, tuple[float, float]]:
    """x and width of the rectangles that have an attribute, by its value."""
    return {
        e.given[attribute]: (float(e.given["x"]), float(e.given["width"]))
        for e in root.having(attribute)
        if e.name == "rect"
    }


def test_the_first_line_is_the_outcome_and_the_promise() -> None:
    root = tree(page(small()))
    assert root.one("h1").text == (
        "\u2717 Failed: A dead Main is replaced within a second; nothing is lost but what is "
        "declared."
    )
    assert root.one("head").one("title").text == "Failed: The Main dies \u2013 Hotpair"
    header = root.one("header").text
    assert "5 promises were judged: 1 failed, 1 unknown, 3 passed." in header
    assert "2026-11-25, 18:02:00 to 18:03:00 UTC" in header
    assert "2, p50 612 ms, longest 1104 ms" in header


def test_only_when_all_have_passed_it_says_so() -> None:
    passed = [f for f in small().findings if f.outcome is Outcome.PASSED]
    root = tree(page(small(findings=passed)))
    assert root.one("h1").text.startswith("\u2713 Passed: ")
    assert "All 3 promises that were judged are kept." in root.one("header").text
    one = tree(page(small(findings=passed[:1])))
    assert "One promise was judged: kept." in one.one("header").text
    nothing = tree(page(small(findings=[])))
    assert nothing.one("h1").text.startswith("? Unknown: ")
    assert "Nothing was judged." in nothing.one("header").text
    assert "nothing is proven" in nothing.one("section", id="promises").text


def test_a_machine_that_was_too_busy_is_named_beside_the_verdict() -> None:
    assert "times prove nothing" not in page(small())
    assert "times prove nothing" in tree(page(small(busy=True))).one("header").text


def test_what_failed_comes_first_and_is_open() -> None:
    found = tree(page(small())).one("section", id="promises").having("data-judge")
    assert [e.given["data-judge"] for e in found] == [
        "every scan instant", "clock of plc2", "one poller", "histories", "takeover",
    ]  # fmt: skip
    assert "open" in found[0].given
    assert found[4].name == "details"
    assert "open" not in found[4].given


def test_evidence_leads_to_the_act_around_it_or_to_what_was_told_then() -> None:
    root = tree(page(small()))
    failed = root.one(data_judge="every scan instant")
    first, second = failed.one("ul").children
    link = first.one("a")
    assert "18:02:30.000 (+30 s), +6 s from 2. silence plc1 for 5.0 s" in first.text
    assert root.one("details", id=link.given["href"].removeprefix("#")).given["class"] == "act"
    assert not second.all("a")  # at 36.5 s no act was near
    assert "node b is silent on all links" in second.one("details").text


def test_every_act_lies_at_its_time() -> None:
    found = marks(tree(page(small())), "data-act")
    assert set(found) == {"1", "2", "3", "4", "5"}
    for number, begun, ended in (("1", 10, 18), ("2", 24, 29), ("3", 38, 41), ("4", 47, 54)):
        x, width = found[number]
        assert x == pytest.approx(x_of(begun), abs=1)
        assert x + width == pytest.approx(x_of(ended), abs=1)
    assert found["5"] == (pytest.approx(x_of(56), abs=1), 2)  # a moment is seen, too


def test_every_row_has_its_name_and_every_act_its_words() -> None:
    svg = tree(page(small())).all("svg", class_="chart")[0]
    texts = [e.text for e in svg.all("text")]
    for name in ("kill main", "cut links", "node a", "node b", "pump1", "meter1"):
        assert name in texts
    for words in ("1: node a, 8 s", "4: 7 s, log lose", "5: step -60", "split, 2.1 s"):
        assert words in texts
    split = svg.having("data-split")[0].one("rect", class_="split")
    assert float(split.given["x"]) == pytest.approx(x_of(39.1), abs=1)
    assert float(split.given["width"]) == pytest.approx(PLOT * 2.1 / 60, abs=2)


def test_evidence_against_a_promise_is_marked_at_its_time() -> None:
    root = tree(page(small()))
    crosses = root.having("data-evidence")
    assert {e.given["data-evidence"] for e in crosses} == {str(at(30)), str(at(36.5))}
    path = next(e for e in crosses if e.given["data-evidence"] == str(at(30))).one("path")
    assert path.given["d"].startswith(f"M{x_of(30) - 5:.1f} ")


def test_the_axis_is_named_in_utc_and_since_the_start() -> None:
    texts = [e.text for e in tree(page(small())).all("svg", class_="chart")[0].all("text")]
    for text in ("UTC", "18:02:00", "18:02:30", "18:03:00", "+30 s", "+1 min"):
        assert text in texts


def test_each_act_has_the_lines_around_it() -> None:
    root = tree(page(small()))
    rows = [row.text for row in root.one("details", id="act-1").all("tr")]
    assert len(rows) == 5  # 9.5 s to 23 s: from 1 s before to 5 s after
    assert rows[0] == "18:02:09.500\u2212500 msapoll of plc1 took 12 ms"
    assert rows[1] == "18:02:10.520+520 msb!pair: node a is dead: taking over"
    grave = root.one("details", id="act-3").all("tr", class_="error")
    assert len(grave) == 1


def test_the_page_needs_nothing_else_and_reads_without_a_script() -> None:
    text = page(small())
    root = tree(text)
    assert not [e for e in root.all() if "src" in e.given or e.name in ("link", "img", "iframe")]
    assert not [e for e in root.all("a") if not e.given["href"].startswith("#")]
    assert "@import" not in text
    assert (
        "default-src 'none'"
        in root.one("meta", http_equiv="Content-Security-Policy").given["content"]
    )
    anchors = {e.given["id"] for e in root.having("id")}
    assert all(e.given["href"].removeprefix("#") in anchors for e in root.all("a"))


def test_every_chart_has_a_text_and_every_table_a_caption_and_heads() -> None:
    root = tree(page(small()))
    for svg in root.all("svg"):
        assert svg.given.get("aria-label") or svg.given.get("aria-hidden") == "true"
    for table in root.all("table"):
        if table.given.get("class") != "told":
            assert table.one("caption").text
            assert all(head.given["scope"] == "col" for head in table.all("th"))
    for box in root.all("div", class_="scroll"):
        assert box.given["tabindex"] == "0"
        assert box.given["aria-label"]
    levels = [e.name for e in root.all() if e.name in ("h1", "h2", "h3")]
    assert levels[0] == "h1"
    assert levels.count("h1") == 1


def test_names_and_lines_cannot_break_out_of_the_page() -> None:
    recording = small(
        scenario=EVIL, promise=EVIL, site=EVIL, version=EVIL, devices={EVIL: [EVIL]},
        acts=[Act(EVIL, EVIL, EVIL, at(1), at(30), {EVIL: EVIL}, EVIL)],
        looks=[Look(at(1), EVIL, EVIL, EVIL), Look(at(50), EVIL, EVIL, EVIL)],
        reigns=[Reign(EVIL, EVIL, at(0), at(9), EVIL, EVIL)],
        stretches=[Stretch(EVIL, EVIL, EVIL, EVIL, at(9), at(40), (EVIL,))],
        told=[Told(at(1), EVIL, EVIL, 1, EVIL)],
        findings=[Finding(EVIL, Outcome.FAILED, EVIL, (EVIL,), (at(9),))],
    )  # fmt: skip
    text = page(recording)
    root = tree(text)
    assert len(root.all("script")) == 1
    assert "alert" not in root.one("script").text
    assert "\x00" not in text
    assert "\x1b" not in text
    shown = "<script>alert('x')</script>\"&\ufffd\ufffd[31m"
    assert root.one("h1").text.endswith(shown)
    assert shown in root.one("section", id="acts").text
    assert shown in root.one("section", id="gaps").text


def test_a_run_in_which_nothing_happened_is_a_page_too() -> None:
    root = tree(page(Recording("Quiet", "", "demo", None, "0.1.0", T0, T0)))
    assert root.one("h1").text == "? Unknown: Quiet"
    for text in ("No node had to take over.", "No gap is recorded.", "Nothing was done"):
        assert text in root.one("main").text
    assert "seed" not in root.one("header").text


def test_a_short_run_is_shown_once_and_a_long_one_in_parts_as_well(campaign: str) -> None:
    assert len(tree(page(small())).all("svg", class_="chart")) == 1
    root = tree(campaign)
    parts = [e for e in root.one("section", id="run").all("details") if e.all("svg")]
    assert len(parts) == 13  # each of the devices, and twelve parts
    acts = sum(len(part.having("data-act")) for part in parts)
    assert acts >= len(root.one("section", id="acts").all("details", class_="act"))


def test_two_hours_of_five_hundred_devices_are_a_page_that_opens(campaign: str) -> None:
    recording = large(seed=11)
    assert len(recording.looks) == 10_000
    assert len(recording.acts) > 200
    assert len(recording.stretches) > 20_000
    assert len(campaign.encode()) < 3_000_000
    root = tree(campaign)
    whole = root.all("svg", class_="chart")[0]
    assert len(marks(whole, "data-act")) == len(recording.acts)
    assert len(whole.having("data-row")) == 16
    assert len(root.one("section", id="gaps").all("tr")) < 500
    lines = sum(len(e.all("tr")) for e in root.all("table", class_="told"))
    assert 1_000 < lines <= 6_000


def test_what_has_no_place_on_the_page_is_counted() -> None:
    moments = [at(n / 100) for n in range(2_100)]
    root = tree(page(small(acts=[Act("busy", "plc1", "plc1", ns, ns) for ns in moments])))
    assert "100 more acts are in run.json." in root.one("section", id="acts").text
    reigns = [Reign(f"{n}.a.0", "a", at(n), at(n + 1), "") for n in range(40)]
    assert "All 40 reigns" in tree(page(small(reigns=reigns))).one("section", id="reigns").text


def test_a_run_over_midnight_names_both_days() -> None:
    late = (6 * 3600 - 300) * NS_PER_S
    recording = Recording("Night", "", "demo", 3, "0", T0 + late, T0 + late + 600 * NS_PER_S)
    text = tree(page(recording)).one("header").text
    assert "2026-11-25 to 2026-11-26, 23:57:00 to 00:07:00 UTC" in text


def test_it_is_written_beside_the_recording(tmp_path: Path) -> None:
    recording = small()
    file = write(recording, tmp_path)
    assert file == tmp_path / "report.html"
    assert file.read_text(encoding="utf-8") == page(recording)
    assert (tmp_path / JUNIT_FILE).read_text(encoding="utf-8").startswith("<?xml")
