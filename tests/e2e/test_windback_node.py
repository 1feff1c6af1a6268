"""Windback on one node, as its users see it: a device was away, and its log tells what it held.

Devices of every method, emulated from the profiles that drive them, are judged by the plant's
truth, which neither driver nor emulator of a log can bend.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from gateway.driver.log import PAGE_RECORDS_MAX
from gateway.model import NS_PER_MS, NS_PER_S, Cause, Gap, GapState, Status, format_time, parse_time

from .third_party.rig import need_npm, opcua_tasks
from .windback_methods import BY_NAME, FINE, FINE_S, METHODS, Method
from .windback_rig import WindbackNode, states, windback_node, wound, wrong

STAMPS_NS = 50 * NS_PER_MS
"""How far a corrected stamp may be from the truth, besides the clock's own resolution."""
PERIOD_NS = 1_000 * NS_PER_MS
"""So old may be what a gap begins with, in the slowest class."""


async def judged(
    plant: WindbackNode,
    from_ns: int,
    to_ns: int,
    gaps: Sequence[Gap],
    methods: Sequence[Method],
    slack_ns: int = STAMPS_NS,
) -> None:
    """Hold what was wound back against what the devices held, point by point, record by record."""
    truth = {point.id: point for point in await plant.truth(to_ns)}
    for method in methods:
        own = [gap for gap in gaps if gap.device == method.name]
        for name in [name for name in truth if name.startswith(f"{method.name}/")]:
            rows = wound(await plant.control.history(name, from_ns, to_ns))
            assert rows, f"nothing of {name} was wound back"
            begins = {gap.from_ns for gap in own}
            begun = [row for row in rows if row.time_ns in begins]
            assert wrong(begun, truth[name].truth, slack_ns + PERIOD_NS) == [], name
            assert all(row.received_ns > row.time_ns for row in rows), "learned later"
            rows = [row for row in rows if row.time_ns not in begins]
            assert wrong(rows, truth[name].truth, slack_ns) == [], name
            if method.driver == "modbus":
                records = sum(
                    [
                        log.records(gap.from_ns, gap.to_ns)
                        for gap in own
                        for log in await plant.held(method.name, gap.from_ns, gap.to_ns, to_ns)
                        if name.partition("/")[2] in log.points
                    ]
                )
                assert abs(len(rows) - records) <= 2 * len(own), (name, records, rows)
    assert await plant.missed(gaps) == []
    verdict = await plant.verdict(from_ns, to_ns, gaps)
    assert verdict.passed, verdict.evidence[:3]


async def test_each_method_fills_a_gap_with_what_the_device_held(tmp_path: Path) -> None:
    async with windback_node(tmp_path) as plant:
        began_ns = time.time_ns()
        await plant.unplug(4.0)
        to_ns = await plant.all_good()
        gaps = await plant.settled(began_ns, to_ns)
        for method in METHODS:
            assert states(gaps, method.name) == {method.ends}, gaps
        await judged(plant, began_ns, to_ns, gaps, METHODS)
        verdict = await plant.verdict(began_ns, to_ns, gaps)
        assert verdict.declared == 0, "no instant of the outage is left without a value"
        span = ("--from", format_time(began_ns), "--to", format_time(to_ns))
        shown = await plant.json("gaps", *span)
        coarse = {gap["device"]: gap for gap in shown if gap["state"] == "coarse"}
        assert {gap["state"] for gap in shown if gap["device"] not in coarse} == {"filled"}
        assert set(coarse) == {m.name for m in METHODS if m.ends is GapState.COARSE}
        for name, gap in coarse.items():
            assert gap["resolution_ns"] == BY_NAME[name].resolution_ns
            assert "one record each 1 s" in gap["why"]
        for point, rows in (await plant.served(began_ns, to_ns)).items():
            assert {status for _, _, status in rows} == {Status.GOOD}, (point, rows)
        told = [e["text"] for e in await plant.json("events", "--from", "1m")]
        assert sum(text.startswith("windback: ") for text in told) >= len(METHODS)


TWO = Method(
    "two",
    """\
    profile: generic/plc-ring
    scan: fast
    windback:
      address: 1000
      resolution: 200ms
      logs:
        - {id: deep, depth_records: 600, columns: [level]}
        - {id: short, shift: {address: 8000}, depth_records: 20, columns: [flow]}
    points:
      level: {register: holding, address: 0, type: float32}
      flow: {register: holding, address: 2, type: float32}
      mode: {register: holding, address: 4, type: uint16}
""",
    resolution_ms=200,
)


async def test_what_no_log_has_is_lost_point_by_point_with_its_reason(tmp_path: Path) -> None:
    async with windback_node(tmp_path, [TWO]) as plant:
        began_ns = time.time_ns()
        await plant.unplug(4.0)
        to_ns = await plant.all_good()
        gaps = await plant.settled(began_ns, to_ns)
        assert await plant.missed(gaps) == []
        shown = await plant.json("gaps", "two", "--from", format_time(began_ns))
        assert {gap["state"] for gap in shown} == {"lost"}, "a gap is as bad as its worst point"
        first, *_, last = shown
        assert (first["points"], last["points"]) == (["flow", "mode"], ["mode"])
        assert "overwritten" in first["why"], first
        assert "no such point" in last["why"], last
        verdict = await plant.verdict(began_ns, to_ns, gaps)
        assert verdict.passed, verdict.evidence[:3]
        served = await plant.served(began_ns, to_ns)
        assert {status for _, _, status in served["two/level"]} == {Status.GOOD}
        for point, good_again_ns in (("flow", first["to_ns"]), ("mode", last["to_ns"])):
            rows = served[f"two/{point}"]
            lost_ns, value, status = rows[0]
            assert (value, status) == (None, Status.BAD_DATA_LOST)
            assert abs(lost_ns - first["from_ns"]) <= NS_PER_MS
            bad = [time_ns for time_ns, _, status in rows if status != Status.GOOD]
            good = [time_ns for time_ns, _, status in rows if status == Status.GOOD]
            assert max(bad) < min(good), rows
            assert abs(min(good) - good_again_ns) <= NS_PER_S, rows


@pytest.mark.external
async def test_a_client_of_another_vendor_reads_what_was_wound_back(tmp_path: Path) -> None:
    need_npm("node-opcua")
    async with windback_node(tmp_path, [TWO]) as plant:
        began_ns = time.time_ns()
        await plant.unplug(2.0)
        to_ns = await plant.all_good()
        gaps = await plant.settled(began_ns, to_ns)
        out_ns, back_ns = gaps[0].from_ns, gaps[-1].to_ns
        span = {"start": format_time(began_ns), "end": format_time(to_ns + NS_PER_S), "page": 7}
        tasks = [
            {"endpoint": plant.endpoint, "history": {"node": f"ns=2;s=two/{point}", **span}}
            for point in ("level", "mode")
        ]
        level, mode = (
            [row for page in found["history"]["pages"] for row in page]
            for found in await opcua_tasks(tmp_path, tasks)
        )
        wound_back = wound(await plant.control.history("two/level", out_ns, back_ns))
        assert len(wound_back) >= 8
        assert {row["status"] for row in level} == {"Good"}
        assert [row["value"] for row in level][: len(wound_back)] == [
            row.value for row in wound_back
        ]
        learned = [row for row in level if parse_time(row["server"]) > back_ns + NS_PER_S]
        assert len(learned) >= len(wound_back), "ServerTimestamp is when it was learned"
        assert (mode[0]["status"], mode[0]["value"]) == ("BadDataLost", None)


@pytest.mark.slow
async def test_what_was_never_polled_is_unavailable_until_somebody_asks_for_it(
    tmp_path: Path,
) -> None:
    async with windback_node(tmp_path, [BY_NAME["ring"], BARE]) as plant:
        began_ns = time.time_ns()
        for command in ("disable", "enable"):
            status, _, err = await plant.hotpair(command, "ring", "--why", "calibration")
            assert status == 0, err
        await plant.all_good()
        await asyncio.sleep(3)  # paces: longer than a gap takes to settle
        gap = await gap_of(plant, Cause.DISABLED, GapState.OPEN, began_ns)
        rows = (await plant.served(gap.from_ns, gap.to_ns - NS_PER_MS))["ring/level"]
        assert all(status != Status.GOOD and value is None for _, value, status in rows), rows
        status, out, err = await plant.hotpair("windback", "ring", "--from", "30s")
        assert status == 0, err
        assert "of ring will be read" in out
        gap = await gap_of(plant, Cause.DISABLED, GapState.FILLED, began_ns)
        # What somebody declared stays in history, up to the first record of the log.
        from_ns = gap.from_ns + BY_NAME["ring"].resolution_ns
        await judged(plant, from_ns, gap.to_ns, [gap], [BY_NAME["ring"]])
        seen = await plant.json("verify", "ring", "--from", format_time(began_ns))
        assert seen["compared"] == seen["equal"] + seen["in_gaps"] > 40, seen
        assert seen["different"] == 0, seen
        await refusals(plant)


async def gap_of(plant: WindbackNode, cause: Cause, state: GapState, from_ns: int) -> Gap:
    """The one gap with a cause, once it has a state."""
    found: list[Gap] = []
    try:
        async with asyncio.timeout(15):
            while True:
                gaps = await plant.control.gaps(from_ns, time.time_ns())
                found = [gap for gap in gaps if gap.cause is cause]
                if [gap.state for gap in found] == [state]:
                    return found[0]
                await asyncio.sleep(0.1)  # paces: the socket has no event for this
    except TimeoutError:
        raise AssertionError(f"not {state}: {found}") from None


async def refusals(plant: WindbackNode) -> None:
    """Orders that nobody can mean name the value and a remedy."""
    cases = {
        ("nobody",): (3, "'nobody'", "Known are: bare, ring"),
        ("bare",): (1, "bare keeps no log", "`windback:`"),
        ("ring", "--from", "1m", "--to", "2m"): (2, "before it begins at", "--from before --to"),
        ("ring", "--to", "2100-01-01T00:00:00Z"): (2, "2100-01-01", "what has passed"),
        ("ring", "--from", "yesterday"): (2, "'yesterday'", "15m"),
    }
    for command in ("windback", "verify"):
        for arguments, (expected, *words) in cases.items():
            status, out, err = await plant.hotpair(command, *arguments)
            assert status == expected, (command, arguments, out)
            assert all(word in err for word in words), (command, arguments, err)
            assert err.count("\n") == 1, err
    status, _, err = await plant.hotpair("verify", "ring", "--log", "other")
    assert (status, "'other'" in err, "Its logs are: ring" in err) == (1, True, True), err
    body = {"device": "ring", "who": "rig", "from_ns": 2, "to_ns": 1}
    for path in ("/windback", "/verify"):
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await plant.control.post(path, body)
        assert "before it begins" in refused.value.response.text
    now_ns = time.time_ns()
    body |= {"from_ns": now_ns - NS_PER_S, "to_ns": now_ns}
    assert "will be read" in (await plant.control.post("/windback", body))["done"]
    assert (await plant.control.get("/windback"))["ring"]["logs"] == ["ring"]


BARE = Method(
    "bare",
    """\
    scan: normal
    points:
      level: {register: holding, address: 0, type: float32}
""",
)


FINE_WORDS = 6
"""Of a record: date, time, and a float."""


@pytest.mark.slow
async def test_a_restart_in_the_middle_goes_on_where_the_last_page_ended(tmp_path: Path) -> None:
    async with windback_node(tmp_path, [FINE], "latency_ms: {fine: 25}\n") as plant:
        began_ns = time.time_ns()
        await plant.unplug(FINE_S)
        to_ns = await plant.all_good()
        killed_ns = await plant.first_page(plant.control, began_ns)
        await plant.restart()
        gaps = await plant.settled(began_ns, to_ns)
        reads = [poll for poll in await plant.log_reads(FINE) if poll.count > FINE_WORDS]
        first, second = (
            {
                poll.address // FINE_WORDS + at
                for poll in reads
                if (poll.received_ns < killed_ns) is before
                for at in range(poll.count // FINE_WORDS)
            }
            for before in (True, False)
        )
        whole = sum((gap.to_ns - gap.from_ns) // FINE.resolution_ns for gap in gaps)
        assert len(first) > PAGE_RECORDS_MAX, "it was killed behind the first page"
        assert len(second) < whole - PAGE_RECORDS_MAX + 50, "what was judged is not read again"
        await judged(plant, began_ns, to_ns, gaps, [FINE])
