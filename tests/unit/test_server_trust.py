"""Whether a client certificate is trusted: each step of OPC 10000-4 section 6.1.3, in its order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from certificates import DAY, URI, Made, key_of, make, name_of, revoke, usage
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.server import trust
from gateway.server.trust import Accepted, NotTrusted, TrustList, check, check_uri

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ROOT = make("Plant root", ca=True, now=NOW)
SUB = make("Line 3 CA", ROOT, ca=True, now=NOW)
CLIENT = make("HMI", SUB, now=NOW)
LONE = make("SCADA", now=NOW)
WHOLE = CLIENT.der + SUB.der + ROOT.der


def listed(*trusted: Made, issuers: tuple[Made, ...] = (), crls: Any = ()) -> TrustList:
    return TrustList.of([m.certificate for m in trusted], [m.certificate for m in issuers], crls)


def passes(sent: bytes, lists: TrustList, now: datetime = NOW) -> Accepted:
    return check(sent, lists, now)


def fails(sent: bytes, lists: TrustList, now: datetime = NOW) -> NotTrusted:
    with pytest.raises(NotTrusted) as refused:
        check(sent, lists, now)
    return refused.value


def test_the_codes_are_those_of_opc_ua() -> None:
    for code, name in trust.NAMES.items():
        assert getattr(ua.StatusCodes, name) == code
    assert ua.StatusCodes.BadSecurityChecksFailed == trust.SECURITY_CHECKS_FAILED


def test_a_listed_certificate_passes_and_no_other() -> None:
    assert passes(LONE.der, listed(LONE)).certificate == LONE.certificate
    other = fails(make("SCADA", now=NOW).der, listed(LONE))
    assert other.status == trust.UNTRUSTED
    assert other.told == trust.SECURITY_CHECKS_FAILED
    assert fails(LONE.der, TrustList()).status == trust.UNTRUSTED


@pytest.mark.parametrize(
    ("sent", "lists"),
    [
        (WHOLE, listed(ROOT)),
        (WHOLE, listed(SUB)),
        (WHOLE, listed(CLIENT)),
        (CLIENT.der, listed(ROOT, issuers=(SUB,))),
        (CLIENT.der, listed(CLIENT, issuers=(SUB, ROOT))),
        (CLIENT.der + SUB.der, listed(SUB, issuers=(ROOT,))),
    ],
)
def test_a_chain_passes_if_any_of_it_is_trusted(sent: bytes, lists: TrustList) -> None:
    assert passes(sent, lists).certificate == CLIENT.certificate


def test_an_issuer_that_only_completes_chains_is_not_trusted() -> None:
    assert fails(WHOLE, listed(issuers=(SUB, ROOT))).status == trust.UNTRUSTED


def test_a_chain_that_ends_in_the_air_is_incomplete_even_if_its_leaf_is_listed() -> None:
    refused = fails(CLIENT.der, listed(CLIENT))
    assert refused.status == trust.CHAIN_INCOMPLETE
    assert refused.told == trust.SECURITY_CHECKS_FAILED
    assert "CN=Line 3 CA is missing" in refused.why


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x30",
        b"hello",
        b"\x30\x82\xff\xff" + b"\0" * 20,
        b"\x30\x85\1\1\1\1\1",
        b"\x30\x03abc",
        LONE.der + b"\0",
        LONE.der * 11,
        b"\0" * 70_000,
    ],
)
def test_what_is_no_certificate_is_invalid(sent: bytes) -> None:
    assert fails(sent, listed(LONE)).status == trust.INVALID


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_noise_in_a_certificate_is_refused_and_breaks_nothing() -> None:
    chance = random.Random(5)
    for _ in range(2_000):
        data = bytearray(WHOLE)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if bytes(data[: len(CLIENT.der)]) != CLIENT.der:
            fails(bytes(data), listed(ROOT))


def test_a_wrong_signature_is_invalid_before_it_is_untrusted() -> None:
    data = bytearray(LONE.der)
    data[-1] ^= 1
    assert fails(bytes(data), TrustList()).status == trust.INVALID
    forger = Made(SUB.certificate, key_of("forger"))
    forged = make("HMI", forger, now=NOW)
    refused = fails(forged.der + SUB.der + ROOT.der, listed(ROOT))
    assert (refused.status, refused.told) == (trust.INVALID, trust.SECURITY_CHECKS_FAILED)


def test_a_variant_that_was_sent_does_not_stand_before_the_listed_one() -> None:
    """The same CA under an end of its own: the client's copy would lead to no trusted root."""
    stranger = make("Stranger", ca=True, now=NOW)
    variant = make("Line 3 CA", stranger, ca=True, now=NOW, key=SUB.key)
    sent = CLIENT.der + variant.der + stranger.der
    assert passes(sent, listed(SUB, issuers=(ROOT,)))


def test_a_chain_in_a_circle_ends() -> None:
    one = make("One", ca=True, now=NOW)
    two = make("Two", ca=True, now=NOW)
    crossed = make("One", two, ca=True, now=NOW), make("Two", one, ca=True, now=NOW)
    leaf = make("HMI", one, now=NOW)
    refused = fails(leaf.der + crossed[0].der + crossed[1].der, TrustList())
    assert (refused.status, "longer than 10" in refused.why) == (trust.INVALID, True)


def test_keys_and_signatures_must_fit_the_policies() -> None:
    short = make("Old", now=NOW, key=key_of("short", 1024))
    assert fails(short.der, listed(short)).why == "its key has 1024 bits, not 2048 to 4096"
    curve = make("EC", now=NOW, key=ec.generate_private_key(ec.SECP256R1()))
    assert fails(curve.der, listed(curve)).why == "its key is no RSA key"
    shaky = make("SHA-224", now=NOW, algorithm=hashes.SHA224())
    refused = fails(shaky.der, listed(shaky))
    assert refused.status == trust.POLICY_CHECK_FAILED
    assert refused.why == "its signature is made with sha224, not SHA-256"
    weak = make("Weak CA", ca=True, now=NOW, key=key_of("short", 1024))
    below = make("HMI", weak, now=NOW)
    assert "the issuer CN=Weak CA's key has 1024" in fails(below.der, listed(weak)).why
    # Policy comes before trust.
    assert fails(short.der, TrustList()).status == trust.POLICY_CHECK_FAILED


def test_a_key_of_no_known_kind_is_refused() -> None:
    # An RSA key whose algorithm is renamed: the certificate parses, its key doesn't.
    data = make("Odd", SUB, now=NOW).der
    rsa_id, odd_id = (
        bytes.fromhex("06092a864886f70d010101"),
        bytes.fromhex("06092a864886f70d01017f"),
    )
    assert data.count(rsa_id) == 1
    refused = fails(data.replace(rsa_id, odd_id) + SUB.der + ROOT.der, listed(ROOT))
    assert refused.status == trust.INVALID  # its issuer didn't sign that
    odd = x509.load_der_x509_certificate(data.replace(rsa_id, odd_id))
    with pytest.raises(NotTrusted, match="no known kind"):
        trust.check_user(odd, NOW)


@pytest.mark.parametrize(
    ("begin", "end"), [(-2 * DAY, -DAY), (DAY, 2 * DAY)], ids=["expired", "not yet valid"]
)
def test_times_are_told_and_come_after_trust(begin: timedelta, end: timedelta) -> None:
    old = make("Old", now=NOW, begin=begin, end=end)
    refused = fails(old.der, listed(old))
    assert refused.status == refused.told == trust.TIME_INVALID
    assert "it is valid from 2026-11-2" in refused.why
    assert fails(old.der, TrustList()).status == trust.UNTRUSTED
    late = make("Late CA", ca=True, now=NOW, begin=begin, end=end)
    issuer = fails(make("HMI", late, now=NOW).der, listed(late))
    assert issuer.status == issuer.told == trust.ISSUER_TIME_INVALID


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"key_usage": usage(digital_signature=False)}, "digitalSignature"),
        (
            {"key_usage": usage(key_encipherment=False, data_encipherment=False)},
            "keyEncipherment, dataEncipherment",
        ),
        ({"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "clientAuth"),
    ],
)
def test_uses_must_fit(more: dict[str, Any], why: str) -> None:
    made = make("Use", now=NOW, **more)
    refused = fails(made.der, listed(made))
    assert refused.status == refused.told == trust.USE_NOT_ALLOWED
    assert why in refused.why


def test_who_names_no_purpose_or_any_may_come() -> None:
    for purposes in ((), (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)):
        made = make("Use", now=NOW, purposes=purposes)
        assert passes(made.der, listed(made))


def test_issuers_must_be_authorities() -> None:
    no_ca = make("HMI 2", LONE, now=NOW)
    refused = fails(no_ca.der, listed(LONE))
    assert refused.status == refused.told == trust.ISSUER_USE_NOT_ALLOWED
    assert refused.why == "CN=SCADA is no CA"
    may_not = make("May not", ca=True, now=NOW, key_usage=usage())
    assert "may not sign" in fails(make("HMI", may_not, now=NOW).der, listed(may_not)).why
    narrow = make("Narrow", ca=True, path_length=0, now=NOW)
    between = make("Between", narrow, ca=True, now=NOW)
    below = make("HMI", between, now=NOW)
    assert "may have 0 CAs below" in fails(below.der + between.der, listed(narrow)).why
    assert passes(make("HMI", narrow, now=NOW).der, listed(narrow))
    bare = (
        x509.CertificateBuilder()
        .subject_name(name_of("Bare"))
        .issuer_name(name_of("Bare"))
        .public_key(key_of("Bare").public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .sign(key_of("Bare"), hashes.SHA256())
    )
    plain = Made(bare, key_of("Bare"))
    assert passes(plain.der, listed(plain))
    assert "is no CA" in fails(make("HMI", plain, now=NOW).der, listed(plain)).why


def test_a_crl_is_honoured() -> None:
    of_root = revoke(ROOT, now=NOW)
    of_sub = revoke(SUB, now=NOW)
    assert passes(WHOLE, listed(ROOT, crls=(of_root, of_sub))).notes == ()
    taken = revoke(SUB, CLIENT.certificate.serial_number, now=NOW)
    refused = fails(WHOLE, listed(ROOT, crls=(of_root, of_sub, taken)))
    assert (refused.status, refused.told) == (trust.REVOKED, trust.SECURITY_CHECKS_FAILED)
    closed = revoke(ROOT, SUB.certificate.serial_number, now=NOW)
    refused = fails(WHOLE, listed(ROOT, crls=(closed, of_sub)))
    assert refused.status == trust.ISSUER_REVOKED
    assert "CN=Line 3 CA was revoked by CN=Plant root" in refused.why


def test_what_a_crl_does_not_tell_is_noted() -> None:
    assert passes(WHOLE, listed(ROOT)).notes == (
        "there is no CRL of CN=Line 3 CA",
        "there is no CRL of CN=Plant root",
    )
    stale = revoke(SUB, now=NOW, renewed=-timedelta(hours=1))
    notes = passes(WHOLE, listed(ROOT, crls=(stale, revoke(ROOT, now=NOW)))).notes
    assert notes == ("the CRL of CN=Line 3 CA is out of date",)


def test_a_crl_that_its_ca_did_not_sign_says_nothing() -> None:
    forged = revoke(SUB, CLIENT.certificate.serial_number, now=NOW, key=key_of("forger"))
    signed_with, odd = (
        bytes.fromhex("06092a864886f70d01010b"),
        bytes.fromhex("06092a864886f70d01017f"),
    )
    strange = forged.public_bytes(Encoding.DER).replace(signed_with, odd)
    for crl in (forged, x509.load_der_x509_crl(strange)):
        notes = passes(WHOLE, listed(ROOT, crls=(crl,))).notes
        assert notes[0] == "there is no CRL of CN=Line 3 CA"


def test_the_uri_must_be_that_of_the_client() -> None:
    check_uri(LONE.certificate, URI)
    with pytest.raises(NotTrusted, match="BadCertificateUriInvalid: it names urn:test:client, the"):
        check_uri(LONE.certificate, "urn:somebody:else")
    with pytest.raises(NotTrusted, match="it names no URI") as refused:
        check_uri(make("Nameless", now=NOW, uri=None).certificate, URI)
    assert refused.value.told == trust.URI_INVALID


def test_a_users_certificate_must_be_in_time() -> None:
    trust.check_user(LONE.certificate, NOW)
    with pytest.raises(NotTrusted):
        trust.check_user(LONE.certificate, NOW + 2 * DAY)


def test_an_authority_is_known() -> None:
    assert trust.is_authority(ROOT.certificate)
    assert not trust.is_authority(LONE.certificate)


def test_thumbprints_are_those_that_tools_show() -> None:
    assert bytes.fromhex(trust.thumbprint(LONE.der)) == LONE.certificate.fingerprint(hashes.SHA1())
    assert bytes.fromhex(trust.fingerprint(LONE.der)) == LONE.certificate.fingerprint(
        hashes.SHA256()
    )
