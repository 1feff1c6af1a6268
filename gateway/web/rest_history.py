"""REST: what the journal holds, thinned for trends or row by row, and what it does not."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, HTTPException, Query

from gateway.journal.buckets import BUCKETS_MAX, Buckets
from gateway.model import Gap, GapState
from gateway.web import answers, answers_history
from gateway.web.api import HISTORY_PAGE_MAX, ROLES_MAX, checked, row_as_json, time_of
from gateway.web.rest_look import split
from gateway.web.routing import From, Reader, To, as_json, in_slices
from gateway.web.source import Source
from gateway.web.trends import WOUND, joined, reigns_in, trend

TREND_POINTS_MAX: Final = 20
CURSOR_PARTS_MAX: Final = 8
Cursor = Annotated[str, Query(max_length=200, pattern=r"^(-?[0-9]{1,20}(,-?[0-9]{1,20}){0,7})?$")]


def history(source: Source) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["history"])

    @router.get("/history", response_model=answers_history.Page)
    async def samples(
        _: Reader,
        point: Annotated[str, Query(max_length=160)],
        start: From,
        end: To,
        limit: int = Query(10_000, ge=1, le=HISTORY_PAGE_MAX),
        reverse: bool = False,
        cursor: Cursor = "",
    ) -> Any:
        """The stored samples of a point in [from, to), page by page."""
        from_ns, to_ns = time_of(start, "from"), time_of(end, "to")
        after = tuple(int(part) for part in cursor.split(",")) if cursor else None
        try:
            page = await source.history.read(point, from_ns, to_ns, limit, after, reverse)
        except (IndexError, TypeError, ValueError, OverflowError) as error:
            raise HTTPException(422, "cursor: send one that an answer gave") from error
        if not page.rows and after is None:
            checked(source, point)
        rows = await in_slices(page.rows, lambda rows: [row_as_json(row) for row in rows])
        rest = ",".join(map(str, page.cursor)) if page.cursor else None
        return as_json({"point": point, "rows": rows, "cursor": rest})

    @router.get("/trend", response_model=answers_history.Trends)
    async def trends(
        _: Reader,
        points: Annotated[list[str], Query(max_length=TREND_POINTS_MAX)],
        start: From,
        end: To,
        buckets: int = Query(600, ge=1, le=BUCKETS_MAX),
    ) -> Any:
        """Points thinned to buckets, with gaps, wound-back stretches and reigns."""
        from_ns, to_ns = time_of(start, "from"), time_of(end, "to")
        ids = list(dict.fromkeys(split(points)))
        if not ids or len(ids) > TREND_POINTS_MAX:
            raise HTTPException(422, f"points: name 1 to {TREND_POINTS_MAX}")
        if from_ns >= to_ns:
            raise HTTPException(422, "to: it must be after `from`")
        return as_json(await _trends(source, ids, from_ns, to_ns, buckets))

    @router.get("/gaps", response_model=list[answers_history.Gap])
    async def gaps(
        _: Reader,
        start: From,
        end: To,
        device: Annotated[str, Query(max_length=64)] = "",
        state: GapState | None = None,
    ) -> Any:
        """The stretches that polling did not cover: why, and what windback made of them."""
        from_ns, to_ns = time_of(start, "from"), time_of(end, "to")
        names = [device] if device else source.site_devices
        found = [gap for name in names for gap in await source.history.gaps(name, from_ns, to_ns)]
        return [gap._asdict() for gap in found if state is None or gap.state is state]

    @router.get("/events", response_model=list[answers.Event])
    async def events(_: Reader, start: From, end: To) -> Any:
        """Alarms and events of [from, to), oldest first, at most 1,000."""
        return await source.events(time_of(start, "from"), time_of(end, "to"))

    return router


async def _trends(
    source: Source, ids: list[str], from_ns: int, to_ns: int, number: int
) -> dict[str, Any]:
    drawn: list[msgspec.Raw] = []
    classes: dict[str, set[str]] = {}
    for point in ids:
        buckets = Buckets(from_ns, to_ns, number)
        await source.thin(point, from_ns, to_ns, buckets)
        before = await source.history.at_or_before(point, from_ns - 1)
        if not buckets.found and before is None:
            checked(source, point)  # a point that was deleted keeps its history
        line = trend(point, source.spec(point), before, buckets)
        classes.setdefault(line["device"], set()).add(line["scan"])
        drawn.append(msgspec.Raw(msgspec.json.encode(line)))
        await asyncio.sleep(0)
    found: list[Gap] = []
    for device, own in classes.items():
        known = await source.history.gaps(device, from_ns, to_ns)
        found += [gap for gap in known if gap.scan_class in own or "" in own]
    step_ns = Buckets(from_ns, to_ns, number).step_ns
    together = joined(found, step_ns)
    roles = await source.roles(ROLES_MAX)
    return {
        "from_ns": from_ns,
        "to_ns": to_ns,
        "step_ns": step_ns,
        "buckets": -(-(to_ns - from_ns) // step_ns),
        "through_ns": source.through_ns,
        "points": drawn,
        "gaps": [gap._asdict() for gap in together if gap.state not in WOUND],
        "wound_back": [gap._asdict() for gap in together if gap.state in WOUND],
        "reigns": reigns_in(roles["reigns"], from_ns, to_ns),
    }
