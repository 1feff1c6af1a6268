"""How the rig's OPC UA clients get in where a node signs and encrypts: a certificate, and a user.

Laid into the run's folder as an integrator would: the certificate into each node's list of trusted
clients, the user into site.yaml. Nodes with `insecure: true` need neither.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hil.gateway import ProgramError
from hil.site import edit_yaml

VISITOR_FILE: Final = "visitor.json"
"""In a run's folder; `hil/bench/opcua_party.js` reads it, too."""
USER: Final = "hotpair-rig"
_URI: Final = "urn:hotpair:rig:client"
_YEARS: Final = timedelta(days=3_650)
"""Before and after today: a scenario may step a node's clock."""
_KEY_BITS: Final = 2_048


class Visitor(NamedTuple):
    """What a client of the rig shows to a node; the files are PEM."""

    certificate: str
    key: str
    uri: str
    user: str
    password: str


def visitor_of(folder: Path) -> Visitor | None:
    """Who visits the nodes of a run; None where they ask nobody. Raises OSError."""
    path = folder / VISITOR_FILE
    return Visitor(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


async def introduce(client: Client, visitor: Visitor | None) -> None:
    """Let an asyncua client sign, encrypt and log in. Raises OSError, TimeoutError, UaError."""
    if visitor is None:
        return
    client.application_uri = visitor.uri
    client.set_user(visitor.user)
    client.set_password(visitor.password)
    await client.set_security(
        SecurityPolicyBasic256Sha256,
        visitor.certificate,
        visitor.key,
        mode=ua.MessageSecurityMode.SignAndEncrypt,
    )


async def lay(folder: Path, data: Sequence[Path]) -> Visitor:
    """Make the rig known to the nodes that keep their data there. Raises ProgramError, OSError."""
    certificate, key = folder / "visitor.crt.pem", folder / "visitor.key.pem"
    made, key_pem = _made()
    certificate.write_bytes(made)
    _keep(key, key_pem)
    for each in data:
        trusted = each / "pki" / "trusted" / "certs"
        trusted.mkdir(parents=True, exist_ok=True)
        (trusted / certificate.name).write_bytes(made)
    password = secrets.token_urlsafe(18)
    entry = {"role": "observer", "password_hash": await _hashed(password)}
    edit_yaml(folder / "site.yaml", lambda site: site.setdefault("users", {}).update({USER: entry}))
    visitor = Visitor(str(certificate), str(key), _URI, USER, password)
    _keep(folder / VISITOR_FILE, json.dumps(visitor._asdict()).encode())
    return visitor


async def _hashed(password: str) -> str:
    """As a user makes it."""
    command = (sys.executable, "-m", "gateway.cli", "password")
    pipe = asyncio.subprocess.PIPE
    making = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    said, _ = await making.communicate(password.encode() + b"\n")
    if making.returncode != 0:
        raise ProgramError("`hotpair password` made no hash")
    return said.decode().strip()


def _keep(path: Path, content: bytes) -> None:
    """Write what nobody else may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _made() -> tuple[bytes, bytes]:
    """An application instance certificate and its key (OPC 10000-6, 6.2.2), as PEM."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hotpair rig")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True,
        data_encipherment=True, key_agreement=False, key_cert_sign=True, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    names = [x509.UniformResourceIdentifier(_URI), x509.DNSName(socket.gethostname())]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _YEARS)
        .not_valid_after(now + _YEARS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    return certificate.public_bytes(encoding), key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, plain
    )
