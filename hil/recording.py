"""What a run of a scenario leaves behind: everything that verdicts and the report are made of.

Plain data, as JSON in `run.json` of the run's folder. Histories are not in it: they are judged
while the nodes still answer, point by point, and stay in the nodes' journals beside it.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from gateway.model import NS_PER_MS

RUN_FILE: Final = "run.json"
EVIDENCE_MAX: Final = 20
"""Pieces of evidence that a finding keeps; it counts all."""


class Outcome(StrEnum):
    """What a judge came to. `unknown` is no pass: something that it needs was not there."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True):
    """One judge's verdict: what was promised, what was found, and the evidence against it.

    `at_ns` says, for each piece of evidence, which moment it speaks of (0: none), so that a report
    can show the logs around it.
    """

    judge: str
    outcome: Outcome
    said: str
    evidence: tuple[str, ...] = ()
    at_ns: tuple[int, ...] = ()


class Act(msgspec.Struct, frozen=True):
    """One entry of a timeline as it was carried out, [begun, ended) in ns UTC.

    `word` is what was done, `target` to what as the scenario says it (`main`), `hit` what that was
    then (`a`). `failed` holds why it could not be done.
    """

    word: str
    target: str
    hit: str
    begun_ns: int
    ended_ns: int
    options: dict[str, str | int | float | bool] = {}
    failed: str = ""

    def __str__(self) -> str:
        hit = f" ({self.hit})" if self.hit not in ("", self.target) else ""
        lasts = (self.ended_ns - self.begun_ns) / 1e9
        return f"{self.word} {self.target}{hit}" + (f" for {lasts:.1f} s" if lasts >= 0.1 else "")


class Switch(msgspec.Struct, frozen=True):
    """A node took over: from what was done to the first fresh polled value at a client of it.

    `fresh_ns` is 0 when no fresh value came within the judge's patience. `limit_ms` is what is
    promised: a second over the silence that is waited for, and the witness's lease if there is one.
    """

    kind: str
    left: str
    taken: str
    fault_ns: int
    fresh_ns: int
    limit_ms: int = 0

    @property
    def took_ms(self) -> int:
        """How long it took."""
        return (self.fresh_ns - self.fault_ns) // NS_PER_MS

    def __str__(self) -> str:
        return f"{self.kind}: node {self.taken} serves fresh values after {self.took_ms} ms"


class Look(msgspec.Struct, frozen=True):
    """What a node said of itself at a moment; a silent one has no role.

    `behind` and `lag_ms` are what it lacks of the other's samples; `equal_ns` is when both
    journals were last proven equal.
    """

    time_ns: int
    node: str
    role: str = ""
    shown: str = ""
    behind: int = 0
    lag_ms: float = 0.0
    equal_ns: int = 0
    devices_up: int = 0
    devices: int = 0


class Reign(msgspec.Struct, frozen=True):
    """Who was Main, from when to when (0: still), and why it began and ended."""

    term: str
    node: str
    from_ns: int
    to_ns: int
    why: str
    ended: str = ""


class Stretch(msgspec.Struct, frozen=True):
    """A gap of a device and scan class as node a has it: [from, to) in ns, what became of it."""

    device: str
    scan_class: str
    cause: str
    state: str
    from_ns: int
    to_ns: int
    points: tuple[str, ...] = ()

    @property
    def became(self) -> str:
        """Its state, which is that of its worst points: of all, or of some (`points`) only."""
        return f"{self.state} for some points" if self.points else self.state


class Told(msgspec.Struct, frozen=True):
    """A line that a node told: an event of its journal, or a line of its log (`source` is log)."""

    time_ns: int
    node: str
    source: str
    severity: int
    text: str


class Recording(msgspec.Struct):
    """A whole run."""

    scenario: str
    promise: str
    site: str
    seed: int | None
    version: str
    from_ns: int
    to_ns: int
    devices: dict[str, list[str]] = {}
    """The scan classes of each device."""
    entries: int = 0
    """How many entries the timeline has; each leaves an act."""
    acts: list[Act] = []
    looks: list[Look] = []
    switches: list[Switch] = []
    awaited: int = 0
    """How many takeovers had to come; each is measured, or the new Main was never fresh."""
    splits: list[tuple[int, int]] = []
    """When both nodes could not hear each other, and both may have polled."""
    reigns: list[Reign] = []
    stretches: list[Stretch] = []
    gaps_told: bool = True
    """Whether a node told its gaps; else no stretch means nothing."""
    told: list[Told] = []
    polls: int = 0
    unjudged: list[str] = []
    """What no judge looked at, because it is not known what was there; for people."""
    busy: bool = False
    """The machine had more than twice the work that its processors can do: times prove nothing."""
    findings: list[Finding] = []

    @property
    def outcome(self) -> Outcome:
        """The worst of all findings; unknown when nothing was judged."""
        seen = {finding.outcome for finding in self.findings}
        if Outcome.FAILED in seen:
            return Outcome.FAILED
        return Outcome.PASSED if seen == {Outcome.PASSED} else Outcome.UNKNOWN

    def save(self, folder: Path) -> Path:
        """Write `run.json`; its path."""
        file = folder / RUN_FILE
        file.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))
        return file


def load(folder: Path) -> Recording:
    """The recording of a run's folder. Raises OSError, msgspec.ValidationError."""
    return msgspec.json.decode((folder / RUN_FILE).read_bytes(), type=Recording)
