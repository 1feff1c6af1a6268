"""Whether a client's certificate is trusted: the steps of OPC 10000-4 section 6.1.3, in order.

Structure, chain, signature, security policy, trust list, validity, usage, revocation; the URI comes
with CreateSession. The host name is for clients to check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

CHAIN_MAX: Final = 10
CHAIN_MAX_BYTES: Final = 65_536
KEY_BITS: Final = (2_048, 4_096)
"""Of all three policies that are offered (OPC 10000-7, Basic256Sha256 and its successors)."""
HASHES: Final = frozenset({"sha256", "sha384", "sha512"})

INVALID: Final = 0x8012_0000
SECURITY_CHECKS_FAILED: Final = 0x8013_0000
TIME_INVALID: Final = 0x8014_0000
ISSUER_TIME_INVALID: Final = 0x8015_0000
URI_INVALID: Final = 0x8017_0000
USE_NOT_ALLOWED: Final = 0x8018_0000
ISSUER_USE_NOT_ALLOWED: Final = 0x8019_0000
UNTRUSTED: Final = 0x801A_0000
REVOKED: Final = 0x801D_0000
ISSUER_REVOKED: Final = 0x801E_0000
CHAIN_INCOMPLETE: Final = 0x810D_0000
POLICY_CHECK_FAILED: Final = 0x8114_0000
NAMES: Final[Mapping[int, str]] = {
    INVALID: "BadCertificateInvalid",
    TIME_INVALID: "BadCertificateTimeInvalid",
    ISSUER_TIME_INVALID: "BadCertificateIssuerTimeInvalid",
    URI_INVALID: "BadCertificateUriInvalid",
    USE_NOT_ALLOWED: "BadCertificateUseNotAllowed",
    ISSUER_USE_NOT_ALLOWED: "BadCertificateIssuerUseNotAllowed",
    UNTRUSTED: "BadCertificateUntrusted",
    REVOKED: "BadCertificateRevoked",
    ISSUER_REVOKED: "BadCertificateIssuerRevoked",
    CHAIN_INCOMPLETE: "BadCertificateChainIncomplete",
    POLICY_CHECK_FAILED: "BadCertificatePolicyCheckFailed",
}
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for a certificate or CRL that is none."""
_TOLD: Final = frozenset(
    {TIME_INVALID, ISSUER_TIME_INVALID, URI_INVALID, USE_NOT_ALLOWED, ISSUER_USE_NOT_ALLOWED}
)
"""What a client is told; of the others it hears BadSecurityChecksFailed and no reason."""


class NotTrusted(Exception):
    """A step failed: `status` for the log, `told` for the client, the text says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{NAMES[status]}: {why}")
        self.status = status
        self.why = why

    @property
    def told(self) -> int:
        """The status that the client is answered with."""
        return self.status if self.status in _TOLD else SECURITY_CHECKS_FAILED


@dataclass(frozen=True, slots=True)
class TrustList:
    """What an administrator trusts: certificates (of clients or of their CAs), issuers, CRLs."""

    trusted: frozenset[bytes] = frozenset()
    issuers: Mapping[x509.Name, tuple[x509.Certificate, ...]] = field(default_factory=dict)
    crls: Mapping[x509.Name, tuple[x509.CertificateRevocationList, ...]] = field(
        default_factory=dict
    )

    @classmethod
    def of(
        cls,
        trusted: Sequence[x509.Certificate],
        issuers: Sequence[x509.Certificate],
        crls: Sequence[x509.CertificateRevocationList] = (),
    ) -> TrustList:
        """A list; a trusted CA is an issuer, too."""
        by_name: dict[x509.Name, tuple[x509.Certificate, ...]] = {}
        for found in (*trusted, *issuers):
            by_name[found.subject] = (*by_name.get(found.subject, ()), found)
        lists: dict[x509.Name, tuple[x509.CertificateRevocationList, ...]] = {}
        for crl in crls:
            lists[crl.issuer] = (*lists.get(crl.issuer, ()), crl)
        return cls(frozenset(map(der, trusted)), by_name, lists)


class Accepted(NamedTuple):
    """A certificate that passed; `notes` are checks that could not be made (no CRL)."""

    certificate: x509.Certificate
    notes: tuple[str, ...] = ()


def der(certificate: x509.Certificate) -> bytes:
    """The certificate's bytes."""
    return certificate.public_bytes(Encoding.DER)


def thumbprint(data: bytes) -> str:
    """What OPC UA calls a certificate's thumbprint: SHA-1 of its DER bytes, 40 hex digits."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def fingerprint(data: bytes) -> str:
    """SHA-256 of a certificate's DER bytes, 64 hex digits: what a user is known by."""
    return hashlib.sha256(data).hexdigest()


def split_chain(data: bytes) -> list[bytes]:
    """The certificates of a chain as it is sent: one after the other. Raises NotTrusted.

    OPC 10000-6 section 6.2.6: the sender's own comes first.
    """
    if not data or len(data) > CHAIN_MAX_BYTES:
        raise NotTrusted(INVALID, f"{len(data)} bytes are no certificate")
    found: list[bytes] = []
    rest = data
    while rest:
        size = _der_size(rest)
        if size is None or size > len(rest) or len(found) >= CHAIN_MAX:
            raise NotTrusted(INVALID, "what was sent is no chain of certificates")
        found.append(rest[:size])
        rest = rest[size:]
    return found


def _der_size(data: bytes) -> int | None:
    """How long the DER sequence is with which `data` begins."""
    if len(data) < 2 or data[0] != 0x30:
        return None
    if data[1] < 0x80:
        return 2 + data[1]
    count = data[1] & 0x7F
    if not 1 <= count <= 3:
        return None
    return 2 + count + int.from_bytes(data[2 : 2 + count], "big")


def parse(data: bytes) -> x509.Certificate:
    """A certificate from DER, its extensions read. Raises NotTrusted."""
    try:
        found = x509.load_der_x509_certificate(data)
        _ = found.extensions, found.not_valid_after_utc, found.subject, found.issuer
    except UNREADABLE as error:
        raise NotTrusted(INVALID, f"it can't be read: {error}") from error
    return found


def check(sent: bytes, trust: TrustList, now: datetime) -> Accepted:
    """A client's certificate, perhaps with its chain, against the list. Raises NotTrusted."""
    first, *others = [parse(part) for part in split_chain(sent)]
    chain = _build(first, others, trust)
    for link in chain:
        _check_policy(link, is_own=link is first)
    if not any(der(link) in trust.trusted for link in chain):
        raise NotTrusted(UNTRUSTED, "neither it nor its issuer is in the trust list")
    for link in chain:
        _check_time(link, now, is_own=link is first)
    _check_use(first)
    for depth, issuer in enumerate(chain[1:]):
        _check_issuer(issuer, depth)
    notes: list[str] = []
    for link, issuer in pairwise(chain):
        notes += _check_revoked(link, issuer, trust, now, is_own=link is first)
    return Accepted(first, tuple(notes))


def check_uri(certificate: x509.Certificate, application_uri: str) -> None:
    """The certificate must name the client's ApplicationUri. Raises NotTrusted."""
    named = uris(certificate)
    if application_uri not in named:
        raise NotTrusted(
            URI_INVALID,
            f"it names {', '.join(named) or 'no URI'}, the client says {application_uri[:200]!r}",
        )


def uris(certificate: x509.Certificate) -> list[str]:
    """The URIs that a certificate names."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def subject(certificate: x509.Certificate) -> str:
    """Whose certificate it is, on one line."""
    return certificate.subject.rfc4514_string()[:200]


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may issue others."""
    basic = _extension(certificate, x509.BasicConstraints)
    return basic is not None and basic.ca


def check_user(certificate: x509.Certificate, now: datetime) -> None:
    """What holds of a user's certificate, too, which is trusted by name. Raises NotTrusted."""
    _check_policy(certificate, is_own=True)
    _check_time(certificate, now, is_own=True)


def _extension(
    certificate: x509.Certificate, kind: type[x509.extensions.ExtensionTypeVar]
) -> x509.extensions.ExtensionTypeVar | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _build(
    first: x509.Certificate, sent: Iterable[x509.Certificate], trust: TrustList
) -> list[x509.Certificate]:
    """The chain from a certificate to a root, each signature verified. Raises NotTrusted."""
    others = list(sent)
    chain = [first]
    while not _signed_by(chain[-1], chain[-1]):
        last = chain[-1]
        # Those of the list first: a variant that the client sent must not stand before them.
        named = list(trust.issuers.get(last.issuer, ()))
        named += [one for one in others if one.subject == last.issuer]
        issuers = [one for one in named if _signed_by(last, one)]
        if last.issuer == last.subject or (named and not issuers):
            raise NotTrusted(INVALID, f"the signature of {subject(last)} is wrong")
        if not issuers:
            raise NotTrusted(
                CHAIN_INCOMPLETE,
                f"the certificate of its issuer {last.issuer.rfc4514_string()[:200]} is missing",
            )
        if len(chain) >= CHAIN_MAX:
            raise NotTrusted(INVALID, f"its chain is longer than {CHAIN_MAX} certificates")
        chain.append(issuers[0])
    return chain


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except UNREADABLE:
        return False
    return True


def _check_policy(certificate: x509.Certificate, is_own: bool) -> None:
    """Kind and length of the key, and how it was signed; issuers may have longer keys."""
    try:
        key, signed_with = certificate.public_key(), certificate.signature_hash_algorithm
    except UNREADABLE as error:
        raise NotTrusted(POLICY_CHECK_FAILED, f"its key is of no known kind: {error}") from error
    least, most = KEY_BITS
    whose = "its" if is_own else f"the issuer {subject(certificate)}'s"
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotTrusted(POLICY_CHECK_FAILED, f"{whose} key is no RSA key")
    if key.key_size < least or (is_own and key.key_size > most):
        raise NotTrusted(
            POLICY_CHECK_FAILED, f"{whose} key has {key.key_size} bits, not {least} to {most}"
        )
    if signed_with is None or signed_with.name not in HASHES:
        name = "nothing known" if signed_with is None else signed_with.name
        raise NotTrusted(POLICY_CHECK_FAILED, f"{whose} signature is made with {name}, not SHA-256")


def _check_time(certificate: x509.Certificate, now: datetime, is_own: bool) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now <= end:
        whose = "it" if is_own else f"its issuer {subject(certificate)}"
        raise NotTrusted(
            TIME_INVALID if is_own else ISSUER_TIME_INVALID,
            f"{whose} is valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, "
            f"and it is {now:%Y-%m-%d %H:%M}",
        )


def _check_use(certificate: x509.Certificate) -> None:
    """OPC 10000-6 section 6.2.2; a certificate that names no use may be used for all (RFC 5280)."""
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None:
        needed = {
            "digitalSignature": usage.digital_signature,
            "keyEncipherment": usage.key_encipherment,
            "dataEncipherment": usage.data_encipherment,
        }
        if lacking := [name for name, there in needed.items() if not there]:
            raise NotTrusted(USE_NOT_ALLOWED, f"its key usage lacks {', '.join(lacking)}")
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extended is not None and not allowed & set(extended):
        raise NotTrusted(USE_NOT_ALLOWED, "its extended key usage lacks clientAuth")


def _check_issuer(issuer: x509.Certificate, depth: int) -> None:
    """`depth` issuers lie between this one and the client's own certificate."""
    basic = _extension(issuer, x509.BasicConstraints)
    if basic is None or not basic.ca:
        raise NotTrusted(ISSUER_USE_NOT_ALLOWED, f"{subject(issuer)} is no CA")
    if basic.path_length is not None and depth > basic.path_length:
        raise NotTrusted(
            ISSUER_USE_NOT_ALLOWED, f"{subject(issuer)} may have {basic.path_length} CAs below it"
        )
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise NotTrusted(ISSUER_USE_NOT_ALLOWED, f"{subject(issuer)} may not sign certificates")


def _check_revoked(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    trust: TrustList,
    now: datetime,
    is_own: bool,
) -> list[str]:
    """Whether its issuer took a certificate back; what could not be found out. Raises NotTrusted.

    Without a CRL the check is left out, as 6.1.3 allows where it is said so.
    """
    known = [crl for crl in trust.crls.get(issuer.subject, ()) if _crl_signed_by(crl, issuer)]
    for crl in known:
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            whose = "it was" if is_own else f"its issuer {subject(certificate)} was"
            status = REVOKED if is_own else ISSUER_REVOKED
            raise NotTrusted(status, f"{whose} revoked by {subject(issuer)}")
    if not known:
        return [f"there is no CRL of {subject(issuer)}"]
    renewals = [crl.next_update_utc for crl in known]
    if all(at is not None and at < now for at in renewals):
        return [f"the CRL of {subject(issuer)} is out of date"]
    return []


def _crl_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    assert isinstance(key, rsa.RSAPublicKey), "of an issuer that passed the policy"
    return crl.is_signature_valid(key)
