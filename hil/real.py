"""Scenarios against real devices: what can be asked of one, and what it is known to hold. Pure.

The rig starts no outstation for a real device. What it holds is not known, but for points to which
the rig itself writes a pattern; faults are those of a proxy before it, where it speaks Modbus TCP.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.model import NS_PER_MS, NS_PER_S, Value, parse_duration
from hil.plant import Plant, PlantPoint
from hil.truth import Kind, Step
from hil.words import Shape, Target, number
from profiles.schema import Area

REAL: Final = "real"
COUNTER: Final = "counter"
PATTERN_NS: Final = NS_PER_S
PATTERN_MIN_NS: Final = 100 * NS_PER_MS
TURN_NS: Final = 50 * NS_PER_MS
"""While a write is on its way either value may be held: both are told in turns shorter than any
judge's window."""
WRITABLE: Final = frozenset({Area.HOLDING, Area.COIL})
_DEVICE: Final = frozenset({Target.DEVICE})
REAL_WORDS: Final[Mapping[str, Shape]] = {
    "cut": Shape("nothing passes to it or from it, and nobody is told", _DEVICE),
    "silence": Shape("requests reach it, its answers get lost", _DEVICE),
    "delay": Shape(
        "its answers come later", _DEVICE, {"ms": number, "jitter_ms": number}, frozenset({"ms"})
    ),
    "drop": Shape("its connections end, once", _DEVICE, lasts_ns=0),
    "refuse": Shape("its port is closed", _DEVICE),
}
"""What a proxy can do before a device; all units of its line are struck."""


class Written(NamedTuple):
    """A raw value that was written to a point: sent then, and answered then (0: never)."""

    point: str
    value: Value
    sent_ns: int
    answered_ns: int


def proxied(plant: Plant, device: str) -> bool:
    """Whether a proxy can stand before a device: it speaks Modbus TCP."""
    return plant.lines[plant.devices[device].line].transport == "tcp"


# ------------------------------------------------------------------------------ reading


def read_real(value: Any, plant: Plant) -> frozenset[str]:
    """The devices that `outstation:` makes real. Raises ValueError that says what to write."""
    if value == REAL:
        return frozenset(plant.devices)
    named = value.get(REAL) if isinstance(value, Mapping) and set(value) == {REAL} else None
    if not isinstance(named, list) or not named:
        raise ValueError("write `real` for the whole site, or `{real: [plc1, …]}`")
    if unknown := [str(name) for name in named if name not in plant.devices]:
        there = ", ".join(sorted(plant.devices))
        raise ValueError(f"no device {', '.join(unknown)}: the site has {there}")
    real = frozenset(map(str, named))
    for line in plant.lines:
        own = {d.name for d in plant.devices.values() if d.line == line}
        if own & real and own - real:
            raise ValueError(
                f"{', '.join(sorted(own - real))} is on the line of {', '.join(sorted(own & real))}"
                f": make all devices of a line real, or none"
            )
    return real


def read_period(value: Any) -> int:
    """How often a pattern steps: `counter`, or `{counter: 500ms}`. Raises ValueError."""
    remedy = "write `counter` (a step a second), or `{counter: 500ms}`"
    if value == COUNTER:
        return PATTERN_NS
    if not isinstance(value, Mapping) or set(value) != {COUNTER}:
        raise ValueError(remedy)
    period_ns = parse_duration(value[COUNTER])
    if period_ns < PATTERN_MIN_NS:
        raise ValueError("a step each 100ms is the fastest")
    return period_ns


def refused_pattern(plant: Plant, real: Collection[str], name: str) -> tuple[str, str] | None:
    """Why no pattern can be written to a point, and what to do instead; None: it can."""
    device = name.partition("/")[0]
    point = next((p for p in plant.points() if p.id == name), None)
    if point is None:
        return f"there is no point {name}", "Write device/point, such as plc1/setpoint."
    if device not in real:
        return f"{device} is emulated, its truth is known", "Name it under `outstation:`."
    if not proxied(plant, device):
        return "the rig writes by Modbus TCP alone", "Choose a point of such a device."
    place, signal = point.place, point.signal
    if place.area not in WRITABLE or place.point.sf is not None or place.model is not None:
        return f"{name} can't be written plainly", "Choose a holding register or a coil."
    if point.bit_of is not None or signal.kind is Kind.TEXT or signal.mask:
        return f"{name} is a text, or made of bits", "Choose a number or a coil."
    if signal.kind is not Kind.BOOL and max(signal.levels, len(signal.choices)) < 2:
        return f"{name} may hold one value only", "Give it a wider range."
    return None


def refused_word(plant: Plant, word: str, device: str) -> tuple[str, str] | None:
    """Why a word can't be done to a real device, and what to do instead; None: it can."""
    if not proxied(plant, device):
        transport = plant.lines[plant.devices[device].line].transport
        return (
            f"{device} is real and speaks {transport}: only before Modbus TCP stands a proxy",
            "Strike nodes and links, or let the device be emulated.",
        )
    if word not in REAL_WORDS:
        own = ", ".join(REAL_WORDS)
        return f"{device} is real, and a proxy can't do this", f"It can {own}."
    return None


# ------------------------------------------------------------------------------ the pattern


def pattern_value(point: PlantPoint, count: int) -> Value:
    """The raw value of a step of the counter: inside the point's bounds, exact on the wire, and
    further from the one before than its deadband."""
    signal = point.signal
    if signal.kind is Kind.BOOL:
        return bool(count % 2)
    if signal.choices:
        return signal.choices[count % len(signal.choices)]
    low, high = (point.engineering(signal.low + at * signal.quantum, 0) for at in (0, 1))
    assert isinstance(low, int | float) and isinstance(high, int | float)
    step = abs(high - low)
    stride = min(signal.levels - 1, math.floor(point.deadband / step) + 1) if step else 1
    value = signal.low + (count * stride) % signal.levels * signal.quantum
    return value if value not in signal.avoid else signal.low


def steps_of(point: PlantPoint, written: Sequence[Written], to_ns: int) -> list[Step]:
    """What a point held by the writes to it, in engineering units, from the first on.

    Between sending and answer it held either value. A write that was never answered may have been
    done or not, until the next one is answered.
    """
    found: list[Step] = []
    held: list[Value] = []
    since_ns = 0
    for one in written:
        if not held:
            if one.answered_ns:
                held = [one.value]
                found.append(Step(one.sent_ns, one.value))
            continue
        if len(held) == 1:
            since_ns = one.sent_ns
        held.append(one.value)
        if one.answered_ns:
            found += _turns(held, since_ns, one.answered_ns)
            held = [one.value]
            found.append(Step(one.answered_ns, one.value))
    if len(held) > 1:
        found += _turns(held, since_ns, to_ns)
    return [Step(at_ns, point.engineering(value, at_ns)) for at_ns, value in found]


def _turns(values: Sequence[Value], from_ns: int, to_ns: int) -> list[Step]:
    """All values within every window of a judge: the last, the one before, …, again and again."""
    some = list(dict.fromkeys(reversed(values)))
    every_ns = max(1, TURN_NS // len(some))
    moments = range(from_ns, to_ns, every_ns)
    steps = [Step(at_ns, some[n % len(some)]) for n, at_ns in enumerate(moments)]
    # However short it was, the old value may have been there to its end.
    return [*steps, *(Step(to_ns - 1, value) for value in some[1:])]


def between(steps: Sequence[Step], from_ns: int, to_ns: int) -> list[Step]:
    """The steps in [from, to), and the one in force at `from`: the first where none was yet."""
    at = max(0, bisect_right([step.time_ns for step in steps], from_ns) - 1)
    return [step for n, step in enumerate(steps[at:]) if n == 0 or step.time_ns < to_ns]
