"""REST of a pair: both nodes serve reads, orders reach the Main, tokens are good on both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from .plant import PAIR_TLS, PairNode, free_ports, small_pair
from .web_rig import API, PAGE, PASSWORD, stream, users


@asynccontextmanager
async def web_pair(folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """A pair with pages, a Main and a synced Standby: a stranger's client of each, Main first."""
    ports = dict(zip("ab", free_ports(2), strict=True))
    async with small_pair(folder) as pair:
        with pair.site_file.open("a") as site:
            site.write(users())
        for name, peer in (("a", "b"), ("b", "a")):
            tls = PAIR_TLS.format(id=name, peer=peer)
            web = f"web: {{listen: '127.0.0.1:{ports[name]}'}}\n"
            pair.write_node(name, peer, tls=tls + web)
            await pair.nodes[name].start()
        main, standby = await pair.until_paired()

        def client(node: PairNode) -> httpx.AsyncClient:
            base = f"http://127.0.0.1:{ports[node.name]}"
            return httpx.AsyncClient(base_url=base, timeout=30, headers=PAGE, trust_env=False)

        async with client(main) as leads, client(standby) as stands_by:
            yield leads, stands_by


async def log_in(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.post(f"{API}/login", json={"user": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text


async def health(client: httpx.AsyncClient, what: str) -> int:
    return (await client.get(f"/health/{what}")).status_code


async def test_a_pair_is_followed_asked_and_told_at_either_node(tmp_path: Path) -> None:
    born_ns = time.time_ns()
    async with web_pair(tmp_path) as (leads, stands_by):
        assert [await health(leads, k) for k in ("ready", "main", "standby")] == [200, 200, 503]
        assert [await health(stands_by, k) for k in ("ready", "main", "standby?lag=10s")] == [
            200,
            503,
            200,
        ]
        for client in (leads, stands_by):
            await log_in(client, "anna")

        answer = await stands_by.post(f"{API}/tokens", json={"name": "scada", "role": "operator"})
        assert answer.status_code == 200, answer.text
        bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
        for client in (leads, stands_by):
            async with asyncio.timeout(10):
                while (await client.get(f"{API}/me", headers=bearer)).json()["user"] != "scada":
                    await asyncio.sleep(0.05)  # paces: the token is replicated
        async with stream(stands_by, f"{API}/live?points=plc1/setpoint&every_ms=100") as live:
            assert (await live.next())[0] == "snapshot"
            write = {"point": "plc1/setpoint", "value": 4.5}
            answer = await stands_by.post(f"{API}/write", json=write, headers=bearer)
            assert answer.json()["status"] == "Good", answer.text
            async with asyncio.timeout(10):
                while (await live.next())[1]["points"][0]["value"] != 4.5:
                    continue
        audit = (await leads.get(f"{API}/audit")).json()
        assert ("write", "scada (token)") in {(entry["action"], entry["who"]) for entry in audit}

        for client in (leads, stands_by):
            asked = {"points": "plc1/level", "from": born_ns, "to": 2**62}
            async with asyncio.timeout(10):
                while True:
                    found = (await client.get(f"{API}/trend", params=asked)).json()
                    if sum(found["points"][0]["count"]) > 3:
                        break
                    await asyncio.sleep(0.05)  # paces: the level takes its time to change
            assert len(found["reigns"]) == 1
            metrics = (await client.get("/metrics")).text
            assert f"hotpair_is_main {int(client is leads)}" in metrics
            assert "hotpair_replication_connected" in metrics

        answer = await stands_by.post(f"{API}/changeover")
        assert answer.status_code == 200, answer.text
        async with asyncio.timeout(10):
            while await health(stands_by, "main") != 200 or await health(leads, "standby") != 200:
                await asyncio.sleep(0.05)  # paces: load balancers look like this, too
        assert (await leads.get(f"{API}/me")).status_code == 200, "a session outlives its role"
        found = (await stands_by.get(f"{API}/trend", params=asked)).json()
        assert len(found["reigns"]) == 2
        assert (await stands_by.delete(f"{API}/tokens/scada")).status_code == 200
        async with asyncio.timeout(10):
            while (await leads.get(f"{API}/me", headers=bearer)).status_code != 401:
                await asyncio.sleep(0.05)  # paces: the revocation is replicated
