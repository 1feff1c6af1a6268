"""`hotpair probe` and `browse` against emulated outstations and servers, as a user runs them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from modbus_peer import SILENCE, Exc, Peer, serve_pty, serve_tcp
from opcua_peer import Plc, running

from gateway.app import schemas
from gateway.config.files import check_site
from hil.gateway import Program

from .plant import free_ports


async def hotpair(*words: str | Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", *map(str, words)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def found_by(*words: str | Path) -> Any:
    status, out, err = await hotpair(*words, "--json")
    assert status == 0, err
    return json.loads(out)


@asynccontextmanager
async def outstation(folder: Path, profile: str, listen: str, unit: int) -> AsyncIterator[None]:
    words = ["outstation", profile, "--listen", listen, "--unit", str(unit)]
    program = Program("outstation", words, folder / "outstation.log", "ready")
    await program.start()
    try:
        yield
    finally:
        await program.stop()


@pytest.mark.parametrize("kind", ["tcp", "rtu_over_tcp"])
async def test_a_meter_is_found_named_and_decoded(tmp_path: Path, kind: str) -> None:
    (port,) = free_ports(1)
    target = f"{kind}:127.0.0.1:{port}"
    async with outstation(tmp_path, "eastron/sdm120", target, 7):
        status, _, err = await hotpair("probe", target, "--timeout", "200ms")
        assert status == 3 and "no unit of 1, 255, 0 answers. `--units 1-247`" in err
        words = ("probe", target, "--units", "5-9", "--timeout", "200ms")
        more = ("-r", "input:0:2", "-r", "input:9000:2", "--profile", "eastron/sdm120")
        (unit,) = (await found_by(*words, *more))["units"]
        assert unit["unit_id"] == 7
        assert unit["identity"]["vendor"] == "Eastron"
        assert "Eastron" in unit["server_id"] and unit["sunspec"] is None
        assert unit["suggested"][0] == {"profile": "eastron/sdm120", "why": "it names SDM120"}
        here, missing = unit["registers"]
        assert len(here["words"]) == 2 and "illegal data address" in missing["error"]
        points = {point["point"]: point for point in unit["profile"]["points"]}
        assert len(points) == 10 and points["voltage"]["status"] == "Good"
        assert 180 < points["voltage"]["value"] < 260
        status, out, _ = await hotpair(*words, *more)
        assert status == 0
        assert "unit 7 answers" in out and "profile eastron/sdm120 may fit" in out
        assert "float32 by byte order" in out and "ABCD" in out and "illegal data address" in out


async def test_an_inverter_is_known_by_its_sunspec_models(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    target = f"tcp:127.0.0.1:{port}"
    async with outstation(tmp_path, "sunspec/inverter", target, 1):
        (unit,) = (await found_by("probe", target))["units"]
        assert unit["sunspec"]["base"] == 40000 and 103 in unit["sunspec"]["models"]
        suggested = {s["profile"]: s["why"] for s in unit["suggested"]}
        assert "it has SunSpec model" in suggested["sunspec/inverter"]


async def test_a_bus_is_asked_unit_by_unit_and_nothing_is_written(tmp_path: Path) -> None:
    peer = Peer(rule=lambda unit, pdu: None if unit in (3, 4) else SILENCE)
    async with serve_pty(peer) as bus:
        words = ("--parity", "N", "--timeout", "100ms", "--units", "2-5")
        found = await found_by("probe", f"rtu:{bus.port}", *words)
        assert [unit["unit_id"] for unit in found["units"]] == [3, 4]
        assert {pdu[0] for _, pdu in peer.requests} <= {3, 4, 17, 43}
        status, _, err = await hotpair("probe", f"rtu:{bus.port}", *words[:4], "--units", "9")
        assert status == 3 and "nothing answers" in err and "parity" in err


async def test_a_device_that_knows_nothing_of_itself_says_so(tmp_path: Path) -> None:
    def knows_registers(unit: int, pdu: bytes) -> Exc | None:
        return None if pdu[0] in (3, 4) else Exc(1)

    async with serve_tcp(Peer(rule=knows_registers)) as port:
        status, out, _ = await hotpair(
            "probe", f"tcp:127.0.0.1:{port}", "-r", "holding:0:3", "-r", "coil:0:2"
        )
        assert status == 0
        assert "it does not say who it is" in out
        assert "coil 0: read coils was refused" in out


async def test_a_profile_of_ones_own_is_tried(tmp_path: Path) -> None:
    file = tmp_path / "m7.yaml"
    assert (await hotpair("profiles", "new", file, "-y"))[0] == 0
    async with serve_tcp(Peer()) as port:
        found = await found_by("probe", f"tcp:127.0.0.1:{port}", "--profile", file)
        (point,) = found["units"][0]["profile"]["points"]
        assert (point["point"], point["status"]) == ("example", "Good")
        file.write_text(file.read_text().replace("type: float32", "type: float31"))
        status, _, err = await hotpair("probe", f"tcp:127.0.0.1:{port}", "--profile", file)
        assert status == 1 and f"{file}:" in err and "float31" in err


async def tree_of(plc: Plc) -> None:
    """A folder of variables beside those that the peer has."""
    from asyncua import ua

    tank = await plc.server.nodes.objects.add_object(plc.index, "Tank")
    await tank.add_variable(ua.NodeId("Tank.Level", plc.index), "Level", 1.5)
    pump = await tank.add_object(plc.index, "Pump 1")
    speed = await pump.add_variable(ua.NodeId("Pump;Speed", plc.index), "Level", ua.Float(2.0))
    await speed.set_writable()
    await tank.add_variable(ua.NodeId("Tank.List", plc.index), "List", [1, 2, 3])
    odd = ua.Argument(Name="x")
    await tank.add_variable(ua.NodeId("Tank.Odd", plc.index), "Odd", odd)


async def test_a_server_is_probed_browsed_and_its_variables_become_points(tmp_path: Path) -> None:
    async with running(Plc()) as plc:
        await tree_of(plc)
        url = f"opc.tcp://127.0.0.1:{plc.port}"
        found = await found_by("probe", url)
        assert found["endpoints"][0]["policy"] == "None" and not found["refused"]
        assert found["server"]["namespaces"][0] == "http://opcfoundation.org/UA/"
        assert "it lets us in" in (await hotpair("probe", url))[1]
        refused = await found_by("probe", url, "--policy", "Basic256Sha256", "--trust-any")
        assert refused["server"] is None and "does not offer Basic256Sha256" in refused["refused"]

        tank = ("browse", url, "--match", "Tank/*")
        rows = {row["path"]: row for row in (await found_by(*tank))["variables"]}
        assert set(rows) == {"Tank/Level", "Tank/Pump 1/Level", "Tank/List", "Tank/Odd"}
        assert rows["Tank/Level"]["type"] == "float64" and rows["Tank/Level"]["point"] == "Level"
        speed = rows["Tank/Pump 1/Level"]
        assert (speed["type"], speed["access"], speed["point"]) == (
            *("float32", "rw", "Pump_1.Level"),
        )
        assert rows["Tank/List"]["array"] == 3
        assert rows["Tank/Odd"]["type"] is None and "no point holds" in rows["Tank/Odd"]["why"]

        bounded = await found_by("browse", url, "--limit", "3")
        assert bounded["more"] and bounded["nodes"] <= 4
        shallow = await found_by("browse", url, "--depth", "1", "--match", "Tank/*")
        assert shallow["variables"] == []
        status, _, err = await hotpair("browse", url, "--start", "nsu=urn:nobody;s=x")
        assert status == 3 and "no namespace" in err

        status, yaml, _ = await hotpair(*tank, "--as", "yaml")
        site = tmp_path / "site.yaml"
        indented = yaml.replace("\n", "\n    ").rstrip()
        site.write_text(
            f"site: s\ndevices:\n  plc1:\n    driver: opcua\n    endpoint: {url}\n"
            f"    insecure: true\n    {indented}\n"
        )
        loaded = check_site(site, schemas())
        assert loaded.site is not None, loaded.problems
        assert {p.name for p in loaded.site.points} == {"Level", "Pump_1.Level", "List"}

        status, text, _ = await hotpair(*tank, "--as", "csv", "--device", "plc1")
        assert status == 0
        named = {row["point"] for row in csv.DictReader(io.StringIO(text))}
        assert named == {"Level", "List", "Pump_1.Level"}
        bare = tmp_path / "bare"
        bare.mkdir()
        (bare / "site.yaml").write_text(site.read_text().partition("    points:")[0])
        (bare / "rows.csv").write_text(text)
        status, out, err = await hotpair("import", bare / "rows.csv", "--site", bare / "site.yaml")
        assert status == 0 and "added: 3" in out, err
        (bare / "node.yaml").write_text("node: a\ndata_dir: d\nsite: site.yaml\n")
        of_site = await found_by("browse", "plc1", "-n", bare / "node.yaml", "--match", "Tank/*")
        assert len(of_site["variables"]) == 4
        status, _, err = await hotpair("browse", "plc9", "-n", bare / "node.yaml")
        assert status == 3 and "It has: plc1" in err
