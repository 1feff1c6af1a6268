"""The tables of a PostgreSQL database, and what observations write to them. See DESIGN.md.

Every row is keyed by its position in the journal, so that writing it again changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.driver import PointSpec
from gateway.model import DataType, Gap, Origin, Term, Value, format_time, status_name
from gateway.northbound.observations import Observation

VERSION: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT_MAX: Final = 2**53
"""Integers up to here are exact in a double."""


def tables(schema: str) -> list[str]:
    """The statements that make what isn't there yet."""
    origins = ", ".join(f"({origin.value}, '{origin.name.lower()}')" for origin in Origin)
    return [
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        f"CREATE TABLE IF NOT EXISTS {schema}.feed (site text PRIMARY KEY,"
        " version integer NOT NULL, changes bigint NOT NULL, node text NOT NULL,"
        " at timestamptz NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS {schema}.term (term_id integer GENERATED ALWAYS AS IDENTITY"
        " PRIMARY KEY, site text NOT NULL, number bigint NOT NULL, node text NOT NULL,"
        " nonce text NOT NULL, UNIQUE (site, number, node, nonce))",
        f"CREATE TABLE IF NOT EXISTS {schema}.delivered (term_id integer NOT NULL"
        f" REFERENCES {schema}.term, first_seq bigint NOT NULL, last_seq bigint NOT NULL,"
        " PRIMARY KEY (term_id, first_seq))",
        f"CREATE TABLE IF NOT EXISTS {schema}.point (point_id integer GENERATED ALWAYS AS IDENTITY"
        " PRIMARY KEY, site text NOT NULL, point text NOT NULL, type text NOT NULL DEFAULT '',"
        " unit text NOT NULL DEFAULT '', UNIQUE (site, point))",
        f"CREATE TABLE IF NOT EXISTS {schema}.sample (point_id integer NOT NULL,"
        " source_time timestamptz NOT NULL, server_time timestamptz NOT NULL,"
        " value double precision, value_text text, status bigint NOT NULL,"
        " origin smallint NOT NULL, term_id integer NOT NULL, seq bigint NOT NULL,"
        " place integer NOT NULL, PRIMARY KEY (source_time, term_id, seq, place))",
        f"CREATE INDEX IF NOT EXISTS sample_by_point ON {schema}.sample (point_id, source_time)",
        f"CREATE TABLE IF NOT EXISTS {schema}.gap (site text NOT NULL, device text NOT NULL,"
        " scan_class text NOT NULL, from_time timestamptz NOT NULL, to_time timestamptz NOT NULL,"
        " cause text NOT NULL, state text NOT NULL, why text NOT NULL, points text[] NOT NULL,"
        " PRIMARY KEY (site, device, scan_class, from_time))",
        f"CREATE TABLE IF NOT EXISTS {schema}.origin (origin smallint PRIMARY KEY,"
        " name text NOT NULL)",
        f"INSERT INTO {schema}.origin VALUES {origins} ON CONFLICT DO NOTHING",
        f"CREATE TABLE IF NOT EXISTS {schema}.status (status bigint PRIMARY KEY,"
        " name text NOT NULL)",
        f"CREATE OR REPLACE VIEW {schema}.history AS SELECT p.site, p.point, s.source_time,"
        " s.value, s.value_text, CASE s.status >> 30 WHEN 0 THEN 'Good' WHEN 1 THEN 'Uncertain'"
        " ELSE 'Bad' END AS quality, coalesce(n.name, to_hex(s.status)) AS status,"
        " o.name AS origin, s.server_time, p.unit, t.node, t.number AS term, s.seq, s.place"
        f" FROM {schema}.sample s JOIN {schema}.point p USING (point_id)"
        f" JOIN {schema}.term t USING (term_id) LEFT JOIN {schema}.origin o USING (origin)"
        f" LEFT JOIN {schema}.status n USING (status)",
    ]


def hypertable(schema: str) -> str:
    """Make a hypertable of the samples, for a database that has TimescaleDB's extension.

    The key begins with the time, as unique indexes of hypertables must hold it (TimescaleDB,
    "Create a hypertable", "Hypertables and unique indexes").
    """
    return (
        f"SELECT create_hypertable('{schema}.sample', 'source_time',"
        " if_not_exists => true, migrate_data => true)"
    )


def insert(schema: str) -> str:
    """Take samples in as arrays, one a column, in the order of `columns`."""
    return (
        f"INSERT INTO {schema}.sample (point_id, source_time, server_time, value, value_text,"
        " status, origin, term_id, seq, place) SELECT * FROM unnest($1::int[], $2::timestamptz[],"
        " $3::timestamptz[], $4::float8[], $5::text[], $6::bigint[], $7::smallint[], $8::int[],"
        " $9::bigint[], $10::int[]) ON CONFLICT DO NOTHING"
    )


def columns(
    observations: Sequence[Observation],
    points: Mapping[str, int],
    terms: Mapping[Term, int],
    types: Mapping[str, DataType],
) -> list[list[Any]]:
    """Observations as the columns that `insert` takes."""
    found: list[list[Any]] = [[] for _ in range(10)]
    for each in observations:
        value, text = stored(each.value, types.get(each.point))
        row = (
            points[each.point],
            moment(each.time_ns),
            moment(each.received_ns),
            value,
            text,
            each.status,
            each.origin,
            terms[each.position.term],
            each.position.seq,
            each.place,
        )
        for column, cell in zip(found, row, strict=True):
            column.append(cell)
    return found


def stored(value: Value, kind: DataType | None) -> tuple[float | None, str | None]:
    """A value as (double, text): the text where there is no double that says it exactly.

    A number is a double always; an integer beyond 2^53 is a text, too. Bytes are hex digits. A
    text has no NUL, which PostgreSQL can't store ("Character Types").
    """
    if value is None:
        return None, None
    if isinstance(value, bool):
        return float(value), None
    if isinstance(value, int):
        text = str(value) if abs(value) > _EXACT_MAX else None
        if kind is DataType.DATETIME:
            text = format_time(value)
        return float(value), text
    if isinstance(value, float):
        return value, None if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return None, value.hex()
    return None, value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def moment(time_ns: int) -> datetime:
    """A time as PostgreSQL keeps it: in microseconds, those that are cut off being lost."""
    return _EPOCH + timedelta(microseconds=time_ns // 1_000)


def nanoseconds(at: datetime) -> int:
    """A time that came back, in ns UTC."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1_000


def gap_rows(site: str, gaps: Iterable[Gap]) -> list[tuple[Any, ...]]:
    """Gaps as rows of the table."""
    return [
        (
            site,
            gap.device,
            gap.scan_class,
            moment(gap.from_ns),
            moment(gap.to_ns),
            gap.cause.value,
            gap.state.value,
            gap.why,
            list(gap.points),
        )
        for gap in gaps
    ]


def point_rows(site: str, points: Iterable[PointSpec]) -> list[tuple[str, str, str, str]]:
    """What is told of points: site, id, type, unit."""
    return [(site, point.id, point.data_type.value, point.unit or "") for point in points]


def status_rows(observations: Iterable[Observation]) -> list[tuple[int, str]]:
    """The statuses that occur, by name."""
    return [(code, status_name(code)) for code in sorted({each.status for each in observations})]
