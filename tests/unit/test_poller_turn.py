"""Requests of windback find their place between the scans of a line."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.acquisition.carried import CarriedLine
from gateway.acquisition.house import House
from gateway.acquisition.poller import Poller
from gateway.acquisition.schedule import Job, LineSchedule
from gateway.driver import Fault, LineSpec, Scan
from gateway.errors import LinkError
from gateway.model import NS_PER_MS, NS_PER_S
from tests.unit.field_world import Clock, device, pass_s, simulate

MS = NS_PER_MS


class BusyLine:
    """A line whose scans take a while; it notes when."""

    def __init__(self, spec: LineSpec, scan_ms: float) -> None:
        self.spec = spec
        self.scan_ms = scan_ms
        self.scans: list[tuple[int, int]] = []
        self.faults: list[Fault | None] = []
        self.bug_at = 0
        self.forgotten: list[str] = []

    async def scan(self, name: str, scan_class: str) -> Scan:
        began_ns = Clock().utc_ns()
        await pass_s(self.scan_ms / 1000)
        self.scans.append((began_ns, Clock().utc_ns()))
        return Scan(began_ns, Clock().utc_ns())

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


async def nothing(body: Any = None) -> object:
    return None


def poller_of(period_ms: int, scan_ms: float) -> tuple[Poller, BusyLine]:
    plc1 = device("plc1", "l1", {"fast": period_ms * MS}, [("level", "fast")])
    spec = LineSpec("l1", "fake", None, (plc1,))
    line = BusyLine(spec, scan_ms)
    house = House(Clock(), nothing, nothing, nothing, lambda *_: None)

    def took(poller: Poller, job: Job, scan: Scan) -> None:
        line.faults.append(scan.fault)
        if len(line.faults) == line.bug_at and scan.fault is None:
            raise OverflowError("can't serialize ints > 2**64 - 1")
        poller.schedule.done(job, scan.requested_ns, scan.received_ns)

    schedule = LineSchedule((plc1,), Clock().utc_ns())
    return Poller(CarriedLine(cast(Any, line)), schedule, house, took), line


async def ask(poller: Poller, took_ms: float, share: float = 0.2) -> tuple[int, int]:
    """One request of windback: when it began and ended."""
    await poller.turn(round(took_ms * MS), share)
    began_ns = Clock().utc_ns()
    await pass_s(took_ms / 1000)
    return began_ns, Clock().utc_ns()


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def test_requests_fit_between_scans() -> None:
    async def run() -> None:
        poller, line = poller_of(200, 20)
        poller.start()
        asked = []
        while len(line.scans) < 20:
            asked.append(await ask(poller, 7))
        await poller.stop()
        assert len(asked) > 20 * 20, "the idle time is used"
        assert not any(overlap(a, s) for a in asked for s in line.scans)
        gaps = [b[0] - a[0] for a, b in zip(line.scans[1:], line.scans[2:], strict=False)]
        assert set(gaps) == {200 * MS}, "no scan is late"

    simulate(run())


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_line_without_room_gives_the_share_that_it_must(share: float) -> None:
    async def run() -> None:
        poller, line = poller_of(50, 49)
        poller.start()
        began_ns, used_ns = Clock().utc_ns(), 0
        while Clock().utc_ns() - began_ns < 20 * NS_PER_S:
            start_ns, end_ns = await ask(poller, 7, share)
            used_ns += end_ns - start_ns
        await poller.stop()
        part = used_ns / (Clock().utc_ns() - began_ns)
        assert 0.8 * share < part < 1.2 * share
        assert line.scans

    simulate(run())


def test_nothing_is_asked_once_the_line_drains_or_ends() -> None:
    async def run() -> None:
        poller, _ = poller_of(200, 1)
        poller.start()
        await pass_s(0.5)
        poller.settle(Clock().utc_ns())
        waiting = asyncio.ensure_future(poller.turn(MS, 0.5))
        await pass_s(10)
        assert not waiting.done()
        poller.resume()
        await asyncio.wait_for(waiting, 1)
        poller.halt()
        with pytest.raises(LinkError, match="closed"):
            await poller.turn(MS, 0.5)
        await poller.stop()

    simulate(run())


def test_what_can_not_be_kept_of_a_scan_is_its_devices_fault_and_polling_goes_on() -> None:
    async def run() -> None:
        poller, line = poller_of(200, 1)
        line.bug_at = 3
        poller.start()
        await pass_s(2)
        await poller.stop()
        told = [fault for fault in line.faults if fault is not None]
        assert line.faults.index(told[0]) == 3 and len(told) == 1
        assert "internal error" in told[0].detail
        assert line.forgotten == ["plc1"], "what the scan had told is observed anew"
        assert len(line.scans) > 8

    simulate(run())
