"""The event log of Enron's modified Modbus: read, told once, acknowledged. Sans-IO.

Reading gives the oldest unread events that fit in a reply, and the same ones again until they are
acknowledged. That clears the log, for every master, and nobody says whether events go with it that
were never sent. So it is read once more directly before, and acknowledged only if it still holds
what was told. Source: Simply Modbus, "Enron Modbus" (operator event, alarm event, event ack).
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final, NamedTuple

from drivers.modbus.frames import READ_HOLDING, WRITE_COIL, coil_payload, read_payload
from drivers.modbus.log.job import SOON_NS, Job, refused
from drivers.modbus.log.ops import Asking, Call, Learn, Reading, Refusal, ask
from drivers.modbus.log.places import insist
from drivers.modbus.log.times import applied, present, settle, wall_ns
from gateway.driver import ClockReading, DeviceEvent, LogPage
from gateway.errors import InvalidReply, LogUnavailable
from profiles.records import TimeFormat
from profiles.windback import Enron

NAME: Final = "events"
"""What the event log of a device is called."""
SIZE: Final = 20
"""Bytes of an event."""
EVENTS_A_REPLY: Final = 12
"""As many as fit."""
EVENTS_KEPT: Final = 255
"""Unread ones that a device keeps at most."""
CHANGE_SEVERITY: Final = 300
ALARM_SEVERITY: Final = 600
RESET_SEVERITY: Final = 300
LOG_SEVERITY: Final = 400

_OPERATOR: Final = 1 << 9
_SET: Final = 1 << 15
_CHANGES: Final = (
    "fixed value",
    "zero scale",
    "full scale",
    "work value",
    "fixed bit",
    "fixed or variable",
    "table entry",
    "system command",
)
"""What an operator changed, from bit 0 on."""
_LIMITS: Final = {10: "LoLo", 11: "Lo", 12: "Hi", 13: "HiHi", 14: "rate of change"}
MORE: Final = (
    "the event log may hold more than one reply brings; acknowledging may clear those unread"
)
WAITING: Final = "its event log holds events that were told before, and waits to be acknowledged"


class _Event(NamedTuple):
    bits: int
    register: int
    stamp: tuple[int, ...]
    old: float
    new: float


def read(job: Job, section: Enron) -> Reading:
    """One reply: the events of it that were not told yet, with what acknowledges them."""
    register = section.event_register or 0
    clock = yield from job.read_clock()
    found = yield from _unread(job, register)
    if not found:
        return
    forgets = section.destructive == "ack" and section.ack != "never"
    told = job.fact.get("told", ())
    events = [
        _in_words(job, clock, each) for each in dict.fromkeys(found) if each.hex() not in told
    ]
    full = len(found) >= EVENTS_A_REPLY
    if events and full:
        events.append(DeviceEvent(job.now_ns, LOG_SEVERITY, MORE))
    if not events and forgets:
        # A page of nothing isn't journalled, and what isn't journalled is never acknowledged.
        events.append(DeviceEvent(job.now_ns, LOG_SEVERITY, WAITING))
    if not events:
        return
    raw = [each.hex() for each in found]
    yield LogPage(
        job.wanted.from_ns,
        job.wanted.to_ns,
        events=events,
        records=len(found),
        clock=clock,
        acknowledge=raw if forgets else None,
        fullness=None if full else len(found) / EVENTS_KEPT,
    )
    if list(told) != raw:
        yield Learn({"told": raw})


def acknowledge(job: Job, told: Any) -> Reading:
    """Clear the log, if it holds just what was told. Sent once; what comes of it is not assumed.

    Raises LogUnavailable when there are others, InvalidReply for a wrong echo.
    """
    section = job.section
    assert isinstance(section, Enron)
    register = section.event_register or 0
    found = yield from _unread(job, register)
    if not found:
        return  # another master was here
    if [each.hex() for each in found] != list(told):
        raise LogUnavailable("the event log holds others by now: they are read first", SOON_NS)
    payload = coil_payload(register, True)
    answer = yield from ask(Call(WRITE_COIL, payload, once=True))
    if isinstance(answer, Refusal):
        raise refused("the acknowledgement", answer, "Write `ack: never` if it is not allowed")
    if answer.data != payload:
        raise InvalidReply(f"the acknowledgement was answered by {answer.data.hex(' ')}")


def _unread(job: Job, register: int) -> Asking[list[bytes]]:
    """The unread events that fit in a reply, oldest first."""
    call = Call(READ_HOLDING, read_payload(register, 1), once=True)
    answer = yield from insist(call, job.limits.busy)
    if isinstance(answer, Refusal):
        raise refused("the event log", answer, "Check `event_register:`")
    size, data = answer.data[0] if answer.data else -1, answer.data[1:]
    if len(data) != size or size % SIZE:
        raise InvalidReply(f"the event log gave {len(data)} bytes, no multiple of {SIZE}")
    return [data[at : at + SIZE] for at in range(0, size, SIZE)]


def _in_words(job: Job, clock: ClockReading | None, raw: bytes) -> DeviceEvent:
    bits, register = struct.unpack(">HH", raw[:4])
    event = _Event(bits, register, struct.unpack(">4H", raw[4:12]), *struct.unpack(">2f", raw[12:]))
    wall = wall_ns(TimeFormat.FLOAT_HHMMSS_MMDDYY, event.stamp)
    time_ns, undated = job.now_ns, " (at a time that it doesn't tell)"
    if wall is not None:
        # Of two moments the later, unless that is yet to come.
        (raw_ns,) = settle([wall], job.zone, before_ns=present(job.now_ns, clock))
        time_ns, undated = raw_ns - applied(clock), ""
    point = _point(job, event.register)
    name = point or f"register {event.register}"
    text, severity = _change(event, name) if event.bits & _OPERATOR else _alarm(event, name)
    return DeviceEvent(time_ns, severity, text + undated, point)


def _change(event: _Event, name: str) -> tuple[str, int]:
    what = [text for bit, text in enumerate(_CHANGES) if event.bits >> bit & 1]
    kind = f" ({', '.join(what)})" if what else ""
    return (
        f"an operator changed {name}{kind} from {_shown(event.old)} to {_shown(event.new)}",
        CHANGE_SEVERITY,
    )


def _alarm(event: _Event, name: str) -> tuple[str, int]:
    limits = [text for bit, text in _LIMITS.items() if event.bits >> bit & 1]
    what = f"{' '.join(['alarm', *limits])} of {name}"
    if event.bits & _SET:
        return f"{what} at {_shown(event.old)}", ALARM_SEVERITY
    return f"{what} is over at {_shown(event.old)}", RESET_SEVERITY


def _shown(value: float) -> str:
    return f"{value:.7g}" if math.isfinite(value) else "no number"


def _point(job: Job, register: int) -> str:
    """The device's point at a register, or ""."""
    maps, numbers = job.points
    names = (name for name, each in maps.items() if each.address == register and name in numbers)
    return next(names, "")
