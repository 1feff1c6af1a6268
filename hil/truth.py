"""What the plant holds: a pure function of (point, time), so that judges always know the truth.

A signal is a staircase. Time is cut into steps of equal length that begin at a phase of the
signal's own; within a step the value stands still, so "what did the device hold at t" has one exact
answer and the instants of change are known. Each value is chosen so that it survives the wire:
whole numbers for integers, multiples of a power of two for floats.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from gateway.model import NS_PER_MS, NS_PER_S, Value

EPOCH_NS: Final = 1_767_225_600 * NS_PER_S
"""2026-01-01T00:00:00Z: step 0 of a signal with phase 0."""
LEVELS: Final = 2048
"""A numeric signal takes at most this many values, counters excepted."""
COUNTER_LEVELS: Final = 2**22
STEP_MIN_NS: Final = 50 * NS_PER_MS
_MASK: Final = 2**64 - 1
_WORDS: Final = ("RUN", "IDLE", "FILL", "RINSE", "DRAIN", "STOP", "AUTO", "HAND")


class Wave(StrEnum):
    """How a value goes from one step to the next."""

    CONSTANT = "constant"
    COUNTER = "counter"
    RAMP = "ramp"
    SINE = "sine"
    JUMP = "jump"
    CHOICE = "choice"
    MASK = "mask"
    TEXT = "text"


class Kind(StrEnum):
    """What sort of value a point holds on the wire."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TEXT = "text"


class Step(NamedTuple):
    """From this instant on (ns UTC) the point holds this value; None: it holds no value."""

    time_ns: int
    value: Value


class Span(NamedTuple):
    """A stretch [from, to) in which the device held something else than its signal says."""

    from_ns: int
    to_ns: int
    value: Value


@dataclass(frozen=True, slots=True)
class Shape:
    """What values a point may hold, in the terms of the wire (raw).

    `low` and `high` bound numbers. `choices` are the only values (enum keys); `mask` are the bits
    that a bit field may set; `avoid` are raw values that mean "no value". `length` is the room of
    a text in characters. `precision_bits` is how many bits the wire keeps of a float.
    """

    kind: Kind
    low: float = 0
    high: float = 0
    counter: bool = False
    choices: tuple[int, ...] = ()
    mask: int = 0
    avoid: frozenset[float] = frozenset()
    length: int = 0
    precision_bits: int = 24


def mix(seed: int, index: int) -> int:
    """A well mixed 64-bit number of two others (splitmix64's finaliser)."""
    z = (seed + index * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def seed_of(name: str, seed: int = 0) -> int:
    """The 64-bit seed of a point, the same on every machine and in every run."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=seed.to_bytes(8, "big"))
    return int.from_bytes(digest.digest(), "big")


@dataclass(frozen=True, slots=True)
class Signal:
    """The staircase of one point. A number is `low + level * quantum`, level in [0, levels)."""

    wave: Wave
    kind: Kind
    seed: int
    step_ns: int
    phase_ns: int
    low: int | float = 0
    quantum: int | float = 1
    levels: int = 1
    turn: int = 1
    choices: tuple[int, ...] = ()
    mask: int = 0
    avoid: frozenset[float] = frozenset()
    length: int = 0

    def index_at(self, time_ns: int) -> int:
        """The number of the step that holds at an instant."""
        return (time_ns - self.phase_ns) // self.step_ns

    def starts_at(self, index: int) -> int:
        """When a step begins, in ns UTC."""
        return self.phase_ns + index * self.step_ns

    def value_at(self, time_ns: int) -> Value:
        """What the point holds at an instant, raw as on the wire."""
        return self.value_of((time_ns - self.phase_ns) // self.step_ns)

    def value_of(self, index: int) -> Value:
        """What the point holds during a step."""
        if self.kind is Kind.BOOL:
            return bool(mix(self.seed, index) & 1) if self.wave is Wave.JUMP else False
        if self.wave is Wave.TEXT:
            return self._text(index)
        if self.wave is Wave.CHOICE:
            return self.choices[mix(self.seed, index) % len(self.choices)]
        if self.wave is Wave.MASK:
            return mix(self.seed, index) & self.mask
        level = self._level(index)
        number = self.low + level * self.quantum
        for further in range(1, len(self.avoid) + 1):
            if number not in self.avoid:
                break
            number = self.low + (level + further) % self.levels * self.quantum
        return number

    def _level(self, index: int) -> int:
        if self.wave is Wave.CONSTANT:
            return self.seed % self.levels
        if self.wave is Wave.COUNTER:
            return (self.seed % (self.levels // 4 + 1) + index * (1 + self.seed % 3)) % self.levels
        if self.wave is Wave.RAMP:
            place = (index + self.seed) % (2 * self.turn)
            up = place if place < self.turn else 2 * self.turn - place
            return up * (self.levels - 1) // self.turn
        if self.wave is Wave.SINE:
            angle = math.tau * ((index + self.seed % self.turn) % self.turn) / self.turn
            return round((1 + math.sin(angle)) / 2 * (self.levels - 1))
        return mix(self.seed, index) % self.levels

    def _text(self, index: int) -> str:
        chance = mix(self.seed, index)
        return f"{_WORDS[chance % len(_WORDS)]} {chance % 9973:04d}"[: self.length].rstrip()

    def steps(self, from_ns: int, to_ns: int) -> list[Step]:
        """The value at `from_ns`, stamped so, and each change in (from, to), in order."""
        index = self.index_at(from_ns)
        found = [Step(from_ns, self.value_of(index))]
        for later in range(index + 1, self.index_at(to_ns - 1) + 1):
            value = self.value_of(later)
            if value != found[-1].value:
                found.append(Step(self.starts_at(later), value))
        return found


def signal(name: str, shape: Shape, change: float, seed: int = 0, constant: bool = False) -> Signal:
    """The signal of a point, chosen by the hash of its name.

    `change` (0.01 to 1.0) is the part of all points that begin a new step each second: one in five
    points is ten times slower than that, one in five twice as fast.
    """
    if not 0.0001 <= change <= 1.0:
        raise ValueError(f"change is {change}: give the part of points a second, 0.01 to 1.0")
    own = seed_of(name, seed)
    pace = {0: 0.1, 1: 2.0}.get(own % 5, 1.0)
    if shape.kind is Kind.TEXT:
        pace = 0.05
    # Whole milliseconds: OPC UA timestamps in Python hold microseconds only.
    step_ns = max(STEP_MIN_NS, round(1_000 / (change * pace)) * NS_PER_MS)
    phase_ns = EPOCH_NS + mix(own, 1) % (step_ns // NS_PER_MS) * NS_PER_MS
    low, quantum, levels = _grid(shape)
    return Signal(
        wave=Wave.CONSTANT if constant and shape.kind is not Kind.TEXT else _wave(shape, own),
        kind=shape.kind,
        seed=own,
        step_ns=2**62 if constant else step_ns,
        phase_ns=0 if constant else phase_ns,
        low=low,
        quantum=quantum,
        levels=levels,
        turn=16 + mix(own, 2) % 240,
        choices=shape.choices,
        mask=shape.mask,
        avoid=shape.avoid,
        length=shape.length,
    )


def _wave(shape: Shape, own: int) -> Wave:
    if shape.kind is Kind.TEXT:
        return Wave.TEXT
    if shape.kind is Kind.BOOL:
        return Wave.JUMP
    if shape.choices:
        return Wave.CHOICE
    if shape.mask:
        return Wave.MASK
    if shape.counter:
        return Wave.COUNTER
    return (Wave.SINE, Wave.SINE, Wave.RAMP, Wave.JUMP)[mix(own, 3) % 4]


def _grid(shape: Shape) -> tuple[int | float, int | float, int]:
    """(low, quantum, levels): exact on the wire, inside the bounds, at least one level."""
    span = shape.high - shape.low
    most = COUNTER_LEVELS if shape.counter else LEVELS
    if shape.kind is Kind.INT:
        low, high = math.ceil(shape.low), math.floor(shape.high)
        quantum = 1 if shape.counter else max(1, (high - low) // most)
        return low, quantum, max(1, min(most, (high - low) // quantum + 1))
    if shape.kind is not Kind.FLOAT or span <= 0:
        return 0.0, 1.0, 1
    largest = max(abs(shape.low), abs(shape.high))
    # level * quantum must fit the mantissa: the coarser of "enough levels" and "enough bits".
    exponent = max(
        math.ceil(math.log2(span / most)),
        math.ceil(math.log2(largest)) - shape.precision_bits + 1,
    )
    step = 2.0**exponent
    start = math.ceil(shape.low / step) * step
    return start, step, max(1, min(most, math.floor((shape.high - start) / step) + 1))


def overlay(steps: Sequence[Step], spans: Sequence[Span], to_ns: int) -> list[Step]:
    """The truth with faults laid over it: within each span the device held the span's value.

    `spans` are in order and do not overlap; `to_ns` ends the last step.
    """
    found: list[Step] = []
    for number, step in enumerate(steps):
        end_ns = steps[number + 1].time_ns if number + 1 < len(steps) else to_ns
        at_ns = step.time_ns
        for span in spans:
            if span.to_ns <= at_ns or span.from_ns >= end_ns:
                continue
            if span.from_ns > at_ns:
                found.append(Step(at_ns, step.value))
            found.append(Step(max(at_ns, span.from_ns), span.value))
            at_ns = min(span.to_ns, end_ns)
        if at_ns < end_ns:
            found.append(Step(at_ns, step.value))
    merged = found[:1]
    merged.extend(b for a, b in itertools.pairwise(found) if a.value != b.value)
    return merged
