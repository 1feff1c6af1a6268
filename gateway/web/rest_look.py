"""REST: what the node and its pair are now, and what changes, as it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import StreamingResponse

from gateway.web import answers, answers_history
from gateway.web.api import AUDIT_MAX, ROLES_MAX, TRACE_FRAMES_WAITING_MAX, frame_as_json
from gateway.web.feeds import Audience, EventListener, LiveListener
from gateway.web.gate import Gate
from gateway.web.rights import Act, Caller
from gateway.web.routing import Reader, as_json, in_slices, needs
from gateway.web.source import Source

LIVE_POINTS_MAX: Final = 5_000
PATTERNS_MAX: Final = 200
KEEP_ALIVE_S: Final = 2.0
"""The page counts a stream that is silent for twice as long and a second as broken."""
A_POINT_S: Final = 100e-6
"""The pause that each point takes, times the streams: some 10 us of work, a tenth of the time."""
TRACE_SECONDS_MAX: Final = 600
Find = Annotated[
    str, Query(max_length=100, description="a part of the id or unit, in small or large letters")
]
First = Annotated[
    int | None, Query(ge=1, le=LIVE_POINTS_MAX, description="so many at most, in the site's order")
]
EVENT_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
Patterns = Annotated[
    list[str],
    Query(max_length=PATTERNS_MAX, description="ids or shell patterns, also joined by commas"),
]


def split(points: Sequence[str]) -> list[str]:
    """Each id or pattern; raises HTTP 422 for too many."""
    found = [part for text in points for part in text.split(",") if part]
    if len(found) > PATTERNS_MAX:
        raise HTTPException(422, f"points: name at most {PATTERNS_MAX}, or use a pattern")
    return found


def looking(source: Source) -> APIRouter:
    """What is asked for once."""
    router = APIRouter(tags=["node"])

    @router.get("/status", response_model=answers.NodeStatus)
    async def status(
        _: Reader, devices: bool = Query(True, description="false: `devices` is left empty")
    ) -> Any:
        """The node and its peer, the journal, each device."""
        await source.gaps_counted()
        found = source.status()
        return as_json(found if devices else {**found, "devices": {}})

    @router.get("/points", response_model=list[answers.Point])
    async def points(
        _: Reader, pattern: str = Query("*", max_length=512), find: Find = "", first: First = None
    ) -> Any:
        """The points whose id fits a shell pattern, with their live values."""
        return as_json(await in_slices(source.select([pattern], find)[:first], source.values))

    @router.get("/windback", response_model=dict[str, answers_history.Windback])
    async def windback(_: Reader) -> Any:
        """What windback does, by device; on the Main."""
        return source.windback()

    @router.get("/audit", response_model=list[answers.AuditEntry])
    async def audit(_: Reader, limit: int = Query(100, ge=1, le=AUDIT_MAX)) -> Any:
        """Who did or tried what, the newest entries, oldest first."""
        return await source.audit(limit)

    @router.get("/roles", response_model=answers.Roles)
    async def roles(_: Reader, limit: int = Query(100, ge=1, le=ROLES_MAX)) -> Any:
        """The newest role changes of both nodes, and who was Main from when to when."""
        return await source.roles(limit)

    @router.get("/trace/{device}", response_class=StreamingResponse)
    async def trace(
        device: str,
        _: Annotated[Caller, Depends(needs(Act.TRACE))],
        seconds: float = Query(60.0, gt=0, le=TRACE_SECONDS_MAX),
    ) -> StreamingResponse:
        """Each frame of a device as a line of JSON, for so many seconds."""
        frames: asyncio.Queue[Any] = asyncio.Queue(TRACE_FRAMES_WAITING_MAX)

        def put(frame: Any) -> None:
            if not frames.full():
                frames.put_nowait(frame)

        stop = source.trace(device, put)

        async def lines() -> AsyncIterator[bytes]:
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        yield frame_as_json(await frames.get())
            except TimeoutError:
                return
            finally:
                stop()

        return StreamingResponse(lines(), media_type="application/jsonl")

    return router


def listening(
    source: Source,
    gate: Gate,
    live: Audience[LiveListener],
    events: Audience[EventListener],
) -> APIRouter:
    """Server-sent events (WHATWG HTML, section 9.2): what changes, as it changes."""
    router = APIRouter(tags=["live"], responses=EVENT_STREAM)

    @router.get("/live", response_class=StreamingResponse)
    async def live_values(
        asking: Reader,
        points: Patterns = ["*"],  # noqa: B006 (FastAPI copies it)
        every_ms: int = Query(500, ge=100, le=60_000, description="the shortest pause"),
        find: Find = "",
        first: First = None,
    ) -> StreamingResponse:
        """Event `snapshot` with all values, then `change` with those that changed.

        `fits` says how many points were asked for, beyond the `first` ones, too.
        """
        patterns = split(points)
        fits = len(source.select(patterns, find))
        if first is None and fits > LIVE_POINTS_MAX:
            remedy = "name fewer, or ask for the `first` ones"
            raise HTTPException(422, f"points: {fits} of them, at most {LIVE_POINTS_MAX}: {remedy}")

        def latest() -> list[int]:
            nonlocal fits
            found = source.select(patterns, find)
            fits = len(found)
            return found[: first or LIVE_POINTS_MAX]

        listener = LiveListener(asking.who, latest)

        async def tell() -> tuple[str, dict[str, Any], int]:
            name = "snapshot" if listener.anew else "change"
            found = listener.take()
            try:
                values = await in_slices(found.points, source.values)
            except IndexError:  # another revision with fewer points runs since a moment
                listener.hear(None)
                values = msgspec.Raw(b"[]")
            told = {"now_ns": source.now_ns(), "skipped": found.skipped, "points": values}
            told["fits"] = fits
            return name, told, len(found.points)

        return _stream(live, listener, tell, every_ms / 1_000, lambda: gate.still(asking))

    @router.get("/events/live", response_class=StreamingResponse)
    async def live_events(asking: Reader) -> StreamingResponse:
        """Event `events` with what was journalled; `lost` counts those dropped before."""
        listener = EventListener(asking.who)

        async def tell() -> tuple[str, dict[str, Any], int]:
            found, lost = listener.take()
            return "events", {"lost": lost, "events": found}, 0

        return _stream(events, listener, tell, 0.1, lambda: gate.still(asking))

    return router


def _stream(
    audience: Audience[Any],
    listener: Any,
    tell: Callable[[], Awaitable[tuple[str, dict[str, Any], int]]],
    pause_s: float,
    still: Callable[[], bool],
) -> StreamingResponse:
    """What a listener is told, until it or its right to listen is gone."""
    if not audience.join(listener):
        raise HTTPException(429, "too many streams are open: close some")

    async def told() -> AsyncIterator[bytes]:
        try:
            yield b"retry: 2000\n\n"
            while still():
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await listener.news.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                name, data, points = await tell()
                yield b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
                await asyncio.sleep(max(pause_s, points * len(audience) * A_POINT_S))
            yield b'event: bye\ndata: {"why":"logged out"}\n\n'
        finally:
            audience.leave(listener)

    return StreamingResponse(told(), media_type="text/event-stream")
