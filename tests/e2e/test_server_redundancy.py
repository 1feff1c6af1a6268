"""What a server tells of its redundant set, and what it is ordered: beside a pair in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from cryptography import x509

from gateway.pair.words import Role as PairRole
from gateway.server.discovery import Member
from gateway.server.redundancy import Told
from gateway.server.service_level import Backup, Duty, Situation
from gateway.server.settings import STATE_RUNNING, Redundancy

from .server_rig import PASSWORD, Plant, RawPeer, Refused, read_request, running

IDS = ua.ObjectIds
MAIN = Situation(PairRole.MAIN, backup=Backup.READY)
STANDBY = Situation(PairRole.SYNCED, backup=Backup.READY)
OTHER = Member("b", "urn:hotpair:s7:b", "Hotpair s7 b", ("opc.tcp://10.0.0.2:4840",))
LEVEL, STATE = IDS.Server_ServiceLevel, IDS.Server_ServerStatus_State
REASON = IDS.Server_ServerStatus_ShutdownReason


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One key for all servers here: making one takes longer than most of these tests."""
    return tmp_path_factory.mktemp("pki")


@asynccontextmanager
async def one_of_two(
    folder: Path, redundancy: Redundancy = Redundancy.WARM, **settings: Any
) -> AsyncIterator[Plant]:
    async with running(folder, insecure=True, redundancy=redundancy, **settings) as plant:
        plant.server.other_is(OTHER)
        plant.stands(MAIN, peer=Told(90, STATE_RUNNING))
        yield plant


@asynccontextmanager
async def logged_in(plant: Plant, user: str) -> AsyncIterator[Client]:
    client = Client(plant.url)
    client.set_user(user)
    client.set_password(PASSWORD)
    async with client:
        yield client


async def value(client: Client, identifier: int) -> Any:
    return await client.get_node(ua.NodeId(identifier)).read_value()


async def children(client: Client) -> dict[str, str]:
    """The parts of ServerRedundancy by name, as a browsing client finds them."""
    node = client.get_node(ua.NodeId(IDS.Server_ServerRedundancy))
    found = await node.get_references(direction=ua.BrowseDirection.Forward)
    return {r.BrowseName.Name: r.NodeId.to_string() for r in found}


@pytest.mark.parametrize(
    ("redundancy", "support", "kind", "parts"),
    [
        (Redundancy.NONE, 0, "ServerRedundancyType", set()),
        (Redundancy.COLD, 1, "NonTransparentRedundancyType", {"ServerUriArray"}),
        (
            Redundancy.WARM,
            2,
            "NonTransparentBackupRedundancyType",
            {"ServerUriArray", "Mode", "Failover"},
        ),
    ],
)
async def test_the_type_says_what_the_standby_does(
    pki: Path, redundancy: Redundancy, support: int, kind: str, parts: set[str]
) -> None:
    async with one_of_two(pki, redundancy) as plant, Client(plant.url) as client:
        found = await children(client)
        assert set(found) == {"RedundancySupport", "RedundantServerArray", kind} | parts
        assert await value(client, IDS.Server_ServerRedundancy_RedundancySupport) == support
        server = client.get_node(ua.NodeId(IDS.Server))
        [seen] = [
            reference.TypeDefinition
            for reference in await server.get_references(direction=ua.BrowseDirection.Forward)
            if reference.BrowseName.Name == "ServerRedundancy"
        ]
        assert seen.to_string() == found[kind]
        current = client.get_node(ua.NodeId(IDS.Server_ServerRedundancy_CurrentServerId))
        with pytest.raises(ua.uaerrors.BadNodeIdUnknown):
            await current.read_value()


@pytest.mark.parametrize(
    ("form", "first", "second"),
    [("uris", "urn:hotpair:s7:a", OTHER.application_uri), ("urls", None, OTHER.urls[0])],
)
async def test_the_set_is_told_in_one_order(
    pki: Path, form: str, first: str | None, second: str
) -> None:
    async with (
        one_of_two(pki, server_uri_array=form) as plant,
        Client(plant.url) as client,
    ):
        array = await value(client, IDS.Server_ServerRedundancy_ServerUriArray)
        assert array == [first or plant.url, second]
        servers = await value(client, IDS.Server_ServerRedundancy_RedundantServerArray)
        told = [(s.ServerId, s.ServiceLevel, s.ServerState) for s in servers]
        assert told == [
            ("urn:hotpair:s7:a", 255, ua.ServerState.Running),
            ("urn:hotpair:s7:b", 90, ua.ServerState.Running),
        ]
        found = await client.find_servers()
        assert [s.ApplicationUri for s in found] == ["urn:hotpair:s7:a", "urn:hotpair:s7:b"]
        assert found[1].DiscoveryUrls == list(OTHER.urls)
        only = await client.find_servers([OTHER.application_uri])
        assert [s.ApplicationUri for s in only] == [OTHER.application_uri]


async def test_what_ignition_and_the_aveva_adapter_read_is_there(pki: Path) -> None:
    # DESIGN.md cites their documents: RedundancySupport, ServerUriArray and ServiceLevel by the
    # NodeIds of the standard, URLs where the adapter connects to what it finds.
    async with (
        one_of_two(pki, Redundancy.COLD, server_uri_array="urls") as plant,
        Client(plant.url) as client,
    ):
        read = [await client.get_node(node).read_value() for node in ("i=3709", "i=11314")]
        assert read == [1, [plant.url, OTHER.urls[0]]]
        assert 200 <= await client.get_node("i=2267").read_value() <= 255


async def test_several_names_are_network_paths_and_a_shared_one_is_none(pki: Path) -> None:
    names = ("gw-a.plant", "10.0.0.1", "10.0.0.100")
    async with (
        one_of_two(pki, Redundancy.COLD, advertise=names) as plant,
        Client(plant.server.own.urls[-1]) as client,
    ):
        port = int(plant.url.rpartition(":")[2])
        floating = f"opc.tcp://10.0.0.100:{port}"
        plant.server.other_is(Member("b", OTHER.application_uri, "b", (floating, "opc.tcp://b:1")))
        assert "NonTransparentNetworkRedundancyType" in await children(client)
        groups = await value(client, IDS.Server_ServerRedundancy_ServerNetworkGroups)
        paths = {g.ServerUri[-1]: [p.EndpointUrlList for p in g.NetworkPaths] for g in groups}
        named = [f"opc.tcp://{name}:{port}" for name in ("gw-a.plant", "10.0.0.1", "127.0.0.1")]
        assert paths == {"a": [[url] for url in named], "b": [["opc.tcp://b:1"]]}
        array = await value(client, IDS.Server_ServerRedundancy_ServerUriArray)
        assert array == ["urn:hotpair:s7:a", "urn:hotpair:s7:b"]


async def test_every_advertised_name_is_in_endpoints_discovery_and_certificate(
    pki: Path,
) -> None:
    names = ("gw-a.plant", "10.0.0.100", "fd00::1")
    async with one_of_two(pki, advertise=names) as plant:
        port = int(plant.url.rpartition(":")[2])
        hosts = ("gw-a.plant", "10.0.0.100", "[fd00::1]", "127.0.0.1")
        urls = {f"opc.tcp://{host}:{port}" for host in hosts}
        client = Client(f"opc.tcp://localhost:{port}")
        endpoints = await client.connect_and_get_server_endpoints()
        assert endpoints[0].EndpointUrl == f"opc.tcp://localhost:{port}", "the one that works"
        assert {e.EndpointUrl for e in endpoints} == urls | {f"opc.tcp://localhost:{port}"}
        assert len(endpoints) == 7 * (len(urls) + 1)
        own = (await client.connect_and_find_servers())[0]
        assert urls < set(own.DiscoveryUrls)
        certificate = x509.load_der_x509_certificate(endpoints[0].ServerCertificate)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = {str(name) for name in found.get_values_for_type(x509.IPAddress)}
        assert addresses == {"10.0.0.100", "fd00::1", "127.0.0.1"}
        assert found.get_values_for_type(x509.DNSName) == ["gw-a.plant"]
        uris = found.get_values_for_type(x509.UniformResourceIdentifier)
        assert uris == [own.ApplicationUri] == ["urn:hotpair:s7:a"]


# ------------------------------------------------------------------------------- the changeover


class Heard:
    """What a subscription heard of the Server object, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Any]] = []
        self.news = asyncio.Event()

    def datachange_notification(self, node: Any, found: Any, _data: Any) -> None:
        text = getattr(found, "Text", found)
        self.told.append((node.nodeid.Identifier, text))
        self.news.set()

    async def until(self, *wanted: tuple[int, Any]) -> None:
        async with asyncio.timeout(5):
            while not set(wanted) <= set(self.told):
                self.news.clear()
                await self.news.wait()


async def asks_again(plant: Plant) -> None:
    """Wait until the next publish request is there: nobody is told without one."""
    async with asyncio.timeout(5):
        while not any(session.requests for session in plant.server.context.sessions):
            await asyncio.sleep(0.01)  # paces: the server has no event for this


async def test_subscribers_hear_at_once_that_the_server_leaves_and_why(pki: Path) -> None:
    async with one_of_two(pki, Redundancy.COLD) as plant, Client(plant.url) as client:
        heard = Heard()
        # An interval that nobody waits for: what is heard in time was sent beside it.
        subscription = await client.create_subscription(3_600_000, heard)
        nodes = [client.get_node(ua.NodeId(number)) for number in (LEVEL, STATE, REASON)]
        await subscription.subscribe_data_change(nodes)
        await asks_again(plant)
        plant.server.tell()
        await heard.until((LEVEL, 255), (STATE, 0))
        await asks_again(plant)
        why = "changeover by otto"
        plant.stands(Situation(PairRole.MAIN, Duty.LEAVING, Backup.READY), why)
        await heard.until((LEVEL, 2), (STATE, 4), (REASON, why))
        await asks_again(plant)
        await plant.server.close("handed over: changeover by otto")
        await heard.until((LEVEL, 1), (REASON, "handed over: changeover by otto"))


async def test_a_connection_is_told_why_it_ends(pki: Path) -> None:
    async with (
        one_of_two(pki, Redundancy.COLD) as plant,
        await RawPeer.connect(plant.url) as peer,
    ):
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        await peer.call(ua.CreateSubscriptionRequest(), token)
        peer.send(peer.encode(ua.PublishRequest(), token))
        await peer.call(read_request("i=2267"), token)
        await plant.server.close("handed over")
        with pytest.raises(ua.uaerrors.BadServerHalted):
            await peer.response()
        kind, size = await peer.reader.readexactly(4), await peer.reader.readexactly(4)
        rest = await peer.reader.readexactly(int.from_bytes(size, "little") - 8)
        assert kind == b"ERRF"
        assert int.from_bytes(rest[:4], "little") == ua.StatusCodes.BadServerHalted
        assert rest[8:] == b"handed over"
        with pytest.raises(Refused):
            await peer.frame()


async def test_a_warm_standby_shows_no_values_and_keeps_its_clients_when_it_is_main(
    pki: Path,
) -> None:
    async with one_of_two(pki) as plant, Client(plant.url) as client:
        plant.set("plc1/level", 1.5)
        plant.stands(STANDBY)
        assert plant.server.serve_values(False) and not plant.server.serve_values(False)
        heard: asyncio.Queue[ua.DataValue] = asyncio.Queue()

        class Values:
            def datachange_notification(self, _node: Any, _found: Any, data: Any) -> None:
                heard.put_nowait(data.monitored_item.Value)

        async def next_heard() -> ua.DataValue:
            async with asyncio.timeout(5):
                return await heard.get()

        level = client.get_node("ns=2;s=plc1/level")
        subscription = await client.create_subscription(50, Values())
        await subscription.subscribe_data_change(level)
        silent = await next_heard()
        assert silent.StatusCode.value == ua.StatusCodes.BadNoCommunication
        assert silent.Value.Value is None
        read = await level.read_data_value(raise_on_bad_status=False)
        assert read.StatusCode.value == ua.StatusCodes.BadNoCommunication
        text = client.get_node("ns=2;s=plc1/mode#ValueAsText")
        read = await text.read_data_value(raise_on_bad_status=False)
        assert read.StatusCode.value == ua.StatusCodes.BadNoCommunication
        plant.set("plc1/level", 2.5)  # replicated: nobody hears of it
        assert await value(client, LEVEL) == 90
        mode = client.get_node((await children(client))["Mode"])
        assert await mode.read_value() == 2
        plant.stands(MAIN)
        plant.server.serve_values(True)
        shown = await next_heard()
        assert (shown.Value.Value, shown.StatusCode.value) == (2.5, 0)
        assert await value(client, LEVEL) == 255 and await mode.read_value() == 0


# ----------------------------------------------------------------------------------- the orders


def order(
    state: int, seconds: int = 0, restart: bool = False, returns: datetime | None = None
) -> list[ua.Variant]:
    return [
        ua.Variant(state, ua.VariantType.Int32),
        ua.Variant(returns or ua.win_epoch_to_datetime(0), ua.VariantType.DateTime),
        ua.Variant(seconds, ua.VariantType.UInt32),
        ua.Variant(ua.LocalizedText("new fans"), ua.VariantType.LocalizedText),
        ua.Variant(restart, ua.VariantType.Boolean),
    ]


async def call(client: Client, owner: int, method: int, *arguments: ua.Variant) -> int:
    """The status of a call; arguments have statuses of their own only where one is wrong."""
    request = ua.CallMethodRequest(ua.NodeId(owner), ua.NodeId(method), list(arguments))
    [result] = await client.uaclient.call([request])
    status: int = result.StatusCode.value
    told = len(arguments) if status == ua.StatusCodes.BadInvalidArgument else 0
    assert len(result.InputArgumentResults) == told
    return status


async def change(client: Client, *arguments: ua.Variant) -> int:
    return await call(client, IDS.Server, IDS.Server_RequestServerStateChange, *arguments)


async def fail_over(client: Client, *arguments: ua.Variant) -> int:
    method = IDS.NonTransparentBackupRedundancyType_Failover
    return await call(client, IDS.Server_ServerRedundancy, method, *arguments)


async def test_failover_is_for_admins_and_follows_readiness(pki: Path) -> None:
    codes = ua.StatusCodes
    async with one_of_two(pki) as plant, logged_in(plant, "anna") as anna:
        method = anna.get_node(ua.NodeId(IDS.NonTransparentBackupRedundancyType_Failover))

        async def executable(client: Client) -> tuple[bool, bool]:
            node = client.get_node(method.nodeid)
            asked = (ua.AttributeIds.Executable, ua.AttributeIds.UserExecutable)
            first, second = [(await node.read_attribute(a)).Value.Value for a in asked]
            return first, second

        assert await executable(anna) == (True, True)
        assert await fail_over(anna) == codes.Good
        assert plant.pair.ordered == ["anna"]
        async with logged_in(plant, "erna") as erna:
            assert await executable(erna) == (True, False)
            assert await fail_over(erna) == codes.BadUserAccessDenied
        assert plant.pair.audits == [("Failover", "erna", "refused: engineer may not")]
        plant.pair.refused = "the peer is not heard, not a synced Standby"
        assert await executable(anna) == (False, False)
        assert await fail_over(anna) == codes.BadNotExecutable
        assert await fail_over(anna, ua.Variant(1)) == codes.BadTooManyArguments
        elsewhere = IDS.NonTransparentBackupRedundancyType_Failover
        assert await call(anna, IDS.Server, elsewhere) == codes.BadMethodInvalid


async def test_a_closed_standby_has_no_failover(pki: Path) -> None:
    async with (
        one_of_two(pki, Redundancy.COLD) as plant,
        logged_in(plant, "anna") as anna,
    ):
        assert await fail_over(anna) != ua.StatusCodes.Good
        assert plant.pair.ordered == []


async def test_an_administrator_takes_a_main_out_of_service_and_back(pki: Path) -> None:
    codes = ua.StatusCodes
    returns = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    async with one_of_two(pki) as plant, logged_in(plant, "anna") as anna:
        heard = Heard()
        subscription = await anna.create_subscription(3_600_000, heard)
        nodes = [anna.get_node(ua.NodeId(number)) for number in (LEVEL, STATE, REASON)]
        await subscription.subscribe_data_change(nodes)
        assert (
            await change(anna, *order(ua.ServerState.Shutdown, 30, returns=returns)) == codes.Good
        )
        await heard.until((STATE, 4), (REASON, "new fans"))
        told = await value(anna, LEVEL)
        assert told == 255, "until then it serves, and nobody else has values"
        status = await value(anna, IDS.Server_ServerStatus)
        assert (status.State, status.ShutdownReason.Text) == (ua.ServerState.Shutdown, "new fans")
        assert 28 <= status.SecondsTillShutdown <= 30
        assert await value(anna, IDS.Server_EstimatedReturnTime) == returns
        assert plant.pair.ordered == []
        assert await change(anna, *order(ua.ServerState.Suspended)) == codes.Good
        assert plant.pair.ordered == ["anna"], "a Main hands over first"
        await heard.until((LEVEL, 2))
        plant.stands(STANDBY)
        await heard.until((LEVEL, 0))
        assert await value(anna, STATE) == ua.ServerState.Suspended
        assert await change(anna, *order(ua.ServerState.Running)) == codes.Good
        await heard.until((LEVEL, 90))
        assert [outcome for _, _, outcome in plant.pair.audits] == [
            "Shutdown in 30 s: new fans",
            "Suspended: new fans",
            "Running",
        ]


async def test_an_announced_shutdown_hands_over_when_its_time_has_come(pki: Path) -> None:
    async with one_of_two(pki) as plant, logged_in(plant, "anna") as anna:
        assert await change(anna, *order(ua.ServerState.Shutdown, 1)) == ua.StatusCodes.Good
        async with asyncio.timeout(5):
            while not plant.pair.ordered:
                await asyncio.sleep(0.05)  # paces: a second is the least that can be announced
        plant.stands(STANDBY)
        assert await value(anna, LEVEL) == 0
        plant.stands(MAIN)
        assert await value(anna, LEVEL) == 255, "who is Main again is in service"


async def test_what_is_not_for_opc_ua_is_refused_and_audited(pki: Path) -> None:
    codes, states = ua.StatusCodes, ua.ServerState
    async with one_of_two(pki) as plant, logged_in(plant, "anna") as anna:
        assert await change(anna, *order(states.Suspended, restart=True)) == codes.BadInvalidState
        assert await change(anna, *order(states.Test)) == codes.BadInvalidState
        assert await change(anna, *order(states.Shutdown, 3_601)) == codes.BadOutOfRange
        assert await change(anna, *order(states.Shutdown)[:4]) == codes.BadArgumentsMissing
        wrong = [ua.Variant("now", ua.VariantType.String), *order(states.Shutdown)[1:]]
        assert await change(anna, *wrong) == codes.BadInvalidArgument
        plant.pair.refused = "the peer is not heard, not a synced Standby"
        for seconds in (0, 10):
            orders = order(states.Shutdown, seconds)
            assert await change(anna, *orders) == codes.BadInvalidState
        assert await value(anna, LEVEL) == 255, "a refused order changes nothing"
        async with logged_in(plant, "erna") as erna:
            assert await change(erna, *order(states.Suspended)) == codes.BadUserAccessDenied
        assert plant.pair.ordered == []
        assert [outcome for _, _, outcome in plant.pair.audits] == [
            "refused: a restart can't be asked for by OPC UA",
            "refused: state 5 can't be asked for by OPC UA",
            "refused: 3601 s are more than 3600",
            "refused: the peer is not heard, not a synced Standby",
            "refused: engineer may not",
        ]
