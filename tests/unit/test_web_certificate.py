"""The page's certificate: made once, kept, renewed when it must be; clients can verify it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gateway.web.certificate import DAYS, WebCertificate, lacking, make, named, own

NOW = datetime.now(UTC)
NAMES = ["gw-a.plant", "127.0.0.1", "::1"]


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    first = own(tmp_path, "pump a", NAMES, NOW)
    assert first.made and not first.issued
    assert first.key.stat().st_mode & 0o77 == 0
    again = own(tmp_path, "pump a", NAMES[:2], NOW)
    assert (again.read, again.made) == (first.read, False), "a name fewer changes nothing"
    assert lacking(first.read, [*NAMES, "10.0.0.1"]) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("names", "now"),
    [
        ([*NAMES, "gw.plant"], NOW),
        (NAMES, NOW + timedelta(days=DAYS - 29)),
    ],
)
def test_it_is_renewed_when_a_name_is_missing_or_its_end_is_near(
    tmp_path: Path, names: list[str], now: datetime
) -> None:
    first = own(tmp_path, "pump a", NAMES, NOW)
    second = own(tmp_path, "pump a", names, now)
    assert second.made and second.read != first.read
    assert lacking(second.read, names) == []


def shake_hands(found: WebCertificate, name: str) -> None:
    """A client that trusts this certificate alone, strictly, over memory."""
    client = ssl.create_default_context(cafile=str(found.certificate))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = found.context().wrap_bio(up, down, server_side=True)
    theirs = client.wrap_bio(down, up, server_hostname=name)
    for _ in range(5):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert theirs.version() in ("TLSv1.2", "TLSv1.3")


def test_a_strict_client_that_trusts_it_gets_in_by_each_of_its_names(tmp_path: Path) -> None:
    found = own(tmp_path, "pump a", NAMES, NOW)
    for name in NAMES:
        shake_hands(found, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(found, "other.plant")


def test_one_that_is_named_is_used_as_it_is(tmp_path: Path) -> None:
    key, certificate = make("pump a", ["gw"], NOW)
    (tmp_path / "web.crt").write_bytes(certificate)
    (tmp_path / "web.key").write_bytes(key)
    found = named(tmp_path / "web.crt", tmp_path / "web.key")
    assert found.read == x509.load_pem_x509_certificate(certificate)
    shake_hands(found, "gw")
    other, _ = make("pump b", ["gw"], NOW)
    (tmp_path / "web.key").write_bytes(other)
    with pytest.raises(OSError, match=r"KEY_VALUES_MISMATCH|key values mismatch"):
        found.context()
    (tmp_path / "web.crt").write_text("nothing")
    with pytest.raises(ValueError, match=r"."):
        named(tmp_path / "web.crt", tmp_path / "web.key")
