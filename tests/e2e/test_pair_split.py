"""Main-Main: all links are cut and healed; one stays, and nothing that either collected is lost.

The links of both nodes lead through proxies that swallow what they carry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.config.node import HostPort
from gateway.model import NS_PER_S

from .link_rig import Proxy
from .plant import SmallPair, small_pair


@asynccontextmanager
async def pair_with_proxies(
    folder: Path, pair: str = ""
) -> AsyncIterator[tuple[SmallPair, list[Proxy]]]:
    """A running pair whose links can be cut: (plant, proxies)."""
    async with small_pair(folder, pair) as plant, proxied(plant) as proxies:
        yield plant, proxies


@asynccontextmanager
async def proxied(plant: SmallPair) -> AsyncIterator[list[Proxy]]:
    """Start the nodes of a pair with proxies on their links."""
    proxies: list[Proxy] = []
    for name, peer in (("a", "b"), ("b", "a")):
        ways = []
        for address in plant.addresses(peer):
            host, _, port = address.strip('"').rpartition(":")
            proxy = Proxy(HostPort(host, int(port)))
            await proxy.start()
            proxies.append(proxy)
            ways.append(f'"{proxy.address}"')
        plant.write_node(name, peer, peer=", ".join(ways))
    try:
        await asyncio.gather(plant.a.start(), plant.b.start())
        await plant.until_paired()
        await plant.until_equal()
        yield proxies
    finally:
        await plant.stop()
        for proxy in proxies:
            await proxy.stop()


async def test_a_split_is_healed_with_one_main_and_both_nodes_data(tmp_path: Path) -> None:
    async with pair_with_proxies(tmp_path) as (plant, proxies):
        main, standby = await plant.until_paired()
        await asyncio.sleep(1)  # paces: a reign that is longer than the other's
        cut_ns = time.time_ns()
        for proxy in proxies:
            proxy.cut()
        await plant.until_roles(**{main.name: "main", standby.name: "main"}, within_s=10)
        await asyncio.sleep(2.5)  # paces: both collect
        healed_ns = time.time_ns()
        for proxy in proxies:
            proxy.heal()
        await plant.until_roles(**{main.name: "main", standby.name: "synced"}, within_s=15)
        await plant.until_equal()
        await asyncio.sleep(1.2)  # paces: the new term claims
        to_ns = time.time_ns()
        polled = {node for _, node in plant.polls("plc1", cut_ns) if _ < healed_ns}
        assert polled == {"a", "b"}, "a split without a witness polls twice, as is said"
        gaps = [await plant.gaps(n, cut_ns - NS_PER_S, to_ns) for n in (main, standby)]
        assert gaps[0] == gaps[1]
        assert gaps[0] == [], "the Main that stays collected all the time"
        rows = [
            [(r.time_ns, r.position) for r in await n.control.history("plc1/level", cut_ns, to_ns)]
            for n in (main, standby)
        ]
        assert rows[0] == rows[1]
        writers = {position.term.node for _, position in rows[0]}
        assert writers == {"a", "b"}, "what the loser collected is kept"
        roles = await main.control.get("/roles")
        assert "Main-Main" in str(roles["reigns"]), roles["reigns"]
        shown = [await node.status() for node in (main, standby)]
        assert any(node["arbitrations"] for node in shown), "the ruler counts, or the loser"
        assert not any(node["conflicts"] for node in shown)


@pytest.mark.slow
async def test_the_duty_that_a_revision_gave_holds_in_the_next_split_without_a_restart(
    tmp_path: Path,
) -> None:
    async with pair_with_proxies(tmp_path) as (plant, proxies):
        main, standby = await plant.until_paired()
        text = plant.site_file.read_text()
        assert "startup_wait: 1s" in text
        plant.site_file.write_text(
            text.replace("startup_wait: 1s", "startup_wait: 1s, duty: discard")
        )
        status, out, err = await main.hotpair("apply", str(plant.site_file))
        assert status == 0, (out, err)
        await plant.until(lambda s: all(n["revision"]["running"] == 2 for n in s.values()), 15)
        for proxy in proxies:
            proxy.cut()
        await plant.until_roles(**{main.name: "main", standby.name: "main"}, within_s=10)
        split_ns = time.time_ns()
        await asyncio.sleep(2.5)  # paces: both collect
        healed_ns = time.time_ns()
        for proxy in proxies:
            proxy.heal()
        main, standby = await plant.until_paired(within_s=15)
        await plant.until_equal()
        assert {node for at, node in plant.polls("plc1", split_ns) if at < healed_ns} == {"a", "b"}
        rows = [await n.control.history("plc1/level", split_ns, healed_ns) for n in (main, standby)]
        assert rows[0] == rows[1]
        assert {row.position.term.node for row in rows[0]} == {main.name}, "the loser's are out"


@pytest.mark.slow
async def test_one_link_of_two_may_go_and_nothing_happens(tmp_path: Path) -> None:
    async with pair_with_proxies(tmp_path) as (plant, proxies):
        main, standby = await plant.until_paired()
        from_ns = time.time_ns()
        for proxy in proxies[::2]:  # the first path, both ways
            proxy.cut()
        await asyncio.sleep(4)  # paces: longer than any patience
        assert (await main.role(), await standby.role()) == ("main", "synced")
        await plant.until_equal()
        to_ns = time.time_ns()
        assert {node for _, node in plant.polls("plc1", from_ns)} == {main.name}
        assert await plant.gaps(standby, from_ns, to_ns) == []
        shown = (await main.status())["links"]
        silent = [link["name"] for link in shown if link["last_heard_age_ms"] > 2_000]
        assert len(silent) == 1, shown
        _, out, _ = await main.hotpair("status")
        assert f"{silent[0]} SILENT" in out, out


async def test_after_a_one_way_cut_the_one_that_is_not_heard_is_no_longer_main(
    tmp_path: Path,
) -> None:
    async with pair_with_proxies(tmp_path) as (plant, proxies):
        main, standby = await plant.until_paired()
        # What the Main says no longer arrives; it still hears the other.
        outgoing = proxies[:2] if main is plant.a else proxies[2:]
        incoming = proxies[2:] if main is plant.a else proxies[:2]
        for proxy in outgoing:
            proxy.there.open.clear()
        for proxy in incoming:
            proxy.back.open.clear()
        await plant.until_roles(**{standby.name: "main"}, within_s=10)
        async with asyncio.timeout(10):
            while await main.role() == "main":
                await asyncio.sleep(0.05)  # paces: the socket has no event for this
        for proxy in proxies:
            proxy.heal()
        await plant.until_paired()
        await plant.until_equal()
        assert await standby.role() == "main"
