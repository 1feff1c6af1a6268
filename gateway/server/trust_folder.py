"""The node's PKI folder: who is trusted, and who asked in vain (OPC 10000-12 annex F).

    own/              this server's key and certificate
    trusted/certs     clients, and CAs whose clients are all trusted; trusted/crl: the CAs' CRLs
    issuers/certs     CAs that only complete a chain; issuers/crl: their CRLs
    rejected/certs    who was refused, by thumbprint; the newest 100, for 30 days

Files are DER or PEM. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509

from gateway.errors import ControlError, NotThere
from gateway.server import trust
from gateway.server.trust import UNREADABLE, NotTrusted, TrustList

FILES_MAX: Final = 1_000
FILE_MAX_BYTES: Final = 4 * 2**20
"""A CRL of a large CA has a few MB; a certificate has a few kB."""
REJECTED_MAX: Final = 100
REJECTED_FOR: Final = timedelta(days=30)
_FOLDERS: Final = ("trusted/certs", "trusted/crl", "issuers/certs", "issuers/crl", "rejected/certs")
PREFIX_MIN: Final = 4
Stamp = tuple[tuple[str, int, int], ...]


class Entry(NamedTuple):
    """A certificate in the folder; `state` is trusted, issuer or rejected."""

    state: str
    path: Path
    certificate: x509.Certificate

    @property
    def thumbprint(self) -> str:
        """SHA-1 of its DER bytes, 40 hex digits."""
        return trust.thumbprint(trust.der(self.certificate))


@dataclass(frozen=True, slots=True)
class Loaded:
    """The lists as they lie in the folder; `problems` are files that could not be used."""

    trust: TrustList = field(default_factory=TrustList)
    trusted: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()


class TrustFolder:
    """A PKI folder, read again whenever a file in it changed."""

    def __init__(self, pki_dir: Path) -> None:
        self._pki = pki_dir
        self._stamp: Stamp | None = None
        self._loaded = Loaded()

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._pki

    def make(self) -> None:
        """Make what is missing of the folders. Raises OSError."""
        for name in _FOLDERS:
            (self._pki / name).mkdir(parents=True, exist_ok=True)

    def load(self) -> Loaded:
        """The lists now; read anew only if a file changed. Raises OSError."""
        stamp = self._stamps()
        if stamp != self._stamp:
            self._loaded = self._read()
            self._stamp = stamp
        return self._loaded

    def _stamps(self) -> Stamp:
        return tuple(
            (str(path), found.st_mtime_ns, found.st_size)
            for name in _FOLDERS[:4]
            for path in _files(self._pki / name)
            if (found := _stat(path)) is not None
        )

    def _read(self) -> Loaded:
        problems: list[str] = []

        def read(name: str, parse: Callable[[bytes], Any]) -> list[tuple[Path, Any]]:
            found = []
            for path in _files(self._pki / name):
                try:
                    found.append((path, parse(_content(path))))
                except (OSError, NotTrusted, *UNREADABLE) as error:
                    problems.append(
                        f"{path} is not used: {error}; put DER or PEM in its place, or remove it"
                    )
            return found

        trusted = read("trusted/certs", parse_certificate)
        issuers = read("issuers/certs", parse_certificate)
        crls = read("trusted/crl", _parse_crl) + read("issuers/crl", _parse_crl)
        found = TrustList.of(
            [one for _, one in trusted], [one for _, one in issuers], [one for _, one in crls]
        )
        entries = tuple(Entry("trusted", path, one) for path, one in trusted)
        return Loaded(found, entries, tuple(problems))

    def reject(self, der: bytes, now: datetime) -> Path:
        """Keep a refused certificate for whoever may accept it. Raises OSError."""
        folder = self._pki / "rejected/certs"
        path = folder / f"{trust.thumbprint(der)}.der"
        _write(path, der)
        os.utime(path, (now.timestamp(), now.timestamp()))
        aged = sorted((found.st_mtime, path) for path in _files(folder) if (found := _stat(path)))
        oldest = (now - REJECTED_FOR).timestamp()
        for place, (written, stale) in enumerate(reversed(aged)):
            if place >= REJECTED_MAX or written < oldest:
                stale.unlink(missing_ok=True)
        return path

    # ------------------------------------------------------------- what an administrator does

    def entries(self) -> list[Entry]:
        """Every certificate that can be read: trusted, issuers, rejected."""
        return [
            Entry(state, path, found)
            for state, name in (
                ("trusted", "trusted/certs"),
                ("issuer", "issuers/certs"),
                ("rejected", "rejected/certs"),
            )
            for path in _files(self._pki / name)
            if (found := _readable(path)) is not None
        ]

    def accept(self, which: str, as_issuer: bool = False) -> Entry:
        """Trust a rejected certificate, by thumbprint, or the one in a file. Raises ControlError.

        `as_issuer` puts a CA where it completes chains without being trusted itself.
        """
        file = Path(which)
        if file.is_file():
            try:
                certificate = parse_certificate(_content(file))
            except (OSError, ValueError, NotTrusted) as error:
                raise ControlError(
                    f"{file} holds no certificate: {error}", "Give DER or PEM"
                ) from error
            chosen = Entry("file", file, certificate)
        else:
            chosen = self._chosen(which, ("rejected",), "`hotpair trust list` shows who asked")
        if as_issuer and not trust.is_authority(chosen.certificate):
            raise ControlError(
                f"{trust.subject(chosen.certificate)} is no CA", "Accept it without --issuer"
            )
        state, name = ("issuer", "issuers/certs") if as_issuer else ("trusted", "trusted/certs")
        path = self._pki / name / f"{chosen.thumbprint}.der"
        try:
            self.make()
            _write(path, trust.der(chosen.certificate))
            if chosen.state == "rejected":
                chosen.path.unlink(missing_ok=True)
        except OSError as error:
            raise ControlError(
                f"{path} can't be written: {error.strerror}",
                "Run this as the user whose node it is",
            ) from error
        return Entry(state, path, chosen.certificate)

    def remove(self, which: str) -> Entry:
        """Trust a certificate no more; it lies under rejected again. Raises ControlError."""
        chosen = self._chosen(which, ("trusted", "issuer"), "`hotpair trust list` shows them")
        try:
            self.reject(trust.der(chosen.certificate), datetime.now(UTC))
            for entry in self.entries():  # perhaps it lies there under two names
                if entry.state != "rejected" and entry.certificate == chosen.certificate:
                    entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise ControlError(
                f"{chosen.path} can't be removed: {error.strerror}",
                "Run this as the user whose node it is",
            ) from error
        return chosen

    def _chosen(self, which: str, states: tuple[str, ...], remedy: str) -> Entry:
        prefix = which.replace(":", "").replace(" ", "").lower()
        words = " or ".join(states)
        if len(prefix) < PREFIX_MIN or not set(prefix) <= set("0123456789abcdef"):
            raise ControlError(
                f"{which!r} is no thumbprint, and no such file is there",
                f"Give {PREFIX_MIN} or more of its hex digits, or the name of a file",
            )
        found = [
            entry
            for entry in self.entries()
            if entry.state in states and entry.thumbprint.startswith(prefix)
        ]
        if not found:
            raise NotThere(f"no {words} certificate has the thumbprint {which}", remedy)
        if len({entry.thumbprint for entry in found}) > 1:
            raise ControlError(
                f"several certificates begin with {which}", "Give more digits of the thumbprint"
            )
        return found[0]


def parse_certificate(data: bytes) -> x509.Certificate:
    """A certificate from DER or PEM. Raises ValueError and NotTrusted."""
    if b"-----BEGIN" in data:
        return trust.parse(trust.der(x509.load_pem_x509_certificate(data)))
    return trust.parse(data)


def _parse_crl(data: bytes) -> x509.CertificateRevocationList:
    """A CRL from DER or PEM. Raises what is UNREADABLE, now and not when a client comes."""
    is_pem = b"-----BEGIN" in data
    found = x509.load_pem_x509_crl(data) if is_pem else x509.load_der_x509_crl(data)
    # The library reads these parts when they are asked for.
    _ = found.issuer, found.next_update_utc, found.get_revoked_certificate_by_serial_number(1)
    return found


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder in the order of their names; what is being written is none."""
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    shown = (path for path in paths if path.suffix != ".partial" and path.name[0] != ".")
    yield from islice(shown, FILES_MAX)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(FILE_MAX_BYTES + 1)
    if len(data) > FILE_MAX_BYTES:
        raise ValueError(f"it is larger than {FILE_MAX_BYTES // 2**20} MiB")
    return data


def _readable(path: Path) -> x509.Certificate | None:
    with contextlib.suppress(OSError, ValueError, NotTrusted):
        return parse_certificate(_content(path))
    return None


def _write(path: Path, data: bytes) -> None:
    # Complete or not at all: a node reads beside us.
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
