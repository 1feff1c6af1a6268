"""What is put on record: at a bounded pace, and nothing unsaid; what a role may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from certificates import make
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import NS_PER_S
from gateway.server import permissions, trust
from gateway.server.admission import Admission
from gateway.server.audit import (
    LOGIN,
    LOGIN_REFUSED,
    PACES,
    Audit,
    Meter,
    Pace,
    user_changes,
)
from gateway.server.certificate import expiry_warning, load_identity
from gateway.server.permissions import Permission
from gateway.server.settings import OpcUaSettings, Role, User

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class StillClock:
    def __init__(self) -> None:
        self.now_ns = 5 * NS_PER_S

    def utc_ns(self) -> int:
        return int(NOW.timestamp()) * NS_PER_S

    def monotonic_ns(self) -> int:
        return self.now_ns


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 5), st.integers(1, 10))
def test_a_meter_never_lets_more_pass_than_its_pace(
    steps: list[int], burst: int, each_ns: int
) -> None:
    meter, now_ns, passed = Meter(Pace(burst, each_ns)), 0, list[int]()
    refused = 0
    for step in steps:
        now_ns += step
        if meter.take(now_ns):
            passed.append(now_ns)
        else:
            refused += 1
    assert meter.left_out == refused
    for number, begin_ns in enumerate(passed):
        for later, end_ns in enumerate(passed[number:], 1):
            assert later <= burst + (end_ns - begin_ns) / each_ns


def test_a_burst_passes_at_once_and_again_after_a_rest() -> None:
    meter = Meter(Pace(3, 10))
    assert [meter.take(0) for _ in range(5)] == [True, True, True, False, False]
    assert [meter.take(10), meter.take(10)] == [True, False]
    assert [meter.take(1_000) for _ in range(4)] == [True, True, True, False]


def test_what_was_left_out_is_counted_and_said() -> None:
    clock, written = StillClock(), list[tuple[Any, ...]]()

    def record(*entry: Any) -> None:
        written.append(entry)

    audit, pace = Audit(record, clock), PACES[LOGIN_REFUSED]
    for _ in range(pace.burst + 7):
        audit.put(LOGIN_REFUSED, "10.0.0.66", "mallory", "BadUserAccessDenied", client="x")
    audit.put(LOGIN, "10.0.0.1", "alice", "logged in")
    assert len(written) == pace.burst + 1
    assert written[0] == (
        LOGIN_REFUSED, "10.0.0.66", "mallory", "BadUserAccessDenied", {"client": "x"}
    )  # fmt: skip
    audit.flush()
    assert len(written) == pace.burst + 1
    clock.now_ns += pace.each_ns
    audit.flush()
    audit.flush()
    assert written[pace.burst + 1 :] == [
        (LOGIN_REFUSED, "", "", "7 more were not recorded one by one", {})
    ]


def test_a_flood_of_a_day_stays_small() -> None:
    day = 86_400 * NS_PER_S
    assert sum(day // pace.each_ns for action, pace in PACES.items() if "refused" in action) < 5_000


def test_changes_of_users_are_named() -> None:
    def user(name: str, role: Role, password: str, certificate: str = "") -> User:
        return User(name, role, password, certificate)

    before = {
        "ann": user("ann", Role.OBSERVER, "a"),
        "bob": user("bob", Role.OPERATOR, "b"),
        "cid": user("cid", Role.ADMIN, "c"),
    }
    after: Mapping[str, User] = {
        "ann": user("ann", Role.OBSERVER, "a"),
        "bob": user("bob", Role.ENGINEER, "b", "ff"),
        "dan": user("dan", Role.OBSERVER, "d"),
    }
    assert user_changes(before, after) == [
        ("bob", "operator becomes engineer"),
        ("bob", "has another password or certificate"),
        ("cid", "removed"),
        ("dan", "added as observer"),
    ]


# --------------------------------------------------------------------------------- permissions


def test_the_numbers_are_those_of_the_standard() -> None:
    for bit in Permission:
        camel = "".join(word.capitalize() for word in str(bit.name).split("_"))
        assert ua.PermissionType[camel] == bit.value
    names = {
        Role.OBSERVER: ["Observer"],
        Role.OPERATOR: ["Operator"],
        Role.ENGINEER: ["Engineer"],
        Role.ADMIN: ["ConfigureAdmin", "SecurityAdmin"],
    }
    for role, numbers in permissions.WELL_KNOWN.items():
        assert list(numbers) == [
            getattr(ua.ObjectIds, f"WellKnownRole_{name}") for name in names[role]
        ]
    assert {ua.ObjectIdNames[number] for number in permissions.CALLS} == {
        "Server_GetMonitoredItems",
        "Server_ResendData",
        "ConditionType_ConditionRefresh",
        "ConditionType_ConditionRefresh2",
        "AcknowledgeableConditionType_Acknowledge",
        "AcknowledgeableConditionType_Confirm",
        "ConditionType_AddComment",
        "NonTransparentBackupRedundancyType_Failover",
    }


@pytest.mark.parametrize("role", Role)
def test_a_role_may_what_those_before_it_may(role: Role) -> None:
    for lower in Role:
        if lower > role:
            continue
        for readable, writable in ((True, True), (True, False), (False, True)):
            less = permissions.of_point(lower, readable, writable)
            assert less & permissions.of_point(role, readable, writable) == less
        for method in (None, 11492, 9111, 12886):
            less = permissions.of_method(lower, method)
            assert less & permissions.of_method(role, method) == less


def test_who_may_do_what() -> None:
    reads = Permission.BROWSE | Permission.READ
    assert permissions.of_variable(Role.OBSERVER) == reads
    observer = permissions.of_point(Role.OBSERVER, True, True)
    assert observer == reads | Permission.READ_HISTORY
    assert Permission.WRITE in permissions.of_point(Role.OPERATOR, True, True)
    assert Permission.WRITE not in permissions.of_point(Role.ADMIN, True, False)
    assert Permission.READ not in permissions.of_point(Role.ADMIN, False, True)
    assert Permission.CALL in permissions.of_method(Role.OBSERVER, 11492)
    for number in (12886, 32416):  # RequestServerStateChange and Failover
        assert Permission.CALL not in permissions.of_method(Role.ENGINEER, number)
        assert Permission.CALL in permissions.of_method(Role.ADMIN, number)
    assert Permission.CALL in permissions.of_method(Role.ADMIN, None)
    assert Permission.RECEIVE_EVENTS in permissions.of_other(Role.OBSERVER, True)
    assert permissions.of_other(Role.OBSERVER, False) == Permission.BROWSE
    assert Permission.READ_ROLE_PERMISSIONS in permissions.of_variable(Role.ADMIN)


# ------------------------------------------------------------------------ certificate and folder


def test_the_end_of_the_servers_certificate_is_warned_of(tmp_path: Path) -> None:
    found = load_identity(tmp_path, "urn:hotpair:s:a", [], NOW)
    assert expiry_warning(found, NOW) == ""
    soon = expiry_warning(found, found.valid_until - timedelta(days=29))
    assert "expires at 2036-" in soon and "a restart of the node renews it" in soon
    late = expiry_warning(replace(found, own_making=False), found.valid_until)
    assert "expired at 2036-" in late and "ask its issuer" in late


def admission(folder: Path, told: list[str], record: list[Any]) -> Admission:
    clock = StillClock()
    audit = Audit(lambda *entry: record.append(entry), clock)
    settings = OpcUaSettings("a", pki_dir=folder)
    return Admission(settings, audit, lambda _severity, text: told.append(text), clock)


async def test_who_is_trusted_at_the_start_is_on_record(tmp_path: Path) -> None:
    told, record = list[str](), list[Any]()
    found = admission(tmp_path, told, record)
    found.folder.make()
    made = make("HMI", now=NOW)
    (tmp_path / "trusted/certs/hmi.der").write_bytes(made.der)
    (tmp_path / "trusted/certs/noise.der").write_bytes(b"hello")
    await found.begin()
    assert found.trusted == 1
    digest = trust.fingerprint(trust.thumbprint(made.der).encode())[:16]
    assert record == [("trust", "trust list", "", "1 trusted", {"digest": digest})]
    assert "noise.der is not used" in told[0] and len(told) == 1
    assert not await found.changed()


async def test_a_list_that_can_not_be_read_goes_on_to_hold_and_is_told(tmp_path: Path) -> None:
    told, record = list[str](), list[Any]()
    found = admission(tmp_path / "pki", told, record)
    made = make("HMI", now=NOW)
    await found.begin()
    (tmp_path / "pki/trusted/certs/hmi.der").write_bytes(made.der)
    assert await found.check(made.der, "10.0.0.1") == 0
    assert await found.changed()
    (tmp_path / "pki/trusted/certs").rename(tmp_path / "elsewhere")
    (tmp_path / "pki/trusted/certs").write_bytes(b"")
    assert await found.check(made.der, "10.0.0.1") == 0
    assert "the trust list can't be read" in told[-1]
    before = len(told)
    for _ in range(3):
        assert not await found.changed()
    assert len(told) == before


async def test_noise_is_refused_told_and_not_kept(tmp_path: Path) -> None:
    told, record = list[str](), list[Any]()
    found = admission(tmp_path, told, record)
    await found.begin()
    assert await found.check(b"hello", "10.0.0.66") == trust.SECURITY_CHECKS_FAILED
    assert "client '' of 10.0.0.66 refused: BadCertificateInvalid" in told[0]
    assert found.folder.entries() == []


async def test_a_folder_that_takes_nothing_refuses_all_the_same(tmp_path: Path) -> None:
    told, record = list[str](), list[Any]()
    found = admission(tmp_path, told, record)
    await found.begin()
    (tmp_path / "rejected/certs").rmdir()
    stranger = make("HMI", now=NOW)
    assert await found.check(stranger.der, "10.0.0.66") == trust.SECURITY_CHECKS_FAILED
    assert "can't be kept in" in told[-1]
