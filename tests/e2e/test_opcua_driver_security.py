"""The OPC UA driver's certificates and logins against a protected server in this process."""

from __future__ import annotations

import asyncio
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID

from drivers.opcua.pki import fingerprint
from gateway.driver import Scan
from gateway.model import Status
from tests.e2e.opcua_peer import URI, Heard, House, OneUser, Plc, open_line, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
FLOW = {"flow": {"node": f"nsu={URI};s=Double", "type": "double"}}
POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plc(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plc]:
    """A server that signs and encrypts only, with one user."""
    folder = tmp_path_factory.mktemp("plc")
    plc = Plc()
    plc.certificate, plc.key = folder / "plc.der", folder / "plc.pem"
    await setup_self_signed_certificate(
        plc.key, plc.certificate, "urn:plc", "localhost", [ExtendedKeyUsageOID.SERVER_AUTH], {}
    )
    plc.user_manager = OneUser()
    kinds = ua.SecurityPolicyType
    plc.policies = [
        kinds.Basic256Sha256_Sign,
        kinds.Basic256Sha256_SignAndEncrypt,
        kinds.Aes128Sha256RsaOaep_SignAndEncrypt,
        kinds.Aes256Sha256RsaPss_SignAndEncrypt,
    ]
    async with running(plc):
        yield plc


@pytest.fixture
def house(tmp_path: Path) -> House:
    (tmp_path / "plc.pw").write_text("s3cret\n")
    (tmp_path / "wrong.pw").write_text("guess\n")
    return House(tmp_path)


def device(plc: Plc, **security: Any) -> dict[str, Any]:
    login = {"user": "gw", "password": {"file": "plc.pw"}}
    return {"endpoint": plc.endpoint, "mode": "poll", "security": login | security}


async def one_scan(house: House, settings: dict[str, Any]) -> Scan:
    line = open_line(house, settings, FLOW)
    try:
        return await line.scan("plc", "normal")
    finally:
        await line.close()


@pytest.mark.parametrize("policy", POLICIES)
async def test_each_policy_signs_encrypts_and_logs_in(plc: Plc, house: House, policy: str) -> None:
    shutil.copy(str(plc.certificate), house.base_dir / "plc.der")
    scan = await one_scan(house, device(plc, policy=policy, server_certificate="plc.der"))
    assert scan.fault is None, scan.fault
    assert scan.observations[0].value == 2.25


async def test_signing_alone_works_and_a_subscription_runs_on_it(plc: Plc, house: House) -> None:
    settings = device(plc, mode="Sign", trust_any=True) | {"mode": "subscribe"}
    async with Heard(open_line(house, settings, FLOW)) as heard:
        await heard.value(0, 2.25)
        await heard.until(lambda d: not d.observations and d.fault is None)
    assert house.texts("any server certificate is accepted")


async def test_an_unknown_certificate_is_refused_and_works_once_it_is_moved_to_the_trusted(
    plc: Plc, house: House
) -> None:
    scan = await one_scan(house, device(plc))
    assert scan.fault is not None
    assert scan.fault.status == Status.BAD_CONFIGURATION_ERROR
    assert plc.certificate is not None
    shown = plc.certificate.read_bytes()
    assert fingerprint(shown) in scan.fault.detail
    (rejected,) = (house.base_dir / "data" / "pki" / "rejected").iterdir()
    assert str(rejected) in scan.fault.detail
    trusted = house.base_dir / "data" / "pki" / "trusted"
    trusted.mkdir()
    rejected.rename(trusted / rejected.name)
    assert (await one_scan(house, device(plc))).fault is None


async def test_a_trust_directory_of_the_site_is_used_and_stray_files_in_it_are_ignored(
    plc: Plc, house: House
) -> None:
    folder = house.base_dir / "trust"
    folder.mkdir()
    (folder / "aaa.der").write_bytes(b"rubbish")
    shutil.copy(str(plc.certificate), folder / "plc.der")
    assert (await one_scan(house, device(plc, trust="trust"))).fault is None


async def test_a_server_that_shows_another_certificate_than_the_pinned_is_refused(
    plc: Plc, house: House
) -> None:
    other = house.base_dir / "other.der"
    key = house.base_dir / "other.pem"
    usage = [ExtendedKeyUsageOID.SERVER_AUTH]
    await setup_self_signed_certificate(key, other, "urn:plc", "localhost", usage, {})
    scan = await one_scan(house, device(plc, server_certificate="other.der") | {"timeout": "1s"})
    assert scan.fault is not None
    assert not scan.observations


async def test_a_wrong_password_is_told_and_not_hammered(plc: Plc, house: House) -> None:
    settings = device(plc, trust_any=True, password={"file": "wrong.pw"})
    scan = await one_scan(house, settings)
    assert scan.fault is not None
    assert scan.fault.status == Status.BAD_USER_ACCESS_DENIED
    assert "password file" in scan.fault.detail
    assert scan.fault.retry_after_ns >= 1_000_000_000


async def test_a_policy_that_the_server_lacks_is_told_with_what_it_offers(
    plc: Plc, house: House
) -> None:
    settings = device(plc, policy="Aes128_Sha256_RsaOaep", mode="Sign", trust_any=True)
    scan = await one_scan(house, settings)
    assert scan.fault is not None
    assert "Basic256Sha256 SignAndEncrypt" in scan.fault.detail


@pytest.mark.parametrize(
    ("security", "part"),
    [
        ({"password": {"file": "gone.pw"}, "trust_any": True}, "password file"),
        ({"server_certificate": "gone.der"}, "server certificate"),
        ({"certificate": "plc.pw", "key": "plc.pw", "trust_any": True}, "no certificate"),
    ],
)
async def test_files_that_can_not_be_used_are_named(
    plc: Plc, house: House, security: dict[str, Any], part: str
) -> None:
    scan = await one_scan(house, device(plc, **security))
    assert scan.fault is not None
    assert part in scan.fault.detail
    assert scan.fault.status == Status.BAD_CONFIGURATION_ERROR


async def test_our_own_certificate_is_made_once_and_its_key_is_for_us_alone(
    plc: Plc, house: House
) -> None:
    settings = device(plc, trust_any=True)
    lines = [open_line(house, settings, FLOW) for _ in range(3)]
    scans = await asyncio.gather(*(line.scan("plc", "normal") for line in lines))
    assert [scan.fault for scan in scans] == [None] * 3
    await asyncio.gather(*(line.close() for line in lines))
    own = house.base_dir / "data" / "pki" / "own"
    before = (own / "client.der").read_bytes()
    assert stat.S_IMODE((own / "client.key").stat().st_mode) == 0o600
    assert (await one_scan(house, settings)).fault is None
    assert (own / "client.der").read_bytes() == before


async def test_without_protection_nothing_is_said_unless_the_site_insists(
    plc: Plc, house: House
) -> None:
    scan = await one_scan(house, {"endpoint": plc.endpoint, "mode": "poll"})
    assert scan.fault is not None
    assert "insecure: true" in scan.fault.detail
    assert scan.fault.status == Status.BAD_CONFIGURATION_ERROR
