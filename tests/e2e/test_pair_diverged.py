"""Both nodes get a revision of their own while they are Main-Main: one is head, none is lost."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from .plant import PairNode, SmallPair
from .test_pair_split import pair_with_proxies
from .test_revisions_pair import SETPOINT, points, until_revision

pytestmark = pytest.mark.slow


async def apply_own(pair: SmallPair, node: PairNode) -> dict[str, Any]:
    """Apply a revision at a node alone that adds a point named after it."""
    file = pair.folder / f"of-{node.name}" / "site.yaml"
    file.parent.mkdir()
    text = pair.site_file.read_text()
    own = f"      of_{node.name}: {{register: holding, address: 2, type: uint16}}\n"
    assert SETPOINT in text
    file.write_text(text.replace(SETPOINT, SETPOINT + own, 1))
    status, out, err = await node.hotpair("apply", str(file), "--alone", "--json")
    assert status == 0, (out, err)
    done: dict[str, Any] = json.loads(out)
    return done


async def test_the_losers_revision_is_listed_as_diverged_and_a_rollback_leads_to_it(
    tmp_path: Path,
) -> None:
    async with pair_with_proxies(tmp_path) as (pair, proxies):
        main, other = await pair.until_paired()
        for proxy in proxies:
            proxy.cut()
        await pair.until_roles(**{main.name: "main", other.name: "main"}, within_s=10)
        split_ns = time.time_ns()
        done = await asyncio.gather(apply_own(pair, main), apply_own(pair, other))
        assert [(d["number"], d["in_force"]) for d in done] == [(2, True), (2, True)]
        await asyncio.sleep(2)  # paces: both collect under their own revisions
        for proxy in proxies:
            proxy.heal()
        healed_ns = time.time_ns()
        main, other = await pair.until_paired(within_s=15)
        await pair.until_equal()
        won, lost = f"plc1/of_{main.name}", f"plc1/of_{other.name}"
        await pair.until(
            lambda seen: all(
                (s.get("revision") or {}).get("diverged") == 1 and s["revision"]["running"] == 2
                for s in seen.values()
            ),
            15,
        )
        listings = [await node.control.get("/revisions") for node in (main, other)]
        for node, listing in zip((main, other), listings, strict=True):
            states = {row["reference"].rpartition(".")[2]: row["state"] for row in listing[:-1]}
            assert states == {main.name: "head", other.name: "diverged"}, listing
            assert [row["running"] for row in listing if row["state"] == "head"] == [True]
            here = await points(node)
            assert won in here and lost not in here, node.name
            status, out, _ = await node.hotpair("revisions")
            assert status == 0 and "diverged" in out and "head" in out, out
            assert not (await node.status())["revision"]["not_able"]
        assert listings[0] == listings[1], "both nodes list the same"
        (reference,) = [r["reference"] for r in listings[0] if r["state"] == "diverged"]
        kept = [await n.control.history(lost, split_ns, healed_ns) for n in (main, other)]
        assert kept[0] and kept[0] == kept[1], "what the loser collected under it is history"
        status, out, err = await other.hotpair("rollback", reference)
        assert status == 0 and "revision 3 runs" in out, (out, err)
        await until_revision(pair, 3, "a", "b")
        for node in (main, other):
            here = await points(node)
            assert lost in here and won not in here, node.name
        rolled_ns = time.time_ns()
        async with asyncio.timeout(15):
            while not await main.control.history(lost, rolled_ns, time.time_ns()):
                await asyncio.sleep(0.2)  # paces: its value changes every half second
        status, out, err = await main.hotpair("rollback", "2")
        assert status == 0, (out, err)
        await until_revision(pair, 4, "a", "b")
        assert won in await points(other), "a number alone means the branch that won"
        await pair.until_equal()
