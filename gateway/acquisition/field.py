"""The field of a node: its lines, its collector and its writer, idle or polling.

Idle (Standby) nothing is connected: drivers are loaded and lines built, so that a takeover opens
sockets only. One reign is `open`, then `drain` or `halt`, then `close`, after which fresh lines are
ready for the next. A revision is prepared at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from gateway.acquisition.begin import Begin
from gateway.acquisition.carried import CarriedLine, same_device, same_line
from gateway.acquisition.collector import DRAIN_S, Collector
from gateway.acquisition.house import House
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import MaintenanceState
from gateway.acquisition.rehearsal import probe, rehearse
from gateway.acquisition.writes import HANDS_OVER, Writer
from gateway.driver import (
    DeviceSpec,
    Line,
    LineSpec,
    LogPage,
    LogSpec,
    LogWanted,
    Rehearsal,
)
from gateway.ending import end

__all__ = ["Begin", "Field"]

log = logging.getLogger(__name__)

PROBE_S: Final = 3.0
"""How long a probe of the field may take."""


class _Phase(Enum):
    IDLE = "idle"
    POLLING = "polling"
    DRAINING = "draining"
    HALTED = "halted"
    CLOSING = "closing"


class _Prepared(NamedTuple):
    """A revision as it is handed in."""

    devices: Sequence[DeviceSpec]
    lines: Sequence[LineSpec]
    live: LiveTable
    maintenance: MaintenanceState
    revision: int


class Field:
    """All that this node has to do with devices.

    `open_line` makes a line that connects at its first scan. `may_write` gives the reason why
    nothing may be written now, or None. `reached` is told when the first device answers, and when
    none of those in service answers any more. `collector` and `writer` are the same objects for
    the field's whole life.
    """

    def __init__(
        self,
        open_line: Callable[[LineSpec], Line],
        house: House,
        may_write: Callable[[], str | None],
        reached: Callable[[bool], None],
    ) -> None:
        self._open_line = open_line
        self._house = house
        self._phase = _Phase.IDLE
        self._plan = _Prepared((), (), LiveTable(()), MaintenanceState(), 0)
        self._lines: dict[str, CarriedLine] = {}
        self._compared: dict[str, tuple[LineSpec, LineSpec, bool]] = {}
        self._stale: set[str] = set()
        self._unready: dict[str, None] = {}
        self._readying: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._next: Begin | None = None
        self._ends = False
        plan = self._plan
        self.collector = Collector(
            plan.devices, (), plan.live, plan.maintenance, 0, house, reached=reached
        )
        self.writer = Writer(self.collector, house, may_write)
        self.writer.halt()

    # ------------------------------------------------------------------------------ looking

    @property
    def polling(self) -> bool:
        """Whether a reign is open: neither halted nor closed, though it may be handed over."""
        return self._phase in (_Phase.POLLING, _Phase.DRAINING)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Every task that must not end by itself; none while idle."""
        return self.collector.tasks

    # ------------------------------------------------------------------------------ revisions

    def prepare(
        self,
        devices: Sequence[DeviceSpec],
        lines: Sequence[LineSpec],
        live: LiveTable,
        maintenance: MaintenanceState,
        revision: int,
    ) -> None:
        """Take up a revision of the configuration, at once.

        While polling, lines that are the same but for the numbers of their points go on without a
        scan missed or doubled; others are closed, and those that replace them opened. Maintenance
        of what the revision lacks is dropped. What `open_line` raises leaves all as it was.
        """
        self._plan = _Prepared(devices, lines, live, maintenance, revision)
        if self._phase is _Phase.IDLE:
            self._prepare_idle()
        elif self._phase is _Phase.POLLING:
            self._swap()

    async def compare(self, lines: Sequence[LineSpec]) -> None:
        """Find out which of `lines` are the same as now, ahead of `prepare`, a line a turn.

        Optional: to compare ten thousand points takes too long for one turn of the loop.
        """
        for spec in lines:
            if (known := self._lines.get(spec.name)) is not None:
                self._is_same(known.spec, spec)
                await asyncio.sleep(0)

    def _is_same(self, one: LineSpec, other: LineSpec) -> bool:
        found = self._compared.get(one.name)
        if found is None or found[0] is not one or found[1] is not other:
            found = self._compared[one.name] = (one, other, same_line(one, other))
        return found[2]

    def _take_lines(self) -> set[str]:
        """Have the lines of the prepared revision, carried over or opened; who is on the former."""
        before, plan = self._lines, self._plan
        carried = {
            spec.name
            for spec in plan.lines
            if spec.name in before and self._is_same(before[spec.name].spec, spec)
        }
        opened = {
            spec.name: CarriedLine(self._open_line(spec))
            for spec in plan.lines
            if spec.name not in carried
        }
        for spec in plan.lines:
            if spec.name in carried:
                before[spec.name].carry(spec)
        self._lines = {
            spec.name: before[spec.name] if spec.name in carried else opened[spec.name]
            for spec in plan.lines
        }
        self._compared.clear()
        return {d.name for spec in plan.lines if spec.name in carried for d in spec.devices}

    def _prepare_idle(self) -> None:
        self._take_lines()
        self._stand_ready()

    def _stand_ready(self) -> None:
        plan = self._plan
        self.collector.ready(
            plan.devices, list(self._lines.values()), plan.live, plan.maintenance, plan.revision
        )
        self._ready_soon(self._lines)

    def _swap(self) -> None:
        kept = self._take_lines()
        plan, known = self._plan, self.collector.devices
        kept |= {
            d.name
            for d in plan.devices
            if d.name not in kept and d.name in known and same_device(known[d.name], d)
        }
        lines = list(self._lines.values())
        self.collector.swap(plan.devices, lines, plan.live, plan.maintenance, plan.revision, kept)
        self.writer.revised()

    # ------------------------------------------------------------------------------ idle lines

    def learned(self, device: str) -> None:
        """A fact about a device was learned by the other node: its idle line is built with it."""
        if self._phase is _Phase.IDLE and device in self.collector.devices:
            name = self.collector.devices[device].line
            self._stale.add(name)
            self._ready_soon([name])

    async def readied(self) -> None:
        """Wait until every idle line is built and has made its plans: then an open is quick."""
        while self._readying is not None and not self._readying.done():
            await asyncio.shield(self._readying)

    def _ready_soon(self, names: Iterable[str]) -> None:
        self._unready |= dict.fromkeys(names)
        if self._readying is None or self._readying.done():
            self._readying = asyncio.create_task(self._make_ready(), name="idle lines")

    async def _make_ready(self) -> None:
        """Build what is stale and make the plans, a device a turn: all at once takes too long."""
        await asyncio.sleep(0)
        while self._phase is _Phase.IDLE and self._unready:
            name = next(iter(self._unready))
            del self._unready[name]
            if name in self._stale or (name in self._lines and self._lines[name].renumbered):
                self._rebuild(name)
            line = self._lines.get(name)
            for device in line.spec.devices if line is not None else ():
                await asyncio.sleep(0)
                if self._phase is not _Phase.IDLE or self._lines.get(name) is not line:
                    break
                assert line is not None
                line.prepare(device.name)

    def _rebuild(self, name: str) -> None:
        self._stale.discard(name)
        if name in self._lines:
            line = CarriedLine(self._open_line(self._lines[name].spec))
            self._lines[name] = line
            self.collector.lines.replace(line)

    async def _build_all(self) -> None:
        """Lines for the next reign, one a turn of the loop, of the newest revision."""
        plan = None
        self._stale.clear()
        self._unready.clear()
        while plan is not self._plan:
            plan, self._lines = self._plan, {}
            for spec in plan.lines:
                if plan is self._plan:
                    self._lines[spec.name] = CarriedLine(self._open_line(spec))
                    await asyncio.sleep(0)

    # ------------------------------------------------------------------------------ a reign

    def open(self, begin: Begin) -> None:
        """Poll from now on.

        After a drain without a close the reign goes on, under a new term: what is late is due at
        once, and `begin` says nothing new. While a close is under way, as soon as it is done.
        """
        if self._phase is _Phase.DRAINING:
            self._phase = _Phase.POLLING
            self.collector.resume()
            if self.collector.outcomes.revision != self._plan.revision:
                self._swap()
            self.writer.begin()
        elif self._phase is _Phase.IDLE:
            for name in tuple(self._stale):
                self._rebuild(name)
            self._phase = _Phase.POLLING
            self.collector.start(begin)
            self.writer.begin()
        elif self._phase is not _Phase.POLLING:
            self._next = begin

    async def drain(self, patience_s: float = DRAIN_S) -> int:
        """Hand over: finish every scan instant that is due, start none after; give that time.

        The time (ns UTC) is what the next Main is granted. Everything said is committed when this
        returns, the last claim included. It takes no longer than twice `patience_s`: what does
        not answer is declared. A subscribed device is let go of at once, and its claim ends with
        its last sign of life: the next Main subscribes anew, and until then there is a hole.
        New writes are refused, those under way are waited for.
        """
        if self._phase is _Phase.POLLING:
            self._phase = _Phase.DRAINING
            self.writer.halt(HANDS_OVER)
        written = asyncio.ensure_future(self.writer.settled(patience_s))
        through_ns = await self.collector.drain(patience_s)
        await written
        return through_ns

    def halt(self) -> None:
        """The reign is over: no task issues another request, and no write is taken."""
        self._next = None
        if self._phase in (_Phase.POLLING, _Phase.DRAINING):
            self._phase = _Phase.HALTED
            self.writer.halt()
            self.collector.halt()

    async def close(self) -> None:
        """End the reign: writes are told, the last claim is made, every line is closed.

        A line that both nodes may be wired to (a serial one) is closed after the reply, or the
        time-out, of what was asked last. Fresh idle lines are ready afterwards. Idempotent.
        """
        if self._closing is None:
            if self._phase is _Phase.IDLE:
                return
            self._phase = _Phase.CLOSING
            self._closing = asyncio.create_task(self._close(), name="close the field")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            await self.writer.stop()
            await self.collector.stop()
            if not self._ends:
                await self._build_all()
        finally:
            self.writer.halt()
            self._closing = None
            self._phase = _Phase.IDLE
            if not self._ends:
                self._stand_ready()
        if self._next is not None:
            begin, self._next = self._next, None
            self.open(begin)

    async def stop(self) -> None:
        """End with the process: as `close`, and nothing is made ready for a next reign."""
        self._ends = True
        self._next = None
        await self.close()
        if self._readying is not None:
            await end([self._readying])

    def turn(self, why: str) -> None:
        """What is said from now on is of a new term of the same reign.

        To be called in the turn of the loop that asks the journal for the term: the last claim of
        the old one is made, every class's next scan stores every point, and no instant is without
        a claim. A subscription has a hole until its next sign of life. No-op while nothing is
        polled.
        """
        log.info("every stream begins anew: %s", why)
        self.collector.turn()

    # ------------------------------------------------------------------------------ windback

    def answers(self, device: str) -> bool:
        """Whether a device is polled by this node now, and answers."""
        state = self.collector.states.get(device)
        in_service = device not in self.collector.maintenance.disabled
        return self.polling and in_service and state is not None and state.answers

    def logs(self, device: str) -> Sequence[LogSpec]:
        """The logs that a device keeps by itself."""
        return self.collector.line_of(device).logs(device)

    def read_log(
        self, device: str, wanted: LogWanted, share: float
    ) -> AsyncGenerator[LogPage, None]:
        """Read a stretch of a device's own log, between its scans. Raises DeviceError."""
        poller = self.collector.poller_of(device)
        return poller.line.read_log(device, wanted, lambda ns: poller.turn(ns, share))

    async def acknowledge(self, device: str, page: LogPage) -> None:
        """Let a device forget what a page of its log holds. Raises DeviceError."""
        await self.collector.line_of(device).acknowledge(device, page)

    # ------------------------------------------------------------------------------ knocking

    async def probe(self) -> bool:
        """Whether any device answers; a node that polls knows, another one knocks once at each."""
        if self._phase is not _Phase.IDLE:
            return self.collector.outcomes.any_answers()
        return await probe(self.collector, PROBE_S)

    async def rehearse(self) -> list[Rehearsal]:
        """Knock at each device that allows it; a node that polls tells what polling says."""
        if self._phase is not _Phase.IDLE:
            return self.collector.outcomes.rehearsed()
        return await rehearse(self.collector)
