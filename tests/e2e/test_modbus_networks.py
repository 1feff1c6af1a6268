"""The Modbus driver on UDP and TLS, and SunSpec devices."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from modbus_peer import (
    CLOSE,
    SILENCE,
    Exc,
    House,
    Late,
    Peer,
    device,
    opened,
    registers,
    serve_tcp,
    serve_udp,
    tcp,
    values,
)

from drivers.modbus.settings import ModbusLine
from gateway.model import NS_PER_S, Cause, Status


async def test_udp_loses_datagrams_and_takes_no_late_one() -> None:
    peer, house = Peer(), House()
    spec = device("plc", registers(7, 8), timeout="100ms")
    async with serve_udp(peer) as port:
        settings = ModbusLine(udp={"host": "127.0.0.1", "port": port})
        async with opened(house, settings, spec) as line:
            assert await values(line, "plc") == {0: 7, 1: 8}
            for fault in (SILENCE, Late(0.13)):
                peer.script.append(fault)
                line.forget("plc")
                assert await values(line, "plc") == {0: 7, 1: 8}
            assert line.diagnostics("plc").timeouts == 2


def certificate(folder: Path, name: str, signer: str | None = None) -> None:
    """A key and certificate `name`.key and `name`.crt, signed by `signer` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            False,
        )
    )
    if signer is None:
        signed = builder.issuer_name(subject).sign(key, hashes.SHA256())
    else:
        authority = x509.load_pem_x509_certificate((folder / f"{signer}.crt").read_bytes())
        secret = serialization.load_pem_private_key((folder / f"{signer}.key").read_bytes(), None)
        signed = builder.issuer_name(authority.subject).sign(
            secret,  # type: ignore[arg-type]
            hashes.SHA256(),
        )
    (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "plc.crt", folder / "plc.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def tls(port: int, **keys: Any) -> ModbusLine:
    files = {"ca": "ca.crt", "cert": "gw.crt", "key": "gw.key"}
    return ModbusLine(tls={"host": "127.0.0.1", "port": port, **files, **keys})


async def test_tls_shows_our_certificate_and_checks_theirs(tmp_path: Path) -> None:
    certificate(tmp_path, "ca")
    certificate(tmp_path, "plc", "ca")
    certificate(tmp_path, "gw", "ca")
    certificate(tmp_path, "stranger")
    peer, house = Peer(), House(base_dir=tmp_path)
    spec = device("plc", registers(7), timeout="1s", retries=0)
    async with serve_tcp(peer, tls=server_context(tmp_path)) as port:
        async with opened(house, tls(port), spec) as line:
            assert await values(line, "plc") == {0: 7}
            peer.script.append(CLOSE)
            scan = await line.scan("plc", "normal")
            assert scan.fault is not None
            assert await values(line, "plc") == {0: 7}
        async with opened(house, tls(port, server_name="plc"), spec) as line:
            assert await values(line, "plc") == {0: 7}
        for wrong, said in (
            ({"server_name": "other"}, "Set `server_name:`"),
            ({"ca": "stranger.crt"}, "Set `ca:` to what signed the device's certificate"),
            ({"cert": "missing.crt"}, "missing.crt'). Put the file there"),
            ({"key": "stranger.key"}, "don't belong together"),
        ):
            async with opened(house, tls(port, **wrong), spec) as line:
                scan = await line.scan("plc", "normal")
                assert scan.fault is not None
                assert scan.fault.cause is Cause.LINK
                assert said in scan.fault.detail
        stranger = tls(port, cert="stranger.crt", key="stranger.key")
        async with opened(house, stranger, spec) as line:
            scan = await line.scan("plc", "normal")
            assert scan.fault is not None
            assert scan.fault.cause is Cause.LINK
            assert "let it trust stranger.crt" in scan.fault.detail


def sunspec_peer(base: int) -> Peer:
    """A device with model 1 (66 registers), model 103 (50) and the end model from `base` on."""
    peer = Peer()
    words = [0x5375, 0x6E53, 1, 66, *range(66), 103, 50, *range(1000, 1050), 0xFFFF, 0]
    for index, word in enumerate(words):
        peer.words[1, base + index] = word

    def rule(unit: int, pdu: bytes) -> object:
        address = int.from_bytes(pdu[1:3], "big")
        return None if base <= address < base + len(words) else Exc(2)

    peer.rule = rule
    return peer


async def test_sunspec_models_are_found_kept_as_a_fact_and_found_again_when_they_moved() -> None:
    house = House()
    points = {
        "w": {"model": 103, "address": 14},
        "absent": {"model": 201, "address": 2},
    }
    spec = device("inverter", points, sunspec={"bases": [40000, 0]})
    peer = sunspec_peer(0)
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        scan = await line.scan("inverter", "normal")
        assert [(o.point, o.value, o.status) for o in scan.observations] == [
            (0, 1012, Status.GOOD),
            (1, None, Status.BAD_CONFIGURATION_ERROR),
        ]
        assert house.facts["inverter", "sunspec"]["base"] == 0
        assert "201" in line.diagnostics("inverter").notes["sunspec absent"]
    learned = len(house.learned)
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        asked = len(peer.requests)
        assert (await values(line, "inverter"))[0] == 1012
        assert len(peer.requests) - asked == 3
        assert len(house.learned) == learned
    moved = sunspec_peer(40000)
    async with serve_tcp(moved) as port, opened(house, tcp(port), spec) as line:
        assert (await values(line, "inverter"))[0] == 1012
        assert house.facts["inverter", "sunspec"]["base"] == 40000


async def test_sunspec_models_that_an_inverter_refuses_while_it_starts_are_found_later() -> None:
    house, peer = House(), sunspec_peer(40000)
    starting, whole = True, peer.rule
    assert whole is not None

    def starts(unit: int, pdu: bytes) -> object:
        late = int.from_bytes(pdu[1:3], "big") >= 40070
        return Exc(4) if starting and late else whole(unit, pdu)

    peer.rule = starts
    spec = device("inverter", {"w": {"model": 103, "address": 14}})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        assert await values(line, "inverter") == {0: None}
        assert not house.facts["inverter", "sunspec"]["complete"]
        assert "sunspec w" in line.diagnostics("inverter").notes
    starting = False
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        assert await values(line, "inverter") == {0: 1012}
        assert house.facts["inverter", "sunspec"]["complete"]
        assert "sunspec w" not in line.diagnostics("inverter").notes


async def test_sunspec_models_that_move_while_the_connection_stays_are_found_by_a_refusal() -> None:
    points = {"power": {"address": 2, "model": 103}}
    house, peer = House(), sunspec_peer(0)
    there = dict(peer.words)

    def beyond(unit: int, pdu: bytes) -> object:
        address = int.from_bytes(pdu[1:3], "big")
        return None if (unit, address) in peer.words else Exc(2)

    peer.rule = beyond
    spec = device("inverter", points, sunspec={"bases": [40000, 0]})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        before = await values(line, "inverter")
        await values(line, "inverter")
        peer.words = {(unit, address + 40000): word for (unit, address), word in there.items()}
        moved = await line.scan("inverter", "normal")
        assert moved.fault is not None and "not where they were" in moved.fault.detail
        await asyncio.sleep(moved.fault.retry_after_ns / NS_PER_S)  # paces: as the driver asks
        assert await values(line, "inverter") == before
        assert house.facts["inverter", "sunspec"]["base"] == 40000
        assert peer.connections == 1


async def test_a_device_without_the_sunspec_mark_says_so() -> None:
    house, peer = House(), Peer()
    spec = device("inverter", {"w": {"model": 103, "address": 14}})
    async with serve_tcp(peer) as port, opened(house, tcp(port), spec) as line:
        scan = await line.scan("inverter", "normal")
        assert [o.status for o in scan.observations] == [Status.BAD_CONFIGURATION_ERROR]
        assert "no SunSpec mark" in house.alarms[0][2]
