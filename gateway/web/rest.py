"""REST over TCP, put together: health for everybody, /api/v1 for who is known, metrics.

`build` makes the ASGI application of a node. Everything but health, the log-in and the files of
the page is behind `Guard`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from gateway import __version__
from gateway.errors import HotpairError
from gateway.model import parse_duration
from gateway.server.logins import LoginThrottled
from gateway.web import answers
from gateway.web.api import failed, refusal
from gateway.web.feeds import Audience, EventListener, LiveListener
from gateway.web.gate import Gate
from gateway.web.guard import Asgi, Guard
from gateway.web.health import KINDS, Kind, complaint
from gateway.web.rest_act import acting, pair, people
from gateway.web.rest_history import history
from gateway.web.rest_look import listening, looking
from gateway.web.rest_revisions import revising
from gateway.web.revisions import Source as Revisions
from gateway.web.rights import Caller
from gateway.web.routing import REFUSALS, SCHEMES, Reader
from gateway.web.sessions import LONGEST_NS
from gateway.web.source import Orders, Source

API: Final = "/api/v1"
LOG_IN: Final = f"{API}/login"
METRICS: Final = "/metrics"
PUBLIC: Final = ("/health/", LOG_IN, "/", "/page/")
"""What there is without a log-in; the page's files hold no data of the plant."""


class Rest(NamedTuple):
    """What the application is made of."""

    source: Source
    orders: Orders
    revisions: Revisions
    gate: Gate
    live: Audience[LiveListener]
    events: Audience[EventListener]
    metrics: Callable[[], Awaitable[str]]
    metrics_open: bool
    tls: bool
    lasting: bool = False
    peer_page: str = ""


def build(parts: Rest, *routers: APIRouter) -> Asgi:
    """The application; `routers` are those of the page."""
    app = FastAPI(
        title="Hotpair",
        version=__version__,
        description="One node of a hot-standby pair. Reads are served by both nodes; what is "
        "told to a Standby is carried to its Main.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    _explain_errors(app)
    app.include_router(health(parts.source))
    app.include_router(log_in(parts), prefix=API, responses=REFUSALS)
    for router in (
        account(parts),
        looking(parts.source),
        history(parts.source),
        listening(parts.source, parts.gate, parts.live, parts.events),
        acting(parts.source, parts.orders),
        pair(parts.source, parts.orders),
        people(parts.source, parts.orders),
        revising(parts.revisions),
    ):
        app.include_router(router, prefix=API, responses=REFUSALS, dependencies=SCHEMES)
    open_to_all = [METRICS] if parts.metrics_open else []
    app.include_router(metrics(parts), dependencies=[] if parts.metrics_open else SCHEMES)
    for router in routers:
        app.include_router(router)
    return Guard(app, parts.gate, (*PUBLIC, *open_to_all), parts.lasting)


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(HotpairError)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        return refusal(error)

    app.add_exception_handler(Exception, failed)

    @app.exception_handler(RequestValidationError)
    async def meaningless(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = error.errors()
        detail = "; ".join(f"{'/'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in found[:10])
        return JSONResponse({"detail": detail, "remedy": f"See {API}/openapi.json"}, 422)


def health(source: Source) -> APIRouter:
    """Status 200 or 503, as load balancers ask for it each second."""
    router = APIRouter(tags=["health"])

    def told(kind: Kind, lag_ns: int | None = None) -> JSONResponse:
        stand = source.stand()
        why = complaint(kind, stand, lag_ns)
        body = {"ok": not why, "node": stand.node, "role": stand.role, "why": why}
        return JSONResponse(body, 503 if why else 200)

    def add(kind: Kind) -> None:
        async def answer() -> Response:
            return told(kind)

        async def standby(
            lag: Annotated[
                str, Query(max_length=20, description="how old its history may be: 10s")
            ] = "",
        ) -> Response:
            try:
                return told(kind, parse_duration(lag) if lag else None)
            except (ValueError, OverflowError) as error:
                raise HTTPException(422, f"lag: {error}") from error

        route = standby if kind == "standby" else answer
        route.__doc__ = f"Whether it is {kind}: 200, else 503 and why."
        for method in ("GET", "HEAD", "OPTIONS"):
            router.add_api_route(
                f"/health/{kind}",
                route,
                methods=[method],
                name=f"{kind} {method.lower()}",
                response_model=answers.Health,
                responses={503: {"model": answers.Health}, 422: {"model": answers.Trouble}},
            )

    for kind in KINDS:
        add(kind)
    return router


def log_in(parts: Rest) -> APIRouter:
    """The one route of the API that is there for everybody."""
    router = APIRouter(tags=["log-in"])

    @router.post("/login", response_model=answers.Me)
    async def login(asked: answers.LogIn, request: Request, response: Response) -> Any:
        """Log in as a user of site.yaml: the answer sets a cookie."""
        if "x-hotpair" not in request.headers:
            raise HTTPException(403, "the header X-Hotpair is missing: send `X-Hotpair: page`")
        peer = request.client.host if request.client is not None else ""
        try:
            secret = await parts.gate.log_in(asked.user, asked.password, peer)
        except LoginThrottled as error:
            raise HTTPException(429, "too many log-ins failed: wait a minute") from error
        found = secret and parts.gate.caller(f"{parts.gate.cookie}={secret}", "")
        if not secret or not found:
            raise HTTPException(401, "name and password don't fit")
        response.set_cookie(
            parts.gate.cookie,
            secret,
            max_age=LONGEST_NS // 10**9,
            httponly=True,
            samesite="strict",
            secure=parts.tls,
        )
        return _me(parts, found)

    return router


def account(parts: Rest) -> APIRouter:
    """Who is asking."""
    router = APIRouter(tags=["log-in"])

    @router.get("/me", response_model=answers.Me)
    async def me(asking: Reader) -> Any:
        """Who is logged in, and what they may do."""
        return _me(parts, asking)

    @router.post("/logout", response_model=answers.Done)
    async def logout(asking: Reader, response: Response) -> Any:
        """End the session of the cookie."""
        await parts.gate.log_out(asking)
        response.delete_cookie(parts.gate.cookie)
        return {"done": "logged out"}

    return router


def _me(parts: Rest, asking: Caller) -> dict[str, Any]:
    return {
        "user": asking.name,
        "role": asking.role.name.lower(),
        "acts": asking.acts,
        "token": not asking.session,
        "node": parts.source.name,
        "site": parts.source.site,
        "peer_page": parts.peer_page,
    }


def metrics(parts: Rest) -> APIRouter:
    """Prometheus' text format, version 0.0.4."""
    router = APIRouter(tags=["metrics"])
    text: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
    }

    @router.get(METRICS, response_class=Response, responses={**REFUSALS, **text})
    async def prometheus() -> Response:
        """Everything that is counted."""
        return Response(await parts.metrics(), media_type="text/plain; version=0.0.4")

    return router
