"""Revisions of a pair: checked by both nodes, run by both, kept over a takeover and an absence."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from .plant import PairNode, SmallPair, small_pair

SETPOINT = (
    "      setpoint: {register: holding, address: 30, type: float32, access: rw, scan: normal}\n"
)
ADDED = "      added: {register: holding, address: 4, type: uint16}\n"


def edit(pair: SmallPair, old: str, new: str, times: int = -1) -> None:
    text = pair.site_file.read_text()
    assert old in text
    pair.site_file.write_text(text.replace(old, new, times))


async def apply(pair: SmallPair, node: PairNode, *options: str) -> tuple[int, dict[str, Any], str]:
    command = ("apply", str(pair.site_file), "--json", *options)
    status, out, err = await node.hotpair(*command)
    return status, json.loads(out) if out else {}, err


async def begun(pair: SmallPair) -> tuple[PairNode, PairNode]:
    """Main and Standby, once they are a pair."""
    await asyncio.gather(pair.a.start(), pair.b.start())
    return await pair.until_paired()


async def until_revision(pair: SmallPair, number: int, *names: str) -> None:
    await pair.until(
        lambda seen: all(
            seen[name] and seen[name]["revision"]["running"] == number for name in names
        ),
        30,
    )


async def points(node: PairNode) -> dict[str, Any]:
    return {p["point"]: p for p in await node.control.get("/points")}


async def test_a_revision_given_to_the_standby_runs_on_both_and_outlives_the_main(
    tmp_path: Path,
) -> None:
    async with small_pair(tmp_path) as pair:
        main, standby = await begun(pair)
        edit(pair, SETPOINT, SETPOINT + ADDED, 1)
        status, done, err = await apply(pair, standby)
        assert status == 0, err
        assert done["node"] == main.name and done["number"] == 2 and done["in_force"]
        assert done["peer"] == f"checked by node {standby.name}"
        await until_revision(pair, 2, "a", "b")
        assert "plc1/added" in await points(standby)
        (newest, oldest) = await standby.control.get("/revisions")
        assert newest["who"].endswith(f"at node {standby.name}")
        assert (newest["state"], oldest["number"]) == ("head", 1)
        await pair.until_equal()
        await main.program.kill()
        await pair.until_roles(**{standby.name: "main"})
        assert "plc1/added" in await points(standby)
        await main.start()
        await pair.until_paired()
        assert (await main.status())["revision"]["running"] == 2, "not what lies on the disk"


async def test_what_the_standby_lacks_is_refused_by_its_name_and_nothing_changes(
    tmp_path: Path,
) -> None:
    async with small_pair(tmp_path) as pair:
        main, standby = await begun(pair)
        port = tmp_path / "port"
        port.touch()
        with main.file.open("a") as file:
            file.write(f"ports: {{bus1: {port}}}\n")
        edit(
            pair,
            "devices:\n",
            "lines: {bus1: {rtu: {baudrate: 9600}}}\ndevices:\n"
            "  m: {driver: modbus, line: bus1, profile: eastron/sdm120, enabled: false}\n",
        )
        status, done, _ = await apply(pair, main)
        assert status == 1 and done["number"] == 0
        (problem,) = done["problems"]
        assert problem.startswith(f"node {standby.name}: site.yaml:")
        assert "no port for the serial line `bus1`" in problem
        assert (await main.status())["revision"]["number"] == 1
        with standby.file.open("a") as file:
            file.write(f"ports: {{bus1: {port}}}\n")
        status, done, err = await apply(pair, main)
        assert status == 0, (done, err)
        await until_revision(pair, 2, "a", "b")


async def test_alone_must_be_said_and_the_other_takes_the_revision_over_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with small_pair(tmp_path) as pair:
        main, standby = await begun(pair)
        assert await standby.program.stop() == 0
        edit(pair, SETPOINT, SETPOINT + ADDED, 1)
        status, _, err = await apply(pair, main)
        assert status == 1 and "the other node can't check this" in err and "--alone" in err
        status, done, err = await apply(pair, main, "--alone")
        assert status == 0 and done["in_force"], err
        await standby.start()
        await pair.until_paired()
        await until_revision(pair, 2, "a", "b")
        assert "plc1/added" in await points(standby)
        edit(pair, "startup_wait: 1s", "startup_wait: 2s")
        status, done, _ = await apply(pair, main)
        assert status == 1 and "pair.startup_wait can't change" in done["problems"][0]
        status, out, err = await standby.hotpair("rollback", "1")
        assert status == 0, err
        assert "revision 3 runs on node" in out
        await until_revision(pair, 3, "a", "b")
        assert "plc1/added" not in await points(standby)


async def until_state(pair: SmallPair, main: PairNode, state: str) -> None:
    await pair.until(
        lambda seen: (
            all(
                seen[name]
                and seen[name]["replication"]["mode"] == ("sync" if state == "sync" else "async")
                for name in ("a", "b")
            )
            and seen[main.name]["replication"]["state"] == state
        ),
        20,
    )


async def test_replication_becomes_sync_and_async_again_in_a_reign_with_no_restart(
    tmp_path: Path,
) -> None:
    async with small_pair(tmp_path) as pair:
        main, standby = await begun(pair)
        async with asyncio.timeout(10):
            while any(p["status"] != "Good" for p in (await points(main)).values()):
                await asyncio.sleep(0.05)  # paces: the socket has no event for this
        from_ns = time.time_ns()
        roles = await main.control.get("/roles")
        edit(pair, "startup_wait: 1s", "startup_wait: 1s, replication: sync, duty: discard")
        status, done, err = await apply(pair, standby)
        assert status == 0 and done["in_force"], (done, err)
        assert not any("next start" in line for line in done["changes"]), done["changes"]
        await until_state(pair, main, "sync")
        await pair.until_equal()
        status, _, err = await main.hotpair("rollback", "1")
        assert status == 0, err
        await until_state(pair, main, "async")
        await pair.until_equal()
        to_ns = time.time_ns()
        for node in (main, standby):
            span = {"from": from_ns, "to": to_ns}
            said = [e["text"] for e in await node.control.get("/events", **span)]
            turns = [text.split(" since ")[0] for text in said if " since " in text]
            assert turns == ["replication is sync again", "replication is async"], said
            assert not (await node.status())["revision"]["not_able"]
        assert (await main.control.get("/roles"))["reigns"] == roles["reigns"], "one reign"
        assert await pair.gaps(main, from_ns, to_ns) == []
