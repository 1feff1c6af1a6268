"""Commands that act on the devices and points of a running node."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import (
    DEFAULT_NODE,
    NEGATIVE,
    End,
    Json,
    NodeFile,
    Point,
    Start,
    Target,
    Why,
    complete_device,
)

app = typer.Typer()


@app.command(context_settings=NEGATIVE)
def write(point: Point, value: str, node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Write a value in engineering units; it is journalled and read back."""
    from gateway.cli.field import write as write_point

    raise typer.Exit(write_point(node, point, value, json))


@app.command()
def disable(target: Target, why: Why, node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Take a device (a declared gap) or a point (BadOutOfService) out of service."""
    from gateway.cli.field import maintain

    maintain(node, "disable", target, None, why, json)


@app.command()
def enable(target: Target, why: Why, node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Put a device or point back into service."""
    from gateway.cli.field import maintain

    maintain(node, "enable", target, None, why, json)


@app.command(context_settings=NEGATIVE)
def substitute(
    target: Point, value: str, why: Why, node: NodeFile = DEFAULT_NODE, json: Json = False
) -> None:
    """Hold a point at a value (GoodLocalOverride) until it is released."""
    from gateway.cli.field import maintain

    maintain(node, "substitute", target, value, why, json)


@app.command()
def release(target: Point, why: Why, node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Let a substituted point follow its device again."""
    from gateway.cli.field import maintain

    maintain(node, "release", target, None, why, json)


@app.command()
def windback(
    device: Annotated[
        str,
        typer.Argument(help="whose log to read; none: show all", autocompletion=complete_device),
    ] = "",
    start: Start = "1d",
    end: End = "0s",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Fill a device's gaps from its own log, lost ones again; without a device: what is read."""
    from gateway.cli.windback import windback as ask

    ask(node, device, start, end, json)
