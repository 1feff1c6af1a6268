"""The shell that runs a method of reading a log on a unit: its requests, its waits, its ending.

Live polling comes first: each request awaits its turn. One request holds the line at a time, as
for everything else. Nothing leaves when this node may not speak.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator
from typing import Final

from drivers.modbus import frames
from drivers.modbus.log.ops import (
    Answer,
    Call,
    GivenUp,
    Learn,
    Op,
    Read,
    Reading,
    Refusal,
    Release,
    Wait,
    Write,
)
from drivers.modbus.pdu import RawCall, RawRequest
from drivers.modbus.unit import Unit
from gateway.driver import DriverContext, LogPage, Turn
from gateway.errors import DeviceError, LinkError, LogUnavailable, Refused
from gateway.model import NS_PER_MS, NS_PER_S

OPERATIONS_MAX: Final = 20_000
"""For one page: each of its records may cost a few; a method that needs more is astray."""
RELEASES_MAX: Final = 4
_ASTRAY_NS: Final = 60 * NS_PER_S
_SLOW: Final = 0.9
"""A request is expected to take as long as all but the slowest tenth."""


async def read_pages(
    reading: Reading,
    unit: Unit,
    context: DriverContext,
    turn: Turn,
    fact: str,
) -> AsyncGenerator[LogPage, None]:
    """Run a method and hand over its pages; closing this gives back what it locked.

    `fact` is the name under which the device keeps what is learned. Raises DeviceError, and
    LogUnavailable for a method that finds no end.
    """
    performer = _Performer(unit, context, turn, fact)
    told: Answer | Refusal | None = None
    failure: DeviceError | None = None
    operations = 0
    running = True
    try:
        while True:  # bounded: each round is a page of a bounded read, or counts as an operation
            try:
                op = reading.send(told) if failure is None else reading.throw(failure)
            except StopIteration:
                running = False
                return
            except BaseException:  # whatever it is: the method has ended, and is not asked to
                running = False
                raise
            told = failure = None
            if isinstance(op, LogPage):
                operations = 0
                yield op
                continue
            operations += 1
            if operations > OPERATIONS_MAX:
                raise LogUnavailable(f"no page after {OPERATIONS_MAX} operations", _ASTRAY_NS)
            try:
                told = await performer.carry_out(op)
            except DeviceError as error:
                failure = error
    finally:
        if running:
            await _give_up(reading, performer)


async def _give_up(reading: Reading, performer: _Performer) -> None:
    """End a method before its time: it may give back its lock and do nothing else."""
    with contextlib.suppress(StopIteration, GivenUp, DeviceError):
        op = reading.throw(GivenUp())
        for _ in range(RELEASES_MAX):
            if not isinstance(op, Release):
                break
            await performer.carry_out(op)
            op = reading.send(None)
    with contextlib.suppress(RuntimeError):
        reading.close()


class _Performer:
    """Carries out one operation at a time."""

    def __init__(
        self,
        unit: Unit,
        context: DriverContext,
        turn: Turn,
        fact: str,
    ) -> None:
        self._unit = unit
        self._context = context
        self._turn = turn
        self._fact = fact

    async def carry_out(self, op: Op) -> Answer | Refusal | None:
        """What came of an operation. Raises DeviceError when the device did not answer."""
        if isinstance(op, Wait):
            await asyncio.sleep(op.ns / NS_PER_S)
            return None
        if isinstance(op, Learn):
            self._context.learned(self._unit.spec.name, self._fact, op.fact)
            return None
        if isinstance(op, Release):
            await self._release(op)
            return None
        if not isinstance(op, Call):
            size = op.size if isinstance(op, Read) else len(op.words)
            if not 0 <= op.address <= 0x10000 - size:
                raise LogUnavailable(
                    f"registers {op.address} x {size} end beyond 65535", _ASTRAY_NS
                )
        await self._may_speak()
        return await self._ask(op)

    async def _may_speak(self) -> None:
        """Wait for the turn of one request. Raises LinkError when this node may not speak."""
        unit = self._unit
        slow_ms = unit.diagnostics.percentile_ms(_SLOW)
        expected_ns = unit.settings.timeout_ns // 10 if slow_ms is None else slow_ms * NS_PER_MS
        await self._turn(int(expected_ns))
        if not self._context.may_send():
            raise LinkError("this node may not speak to the field now")

    async def _ask(self, op: Read | Write | Call) -> Answer | Refusal:
        unit = self._unit
        try:
            if isinstance(op, Read):
                data = await self._read(op)
            elif isinstance(op, Write):
                await unit.send(_write(unit, op))
                data = b""
            else:
                raw = RawCall(unit.settings.unit_id, op.function, op.payload)
                data = await (unit.once if op.once else unit.read)(raw, op.size)
        except Refused as refused:
            if refused.code in frames.DEAD_TARGET:
                raise
            return Refusal(refused.code, unit.asked_ns, unit.answered_ns)
        words: tuple[int, ...] = ()
        if isinstance(op, Read):
            words, data = struct.unpack(f">{op.size}H", data), b""
        return Answer(words, data, unit.asked_ns, unit.answered_ns)

    async def _read(self, op: Read) -> bytes:
        unit = self._unit
        function = unit.layout.function(op.area)
        payload = frames.read_payload(op.address, op.size)
        size = frames.read_size(function, op.size)
        if not op.once:
            return await unit.read(RawRequest(unit.settings.unit_id, function, payload), size)
        # As a call it will never be asked to find out whether the line is in step again.
        reply = await unit.once(RawCall(unit.settings.unit_id, function, payload), size + 1)
        return frames.read_data(function, size, reply)

    async def _release(self, op: Release) -> None:
        """Give back a lock, whatever became of the read."""
        for write in op.writes:
            if self._context.may_send():
                with contextlib.suppress(DeviceError):
                    await self._unit.send(_write(self._unit, write))


def _write(unit: Unit, op: Write) -> RawRequest:
    if len(op.words) == 1:
        function, payload = frames.WRITE_REGISTER, frames.register_payload(op.address, op.words[0])
    else:
        function, payload = frames.WRITE_REGISTERS, frames.registers_payload(op.address, op.words)
    return RawRequest(unit.settings.unit_id, function, payload)
