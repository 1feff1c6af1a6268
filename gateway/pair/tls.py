"""TLS between the nodes: 1.3, mutual, the peer's certificate pinned; and what failed, in words.

OpenSSL sees to the dates and to the proof that the peer has its key. Whose fault a failure is, is
told from this node's own files, since after a failed handshake nobody shows the certificate. With
TLS 1.3 the dialling side learns only with its first read that it was refused.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Final

from gateway.config.node import LinkTls
from gateway.errors import ControlError
from gateway.model import format_time
from gateway.pair.certificate import WARN_NS, Certificate, belongs, read_certificate
from gateway.pair.hello import HelloRefused

_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_CLOCKS: Final = "Set the clocks of both nodes right"
_RENEW: Final = "Make new ones with `hotpair cert`, for both nodes"
_ALERTS_OF_IDENTITY: Final = (
    "ALERT_UNKNOWN_CA",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_DECRYPT_ERROR",
)


class Security:
    """The keys of this node and the one certificate it trusts, as its files were at the start."""

    def __init__(self, files: LinkTls) -> None:
        """Raises ControlError."""
        texts = [_read(path) for path in (files.cert, files.key, files.peer_cert)]
        try:
            self.mine = read_certificate(texts[0])
            together = belongs(texts[1], texts[0])
            self.peer = read_certificate(texts[2])
        except ValueError as error:
            raise ControlError(f"`link: tls:` can't be used: {error}", _CHECK) from error
        if not together:
            raise ControlError(f"{files.key} is not the key of {files.cert}", _CHECK)
        self._files = files
        self._dials = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self._listens = self._context(ssl.PROTOCOL_TLS_SERVER)
        self._listens.num_tickets = 0  # A resumed session would skip the look at the dates.

    def _context(self, side: ssl._SSLMethod) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # The certificate is known by every byte.
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=self.peer.der)
        context.load_cert_chain(self._files.cert, self._files.key)
        return context

    def wrap(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, dialled: bool
    ) -> ssl.SSLObject:
        """One connection's TLS, over two buffers."""
        context = self._dials if dialled else self._listens
        return context.wrap_bio(incoming, outgoing, server_side=not dialled)

    def check(self, secured: ssl.SSLObject) -> None:
        """After the handshake: the peer's certificate is the pinned one. Raises HelloRefused."""
        if secured.getpeercert(binary_form=True) != self.peer.der:
            raise self._not_pinned()

    def _not_pinned(self) -> HelloRefused:
        return HelloRefused(
            f"the certificate shown there is not the one in {self._files.peer_cert.name} "
            f"({self.peer.name}, {self.peer.fingerprint})",
            f"Copy the other node's `cert:` to {self._files.peer_cert.name} of this node",
        )

    def explain(self, error: ssl.SSLError, now_ns: int) -> HelloRefused:
        """What a failed handshake, or a late alert, means; `now_ns` is UTC."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._refused_by_us(error.verify_code)
        reason = error.reason or str(error)
        if "ALERT_CERTIFICATE_EXPIRED" in reason or "ALERT_BAD_CERTIFICATE" in reason:
            return self._dates_refused_by_peer("EXPIRED" in reason, now_ns)
        if any(alert in reason for alert in _ALERTS_OF_IDENTITY):
            return HelloRefused(
                f"the peer refuses this node's certificate {self._files.cert.name} "
                f"({self.mine.name}, {self.mine.fingerprint}): it is not its `peer_cert:`",
                "Copy it to the other node, and name it there as `peer_cert:`",
            )
        if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return HelloRefused("it shows no certificate", stranger=True)
        return HelloRefused(f"TLS fails: {reason.lower().replace('_', ' ')}", stranger=True)

    def _refused_by_us(self, code: int) -> HelloRefused:
        name, peer = self._files.peer_cert.name, self.peer
        if code == _EXPIRED:
            return HelloRefused(
                f"the peer's certificate {name} ({peer.name}) expired at "
                f"{format_time(peer.valid_until_ns)}",
                _RENEW,
            )
        if code == _NOT_YET_VALID:
            return HelloRefused(
                f"the peer's certificate {name} ({peer.name}) is valid from "
                f"{format_time(peer.valid_from_ns)} on, by this node's clock that is to come",
                _CLOCKS,
            )
        return self._not_pinned()

    def _dates_refused_by_peer(self, expired: bool, now_ns: int) -> HelloRefused:
        mine = f"this node's certificate {self._files.cert.name} ({self.mine.name})"
        until = format_time(self.mine.valid_until_ns)
        if expired and self.mine.valid_until_ns <= now_ns:
            return HelloRefused(f"{mine} expired at {until}: the peer refuses it", _RENEW)
        if expired:
            return HelloRefused(
                f"by the peer's clock {mine} is expired, by this node's it is valid until {until}",
                _CLOCKS,
            )
        return HelloRefused(
            f"by the peer's clock {mine} is not valid yet: it is from "
            f"{format_time(self.mine.valid_from_ns)} on",
            _CLOCKS,
        )

    def warnings(self, now_ns: int) -> list[str]:
        """What somebody should see to: a key that others can read, a certificate near its end."""
        named = ((self._files.cert, self.mine), (self._files.peer_cert, self.peer))
        found = [_ending(path, one, now_ns) for path, one in named if _ends_soon(one, now_ns)]
        key = self._files.key
        with contextlib.suppress(OSError):
            if key.stat().st_mode & 0o077:
                found.append(f"others can read {key}, the key of the link. Do `chmod 600` on it")
        return found


_CHECK: Final = "Run `hotpair check` on node.yaml"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ControlError(f"{path} can't be read: {error.strerror}", _CHECK) from error


def _ends_soon(certificate: Certificate, now_ns: int) -> bool:
    return certificate.valid_until_ns - now_ns < WARN_NS


def _ending(path: Path, certificate: Certificate, now_ns: int) -> str:
    word = "expired" if certificate.valid_until_ns <= now_ns else "will expire"
    until = format_time(certificate.valid_until_ns)
    return f"the link's certificate {path.name} ({certificate.name}) {word} at {until}. {_RENEW}"
