"""The emulated OPC UA PLC, seen by an OPC UA client."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.common.subscription import DataChangeNotif
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography.x509.oid import ExtendedKeyUsageOID

from hil.outstation.rig import OutstationRig
from hil.plant import PlantPoint, read_site
from hil.settings import Rig, SiteError
from profiles.load import load

pytestmark = pytest.mark.asyncio(loop_scope="module")

URI = "urn:test:plc"
POINTS = f"""
      flow: {{node: "nsu={URI};s=Flow", type: double, unit: m3/h}}
      speed: {{node: "ns=4;s=Speed", type: float, access: rw}}
      a0: {{node: "nsu={URI};s=Row", index: 0, type: int32, access: rw}}
      a2: {{node: "nsu={URI};s=Row", index: 2, type: int32, access: rw}}
      mode: {{node: "nsu={URI};s=Mode", type: int16, enum: {{0: off, 1: on}}}}
      on: {{node: "nsu={URI};s=On", type: boolean}}
      label: {{node: "nsu={URI};s=Label", type: string}}
      total: {{node: "nsu={URI};s=Total", type: uint64, unit: m3}}
      count: {{node: "nsu={URI};s=Count", type: byte}}
      float: {{node: "nsu={URI};s=Sum", type: float, unit: kWh}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rig_of(
    points: str = POINTS, extra: str = "", change: float = 1.0, **paths: Any
) -> OutstationRig:
    text = f"""
devices:
  plc:
    driver: opcua
    endpoint: opc.tcp://127.0.0.1:{free_port()}
{extra}
    points: {points}
"""
    return OutstationRig(read_site(text, lambda name: "", load, Rig(change=change)), **paths)


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
    async with running(rig_of()) as rig:
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def rig(started: OutstationRig) -> AsyncIterator[OutstationRig]:
    yield started
    await started.command({"power": "on", "device": "plc"})
    await started.command({"reset": "plc"})


def client_of(rig: OutstationRig) -> Client:
    client = Client(rig.plcs["plc"].endpoint, timeout=4, watchdog_intervall=10)
    client.session_timeout = 30_000
    return client


def ns_of(moment: datetime) -> int:
    whole = moment.replace(tzinfo=UTC)
    return int(whole.replace(microsecond=0).timestamp()) * 10**9 + whole.microsecond * 1_000


def point_of(rig: OutstationRig, name: str) -> PlantPoint:
    return next(p for p in rig.plant.points() if p.name == name)


async def node_of(client: Client, name: str) -> Any:
    return client.get_node(f"ns={await client.get_namespace_index(URI)};s={name}")


class Seen:
    """Collects data changes."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[Any] = asyncio.Queue()

    def datachange_notification(self, node: Any, value: Any, data: DataChangeNotif) -> None:
        self.changes.put_nowait(data.monitored_item.Value)


async def test_every_type_holds_the_truth_of_its_source_timestamp(rig: OutstationRig) -> None:
    async with client_of(rig) as client:
        names = {"flow": "Flow", "mode": "Mode", "on": "On", "label": "Label", "total": "Total"}
        for name, node in (names | {"count": "Count", "float": "Sum"}).items():
            held = await (await node_of(client, node)).read_data_value()
            point = point_of(rig, name)
            assert held.Value.Value == point.expected(ns_of(held.SourceTimestamp)), name
        row = await (await node_of(client, "Row")).read_value()
        assert len(row) == 3
        assert row[1] == 0


async def test_changes_arrive_stamped_with_the_instant_of_the_step(rig: OutstationRig) -> None:
    async with client_of(rig) as client:
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        scalars = [p for p in rig.plant.points() if p.place[1] is None and "nsu" in p.place[0]]
        point = min(scalars, key=lambda p: p.signal.step_ns)
        await subscription.subscribe_data_change(
            await node_of(client, point.place[0].rpartition("=")[2])
        )
        async with asyncio.timeout(30):
            changes = [await seen.changes.get() for _ in range(3)]
        for change in changes[1:]:
            at_ns = ns_of(change.SourceTimestamp)
            assert change.Value.Value == point.expected(at_ns)
            assert point.signal.starts_at(point.signal.index_at(at_ns)) == at_ns


async def test_written_values_stay_until_reset(rig: OutstationRig) -> None:
    async with client_of(rig) as client:
        speed = client.get_node("ns=4;s=Speed")
        await speed.write_value(ua.DataValue(ua.Variant(3.5, ua.VariantType.Float)))
        row = await node_of(client, "Row")
        await write_element(client, row, [77], "2")
        await asyncio.sleep(0.3)  # paces: several steps of the truth go by
        assert await speed.read_value() == 3.5
        assert (await row.read_value())[2] == 77
        await rig.command({"reset": "plc"})
        held = await speed.read_data_value()
        assert held.Value.Value == point_of(rig, "speed").expected(ns_of(held.SourceTimestamp))


async def write_element(client: Client, node: Any, values: list[int], element: str) -> Any:
    written = ua.DataValue(ua.Variant(values, ua.VariantType.Int32))
    wanted = ua.WriteValue(
        NodeId=node.nodeid,
        AttributeId=ua.AttributeIds.Value,
        Value=written,
        IndexRange=element,
    )
    return (await client.uaclient.session.write(ua.WriteParameters(NodesToWrite=[wanted])))[0]


async def read_element(client: Client, node: Any, element: str) -> Any:
    wanted = ua.ReadValueId(
        NodeId=node.nodeid, AttributeId=ua.AttributeIds.Value, IndexRange=element
    )
    return (await client.uaclient.session.read(ua.ReadParameters(NodesToRead=[wanted])))[0]


async def test_elements_of_arrays_are_read_and_written_alone(rig: OutstationRig) -> None:
    async with client_of(rig) as client:
        row = await node_of(client, "Row")
        whole = await row.read_value()
        assert (await write_element(client, row, [5], "0")).is_good()
        assert await row.read_value() == [5, *whole[1:]]
        assert (await read_element(client, row, "0:1")).Value.Value == [5, whole[1]]
        refused = {
            "7": ua.StatusCodes.BadIndexRangeNoData,
            "x": ua.StatusCodes.BadIndexRangeInvalid,
        }
        for element, code in refused.items():
            assert (await read_element(client, row, element)).StatusCode.value == code
            assert (await write_element(client, row, [1], element)).value == code
        wrong = await write_element(client, row, [1, 2, 3], "0")
        assert wrong.value == ua.StatusCodes.BadIndexRangeInvalid


async def test_without_power_nobody_is_there_and_sessions_are_gone(rig: OutstationRig) -> None:
    client = client_of(rig)
    await client.connect()
    await client.get_node("ns=4;s=Speed").write_value(
        ua.DataValue(ua.Variant(3.5, ua.VariantType.Float))
    )
    await rig.command({"power": "off", "device": "plc"})
    with pytest.raises((ConnectionError, OSError)):
        await client_of(rig).connect()
    await asyncio.gather(client.disconnect(), return_exceptions=True)
    assert rig.status()["off"] == ["plc"]
    await rig.command({"power": "on", "device": "plc"})
    async with client_of(rig) as again:
        held = await again.get_node("ns=4;s=Speed").read_data_value()
        expected = point_of(rig, "speed").expected(ns_of(held.SourceTimestamp))
        assert held.Value.Value == expected


async def test_a_hung_plc_keeps_its_connections_and_answers_nothing(rig: OutstationRig) -> None:
    async with client_of(rig) as client:
        await rig.command({"fault": "silence", "device": "plc", "seconds": 0.5})
        speed = client.get_node("ns=4;s=Speed")
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        await speed.read_value()
        assert loop.time() - asked_s > 0.3
    assert rig.status()["faults"] == {}


async def test_a_plc_without_values_says_so_by_status(rig: OutstationRig) -> None:
    async with client_of(rig) as client:
        flow = await node_of(client, "Flow")
        await rig.command({"fault": "nan", "device": "plc"})
        held = await flow.read_data_value(raise_on_bad_status=False)
        assert held.StatusCode.value == ua.StatusCodes.BadSensorFailure
        await rig.command({"clear": "plc"})
        assert isinstance(await flow.read_value(), float)
        await rig.command({"fault": "stuck", "device": "plc"})
        stuck = await flow.read_value()
        await asyncio.sleep(1.2)  # paces: steps go by and must not show
        assert await flow.read_value() == stuck
        await rig.command({"clear": "plc", "only": "nan"})
        assert (fault := rig.plcs["plc"].fault) and fault.kind == "stuck"
        await rig.command({"clear": "plc", "only": "stuck"})
        assert rig.plcs["plc"].fault is None


async def test_a_start_ends_whatever_fault_there_was(rig: OutstationRig) -> None:
    await rig.command({"fault": "silence", "device": "plc"})
    await rig.command({"power": "off", "device": "plc"})
    await rig.command({"power": "on", "device": "plc"})
    async with client_of(rig) as client:
        assert isinstance(await (await node_of(client, "Flow")).read_value(), float)


async def test_a_port_can_be_refused_and_connections_dropped(rig: OutstationRig) -> None:
    await rig.command({"fault": "refuse", "device": "plc"})
    with pytest.raises(ConnectionRefusedError):
        await client_of(rig).connect()
    await rig.command({"clear": "plc"})
    client = client_of(rig)
    await client.connect()
    await rig.command({"fault": "drop", "device": "plc"})
    with pytest.raises((ConnectionError, OSError, ua.UaError)):
        await client.get_node("ns=4;s=Speed").read_value()
    await asyncio.gather(client.disconnect(), return_exceptions=True)
    answer = await rig.command({"fault": "bad_crc", "device": "plc"})
    assert "no fault bad_crc" in answer["error"]


async def test_a_plc_says_which_bad_status_it_is_told_to(rig: OutstationRig) -> None:
    async with client_of(rig) as client:
        flow = await node_of(client, "Flow")
        answer = await rig.command({"fault": "nan", "device": "plc", "status": "GoodNoData"})
        assert "no Bad StatusCode" in answer["error"]
        assert rig.status()["faults"] == {}
        await rig.command({"fault": "nan", "device": "plc", "status": "BadNotConnected"})
        held = await flow.read_data_value(raise_on_bad_status=False)
        assert held.StatusCode.value == ua.StatusCodes.BadNotConnected
        await rig.command({"fault": "exception", "device": "plc", "status": "BadTooManyOperations"})
        with pytest.raises(ua.uaerrors.BadTooManyOperations):
            await flow.read_value()
        await rig.command({"fault": "exception", "device": "plc"})
        with pytest.raises(ua.uaerrors.BadResourceUnavailable):
            await client.create_subscription(50, Seen())
        await rig.command({"clear": "plc"})
        assert isinstance(await flow.read_value(), float)


async def test_a_slow_plc_answers_and_publishes_later(rig: OutstationRig) -> None:
    async with client_of(rig) as client:
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        flow = await node_of(client, "Flow")
        await subscription.subscribe_data_change(flow)
        async with asyncio.timeout(10):
            await seen.changes.get()
            await rig.command({"fault": "delay", "device": "plc", "ms": 400, "jitter_ms": 100})
            loop = asyncio.get_running_loop()
            asked_s = loop.time()
            await flow.read_value()
            assert loop.time() - asked_s >= 0.4
            while not seen.changes.empty():
                seen.changes.get_nowait()
            change = await seen.changes.get()
        assert time.time_ns() - ns_of(change.SourceTimestamp) >= 400_000_000


async def test_forgotten_sessions_are_told_by_the_next_request(rig: OutstationRig) -> None:
    client = client_of(rig)
    await client.connect()
    await rig.command({"fault": "forget", "device": "plc"})
    with pytest.raises(ua.uaerrors.BadSessionIdInvalid):
        await client.get_node("ns=4;s=Speed").read_value()
    await asyncio.gather(client.disconnect(), return_exceptions=True)
    async with client_of(rig) as again:
        assert isinstance(await again.get_node("ns=4;s=Speed").read_value(), float)


SECURED = """
    security: {policy: Basic256Sha256, mode: SignAndEncrypt, user: gw, password: {file: pw}}
"""


async def test_a_secured_plc_asks_for_encryption_and_its_user(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    rig = rig_of(extra=SECURED, base_dir=tmp_path, state_dir=tmp_path / "pki")
    key, cert = tmp_path / "c.pem", tmp_path / "c.der"
    uri = "urn:test:client"
    await setup_self_signed_certificate(
        key, cert, uri, "127.0.0.1", [ExtendedKeyUsageOID.CLIENT_AUTH], {"commonName": "c"}
    )
    async with running(rig):
        for password in ("secret", "wrong"):
            client = client_of(rig)
            client.application_uri = uri
            client.set_user("gw")
            client.set_password(password)
            await client.set_security(SecurityPolicyBasic256Sha256, str(cert), str(key))
            if password == "wrong":
                with pytest.raises(ua.UaError):
                    await client.connect()
                await asyncio.gather(client.disconnect(), return_exceptions=True)
                continue
            async with client:
                assert isinstance(await client.get_node("ns=4;s=Speed").read_value(), float)
        with pytest.raises(ua.UaError):
            await client_of(rig).connect()


@pytest.mark.parametrize(
    "points",
    [
        '{a: {node: "ns=2;s=A", type: double}, b: {node: "ns=2;s=A", type: double}}',
        '{a: {node: "ns=2;s=A", type: double, index: 0}, b: {node: "ns=2;s=A", type: double}}',
        '{a: {node: "ns=2;s=A", type: int16, index: 0}, b: {node: "ns=2;s=A", type: int32}}',
    ],
)
async def test_points_that_contradict_each_other_are_refused(points: str) -> None:
    with pytest.raises(SiteError, match="used otherwise"):
        rig_of(points)


async def test_a_secured_plc_without_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret")
    with pytest.raises(SiteError, match="needs a directory"):
        rig_of(extra=SECURED, base_dir=tmp_path)


async def test_a_type_that_the_plc_can_not_hold_is_refused() -> None:
    with pytest.raises(SiteError, match="has no datetime"):
        rig_of('{a: {node: "ns=2;s=A", type: datetime}}')
