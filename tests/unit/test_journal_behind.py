"""Classes that are behind: what the journal makes of records that claim them apart."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from journal_pair import Side, pull
from test_journal import T0, World, batch, covered, hole_times, limit_pages, revision, until

from gateway.errors import StoreFull
from gateway.journal.partitions import NS_PER_DAY
from gateway.journal.records import Behind, Coverage
from gateway.model import NS_PER_S, Cause, Gap


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def apart(first: int, end: int, own_first: float, own_end: float) -> Coverage:
    """A record that claims plc1 in a stretch of its own."""
    own = Behind("plc1", "normal", T0 + int(own_first * NS_PER_S), T0 + int(own_end * NS_PER_S))
    return msgspec.structs.replace(covered(first, end), behind=(own,))


async def test_what_is_behind_is_no_gap_until_the_node_is_gone_and_then_is_its_alone(
    world: World,
) -> None:
    span = (T0, T0 + 60 * NS_PER_S)
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        journal.append(batch(0, 7, 2))
        await journal.append(apart(0, 4, 0, 2))
        world.clock.now_ns = T0 + 4 * NS_PER_S
        assert journal.coverage_end_ns == T0 + 4 * NS_PER_S
        assert journal.behind == {("plc1", "normal"): T0 + 2 * NS_PER_S}
        assert await journal.gaps("plc1", *span) == []
        await journal.append(apart(4, 6, 2, 3))
        world.clock.now_ns = T0 + 7 * NS_PER_S
        assert await journal.gaps("plc1", *span) == []
    world.clock.now_ns = T0 + 9 * NS_PER_S
    async with world.journal() as journal:
        await journal.append(covered(9, 10))
        assert journal.behind == {}
        down = Gap("plc1", "normal", *hole_times(3, 9), Cause.NODE_DOWN)
        assert await journal.gaps("plc1", *span) == [down]
        other = down._replace(device="plc2", from_ns=T0 + 6 * NS_PER_S)
        assert await journal.gaps("plc2", *span) == [other]


async def test_what_was_behind_is_covered_by_what_comes_later_in_another_file(
    world: World,
) -> None:
    day_s = 86_400
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        await journal.append(apart(0, day_s, 0, day_s - 3))
        world.clock.now_ns += NS_PER_DAY
        journal.append(batch(day_s, 2.0))
        await journal.append(apart(day_s, day_s + 1, day_s - 3, day_s + 1))
        assert len(world.files()) == 2
        assert await journal.gaps("plc1", T0, T0 + (day_s + 1) * NS_PER_S) == []


async def test_a_file_of_a_version_that_knew_nobody_behind_is_read_and_written_on(
    world: World,
) -> None:
    async with world.journal() as journal:
        journal.append(revision())
        journal.append(batch(0, 1.0))
        await journal.append(covered(0, 2))
    for name in world.files():
        connection = sqlite3.connect(world.folder / "journal" / name)
        connection.execute("DROP TABLE own_run")
        connection.close()
    world.clock.now_ns = T0 + 3 * NS_PER_S
    async with world.journal() as journal:
        await journal.append(apart(2, 4, 2, 3))
        assert journal.behind == {("plc1", "normal"): T0 + 3 * NS_PER_S}
        world.clock.now_ns += NS_PER_DAY
        await journal.append(batch(86_403, 2.0))
        await until(lambda: journal._shelf.partitions[0].database is None)
    for name in world.files()[:1]:
        connection = sqlite3.connect(world.folder / "journal" / name)
        connection.execute("DROP TABLE own_run")
        connection.close()
    async with world.journal() as journal:
        assert await journal.gaps("plc1", T0, T0 + 2 * NS_PER_S) == []
        assert not any("damaged" in text for _, text in world.events)


async def test_a_store_that_fails_reaches_back_to_the_last_claim_of_the_class_that_is_behind(
    world: World,
) -> None:
    async with world.journal() as journal:
        failures: list[int | None] = []
        journal.on_store(failures.append)
        journal.append(revision())
        journal.append(batch(0, 1.0))
        await journal.append(apart(0, 4, 0, 1))
        world.clock.now_ns = T0 + 5 * NS_PER_S
        await limit_pages(journal, 2)
        for refused in (journal.append(batch(5, "x" * 100_000)), journal.append(apart(4, 5, 1, 5))):
            with pytest.raises(StoreFull):
                await refused
        assert failures == [T0 + NS_PER_S]
        await limit_pages(journal, None)
        await until(lambda: failures[-1] is None)
        back = await journal.append(apart(5, 7, 1, 6))
        assert isinstance(back.body, Coverage)
        assert [o.since_ns for o in back.body.behind] == [T0 + 5 * NS_PER_S]
        world.clock.now_ns = T0 + 7 * NS_PER_S
        assert await journal.gaps("plc1", T0, T0 + 7 * NS_PER_S) == [
            Gap("plc1", "normal", *hole_times(1, 5), Cause.STORE)
        ]


async def test_on_a_standby_what_is_behind_at_its_main_is_a_gap_when_the_main_is_gone(
    tmp_path: Path,
) -> None:
    a, b = Side(tmp_path, "a"), Side(tmp_path, "b")
    span = (T0, T0 + 500 * NS_PER_S)
    async with a.journal(reigns=True) as main, b.journal() as standby:
        await main.append(revision())
        main.append(batch(0, 1.0))
        main.append(batch(0, 7, 2))
        await main.append(apart(0, 10, 0, 7))
        b.clock.now_ns = T0 + 11 * NS_PER_S
        await pull(main, standby)
        assert standby.behind == main.behind == {("plc1", "normal"): T0 + 7 * NS_PER_S}
        assert await standby.gaps("plc1", *span) == []
        b.clock.now_ns = T0 + 30 * NS_PER_S
        assert await standby.gaps("plc1", *span) == [
            Gap("plc1", "normal", *hole_times(7, 25), Cause.NODE_DOWN)
        ]
        assert await standby.gaps("plc2", *span) == [
            Gap("plc2", "normal", *hole_times(10, 25), Cause.NODE_DOWN)
        ]
