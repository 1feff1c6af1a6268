"""Requests out of a stream of bytes, and replies into frames: MBAP (TCP, TLS, UDP) and RTU.

Pure: bytes in, requests out. Sources: Modbus Messaging on TCP/IP V1.0b section 3.1.3, Modbus over
Serial Line V1.02 section 2.5.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

BUFFER_MAX: Final = 64 * 1024
_MBAP: Final = 7
_PDU_MAX: Final = 253
_RTU_MAX: Final = 256
_FIXED: Final = dict.fromkeys((1, 2, 3, 4, 5, 6, 8), 8) | {
    7: 4,
    11: 4,
    12: 4,
    17: 4,
    22: 10,
    24: 6,
    43: 7,
}
_COUNTED: Final = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}
"""Place of the byte count in the frame, for functions whose requests have one."""


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC: Final = _table()


def crc16(data: bytes) -> bytes:
    """The CRC of an RTU frame, low byte first as it is sent."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


class Asked(NamedTuple):
    """One request on a line; `tid` is the transaction id, 0 on RTU."""

    tid: int
    unit: int
    pdu: bytes


class Framing(Protocol):
    """How a transport frames requests and replies."""

    def receive(self, data: bytes) -> list[Asked]:
        """Take received bytes; the requests that became complete. ValueError: not Modbus."""

    def frame(self, tid: int, unit: int, pdu: bytes) -> bytes:
        """The bytes of a reply."""


class Mbap:
    """Modbus TCP: a header of seven bytes names the transaction, the length and the unit."""

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> list[Asked]:
        if self._buffer:
            data = self._buffer + data
        found = []
        at = 0
        while len(data) - at >= _MBAP:
            size = data[at + 4] << 8 | data[at + 5]
            if data[at + 2] or data[at + 3] or not 2 <= size <= _PDU_MAX + 1:
                raise ValueError("not a Modbus TCP header")
            end = at + 6 + size
            if len(data) < end:
                break
            tid = data[at] << 8 | data[at + 1]
            found.append(Asked(tid, data[at + 6], data[at + _MBAP : end]))
            at = end
        self._buffer = data[at:]
        return found

    def frame(self, tid: int, unit: int, pdu: bytes) -> bytes:
        return (
            b"%c%c\0\0%c%c%c"
            % (
                tid >> 8,
                tid & 0xFF,
                (len(pdu) + 1) >> 8,
                (len(pdu) + 1) & 0xFF,
                unit,
            )
            + pdu
        )


class Rtu:
    """RTU: a frame ends where its function code says; the CRC proves it.

    A real slave ends a frame at 3.5 characters of silence. Sockets and ptys keep no such timing, so
    the length decides, and after noise the stream is searched for the next frame with a true CRC.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> list[Asked]:
        data = self._buffer + data
        if len(data) > BUFFER_MAX:
            data = data[-_RTU_MAX:]
        found = []
        at = 0
        while len(data) - at >= 4:
            size = request_size(data[at : at + _RTU_MAX])
            if size is None:
                at += 1
            elif size == 0 or len(data) - at < size:
                break
            elif crc16(data[at : at + size - 2]) == data[at + size - 2 : at + size]:
                found.append(Asked(0, data[at], data[at + 1 : at + size - 2]))
                at += size
            else:
                at += 1
        self._buffer = data[at:]
        return found

    def silence(self) -> None:
        """The line was quiet: what is half received is no frame any more."""
        self._buffer = b""

    def frame(self, tid: int, unit: int, pdu: bytes) -> bytes:
        body = bytes((unit,)) + pdu
        return body + crc16(body)


def request_size(data: bytes) -> int | None:
    """How long the request frame at the start is; 0: can't be told yet; None: no request.

    An unknown function has no known length: it is taken as the frame that the CRC closes.
    """
    function = data[1]
    if function in _FIXED:
        return _FIXED[function]
    if function in _COUNTED:
        place = _COUNTED[function]
        if len(data) <= place:
            return 0
        size = place + 1 + data[place] + 2
        return size if size <= _RTU_MAX else None
    if function == 0 or function > 0x7F:
        return None
    for size in range(4, len(data) + 1):
        if crc16(data[: size - 2]) == data[size - 2 : size]:
            return size
    return 0
