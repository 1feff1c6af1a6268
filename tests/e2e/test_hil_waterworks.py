"""The waterworks: the whole emulated site, read by the product's own drivers.

The rig's encoder and the drivers' decoders share no code. Here they meet over real sockets, a pty
and OPC UA, for every point of the site.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from drivers.modbus import driver as modbus
from drivers.opcua import driver as opcua
from gateway.clock import SystemClock
from gateway.config.files import load as load_config
from gateway.driver import Delivery, DriverContext, Line, LineSpec, LogPage, LogWanted, Observation
from gateway.errors import LogUnavailable
from gateway.model import NS_PER_MS, NS_PER_S, is_bad
from gateway.pair.certificate import make_identity
from hil.judges import same
from hil.outstation.rig import OutstationRig
from hil.plant import Plant, PlantPoint
from hil.proxy import routes_of
from hil.running import find_scenario, load
from hil.settings import LogSettings
from hil.site import load_site, localise, serial_ports

SITE = Path(__file__).parents[2] / "hil" / "sites" / "waterworks"
SCENARIO = load(find_scenario("waterworks")).scenario
DRIVERS = {"modbus": modbus.schema, "opcua": opcua.schema}
CLOCKS_NS = 150 * NS_PER_MS
"""How far a corrected stamp may be wrong: half a round trip, and a busy machine."""
PORTS = [*range(15020, 15028), *range(15030, 15034), 4840, 4841, 8080, 8081]


def free_offset() -> int:
    """An offset at which every port of the site is free now."""
    for offset in random.sample(range(2_000, 40_000, 20), 50):
        try:
            for port in PORTS:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        return offset
    raise AssertionError("no free ports")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A copy of the site with all ports moved."""
    here = tmp_path / "waterworks"
    shutil.copytree(SITE, here, ignore=shutil.ignore_patterns("run", "data"))
    offset = free_offset()
    for name in ("site.yaml", "node.yaml"):
        (here / name).write_text(localise((here / name).read_text(), offset))
    yield here


def test_the_rig_and_the_gateway_understand_the_same_site(folder: Path) -> None:
    plant = load_site(folder / "site.yaml")
    node, site = load_config(folder / "node.yaml", DRIVERS)
    assert len(site.devices) == len(plant.devices) == 12
    assert len(site.points) == 2_000
    mine = {point.id: point for point in plant.points()}
    assert set(mine) == {point.id for point in site.points}
    for point in site.points:
        own = mine[point.id]
        assert (own.data_type, own.access, own.scan_class, own.deadband) == (
            point.data_type,
            point.access,
            point.scan_class,
            point.deadband,
        ), point.id
    ports = serial_ports(folder / "node.yaml")
    assert {name: str(path) for name, (path,) in ports.items()} == dict(node.ports)


def test_every_living_device_is_faulted_once_within_half_an_hour(folder: Path) -> None:
    plant = load_site(folder / "site.yaml")
    entries = [entry for entry in SCENARIO.timeline if entry.device]
    assert sorted(e.target for e in entries) == sorted(set(plant.devices) - plant.rig.dead)
    assert max(entry.until_ns for entry in entries) < 25 * 60 * NS_PER_S
    assert YAML(typ="safe").load(folder / "rig.yaml")["dead"] == ["valves1"]
    assert SCENARIO.client == "node-opcua" and SCENARIO.lasts_ns == 1_800 * NS_PER_S


def test_a_node_is_struck_only_while_no_device_is_faulted_and_the_pair_is_whole() -> None:
    faults = [entry for entry in SCENARIO.timeline if entry.device]
    blows = [entry for entry in SCENARIO.timeline if not entry.device]
    words = {"kill", "changeover", "cut", "freeze", "restart", "blackout"}
    assert {blow.word for blow in blows} == words
    for one, other in pairwise(blows):
        assert other.at_ns - one.until_ns >= 70 * NS_PER_S, "a node starts in that time"
    for fault in faults:
        for blow in blows:
            apart = blow.at_ns >= fault.until_ns or fault.at_ns >= blow.until_ns
            assert apart, (str(fault), str(blow))
    assert blows[-1].at_ns < 27 * 60 * NS_PER_S


@pytest.mark.parametrize("node", ["node-a.yaml", "node-b.yaml"])
def test_the_site_can_be_run_by_a_pair(folder: Path, node: str) -> None:
    for name in ("a", "b"):
        made = make_identity(name, time.time_ns())
        (folder / f"{name}.key").write_bytes(made.key_pem)
        (folder / f"{name}.key").chmod(0o600)
        (folder / f"{name}.crt").write_bytes(made.certificate_pem)
    config, site = load_config(folder / node, DRIVERS)
    assert config.link is not None and config.link.tls is not None
    assert len(site.points) == 2_000
    routes = routes_of([folder / "node-a.yaml", folder / "node-b.yaml"])
    assert [who for who, *_ in routes] == ["a", "b"]
    ports = serial_ports(folder / "node-a.yaml", folder / "node-b.yaml")
    assert len(ports["wells"]) == 2, "each node has its own end of the line"


def context_of(folder: Path) -> DriverContext:
    facts: dict[tuple[str, str], Any] = {}
    return DriverContext(
        clock=SystemClock(),
        rng=random.Random(1),
        base_dir=folder,
        data_dir=folder / "data",
        bind=None,
        facts=facts,
        learned=lambda device, key, value: facts.update({(device, key): value}),
        alarm=lambda device, severity, text: None,
        may_send=lambda: True,
    )


async def pages_of(line: Line, device: str, wanted: LogWanted) -> list[LogPage]:
    """What a log holds; one that first must be asked what it records is read anew."""

    async def read() -> list[LogPage]:
        return [page async for page in line.read_log(device, wanted, no_hurry)]

    try:
        return await read()
    except LogUnavailable as error:
        assert error.retry_after_ns == 0, error
        return await read()


class Reading:
    """Everything that one line's devices said in one scan of each class."""

    def __init__(self) -> None:
        self.seen: dict[int, list[tuple[int, int, Observation]]] = {}
        self.faults: dict[str, str] = {}

    def add(self, from_ns: int, to_ns: int, observations: object) -> None:
        assert isinstance(observations, list | tuple)
        for item in observations:
            self.seen.setdefault(item.point, []).append((from_ns, to_ns, item))


async def scan_all(line: LineSpec, folder: Path, found: Reading) -> None:
    driver = opcua if line.driver == "opcua" else modbus
    opened = driver.open_line(line, context_of(folder))
    try:
        for device in line.devices:
            if device.subscribed:
                await listen(opened, device.name, len(device.points), found)
                continue
            for scan_class in device.scan_classes:
                for _ in range(20):  # a refused block is learned piece by piece
                    scan = await opened.scan(device.name, scan_class)
                    found.add(scan.requested_ns, scan.received_ns, scan.observations)
                    if scan.fault is None:
                        found.faults.pop(device.name, None)
                        break
                    found.faults[device.name] = scan.fault.detail
                    if device.name == "valves1":
                        break
                    await asyncio.sleep(scan.fault.retry_after_ns / NS_PER_S)  # paces: its wish
    finally:
        await opened.close()


async def listen(opened: object, device: str, points: int, found: Reading) -> None:
    complete = asyncio.Event()

    def deliver(delivery: Delivery) -> None:
        for item in delivery.observations:
            found.add(item.time_ns, item.time_ns, [item])
        if len(found.seen) >= points:
            complete.set()

    assert hasattr(opened, "listen")
    task = asyncio.create_task(opened.listen(device, deliver))
    async with asyncio.timeout(30):
        await complete.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def wrong(point: PlantPoint, from_ns: int, to_ns: int, item: Observation) -> str | None:
    """What is wrong with an observation, if anything: it must be true at a moment of its scan."""
    if point.unreadable:
        return None if is_bad(item.status) else f"{point.id} reads {item.value!r} where it can't"
    held = [step.value for step in point.steps(from_ns - 5 * NS_PER_MS, to_ns + 1)]
    if not is_bad(item.status) and any(same(item.value, value) for value in held):
        return None
    return f"{point.id}: {item.value!r} status {item.status:#x}, held {held}"


async def test_every_point_reads_as_the_truth_through_the_drivers(folder: Path) -> None:
    plant: Plant = load_site(folder / "site.yaml")
    node, site = load_config(folder / "node.yaml", DRIVERS)
    rig = OutstationRig(plant, serial_ports(folder / "node.yaml"), base_dir=folder)
    await rig.start()
    try:
        readings = {line.name: Reading() for line in site.lines}
        async with asyncio.timeout(90):
            await asyncio.gather(
                *(scan_all(line, folder, readings[line.name]) for line in site.lines)
            )
    finally:
        await rig.stop()
    truth = {point.id: point for point in plant.points()}
    problems: list[str] = []
    for line in site.lines:
        reading = readings[line.name]
        assert set(reading.faults) <= plant.rig.dead, reading.faults
        for device in line.devices:
            for spec in device.points:
                if not spec.access.readable or device.name in plant.rig.dead:
                    continue
                for from_ns, to_ns, item in reading.seen[spec.number]:
                    found = wrong(truth[spec.id], from_ns, to_ns, item)
                    if found is not None:
                        problems.append(found)
    assert not problems, problems[:20]
    assert node.node == "a"


async def no_hurry(ns: int) -> None:
    """A turn that is always ours."""


async def test_every_log_reads_as_the_truth_through_the_drivers(folder: Path) -> None:
    plant: Plant = load_site(folder / "site.yaml")
    logs = {**plant.rig.logs}
    # longer than what is asked for by the slowest log's whole interval, a minute: what is in force
    # where the question begins was recorded before it
    for name, device in plant.devices.items():
        if device.windback is not None and device.driver == "modbus":
            logs[name] = replace(logs.get(name, LogSettings()), age_ns=180 * NS_PER_S)
    plant = replace(plant, rig=replace(plant.rig, logs=logs))
    truth = {point.id: point for point in plant.points()}
    _, site = load_config(folder / "node.yaml", DRIVERS)
    rig = OutstationRig(plant, serial_ports(folder / "node.yaml"), base_dir=folder)
    await rig.start()
    read: dict[str, int] = {}
    try:
        to_ns = (time.time_ns() // NS_PER_S - 5) * NS_PER_S
        from_ns = to_ns - 60 * NS_PER_S
        for line in site.lines:
            if line.driver != "modbus":
                continue
            opened = modbus.open_line(line, context_of(folder))
            for device in line.devices:
                names = {spec.number: spec.id for spec in device.points}
                for log in opened.logs(device.name):
                    wanted = LogWanted(log.name, from_ns, to_ns)
                    for page in await pages_of(opened, device.name, wanted):
                        assert not page.lacking, (device.name, page.lacking)
                        for item in page.observations:
                            point = truth[names[item.point]]
                            held = [
                                s.value
                                for s in point.steps(
                                    item.time_ns - CLOCKS_NS, item.time_ns + CLOCKS_NS
                                )
                            ]
                            assert any(same(item.value, value) for value in held), (
                                f"{point.id} at {item.time_ns}: {item.value!r}, held {held}"
                            )
                        read[device.name] = read.get(device.name, 0) + page.records
            await opened.close()
    finally:
        await rig.stop()
    assert {"plc1", "plc3", "meter3"} <= set(read)
    for name, records in read.items():
        resolution_ns = min(book.log.resolution_ns for book in rig.stations[name].logs.books)
        assert records == pytest.approx(60 * NS_PER_S / resolution_ns, abs=2), name
