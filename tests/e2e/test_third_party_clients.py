"""A node-opcua client at the endpoint of `hotpair run`: it browses, reads, watches, looks back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.server.passwords import hash_password
from hil.bench.process import Spawned, free_port, python

from .third_party.rig import Node, need_npm, opcua_tasks, running_node, until

pytestmark = pytest.mark.external

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
POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")


@pytest.fixture
async def field(tmp_path: Path) -> AsyncIterator[int]:
    """An outstation whose registers all count periods of 100 ms; its port."""
    command = python("hil.bench.outstations", "--registers", 10, "--period", 0.1)
    async with Spawned("field", command, tmp_path) as outstation:
        yield (await outstation.hear("ports"))["ports"][0]


async def has_polled(node: Node) -> None:
    async def counted() -> Any:
        return await node.value("plc/count")

    await until(counted, "the first poll")


async def said_through(node: Node, end: datetime) -> None:
    """Wait until the node has committed, and claimed, all that it knows up to a moment."""

    async def complete() -> bool:
        through: str = (await node.control.get("/status"))["complete_through"] or ""
        return datetime.fromisoformat(through) >= end

    await until(complete, f"complete through {end}", 30)


def good_values(found: Sequence[dict[str, Any]]) -> list[Any]:
    """The Good values in order; what is stated again (a new stream, a device back) counts once."""
    values = [value["value"] for value in found if value["status"] == "Good"]
    return [value for value, _ in groupby(values)]


async def test_node_opcua_browses_reads_watches_and_looks_back(tmp_path: Path, field: int) -> None:
    # The plant may change faster than a busy machine scans, and the scan faster than it publishes;
    # so what is read is held against what the node stored, and what is heard against what is read.
    need_npm("node-opcua")
    begun = datetime.now(UTC)
    site = SITE.format(port=field, users="")
    async with running_node(tmp_path / "node", site, free_port()) as node:
        await has_polled(node)
        look = {
            "endpoint": node.endpoint,
            "path": ["third", "Devices", "plant", "intake", "plc"],
            "read": [COUNT, "ns=2;s=plc/scaled", "ns=2;s=plc/nothing"],
            "attributes": COUNT,
            "subscribe": {"node": COUNT, "count": 30},
        }
        [found] = await opcua_tasks(tmp_path, [look])
        it_was_seen(found, begun)

        end = datetime.now(UTC)
        await said_through(node, end)
        ends = [(begun, end), (end, begun)]
        looks = [
            {
                "endpoint": node.endpoint,
                "history": {
                    "node": COUNT,
                    "page": 7,
                    "start": start.isoformat(),
                    "end": stop.isoformat(),
                },
            }
            for start, stop in ends
        ]
        forward, backward = await opcua_tasks(tmp_path, looks)
        span_ns = [int(moment.timestamp() * 1e9) for moment in (begun, end)]
        stored = await node.control.history("plc/count", *span_ns)
        assert "error" not in forward, forward
        pages = forward["history"]["pages"]
        assert [len(page) for page in pages[:-1]] == [7] * (len(pages) - 1)
        assert len(pages) > 3
        rows = [value for page in pages for value in page]
        kept = [row.value for row in stored]
        read = [value["value"] for value in rows]
        assert read == kept, f"node-opcua read {read}, the node tells {kept}"
        turned = [value["value"] for page in backward["history"]["pages"] for value in page]
        assert turned[::-1] == read, f"forward {read}, backward {turned}"
        changes = good_values(rows)
        assert changes == sorted(set(changes)), f"each change once, in order: {changes}"
        heard = good_values(found["subscribe"])
        strange = set(heard) - set(changes)
        assert not strange, f"heard {heard}, but history lacks {strange}: {changes}"


def it_was_seen(found: dict[str, Any], begun: datetime) -> None:
    assert "error" not in found, found
    assert found["browse"]["count"] == COUNT
    count, scaled, nothing = found["read"]
    assert (count["type"], count["status"]) == ("UInt16", "Good")
    assert (scaled["type"], scaled["status"]) == ("Double", "Good")
    assert begun < datetime.fromisoformat(count["source"]) < datetime.now(UTC)
    assert nothing["status"] == "BadNodeIdUnknown"
    attributes = found["attributes"]
    assert attributes["DisplayName"].endswith("count")
    assert attributes["Description"].endswith("Strokes")
    assert attributes["Historizing"] == "true"
    told = [(value["value"], value["status"]) for value in found["subscribe"]]
    heard = good_values(found["subscribe"])
    assert all(one != next_ for one, next_ in pairwise(told)), f"each change comes once: {told}"
    assert heard == sorted(set(heard)), f"changes come in order: {heard}"
    sources = [value["source"] for value in found["subscribe"]]
    assert sources == sorted(sources), f"no value is older than the one before it: {sources}"


async def test_node_opcua_comes_in_encrypted_with_a_password_only(
    tmp_path: Path, field: int
) -> None:
    need_npm("node-opcua")
    password = hash_password("river bed 7")
    users = f"users:\n  alice: {{role: observer, password_hash: '{password}'}}"
    site = SITE.format(port=field, users=users)
    async with running_node(tmp_path / "node", site, free_port(), insecure=False) as node:
        await has_polled(node)
        read = {"endpoint": node.endpoint, "read": [COUNT]}
        alice = {"user": "alice", "password": "river bed 7"}
        secured = [
            {**read, **alice, "policy": policy, "mode": mode}
            for policy in POLICIES
            for mode in ("Sign", "SignAndEncrypt")
        ]
        safe = secured[1]
        write = {"write": [{"node": COUNT, "type": "UInt16", "value": 1}]}
        wrong = [
            *[{**safe, "password": f"river bed {guess}"} for guess in range(8, 13)],
            {**safe, "user": ""},
            {**read},
            {**read, **alice},
        ]
        tasks = [*secured, {**safe, **write}, *wrong]
        [stranger] = await opcua_tasks(tmp_path, [safe])
        assert "error" in stranger, stranger
        _, listed = await node.command("trust", "list")
        assert [entry["state"] for entry in listed] == ["rejected"]
        thumbprint = listed[0]["thumbprint"]
        assert (await node.command("trust", "accept", thumbprint, json_output=False))[0] == 0
        found = await opcua_tasks(tmp_path, tasks)
        _, events = await node.command("events", "--from", "1m")
        _, audit = await node.command("audit")
    told = [event["text"] for event in events if event["source"] == "opcua"]
    assert told[0].endswith(f"`hotpair trust accept {thumbprint[:8]}` on this node lets it in")
    assert "BadCertificateUntrusted" in told[0]
    assert "accepted by" in told[1] and thumbprint[:8] in told[1]
    assert told[2:] == [
        "4 log-ins from 127.0.0.1 failed, the last one as 'alice': the next is heard after 1 s"
    ]
    actions = [(entry["action"], entry["who"]) for entry in audit]
    assert actions.count(("login", "alice")) == len(secured) + 1
    assert actions.count(("login refused", "alice")) == 5
    assert {"trust", "client refused", "lock-out"} <= {action for action, _ in actions}
    for task, seen in zip(tasks[: len(secured)], found, strict=False):
        assert "error" not in seen, (task, seen)
        assert seen["read"][0]["status"] == "Good"
    assert found[len(secured)]["write"][COUNT][0].startswith("Bad")
    for task, seen in zip(wrong, found[-len(wrong) :], strict=True):
        assert "error" in seen, task


async def test_node_opcua_is_told_of_a_lost_device_as_a_failure_of_a_device(
    tmp_path: Path,
) -> None:
    need_npm("node-opcua")
    command = python("hil.bench.outstations", "--registers", 10, "--period", 0.1)
    async with Spawned("field", command, tmp_path) as outstation:
        port = (await outstation.hear("ports"))["ports"][0]
        site = SITE.format(port=port, users="")
        async with running_node(tmp_path / "node", site, free_port()) as node:
            await has_polled(node)
            fields = ["EventType", "SourceName", "Message", "Severity"]
            watch = {"node": "ns=2;s=plc", "fields": fields, "type": "i=2131", "count": 1}
            tasks = [{"endpoint": node.endpoint, "events": watch}]
            [found] = await opcua_tasks(tmp_path, tasks, meanwhile=outstation.stop)
    assert "error" not in found, found
    [[event_type, source, message, severity]] = found["events"]
    assert event_type == "ns=2;s=#Type/ConnectionLostEventType"
    assert (source, severity) == ("plc", "700")
    assert message.startswith("plc lost: ")
