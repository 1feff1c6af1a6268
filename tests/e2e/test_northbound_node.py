"""A feed that a revision brings, its births and deaths, and what it says when it can't deliver."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sparkplug_schema import Payload, properties

from gateway.model import NS_PER_MS
from gateway.northbound.payload import TYPES

from .browser import browser
from .northbound_rig import Broker, Heard, Listener, give_secrets, northbound, servers
from .plant import SmallPlant
from .test_northbound_pair import born_in_order, published
from .web_rig import PASSWORD, WebPlant

pytestmark = pytest.mark.external


async def feed_is(
    plant: SmallPlant, name: str, holds: Callable[[dict[str, Any]], bool], within_s: float = 20
) -> dict[str, Any]:
    """Wait until a feed's status is as wanted."""
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = (await plant.control.get("/status"))["northbound"].get(name, {})
                if found and holds(found):
                    return found
                await asyncio.sleep(0.05)  # paces: the socket has no event for this
    except TimeoutError:
        raise AssertionError(f"{name}: {found}\n{plant.node.last_words()[-2_000:]}") from None


@asynccontextmanager
async def fed_plant(folder: Path, feeds: str) -> AsyncIterator[WebPlant]:
    """The demo's site with feeds, from its start."""
    plant = WebPlant(folder, more=feeds)
    try:
        await asyncio.gather(plant.outstations.start(), plant.node.start())
        yield plant
    finally:
        await plant.control.close()
        await plant.node.stop()
        await plant.outstations.stop()


def late(message: Heard, device: str) -> bool:
    """Whether a message has historical values of a device."""
    of_device = message.verb == "DDATA" and message.device == device
    return of_device and any(metric.is_historical for metric in message.payload.metrics)


async def rebirth(broker: Broker) -> None:
    """What a host application sends when it missed something (Sparkplug 3.0.0, 6.4.23)."""
    command = Payload(timestamp=time.time_ns() // NS_PER_MS)
    command.metrics.add(name="Node Control/Rebirth", datatype=11, boolean_value=True)
    await broker.publish("spBv1.0/plant/NCMD/demo", command.SerializeToString())


async def away_and_back(plant: WebPlant, listener: Listener, at: int) -> int:
    """A device dies, goes on logging, is born again, and what it logged comes late."""
    await plant.rig(fault="refuse", device="plc1")
    at = await listener.until("DDEATH", at)
    assert listener.heard[at - 1].device == "plc1"
    await asyncio.sleep(1)  # paces: what its log has of the outage
    await plant.rig(clear="plc1")
    at = await listener.until("DBIRTH", at)
    assert listener.heard[at - 1].device == "plc1"
    async with asyncio.timeout(30):
        while not any(late(m, "plc1") for m in listener.heard[at:]):
            await asyncio.sleep(0.05)  # paces: lines of another process
    return at


async def test_births_and_deaths_follow_the_host_the_devices_and_the_revision(
    tmp_path: Path,
) -> None:
    with servers(tmp_path) as (broker, _):
        await broker.start()
        listener = Listener(broker)
        await listener.start()
        give_secrets(tmp_path, broker.ca)
        feeds = northbound(broker, None)
        async with fed_plant(tmp_path, feeds) as plant, browser(tmp_path) as tab:
            await tab.log_in(plant.base, "olga", PASSWORD)
            says = "document.querySelector('#feeds')?.innerText.includes({!r})"
            await tab.until(says.format("▲ waiting for host"))
            await feed_is(plant, "mqtt", lambda feed: feed["state"] == "waiting for host")
            assert not listener.heard, "nothing is said while the primary host is offline"
            await broker.host(True, 1)
            at = await listener.until("DDATA")
            await tab.until(says.format("● delivering"))
            births = {m.device: m.payload for m in listener.heard if m.verb == "DBIRTH"}
            points = await plant.control.get("/points")
            assert {f"{device}/{m.name}" for device, p in births.items() for m in p.metrics} == {
                p["point"] for p in points
            }, "every point is born"
            types = {
                f"{device}/{m.name}": m.datatype for device, p in births.items() for m in p.metrics
            }
            assert types == {p["point"]: TYPES[p["type"]] for p in points}
            aliases = [m.alias for p in births.values() for m in p.metrics]
            assert len(aliases) == len(set(aliases))
            await rebirth(broker)
            at = await listener.until("NBIRTH", at)
            assert listener.heard[at - 1].bd_seq == listener.heard[0].bd_seq

            at = await away_and_back(plant, listener, at)
            await broker.host(False, 2)
            at = await listener.until("NDEATH", at)
            await feed_is(plant, "mqtt", lambda feed: feed["state"] == "waiting for host")
            silent_ns = time.time_ns()
            await asyncio.sleep(1.5)  # paces: samples must wait meanwhile
            assert len(listener.heard) == at, "it disconnected, and said no more"
            await broker.host(True, 3)
            at = await listener.until("NBIRTH", at)
            heard_ns = time.time_ns()
            await feed_is(plant, "mqtt", lambda f: f["state"] == "delivering" and f["lag_s"] < 1)
            plant.site_file.write_text(plant.site_file.read_text().partition("northbound:")[0])
            status, _, err = await plant.hotpair("apply", str(plant.site_file))
            assert status == 0, err
            await listener.until("NDEATH", at)
            await listener.stop()
            assert not (await plant.control.get("/status"))["northbound"]
            await tab.until(says.format("No feed is configured"))
    sessions = born_in_order(listener.heard)
    assert sessions == [0, 0, 1], "a rebirth is no new session"
    waited = [key for key in published(listener.heard) if key[3]]
    assert any(silent_ns < key[1] * NS_PER_MS < heard_ns for key in waited), "and all came later"
    bad = [
        properties(m)["Quality"]
        for message in listener.heard
        if message.verb == "DDATA" and message.device == "plc1"
        for m in message.payload.metrics
        if m.HasField("properties")
    ]
    assert 0 in bad, "the outage was told as bad values"


async def test_a_session_that_fails_is_told_dead_before_the_next_is_born(tmp_path: Path) -> None:
    with servers(tmp_path) as (broker, _):
        await broker.start()
        await broker.host(True, 1)
        listener = Listener(broker)
        await listener.start()
        give_secrets(tmp_path, broker.ca)
        async with fed_plant(tmp_path, northbound(broker, None)) as plant:
            at = await listener.until("DDATA")
            assert broker.process is not None
            broker.process.send_signal(signal.SIGSTOP)
            await feed_is(plant, "mqtt", lambda feed: feed["failures"] > 0)
            broker.process.send_signal(signal.SIGCONT)
            died = await listener.until("NDEATH", at)
            await listener.until("NBIRTH", died)
        await listener.stop()
        assert born_in_order(listener.heard)[:2] == [0, 1]


async def test_a_server_that_can_not_be_trusted_gets_nothing_and_hinders_nobody(
    tmp_path: Path,
) -> None:
    with servers(tmp_path) as (broker, database):
        await asyncio.gather(broker.start(), database.start())
        give_secrets(tmp_path, broker.ca)
        (tmp_path / "feeds.pw").write_text("wrong\n")
        async with fed_plant(tmp_path, northbound(broker, database)) as plant:
            for name in ("mqtt", "postgres"):
                found = await feed_is(plant, name, lambda feed: feed["failures"] > 1)
                assert found["samples"] == 0 and found["last_error"], found
                assert found["lag_s"] is None, "how late, nobody knows: nothing came ever"
            give_secrets(tmp_path, broker.ca)
            await broker.host(True, 1)
            for name in ("mqtt", "postgres"):
                await feed_is(plant, name, lambda feed: feed["samples"] > 0)
            said = (await plant.hotpair("status"))[1]
            assert "northbound mqtt localhost" in said and "northbound postgres" in said
            told = [
                e["text"] for e in await plant.control.get("/events", **{"from": 0, "to": 2**62})
            ]
            assert any("takes no samples" in text for text in told)
            assert any("takes samples again" in text for text in told)
            rows = await database.query(
                "SELECT DISTINCT point, origin, quality FROM hotpair.history"
            )
            assert ["plc1/level", "poll", "Good"] in rows
            texts = await database.query(
                "SELECT DISTINCT value_text FROM hotpair.history WHERE point = 'plc1/name'"
            )
            assert texts and texts[0][0]
            shown = await plant.control.get("/status")
            failures = sum(feed["failures"] for feed in shown["northbound"].values())
            # a laden machine skips a scan by itself; a feed that blocks, one at half of its tries
            overruns = shown["devices"]["plc1"]["overruns"]
            assert overruns < failures / 2, "polling took no notice"
