"""The PKI folder: what is read of it, what is kept of strangers, and what an administrator does."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import DAY, Made, make, revoke
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import ControlError
from gateway.server import trust, trust_folder
from gateway.server.trust import NotTrusted, check
from gateway.server.trust_folder import TrustFolder

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ROOT = make("Plant root", ca=True, now=NOW)
SUB = make("Line 3 CA", ROOT, ca=True, now=NOW)
CLIENT = make("HMI", SUB, now=NOW)
LONE = make("SCADA", now=NOW)


@pytest.fixture
def folder(tmp_path: Path) -> TrustFolder:
    found = TrustFolder(tmp_path / "pki")
    found.make()
    return found


def put(folder: TrustFolder, name: str, data: bytes) -> Path:
    path = folder.path / name
    path.write_bytes(data)
    return path


def print_of(made: Made) -> str:
    return trust.thumbprint(made.der)


def passes(folder: TrustFolder, sent: bytes) -> bool:
    try:
        return bool(check(sent, folder.load().trust, NOW))
    except NotTrusted:
        return False


def test_every_kind_of_file_is_used(folder: TrustFolder) -> None:
    put(folder, "trusted/certs/root.pem", ROOT.pem)
    put(folder, "issuers/certs/sub.der", SUB.der)
    put(folder, "trusted/crl/root.crl", revoke(ROOT, now=NOW).public_bytes(Encoding.PEM))
    assert passes(folder, CLIENT.der)
    taken = revoke(SUB, CLIENT.certificate.serial_number, now=NOW)
    put(folder, "issuers/crl/sub.crl", taken.public_bytes(Encoding.DER))
    assert not passes(folder, CLIENT.der)
    assert folder.load().problems == ()


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    found = TrustFolder(tmp_path / "none")
    assert not found.load().trusted
    assert found.entries() == []


def test_a_change_is_seen_and_nothing_is_read_without_one(folder: TrustFolder) -> None:
    first = folder.load()
    assert folder.load() is first
    path = put(folder, "trusted/certs/a.der", LONE.der)
    assert passes(folder, LONE.der)
    assert folder.load() is folder.load()
    put(folder, "trusted/certs/a.der", CLIENT.der + b"")
    os.utime(path, (1, 1))
    assert not passes(folder, LONE.der)
    path.unlink()
    assert not folder.load().trusted


def test_a_file_that_is_no_certificate_is_a_problem_and_the_others_count(
    folder: TrustFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "trusted/certs/a.der", b"hello")
    put(folder, "trusted/certs/b.pem", b"-----BEGIN CERTIFICATE-----\n")
    put(folder, "trusted/certs/c.der", LONE.der)
    put(folder, "trusted/certs/d.der.partial", b"half")
    put(folder, "issuers/crl/e.crl", b"hello")
    (folder.path / "trusted/certs/f.der").mkdir()
    assert passes(folder, LONE.der)
    problems = folder.load().problems
    assert [text.partition(" is not used")[0].rpartition("/")[2] for text in problems] == [
        "a.der",
        "b.pem",
        "f.der",
        "e.crl",
    ]
    monkeypatch.setattr(trust_folder, "FILE_MAX_BYTES", 100)
    put(folder, "trusted/certs/a.der", b"hello again")
    assert not passes(folder, LONE.der)
    assert any("it is larger than" in text for text in folder.load().problems)


def test_strangers_are_kept_within_bounds(
    folder: TrustFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_folder, "REJECTED_MAX", 3)
    old = folder.reject(b"old", NOW - 31 * DAY)
    assert old.exists()
    paths = [folder.reject(b"%d" % n, NOW + timedelta(seconds=n)) for n in range(5)]
    assert not old.exists()
    assert [path.exists() for path in paths] == [False, False, True, True, True]
    again = folder.reject(b"2", NOW + timedelta(seconds=9))
    folder.reject(b"9", NOW + timedelta(seconds=10))
    assert again == paths[2] and again.exists() and not paths[3].exists()
    folder.reject(b"late", NOW + 40 * DAY)
    assert len(list((folder.path / "rejected/certs").iterdir())) == 1


def test_accepting_and_removing(folder: TrustFolder) -> None:
    folder.reject(LONE.der, NOW)
    shown = print_of(LONE)
    entry = folder.accept(shown[:6].upper())
    assert (entry.state, entry.path.name) == ("trusted", f"{shown}.der")
    assert [e.state for e in folder.entries()] == ["trusted"]
    assert passes(folder, LONE.der)
    put(folder, "trusted/certs/again.pem", LONE.pem)
    colons = ":".join(shown[n : n + 2] for n in range(0, 40, 2))
    assert folder.remove(colons).thumbprint == shown
    assert [e.state for e in folder.entries()] == ["rejected"]
    assert not passes(folder, LONE.der)


def test_a_file_is_accepted_and_a_ca_may_only_complete_chains(
    folder: TrustFolder, tmp_path: Path
) -> None:
    files = {made: tmp_path / f"{n}.pem" for n, made in enumerate((ROOT, SUB, LONE))}
    for made, path in files.items():
        path.write_bytes(made.pem)
    assert folder.accept(str(files[SUB]), as_issuer=True).state == "issuer"
    assert not passes(folder, CLIENT.der)
    assert folder.accept(str(files[ROOT])).state == "trusted"
    assert passes(folder, CLIENT.der)
    with pytest.raises(ControlError, match="CN=SCADA is no CA"):
        folder.accept(str(files[LONE]), as_issuer=True)
    assert folder.remove(print_of(SUB)[:8]).state == "issuer"
    assert not passes(folder, CLIENT.der)


def test_mistakes_are_named_with_their_remedy(folder: TrustFolder, tmp_path: Path) -> None:
    folder.reject(LONE.der, NOW)
    noise = tmp_path / "noise.der"
    noise.write_bytes(b"hello")
    for which, message in (
        ("abc", "no thumbprint, and no such file"),
        ("xyz12345", "no thumbprint, and no such file"),
        ("00" * 20, "no rejected certificate has the thumbprint"),
        (str(noise), "holds no certificate"),
    ):
        with pytest.raises(ControlError, match=message) as refused:
            folder.accept(which)
        assert refused.value.remedy
    with pytest.raises(ControlError, match="no trusted or issuer certificate"):
        folder.remove(print_of(LONE))


def test_a_prefix_of_two_names_none(folder: TrustFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.reject(LONE.der, NOW)
    folder.reject(CLIENT.der, NOW)
    monkeypatch.setattr(trust_folder, "PREFIX_MIN", 0)
    with pytest.raises(ControlError, match="several certificates begin with"):
        folder.accept("")


def test_a_folder_that_can_not_be_written_is_told(folder: TrustFolder) -> None:
    folder.reject(LONE.der, NOW)
    blocked = folder.path / "trusted/certs" / f"{print_of(LONE)}.der"
    blocked.mkdir()
    with pytest.raises(ControlError, match="can't be written"):
        folder.accept(print_of(LONE))
    blocked.rmdir()
    folder.accept(print_of(LONE))
    (folder.path / "rejected/certs" / f"{print_of(LONE)}.der").mkdir()
    with pytest.raises(ControlError, match="can't be removed"):
        folder.remove(print_of(LONE))


def test_a_crl_whose_issuer_is_no_text_is_told(folder: TrustFolder) -> None:
    put(folder, "trusted/certs/root.der", ROOT.der)
    whole = revoke(ROOT, now=NOW).public_bytes(Encoding.DER)
    path = put(folder, "trusted/crl/root.crl", whole.replace(b"Plant root", b"\xff" * 10))
    [text] = folder.load().problems
    assert text.startswith(f"{path} is not used: ")
    assert text.endswith("; put DER or PEM in its place, or remove it")


def test_a_crl_that_is_malformed_anywhere_is_told_or_does_no_harm(folder: TrustFolder) -> None:
    """The library reads parts of a CRL when they are asked for; that may be when a client comes."""
    put(folder, "trusted/certs/root.der", ROOT.der)
    client = make("HMI 2", ROOT, now=NOW)
    whole = revoke(ROOT, client.certificate.serial_number, now=NOW).public_bytes(Encoding.DER)
    told = 0
    path = put(folder, "trusted/crl/root.crl", whole)
    for at in range(0, len(whole), 7):
        for other in (0x00, 0xFF, whole[at] ^ 1):
            path.write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
            os.utime(path, ns=(at, at * 1_000 + other))
            loaded = folder.load()
            with contextlib.suppress(NotTrusted):
                check(client.der, loaded.trust, NOW)
            if loaded.problems:
                told += 1
                [text] = loaded.problems
                assert text.startswith(f"{path} is not used: ")
                assert text.endswith("; put DER or PEM in its place, or remove it")
    assert told > 30
