"""The page's own files: read once, served without a log-in, checked by the browser each time.

They hold no data of the plant. Only what lies in the package is served: a name is looked up in a
table, never in a file system.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

from fastapi import APIRouter, HTTPException, Request, Response

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FIRST: Final = "index.html"


class PageFile(NamedTuple):
    """A file of the page; `tag` changes with its content (RFC 9110, section 8.8.3)."""

    content: bytes
    media_type: str
    tag: str


def page_files() -> dict[str, PageFile]:
    """Every file of the page, by name."""
    found = {}
    for file in files("gateway.web").joinpath("page").iterdir():
        ending = file.name[file.name.rfind(".") :]
        if ending in TYPES:
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[file.name] = PageFile(content, TYPES[ending], tag)
    return found


def page() -> APIRouter:
    """The routes; they are no part of the API, so OpenAPI does not list them."""
    router = APIRouter(include_in_schema=False)
    known = page_files()

    def answer(name: str, request: Request) -> Response:
        file = known.get(name)
        if file is None:
            raise HTTPException(404, "the page has no such file")
        # Not stored for good: after an upgrade nobody may see an old page with a new node.
        headers = {"etag": file.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    @router.get("/")
    async def first(request: Request) -> Response:
        return answer(FIRST, request)

    @router.get("/page/{name}")
    async def other(name: str, request: Request) -> Response:
        return answer(name, request)

    return router
