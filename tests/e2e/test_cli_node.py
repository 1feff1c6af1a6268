"""The command line against a running node: looked at, acted on, copied, packed for a helper."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sys
import tarfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gateway.model import NS_PER_S, format_time
from hil.gateway import Control, Program

from .plant import SmallPlant, small_plant


async def test_a_node_is_looked_at_and_acted_on(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        await looked_at(plant)
        await drawn(plant, tmp_path)
        await refused(plant)
        await completed(plant)


async def looked_at(plant: SmallPlant) -> None:
    everything = await plant.json("points")
    writable = {point["point"] for point in await plant.json("points", "--writable")}
    assert {"plc1/setpoint", "plc1/pump1_runs"} <= writable < {p["point"] for p in everything}
    assert await plant.json("points", "plc1/*", "--bad") == []
    status, out, _ = await plant.hotpair("read", "plc1/level", "plc1/name")
    first, second = out.splitlines()
    assert status == 0 and first.startswith("plc1/level ") and first.endswith(" m Good")
    assert second.startswith("plc1/name ")
    (level,) = await plant.json("read", "plc1/level")
    assert level["unit"] == "m" and isinstance(level["value"], float)
    for words in (["disable", "plc1/ph"], ["enable", "plc1/ph"]):
        assert (await plant.json(*words, "--why", "test"))["done"] == " ".join(words)
    disabled = await plant.json("disable", "plc1/level", "--why", "test")
    assert disabled == {"done": "disable plc1/level"}
    await plant.until(lambda points: points["plc1/level"]["status"] == "BadOutOfService", 5)
    status, out, _ = await plant.hotpair("read", "plc1/level")
    assert (status, out) == (1, "plc1/level m BadOutOfService\n")
    assert [p["point"] for p in await plant.json("points", "--bad")] == ["plc1/level"]
    await plant.json("enable", "plc1/level", "--why", "test")
    await plant.all_good()
    for words in (["status"], ["gaps"], ["events"], ["roles"], ["windback"]):
        assert await plant.json(*words), words
    assert isinstance(await plant.json("audit"), list)
    assert len(await plant.json("raw", "plc1", "holding", "0", "2")) == 2


async def drawn(plant: SmallPlant, folder: Path) -> None:
    """History in every form, with a gap that windback fills."""
    # It goes on logging: of a power cut a log has only the edges, which a drawing may not show.
    await plant.rig(fault="refuse", device="plc1")
    await plant.until(lambda points: points["plc1/level"]["status"] != "Good", 5)
    off_ns = time.time_ns()
    await plant.gaps(off_ns, off_ns + NS_PER_S)
    status, out, err = await plant.hotpair("history", "plc1/level", "--from", "5s", "--plot")
    assert status == 0 and "▒" in out.splitlines()[13], err
    await plant.rig(clear="plc1")
    await plant.all_good()

    async with asyncio.timeout(30):
        while any(g["state"] == "open" for g in await plant.json("gaps", "plc1")):
            await asyncio.sleep(0.2)  # paces: the socket has no event for this
    since = format_time(off_ns - NS_PER_S)
    status, out, _ = await plant.hotpair("history", "plc1/level", "--from", since, "--plot")
    lines = out.splitlines()
    assert status == 0 and lines[0].startswith("plc1/level: ") and len(lines) == 16
    assert "▓" in lines[13] and "█" in lines[13] and "▓ wound back" in lines[15]
    assert any(cell > "\u2800" for cell in "".join(lines[1:13]) if "\u2800" <= cell <= "\u28ff")
    status, out, _ = await plant.hotpair("history", "plc1/level", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["origin"] for row in rows} >= {"poll", "windback"}
    file = folder / "level.parquet"
    status, out, err = await plant.hotpair("history", "plc1/level", "--out", str(file))
    assert status == 0 and out.startswith(f"{file}: "), err
    assert pq.read_table(file).num_rows >= len(rows)
    status, _, err = await plant.hotpair("history", "plc1/level", "--limit", "2", "--csv")
    assert status == 0 and "there is more: the first 2 are shown" in err


async def refused(plant: SmallPlant) -> None:
    """What is not there is 3, what can't be meant is 2, what is refused is 1: each in one line."""
    for status, *words in (
        (3, "read", "plc1/levle"),
        (3, "history", "plc1/levle"),
        (3, "history", "plc1/level", "--plot", "--from", "2020-01-01", "--to", "2020-01-02"),
        (2, "history", "plc1/name", "--plot"),
        (3, "gaps", "plc9"),
        (3, "raw", "plc9", "holding", "0"),
        (2, "raw", "plc1", "holdings", "0"),
        (3, "trace", "plc9"),
        (3, "write", "plc1/levle", "1"),
        (1, "write", "plc1/level", "1"),
        (3, "substitute", "plc1/levle", "1", "--why", "x"),
        (1, "changeover"),
        (3, "verify", "plc9"),
        (2, "verify", "plc1", "--from", "1m", "--to", "2m"),
        (1, "backup", "/"),
        (3, "restore", str(plant.folder)),
        (1, "rollback", "77"),
    ):
        found, out, err = await plant.hotpair(*words)
        assert found == status, (words, out, err)
        assert (err or out).count("\n") == 1, (words, out, err)


async def completed(plant: SmallPlant) -> None:
    """What a shell asks for to complete a point of the running node."""
    environment = os.environ | {
        "_HOTPAIR_COMPLETE": "complete_bash",
        "COMP_WORDS": f"hotpair read --node {plant.node_file} plc1/pump",
        "COMP_CWORD": "4",
    }
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("hotpair"),),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.decode().split() == ["plc1/pump1_mode", "plc1/pump1_runs", "plc1/pump2_runs"]


@pytest.mark.slow
async def test_a_backup_of_a_polling_node_runs_elsewhere_and_is_equal(tmp_path: Path) -> None:
    async with small_plant(tmp_path) as plant:
        await plant.all_good()
        copy = tmp_path / "copy"
        done = await plant.json("backup", str(copy))
        assert done["records"] > 10
        to_ns = time.time_ns() - NS_PER_S
        span = {"point": "plc1/level", "from": 0, "to": to_ns}
        before = await plant.control.get("/history", **span)
        assert json.loads((copy / "manifest.json").read_text())["node"] == "a"
        status, _, err = await plant.hotpair("restore", str(copy))
        assert status == 1 and "another node already runs" in err
        planted = await packed(plant, tmp_path)
        assert planted
        assert await plant.node.stop() == 0
        other = tmp_path / "other.yaml"
        other.write_text(plant.node_file.read_text().replace("data_dir: data/a", "data_dir: new"))
        plant.node_file = other
        status, out, err = await plant.hotpair("restore", str(copy))
        assert status == 0 and "proven by their digests" in out, err
        plant.node = Program("node", ["run", str(other)], tmp_path / "new.log", "is Main")
        await plant.node.start()
        await plant.control.close()
        plant.control = Control(tmp_path / "new")
        after = await plant.control.get("/history", **span)
        held = [row for row in before["rows"] if row in after["rows"]]
        assert len(held) >= len(before["rows"]) - 1
        assert after["rows"][: len(held)] == held


async def packed(plant: SmallPlant, folder: Path) -> bool:
    """A support bundle of a running node, with secrets in its log, its events and its files."""
    secret = 'hunter2 "quoted" ä'
    (folder / "plc2.pw").write_text(secret)
    site = plant.site_file.read_text()
    plant.site_file.write_text(
        f"{site}\nusers: {{eva: {{role: admin, password: {{file: plc2.pw}}}}}}\n"
    )
    await plant.hotpair("disable", "plc1/ph", "--why", f"the password is {secret}")
    (folder / "own.log").write_text(f"tried {secret}\n")
    out = folder / "bundle.tar.gz"
    status, _, err = await plant.hotpair(
        "support-bundle", str(out), "--log", str(folder / "own.log")
    )
    plant.site_file.write_text(site)
    assert status == 0, err
    with tarfile.open(out) as archive:
        parts = {e.name: (archive.extractfile(e) or io.BytesIO()).read().decode() for e in archive}
    audit = next(text for name, text in parts.items() if name.endswith("node/events.json"))
    assert "the password is (left out)" in audit
    assert not any("hunter2" in text for text in parts.values())
    points = next(text for name, text in parts.items() if name.endswith("node/points.json"))
    return "plc1/level" in points
