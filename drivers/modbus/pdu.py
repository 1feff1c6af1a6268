"""Requests and replies for pymodbus that stay bytes: no list of registers is built on the way.

The decoder never raises, so a malformed reply can't tear the transport down from inside it, and
the framers accept one frame only: the one that may answer the request just sent.
"""

from __future__ import annotations

from typing import Any, Final

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU

from drivers.modbus import frames
from gateway.errors import InvalidReply, Refused
from gateway.model import Status


class RawRequest(ModbusPDU):  # type: ignore[misc]
    """A request as function code and payload; may be sent many times."""

    def __init__(self, unit: int, function: int, payload: bytes) -> None:
        self.dev_id = unit
        self.function_code = function
        self.payload = payload
        self.transaction_id = 0
        self.retries = 0

    def encode(self) -> bytes:
        return self.payload

    @property
    def span(self) -> tuple[int, int]:
        """Address and count of a read."""
        return int.from_bytes(self.payload[:2], "big"), int.from_bytes(self.payload[2:4], "big")


class RawCall(RawRequest):
    """A request of no ordinary form: its reply is neither registers asked for nor an echo.

    Its size counts all that follows the function code of the reply.
    """


class RawReply(ModbusPDU):  # type: ignore[misc]
    """A reply as function code (with 0x80 for an exception) and the bytes after it."""

    def __init__(self, function: int, data: bytes) -> None:
        self.function_code = function
        self.data = data
        self.dev_id = 0
        self.transaction_id = 0
        self.retries = 0


class RawDecoder(DecodePDU):  # type: ignore[misc]
    """Turns any frame into a RawReply."""

    def __init__(self) -> None:
        super().__init__(False)

    def decode(self, frame: bytes) -> RawReply:
        return RawReply(frame[0], frame[1:])


def byte_count(request: RawRequest, size: int | None) -> int | None:
    """What the reply's byte count must say; None: anything, or it has none."""
    return size - 1 if isinstance(request, RawCall) and size is not None else size


class SocketFramer(FramerSocket):  # type: ignore[misc]
    """MBAP framing (Modbus/TCP V1.0b section 3.1.3); remembers why frames were passed over."""

    def __init__(self) -> None:
        super().__init__(RawDecoder())
        self.rejected = ""
        self._unit = 0
        self._ignore_tid = False

    def expect(self, request: RawRequest, size: int | None, ignore_tid: bool) -> None:
        """Prepare for the answer to a request; MBAP tells its own length."""
        self.rejected = ""
        self._unit = request.dev_id
        self._ignore_tid = ignore_tid

    def decode(self, data: bytes) -> tuple[int, int, int, bytes]:
        used, unit, tid, payload = super().decode(data)
        if used and unit != self._unit:
            self.rejected = f"the answer came from unit {unit}, not {self._unit}"
        elif used:
            self.rejected = f"the answer carries transaction {tid}"
        elif len(data) >= 4 and data[2:4] != b"\0\0":
            self.rejected = "what came is not Modbus/TCP"
        return used, unit, 0 if self._ignore_tid else tid, payload


_CRC_BYTES: Final = 2


class RtuFramer(FramerRTU):  # type: ignore[misc]
    """RTU framing that finds the awaited reply among noise, echoes and late frames of others."""

    def __init__(self) -> None:
        super().__init__(RawDecoder())
        self.rejected = ""
        self._unit = 0
        self._function = 0
        self._size: int | None = None

    def expect(self, request: RawRequest, size: int | None, ignore_tid: bool) -> None:
        """Prepare for the answer; `size` is the data bytes of a read, None for anything else."""
        self.rejected = ""
        self._unit = request.dev_id
        self._function = request.function_code
        self._size = byte_count(request, size)

    def decode(self, data: bytes) -> tuple[int, int, int, bytes]:
        for start in range(len(data) - self.MIN_SIZE + 1):
            frame = data[start:]
            if frame[0] != self._unit or frame[1] & 0x7F != self._function:
                continue
            size = frames.rtu_reply_size(frame)
            if size is None or size == 0 or len(frame) < size:
                continue
            frame = frame[:size]
            if not self.check_CRC(frame[:-_CRC_BYTES], int.from_bytes(frame[-_CRC_BYTES:], "big")):
                self.rejected = self.rejected or "the answer is damaged (CRC)"
                continue
            if self._size is not None and frame[1] < 0x80 and frame[2] != self._size:
                # Another length is the late answer to an earlier question, or no answer at all.
                self.rejected = f"the answer holds {frame[2]} bytes where {self._size} were asked"
                continue
            return len(data), frame[0], 0, frame[1:-_CRC_BYTES]
        return 0, 0, 0, b""


Framer = SocketFramer | RtuFramer


def reply_of(answer: Any) -> RawReply:
    """The reply as our own class: pymodbus hands back what our decoder made."""
    assert isinstance(answer, RawReply)
    return answer


def data_of(request: RawRequest, size: int | None, reply: RawReply) -> bytes:
    """The data of a reply; `size` is what a read must bring, None for a write.

    For a RawCall it is all that follows the function code, `size` bytes unless None. Raises Refused
    for an exception, InvalidReply for nonsense.
    """
    if reply.function_code & 0x80:
        if len(reply.data) != 1:
            raise InvalidReply(f"an exception of {len(reply.data)} bytes")
        code = reply.data[0]
        status = frames.READ_STATUS.get(code, Status.BAD_DEVICE_FAILURE)
        function = frames.FUNCTION_NAMES.get(request.function_code, "request")
        text = f"{function} was refused: {frames.exception_name(code)}"
        raise Refused(text, code, status=status)
    if isinstance(request, RawCall):
        if size is not None and len(reply.data) != size:
            raise InvalidReply(f"a reply of {len(reply.data)} bytes where {size} were expected")
        return reply.data
    if size is not None:
        return frames.read_data(request.function_code, size, reply.data)
    frames.check_echo(request.function_code, request.payload, reply.data)
    return reply.data


def received_text(framer: Framer, request: RawRequest, reply: RawReply | None) -> str:
    """What came for a request, in words, for traces."""
    if reply is not None:
        return frames.describe_reply(reply.dev_id, reply.function_code, reply.data)
    return framer.rejected or f"no answer to function {request.function_code}"
