"""Certificates: this node's own, and whether a server's is trusted.

Everything here blocks (files, RSA keys): call it in a thread. Own certificate and key are made once
per data directory and shared by all devices; the ApplicationUri is read back from the certificate,
so that it stays right when the machine is renamed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from drivers.opcua.settings import Security
from gateway.errors import DeviceError
from gateway.model import Status

OWN_CERTIFICATE_DAYS: Final = 3650
"""Ten years: an expired certificate would stop a plant, and the trust is in the pinned key."""
EXPIRY_WARNING: Final = timedelta(days=30)
FILE_SIZE_MAX: Final = 1_000_000
TRUSTED_MAX: Final = 1_000
REJECTED_MAX: Final = 50
_making = threading.Lock()


class NotTrusted(DeviceError):
    """The server showed a certificate that nobody here trusts."""

    status = Status.BAD_CONFIGURATION_ERROR


class BadCredentials(DeviceError):
    """A certificate, key or password file of ours can't be used."""

    status = Status.BAD_CONFIGURATION_ERROR


@dataclass(frozen=True, slots=True)
class Identity:
    """This node as a client: DER certificate, PEM key, and the URI that the certificate names."""

    certificate: bytes
    key: bytes
    application_uri: str
    warning: str = ""


def read_file(path: Path, what: str) -> bytes:
    """The bytes of a file of ours. Raises BadCredentials naming it."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_SIZE_MAX + 1)
    except OSError as error:
        text = f"{what} {path} can't be read: {error.strerror}"
        raise BadCredentials(text, "Put the file there, readable by the gateway's user") from error
    if not data or len(data) > FILE_SIZE_MAX:
        raise BadCredentials(f"{what} {path} is empty or too large", "Check the file")
    return data


def parse_certificate(data: bytes, what: str) -> x509.Certificate:
    """A certificate from DER or PEM. Raises BadCredentials."""
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise BadCredentials(f"{what} is no certificate: {error}", "Give DER or PEM") from error


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def read_password(security: Security, base_dir: Path) -> str | None:
    """The password from its file, without the line end. Raises BadCredentials."""
    if security.password is None:
        return None
    data = read_file(base_dir / security.password.file, "the password file")
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BadCredentials("the password file is not UTF-8", "Save it as UTF-8") from error


def identity(security: Security, base_dir: Path, data_dir: Path) -> Identity:
    """The certificate and key that a site gives, or this node's own, made on first use.

    Raises BadCredentials when a file can't be used.
    """
    if security.certificate is None or security.key is None:
        with _making:
            own = data_dir / "pki" / "own"
            if not (own / "client.der").exists() or not (own / "client.key").exists():
                _make_own(own)
        return _load(own / "client.der", own / "client.key")
    return _load(base_dir / security.certificate, base_dir / security.key)


def _load(certificate_file: Path, key_file: Path) -> Identity:
    certificate = parse_certificate(
        read_file(certificate_file, "the certificate"), str(certificate_file)
    )
    data = read_file(key_file, "the private key")
    try:
        load = (
            serialization.load_pem_private_key
            if b"-----BEGIN" in data
            else serialization.load_der_private_key
        )
        key = load(data, password=None)
    except (ValueError, TypeError) as error:
        text = f"{key_file} is no private key without a password: {error}"
        raise BadCredentials(text, "Give an RSA key as PEM or DER, without a password") from error
    public = certificate.public_key()
    if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != public:
        text = f"the key {key_file} does not belong to the certificate {certificate_file}"
        raise BadCredentials(text, "Give the RSA key that the certificate was made with")
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    warning = ""
    if left < EXPIRY_WARNING:
        warning = f"{certificate_file} expires on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return Identity(_der(certificate), pem, _application_uri(certificate), warning)


def _application_uri(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    if not uris:
        text = "the certificate names no ApplicationUri (a URI in subjectAltName)"
        raise BadCredentials(text, "OPC UA needs one: OPC 10000-6 section 6.2.2")
    return str(uris[0])


def _make_own(folder: Path) -> None:
    """Make key and self-signed certificate as OPC 10000-6 section 6.2.2 asks."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    host = socket.gethostname() or "localhost"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Hotpair client at {host}"[:64])])
    public, now = key.public_key(), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # A device without battery boots in the past: a day is not enough, a year is.
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + timedelta(days=OWN_CERTIFICATE_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.UniformResourceIdentifier(f"urn:{host}:hotpair:client"),
                    x509.DNSName(host),
                ]
            ),
            critical=False,
        )
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_whole(folder / "client.key", pem, 0o600)
    write_whole(folder / "client.der", _der(builder.sign(key, hashes.SHA256())), 0o644)


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # self-signed: OpenSSL-based servers look for it
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that it is there whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


# ------------------------------------------------------------------------------ whom we trust


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate as devices print it: `AB:CD:…`."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex(":").upper()


def fingerprint_of(path: Path) -> str:
    """` (SHA-256 …)` of a certificate file, or nothing where it can't be read."""
    try:
        der = _der(parse_certificate(read_file(path, "the certificate"), str(path)))
    except BadCredentials:
        return ""
    return f" (SHA-256 {fingerprint(der)})"


def pinned(security: Security, base_dir: Path) -> bytes | None:
    """The DER certificate that the server must show, if the site pins one."""
    if security.server_certificate is None:
        return None
    path = base_dir / security.server_certificate
    return _der(parse_certificate(read_file(path, "the server certificate"), str(path)))


def judge(der: bytes, security: Security, base_dir: Path, data_dir: Path) -> str:
    """Refuse a server's certificate unless it is trusted; the text is a warning, "" for none.

    A certificate that lies in the trust directory is trusted even when it has expired (with a
    warning): whoever put it there knew the device, and clocks of devices are often wrong. One that
    was merely issued by a trusted one must be valid now. Raises NotTrusted, which tells where the
    certificate was put.
    """
    shown = parse_certificate(der, "what the server showed")
    trusted_dir = base_dir / security.trust if security.trust else data_dir / "pki" / "trusted"
    if security.trust_any:
        return "any server certificate is accepted (`trust_any: true`)"
    now = datetime.now(UTC)
    valid = shown.not_valid_before_utc <= now <= shown.not_valid_after_utc
    for known in _trusted(trusted_dir):
        if _der(known) == der:
            return "" if valid else "the server's certificate has expired or is not yet valid"
        if valid and _issued(shown, known):
            return ""
    where = _reject(der, data_dir)
    remedy = (
        f"If the device shows the SHA-256 fingerprint {fingerprint(der)}, "
        f"move {where} to {trusted_dir}"
    )
    raise NotTrusted(f"the server's certificate ({_subject(shown)}) is not trusted", remedy)


def _trusted(folder: Path) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    if not folder.is_dir():
        return found
    files = (f for f in sorted(folder.iterdir()) if f.suffix.lower() in (".der", ".pem", ".crt"))
    for file in list(files)[:TRUSTED_MAX]:
        # A stray file makes nobody trusted, and must not stop the devices whose own file is good.
        with contextlib.suppress(BadCredentials):
            found.append(parse_certificate(read_file(file, "the trusted certificate"), str(file)))
    return found


def _issued(shown: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        authority = by.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        shown.verify_directly_issued_by(by)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return authority


def _reject(der: bytes, data_dir: Path) -> Path:
    folder = data_dir / "pki" / "rejected"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{fingerprint(der).replace(':', '')[:40].lower()}.der"
    if path.exists() or len(list(folder.iterdir())) < REJECTED_MAX:
        write_whole(path, der, 0o644)
    return path


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "without a name"
