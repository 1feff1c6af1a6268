"""A node's windback: the real runner, planner and driver of logs, on the simulated field and store.

It is what gateway/running.py and gateway/reign.py make of it. The driver's unit, its method and the
shell between are real, too; what goes over the wire arrives, or doesn't, as the plant has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from drivers.modbus.log.methods import FACT, Logs
from drivers.modbus.log.reader import read_pages
from drivers.modbus.pdu import RawReply, RawRequest, data_of
from drivers.modbus.unit import Unit
from gateway.driver import DeviceSpec, DriverContext, LogPage, LogSpec, LogWanted
from gateway.errors import JournalError, LinkError, LogUnavailable, ReplyTimeout
from gateway.journal.records import Batch, Body, Event, Fact, Fill, Record
from gateway.model import NS_PER_MS, NS_PER_S, Gap, Position
from gateway.pair.roles import PeerView
from gateway.windback.forgetting import ForgetPorts
from gateway.windback.reading import Ports
from tests.simulation.agenda import EPOCH_NS
from tests.simulation.declared import gaps_now, told_fills
from tests.simulation.field import TIMEOUT_NS
from tests.simulation.logs import Logged, specs
from tests.simulation.loop import Loop
from tests.simulation.plant import Request, devices

if TYPE_CHECKING:
    from tests.simulation.node import Process

COMMIT_S: Final = 5.0
LOOKUP_NS: Final = 20 * NS_PER_MS
"""What a reader of the journal takes at most."""


class SimWindback:
    """Windback of one process; nothing happens in it unless devices keep logs."""

    def __init__(self, process: Process, logs: Mapping[str, Logged]) -> None:
        self.process = process
        self.loop = Loop(process.later, process.clock.monotonic_ns, process.problem)
        known = specs({device: logged.kept for device, logged in logs.items()})
        self._devices = {spec.name: known.get(spec.name, spec) for spec in devices()}
        self._logged = logs
        self.dice = random.Random(process.agenda.random.getrandbits(32)) if logs else random
        self._logs = {name: Logs(spec) for name, spec in known.items()}
        self._units = {name: self._unit(spec) for name, spec in known.items()}
        self.runner = process.parts.runner(self._ports(), process.parts.forgetting(self._forget()))
        if logs:
            process.store.on_commit.append(self._committed)

    def _ports(self) -> Ports:
        process = self.process
        return Ports(
            clock=process.clock,
            devices=lambda: self._devices,
            revision=lambda: process.field.outcomes.revision,
            answers=self._answers,
            logs=self._specs,
            read_log=self._read_log,
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
            acknowledge=self._acknowledge,
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
        took_ns = self.dice.randint(0, LOOKUP_NS)
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
        cut = process.net.dialable() is None or process.is_deaf
        if cut or peer is None or peer.host.frozen or not peer.store.holdings.holds(position):
            return False
        peer.store.disk.make_durable()
        return True

    def _alarm(self, device: str, severity: int, text: str) -> None:
        process = self.process
        if process.alive:
            process.tell(f"{device}: {text}")
            process.store.append(Event(device, severity, text, process.clock.utc_ns()))

    # ------------------------------------------------------------------------------- the driver

    def _context(self) -> DriverContext:
        process = self.process
        return DriverContext(
            clock=process.clock,
            rng=random.Random(0),
            base_dir=Path(),
            data_dir=Path(),
            bind=None,
            facts=process.store.kept.facts,
            learned=self._learned,
            alarm=self._alarm,
            may_send=lambda: process.alive and process.may_send(),
        )

    def _learned(self, device: str, key: str, value: Any) -> None:
        process = self.process
        if process.alive and process.store.kept.facts.get((device, key)) != value:
            process.store.append(Fact(device, key, value, process.clock.utc_ns()))

    def _unit(self, spec: DeviceSpec) -> Unit:
        return Unit(spec, self._context(), self._exchange, serial=False, shared=False)

    def _specs(self, device: str) -> Sequence[LogSpec]:
        logs = self._logs.get(device)
        return () if logs is None else logs.specs(self.process.store.kept.facts)

    async def _read_log(
        self, device: str, wanted: LogWanted, share: float
    ) -> AsyncGenerator[LogPage, None]:
        process, logs = self.process, self._logs[device]
        turns = process.field.turns_of(device)
        if turns is None:
            raise LogUnavailable("nothing is polled", NS_PER_S)
        fact = process.store.kept.facts.get((device, FACT + wanted.log))
        job = logs.job(wanted, fact, process.clock.utc_ns())
        job = replace(job, page_records=self._logged[device].kept.page)
        reading = logs.read(job)

        async def turn(expected_ns: int) -> None:
            await turns.turn(expected_ns, share)

        name = FACT + wanted.log
        pages = read_pages(reading, self._units[device], self._context(), turn, name)
        async with contextlib.aclosing(pages):
            async for page in pages:
                yield page

    async def _acknowledge(self, device: str, page: LogPage) -> None:
        raise AssertionError(f"a ring forgets by itself: {device} {page.from_ns}")

    async def _exchange(self, unit: Unit, raw: RawRequest, size: int | None) -> bytes:
        """One request and its reply, or none: nobody else has the line meanwhile."""
        process, device = self.process, unit.spec.name
        turns = process.field.turns_of(device)
        if turns is None or not process.alive:
            raise LinkError("the line is closed")
        async with turns.wire:
            await turns.idle()
            if not process.alive or not process.may_send():
                raise LinkError("this node may not speak to the field now")
            try:
                return await self._over_the_wire(unit, raw, size, device)
            finally:
                process.later(0, process.field.line_free, device)

    async def _over_the_wire(
        self, unit: Unit, raw: RawRequest, size: int | None, device: str
    ) -> bytes:
        process, agenda = self.process, self.process.agenda
        conditions = process.conditions
        unit.asked_ns = process.clock.utc_ns()
        request = Request(device, process.node, agenda.now_ns, of_log=True)
        process.watch(request)
        arrived: asyncio.Future[bytes] = self.loop.create_future()
        pdu = bytes([raw.function_code]) + raw.payload
        dice = self.dice

        def there() -> None:
            request.arrived_ns = agenda.now_ns
            reply = self._logged[device].answer(pdu, EPOCH_NS + agenda.now_ns)
            back_ns = dice.randint(conditions.field_delay_ns // 2, conditions.field_delay_ns)
            process.later(back_ns, back, reply)

        def back(reply: bytes) -> None:
            if not arrived.done():
                arrived.set_result(reply)

        lost = dice.random() < conditions.field_loss
        if not lost and process.plant.reaches(process.node, device):
            agenda.at(
                dice.randint(conditions.field_delay_ns // 2, conditions.field_delay_ns), there
            )
        try:
            async with asyncio.timeout(TIMEOUT_NS / NS_PER_S):
                reply = await arrived
        except TimeoutError as error:
            raise ReplyTimeout("no answer", TIMEOUT_NS / NS_PER_MS) from error
        unit.answered_ns = process.clock.utc_ns()
        return data_of(raw, size, RawReply(reply[0], reply[1:]))


def _is_of(term: object, record: Record) -> bool:
    return record.position.term == term
