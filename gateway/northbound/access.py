"""How a feed's server is reached: TLS by default, secrets from files."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.config.northbound import Reached
from gateway.errors import ControlError


def tls_of(settings: Reached, folder: Path) -> ssl.SSLContext | None:
    """The TLS context, None where `insecure` asks for none. Blocks. Raises ControlError."""
    if settings.insecure:
        return None
    try:
        context = ssl.create_default_context(
            cafile=str(folder / settings.ca) if settings.ca is not None else None
        )
        if settings.cert is not None and settings.key is not None:
            context.load_cert_chain(folder / settings.cert, folder / settings.key)
    except (OSError, ssl.SSLError) as error:
        raise ControlError(
            f"the certificates can't be used: {error}", "Name PEM files that this node has"
        ) from error
    return context


def password_of(settings: Reached, folder: Path) -> str | None:
    """The password, without the end of its line. Blocks. Raises ControlError."""
    if settings.password is None:
        return None
    file = folder / settings.password.file
    try:
        return file.read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ControlError(f"{file} can't be read: {error}", "Put the password there") from error
