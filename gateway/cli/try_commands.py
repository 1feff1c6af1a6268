"""Commands to try Hotpair without a plant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Json, complete_profile

app = typer.Typer()


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="run unattended this long")] = None,
    json: Json = False,
    base_port: Annotated[int, typer.Option(min=1024, max=65_000)] = 4840,
    keep: Annotated[Path | None, typer.Option(help="folder to work in and to keep")] = None,
) -> None:
    """Show it all on this machine: emulated outstations, a pair, faults, live values, a verdict."""
    import asyncio

    from hil.demo import demo as run_demo

    raise typer.Exit(asyncio.run(run_demo(seconds, json, base_port, keep)))


@app.command()
def outstation(
    profile: Annotated[
        str,
        typer.Argument(
            help="profile to emulate, such as eastron/sdm630", autocompletion=complete_profile
        ),
    ] = "",
    listen: Annotated[
        str, typer.Option(help="tcp:127.0.0.1:5020, rtu:/dev/ttyUSB0, rtu_over_tcp:HOST:PORT, …")
    ] = "tcp:127.0.0.1:5020",
    unit: Annotated[int, typer.Option(min=1, max=247)] = 1,
    site: Annotated[Path | None, typer.Option(help="emulate all devices of a site.yaml")] = None,
    node: Annotated[
        list[Path] | None,
        typer.Option("--node", "-n", help="node.yaml (of each node): where the serial lines are"),
    ] = None,
    control: Annotated[Path | None, typer.Option(help="socket that takes faults")] = None,
    log: Annotated[Path | None, typer.Option(help="write each poll as a JSON line")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="end by itself")] = None,
) -> None:
    """Emulate an outstation from its profile, or a whole site."""
    from hil.cli import outstation as run_outstation

    raise typer.Exit(run_outstation(profile, listen, unit, site, node or (), control, log, seconds))
