"""Real devices: what may be asked of one, and what it is known to hold by what was written."""

from __future__ import annotations

import itertools

import pytest

from gateway.model import NS_PER_MS, NS_PER_S
from hil.acts import WORDS
from hil.judges import Judged, judge
from hil.plant import Plant, read_site
from hil.real import (
    PATTERN_NS,
    TURN_NS,
    Written,
    between,
    pattern_value,
    read_period,
    read_real,
    refused_pattern,
    refused_word,
    steps_of,
)
from hil.recording import Recording
from hil.scenario import Ground, ScenarioError
from hil.scenario_reading import read_scenario
from hil.settings import Rig, read_rig
from hil.truth import Step
from hil.verdicts import Gathered, findings, unjudged

SITE = """\
site: field
lines:
  gate: {tcp: {host: 10.0.0.9, port: 502}}
  bus: {rtu: {baudrate: 9600}}
devices:
  plc1:
    driver: modbus
    line: {tcp: {hosts: [10.0.0.5, 10.0.0.6], port: 502}}
    points:
      counts: {register: holding, address: 0, type: uint16, range: {eu: [0, 5]}}
      wide: {register: holding, address: 1, type: float32, deadband: 0.5, range: {eu: [0, 8]}}
      mode: {register: holding, address: 4, type: uint16, enum: {0: "off", 4: on, 9: hand}}
      one: {register: holding, address: 5, type: uint16, enum: {3: "on"}}
      name: {register: holding, address: 6, type: string, length: 4}
      temperature: {register: input, address: 0, type: int16}
      pump: {register: coil, address: 0, type: bool}
  m1: {driver: modbus, line: gate, unit_id: 1, points: {u: {address: "40001", type: uint16}}}
  m2: {driver: modbus, line: gate, unit_id: 2, points: {u: {address: "40001", type: uint16}}}
  s1: {driver: modbus, line: bus, points: {u: {address: "40001", type: uint16}}}
  plc2:
    driver: opcua
    endpoint: opc.tcp://10.0.0.7:4840
    points: {level: {node: "ns=2;s=L", type: float64}}
"""
HEAD = "scenario: One\npromise: It holds.\nsite: field\nlasts: 30s\n"


def no_file(name: str) -> str:
    raise FileNotFoundError(name)


def plant() -> Plant:
    return read_site(SITE, no_file, pytest.fail)


def read(text: str) -> object:
    shapes = {word: entry.shape for word, entry in WORDS.items()}
    found = plant()
    ground = Ground(frozenset(found.devices), 1, found)
    return read_scenario(f"{HEAD}{text}", "one.yaml", shapes, lambda site: ground)


def point(name: str):  # type: ignore[no-untyped-def]
    return next(point for point in plant().points() if point.id == name)


def test_the_whole_site_or_a_list_of_devices_is_real() -> None:
    assert read_real("real", plant()) == frozenset({"plc1", "m1", "m2", "s1", "plc2"})
    assert read_real({"real": ["plc1"]}, plant()) == frozenset({"plc1"})
    for wrong, why in (
        ("emulated", "write `real`"),
        ({"real": []}, "write `real`"),
        ({"real": ["plc9"]}, "no device plc9: the site has m1, m2, plc1"),
        ({"real": ["m1"]}, "m2 is on the line of m1: make all devices of a line real, or none"),
    ):
        with pytest.raises(ValueError, match=why):
            read_real(wrong, plant())


def test_a_pattern_has_a_period() -> None:
    assert read_period("counter") == PATTERN_NS
    assert read_period({"counter": "500ms"}) == 500 * NS_PER_MS
    for wrong in ("ramp", {"ramp": "1s"}, {"counter": "20ms"}):
        with pytest.raises(ValueError, match=r"write `counter`|fastest"):
            read_period(wrong)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("plc1/nothing", "there is no point"),
        ("m1/u", "m1 is emulated"),
        ("plc2/level", "Modbus TCP alone"),
        ("s1/u", "Modbus TCP alone"),
        ("plc1/temperature", "can't be written plainly"),
        ("plc1/name", "a text"),
        ("plc1/one", "one value only"),
    ],
)
def test_a_point_that_can_not_be_stepped_is_told_with_its_remedy(name: str, why: str) -> None:
    said = refused_pattern(plant(), {"plc1", "plc2", "s1"}, name)
    assert said is not None and why in said[0] and said[1].endswith(".")


def test_points_that_can_be_stepped() -> None:
    for name in ("counts", "wide", "mode", "pump"):
        assert refused_pattern(plant(), {"plc1"}, f"plc1/{name}") is None


def test_a_step_is_in_bounds_and_further_than_the_deadband() -> None:
    assert [pattern_value(point("plc1/counts"), n) for n in range(8)] == [0, 1, 2, 3, 4, 5, 0, 1]
    assert [pattern_value(point("plc1/pump"), n) for n in range(3)] == [False, True, False]
    assert {pattern_value(point("plc1/mode"), n) for n in range(3)} == {0, 4, 9}
    wide = [pattern_value(point("plc1/wide"), n) for n in range(40)]
    assert all(isinstance(value, float) and 0 <= value <= 8 for value in wide)
    assert all(abs(b - a) > 0.5 for a, b in itertools.pairwise(wide[:10]))


def test_what_a_scenario_asks_of_a_real_device_is_read_or_told_with_its_line() -> None:
    found = read(
        "outstation: {real: [plc1]}\npattern: {plc1/counts: counter}\n"
        "timeline:\n  - {at: 1s, cut: plc1, for: 1s}\n  - {at: 3s, delay: plc1, ms: 9, for: 1s}\n"
        "  - {at: 5s, silence: plc1, for: 1s}\n  - {at: 7s, drop: plc1}\n  - {at: 8s, nan: m1}\n"
    )
    assert (found.real, found.pattern) == (frozenset({"plc1"}), {"plc1/counts": PATTERN_NS})  # type: ignore[attr-defined]
    with pytest.raises(ScenarioError) as told:
        read(
            "outstation: {real: [plc1, plc2]}\npattern:\n  plc1/name: counter\n"
            "  plc1/counts: ramp\ntimeline:\n  - {at: 1s, nan: plc1}\n  - {at: 1s, silence: plc2}\n"
            "  - {at: 1s, kill: plc1}\n  - {at: 1s, cut: m1}\n"
        )
    assert [str(mistake) for mistake in told.value.mistakes] == [
        "one.yaml:7: `plc1/name: counter`: plc1/name is a text, or made of bits. "
        "Choose a number or a coil.",
        "one.yaml:8: `plc1/counts: ramp`. Write `counter` (a step a second), or "
        "`{counter: 500ms}`.",
        "one.yaml:10: `nan: plc1`: plc1 is real, and a proxy can't do this. "
        "It can cut, silence, delay, drop, refuse.",
        "one.yaml:11: `silence: plc2`: plc2 is real and speaks opcua: only before Modbus TCP "
        "stands a proxy. Strike nodes and links, or let the device be emulated.",
        "one.yaml:12: `kill: plc1`: plc1 is real, and a proxy can't do this. "
        "It can cut, silence, delay, drop, refuse.",
        "one.yaml:13: `cut: m1` can't be done. It is done to main, standby, a or b or links, "
        "link0, link1 ….",
    ]
    for text, why in (
        ("outstation: all\n", "one.yaml:5: `outstation: all`. Write `real`"),
        ("outstation: real\npattern: counter\n", "one.yaml:6: `pattern` is no mapping"),
    ):
        with pytest.raises(ScenarioError, match=why):
            read(text)


def test_a_word_before_modbus_tcp_can_be_done() -> None:
    assert refused_word(plant(), "silence", "plc1") is None


def test_while_a_write_is_on_its_way_either_value_is_held() -> None:
    counts, s = point("plc1/counts"), NS_PER_S
    writes = [Written("plc1/counts", 1, s, s + 9), Written("plc1/counts", 2, 2 * s, 2 * s + 10)]
    steps = steps_of(counts, writes, 9 * s)
    assert steps[0] == Step(s, 1) and steps[-1] == Step(2 * s + 10, 2)
    assert {step.value for step in steps if 2 * s <= step.time_ns < 2 * s + 10} == {1, 2}
    assert [step.value for step in between(steps, 2 * s - 1, 2 * s)] == [1]
    assert [step.value for step in between(steps, 0, 1)] == [1], "what was before is not known"
    assert between([], 0, 1) == []


def test_a_write_without_an_answer_leaves_all_open_until_the_next_one() -> None:
    counts, s = point("plc1/counts"), NS_PER_S
    writes = [
        Written("plc1/counts", 0, s, 0),
        Written("plc1/counts", 1, 2 * s, 2 * s + 1),
        Written("plc1/counts", 2, 3 * s, 0),
        Written("plc1/counts", 3, 4 * s, 4 * s + 1),
        Written("plc1/counts", 4, 5 * s, 0),
    ]
    steps = steps_of(counts, writes, 6 * s)
    assert steps[0] == Step(2 * s, 1), "a first write that had no answer is no truth"
    window = [step.value for step in between(steps, 3 * s + s // 2, 3 * s + s // 2 + TURN_NS)]
    assert set(window) == {1, 2, 3}
    assert {step.value for step in between(steps, 4 * s + s // 2, 5 * s)} == {3}
    assert {step.value for step in between(steps, 5 * s + s // 2, 6 * s)} == {3, 4}


def test_the_judge_tells_a_value_that_was_not_written_from_one_that_was() -> None:
    counts, s = point("plc1/counts"), NS_PER_S
    writes = [Written("plc1/counts", n % 6, n * s, n * s + 10**7) for n in range(1, 20)]
    steps = steps_of(counts, writes, 20 * s)
    judged = Judged("plc1/counts", "plc1", "normal", s, lambda a, b: between(steps, a, b))
    rows = [(n * s + s // 3, n % 6, 0) for n in range(1, 19)]
    assert judge([judged], {judged.id: rows}, [], 3 * s, 19 * s).passed
    late = [(at, (value - 3) % 6, 0) for at, value, _ in rows]
    verdict = judge([judged], {judged.id: late}, [], 3 * s, 19 * s)
    assert verdict.missing == verdict.expected


def test_rig_yaml_says_which_devices_are_not_emulated() -> None:
    rig = read_rig('dead: [m1]\nreal: {plc1: {at: ["127.0.0.1:9"], to: ["h:502"]}, plc2: {}}')
    assert (rig.real["plc1"].at, rig.real["plc1"].to) == ((("127.0.0.1", 9),), (("h", 502),))
    assert rig.real["plc2"].to == () and rig.absent == {"m1", "plc1", "plc2"}
    assert Rig().absent == frozenset()


def test_what_was_not_judged_is_told_and_is_no_unknown() -> None:
    run = Recording("s", "p", "site", None, "1", 0, 1, devices={"plc2": ["normal"]})
    found = Gathered(
        histories=2,
        unjudged={"plc2/b": "plc2 is real", "plc2/a": "plc2 is real"},
        unseen=frozenset({"plc2"}),
        real=frozenset({"plc2"}),
        logging=frozenset({"plc2"}),
    )
    assert unjudged(run, found) == [
        "the values of 2 points, such as plc2/a: plc2 is real",
        "who polled plc2: the rig sees no poll of them",
        "what the logs of plc2 hold: they are real",
    ]
    names = [finding.judge for finding in findings(run, found, ())]
    assert not [name for name in names if "scan instant" in name or "poller" in name]
    assert unjudged(run, Gathered()) == []
    names = [finding.judge for finding in findings(run, Gathered(), ())]
    assert len([name for name in names if "scan instant" in name or "poller" in name]) == 3
