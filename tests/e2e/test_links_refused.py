"""What doesn't match is refused, and both nodes say the same clear thing, once, and in status."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from link_rig import Node, ends, free_port, make_certificates, node_of, pair, started, tls, until

from gateway.config.node import HostPort, LinkTls
from gateway.errors import ControlError
from gateway.model import NS_PER_S
from gateway.pair import hello
from gateway.pair.tls import Security
from gateway.pair.wire import FrameReader, frame


def secret(folder: Path, *nodes: str) -> None:
    for node in nodes:
        (folder / f"{node}.key").chmod(0o600)


def make_dated(folder: Path, node: str, from_days: float, to_days: float, issuer: str = "") -> None:
    """A certificate with dates relative to now, signed by `issuer`'s key, else its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    by, signer = name, key
    if issuer:
        text = (folder / f"{issuer}.key").read_bytes()
        signer = serialization.load_pem_private_key(text, None)  # type: ignore[assignment]
        by = x509.load_pem_x509_certificate((folder / f"{issuer}.crt").read_bytes()).subject
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=from_days))
        .not_valid_after(now + timedelta(days=to_days))
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{node}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{node}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


Make = Callable[[Path], tuple[Node, Node]]


def wrong_certificate(folder: Path) -> tuple[Node, Node]:
    make_certificates(folder, "a", "b", "old_b")
    at_a, at_b = ends()
    return (
        node_of("a", at_a, at_b, tls(folder, "a", "b")),
        node_of("b", at_b, at_a, tls(folder, "old_b", "a")),
    )


def expired(folder: Path) -> tuple[Node, Node]:
    make_certificates(folder, "a")
    make_dated(folder, "b", -30, -2)
    at_a, at_b = ends()
    return (
        node_of("a", at_a, at_b, tls(folder, "a", "b")),
        node_of("b", at_b, at_a, tls(folder, "b", "a")),
    )


def not_yet_valid(folder: Path) -> tuple[Node, Node]:
    make_certificates(folder, "a")
    make_dated(folder, "b", 2, 30)
    at_a, at_b = ends()
    return (
        node_of("a", at_a, at_b, tls(folder, "a", "b")),
        node_of("b", at_b, at_a, tls(folder, "b", "a")),
    )


def signed_by_the_peer(folder: Path) -> tuple[Node, Node]:
    make_certificates(folder, "a", "b")
    make_dated(folder, "evil", -1, 30, issuer="b")
    at_a, at_b = ends()
    return (
        node_of("a", at_a, at_b, tls(folder, "a", "b")),
        node_of("b", at_b, at_a, tls(folder, "evil", "a")),
    )


def one_without_tls(folder: Path) -> tuple[Node, Node]:
    make_certificates(folder, "a", "b")
    at_a, at_b = ends()
    return node_of("a", at_a, at_b, tls(folder, "a", "b")), node_of("b", at_b, at_a)


def other_site(folder: Path) -> tuple[Node, Node]:
    at_a, at_b = ends()
    return node_of("a", at_a, at_b), node_of("b", at_b, at_a, site="harbour")


def same_id(folder: Path) -> tuple[Node, Node]:
    at_a, at_b = ends()
    return node_of("a", at_a, at_b), node_of("a", at_b, at_a, boot=5)


def same_process(folder: Path) -> tuple[Node, Node]:
    at_a, at_b = ends()
    return node_of("a", at_a, at_b, boot=5), node_of("a", at_b, at_a, boot=5)


@pytest.mark.parametrize(
    ("make", "at_a", "at_b"),
    [
        (
            wrong_certificate,
            "the certificate shown there is not the one in b.crt",
            "the peer refuses this node's certificate old_b.crt",
        ),
        (
            expired,
            "the peer's certificate b.crt (b) expired at ",
            "this node's certificate b.crt (b) expired at ",
        ),
        (
            not_yet_valid,
            "the peer's certificate b.crt (b) is valid from ",
            "by the peer's clock this node's certificate b.crt (b) is not valid yet",
        ),
        (
            signed_by_the_peer,
            "the certificate shown there is not the one in b.crt",
            "the peer refuses this node's certificate evil.crt",
        ),
        (one_without_tls, "speaks no TLS", "one side of the link has no TLS"),
        (
            other_site,
            "of another site: `harbour`, this one of `plant`",
            "of another site: `plant`, this one of `harbour`",
        ),
        (same_id, "has the id of this one, `a`", "has the id of this one, `a`"),
        (same_process, "this node dials itself", "this node dials itself"),
    ],
)
async def test_both_nodes_say_what_does_not_match(
    tmp_path: Path, make: Make, at_a: str, at_b: str
) -> None:
    a, b = make(tmp_path)
    async with started(a, b):
        await until(lambda: at_a in a.link()["refused_why"] and at_b in b.link()["refused_why"])
        await until(lambda: a.said(at_a) and b.said(at_b))
        for node in (a, b):
            node.beat()
            node.links.drain()
            assert not node.up and not node.heard and not node.refused[10:]
            lines = [line for severity, line in node.alarms if severity >= 600]
            assert 1 <= len(lines) <= 4, lines
            assert all(line.count("\n") == 0 and len(line) < 400 for line in lines)


async def test_no_common_protocol_version_is_told_on_both() -> None:
    newer = hello.Hello(2, 3, "plant", "b", 9, "heartbeat", "", "9.0.0")
    words = hello.MAGIC + frame(hello.encode_hello(newer))
    answers: list[hello.Hello] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        frames = FrameReader(greeting=True)
        while data := await reader.read(4_096):
            frames.feed(data)
            if (body := frames.next()) is not None:
                answers.append(hello.decode_hello(body))
                break
        writer.close()

    server = await asyncio.start_server(speak, "127.0.9.2", 0)
    there = HostPort("127.0.9.2", server.sockets[0].getsockname()[1])
    at_a, _ = ends()
    a = node_of("a", at_a, (there,))
    told = "no common protocol version: node b (Hotpair 9.0.0) speaks 2 to 3, this one 1 to 1"
    async with server, started(a):
        await until(lambda: told in a.link()["refused_why"])
        await until(lambda: answers)
        answers.clear()
        await speak(*await asyncio.open_connection(*at_a[0]))
        assert told in answers[0].refusal
        with pytest.raises(hello.HelloRefused, match="no common protocol version"):
            hello.judge(newer, answers[0])


async def test_a_mended_refusal_is_forgotten(tmp_path: Path) -> None:
    at_a, at_b = ends()
    a, wrong = node_of("a", at_a, at_b), node_of("b", at_b, at_a, site="harbour")
    b = node_of("b", at_b, at_a)
    async with started(a):
        async with started(wrong):
            await until(lambda: "another site" in a.link()["refused_why"])
        async with started(b):
            await until(lambda: a.up and b.up)
            await until(lambda: a.link()["refused_why"] == "")


async def test_what_is_no_hotpair_node_is_told_to_whoever_dials_it(tmp_path: Path) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(web, "127.0.9.2", 0)
    there = HostPort("127.0.9.2", server.sockets[0].getsockname()[1])
    make_certificates(tmp_path, "a", "b")
    plain = node_of("a", ends()[0], (there,))
    secured = node_of("a", ends()[0], (there,), tls(tmp_path, "a", "b"))
    async with server, started(plain, secured):
        await until(lambda: "no Hotpair node: 'HTTP/1.1" in plain.link()["refused_why"])
        await until(lambda: "speaks no TLS" in secured.link()["refused_why"])


async def test_a_name_of_the_peer_is_looked_up(tmp_path: Path) -> None:
    make_certificates(tmp_path, "a", "b")
    port = free_port()
    at_b = (HostPort("localhost", port),)
    at_a = (HostPort("127.0.9.1", free_port("127.0.9.1")),)
    a, b = node_of("a", at_a, at_b), node_of("b", (HostPort("127.0.0.1", port),), at_a)
    no_name = (HostPort("gw..b", port),)
    lost = node_of("a", (HostPort("127.0.9.3", port),), no_name, tls(tmp_path, "a", "b"))
    async with started(a, b, lost):
        await until(lambda: a.up == [f"localhost:{port}"] and b.up)
        await until(lambda: "gw..b can't be resolved" in lost.link()["refused_why"])
        assert not lost.refused


async def test_a_port_where_nobody_speaks_is_told(tmp_path: Path) -> None:
    silent = socket.create_server(("127.0.9.2", 0))
    there = HostPort("127.0.9.2", silent.getsockname()[1])
    a = node_of("a", ends()[0], (there,))
    with silent:
        async with started(a):
            await until(lambda: a.link()["refused_why"] == "no answer")
            assert not a.refused


async def test_an_old_tls_version_or_no_certificate_is_a_stranger(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        host, port = b.links._link.listen[0]
        for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.maximum_version = newest
            before = b.link()["strangers"]
            try:
                reader, writer = await asyncio.open_connection(host, port, ssl=context)
                assert await reader.read() == b""
                writer.close()
            except (ssl.SSLError, ConnectionError):
                pass
            await until(lambda before=before: b.link()["strangers"] == before + 1)
        assert b.said("unsupported protocol") and b.said("it shows no certificate")
        assert a.up and b.up and not b.link()["refused_why"]


def test_the_peer_learns_whose_clock_is_wrong(tmp_path: Path) -> None:
    make_certificates(tmp_path, "a", "b")
    security = Security(tls(tmp_path, "a", "b"))
    error = ssl.SSLError(1, "[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert")
    error.reason = "SSLV3_ALERT_CERTIFICATE_EXPIRED"
    why = security.explain(error, 0)
    assert "by the peer's clock" in str(why) and "Set the clocks" in why.remedy


def test_certificates_are_warned_of_a_month_ahead(tmp_path: Path) -> None:
    make_dated(tmp_path, "a", -1, 29)
    make_dated(tmp_path, "b", -1, 31)
    secret(tmp_path, "a")
    security = Security(tls(tmp_path, "a", "b"))
    now_ns = int(datetime.now(UTC).timestamp()) * NS_PER_S
    (text,) = security.warnings(now_ns)
    assert "a.crt (a) will expire at" in text
    both = security.warnings(now_ns + 40 * 86_400 * NS_PER_S)
    assert len(both) == 2 and "b.crt (b) expired at" in both[1]
    (tmp_path / "a.key").chmod(0o640)
    assert "others can read" in security.warnings(now_ns)[-1]


def test_files_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    make_certificates(tmp_path, "a", "b")
    good = tls(tmp_path, "a", "b")
    with pytest.raises(ControlError, match="can't be read"):
        Security(LinkTls(cert=tmp_path / "nothing.crt", key=good.key, peer_cert=good.peer_cert))
    with pytest.raises(ControlError, match="is not the key of"):
        Security(LinkTls(cert=good.cert, key=tmp_path / "b.key", peer_cert=good.peer_cert))
    with pytest.raises(ControlError, match="private key, not a certificate"):
        Security(LinkTls(cert=good.key, key=good.key, peer_cert=good.peer_cert))
