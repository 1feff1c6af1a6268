"""The server's own certificate: made at the first start, kept, and renewed when names change.

A certificate that somebody else issued is used as it is and never overwritten; what is wrong with
it is said in the log (OPC 10000-6 section 6.2.2).
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_log: Final = logging.getLogger(__name__)
KEY_BITS: Final = 2048
VALID_DAYS: Final = 3650
RENEW_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Identity:
    """The key and certificate of this server, until when it is valid, and whether we made it."""

    key_pem: bytes
    certificate_der: bytes
    valid_until: datetime
    own_making: bool = True


def expiry_warning(identity: Identity, now: datetime) -> str:
    """What people should know within 30 days of the end of a certificate; else empty."""
    if identity.valid_until - now >= timedelta(days=RENEW_DAYS):
        return ""
    word = "expires" if identity.valid_until > now else "expired"
    remedy = (
        "a restart of the node renews it, and clients must trust the new one"
        if identity.own_making
        else "ask its issuer for another, and put it to pki/own/certificate.der"
    )
    until = f"{identity.valid_until:%Y-%m-%d %H:%M} UTC"
    return f"the OPC UA server's certificate {word} at {until}: {remedy}"


def load_identity(
    pki_dir: Path, application_uri: str, names: Sequence[str], now: datetime
) -> Identity:
    """The identity kept under `pki_dir/own`, made or renewed if need be.

    Raises OSError and ValueError. `names` are host names and addresses by which clients reach it.
    """
    own = pki_dir / "own"
    key_path, certificate_path = own / "key.pem", own / "certificate.der"
    own.mkdir(parents=True, exist_ok=True)
    key = _load_key(key_path)
    certificate = None
    if certificate_path.exists():
        certificate = x509.load_der_x509_certificate(certificate_path.read_bytes())
    if certificate is None or _must_renew(certificate, key, application_uri, names, now):
        certificate = _issue(key, application_uri, names, now)
        _write(certificate_path, certificate.public_bytes(serialization.Encoding.DER), 0o644)
        _log.warning("made a new certificate for %s: clients must trust it", application_uri)
    return Identity(
        key_path.read_bytes(),
        certificate.public_bytes(serialization.Encoding.DER),
        certificate.not_valid_after_utc,
        certificate.issuer == certificate.subject,
    )


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError(f"{path} holds no RSA key")
        return key
    made = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    text = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(path, text, 0o600)
    return made


def _write(path: Path, data: bytes, mode: int) -> None:
    # Complete or not at all, and a key is never readable by others, not even for a moment.
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _must_renew(
    certificate: x509.Certificate,
    key: rsa.RSAPrivateKey,
    application_uri: str,
    names: Sequence[str],
    now: datetime,
) -> bool:
    if certificate.public_key() != key.public_key():
        raise ValueError("certificate.der does not belong to key.pem: remove one of them")
    missing = [
        str(name.value)
        for name in _alternative_names(application_uri, names)
        if name not in _names_in(certificate)
    ]
    expires = certificate.not_valid_after_utc - now < timedelta(days=RENEW_DAYS)
    if certificate.issuer != certificate.subject:
        if missing:
            _log.warning("the certificate lacks %s: ask its issuer", ", ".join(missing))
        return False
    return bool(missing) or expires


def _names_in(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(found.value)


def _alternative_names(application_uri: str, names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [x509.UniformResourceIdentifier(application_uri)]
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _issue(
    key: rsa.RSAPrivateKey, application_uri: str, names: Sequence[str], now: datetime
) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "Hotpair"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, application_uri[:64]),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    alternative = _alternative_names(application_uri, names)
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # An hour back: the clocks of clients are not ours.
        .not_valid_before(now.astimezone(UTC) - timedelta(hours=1))
        .not_valid_after(now.astimezone(UTC) + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(usage, critical=False)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
