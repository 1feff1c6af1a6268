"""The old PyPI package `opcua`, which many plants' scripts still use, at our endpoints."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from certificates import make

from gateway.server.passwords import hash_password
from hil.bench.process import Spawned, free_port
from hil.gateway import Program

from .plant import small_pair
from .third_party.rig import HERE, Node, need_package, running_node, until, write_files

pytestmark = pytest.mark.external
PASSWORD = "river bed 7"
SITE = """\
site: legacy
scan_classes: {{quick: 100ms}}
devices:
  plc1:
    driver: modbus
    area: plant/intake
    line: {{tcp: {{host: 127.0.0.1, port: {port}}}}}
    scan: quick
    points:
      level: {{register: holding, address: 0, type: float32}}
      setpoint: {{register: holding, address: 30, type: float32, access: rw}}
users:
  otto: {{role: operator, password_hash: '{hash}'}}
  olga: {{role: observer, password_hash: '{hash}'}}
"""
LEVEL, SETPOINT = "ns=2;s=plc1/level", "ns=2;s=plc1/setpoint"


def client(folder: Path, *tasks: dict[str, Any]) -> Spawned:
    """The client at its tasks."""
    need_package("opcua")
    file = folder / "tasks.json"
    file.write_text(json.dumps(tasks))
    command = [sys.executable, str(HERE / "freeopcua_client.py"), str(file)]
    return Spawned("client", command, folder)


async def found_by(folder: Path, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    async with client(folder, *tasks) as program:
        found: list[dict[str, Any]] = (await program.hear("found"))["found"]
    return found


def last_minutes() -> list[str]:
    now = datetime.now(UTC).replace(tzinfo=None)
    return [(now - timedelta(minutes=5)).isoformat(), (now + timedelta(minutes=1)).isoformat()]


def looks(endpoint: str, **more: Any) -> dict[str, Any]:
    """A session that looks at everything."""
    return {
        "endpoint": endpoint,
        "read": [LEVEL],
        "subscribe": {"node": LEVEL, "count": 3},
        "history": {"node": LEVEL, "between": last_minutes()},
        **more,
    }


def it_was_seen(found: dict[str, Any]) -> None:
    assert "error" not in found, found
    [level] = found["read"]
    assert (level["type"], level["status"]) == ("Float", "Good")
    told = found["subscribe"]
    assert {status for _, status in told} == {"Good"}
    assert len({value for value, _ in told}) == 3, f"each change is told once: {told}"
    # This library asks for bounds: before the first value there is none.
    first, *kept = found["history"]
    assert first["status"] == "BadBoundNotFound"
    good = [row["value"] for row in kept if row["status"] == "Good"]
    assert level["value"] in good
    stamps = [row["source"] for row in kept]
    assert stamps == sorted(stamps)


async def polled(node: Node) -> None:
    async def good() -> Any:
        return await node.value("plc1/level")

    await until(good, "the first poll")


async def test_it_comes_in_encrypted_once_it_is_trusted(tmp_path: Path) -> None:
    need_package("opcua")
    port, folder = free_port(), tmp_path / "node"
    site = SITE.format(port=port, hash=hash_password(PASSWORD))
    write_files(folder, site, port, "", insecure=False)
    (folder / "rig.yaml").write_text("seed: 5\nchange: 0.5\n")
    key, certificate = make("Old script", uri="urn:freeopcua:client").write(tmp_path)
    words = ["outstation", "--site", str(folder / "site.yaml")]
    words += ["--control", str(tmp_path / "rig.sock"), "--log", str(tmp_path / "polls")]
    outstation = Program("outstations", words, tmp_path / "outstations.log", "ready")
    await outstation.start()
    try:
        async with running_node(folder, site, free_port(), insecure=False) as node:
            await polled(node)
            secure = ["Basic256Sha256", "SignAndEncrypt", str(certificate), str(key)]
            otto = {"security": secure, "user": "otto", "password": PASSWORD}
            [stranger] = await found_by(tmp_path, looks(node.endpoint, **otto))
            # It hears the reason, logs it, and goes on waiting for an answer.
            assert "TimeoutError" in stranger["error"], stranger
            _, [entry] = await node.command("trust", "list")
            assert entry["state"] == "rejected"
            accept = ("trust", "accept", entry["thumbprint"])
            assert (await node.command(*accept, json_output=False))[0] == 0
            writes = {"write": [[SETPOINT, 12.5, True], [SETPOINT, 12.5, False]]}
            watches = {"browse": ["legacy", "Devices", "plant", "intake", "plc1"]}
            seen, watched, wrong, unsafe = await found_by(
                tmp_path,
                looks(node.endpoint, **otto, **writes, **watches),
                {"endpoint": node.endpoint, **otto, "user": "olga", **writes},
                {"endpoint": node.endpoint, **otto, "password": "guess"},
                {"endpoint": node.endpoint, "read": [LEVEL]},
            )
            it_was_seen(seen)
            assert seen["browse"]["level"] == LEVEL
            # The library's `set_value` adds a timestamp, which no field device can take over.
            assert seen["write"] == ["BadWriteNotSupported", "Good"]
            await node.becomes("plc1/setpoint", 12.5)
            assert watched["write"] == ["BadUserAccessDenied"] * 2
            assert "BadUserAccessDenied" in wrong["error"]
            assert "error" in unsafe
    finally:
        await outstation.stop()


@pytest.mark.slow
async def test_it_is_told_of_a_changeover_and_finds_the_other_node(tmp_path: Path) -> None:
    need_package("opcua")
    async with small_pair(tmp_path) as plant:
        await asyncio.gather(plant.a.start(), plant.b.start())
        main, standby = await plant.until_paired()
        here = str((await main.status())["endpoint"])
        there = str((await standby.status())["endpoint"])
        task = looks(here, write=[[SETPOINT, 21.0, False]], stays=LEVEL, then=there)
        async with client(tmp_path, task) as program:
            await program.hear("stays")
            status, _, err = await main.hotpair("changeover")
            assert status == 0, err
            [found] = (await program.hear("found"))["found"]
        it_was_seen(found)
        assert found["write"] == ["Good"]
        assert found["ended"] != "nothing ended it"
        assert found["then"]["status"] == "Good"
        await plant.until_roles(**{standby.name: "main"})
