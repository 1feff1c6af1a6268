"""Tokens over the local interface: the first one is made before anybody can log in."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.web.answers_acts import TokenRequest
from gateway.web.gate import new_secret
from gateway.web.sessions import digest


class Node(Protocol):
    """What knows the tokens."""

    def tokens(self) -> list[dict[str, Any]]: ...


class Orders(Protocol):
    """What makes and revokes them."""

    async def token(self, who: str, name: str, role: str, days: int, digest: str) -> str: ...
    async def revoke(self, who: str, name: str) -> str: ...


class Make(TokenRequest):
    """A token, and who makes it."""

    who: str = Field(min_length=1)


class Revoke(BaseModel):
    """A token by name, and who revokes it."""

    name: str
    who: str = Field(min_length=1)


def local_tokens(node: Node, orders: Orders) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.get("/tokens")
    async def listing() -> list[dict[str, Any]]:
        return node.tokens()

    @router.post("/tokens")
    async def make(asked: Make) -> dict[str, str]:
        secret = new_secret()
        told = await orders.token(asked.who, asked.name, asked.role, asked.days, digest(secret))
        return {"name": asked.name, "token": secret, "done": told}

    @router.post("/tokens/revoke")
    async def revoke(asked: Revoke) -> dict[str, str]:
        return {"done": await orders.revoke(asked.who, asked.name)}

    return router
