"""Commands about the pair: who is Main, and whether that may change."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_NODE, Json, NodeFile

app = typer.Typer()


@app.command()
def changeover(node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Hand the reign to the synced Standby: no scan is lost and none doubled."""
    from gateway.cli.roles import command

    command(node, "/changeover", json)


@app.command()
def pause(node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Stop automatic changes of roles on both nodes, also over restarts."""
    from gateway.cli.roles import command

    command(node, "/pause", json)


@app.command()
def resume(node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Let automatic changes of roles go on."""
    from gateway.cli.roles import command

    command(node, "/resume", json)


@app.command()
def peer(
    state: Annotated[str, typer.Argument(help="absent or present")],
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Count a peer under repair as agreeing, until it is heard again."""
    from gateway.cli.roles import peer as tell

    tell(node, state, json)
