"""Certificates of every kind for tests: good ones, and each kind of bad one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

URI = "urn:test:client"
DAY = timedelta(days=1)


@cache
def key_of(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The key of somebody, made once for all tests."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def write(self, folder: Path, name: str = "client") -> tuple[Path, Path]:
        """The files of key and certificate, as a client takes them."""
        key, certificate = folder / f"{name}.pem", folder / f"{name}.der"
        certificate.write_bytes(self.der)
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return key, certificate


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage(**more: bool) -> x509.KeyUsage:
    said = {
        "digital_signature": True,
        "content_commitment": True,
        "key_encipherment": True,
        "data_encipherment": True,
        "key_agreement": False,
        "key_cert_sign": False,
        "crl_sign": False,
        "encipher_only": False,
        "decipher_only": False,
    }
    return x509.KeyUsage(**said | more)


def make(
    name: str,
    issuer: Made | None = None,
    *,
    now: datetime | None = None,
    begin: timedelta = -DAY,
    end: timedelta = DAY,
    uri: str | None = URI,
    ca: bool = False,
    path_length: int | None = None,
    key_usage: x509.KeyUsage | None = None,
    purposes: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    algorithm: Any = None,
    key: Any = None,
) -> Made:
    """A certificate, signed by `issuer` or by itself; valid from `begin` to `end` around `now`."""
    now = now or datetime.now(UTC)
    key = key or key_of(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(name))
        .issuer_name(issuer.certificate.subject if issuer else name_of(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    )
    if uri is not None and not ca:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    if ca or key_usage is not None:
        said = key_usage or usage(key_cert_sign=True, crl_sign=True)
        builder = builder.add_extension(said, critical=True)
    elif key_usage is None:
        builder = builder.add_extension(usage(), critical=True)
    if purposes and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    signer = issuer.key if issuer else key
    return Made(builder.sign(signer, algorithm or hashes.SHA256()), key)


def revoke(
    issuer: Made,
    *serials: int,
    now: datetime | None = None,
    renewed: timedelta = DAY,
    key: Any = None,
) -> x509.CertificateRevocationList:
    """The CRL of a CA, signed by it or by `key`."""
    now = now or datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - DAY)
        .next_update(now + renewed)
    )
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(serial)
            .revocation_date(now - DAY)
            .build()
        )
    return builder.sign(key or issuer.key, hashes.SHA256())
