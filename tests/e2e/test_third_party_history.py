"""History that servers of others keep, read by our driver: node-opcua's, and asyncua's own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.history import HistoryDict
from opcua_peer import URI, House, Plc, free_port, ns, open_line, running

from gateway.driver import LogPage, LogWanted
from gateway.model import NS_PER_S
from hil.bench.process import Spawned

from .third_party.rig import need_npm, pki, script, until

pytestmark = pytest.mark.timeout(60)

S = NS_PER_S


async def at_once(expected_ns: int) -> None:
    """A turn that is always due."""


async def read(line: Any, from_ns: int, to_ns: int) -> list[LogPage]:
    async with aclosing(line.read_log("plc", LogWanted("history", from_ns, to_ns), at_once)) as log:
        return [page async for page in log]


def device(endpoint: str, **windback: Any) -> dict[str, Any]:
    windback = {"method": "opcua_history", "overlap": "500ms"} | windback
    return {"endpoint": endpoint, "insecure": True, "mode": "poll", "windback": windback}


# ----------------------------------------------------------------------------------- node-opcua

THIRD = {
    name: {"node": f"nsu=urn:third:plc;s={name.capitalize()}", "type": kind}
    for name, kind in {"flow": "double", "count": "uint32", "faulty": "double"}.items()
}


@pytest.fixture
async def node_opcua(tmp_path: Path) -> AsyncIterator[str]:
    need_npm("node-opcua")
    port = free_port()
    async with Spawned("plc", script("opcua_plc.js", port, pki(tmp_path)), tmp_path) as plc:
        await plc.hear("port")
        yield f"opc.tcp://127.0.0.1:{port}"


@pytest.mark.external
@pytest.mark.parametrize("page", [7, 1_000])
async def test_a_plc_of_another_vendor_hands_over_its_history(
    tmp_path: Path, node_opcua: str, page: int
) -> None:
    house = House(tmp_path)
    line = open_line(house, device(node_opcua, page=page), THIRD)

    async def counted() -> bool:
        scan = await line.scan("plc", "normal")
        line.forget("plc")
        counts = [o.value for o in scan.observations if o.point == 1]
        return bool(counts) and isinstance(counts[0], int) and counts[0] > 60

    await until(counted, "six seconds of history", 30)
    assert [spec.points for spec in line.logs("plc")] == [("flow", "count")]
    assert "HistoryRead" in house.facts["plc", "history"]["faulty"]
    from_ns = time.time_ns() - 4 * S
    pages = await read(line, from_ns, time.time_ns())
    await line.close()
    assert time.time_ns() - pages[-1].through_ns < 3 * S
    assert not any(p.lacking for p in pages if p.from_ns > from_ns + S)
    for number, step in ((0, 1 / 8), (1, 1)):
        seen = [o for p in pages for o in p.observations if o.point == number]
        assert seen[0].time_ns == from_ns  # what held before was found, newest first
        values = [o.value for o in seen]
        assert len(values) > 20
        assert values == [values[0] + n * step for n in range(len(values))]
    clock = pages[0].clock
    assert clock is not None and abs(clock.offset_ns) < S


@pytest.mark.external
async def test_what_another_vendors_plc_held_before_it_began_is_lacking(
    tmp_path: Path, node_opcua: str
) -> None:
    line = open_line(House(tmp_path), device(node_opcua), THIRD)
    from_ns = time.time_ns() - 3_600 * S

    pages: list[LogPage] = []

    async def something() -> bool:
        pages[:] = await read(line, from_ns, time.time_ns())  # a later one may end earlier
        return any(page.observations for page in pages)

    await until(something, "the first values of its history", 20)
    await line.close()
    lacking = [part for page in pages for part in page.lacking]
    first_ns = min(o.time_ns for p in pages for o in p.observations)
    assert min(part.from_ns for part in lacking) == from_ns
    assert first_ns - S < max(part.to_ns for part in lacking) < first_ns + 5 * S


# ------------------------------------------------------------------------------------- asyncua

POINTS = {
    "double": {"node": f"nsu={URI};s=Double", "type": "double"},
    "int": {"node": f"nsu={URI};s=Int32", "type": "int32"},
    "element": {"node": f"nsu={URI};s=Array", "type": "double", "index": 1},
    "text": {"node": f"nsu={URI};s=String", "type": "string"},
}


@pytest.fixture
async def asyncua() -> AsyncIterator[tuple[Plc, HistoryDict]]:
    async with running(Plc()) as plc:
        history = plc.server.iserver.history_manager
        history.set_storage(HistoryDict(max_history_data_response_size=10))
        for name in ("Double", "Int32", "Array"):
            node = plc.server.get_node(ua.NodeId(name, plc.index))
            await node.write_attribute(ua.AttributeIds.Historizing, ua.DataValue(True))
            await node.set_attr_bit(ua.AttributeIds.AccessLevel, ua.AccessLevel.HistoryRead)
            await node.set_attr_bit(ua.AttributeIds.UserAccessLevel, ua.AccessLevel.HistoryRead)
            await history.storage.new_historized_node(node.nodeid, None)
        began = ua.DataValue(datetime.now(UTC) - timedelta(hours=2))
        start = ua.NodeId(ua.Int32(ua.ObjectIds.Server_ServerStatus_StartTime))
        await plc.server.write_attribute_value(start, began)
        yield plc, history.storage


async def store(plc: Plc, history: HistoryDict, name: str, moment: datetime, variant: Any) -> None:
    await history.save_node_value(
        ua.NodeId(name, plc.index), ua.DataValue(variant, SourceTimestamp=moment)
    )


@pytest.mark.parametrize("page", [4, 10, 50])
async def test_asyncuas_own_history_is_read_though_it_cuts_off(
    tmp_path: Path, asyncua: tuple[Plc, HistoryDict], page: int
) -> None:
    plc, history = asyncua
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    for n in range(300):
        moment = begin + timedelta(seconds=n)
        await store(plc, history, "Double", moment, ua.Variant(n / 4, ua.VariantType.Double))
        if n % 7 == 0:
            await store(plc, history, "Int32", moment, ua.Variant(n, ua.VariantType.Int32))
            row = ua.Variant([0.0, n / 2, 1.0], ua.VariantType.Double)
            await store(plc, history, "Array", moment, row)
    line = open_line(House(tmp_path), device(plc.endpoint, page=page), POINTS)
    from_ns = ns(begin + timedelta(seconds=50, milliseconds=500))
    pages = await read(line, from_ns, ns(begin + timedelta(seconds=290)))
    assert [spec.points for spec in line.logs("plc")] == [("double", "int", "element")]
    await line.close()
    assert not any(page.lacking for page in pages)
    seen: dict[int, list[Any]] = {}
    for page_ in pages:
        for observation in page_.observations:
            seen.setdefault(observation.point, []).append(observation.value)
    assert seen[0] == [n / 4 for n in range(50, 290)]
    assert seen[1] == list(range(49, 290, 7))
    assert seen[2] == [n / 2 for n in range(49, 290, 7)]


async def test_asyncuas_own_history_of_many_values_at_one_time_is_torn(
    tmp_path: Path, asyncua: tuple[Plc, HistoryDict]
) -> None:
    plc, history = asyncua
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    moments = [begin + timedelta(seconds=n) for n in range(20)]
    moments += [begin + timedelta(seconds=20)] * 35
    moments += [begin + timedelta(seconds=n) for n in range(30, 60)]
    for n, moment in enumerate(moments):
        await store(plc, history, "Int32", moment, ua.Variant(n, ua.VariantType.Int32))
    house = House(tmp_path)
    line = open_line(house, device(plc.endpoint), {"int": POINTS["int"]})
    pages = await read(line, ns(begin), ns(begin + timedelta(seconds=60)))
    await line.close()
    [part] = [part for page in pages for part in page.lacking]
    assert (part.from_ns, part.to_ns) == (ns(moments[20]), ns(begin + timedelta(seconds=30)))
    values = [o.value for p in pages for o in p.observations]
    assert values == [*range(20), *range(55, 85)]
    assert house.texts("repeated a continuation point")
