"""Nobody gets in: what the library leaves open, tried with raw bytes; log-ins with real clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import (
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.server.settings import Limits
from hil.fuzz.corpus import create_session
from hil.fuzz.peer import ERROR, Ended, Keys, Peer
from tests.e2e.server_rig import (
    PASSWORD,
    Plant,
    RawPeer,
    Refused,
    read_request,
    running,
    trusted,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
C = ua.StatusCodes
LEVEL = "ns=2;s=plc1/level"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(
    tmp_path_factory: pytest.TempPathFactory, client_files: tuple[Path, Path]
) -> AsyncIterator[Plant]:
    """A server as it is by default: security, users, and a trust list with one client."""
    async with running(tmp_path_factory.mktemp("pki")) as found:
        trusted(found.pki_dir, client_files[1])
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    """A server without security, to reach deeper with raw bytes."""
    limits = Limits(
        activation_ms=1_500,
        max_nodes_per_read=10,
        max_sessions_per_connection=3,
        max_publish_requests=3,
    )
    async with running(tmp_path_factory.mktemp("pki"), insecure=True, limits=limits) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("client")
    key, certificate = folder / "key.pem", folder / "cert.der"
    await setup_self_signed_certificate(
        key, certificate, "urn:test:client", "127.0.0.1", [ExtendedKeyUsageOID.CLIENT_AUTH], {}
    )
    return key, certificate


async def secure_client(
    plant: Plant,
    files: tuple[Path, Path],
    user: str | None,
    password: str = PASSWORD,
    policy: type = SecurityPolicyBasic256Sha256,
    mode: ua.MessageSecurityMode = ua.MessageSecurityMode.SignAndEncrypt,
) -> Client:
    client = Client(plant.url, watchdog_intervall=30)
    client.application_uri = "urn:test:client"
    server_certificate = plant.server.context.settings.pki_dir / "own" / "certificate.der"
    key, certificate = files
    await client.set_security(policy, certificate, key, None, server_certificate, mode)
    if user is not None:
        client.set_user(user)
        client.set_password(password)
    return client


async def refused_with(peer: RawPeer) -> int:
    with pytest.raises(Refused) as refused:
        await peer.frame()
    return refused.value.status


# ------------------------------------------------------------------------------- before a log-in


async def test_a_message_before_the_channel_is_refused(guarded: Plant) -> None:
    async with await RawPeer.connect(guarded.url) as peer:
        await peer.hello()
        peer.send(peer.encode(read_request(LEVEL)))
        assert await refused_with(peer) == C.BadTcpSecureChannelUnknown


async def test_closing_a_channel_that_was_never_open_is_refused(guarded: Plant) -> None:
    async with await RawPeer.connect(guarded.url) as peer:
        await peer.hello()
        request = ua.CloseSecureChannelRequest()
        peer.send(peer.encode(request, kind=ua.MessageType.SecureClose))
        assert await refused_with(peer) == C.BadTcpSecureChannelUnknown


async def test_nothing_is_served_before_hello(guarded: Plant) -> None:
    async with await RawPeer.connect(guarded.url) as peer:
        peer.send(peer.encode(read_request(LEVEL)))
        assert await refused_with(peer) == C.BadTcpMessageTypeInvalid


async def test_hello_is_said_once(guarded: Plant) -> None:
    async with await RawPeer.connect(guarded.url) as peer:
        await peer.hello()
        with pytest.raises(Refused):
            await peer.hello()


async def test_a_huge_announced_size_is_refused_at_its_header(guarded: Plant) -> None:
    async with await RawPeer.connect(guarded.url) as peer:
        peer.send(struct.pack("<4sI", b"HELF", 600_000_000))
        assert await refused_with(peer) == C.BadTcpMessageTooLarge
    async with await RawPeer.connect(guarded.url) as peer:
        await peer.hello()
        peer.send(struct.pack("<4sI", b"OPNF", 600_000_000))
        assert await refused_with(peer) == C.BadTcpMessageTooLarge


async def test_buffers_too_small_for_any_answer_are_refused(guarded: Plant) -> None:
    async with await RawPeer.connect(guarded.url) as peer:
        with pytest.raises(Refused) as refused:
            await peer.hello(ReceiveBufferSize=1)
        assert refused.value.status == C.BadTcpNotEnoughResources


async def test_noise_ends_a_connection_and_hurts_nobody(guarded: Plant) -> None:
    for _ in range(50):
        async with await RawPeer.connect(guarded.url) as peer:
            peer.send(os.urandom(200))
            with pytest.raises(Refused):
                await peer.frame()
        async with await RawPeer.connect(guarded.url) as peer:
            await peer.hello()
            noise = os.urandom(180)
            peer.send(struct.pack("<4sI", b"OPNF", 8 + len(noise)) + noise)
            with pytest.raises(Refused):
                await peer.frame()
    async with await RawPeer.connect(guarded.url) as peer:
        await peer.hello()
        await peer.open_channel()


async def test_without_security_only_discovery_is_possible(guarded: Plant) -> None:
    async with await RawPeer.connect(guarded.url) as peer:
        await peer.hello()
        await peer.open_channel()
        request = ua.GetEndpointsRequest()
        request.Parameters.EndpointUrl = guarded.url
        endpoints = (await peer.call(request)).Endpoints
        assert len(endpoints) == 6
        modes = {endpoint.SecurityMode for endpoint in endpoints}
        assert modes == {ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt}
        tokens = {t.TokenType for e in endpoints for t in e.UserIdentityTokens}
        assert tokens == {ua.UserTokenType.UserName, ua.UserTokenType.Certificate}
        servers = (await peer.call(ua.FindServersRequest())).Servers
        assert [server.ApplicationUri for server in servers] == ["urn:hotpair:s7:a"]
        with pytest.raises(ua.uaerrors.BadSecurityPolicyRejected):
            await peer.create_session()


async def test_an_extension_object_before_the_log_in_is_not_followed(open_door: Plant) -> None:
    """An array of two thousand million nulls takes sixteen bytes to ask for."""
    bomb = ua.ExtensionObject(
        TypeId=ua.NodeId(ua.ObjectIds.DataValue_Encoding_DefaultBinary)
        if hasattr(ua.ObjectIds, "DataValue_Encoding_DefaultBinary")
        else ua.NodeId(ua.ObjectIds.KeyValuePair_Encoding_DefaultBinary),
        Body=b"\x00\x00" + struct.pack("<i", -1) + b"\x80" + struct.pack("<i", 2**31 - 1),
    )
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        request = ua.GetEndpointsRequest()
        request.RequestHeader.AdditionalHeader = bomb
        assert (await peer.call(request)).Endpoints
        token = await peer.create_session()
        with pytest.raises(ua.uaerrors.BadIdentityTokenRejected):
            await peer.activate(token, bomb)


async def test_a_connection_on_which_nobody_logs_in_is_closed(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        assert await refused_with(peer) == 0


async def test_silent_connections_give_way_to_clients_that_log_in(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    limits = Limits(max_connections=5)
    folder = tmp_path_factory.mktemp("pki")
    async with contextlib.AsyncExitStack() as stack:
        plant = await stack.enter_async_context(running(folder, insecure=True, limits=limits))

        async def connected() -> RawPeer:
            return await stack.enter_async_context(await RawPeer.connect(plant.url))

        first = await connected()
        await first.hello()
        await first.open_channel()
        token = await first.session()
        silent = [await connected() for _ in range(20)]
        for _ in range(2):
            late = await connected()
            await late.hello()
            await late.open_channel()
            assert await late.session()
        assert await refused_with(silent[0]) == 0
        assert (await first.call(read_request(LEVEL), token)).Results


# ---------------------------------------------------------------------------------- sessions


async def test_tokens_are_random_and_long(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        one, two = await peer.create_session(), await peer.create_session()
        assert len(one.Identifier) == len(two.Identifier) == 32
        assert one != two


async def test_a_session_is_used_with_its_token_on_its_channel_only(open_door: Plant) -> None:
    async with (
        await RawPeer.connect(open_door.url) as mine,
        await RawPeer.connect(open_door.url) as theirs,
    ):
        for peer in (mine, theirs):
            await peer.hello()
            await peer.open_channel()
        token = await mine.session()
        await theirs.session()
        with pytest.raises(ua.uaerrors.BadSecureChannelIdInvalid):
            await theirs.call(read_request(LEVEL), token)
        with pytest.raises(ua.uaerrors.BadSessionIdInvalid):
            await theirs.call(read_request(LEVEL), ua.NodeId(os.urandom(32), 0))
        with pytest.raises(ua.uaerrors.BadSessionIdInvalid):
            await theirs.call(read_request(LEVEL))
        with pytest.raises(ua.uaerrors.BadSessionIdInvalid):
            await theirs.call(read_request(LEVEL), ua.NodeId(1001))
        assert (await mine.call(read_request(LEVEL), token)).Results


async def test_a_refused_activation_takes_nothing_over(open_door: Plant) -> None:
    async with (
        await RawPeer.connect(open_door.url) as victim,
        await RawPeer.connect(open_door.url) as thief,
    ):
        for peer in (victim, thief):
            await peer.hello()
            await peer.open_channel()
        token = await victim.session()
        wrong = ua.UserNameIdentityToken("username", "otto", b"wrong", None)
        with pytest.raises(ua.uaerrors.BadUserAccessDenied):
            await thief.activate(token, wrong)
        with pytest.raises(ua.uaerrors.BadSecureChannelIdInvalid):
            await thief.call(read_request(LEVEL), token)
        right = ua.UserNameIdentityToken("username", "otto", PASSWORD.encode(), None)
        with pytest.raises(ua.uaerrors.BadIdentityChangeNotSupported):
            await thief.activate(token, right)
        assert (await victim.call(read_request(LEVEL), token)).Results


async def test_a_session_moves_to_a_new_channel_of_the_same_user(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as new:
        await new.hello()
        await new.open_channel()
        async with await RawPeer.connect(open_door.url) as old:
            await old.hello()
            await old.open_channel()
            token = await old.session()
            await new.activate(token)
            with pytest.raises(ua.uaerrors.BadSecureChannelIdInvalid):
                await old.call(read_request(LEVEL), token)
        assert (await new.call(read_request(LEVEL), token)).Results


async def test_a_session_that_was_not_activated_serves_nothing(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.create_session()
        with pytest.raises(ua.uaerrors.BadSessionNotActivated):
            await peer.call(read_request(LEVEL), token)
        with pytest.raises(ua.uaerrors.BadSessionIdInvalid):
            await peer.activate(token)


async def test_one_connection_has_only_so_many_sessions(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        for _ in range(3):
            await peer.create_session()
        with pytest.raises(ua.uaerrors.BadTooManySessions):
            await peer.create_session()


async def test_sessions_end_with_their_connection(open_door: Plant) -> None:
    sessions = open_door.server.context.sessions
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        assert sessions.find(token) is not None
    async with asyncio.timeout(5):
        while sessions.find(token) is not None:
            await asyncio.sleep(0)


async def test_every_limit_that_is_advertised_is_kept(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        limit = ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
        found = await peer.call(read_request(f"i={limit}"), token)
        assert found.Results[0].Value.Value == 10
        with pytest.raises(ua.uaerrors.BadTooManyOperations):
            await peer.call(read_request(*[LEVEL] * 11), token)
        with pytest.raises(ua.uaerrors.BadNothingToDo):
            await peer.call(read_request(), token)


async def test_an_interval_of_nothing_is_raised(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        request = ua.CreateSubscriptionRequest()
        request.Parameters.RequestedPublishingInterval = 0.001
        found = (await peer.call(request, token)).Parameters
        assert found.RevisedPublishingInterval == 50.0
        assert found.RevisedLifetimeCount >= 3 * found.RevisedMaxKeepAliveCount >= 3


async def test_publish_requests_are_bounded_and_the_oldest_is_answered(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        with pytest.raises(ua.uaerrors.BadNoSubscription):
            await peer.call(ua.PublishRequest(), token)
        request = ua.CreateSubscriptionRequest()
        request.Parameters.RequestedPublishingInterval = 60_000.0
        await peer.call(request, token)
        for _ in range(4):
            peer.send(peer.encode(ua.PublishRequest(), token))
        with pytest.raises(ua.uaerrors.BadTooManyPublishRequests):
            await peer.response()


async def test_the_lifetime_of_a_channel_is_bounded(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        found = await peer.open_channel(lifetime_ms=2**31)
        assert found.SecurityToken.RevisedLifetime == 3_600_000


async def test_a_request_that_can_not_be_read_is_answered_as_such(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        whole = read_request(LEVEL)
        whole.RequestHeader.AuthenticationToken = token
        from asyncua.ua.ua_binary import struct_to_binary

        body = struct_to_binary(whole)[:-12]
        peer.send(peer.connection.message_to_binary(body, request_id=99))
        with pytest.raises(ua.uaerrors.BadDecodingError):
            await peer.response()
        assert (await peer.call(read_request(LEVEL), token)).Results


async def test_a_wrong_sequence_number_ends_the_connection(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        peer.connection._sequence_number += 5
        peer.send(peer.encode(ua.GetEndpointsRequest()))
        assert await refused_with(peer) == C.BadSecurityChecksFailed


async def test_services_that_change_the_address_space_do_not_exist(open_door: Plant) -> None:
    async with await RawPeer.connect(open_door.url) as peer:
        await peer.hello()
        await peer.open_channel()
        token = await peer.session()
        for request in (ua.AddNodesRequest(), ua.DeleteNodesRequest(), ua.RegisterServerRequest()):
            with pytest.raises(ua.uaerrors.BadServiceUnsupported):
                await peer.call(request, token)


# --------------------------------------------------------------------------- users and policies


@pytest.mark.parametrize(
    "policy",
    [
        SecurityPolicyBasic256Sha256,
        SecurityPolicyAes128Sha256RsaOaep,
        SecurityPolicyAes256Sha256RsaPss,
    ],
)
@pytest.mark.parametrize(
    "mode", [ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt]
)
async def test_a_user_logs_in_by_every_policy(
    guarded: Plant, client_files: tuple[Path, Path], policy: type, mode: ua.MessageSecurityMode
) -> None:
    guarded.set("plc1/level", 4.5)
    client = await secure_client(guarded, client_files, "otto", policy=policy, mode=mode)
    async with client:
        assert await client.get_node(LEVEL).read_value() == 4.5


async def test_anonymous_and_wrong_passwords_are_refused(
    guarded: Plant, client_files: tuple[Path, Path]
) -> None:
    anonymous = await secure_client(guarded, client_files, None)
    with pytest.raises(ua.uaerrors.UaStatusCodeError):
        await anonymous.connect()
    wrong = await secure_client(guarded, client_files, "otto", "wrong")
    with pytest.raises(ua.uaerrors.BadUserAccessDenied):
        await wrong.connect()


async def test_a_forged_signature_is_told_as_what_it_is(
    guarded: Plant, client_files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    key, certificate = client_files
    own = guarded.server.context.settings.pki_dir / "own" / "certificate.der"
    keys = await Keys.load(certificate, key, own)
    port = int(guarded.url.rpartition(":")[2])
    with contextlib.closing(await Peer.connect(port, keys)) as peer:
        await peer.greet()
        policy = peer.connection.security_policy
        create = create_session(policy.host_certificate)
        create.Parameters.ClientDescription.ApplicationUri = "urn:test:client"
        created = await peer.ask(create)
        peer.token = created.Parameters.AuthenticationToken
        request = ua.ActivateSessionRequest()
        request.Parameters.ClientSignature.Signature = bytes(256)
        request.Parameters.UserIdentityToken = ua.AnonymousIdentityToken("anonymous")
        with pytest.raises(ua.uaerrors.BadApplicationSignatureInvalid):
            await peer.ask(request)
    with contextlib.closing(await Peer.connect(port, keys)) as peer:
        peer.send(peer.hello())
        await peer.frame()
        body, _ = peer.opening()
        whole = peer.framed(body, ua.MessageType.SecureOpen)
        peer.send(whole[:-1] + bytes((whole[-1] ^ 1,)))
        with pytest.raises(Ended) as ended:
            await peer.frame()
        assert ended.value.how == ERROR
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_observer_reads_and_does_not_write(
    guarded: Plant, client_files: tuple[Path, Path]
) -> None:
    value = ua.DataValue(ua.Variant(2.5, ua.VariantType.Double))
    guarded.writes.clear()
    async with await secure_client(guarded, client_files, "olga") as client:
        node = client.get_node(LEVEL)
        assert await node.read_value() is not None
        assert ua.AccessLevel.CurrentWrite not in await node.get_user_access_level()
        with pytest.raises(ua.uaerrors.BadUserAccessDenied):
            await node.write_value(value)
    async with await secure_client(guarded, client_files, "otto") as client:
        node = client.get_node(LEVEL)
        assert ua.AccessLevel.CurrentWrite in await node.get_user_access_level()
        await node.write_value(value)
    assert guarded.writes == [("otto", "plc1/level", 2.5)]
