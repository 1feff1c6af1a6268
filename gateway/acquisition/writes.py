"""Control writes: checked, journalled before bytes leave, read back, journalled again.

Ordered per device, never queued behind a dead one, never repeated. A pulse is two writes: the
second belongs to the reign that made the first; if the reign ends in between, the pulse stays
unfinished, and that is an alarm, because a late second write would be worse (rules.md 9).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from gateway.acquisition.carried import same_point
from gateway.acquisition.collector import Collector
from gateway.acquisition.house import Commit, House
from gateway.driver import DeviceSpec, LineSpec, PointSpec, WriteOutcome
from gateway.ending import end
from gateway.errors import DeviceError, InvalidReply, JournalError, ReplyTimeout, WriteRefused
from gateway.journal.records import Audit, Fact
from gateway.model import NS_PER_S, Status, Value, is_good, status_name

log = logging.getLogger(__name__)
WAITING_MAX: Final = 16
"""Writes that may wait for one device; more are refused, so that none is ever late by much."""

CUT: Final = "the write was cut off; the device may have executed it or not"

STOP_S: Final = 0.5
"""How long a stop waits for the records of the writes that it cut off."""

SERIAL_REPLY_S: Final = 2.0
"""How long a stop waits for the reply to a write on a serial line, where the next to speak would
meet it."""

STOPS: Final = WriteOutcome(Status.BAD_SHUTDOWN, None, "the node stops")
NOT_MAIN: Final = WriteOutcome(Status.BAD_INVALID_STATE, None, "this node does not reign")
HANDS_OVER: Final = WriteOutcome(
    Status.BAD_INVALID_STATE, None, "this node hands its reign over: try again"
)
CHANGED: Final = WriteOutcome(
    Status.BAD_INVALID_STATE, None, "a new revision of the configuration changed the point"
)

PULSE: Final = "pulse "
"""Facts of this prefix say of a point whether a pulse runs on it."""


_Place = tuple[PointSpec, DeviceSpec, LineSpec]


class _Pulse(NamedTuple):
    """A pulse that runs, and where the device has it, numbers and neighbours apart."""

    task: asyncio.Task[None]
    point: PointSpec
    place: _Place


class Writer:
    """Carries out the writes of clients to devices."""

    def __init__(
        self, collector: Collector, house: House, may_write: Callable[[], str | None]
    ) -> None:
        self._collector = collector
        self._house = house
        self._may_write = may_write
        self._order: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._pulses: dict[str, _Pulse] = {}
        self._sent: dict[asyncio.Future[WriteOutcome], bool] = {}
        self._under_way: set[asyncio.Future[None]] = set()
        self._refuses: WriteOutcome | None = None
        self._stopped = False

    # ------------------------------------------------------------------------------ the reign

    def begin(self) -> None:
        """A reign began, or goes on: writes are carried out."""
        self._refuses = None
        self._stopped = False

    def halt(self, why: WriteOutcome = NOT_MAIN) -> None:
        """Refuse what comes from now on, at once; while it `HANDS_OVER`, what waits is done."""
        self._refuses = why

    async def settled(self, patience_s: float) -> None:
        """Wait until no write is under way, but no longer than `patience_s`."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=patience_s)

    async def stop(self) -> None:
        """End with the reign: writes under way are cut, a pulse stays unfinished; both are told.

        A reply on a serial line is waited for, since whoever speaks next would meet it.
        """
        self._refuses = self._barred() or STOPS
        self._stopped = True
        serial = [sent for sent, on_serial in self._sent.items() if on_serial]
        await end([sent for sent, on_serial in self._sent.items() if not on_serial])
        if serial:
            await asyncio.wait(serial, timeout=SERIAL_REPLY_S)
        await end(serial)
        await self.settled(STOP_S)
        running = list(self._pulses.values())
        for pulse in running:
            self._give_up(pulse, "the reign ended first")
        await asyncio.gather(*(pulse.task for pulse in running), return_exceptions=True)

    def revised(self) -> None:
        """Another revision is in force: a pulse is ended only where it was begun."""
        for pulse in list(self._pulses.values()):
            point = self._collector.points.get(pulse.point.id)
            if point is None or self._place(point) != pulse.place:
                self._give_up(pulse, "a new revision changed the point")

    def _barred(self) -> WriteOutcome | None:
        """Why nothing may be written at all, not even what was begun before."""
        return None if self._refuses is HANDS_OVER else self._refuses

    # ------------------------------------------------------------------------------ a write

    async def write(self, who: str, point: PointSpec, value: Value) -> WriteOutcome:
        """Write one point for `who`; the outcome carries the StatusCode that the client gets."""
        return await self._counted(who, point, value, self._refuses)

    async def _counted(
        self, who: str, point: PointSpec, value: Value, refused: WriteOutcome | None
    ) -> WriteOutcome:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(ended)
        try:
            return await self._write(who, point, value, refused)
        finally:
            self._under_way.discard(ended)
            ended.set_result(None)

    async def _write(
        self, who: str, point: PointSpec, value: Value, refused: WriteOutcome | None
    ) -> WriteOutcome:
        refusal = refused or self._refusal(point, value)
        if refusal is not None:
            await self._tell(who, point, "refused", value, refusal)
            return refusal
        lock = self._order.setdefault(point.device, asyncio.Lock())
        self._waiting[point.device] = self._waiting.get(point.device, 0) + 1
        try:
            async with lock:
                if (refusal := self._barred() or self._changed(point)) is not None:
                    await self._tell(who, point, "refused", value, refusal)
                    return refusal
                outcome, shown = await self._write_now(who, point, value)
        finally:
            self._waiting[point.device] -= 1
        if shown is not None:
            # Whoever reads after the write sees it. A store that fails shows it all the same.
            with suppress(JournalError):
                await shown
        return outcome

    def _changed(self, point: PointSpec) -> WriteOutcome | None:
        known = self._collector.points.get(point.id)
        return CHANGED if known is None or not same_point(known, point) else None

    def _refusal(self, point: PointSpec, value: Value) -> WriteOutcome | None:
        if (changed := self._changed(point)) is not None:
            return changed
        if not point.access.writable:
            return WriteOutcome(Status.BAD_NOT_WRITABLE, None, "the point is read-only")
        maintenance = self._collector.maintenance
        if point.device in maintenance.disabled or point.id in maintenance.disabled:
            return WriteOutcome(Status.BAD_OUT_OF_SERVICE, None, "disabled for maintenance")
        if (reason := self._may_write()) is not None:
            return WriteOutcome(Status.BAD_INVALID_STATE, None, reason)
        if (fault := self._collector.states[point.device].fault) is not None:
            return WriteOutcome(fault.status, None, f"the device is down: {fault.detail}")
        if self._waiting.get(point.device, 0) >= WAITING_MAX:
            return WriteOutcome(Status.BAD_RESOURCE_UNAVAILABLE, None, "too many writes wait")
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = point.minimum, point.maximum
            if (low is not None and value < low) or (high is not None and value > high):
                text = f"{value} is outside {low} to {high}"
                return WriteOutcome(Status.BAD_OUT_OF_RANGE, None, text)
        return None

    async def _write_now(
        self, who: str, point: PointSpec, value: Value
    ) -> tuple[WriteOutcome, Commit]:
        """The outcome, and the commit of the value that was read back, if it is a new one."""
        pulse = point.pulse_ns is not None and value is True
        if pulse:
            self._remember(point, True)
        try:
            await self._audit(who, point, "intent", value, None)
        except JournalError as error:
            self._remember(point, False, pulse)
            return WriteOutcome(Status.BAD_INVALID_STATE, None, f"not journalled: {error}"), None
        if (barred := self._barred() or self._changed(point)) is not None:
            self._remember(point, False, pulse)
            await self._tell(who, point, "result", value, barred)
            return barred, None
        line = self._collector.line_of(point.device)
        # By the number it has now: a new revision may have come while this write waited.
        sent = asyncio.ensure_future(line.write(self._collector.points[point.id], value))
        self._sent[sent] = line.serial
        sent.add_done_callback(self._sent.pop)
        try:
            outcome = await sent
        except asyncio.CancelledError:
            outcome = WriteOutcome(Status.BAD_SHUTDOWN, None, CUT)
            if pulse:
                self._unfinished(point.device, point.name, "its begin was not confirmed")
            if not self._stopped:
                self._remember(point, False, pulse)
                self._house.append(self._entry(who, point, "result", value, outcome))
                raise
        except WriteRefused as error:
            outcome = WriteOutcome(error.status, None, str(error))
        except DeviceError as error:
            outcome = WriteOutcome(error.status, None, str(error))
            if pulse and isinstance(error, ReplyTimeout | InvalidReply):
                self._unfinished(point.device, point.name, "its begin was not confirmed")
        # First of all: what the next scan says of the point comes after what was read back.
        shown = self._show(point, outcome)
        await self._tell(who, point, "result", value, outcome)
        if pulse and is_good(outcome.status):
            self._begin_pulse(who, point)
        else:
            self._remember(point, False, pulse)
        return outcome, shown

    def _show(self, point: PointSpec, outcome: WriteOutcome) -> Commit:
        """Have the value that was read back journalled, by the number that it has now."""
        if not is_good(outcome.status) or outcome.read_back is None or self._changed(point):
            return None
        known = self._collector.points[point.id]
        return self._collector.read_back(known, outcome.read_back, outcome.read_back_ns)

    async def _tell(
        self, who: str, point: PointSpec, stage: str, value: Value, outcome: WriteOutcome
    ) -> None:
        """Journal how a write ended; it has ended so whether the store takes this or not."""
        try:
            await self._audit(who, point, stage, value, outcome)
        except JournalError as error:
            text = f"{stage} write of {value!r} by {who} on {point.name} not journalled: {error}"
            self._house.alarm(point.device, 800, text)

    async def _audit(
        self, who: str, point: PointSpec, stage: str, value: Value, outcome: WriteOutcome | None
    ) -> None:
        await self._house.commit(self._entry(who, point, stage, value, outcome))

    def _entry(
        self, who: str, point: PointSpec, stage: str, value: Value, outcome: WriteOutcome | None
    ) -> Audit:
        detail: dict[str, object] = {"value": value}
        text = stage
        if outcome is not None:
            text = f"{stage} {status_name(outcome.status)}"
            detail |= {"read_back": outcome.read_back, "detail": outcome.detail}
        now_ns = self._house.clock.utc_ns()
        return Audit("write", point.id, now_ns, who, text, detail)

    def _place(self, point: PointSpec) -> _Place:
        device = self._collector.devices[point.device]
        spec = self._collector.line_of(point.device).spec
        return replace(point, number=0), replace(device, points=()), replace(spec, devices=())

    def _begin_pulse(self, who: str, point: PointSpec) -> None:
        if self._changed(point) or self._barred():
            self._unfinished(point.device, point.name, "it can't be ended any more")
            self._remember(point, False)
            return
        if (running := self._pulses.pop(point.id, None)) is not None:
            running.task.cancel()
        task = asyncio.create_task(self._end_pulse(who, point), name=f"pulse {point.id}")
        self._pulses[point.id] = _Pulse(task, point, self._place(point))
        task.add_done_callback(partial(self._pulse_done, point.id))

    def _pulse_done(self, point: str, task: asyncio.Task[None]) -> None:
        if (pulse := self._pulses.get(point)) is not None and pulse.task is task:
            del self._pulses[point]

    def _give_up(self, pulse: _Pulse, why: str) -> None:
        pulse.task.cancel()
        self._pulses.pop(pulse.point.id, None)
        self._unfinished(pulse.point.device, pulse.point.name, why)
        self._remember(pulse.point, False)

    async def _end_pulse(self, who: str, point: PointSpec) -> None:
        assert point.pulse_ns is not None
        await asyncio.sleep(point.pulse_ns / NS_PER_S)
        try:
            outcome = await self._counted(f"{who} (pulse)", point, False, self._barred())
        except Exception as error:  # whatever it is: an output that stays on is told
            log.error("the pulse on %s failed", point.id, exc_info=error)
            self._unfinished(point.device, point.name, f"internal error: {error}")
        else:
            if not is_good(outcome.status):
                why = outcome.detail or status_name(outcome.status)
                self._unfinished(point.device, point.name, why)
        self._remember(point, False)

    def _remember(self, point: PointSpec, runs: bool, changed: bool = True) -> None:
        """Journal that a pulse runs or no longer runs: whoever comes after a crash must know."""
        if changed:
            now_ns = self._house.clock.utc_ns()
            self._house.append(Fact(point.device, f"{PULSE}{point.name}", runs, now_ns))

    def tell_unfinished(self, facts: Mapping[tuple[str, str], object]) -> None:
        """Alarm for each pulse that the reign before this one left running."""
        for (device, key), runs in facts.items():
            if key.startswith(PULSE) and runs is True:
                self._unfinished(device, key.removeprefix(PULSE), "the node ended first")
                now_ns = self._house.clock.utc_ns()
                self._house.append(Fact(device, key, False, now_ns))

    def _unfinished(self, device: str, name: str, why: str) -> None:
        text = f"the pulse on {name} was not ended: {why}. Check the output by hand"
        self._house.alarm(device, 900, text)
