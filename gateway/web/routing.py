"""What the routes of REST share: who may, how refusals look, and times as people write them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import Depends, HTTPException, Query, Request, Response
from fastapi.security import APIKeyCookie, HTTPBearer

from gateway.web.answers import Trouble
from gateway.web.rights import LEAST, Act, Caller

REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Trouble, "description": "The body can't be read"},
    401: {"model": Trouble, "description": "Nobody is logged in, and no token was sent"},
    403: {"model": Trouble, "description": "The role does not suffice"},
    404: {"model": Trouble, "description": "There is no such thing"},
    409: {"model": Trouble, "description": "It can't be done now"},
    413: {"model": Trouble, "description": "The body is too large"},
    422: {"model": Trouble, "description": "Something in the request has no meaning"},
    429: {"model": Trouble, "description": "Too many at once, or too many log-ins failed"},
    503: {"model": Trouble, "description": "It took too long"},
}
"""How any route may answer but by what it is asked for."""
SCHEMES: Final = [
    Depends(APIKeyCookie(name="hotpair_<node>", auto_error=False, description="of the page")),
    Depends(HTTPBearer(auto_error=False, description="a token: `hotpair token make`")),
]
"""For OpenAPI only: who asks was found out before any route was looked for (guard.py)."""

_NS_OR_ISO: Final = (
    r"^(-?[0-9]{1,19}|"
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]{5,15}([Zz]|[+-][0-9:]{5})?)?)$"
)
_INSTANT: Final[dict[str, Any]] = {
    "max_length": 64,
    "json_schema_extra": {"pattern": _NS_OR_ISO},
    "description": "ISO 8601, UTC without an offset, or integer ns since 1970",
}
From = Annotated[str, Query(alias="from", **_INSTANT)]
To = Annotated[str, Query(alias="to", **_INSTANT)]


def caller(request: Request) -> Caller:
    """Who asks."""
    found: Caller = request.state.caller
    return found


def refuse(asking: Caller, act: Act) -> None:
    """Raise HTTP 403 if the caller may not."""
    if not asking.may(act):
        least = LEAST[act].name.lower()
        raise HTTPException(
            403, f"{asking.name} is {asking.role.name.lower()}: to {act.value} takes {least}"
        )


def needs(act: Act) -> Callable[[Request], Caller]:
    """The caller, as a dependency of a route that takes a right."""

    def check(request: Request) -> Caller:
        asking = caller(request)
        refuse(asking, act)
        return asking

    return check


Reader = Annotated[Caller, Depends(needs(Act.READ))]


SLICE: Final = 250
"""What is made into JSON between two turns of others: some 2 ms."""
T = TypeVar("T")


async def in_slices(
    items: Sequence[T], shown: Callable[[Sequence[T]], list[dict[str, Any]]]
) -> msgspec.Raw:
    """A JSON list of many items, made so that polling has its turns in between."""
    parts: list[bytes] = []
    for start in range(0, len(items), SLICE):
        parts.append(msgspec.json.encode(shown(items[start : start + SLICE]))[1:-1])
        await asyncio.sleep(0)
    return msgspec.Raw(b"[" + b",".join(parts) + b"]")


def as_json(found: Any) -> Response:
    """An answer that was made by hand; tests hold it against its model."""
    return Response(msgspec.json.encode(found), media_type="application/json")
