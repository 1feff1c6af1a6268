"""A PLC by node-opcua as a device of `hotpair run`: subscribed, polled, encrypted, written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hil.bench.process import Spawned, free_port

from .third_party.rig import Node, need_npm, opcua_tasks, pki, running_node, script, until

pytestmark = [pytest.mark.external, pytest.mark.timeout(60)]

DEVICE = """
  {name}:
    driver: opcua
    endpoint: opc.tcp://127.0.0.1:{port}
    {security}
    mode: {mode}
    publishing_interval: 100ms
    scan: quick
    points:
      flow: {{node: "nsu=urn:third:plc;s=Flow", type: double, unit: l/s}}
      count: {{node: "nsu=urn:third:plc;s=Count", type: uint32}}
      moment: {{node: "nsu=urn:third:plc;s=Moment", type: datetime}}
      name: {{node: "nsu=urn:third:plc;s=Name", type: string}}
      level: {{node: "nsu=urn:third:plc;s=Levels", type: double, index: 1}}
      faulty: {{node: "nsu=urn:third:plc;s=Faulty", type: double}}
      running: {{node: "nsu=urn:third:plc;s=Running", type: bool, access: rw}}
      setpoint: {{node: "nsu=urn:third:plc;s=Setpoint", type: float, access: rw}}
"""
SECURED = (
    "security: {policy: Basic256Sha256, mode: SignAndEncrypt, user: gw, "
    "password: {file: plc.pw}, trust_any: true}"
)
OPEN = "insecure: true"
DEVICES = {
    "subscribed": ("subscribe", OPEN),
    "polled": ("poll", OPEN),
    "secured": ("subscribe", SECURED),
}


@pytest.fixture
async def plc(tmp_path: Path) -> AsyncIterator[tuple[Spawned, int]]:
    need_npm("node-opcua")
    port = free_port()
    async with Spawned("plc", script("opcua_plc.js", port, pki(tmp_path)), tmp_path) as running:
        await running.hear("port")
        yield running, port


def site(port: int, *names: str) -> str:
    devices = "".join(
        DEVICE.format(name=name, port=port, mode=DEVICES[name][0], security=DEVICES[name][1])
        for name in names
    )
    return f"site: third\nscan_classes: {{quick: 200ms}}\ndevices:{devices}"


async def counts(node: Node, device: str) -> None:
    async def first() -> Any:
        return await node.value(f"{device}/count")

    begun = await until(first, f"the first value of {device}", 20)

    async def more() -> bool:
        now = await node.value(f"{device}/count")
        return now is not None and now > begun + 3

    await until(more, f"the counter of {device} moves")


async def everything_is_read(node: Node, device: str) -> None:
    await counts(node, device)
    await node.becomes(f"{device}/name", "third")
    await node.becomes(f"{device}/level", 2.0)
    assert await node.goes_bad(f"{device}/faulty") == "BadSensorFailure"
    moved = (await node.points(f"{device}/*"))[f"{device}/moment"]
    assert abs(moved["value"] - moved["source_time_ns"]) < 2_000_000_000


async def test_a_plc_of_another_vendor_is_subscribed_polled_and_written(
    tmp_path: Path, plc: tuple[Spawned, int]
) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "plc.pw").write_text("secret\n")
    async with running_node(folder, site(plc[1], *DEVICES), free_port()) as node:
        for device in DEVICES:
            await everything_is_read(node, device)
        status, said = await node.command("write", "polled/setpoint", 2.5)
        assert (status, said["status"], said["read_back"]) == (0, "Good", 2.5)
        running, flow = "ns=2;s=secured/running", "ns=2;s=polled/flow"
        write = [
            {"node": running, "type": "Boolean", "value": True},
            {"node": running, "type": "Double", "value": 1.5},
            {"node": flow, "type": "Double", "value": 1.5},
        ]
        [found] = await opcua_tasks(tmp_path, [{"endpoint": node.endpoint, "write": write}])
        assert found["write"] == {running: ["Good", "BadTypeMismatch"], flow: ["BadNotWritable"]}
        for device in DEVICES:
            await node.becomes(f"{device}/setpoint", 2.5)
            await node.becomes(f"{device}/running", True)


async def test_a_plc_that_restarts_is_found_again_and_meanwhile_bad(
    tmp_path: Path, plc: tuple[Spawned, int]
) -> None:
    running, port = plc
    devices = ("subscribed", "polled")
    async with running_node(tmp_path / "node", site(port, *devices), free_port()) as node:
        for device in devices:
            await counts(node, device)
        await running.stop()
        for device in devices:
            await node.goes_bad(f"{device}/count")
        command = script("opcua_plc.js", port, pki(tmp_path))
        async with Spawned("plc-again", command, tmp_path) as again:
            await again.hear("port")
            for device in devices:
                await counts(node, device)
