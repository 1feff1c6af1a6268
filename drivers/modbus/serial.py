"""What a serial line needs beside its bytes: character times and the RS-485 transmitter.

Character times: Modbus over Serial Line V1.02 section 2.5.1.1 (3.5 characters between frames, at
least 1.75 ms above 19200 baud).
"""

from __future__ import annotations

from typing import Final

import serial
import serial.rs485

from drivers.modbus.settings import Rs485, Rtu
from gateway.model import NS_PER_S

FAST_GAP_NS: Final = 1_750_000
FAST_BAUDRATE: Final = 19_200


def character_ns(rtu: Rtu) -> int:
    """How long one character takes: start, data, parity and stop bits."""
    bits = 1 + rtu.bytesize + (rtu.parity != "N") + rtu.stopbits
    return bits * NS_PER_S // rtu.baudrate


def frame_gap_ns(rtu: Rtu) -> int:
    """The silence that parts two frames."""
    return FAST_GAP_NS if rtu.baudrate > FAST_BAUDRATE else character_ns(rtu) * 7 // 2


def drive_rs485(port: serial.Serial, rtu: Rtu) -> None:
    """Let the kernel switch the transmitter. Raises OSError or ValueError if the port can't."""
    if rtu.rs485 is False:
        return
    wanted = rtu.rs485 if isinstance(rtu.rs485, Rs485) else Rs485()
    port.rs485_mode = serial.rs485.RS485Settings(
        rts_level_for_tx=wanted.rts_level_for_tx,
        rts_level_for_rx=wanted.rts_level_for_rx,
        delay_before_tx=wanted.delay_before_tx_ms / 1000,
        delay_before_rx=wanted.delay_before_rx_ms / 1000,
    )
