"""A line under the revisions that come and go: its point numbers change, its connection stays.

A point's number belongs to a revision; a driver has it built into its decoders. So a line that a
new revision does not change goes on as it is, and what it says is renumbered here, also of a scan
that was under way. While the numbers are those it was opened with, nothing is done per point.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from typing import Final

from gateway.driver import (
    Delivery,
    DeviceSpec,
    Diagnostics,
    Frame,
    Line,
    LineSpec,
    LogPage,
    LogSpec,
    LogWanted,
    Observation,
    PointSpec,
    Rehearsal,
    Scan,
    Turn,
    WriteOutcome,
)
from gateway.model import Value

COMMANDS_MAX_S: Final = 10.0
"""How long a line that is replaced waits for writes under way; drivers end them far earlier."""


def same_point(one: PointSpec, other: PointSpec) -> bool:
    """Whether two revisions mean the same by a point, its number apart."""
    return one == other or replace(one, number=other.number) == other


def same_device(one: DeviceSpec, other: DeviceSpec) -> bool:
    """Whether a device is the same in two revisions, the numbers of its points apart."""
    return (
        len(one.points) == len(other.points)
        and replace(one, points=()) == replace(other, points=())
        and all(map(same_point, one.points, other.points))
    )


def same_place(one: LineSpec, other: LineSpec) -> bool:
    """Whether two lines are the same connection, whoever is on it."""
    return replace(one, devices=()) == replace(other, devices=())


def same_line(one: LineSpec, other: LineSpec) -> bool:
    """Whether a line can go on under another revision."""
    return (
        same_place(one, other)
        and len(one.devices) == len(other.devices)
        and all(map(same_device, one.devices, other.devices))
    )


class CarriedLine:
    """Fulfils gateway.driver.Line; may begin only after the lines that it replaces are closed."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._spec = line.spec
        self._own: dict[str, PointSpec] = {}
        self._numbers: dict[int, int] | None = None
        self._moved = False
        self._waits_for: set[asyncio.Task[None]] = set()
        self._commands = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def spec(self) -> LineSpec:
        return self._spec

    @property
    def serial(self) -> bool:
        """Whether a reply that comes late would meet the next speaker on the same wire."""
        return self._spec.port is not None

    @property
    def renumbered(self) -> bool:
        """Whether what the driver says must be renumbered."""
        return self._mapping() is not None

    def carry(self, spec: LineSpec) -> None:
        """Go on under another revision; points that it lacks are no longer told of."""
        self._spec = spec
        self._moved = True

    def _mapping(self) -> dict[int, int] | None:
        """The new number of each number of the driver's; None while they are the same.

        Found when it is first asked for: a swap has all lines to see to in one turn of the loop.
        """
        if self._moved:
            self._moved = False
            self._own = {p.id: p for d in self._line.spec.devices for p in d.points}
            found = {
                self._own[p.id].number: p.number
                for d in self._spec.devices
                for p in d.points
                if p.id in self._own
            }
            same = len(found) == len(self._own) and all(a == b for a, b in found.items())
            self._numbers = None if same else found
        return self._numbers

    def wait_for(self, closing: Iterable[asyncio.Task[None]]) -> None:
        """Connect only after these have ended: a port, or a PLC's one socket, serves one."""
        self._waits_for = set(closing)

    async def ready(self) -> None:
        """Wait for what this line replaces."""
        if self._waits_for:
            await asyncio.wait(self._waits_for)
            self._waits_for = set()

    # ------------------------------------------------------------------------------ the port

    def prepare(self, device: str) -> None:
        """Work out now what the first scan of a device would have to; nothing is sent."""
        self._line.prepare(device)

    async def scan(self, device: str, scan_class: str) -> Scan:
        """Read one class of one device, connecting first if need be."""
        scan = await self._line.scan(device, scan_class)
        numbers = self._mapping()
        if numbers is None or not scan.observations:
            return scan
        return replace(scan, observations=_renumbered(scan.observations, numbers))

    async def listen(self, device: str, deliver: Callable[[Delivery], None]) -> None:
        """Subscribe to a device and deliver until cancelled; reconnects by itself."""

        def take(delivery: Delivery) -> None:
            if (numbers := self._mapping()) is not None:
                observations = _renumbered(delivery.observations, numbers)
                delivery = replace(delivery, observations=observations)
            deliver(delivery)

        await self.ready()
        await self._line.listen(device, take)

    async def write(self, point: PointSpec, value: Value) -> WriteOutcome:
        """Write one point in engineering units and read it back. Raises DeviceError."""
        await self.ready()
        own = point if self._mapping() is None else self._own.get(point.id, point)
        with self._command():
            return await self._line.write(own, value)

    async def raw(self, device: str, area: str, address: str, count: int) -> Sequence[Value]:
        """Read raw registers or nodes, for commissioning. Raises DeviceError."""
        await self.ready()
        with self._command():
            return await self._line.raw(device, area, address, count)

    def logs(self, device: str) -> Sequence[LogSpec]:
        """The logs that a device keeps."""
        return self._line.logs(device)

    async def read_log(
        self, device: str, wanted: LogWanted, turn: Turn
    ) -> AsyncGenerator[LogPage, None]:
        """Read a stretch of a device's own log. Raises DeviceError."""
        await self.ready()
        with self._command():
            async with aclosing(self._line.read_log(device, wanted, turn)) as pages:
                async for page in pages:
                    if (numbers := self._mapping()) is not None:
                        seen = _renumbered(page.observations, numbers)
                        before = _renumbered(page.before, numbers)
                        page = replace(page, observations=seen, before=before)
                    yield page

    async def acknowledge(self, device: str, page: LogPage) -> None:
        """Let the device forget what a page holds. Raises DeviceError."""
        with self._command():
            await self._line.acknowledge(device, page)

    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]:
        """Send each frame of a device to `sink` until the returned function is called."""
        return self._line.trace(device, sink)

    def diagnostics(self, device: str) -> Diagnostics:
        """The device's counters, alive."""
        return self._line.diagnostics(device)

    def forget(self, device: str) -> None:
        """Drop the last raw blocks of a device, so that its next scan observes every point."""
        self._line.forget(device)

    async def withdraw(self, device: str) -> None:
        """Say nothing more to a device until its next scan; close what no other device needs."""
        await self._line.withdraw(device)

    async def rehearse(self, device: str) -> Rehearsal:
        """Connect once, ask one harmless thing, disconnect."""
        return await self._line.rehearse(device)

    async def close(self) -> None:
        """Send nothing more, close what is open. Idempotent."""
        await self._line.close()

    async def close_when_quiet(self) -> None:
        """Close after the commands under way have ended, which their time-outs bound."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMMANDS_MAX_S):
                await self._quiet.wait()
        await self._line.close()

    @contextmanager
    def _command(self) -> Iterator[None]:
        """A write or a raw read while it is under way."""
        self._commands += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._commands -= 1
            if not self._commands:
                self._quiet.set()


def _renumbered(
    observations: Sequence[Observation], numbers: Mapping[int, int]
) -> Sequence[Observation]:
    return [o._replace(point=numbers[o.point]) for o in observations if o.point in numbers]
