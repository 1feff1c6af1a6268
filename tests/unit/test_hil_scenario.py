"""Scenarios as integrators write them: what is read, and what each mistake is told with."""

from __future__ import annotations

import pytest

from gateway.model import NS_PER_S
from hil.acts import WORDS, needs_of
from hil.scenario import Ground, Scenario, ScenarioError
from hil.scenario_reading import ENTRIES_MAX, read_scenario
from hil.settings import SiteError
from hil.words import (
    MAIN,
    Need,
    Shape,
    Target,
    device_words,
    duration_ns,
    flag,
    is_reply_fault,
    messages,
    one_of,
)

SHAPES = {word: entry.shape for word, entry in WORDS.items()}
HEAD = "scenario: One\npromise: It holds.\nsite: demo\nlasts: 30s\n"


def ground(site: str) -> Ground:
    if site != "demo":
        raise SiteError("there is demo")
    return Ground(frozenset({"plc1", "plc2"}), 2)


def read(text: str, lab: bool = False, words: dict[str, Shape] | None = None) -> Scenario:
    return read_scenario(text, "one.yaml", words or SHAPES, ground, lab)


def mistakes(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as found:
        read(text)
    assert str(found.value).splitlines() == [str(one) for one in found.value.mistakes]
    return [str(one) for one in found.value.mistakes]


def test_all_that_may_be_written_is_read() -> None:
    found = read(
        HEAD
        + """\
seed: 7
client: node-opcua
pair: {replication: sync, takeover_after: 2s}
timeline:
  - {at: 9s, cut: link1, for: 2s}
  - {at: 1s, kill: main, for: 8s}
  - {at: 2s, changeover: pair}
  - {at: 3s, power_off: plc1, log: lose, for: 3s}
  - {at: 3s, clock: plc1, step: -60}
  - {at: 7s, late: plc1, ms: 900}
  - {at: 4s, log_stop: plc2}
expect:
  - {takeover: 1s}
  - {gap: {device: plc1, at_most: 3s}}
  - {no_gaps: [plc2]}
  - {filled: plc1}
  - {main: other}
  - {told: links}
  - {refused: changeover}
"""
    )
    assert (found.name, found.promise, found.site, found.seed) == ("One", "It holds.", "demo", 7)
    assert found.client == "node-opcua" and found.lasts_ns == 30 * NS_PER_S
    assert found.pair == {"replication": "sync", "takeover_after": "2s"}
    said = [str(entry) for entry in found.timeline]
    assert said == [
        "kill main for 8 s",
        "changeover pair",
        "power_off plc1 log=lose for 3 s",
        "clock plc1 step=-60.0",
        "log_stop plc2 for 26 s",
        "late plc1 ms=900.0 for 23 s",
        "cut link1 path=1 for 2 s",
    ]
    assert [entry.device for entry in found.timeline] == [False, False, *[True] * 4, False]
    assert [str(one) for one in found.expect] == [
        "expect takeover: 1s",
        "expect gap: plc1 at most 3s",
        "expect no_gaps: plc2",
        "expect filled: plc1",
        "expect main: other",
        "expect told: 'links'",
        "expect refused: changeover",
    ]


def test_a_word_of_devices_and_of_links_means_what_its_target_is() -> None:
    words = SHAPES | {"delay": Shape("slow", frozenset({Target.LINKS}), lasts_ns=0)}
    text = HEAD + "timeline: [{at: 1s, delay: links}, {at: 2s, delay: plc1, ms: 5, for: 1s}]\n"
    assert [entry.device for entry in read(text, words=words).timeline] == [False, True]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{at: 1s, kil: main}", "`kil` is no word of a timeline. Did you mean `kill`?"),
        ("{at: 1s, zzzzzzz: main}", "`zzzzzzz` is no word of a timeline. There are bad_crc, "),
        ("{at: 1s}", "nothing is done here. Write a list such as "),
        ("5", "`5` is no entry of `timeline`. Write a list such as "),
        ("{kill: main}", "`at` is missing. Say when it begins: `at: 10s`."),
        ("{at: 1, kill: main}", "`at: 1`. Write a number with a unit: 200ms"),
        ("{at: 30s, kill: main}", "`at: 30s` is after the end. The timeline lasts 30s."),
        ("{at: 9s, kill: main, for: 22s}", "`for: 22s` goes on after the end. The timeline"),
        ("{at: 1s, kill: links}", "`kill: links` can't be done. It is done to main, standby, a"),
        ("{at: 1s, changeover: main}", "`changeover: main` can't be done. It is done to pair."),
        ("{at: 1s, cut: link2}", "`cut: link2`: no such link. The nodes of the site have 2."),
        ("{at: 1s, silence: plc3}", "`silence: plc3`: no device `plc3`. Did you mean `plc"),
        ("{at: 1s, silence: x}", "`silence: x`: no device `x`. The site has plc1, plc2."),
        ("{at: 1s, silence: plc1, ms: 4}", "`silence` has no option `ms`. It has at, for."),
        ("{at: 1s, late: plc1, ms: x}", "`ms: x`. Write a number."),
        ("{at: 1s, cut: main, path: 1.5}", "`path: 1.5`. Write a whole number."),
        ("{at: 1s, power_off: plc1, log: eat}", "`log: eat`. Write one of keep, lose."),
        ("{at: 1s, garbage: plc1, then_reply: 3}", "`then_reply: 3`. Write true or false."),
        ("{at: 1s, log_shrink: plc1}", "`log_shrink` needs `capacity`. Add it: `capacity: …`."),
        ("{at: 1s, clock: plc1}", "this clock does nothing. Add one of step, offset"),
    ],
)
def test_a_mistake_of_the_timeline_is_told_with_its_line_and_its_remedy(
    line: str, said: str
) -> None:
    (found,) = mistakes(f"{HEAD}timeline:\n  - {{at: 2s, kill: main, for: 1s}}\n  - {line}\n")
    assert found.startswith(f"one.yaml:7: {said}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{takeover: 1}", "`takeover: 1`. Write a number with a unit"),
        ("{main: c}", "`main: c`. Write same, other, a or b"),
        ("{filled: [1]}", "`filled: [1]`. Write a device, or a list of devices."),
        ("{filled: plc8}", "`filled`: no device `plc8`. Did you mean `plc"),
        ("{no_gaps: y}", "`no_gaps`: no device `y`. The site has plc1, plc2."),
        ("{gap: plc1}", "`gap: plc1`. Write {device: plc1, at_most: 3s}."),
        ("{told: 3}", "`told: 3`. Write a part of an event"),
        ("{refused: }", "`refused: None`. Write a word of the timeline"),
        ("{refused: changeovr}", "`refused`: no word `changeovr`. Did you mean `changeover`?"),
        ("{refused: zzzzzzz}", "`refused`: no word `zzzzzzz`. Name what the timeline does."),
        ("{taekover: 1s}", "`taekover` is no expectation by itself. Did you mean `takeover`?"),
        ("{main: a, told: x}", "`main` is no expectation by itself. Write one of takeover, main"),
    ],
)
def test_a_mistake_of_what_is_expected_is_told_with_its_line(line: str, said: str) -> None:
    (found,) = mistakes(f"{HEAD}expect:\n  - {line}\n")
    assert found.startswith(f"one.yaml:6: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("just words", "one.yaml:1: this is no scenario. Write `scenario:`, `promise:`"),
        ("a: b: c", "one.yaml:1: not YAML: mapping values are not allowed here"),
        (HEAD + "site: demo\n", "one.yaml:5: `site` is there twice. Keep one of them."),
        (HEAD.replace("lasts: 30s\n", ""), "one.yaml:1: `lasts` is missing. Add it: how long"),
        (HEAD.replace("30s", "long"), "one.yaml:4: `lasts: long`. Write a number with a unit"),
        (HEAD.replace("demo", "dem"), "one.yaml:3: site `dem` can't be run: there is demo. Write"),
        (HEAD + "seed: x\n", "one.yaml:5: `seed: x`. Write a whole number."),
        (HEAD + "client: ie6\n", "one.yaml:5: no client `ie6`. Write one of node-opcua"),
        (HEAD + "pair: 3\n", "one.yaml:5: `pair` is 3. Write settings that replace"),
        (HEAD + "timelin: []\n", "one.yaml:5: `timelin` is no part of a scenario. Did you mean"),
        (HEAD + "zzz: []\n", "one.yaml:5: `zzz` is no part of a scenario. There are scenario,"),
        (HEAD + "timeline: 3\n", "one.yaml:5: `timeline` is no list. Write a list such as"),
        (
            HEAD + "expect:\n" + "  - {main: a}\n" * (ENTRIES_MAX + 1),
            "one.yaml:5: `expect` has 1001 entries. At most 1000 can be played.",
        ),
    ],
)
def test_a_mistake_of_the_file_is_told_with_its_line(text: str, said: str) -> None:
    assert mistakes(text)[0].startswith(said)


def test_all_mistakes_are_told_at_once_in_order_of_their_lines() -> None:
    found = mistakes(HEAD + "seed: x\ntimeline: [{at: 1s, kil: main}]\nexpect: [{main: z}]\n")
    assert [text.split(":")[1] for text in found] == ["5", "6", "7"]


def test_a_device_has_one_fault_at_a_time() -> None:
    (found,) = mistakes(
        f"{HEAD}timeline:\n  - {{at: 5s, silence: plc1, for: 5s}}\n  - {{at: 9s, nan: plc1}}\n"
    )
    assert found == (
        "one.yaml:7: `nan: plc1` begins while `silence` of line 6 lasts. "
        "A device has one fault at a time: begin at 10s or later."
    )


def test_what_needs_machines_of_its_own_is_refused_without_them() -> None:
    words = {"unplug": Shape("pull", frozenset({Target.NODE}), lab=True)}
    text = f"{HEAD}timeline: [{{at: 1s, unplug: {MAIN}}}]\n"
    assert read(text, lab=True, words=words).timeline[0].word == "unplug"
    with pytest.raises(ScenarioError, match="needs machines of its own"):
        read(text, words=words)


@pytest.mark.parametrize(
    ("word", "options", "begin", "end"),
    [
        ("silence", {}, {"fault": "silence", "device": "p"}, {"clear": "p", "only": "silence"}),
        (
            *("late", {"ms": 9}),
            *({"fault": "late", "device": "p", "ms": 9}, {"clear": "p", "only": "late"}),
        ),
        ("drop", {}, {"fault": "drop", "device": "p"}, None),
        ("forget", {}, {"fault": "forget", "device": "p"}, None),
        ("power_off", {}, {"power": "off", "device": "p"}, {"power": "on", "device": "p"}),
        (
            "power_off",
            {"log": "lose"},
            {"power": "off", "device": "p"},
            {"power": "on", "device": "p", "log": "lose"},
        ),
        ("clock", {"step": 3.0}, {"clock": {"step": 3.0}, "device": "p"}, None),
        ("log_stop", {}, {"log": "stop", "device": "p"}, {"log": "go", "device": "p"}),
        ("log_clear", {}, {"log": "clear", "device": "p"}, None),
    ],
)
def test_a_devices_word_is_a_message_to_the_outstations(
    word: str, options: dict[str, object], begin: object, end: object
) -> None:
    assert messages(word, "p", options) == (begin, end)
    assert word in device_words()


def test_values_of_options_are_read_strictly() -> None:
    assert duration_ns("2s") == 2 * NS_PER_S
    assert flag(True) is True and one_of("a", "b")("b") == "b"
    assert is_reply_fault("power_off") and not is_reply_fault("clock")
    shape = Shape("x", frozenset({Target.NODE}), {"by": SHAPES["cut"].options["path"]})
    with pytest.raises(ScenarioError, match="Write a whole number"):
        read(f"{HEAD}timeline: [{{at: 1s, x: a, by: true}}]\n", words={"x": shape})
    (found,) = read(f"{HEAD}timeline: [{{at: 1s, corrupt: links, every: 3}}]\n").timeline
    assert found.options == {"every": 3}
    with pytest.raises(ScenarioError, match="whole number from 1 on"):
        read(f"{HEAD}timeline: [{{at: 1s, corrupt: links, every: 0}}]\n")


def test_a_word_of_both_tables_is_read_by_its_target() -> None:
    found = read(
        f"{HEAD}timeline:\n"
        "  - {at: 1s, delay: link1, ms: 50, jitter_ms: 9, for: 1s}\n"
        "  - {at: 1s, delay: plc1, ms: 50, jitter_ms: 9, for: 1s}\n"
        "  - {at: 3s, drop: links}\n"
        "  - {at: 3s, drop: plc2}\n"
    )
    assert [(e.target, e.device, e.options.get("path")) for e in found.timeline] == [
        ("link1", False, 1),
        ("plc1", True, None),
        ("links", False, None),
        ("plc2", True, None),
    ]


def test_what_a_timeline_needs_is_known_before_the_pair_starts() -> None:
    entries = "{at: 1s, slow_disk: main, ms: 9}, {at: 2s, drop: plc1}, {at: 3s, fill_disk: a}"
    timeline = read(f"{HEAD}timeline: [{entries}]\n").timeline
    assert needs_of(entry.word for entry in timeline) == {Need.TAMPER, Need.DISK}
    assert needs_of(["kill"]) == frozenset()
    with pytest.raises(ValueError, match="no word 'kil'"):
        needs_of(["kil"])
