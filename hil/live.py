"""A pair that runs for a test: what it is asked for happens at once, and all is judged at the end.

The words are those of scenarios, read by the same reader, carried out by the same player; the
test's own code is the timeline. `hil.hands` is what tests are given of it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from gateway.model import NS_PER_S, Value
from hil.acts import WORDS, needs_of
from hil.gateway import ProgramError
from hil.ground import on
from hil.laying import ground_of, prepare
from hil.outstation.control import send
from hil.pair import NODES, Pair, PairNode
from hil.play import Player, Watch
from hil.recording import Act, Recording, Switch
from hil.report.files import write
from hil.runs import Happening, judged
from hil.scenario import Entry, Scenario, ScenarioError
from hil.scenario_reading import read_scenario
from hil.truth import Step
from hil.words import MAIN

LASTS_S: Final = 86_400
"""What is done without `seconds` lasts until it is undone, at most so long."""


class Asked(NamedTuple):
    """What a test asks for: a site's folder, and what is otherwise about it."""

    site: Path
    name: str
    promise: str = ""
    seed: int | None = None
    pair: Mapping[str, Any] = {}
    words: Sequence[str] = ()


class Reading(NamedTuple):
    """A live value: its status in words, and when it was held and polled (ns UTC)."""

    value: Value
    status: str
    source_ns: int
    polled_ns: int


@dataclass(slots=True)
class Doing:
    """A word that lasts."""

    entry: Entry
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    watch: Watch | None = None
    act: asyncio.Future[Act] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class LivePair:
    """Everything that runs for a test. All of it belongs to one event loop."""

    def __init__(self, asked: Asked, folder: Path, offset: int, say: Callable[[str], None]) -> None:
        """Lay out the site in a folder, its ports moved by `offset`. Raises SiteError, OSError."""
        self.asked = asked
        self.pair: Pair = prepare(asked.site, folder, offset, asked.seed, asked.pair, None)
        scenario = Scenario(asked.name, asked.promise, asked.site.name, 60 * NS_PER_S, asked.seed)
        self.player = Player(scenario, self.pair, say)
        self.needs = needs_of(asked.words)
        self._ending = asyncio.Event()
        self._judges = False
        self._doings: list[Doing] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._life: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """One node is Main, the other synced, the rig's client subscribed. Raises ProgramError."""
        ready = asyncio.Event()
        self._life = asyncio.create_task(self._live(ready))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._life, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._life.done():
            self._life.result()

    async def _live(self, ready: asyncio.Event) -> None:
        async with on(self.pair, self.needs):
            try:
                await self.player.begin()
                ready.set()
                async with self.player.watched():
                    await self._ending.wait()
                    if self._judges:
                        await asyncio.gather(*map(self.undo, self._doings))
                        await asyncio.gather(*self._tasks)
                        await self.player.heal()
                if self._judges:
                    await self.player.gather()
            finally:
                for task in self._tasks:
                    task.cancel()
                await self.player.end()

    async def judge(self, expect: Mapping[str, Any]) -> Recording:
        """Undo and heal all, end the pair, and judge it. Raises ProgramError, ValueError, OSError.

        `expect` holds what a scenario may expect, such as `{"takeover": "1s"}`.
        """
        wanted = self._read(f"expect: {json.dumps([{k: v} for k, v in expect.items()])}").expect
        assert self._life is not None
        if self._ending.is_set():
            raise ProgramError("the pair has ended: judge() is the last that is asked of it")
        self._judges = True
        self._ending.set()
        await self._life
        recording = self.player.verdict(wanted)
        await asyncio.to_thread(write, recording, self.pair.folder)
        return recording

    async def close(self) -> None:
        """End all that runs."""
        self._ending.set()
        if self._life is not None and not self._life.done():
            if self._judges:
                self._life.cancel()
            with suppress(asyncio.CancelledError):
                await self._life

    # ------------------------------------------------------------------------------ doing

    def _read(self, rest: str) -> Scenario:
        """A part of a scenario as its reader understands it. Raises ValueError with the remedy."""
        head = f"scenario: s\npromise: p\nsite: {json.dumps(str(self.asked.site))}\n"
        text = f"{head}lasts: {LASTS_S}s\n{rest}\n"
        shapes = {word: entry.shape for word, entry in WORDS.items()}
        base = self.asked.site.parent
        try:
            return read_scenario(text, "", shapes, lambda name: ground_of(name, base))
        except ScenarioError as error:
            said = "\n".join(f"{one.said}. {one.remedy}" for one in error.mistakes)
            raise ValueError(said) from None

    def entry(
        self, word: str, target: str, seconds: float | None, options: Mapping[str, Any]
    ) -> Entry:
        """An entry of a timeline that begins now. Raises ValueError."""
        lasts = {} if seconds is None else {"for": f"{round(seconds * 1000)}ms"}
        item = {word: target, "at": "0s", **lasts, **options}
        found = self._read(f"timeline: [{json.dumps(item)}]").timeline[0]
        lacking = needs_of([word]) - self.needs if not found.device else None
        if lacking:
            mark = f'@pytest.mark.hotpair(words=["{word}"])'
            raise ValueError(f"`{word}` must be prepared before the pair starts. Write {mark}.")
        return found

    async def do(
        self, word: str, target: str, seconds: float | None, options: Mapping[str, Any]
    ) -> Doing:
        """Begin a word; it is undone after `seconds`, else by `undo`. Raises ValueError,
        ProgramError for what can't be done."""
        self._alive()
        doing = Doing(self.entry(word, target, seconds, options))
        self._doings.append(doing)
        task = asyncio.create_task(self._carry(doing))
        self._tasks.add(task)
        begun = asyncio.create_task(doing.begun.wait())
        both: set[asyncio.Future[Any]] = {begun, doing.act}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        momentary = doing.entry.until_ns == doing.entry.at_ns
        if momentary or doing.act.done():
            _refused(await doing.act)
        return doing

    async def _carry(self, doing: Doing) -> None:
        lasts_s = (doing.entry.until_ns - doing.entry.at_ns) / NS_PER_S

        async def over(watch: Watch | None) -> None:
            doing.watch = watch
            doing.begun.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(lasts_s):
                    await doing.over.wait()

        act, watch = await self.player.carry_out(doing.entry, over)
        doing.act.set_result(act)
        if watch is not None:
            await self.player.took_over(watch, act)

    async def undo(self, doing: Doing) -> Act:
        """Undo what still lasts, and wait until it is. Its act says what failed."""
        doing.over.set()
        return await asyncio.shield(doing.act)

    async def takeover(self, doing: Doing) -> Switch:
        """The takeover that a word caused. Raises ProgramError when none came, or none was due."""
        if doing.watch is None:
            raise ProgramError(f"`{doing.entry}` struck no Main with a synced Standby beside it")
        switch = await asyncio.shield(doing.watch)
        if not switch.fresh_ns:
            raise ProgramError(f"{switch.kind}: node {switch.taken} never served fresh values")
        return switch

    # ------------------------------------------------------------------------------ looking

    def _alive(self) -> None:
        if self._ending.is_set():
            raise ProgramError("the pair has ended: judge() is the last that is asked of it")

    async def node(self, name: str) -> PairNode:
        """A node by its name, or by what it is now. Raises ProgramError, ValueError."""
        self._alive()
        found = await self.player.node(name)
        if found is None:
            raise ValueError(f"no node {name!r}. Write main, standby, {' or '.join(NODES)}.")
        return found

    async def reading(self, point: str, node: str) -> Reading:
        """A live value as a node has it. Raises ProgramError, ValueError."""
        self.plant_point(point)
        (found,) = await self.get(node, "/points", pattern=point)
        return Reading(
            found["value"], found["status"], found["source_time_ns"], found["server_time_ns"]
        )

    async def get(self, node: str, path: str, **asked: Any) -> Any:
        """What a node answers at its control socket. Raises ProgramError."""
        there = await self.node(node)
        try:
            return await there.control.get(path, **asked)
        except httpx.HTTPStatusError as error:
            raise ProgramError(f"node {there.name}: {error.response.text}") from error
        except httpx.HTTPError as error:
            raise ProgramError(f"node {there.name} does not answer: {error!r}") from error

    async def write(self, point: str, value: Value) -> Mapping[str, Any]:
        """Write a point through the Main; from then on its truth is unknown, so it isn't judged."""
        self.plant_point(point)
        main = await self.node(MAIN)
        self.player.found.unjudged[point] = "the test wrote it"
        try:
            return await main.control.write(point, value)
        except httpx.HTTPStatusError as error:
            raise ProgramError(f"{point} was not written: {error.response.text}") from error
        except httpx.HTTPError as error:
            raise ProgramError(f"node {main.name} does not answer: {error!r}") from error

    # ------------------------------------------------------------------------------ outstations

    def plant_point(self, point: str) -> Any:
        """A point of the site. Raises ValueError."""
        for found in self.pair.plant.points():
            if found.id == point:
                return found
        raise ValueError(f"the site {self.pair.plant.site} has no point {point!r}")

    async def tell(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Tell the outstations something. Raises ProgramError."""
        self._alive()
        answer = await send(self.pair.rig_socket, message)
        if not answer.get("ok"):
            raise ProgramError(f"the outstations refused {dict(message)}: {answer.get('error')}")
        return answer

    async def steps(self, point: str, from_ns: int, to_ns: int) -> Sequence[Step]:
        """What a device held: at `from_ns`, and each change before `to_ns`; faults included."""
        self.plant_point(point)
        told = await self.tell({"journal": True})
        journal = [Happening(*item) for item in told["journal"]]
        points = {one.id: one for one in judged(self.pair.plant, journal, time.time_ns())}
        if point not in points:
            raise ValueError(f"{point} can't be read at its device")
        return points[point].truth(from_ns, to_ns)


def _refused(act: Act) -> None:
    if act.failed:
        raise ProgramError(f"{act}: {act.failed}")
