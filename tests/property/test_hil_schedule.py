"""Whatever a schedule is drawn of, it is a scenario, the same each time, and it ends in time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import NS_PER_S
from hil.acts import WORDS
from hil.campaign import prone
from hil.laying import SITES, ground_of
from hil.scenario import Scenario
from hil.scenario_reading import read_scenario
from hil.schedule import BEGIN_S, DRAWS, END_S, Prone, Track, Wire, scenario
from hil.site import load_site

SHIPPED = {name: prone(load_site(SITES / name / "site.yaml")) for name in ("demo", "waterworks")}
GIVES = frozenset({"disk", "tamper"})


def read(text: str) -> Scenario:
    shapes = {word: entry.shape for word, entry in WORDS.items()}
    return read_scenario(text, "drawn.yaml", shapes, lambda site: ground_of(site, Path()))


@settings(max_examples=12)  # to read YAML takes its time
@given(
    st.integers(0, 1 << 40),
    st.integers(1, 999),
    st.sampled_from(sorted(SHIPPED)),
    st.sampled_from([45.0, 60.0, 300.0]),
)
def test_every_schedule_is_a_scenario_that_ends_in_time(
    seed: int, number: int, site: str, lasts_s: float
) -> None:
    text = scenario(seed, number, site, SHIPPED[site], lasts_s, GIVES)
    assert text == scenario(seed, number, site, SHIPPED[site], lasts_s, GIVES)
    found = read(text)
    assert found.lasts_ns == lasts_s * NS_PER_S and found.timeline
    for entry in found.timeline:
        assert entry.at_ns >= BEGIN_S * NS_PER_S
        assert entry.until_ns <= (lasts_s - END_S) * NS_PER_S + 1


@settings(max_examples=12)
@given(st.integers(0, 1 << 40))
def test_things_of_the_pair_come_one_after_another(seed: int) -> None:
    words = {row.word for row in DRAWS if row.track is Track.PAIR} - {"drop"}
    found = read(scenario(seed, 1, "demo", SHIPPED["demo"], 600, GIVES))
    struck = [e for e in found.timeline if not e.device and e.word in words]
    assert all(one.until_ns < other.at_ns for one, other in pairwise(struck))


def test_every_row_is_drawn_sooner_or_later() -> None:
    drawn = set()
    for seed in range(24):
        for entry in read(scenario(seed, 1, "demo", SHIPPED["demo"], 600, GIVES)).timeline:
            drawn.add((entry.word, entry.device))
    rows = {(row.word, row.track in (Track.DEVICE, Track.LOG)) for row in DRAWS}
    assert drawn == rows


def test_what_the_ground_can_not_give_is_not_drawn() -> None:
    needy = {row.word for row in DRAWS if row.needs}
    for seed in range(4):
        whole = read(scenario(seed, 1, "demo", SHIPPED["demo"], 600, GIVES)).timeline
        found = read(scenario(seed, 1, "demo", SHIPPED["demo"], 600, ())).timeline
        assert [str(e) for e in found] == [str(e) for e in whole if e.word not in needy]


def test_a_device_more_changes_nothing_of_the_others() -> None:
    few = [Prone("meter1", Wire.SERIAL, True)]
    more = [*few, Prone("plc1", Wire.TCP, False)]
    one = scenario(3, 1, "demo", few, 300, GIVES).splitlines()
    other = scenario(3, 1, "demo", more, 300, GIVES).splitlines()
    assert [line for line in other if "plc1" not in line] == one


def test_a_round_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="a round of 10 s is too short: at least 45 s"):
        scenario(1, 1, "demo", (), 10, ())
