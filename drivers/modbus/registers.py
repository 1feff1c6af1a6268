"""Holding registers of one unit on a small connection of their own: for witnesses (rules.md 6).

Nothing is retried and nothing is gated: a Standby speaks to witnesses too. A request that was not
answered costs the connection, so that its late bytes have nowhere to arrive.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

from drivers.modbus import frames
from drivers.modbus.pdu import RawRequest, data_of
from drivers.modbus.session import Session
from drivers.modbus.settings import ModbusDevice, ModbusLine, effective
from gateway.driver import DriverContext, LineSpec, Registers
from gateway.errors import InvalidReply, LinkError, Refused
from gateway.model import NS_PER_MS
from profiles.schema import Area


class OpenRegisters:
    """Fulfils gateway.driver.Registers; connects with the first request."""

    def __init__(self, line: LineSpec, device: str, context: DriverContext) -> None:
        spec = next(each for each in line.devices if each.name == device)
        settings: ModbusLine = line.settings
        own: ModbusDevice = spec.settings
        holds = effective(spec)
        self._barred = _barred(settings)
        self._unit_id = own.unit_id
        self._timeout_ns = own.timeout_ns
        self._gap_ns = holds.limits.min_gap_ms * NS_PER_MS
        self._ignore_tid = holds.quirks.ignore_tid
        self._read_function = frames.READ_FUNCTION[Area.HOLDING]
        self._only_fc16 = False
        self._lock = asyncio.Lock()
        self._session = Session(
            settings, line.port, context.clock, context.base_dir, context.bind, lambda: True
        )

    @property
    def connection(self) -> int:
        """How often it was connected."""
        return self._session.generation

    async def read(self, address: int, count: int) -> list[int]:
        """`count` registers from `address` on. Raises DeviceError."""
        payload = frames.read_payload(address, count)
        request = RawRequest(self._unit_id, self._read_function, payload)
        data = await self.ask(request, frames.read_size(self._read_function, count))
        return list(struct.unpack(f">{count}H", data))

    async def write(self, address: int, values: Sequence[int]) -> None:
        """Write registers with FC6 or FC16. Raises DeviceError.

        A device that does not know FC6 is asked with FC16: what is refused was not carried out.
        """
        if len(values) == 1 and not self._only_fc16:
            payload = frames.register_payload(address, values[0])
            request = RawRequest(self._unit_id, frames.WRITE_REGISTER, payload)
            try:
                await self.ask(request, None)
                return
            except Refused as refused:
                if refused.code != 1:
                    raise
                self._only_fc16 = True
        payload = frames.registers_payload(address, values)
        await self.ask(RawRequest(self._unit_id, frames.WRITE_REGISTERS, payload), None)

    async def ask(self, request: RawRequest, size: int | None) -> bytes:
        """Send any request once; the data of its answer. Raises DeviceError."""
        if self._barred:
            raise LinkError(self._barred, "Name a PLC that both nodes reach by TCP or TLS")
        async with self._lock:
            if not self._session.connected:
                await self._session.open(self._timeout_ns)
            answered = False
            try:
                reply = await self._session.transact(
                    request, size, self._timeout_ns, self._gap_ns, self._ignore_tid
                )
                data = data_of(request, size, reply)
                answered = True
            except Refused:
                answered = True
                raise
            except InvalidReply:
                self._session.distrust()
                raise
            finally:
                if not answered:
                    self._session.recover()
            return data

    def close(self) -> None:
        """Throw the connection away."""
        self._session.abort()


def _barred(settings: ModbusLine) -> str:
    """Why a line can't carry a witness: what may repeat, or meet another master, is no proof."""
    if settings.rtu is not None:
        return "a witness on a serial line can't be asked by both nodes"
    if settings.udp is not None:
        return "a witness by UDP proves nothing: datagrams may arrive twice, or long after"
    return ""


def open_registers(line: LineSpec, device: str, context: DriverContext) -> Registers:
    """The holding registers of a device on `line`; raises nothing before the first request."""
    return OpenRegisters(line, device, context)
