"""What a Modbus unit answers to a request PDU (Modbus Application Protocol V1.1b3 section 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from hil.outstation.faces.face import Face
from hil.outstation.faces.file_record import READ_FILE_RECORD
from hil.outstation.memory import Memory
from profiles.schema import Area

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
DEVICE_FAILURE: Final = 4

_COIL_ON: Final = b"\xff\x00"
_COIL_OFF: Final = b"\x00\x00"
_MAX_READ_BITS: Final = 2000
_MAX_READ_WORDS: Final = 125
_MAX_WRITE_BITS: Final = 1968
_MAX_WRITE_WORDS: Final = 123
_MAX_BOTH_WRITE_WORDS: Final = 121
SERVER_ID: Final = 1
_RUNNING: Final = 0xFF

READS: Final = {1: Area.COIL, 2: Area.DISCRETE, 3: Area.HOLDING, 4: Area.INPUT}
WRITES: Final = {5: Area.COIL, 6: Area.HOLDING, 15: Area.COIL, 16: Area.HOLDING, 22: Area.HOLDING}


class Request(NamedTuple):
    """What a request PDU asks, for the poll log; `area` is "" where the function has none."""

    function: int
    area: str
    address: int
    quantity: int


def describe(pdu: bytes) -> Request:
    """The function, table, address and count of a request, as far as it has them.

    Of a read of file records they are those of its first sub-request: record number and length.
    """
    function = pdu[0]
    if function == READ_FILE_RECORD and len(pdu) >= 9:
        return Request(
            function, "file", int.from_bytes(pdu[5:7], "big"), int.from_bytes(pdu[7:9], "big")
        )
    area = READS.get(function) or WRITES.get(function)
    if function == 23:
        area = Area.HOLDING
    if area is None or len(pdu) < 5:
        return Request(function, "", 0, 0)
    count = 1 if function in (5, 6, 22) else int.from_bytes(pdu[3:5], "big")
    return Request(function, area.value, int.from_bytes(pdu[1:3], "big"), count)


def exception(function: int, code: int) -> bytes:
    """An exception response (section 7)."""
    return bytes((function & 0x7F | 0x80, code))


class Unit:
    """One outstation's answers. Time is an argument: the plant holds what it holds then."""

    def __init__(
        self,
        memory: Memory,
        identity: tuple[str, str, str] = ("Hotpair", "outstation", "1"),
        input_by_fc03: bool = False,
        faces: Sequence[Face] = (),
    ) -> None:
        """`identity` is vendor, product and revision (43/14). With `input_by_fc03` the device
        shows its input registers by FC03. `faces` answer before the memory does."""
        self.memory = memory
        self.faces = tuple(faces)
        self.identity = identity
        self._holding = Area.INPUT if input_by_fc03 else Area.HOLDING
        self._functions: dict[int, Callable[[bytes], bytes | int]] = {
            1: self._read_bits,
            2: self._read_bits,
            3: self._read_words,
            4: self._read_words,
            5: self._write_coil,
            6: self._write_register,
            15: self._write_coils,
            16: self._write_registers,
            17: self._server_id,
            22: self._mask_write,
            23: self._read_write,
            43: self._identify,
        }

    def answer(self, pdu: bytes, time_ns: int) -> bytes:
        """The response PDU to a request PDU that arrived at `time_ns`."""
        for face in self.faces:
            found = face.answer(pdu, time_ns)
            if found is not None:
                return exception(pdu[0], found) if isinstance(found, int) else found
        handler = self._functions.get(pdu[0])
        if handler is None:
            return exception(pdu[0], ILLEGAL_FUNCTION)
        self.memory.advance(time_ns)
        reply = handler(pdu)
        return exception(pdu[0], reply) if isinstance(reply, int) else reply

    def _read_words(self, pdu: bytes) -> bytes | int:
        count = pdu[3] << 8 | pdu[4] if len(pdu) == 5 else 0
        if not 1 <= count <= _MAX_READ_WORDS:
            return ILLEGAL_VALUE
        area = Area.INPUT if pdu[0] == 4 else self._holding
        data = self.memory.read_words(area, pdu[1] << 8 | pdu[2], count)
        if data is None:
            return ILLEGAL_ADDRESS
        return bytes((pdu[0], 2 * count)) + data

    def _read_bits(self, pdu: bytes) -> bytes | int:
        count = pdu[3] << 8 | pdu[4] if len(pdu) == 5 else 0
        if not 1 <= count <= _MAX_READ_BITS:
            return ILLEGAL_VALUE
        data = self.memory.read_bits(READS[pdu[0]], pdu[1] << 8 | pdu[2], count)
        if data is None:
            return ILLEGAL_ADDRESS
        return bytes((pdu[0], len(data))) + data

    def _write_coil(self, pdu: bytes) -> bytes | int:
        if len(pdu) != 5 or pdu[3:] not in (_COIL_ON, _COIL_OFF):
            return ILLEGAL_VALUE
        bit = b"\1" if pdu[3:] == _COIL_ON else b"\0"
        stored = self.memory.write(Area.COIL, int.from_bytes(pdu[1:3], "big"), bit)
        return pdu if stored else ILLEGAL_ADDRESS

    def _write_register(self, pdu: bytes) -> bytes | int:
        if len(pdu) != 5:
            return ILLEGAL_VALUE
        stored = self.memory.write(Area.HOLDING, int.from_bytes(pdu[1:3], "big"), pdu[3:])
        return pdu if stored else ILLEGAL_ADDRESS

    def _write_coils(self, pdu: bytes) -> bytes | int:
        address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        size = (count + 7) // 8
        if not 1 <= count <= _MAX_WRITE_BITS or len(pdu) != 6 + size or pdu[5] != size:
            return ILLEGAL_VALUE
        packed = int.from_bytes(pdu[6:], "little")
        bits = bytes(packed >> number & 1 for number in range(count))
        return pdu[:5] if self.memory.write(Area.COIL, address, bits) else ILLEGAL_ADDRESS

    def _write_registers(self, pdu: bytes) -> bytes | int:
        address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        if not 1 <= count <= _MAX_WRITE_WORDS or len(pdu) != 6 + 2 * count or pdu[5] != 2 * count:
            return ILLEGAL_VALUE
        return pdu[:5] if self.memory.write(Area.HOLDING, address, pdu[6:]) else ILLEGAL_ADDRESS

    def _mask_write(self, pdu: bytes) -> bytes | int:
        """Result = (current AND and_mask) OR (or_mask AND NOT and_mask) (section 6.16)."""
        if len(pdu) != 7:
            return ILLEGAL_VALUE
        address = int.from_bytes(pdu[1:3], "big")
        keep, put = int.from_bytes(pdu[3:5], "big"), int.from_bytes(pdu[5:7], "big")
        current = self.memory.read_words(Area.HOLDING, address, 1)
        if current is None:
            return ILLEGAL_ADDRESS
        value = int.from_bytes(current, "big") & keep | put & ~keep & 0xFFFF
        stored = self.memory.write(Area.HOLDING, address, value.to_bytes(2, "big"))
        return pdu if stored else ILLEGAL_ADDRESS

    def _read_write(self, pdu: bytes) -> bytes | int:
        """The write is done before the read (section 6.17)."""
        if len(pdu) < 10:
            return ILLEGAL_VALUE
        read_at, read_count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        write_at, count = int.from_bytes(pdu[5:7], "big"), int.from_bytes(pdu[7:9], "big")
        if not 1 <= read_count <= _MAX_READ_WORDS or not 1 <= count <= _MAX_BOTH_WRITE_WORDS:
            return ILLEGAL_VALUE
        if len(pdu) != 10 + 2 * count or pdu[9] != 2 * count:
            return ILLEGAL_VALUE
        if self.memory.read_words(Area.HOLDING, read_at, read_count) is None:
            return ILLEGAL_ADDRESS
        if not self.memory.write(Area.HOLDING, write_at, pdu[10:]):
            return ILLEGAL_ADDRESS
        data = self.memory.read_words(Area.HOLDING, read_at, read_count)
        assert data is not None
        return bytes((23, len(data))) + data

    def _server_id(self, pdu: bytes) -> bytes | int:
        name = " ".join(self.identity).encode("ascii", "replace")[:200]
        return bytes((17, len(name) + 2, SERVER_ID, _RUNNING)) + name

    def _identify(self, pdu: bytes) -> bytes | int:
        """Read device identification, the three basic objects (section 6.21)."""
        if len(pdu) != 4 or pdu[1] != 14:
            return ILLEGAL_FUNCTION
        code, first = pdu[2], pdu[3]
        if code not in (1, 2, 3, 4):
            return ILLEGAL_VALUE
        if first > 2 and code == 4:
            return ILLEGAL_ADDRESS
        start = first if first <= 2 else 0
        chosen = (start,) if code == 4 else tuple(range(start, 3))
        objects = b""
        for number in chosen:
            text = self.identity[number].encode("ascii", "replace")[:60]
            objects += bytes((number, len(text))) + text
        return bytes((43, 14, code, 0x81, 0, 0, len(chosen))) + objects
