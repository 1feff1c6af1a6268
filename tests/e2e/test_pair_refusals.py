"""What a pair refuses, and how clearly it says so on both sides."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from .plant import PairNode, SmallPair, small_pair


async def cert(folder: Path, *names: str) -> None:
    """Certificates of other nodes, in a folder of their own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "cert", *names, "--out", str(folder)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


async def until_said(plant: SmallPair, node: PairNode, *words: str, within_s: float = 40) -> None:
    """Wait until a node's log and its status both tell something."""
    async with asyncio.timeout(within_s):
        while True:
            shown = json.dumps(await node.status())
            log = node.log.read_text()
            if all(word in shown for word in words) and all(word in log for word in words):
                return
            await asyncio.sleep(0.05)  # paces: neither has an event


async def test_a_changeover_to_a_standby_that_is_not_there_is_refused(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        await plant.a.start()
        await plant.until_roles(a="main")
        status, _, err = await plant.a.hotpair("changeover")
        assert status == 1
        assert "not heard" in err and err.count("\n") == 1, err
        status, out, err = await plant.a.hotpair("peer", "absent")
        assert status == 0 and "absent" in out, err
        assert (await plant.a.status())["peer_absent"]
        status, _, err = await plant.a.hotpair("rehearse")
        assert status == 1 and "Main" in err
        await plant.b.start()
        await plant.until_roles(b="synced")
        status, _, err = await plant.a.hotpair("peer", "absent")
        assert status == 1 and "is heard" in err
        status, out, err = await plant.b.hotpair("rehearse", "--json")
        assert status == 0, out + err
        assert {item["device"]: item["reached"] for item in json.loads(out)} == {
            "plc1": True,
            "plc2": True,
            "plc3": True,
        }
        await plant.rig(power="off", device="plc2")
        status, out, _ = await plant.b.hotpair("rehearse")
        assert status == 1 and "refused" in out


async def test_a_node_alone_of_a_pair_waits_and_then_serves(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        begin = time.monotonic()
        await plant.b.start()
        await plant.until_roles(b="main")
        assert time.monotonic() - begin >= 1.0, "startup_wait"


async def test_a_wrong_certificate_keeps_both_apart_and_both_say_so(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        await cert(tmp_path / "other", "a", "b")
        (tmp_path / "b.key").write_bytes((tmp_path / "other" / "b.key").read_bytes())
        (tmp_path / "b.crt").write_bytes((tmp_path / "other" / "b.crt").read_bytes())
        # Node a keeps pinning the first certificate of b.
        plant.write_node(
            "a",
            "b",
            tls=f"  tls: {{cert: ../a.crt, key: ../a.key, peer_cert: {tmp_path}/old.crt}}\n",
        )
        (tmp_path / "old.crt").write_bytes((tmp_path / "other" / "a.crt").read_bytes())
        await asyncio.gather(plant.a.start(), plant.b.start())
        for node in (plant.a, plant.b):
            await until_said(plant, node, "certificate")


async def test_a_second_node_of_the_same_name_is_told_on_both_sides(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        plant.write_node("b", "a", id="a")
        plant.write_node(
            "b", "a", id="a", tls="  tls: {cert: ../b.crt, key: ../b.key, peer_cert: ../a.crt}\n"
        )
        await asyncio.gather(plant.a.start(), plant.b.start())
        for node in (plant.a, plant.b):
            await until_said(plant, node, "has the id of this one, `a`")


async def test_another_site_s_node_is_told_on_both_sides(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        other = plant.site_file.read_text().replace("site: pairtest", "site: elsewhere")
        (tmp_path / "other.yaml").write_text(other)
        text = (tmp_path / "b" / "node.yaml").read_text()
        (tmp_path / "b" / "node.yaml").write_text(text.replace("../site.yaml", "../other.yaml"))
        await asyncio.gather(plant.a.start(), plant.b.start())
        await until_said(plant, plant.a, "elsewhere")
        await until_said(plant, plant.b, "pairtest")
