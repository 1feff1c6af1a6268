"""The users of a site: each known by a password, a certificate, or either."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.config.drafts import Reading, path
from gateway.config.explain import Place
from gateway.config.profile import is_inside
from gateway.config.site import SiteFile, User
from gateway.config.yaml import Node
from gateway.pair.certificate import read_certificate

CERTIFICATE_FILES: Final = (".pem", ".crt", ".cer")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_FINGERPRINT: Final = "`openssl x509 -in FILE -noout -fingerprint -sha256`"


def read_users(model: SiteFile, root: Node, file: str, reading: Reading) -> Mapping[str, User]:
    """The users, certificates by their SHA-256; reports what is wrong with a certificate."""
    users: dict[str, User] = {}
    owners: dict[str, str] = {}
    for name, entry in model.users.items():
        loc = ("users", name, "certificate")
        place = Place(file, root.line_of(loc), path(*loc))
        certificate = _certificate(entry.certificate, place, reading) if entry.certificate else ""
        if certificate and certificate in owners:
            message = f"is the certificate of `{owners[certificate]}`, too"
            reading.problem(place, message, "Give each user an own one.", entry.certificate)
        owners[certificate] = name
        users[name] = User(name, entry.role, entry.password_hash, certificate)
    return users


def _certificate(said: str, place: Place, reading: Reading) -> str:
    """The SHA-256 in hex of a certificate that is named by it, or by a PEM file."""
    digits = re.sub(r"[:\s]", "", said).lower()
    if _SHA256.fullmatch(digits):
        return digits
    if _SHA1.fullmatch(digits):
        message = "is a SHA-1 thumbprint, which is too weak to know a user by"
        reading.problem(place, message, f"Write the SHA-256 one, as {_FINGERPRINT} prints it.")
        return ""
    if not said.lower().endswith(CERTIFICATE_FILES):
        message = "is neither a SHA-256 thumbprint nor a PEM file"
        remedy = f"Write what {_FINGERPRINT} prints, or the name of a .pem file beside site.yaml."
        reading.problem(place, message, remedy, said)
        return ""
    if not is_inside(said):
        message = f"`{said}` doesn't lie beside site.yaml"
        reading.problem(place, message, "Copy it there, and name it relatively.")
        return ""
    text = reading.text(said, place)
    if text is None:
        return ""
    if "PRIVATE KEY" in text:  # it would travel with each revision, and be kept for ever
        message = "holds a private key, which is the user's alone"
        reading.problem(place, message, "Keep the certificate only in it.", said)
        return ""
    try:
        return read_certificate(text).sha256
    except ValueError as error:
        reading.problem(place, str(error), "Export the certificate as PEM.", said)
        return ""
