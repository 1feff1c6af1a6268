"""One unit of a line: its plan run, its refusals isolated, its answers turned to observations."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Protocol

from drivers.modbus import frames
from drivers.modbus.backoff import Breaker
from drivers.modbus.download import Download
from drivers.modbus.layout import Block, Layout
from drivers.modbus.models import Models
from drivers.modbus.pdu import RawRequest
from drivers.modbus.plan import Request, bisect, passed_over
from drivers.modbus.refusals import Refusal, Refusals
from drivers.modbus.settings import ModbusDevice, effective
from gateway.driver import DeviceSpec, Diagnostics, DriverContext, Fault, Frame, Observation
from gateway.errors import DeviceError, InvalidReply, LinkError, Refused, ReplyTimeout
from gateway.model import NS_PER_S, Status
from profiles.schema import Area

ISOLATE_MAX: Final = 40
"""Requests spent in one scan on finding a bad address; the rest is found at the next doubt."""
ALARM_REFUSED: Final = 400
ALARM_SUNSPEC: Final = 500


class Exchange(Protocol):
    """Sends one request of a unit and gives the data of its reply.

    Raises LinkError, ReplyTimeout, InvalidReply or Refused.
    """

    async def __call__(self, unit: Unit, request: RawRequest, size: int | None) -> bytes: ...


class Unit:
    """A device on the line; everything it sends goes through `exchange`."""

    def __init__(
        self,
        spec: DeviceSpec,
        context: DriverContext,
        exchange: Exchange,
        *,
        serial: bool,
        shared: bool,
    ) -> None:
        self.spec = spec
        self.settings: ModbusDevice = spec.settings
        self.holds = effective(spec)
        self.breaker = Breaker()
        self.resets = 0
        self.withdrawn = False
        self.complete = True
        self.diagnostics = Diagnostics()
        self.sinks: list[Callable[[Frame], None]] = []
        self.fault: Fault | None = None
        self.write_lock = asyncio.Lock()
        self.anchor: tuple[int, int, int] | None = None
        self.asked_ns = self.answered_ns = 0
        """When the last request was sent and its answer was there, ns UTC."""
        self._context = context
        self._exchange = exchange
        self._shared = shared
        self._serial = serial
        self._download = Download(self._fact("given") or ())
        now_ns = context.clock.monotonic_ns()
        self.refusals = Refusals(self._fact("refused") or (), now_ns)
        self._models = Models(self.holds.sunspec, self._words_or_refusal, self._fact("sunspec"))
        self.layout = Layout.of(spec, self.holds, self._models.fact, serial)
        limits: dict[str, int] = self._fact("limits") or {}
        for key, count in limits.items():
            self.layout.learn_limit(key == "max_read_bits", count)
        self._note()

    def _fact(self, key: str) -> Any:
        return self._context.facts.get((self.spec.name, key))

    # ------------------------------------------------------------------------------------- reading

    def prepare(self) -> None:
        """Make the plans of all classes; those of points that must be found first are not known."""
        if not self.layout.has_models or self._models.fact is not None:
            for scan_class in self.spec.scan_classes:
                self.layout.plan_of(scan_class, self.refusals)

    async def scan(self, scan_class: str, generation: int) -> list[Observation]:
        """Read one class. Raises DeviceError when the device as a whole did not answer."""
        observations: list[Observation] = []
        self.complete = True
        if self.layout.has_models:
            await self._locate_models(generation)
        due = self.refusals.due(self._context.clock.monotonic_ns()) if self.refusals else None
        if due is not None:
            await self._doubt(due, observations)
        prepared = self.layout.plan_of(scan_class, self.refusals)
        await self._read_blocks(scan_class, prepared.blocks, observations)
        if not prepared.told:
            prepared.told = True
            self._observe_bad(prepared.unread, observations)
        return observations

    def forget(self) -> None:
        """Observe every point again at the next scan."""
        self.layout.forget()

    async def read(self, raw: RawRequest, size: int | None) -> bytes:
        """Ask, and ask again as far as the device's `retries` and its busy rules allow.

        On a shared line a unit that let a time-out pass isn't asked again before the others were.
        """
        clock = self._context.clock
        busy_rule = self.holds.limits.busy
        attempts = busy = 0
        while True:  # bounded: each round ends, or counts towards `retries` or `busy.tries`
            began_ns = clock.monotonic_ns()
            try:
                return await self._exchange(self, raw, size)
            except Refused as refused:
                busy += 1
                if refused.code not in busy_rule.codes or busy >= busy_rule.tries:
                    raise
                waits_ms = busy_rule.backoff_ms or (0,)
                await asyncio.sleep(waits_ms[min(busy, len(waits_ms)) - 1] / 1000)
            except (LinkError, ReplyTimeout, InvalidReply):
                slow = clock.monotonic_ns() - began_ns > self.settings.timeout_ns // 2
                if attempts >= self.settings.retries or (self._shared and slow):
                    raise
                attempts += 1

    async def send(self, raw: RawRequest) -> None:
        """Send a write once and check its echo. Raises DeviceError."""
        await self._exchange(self, raw, None)

    async def once(self, raw: RawRequest, size: int | None) -> bytes:
        """Ask once, whatever comes of it. Raises DeviceError."""
        return await self._exchange(self, raw, size)

    async def read_words(self, area: Area, address: int, count: int) -> list[int]:
        """Read registers, or bits as 0 and 1. Raises DeviceError."""
        function = self.layout.function(area)
        raw = RawRequest(self.settings.unit_id, function, frames.read_payload(address, count))
        data = await self.read(raw, frames.read_size(function, count))
        if area.is_bits:
            packed = int.from_bytes(data, "little")
            return [packed >> index & 1 for index in range(count)]
        return list(struct.unpack(f">{count}H", data))

    async def _read_blocks(
        self, scan_class: str, blocks: Sequence[Block], observations: list[Observation]
    ) -> None:
        """Read all blocks of a class; those that are refused are looked at once all were asked."""
        answers = [(block, await self._read_block(block, observations)) for block in blocks]
        refused = [(block, error) for block, error in answers if error is not None]
        if refused:
            await self._suspect_models()
        answered = any(error is None and block.last is not None for block, error in answers)
        not_ready = self._not_ready(scan_class, refused, answered)
        for block, error in refused:
            if block.request in not_ready:
                self._block_failed(block, Status.BAD_DEVICE_FAILURE, observations)
            else:
                block.last = None
                await self._isolate(block, error.code, observations)

    def _not_ready(
        self, scan_class: str, refused: Sequence[tuple[Block, Refused]], answered: bool
    ) -> Collection[Request]:
        """Which of the refused requests the device will answer again once it is ready."""
        now_ns = self._context.clock.monotonic_ns()
        requests = {block.request for block, _ in refused}
        if answered:
            had_given = self._download.has_given(scan_class)
            if self._download.gave(scan_class, now_ns):
                self._context.learned(self.spec.name, "given", self._download.given)
            again = self._download.again(scan_class, requests)
            return requests - again if had_given else ()
        if not refused or not self._download.lasts(scan_class, now_ns):
            return ()
        if self._download.is_news():
            why = frames.exception_name(refused[0][1].code)
            text = f"the device refuses all that it gave: {why}: is it in download?"
            self._context.alarm(self.spec.name, ALARM_REFUSED, text)
        return requests

    async def _read_block(self, block: Block, observations: list[Observation]) -> Refused | None:
        """Read a block; what it says if these addresses are not what the device has."""
        try:
            data = await self.read(block.raw, block.size)
        except Refused as refused:
            if refused.code in frames.BAD_ADDRESS:
                return refused
            if self._kills(refused):
                raise
            self._block_failed(block, _failure(refused.code), observations)
            return None
        if data != block.last:
            self._accept(block, data, observations)
        return None

    def _accept(self, block: Block, data: bytes, observations: list[Observation]) -> None:
        time_ns = self._context.clock.utc_ns()
        block.last, block.status = data, Status.GOOD
        observations += [
            Observation(number, time_ns, value, status)
            for number, value, status in block.decode(data)
        ]
        if not block.maps[block.request.points[0]].point.volatile:
            self.anchor = (block.raw.function_code, block.request.address, block.request.count)

    def _kills(self, refused: Refused) -> bool:
        """Whether an exception speaks of the device as a whole, not of the block."""
        return refused.code in frames.DEAD_TARGET or refused.code in self.holds.limits.busy.codes

    def _block_failed(self, block: Block, status: int, observations: list[Observation]) -> None:
        """The device failed at this block (exception 4 and the like): the others are kept."""
        if block.status != status:
            self._observe_bad([(n, status) for n in block.point_numbers], observations)
        block.last, block.status = None, status
        self.complete = False

    def _observe_bad(
        self, points: Sequence[tuple[int, int]], observations: list[Observation]
    ) -> None:
        time_ns = self._context.clock.utc_ns()
        observations += [Observation(number, time_ns, None, status) for number, status in points]

    # ------------------------------------------------------------------------------------ refusals

    async def _isolate(self, whole: Block, code: int, observations: list[Observation]) -> None:
        """Split a refused request until the bad addresses stand alone, and remember them."""
        # An unknown function is refused for every address: splitting would only cost time.
        budget = 0 if code == 1 else ISOLATE_MAX
        maps, numbers, stack = whole.maps, whole.numbers, [(whole.request, code)]
        while stack:
            request, code = stack.pop()
            parts = bisect(request, maps) if budget > 0 else ()
            if not parts:
                self._refuse(request.area, request.address, request.last, code)
                bad = [(numbers[i], _status_of(code)) for i in request.points if numbers[i] >= 0]
                self._observe_bad(bad, observations)
                continue
            refused = 0
            for part in parts:
                budget -= 1
                block = self.layout.block(part, maps, numbers)
                try:
                    self._accept(block, await self.read(block.raw, block.size), observations)
                except Refused as error:
                    if self._kills(error):
                        raise
                    if error.code in frames.BAD_ADDRESS:
                        stack.append((part, error.code))
                    else:
                        self._block_failed(block, _failure(error.code), observations)
                    refused += 1
            if not refused:
                self._blame_the_whole(request, parts, code)
        self._learned_refusals()

    def _blame_the_whole(self, request: Request, parts: Sequence[Request], code: int) -> None:
        """Every part was answered where the whole was refused: its holes or its length are why."""
        holes = passed_over(request, parts)
        for area, first, last in holes:
            self._refuse(area, first, last, code)
        if not holes:
            longest = max(part.count for part in parts)
            self.layout.learn_limit(request.area.is_bits, longest)
            limits = self.layout.holds.limits
            self._context.learned(
                self.spec.name,
                "limits",
                {
                    "max_read_words": limits.max_read_words,
                    "max_read_bits": limits.max_read_bits,
                },
            )

    def _refuse(self, area: Area, first: int, last: int, code: int) -> None:
        self.refusals.add(area, first, last, code, self._context.clock.monotonic_ns())

    def _learned_refusals(self, alarm: bool = True) -> None:
        self.layout.replan()
        self._context.learned(self.spec.name, "refused", self.refusals.fact())
        self._note()
        if alarm and self.refusals:
            text = f"the device refuses {self.refusals}"
            self._context.alarm(self.spec.name, ALARM_REFUSED, text)

    def _note(self) -> None:
        if self.refusals:
            self.diagnostics.notes["refused"] = str(self.refusals)
        else:
            self.diagnostics.notes.pop("refused", None)

    async def _doubt(self, refusal: Refusal, observations: list[Observation]) -> None:
        """Ask for refused addresses again: a PLC's program may have changed."""
        request, maps, numbers = self.layout.request_of(refusal.area, refusal.first, refusal.last)
        if not maps:
            # Nobody wants these addresses; they are in the way of a longer request at most.
            self.refusals.postpone(refusal, self._context.clock.monotonic_ns())
            return
        block = self.layout.block(request, maps, numbers)
        try:
            data = await self.read(block.raw, block.size)
        except Refused as error:
            if self._kills(error):
                raise
            self.refusals.postpone(refusal, self._context.clock.monotonic_ns())
            if len(bisect(request, maps)) and error.code in frames.BAD_ADDRESS:
                self.refusals.remove(refusal)
                await self._isolate(block, error.code, observations)
            return
        self.refusals.remove(refusal)
        self._accept(block, data, observations)
        self._learned_refusals(alarm=False)

    # ------------------------------------------------------------------------------------- SunSpec

    async def _locate_models(self, generation: int) -> None:
        """Find the SunSpec models, or check cheaply that they are where they were."""
        before = self._models.fact
        if not await self._models.look(generation, self._context.clock.monotonic_ns()):
            return
        fact = self._models.fact
        if fact is None:
            self._context.alarm(self.spec.name, ALARM_SUNSPEC, "no SunSpec mark was found")
            self.diagnostics.notes["sunspec"] = f"no mark at {self.holds.sunspec.bases}"
        else:
            self.diagnostics.notes.pop("sunspec", None)
            if fact != before:
                self._context.learned(self.spec.name, "sunspec", fact)
        for name in self.layout.missing:
            self.diagnostics.notes.pop(f"sunspec {name}", None)
        limits = self.layout.holds
        self.layout = Layout.of(self.spec, limits, fact, self._serial)
        for name, reason in self.layout.missing.items():
            self.diagnostics.notes[f"sunspec {name}"] = reason

    async def _suspect_models(self) -> None:
        """A refused block of a model may mean that the models moved. Raises InvalidReply then."""
        if self.layout.has_models and not await self._models.stand():
            raise InvalidReply("the device's SunSpec models are not where they were")

    async def _words_or_refusal(self, address: int, count: int) -> list[int] | None:
        try:
            return await self.read_words(Area.HOLDING, address, count)
        except Refused as refused:
            if self._kills(refused):
                raise
            return None

    # ------------------------------------------------------------------------------------ failures

    def failed(self, error: DeviceError) -> None:
        """Count a failure and note that the next scan must observe every point."""
        self.diagnostics.failed(self._context.clock.utc_ns(), error.message)
        self.diagnostics.connected = False
        self._models.suspect()
        self.forget()

    def gap_ns(self) -> int:
        """The silence this device wants between two requests."""
        return self.holds.limits.min_gap_ms * (NS_PER_S // 1000)


def _status_of(code: int) -> int:
    return frames.READ_STATUS.get(code, Status.BAD_CONFIGURATION_ERROR)


def _failure(code: int) -> int:
    return frames.READ_STATUS.get(code, Status.BAD_DEVICE_FAILURE)
