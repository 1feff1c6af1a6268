"""A PLC by node-opcua as a device of `hotpair run`: subscribed, polled, written, encrypted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hil.bench.process import Spawned, free_port

from .third_party.rig import Node, need_npm, opcua_task, running_node, script, until

pytestmark = [pytest.mark.external, pytest.mark.timeout(60)]

SITE = """
site: third
scan_classes: {{quick: 200ms}}
devices:
  plc:
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


@pytest.fixture
async def plc(tmp_path: Path) -> AsyncIterator[tuple[Spawned, int]]:
    need_npm("node-opcua")
    port = free_port()
    async with Spawned("plc", script("opcua_plc.js", port), tmp_path) as running:
        await running.hear("port")
        yield running, port


async def counts(node: Node) -> None:
    async def first() -> Any:
        return await node.value("plc/count")

    begun = await until(first, "the first value", 20)

    async def more() -> bool:
        now = await node.value("plc/count")
        return now is not None and now > begun + 3

    await until(more, "the PLC's counter moves")


async def everything_is_read(node: Node) -> None:
    await counts(node)
    await node.becomes("plc/name", "third")
    await node.becomes("plc/level", 2.0)
    assert await node.goes_bad("plc/faulty") == "BadSensorFailure"
    found = await node.points()
    moved = found["plc/moment"]
    assert abs(moved["value"] - moved["source_time_ns"]) < 2_000_000_000


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_a_plc_of_another_vendor_is_read_and_written(
    mode: str, tmp_path: Path, plc: tuple[Spawned, int]
) -> None:
    site = SITE.format(port=plc[1], security="insecure: true", mode=mode)
    async with running_node(tmp_path / "node", site, free_port()) as node:
        await everything_is_read(node)
        status, said = await node.command("write", "plc/setpoint", 2.5)
        assert (status, said["status"], said["read_back"]) == (0, "Good", 2.5)
        await node.becomes("plc/setpoint", 2.5)
        found = await opcua_task(
            tmp_path,
            endpoint=node.endpoint,
            write=[
                {"node": "ns=2;s=plc/running", "type": "Boolean", "value": True},
                {"node": "ns=2;s=plc/running", "type": "Double", "value": 1.5},
                {"node": "ns=2;s=plc/flow", "type": "Double", "value": 1.5},
            ],
        )
        assert found["write"]["ns=2;s=plc/running"] == ["Good", "BadTypeMismatch"]
        assert found["write"]["ns=2;s=plc/flow"] == ["BadNotWritable"]
        await node.becomes("plc/running", True)


async def test_a_plc_that_restarts_is_found_again_and_meanwhile_bad(
    tmp_path: Path, plc: tuple[Spawned, int]
) -> None:
    running, port = plc
    site = SITE.format(port=port, security="insecure: true", mode="subscribe")
    async with running_node(tmp_path / "node", site, free_port()) as node:
        await counts(node)
        await running.stop()
        await node.goes_bad("plc/count")
        async with Spawned("plc-again", script("opcua_plc.js", port), tmp_path) as again:
            await again.hear("port")
            await counts(node)


async def test_a_plc_is_read_encrypted_with_a_password(
    tmp_path: Path, plc: tuple[Spawned, int]
) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "plc.pw").write_text("secret\n")
    security = (
        "security: {policy: Basic256Sha256, mode: SignAndEncrypt, user: gw, "
        "password: {file: plc.pw}, trust_any: true}"
    )
    site = SITE.format(port=plc[1], security=security, mode="subscribe")
    async with running_node(folder, site, free_port()) as node:
        await everything_is_read(node)
