"""Everything that was answered after a run, kept: so that it can be judged again, altered or not.

The answers are those of `hil.asking`, whole, in memory: for runs of seconds, not of hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from gateway.model import NS_PER_MS, Gap, HistoryRow
from hil.acts import WORDS
from hil.asking import Asked
from hil.foreign import read_back
from hil.gateway import ProgramError
from hil.gathering import gather, with_logs
from hil.judges_journal import Journal
from hil.outstation.polls import Poll
from hil.plant import Plant
from hil.recording import Finding, Recording
from hil.scenario import Scenario
from hil.transcript import judged
from hil.verdicts import Against, Gathered
from hil.words import NODES


@dataclass(slots=True)
class Kept:
    """What `hil.asking.Asked` answers, by node where nodes are asked; times in ns UTC.

    `silent` names what nobody answers any more: `gaps a`, `history b`, `history b plc1/level`,
    `events a`, `outstations`, `recorded`, `journal a`, ... `read_back` is what a client of another
    vendor counted of the whole history.
    """

    plant: Plant
    born_ns: int
    settings: Mapping[str, Any]
    askers: Mapping[str, str]
    run: Recording
    gaps: dict[str, list[Gap]] = field(default_factory=dict)
    rows: dict[str, dict[str, list[HistoryRow]]] = field(default_factory=dict)
    reigns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    logs: dict[str, str | None] = field(default_factory=dict)
    client: list[str] | None = None
    polls: list[Poll] | None = None
    journals: dict[str, Journal] = field(default_factory=dict)
    happenings: list[list[Any]] = field(default_factory=list)
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)
    waits: Against = field(default_factory=list)
    main: str = ""
    broken: Against = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    read_back: dict[str, float] = field(default_factory=dict)

    def copied(self) -> Kept:
        """A copy whose tables can be changed without changing these; what is in lists is shared."""
        found = copy(self)
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, dict):
                inner = {k: copy(v) if isinstance(v, dict | list) else v for k, v in value.items()}
                setattr(found, name, inner)
            elif isinstance(value, list | set):
                setattr(found, name, copy(value))
        found.run = copy_of(self.run)
        return found


def copy_of(run: Recording) -> Recording:
    """A recording whose lists can be changed without changing these."""
    return msgspec.convert(msgspec.to_builtins(run), Recording)


async def keep(asked: Asked, run: Recording, found: Gathered) -> Kept:
    """Ask everybody for everything, before `found` is judged. Raises what `Asked` does."""
    kept = Kept(asked.plant, asked.born_ns, asked.settings, asked.askers, copy_of(run))
    kept.waits, kept.main, kept.broken = [*found.waits], found.main, [*found.broken]
    points = [point.id for point in asked.plant.points() if point.access.readable]
    end_ns = run.to_ns * 2  # after everything
    for node in NODES:
        kept.gaps[node] = await asked.gaps(node, run.from_ns, run.to_ns)
        kept.reigns[node] = await asked.reigns(node)
        kept.events[node] = await asked.events(node, asked.born_ns, end_ns)
        kept.logs[node] = asked.log(node)
        kept.rows[node] = {p: await asked.history(node, p, asked.born_ns, end_ns) for p in points}
        kept.journals[node] = asked.journal(node)
    text = asked.client()
    kept.client = None if text is None else [ln for ln in text.split("\n") if ln.endswith("]")]
    kept.polls = await asked.polls()
    kept.happenings = (await asked.outstations({"journal": True}))["journal"]
    for device in with_logs(asked.plant) - set(asked.plant.rig.opcua_history):
        wanted = {"recorded": device, "from": run.from_ns, "to": run.to_ns}
        kept.recorded[device] = await asked.outstations(wanted)
    kept.read_back = {"values": values_of(kept), "seconds": 1.0, "calls": 1, "same_time": 0}
    kept.read_back |= {"unordered": 0, "refused": 0}
    return kept


def values_of(kept: Kept) -> int:
    """How many values a client is given that reads all history of the run."""
    to_ns = kept.run.to_ns - kept.run.to_ns % NS_PER_MS
    return sum(row.time_ns < to_ns for rows in kept.rows[NODES[0]].values() for row in rows)


class KeptAnswers:
    """`Asked`, answered from what was kept."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.plant = kept.plant
        self.born_ns = kept.born_ns
        self.settings = kept.settings
        self.askers = kept.askers

    def _answers(self, what: str) -> None:
        if what in self._kept.silent:
            raise ProgramError(f"{what}: nobody answers")

    async def gaps(self, node: str, from_ns: int, to_ns: int) -> list[Gap]:
        """All gaps of the run."""
        self._answers(f"gaps {node}")
        return self._kept.gaps[node]

    async def history(self, node: str, point: str, from_ns: int, to_ns: int) -> list[HistoryRow]:
        """All samples of a point."""
        self._answers(f"history {node}")
        self._answers(f"history {node} {point}")
        return self._kept.rows[node][point]

    async def reigns(self, node: str) -> list[dict[str, Any]]:
        """Who was Main when."""
        self._answers(f"reigns {node}")
        return self._kept.reigns[node]

    async def events(self, node: str, from_ns: int, to_ns: int) -> list[dict[str, Any]]:
        """What the node told in its journal."""
        self._answers(f"events {node}")
        return self._kept.events[node]

    async def outstations(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """What they noted, and what their logs hold of the whole run."""
        if "journal" in message:
            self._not_gone("outstations")
            return {"ok": True, "journal": self._kept.happenings}
        self._not_gone("recorded")
        return self._kept.recorded[message["recorded"]]

    def _not_gone(self, what: str) -> None:
        if what in self._kept.silent:
            raise ConnectionRefusedError(f"{what}: nobody answers")

    async def until_equal(self, within_s: float) -> None:
        """They are what they are."""

    def log(self, node: str) -> str | None:
        """The text of a node's log."""
        return self._kept.logs[node]

    def client(self) -> str | None:
        """What the rig's client wrote."""
        return None if self._kept.client is None else "\n".join(self._kept.client)

    async def polls(self) -> list[Poll] | None:
        """Every request that the outstations had."""
        return self._kept.polls

    def journal(self, node: str) -> Journal:
        """A journal as its files held it."""
        self._answers(f"journal {node}")
        return self._kept.journals[node]


async def judge(kept: Kept, scenario: Scenario) -> list[Finding]:
    """Every finding on what was kept, by the way that every run takes."""
    run = copy_of(kept.run)
    found = Gathered(waits=[*kept.waits], main=kept.main, broken=[*kept.broken])
    await gather(KeptAnswers(kept), run, found)
    found.read_back = read_back(kept.read_back, found.stored, run.to_ns)
    return judged(run, found, scenario.expect, WORDS)
