"""The node's local interface: what the command line, the rig and later the page speak to.

HTTP over a Unix socket in the data directory. The socket's file mode decides who may connect (owner
and group), so there is no password here; who acted is the user that the kernel names. Times in
requests and answers are ISO 8601 UTC or integer ns.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

from fastapi import APIRouter, Body, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from gateway.driver import Frame, Rehearsal, WriteOutcome
from gateway.errors import BadInput, DeviceError, HotpairError, NotThere
from gateway.model import (
    GapState,
    HistoryReader,
    HistoryRow,
    Value,
    format_time,
    parse_time,
    status_name,
)
from gateway.web.trends import shown

log = logging.getLogger("hotpair")

HISTORY_PAGE_MAX: Final = 100_000
TRACE_FRAMES_WAITING_MAX: Final = 1_000
TRACE_SECONDS_MAX: Final = 3_600
ROLES_MAX: Final = 1_000
AUDIT_MAX: Final = 10_000
TIME_MAX_NS: Final = 2**62
"""Beyond the year 2100, and far from what 64 bits hold."""


class Node(Protocol):
    """What the interface needs of the running node."""

    @property
    def history(self) -> HistoryReader: ...
    @property
    def site_devices(self) -> list[str]: ...
    async def gaps_counted(self) -> None: ...
    def status(self) -> dict[str, Any]: ...
    def points(self, pattern: str) -> list[dict[str, Any]]: ...
    def knows(self, point: str) -> bool: ...
    def windback(self) -> dict[str, dict[str, Any]]: ...
    async def events(self, from_ns: int, to_ns: int) -> list[dict[str, Any]]: ...
    async def roles(self, limit: int) -> dict[str, Any]: ...
    async def audit(self, limit: int) -> list[dict[str, Any]]: ...
    async def raw(self, device: str, area: str, address: str, count: int) -> list[Value]: ...
    def trace(self, device: str, sink: Callable[[Frame], None]) -> Callable[[], None]: ...
    async def backup(self, path: str) -> None: ...


class Commands(Protocol):
    """What a node, or the Main for it, can be told. Each raises HotpairError."""

    async def maintain(
        self, action: str, target: str, value: Value, who: str, why: str
    ) -> None: ...
    async def write(self, who: str, point: str, value: Value) -> WriteOutcome: ...
    async def windback(self, who: str, device: str, from_ns: int, to_ns: int) -> str: ...
    async def verify(
        self, who: str, device: str, log: str, from_ns: int, to_ns: int
    ) -> dict[str, Any]: ...
    async def changeover(self, who: str) -> str: ...
    async def pause(self, paused: bool, who: str) -> str: ...
    async def peer(self, absent: bool, who: str) -> str: ...
    async def rehearse(self, who: str) -> list[Rehearsal]: ...


class MaintenanceRequest(BaseModel):
    """A maintenance action."""

    action: str
    target: str
    value: bool | int | float | str | None = None
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)


class WriteRequest(BaseModel):
    """A value for a point, in engineering units."""

    point: str
    value: bool | int | float | str
    who: str = Field(min_length=1)


class LogRequest(BaseModel):
    """A stretch of a device's log; `log` may be empty where there is one."""

    device: str
    log: str = ""
    from_ns: int
    to_ns: int
    who: str = Field(min_length=1)


class Command(BaseModel):
    """A command to the pair."""

    who: str = Field(min_length=1)


class PeerCommand(Command):
    """Whether the peer is under repair and counts as agreeing."""

    absent: bool


def time_of(text: str, name: str) -> int:
    """An instant given as integer ns or ISO 8601. Raises HTTP 422."""
    try:
        found = int(text) if text.lstrip("-").isdigit() else parse_time(text)
        if not -TIME_MAX_NS <= found <= TIME_MAX_NS:
            raise ValueError("it is out of range")
        return found
    except (ValueError, OverflowError) as error:
        remedy = f"{name}: write 2026-11-22T09:30:00Z or integer ns since 1970"
        raise HTTPException(422, remedy) from error


def row_as_json(row: HistoryRow) -> dict[str, Any]:
    """A stored sample as JSON."""
    return {
        "time_ns": row.time_ns,
        "value": shown(row.value),
        "status": row.status,
        "received_ns": row.received_ns,
        "origin": row.origin.name.lower(),
        "position": str(row.position),
    }


def frame_as_json(frame: Frame) -> bytes:
    """A traced frame as a line of JSON."""
    fields = {
        "time": format_time(frame.time_ns),
        "device": frame.device,
        "sent": frame.sent,
        "data": frame.data.hex(" "),
        "text": frame.text,
    }
    return json.dumps(fields).encode() + b"\n"


def refusal(error: Exception) -> JSONResponse:
    """What a request is told that came to an error of ours."""
    assert isinstance(error, HotpairError)
    body = {"detail": error.message, "remedy": error.remedy}
    if isinstance(error, DeviceError):
        body["status"] = status_name(error.status)
    return JSONResponse(body, status_code=http_status(error))


async def failed(request: Request, error: Exception) -> JSONResponse:
    """What a request is told that came to an error nobody foresaw: a mistake of ours."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    body = {"detail": "the node failed at this", "remedy": "Its log says why: report it"}
    return JSONResponse(body, status_code=500)


def http_status(error: HotpairError) -> int:
    """How HTTP calls an error: not there, not to be understood, or refused."""
    return 404 if isinstance(error, NotThere) else 422 if isinstance(error, BadInput) else 409


def build(node: Node, commands: Commands, *routers: APIRouter) -> FastAPI:
    """The interface of a node; `routers` are those of other modules."""
    app = FastAPI(title="Hotpair", docs_url=None, redoc_url=None)

    @app.exception_handler(HotpairError)
    async def explain(_: Request, error: Exception) -> JSONResponse:
        return refusal(error)

    app.add_exception_handler(Exception, failed)
    app.include_router(looking(node))
    app.include_router(history(node))
    app.include_router(acting(node, commands))
    app.include_router(pair(commands))
    for router in routers:
        app.include_router(router)
    return app


def checked(node: Node, point: str) -> str:
    """The id of a point that exists. Raises HTTP 404."""
    if not node.knows(point):
        raise NotThere(f"there is no point {point!r}", "`hotpair points` lists them")
    return point


def looking(node: Node) -> APIRouter:
    """What a node is and reads now."""
    router = APIRouter()

    @router.get("/status")
    async def status() -> dict[str, Any]:
        await node.gaps_counted()
        return node.status()

    @router.get("/points")
    async def points(pattern: str = "*") -> list[dict[str, Any]]:
        return node.points(pattern)

    @router.get("/raw/{device}/{area}/{address:path}")
    async def raw(device: str, area: str, address: str, count: int = 1) -> dict[str, Any]:
        values = await node.raw(device, area, address, count)
        return {"values": [shown(value) for value in values]}

    @router.get("/trace/{device}")
    async def trace(
        device: str, seconds: float = Query(60.0, gt=0, le=TRACE_SECONDS_MAX)
    ) -> StreamingResponse:
        frames: asyncio.Queue[Frame] = asyncio.Queue(TRACE_FRAMES_WAITING_MAX)

        def put(frame: Frame) -> None:
            if not frames.full():
                frames.put_nowait(frame)

        stop = node.trace(device, put)

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


def history(node: Node) -> APIRouter:
    """What a node's journal holds, and what it does not."""
    router = APIRouter()

    @router.get("/history")
    async def samples(
        point: str,
        start: str = Query(alias="from"),
        end: str = Query(alias="to"),
        limit: int = Query(10_000, ge=1, le=HISTORY_PAGE_MAX),
        reverse: bool = False,
        cursor: str = "",
    ) -> dict[str, Any]:
        from_ns, to_ns = time_of(start, "from"), time_of(end, "to")
        after = tuple(int(part) for part in cursor.split(",")) if cursor else None
        page = await node.history.read(point, from_ns, to_ns, limit, after, reverse)
        if not page.rows and after is None:
            checked(node, point)  # a point that was deleted keeps its history
        return {
            "point": point,
            "rows": [row_as_json(row) for row in page.rows],
            "cursor": ",".join(map(str, page.cursor)) if page.cursor else None,
        }

    @router.get("/gaps")
    async def gaps(
        start: str = Query(alias="from"),
        end: str = Query(alias="to"),
        device: str = "",
        state: GapState | None = None,
    ) -> list[dict[str, Any]]:
        from_ns, to_ns = time_of(start, "from"), time_of(end, "to")
        names = [device] if device else node.site_devices
        found = [gap for name in names for gap in await node.history.gaps(name, from_ns, to_ns)]
        if not found and device and device not in node.site_devices:
            known = ", ".join(node.site_devices)
            raise NotThere(f"there is no device {device!r}", f"Known are: {known}")
        return [gap._asdict() for gap in found if state is None or gap.state is state]

    @router.get("/windback")
    async def windback() -> dict[str, dict[str, Any]]:
        return node.windback()

    @router.get("/events")
    async def events(
        start: str = Query(alias="from"), end: str = Query(alias="to")
    ) -> list[dict[str, Any]]:
        return await node.events(time_of(start, "from"), time_of(end, "to"))

    @router.get("/audit")
    async def audit(limit: int = Query(100, ge=1, le=AUDIT_MAX)) -> list[dict[str, Any]]:
        return await node.audit(limit)

    @router.get("/roles")
    async def roles(limit: int = Query(100, ge=1, le=ROLES_MAX)) -> dict[str, Any]:
        return await node.roles(limit)

    return router


def acting(node: Node, commands: Commands) -> APIRouter:
    """What a node can be told about devices and points."""
    router = APIRouter()

    @router.post("/maintenance")
    async def maintenance(request: MaintenanceRequest) -> dict[str, str]:
        await commands.maintain(
            request.action, request.target, request.value, request.who, request.why
        )
        return {"done": f"{request.action} {request.target}"}

    @router.post("/write")
    async def write(request: WriteRequest) -> dict[str, Any]:
        outcome = await commands.write(request.who, checked(node, request.point), request.value)
        return {
            "status": status_name(outcome.status),
            "read_back": shown(outcome.read_back),
            "detail": outcome.detail,
        }

    @router.post("/windback")
    async def windback(request: LogRequest) -> dict[str, str]:
        span = (request.from_ns, request.to_ns)
        return {"done": await commands.windback(request.who, request.device, *span)}

    @router.post("/verify")
    async def verify(request: LogRequest) -> dict[str, Any]:
        span = (request.from_ns, request.to_ns)
        return await commands.verify(request.who, request.device, request.log, *span)

    @router.post("/backup")
    async def backup(path: str = Body(embed=True)) -> dict[str, str]:
        await node.backup(path)
        return {"done": path}

    return router


def pair(commands: Commands) -> APIRouter:
    """What the pair can be told."""
    router = APIRouter()

    @router.post("/changeover")
    async def changeover(command: Command) -> dict[str, str]:
        return {"done": await commands.changeover(command.who)}

    @router.post("/pause")
    async def pause(command: Command) -> dict[str, str]:
        return {"done": await commands.pause(True, command.who)}

    @router.post("/resume")
    async def resume(command: Command) -> dict[str, str]:
        return {"done": await commands.pause(False, command.who)}

    @router.post("/peer")
    async def peer(command: PeerCommand) -> dict[str, str]:
        return {"done": await commands.peer(command.absent, command.who)}

    @router.post("/rehearse")
    async def rehearse(command: Command) -> list[dict[str, Any]]:
        return [found._asdict() for found in await commands.rehearse(command.who)]

    return router
