"""Which clients and users come in by certificate, tried with real sockets and real keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.crypto.security_policies import (
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)
from certificates import DAY, URI, Made, key_of, make, revoke
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.server import trust
from gateway.server.identity import GUEST, NOT_HEARD
from gateway.server.settings import Role, User
from gateway.server.trust_folder import TrustFolder
from hil.fuzz.corpus import create_session
from hil.fuzz.peer import Keys, Peer
from tests.e2e.server_rig import PASSWORD, USERS, Plant, running, trusted

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEVEL = "ns=2;s=plc1/level"
E = ua.uaerrors
ROOT = make("Plant root", ca=True)
HMI = make("HMI", ROOT)
SCADA = make("SCADA")
ALICE = make("Alice", uri=None)
MALLORY = make("Mallory", uri=None)
ADMIN = USERS["otto"].password_hash
PEOPLE = USERS | {
    "alice": User("alice", Role.ENGINEER, "", trust.fingerprint(ALICE.der)),
    "ada": User("ada", Role.ADMIN, ADMIN),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    """A server that trusts nobody yet."""
    async with running(tmp_path_factory.mktemp("pki"), users=PEOPLE) as found:
        found.set("plc1/level", 4.5)
        yield found


@pytest.fixture
def lists(plant: Plant) -> TrustFolder:
    """Its trust list, empty at the start of each test."""
    for entry in TrustFolder(plant.pki_dir).entries():
        entry.path.unlink()
    plant.alarms.clear()
    plant.audit.clear()
    plant.server.context.admission._told.clear()
    plant.server.context.logins._failures.clear()
    return TrustFolder(plant.pki_dir)


async def client_of(
    plant: Plant,
    made: Made,
    folder: Path,
    user: str | Made | None = "otto",
    uri: str = URI,
    policy: type = SecurityPolicyBasic256Sha256,
    user_key: Any = None,
) -> Client:
    client = Client(plant.url, watchdog_intervall=30)
    client.application_uri = uri
    key, certificate = made.write(folder)
    server = plant.pki_dir / "own" / "certificate.der"
    await client.set_security(policy, certificate, key, None, server)
    if isinstance(user, str):
        client.set_user(user)
        client.set_password(PASSWORD)
    elif user is not None:
        client.user_certificate = user.certificate
        client.user_private_key = user_key or user.key
    return client


async def comes_in(client: Client) -> bool:
    async with client:
        return bool(await client.get_node(LEVEL).read_value() is not None)


@asynccontextmanager
async def connected(client: Client) -> AsyncIterator[None]:
    """A client that may lose its connection."""
    await client.connect()
    try:
        yield
    finally:
        with contextlib.suppress(ConnectionError, E.UaError, TimeoutError):
            await client.disconnect()


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.02)  # paces: the server looks at its folder each second
    except TimeoutError:
        pytest.fail(f"not within 10 s: {what}")


def told(plant: Plant, part: str) -> list[str]:
    return [text for text in plant.alarms if part in text]


# ----------------------------------------------------------------------------------- clients


async def test_a_stranger_is_refused_kept_and_let_in_without_a_restart(
    plant: Plant, lists: TrustFolder, tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(E.BadSecurityChecksFailed):
            await (await client_of(plant, SCADA, tmp_path)).connect()
    thumbprint = trust.thumbprint(SCADA.der)
    [kept] = lists.entries()
    assert (kept.state, kept.path.name) == ("rejected", f"{thumbprint}.der")
    [text] = told(plant, "SCADA")
    assert "BadCertificateUntrusted" in text
    assert f"`hotpair trust accept {thumbprint[:8]}` on this node" in text
    refused = [entry for entry in plant.audit if entry[0] == "client refused"]
    assert [(entry[1], entry[2]) for entry in refused] == [("127.0.0.1", "SCADA")] * 2
    lists.accept(thumbprint[:8])
    assert await comes_in(await client_of(plant, SCADA, tmp_path))


async def test_who_is_trusted_no_more_is_cut_off(
    plant: Plant, lists: TrustFolder, tmp_path: Path
) -> None:
    lists.accept(str(SCADA.write(tmp_path)[1]))
    client = await client_of(plant, SCADA, tmp_path)
    async with connected(client):
        await until(lambda: bool(told(plant, "accepted")), "the change is told")
        assert await client.get_node(LEVEL).read_value() == 4.5
        lists.remove(trust.thumbprint(SCADA.der))
        await until(lambda: bool(told(plant, "removed")), "the removal is told")
        await until(lambda: len(plant.server.context.sessions) == 0, "the session ends")
        with pytest.raises((ConnectionError, E.UaError)):
            await client.get_node(LEVEL).read_value()
    changes = [(entry[1], entry[3]) for entry in plant.audit if entry[0] == "trust"]
    assert changes == [("CN=SCADA", "accepted"), ("CN=SCADA", "removed")]


async def test_clients_of_a_trusted_ca_come_in_until_it_revokes_them(
    plant: Plant, lists: TrustFolder, tmp_path: Path
) -> None:
    with pytest.raises(E.BadSecurityChecksFailed):
        await (await client_of(plant, HMI, tmp_path)).connect()
    assert "BadCertificateChainIncomplete" in told(plant, "HMI")[0]
    lists.accept(str(ROOT.write(tmp_path, "root")[1]))
    assert await comes_in(await client_of(plant, HMI, tmp_path))
    taken = revoke(ROOT, HMI.certificate.serial_number).public_bytes(Encoding.PEM)
    crl = plant.pki_dir / "issuers/crl/root.pem"
    crl.write_bytes(taken)
    with pytest.raises(E.BadSecurityChecksFailed):
        await (await client_of(plant, HMI, tmp_path)).connect()
    crl.unlink()


async def test_a_malformed_crl_is_told_once_and_stands_in_nobodys_way(
    plant: Plant, lists: TrustFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lists.accept(str(ROOT.write(tmp_path, "root")[1]))
    crl = plant.pki_dir / "issuers/crl/root.crl"
    whole = revoke(ROOT, HMI.certificate.serial_number).public_bytes(Encoding.DER)
    crl.write_bytes(whole.replace(b"Plant root", b"\xff" * 10))
    await until(lambda: bool(told(plant, "root.crl")), "the malformed file is told")
    assert await comes_in(await client_of(plant, HMI, tmp_path))
    rounds = len(plant.alarms)
    lists.accept(str(SCADA.write(tmp_path, "scada")[1]))
    await until(lambda: len(plant.alarms) > rounds, "the folder was read again")
    [text] = told(plant, "root.crl")
    assert text.startswith(f"{crl} is not used: ") and "remove it" in text
    assert not [record for record in caplog.records if record.exc_info]
    crl.unlink()


async def test_who_sends_a_chain_may_say_all_of_it_again(
    plant: Plant, lists: TrustFolder, tmp_path: Path
) -> None:
    lists.accept(str(ROOT.write(tmp_path, "root")[1]))
    key, certificate = HMI.write(tmp_path)
    keys = await Keys.load(certificate, key, plant.pki_dir / "own/certificate.der")
    with contextlib.closing(await Peer.connect(int(plant.url.rpartition(":")[2]), keys)) as peer:
        policy = peer.connection.security_policy
        policy.host_certificate_chain = [ROOT.der]
        await peer.greet()
        for other in (HMI.der + SCADA.der, ROOT.der):
            with pytest.raises(E.BadCertificateInvalid):
                await peer.ask(create_session(other))
        create = create_session(HMI.der + ROOT.der)
        create.Parameters.ClientDescription.ApplicationUri = URI
        created = (await peer.ask(create)).Parameters
        # Over its own certificate and its nonce, not over the chain.
        signed = HMI.der + create.Parameters.ClientNonce
        policy.asymmetric_cryptography.verify(signed, created.ServerSignature.Signature)


@pytest.mark.parametrize(
    ("made", "uri", "error"),
    [
        (make("Late", end=-timedelta(hours=1)), URI, E.BadCertificateTimeInvalid),
        (make("Early", begin=DAY / 2), URI, E.BadCertificateTimeInvalid),
        (make("Elsewhere"), "urn:somebody:else", E.BadCertificateUriInvalid),
        (make("Nameless", uri=None), URI, E.BadCertificateUriInvalid),
        (make("Server", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), URI,
         E.BadCertificateUseNotAllowed),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_trusted_certificate_is_told(
    plant: Plant, lists: TrustFolder, tmp_path: Path, made: Made, uri: str, error: type[Exception]
) -> None:
    trusted(plant.pki_dir, made.write(tmp_path)[1])
    with pytest.raises(error):
        await (await client_of(plant, made, tmp_path, uri=uri)).connect()
    assert error.__name__ in told(plant, "refused")[0]
    assert [entry for entry in lists.entries() if entry.state == "rejected"] == []


async def test_strangers_without_end_neither_fill_the_disk_nor_the_journal(
    plant: Plant, lists: TrustFolder
) -> None:
    admission = plant.server.context.admission
    key = key_of("crowd")
    for number in range(60):
        stranger = make(f"Stranger {number}", key=key)
        assert await admission.check(stranger.der, "10.0.0.66") == trust.SECURITY_CHECKS_FAILED
    assert len(lists.entries()) <= 20
    assert len(plant.alarms) <= 20
    assert 0 < len(plant.audit) <= 30


async def test_where_nobody_can_log_in_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, users={}):
        assert "`hotpair password` makes what to write there" in caplog.text


async def test_where_any_client_is_trusted_it_is_said_loudly(tmp_path: Path) -> None:
    async with running(tmp_path / "pki", trust_any=True) as plant:
        assert "every OPC UA client's certificate is trusted" in plant.alarms[0]
        assert plant.server.clients_trusted is None
        plant.set("plc1/level", 1.5)
        assert await comes_in(await client_of(plant, SCADA, tmp_path, uri="urn:whoever"))


# ------------------------------------------------------------------------------------- users


@pytest.mark.parametrize("policy", [SecurityPolicyBasic256Sha256, SecurityPolicyAes256Sha256RsaPss])
async def test_a_user_logs_in_by_certificate(
    plant: Plant, lists: TrustFolder, tmp_path: Path, policy: type
) -> None:
    trusted(plant.pki_dir, SCADA.write(tmp_path)[1])
    async with await client_of(plant, SCADA, tmp_path, ALICE, policy=policy) as client:
        value = ua.DataValue(ua.Variant(2.5, ua.VariantType.Double))
        await client.get_node(LEVEL).write_value(value)
    assert plant.writes[-1] == ("alice", "plc1/level", 2.5)
    [entry] = [entry for entry in plant.audit if entry[0] == "login"]
    assert entry[1:4] == ("127.0.0.1", "alice", "logged in")
    assert entry[4]["role"] == "engineer"


@pytest.mark.parametrize(
    ("user", "key", "error"),
    [
        (MALLORY, None, E.BadIdentityTokenRejected),
        (ALICE, MALLORY.key, E.BadUserSignatureInvalid),
        (make("Alice", uri=None, end=-DAY / 2), None, E.BadIdentityTokenInvalid),
    ],
)
async def test_who_can_not_prove_to_be_a_user_stays_out(
    plant: Plant, lists: TrustFolder, tmp_path: Path, user: Made, key: Any, error: type[Exception]
) -> None:
    trusted(plant.pki_dir, SCADA.write(tmp_path)[1])
    with pytest.raises(error):
        await (await client_of(plant, SCADA, tmp_path, user, user_key=key)).connect()
    [entry] = [entry for entry in plant.audit if entry[0] == "login refused"]
    shown = f"certificate {trust.fingerprint(user.der)}"
    assert entry[1:4] == ("127.0.0.1", shown, error.__name__)


async def test_failures_by_certificate_lock_a_peer_out_as_wrong_passwords_do(
    plant: Plant, lists: TrustFolder, tmp_path: Path
) -> None:
    trusted(plant.pki_dir, SCADA.write(tmp_path)[1])
    for error in [E.BadIdentityTokenRejected] * 4 + [E.BadUserAccessDenied]:
        with pytest.raises(error):
            await (await client_of(plant, SCADA, tmp_path, MALLORY)).connect()
    with pytest.raises(E.BadUserAccessDenied):
        await (await client_of(plant, SCADA, tmp_path, ALICE)).connect()
    [entry] = [entry for entry in plant.audit if entry[0] == "lock-out"]
    assert "4 log-ins from 127.0.0.1 failed" in entry[3]
    outcomes = [entry[3] for entry in plant.audit if entry[0] == "login refused"]
    assert outcomes == ["BadIdentityTokenRejected"] * 4 + [NOT_HEARD] * 2


async def test_a_user_without_a_password_has_none(
    plant: Plant, lists: TrustFolder, tmp_path: Path
) -> None:
    trusted(plant.pki_dir, SCADA.write(tmp_path)[1])
    client = await client_of(plant, SCADA, tmp_path, "alice")
    for password in (PASSWORD, ""):
        client.set_password(password)
        with pytest.raises(E.BadUserAccessDenied):
            await client.connect()


# ------------------------------------------------------------------------------------- roles


def granted(variant: Any) -> dict[int, int]:
    return {item.RoleId.Identifier: int(item.Permissions) for item in variant}


@pytest.mark.parametrize(
    ("user", "point", "other"),
    [
        ("olga", {15668: 1 + 32 + 128}, {15668: 1 + 32}),
        ("otto", {15680: 1 + 32 + 64 + 128}, {15680: 1 + 32}),
        (
            "ada",
            {15716: 1 + 2 + 32 + 64 + 128, 15704: 1 + 2 + 32 + 64 + 128},
            {15716: 1 + 2 + 32, 15704: 1 + 2 + 32},
        ),
    ],
)
async def test_a_user_is_told_what_its_role_may_do(
    plant: Plant,
    lists: TrustFolder,
    tmp_path: Path,
    user: str,
    point: dict[int, int],
    other: dict[int, int],
) -> None:
    trusted(plant.pki_dir, SCADA.write(tmp_path)[1])
    async with await client_of(plant, SCADA, tmp_path, user) as client:

        async def asked(node: str, attribute: ua.AttributeIds) -> Any:
            return (await client.get_node(node).read_attribute(attribute)).Value.Value

        rights = ua.AttributeIds.UserRolePermissions
        assert granted(await asked(LEVEL, rights)) == point
        assert granted(await asked("ns=2;s=plc1#Diagnostics.Requests", rights)) == other
        server = 1 + 2048 + (2 if user == "ada" else 0)
        assert set(granted(await asked("i=2253", rights)).values()) == {server}
        with pytest.raises(E.BadNodeIdUnknown):
            await asked("ns=2;s=nobody", rights)
        with pytest.raises(E.BadAttributeIdInvalid):
            await asked(LEVEL, ua.AttributeIds.UserExecutable)
        if user == "ada":
            everybody = granted(await asked(LEVEL, ua.AttributeIds.RolePermissions))
            assert everybody[15668] == 1 + 32 + 128 and len(everybody) == 5
        else:
            with pytest.raises(E.BadUserAccessDenied):
                await asked(LEVEL, ua.AttributeIds.RolePermissions)


class Told:
    """What a subscription told last of each attribute, and whether a value came."""

    def __init__(self) -> None:
        self.of: dict[ua.AttributeIds, ua.DataValue] = {}
        self.news = asyncio.Event()

    def datachange_notification(self, _node: Any, _value: Any, data: Any) -> None:
        attribute = data.subscription_data.attribute
        self.of[attribute] = data.monitored_item.Value
        self.news.set()

    async def until(self, attribute: ua.AttributeIds, wanted: Callable[[Any], bool]) -> None:
        async with asyncio.timeout(5):
            while attribute not in self.of or not wanted(self.of[attribute]):
                self.news.clear()
                await self.news.wait()


RIGHTS = (
    ua.AttributeIds.UserAccessLevel,
    ua.AttributeIds.RolePermissions,
    ua.AttributeIds.UserRolePermissions,
    ua.AttributeIds.UserWriteMask,
)


@pytest.mark.parametrize("user", ["olga", "otto", "ada"])
async def test_items_on_rights_tell_the_user_what_a_read_does(
    plant: Plant, lists: TrustFolder, tmp_path: Path, user: str
) -> None:
    trusted(plant.pki_dir, SCADA.write(tmp_path)[1])
    change = ua.NodeId(ua.ObjectIds.Server_RequestServerStateChange)
    items = [(LEVEL, attribute) for attribute in RIGHTS]
    items += [(change.to_string(), ua.AttributeIds.UserExecutable)]
    async with await client_of(plant, SCADA, tmp_path, user) as client:
        told = Told()
        subscription = await client.create_subscription(50, told)
        for name, attribute in items:
            node = client.get_node(name)
            await subscription.subscribe_data_change(node, attribute)
            read = await node.read_attribute(attribute, raise_on_bad_status=False)
            await told.until(
                attribute,
                lambda found, read=read: (
                    (found.Value, found.StatusCode) == (read.Value, read.StatusCode)
                ),
            )
        with pytest.raises(E.BadAttributeIdInvalid):
            await subscription.subscribe_data_change(
                client.get_node(LEVEL), ua.AttributeIds.UserExecutable
            )
        assert told.of[ua.AttributeIds.UserExecutable].Value.Value is (user == "ada")
        assert told.of[ua.AttributeIds.RolePermissions].StatusCode.is_good() is (user == "ada")


async def test_items_on_rights_follow_the_role(
    plant: Plant, lists: TrustFolder, tmp_path: Path
) -> None:
    trusted(plant.pki_dir, SCADA.write(tmp_path)[1])
    sessions, level = plant.server.context.sessions, ua.AttributeIds.UserAccessLevel
    async with await client_of(plant, SCADA, tmp_path, "otto") as client:
        told = Told()
        subscription = await client.create_subscription(50, told)
        await subscription.subscribe_data_change(client.get_node(LEVEL), level)
        await told.until(level, lambda found: found.Value.Value & 2 == 2)
        demoted = replace(PEOPLE["otto"], role=Role.OBSERVER)
        sessions.users_changed(PEOPLE | {"otto": demoted}, GUEST)
        await told.until(level, lambda found: found.Value.Value & 2 == 0)


async def test_methods_are_for_those_whose_role_may_call_them(
    plant: Plant, lists: TrustFolder, tmp_path: Path
) -> None:
    trusted(plant.pki_dir, SCADA.write(tmp_path)[1])
    change = ua.NodeId(ua.ObjectIds.Server_RequestServerStateChange)
    items = ua.NodeId(ua.ObjectIds.Server_GetMonitoredItems)
    executable = ua.AttributeIds.UserExecutable
    async with await client_of(plant, SCADA, tmp_path, "olga") as client:
        server = client.get_node("i=2253")
        with pytest.raises(E.BadUserAccessDenied):
            await server.call_method(change)
        assert (await client.get_node(items).read_attribute(executable)).Value.Value is True
        assert (await client.get_node(change).read_attribute(executable)).Value.Value is False
    async with await client_of(plant, SCADA, tmp_path, "ada") as client:
        assert (await client.get_node(change).read_attribute(executable)).Value.Value is True
        with pytest.raises(E.UaStatusCodeError) as refused:
            await client.get_node("i=2253").call_method(change)
        assert refused.value.code != ua.StatusCodes.BadUserAccessDenied
