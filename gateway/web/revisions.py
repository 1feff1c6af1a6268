"""Configuration revisions over the local interface: list, look at, apply, roll back."""

from __future__ import annotations

from typing import Any, Final, Protocol

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

LIST_MAX: Final = 100


class Outcome(Protocol):
    """What became of a proposal."""

    def _asdict(self) -> dict[str, Any]: ...


class Source(Protocol):
    """What these routes need of the node."""

    async def listing(self, limit: int = 20) -> list[dict[str, Any]]: ...
    async def texts(self, reference: str) -> dict[str, str]: ...
    async def apply(
        self, files: dict[str, str], who: str, alone: bool, dry_run: bool = False
    ) -> Outcome: ...
    async def rollback(
        self, reference: str, who: str, alone: bool, dry_run: bool = False
    ) -> Outcome: ...


class ApplyRequest(BaseModel):
    """The texts of a site, its own file first; `alone` goes on though the other node is away."""

    files: dict[str, str] = Field(min_length=1)
    who: str = Field(min_length=1)
    alone: bool = False
    dry_run: bool = False


class RollbackRequest(BaseModel):
    """The revision to go back to: `6`, or `6.3.a` where the number is not enough."""

    reference: str = Field(min_length=1)
    who: str = Field(min_length=1)
    alone: bool = False
    dry_run: bool = False


def revisions(source: Source) -> APIRouter:
    """The routes. A proposal with problems is an answer, not an error: nothing was committed."""
    router = APIRouter()

    @router.get("/revisions")
    async def listing(limit: int = Query(20, ge=1, le=LIST_MAX)) -> list[dict[str, Any]]:
        return await source.listing(limit)

    @router.get("/revisions/files")
    async def files(reference: str = "") -> dict[str, str]:
        return await source.texts(reference)

    @router.post("/revisions/apply")
    async def apply(asked: ApplyRequest) -> dict[str, Any]:
        found = await source.apply(asked.files, asked.who, asked.alone, asked.dry_run)
        return found._asdict()

    @router.post("/revisions/rollback")
    async def rollback(asked: RollbackRequest) -> dict[str, Any]:
        found = await source.rollback(asked.reference, asked.who, asked.alone, asked.dry_run)
        return found._asdict()

    return router
