"""Who stands behind an identity token (OPC 10000-4 section 7.41)."""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.crypto import uacrypto

from gateway.server.logins import NAME_SHOWN_MAX, LoginThrottled
from gateway.server.sessions import Session
from gateway.server.settings import Role, User

if TYPE_CHECKING:
    from gateway.server.context import Context

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes
GUEST: Final = User("anonymous", Role.OPERATOR, "")
"""Who an anonymous client is, where security is off: whoever reaches the socket may operate."""
_OAEP: Final = "http://www.w3.org/2001/04/xmlenc#rsa-oaep"
_OAEP_SHA256: Final = "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256"


async def identify(
    context: Context, session: Session, identity: Any, encrypted: bool, peer: str
) -> User:
    """The user that a token proves. Raises UaStatusCodeError.

    `encrypted` says whether the channel hides a password sent as it is; rsa-1_5 is never accepted.
    """
    if isinstance(identity, ua.AnonymousIdentityToken):
        if not context.settings.insecure:
            raise ua.UaStatusCodeError(_CODES.BadIdentityTokenRejected)
        return GUEST
    if not isinstance(identity, ua.UserNameIdentityToken):
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenRejected)
    password = _password(context, session, identity, encrypted)
    name = identity.UserName or ""
    try:
        user = await context.logins.check(name, password, peer)
    except LoginThrottled:
        _log.info("log-in of %s as %r not heard: too many failed", peer, name[:NAME_SHOWN_MAX])
        raise ua.UaStatusCodeError(_CODES.BadUserAccessDenied) from None
    if user is None:
        _log.warning("log-in of %s as %r refused", peer, name[:NAME_SHOWN_MAX])
        raise ua.UaStatusCodeError(_CODES.BadUserAccessDenied)
    return user


def _password(
    context: Context, session: Session, identity: ua.UserNameIdentityToken, encrypted: bool
) -> str:
    secret = identity.Password or b""
    algorithm = identity.EncryptionAlgorithm
    if not algorithm:
        if not (encrypted or context.settings.insecure):
            raise ua.UaStatusCodeError(_CODES.BadIdentityTokenRejected)
        return _text(secret)
    key = context.internal.private_key
    decrypt = {
        _OAEP: uacrypto.decrypt_rsa_oaep,
        _OAEP_SHA256: uacrypto.decrypt_rsa_oaep_sha256,
    }.get(algorithm)
    if decrypt is None or key is None:
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenRejected)
    try:
        plain = decrypt(key, secret)
    except ValueError:
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenInvalid) from None
    # Length, password, server nonce (OPC 10000-4 section 7.41.2.2): the nonce makes it this log-in.
    length = int.from_bytes(plain[:4], "little")
    content = plain[4 : 4 + length]
    nonce = session.nonce
    if len(content) != length or length < len(nonce):
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenInvalid)
    if not hmac.compare_digest(content[length - len(nonce) :], nonce):
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenInvalid)
    return _text(content[: length - len(nonce)])


def _text(secret: bytes) -> str:
    try:
        return secret.decode("utf-8")
    except UnicodeDecodeError:
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenInvalid) from None
