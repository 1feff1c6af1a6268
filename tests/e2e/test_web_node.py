"""REST of a real node over TLS: log-in, live values, trends, orders, tokens, health, metrics."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from gateway.web.certificate import make

from .web_rig import API, PAGE, PASSWORD, WebPlant, stream, web_plant


async def test_a_day_at_the_page(tmp_path: Path) -> None:
    """One plant, everything that people and programs do with it: starting one takes seconds."""
    async with web_plant(tmp_path) as plant:
        await plant.all_good()
        await _health(plant)
        await _live(plant)
        await _orders(plant)
        await _trend(plant)
        await _tokens(plant)
        await _metrics(plant)
        await _revisions(plant)
        await _renewed(plant)
        audit = {(e["action"], e["who"]) for e in await plant.json("audit")}
        assert ("write", "otto") in audit and ("disable meter1", "erna") not in audit
        assert ("token grafana", "anna") in audit
        async with plant.as_user("olga") as client, stream(client, f"{API}/live") as live:
            assert (await live.next())[0] == "snapshot"
            began = time.monotonic()
            assert await plant.node.stop() == 0
            assert time.monotonic() - began < 5, "an open stream holds nothing up"
        assert "Traceback" not in (tmp_path / "node.log").read_text()


async def _health(plant: WebPlant) -> None:
    async with plant.client() as client:
        codes = [
            (await client.get(f"/health/{kind}")).status_code
            for kind in ("live", "ready", "main", "standby")
        ]
        assert codes == [200, 200, 200, 503]
        asked = [await client.head("/health/main") for _ in range(100)]  # as load balancers do
        assert {answer.status_code for answer in asked} == {200}


async def _live(plant: WebPlant) -> None:
    async with (
        plant.as_user("olga") as client,
        stream(client, f"{API}/live?points=plc1/*&every_ms=100") as live,
    ):
        name, data = await live.next()
        points = {point["point"]: point for point in data["points"]}
        assert name == "snapshot" and len(points) == 14
        for _ in range(3):
            name, data = await live.next()
            assert name == "change" and data["points"]
            assert {point["point"] for point in data["points"]} < set(points)
        async with stream(client, f"{API}/events/live") as events:
            await plant.rig(power="off", device="plc1")
            while "lost" not in (told := await events.next())[1]["events"][0]["text"]:
                continue
            assert told[0] == "events" and told[1]["lost"] == 0
            await plant.rig(power="on", device="plc1")
        await client.post(f"{API}/logout")
        while name != "bye":
            name, data = await live.next()
    await plant.all_good()


async def _orders(plant: WebPlant) -> None:
    async with plant.as_user("otto") as otto, plant.as_user("erna") as erna:
        answer = await otto.post(f"{API}/write", json={"point": "plc1/setpoint", "value": 3.5})
        assert answer.json() == {"status": "Good", "read_back": 3.5, "detail": ""}
        disable = {"action": "disable", "target": "meter1", "why": "calibration"}
        assert (await otto.post(f"{API}/maintenance", json=disable)).status_code == 403
        assert (await erna.post(f"{API}/maintenance", json=disable)).status_code == 200
        status = (await otto.get(f"{API}/status")).json()
        assert status["devices"]["meter1"]["state"] == "disabled"
        enable = {**disable, "action": "enable"}
        assert (await erna.post(f"{API}/maintenance", json=enable)).status_code == 200
        raw = await erna.get(f"{API}/raw/plc1/holding/30?count=2")
        assert raw.json() == {"values": [0x4060, 0]}, "3.5 as float32"
        async with erna.stream("GET", f"{API}/trace/plc1?seconds=1") as traced:
            assert any("plc1" in line for line in [line async for line in traced.aiter_lines()])
    await plant.all_good()


async def _trend(plant: WebPlant) -> None:
    now_ns = time.time_ns()
    span = {"from": plant.born_ns, "to": now_ns, "points": "plc1/level,meter1/power"}
    async with plant.as_user("olga") as client:
        found = (await client.get(f"{API}/trend", params={**span, "buckets": 50})).json()
        level = next(line for line in found["points"] if line["point"] == "plc1/level")
        assert sum(level["count"]) > 5 and level["unit"] == "m"
        rows = (await client.get(f"{API}/history", params={**span, "point": "plc1/level"})).json()[
            "rows"
        ]
        numbers = [row["value"] for row in rows if isinstance(row["value"], float)]
        assert min(v for v in level["min"] if v is not None) == min(numbers)
        assert max(v for v in level["max"] if v is not None) == max(numbers)
        causes = {(gap["device"], gap["cause"]) for gap in found["gaps"] + found["wound_back"]}
        assert ("plc1", "link") in causes and ("meter1", "disabled") in causes
        assert [reign["node"] for reign in found["reigns"]] == ["a"]


async def _tokens(plant: WebPlant) -> None:
    status, secret, _ = await plant.hotpair("token", "make", "scada", "--role", "operator")
    assert status == 0
    async with plant.client(Authorization=f"Bearer {secret.strip()}") as program:
        assert (await program.get(f"{API}/me")).json()["role"] == "operator"
    async with plant.as_user("anna") as anna:
        made = (await anna.post(f"{API}/tokens", json={"name": "grafana"})).json()
        listed = (await anna.get(f"{API}/tokens")).json()
        assert [(t["name"], t["role"]) for t in listed] == [
            ("scada", "operator"),
            ("grafana", "observer"),
        ]
        assert [t["name"] for t in await plant.json("token", "list")] == ["scada", "grafana"]
        assert (await plant.hotpair("token", "revoke", "scada"))[0] == 0
        assert (await plant.hotpair("token", "revoke", "scada"))[0] == 1
        secret = made["token"]
        assert secret not in (plant.folder / "node.log").read_text()
        async with plant.client(Authorization=f"Bearer {secret}") as program:
            assert (await program.get(f"{API}/me")).json()["user"] == "grafana"
            await plant.node.kill()
            plant.node = plant.new_node()
            await plant.node.start()
            assert (await program.get(f"{API}/me")).status_code == 200, "it outlives a kill"
            assert (await anna.get(f"{API}/me")).status_code == 200, "so does a session"
    async with plant.as_user("anna") as anna:
        assert (await anna.delete(f"{API}/tokens/grafana")).status_code == 200
        async with plant.client(Authorization=f"Bearer {secret}") as program:
            assert (await program.get(f"{API}/me")).status_code == 401
    await plant.all_good()


async def _renewed(plant: WebPlant) -> None:
    """Somebody put another certificate in place of the one that runs."""
    key, certificate = make("another", ["127.0.0.1"], datetime.now(UTC))
    plant.certificate.with_suffix(".key").write_bytes(key)
    plant.certificate.write_bytes(certificate)
    async with asyncio.timeout(30):
        while True:
            async with plant.client() as client:
                try:
                    assert (await client.get("/health/live")).status_code == 200
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.2)  # paces: files are looked at each 5 s


async def _metrics(plant: WebPlant) -> None:
    async with plant.as_user("olga") as client:
        text = (await client.get("/metrics")).text
    assert 'hotpair_role{role="main"} 1' in text
    assert 'hotpair_device_state{device="plc1",state="up"} 1' in text
    assert "hotpair_round_trip_seconds_bucket" in text
    assert 'hotpair_certificate_expiry_timestamp_seconds{purpose="web"}' in text


async def _revisions(plant: WebPlant) -> None:
    async with plant.as_user("erna") as erna, plant.as_user("olga") as olga:
        files = (await erna.get(f"{API}/revisions/files")).json()
        root = next(iter(files))
        changed = {**files, root: files[root].replace("Pump station PLC", "Another PLC")}
        done = (await erna.post(f"{API}/revisions/apply", json={"files": changed})).json()
        assert done["problems"] == [] and done["in_force"], done
        asked = {"old": str(done["number"] - 1)}
        (differs,) = (await erna.get(f"{API}/revisions/differences", params=asked)).json()
        assert "+    description: Another PLC" in differs["difference"]
        gone = {
            **changed,
            root: changed[root].replace("  olga: {role: observer", "  olga: {role: operator"),
        }
        answer = await erna.post(f"{API}/revisions/apply", json={"files": gone})
        assert answer.status_code == 403
        async with plant.as_user("anna") as anna:
            answer = await anna.post(f"{API}/revisions/apply", json={"files": gone})
            assert answer.json()["in_force"], answer.text
        assert (await olga.get(f"{API}/me")).json()["role"] == "operator", "it holds at once"


async def test_a_taken_port_is_an_alarm_and_the_plant_is_polled(tmp_path: Path) -> None:
    plant = WebPlant(tmp_path, "metrics: open, insecure: true")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", plant.port))
        taken.listen()
        try:
            await plant.start()
            await plant.all_good()
            told = await plant.json("events")
            assert any("Address already in use" in event["text"] for event in told)
            assert any("is open without encryption" in event["text"] for event in told)
            taken.close()
            async with (
                asyncio.timeout(15),
                httpx.AsyncClient(base_url=plant.base.replace("https", "http")) as client,
            ):
                while True:
                    try:
                        answer = await client.get("/metrics")
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.2)  # paces: it is tried again each 5 s
                assert answer.status_code == 200
                login = {"user": "olga", "password": PASSWORD}
                answer = await client.post(f"{API}/login", json=login, headers=PAGE)
                assert answer.status_code == 200
                assert "secure" not in answer.headers["set-cookie"].lower()
        finally:
            await plant.stop()
