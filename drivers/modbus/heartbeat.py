"""The heartbeat that a device's watchdog waits for: written as long as this node may speak."""

from __future__ import annotations

import asyncio
import random

from drivers.modbus import frames
from drivers.modbus.pdu import RawRequest
from drivers.modbus.settings import Heartbeat
from drivers.modbus.unit import Unit
from gateway.errors import DeviceError
from gateway.model import NS_PER_S
from profiles.schema import Area, parse_address


async def beat(unit: Unit, heartbeat: Heartbeat, rng: random.Random) -> None:
    """Write a new value each period until cancelled; a failed write is left to the next one.

    The first value is random, so that a restart can't repeat the value in force. Nothing is
    written to a unit that doesn't answer its scans: the scans find out when it is back.
    """
    address, _ = parse_address(heartbeat.address, unit.holds.defaults.address_base)
    value = rng.randrange(1, 0x10000)
    while True:  # ends with the line
        await asyncio.sleep(heartbeat.period_ns / NS_PER_S)
        if unit.withdrawn or not unit.diagnostics.connected:
            continue
        value = value % 0xFFFF + 1
        if heartbeat.register_ is Area.COIL:
            function, payload = frames.WRITE_COIL, frames.coil_payload(address, value % 2 == 1)
        else:
            function, payload = frames.WRITE_REGISTER, frames.register_payload(address, value)
        try:
            await unit.send(RawRequest(unit.settings.unit_id, function, payload))
        except DeviceError as error:
            unit.diagnostics.notes["heartbeat"] = error.message
        else:
            unit.diagnostics.notes.pop("heartbeat", None)
