"""Each word of the nemesis against a pair: the fault acts, it ends, and the pair is whole again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from gateway.model import NS_PER_S, parse_duration, parse_time
from hil import disk, ground, tamper
from hil.acts import WORDS
from hil.fresh import first_fresh_ns
from hil.pair import Pair, PairNode
from hil.words import Need

from .fault_rig import Ground, lay_out

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

SOON_S = 30.0
needs_tamper = pytest.mark.skipif(bool(tamper.hindrance()), reason=tamper.hindrance())
needs_disk = pytest.mark.skipif(bool(disk.hindrance()), reason=disk.hindrance())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """One pair for all words, on all the ground that this machine gives."""
    folder = tmp_path_factory.mktemp("pair")
    lay_out(folder, Ground(links=2), None)
    pair = Pair(folder)
    ways = ((Need.TAMPER, tamper.hindrance()), (Need.DISK, disk.hindrance()))
    async with ground.on(pair, [need for need, hindered in ways if not hindered]):
        try:
            await pair.start()
            yield pair
        finally:
            await pair.stop()
    for node in pair.nodes.values():
        assert list(node.data.rglob("*.sqlite")), "what was on its disk is kept"


@pytest_asyncio.fixture(loop_scope="module")
async def pair(standing: Pair) -> AsyncIterator[Pair]:
    """After each word one node is Main, the other synced, and their journals are equal."""
    await standing.until_paired(SOON_S)
    yield standing
    await standing.until_paired(SOON_S)
    await standing.until_equal(SOON_S)
    for status in (await standing.statuses()).values():
        assert status["conflicts"] == 0, status
    for node in standing.nodes.values():
        assert "Traceback" not in node.log.read_text(errors="replace")


@asynccontextmanager
async def done(
    pair: Pair, word: str, who: PairNode | None = None, **options: Any
) -> AsyncIterator[None]:
    """The word as the table has it."""
    async with WORDS[word].word(pair, who, options):
        yield


async def until(holds: Callable[[], Any], within_s: float = SOON_S) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.05)  # paces: a file and a status have no event


class Ear:
    """What a node's log says from now on."""

    def __init__(self, node: PairNode) -> None:
        self._node = node
        self._from = len(node.log.read_bytes())

    def said(self, *words: str) -> bool:
        new = self._node.log.read_bytes()[self._from :].decode(errors="replace")
        return all(word in new for word in words)

    def count(self, words: str) -> int:
        return self._node.log.read_bytes()[self._from :].decode(errors="replace").count(words)

    async def hears(self, *words: str) -> None:
        await until(lambda: self.said(*words))


async def of(pair: Pair) -> tuple[PairNode, PairNode]:
    """The Main and the Standby."""
    main = await pair.main()
    return main, pair.other(main)


async def link(node: PairNode, path: int) -> Mapping[str, Any]:
    """What a node says of one of its links."""
    found: Mapping[str, Any] = (await node.status())["links"][path]
    return found


@asynccontextmanager
async def nobody_moved(pair: Pair) -> AsyncIterator[None]:
    """Meanwhile no term begins."""
    before = {name: seen["term"] for name, seen in (await pair.statuses()).items()}
    yield
    assert {name: seen["term"] for name, seen in (await pair.statuses()).items()} == before


async def reaches(look: Callable[[], Any], within_s: float = SOON_S) -> None:
    """Wait until what is awaited is true."""
    async with asyncio.timeout(within_s):
        while not await look():
            await asyncio.sleep(0.05)  # paces: a status has no event


# ---------------------------------------------------------------------------------- links


async def test_a_late_path_has_a_longer_round_trip(pair: Pair) -> None:
    async def rtt_above() -> bool:
        return float((await link(pair.a, 0))["rtt_ms"]) > 200

    async def rtt_below() -> bool:
        return float((await link(pair.a, 0))["rtt_ms"]) < 150

    async with nobody_moved(pair):
        async with done(pair, "delay", path=0, ms=120, jitter_ms=20):
            await reaches(rtt_above)
            assert (await link(pair.a, 1))["rtt_ms"] < 200, "the other path is as it was"
        await reaches(rtt_below)


async def test_damaged_bytes_end_connections_and_the_links_come_back(pair: Pair) -> None:
    main, standby = await of(pair)
    ears = Ear(main), Ear(standby)
    async with done(pair, "corrupt", main, every=5):
        await until(lambda: any(ear.said("is down") for ear in ears))
    await reaches(lambda: up(pair))


async def up(pair: Pair) -> bool:
    """Whether every link of both nodes stands."""
    seen = await pair.statuses()
    return all(one.get("up") for status in seen.values() for one in status.get("links", [{}]))


async def test_a_path_that_flaps_is_silent_and_heard_in_turns(pair: Pair) -> None:
    async def age_ms() -> float:
        return float((await link(pair.a, 1))["last_heard_age_ms"])

    async def silent() -> bool:
        return await age_ms() > 1_000

    async def heard() -> bool:
        return await age_ms() < 500

    async with nobody_moved(pair):
        async with done(pair, "flap", path=1, every=parse_duration("2s")):
            for _ in range(2):
                await reaches(silent)
                await reaches(heard)
        await reaches(lambda: up(pair))
    assert (await link(pair.a, 0))["last_heard_age_ms"] < 500


async def test_dropped_connections_are_dialled_again(pair: Pair) -> None:
    async def anew() -> bool:
        found = [await link(node, path) for node in pair.nodes.values() for path in (0, 1)]
        return all(one["up"] and parse_time(one["since"]) > began_ns for one in found)

    async with nobody_moved(pair):
        began_ns = time.time_ns()
        async with done(pair, "drop"):
            await reaches(anew)


# ---------------------------------------------------------------------------------- disk


@needs_disk
@pytest.mark.parametrize("word", ["fill_disk", "read_only_disk"])
async def test_a_node_says_that_its_disk_takes_nothing(pair: Pair, word: str) -> None:
    _, standby = await of(pair)
    ear = Ear(standby)

    async def stores(whether: bool) -> bool:
        return (await standby.status()).get("storing") is whether

    async with done(pair, word, standby):
        await reaches(lambda: stores(False))
        assert ear.said("the disk is full" if word == "fill_disk" else "the store failed")
        filler = standby.data / disk.FILLER
        assert filler.exists() is (word == "fill_disk")
    assert not filler.exists()
    await reaches(lambda: stores(True))


@needs_tamper
async def test_a_slow_disk_takes_its_time_for_every_fsync(pair: Pair) -> None:
    _, standby = await of(pair)
    assert standby.tamper is not None
    forged = standby.tamper
    async with done(pair, "slow_disk", standby, ms=700, write_ms=1):
        switch = await pair.changeover()  # a takeover waits until its term is on the disk
        felt = forged.felt()
        assert felt.longest_sync_ms >= 700 and felt.slow_writes > 0
        assert switch.taken == standby.name
        await pair.until_paired()
    await pair.changeover()
    await pair.until_paired()
    forged.slow(0)  # what had begun while it was slow is not counted
    await pair.changeover()
    felt = forged.felt()
    assert felt.syncs > 0 and felt.longest_sync_ms < 700 and felt.slow_writes == 0


# ---------------------------------------------------------------------------------- clock


@needs_tamper
@pytest.mark.parametrize("seconds", [3600, -60])
async def test_the_clock_of_one_node_is_set_and_set_right(pair: Pair, seconds: int) -> None:
    main, standby = await of(pair)
    struck = main if seconds < 0 else standby

    async def apart(whether: bool) -> bool:
        status = await struck.status()
        ahead_s = (parse_time(status["now"]) - time.time_ns()) / NS_PER_S if status else 0.0
        return status.get("clocks_apart") is whether and (abs(ahead_s) > 30) is whether

    ear = Ear(struck)
    async with done(pair, "step_clock", struck, seconds=seconds, drift_ppm=100):
        await reaches(lambda: apart(True))
    await reaches(lambda: apart(False))
    await until(lambda: ear.count("the clock of this machine was set") >= 2)


# ---------------------------------------------------------------------------------- identity


async def test_an_expired_certificate_keeps_the_nodes_apart_and_both_say_so(pair: Pair) -> None:
    _, standby = await of(pair)
    ears = Ear(pair.a), Ear(pair.b)
    async with done(pair, "expire_certificate", standby):
        for ear in ears:
            await ear.hears("expired")
        assert not await up(pair)
    await reaches(lambda: up(pair))


async def test_a_node_of_another_site_is_told_and_changes_nothing(pair: Pair) -> None:
    main, _ = await of(pair)
    ear = Ear(main)
    async with nobody_moved(pair), done(pair, "foreign_peer", main):
        await ear.hears("elsewhere")
        assert await up(pair)


async def test_strangers_are_counted_and_change_nothing(pair: Pair) -> None:
    main, _ = await of(pair)

    async def strangers() -> int:
        return sum(one["strangers"] for one in (await main.status())["links"])

    async def many() -> bool:
        return await strangers() >= before + 6

    before = await strangers()
    async with nobody_moved(pair):
        async with done(pair, "stranger", main):
            await reaches(many)
            seen_ns = time.time_ns()
            await first_fresh_ns(main.endpoint, pair.namespace, pair.watched, seen_ns)
        assert await up(pair)
    assert "connections" in (pair.folder / f"stranger-{main.name}.log").read_text()
