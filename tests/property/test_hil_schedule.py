"""Whatever a schedule is drawn of, it is a scenario, the same each time, and it ends in time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import NS_PER_S
from hil.acts import WORDS
from hil.campaign import prone
from hil.laying import SITES, ground_of
from hil.scenario import Scenario
from hil.scenario_reading import read_scenario
from hil.schedule import BEGIN_S, DRAWS, END_S, TWOS, Prone, Track, Wire, scenario
from hil.site import load_site

SHIPPED = {name: prone(load_site(SITES / name / "site.yaml")) for name in ("demo", "waterworks")}
GIVES = frozenset({"disk", "proxies", "tamper", "tls"})
PAIR_WORDS = {row.word for row in DRAWS if row.track is Track.PAIR}
LINK_WORDS = {"cut", "flap", "corrupt"}
TOGETHER = {(two.first.word, two.second.word) for two in TWOS if two.together}


class Thing(NamedTuple):
    """An entry as it is written, read fast: that each is a scenario's has a test of its own."""

    at_s: float
    word: str
    target: str
    options: dict[str, str]

    @property
    def ends_s(self) -> float:
        return self.at_s + float(self.options.get("for", "0").removesuffix("s"))

    @property
    def strikes(self) -> bool:
        """Whether it is of the track of nodes, links and the pair, also as one of two."""
        of_pair = self.target in ("main", "standby", "a", "b", "links", "pair")
        return of_pair and (self.word in PAIR_WORDS or "together" in self.options)


def written(text: str) -> list[Thing]:
    found = []
    for line in text.splitlines():
        if line.startswith("  - {"):
            (_, at), (word, target), *options = (
                item.split(": ", 1) for item in line[5:-1].split(", ")
            )
            found.append(Thing(float(at.removesuffix("s")), word, target, dict(options)))
    return found


def drawn(seed: int, devices: Sequence[Prone], gives: Collection[str] = GIVES) -> list[Thing]:
    return written(scenario(seed, 1, "demo", devices, 600, gives))


def twos(things: Iterable[Thing]) -> list[tuple[Thing, Thing]]:
    both = [thing for thing in things if "together" in thing.options]
    return list(zip(both[::2], both[1::2], strict=True))


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


@given(st.integers(0, 1 << 40))
def test_what_strikes_the_pair_comes_one_after_another_or_as_two_that_may(seed: int) -> None:
    struck = [thing for thing in drawn(seed, SHIPPED["demo"]) if thing.strikes]
    both = twos(struck)
    for one, other in both:
        assert (one.word, other.word) in TOGETHER
        assert one.at_s < other.at_s < one.ends_s, "they do overlap"
        node = one.target in ("a", "b") and other.word not in LINK_WORDS
        assert not node or one.target != other.target or one.word in LINK_WORDS
    ends_s = 0.0
    for thing in struck:
        assert thing.at_s > ends_s or any(thing == other for _, other in both)
        ends_s = max(ends_s, thing.ends_s)


def test_every_row_is_drawn_sooner_or_later() -> None:
    things = [thing for seed in range(150) for thing in drawn(seed, SHIPPED["demo"])]
    devices = {one.name for one in SHIPPED["demo"]}
    rows = {(row.word, row.track in (Track.DEVICE, Track.LOG)) for row in DRAWS}
    assert {(thing.word, thing.target in devices) for thing in things} == rows
    both = [pair for seed in range(150) for pair in twos(drawn(seed, ()))]
    assert {(one.word, other.word) for one, other in both} == TOGETHER


def test_a_main_keeps_its_clock_but_for_what_is_slewed() -> None:
    steps = [t for seed in range(50) for t in drawn(seed, ()) if t.word == "step_clock"]
    assert {thing.target for thing in steps} == {"main", "standby"}
    for thing in steps:
        assert thing.target == "standby" or abs(float(thing.options["seconds"])) < 1


def test_what_the_ground_can_not_give_is_not_drawn_nor_is_what_comes_with_it() -> None:
    needy = {row.word for row in (*DRAWS, *(two.first for two in TWOS)) if row.needs}
    devices = {one.name for one in SHIPPED["demo"]}
    left_out = 0
    for seed in range(50):
        whole, found = drawn(seed, SHIPPED["demo"]), drawn(seed, SHIPPED["demo"], ())
        lacking = [thing for thing in whole if thing not in found]
        assert [thing for thing in whole if thing in found] == found
        assert not any(thing.word in needy for thing in found if thing.target not in devices)
        for thing in lacking:
            others = [o for o in lacking if o.word in needy and o.at_s <= thing.at_s <= o.ends_s]
            assert others, "nothing else is left out"
            left_out += thing.word not in needy
    assert left_out, "one of two may need nothing by itself"


def test_a_device_more_changes_nothing_of_the_others() -> None:
    few = [Prone("meter1", Wire.SERIAL, True)]
    more = [*few, Prone("plc1", Wire.TCP, False)]
    one = scenario(3, 1, "demo", few, 300, GIVES).splitlines()
    other = scenario(3, 1, "demo", more, 300, GIVES).splitlines()
    assert [line for line in other if "plc1" not in line] == one


def test_a_round_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="a round of 10 s is too short: at least 45 s"):
        scenario(1, 1, "demo", (), 10, ())
