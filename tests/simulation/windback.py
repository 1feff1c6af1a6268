"""A node's windback: the real runner, planner and driver of logs, on the simulated field and store.

It is what gateway/running.py, gateway/reign.py and gateway/app.py make of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import JournalError
from gateway.journal.records import Batch, Body, Event, Fact, Fill, Record
from gateway.model import NS_PER_MS, NS_PER_S, Gap, Position
from gateway.pair.roles import PeerView
from gateway.windback.forgetting import ForgetPorts
from gateway.windback.reading import Ports
from tests.simulation.declared import gaps_now, told_fills
from tests.simulation.loglines import LogLines
from tests.simulation.logs import Logged
from tests.simulation.loop import Loop

if TYPE_CHECKING:
    from tests.simulation.node import Process

ALONE: Final = "with its records on this node only"
COMMIT_S: Final = 5.0
LOOKUP_NS: Final = 20 * NS_PER_MS
"""What a reader of the journal takes at most."""


class SimWindback:
    """Windback of one process; nothing happens in it unless devices keep logs."""

    def __init__(self, process: Process, logs: Mapping[str, Logged]) -> None:
        self.process = process
        self.loop = Loop(process.later, process.clock.monotonic_ns, process.problem)
        self._logged = logs
        self.alone = False
        """Whether it was told that a log is acknowledged with its records on this node only."""
        self._lines = LogLines(process, logs, self.loop, self._learned, self._alarm)
        self.runner = process.parts.runner(self._ports(), process.parts.forgetting(self._forget()))
        if logs:
            process.store.on_commit.append(self._committed)

    def _ports(self) -> Ports:
        process = self.process
        return Ports(
            clock=process.clock,
            devices=lambda: self._lines.devices,
            revision=lambda: process.field.outcomes.revision,
            answers=self._answers,
            logs=self._lines.specs,
            read_log=self._lines.read_log,
            gaps=self._gaps,
            fills=self._fills,
            floor_ns=lambda: process.store.kept.born_ns or process.clock.utc_ns(),
            append=self._append,
            room=self._room,
            alarm=self._alarm,
            refused=self._refused,
        )

    def _forget(self) -> ForgetPorts:
        process = self.process
        return ForgetPorts(
            clock=process.clock,
            node=process.node,
            safe=self._safe,
            commit=self._commit,
            acknowledge=self._lines.acknowledge,
            alarm=self._alarm,
        )

    # ------------------------------------------------------------------------------ the reign

    def begin(self) -> None:
        """A reign, or a revision, begins."""
        if self._logged:
            self.loop.enter(self.runner.begin)

    def halt(self) -> None:
        """The reign ends."""
        self.loop.enter(self.runner.halt)

    def clock_stepped(self) -> None:
        """The clock was set."""
        self.loop.enter(self.runner.clock_stepped)

    def kill(self) -> None:
        """The process is dead."""
        self.loop.kill()

    def _committed(self, records: Sequence[Record], stored: bool) -> None:
        term = self.process.store.term
        own = partial(_is_of, term)
        self.loop.enter(self.runner.committed, records, own)

    def _answers(self, device: str) -> bool:
        field = self.process.field
        return field.polling and field.outcomes.states[device].answers

    def _refused(self) -> str | None:
        machine, now_ns = self.process.machine, self.process.clock.monotonic_ns()
        if machine.view(now_ns) is PeerView.DEAD:
            return None
        return machine.writes_proven(now_ns, False)

    # ----------------------------------------------------------------------------- the journal

    def _append(self, body: Body) -> asyncio.Future[Record]:
        future: asyncio.Future[Record] = self.loop.create_future()
        process = self.process
        if not process.alive or process.store.refuses(body):
            if process.alive and isinstance(body, Batch) and process.field.polling:
                process.field.store_changed(body.requested_ns)
            future.set_exception(JournalError("a node that does not reign collects nothing"))
            future.exception()
            return future
        ticket = process.store.append(body)

        def then(error: str | None) -> None:
            if future.done():
                return
            if error is None and ticket.record is not None:
                future.set_result(ticket.record)
            else:
                future.set_exception(JournalError(error or "it has no place"))
                future.exception()

        ticket.then.append(then)
        return future

    async def _commit(self, body: Body) -> object:
        future = self._append(body)
        done, _ = await asyncio.wait([future], timeout=COMMIT_S)
        if not done:
            raise JournalError("the store takes no records")
        return future.result()

    async def _room(self) -> None:
        await asyncio.sleep(0)

    async def _lookup(self) -> None:
        took_ns = self._lines.dice.randint(0, LOOKUP_NS)
        await asyncio.sleep(took_ns / NS_PER_S)  # paces: of the world, which has its own time

    async def _gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        await self._lookup()
        return gaps_now(self.process.store, self.process.clock.utc_ns(), device, from_ns, to_ns)

    async def _fills(self, device: str, from_ns: int, to_ns: int) -> list[Fill]:
        await self._lookup()
        found = told_fills(self.process.store.disk.connection, device, from_ns, to_ns)
        return [written.fill for written in found]

    async def _safe(self, position: Position, both: bool) -> bool:
        process = self.process
        process.store.disk.make_durable()
        if not both:
            return True
        round_trip_ns = 2 * process.net.delay_ns
        await asyncio.sleep(round_trip_ns / NS_PER_S)  # paces: of the world
        peer = process.peer()
        cut = process.net.dialable() is None or process.is_deaf or not process.pulls.has_all
        if cut or peer is None or peer.host.frozen or not peer.store.holdings.holds(position):
            return False
        peer.store.disk.make_durable()
        return True

    def _alarm(self, device: str, severity: int, text: str) -> None:
        process = self.process
        if process.alive:
            self.alone = self.alone or ALONE in text
            process.tell(f"{device}: {text}")
            process.store.append(Event(device, severity, text, process.clock.utc_ns()))

    def _learned(self, device: str, key: str, value: Any) -> None:
        process = self.process
        if process.alive and process.store.kept.facts.get((device, key)) != value:
            process.store.append(Fact(device, key, value, process.clock.utc_ns()))


def _is_of(term: object, record: Record) -> bool:
    return record.position.term == term
