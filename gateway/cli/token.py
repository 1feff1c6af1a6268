"""`hotpair token`: what programs log in with at REST, on both nodes."""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli.options import DEFAULT_NODE, Json, NodeFile

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer()
token = typer.Typer(no_args_is_help=True)
app.add_typer(token, name="token", help="What programs log in with at REST: good on both nodes.")

Name = Annotated[str, typer.Argument(help="what it is for, such as grafana")]
RoleChoice = Literal["observer", "operator", "engineer", "admin"]


@token.command()
def make(
    name: Name,
    role: Annotated[RoleChoice, typer.Option(help="what it may do")] = "observer",
    days: Annotated[int, typer.Option(min=1, max=3_650, help="how long it is good")] = 365,
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Make a token and print it, this once: nobody can read it again."""
    from gateway.cli.client import NodeClient, who

    with NodeClient(node) as client:
        body = {"name": name, "role": role, "days": days, "who": who()}
        made = client.post("/tokens", body)
    print(json_text.dumps(made) if json else made["token"])


@token.command("list")
def show(node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """List the tokens that were made and not revoked."""
    from gateway.cli.client import NodeClient
    from gateway.cli.look import show as show_found

    with NodeClient(node) as client:
        show_found(lambda: client.get("/tokens"), json, draw)


@token.command()
def revoke(name: Name, node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Let a token in no more, on both nodes."""
    from gateway.cli.client import NodeClient, who

    with NodeClient(node) as client:
        answer = client.post("/tokens/revoke", {"name": name, "who": who()})
    print(json_text.dumps(answer) if json else answer["done"])


def draw(found: list[dict[str, Any]]) -> RenderableType:
    """The tokens as a table."""
    from gateway.cli.look import counted, table

    columns = ("name", "role", "made by", "made", "expires")

    def row(one: dict[str, Any]) -> list[str]:
        ends = f"{one['expires']}{' (expired)' if one['expired'] else ''}"
        return [one["name"], one["role"], one["made_by"], one["made"], ends]

    return table(counted(found, "token"), columns, map(row, found))
