"""Which request writes a value: one, always, so that a value of several registers is never torn.

Pure. Functions: Modbus Application Protocol V1.1b3 sections 6.5 (FC5), 6.6 (FC6), 6.11 (FC15),
6.12 (FC16) and 6.16 (FC22).
"""

from __future__ import annotations

from drivers.modbus import frames
from gateway.errors import WriteRefused
from gateway.model import Status
from profiles.schema import Limits, PointMap, Quirks, WireType


def is_register_bit(point: PointMap) -> bool:
    """Whether a point is one bit among others that must stay as they are."""
    return point.type is WireType.BOOL and not point.area.is_bits


def needs_held(point: PointMap, quirks: Quirks) -> bool:
    """Whether the register must be read before the write. Raises WriteRefused if that's barred."""
    if not is_register_bit(point) or quirks.has_fc22:
        return False
    if not point.point.read_modify_write:
        raise WriteRefused(
            f"{point.name} is one bit of a register, and the device is not known to have FC22",
            Status.BAD_NOT_WRITABLE,
            "Set `quirks: {has_fc22: true}`, or `read_modify_write: true` if nobody else writes it",
        )
    return True


def write_request(
    point: PointMap,
    encoded: tuple[int, ...] | bool,
    quirks: Quirks,
    limits: Limits,
    held: int | None = None,
) -> tuple[int, bytes]:
    """Function code and payload that write an encoded value; `held` is what needs_held asks for.

    Raises WriteRefused when the value does not fit into one request.
    """
    address = point.address
    if point.area.is_bits:
        if point.point.write_multiple:
            return frames.WRITE_COILS, frames.coils_payload(address, (bool(encoded),))
        return frames.WRITE_COIL, frames.coil_payload(address, bool(encoded))
    if is_register_bit(point):
        bit = point.point.bit or 0
        if quirks.has_fc22:
            return frames.MASK_WRITE, frames.mask_payload(address, bit, bool(encoded))
        word = (held or 0) & ~(1 << bit) | (bool(encoded) << bit)
        words: tuple[int, ...] = (word,)
    else:
        assert not isinstance(encoded, bool)
        words = encoded
    if len(words) > limits.max_write_words:
        raise WriteRefused(
            f"{point.name} needs {len(words)} registers in one write, "
            f"the device takes {limits.max_write_words}",
            Status.BAD_OUT_OF_RANGE,
        )
    if len(words) == 1 and not point.point.write_multiple:
        return frames.WRITE_REGISTER, frames.register_payload(address, words[0])
    return frames.WRITE_REGISTERS, frames.registers_payload(address, words)
