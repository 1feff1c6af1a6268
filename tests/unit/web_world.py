"""A node as REST sees it, without one: every answer is there, and every order is noted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from gateway.driver import Frame, PointSpec, Rehearsal, WriteOutcome
from gateway.errors import ControlError
from gateway.journal.buckets import Buckets
from gateway.model import (
    NS_PER_S,
    Access,
    Cause,
    DataType,
    Gap,
    GapState,
    HistoryPage,
    HistoryRow,
    Origin,
    Position,
    Term,
    Value,
)
from gateway.server.audit import Audit
from gateway.server.logins import Logins
from gateway.server.passwords import hash_password
from gateway.server.settings import Role, User
from gateway.web.feeds import Audience
from gateway.web.gate import Gate
from gateway.web.health import Stand
from gateway.web.rest import Rest, build
from gateway.web.session_file import SessionFile
from gateway.web.sessions import digest
from gateway.web.tokens import Token, new_token

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "site": 'pump "7"',
    "node": "a",
    "role": "main",
    "role_shown": "main",
    "why": "nobody heard",
    "role_age_ms": 5_000,
    "term": "3.a.00000000000000ff",
    "may_send": True,
    "reign_left_ms": 700,
    "proven": True,
    "paused": False,
    "vetoed": False,
    "able": True,
    "field": "reached",
    "priority": 0,
    "arbitrations": 0,
    "patience_ms": 1_000,
    "handing_over": None,
    "granted": None,
    "stopping": False,
    "peer_view": "standby",
    "peer_absent": False,
    "peer": {
        "node": "b",
        "role": "synced",
        "role_shown": "standby (synced)",
        "term": None,
        "field": "unknown",
        "priority": 0,
        "able": True,
        "hears_this_node": True,
        "heard_ms_ago": 40,
    },
    "clock_ahead_ms": -0.25,
    "rtt_ms": 0.4,
    "clocks_apart": False,
    "links_carry": "two-way",
    "witness_vote": "held",
    "now": "2026-11-26T12:00:02.000Z",
    "since": "2026-11-26T11:59:57.000Z",
    "linked": True,
    "late_max_ms": 12.5,
    "endpoint": "opc.tcp://gw-a:4840",
    "endpoint_open": True,
    "insecure": False,
    "clients_trusted": 1,
    "certificate_expires": None,
    "points": 2,
    "complete_through": "2026-11-26T12:00:01.500Z",
    "claimed_through": "2026-11-26T12:00:01.500Z",
    "behind": {},
    "storing": True,
    "conflicts": 0,
    "clock": {"synchronised": False, "error_max_ms": 16000.0},
    "revision": {
        "number": 4,
        "running": 4,
        "at": None,
        "who": "anna",
        "term": None,
        "differs": "",
        "diverged": 0,
        "not_able": "",
    },
    "devices": {
        "plc1": {
            "state": "up",
            "driver": "modbus",
            "line": "plc1",
            "points": 2,
            "scans": 100,
            "samples": 42,
            "overruns": 1,
            "last_scan_age_ms": 150,
            "open_gaps": 1,
            "open_gaps_ms": 2_000.0,
            "down_since": None,
            "why": "",
            "status": "Good",
            "requests": 110,
            "replies": 105,
            "timeouts": 3,
            "invalid_replies": 1,
            "link_failures": 1,
            "exceptions": {"2": 5},
            "last_error": "",
            "last_error_at": None,
            "rtt_p50_ms": 1.5,
            "rtt_p95_ms": None,
            "notes": {},
        }
    },
    "substituted": ["plc1/level"],
    "disabled": [],
    "links": [
        {
            "name": "10.0.9.2:7700",
            "kind": "tcp",
            "up": True,
            "since": None,
            "last_heard_age_ms": 40,
            "rtt_ms": 0.4,
            "refused_why": "",
            "peer_version": "0.1.0",
            "garbled": 0,
            "doubled": 0,
            "strangers": 0,
        }
    ],
    "witness": [
        {"name": "plc1", "kind": "modbus", "votes": True, "trouble": "", "remedy": "", "owner": "a"}
    ],
    "northbound": {
        "mqtt": {
            "where": "broker:8883",
            "state": "delivering",
            "insecure": False,
            "records_behind": 3,
            "lag_s": 0.25,
            "samples": 4_000,
            "records": 50,
            "skipped": 2,
            "sessions": 1,
            "failures": 0,
            "last_error": "",
            "last_error_at": None,
        },
        "postgres": {
            "where": "db:5432/history",
            "state": "standby",
            "insecure": True,
            "records_behind": None,
            "lag_s": None,
            "samples": 0,
            "records": 0,
            "skipped": 0,
            "sessions": 0,
            "failures": 1,
            "last_error": "no route to host",
            "last_error_at": "2026-11-22T09:30:00.125Z",
        },
    },
    "replication": {
        "mode": "async",
        "state": "async",
        "waiting_samples": 0,
        "equal": True,
        **{
            way: {
                "connected": True,
                "path": "10.0.9.2:7700",
                "records_behind": 1,
                "samples_behind": 2,
                "lag_ms": 3.5,
                "percent": 100.0,
                "equal": True,
                "equal_at_ns": 0,
                "differences": [],
            }
            for way in ("sending", "receiving")
        },
    },
}
WINDBACK = {
    "plc1": {
        "logs": ["fast"],
        "open_gaps": 1,
        "open_ms": 2_000.0,
        "records": 10,
        "samples": 20,
        "reading": {
            "device": "plc1",
            "log": "fast",
            "from_ns": 1,
            "to_ns": 9,
            "through_ns": 4,
            "records": 5,
            "samples": 6,
            "left_ms": 1_500.0,
        },
        "waits": "",
    }
}
T0 = 1_790_000_000 * NS_PER_S
POSITION = Position(Term(1, "a", 1), 1)
GAP = Gap("plc1", "normal", T0 + NS_PER_S, T0 + 2 * NS_PER_S, Cause.LINK)
FILLED = GAP._replace(from_ns=T0 + 5 * NS_PER_S, to_ns=T0 + 6 * NS_PER_S, state=GapState.FILLED)
LEVEL = PointSpec(
    0, "plc1", "level", DataType.FLOAT32, "normal", Access.READ_WRITE, SimpleNamespace(), unit="m"
)
PASSWORD = "a long password"
HASH = hash_password(PASSWORD)
USERS = {
    name: User(name, role, HASH)
    for name, role in (
        ("olga", Role.OBSERVER),
        ("otto", Role.OPERATOR),
        ("erna", Role.ENGINEER),
        ("anna", Role.ADMIN),
    )
}


class StillClock:
    """Stands until it is moved."""

    now_ns = T0

    def utc_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


def row(second: int, value: Value) -> HistoryRow:
    time_ns = T0 + second * NS_PER_S
    return HistoryRow(time_ns, value, 0, time_ns, Origin.POLL, POSITION)


class FakeNode:
    """Fulfils `Source`, `Orders` and `revisions.Source`; `told` is what was ordered."""

    name, site, through_ns = "a", "pump", T0 + 9 * NS_PER_S
    site_devices = ["plc1"]
    points_known = 1

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.stands = Stand("a", "main", True, True, NS_PER_S)
        self.rows = [row(0, 1.0), row(3, 2.0)]
        self.history = self
        self.fault: Exception | None = None
        self.head = {"site.yaml": "site: pump\ndevices: {}\nusers: {}\n"}

    # looking
    async def gaps_counted(self) -> None:
        if self.fault is not None:
            raise self.fault

    def status(self) -> dict[str, Any]:
        return STATUS

    def windback(self) -> dict[str, dict[str, Any]]:
        return WINDBACK

    def stand(self) -> Stand:
        return self.stands

    def now_ns(self) -> int:
        return T0

    def knows(self, point: str) -> bool:
        return point == LEVEL.id

    def spec(self, point: str) -> PointSpec | None:
        return LEVEL if self.knows(point) else None

    def select(self, patterns: Sequence[str], find: str = "") -> list[int]:
        hit = {"*", "plc1/*", LEVEL.id} & set(patterns) and find in LEVEL.id
        return list(range(self.points_known)) if hit else []

    def values(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        value = {
            "point": LEVEL.id,
            "value": 1.0,
            "unit": "m",
            "type": "float32",
            "access": "rw",
            "scan": "normal",
            "status": "Good",
            "source_time_ns": T0,
            "server_time_ns": T0,
        }
        return [value for _ in numbers]

    async def thin(self, point: str, from_ns: int, to_ns: int, buckets: Buckets) -> None:
        if self.knows(point):
            buckets.add(self.rows)

    async def read(self, point: str, *rest: Any) -> HistoryPage:
        return HistoryPage(self.rows if self.knows(point) else [], None)

    async def at_or_before(self, point: str, time_ns: int) -> HistoryRow | None:
        return None

    async def gaps(self, device: str, from_ns: int, to_ns: int) -> list[Gap]:
        return [GAP, FILLED, GAP._replace(scan_class="slow")]

    async def events(self, from_ns: int, to_ns: int) -> list[dict[str, Any]]:
        return [{"time": "t", "source": "plc1", "severity": 700, "text": "lost"}]

    async def roles(self, limit: int) -> dict[str, Any]:
        reign = {"node": "a", "term": None, "why": "", "ended": "", "from": "x", "to": None}
        spans = ((T0 - 9, T0 - 5), (T0 - 5, None))
        return {"roles": [], "reigns": [{**reign, "from_ns": f, "to_ns": t} for f, t in spans]}

    async def audit(self, limit: int) -> list[dict[str, Any]]:
        return []

    async def raw(self, device: str, area: str, address: str, count: int) -> list[Value]:
        return [b"\x01\x02"] * count

    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]:
        sink(Frame(T0, device, True, b"\x01", "read"))
        return lambda: self.told.append(("untraced", device))

    def users(self) -> list[dict[str, Any]]:
        return [{"name": "anna", "role": "admin", "password": True, "certificate": False}]

    def tokens(self) -> list[dict[str, Any]]:
        return []

    async def certificates(self) -> list[dict[str, Any]]:
        return [{"purpose": "web", "subject": "CN=a", "sha256": "00", "expires": "t"}]

    async def trust(self) -> list[dict[str, Any]]:
        return []

    # orders
    def _note(self, *told: Any) -> str:
        self.told.append(told)
        return "done"

    async def trust_accept(self, which: str, as_issuer: bool, who: str) -> str:
        return self._note("accept", which, as_issuer, who)

    async def trust_remove(self, which: str, who: str) -> str:
        return self._note("remove", which, who)

    async def backup_as(self, name: str, who: str) -> str:
        return self._note("backup", name, who)

    async def backup(self, path: str) -> None:
        self._note("local backup", path)

    async def token(self, who: str, name: str, role: str, days: int, digest: str) -> str:
        return self._note("token", who, name, role, days)

    async def revoke(self, who: str, name: str) -> str:
        return self._note("revoke", who, name)

    async def maintain(self, action: str, target: str, value: Value, who: str, why: str) -> None:
        self._note(action, target, value, who, why)

    async def write(self, who: str, point: str, value: Value) -> WriteOutcome:
        self._note("write", who, point, value)
        return WriteOutcome(0, value, "")

    async def windback_asked(self, who: str, device: str, from_ns: int, to_ns: int) -> str:
        return self._note("windback", who, device, from_ns, to_ns)

    async def verify(
        self, who: str, device: str, log: str, from_ns: int, to_ns: int
    ) -> dict[str, Any]:
        counts = {"compared": 2, "equal": 1, "in_gaps": 0, "different": 1}
        return {"log": "fast", **counts, "differences": [["plc1/level", T0, 1.0, [2.0, None]]]}

    async def changeover(self, who: str) -> str:
        raise ControlError("no Standby is synced", "Wait until it is")

    async def pause(self, paused: bool, who: str) -> str:
        return self._note("pause" if paused else "resume", who)

    async def peer(self, absent: bool, who: str) -> str:
        return self._note("peer", absent, who)

    async def rehearse(self, who: str) -> list[Rehearsal]:
        return [Rehearsal("plc1", True, True, "it answered")]

    # revisions
    async def listing(self, limit: int = 20) -> list[dict[str, Any]]:
        return []

    async def texts(self, reference: str) -> dict[str, str]:
        return self.head if reference in ("", "4") else {"site.yaml": "site: old\ndevices: {}\n"}

    async def apply(
        self, files: dict[str, str], who: str, alone: bool, dry_run: bool = False
    ) -> Any:
        self._note("apply", who, alone, dry_run)
        found = {"node": "a", "number": 5, "in_force": True, "peer": "", "changes": []}
        return SimpleNamespace(_asdict=lambda: {**found, "problems": [], "warnings": []})

    async def rollback(self, reference: str, who: str, alone: bool, dry_run: bool = False) -> Any:
        return await self.apply({}, who, alone, dry_run)


class Orders:
    """The node's orders: `windback` means two things of a node."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, "windback_asked" if name == "windback" else name)


class WebWorld:
    """The application with its gate, and clients of it."""

    def __init__(
        self, metrics_open: bool = False, lasting: bool = False, sessions: Path | None = None
    ) -> None:
        self.node = FakeNode()
        self.clock = StillClock()
        self.audit: list[tuple[Any, ...]] = []
        self.tokens: dict[str, Token] = {}
        audit = Audit(lambda *entry: self.audit.append(entry), self.clock)
        file = SessionFile(sessions) if sessions else None
        self.gate = Gate(
            Logins(USERS, self.clock), lambda: self.tokens, audit, self.clock, "hotpair_a", file
        )
        self.live: Audience[Any] = Audience()
        self.events: Audience[Any] = Audience()
        self.app = build(
            Rest(
                source=self.node,
                orders=Orders(self.node),
                revisions=self.node,
                gate=self.gate,
                live=self.live,
                events=self.events,
                metrics=self._metrics,
                metrics_open=metrics_open,
                tls=True,
                lasting=lasting,
            )
        )

    async def _metrics(self) -> str:
        return "hotpair_is_main 1\n"

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=transport, base_url="https://node", headers=headers)

    @asynccontextmanager
    async def as_user(self, name: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client that is logged in, as the page is."""
        async with self.client(**{"X-Hotpair": "page"}) as client:
            asked = {"user": name, "password": PASSWORD}
            answer = await client.post("/api/v1/login", json=asked)
            assert answer.status_code == 200, answer.text
            yield client

    def as_program(self, role: str, secret: str = "hotpair_secret") -> httpx.AsyncClient:
        """A client with a token."""
        token = new_token(role, role, 1, digest(secret), "anna", self.clock.now_ns, {})
        self.tokens[token.digest] = token
        return self.client(Authorization=f"Bearer {secret}")


def schema(client_answer: httpx.Response) -> dict[str, Any]:
    """The OpenAPI document of an answer."""
    found: dict[str, Any] = json.loads(client_answer.text)
    return found
