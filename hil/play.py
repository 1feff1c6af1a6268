"""Plays a scenario: starts the pair, carries out the timeline, heals, has everything judged.

One player for all: short scenarios, the half hour of the waterworks, campaigns. The folder keeps
site, logs, journals, what the client saw, and `run.json` and `junit.xml` made of them.
"""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final

from gateway import __version__
from gateway.model import NS_PER_S, format_time
from hil import transcript, verdicts
from hil.acts import WORDS
from hil.asking import AskedPair, pair_settings
from hil.expect import Expectation
from hil.follower import client_of
from hil.foreign import Foreign
from hil.fresh import FRESH_S
from hil.gateway import ProgramError
from hil.gathering import gather, with_logs
from hil.judges import SLACK_NS
from hil.looking import look_of, shown
from hil.outstation.control import send
from hil.pair import Pair, PairNode, Status
from hil.pattern import patterns_of
from hil.recording import Act, Finding, Recording, Switch
from hil.scenario import Entry, Scenario
from hil.stopping import side_by_side, to_its_end
from hil.takeover import limit_ms, wait_for_fresh
from hil.usage import Usage
from hil.verdicts import Gathered
from hil.words import MAIN, NODES, STANDBY, TOGETHER, Shape, Target, messages

Say = Callable[[str], None]
Watch = asyncio.Task[Switch]
"""A takeover that is waited for."""
LOOKS: Final = 2_400
"""About so many looks at a node are kept of a run."""
LOOK_MIN_S: Final = 0.25
REPORTS: Final = 60
REPORT_MIN_S: Final = 5.0
RESOLVE_S: Final = 5.0
"""How long a word may wait for there to be one Main."""
LATE_S: Final = 5.0
PATIENCE_S: Final = 60.0
"""For the pair to be whole, for coverage, for equal journals, for gaps to be filled: each."""
TRANSCRIPT_FILE: Final = "transcript.txt"


def told(finding: Finding) -> str:
    """A finding with its evidence, for people."""
    shown = [f"             {text}" for text in finding.evidence]
    return "\n".join((f"{finding.outcome.value.upper():8} {finding.judge}: {finding.said}", *shown))


class Player:
    """One run of one scenario on a pair that is laid out."""

    def __init__(self, scenario: Scenario, pair: Pair, say: Say) -> None:
        self.scenario = scenario
        self.pair = pair
        self.run = Recording(
            scenario.name, scenario.promise, pair.plant.site, scenario.seed, __version__, 0, 0
        )
        self.run.devices = {
            name: sorted({point.scan_class for point in device.points})
            for name, device in pair.plant.devices.items()
        }
        self.run.entries = len(scenario.timeline)
        self.found = Gathered()
        self._say_to = say
        self._kept: list[str] = []
        self._seen: dict[str, Status] = {name: {} for name in NODES}
        self._usage = {name: Usage() for name in NODES}
        self._foreign: Foreign | None = None
        self._settings = pair_settings(pair)
        self._client = client_of(pair)
        self._patterns = patterns_of(pair.plant, scenario.pattern, pair.folder)

    def say(self, text: str) -> None:
        """A line of progress, and of the transcript."""
        self._kept.append(f"{format_time(time.time_ns())}  {text}")
        self._say_to(self._kept[-1])

    async def play(self) -> Recording:
        """Everything from the start to the verdict; `run.json` is saved. Raises ProgramError."""
        self.say(f"site {self.run.site}: {len(self.pair.plant.devices)} devices, a pair, "
                 f"{self.scenario.lasts_ns / NS_PER_S:g} s")  # fmt: skip
        try:
            await self.begin()
            async with self.watched():
                await self._timeline()
                await self.heal()
            await self.gather()
        finally:
            await to_its_end(self.end())
        return self.verdict(self.scenario.expect)

    async def begin(self) -> None:
        """Start the pair and its clients. Raises ProgramError; `end` is due all the same."""
        pair = self.pair
        await pair.start()
        self.say(f"node {(await pair.main()).name} is Main, the other is Standby and synced")
        self.say(await self._client.start())
        await self._patterns.start()
        if self.scenario.pattern:  # what was there before the first write is not known
            slowest_ns = max(p.period_ns for p in pair.plant.points())
            await asyncio.sleep((slowest_ns + SLACK_NS) / NS_PER_S)
        if self.scenario.client:
            self._foreign = Foreign(pair, self.say)
            await self._foreign.start()
        self.run.from_ns = time.time_ns()

    async def heal(self) -> None:
        """The timeline is over: all is made right, and has time to become so."""
        await self._heal()
        await self._client.stop()
        await self._settle()

    async def end(self) -> None:
        """End all that runs; how the nodes ended is judged."""
        await self._patterns.stop()
        if self._foreign is not None:
            await self._foreign.stop()
        await self._client.stop()
        began_s = time.monotonic()
        statuses = await self.pair.stop()
        ended = ", ".join(f"node {n} with status {s}" for n, s in statuses.items())
        self.say(f"stopped: {ended or 'no node'} in {time.monotonic() - began_s:.2f} s")
        self.found.broken += [
            (f"node {name} ended with status {status} at SIGTERM", time.time_ns())
            for name, status in statuses.items()
            if status
        ]

    def verdict(self, expect: Sequence[Expectation]) -> Recording:
        """Judge what was gathered; `run.json` and the transcript are written. Raises OSError."""
        run = self.run
        run.findings = transcript.judged(run, self.found, expect, WORDS)
        run.unjudged = verdicts.unjudged(run, self.found)
        run.save(self.pair.folder)
        self._tell_all()
        return run

    def _tell_all(self) -> None:
        """The facts beside the findings; events only go to the file."""
        for line in transcript.lines(self.run, self.found.logging, WORDS):
            self.say(line)
        for name, usage in self._usage.items():
            self.say(f"memory: node {name} never used more than {usage.rss_max / 1e6:.0f} MB")
        self._kept += [*transcript.events(self.run), *map(told, self.run.findings)]
        text = "\n".join((*self._kept, self.run.outcome.value.upper()))
        (self.pair.folder / TRANSCRIPT_FILE).write_text(text + "\n", encoding="utf-8")

    # ------------------------------------------------------------------------------ the timeline

    async def _timeline(self) -> None:
        """All entries, side by side, and then the rest of the time."""
        begun_s = asyncio.get_running_loop().time()
        entries = [self._entry(entry, begun_s) for entry in self.scenario.timeline]
        await side_by_side([_until(begun_s + self.scenario.lasts_ns / NS_PER_S), *entries])

    async def _entry(self, entry: Entry, begun_s: float) -> None:
        """One entry, from its time to its end."""
        await _until(begun_s + entry.at_ns / NS_PER_S)
        act, watch = await self.carry_out(
            entry, lambda _: _until(begun_s + entry.until_ns / NS_PER_S)
        )
        if watch is not None:
            await self.took_over(watch, act)

    async def carry_out(
        self, entry: Entry, over: Callable[[Watch | None], Awaitable[None]]
    ) -> tuple[Act, Watch | None]:
        """Do one entry now, undo it when `over` returns; what can't be done is noted in its act.

        Where it must cause a takeover, that is waited for meanwhile: `took_over` is due then.
        """
        begun_ns, hit, failed = time.time_ns(), entry.target, ""
        watch: Watch | None = None
        shape = None if entry.device else WORDS[entry.word].shape
        self.say(f"{entry}")
        try:
            node = None if entry.device else await self.node(entry.target)
            hit = node.name if node is not None else entry.target
            begun_ns = time.time_ns()
            if shape is not None:
                watch = await self._watch(entry, shape, node, begun_ns)
            async with self._word(entry, node):
                await over(watch)
        except (ProgramError, OSError, ValueError, TimeoutError) as error:
            failed = str(error) or repr(error)
        plain = {k: v for k, v in entry.options.items() if isinstance(v, str | int | float | bool)}
        act = Act(entry.word, entry.target, hit, begun_ns, time.time_ns(), plain, failed)
        self.run.acts.append(act)
        self.say(f"{act}: " + (f"FAILED: {failed}" if failed else "done"))
        return act, watch

    async def node(self, target: str) -> PairNode | None:
        """The node that a target means now; None for links and the pair. Raises ProgramError."""
        if target in NODES:
            return self.pair.nodes[target]
        if target not in (MAIN, STANDBY):
            return None
        end_s = time.monotonic() + RESOLVE_S
        while True:
            try:
                main = await self.pair.main()
                return main if target == MAIN else self.pair.other(main)
            except ProgramError:
                if time.monotonic() > end_s:
                    raise
                await asyncio.sleep(LOOK_MIN_S)

    def _word(self, entry: Entry, node: PairNode | None) -> AbstractAsyncContextManager[None]:
        if not entry.device:
            return WORDS[entry.word].word(self.pair, node, entry.options)
        return self._of_device(entry)

    @asynccontextmanager
    async def _of_device(self, entry: Entry) -> AsyncIterator[None]:
        """A device's word, done by the outstations, or by a proxy. Raises ProgramError."""
        if entry.target in self.pair.plant.rig.real:
            said = {"device": entry.target, **entry.options}
            await self.pair.tell_field(begin=entry.word, **said)
            yield
            await self.pair.tell_field(end=entry.word, **said)
            return
        begin, end = messages(entry.word, entry.target, entry.options)
        await self._tell(begin)
        yield
        if end is not None:
            await self._tell(end)

    async def _tell(self, message: Mapping[str, Any]) -> None:
        answer = await send(self.pair.rig_socket, message)
        if not answer.get("ok"):
            raise ProgramError(f"the outstations refused {dict(message)}: {answer.get('error')}")

    # ------------------------------------------------------------------------------ takeovers

    async def _watch(
        self, entry: Entry, shape: Shape, node: PairNode | None, fault_ns: int
    ) -> Watch | None:
        """Begin to wait for a takeover, where this word must cause one."""
        if not shape.takeover or entry.options.get(TOGETHER):
            return None
        mains = [name for name, seen in self._seen.items() if seen.get("role") == "main"]
        if len(mains) != 1:
            return None
        main = self.pair.nodes[mains[0]]
        other = self.pair.other(main)
        cuts = Target.LINKS in shape.targets
        if node not in (None, main) or self._seen[other.name].get("role") != "synced":
            return None
        if cuts and (self._settings.get("witness") or not self._all_links(entry)):
            return None
        kind = f"{shape.takeover} one way" if cuts and node is not None else shape.takeover
        return asyncio.create_task(
            wait_for_fresh(self.pair, kind, main, fault_ns, self._limit_ms(other))
        )

    def _all_links(self, entry: Entry) -> bool:
        """Whether a cut leaves no link; one that is named may be the only one."""
        return "path" not in entry.options or self.links == 1

    @property
    def links(self) -> int:
        """How many links each node has."""
        return max(1, len(self._seen["a"].get("links", ())))

    def _limit_ms(self, taken: PairNode) -> int:
        return limit_ms(self._settings, self._seen[taken.name])

    async def took_over(self, watch: Watch, act: Act) -> None:
        """Note the takeover; what ended before a takeover was due need not have caused one."""
        limit_s = max(self._limit_ms(node) for node in self.pair.nodes.values()) / 1_000
        lasted_s = (act.ended_ns - act.begun_ns) / NS_PER_S
        short = lasted_s < limit_s and act.word in ("freeze", "cut")
        self.run.awaited += not (short or act.failed)
        try:
            within_s = LATE_S if short or act.failed else FRESH_S + LATE_S
            async with asyncio.timeout(within_s):
                switch = await watch
        except TimeoutError:
            return
        if switch is not None and (switch.fresh_ns or not (short or act.failed)):
            self.run.switches.append(switch)
            self.say(str(switch) if switch.fresh_ns else f"{switch.kind}: NO fresh value came")

    # ------------------------------------------------------------------------------ watching

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at both nodes, and tell how it goes, meanwhile."""
        tasks = [asyncio.create_task(self._look(node)) for node in self.pair.nodes.values()]
        tasks.append(asyncio.create_task(self._report()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, node: PairNode) -> None:
        pace_s = max(LOOK_MIN_S, self.scenario.lasts_ns / NS_PER_S / LOOKS)
        busy = 2.0 * (os.cpu_count() or 1)
        while True:
            at_ns = time.time_ns()
            with suppress(Exception):  # whatever a node that is being killed says
                self._seen[node.name] = await node.status()
                self.run.looks.append(look_of(at_ns, node.name, self._seen[node.name]))
            self.run.busy = self.run.busy or os.getloadavg()[0] > busy
            await asyncio.sleep(pace_s)

    async def _report(self) -> None:
        pace_s = min(30.0, max(REPORT_MIN_S, self.scenario.lasts_ns / NS_PER_S / REPORTS))
        self._machine()
        while True:
            await asyncio.sleep(pace_s)
            client = f"; {await self._foreign.report()}" if self._foreign is not None else ""
            self.say(f"{shown(self._seen)}; {self._machine()}{client}")

    def _machine(self) -> str:
        pids = {n: p.program.pid for n, p in self.pair.nodes.items() if p.program.running}
        return ", ".join(f"{n} {usage.told(pids.get(n, 0))}" for n, usage in self._usage.items())

    # ------------------------------------------------------------------------------ afterwards

    async def _heal(self) -> None:
        """What still is wrong is made right: links, nodes that ended, devices."""
        self.say("the timeline is over; everything is healed")
        await self._wait("the links are healed", self.pair.heal())
        for name, node in self.pair.nodes.items():
            if not node.program.running:
                ended = f"node {name} had ended by itself: {node.program.last_words()[-1_000:]}"
                self.found.broken.append((ended, time.time_ns()))
                await self._wait(f"node {name} is started again", node.start())

    async def _settle(self) -> None:
        """Wait until all is as it must be; what does not come about in time is a finding."""
        pair, run = self.pair, self.run
        await self._wait("one Main, the other synced", pair.until_paired(PATIENCE_S))
        run.to_ns = time.time_ns()
        run.acts.sort(key=lambda act: act.begun_ns)
        if verdicts.may_split(self._settings):
            run.splits = verdicts.splits(run.acts, SPLITTING, run.looks, run.to_ns)
        covered = pair.until_complete(run.to_ns, PATIENCE_S)
        await self._wait("both nodes know all through the end", covered)
        logging = with_logs(pair.plant)
        if logging:  # of nobody else a gap can be filled
            filled = pair.until_filled(run.from_ns, run.to_ns, PATIENCE_S, logging)
            await self._wait("windback has tried all gaps", filled)
        await self._wait("both journals are equal", pair.until_equal(PATIENCE_S))
        with suppress(ProgramError):  # a busy machine may let one question go unanswered
            main = await self.node(MAIN)
            self.found.main = main.name if main is not None else ""

    async def gather(self) -> None:
        """Bring what is judged; what breaks here leaves judges without a ground, not no run."""
        await self._patterns.stop()
        self.found.written = self._patterns.written
        try:
            await gather(AskedPair(self.pair), self.run, self.found)
        except Exception as error:  # whatever it is, the recording must not be lost with it
            self.say(f"gathering broke off: {error!r}\n{traceback.format_exc()}")
            self.found.verdicts.clear()
            self.found.histories = 0
            self.found.lacks.update(dict.fromkeys(NODES, f"gathering broke off: {error!r}"))
        if self._foreign is not None:
            self.found.read_back = await self._foreign.read_back(self.run.to_ns, self.found.stored)

    async def _wait(self, what: str, coming: Any) -> None:
        try:
            await coming
            self.say(what)
        except (ProgramError, OSError, ValueError) as error:
            text = f"{what}: did not come about: {error}"
            self.say(text.splitlines()[0])
            self.found.waits.append((text[:2_000], time.time_ns()))


SPLITTING: Final = frozenset(word for word, entry in WORDS.items() if entry.shape.splits)


async def _until(moment_s: float) -> None:
    """Wait for a moment of the loop's clock."""
    await asyncio.sleep(max(0.0, moment_s - asyncio.get_running_loop().time()))
