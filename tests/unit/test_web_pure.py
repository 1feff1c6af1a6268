"""What the web decides without a socket: rights, log-ins, tokens, health, differences, trends."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.driver import PointSpec
from gateway.errors import ControlError
from gateway.journal.buckets import Buckets
from gateway.model import (
    NS_PER_S,
    Access,
    Cause,
    DataType,
    Gap,
    GapState,
    HistoryRow,
    Origin,
    Position,
    Term,
)
from gateway.server.settings import Role, User
from gateway.web import differing
from gateway.web.differing import changes_users, differences
from gateway.web.health import KINDS, Stand, complaint
from gateway.web.rights import LEAST, OF_MAINTENANCE, Act, Caller
from gateway.web.sessions import (
    IDLE_NS,
    LONGEST_NS,
    SESSIONS_MAX,
    SESSIONS_PER_USER_MAX,
    Sessions,
    digest,
)
from gateway.web.tokens import DAY_NS, FACT, TOKENS_MAX, Token, caller_of, new_token, tokens_of
from gateway.web.trends import finite, joined, reigns_in, shown, trend

ANNA = User("anna", Role.ADMIN, "hash")
USERS = {"anna": ANNA, "olga": User("olga", Role.OBSERVER, "other")}


# ---------------------------------------------------------------------------------- rights


def test_every_act_has_a_least_role_and_roles_include_each_other() -> None:
    assert set(LEAST) == set(Act)
    acts = [set(Caller("x", role).acts) for role in Role]
    assert acts == sorted(acts, key=len)
    for less, more in pairwise(acts):
        assert less < more
    assert acts[0] == {"read"}
    assert acts[-1] == {act.value for act in Act}


def test_substituting_is_for_operators_disabling_for_engineers() -> None:
    operator = Caller("otto", Role.OPERATOR)
    may = {action: operator.may(act) for action, act in OF_MAINTENANCE.items()}
    assert may == {"substitute": True, "release": True, "disable": False, "enable": False}


def test_a_program_is_told_apart_from_a_person_in_the_audit() -> None:
    assert Caller("anna", Role.ADMIN, "session").who == "anna"
    assert Caller("anna", Role.ADMIN).who == "anna (token)"


# -------------------------------------------------------------------------------- sessions


def test_a_session_lasts_while_it_is_heard_of_and_not_for_ever() -> None:
    sessions = Sessions()
    sessions.begin("secret", ANNA, 0)
    now_ns = 0
    while now_ns <= LONGEST_NS:
        caller = sessions.find("secret", USERS, now_ns)
        assert caller is not None and (caller.name, caller.role) == ("anna", Role.ADMIN)
        now_ns += IDLE_NS
    assert sessions.find("secret", USERS, now_ns) is None
    sessions.begin("secret", ANNA, 0)
    assert sessions.find("secret", USERS, IDLE_NS + 1) is None
    assert len(sessions) == 0


def test_who_is_no_user_any_more_or_has_another_password_is_out_at_once() -> None:
    sessions = Sessions()
    for users in ({}, {"anna": User("anna", Role.ADMIN, "new hash")}):
        sessions.begin("secret", ANNA, 0)
        assert sessions.find("secret", USERS, 1) is not None
        assert sessions.find("secret", users, 1) is None
        assert sessions.find("secret", USERS, 1) is None, "and stays out"


def test_a_changed_role_holds_at_once() -> None:
    sessions = Sessions()
    sessions.begin("secret", ANNA, 0)
    demoted = {"anna": User("anna", Role.OBSERVER, "hash")}
    found = sessions.find("secret", demoted, 1)
    assert found is not None and found.role is Role.OBSERVER
    assert sessions.still(found.session, demoted, 2) == found
    sessions.end(found.session)
    assert sessions.find("secret", demoted, 3) is None


def test_sessions_go_on_after_a_restart_for_who_has_the_same_password_still() -> None:
    before, utc_ns = Sessions(), 10**18
    before.begin("a cookie", ANNA, 5 * DAY_NS)
    kept = before.kept(6 * DAY_NS, utc_ns)
    assert "a cookie" not in str(kept) and repr(ANNA.password_hash) not in str(kept)

    def after(passed_ns: int, users: dict[str, User]) -> bool:
        sessions = Sessions()
        sessions.take_up(kept, users, 7, utc_ns + passed_ns)
        return sessions.find("a cookie", users, 7) is not None

    assert after(IDLE_NS + 1, USERS), "nobody could be heard meanwhile"
    assert after(LONGEST_NS - DAY_NS, USERS)
    assert not after(LONGEST_NS - DAY_NS + 1, USERS)
    assert not after(-2 * DAY_NS, USERS), "a clock that was set back gives nobody more time"
    assert not after(0, {})
    assert not after(0, {"anna": User("anna", Role.ADMIN, "new hash")})


def test_sessions_are_bounded_by_user_and_together() -> None:
    sessions = Sessions()
    for number in range(SESSIONS_PER_USER_MAX + 1):
        sessions.begin(f"secret {number}", ANNA, number)
    assert len(sessions) == SESSIONS_PER_USER_MAX
    assert sessions.find("secret 0", USERS, 30) is None
    for number in range(SESSIONS_MAX):
        sessions.begin(f"other {number}", User(f"user{number}", Role.OBSERVER, "x"), number)
    assert len(sessions) == SESSIONS_MAX


# ---------------------------------------------------------------------------------- tokens


def made(name: str = "grafana", days: int = 30, known: dict[str, Token] | None = None) -> Token:
    return new_token(name, "observer", days, f"digest of {name}", "anna", 5, known or {})


def test_a_token_is_found_again_among_the_facts_of_the_journal() -> None:
    token = made()
    facts = {
        ("", FACT + "grafana"): token.fact,
        ("", FACT + "revoked"): None,
        ("", FACT + "strange"): {"name": "strange"},
        ("", FACT + "stranger"): {**token.fact, "role": "king"},
        ("", "opcua/a"): {"name": "x"},
        ("plc1", FACT + "x"): token.fact,
    }
    assert tokens_of(facts) == {token.digest: token}


def test_a_token_is_good_until_it_expires() -> None:
    token = new_token("g", "operator", 1, digest("s3cret"), "anna", 0, {})
    known = {token.digest: token}
    assert caller_of("s3cret", known, 0) == Caller("g", Role.OPERATOR)
    assert caller_of("s3cret", known, DAY_NS) is None
    assert caller_of("other", known, 0) is None


@pytest.mark.parametrize(
    ("name", "role", "days", "says"),
    [
        ("a b", "observer", 1, "no name for a token"),
        ("ok", "king", 1, "no role 'king'"),
        ("ok", "observer", 0, "can't last 0 days"),
        ("ok", "observer", 10_000, "can't last 10000 days"),
        ("there", "observer", 1, "a token there already"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(name: str, role: str, days: int, says: str) -> None:
    known = {"x": made("there")}
    with pytest.raises(ControlError, match=says):
        new_token(name, role, days, "digest", "anna", 6, known)


def test_tokens_are_bounded_but_those_that_expired_do_not_count() -> None:
    known = {str(n): made(f"t{n}", days=1) for n in range(TOKENS_MAX)}
    with pytest.raises(ControlError, match="there are 100 tokens"):
        new_token("more", "observer", 1, "digest", "anna", 6, known)
    assert new_token("t1", "observer", 1, "digest", "anna", 2 * DAY_NS, known).name == "t1"


# ---------------------------------------------------------------------------------- health


@pytest.mark.parametrize(
    ("role", "reigns", "storing", "ready"),
    [
        ("starting", False, True, []),
        ("syncing", False, True, []),
        ("synced", False, True, ["ready", "standby"]),
        ("synced", False, False, ["standby"]),
        ("main", True, True, ["ready", "main"]),
        ("main", False, True, ["ready"]),
        ("main", True, False, ["main"]),
    ],
)
def test_what_a_node_counts_as(role: str, reigns: bool, storing: bool, ready: list[str]) -> None:
    stand = Stand("a", role, reigns, storing, 0)
    counts = [kind for kind in KINDS if not complaint(kind, stand)]
    assert counts == ["live", *ready]


def test_a_standby_may_lag_as_far_as_is_said() -> None:
    stand = Stand("b", "syncing", False, True, 5 * NS_PER_S)
    assert complaint("standby", stand) == "it is syncing"
    assert complaint("standby", stand, 5 * NS_PER_S) == ""
    assert complaint("standby", stand, 4 * NS_PER_S) == "it lags 5.0 s"
    assert complaint("standby", stand._replace(role="main"), 9 * NS_PER_S) == "it is main"


# ----------------------------------------------------------------------------- differences

SITE = "site: x\ndevices: {}\nusers:\n  anna: {role: admin, certificate: anna.pem}\n"


def test_differences_are_told_file_by_file() -> None:
    old, new = {"site.yaml": "a\nb\n", "gone.csv": "x"}, {"site.yaml": "a\nc\n", "new.csv": "y"}
    found = {item["file"]: item["difference"] for item in differences(old, new)}
    assert list(found) == ["site.yaml", "new.csv", "gone.csv"]
    assert "-b\n+c" in found["site.yaml"]
    assert "+y" in found["new.csv"] and "-x" in found["gone.csv"]
    assert differences(new, new) == []


def test_a_long_difference_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differing, "LINES_MAX", 5)
    (found,) = differences({"x": ""}, {"x": "\n".join(map(str, range(20)))})
    assert found["difference"].endswith("... 18 more lines")


@pytest.mark.parametrize(
    ("text", "pem", "changes"),
    [
        (SITE, "A", False),
        (SITE.replace("devices: {}", "devices: {plc1: {}}"), "A", False),
        (SITE + "# a remark\n", "A", False),
        (SITE, "B", True),
        (SITE.replace("admin", "operator"), "A", True),
        (SITE + "  eve: {role: admin, password_hash: x}\n", "A", True),
        ("site: x\ndevices: {}\n", "A", True),
        ("site: [", "A", False),
        ("- x\n", "A", False),
    ],
)
def test_what_changes_who_may_do_what_is_seen(text: str, pem: str, changes: bool) -> None:
    old = {"site.yaml": SITE, "anna.pem": "A"}
    assert changes_users(old, {"site.yaml": text, "anna.pem": pem}) is changes


# ---------------------------------------------------------------------------------- trends


def gap(first: int, end: int, state: GapState = GapState.OPEN, **more: Any) -> Gap:
    return Gap("plc1", "normal", first, end, Cause.LINK, state, **more)


def test_gaps_nearer_than_a_bucket_become_one() -> None:
    gaps = [gap(0, 10, points=("x",)), gap(12, 20, points=("y",), resolution_ns=3), gap(40, 50)]
    near = joined([*gaps, gap(11, 12, GapState.LOST)], 5)
    assert [(g.from_ns, g.to_ns, g.state.value) for g in near] == [
        (0, 20, "open"),
        (11, 12, "lost"),
        (40, 50, "open"),
    ]
    assert (near[0].points, near[0].resolution_ns) == (("x", "y"), 3)
    assert joined(gaps, 1) == gaps


def test_reigns_are_those_that_touch_the_stretch() -> None:
    reigns = [
        {"from_ns": 0, "to_ns": 10},
        {"from_ns": 10, "to_ns": 20},
        {"from_ns": 20, "to_ns": None},
    ]
    assert reigns_in(reigns, 10, 20) == [reigns[1]]
    assert reigns_in(reigns, 25, 30) == [reigns[2]]


def test_a_trend_has_one_entry_a_bucket_that_has_samples() -> None:
    buckets = Buckets(0, 100, 10)
    position = Position(Term(1, "a", 1), 1)
    rows = [HistoryRow(t, v, 0, t, Origin.POLL, position) for t, v in ((5, 1.0), (95, math.inf))]
    buckets.add(rows)
    spec = PointSpec(
        1, "plc1", "level", DataType.FLOAT32, "fast", Access.READ, SimpleNamespace(), unit="m"
    )
    found = trend("plc1/level", spec, cast(HistoryRow, rows[0]), buckets)
    assert found["at"] == [0, 9]
    assert found["max"] == [1.0, None], "JSON has no infinity"
    assert found["last"] == [1.0, "inf"]
    assert (found["unit"], found["scan"], found["before"]["value"]) == ("m", "fast", 1.0)
    lengths = {len(value) for value in found.values() if isinstance(value, list)}
    assert lengths == {2}
    deleted = trend("plc1/level", None, None, Buckets(0, 100, 10))
    assert (deleted["device"], deleted["scan"], deleted["before"]) == ("plc1", "", None)


def test_values_are_shown_as_json_has_them() -> None:
    assert [shown(v) for v in (b"\x01", math.nan, 1.5, True, None)] == [
        "01",
        "nan",
        1.5,
        True,
        None,
    ]
    assert [finite(v) for v in (math.nan, None, 2.0)] == [None, None, 2.0]
