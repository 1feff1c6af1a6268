"""All lines of a node at work: a poller each, and a task for each device that is listened to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

from gateway.acquisition.carried import CarriedLine
from gateway.acquisition.house import BUG_RETRY_NS, House, broken
from gateway.acquisition.poller import Poller, Take
from gateway.acquisition.schedule import LineSchedule
from gateway.driver import Delivery, DeviceSpec, Line, LineSpec
from gateway.ending import end
from gateway.model import NS_PER_S

log = logging.getLogger(__name__)

Hear = Callable[[str, Delivery], None]
"""Gets what a subscribed device, named, delivers; a driver's bug as a fault."""


class Lines:
    """The lines of the revision in force, and those of the one before that are being closed."""

    def __init__(self, lines: Sequence[Line], house: House, took: Take, heard: Hear) -> None:
        self._house = house
        self._took = took
        self._heard = heard
        self.listening: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._retired: dict[asyncio.Task[None], Poller] = {}
        self.pollers = {line.spec.name: self._poller(line) for line in lines}

    def _poller(self, line: Line) -> Poller:
        carried = line if isinstance(line, CarriedLine) else CarriedLine(line)
        schedule = LineSchedule(carried.spec.devices, self._house.clock.utc_ns())
        return Poller(carried, schedule, self._house, self._took)

    def replace(self, line: CarriedLine) -> None:
        """Use a line that was built anew; nobody may have used the one before."""
        self.pollers[line.spec.name] = self._poller(line)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Every task that must not end by itself."""
        polling = [p.task for p in self.pollers.values() if p.task is not None]
        return [*polling, *self.listening.values()]

    # ------------------------------------------------------------------------------ beginning

    def begin_grid(self, now_ns: int, disabled: Collection[str]) -> None:
        """Everything is due now; what scans under way bring is not wanted."""
        for poller in self.pollers.values():
            poller.disown()
            poller.schedule = LineSchedule(poller.line.spec.devices, now_ns)
            for device in disabled:
                poller.schedule.pause(device)
            poller.wake()

    def start(self, disabled: Collection[str]) -> None:
        """Poll, and listen."""
        for poller in self.pollers.values():
            poller.start()
        self.listen_all(disabled)

    def listen_all(self, disabled: Collection[str]) -> None:
        """Listen to every subscribed device that is in service."""
        for poller in self.pollers.values():
            for device in poller.line.spec.devices:
                if device.subscribed and device.name not in disabled:
                    self.listen(poller.line, device)

    def listen(self, line: CarriedLine, device: DeviceSpec) -> None:
        """Listen to a device, if nobody does."""
        if device.name not in self.listening:
            name = f"subscription {device.name}"
            task = asyncio.create_task(self._listen(line, device.name), name=name)
            self.listening[device.name] = task

    async def _listen(self, line: CarriedLine, device: str) -> None:
        while True:
            try:
                await line.listen(device, partial(self._heard, device))
            except Exception as error:  # as for a scan: one driver's bug is one device's fault
                now_ns = self._house.clock.utc_ns()
                self._heard(device, Delivery((), now_ns, fault=broken(device, error)))
            await asyncio.sleep(BUG_RETRY_NS / NS_PER_S)

    # ------------------------------------------------------------------------------ ending

    def deafen(self, device: str) -> None:
        """Listen to a device no more."""
        if (task := self.listening.pop(device, None)) is not None:
            task.cancel()
            self._keep(task)

    async def deafen_all(self) -> None:
        """Listen to nobody; the servers' sessions are free when this returns."""
        listening, self.listening = self.listening, {}
        await end(listening.values())

    def settle(self, through_ns: int) -> None:
        """Answer for the instants up to `through_ns` and begin no scan of a later one."""
        for poller in self.pollers.values():
            poller.settle(through_ns)

    @property
    def settled(self) -> bool:
        """Whether every instant up to the end is answered for."""
        return all(poller.settled for poller in self.pollers.values())

    def disown(self) -> None:
        """What the scans under way bring is not wanted any more."""
        for poller in self.pollers.values():
            poller.disown()

    def resume(self) -> None:
        """Go on after `settle`."""
        for poller in self.pollers.values():
            poller.resume()

    def halt(self) -> None:
        """Ask nothing more, at once."""
        for device in list(self.listening):
            self.deafen(device)
        for poller in self.pollers.values():
            poller.halt()

    async def stop(self) -> None:
        """End everything and close the lines; on a serial one after the reply that is awaited."""
        self.halt()
        await asyncio.gather(*(poller.stop() for poller in self.pollers.values()))
        if self._ending:
            await asyncio.wait(set(self._ending))
        await asyncio.gather(*(_shut(p.line, p.line.close()) for p in self.pollers.values()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    # ------------------------------------------------------------------------------ revisions

    def swap(
        self,
        lines: Sequence[CarriedLine],
        stay: Mapping[str, DeviceSpec],
        disabled: Collection[str],
    ) -> None:
        """Go on with the `lines` of another revision; those that are here already are not touched.

        `stay` are the devices that are the same in both, as the new revision has them: they keep
        their instants, and the last scan of a line that is replaced still counts for them.
        """
        for poller in self._retired.values():  # of the swap before: a scan may be under way still
            self._speak_for(poller, stay)
        before = self.pollers
        going_on = {line.spec.name for line in lines if _is(before.get(line.spec.name), line)}
        retired = {
            name: self._retire(poller, stay)
            for name, poller in before.items()
            if name not in going_on
        }
        self.pollers = {
            line.spec.name: before[line.spec.name]
            if line.spec.name in going_on
            else self._poller(line)
            for line in lines
        }
        for name, poller in self.pollers.items():
            if name in going_on:
                continue
            for device in disabled:
                poller.schedule.pause(device)
            if name in before:
                poller.schedule.inherit(before[name].schedule, stay)
            poller.line.wait_for(_replaced_by(poller.line.spec, before, retired))
            poller.start()
        self.listen_all(disabled)

    def _retire(self, poller: Poller, stay: Mapping[str, DeviceSpec]) -> asyncio.Task[None]:
        """Close a line after the scan and the commands that are under way on it."""
        spec = poller.line.spec
        self._speak_for(poller, stay)
        for device in spec.devices:
            self.deafen(device.name)
        task = asyncio.create_task(self._close(poller), name=f"close {spec.name}")
        self._keep(task)
        self._retired[task] = poller
        task.add_done_callback(self._retired.pop)
        return task

    @staticmethod
    def _speak_for(poller: Poller, stay: Mapping[str, DeviceSpec]) -> None:
        """What a line that is replaced says counts for the devices that stay, by their numbers."""
        spec = poller.line.spec
        devices = tuple(stay[d.name] for d in spec.devices if d.name in stay)
        poller.speaks_for = {device.name for device in devices}
        poller.line.carry(LineSpec(spec.name, spec.driver, spec.settings, devices, spec.port))

    async def _close(self, poller: Poller) -> None:
        await poller.finish()
        await _shut(poller.line, poller.line.close_when_quiet())


async def _shut(line: CarriedLine, closing: Awaitable[None]) -> None:
    try:
        await closing
    except Exception:  # a driver's bug must not keep others from closing, or what replaces it
        log.exception("line %s did not close", line.spec.name)


def _is(poller: Poller | None, line: CarriedLine) -> bool:
    return poller is not None and poller.line is line


def _replaced_by(
    spec: LineSpec, before: Mapping[str, Poller], retired: Mapping[str, asyncio.Task[None]]
) -> list[asyncio.Task[None]]:
    """Whose closing a new line waits for: whom it replaces, or everybody if it replaces nobody.

    Everybody, because a line may only have been renamed, and its device may have one socket.
    """
    replaced = [
        task
        for name, task in retired.items()
        if name == spec.name or (spec.port is not None and before[name].line.spec.port == spec.port)
    ]
    return replaced or list(retired.values())
