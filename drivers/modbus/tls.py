"""The TLS side of Modbus/TCP Security (MB-TCP-Security-v21 section 8): mutual, 1.2 or later."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from drivers.modbus.settings import Tls


def client_context(tls: Tls, base_dir: Path) -> ssl.SSLContext:
    """A context that shows our certificate and checks the device's. Raises OSError."""
    for name in (tls.ca, tls.cert, tls.key):
        (base_dir / name).stat()  # names the file that is missing, as OpenSSL does not
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=base_dir / tls.ca)
    context.load_cert_chain(base_dir / tls.cert, base_dir / tls.key)
    return context


_REMEDIES: Final = (
    (("mismatch, certificate is not valid", "doesn't match"), "Set `server_name:` to {name}"),
    (("expired", "not yet valid"), "Renew the device's certificate, or set the clock right"),
    (("verify failed",), "Set `ca:` to what signed the device's certificate; it is {ca} now"),
    (("key values mismatch",), "`cert: {cert}` and `key: {key}` don't belong together"),
    (("wrong version number", "record layer failure"), "The port speaks no TLS: look for 802"),
    (("no such file",), "Put the file there, or correct `tls:`"),
    (
        ("alert", "connection was closed", "closed the connection", "reset", "eof"),
        "The device may refuse our certificate: let it trust {cert}, or what signed it",
    ),
)


def remedy(tls: Tls, reason: str) -> str:
    """What a person can do about a connection that failed for `reason`; empty if that's unclear."""
    said = reason.lower()
    for signs, text in _REMEDIES:
        if any(sign in said for sign in signs):
            name = "the name in the device's certificate"
            return text.format(ca=tls.ca, cert=tls.cert, key=tls.key, name=name)
    return ""
