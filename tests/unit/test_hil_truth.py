"""The truth of the plant: pure, exact on the wire, with known instants of change."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import NS_PER_S
from hil.truth import (
    EPOCH_NS,
    Kind,
    Shape,
    Signal,
    Span,
    Step,
    Wave,
    mix,
    overlay,
    seed_of,
    signal,
)

T0 = EPOCH_NS + 300 * 86_400 * NS_PER_S
SHAPES = {
    "bool": Shape(Kind.BOOL),
    "int": Shape(Kind.INT, -100, 5_000),
    "counter": Shape(Kind.INT, 0, 2**32 - 1, counter=True),
    "float": Shape(Kind.FLOAT, 49.8, 50.2),
    "wide": Shape(Kind.FLOAT, 0, 2.0**22, counter=True),
    "enum": Shape(Kind.INT, choices=(0, 3, 7)),
    "bits": Shape(Kind.INT, mask=0b1010_0001),
    "text": Shape(Kind.TEXT, length=6),
    "still": Shape(Kind.FLOAT, 5, 5),
}
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
shapes = st.sampled_from(sorted(SHAPES)).map(SHAPES.__getitem__)
instants = st.integers(T0, T0 + 3_600 * NS_PER_S)


@given(names, shapes, instants, st.integers(1, 600 * NS_PER_S))
def test_steps_agree_with_value_at_everywhere(
    name: str, shape: Shape, from_ns: int, span_ns: int
) -> None:
    made = signal(name, shape, 0.5)
    steps = made.steps(from_ns, from_ns + span_ns)
    assert steps[0].time_ns == from_ns
    ends = [step.time_ns for step in steps[1:]] + [from_ns + span_ns]
    for step, end_ns in zip(steps, ends, strict=True):
        assert step.time_ns < end_ns
        assert made.value_at(step.time_ns) == made.value_at(end_ns - 1) == step.value
    for before, after in itertools.pairwise(steps):
        assert before.value != after.value


@given(names, st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), instants)
def test_a_float_survives_32_bits(name: str, low: float, span: float, at_ns: int) -> None:
    value = signal(name, Shape(Kind.FLOAT, low, low + span), 1.0).value_at(at_ns)
    assert isinstance(value, float)
    assert struct.unpack(">f", struct.pack(">f", value))[0] == value
    assert low <= value <= low + span or value == pytest.approx(low, rel=1e-6)


@given(names, st.integers(-(2**15), 2**15 - 2), st.integers(1, 2**15), instants)
def test_an_integer_stays_inside_its_bounds(name: str, low: int, span: int, at_ns: int) -> None:
    value = signal(name, Shape(Kind.INT, low, low + span), 1.0).value_at(at_ns)
    assert isinstance(value, int)
    assert low <= value <= low + span


def test_every_wave_occurs_and_holds_what_its_shape_allows() -> None:
    seen: set[Wave] = set()
    for number in range(60):
        for shape in SHAPES.values():
            made = signal(f"point{number}", shape, 0.5)
            seen.add(made.wave)
            for index in range(200):
                value = made.value_of(index)
                if shape.choices:
                    assert value in shape.choices
                elif shape.mask:
                    assert isinstance(value, int)
                    assert value & ~shape.mask == 0
                elif shape.kind is Kind.TEXT:
                    assert isinstance(value, str)
                    assert 0 < len(value) <= 6
    assert seen == set(Wave) - {Wave.CONSTANT}


def test_a_counter_only_grows_until_it_rolls_over() -> None:
    made = signal("meter/energy", SHAPES["counter"], 1.0)
    first = made.index_at(T0)
    values: list[Any] = [made.value_of(first + index) for index in range(1_000)]
    assert sum(b < a for a, b in itertools.pairwise(values)) <= 1


def test_a_value_that_means_no_value_is_never_held() -> None:
    shape = Shape(Kind.INT, 0x7FF0, 0x8010, avoid=frozenset({0x7FFF, 0x8000}))
    for name in ("a", "b", "c", "d", "e"):
        made = signal(name, shape, 1.0)
        values = {made.value_of(index) for index in range(2_000)}
        assert values.isdisjoint(shape.avoid)
        assert len(values) > 5


def test_a_constant_never_steps() -> None:
    made = signal("inverter/W_SF", Shape(Kind.INT, -2, 1), 0.5, constant=True)
    assert made.wave is Wave.CONSTANT
    assert len(made.steps(T0, T0 + 10_000 * NS_PER_S)) == 1
    text = signal("inverter/Mn", Shape(Kind.TEXT, length=8), 0.5, constant=True)
    assert len(text.steps(T0, T0 + 10_000 * NS_PER_S)) == 1


def test_change_sets_how_many_points_step_each_second() -> None:
    steps = sum(
        len(signal(f"plc/p{number}", SHAPES["int"], 0.1).steps(T0, T0 + 100 * NS_PER_S)) - 1
        for number in range(300)
    )
    assert 0.07 < steps / 300 / 100 < 0.13
    with pytest.raises(ValueError, match="change is 2"):
        signal("x", SHAPES["int"], 2)


def test_other_seeds_make_other_plants_and_the_same_seed_the_same() -> None:
    assert seed_of("a", 1) != seed_of("a", 2)
    assert signal("a", SHAPES["int"], 0.5, 1) == signal("a", SHAPES["int"], 0.5, 1)
    assert mix(1, 2) != mix(2, 1)


def test_a_fault_lies_over_the_truth_for_its_stretch_only() -> None:
    steps = [Step(0, 1), Step(10, 2), Step(20, 3)]
    assert overlay(steps, [Span(5, 15, None)], 30) == [
        Step(0, 1),
        Step(5, None),
        Step(15, 2),
        Step(20, 3),
    ]
    assert overlay(steps, [Span(0, 40, 9)], 30) == [Step(0, 9)]
    assert overlay(steps, [Span(12, 14, 2), Span(25, 26, 7)], 30)[-2:] == [Step(25, 7), Step(26, 3)]
    assert overlay(steps, [], 30) == steps


def test_a_bool_signal_that_never_jumps_is_false() -> None:
    assert signal("x", SHAPES["bool"], 0.5, constant=True).value_of(3) is False


def test_a_signal_tells_when_its_steps_begin() -> None:
    made: Signal = signal("x", SHAPES["int"], 1.0)
    index = made.index_at(T0)
    assert made.starts_at(index) <= T0 < made.starts_at(index + 1)
    assert made.starts_at(index) % 1_000_000 == 0
