"""Two Mains at once, each with a feed of its own into one database: every sample once."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.config.northbound import PostgresFeed
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.records import Batch, Revision
from gateway.model import NS_PER_MS, NS_PER_S, Position
from gateway.northbound.feed import Feed, Ports
from gateway.northbound.postgres import PostgresOutlet, PostgresPorts

from .northbound_rig import USER, Database, give_secrets, servers

pytestmark = pytest.mark.external
BATCHES, SAMPLES = 600, 10


def feed_of(node: str, journal: Journal, database: Database, folder: Path) -> Feed:
    def since() -> Position:
        return Position(journal.term, 0)

    clock = SystemClock()
    settings = PostgresFeed.model_validate(
        {
            "server": f"localhost:{database.port}",
            "database": "postgres",
            "user": USER,
            "password": {"file": "feeds.pw"},
            "ca": "ca.pem",
        }
    )
    ports = PostgresPorts(clock, node, lambda: (), since, lambda: 0, journal.gaps)
    outlet = PostgresOutlet(settings, "split", folder, ports)
    return Feed(
        outlet,
        Ports(
            clock=clock,
            held=lambda: journal.holdings.terms,
            records=journal.records,
            names=journal.names,
            since=since,
            limit=lambda _: None,
            may_send=lambda: True,
            alarm=lambda severity, text: None,
        ),
        None,
    )


async def test_two_mains_write_every_sample_once(tmp_path: Path) -> None:
    clock = SystemClock()
    with servers(tmp_path) as (_, database):
        await database.start()
        give_secrets(tmp_path, database.ca)
        (tmp_path / "data").mkdir()
        journal = await Journal.open(
            tmp_path / "data", "a", clock, HistorySettings(), lambda *_: None, random.Random(1)
        )
        try:
            await journal.begin_term()
            points = tuple((f"plc1/p{n}", "float64") for n in range(SAMPLES))
            at_ns = clock.utc_ns() - 60 * NS_PER_S
            await journal.append(Revision(1, b"", at_ns, "test", {"site.yaml": ""}, points))
            feeds = [feed_of(node, journal, database, tmp_path) for node in "ab"]
            tasks = [asyncio.create_task(feed.run()) for feed in feeds]
            for n in range(BATCHES):
                time_ns = at_ns + n * NS_PER_MS
                rows = tuple((point, time_ns, float(n), 0) for point in range(SAMPLES))
                written = journal.append(Batch("plc1", "fast", 1, 0, time_ns, time_ns, rows))
                await asyncio.sleep(0.005)  # paces: both have something to write all the time
            await written
            async with asyncio.timeout(40):
                while await database.query(
                    "SELECT count(*) FROM pg_tables WHERE schemaname = 'hotpair'"
                ) == [["0"]] or await database.query("SELECT count(*) FROM hotpair.sample") != [
                    [str(BATCHES * SAMPLES)]
                ]:
                    await asyncio.sleep(0.2)  # paces: a database has no event for this
            for task, feed in zip(tasks, feeds, strict=True):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await feed.stop()
        finally:
            await journal.close()
        told = [feed.status() for feed in feeds]
        assert sum(each["samples"] for each in told) == BATCHES * SAMPLES, (
            "none was handed on twice"
        )
        assert all(each["sessions"] and not each["failures"] for each in told), told
        spans = await database.query("SELECT first_seq, last_seq FROM hotpair.delivered")
        assert spans == [["1", str(BATCHES + 1)]]
