"""PostgreSQL: rows, and how far they go, in one transaction; so each is there exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.clock import Clock
from gateway.config.northbound import PostgresFeed
from gateway.driver import PointSpec
from gateway.errors import ControlError
from gateway.journal.holdings import Holdings
from gateway.model import NS_PER_S, DataType, Gap, Position, Term
from gateway.northbound import tables as t
from gateway.northbound import windows as w
from gateway.northbound.access import password_of, tls_of
from gateway.northbound.feed import SessionEnded
from gateway.northbound.observations import Observation, Read, touched

if TYPE_CHECKING:
    from asyncpg import Connection

NAME: Final = "postgres"
ANSWER_S: Final = 30.0
CONNECT_S: Final = 10.0
GAPS_NS: Final = 5 * NS_PER_S
GAPS_SHARE: Final = 50
"""Gaps are looked for anew after this many times as long as that took, so that it costs 2 %."""
GAPS_BACK_NS: Final = 3_600 * NS_PER_S
SETTINGS: Final = {
    # A node that vanished holds nothing for longer than this, whatever the network says.
    "idle_in_transaction_session_timeout": "10000",
    "lock_timeout": "5000",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


@dataclass(frozen=True)
class PostgresPorts:
    """What the tables need of the gateway: points, devices, and gaps of a stretch of time."""

    clock: Clock
    node: str
    points: Callable[[], Sequence[PointSpec]]
    since: Callable[[], Position]
    begins_ns: Callable[[], int]
    gaps: Callable[[str, int, int], Awaitable[list[Gap]]]


class PostgresOutlet:
    """The tables of one site; one connection at a time."""

    name = NAME

    def __init__(self, settings: PostgresFeed, site: str, folder: Path, ports: PostgresPorts):
        self.where = f"{settings.endpoint}/{settings.database}"
        self.state = "standby"
        self.since = Position(Term(0, "", 0), 0)
        self._settings = settings
        self._schema = settings.schema_
        self._site = site
        self._folder = folder
        self._ports = ports
        self._connection: Connection[Any] | None = None
        self._changes = 0
        self._points: dict[str, int] = {}
        self._types: dict[str, DataType] = {}
        self._specs: Sequence[PointSpec] = ()
        self._terms: dict[Term, int] = {}
        self._statuses: set[int] = set()
        self._gaps: dict[str, list[Gap]] = {}
        self._touched: dict[str, tuple[int, int]] = {}
        self._gaps_due_ns = 0

    @property
    def _db(self) -> Connection[Any]:
        assert self._connection is not None
        return self._connection

    # ----------------------------------------------------------------------------- a session

    async def open(self) -> Holdings:
        """Connect, make what tables lack, and read how far they go."""
        try:
            import asyncpg
        except ImportError as error:
            raise ControlError("asyncpg is missing", "pip install 'hotpair[postgres]'") from error
        settings, endpoint = self._settings, self._settings.endpoint
        tls = await asyncio.to_thread(tls_of, settings, self._folder)
        self._connection = await asyncpg.connect(
            host=endpoint.host,
            port=endpoint.port,
            user=settings.user,
            password=await asyncio.to_thread(password_of, settings, self._folder),
            database=settings.database,
            ssl=tls if tls is not None else False,
            timeout=CONNECT_S,
            command_timeout=ANSWER_S,
            server_settings={
                "application_name": f"hotpair {self._site} {self._ports.node}",
                **SETTINGS,
            },
        )
        self._points, self._terms, self._statuses, self._gaps = {}, {}, set(), {}
        self._specs = ()
        await self._make_tables()
        done = await self._cursor()
        self.since = self._ports.since()
        self._touched = {"": (self._ports.begins_ns(), self._ports.clock.utc_ns())}
        self._gaps_due_ns = 0
        return done

    async def _make_tables(self) -> None:
        """Made once; who has no right to make any finds them made by somebody else."""
        schema, db = self._schema, self._db
        if await db.fetchval("SELECT to_regclass($1)", f"{schema}.history") is None:
            async with db.transaction():
                await db.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"hotpair {schema}")
                for statement in t.tables(schema):
                    await db.execute(statement)
                found = await db.fetchval(
                    "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"
                )
                if found:
                    await db.execute(t.hypertable(schema))
        await db.execute(
            f"INSERT INTO {schema}.feed VALUES ($1, $2, 0, $3, now()) ON CONFLICT DO NOTHING",
            self._site,
            t.VERSION,
            self._ports.node,
        )

    async def _cursor(self) -> Holdings:
        """What is there, and through which change of it (so that nobody goes on from less)."""
        schema, db = self._schema, self._db
        async with db.transaction(isolation="repeatable_read"):
            version, self._changes = await db.fetchrow(
                f"SELECT version, changes FROM {schema}.feed WHERE site = $1", self._site
            )
            if version > t.VERSION:
                raise ControlError(
                    f"the tables in {schema} are of version {version}", "Upgrade this node"
                )
            rows = await db.fetch(
                "SELECT t.term_id, number, node, nonce, first_seq, last_seq"
                f" FROM {schema}.delivered JOIN {schema}.term t USING (term_id) WHERE site = $1",
                self._site,
            )
        done = Holdings()
        for term_id, number, node, nonce, first, last in rows:
            term = Term(number, node, int(nonce, 16))
            self._terms[term] = term_id
            w.deliver(done, term, first, last)
        return done

    async def close(self) -> None:
        """Nothing is under way between windows."""

    async def drop(self) -> None:
        """End the connection at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.terminate()

    # ------------------------------------------------------------------------------ handing on

    async def hand_on(self, window: w.Window, read: Read, done: Holdings) -> int:
        """Rows and cursor in one transaction; another node's change in between ends the session."""
        schema, db, found = self._schema, self._db, read.observations
        await self._know(found, window.term)
        w.deliver(done, window.term, window.first, window.last)
        first, last = _around(done, window)
        values = t.columns(found, self._points, self._terms, self._types) if found else []
        async with db.transaction():
            changed = await db.execute(
                f"UPDATE {schema}.feed SET changes = changes + 1, node = $3, at = now()"
                " WHERE site = $1 AND changes = $2",
                self._site,
                self._changes,
                self._ports.node,
            )
            if changed != "UPDATE 1":
                raise SessionEnded("the other node wrote meanwhile")
            if found:
                await db.execute(t.insert(schema), *values)
            await db.execute(
                f"INSERT INTO {schema}.delivered VALUES ($1, $2, $3) ON CONFLICT"
                " (term_id, first_seq) DO UPDATE SET last_seq = excluded.last_seq",
                self._terms[window.term],
                first,
                last,
            )
            await db.execute(
                f"DELETE FROM {schema}.delivered WHERE term_id = $1"
                " AND first_seq > $2 AND last_seq <= $3",
                self._terms[window.term],
                first,
                last,
            )
        self._changes += 1
        for device, (from_ns, to_ns) in touched(read.bodies).items():
            known = self._touched.get(device, (from_ns, to_ns))
            self._touched[device] = min(known[0], from_ns), max(known[1], to_ns)
        return len(found)

    async def _know(self, observations: Iterable[Observation], term: Term) -> None:
        """The ids of points, terms and statuses; each commits for itself, and none is wrong."""
        schema, db = self._schema, self._db
        specs = self._ports.points()
        if specs is not self._specs:
            await self._know_points(t.point_rows(self._site, specs))
            self._types |= {point.id: point.data_type for point in specs}
            self._specs = specs
        new = {each.point for each in observations} - self._points.keys()
        if new:
            await self._know_points([(self._site, point, "", "") for point in sorted(new)])
        if term not in self._terms:
            self._terms[term] = await db.fetchval(
                f"INSERT INTO {schema}.term (site, number, node, nonce) VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (site, number, node, nonce) DO UPDATE SET node = excluded.node"
                " RETURNING term_id",
                self._site,
                term.number,
                term.node,
                f"{term.nonce:016x}",
            )
        statuses = [row for row in t.status_rows(observations) if row[0] not in self._statuses]
        if statuses:
            await db.executemany(
                f"INSERT INTO {schema}.status VALUES ($1, $2) ON CONFLICT DO NOTHING", statuses
            )
            self._statuses |= {code for code, _ in statuses}

    async def _know_points(self, rows: Sequence[tuple[str, str, str, str]]) -> None:
        rows = sorted(rows)
        found = await self._db.fetch(
            f"INSERT INTO {self._schema}.point (site, point, type, unit)"
            " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])"
            " ON CONFLICT (site, point) DO UPDATE SET"
            " type = coalesce(nullif(excluded.type, ''), point.type),"
            " unit = coalesce(nullif(excluded.unit, ''), point.unit) RETURNING point, point_id",
            *([list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 4),
        )
        self._points |= {row["point"]: row["point_id"] for row in found}

    # ----------------------------------------------------------------------------------- gaps

    async def look_after(self, done: Holdings) -> None:
        """Write the gaps anew where they may have changed."""
        clock = self._ports.clock
        began_ns = clock.monotonic_ns()
        if began_ns < self._gaps_due_ns:
            return
        now_ns = clock.utc_ns()
        changed, self._touched = self._touched, {}
        back_ns = now_ns - GAPS_BACK_NS
        every_ns = min(back_ns, changed[""][0] if "" in changed else back_ns)
        rows = await self._db.fetch(
            f"SELECT device, min(from_time) AS since FROM {self._schema}.gap"
            " WHERE site = $1 AND to_time >= $2 GROUP BY device",
            self._site,
            t.moment(every_ns),
        )
        since = {row["device"]: t.nanoseconds(row["since"]) for row in rows}
        for device in dict.fromkeys(point.device for point in self._ports.points()):
            begins = (every_ns, since.get(device, now_ns), changed.get(device, (now_ns, 0))[0])
            await self._write_gaps(device, max(min(begins), self._ports.begins_ns()), now_ns)
        took_ns = clock.monotonic_ns() - began_ns
        self._gaps_due_ns = clock.monotonic_ns() + max(GAPS_NS, GAPS_SHARE * took_ns)

    async def _write_gaps(self, device: str, from_ns: int, to_ns: int) -> None:
        """The gaps of a device from an instant on, at which none is under way."""
        schema, db = self._schema, self._db
        gaps = await self._ports.gaps(device, from_ns, to_ns)
        if self._gaps.get(device) == gaps:
            return
        async with db.transaction():
            await db.execute(
                f"DELETE FROM {schema}.gap WHERE site = $1 AND device = $2 AND to_time > $3",
                self._site,
                device,
                t.moment(from_ns),
            )
            await db.executemany(
                f"INSERT INTO {schema}.gap VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
                " ON CONFLICT DO NOTHING",
                t.gap_rows(self._site, gaps),
            )
        self._gaps[device] = gaps


def _around(done: Holdings, window: w.Window) -> tuple[int, int]:
    """The stretch of what was delivered that a window lies in."""
    holding = done.of(window.term)
    assert holding is not None
    return next((first, last) for first, last in holding.stretches if first <= window.first <= last)
