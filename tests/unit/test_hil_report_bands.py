"""Each band and table on its own: what it draws where, what it says, and what it leaves out."""

from __future__ import annotations

import pytest
from html_tree import Element, tree
from recordings import T0, at, small

from hil.recording import Act, Finding, Look, Outcome, Reign, Stretch, Switch, Told
from hil.report import acts, coverage, crowd, findings, gaps, lag, roles, takeovers, told
from hil.report.axis import LEFT, PLOT, Axis
from hil.report.chart import LINED_ACTS_MAX, Band, chart
from hil.report.markup import Html

MINUTE = Axis(T0, at(60), T0)


def drawn(band: Band) -> Element:
    return tree(band.body)


def texts(root: Element) -> list[str]:
    """The texts that are seen without hovering."""
    return ["".join(part for part in e.inner if isinstance(part, str)) for e in root.all("text")]


def x_of(seconds: float) -> float:
    return LEFT + PLOT * seconds / 60


def looks(text: str, node: str = "a", every_s: float = 1) -> list[Look]:
    """A look each second: m main, s synced, c catching up, . silent, x another role, - no look."""
    names = {"m": "main", "s": "synced", "c": "syncing", ".": "", "x": "merging"}
    return [
        Look(at(n * every_s), node, names[letter]) for n, letter in enumerate(text) if letter != "-"
    ]


# ------------------------------------------------------------------------------ acts


def many(words: int, targets: int) -> dict[int, Act]:
    made = [(f"word{w}", f"plc{t}") for w in range(words) for t in range(targets)]
    return {
        n: Act(word, target, target, at(n), at(n + 0.5))
        for n, (word, target) in enumerate(made, start=1)
    }


def test_rows_are_by_target_then_by_word_then_the_rare_together() -> None:
    assert list(acts.rows_of(many(2, 3)))[:2] == ["word0 plc0", "word0 plc1"]
    assert acts.rows_of(many(5, 4)) == {
        f"word{w}": list(range(w * 4 + 1, w * 4 + 5)) for w in range(5)
    }
    rows = acts.rows_of(many(30, 2))
    assert len(rows) == acts.ROWS_MAX
    assert list(rows)[-1] == acts.OTHERS
    assert sorted(n for numbers in rows.values() for n in numbers) == list(range(1, 61))


def test_beside_an_act_stands_what_its_row_does_not_say() -> None:
    found = [
        Act("kill", "main", "a", at(1), at(4)),
        *(Act("busy", f"plc{n}", f"plc{n}", at(5 * n), at(5 * n + 1)) for n in range(2, 9)),
        *(Act("slow", f"plc{n}", f"plc{n}", at(5 * n), at(5 * n)) for n in range(2, 9)),
    ]
    shown = texts(drawn(acts.band(MINUTE, found)))
    assert {"kill", "busy \u00d77", "slow \u00d77"} <= set(shown)
    assert "1: main (a), 3 s" in shown
    assert "2: plc2, 1 s" in shown


def test_of_a_crowd_of_acts_only_the_numbers_are_told() -> None:
    found = [Act("busy", "plc1", "plc1", at(n / 2), at(n / 2 + 0.1)) for n in range(100)]
    labels = texts(drawn(acts.band(MINUTE, found)))[1:]
    assert labels
    assert all(label.isdigit() for label in labels)


def test_an_act_that_could_not_be_done_says_so() -> None:
    found = [Act("disk_full", "main", "a", at(10), at(10), {"mb": 5}, "no space to fill")]
    root = drawn(acts.band(MINUTE, found))
    assert "1: node a, mb 5, could not be done" in texts(root)
    assert "undone" in root.one("rect").given["class"]
    assert "could not be done: no space to fill" in root.one("title").text


def test_without_acts_there_is_no_band() -> None:
    assert acts.band(MINUTE, []).height == 0
    assert acts.band(Axis(at(100), at(160), T0), small().acts).height == 0


def test_a_fence_of_lines_is_not_drawn() -> None:
    few = [Act("busy", "plc1", "plc1", at(n), at(n)) for n in range(LINED_ACTS_MAX)]
    band = Band("b", 10, Html(""))
    lines = tree(chart(MINUTE, "n", "t", [band], acts=few)).all("line", class_="act-line")
    assert len(lines) == LINED_ACTS_MAX
    assert not tree(chart(MINUTE, "n", "t", [band], acts=[*few, few[0]])).all(
        "line", class_="act-line"
    )


def test_splits_outside_are_not_shaded_and_their_labels_do_not_meet() -> None:
    splits = [(at(10), at(11)), (at(12), at(13)), (at(40), at(41)), (at(90), at(99))]
    root = tree(chart(MINUTE, "n", "t", [Band("b", 10, Html(""))], splits))
    assert len(root.having("data-split")) == 3
    assert [e.text for e in root.all("text", class_="split-label")] == ["split, 1 s"] * 2


# ------------------------------------------------------------------------------ roles


def test_equal_looks_are_one_stretch_until_the_next_look() -> None:
    found = roles.standings([*looks("mm..cs"), *looks("ssmmmm", "b")])
    assert [(s.shown, s.from_ns, s.to_ns) for s in found["a"]] == [
        ("Main", at(0), at(2)),
        ("silent", at(2), at(4)),
        ("Standby, catching up", at(4), at(5)),
        ("Standby, synced", at(5), at(6)),
    ]
    assert [s.shown for s in found["b"]] == ["Standby, synced", "Main"]


def test_nothing_is_claimed_where_nobody_looked() -> None:
    found = roles.standings(looks("mmm" + "-" * 20 + "mm"))["a"]
    assert [(s.from_ns, s.to_ns) for s in found] == [(at(0), at(7)), (at(23), at(24 + 1))]
    assert roles.standings([Look(T0, "a", "main")])["a"][0].to_ns == T0


def test_what_a_node_adds_to_its_role_is_told() -> None:
    assert roles.said("main", "main") == "Main"
    assert roles.said("synced", "standby (synced)") == "Standby, synced"
    assert roles.said("synced", "standby (synced), paused") == "Standby, synced, paused"
    assert roles.said("starting", "recovering") == "starting (recovering)"
    assert roles.said("merging", "") == "merging"


def test_roles_lie_at_their_time_and_the_main_is_the_tallest() -> None:
    found = roles.standings(looks("m" * 20 + "." * 10 + "c" * 10 + "s" * 19 + "x"))
    rects = drawn(roles.band(MINUTE, found)).having("data-role")
    assert [e.given["data-role"] for e in rects] == [
        "main", "silent", "syncing", "synced", "other",
    ]  # fmt: skip
    assert float(rects[1].given["x"]) == pytest.approx(x_of(20), abs=1)
    assert float(rects[1].given["width"]) == pytest.approx(PLOT / 6, abs=1)
    talls = [float(e.given["height"]) for e in rects]
    assert talls[0] == max(talls)
    assert talls.count(talls[0]) == 1
    names = texts(drawn(roles.band(MINUTE, found)))
    assert names[:2] == ["node a", "Main"]
    assert "merging" not in names  # no room; its title says it
    legend = tree(roles.legend(found)).text
    assert "starting" not in legend
    assert "merging" in legend


def test_a_node_that_tells_more_than_its_role_is_outlined_and_explained() -> None:
    paused = [Look(at(n), "a", "main", "main, paused" if n > 9 else "main") for n in range(20)]
    found = roles.standings(paused)
    plain, outlined = drawn(roles.band(MINUTE, found)).having("data-role")
    assert plain.given["class"] == "r-main"
    assert outlined.given["class"] == "r-main more"
    assert tree(roles.legend(found)).text == "Roles: Main Main, paused"


def test_the_tables_of_roles_add_up() -> None:
    found = roles.standings([*looks("mm" + "." * 8), *looks("s" * 10, "b")])
    rows = [[cell.text for cell in row.children] for row in tree(roles.shares(found)).all("tr")]
    assert ["node a", "Main", "2 s", "20.0 %", "1"] in rows
    assert ["node b", "Standby, synced", "10 s", "100.0 %", "1"] in rows
    flip = roles.standings(looks("ms" * 300))
    table = tree(roles.listed(flip, T0))
    assert len(table.all("tr")) == roles.ROWS_MAX + 1
    assert "the 400 longest of 600" in table.one("caption").text


def test_a_reign_says_why_it_began_and_ended() -> None:
    recording = small()
    recording.reigns.append(Reign("9", "b", at(50), at(55), "by hand"))
    rows = [[c.text for c in row.children] for row in tree(roles.reigns(recording)).all("tr")]
    assert rows[2] == [
        "2", "b", "18:02:10.550", "18:02:41.200", "30.6 s", "node a is dead", "arbitration",
    ]  # fmt: skip
    assert rows[3][3] == "still"
    assert rows[3][6] == "it lasts"
    assert rows[4][6] == ""


# ------------------------------------------------------------------------------ lag, takeovers


def lagging(*values: float) -> list[Look]:
    return [
        Look(at(n), "b", "syncing", "", round(value * 2), value) for n, value in enumerate(values)
    ]


def test_only_a_standby_lags() -> None:
    others = [Look(at(1), "a", "main", "", 9, 9.0), Look(at(1), "a", "", "", 9, 9.0)]
    assert [one.ms for one in lag.lags([*others, *lagging(1, 2)])] == [1, 2]
    assert lag.bands(MINUTE, []) == []


def test_lag_holds_until_the_next_look_and_its_peak_is_told() -> None:
    found = lag.peaks(MINUTE, [(at(0), 5.0), (at(6), 7.0), (at(6.001), 3.0)], at(12) - T0)
    assert found[0] == 5
    assert found[99] == 5
    assert found[100] == 7  # the worse of two in a pixel
    assert found[299] == 3
    assert found[301] is None  # nobody looked any more
    samples, late = lag.bands(MINUTE, lag.lags(lagging(12, 2400, 15)))
    assert "at most 4\u2009800" in texts(drawn(samples))
    assert "at most 2.4 s" in texts(drawn(late))
    path = drawn(late).one("path").given["d"]
    assert path.count("M") == 1
    assert path.startswith(f"M{LEFT} {lag.TALL_PX}V")


def test_no_lag_is_a_heading_and_a_pause_is_no_zero() -> None:
    samples, late = lag.bands(MINUTE, lag.lags(lagging(0, 0.2)))
    assert samples.title == "Lag of the Standby, in samples: none"
    assert late.title == "Lag of the Standby, in time: none"
    assert not drawn(late).children
    found = [*lagging(5, 5, 5), Look(at(50), "b", "synced", "", 1, 5.0)]
    path = drawn(lag.bands(MINUTE, lag.lags(found))[1]).one("path").given["d"]
    assert path.count("M") == 2


def test_when_both_journals_were_proven_equal_is_told() -> None:
    proven = [Look(at(n), "a", "main", "", 0, 0.0, at(n - n % 5)) for n in range(20)]
    root = drawn(lag.equal_band(MINUTE, proven))
    places = [float(part.split()[0]) for part in root.one("path").given["d"].split("M")[1:]]
    assert places == pytest.approx([x_of(n) for n in (0, 5, 10, 15)], abs=1)
    assert texts(root) == ["proven equal", "last at 18:02:15.000"]
    assert lag.equal_band(MINUTE, lagging(1)).height == 0


def test_lag_in_figures() -> None:
    rows = tree(lag.summary(lag.lags(lagging(1, 2, 3, 400)), T0)).all("tr")
    assert [c.text for c in rows[2].children] == [
        "time", "2 ms", "400 ms", "400 ms", "18:02:03.000",
    ]  # fmt: skip


def switches(*ms: int, kind: str = "kill") -> list[Switch]:
    """A takeover a second; 0 ms is one that never came."""
    return [
        Switch(kind, "a", "b", at(n), at(n + each / 1000) if each else 0)
        for n, each in enumerate(ms, start=1)
    ]


def test_a_takeover_is_a_pin_with_its_time_and_a_cross_where_nothing_came() -> None:
    few = [*switches(612), Switch("cut", "b", "a", at(40), 0)]
    root = drawn(takeovers.band(MINUTE, few))
    good, never = root.having("data-takeover")
    assert float(good.one("circle").given["cx"]) == pytest.approx(x_of(1), abs=0.1)
    assert never.given["data-takeover"] == "no fresh value"
    assert never.one("path", class_="cross")
    assert {"612 ms", "no fresh value"} <= set(texts(root))


def test_a_takeover_that_took_longer_than_promised_says_so() -> None:
    kept, late, never = (
        Switch("kill", "a", "b", at(n * 20), at(n * 20 + took) if took else 0, 2000)
        for n, took in enumerate((1.9, 2.1, 0))
    )
    root = drawn(takeovers.band(MINUTE, [kept, late, never]))
    assert {"1900 ms", "2100 ms, 2000 promised", "no fresh value"} <= set(texts(root))
    assert [e.given["class"] for e in root.all("circle")] == ["pin", "pin late"]


def test_the_longer_it_took_the_higher_the_pin() -> None:
    root = drawn(takeovers.band(MINUTE, switches(200, 600, 30_000)))
    tops = [float(e.one("circle").given["cy"]) for e in root.having("data-takeover")]
    assert tops == sorted(tops, reverse=True)
    assert tops[-1] == 0  # beyond the scale
    assert "10 s" in texts(root)
    assert takeovers.band(MINUTE, []).height == 0


def test_of_many_takeovers_the_longest_is_told() -> None:
    root = drawn(takeovers.band(MINUTE, switches(*[500] * 49, 981)))
    assert len(root.having("data-takeover")) == 50
    assert [text for text in texts(root) if "98" in text] == ["longest: 981 ms"]


def test_takeovers_in_figures() -> None:
    assert takeovers.summary(switches(612)) == "1, 612 ms"
    assert takeovers.summary(switches(0)) == "1, no fresh value"
    assert takeovers.summary(switches(100, 300, 200)) == "3, p50 200 ms, longest 300 ms"
    assert takeovers.summary(switches(100, 0)) == "2, p50 100 ms, longest never"
    every = [*switches(*range(1, 101)), *switches(700, 0, kind="cut")]
    root = tree(takeovers.tables(every, T0))
    rows = [[c.text for c in row.children][2:] for row in root.all("table")[0].all("tr")[1:]]
    assert rows == [
        ["2", "700 ms", "never", "never", "1"],
        ["100", "50 ms", "99 ms", "100 ms", "0"],
        ["102", "51 ms", "700 ms", "never", "1"],
    ]
    assert root.one("summary").text == "All 102 takeovers"


def test_single_takeovers_are_a_plain_list_and_a_thousand_are_enough() -> None:
    assert len(tree(takeovers.tables(switches(612), T0)).all("table")) == 1
    root = tree(takeovers.tables(switches(*[5] * 1001), T0))
    assert "the first 1000 of 1001" in root.one("details").text


# ------------------------------------------------------------------------------ history, gaps


def row_of(root: Element, name: str) -> list[tuple[str, float, float]]:
    return [
        (e.given["data-gap"], float(e.given["x"]), float(e.given["width"]))
        for e in root.one(data_row=name).having("data-gap")
    ]


def test_each_gap_lies_at_its_time_and_says_cause_and_state() -> None:
    recording = small()
    found = coverage.thinned_by_device(MINUTE, recording.devices, recording.stretches)
    root = drawn(coverage.band(MINUTE, found))
    (kind, x, width), *more = row_of(root, "meter1")
    assert not more
    assert kind == "lost"
    assert x == pytest.approx(x_of(47), abs=1)
    assert width == pytest.approx(PLOT * 7.5 / 60, abs=2)
    assert "device, lost" in texts(root)
    assert [kind for kind, _, _ in row_of(root, "plc1")] == ["filled", "coarse"]
    title = root.one(data_row="pump1").one("title").text
    assert title == "pump1: lost, node_down\n18:02:09.900 to 18:02:10.700, 800 ms"


def test_where_it_was_polled_there_is_a_bar_and_in_a_gap_none() -> None:
    found = coverage.thinned_by_device(
        MINUTE, ["plc1"], [Stretch("plc1", "fast", "link", "open", at(30), at(45))]
    )
    path = drawn(coverage.band(MINUTE, found)).one("path", class_="covered").given["d"]
    assert path == "M176 0h500v13H176zM926 0h250v13H926z"


def test_what_is_lacking_juts_out_where_it_is_too_narrow_for_a_hatch() -> None:
    gone = [
        Stretch("plc1", "f", "link", state, at(s), at(s + 0.1))
        for s, state in ((10, "lost"), (20, "filled"), (30, "coarse"))
    ]
    found = coverage.thinned_by_device(MINUTE, ["plc1"], gone)
    talls = {
        e.given["data-gap"]: float(e.given["height"])
        for e in drawn(coverage.band(MINUTE, found)).having("data-gap")
    }
    assert talls["lost"] > coverage.BAR_PX == talls["filled"] > talls["coarse"]


def test_a_state_that_is_not_known_is_never_shown_as_covered() -> None:
    odd = [Stretch("new", "fast", "link", "molten", at(10), at(20))]
    found = coverage.thinned_by_device(MINUTE, ["plc1"], odd)
    root = drawn(coverage.band(MINUTE, found))
    assert [kind for kind, _, _ in row_of(root, "new")] == ["open"]
    assert "gap, open" in tree(coverage.legend(odd)).text
    assert "gap, lost" not in tree(coverage.legend(odd)).text


def plant(devices: int, holed: int) -> dict[str, list[coverage.Run]]:
    names = [f"plc{n}" for n in range(devices)]
    lost = [
        Stretch(name, "f", "device", "lost", at(n % 50), at(n % 50 + 2 + n % 7))
        for n, name in enumerate(names[:holed])
    ]
    return coverage.thinned_by_device(MINUTE, names, lost)


def test_up_to_two_dozen_devices_have_a_row_each() -> None:
    assert [row.devices for row in coverage.rows(plant(24, 1))] == [(f"plc{n}",) for n in range(24)]
    assert coverage.each(MINUTE, plant(24, 1)) == ""
    assert crowd.band(MINUTE, plant(24, 24)).height == 0


def test_of_more_devices_those_that_look_alike_share_a_row_and_the_whole_come_last() -> None:
    rows = coverage.rows(plant(100, 2))
    assert [row.devices[:1] for row in rows] == [("plc0",), ("plc1",), ("plc2",)]
    assert coverage.called(rows[-1]) == "98 devices without gaps"
    together = [Stretch(f"plc{n}", "f", "link", "lost", at(5), at(9)) for n in range(60)]
    found = coverage.thinned_by_device(MINUTE, [f"plc{n}" for n in range(60)], together)
    root = drawn(coverage.band(MINUTE, found))
    assert len(row_of(root, "60 devices")) == 1
    assert "plc39 and 20 more" in root.one(data_row="60 devices").text


def test_of_a_large_plant_the_worst_have_rows_and_every_device_has_one_below() -> None:
    found = plant(500, 300)
    band = coverage.band(MINUTE, found)
    assert band.title.startswith("Those with most gaps, ")
    assert len(drawn(band).having("data-row")) == coverage.ROWS_MAX + 1
    each = tree(coverage.each(MINUTE, found))
    assert each.one("summary").text == "Each of the 500 devices in a row of its own"
    assert len(each.all("text", class_="row small")) == 500
    assert len(each.all("path", class_="s-lost")) == 300


def test_how_many_devices_had_a_gap_is_stacked_by_state() -> None:
    names = [f"plc{n}" for n in range(100)]
    lost = [Stretch(name, "f", "link", "lost", at(6), at(12)) for name in names[:50]]
    filled = [Stretch(name, "f", "link", "filled", at(6), at(12)) for name in names[50:75]]
    found = coverage.thinned_by_device(MINUTE, names, [*lost, *filled])
    counts = crowd.counted(found)
    assert counts["lost"][99:201] == [0, *[50] * 100, 0]
    root = drawn(crowd.band(MINUTE, found))
    half, quarter = crowd.TALL_PX / 2, crowd.TALL_PX / 4
    assert root.one(data_crowd="lost").given["d"] == (
        f"M{LEFT + 100} {crowd.TALL_PX}v-{half:.0f}h100v{half:.0f}z"
    )
    assert root.one(data_crowd="filled").given["d"] == (
        f"M{LEFT + 100} {half:.0f}v-{quarter:.0f}h100v{quarter:.0f}z"
    )
    assert texts(root) == ["100", "50", "0"]


def test_one_device_of_a_thousand_is_still_seen() -> None:
    found = plant(1000, 1)
    assert f"v-{crowd.LEAST_PX}" in drawn(crowd.band(MINUTE, found)).one("path").given["d"]


def test_gaps_that_began_together_are_one_line() -> None:
    lines = gaps.grouped(small().stretches)
    assert [(g.cause, g.state, len(g.stretches)) for g in lines][:3] == [
        ("node_down", "filled", 1), ("node_down", "lost", 2), ("device", "filled", 1),
    ]  # fmt: skip
    table = tree(gaps.listed(small().stretches, T0))
    rows = [[c.text for c in row.children] for row in table.all("tr")]
    assert rows[2][5] == "plc2 (sub); pump1 (fast)"
    assert rows[-1] == [
        "18:02:56.000", "18:03:00.000", "4 s", "clock", "open", "plc2 (sub flow, level)",
    ]  # fmt: skip


def test_gaps_of_one_event_begin_within_a_second_of_its_first() -> None:
    begun = [Stretch(f"plc{n}", "f", "link", "lost", at(n * 0.6), at(9)) for n in range(4)]
    assert [len(g.stretches) for g in gaps.grouped(begun)] == [2, 2]


def test_a_line_of_gaps_names_a_few_devices_and_points() -> None:
    crowd_ = [Stretch(f"plc{n}", "f", "link", "lost", at(1), at(2)) for n in range(9)]
    assert gaps.of_what(crowd_).endswith("plc5 (f); and 3 more devices")
    points = tuple(f"p{n}" for n in range(8))
    one = [Stretch("plc", "f", "link", "lost", at(1), at(2), points)]
    assert gaps.of_what(one) == "plc (f p0, p1, p2, p3, p4, p5 and 2 more)"


def test_of_too_many_gaps_the_longest_are_kept_and_all_are_counted() -> None:
    every = [Stretch("plc", "f", "link", "lost", at(2 * n), at(2 * n + 1)) for n in range(450)]
    every[7] = Stretch("plc", "f", "link", "lost", at(14), at(99))
    table = tree(gaps.listed(every, T0))
    assert len(table.all("tr")) == gaps.ROWS_MAX + 1
    assert "the 400 longest of 450" in table.one("caption").text
    assert "1 min 25 s" in table.text
    row = tree(gaps.sums(every)).all("tr")[1]
    assert [c.text for c in row.children][:4] == ["link", "lost", "450", "1"]


# ------------------------------------------------------------------------------ told, findings


def test_lines_are_from_a_second_before_to_five_after() -> None:
    said = [Told(at(s), "a", "log", 0, f"at {s}") for s in (8.9, 9, 10, 20, 25, 25.1)]
    around = told.Lines(said, 1).around(at(10), at(20))
    assert [line.text for line in around.lines] == ["at 9", "at 10", "at 20", "at 25"]
    assert around.left_out == 0


def test_of_too_many_lines_the_grave_ones_are_kept_in_order_of_time() -> None:
    said = [Told(at(10 + n / 100), "a", "log", 0, f"{n}") for n in range(250)]
    said[240] = Told(at(12.4), "b", "pair", 700, "grave")
    said[230] = Told(at(12.3), "b", "pair", 400, "less grave")
    around = told.Lines(said, 1).around(at(10), at(10))
    assert len(around.lines) == told.MOST
    assert around.left_out == 50
    assert [line.text for line in around.lines][-2:] == ["less grave", "grave"]
    assert told.Lines(said, 1_000).most == told.LEAST
    text = tree(told.listed(around, at(10), T0)).text
    assert "50 less grave lines are left out" in text


def test_a_long_line_is_cut_and_silence_is_told() -> None:
    around = told.Lines([Told(at(1), "a", "log", 0, "x" * 1000)], 1).around(at(1), at(1))
    assert len(tree(told.listed(around, at(1), T0)).all("td")[-1].text) == told.TEXT_MAX + 1
    nothing = told.Lines([], 0).around(at(1), at(1))
    assert "Neither node told anything" in told.listed(nothing, at(1), T0)


def test_an_event_that_a_log_has_too_is_shown_once() -> None:
    said = [
        Told(at(1), "b", "log", 500, "gateway.node: pair: node a is dead"),
        Told(at(1.1), "", "pair", 500, "node a is dead"),
        Told(at(3), "", "pair", 500, "node a is dead"),
        Told(at(4), "", "", 500, "the journal is full"),
        Told(at(4), "a", "log", 500, "gateway.node: node: the journal is full"),
    ]
    around = told.Lines(said, 1).around(at(1), at(4))
    assert [(line.node, line.time_ns) for line in around.lines] == [
        ("b", at(1)), ("", at(3)), ("a", at(4)),
    ]  # fmt: skip
    assert "both" in tree(told.listed(around, at(1), T0)).text


def test_a_traceback_is_whole() -> None:
    trace = "Traceback (most recent call last)\n" + "  File\n" * 200
    around = told.Lines([Told(at(1), "a", "log", 700, trace)], 1).around(at(1), at(1))
    assert tree(told.listed(around, at(1), T0)).all("td")[-1].text == trace


def test_a_moment_belongs_to_the_last_act_around_it() -> None:
    spans = [(at(0), at(30)), (at(10), at(12)), (at(40), at(41))]
    assert told.nearest(spans, at(11)) == 1
    assert told.nearest(spans, at(17.1)) == 0
    assert told.nearest(spans, at(39)) == 2
    assert told.nearest(spans, at(46.1)) is None


def test_only_evidence_against_a_promise_is_marked_and_passed_ones_are_not() -> None:
    passed = Finding("kept", Outcome.PASSED, "", ("fine",), (at(5),))
    unknown = Finding("unsure", Outcome.UNKNOWN, "", ("no log", "no clock"), (0, at(20)))
    outside = Finding("later", Outcome.FAILED, "", ("late",), (at(90),))
    root = drawn(findings.band(MINUTE, [passed, unknown, outside]))
    assert [e.given["data-evidence"] for e in root.having("data-evidence")] == [str(at(20))]
    assert texts(root) == ["unsure", "no clock"]


def test_evidence_without_a_moment_is_shown_all_the_same() -> None:
    one = Finding("digest", Outcome.FAILED, "they differ", ("a: 01ff", "b: 02ff"))
    root = tree(findings.promises([one], [], told.Lines([], 0), T0))
    assert [item.text for item in root.all("li")] == ["a: 01ff", "b: 02ff"]
    assert "2 pieces of evidence" in root.one("summary").text
