"""The TLS side of Modbus/TCP Security (MB-TCP-Security-v21 section 8): mutual, 1.2 or later."""

from __future__ import annotations

import ssl
from pathlib import Path

from drivers.modbus.settings import Tls


def client_context(tls: Tls, base_dir: Path) -> ssl.SSLContext:
    """A context that shows our certificate and checks the device's. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=base_dir / tls.ca)
    context.load_cert_chain(base_dir / tls.cert, base_dir / tls.key)
    return context
