"""Knocking at a device once from the Standby: would it let us in, and if not, why not."""

from __future__ import annotations

import errno
from typing import Final

from drivers.modbus import frames
from drivers.modbus.pdu import RawRequest
from drivers.modbus.registers import OpenRegisters
from drivers.modbus.settings import ModbusLine
from drivers.modbus.unit import Unit
from gateway.driver import DriverContext, LineSpec, Rehearsal
from gateway.errors import DeviceError, InvalidReply, LinkError, Refused, ReplyTimeout

_CONNECTING: Final = (
    (
        (f"[Errno {errno.ECONNREFUSED}]", "refused"),
        "Nothing listens there, or the device has no connection free or admits only addresses that "
        "it knows: check `host:` and `port:`, then the device's own list",
    ),
    (
        tuple(f"[Errno {n}]" for n in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EINVAL)),
        "There is no way to it: check the address, this node's cable and routes, and `bind:`",
    ),
    (
        (f"[Errno {errno.EADDRNOTAVAIL}]",),
        "`bind:` in node.yaml is no address of this machine",
    ),
    (
        ("[Errno -2]", "[Errno -3]", "[Errno -5]"),
        "The name is not known on this node: write the address, or teach it the name",
    ),
    (
        ("no answer within",),
        "The device is off, elsewhere, behind a firewall, or has no connection free "
        "(the Main holds one)",
    ),
)
_CLOSED: Final = (
    "Its connections may be in use (the Main holds one), or it admits only addresses that it "
    "knows: free one, or add this node's address"
)
_UNIT: Final = (
    "Check `unit_id:`; a device that serves one connection at a time looks like this too "
    "while the Main holds it"
)


async def rehearse(line: LineSpec, unit: Unit, context: DriverContext) -> Rehearsal:
    """Connect, read one register, disconnect; never on a serial line."""
    name, settings = unit.spec.name, line.settings
    assert isinstance(settings, ModbusLine)
    if settings.rtu is not None:
        return Rehearsal(
            name,
            allowed=False,
            reached=False,
            detail="its serial line is the Main's alone: two masters would garble each other",
        )
    knock = Knock(line, unit, context)
    try:
        return await knock.carry_out()
    finally:
        knock.close()


class Knock(OpenRegisters):
    """One visit, with the reasons for a closed door."""

    def __init__(self, line: LineSpec, unit: Unit, context: DriverContext) -> None:
        super().__init__(line, unit.spec.name, context)
        self._barred = ""  # UDP may not vote, but it may be visited
        self._unit = unit

    async def carry_out(self) -> Rehearsal:
        """Ask one harmless thing."""
        name = self._unit.spec.name
        request, size = question(self._unit)
        try:
            await self.ask(request, size)
        except Refused as refused:
            if refused.code in frames.DEAD_TARGET:
                text = f"{self._session.peer}: {refused.message}"
                return Rehearsal(name, True, False, text, "The gateway before it can't reach it")
            text = f"{self._session.peer} answers ({refused.message})"
            return Rehearsal(name, True, True, text)
        except DeviceError as error:
            return self._failed(name, error)
        return Rehearsal(name, True, True, f"{self._session.peer} answers")

    def _failed(self, name: str, error: DeviceError) -> Rehearsal:
        connected, peer = self._session.generation > 0, self._session.peer
        if isinstance(error, ReplyTimeout):
            text = f"{peer}: unit {self._unit_id} gives {error.message}"
            return Rehearsal(name, True, False, text, _UNIT)
        if isinstance(error, InvalidReply):
            text = f"{peer} answers, but not as expected: {error.message}"
            return Rehearsal(name, True, False, text, "Check the port and the kind of line")
        if isinstance(error, LinkError) and connected:
            remedy = error.remedy or _CLOSED
            return Rehearsal(name, True, False, error.message, remedy)
        return Rehearsal(name, True, False, error.message, error.remedy or remedy_of(error.message))


def question(unit: Unit) -> tuple[RawRequest, int]:
    """A read that the device is asked anyhow, and that changes nothing in it."""
    for scan_class in unit.layout.scan_classes:
        for block in unit.layout.plan_of(scan_class, unit.refusals).blocks:
            if not any(block.maps[i].point.volatile for i in block.request.points):
                raw = block.raw
                return RawRequest(raw.dev_id, raw.function_code, raw.payload), block.size
    payload = frames.read_payload(0, 1)
    return RawRequest(unit.settings.unit_id, frames.READ_HOLDING, payload), 2


def remedy_of(reason: str) -> str:
    """What a person can do about a connection that did not come about."""
    return next((text for signs, text in _CONNECTING if any(s in reason for s in signs)), "")
