"""Clients of a pair: what they are told, where they go, and what they don't lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.client.ha.ha_client import HaClient, HaConfig, HaMode

from gateway.server.passwords import hash_password
from hil.bench.process import Spawned

from .plant import PairNode, SmallPair, small_pair
from .third_party.rig import need_npm, script

WARM = ", standby_endpoint: warm"
POINT = "ns=2;s=plc1/level"
LEVEL = ua.NodeId(ua.ObjectIds.Server_ServiceLevel)
PASSWORD = "river bed 7"
EVENT = "event"


class Heard:
    """What a client heard, each with whether it was Good; `until` waits for one of a kind."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Any, bool]] = []
        self._news = asyncio.Event()

    def event_notification(self, told: Any) -> None:
        self.found.append((EVENT, told.Message.Text, True))
        self._news.set()

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        good = data.monitored_item.Value.StatusCode.is_good()
        self.found.append((node.nodeid.to_string(), value, good))
        self._news.set()

    async def until(self, what: Any, within_s: float = 10.0) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not any(map(what, self.found)):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"after {within_s} s only {self.found}") from None


def level(low: int, high: int) -> Any:
    """Whether something heard is a ServiceLevel from `low` to `high`."""
    return lambda found: found[0] == LEVEL.to_string() and low <= found[1] <= high


def becomes(node: PairNode, role: str) -> Any:
    """Whether something heard is the event that a node has another role, with its reason."""
    return lambda found: found[0] == EVENT and found[1].startswith(f"node {node.name} is {role}: ")


def ordered(found: tuple[str, Any, bool]) -> bool:
    """Whether something heard is the event of an order, not of what came of it."""
    return found[0] == EVENT and found[1].startswith(("changeover ", "Failover "))


def point(good: bool) -> Any:
    """Whether something heard is the point, Good or not."""
    return lambda found: found[0] == POINT and found[2] is good


async def started(plant: SmallPair) -> tuple[PairNode, PairNode]:
    await asyncio.gather(plant.a.start(), plant.b.start())
    return await plant.until_paired()


async def url_of(node: PairNode) -> str:
    return str((await node.status())["endpoint"])


async def watch(client: Client, heard: Heard) -> None:
    subscription = await client.create_subscription(100, heard)
    await subscription.subscribe_data_change([client.get_node(LEVEL), client.get_node(POINT)])


def pollers(plant: SmallPair) -> list[str]:
    """Who polled plc1, in order, each change once."""
    return [node for node, _ in groupby(node for _, node in plant.polls("plc1"))]


async def polls_of(plant: SmallPair, node: PairNode) -> None:
    """Wait until the outstations have written down that a node polls."""
    async with asyncio.timeout(5):
        while node.name not in pollers(plant):
            await asyncio.sleep(0.1)  # paces: the log is flushed now and then


async def test_a_warm_standby_becomes_main_by_failover_and_nobody_is_cut(tmp_path: Path) -> None:
    async with small_pair(tmp_path, WARM) as plant:
        users = f"users:\n  anna: {{role: admin, password_hash: '{hash_password(PASSWORD)}'}}\n"
        plant.site_file.write_text(plant.site_file.read_text() + users)
        main, standby = await started(plant)
        here, there = Client(await url_of(main)), Client(await url_of(standby))
        there.set_user("anna")
        there.set_password(PASSWORD)
        async with here, there:
            told, heard = Heard(), Heard()
            await watch(here, told)
            await watch(there, heard)
            await told.until(level(255, 255))
            await told.until(point(good=True))
            await heard.until(level(90, 90))
            await heard.until(point(good=False))
            assert not any(map(point(good=True), heard.found)), "a Standby shows no values"
            redundancy = there.get_node(ua.NodeId(ua.ObjectIds.Server_ServerRedundancy))
            mode = await redundancy.get_child("0:Mode")
            assert await mode.read_value() == 2
            events = await there.create_subscription(100, heard)
            await events.subscribe_events()
            heard.found.clear()
            told.found.clear()
            await redundancy.call_method("0:Failover")
            await heard.until(level(200, 255))
            await heard.until(point(good=True))
            await told.until(level(90, 90))
            await told.until(point(good=False))
            assert await mode.read_value() == 0
            await heard.until(becomes(standby, "main"))
            await heard.until(ordered)
        assert await main.role() == "synced"
        await polls_of(plant, standby)
        assert pollers(plant) == [main.name, standby.name], "only a Main polls"
        assert len(list(filter(ordered, heard.found))) == 1, "one order is one event"


async def test_haclient_goes_on_when_the_main_is_killed(tmp_path: Path) -> None:
    async with small_pair(tmp_path, WARM) as plant:
        main, standby = await started(plant)
        urls = [await url_of(main), await url_of(standby)]
        config = HaConfig(HaMode.WARM, 1, 1, 1, urls=urls, session_timeout=10, request_timeout=2)
        client, heard = HaClient(config), Heard()
        await client.start()
        try:
            name = await client.create_subscription(100, heard)
            await client.subscribe_data_change(name, [POINT])
            await heard.until(point(good=True))
            assert client.active_client is client.get_client_by_url(urls[0])
            await main.program.kill()
            await plant.until(lambda seen: seen[standby.name].get("role") == "main", 10)
            heard.found.clear()
            await heard.until(point(good=True))
            assert client.active_client is client.get_client_by_url(urls[1])
            # It is alone now, and a client with a hard test of 200 stays.
            status = client.clients[client.active_client].status
            assert 200 <= status <= 227
        finally:
            await client.stop()


async def test_node_opcua_finds_the_other_server_and_follows_the_level(tmp_path: Path) -> None:
    need_npm("node-opcua")
    async with small_pair(tmp_path) as plant:
        main, standby = await started(plant)
        first, second = [await url_of(node) for node in (main, standby)]
        command = script("opcua_failover.js", first, POINT)
        async with Spawned("client", command, tmp_path) as client:
            found = (await client.hear("set"))["set"]
            assert found == {
                "support": 1,
                "uris": ["urn:hotpair:pairtest:a", "urn:hotpair:pairtest:b"],
                "urls": [await url_of(plant.a), await url_of(plant.b)],
            }
            await client.hear("value", part="Good")
            status, _, err = await main.hotpair("changeover")
            assert status == 0, err
            left = (await client.hear("left"))["left"]
            assert left == {"endpoint": first, "why": "level 2"}, "told before it was cut"
            seen = await client.hear("value", part=second)
            assert seen["watching"]["endpoint"] == second
            assert seen["watching"]["level"] >= 200
        assert await standby.role() == "main"


class Floating:
    """An address that leads to one node, and to the other from the next moment on."""

    def __init__(self, host: str, port: int, target: str) -> None:
        self.host, self.port, self.target = host, port, target
        self._pipes: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, self.host, self.port)
        try:
            yield
        finally:
            server.close()
            self._cut()

    def flip(self, target: str) -> None:
        """As keepalived does it: what was open is dead."""
        self.target = target
        self._cut()

    def _cut(self) -> None:
        for pipe in self._pipes:
            pipe.transport.abort()
        self._pipes.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await asyncio.open_connection(self.target, self.port)
        except OSError:
            writer.transport.abort()
            return
        self._pipes |= {writer, onward[1]}
        await asyncio.gather(self._copy(reader, onward[1]), self._copy(onward[0], writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
        except ConnectionError:
            pass
        writer.transport.abort()


async def test_a_client_reconnects_through_a_floating_address(tmp_path: Path) -> None:
    async with small_pair(tmp_path) as plant:
        port = plant.ports[3]
        hosts = {"a": "127.0.0.21", "b": "127.0.0.22"}
        for name, to in (("a", "b"), ("b", "a")):
            shown = f"{hosts[name]}, 127.0.0.50"
            plant.write_node(name, to, host=hosts[name], port=str(port), advertise=shown)
        main, standby = await started(plant)
        floating = Floating("127.0.0.50", port, hosts[main.name])
        url = f"opc.tcp://127.0.0.50:{port}"
        async with floating.listening():
            endpoints = await Client(url).connect_and_get_server_endpoints()
            own = f"opc.tcp://{hosts[main.name]}:{port}"
            assert {e.EndpointUrl for e in endpoints} == {url, own}
            assert endpoints[0].EndpointUrl == url
            servers = await Client(url).connect_and_find_servers()
            assert [set(s.DiscoveryUrls) for s in servers] == [
                {url, f"opc.tcp://{hosts[node.name]}:{port}"} for node in (main, standby)
            ]
            for node, other in ((main, standby), (standby, main)):
                heard = Heard()
                async with Client(url) as client:
                    await watch(client, heard)
                    await heard.until(point(good=True))
                    uris = await client.get_namespace_array()
                    assert uris[1:] == [f"urn:hotpair:pairtest:{node.name}", "urn:hotpair:pairtest"]
                    if node is main:
                        status, _, err = await node.hotpair("changeover")
                        assert status == 0, err
                        await heard.until(level(1, 2))
                        floating.flip(hosts[other.name])
