"""The certificate of the page: one that is named, or one made at the first start and kept.

A made one is renewed at a start, when names are missing or its last month has begun. Browsers and
programs are told to trust it once; who runs an authority names its certificate instead.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS: Final = 3_650
RENEW: Final = timedelta(days=30)


class WebCertificate(NamedTuple):
    """Where certificate and key lie, what they say, and whether this program made them."""

    certificate: Path
    key: Path
    read: x509.Certificate
    made: bool

    @property
    def issued(self) -> bool:
        """Whether an authority issued it."""
        return self.read.issuer != self.read.subject

    def context(self) -> ssl.SSLContext:
        """For a listener: TLS 1.2 and later. Raises OSError when the two don't fit."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        return context


def named(certificate: Path, key: Path) -> WebCertificate:
    """The one that node.yaml names. Raises OSError and ValueError."""
    read = x509.load_pem_x509_certificate(certificate.read_bytes())
    return WebCertificate(certificate, key, read, False)


def own(folder: Path, common_name: str, names: Sequence[str], now: datetime) -> WebCertificate:
    """The one kept in a folder, made or renewed if need be. Raises OSError and ValueError."""
    certificate, key = folder / "web.crt", folder / "web.key"
    folder.mkdir(parents=True, exist_ok=True)
    if certificate.exists() and key.exists():
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        if not lacking(read, names) and read.not_valid_after_utc - now > RENEW:
            return WebCertificate(certificate, key, read, False)
    key_pem, certificate_pem = make(common_name, names, now)
    _write(key, key_pem, 0o600)
    _write(certificate, certificate_pem, 0o644)
    return WebCertificate(certificate, key, x509.load_pem_x509_certificate(certificate_pem), True)


def lacking(certificate: x509.Certificate, names: Sequence[str]) -> list[str]:
    """The names and addresses that a certificate is not good for."""
    try:
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return list(names)
    return [name for name in names if _alternative(name) not in list(known)]


def make(common_name: str, names: Sequence[str], now: datetime) -> tuple[bytes, bytes]:
    """A new EC P-256 key and its certificate, both PEM, signed by itself (RFC 5280)."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Hotpair web"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # An hour back: the clocks of clients are not ours.
        .not_valid_before(now.astimezone(UTC) - timedelta(hours=1))
        .not_valid_after(now.astimezone(UTC) + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_alternative(name) for name in dict.fromkeys(names)]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    # Complete or not at all, and a key is never readable by others, not even for a moment.
    partial = path.with_suffix(path.suffix + ".partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
