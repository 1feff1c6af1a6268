"""The emulated PLC's own history, read by our driver, against the truth of the plant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from opcua_peer import Heard, House, ShiftedClock, free_port, open_line

from drivers.opcua.line import OpcUaLine
from drivers.opcua.log.pages import NOT_HELD
from gateway.driver import LogPage, LogSpec, LogWanted
from gateway.errors import DeviceError, LinkError, LogUnavailable
from gateway.model import NS_PER_S, Value
from hil.outstation.rig import OutstationRig
from hil.plant import PlantPoint, read_site
from hil.settings import PlcHistory, Rig
from profiles.load import load

pytestmark = pytest.mark.asyncio(loop_scope="module")

S = NS_PER_S
URI = "urn:test:plc"
POINTS: dict[str, dict[str, Any]] = {
    "flow": {"node": f"nsu={URI};s=Flow", "type": "double"},
    "a0": {"node": f"nsu={URI};s=Row", "index": 0, "type": "int32"},
    "a2": {"node": f"nsu={URI};s=Row", "index": 2, "type": "int32"},
    "mode": {"node": f"nsu={URI};s=Mode", "type": "int16"},
    "on": {"node": f"nsu={URI};s=On", "type": "bool"},
    "label": {"node": f"nsu={URI};s=Label", "type": "string"},
    "total": {"node": f"nsu={URI};s=Total", "type": "uint64"},
    "silent": {"node": f"nsu={URI};s=Silent", "type": "double"},
}
HISTORY = PlcHistory(
    depth_ns=1800 * S, before_ns=7200 * S, without=frozenset({"silent"}), page=50, points=3
)
WINDBACK = {"method": "opcua_history", "page": 20, "slice": "2m", "overlap": "1s"}


def rig_of(port: int, history: PlcHistory = HISTORY, **more: Any) -> OutstationRig:
    points = "".join(f"\n      {name}: {point}" for name, point in POINTS.items())
    text = (
        "devices:\n  plc:\n    driver: opcua\n"
        f"    endpoint: opc.tcp://127.0.0.1:{port}\n    points: {points}\n"
    ).replace("'", '"')
    return OutstationRig(
        read_site(text, lambda name: "", load, Rig(change=1.0, opcua_history={"plc": history})),
        **more,
    )


@asynccontextmanager
async def running(rig: OutstationRig) -> AsyncIterator[OutstationRig]:
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started() -> AsyncIterator[OutstationRig]:
    """One PLC for all tests of this file, since building its address space takes seconds."""
    async with running(rig_of(free_port())) as rig:
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def rig(started: OutstationRig) -> AsyncIterator[OutstationRig]:
    yield started
    behave(started, HISTORY)


def behave(rig: OutstationRig, history: PlcHistory) -> None:
    """Let the PLC's server do something from now on."""
    historian = rig.plcs["plc"].historian
    assert historian is not None
    historian.settings = history


@asynccontextmanager
async def line_to(
    rig: OutstationRig, house: House, mode: str = "poll", **windback: Any
) -> AsyncIterator[OpcUaLine]:
    device = {
        "endpoint": rig.plcs["plc"].endpoint,
        "insecure": True,
        "mode": mode,
        "timeout": "1s",
        "windback": windback if "method" in windback else WINDBACK | windback,
    }
    line = open_line(house, device, POINTS)
    try:
        yield line
    finally:
        await line.close()


async def at_once(expected_ns: int) -> None:
    """A turn that is always due."""


async def read(line: OpcUaLine, from_ns: int, to_ns: int) -> list[LogPage]:
    async with aclosing(line.read_log("plc", LogWanted("history", from_ns, to_ns), at_once)) as log:
        return [page async for page in log]


def point_of(rig: OutstationRig, name: str) -> PlantPoint:
    return next(p for p in rig.plant.points() if p.name == name)


def said(pages: list[LogPage], name: str, at_ns: int) -> Value | str:
    """What pages say of a point at an instant."""
    number = list(POINTS).index(name)
    for part in (part for page in pages for part in page.lacking):
        if part.from_ns <= at_ns < part.to_ns and name in (part.points or POINTS):
            return f"lacking: {part.why}"
    seen = [o for p in pages for o in p.observations if o.point == number and o.time_ns <= at_ns]
    return seen[-1].value if seen else "nothing"


def right(rig: OutstationRig, pages: list[LogPage], from_ns: int, to_ns: int) -> None:
    """Assert that pages hold the truth of every recorded point in [from, to)."""
    for name in POINTS:
        if name == "silent":
            continue
        point = point_of(rig, name)
        for at_ns in range(from_ns, to_ns, S // 2 + 1_000):
            assert said(pages, name, at_ns) == point.expected(at_ns), (name, at_ns)


def open_points(rig: OutstationRig) -> int:
    """Continuation points that sessions of the PLC hold."""
    sessions = rig.plcs["plc"]._iserver._external_sessions.values()
    return sum(len(session.history_points) for session in sessions)


async def test_what_is_kept_is_found_by_attributes_and_remembered(
    rig: OutstationRig, tmp_path: Path
) -> None:
    house = House(tmp_path)
    async with line_to(rig, house) as line:
        assert line.logs("plc") == ()
        await line.scan("plc", "normal")
        names = tuple(name for name in POINTS if name != "silent")
        assert line.logs("plc") == (
            LogSpec("history", "opcua_history", names, ack="never", share=0.2),
        )
        verdicts = house.facts["plc", "history"]
        assert "without HistoryRead" in verdicts["silent"]
        assert line.diagnostics("plc").notes["history"].startswith("of 7 of 8 points; silent: ")
        [start_ns] = house.facts["plc", "starts"]
        assert abs(start_ns - (time.time_ns() - 7200 * S)) < 60 * S
    async with line_to(rig, house) as line:
        assert [spec.points for spec in line.logs("plc")] == [names]
    async with line_to(rig, house, method="none") as line:
        assert line.logs("plc") == ()
        await line.scan("plc", "normal")


async def test_twenty_minutes_are_the_truth(rig: OutstationRig, tmp_path: Path) -> None:
    async with line_to(rig, House(tmp_path)) as line:
        from_ns, to_ns = time.time_ns() - 1_200 * S, time.time_ns() - 2 * S
        pages = await read(line, from_ns, to_ns)
        right(rig, pages, from_ns, to_ns)
        assert not any(page.lacking for page in pages)
        assert (pages[0].from_ns, pages[-1].through_ns) == (from_ns, to_ns)
        clock = pages[0].clock
        assert clock is not None and clock.offset_ns == 0 and clock.uncertainty_ns < S
        await line.acknowledge("plc", pages[0])
        assert open_points(rig) == 0


@pytest.mark.parametrize(
    "history",
    [
        replace(HISTORY, odd=frozenset({"cut_off"})),
        replace(HISTORY, odd=frozenset({"empty_pages"})),
        replace(HISTORY, odd=frozenset({"same_point"})),
        replace(HISTORY, odd=frozenset({"repeat_point"})),
        replace(HISTORY, odd=frozenset({"forget_points"})),
        replace(HISTORY, odd=frozenset({"newest_first"})),
        replace(HISTORY, odd=frozenset({"outside"})),
        replace(HISTORY, points=1),
        replace(HISTORY, points=0),
        replace(HISTORY, nodes=2),
        replace(HISTORY, page=3),
    ],
    ids=str,
)
async def test_whatever_the_server_does_wrong_the_truth_is_read(
    rig: OutstationRig, tmp_path: Path, history: PlcHistory
) -> None:
    behave(rig, history)
    async with line_to(rig, House(tmp_path)) as line:
        from_ns, to_ns = time.time_ns() - 100 * S, time.time_ns() - 2 * S
        pages = await read(line, from_ns, to_ns)
        if before_is_told(history):
            assert not any(page.lacking for page in pages)
        else:
            lacking = [part for page in pages for part in page.lacking]
            assert {part.why for part in lacking} == {NOT_HELD}
            from_ns = max(part.to_ns for part in lacking)
        right(rig, pages, from_ns, to_ns)
        assert open_points(rig) == 0


def before_is_told(history: PlcHistory) -> bool:
    """Whether what was in force before a stretch can be found out."""
    return history.points > 0 and not history.odd & {"newest_first", "outside"}


async def test_what_the_plc_holds_no_longer_is_lacking(rig: OutstationRig, tmp_path: Path) -> None:
    async with line_to(rig, House(tmp_path)) as line:
        from_ns = time.time_ns() - 2_000 * S
        pages = await read(line, from_ns, from_ns + 300 * S)
        oldest_ns = time.time_ns() - 1_800 * S
        assert f"lacking: {NOT_HELD}" in str(said(pages, "flow", oldest_ns - 20 * S))
        point = point_of(rig, "flow")
        held = [o.time_ns for p in pages for o in p.observations if o.point == 0]
        assert oldest_ns - S <= held[0] < oldest_ns + 30 * S
        assert said(pages, "flow", held[0]) == point.expected(held[0])


async def test_bounds_are_used_where_the_site_asks_for_them(
    rig: OutstationRig, tmp_path: Path
) -> None:
    async with line_to(rig, House(tmp_path), return_bounds=True) as line:
        from_ns, to_ns = time.time_ns() - 100 * S, time.time_ns() - 10 * S
        right(rig, await read(line, from_ns, to_ns), from_ns, to_ns)


async def test_a_subscribed_device_is_read_on_the_same_session(
    rig: OutstationRig, tmp_path: Path
) -> None:
    async with line_to(rig, House(tmp_path), mode="subscribe") as line, Heard(line) as heard:
        await heard.until(lambda delivery: bool(delivery.observations))
        from_ns, to_ns = time.time_ns() - 100 * S, time.time_ns() - 2 * S
        right(rig, await read(line, from_ns, to_ns), from_ns, to_ns)
        assert len(line.logs("plc")[0].points) == 7


async def test_each_request_waits_for_its_turn_and_a_cancelled_read_gives_all_back(
    rig: OutstationRig, tmp_path: Path
) -> None:
    behave(rig, replace(HISTORY, page=2))
    turns, paged = 0, asyncio.Event()

    async def turn(expected_ns: int) -> None:
        nonlocal turns
        turns += 1
        assert expected_ns > 0
        if open_points(rig):
            paged.set()
            await asyncio.Event().wait()

    async with line_to(rig, House(tmp_path)) as line:
        wanted = LogWanted("history", time.time_ns() - 100 * S, time.time_ns() - 2 * S)

        async def all_of_it() -> None:
            async with aclosing(line.read_log("plc", wanted, turn)) as log:
                async for _ in log:
                    pass

        task = asyncio.create_task(all_of_it())
        await asyncio.wait_for(paged.wait(), 10)
        assert turns > 3 and open_points(rig) > 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert open_points(rig) == 0
        assert line.diagnostics("plc").connected


async def test_a_read_that_is_left_after_a_page_gives_all_back(
    rig: OutstationRig, tmp_path: Path
) -> None:
    async with line_to(rig, House(tmp_path)) as line:
        wanted = LogWanted("history", time.time_ns() - 600 * S, time.time_ns() - 2 * S)
        async with aclosing(line.read_log("plc", wanted, at_once)) as log:
            first = await anext(log)
        assert first.observations and open_points(rig) == 0


async def test_what_an_answer_on_its_way_opens_is_given_back(
    rig: OutstationRig, tmp_path: Path
) -> None:
    behave(rig, replace(HISTORY, page=2, slow_ns=S // 10))
    asked = asyncio.Event()

    async def turn(expected_ns: int) -> None:
        if open_points(rig):
            asked.set()  # the next request goes on with them, as soon as this is over

    async with line_to(rig, House(tmp_path), return_bounds=True) as line:
        wanted = LogWanted("history", time.time_ns() - 100 * S, time.time_ns() - 2 * S)

        async def all_of_it() -> None:
            async with aclosing(line.read_log("plc", wanted, turn)) as log:
                async for _ in log:
                    pass

        task = asyncio.create_task(all_of_it())
        await asyncio.wait_for(asked.wait(), 10)
        historian = rig.plcs["plc"].historian
        assert historian is not None
        before = historian.requests
        async with asyncio.timeout(5):
            while historian.requests == before:
                await asyncio.sleep(0.005)  # paces: nobody tells of a request that came in
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert open_points(rig) == 0


async def test_a_session_that_is_lost_amid_ends_the_read_and_the_next_goes_on(
    rig: OutstationRig, tmp_path: Path
) -> None:
    async with line_to(rig, House(tmp_path)) as line:
        from_ns, to_ns = time.time_ns() - 900 * S, time.time_ns() - 2 * S
        pages: list[LogPage] = []
        with pytest.raises(DeviceError):
            async with aclosing(
                line.read_log("plc", LogWanted("history", from_ns, to_ns), at_once)
            ) as log:
                async for page in log:
                    pages.append(page)
                    rig.plcs["plc"].drop()
        assert len(pages) < 5
        pages += await read(line, pages[-1].through_ns, to_ns)
        right(rig, pages, from_ns, to_ns)


async def test_after_the_reign_nothing_is_sent_not_even_to_give_back(
    rig: OutstationRig, tmp_path: Path
) -> None:
    house = House(tmp_path)
    behave(rig, replace(HISTORY, page=2))

    async def turn(expected_ns: int) -> None:
        if open_points(rig):
            house.allowed = False

    async with line_to(rig, house) as line:
        wanted = LogWanted("history", time.time_ns() - 100 * S, time.time_ns() - 2 * S)
        with pytest.raises(LinkError, match="reign"):
            async with aclosing(line.read_log("plc", wanted, turn)) as log:
                async for _ in log:
                    pass
        assert open_points(rig) > 0


async def test_a_slow_server_is_asked_for_less_and_a_silent_one_given_up(
    rig: OutstationRig, tmp_path: Path
) -> None:
    behave(rig, replace(HISTORY, slow_ns=1_200_000_000))
    async with line_to(rig, House(tmp_path)) as line:
        with pytest.raises(DeviceError, match="no answer"):
            await read(line, time.time_ns() - 100 * S, time.time_ns() - 2 * S)


async def test_a_log_that_is_not_there_is_refused(rig: OutstationRig, tmp_path: Path) -> None:
    async with line_to(rig, House(tmp_path)) as line:
        with pytest.raises(DeviceError, match="no log named x"):
            await anext(line.read_log("plc", LogWanted("x", 0, 1), at_once))


# -------------------------------------------------------------------------- PLCs of their own


class Ahead(ShiftedClock):
    """Ours and the rig's clock, so far ahead of the machine's."""

    by_ns = 0

    def utc_ns(self) -> int:
        return time.time_ns() + self.by_ns


async def test_while_the_plc_had_no_power_nothing_was_recorded(tmp_path: Path) -> None:
    ahead = Ahead()
    now_ns = ahead.utc_ns
    house = House(tmp_path, clock=ahead)
    history = replace(HISTORY, clock_ns=90 * S)
    async with running(rig_of(free_port(), history, now_ns=now_ns)) as rig:
        async with line_to(rig, house) as line:
            await line.scan("plc", "normal")
            off_ns = now_ns()
            await rig.power("plc", False)
            ahead.by_ns += 40 * S
            await rig.power("plc", True)
            on_ns = now_ns()
            ahead.by_ns += 30 * S
        async with line_to(rig, house) as line:
            from_ns, to_ns = off_ns - 60 * S, now_ns() - 5 * S
            pages = await read(line, from_ns, to_ns)
            clock = pages[0].clock
            assert clock is not None and abs(clock.offset_ns - 90 * S) < S
            assert len(house.facts["plc", "starts"]) == 2
            slack_ns = 2 * clock.uncertainty_ns
            for name in ("flow", "total", "mode"):
                assert "not running" in str(said(pages, name, off_ns + slack_ns + 11 * S))
                assert "not running" in str(said(pages, name, on_ns - slack_ns - S))
            agrees(rig, pages, "flow", (from_ns, off_ns - 11 * S), slack_ns)
            agrees(rig, pages, "flow", (on_ns + slack_ns, to_ns), slack_ns)


def agrees(
    rig: OutstationRig, pages: list[LogPage], name: str, span: tuple[int, int], slack_ns: int
) -> None:
    """Assert a point's truth where it stands still for longer than its clock may be wrong."""
    point = point_of(rig, name)
    for at_ns in range(*span, S // 2):
        if point.expected(at_ns - slack_ns) == point.expected(at_ns + slack_ns):
            assert said(pages, name, at_ns) == point.expected(at_ns), at_ns


async def test_a_history_that_a_power_cycle_clears_is_lacking_before_it(tmp_path: Path) -> None:
    async with running(rig_of(free_port(), replace(HISTORY, volatile=True))) as rig:
        async with line_to(rig, House(tmp_path)) as line:
            await line.scan("plc", "normal")
        await rig.power("plc", False)
        await rig.power("plc", True)
        async with line_to(rig, House(tmp_path), overlap="0s") as line:
            pages = await read(line, time.time_ns() - 60 * S, time.time_ns())
            lacking = [part for page in pages for part in page.lacking]
            assert {part.points for part in lacking} == {()}
            assert pages[0].from_ns == lacking[0].from_ns


async def test_a_server_without_history_is_told(tmp_path: Path) -> None:
    names = frozenset(POINTS)
    nothing = rig_of(free_port(), replace(HISTORY, without=names))
    async with running(nothing) as rig, line_to(rig, House(tmp_path)) as line:
        assert line.logs("plc") == ()
        with pytest.raises(LogUnavailable, match="none of the points") as caught:
            await read(line, time.time_ns() - 60 * S, time.time_ns())
        assert caught.value.retry_after_ns is None


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
async def test_a_server_that_starts_before_its_history_is_asked_again(
    tmp_path: Path, mode: str
) -> None:
    house = House(tmp_path)
    async with running(rig_of(free_port())) as rig:
        async with line_to(rig, house, mode) as line, looked(line, mode):
            kept = line.logs("plc")[0].points
        await rig.command({"fault": "no_history", "device": "plc"})
        async with line_to(rig, house, mode) as line, looked(line, mode):
            assert line.logs("plc")[0].points == kept, "nothing is given up for lost so soon"
            assert line.diagnostics("plc").notes["history"].startswith("of 0 of 8 points; ")
            from_ns = time.time_ns() - 60 * S
            with pytest.raises(LogUnavailable, match="isn't there yet: ") as caught:
                await read(line, from_ns, time.time_ns() - 2 * S)
            assert caught.value.retry_after_ns is None
            await rig.command({"clear": "plc"})
            right(rig, await read(line, from_ns, to_ns := time.time_ns() - 2 * S), from_ns, to_ns)
            assert line.logs("plc")[0].points == kept


@asynccontextmanager
async def looked(line: OpcUaLine, mode: str) -> AsyncIterator[None]:
    """A line after its first look for history; a subscription goes on."""
    if mode == "poll":
        await line.scan("plc", "normal")
        yield
        return
    async with Heard(line):
        async with asyncio.timeout(15):
            while "history" not in line.diagnostics("plc").notes:
                await asyncio.sleep(0.02)  # paces: the line has no event for this
        yield


async def test_history_that_is_missing_is_believed_so_and_found_when_it_comes(
    tmp_path: Path,
) -> None:
    house = House(tmp_path)
    async with running(rig_of(free_port())) as rig, line_to(rig, house) as line:
        await rig.command({"fault": "no_history", "device": "plc"})
        await line.scan("plc", "normal")
        assert line.logs("plc") == (), "of a server that nobody knew"
        await rig.command({"clear": "plc"})
        await line.scan("plc", "normal")
        assert line.logs("plc") == (), "not asked at each scan"
        house.clock.ahead_ns = 61 * S
        await line.scan("plc", "normal")
        assert len(line.logs("plc")[0].points) == 7
        line.drop()
        await rig.command({"fault": "no_history", "device": "plc"})
        await line.scan("plc", "normal")
        assert len(line.logs("plc")[0].points) == 7
        house.clock.ahead_ns += 61 * S
        await line.scan("plc", "normal")
        assert line.logs("plc") == (), "it lasts: the server was changed"


async def test_a_subscription_looks_again_for_history_that_is_missing(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with running(rig_of(free_port())) as rig, line_to(rig, house, "subscribe") as line:
        await rig.command({"fault": "no_history", "device": "plc"})
        async with looked(line, "subscribe"):
            assert line.logs("plc") == ()
            await rig.command({"clear": "plc"})
            house.clock.ahead_ns = 61 * S
            async with asyncio.timeout(15):
                while not line.logs("plc"):
                    await asyncio.sleep(0.02)  # paces: the line has no event for this
