"""The walk along SunSpec models, against maps of registers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.sunspec import MARK, MODELS_MAX, Fact, beyond, check, discover, place
from profiles.schema import Defaults, ModbusPoint, PointMap, SunSpec, resolve

Registers = Mapping[int, int]


def chain(base: int, *models: tuple[int, int], end: Sequence[int] = (0xFFFF, 0)) -> dict[int, int]:
    """The registers of a device with these models (id, length), all data 0."""
    words = [*MARK]
    for model, length in models:
        words += [model, length, *[0] * length]
    return dict(enumerate([*words, *end], base))


def walk(registers: Registers, settings: SunSpec | None = None) -> tuple[Fact | None, int]:
    """Discover on a device that refuses registers it lacks: the fact, and how many reads."""
    walker = discover(settings or SunSpec())
    reads = 0
    try:
        address, count = next(walker)
        for _ in range(1000):
            reads += 1
            wanted = range(address, address + count)
            words = [registers[a] for a in wanted] if all(a in registers for a in wanted) else None
            address, count = walker.send(words)
    except StopIteration as done:
        return done.value, reads
    raise AssertionError("the walk does not end")


def a_point(name: str, address: int, **said: Any) -> PointMap:
    return resolve(name, ModbusPoint.model_validate({"address": address, **said}), Defaults())


def test_models_are_found_in_the_order_of_the_chain() -> None:
    fact, _ = walk(chain(40000, (1, 66), (103, 50)))
    assert fact == {
        "base": 40000,
        "complete": True,
        "models": {"1": [[40002, 66]], "103": [[40070, 50]]},
    }
    assert json.loads(json.dumps(fact)) == fact


def test_bases_are_tried_in_order_and_a_refusal_is_no_mark() -> None:
    assert (walk(chain(0, (1, 65)))[0] or {})["base"] == 0
    assert (walk(chain(50000, (1, 65)))[0] or {})["base"] == 50000
    assert (walk(chain(40000, (1, 65)) | chain(0, (1, 65)))[0] or {})["base"] == 40000
    assert (walk(chain(70, (1, 65)), SunSpec(bases=(70,)))[0] or {})["base"] == 70
    assert walk({}) == (None, 3)
    assert walk({40000: 1, 40001: 2})[0] is None


def test_the_end_model_may_have_no_length() -> None:
    fact, _ = walk(chain(40000, (1, 65), end=(0xFFFF,)))
    assert fact is not None
    assert fact["complete"]


def test_repeated_models_are_kept_in_order() -> None:
    fact, _ = walk(chain(40000, (1, 65), (160, 10), (160, 8)))
    assert fact is not None
    assert fact["models"]["160"] == [[40069, 10], [40081, 8]]


def test_a_chain_that_breaks_off_says_so() -> None:
    for end in ((), (7,)):
        fact, _ = walk(chain(40000, (1, 65), end=end))
        assert fact == {"base": 40000, "complete": False, "models": {"1": [[40002, 65]]}}
        assert beyond(fact) == 40069
    fact, _ = walk({40000: MARK[0], 40001: MARK[1]})
    assert fact is not None
    assert beyond(fact) == 40002
    fact, _ = walk(chain(40000, (1, 65)))
    assert fact is not None
    assert beyond(fact) is None


def test_a_chain_that_leads_beyond_the_last_address_ends_there() -> None:
    registers = dict(enumerate([*MARK, 1, 0xFFFF], 40000))
    fact, _ = walk(registers)
    assert fact == {"base": 40000, "complete": False, "models": {"1": [[40002, 0xFFFF]]}}
    assert beyond(fact) is None
    edge = {0xFFFD: MARK[0], 0xFFFE: MARK[1], 0xFFFF: 1}
    fact, _ = walk(edge, SunSpec(bases=(0xFFFD,)))
    assert fact == {"base": 0xFFFD, "complete": False, "models": {}}


def test_an_endless_chain_is_given_up() -> None:
    fact, reads = walk(chain(0, *[(9, 0)] * 500), SunSpec(bases=(0,)))
    assert fact is not None
    assert not fact["complete"]
    assert len(fact["models"]["9"]) == MODELS_MAX
    assert beyond(fact) is None
    assert reads == 1 + 2 * MODELS_MAX


@given(st.lists(st.tuples(st.integers(1, 800), st.integers(0, 200)), max_size=20))
def test_any_chain_is_found_whole_and_its_check_holds(models: list[tuple[int, int]]) -> None:
    registers = chain(40000, *models)
    fact, _ = walk(registers)
    assert fact is not None
    assert fact["complete"]
    found = sorted(
        (address, int(model), length)
        for model, places in fact["models"].items()
        for address, length in places
    )
    assert [(model, length) for _, model, length in found] == models
    for address, words in check(fact):
        assert tuple(registers[address + n] for n in range(len(words))) == words


def test_points_take_their_place_in_the_model() -> None:
    fact, _ = walk(chain(40000, (1, 66), (103, 50)))
    points = [
        a_point("watt", 14, model=103, type="int16"),
        a_point("plain", 7),
        a_point("gone", 2, model=203),
        a_point("beyond", 52, model=103),
        a_point("last", 51, model=103),
    ]
    placed = place(points, fact)
    assert [point and point.address for point in placed.points] == [40084, 7, None, None, 40121]
    assert placed.missing == {
        2: "the device has no SunSpec model 203",
        3: "model 103 of the device has only 50 registers",
    }


def test_without_a_mark_only_plain_points_are_placed() -> None:
    placed = place([a_point("watt", 14, model=103), a_point("plain", 7)], None)
    assert placed.points[0] is None
    assert placed.points[1] is not None
    assert placed.missing == {0: "the device shows no SunSpec mark"}
