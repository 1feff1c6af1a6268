"""What the library is told of this server: who it is, and by which policies it may be reached."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from asyncua import Server, ua

from gateway.server.discovery import PRODUCT_URI, Member

_SECURE: Final = (
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Basic256Sha256_Sign,
)


async def say_who_we_are(server: Server) -> None:
    """BuildInfo, with the version that is installed."""
    try:
        release = version("hotpair")
    except PackageNotFoundError:
        release = "0"
    built = datetime.now(UTC)
    await server.set_build_info(PRODUCT_URI, "Hotpair", "Hotpair", release, release, built)


def offer_endpoints(server: Server, own: Member, insecure: bool) -> None:
    """Every policy that is safe; `insecure` adds None, and nobody's name."""
    server.product_uri = PRODUCT_URI
    server.name = own.name
    server.application_type = ua.ApplicationType.Server
    server.set_endpoint(own.urls[0])
    policies = list(_SECURE)
    tokens: list[Any] = [ua.UserNameIdentityToken, ua.X509IdentityToken]
    if insecure:
        policies.append(ua.SecurityPolicyType.NoSecurity)
        tokens.insert(0, ua.AnonymousIdentityToken)
    server.set_security_policy(policies)
    server.set_identity_tokens(tokens)
