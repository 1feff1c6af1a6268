"""Who stands behind an identity token (OPC 10000-4 section 7.41)."""

from __future__ import annotations

import hmac
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asyncua import ua
from asyncua.crypto import uacrypto
from cryptography.exceptions import InvalidSignature

from gateway.server import trust
from gateway.server.audit import LOGIN, LOGIN_REFUSED
from gateway.server.logins import NAME_SHOWN_MAX, LoginThrottled
from gateway.server.sessions import Session
from gateway.server.settings import Role, User
from gateway.server.trust import NotTrusted, fingerprint
from gateway.server.wire import Activation

if TYPE_CHECKING:
    from gateway.server.context import Context

_log: Final = logging.getLogger(__name__)
_CODES = ua.StatusCodes
GUEST: Final = User("anonymous", Role.OPERATOR, "")
"""Who an anonymous client is, where security is off: whoever reaches the socket may operate."""
_OAEP: Final = "http://www.w3.org/2001/04/xmlenc#rsa-oaep"
_OAEP_SHA256: Final = "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256"
_VERIFY: Final = {
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256": uacrypto.verify_sha256,
    "http://opcfoundation.org/UA/security/rsa-pss-sha2-256": uacrypto.verify_pss_sha256,
}
"""How a user's signature may be made; SHA-1 is no proof any more."""


NOT_HEARD: Final = "BadUserAccessDenied: not heard, for too many failed before"
"""What the audit has of a log-in whose password or certificate was not even looked at."""


class Proof(NamedTuple):
    """What a client shows of a user, and over what it had to sign.

    `signed` is the server's certificate and nonce, `algorithm` that of the channel's policy;
    `encrypted` says whether the channel hides a password sent as it is.
    """

    activation: Activation
    signed: bytes
    algorithm: str
    encrypted: bool


async def identify(context: Context, session: Session, proof: Proof, peer: str) -> User:
    """The user that a token proves, on record either way. Raises UaStatusCodeError."""
    who, client = _shown(proof.activation.identity), session.name[:NAME_SHOWN_MAX]
    try:
        user = await _identified(context, session, proof, peer)
    except LoginThrottled:
        _log.info("log-in of %s as %r not heard: too many failed", peer, who)
        context.audit.put(LOGIN_REFUSED, peer, who, NOT_HEARD, client=client)
        raise ua.UaStatusCodeError(_CODES.BadUserAccessDenied) from None
    except ua.UaStatusCodeError as error:
        outcome = ua.status_codes.get_name_and_doc(error.code)[0]
        context.audit.put(LOGIN_REFUSED, peer, who, outcome, client=client)
        raise
    detail = {"role": user.role.name.lower(), "client": client}
    context.audit.put(LOGIN, peer, user.name, "logged in", **detail)
    return user


def _shown(identity: Any) -> str:
    """Whom a client says to be."""
    if isinstance(identity, ua.UserNameIdentityToken):
        return str(identity.UserName or "")[:NAME_SHOWN_MAX]
    if isinstance(identity, ua.X509IdentityToken):
        return f"certificate {fingerprint(identity.CertificateData or b'')}"
    return "anonymous"


async def _identified(context: Context, session: Session, proof: Proof, peer: str) -> User:
    """Raises UaStatusCodeError and LoginThrottled."""
    identity = proof.activation.identity
    if isinstance(identity, ua.AnonymousIdentityToken):
        if not context.settings.insecure:
            raise ua.UaStatusCodeError(_CODES.BadIdentityTokenRejected)
        return GUEST
    if isinstance(identity, ua.X509IdentityToken):
        return _by_certificate(context, identity, proof, peer)
    if not isinstance(identity, ua.UserNameIdentityToken):
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenRejected)
    password = _password(context, session, identity, proof.encrypted)
    name = identity.UserName or ""
    user = await context.logins.check(name, password, peer)
    if user is None:
        _log.warning("log-in of %s as %r refused", peer, name[:NAME_SHOWN_MAX])
        raise ua.UaStatusCodeError(_CODES.BadUserAccessDenied)
    return user


def _by_certificate(
    context: Context, identity: ua.X509IdentityToken, proof: Proof, peer: str
) -> User:
    """The user of a certificate whose key the client has (OPC 10000-4 sections 5.7.3, 7.41.5)."""
    context.logins.refuse_if_throttled(peer)
    try:
        data = trust.split_chain(identity.CertificateData or b"")[0]
        certificate = trust.parse(data)
        known_by = fingerprint(data)
        trust.check_user(certificate, datetime.fromtimestamp(context.clock.utc_ns() / 1e9, UTC))
    except NotTrusted as refused:
        _log.warning("log-in of %s by certificate refused: %s", peer, refused)
        context.logins.failed(peer, "a certificate")
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenInvalid) from None
    activation = proof.activation
    verify = _VERIFY.get(activation.user_algorithm or proof.algorithm)
    try:
        if verify is None:
            raise InvalidSignature
        verify(certificate, proof.signed, activation.user_signature)
    except InvalidSignature:
        context.logins.failed(peer, "a certificate")
        raise ua.UaStatusCodeError(_CODES.BadUserSignatureInvalid) from None
    user = context.logins.of_certificate(known_by)
    if user is None:
        _log.warning(
            "log-in of %s by the certificate of %s refused: no user in site.yaml has "
            "`certificate: %s`",
            peer,
            trust.subject(certificate),
            known_by,
        )
        context.logins.failed(peer, "a certificate")
        raise ua.UaStatusCodeError(_CODES.BadIdentityTokenRejected)
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
