"""REST: revisions of the configuration, for engineers; what touches the users, for admins."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from gateway.web import answers_acts as acts
from gateway.web.differing import changes_users, differences
from gateway.web.revisions import LIST_MAX
from gateway.web.revisions import Source as Revisions
from gateway.web.rights import Act, Caller
from gateway.web.routing import Reader, needs, refuse

Engineer = Annotated[Caller, Depends(needs(Act.REVISE))]
Reference = Annotated[str, Query(max_length=100)]


def revising(source: Revisions) -> APIRouter:
    """The routes. A proposal with problems is an answer: nothing was committed."""
    router = APIRouter(prefix="/revisions", tags=["revisions"])

    async def may_change(asking: Caller, files: Mapping[str, str]) -> None:
        if not asking.may(Act.USERS):
            now = await source.texts("")
            if await asyncio.to_thread(changes_users, now, files):
                refuse(asking, Act.USERS)

    @router.get("", response_model=list[acts.Revision])
    async def listing(_: Reader, limit: int = Query(20, ge=1, le=LIST_MAX)) -> Any:
        """The newest revisions, newest first, and what each changed."""
        return await source.listing(limit)

    @router.get("/files", response_model=dict[str, str])
    async def files(_: Engineer, reference: Reference = "") -> Any:
        """The texts of a revision, password hashes among them; of the head when none is named."""
        return await source.texts(reference)

    @router.get("/differences", response_model=list[acts.FileDifference])
    async def differing(
        _: Engineer,
        old: Reference,
        new: Reference = "",
    ) -> Any:
        """What a revision changes of an older one, file by file; the head when `new` is empty."""
        before, after = await source.texts(old), await source.texts(new)
        return await asyncio.to_thread(differences, before, after)

    @router.post("/apply", response_model=acts.Applied)
    async def apply(asked: acts.ApplyRequest, asking: Engineer) -> Any:
        """Make these texts the next revision, once both nodes found nothing wrong with them."""
        await may_change(asking, asked.files)
        found = await source.apply(asked.files, asking.who, asked.alone, asked.dry_run)
        return found._asdict()

    @router.post("/rollback", response_model=acts.Applied)
    async def rollback(asked: acts.RollbackRequest, asking: Engineer) -> Any:
        """Make the texts of an older revision the next one."""
        await may_change(asking, await source.texts(asked.reference))
        found = await source.rollback(asked.reference, asking.who, asked.alone, asked.dry_run)
        return found._asdict()

    return router
