"""Keys and certificates of the links: made, read and compared; pure, texts in and texts out.

A node trusts exactly one certificate, its peer's (pinned by every byte), so there is no authority,
no name to match and no list of what was revoked: whoever makes new ones, has revoked the old ones.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.model import NS_PER_S

DAYS: Final = 20 * 365
DAYS_MAX: Final = 100 * 365
WARN_NS: Final = 30 * 86_400 * NS_PER_S
"""How long before its end a certificate is warned of."""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A pinned certificate gains nothing by a beginning, and a node whose clock battery is dead keeps
its links."""


class Made(NamedTuple):
    """A node's private key and its certificate, both PEM."""

    key_pem: bytes
    certificate_pem: bytes


class Certificate(NamedTuple):
    """What the links need to know of a certificate; times are ns UTC."""

    der: bytes
    name: str
    valid_from_ns: int
    valid_until_ns: int

    @property
    def sha256(self) -> str:
        """SHA-256 of its DER bytes, 64 hex digits."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def fingerprint(self) -> str:
        """The beginning of its SHA-256, enough to tell two apart by eye."""
        return self.sha256[:16]


def make_identity(node: str, now_ns: int, days: int = DAYS) -> Made:
    """A new EC P-256 key and a certificate signed by itself, valid for so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = datetime.fromtimestamp(now_ns // NS_PER_S, UTC) + timedelta(days=days)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Hotpair link"),
            x509.NameAttribute(NameOID.COMMON_NAME, node),
        ]
    )
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINNING)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Made(key_pem, certificate.public_bytes(serialization.Encoding.PEM))


def read_certificate(pem: str) -> Certificate:
    """The first certificate of a PEM text. Raises ValueError with what is wrong with it."""
    try:
        read = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        if "PRIVATE KEY" in pem:
            raise ValueError("this is a private key, not a certificate") from error
        raise ValueError("there is no readable PEM certificate in it") from error
    common = read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        read.public_bytes(serialization.Encoding.DER),
        str(common[0].value) if common else read.subject.rfc4514_string(),
        int(read.not_valid_before_utc.timestamp()) * NS_PER_S,
        int(read.not_valid_after_utc.timestamp()) * NS_PER_S,
    )


def belongs(key_pem: str, certificate_pem: str) -> bool:
    """Whether a private key is that of a certificate. Raises ValueError if the key is none."""
    try:
        key = serialization.load_pem_private_key(key_pem.encode(), None)
    except TypeError as error:
        raise ValueError("the key has a password, which nobody could type at a start") from error
    except ValueError as error:
        if "BEGIN CERTIFICATE" in key_pem:
            raise ValueError("this is a certificate, not a private key") from error
        raise ValueError("there is no readable PEM private key in it") from error
    return key.public_key() == x509.load_pem_x509_certificate(certificate_pem.encode()).public_key()
