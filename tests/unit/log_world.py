"""A device with a log and values that stand still, so that a test can write every byte by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.model import NS_PER_S
from hil.outstation.layout import memory_of
from hil.outstation.logs import DeviceLogs
from hil.outstation.unit import Unit
from hil.plant import PlantDevice, PlantLine, modbus_device
from hil.settings import LogSettings, Rig
from hil.truth import EPOCH_NS, Kind, Signal, Wave
from profiles.load import load

T0 = EPOCH_NS + 10 * NS_PER_S
"""The rig starts at 2026-01-01 00:00:10 UTC (0x6955B90A in Unix seconds)."""
S = NS_PER_S
PERIODS = {"normal": NS_PER_S}


def still(value: float) -> Signal:
    """A signal that never changes."""
    kind = Kind.FLOAT if isinstance(value, float) else Kind.INT
    return Signal(Wave.CONSTANT, kind, 0, 2**62, 0, value, 0, 1)


class Logged:
    """One unit with its logs; `ask` takes and gives hexadecimal."""

    def __init__(
        self,
        windback: Mapping[str, Any],
        points: Mapping[str, Mapping[str, Any]],
        values: Mapping[str, float],
        profile: str | None = None,
        rig: LogSettings | None = None,
        now_ns: int = T0,
    ) -> None:
        line = PlantLine("line", "tcp", ("127.0.0.1",), 1502)
        device = modbus_device(
            "dev",
            {"windback": windback},
            points,
            load(profile) if profile else None,
            line,
            Rig(),
            PERIODS,
        )
        known = [
            replace(p, signal=still(values[p.name])) if p.name in values else p
            for p in device.points
        ]
        self.device: PlantDevice = replace(device, points=tuple(known))
        self.logs = DeviceLogs(self.device, rig or LogSettings(), now_ns)
        self.unit = Unit(memory_of(self.device, Rig()), faces=self.logs.faces)

    def ask(self, pdu: str, at_ns: int) -> str:
        """The reply to a PDU, words in groups of four digits after the first two bytes."""
        return self.unit.answer(bytes.fromhex(pdu), at_ns).hex()

    def words(self, address: int, count: int, at_ns: int) -> list[int]:
        """Holding registers; a refusal fails the test."""
        pdu = bytes((3,)) + address.to_bytes(2, "big") + count.to_bytes(2, "big")
        reply = self.unit.answer(pdu, at_ns)
        assert reply[:2] == bytes((3, 2 * count)), reply.hex()
        return [int.from_bytes(reply[at : at + 2], "big") for at in range(2, len(reply), 2)]

    def write(self, address: int, *words: int, at_ns: int) -> int:
        """Write by FC16; 0 or the exception code."""
        pdu = bytes((16,)) + address.to_bytes(2, "big") + len(words).to_bytes(2, "big")
        pdu += bytes((2 * len(words),)) + b"".join(word.to_bytes(2, "big") for word in words)
        reply = self.unit.answer(pdu, at_ns)
        return reply[1] if reply[0] & 0x80 else 0
