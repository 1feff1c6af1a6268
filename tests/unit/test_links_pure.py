"""The pure parts of the links: first words, frames, pace, certificates."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.config.node import HostPort, Link, LinkSerial, LinkTls, NodeFile, node_config
from gateway.errors import PeerError
from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair import pace, wire
from gateway.pair.certificate import belongs, make_identity, read_certificate
from gateway.pair.hello import (
    HELLO_SIZE_MAX,
    MAGIC,
    NOBODY,
    Hello,
    HelloRefused,
    LinkIdentity,
    check_answer,
    check_dialler,
    decode_hello,
    encode_hello,
    hello_of,
    judge,
    refusal_of,
)
from gateway.pair.pace import (
    EAGER_NS,
    PATIENT_NS,
    Redialling,
    Standing,
    Told,
    best_first,
    redial_ns,
)

A = hello_of(LinkIdentity("plant", "a", 1, "0.1.0"), "heartbeat", "10.0.9.2:7700")
B = hello_of(LinkIdentity("plant", "b", 2, "0.2.0"), "heartbeat")


def changed(hello: Hello, **changes: object) -> Hello:
    return msgspec.structs.replace(hello, **changes)


# --------------------------------------------------------------------------------- first words


def test_two_nodes_of_a_site_agree_on_the_newest_protocol_both_speak() -> None:
    assert judge(A, B) == 1
    assert judge(changed(A, oldest=2, newest=5), changed(B, oldest=1, newest=3)) == 3
    assert judge(changed(A, newest=3), changed(B, oldest=3, newest=9)) == 3


def test_a_node_that_was_shown_no_proof_refuses_without_its_name() -> None:
    refusal = refusal_of(NOBODY, HelloRefused("one side has no TLS", "Give both `tls:`"))
    assert not refusal.site and not refusal.node and not refusal.version
    with pytest.raises(HelloRefused, match="the node there refuses: one side has no TLS"):
        judge(A, refusal)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (changed(B, boot=1), "dials itself"),
        (changed(B, site="harbour"), "another site: `harbour`, this one of `plant`"),
        (changed(B, node="a"), "the id of this one, `a`"),
        (changed(B, oldest=2, newest=4), "no common protocol version: node b (Hotpair 0.2.0)"),
        (changed(B, refusal="too many", remedy="Wait"), "node b refuses: too many. Wait"),
    ],
)
def test_what_does_not_match_is_refused_with_a_reason(theirs: Hello, message: str) -> None:
    with pytest.raises(HelloRefused) as why:
        judge(A, theirs)
    assert message in str(why.value)
    assert why.value.remedy and not why.value.stranger


@given(*[st.builds(Hello, *[st.integers(0, 9)] * 2, *[st.sampled_from("ab")] * 2,
                   st.integers(1, 3), st.just("k"))] * 2)  # fmt: skip
def test_both_sides_come_to_the_same_judgement(one: Hello, other: Hello) -> None:
    def verdict(mine: Hello, theirs: Hello) -> int | None:
        try:
            return judge(mine, theirs)
        except HelloRefused:
            return None

    assert verdict(one, other) == verdict(other, one)


def test_a_hello_of_a_later_version_with_more_fields_is_still_read() -> None:
    longer = msgspec.msgpack.encode([*msgspec.structs.astuple(A), "new", {"more": 1}])
    assert decode_hello(longer) == A
    assert decode_hello(encode_hello(B)) == B
    with pytest.raises(HelloRefused, match="can't be read"):
        decode_hello(b"\xc1")


def test_a_refusal_is_short_whatever_its_text() -> None:
    me = LinkIdentity("s", "a", 1, "v")
    refusal = refusal_of(me, HelloRefused("x" * 9_000, "y" * 9_000))
    assert len(encode_hello(refusal)) < HELLO_SIZE_MAX


@pytest.mark.parametrize(
    ("check", "message", "stranger"),
    [
        (lambda: check_dialler(MAGIC, True), "no TLS: the node that dials", False),
        (lambda: check_dialler(b"\x16\x03\x01", False), "no TLS: the node that listens", False),
        (lambda: check_dialler(b"GET / HTTP/1.1\r\n\r\n", True), "'GET / HTTP/1.1", True),
        (lambda: check_dialler(b"\x00", False), "no Hotpair node's: '\\x00'", True),
        (lambda: check_answer(b"\x15\x03"), "no TLS: the node that dials", False),
        (lambda: check_answer(b"SSH-2.0"), "no Hotpair node: 'SSH-2.0'", False),
    ],
)
def test_what_speaks_another_language_is_told_by_its_first_bytes(
    check: Callable[[], None], message: str, stranger: bool
) -> None:
    with pytest.raises(HelloRefused) as why:
        check()
    assert message in str(why.value) and why.value.stranger is stranger


def test_the_first_bytes_of_a_node_pass_even_one_by_one() -> None:
    check_dialler(b"\x16", True)
    check_dialler(b"H", False)
    check_answer(b"HO")


# -------------------------------------------------------------------------------------- frames


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_cutting_of_the_stream(bodies: list[bytes], cuts: list[int]) -> None:
    data = MAGIC + b"".join(map(wire.frame, bodies))
    reader, found, place, number = wire.FrameReader(greeting=True), [], 0, 0
    while place < len(data):
        size = cuts[number % len(cuts)]
        reader.feed(data[place : place + size])
        while (body := reader.next()) is not None:
            found.append(body)
        place, number = place + size, number + 1
    assert found == bodies


@given(st.binary(max_size=2_000))
def test_garbage_is_an_error_or_nothing_and_is_not_hoarded(data: bytes) -> None:
    reader = wire.FrameReader(size_max=1_000)
    try:
        reader.feed(data)
        while reader.next() is not None:
            pass
    except wire.WireError as error:
        assert "larger than" in str(error)


def test_before_the_hello_only_a_small_frame_is_taken() -> None:
    reader = wire.FrameReader(greeting=True)
    reader.feed(MAGIC + (HELLO_SIZE_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(wire.WireError, match="larger than"):
        reader.next()
    reader = wire.FrameReader(greeting=True)
    reader.feed(b"NOPE")
    with pytest.raises(wire.WireError, match="no Hotpair link"):
        reader.next()
    reader = wire.FrameReader(greeting=True)
    reader.feed(MAGIC + wire.frame(b"hello") + wire.frame(b"x" * 9_000))
    assert (reader.next(), reader.next()) == (b"hello", b"x" * 9_000)


def test_beats_and_echoes_are_told_apart() -> None:
    reader = wire.FrameReader()
    reader.feed(wire.beat(7, b"heartbeat") + wire.echo(7))
    bodies = [reader.next() or b"", reader.next() or b""]
    assert list(map(wire.read_message, bodies)) == [wire.Beat(7, b"heartbeat"), wire.Echo(7)]
    for bad in (b"", b"\x01\x02", b"\x09" + bytes(8)):
        with pytest.raises(wire.WireError):
            wire.read_message(bad)


# ----------------------------------------------------------------------------------- questions


@given(st.integers(0, 5))
def test_a_body_comes_whole_out_of_its_pieces(times: int) -> None:
    body = bytes(range(256)) * (wire.PIECE_SIZE // 256) * times + b"end" * (times % 2)
    parts = wire.Pieces()
    whole = [parts.add(piece) for piece in wire.pieces(body)]
    assert whole[-1] == body and not any(whole[:-1])


def test_a_body_has_a_limit_on_both_sides() -> None:
    parts = wire.Pieces()
    with pytest.raises(wire.WireError):
        parts.add(b"\7x")
    with pytest.raises(wire.WireError):
        parts.add(b"")
    for _ in range(wire.BODY_SIZE_MAX // (1 << 22)):
        parts.add(b"\1" + bytes(1 << 22))
    with pytest.raises(wire.WireError):
        parts.add(b"\0xx")
    with pytest.raises(PeerError, match="64 MiB are too much"):
        wire.encode_question("apply", b"x" * wire.BODY_SIZE_MAX)


def test_questions_and_answers_are_what_messagepack_carries() -> None:
    question = wire.decode_question(wire.encode_question("apply", {"files": {"a": "b"}}))
    assert question == wire.Question("apply", {"files": {"a": "b"}})
    answer = wire.Answer(False, None, "no", "Ask the Main")
    assert wire.decode_answer(wire.encode_answer(answer)) == answer
    with pytest.raises(PeerError, match="can't be told"):
        wire.encode_answer(wire.Answer(True, object()))
    with pytest.raises(wire.WireError):
        wire.decode_question(b"\xc1")
    with pytest.raises(wire.WireError):
        wire.decode_answer(b"\x91\x07")


# ---------------------------------------------------------------------------------------- pace


def test_a_path_is_dialled_eagerly_then_patiently_and_slowly_when_refused() -> None:
    assert redial_ns(0, False) == redial_ns(2 * NS_PER_S - 1, False) == 20 * NS_PER_MS
    assert redial_ns(2 * NS_PER_S, False) == 200 * NS_PER_MS
    assert redial_ns(0, True) == NS_PER_S


@pytest.mark.parametrize("stood_ns", [PATIENT_NS, NS_PER_S, 60 * NS_PER_S])
def test_a_path_that_fell_is_dialled_at_once_and_eagerly_however_short_it_stood(
    stood_ns: int,
) -> None:
    redialling = Redialling(0)
    began_ns = 60 * NS_PER_S  # the peer's node took a while to start
    fell_ns = began_ns + stood_ns
    assert redialling.pause_ns(began_ns, fell_ns, stood=True, refused=False) == 0
    reset_ns = fell_ns + NS_PER_MS  # accepted and reset by a kernel that closes the listener
    assert redialling.pause_ns(fell_ns, reset_ns, False, False) == EAGER_NS - NS_PER_MS


def test_a_path_that_flaps_keeps_its_pace_and_a_slow_attempt_is_not_waited_for() -> None:
    redialling = Redialling(0)
    began_ns = 60 * NS_PER_S
    flapped_ns = began_ns + PATIENT_NS // 2
    assert redialling.pause_ns(began_ns, flapped_ns, True, False) == PATIENT_NS // 2
    assert redialling.pause_ns(began_ns, began_ns + NS_PER_S, False, False) == 0


def test_bulk_goes_by_the_quickest_path_and_jitter_does_not_decide() -> None:
    slow = Standing("slow", 40 * NS_PER_MS, 1)
    new = Standing("new", 200_000, 9)
    old = Standing("old", 900_000, 2)
    assert best_first([slow, new, old]) == ["old", "new", "slow"]
    assert best_first([]) == []


def test_the_same_line_is_told_once_and_few_lines_a_minute() -> None:
    told, minute_ns = Told(), pace.LINES_WITHIN_NS
    assert told.news(0, "x", "down") == "down"
    assert told.news(1, "x", "down") is None
    assert told.news(2, "x", "up") == "up"
    assert told.news(3, "y", "down") == "down"
    assert told.news(3 + pace.SAME_WITHIN_NS, "y", "down") == "down"
    told.over("y")
    assert told.news(4 + pace.SAME_WITHIN_NS, "y", "down") == "down"
    lines = [told.news(10 + n, "flood", str(n)) for n in range(100)]
    assert lines[: pace.LINES_MAX] == [str(n) for n in range(pace.LINES_MAX)]
    assert not any(lines[pace.LINES_MAX :])
    assert told.news(minute_ns + 20, "flood", "n") == "n (94 more held back)"


def test_few_names_are_remembered() -> None:
    told = Told()
    for number in range(10 * pace.NAMES_MAX):
        assert told.news(number, f"host {number}", "stranger") is not None
    assert told.news(99_999, f"host {10 * pace.NAMES_MAX - 1}", "stranger") is None
    assert told.news(99_999, "host 0", "stranger") is not None


# -------------------------------------------------------------------------------- certificates


def test_a_certificate_is_made_read_and_belongs_to_its_key_only() -> None:
    now_ns = time.time_ns()
    a, b = make_identity("a", now_ns, 10), make_identity("b", now_ns)
    read = read_certificate(a.certificate_pem.decode())
    assert read.name == "a" and len(read.fingerprint) == 16
    assert read.valid_from_ns == 0
    assert 9 * 86_400 < (read.valid_until_ns - now_ns) / NS_PER_S <= 10 * 86_400
    assert belongs(a.key_pem.decode(), a.certificate_pem.decode())
    assert not belongs(b.key_pem.decode(), a.certificate_pem.decode())
    assert read.der != read_certificate(b.certificate_pem.decode()).der


def test_what_is_no_key_or_certificate_is_named() -> None:
    made = make_identity("a", time.time_ns())
    key, certificate = made.key_pem.decode(), made.certificate_pem.decode()
    with pytest.raises(ValueError, match="private key, not a certificate"):
        read_certificate(key)
    with pytest.raises(ValueError, match="no readable PEM certificate"):
        read_certificate("hello")
    with pytest.raises(ValueError, match="certificate, not a private key"):
        belongs(certificate, certificate)
    with pytest.raises(ValueError, match="no readable PEM private key"):
        belongs("hello", certificate)
    with pytest.raises(ValueError, match="has a password"):
        belongs(_locked(), certificate)


def _locked() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    ).decode()


def _nameless() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Somebody")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key())
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
    made = builder.not_valid_after(datetime(2040, 1, 1, tzinfo=UTC)).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_certificate_without_a_common_name_is_named_by_all_it_says() -> None:
    assert read_certificate(_nameless()).name == "O=Somebody"


# ------------------------------------------------------------------------------- configuration


ENDS = {"listen": "127.0.9.1:7700", "peer": ["127.0.9.2:7700"]}


def test_one_address_or_a_list_of_them() -> None:
    link = Link.model_validate(ENDS | {"peer": "127.0.9.2:7700"})
    assert link.listen == (HostPort("127.0.9.1", 7700),)
    assert link.path_names == ("127.0.9.2:7700",)
    two = Link.model_validate(ENDS | {"listen": ["127.0.9.1:7700", "[::1]:7701"]})
    assert len(two.listen) == 2
    given = Link(listen=two.listen, peer=HostPort("127.0.0.1", 1))  # type: ignore[arg-type]
    assert given.listen == two.listen and given.peer == (HostPort("127.0.0.1", 1),)


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (ENDS | {"peer": ["127.0.9.2:7700"] * 2}, "`peer` has an address twice"),
        (ENDS | {"listen": ["127.0.9.1:7700"] * 2}, "`listen` has an address twice"),
        (ENDS | {"peer": ["127.0.9.1:7700"]}, "this node's own address 127.0.9.1:7700"),
        (ENDS | {"peer": ["0.0.0.0:7700"]}, "no address of a node"),
        (ENDS | {"listen": "0.0.0.0:7700"}, "needs TLS"),
        (ENDS | {"peer": []}, "at least 1"),
        (ENDS | {"peer": [f"127.0.9.2:{n}" for n in range(1, 10)]}, "at most 8"),
        (ENDS | {"serial": {"port": "/dev/ttyS1", "baudrate": 1200}}, "9600"),
    ],
)
def test_a_link_that_leads_nowhere_is_refused(link: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Link.model_validate(link)


def test_files_and_ports_of_a_link_lie_beside_node_yaml() -> None:
    tls = LinkTls(cert=Path("a.crt"), key=Path("a.key"), peer_cert=Path("/etc/b.crt"))
    serial = LinkSerial(port="tty")
    link = Link.model_validate(ENDS).model_copy(update={"tls": tls, "serial": serial})
    model = NodeFile(node="a", data_dir=Path("d")).model_copy(update={"link": link})
    config = node_config(Path("/plant/node.yaml"), model)
    assert config.link is not None and config.link.tls is not None and config.link.serial
    assert config.link.tls.cert == Path("/plant/a.crt")
    assert config.link.tls.peer_cert == Path("/etc/b.crt")
    assert config.link.serial.port == "/plant/tty"
