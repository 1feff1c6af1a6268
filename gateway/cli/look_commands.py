"""Commands that look at a running node and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway.cli.options import (
    DEFAULT_NODE,
    Device,
    End,
    Json,
    NodeFile,
    Point,
    Start,
    complete_device,
    complete_point,
)

app = typer.Typer()

GapChoice = Literal["open", "lost", "coarse", "filled"]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="renew each second")]


@app.command()
def status(node: NodeFile = DEFAULT_NODE, json: Json = False, watch: Watch = False) -> None:
    """Show the node and its devices on one screen."""
    from gateway.cli.look import status as show

    show(node, json, watch)


@app.command()
def points(
    pattern: Annotated[
        str,
        typer.Argument(help="shell pattern, such as 'plc1/*'", autocompletion=complete_point),
    ] = "*",
    node: NodeFile = DEFAULT_NODE,
    bad: Annotated[bool, typer.Option("--bad", help="only what is not Good")] = False,
    writable: Annotated[bool, typer.Option("--writable", help="only what may be written")] = False,
    json: Json = False,
    watch: Watch = False,
) -> None:
    """Show live values."""
    from gateway.cli.look import points as show

    show(node, pattern, bad, writable, json, watch)


@app.command()
def read(
    points: Annotated[
        list[str], typer.Argument(help="device/point …", autocompletion=complete_point)
    ],
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Print the value of points once: `point value unit status`, one a line."""
    from gateway.cli.look import read as show

    raise typer.Exit(show(node, points, json))


@app.command()
def history(
    point: Point,
    start: Start = "1h",
    end: End = "0s",
    node: NodeFile = DEFAULT_NODE,
    plot: Annotated[bool, typer.Option("--plot", help="draw it, with its gaps")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="print CSV")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="write it to a .csv or .parquet file")
    ] = None,
    json: Json = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=10_000_000, help="1,000 as table, 1,000,000 otherwise"),
    ] = None,
) -> None:
    """Print the stored samples of a point, draw them, or write them to a file."""
    from gateway.cli.history import history as show

    show(node, point, start, end, plot, csv, out, json, limit)


@app.command()
def gaps(
    device: Annotated[
        str, typer.Argument(help="one device, or all", autocompletion=complete_device)
    ] = "",
    start: Start = "1d",
    end: End = "0s",
    state: Annotated[GapChoice | None, typer.Option(help="only those in this state")] = None,
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """List the stretches that were not polled: why, and what windback made of them."""
    from gateway.cli.look import gaps as show

    show(node, device, start, end, state or "", json)


@app.command()
def verify(
    device: Device,
    log: Annotated[str, typer.Option(help="which of its logs; the first when absent")] = "",
    start: Start = "10m",
    end: End = "0s",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Hold a device's own log against history and list every difference."""
    from gateway.cli.windback import verify as compare

    raise typer.Exit(compare(node, device, log, start, end, json))


@app.command()
def events(
    start: Start = "1h", end: End = "0s", node: NodeFile = DEFAULT_NODE, json: Json = False
) -> None:
    """List alarms and events."""
    from gateway.cli.look import events as show

    show(node, start, end, json)


@app.command()
def roles(
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="role changes to look at")] = 100,
) -> None:
    """List who was Main, from when to when, and why."""
    from gateway.cli.roles import roles as show

    show(node, json, limit)
