"""Every sample of a pair's journal, in the broker's and the database's own clients' words."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sparkplug_schema import value_of

from gateway.clock import SystemClock
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.records import Batch, decode
from gateway.model import NS_PER_MS

from .northbound_rig import Heard, Listener, give_secrets, northbound, servers
from .plant import SmallPair, small_pair

pytestmark = pytest.mark.external
Sample = tuple[str, int, int]
"""(term, seq, place): the identity of a sample."""


async def journalled(data: Path) -> dict[Sample, tuple[str, int, Any, int, int]]:
    """Every sample of a stopped node's journal: (point, ns, value, status, received)."""
    journal = await Journal.open(
        data, "judge", SystemClock(), HistorySettings(), lambda *_: None, random.Random(0)
    )
    found: dict[Sample, tuple[str, int, Any, int, int]] = {}
    try:
        for term, holding in journal.holdings.terms.items():
            for first, last in holding.stretches if term.number else ():
                at = first
                while at <= last:
                    for seq, wire, _ in await journal.records(term, at):
                        at, body = seq + 1, decode(wire)
                        if isinstance(body, Batch):
                            names = journal.names(body.revision, term)
                            assert names is not None
                            for place, (point, ns, value, status) in enumerate(body.samples):
                                row = (names[point], ns, value, status, body.received_ns)
                                found[str(term), seq, place] = row
    finally:
        await journal.close()
    return found


def born_in_order(heard: list[Heard]) -> list[int]:
    """Judge the order of births, deaths and sequence numbers; the bdSeq of each session."""
    sessions: list[int] = []
    alive: set[str] = set()
    seq = -1
    for message in heard:
        if message.verb == "NDEATH":
            if message.bd_seq == sessions[-1]:
                alive, seq = set(), -1
            continue
        if message.verb == "NCMD":
            continue
        if message.verb == "NBIRTH":
            assert message.payload.seq == 0
            names = {metric.name for metric in message.payload.metrics}
            assert {"bdSeq", "Node Control/Rebirth"} <= names
            sessions.append(message.bd_seq)
            alive, seq = set(), 0
            continue
        assert seq >= 0, f"{message.verb} before NBIRTH"
        seq = (seq + 1) % 256
        assert message.payload.seq == seq, f"{message.verb} {message.device}: seq"
        if message.verb == "DBIRTH":
            alive.add(message.device)
        elif message.verb == "DDEATH":
            alive.remove(message.device)
        else:
            assert message.verb == "DDATA" and message.device in alive
    return sessions


def published(heard: list[Heard]) -> Counter[tuple[str, int, Any, bool]]:
    """How often each (point, ms, value, historical) was published as data."""
    found: Counter[tuple[str, int, Any, bool]] = Counter()
    aliases: dict[tuple[str, int], str] = {}
    for message in heard:
        for metric in message.payload.metrics:
            if message.verb == "DBIRTH":
                aliases[message.device, metric.alias] = f"{message.device}/{metric.name}"
            elif message.verb == "DDATA":
                assert not metric.name, "data goes by alias"
                point = aliases[message.device, metric.alias]
                key = (point, metric.timestamp, value_of(metric), metric.is_historical)
                found[key] += 1
    return found


async def until_delivered(plant: SmallPair, since_s: float = 1.0, within_s: float = 40.0) -> None:
    """Wait until the Main's feeds have nothing left but what comes at this moment."""
    await asyncio.sleep(since_s)  # paces: what is to be delivered must come first

    def holds(seen: dict[str, dict[str, Any]]) -> bool:
        feeds = [
            f for s in seen.values() if s.get("role") == "main" for f in s["northbound"].values()
        ]
        return bool(feeds) and all(
            f["state"] == "delivering" and f["records_behind"] <= 10 for f in feeds
        )

    await plant.until(holds, within_s)


async def test_every_sample_arrives_over_kills_of_the_main_the_broker_and_the_database(
    tmp_path: Path,
) -> None:
    with servers(tmp_path) as (broker, database):
        async with small_pair(tmp_path) as plant:
            give_secrets(tmp_path, broker.ca)
            plant.site_file.write_text(plant.site_file.read_text() + northbound(broker, database))
            await asyncio.gather(broker.start(), database.start())
            first = Listener(broker)
            await first.start()
            await broker.host(True, 1)
            await asyncio.gather(plant.a.start(), plant.b.start())
            main, standby = await plant.until_paired()
            await until_delivered(plant)
            await main.program.kill()
            await plant.until_roles(**{standby.name: "main"}, within_s=10)
            await until_delivered(plant)
            broker.kill()
            await first.stop()
            await asyncio.sleep(1)  # paces: samples must wait for a broker that is gone
            database.kill()
            await main.start()
            await asyncio.sleep(1)  # paces: and for a database
            await broker.start()
            second = Listener(broker)
            await second.start()
            await broker.host(True, 2)
            await database.start()
            await plant.until_roles(**{main.name: "synced", standby.name: "main"})
            await plant.until_equal()
            await until_delivered(plant)
            until_ns = time.time_ns()
            await until_delivered(plant)
            assert "delivering" in (await standby.hotpair("status"))[1]
            await main.program.stop()
            await standby.program.stop()
            await second.stop()
        journal = await journalled(standby.data)
        wanted = {key for key, row in journal.items() if row[4] < until_ns}
        assert len({key[0] for key in wanted}) >= 2, "two terms at least"
        rows = await database.query(
            "SELECT t.number, t.node, t.nonce, s.seq, s.place, p.point, s.status,"
            " (extract(epoch from s.source_time) * 1000000)::bigint, s.value"
            " FROM hotpair.sample s JOIN hotpair.term t USING (term_id)"
            " JOIN hotpair.point p USING (point_id)"
        )
        found = {(f"{r[0]}.{r[1]}.{r[2]}", int(r[3]), int(r[4])): r[5:] for r in rows}
        assert len(found) == len(rows), "no row twice"
        assert not wanted - found.keys(), "every sample is in the database"
        assert not found.keys() - journal.keys(), "and nothing that the journal lacks"
        for key, (point, status, micros, value) in found.items():
            row = journal[key]
            assert (point, int(status), int(micros)) == (row[0], row[3], row[1] // 1_000)
            assert (float(value) if value else None) == row[2]
        heard = [*first.heard, *second.heard]
        sessions = born_in_order(first.heard) + born_in_order(second.heard)
        assert sessions == sorted(set(sessions)) and len(sessions) >= 3
        assert second.heard[-1].verb == "NDEATH", "the last Main said good-bye"
        told: Counter[tuple[str, int, Any]] = Counter()
        for (point, ms, value, _), count in published(heard).items():
            told[point, ms, value] += count
        samples = {
            (row[0], row[1] // NS_PER_MS, row[2]) for k, row in journal.items() if k in wanted
        }
        assert not samples - told.keys(), "every sample was published"
        assert not told.keys() - {(r[0], r[1] // NS_PER_MS, r[2]) for r in journal.values()}
        assert any(late for (*_, late) in published(heard)), "what was caught up with says so"
        assert any(not late for (*_, late) in published(heard))
        gaps = await database.query("SELECT DISTINCT cause FROM hotpair.gap")
        assert gaps, "the takeover's gap is told"
