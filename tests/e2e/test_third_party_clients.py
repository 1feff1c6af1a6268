"""A node-opcua client at the endpoint of `hotpair run`: it browses, reads, watches, looks back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.server.passwords import hash_password
from hil.bench.process import Spawned, free_port, python

from .third_party.rig import Node, need_npm, opcua_task, running_node, until

pytestmark = [pytest.mark.external, pytest.mark.timeout(60)]

SITE = """
site: third
scan_classes: {{quick: 100ms}}
devices:
  plc:
    driver: modbus
    area: plant/intake
    line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}
    scan: quick
    points:
      count: {{register: holding, address: 0, type: uint16, description: Strokes, unit: m3}}
      scaled: {{register: holding, address: 1, type: uint16, scale: 0.5}}
      signed: {{register: holding, address: 2, type: int16}}
{users}
"""
COUNT = "ns=2;s=plc/count"


@pytest.fixture
async def field(tmp_path: Path) -> AsyncIterator[int]:
    """An outstation whose registers all count periods of 100 ms; its port."""
    command = python("hil.bench.outstations", "--registers", 10, "--period", 0.1)
    async with Spawned("field", command, tmp_path) as outstation:
        yield (await outstation.hear("ports"))["ports"][0]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def has_polled(node: Node) -> None:
    async def counted() -> Any:
        return await node.value("plc/count")

    await until(counted, "the first poll")


async def test_node_opcua_browses_reads_and_watches(tmp_path: Path, field: int) -> None:
    need_npm("node-opcua")
    site = SITE.format(port=field, users="")
    async with running_node(tmp_path / "node", site, free_port()) as node:
        await has_polled(node)
        found = await opcua_task(
            tmp_path,
            endpoint=node.endpoint,
            path=["third", "Devices", "plant", "intake", "plc"],
            read=[COUNT, "ns=2;s=plc/scaled", "ns=2;s=plc/nothing"],
            attributes=COUNT,
            subscribe={"node": COUNT, "count": 12},
        )
    assert "error" not in found, found
    assert found["browse"]["count"] == COUNT
    count, scaled, nothing = found["read"]
    assert (count["type"], count["status"]) == ("UInt16", "Good")
    assert (scaled["type"], scaled["status"]) == ("Double", "Good")
    assert abs(moment(count["source"]) - datetime.now(UTC)) < timedelta(seconds=30)
    assert nothing["status"] == "BadNodeIdUnknown"
    attributes = found["attributes"]
    assert attributes["DisplayName"].endswith("count")
    assert attributes["Historizing"] == "true"
    values = [value["value"] for value in found["subscribe"]]
    assert values == sorted(set(values)), "each change comes once, in order"
    sources = [value["source"] for value in found["subscribe"]]
    assert sources == sorted(sources)


async def test_node_opcua_reads_history_page_by_page(tmp_path: Path, field: int) -> None:
    need_npm("node-opcua")
    begun = datetime.now(UTC) - timedelta(seconds=5)
    site = SITE.format(port=field, users="")
    async with running_node(tmp_path / "node", site, free_port()) as node:
        await has_polled(node)

        async def enough() -> bool:
            found = await node.control.get("/status")
            return bool(found["devices"]["plc"]["samples"] >= 90)

        await until(enough, "thirty changes of three points")
        end = datetime.now(UTC)
        span = {"from": time.time_ns() - 60 * 10**9, "to": int(end.timestamp() * 1e9)}
        stored = await node.control.history("plc/count", span["from"], span["to"])
        ends = {"start": begun.isoformat(), "end": end.isoformat()}
        task = {"node": COUNT, "page": 7, **ends}
        forward = await opcua_task(tmp_path, endpoint=node.endpoint, history=task)
        ends = {"start": end.isoformat(), "end": begun.isoformat()}
        task = {"node": COUNT, "page": 7, **ends}
        backward = await opcua_task(tmp_path, endpoint=node.endpoint, history=task)
    assert "error" not in forward, forward
    pages = forward["history"]["pages"]
    assert all(len(page) == 7 for page in pages[:-1])
    assert len(pages) > 3
    good = [value["value"] for page in pages for value in page if value["status"] == "Good"]
    assert good == sorted(set(good)), "page borders neither repeat nor drop a value"
    kept = [row.value for row in stored if row.status == 0]
    assert good[: len(kept)] == kept[: len(good)]
    assert len(good) >= 28
    assert good == list(range(good[0], good[0] + len(good))), "no change of the plant is missing"
    turned = [value["value"] for page in backward["history"]["pages"] for value in page]
    assert [value for value in reversed(turned) if value is not None] == good


@pytest.mark.parametrize(
    "policy", ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
)
async def test_node_opcua_comes_in_encrypted_with_a_password_only(
    policy: str, tmp_path: Path, field: int
) -> None:
    need_npm("node-opcua")
    password = hash_password("river bed 7")
    users = f"users:\n  alice: {{role: observer, password_hash: '{password}'}}"
    site = SITE.format(port=field, users=users)
    port = free_port()
    async with running_node(tmp_path / "node", site, port, insecure=False) as node:
        await has_polled(node)
        secured = {"endpoint": node.endpoint, "policy": policy, "mode": "SignAndEncrypt"}
        found = await opcua_task(
            tmp_path, **secured, user="alice", password="river bed 7", read=[COUNT]
        )
        assert "error" not in found, found
        assert found["read"][0]["status"] == "Good"
        wrong = await opcua_task(tmp_path, **secured, user="alice", password="x", read=[COUNT])
        assert "error" in wrong
        nobody = await opcua_task(tmp_path, **secured, read=[COUNT])
        assert "error" in nobody
        plain = await opcua_task(tmp_path, endpoint=node.endpoint, read=[COUNT])
        assert "error" in plain
