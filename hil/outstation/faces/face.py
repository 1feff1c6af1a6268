"""What faces share: requests to registers of their own, and what goes wrong with them on purpose.

A face is asked before the unit's memory. It answers requests that touch its registers and leaves
all others alone; small holes between its registers read 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from hil.outstation.encode import arrange, encode
from profiles.records import Register
from profiles.registers import WORDS, Area, ByteOrder, parse_address

ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
READS: Final = {3: Area.HOLDING, 4: Area.INPUT}
READ_MAX: Final = 125
WRITE_MAX: Final = 123
HOLE_MAX: Final = 8


@dataclass(slots=True)
class Whims:
    """What a log does wrong for a while.

    `code`: every read of it is refused with this exception. `not_ready`: so many more windows
    aren't. `wrong_index`: the next window is another than asked. `held_by`: the port that has the
    lock.
    """

    code: int | None = None
    not_ready: int = 0
    wrong_index: bool = False
    held_by: int = 0


class Face(Protocol):
    """What answers for a log."""

    def answer(self, pdu: bytes, now_ns: int) -> bytes | int | None:
        """The response PDU, an exception code, or None for what is none of its business."""

    def restart(self) -> None:
        """The device lost its power: locks, pointers and cached records are gone."""


Read = Callable[[int, int, int], bytes]
"""(first word, count, now) to the data."""
Write = Callable[[int, bytes, int], int | None]
"""(first word, data, now); an exception code where it is refused."""


class Block(NamedTuple):
    """Registers [low, low + words) of an area that are a face's own."""

    area: Area
    low: int
    words: int
    read: Read
    write: Write | None = None


class RegisterFace:
    """A face made of blocks of registers."""

    def __init__(self, blocks: Iterable[Block], whims: Whims) -> None:
        self.blocks = tuple(_with_holes(sorted(blocks, key=lambda block: block[:2])))
        self.whims = whims

    def answer(self, pdu: bytes, now_ns: int) -> bytes | int | None:
        function = pdu[0]
        if function in READS and len(pdu) == 5:
            address, count = pdu[1] << 8 | pdu[2], pdu[3] << 8 | pdu[4]
            return self._read(function, READS[function], address, count, now_ns)
        if function == 6 and len(pdu) == 5:
            return self._write(pdu[1] << 8 | pdu[2], pdu[3:], now_ns, pdu)
        if function == 16 and len(pdu) > 6 and pdu[5] == len(pdu) - 6 == 2 * pdu[4]:
            return self._write(pdu[1] << 8 | pdu[2], pdu[6:], now_ns, pdu[:5])
        return None

    def restart(self) -> None:
        """Nothing is lost with the power."""

    def _read(
        self, function: int, area: Area, address: int, count: int, now_ns: int
    ) -> bytes | int | None:
        touched = self._touched(area, address, count)
        if not touched:
            return None
        if not 1 <= count <= READ_MAX:
            return ILLEGAL_VALUE
        if self.whims.code is not None:
            return self.whims.code
        data = b""
        for block in touched:
            at = address + len(data) // 2
            if block.low > at:
                return ILLEGAL_ADDRESS
            size = min(address + count, block.low + block.words) - at
            data += block.read(at - block.low, size, now_ns)
        if len(data) != 2 * count:
            return ILLEGAL_ADDRESS
        return bytes((function, len(data))) + data

    def _write(self, address: int, data: bytes, now_ns: int, echo: bytes) -> bytes | int | None:
        touched = self._touched(Area.HOLDING, address, len(data) // 2)
        if not touched:
            return None
        at, end = address, address + len(data) // 2
        for block in touched:
            if block.write is None or block.low > at:
                return ILLEGAL_ADDRESS
            size = min(end, block.low + block.words) - at
            first = 2 * (at - address)
            refused = block.write(at - block.low, data[first : first + 2 * size], now_ns)
            if refused is not None:
                return refused
            at += size
        return echo if at == end else ILLEGAL_ADDRESS

    def _touched(self, area: Area, address: int, count: int) -> list[Block]:
        return [
            block
            for block in self.blocks
            if block.area is area
            and block.low < address + count
            and address < block.low + block.words
        ]


def _with_holes(blocks: Sequence[Block]) -> Iterable[Block]:
    last: Block | None = None
    for block in blocks:
        if last is not None and last.area is block.area:
            low = last.low + last.words
            if 0 < block.low - low <= HOLE_MAX:
                yield Block(block.area, low, block.low - low, nothing)
        yield block
        last = block


def nothing(first: int, count: int, now_ns: int) -> bytes:
    """Registers that read 0."""
    return bytes(2 * count)


def cut(data: bytes, first: int, count: int) -> bytes:
    """Words [first, first + count) of some data."""
    return data[2 * first : 2 * (first + count)]


def located(register: Register, base: int, shift: int = 0) -> tuple[Area, int]:
    """Where a register of a profile lies on the wire."""
    address, area = parse_address(register.address, base)
    return area or register.register_, address + shift


def whole(data: bytes, order: ByteOrder) -> int:
    """The unsigned number that a master wrote."""
    return int.from_bytes(arrange(data, order), "big")


def shown(register: Register, base: int, value: Callable[[int], int], shift: int = 0) -> Block:
    """A register that shows a number, as a function of now; too large a number loses its top."""
    area, low = located(register, base, shift)
    words = WORDS[register.type]

    def read(first: int, count: int, now_ns: int) -> bytes:
        held = value(now_ns)
        number = float(held) if register.type.is_float else held % 2 ** (16 * words)
        return cut(encode(number, register.type, register.byte_order), first, count)

    return Block(area, low, words, read)


def written(block: Block, act: Callable[[int, int], int | None], order: ByteOrder) -> Block:
    """The same register, which takes numbers: `act` gets (number, now) of a whole write."""

    def write(first: int, data: bytes, now_ns: int) -> int | None:
        if first or len(data) != 2 * block.words:
            return ILLEGAL_VALUE
        return act(whole(data, order), now_ns)

    return block._replace(write=write)
