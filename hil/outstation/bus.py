"""The units on one line: who is asked, what it answers, and what a fault makes of the answer.

Knows no socket: a transport hands it frames and sends the plan that comes back. The clock is an
argument, so that a test can stand it still.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hil.outstation.faults import VALUE_FAULTS, Exchange, Fault, Plan, apply
from hil.outstation.frames import Asked, Framing
from hil.outstation.logs import DeviceLogs
from hil.outstation.polls import Poll, PollLog
from hil.outstation.unit import Unit, describe

_NOTHING = Plan()


@dataclass(slots=True)
class Outstation:
    """One unit on a line with its present fault; without power it is silent."""

    name: str
    unit_id: int
    unit: Unit
    powered: bool = True
    fault: Fault | None = None
    latency_ms: float = 0.0
    logs: DeviceLogs | None = None

    def fault_now(self, now_ns: int) -> Fault | None:
        """The fault in force; one whose time ran out ends itself here."""
        fault = self.fault
        if fault is not None and fault.until_ns is not None and now_ns >= fault.until_ns:
            self.set_fault(None, now_ns)
            fault = None
        return fault

    def set_fault(self, fault: Fault | None, now_ns: int) -> None:
        """Begin a fault, or end the present one (None)."""
        old, memory = self.fault, self.unit.memory
        self.fault = fault
        if old is not None and old.kind in VALUE_FAULTS:
            memory.freeze(now_ns, False)
            memory.blank(now_ns, False)
        if fault is not None and fault.kind == "nan":
            memory.advance(now_ns)
            memory.blank(now_ns, True)
        elif fault is not None and fault.kind == "stuck":
            memory.freeze(now_ns, True)
        if self.logs is not None:
            kind = fault.kind if fault is not None and fault.kind in VALUE_FAULTS else None
            self.logs.held.fault(kind, now_ns)

    def power(self, on: bool, now_ns: int, keep: bool = True) -> None:
        """Lose the power, or start: written values and faults are forgotten, a log is kept or not.

        A fault of values that lasted ends with the power; the log has nothing of the time between.
        """
        self.powered = on
        if self.logs is not None:
            self.logs.power(on, now_ns, keep)
        if on:
            self.set_fault(None, now_ns)
            self.unit.memory.reset(now_ns)


class Bus:
    """The outstations that share one line or socket."""

    def __init__(self, stations: list[Outstation], log: PollLog, now_ns: Callable[[], int]) -> None:
        self.stations = {station.unit_id: station for station in stations}
        if len(self.stations) != len(stations):
            raise ValueError(f"two units with one number on one line: {[s.name for s in stations]}")
        self.log = log
        self.now_ns = now_ns
        self._asked = 0

    def respond(self, asked: Asked, framing: Framing, peer: str) -> Plan:
        """What is sent for a request. Nobody answers for a unit that is not there."""
        station = self.stations.get(asked.unit)
        if station is None or not asked.pdu:
            return _NOTHING
        now_ns = self.now_ns()
        fault = station.fault if station.fault is None else station.fault_now(now_ns)
        if not station.powered:
            self._note(station, asked, now_ns, 0, peer, "no power")
            return _NOTHING
        reply = station.unit.answer(asked.pdu, now_ns)
        self._asked += 1
        plan = apply(fault, Exchange(asked, reply, framing, self._asked))
        if fault is not None:
            outcome = fault.kind
        else:
            outcome = f"exception {reply[1]}" if reply[0] & 0x80 else "ok"
        if station.latency_ms and plan.pieces:
            first, *rest = plan.pieces
            slower = first._replace(delay_s=first.delay_s + station.latency_ms / 1000)
            plan = replace(plan, pieces=(slower, *rest))
        delay_ns = int(sum(piece.delay_s for piece in plan.pieces) * 1e9)
        answered_ns = self.now_ns() + delay_ns if plan.pieces else 0
        self._note(station, asked, now_ns, answered_ns, peer, outcome)
        return plan

    def _note(
        self,
        station: Outstation,
        asked: Asked,
        received_ns: int,
        answered_ns: int,
        peer: str,
        outcome: str,
    ) -> None:
        function, area, address, count = describe(asked.pdu)
        self.log.add(
            Poll(
                received_ns,
                answered_ns,
                station.name,
                asked.unit,
                function,
                area,
                address,
                count,
                peer,
                outcome,
            )
        )
