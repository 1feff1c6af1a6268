"""Windback at work: one task a line reads logs while this node reigns, and journals what they give.

What is asked next is decided in `planner`, what a page means in `filling`. The runner knows gaps
from the journal only, so it goes on over restarts and on either node where the last one stopped.
It never holds a line: each request of a read waits for its turn between the scans.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

from gateway.driver import Lacking, LogPage, LogSpec, LogWanted
from gateway.errors import ControlError, DeviceError, JournalError, LogUnavailable
from gateway.journal.coverage import subtract, union
from gateway.journal.records import Batch, Coverage, Fact, Record, Ruling
from gateway.model import NS_PER_S
from gateway.windback.filling import Target, by_class, class_points, lost
from gateway.windback.forgetting import Forgetting, Older
from gateway.windback.planner import (
    NOT_LOGGED,
    Ask,
    Declare,
    DeviceView,
    LogMemory,
    Stretch,
    decide,
    needed,
    wanted_gaps,
)
from gateway.windback.reading import RESUMES_MAX, DeviceState, Ports, Reading, read_aside

__all__ = ["Ports", "Runner"]

log = logging.getLogger(__name__)

SETTLED_NS: Final = 2 * NS_PER_S
"""A gap that ended later may still be covered by a claim that is on its way."""
KEPT_BACK_NS: Final = 60 * NS_PER_S
"""How far behind the settled past is looked at again."""
LOOK_AGAIN_S: Final = 30.0
"""How often a line with open gaps looks whether a log can be read now."""
FORCED_MAX: Final = 100
ENDED: Final = "the device recorded nothing later"


class Runner:
    """Reads logs from `begin` to `end`, once a reign."""

    def __init__(self, ports: Ports, forgetting: Forgetting) -> None:
        self._ports = ports
        self._forgetting = forgetting
        self._reigning = False
        self._spoke = False
        self._floor_ns = 0
        self._devices: dict[str, DeviceState] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._reads: dict[str, asyncio.Lock] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._bugs: dict[str, str] = {}

    # ------------------------------------------------------------------------------ a reign

    def begin(self) -> None:
        """A reign, or a revision, begins: look after every device that keeps a log."""
        self._reigning = True
        floor_ns = self._floor_ns = self._ports.floor_ns()
        capable = {n: d for n, d in self._ports.devices().items() if self._ports.logs(n)}
        before, self._devices = self._devices, {}
        for name in capable:
            self._devices[name] = before.get(name) or DeviceState(name, floor_ns)
        lines = dict.fromkeys(device.line for device in capable.values())
        for line in [line for line in self._tasks if line not in lines]:
            self._end(line)
        for line in lines:
            self._wakes.setdefault(line, asyncio.Event()).set()
            if line not in self._tasks:
                task = asyncio.create_task(self._work(line), name=f"windback {line}")
                self._tasks[line] = task

    def _end(self, line: str) -> None:
        task = self._tasks.pop(line)
        self._wakes.pop(line)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    def clock_stepped(self) -> None:
        """The clock was set: what is under way was measured by the old one, and is read anew."""
        if self._reigning:
            for line in list(self._tasks):
                self._end(line)
            self._forgetting.clear()
            for device in self._devices.values():
                device.memory.clear()  # when to try again is told by the old clock
            self._look_at_all()
            self.begin()

    def halt(self) -> None:
        """The reign ends: read no more. Locks are given back while requests may still be sent."""
        self._reigning = self._spoke = False
        for line in list(self._tasks):
            self._end(line)
        self._devices.clear()
        self._forgetting.clear()

    async def end(self, patience_s: float) -> None:
        """Halt, and wait until locks are given back."""
        self.halt()
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=patience_s)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Every task that must not end by itself."""
        return list(self._tasks.values())

    # ------------------------------------------------------------------------------ being told

    def committed(self, records: Sequence[Record], own: Callable[[Record], bool]) -> None:
        """Hear of commits: a class that is complete again has a gap behind it.

        What the other node claimed, or a ruling, may change any gap; an own claim makes what was
        complete lately known as covered. Of some devices it is learned late that they keep a log.
        """
        if not self._reigning:
            return
        if (floor_ns := self._ports.floor_ns()) < self._floor_ns:  # the other node is older
            self._floor_ns = floor_ns
            self._look_at_all()
        for record in records:
            body = record.body
            if isinstance(body, Batch):
                if body.complete and (device := self._devices.get(body.device)) is not None:
                    device.dirty = True
            elif isinstance(body, Ruling) or (isinstance(body, Coverage) and not own(record)):
                self._look_at_all()
            elif isinstance(body, Fact):
                devices, found = self._ports.devices(), body.device
                if found in devices and self._ports.logs(found):
                    if found not in self._devices:
                        self.begin()
                    self._devices[found].dirty = True  # there may be more points in its log
                    self._wakes[devices[found].line].set()
            elif isinstance(body, Coverage):
                if not self._spoke:  # a blank journal knows no scan class before
                    self._spoke = True
                    self._look_at_all()
                self._see_holes(body)
                for name, wake in self._wakes.items():
                    if any(d.dirty and self._ports.answers(d.name) for d in self._on(name)):
                        wake.set()

    def _see_holes(self, claim: Coverage) -> None:
        """A scan that was skipped leaves a hole behind in a class that is complete all the time."""
        for hole in claim.holes:
            device = self._devices.get(hole.device)
            if device is not None and hole.to_ns < claim.through_ns:
                device.dirty = True

    def _look_at_all(self) -> None:
        floor_ns = self._ports.floor_ns()
        for device in self._devices.values():
            device.dirty, device.since_ns = True, floor_ns

    def asked(self, device: str, from_ns: int, to_ns: int) -> int:
        """Somebody asks by hand for a stretch, lost or disabled gaps included.

        How many stretches wait for this device. Raises KeyError when it keeps no log.
        """
        known = self._devices[device]
        known.forced = union([*known.forced, (from_ns, to_ns)])[-FORCED_MAX:]
        known.since_ns = min(known.since_ns, from_ns)
        known.dirty = True
        for memory in known.memory.values():
            memory.retry_ns = 0
        self._wakes[self._ports.devices()[device].line].set()
        return len(known.forced)

    def status(self) -> dict[str, dict[str, Any]]:
        """What each device's windback does, by device."""
        return {name: self._status(device) for name, device in self._devices.items()}

    def _status(self, device: DeviceState) -> dict[str, Any]:
        gaps, progress = wanted_gaps(self._view(device)), device.progress
        waits = [memory.why for memory in device.memory.values() if memory.why]
        return {
            "logs": [spec.name for spec in self._ports.logs(device.name)],
            "open_gaps": len(gaps),
            "open_ms": sum(gap.to_ns - gap.from_ns for gap in gaps) / 1e6,
            "records": device.records,
            "samples": device.samples,
            "reading": progress._asdict() if progress is not None else None,
            "waits": waits[0] if waits else "",
        }

    async def pages(self, device: str, wanted: LogWanted) -> AsyncGenerator[LogPage, None]:
        """Read a log for somebody else, between the reads for gaps; nothing is journalled.

        Raises ControlError for a log that isn't there, and DeviceError.
        """
        ports = self._ports
        spec = next((log for log in ports.logs(device) if log.name == wanted.log), None)
        if spec is None:
            raise ControlError(f"{device} keeps no log {wanted.log!r}", "`hotpair gaps` tells")
        if spec.stateful and (why := ports.refused()) is not None:
            raise ControlError(f"the log of {device} can't be read now: {why}")
        reads = self._reads.setdefault(ports.devices()[device].line, asyncio.Lock())
        async with reads, aclosing(read_aside(ports, device, wanted, spec.share)) as pages:
            async for page in pages:
                yield page

    # ------------------------------------------------------------------------------ working

    def _on(self, line: str) -> list[DeviceState]:
        specs = self._ports.devices()
        return [d for n, d in self._devices.items() if n in specs and specs[n].line == line]

    async def _work(self, line: str) -> None:
        while self._tasks.get(line) is asyncio.current_task():  # a cancellation can get lost
            try:
                await self._step(line, self._wakes[line])
                continue
            except JournalError as error:
                log.warning("windback of line %s: %s", line, error)
            except Exception as error:  # a bug, or a revision took a device away meanwhile
                log.error("windback of line %s failed", line, exc_info=error)
                text = f"windback of line {line}: internal error: {type(error).__name__}: {error}"
                if self._bugs.get(line) != text:
                    self._bugs[line] = text
                    self._ports.alarm("", 500, f"{text}; it goes on in {LOOK_AGAIN_S:g} s")
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _step(self, line: str, wake: asyncio.Event) -> None:
        wake.clear()
        wait_s = LOOK_AGAIN_S
        for device in self._on(line):
            if device.dirty:
                wait_s = min(wait_s, await self._look(device))
            if (
                again_ns := await self._forgetting.step(device.name, self._older(device))
            ) is not None:
                wait_s = min(wait_s, (again_ns - self._ports.clock.utc_ns()) / NS_PER_S)
        views = [self._view(d) for d in self._on(line) if self._ports.answers(d.name)]
        now_ns = self._ports.clock.utc_ns()
        decision = decide(now_ns, views, self._ports.refused())
        if isinstance(decision, Ask):
            async with self._reads.setdefault(line, asyncio.Lock()):
                await self._read(decision)
        elif isinstance(decision, Declare):
            await self._declare(decision)
        else:
            if decision.until_ns is not None:
                wait_s = min(wait_s, max(0.0, (decision.until_ns - now_ns) / NS_PER_S))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await wake.wait()

    async def _look(self, device: DeviceState) -> float:
        """Ask the journal for the device's gaps; how soon to look again, in s."""
        ports, since_ns = self._ports, device.since_ns
        device.dirty = False
        now_ns = ports.clock.utc_ns()
        found = await ports.gaps(device.name, since_ns, now_ns)
        if since_ns <= ports.floor_ns():
            await self._resumes(device, since_ns, now_ns)
        young = [gap for gap in found if gap.to_ns > now_ns - SETTLED_NS]
        device.gaps = [gap for gap in found if gap.to_ns <= now_ns - SETTLED_NS]
        unsettled = [gap.from_ns for gap in wanted_gaps(self._view(device))]
        unsettled += [gap.from_ns for gap in young]
        device.since_ns = min([now_ns - KEPT_BACK_NS, *unsettled])
        if not young:
            return LOOK_AGAIN_S
        device.dirty = True
        if not ports.answers(device.name):
            return LOOK_AGAIN_S
        return max(0.1, (max(gap.to_ns for gap in young) + SETTLED_NS - now_ns) / NS_PER_S)

    async def _resumes(self, device: DeviceState, from_ns: int, to_ns: int) -> None:
        """Where the reads of an earlier reign broke off."""
        for found in (await self._ports.fills(device.name, from_ns, to_ns))[-RESUMES_MAX:]:
            if found.next_record >= 0:
                device.resume[found.log, found.to_ns] = found.next_record

    def _view(self, device: DeviceState) -> DeviceView:
        spec = self._ports.devices()[device.name]
        logs = self._ports.logs(device.name)
        return DeviceView(
            device.name,
            logs,
            class_points(spec),
            device.gaps,
            device.memory,
            device.forced,
            device.resume,
            [log.name for log in logs if self._forgetting.waits(device.name, log.name)],
        )

    def _older(self, device: DeviceState) -> Older:
        """What of a device's log is needed still, by the gaps as they were last looked at."""

        def older(name: str, page: LogPage) -> bool | None:
            view = self._view(device)
            log = next((log for log in view.logs if log.name == name), None)
            if device.dirty or log is None:
                return None
            return any(start < page.through_ns for start, _ in needed(view, log))

        return older

    def _target(self, device: DeviceState, spec: LogSpec) -> Target:
        logged = frozenset(p for other in self._ports.logs(device.name) for p in other.points)
        gaps = by_class(wanted_gaps(self._view(device)))
        known = self._ports.devices()[device.name]
        return Target(known, self._ports.revision(), spec, logged, gaps)

    async def _declare(self, decision: Declare) -> None:
        """What no log has is lost for good, and so nobody looks for it again."""
        device = self._devices[decision.device]
        target = self._target(device, self._ports.logs(decision.device)[0])
        now_ns = self._ports.clock.utc_ns()
        record = lost(
            target, decision.scan_class, decision.stretch, decision.points, NOT_LOGGED, now_ns
        )
        device.dirty = True
        device.gaps = [g for g in device.gaps if (g.from_ns, g.to_ns) != decision.stretch]
        with suppress(JournalError):  # the store tells of itself, and the gap stays open
            await self._ports.append(record)
        await self._read_events(device, decision.stretch)

    # ------------------------------------------------------------------------------ reading

    async def _read(self, ask: Ask) -> None:
        """Read what was decided, page by page; nothing that was committed is read again."""
        ports, wanted = self._ports, ask.wanted
        device = self._devices[ask.device]
        memory = device.memory.setdefault(ask.log.name, LogMemory())
        reading = Reading(ports, device, ask, partial(self._forgetting.add, ask.device, ask.log))
        try:
            target = self._target(device, ask.log)

            def present() -> Target:
                nonlocal target
                if ports.devices().get(ask.device) is not target.device:
                    target = self._target(device, ask.log)  # another revision runs
                return target

            await reading.take_all(ports.read_log(ask.device, wanted, ask.log.share), present)
        except LogUnavailable as error:
            memory.failed(ports.clock.utc_ns(), error.message, error.retry_after_ns)
        except (DeviceError, JournalError) as error:
            memory.failed(ports.clock.utc_ns(), error.message)
        except KeyError:
            return  # the revision that runs now has no such device
        except Exception as error:  # a bug in a driver must not end the other devices' windback
            log.error("reading the log of %s failed", ask.device, exc_info=error)
            memory.failed(ports.clock.utc_ns(), f"internal error: {error}")
        else:
            await self._ended(device, ask, memory, reading)
            await self._read_events(device, (wanted.from_ns, wanted.to_ns))
        finally:
            device.dirty, device.progress = True, None
            device.forced = subtract(union(device.forced), [(wanted.from_ns, reading.through_ns)])
            reading.tell()

    async def _ended(
        self, device: DeviceState, ask: Ask, memory: LogMemory, reading: Reading
    ) -> None:
        resolution_ns = reading.resolution_ns or ask.log.resolution_ns or NS_PER_S
        now_ns = self._ports.clock.utc_ns()
        if not memory.read(now_ns, ask.wanted, reading.through_ns, resolution_ns):
            return
        lacking = (Lacking(reading.through_ns, ask.wanted.to_ns, ENDED),)
        rest = LogPage(reading.through_ns, ask.wanted.to_ns, lacking=lacking)
        with suppress(JournalError):  # then the gap stays open, and is asked for again
            await reading.take(self._target(device, ask.log), rest)

    async def _read_events(self, device: DeviceState, span: Stretch) -> None:
        """What happened in the device while nobody looked; its event log tells once, too."""
        for spec in self._ports.logs(device.name):
            if not spec.events or self._forgetting.waits(device.name, spec.name):
                continue
            if spec.stateful and self._ports.refused() is not None:
                continue
            ask = Ask(device.name, spec, LogWanted(spec.name, *span), span)
            stored = partial(self._forgetting.add, device.name, spec)
            reading = Reading(self._ports, device, ask, stored)
            try:
                pages = self._ports.read_log(device.name, ask.wanted, spec.share)
                await reading.take_all(pages, partial(self._target, device, spec))
            except (DeviceError, JournalError) as error:
                self._ports.alarm(device.name, 400, f"the event log {spec.name}: {error}")
