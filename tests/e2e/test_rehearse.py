"""A Standby knocks at devices: what it finds, and what it says to whoever shuts the door."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import modbus_peer
import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID
from etcd_members import free_ports
from modbus_peer import (
    CLOSE,
    GARBAGE,
    SILENCE,
    Exc,
    Peer,
    opened,
    registers,
    serve_tcp,
    serve_udp,
    tcp,
    values,
)
from opcua_peer import House as OpcUaHouse
from opcua_peer import OneUser, Plc, open_line, running
from test_modbus_networks import certificate, server_context, tls

from drivers.modbus.rehearsal import remedy_of
from drivers.modbus.settings import ModbusLine
from drivers.opcua.pki import fingerprint
from gateway.driver import DriverContext, Rehearsal
from gateway.model import NS_PER_MS


class Standby(modbus_peer.House):
    """A node that may not poll."""

    def __init__(self, base_dir: Path = Path()) -> None:
        super().__init__(may_send=False, base_dir=base_dir)


DEVICE = modbus_peer.device("plc", registers(7), retries=0)


async def knock(settings: ModbusLine, house: Standby | None = None, **keys: Any) -> Rehearsal:
    spec = replace(DEVICE, settings=DEVICE.settings.model_copy(update=keys)) if keys else DEVICE
    async with opened(house or Standby(), settings, spec) as line:
        return await line.rehearse("plc")


async def test_a_device_that_answers_is_asked_one_read_and_left_again() -> None:
    plc = Peer()
    async with serve_tcp(plc) as port:
        found = await knock(tcp(port))
        assert found == Rehearsal("plc", True, True, f"127.0.0.1:{port} answers")
        assert [pdu[0] for _, pdu in plc.requests] == [3]
        assert plc.connections == 1


async def test_volatile_registers_are_not_touched() -> None:
    plc = Peer()
    spec = modbus_peer.device("plc", registers(7, volatile=True))
    async with serve_tcp(plc) as port, opened(Standby(), tcp(port), spec) as line:
        assert (await line.rehearse("plc")).reached
        assert plc.requests[0][1] == bytes([3, 0, 0, 0, 1])


async def test_udp_and_rtu_over_tcp_are_rehearsed_too() -> None:
    async with serve_udp(Peer()) as port:
        assert (await knock(ModbusLine(udp={"host": "127.0.0.1", "port": port}))).reached
    async with serve_tcp(Peer(rtu=True)) as port:
        over = ModbusLine(rtu_over_tcp={"host": "127.0.0.1", "port": port})
        assert (await knock(over)).reached


async def test_a_serial_line_is_left_alone() -> None:
    async with opened(Standby(), ModbusLine(rtu={}), DEVICE, port="/dev/null") as line:
        found = await line.rehearse("plc")
    assert not found.allowed
    assert not found.reached
    assert "two masters" in found.detail


@pytest.mark.parametrize(
    ("fault", "reached", "said", "remedy"),
    [
        (Exc(2), True, "illegal data address", ""),
        (Exc(11), False, "gateway target", "gateway before it"),
        (SILENCE, False, "unit 1 gives no answer", "unit_id"),
        (GARBAGE, False, "not as expected", "Check the port"),
        (CLOSE, False, "closed", "connections may be in use"),
    ],
    ids=str,
)
async def test_each_way_of_not_answering_is_told_apart(
    fault: Any, reached: bool, said: str, remedy: str
) -> None:
    plc = Peer(rule=lambda unit, pdu: fault)
    async with serve_tcp(plc) as port:
        found = await knock(tcp(port))
    assert found.allowed
    assert found.reached is reached
    assert said in found.detail
    assert remedy in found.remedy
    assert bool(remedy) is bool(found.remedy)


async def test_doors_that_do_not_open_are_told_apart() -> None:
    (nobody,) = free_ports(1)
    found = await knock(tcp(nobody))
    assert "[Errno 111]" in found.detail
    assert "Nothing listens there" in found.remedy
    found = await knock(tcp(nobody, host="no.such.name.invalid"))
    assert "name is not known" in found.remedy
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        found = await knock(tcp(full.getsockname()[1]))
    assert not found.reached
    assert found.remedy


async def test_no_way_and_a_wrong_bind_are_told() -> None:
    assert "no way to it" in remedy_of("10.0.0.1:502: [Errno 113] No route to host")
    assert "no way to it" in remedy_of("10.0.0.1:502: [Errno 22] Invalid argument")
    assert remedy_of("something else") == ""

    class Elsewhere(Standby):
        def context(self) -> DriverContext:
            return replace(super().context(), bind="203.0.113.7")

    found = await knock(tcp(1), Elsewhere())
    assert not found.reached
    assert "`bind:`" in found.remedy


async def test_tls_names_the_certificate_that_the_device_has_to_trust(tmp_path: Path) -> None:
    for name, signer in (("ca", None), ("plc", "ca"), ("gw", "ca"), ("stranger", None)):
        certificate(tmp_path, name, signer)
    async with serve_tcp(Peer(), tls=server_context(tmp_path)) as port:
        assert (await knock(tls(port), Standby(tmp_path))).reached
        found = await knock(tls(port, cert="stranger.crt", key="stranger.key"), Standby(tmp_path))
        assert not found.reached
        assert "let it trust stranger.crt" in found.remedy
        found = await knock(tls(port, ca="stranger.crt"), Standby(tmp_path))
        assert "Set `ca:`" in found.remedy


async def test_a_line_that_polls_is_not_knocked_at_a_second_time() -> None:
    plc, house = Peer(), modbus_peer.House()
    async with serve_tcp(plc) as port, opened(house, tcp(port), DEVICE) as line:
        assert await values(line, "plc") == {0: 7}
        found = await line.rehearse("plc")
        assert (found.reached, found.detail) == (True, "connected: this node polls it")
        assert plc.connections == 1


async def test_no_unsent_byte_of_a_field_socket_outlasts_a_reign() -> None:
    house = modbus_peer.House()

    def reigning() -> DriverContext:
        return replace(modbus_peer.House.context(house), reign_ns=80 * NS_PER_MS)

    house.context = reigning  # type: ignore[method-assign]
    async with serve_tcp(Peer()) as port, opened(house, tcp(port), DEVICE) as line:
        await values(line, "plc")
        sock = line._bus.session._client.ctx.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 80


# ------------------------------------------------------------------------------------ OPC UA

FLOW = {"flow": {"node": "nsu=urn:plc:app;s=Double", "type": "double"}}


@pytest_asyncio.fixture
async def plc(tmp_path: Path) -> AsyncIterator[Plc]:
    """A server that signs and encrypts only, with one user."""
    plc = Plc()
    plc.certificate, plc.key = tmp_path / "plc.der", tmp_path / "plc.pem"
    await setup_self_signed_certificate(
        plc.key, plc.certificate, "urn:plc", "localhost", [ExtendedKeyUsageOID.SERVER_AUTH], {}
    )
    plc.user_manager = OneUser()
    plc.policies = [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
    async with running(plc):
        yield plc


@pytest.fixture
def standby(tmp_path: Path) -> OpcUaHouse:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "plc.pw").write_text("s3cret\n")
    (folder / "wrong.pw").write_text("guess\n")
    return OpcUaHouse(folder, allowed=False)


def secured(plc: Plc, **security: Any) -> dict[str, Any]:
    login = {"user": "gw", "password": {"file": "plc.pw"}}
    return {"endpoint": plc.endpoint, "mode": "poll", "security": login | security}


async def visit(house: OpcUaHouse, settings: dict[str, Any]) -> Rehearsal:
    line = open_line(house, settings, FLOW)
    try:
        return await line.rehearse("plc")
    finally:
        await line.close()


async def test_a_server_that_lets_us_in_is_left_without_a_session(
    plc: Plc, standby: OpcUaHouse
) -> None:
    shutil.copy(str(plc.certificate), standby.base_dir / "plc.der")
    found = await visit(standby, secured(plc, server_certificate="plc.der"))
    assert (found.allowed, found.reached, found.remedy) == (True, True, "")
    assert "lets us in" in found.detail
    sessions = plc.server.iserver.isession
    assert sessions is not None
    assert standby.facts == {}


async def test_certificates_and_passwords_that_do_not_fit_are_told_apart(
    plc: Plc, standby: OpcUaHouse
) -> None:
    found = await visit(standby, secured(plc))
    assert "is not trusted" in found.detail
    assert "rejected" in found.remedy
    wrong = secured(plc, trust_any=True, password={"file": "wrong.pw"})
    found = await visit(standby, wrong)
    assert "BadUserAccessDenied" in found.detail
    assert "password" in found.remedy
    found = await visit(standby, secured(plc, trust_any=True, policy="Aes256_Sha256_RsaPss"))
    assert "does not offer" in found.detail
    assert "It offers" in found.remedy


async def test_a_server_that_does_not_trust_us_gets_the_file_and_fingerprint_to_trust(
    plc: Plc, standby: OpcUaHouse
) -> None:
    async def nobody(certificate: Any, description: Any) -> None:
        raise ua.uaerrors.BadSecurityChecksFailed

    plc.server.set_certificate_validator(nobody)
    plc.server.iserver.certificate_validator = nobody
    found = await visit(standby, secured(plc, trust_any=True))
    own = standby.base_dir / "data" / "pki" / "own" / "client.der"
    assert not found.reached
    assert str(own) in found.remedy
    assert fingerprint(own.read_bytes()) in found.remedy


async def test_servers_that_are_not_there_or_speak_something_else(standby: OpcUaHouse) -> None:
    (nobody,) = free_ports(1)
    plain = {"mode": "poll", "insecure": True, "timeout": "300ms"}
    found = await visit(standby, {"endpoint": f"opc.tcp://127.0.0.1:{nobody}", **plain})
    assert "Nothing listens there" in found.remedy
    found = await visit(standby, {"endpoint": "opc.tcp://no.such.name.invalid:4840", **plain})
    assert "name is not known" in found.remedy

    with socket.socket() as mute:  # the kernel takes connections, nobody reads them
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        port = mute.getsockname()[1]
        found = await visit(standby, {"endpoint": f"opc.tcp://127.0.0.1:{port}", **plain})
        assert "is it an OPC UA server?" in found.remedy


async def test_a_server_without_a_free_session_says_so(plc: Plc, standby: OpcUaHouse) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise ua.uaerrors.BadTooManySessions

    plc.server.iserver.create_session = full
    found = await visit(standby, secured(plc, trust_any=True))
    assert not found.reached
    assert "no session free" in found.remedy


async def test_a_session_that_reads_is_not_doubled(plc: Plc, tmp_path: Path) -> None:
    folder = tmp_path / "main"
    folder.mkdir()
    (folder / "plc.pw").write_text("s3cret\n")
    line = open_line(OpcUaHouse(folder), secured(plc, trust_any=True), FLOW)
    try:
        assert (await line.scan("plc", "normal")).fault is None
        found = await line.rehearse("plc")
        assert (found.reached, found.detail) == (True, "connected: this node reads it")
    finally:
        await line.close()


async def test_no_unsent_byte_of_an_opc_ua_socket_outlasts_a_reign(
    plc: Plc, tmp_path: Path
) -> None:
    (tmp_path / "plc.pw").write_text("s3cret\n")
    house = OpcUaHouse(tmp_path)

    def reigning() -> DriverContext:
        return replace(OpcUaHouse.context(house), reign_ns=80 * NS_PER_MS)

    house.context = reigning  # type: ignore[method-assign]
    line = open_line(house, secured(plc, trust_any=True), FLOW)
    try:
        assert (await line.scan("plc", "normal")).fault is None
        protocol = line._session._client.uaclient.protocol  # type: ignore[union-attr]
        sock = protocol.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 80
    finally:
        await line.close()
