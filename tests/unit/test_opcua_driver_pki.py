"""Certificates and secrets on disk: made, read, judged, and named when they can't be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from drivers.opcua import pki
from drivers.opcua.settings import Security

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(
    name: str = "plc",
    until: datetime = NOW + 90 * DAY,
    issuer: str | None = None,
    authority: bool = False,
    uri: str | None = "urn:plc",
    signer: rsa.RSAPrivateKey = KEY,
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer or name))
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 30 * DAY)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if uri is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def der(shown: x509.Certificate) -> bytes:
    return shown.public_bytes(serialization.Encoding.DER)


def pem_key(key: rsa.RSAPrivateKey = KEY) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def trust(folder: Path, shown: x509.Certificate, name: str = "a.pem") -> None:
    trusted = folder / "pki" / "trusted"
    trusted.mkdir(parents=True, exist_ok=True)
    (trusted / name).write_bytes(shown.public_bytes(serialization.Encoding.PEM))


def test_a_certificate_in_the_trust_directory_is_trusted_and_an_expired_one_with_a_warning(
    tmp_path: Path,
) -> None:
    good, old = certificate(), certificate("old", until=NOW - DAY)
    trust(tmp_path, good)
    trust(tmp_path, old, "b.crt")
    (tmp_path / "pki" / "trusted" / "notes.txt").write_text("not a certificate")
    assert pki.judge(der(good), Security(), tmp_path, tmp_path) == ""
    assert "expired" in pki.judge(der(old), Security(), tmp_path, tmp_path)


def test_a_certificate_issued_by_a_trusted_authority_is_trusted_while_it_is_valid(
    tmp_path: Path,
) -> None:
    trust(tmp_path, certificate("authority", authority=True))
    issued = certificate("plc", issuer="authority")
    assert pki.judge(der(issued), Security(), tmp_path, tmp_path) == ""
    late = certificate("plc", issuer="authority", until=NOW - DAY)
    forged = certificate("plc", issuer="authority", signer=OTHER_KEY)
    for shown in (late, forged):
        with pytest.raises(pki.NotTrusted):
            pki.judge(der(shown), Security(), tmp_path, tmp_path)


def test_who_is_no_authority_can_issue_nothing(tmp_path: Path) -> None:
    trust(tmp_path, certificate("plc2"))
    with pytest.raises(pki.NotTrusted):
        pki.judge(der(certificate("plc", issuer="plc2")), Security(), tmp_path, tmp_path)


def test_rejected_certificates_are_kept_up_to_a_bound(tmp_path: Path) -> None:
    folder = tmp_path / "pki" / "rejected"
    folder.mkdir(parents=True)
    for number in range(pki.REJECTED_MAX - 1):
        (folder / f"{number}.der").write_bytes(b"x")
    for number in range(3):
        with pytest.raises(pki.NotTrusted) as refused:
            pki.judge(der(certificate(f"plc{number}")), Security(), tmp_path, tmp_path)
        assert "fingerprint" in refused.value.remedy
    assert len(list(folder.iterdir())) == pki.REJECTED_MAX


def test_a_given_certificate_and_key_are_used_and_a_near_end_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.der").write_bytes(der(certificate(until=NOW + DAY)))
    (tmp_path / "own.key").write_bytes(
        KEY.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    security = Security(certificate="own.der", key="own.key")
    own = pki.identity(security, tmp_path, tmp_path)
    assert own.application_uri == "urn:plc"
    assert "expires" in own.warning
    assert own.key == pem_key()


@pytest.mark.parametrize(
    ("shown", "key", "part"),
    [
        (certificate(), b"rubbish", "no private key"),
        (certificate(), pem_key(OTHER_KEY), "does not belong"),
        (certificate(uri=None), pem_key(), "ApplicationUri"),
    ],
)
def test_an_identity_that_does_not_work_says_why(
    tmp_path: Path, shown: x509.Certificate, key: bytes, part: str
) -> None:
    (tmp_path / "own.der").write_bytes(der(shown))
    (tmp_path / "own.key").write_bytes(key)
    with pytest.raises(pki.BadCredentials, match=part):
        pki.identity(Security(certificate="own.der", key="own.key"), tmp_path, tmp_path)


def test_our_own_certificate_names_this_machine_and_lasts(tmp_path: Path) -> None:
    own = pki.identity(Security(), tmp_path, tmp_path)
    assert own.application_uri.endswith(":hotpair:client")
    assert own.warning == ""
    assert pki.identity(Security(), tmp_path, tmp_path) == own


def test_a_password_is_read_without_its_line_end(tmp_path: Path) -> None:
    def secret(data: bytes) -> Security:
        (tmp_path / "pw").write_bytes(data)
        return Security.model_validate({"user": "gw", "password": {"file": "pw"}})

    assert pki.read_password(secret(b"\xef\xbb\xbfs3 cret \r\n"), tmp_path) == "s3 cret "
    assert pki.read_password(Security(), tmp_path) is None
    with pytest.raises(pki.BadCredentials, match="UTF-8"):
        pki.read_password(secret(b"\xff\xfe"), tmp_path)
    with pytest.raises(pki.BadCredentials, match="empty"):
        pki.read_password(secret(b""), tmp_path)
