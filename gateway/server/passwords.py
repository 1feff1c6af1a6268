"""Passwords as `scrypt$n$r$p$salt$hash`: slow to guess, safe to keep in a site file (RFC 7914)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

COST: Final = 2**14
BLOCK: Final = 8
PARALLEL: Final = 1
SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
_MAX_MEMORY: Final = 64 * 1024 * 1024


def hash_password(password: str, salt: bytes | None = None) -> str:
    """The line to keep for a password; takes about 50 ms. A fresh salt unless one is given."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    key = _derive(password, salt, COST, BLOCK, PARALLEL)
    return f"scrypt${COST}${BLOCK}${PARALLEL}${_text(salt)}${_text(key)}"


def verify_password(password: str, stored: str) -> bool:
    """Whether a password belongs to a stored line; a line that can't be read fits none."""
    try:
        name, cost, block, parallel, salt, key = stored.split("$")
        if name != "scrypt":
            return False
        expected = base64.b64decode(key, validate=True)
        found = _derive(
            password, base64.b64decode(salt, validate=True), int(cost), int(block), int(parallel)
        )
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(expected, found)


NOBODY: Final = f"scrypt${COST}${BLOCK}${PARALLEL}${'A' * 22}==${'A' * 43}="
"""What unknown users are verified against, so that a refusal takes as long as for known ones."""


def _derive(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        password.encode(),
        salt=salt,
        n=cost,
        r=block,
        p=parallel,
        maxmem=_MAX_MEMORY,
        dklen=KEY_BYTES,
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
