"""REST: what a node, or the Main for it, is told. Who acts is who logged in, never what is sent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from gateway.model import status_name
from gateway.web import answers_acts as acts
from gateway.web.answers import Done
from gateway.web.api import checked
from gateway.web.gate import new_secret
from gateway.web.rights import OF_MAINTENANCE, Act, Caller
from gateway.web.routing import Reader, needs, refuse
from gateway.web.sessions import digest
from gateway.web.source import Orders, Source
from gateway.web.trends import shown

Operator = Annotated[Caller, Depends(needs(Act.WRITE))]
Winder = Annotated[Caller, Depends(needs(Act.WINDBACK))]
Pauser = Annotated[Caller, Depends(needs(Act.PAUSE))]
TokenMaker = Annotated[Caller, Depends(needs(Act.TOKENS))]
Truster = Annotated[Caller, Depends(needs(Act.TRUST))]


def acting(source: Source, orders: Orders) -> APIRouter:
    """What is done about devices and points."""
    router = APIRouter(tags=["acts"])

    @router.post("/write", response_model=acts.Written)
    async def write(asked: acts.WriteRequest, asking: Operator) -> Any:
        """Write a point, read it back, put both on record."""
        outcome = await orders.write(asking.who, checked(source, asked.point), asked.value)
        return {
            "status": status_name(outcome.status),
            "read_back": shown(outcome.read_back),
            "detail": outcome.detail,
        }

    @router.post("/maintenance", response_model=Done)
    async def maintenance(asked: acts.MaintenanceRequest, asking: Reader) -> Any:
        """Disable or enable (engineer), substitute or release (operator)."""
        refuse(asking, OF_MAINTENANCE[asked.action])
        await orders.maintain(asked.action, asked.target, asked.value, asking.who, asked.why)
        return {"done": f"{asked.action} {asked.target}"}

    @router.post("/windback", response_model=Done)
    async def windback(asked: acts.LogRequest, asking: Winder) -> Any:
        """Have a device's log read for a stretch, lost gaps included."""
        span = (asked.from_ns, asked.to_ns)
        return {"done": await orders.windback(asking.who, asked.device, *span)}

    @router.post("/verify", response_model=acts.Verified)
    async def verify(asked: acts.LogRequest, asking: Winder) -> Any:
        """Hold a device's log against history; at most ten minutes at once."""
        span = (asked.from_ns, asked.to_ns)
        found = await orders.verify(asking.who, asked.device, asked.log, *span)
        keys = ("point", "time_ns", "logged", "history")
        told = [dict(zip(keys, difference, strict=True)) for difference in found["differences"]]
        return {**found, "differences": told}

    @router.get("/raw/{device}/{area}/{address:path}", response_model=acts.Raw)
    async def raw(
        device: str,
        area: str,
        address: str,
        _: Annotated[Caller, Depends(needs(Act.RAW))],
        count: int = Query(1, ge=1, le=2_000),
    ) -> Any:
        """Read registers or a node past all maps."""
        values = await source.raw(device, area, address, count)
        return {"values": [shown(value) for value in values]}

    return router


def pair(source: Source, orders: Orders) -> APIRouter:
    """What is done about the pair."""
    router = APIRouter(tags=["pair"])

    @router.post("/changeover", response_model=Done)
    async def changeover(asking: Annotated[Caller, Depends(needs(Act.CHANGEOVER))]) -> Any:
        """Hand the reign to the synced Standby: no scan is lost and none doubled."""
        return {"done": await orders.changeover(asking.who)}

    @router.post("/pause", response_model=Done)
    async def pause(asking: Pauser) -> Any:
        """Stop automatic changes of roles on both nodes."""
        return {"done": await orders.pause(True, asking.who)}

    @router.post("/resume", response_model=Done)
    async def resume(asking: Pauser) -> Any:
        """Let roles change by themselves again."""
        return {"done": await orders.pause(False, asking.who)}

    @router.post("/peer", response_model=Done)
    async def peer(
        asked: acts.PeerRequest, asking: Annotated[Caller, Depends(needs(Act.PEER))]
    ) -> Any:
        """Count the other node as agreeing while it is under repair."""
        return {"done": await orders.peer(asked.absent, asking.who)}

    @router.post("/rehearse", response_model=list[acts.Rehearsed])
    async def rehearse(asking: Annotated[Caller, Depends(needs(Act.REHEARSE))]) -> Any:
        """Knock once at each device that allows it, as a Standby."""
        return [found._asdict() for found in await orders.rehearse(asking.who)]

    @router.post("/backup", response_model=Done)
    async def backup(
        asked: acts.BackupRequest, asking: Annotated[Caller, Depends(needs(Act.BACKUP))]
    ) -> Any:
        """Copy the journal to `data_dir/backups/<name>` while collecting goes on."""
        return {"done": await source.backup_as(asked.name, asking.who)}

    return router


def people(source: Source, orders: Orders) -> APIRouter:
    """Who may come in: users, tokens, certificates."""
    router = APIRouter(tags=["people"])

    @router.get("/users", response_model=list[acts.User])
    async def users(_: Annotated[Caller, Depends(needs(Act.USERS))]) -> Any:
        """The users of the revision that runs; they are changed by applying another one."""
        return source.users()

    @router.get("/tokens", response_model=list[acts.Token])
    async def tokens(_: TokenMaker) -> Any:
        """The tokens that were made and not revoked."""
        return source.tokens()

    @router.post("/tokens", response_model=acts.NewToken)
    async def make(asked: acts.TokenRequest, asking: TokenMaker) -> Any:
        """Make a token, good on both nodes; this answer is the only place where it is shown."""
        secret = new_secret()
        await orders.token(asking.who, asked.name, asked.role, asked.days, digest(secret))
        return {"name": asked.name, "token": secret}

    @router.delete("/tokens/{name}", response_model=Done)
    async def revoke(name: Annotated[str, Path(max_length=64)], asking: TokenMaker) -> Any:
        """Let a token in no more, on both nodes."""
        return {"done": await orders.revoke(asking.who, name)}

    @router.get("/certificates", response_model=list[acts.Certificate])
    async def certificates(_: Reader) -> Any:
        """This node's own certificates, and until when they are valid."""
        return await source.certificates()

    @router.get("/trust", response_model=list[acts.Trusted])
    async def trust(_: Annotated[Caller, Depends(needs(Act.DISABLE))]) -> Any:
        """OPC UA clients that are let in, and those that asked in vain; for engineers."""
        return await source.trust()

    @router.post("/trust", response_model=Done)
    async def accept(asked: acts.TrustRequest, asking: Truster) -> Any:
        """Let in a client that was rejected."""
        return {"done": await source.trust_accept(asked.thumbprint, asked.issuer, asking.who)}

    @router.delete("/trust/{thumbprint}", response_model=Done)
    async def remove(
        thumbprint: Annotated[str, Path(pattern=r"^[0-9A-Fa-f]{4,40}$")], asking: Truster
    ) -> Any:
        """Let a client in no more; its connections end."""
        return {"done": await source.trust_remove(thumbprint, asking.who)}

    return router
