"""Modbus frames as bytes: requests built, replies checked, both put into words.

Pure. Source: Modbus Application Protocol V1.1b3 section 6 (functions) and 7 (exceptions),
Modbus over Serial Line V1.02 section 2.5 (RTU framing).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from gateway.errors import InvalidReply
from gateway.model import Status
from profiles.schema import Area

READ_COILS: Final = 1
READ_DISCRETE: Final = 2
READ_HOLDING: Final = 3
READ_INPUT: Final = 4
WRITE_COIL: Final = 5
WRITE_REGISTER: Final = 6
WRITE_COILS: Final = 15
WRITE_REGISTERS: Final = 16
READ_FILE: Final = 20
MASK_WRITE: Final = 22
READ_DEVICE_ID: Final = 43

READ_FUNCTION: Final[dict[Area, int]] = {
    Area.COIL: READ_COILS,
    Area.DISCRETE: READ_DISCRETE,
    Area.HOLDING: READ_HOLDING,
    Area.INPUT: READ_INPUT,
}
FUNCTION_NAMES: Final[dict[int, str]] = {
    1: "read coils",
    2: "read discrete inputs",
    3: "read holding registers",
    4: "read input registers",
    5: "write coil",
    6: "write register",
    15: "write coils",
    16: "write registers",
    17: "report server id",
    20: "read file record",
    22: "mask write register",
    43: "read device identification",
}
EXCEPTION_NAMES: Final[dict[int, str]] = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge, still working",
    6: "device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
BAD_ADDRESS: Final = frozenset({1, 2, 3})
"""Exceptions that say the question was wrong: asking it again the same way is useless."""
DEAD_TARGET: Final = frozenset({10, 11})
"""Exceptions of a gateway whose unit is dead: the line itself is well."""
WRITE_STATUS: Final[dict[int, int]] = {
    1: Status.BAD_NOT_SUPPORTED,
    2: Status.BAD_CONFIGURATION_ERROR,
    3: Status.BAD_OUT_OF_RANGE,
    5: Status.BAD_RESOURCE_UNAVAILABLE,
    6: Status.BAD_RESOURCE_UNAVAILABLE,
    10: Status.BAD_NO_COMMUNICATION,
    11: Status.BAD_NO_COMMUNICATION,
}
READ_STATUS: Final[dict[int, int]] = WRITE_STATUS | {3: Status.BAD_CONFIGURATION_ERROR}


def exception_name(code: int) -> str:
    """An exception code in words, such as `exception 2 (illegal data address)`."""
    return f"exception {code} ({EXCEPTION_NAMES.get(code, 'not in the specification')})"


def read_payload(address: int, count: int) -> bytes:
    """What follows the function code of a read: address and count."""
    return struct.pack(">HH", address, count)


def read_size(function: int, count: int) -> int:
    """The data bytes that answer a read of `count` bits or registers."""
    return (count + 7) // 8 if function in (READ_COILS, READ_DISCRETE) else 2 * count


def coil_payload(address: int, value: bool) -> bytes:
    """What follows FC5: address and FF00 or 0000."""
    return struct.pack(">HH", address, 0xFF00 if value else 0)


def coils_payload(address: int, values: Sequence[bool]) -> bytes:
    """What follows FC15: address, count, and the coils packed from the lowest bit."""
    size = (len(values) + 7) // 8
    packed = sum(1 << index for index, value in enumerate(values) if value)
    return struct.pack(">HHB", address, len(values), size) + packed.to_bytes(size, "little")


def register_payload(address: int, word: int) -> bytes:
    """What follows FC6: address and value."""
    return struct.pack(">HH", address, word)


def registers_payload(address: int, words: Sequence[int]) -> bytes:
    """What follows FC16: address, count, byte count and the values."""
    head = struct.pack(">HHB", address, len(words), 2 * len(words))
    return head + struct.pack(f">{len(words)}H", *words)


def mask_payload(address: int, bit: int, value: bool) -> bytes:
    """What follows FC22 to set or clear one bit: result = (held AND and_mask) OR or_mask."""
    return struct.pack(">HHH", address, 0xFFFF & ~(1 << bit), (1 << bit) if value else 0)


def read_data(function: int, size: int, reply: bytes) -> bytes:
    """The data of a read's reply, without its byte count. Raises InvalidReply."""
    if len(reply) != size + 1 or reply[0] != size:
        said = reply[0] if reply else 0
        raise InvalidReply(
            f"{FUNCTION_NAMES[function]}: {size} bytes of data asked, "
            f"{len(reply) - 1} came and the reply says {said}"
        )
    return reply[1:]


def check_echo(function: int, payload: bytes, reply: bytes) -> None:
    """Whether a write's reply repeats the request as it must. Raises InvalidReply."""
    expected = payload[:4] if function in (WRITE_COILS, WRITE_REGISTERS) else payload
    if reply != expected:
        raise InvalidReply(
            f"{FUNCTION_NAMES[function]}: the reply repeats {reply.hex(' ')} "
            f"where {expected.hex(' ')} was sent"
        )


_ECHO_SIZE: Final = {5: 8, 6: 8, 15: 8, 16: 8, 22: 10}


def rtu_reply_size(frame: bytes) -> int | None:
    """The whole length of the RTU reply that begins here, CRC included; None: not yet known.

    0 means that no reply of this function is known. `frame` starts with the unit.
    """
    if len(frame) < 3:
        return None
    function = frame[1]
    if function & 0x80:
        return 5
    if function in (1, 2, 3, 4, 17, 20, 21, 23):
        return 5 + frame[2]
    if function == READ_DEVICE_ID:
        return _device_id_size(frame)
    if function == 24:
        return None if len(frame) < 4 else 6 + int.from_bytes(frame[2:4], "big")
    return _ECHO_SIZE.get(function, 0)


def _device_id_size(frame: bytes) -> int | None:
    """The length of a reply to FC43/14, which only its objects tell (section 6.21)."""
    if frame[2] != 14:
        return 0
    if len(frame) < 8:
        return None
    at = 8
    for _ in range(frame[7]):
        if len(frame) < at + 2:
            return None
        at += 2 + frame[at + 1]
    return at + 2


def describe_request(unit: int, function: int, payload: bytes) -> str:
    """A request in words, for traces: `unit 1 read holding registers 100 x 10`."""
    name = FUNCTION_NAMES.get(function, f"function {function}")
    if len(payload) < 4:
        return f"unit {unit} {name}"
    address, second = struct.unpack_from(">HH", payload)
    if function == READ_FILE and len(payload) == 8:
        file, record, length = struct.unpack_from(">HHH", payload, 2)
        return f"unit {unit} {name} {record} of file {file} x {length}"
    if function in (WRITE_COIL, WRITE_REGISTER):
        return f"unit {unit} {name} {address} = {second}"
    if function == MASK_WRITE:
        return f"unit {unit} {name} {address} and {second:04X} or {payload[4:6].hex().upper()}"
    return f"unit {unit} {name} {address} x {second}"


def describe_reply(unit: int, function: int, reply: bytes) -> str:
    """A reply in words, for traces: `unit 1 read holding registers: 20 bytes`."""
    name = FUNCTION_NAMES.get(function & 0x7F, f"function {function & 0x7F}")
    if function & 0x80:
        return f"unit {unit} {name}: {exception_name(reply[0] if reply else 0)}"
    if function in READ_FUNCTION.values():
        return f"unit {unit} {name}: {len(reply) - 1} bytes"
    return f"unit {unit} {name}: done"
