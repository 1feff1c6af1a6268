"""The drivers of logs of one process: requests that leave between the scans, and what they bring.

Of a ring all is real but the wire: unit, method, shell. A log that forgets what is acknowledged has
no driver yet that ships, so its method is here, of the real pager.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from drivers.modbus.log.methods import FACT, Logs
from drivers.modbus.log.paging import Pager
from drivers.modbus.log.reader import read_pages
from drivers.modbus.log.records import Entry
from drivers.modbus.log.times import clock_reading
from drivers.modbus.pdu import RawReply, RawRequest, data_of
from drivers.modbus.unit import Unit
from gateway.driver import DeviceSpec, DriverContext, LogPage, LogSpec, LogWanted
from gateway.errors import LinkError, LogUnavailable, ReplyTimeout
from gateway.model import NS_PER_MS, NS_PER_S
from tests.simulation.agenda import EPOCH_NS
from tests.simulation.field import TIMEOUT_NS, Turns
from tests.simulation.logs import Logged, specs
from tests.simulation.loop import Loop
from tests.simulation.plant import Request, devices

if TYPE_CHECKING:
    from tests.simulation.node import Process

_T = TypeVar("_T")
RECORDS_A_REQUEST: Final = 6
EXPECTED_NS: Final = 30 * NS_PER_MS
"""What a request is expected to take."""


class LogLines:
    """The devices that keep logs, as one process reads them."""

    def __init__(
        self,
        process: Process,
        logged: Mapping[str, Logged],
        loop: Loop,
        learned: Callable[[str, str, Any], None],
        alarm: Callable[[str, int, str], None],
    ) -> None:
        self._process = process
        self._logged = logged
        self._loop = loop
        self._learned = learned
        self._alarm = alarm
        self.dice = random.Random(process.agenda.random.getrandbits(32)) if logged else random
        known = specs({device: each.kept for device, each in logged.items()})
        self.devices = {spec.name: known.get(spec.name, spec) for spec in devices()}
        self._logs = {name: Logs(spec) for name, spec in known.items()}
        self._units = {name: self._unit(spec) for name, spec in known.items()}

    def _context(self) -> DriverContext:
        process = self._process
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

    def _unit(self, spec: DeviceSpec) -> Unit:
        return Unit(spec, self._context(), self._exchange, serial=False, shared=False)

    def specs(self, device: str) -> Sequence[LogSpec]:
        """The logs of a device."""
        if device not in self._logged:
            return ()
        kept = self._logged[device].kept
        found = self._logs[device].specs(self._process.store.kept.facts)
        if not kept.forgets:
            return found
        return [
            replace(
                found[0],
                name="fifo",
                depth_records=kept.capacity,
                stateful=True,
                destructive=True,
                order="oldest",
            )
        ]

    # --------------------------------------------------------------------------------- reading

    async def read_log(
        self, device: str, wanted: LogWanted, share: float
    ) -> AsyncGenerator[LogPage, None]:
        """Read a stretch of a log, page by page. Raises DeviceError, LogUnavailable."""
        turns = self._process.field.turns_of(device)
        if turns is None:
            raise LogUnavailable("nothing is polled", NS_PER_S)
        turn = partial(_turn, turns, share)
        forgets = self._logged[device].kept.forgets
        read = self._read_fifo if forgets else self._read_ring
        async with contextlib.aclosing(read(device, wanted, turn)) as pages:
            async for page in pages:
                yield page

    async def _read_ring(
        self, device: str, wanted: LogWanted, turn: Callable[[int], Any]
    ) -> AsyncGenerator[LogPage, None]:
        process, logs, name = self._process, self._logs[device], FACT + wanted.log
        fact = process.store.kept.facts.get((device, name))
        run = f"{process.node}@{process.clock.since_ns}"
        job = logs.job(wanted, fact, process.clock.utc_ns(), run)
        job = replace(job, page_records=self._logged[device].kept.page)
        pages = read_pages(logs.read(job), self._units[device], self._context(), turn, name)
        async with contextlib.aclosing(pages):
            async for page in pages:
                yield page

    async def _read_fifo(
        self, device: str, wanted: LogWanted, turn: Callable[[int], Any]
    ) -> AsyncGenerator[LogPage, None]:
        """Ask for record after record from the oldest on; a page is what may be acknowledged."""
        clock, logged = self._process.clock, self._logged[device]
        numbers = [point.number for point in self.devices[device].points]
        pager: Pager | None = None
        number, newest = 0, 0
        while pager is None or (number <= newest and not pager.done):  # bounded by the log's depth
            await turn(EXPECTED_NS)
            sent_ns, page = await self._ask(device, partial(logged.page, number, RECORDS_A_REQUEST))
            if pager is None:
                reading = clock_reading(page.clock_ns, sent_ns, clock.utc_ns(), NS_PER_MS)
                kept = logged.kept
                pager = Pager(wanted, None, kept.resolution_ns, reading, sent_ns, kept.page)
            newest = page.newest
            entries = [
                Entry(n, stamp, 0, tuple((at, v, 0) for at, v in zip(numbers, vs, strict=True)))
                for n, stamp, vs in page.records
            ]
            number = entries[-1].number + 1 if entries and entries[-1].number else newest + 1
            pager.take(entries)
            for full in pager.pages():
                yield _to_forget(full, page.fullness)
        for last in pager.finish():
            yield _to_forget(last, page.fullness)

    async def acknowledge(self, device: str, page: LogPage) -> None:
        """Let a device forget what a page holds. Raises DeviceError."""
        await self._ask(device, partial(self._forget, device, int(page.acknowledge)))

    def _forget(self, device: str, through: int, true_ns: int) -> None:
        self._process.forgets(device, through, true_ns)
        self._logged[device].forget(through)

    # -------------------------------------------------------------------------------- the wire

    async def _exchange(self, unit: Unit, raw: RawRequest, size: int | None) -> bytes:
        """A request of a real unit, and its reply."""
        clock, device = self._process.clock, unit.spec.name
        pdu = bytes([raw.function_code]) + raw.payload
        unit.asked_ns, reply = await self._ask(device, partial(self._logged[device].answer, pdu))
        unit.answered_ns = clock.utc_ns()
        return data_of(raw, size, RawReply(reply[0], reply[1:]))

    async def _ask(self, device: str, answer: Callable[[int], _T]) -> tuple[int, _T]:
        """When a request was sent, and its reply; nobody else has the line meanwhile."""
        process = self._process
        turns = process.field.turns_of(device)
        if turns is None or not process.alive:
            raise LinkError("the line is closed")
        async with turns.wire:
            await turns.idle()
            if not process.alive or not process.may_send():
                raise LinkError("this node may not speak to the field now")
            try:
                return process.clock.utc_ns(), await self._over_the_wire(device, answer)
            finally:
                process.later(0, process.field.line_free, device)

    async def _over_the_wire(self, device: str, answer: Callable[[int], _T]) -> _T:
        process, agenda, dice = self._process, self._process.agenda, self.dice
        delay_ns = process.conditions.field_delay_ns
        request = Request(device, process.node, agenda.now_ns, of_log=True)
        process.watch(request)
        arrived: asyncio.Future[_T] = self._loop.create_future()

        def there() -> None:
            request.arrived_ns = agenda.now_ns
            reply = answer(EPOCH_NS + agenda.now_ns)
            process.later(dice.randint(delay_ns // 2, delay_ns), back, reply)

        def back(reply: _T) -> None:
            if not arrived.done():
                arrived.set_result(reply)

        lost = dice.random() < process.conditions.field_loss
        if not lost and process.plant.reaches(process.node, device):
            agenda.at(dice.randint(delay_ns // 2, delay_ns), there)
        try:
            async with asyncio.timeout(TIMEOUT_NS / NS_PER_S):
                return await arrived
        except TimeoutError as error:
            raise ReplyTimeout("no answer", TIMEOUT_NS / NS_PER_MS) from error


async def _turn(turns: Turns, share: float, expected_ns: int) -> None:
    await turns.turn(expected_ns, share)


def _to_forget(page: LogPage, fullness: float) -> LogPage:
    """A page of a log that forgets what is acknowledged."""
    last = None if page.next_record is None else page.next_record - 1
    return replace(page, acknowledge=last, fullness=fullness)
