"""A write of one point: one request, never repeated, read back in engineering units."""

from __future__ import annotations

from drivers.modbus import frames
from drivers.modbus.codec import encode_point
from drivers.modbus.layout import Layout
from drivers.modbus.pdu import RawRequest
from drivers.modbus.plan import plan
from drivers.modbus.unit import Unit
from drivers.modbus.write import needs_held, write_request
from gateway.driver import PointSpec, WriteOutcome
from gateway.errors import DeviceError, Refused, ReplyTimeout, WriteRefused
from gateway.model import Status, Value
from profiles.schema import PointMap


async def write_point(unit: Unit, spec: PointSpec, value: Value) -> WriteOutcome:
    """Write a value in engineering units and read it back.

    Raises WriteRefused before anything is sent, DeviceError after.
    """
    layout = unit.layout
    place = layout.map_of(spec.name)
    if place is None:
        reason = layout.missing.get(spec.name, "it is not a point of this device")
        raise WriteRefused(f"{spec.id} can't be written: {reason}", Status.BAD_CONFIGURATION_ERROR)
    if not spec.access.writable:
        raise WriteRefused(
            f"{spec.id} is read-only", Status.BAD_NOT_WRITABLE, "Give it `access: rw`"
        )
    quirks, limits = layout.holds.quirks, layout.holds.limits
    must_hold = needs_held(place, quirks)
    factor = await _scale_factor(unit, layout, place)
    encoded = encode_point(place, value, factor)
    held = (await unit.read_words(place.area, place.address, 1))[0] if must_hold else None
    function, payload = write_request(place, encoded, quirks, limits, held)
    try:
        await unit.send(RawRequest(unit.settings.unit_id, function, payload))
    except ReplyTimeout as error:
        raise ReplyTimeout(
            f"{spec.id}: {error.message}; the device may have executed the write or not"
        ) from error
    except Refused as error:
        status = frames.WRITE_STATUS.get(error.code, Status.BAD_DEVICE_FAILURE)
        raise Refused(f"{spec.id}: {error.message}", error.code, status=status) from error
    if not spec.access.readable:
        return WriteOutcome(Status.GOOD, None, "write-only: not read back")
    return await _read_back(unit, layout, place)


async def _scale_factor(unit: Unit, layout: Layout, place: PointMap) -> int | None:
    """The exponent that the device holds for a point with `sf`, read now."""
    name = place.point.sf
    if name is None:
        return None
    factor = layout.map_of(name)
    if factor is None:
        raise WriteRefused(
            f"the scale factor {name} is not on this device", Status.BAD_CONFIGURATION_ERROR
        )
    word = (await unit.read_words(factor.area, factor.address, 1))[0]
    exponent = word - 0x10000 if word & 0x8000 else word
    if not -10 <= exponent <= 10:
        raise WriteRefused(
            f"the device holds no usable scale factor in {name} ({exponent})",
            Status.BAD_CONFIGURATION_ERROR,
        )
    return exponent


async def _read_back(unit: Unit, layout: Layout, place: PointMap) -> WriteOutcome:
    maps = [place]
    factor = layout.map_of(place.point.sf) if place.point.sf is not None else None
    if factor is not None:
        maps.append(factor)
    requests = plan(maps, layout.holds.limits, layout.holds.quirks)
    if not requests:
        return WriteOutcome(Status.GOOD, None, "the point can't be read back")
    block = layout.block(requests[0], maps, range(len(maps)))
    try:
        values = block.decode(await unit.read(block.raw, block.size))
    except DeviceError as error:
        return WriteOutcome(Status.GOOD, None, f"written, not read back: {error.message}")
    read_back = next((value for number, value, _ in values if number == 0), None)
    return WriteOutcome(Status.GOOD, read_back, read_back_ns=unit.answered_ns)
