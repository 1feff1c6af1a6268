"""A scenario as it is played: what runs, what is done to it when, and what is expected. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.model import NS_PER_S
from hil.expect import Expectation
from hil.plant import Plant


class Ground(NamedTuple):
    """What a scenario must know of its site: its devices, how many links its nodes have.

    `plant` has it whole; without one no device can be real.
    """

    devices: frozenset[str]
    links: int
    plant: Plant | None = None


class Entry(NamedTuple):
    """One entry of a timeline, begun at `at_ns` after the pair stands.

    `target` is as it was written; `device` says that it is one. It ends at `until_ns`.
    """

    at_ns: int
    until_ns: int
    word: str
    target: str
    options: Mapping[str, Any]
    device: bool
    line: int

    def __str__(self) -> str:
        lasts_ns = self.until_ns - self.at_ns
        options = "".join(f" {key}={value}" for key, value in self.options.items())
        lasts = f" for {lasts_ns / NS_PER_S:g} s" if lasts_ns else ""
        return f"{self.word} {self.target}{options}{lasts}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that can be played.

    `real` devices are not emulated; `pattern` says which of their points the rig steps, and how
    often (ns).
    """

    name: str
    promise: str
    site: str
    lasts_ns: int
    seed: int | None = None
    client: str = ""
    pair: Mapping[str, Any] = field(default_factory=dict)
    real: frozenset[str] = frozenset()
    pattern: Mapping[str, int] = field(default_factory=dict)
    timeline: tuple[Entry, ...] = ()
    expect: tuple[Expectation, ...] = ()


class Mistake(NamedTuple):
    """What is wrong in a file, on which line, and what to write instead."""

    file: str
    line: int
    said: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.said}. {self.remedy}"


class ScenarioError(ValueError):
    """A scenario that can't be played; `mistakes` holds all that is wrong with it."""

    def __init__(self, mistakes: Collection[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = tuple(mistakes)
