"""Passwords, log-ins and the certificate."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from gateway.model import NS_PER_S
from gateway.server import logins as logins_module
from gateway.server.certificate import load_identity
from gateway.server.logins import FREE_FAILURES, Logins, LoginThrottled
from gateway.server.passwords import NOBODY, hash_password, verify_password
from gateway.server.settings import Role, User

STORED = hash_password("correct horse", b"0123456789abcdef")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


class StillClock:
    def __init__(self) -> None:
        self.now_ns = 0

    def utc_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


def make() -> tuple[Logins, StillClock]:
    clock = StillClock()
    return Logins({"alice": User("alice", Role.OPERATOR, STORED)}, clock), clock


def test_a_password_fits_its_own_hash_only() -> None:
    assert verify_password("correct horse", STORED)
    assert not verify_password("wrong horse", STORED)
    assert not verify_password("", NOBODY)


def test_two_hashes_of_one_password_differ() -> None:
    assert hash_password("x") != hash_password("x")


@pytest.mark.parametrize(
    "stored",
    ["", "plain", "scrypt$1", "md5$16384$8$1$AAAA$AAAA", "scrypt$3$8$1$AAAA$AAAA",
     "scrypt$16384$8$1$??$??", "scrypt$x$8$1$AAAA$AAAA", "scrypt$1073741824$8$1$AAAA$AAAA"],
)  # fmt: skip
def test_a_line_that_is_no_hash_fits_no_password(stored: str) -> None:
    assert not verify_password("x", stored)


async def test_a_user_logs_in_and_the_second_time_costs_nothing() -> None:
    logins, _ = make()
    first = await logins.check("alice", "correct horse", "10.0.0.1")
    assert first is not None
    assert first.role is Role.OPERATOR
    verified = len(logins._verified)
    assert await logins.check("alice", "correct horse", "10.0.0.1") is first
    assert len(logins._verified) == verified == 1


async def test_wrong_names_and_wrong_passwords_get_the_same_answer() -> None:
    logins, _ = make()
    assert await logins.check("mallory", "correct horse", "10.0.0.1") is None
    assert await logins.check("alice", "wrong", "10.0.0.1") is None
    assert await logins.check("alice", "x" * 5000, "10.0.0.1") is None


async def test_failures_slow_their_peer_down_and_nobody_else() -> None:
    logins, clock = make()
    for _ in range(FREE_FAILURES + 1):
        assert await logins.check("alice", "wrong", "10.0.0.66") is None
    with pytest.raises(LoginThrottled):
        await logins.check("alice", "guess", "10.0.0.66")
    assert await logins.check("alice", "correct horse", "10.0.0.1") is not None
    clock.now_ns += 2 * NS_PER_S
    assert await logins.check("alice", "wrong", "10.0.0.66") is None
    clock.now_ns += NS_PER_S
    with pytest.raises(LoginThrottled):
        await logins.check("alice", "guess", "10.0.0.66")


async def test_guesses_sent_all_at_once_are_slowed_down_too() -> None:
    logins, _ = make()
    results = await asyncio.gather(
        *(logins.check("alice", f"guess {n}", "10.0.0.66") for n in range(12)),
        return_exceptions=True,
    )
    assert sum(found is None for found in results) == FREE_FAILURES + 1
    assert sum(isinstance(found, LoginThrottled) for found in results) == 12 - FREE_FAILURES - 1


async def test_who_waits_behind_the_first_log_in_of_the_same_user_is_not_verified_again() -> None:
    logins, _ = make()
    guesses = [logins.check("alice", f"guess {n}", "10.0.0.1") for n in range(FREE_FAILURES + 1)]
    known = [logins.check("alice", "correct horse", f"10.0.0.{n}") for n in (2, 1)]
    *refused, first, second = await asyncio.gather(*guesses, *known)
    assert refused == [None] * len(guesses)
    assert first is not None
    assert second is first, "the peer waits after its guesses, but this password is known by now"


async def test_a_lock_out_is_told_when_it_begins_when_it_is_longest_and_each_hour() -> None:
    clock, told = StillClock(), list[tuple[int, str]]()
    users = {"alice": User("alice", Role.OPERATOR, STORED)}
    logins = Logins(users, clock, lambda severity, text: told.append((severity, text)))
    for _ in range(FREE_FAILURES + 60):
        assert await logins.check("mallory" * 50, "x" * 5000, "10.0.0.66") is None
        with contextlib.suppress(LoginThrottled):
            await logins.check("mallory", "x" * 5000, "10.0.0.66")
        clock.now_ns += 61 * NS_PER_S
    waits = [text.rpartition("after ")[2] for _, text in told]
    assert waits == ["1 s", "60 s", "60 s"]
    assert "from 10.0.0.66 failed, the last one as 'mallory" in told[0][1]
    assert len(told[0][1]) < 200
    assert {severity for severity, _ in told} == {600}


async def test_failures_of_long_ago_are_forgotten() -> None:
    logins, clock = make()
    for _ in range(3 * FREE_FAILURES):
        assert await logins.check("alice", "x" * 5000, "10.0.0.7") is None
        clock.now_ns += 1000 * NS_PER_S


async def test_only_so_many_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins_module, "WAITING_MAX", 2)
    logins, _ = make()
    results = await asyncio.gather(
        *(logins.check("alice", "correct horse ", f"10.0.0.{n}") for n in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(found, LoginThrottled) for found in results) == 2


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins_module, "REMEMBERED_MAX", 3)
    logins, _ = make()
    for number in range(6):
        await logins.check("alice", "x" * 5000, f"10.0.0.{number}")
    assert len(logins._failures) == 3


def names_in(der: bytes) -> set[str]:
    certificate = x509.load_der_x509_certificate(der)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in found.value}


def test_a_certificate_is_made_once_and_names_everything(tmp_path: Path) -> None:
    names = ["gw.plant", "127.0.0.1", "::1"]
    first = load_identity(tmp_path, "urn:hotpair:s:a", names, NOW)
    assert names_in(first.certificate_der) == {"urn:hotpair:s:a", *names}
    assert first.valid_until > NOW + timedelta(days=3000)
    assert (tmp_path / "own" / "key.pem").stat().st_mode & 0o077 == 0
    again = load_identity(tmp_path, "urn:hotpair:s:a", names[:1], NOW)
    assert again == first


def test_a_new_name_or_a_near_end_makes_a_new_certificate_for_the_same_key(tmp_path: Path) -> None:
    first = load_identity(tmp_path, "urn:hotpair:s:a", ["gw.plant"], NOW)
    second = load_identity(tmp_path, "urn:hotpair:s:a", ["gw.plant", "10.0.0.9"], NOW)
    assert "10.0.0.9" in names_in(second.certificate_der)
    assert second.key_pem == first.key_pem
    third = load_identity(tmp_path, "urn:hotpair:s:a", [], second.valid_until)
    assert third.valid_until > second.valid_until


def test_a_certificate_somebody_else_issued_is_never_replaced(tmp_path: Path) -> None:
    load_identity(tmp_path, "urn:hotpair:s:a", [], NOW)
    path = tmp_path / "own" / "certificate.der"
    own = x509.load_der_x509_certificate(path.read_bytes())
    issuer = ec.generate_private_key(ec.SECP256R1())
    from cryptography.hazmat.primitives import hashes

    issued = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Plant CA")]))
        .public_key(own.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(issuer, hashes.SHA256())
    )
    path.write_bytes(issued.public_bytes(Encoding.DER))
    found = load_identity(tmp_path, "urn:hotpair:s:a", ["gw"], NOW)
    assert found.certificate_der == issued.public_bytes(Encoding.DER)


def test_files_that_do_not_belong_together_are_an_error(tmp_path: Path) -> None:
    load_identity(tmp_path, "urn:hotpair:s:a", [], NOW)
    (tmp_path / "own" / "key.pem").unlink()
    with pytest.raises(ValueError, match=r"does not belong to key\.pem"):
        load_identity(tmp_path, "urn:hotpair:s:a", [], NOW)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "own" / "key.pem").write_bytes(pem)
    with pytest.raises(ValueError, match="no RSA key"):
        load_identity(tmp_path, "urn:hotpair:s:a", [], NOW)
