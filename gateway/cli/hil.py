"""`hotpair hil`: scenarios played against an emulated site and a real pair, and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Json

Keep = Annotated[Path | None, typer.Option(help="folder to work in and to keep")]
PortOffset = Annotated[int, typer.Option(help="moves every port of the site")]
Lab = Annotated[
    bool, typer.Option("--lab", help="machines that are network namespaces; needs root")
]

app = typer.Typer()
hil = typer.Typer(no_args_is_help=True)
app.add_typer(hil, name="hil", help="Play scenarios of faults against a pair, and judge them.")


@hil.command()
def run(
    scenarios: Annotated[list[str], typer.Argument(metavar="SCENARIO...", help="file, or name")],
    keep: Keep = None,
    port_offset: PortOffset = 0,
    lab: Lab = False,
    json: Json = False,
) -> None:
    """Play scenarios; 0: passed, 1: failed, 2: bad input, 3: not judged, 130: stopped by Ctrl-C."""
    from hil.running import run as play

    raise typer.Exit(play(scenarios, keep, port_offset, lab, json))


@hil.command()
def campaign(
    seed: Annotated[int, typer.Option(help="the same seed draws the same faults")] = 1,
    hours: Annotated[float, typer.Option(min=0, help="how long")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="and so many minutes")] = 0,
    round_: Annotated[
        float, typer.Option("--round", min=45, help="seconds of faults before each is judged")
    ] = 300,
    site: Annotated[str, typer.Option(help="shipped, or a folder")] = "demo",
    keep: Keep = None,
    port_offset: PortOffset = 0,
    lab: Lab = False,
    json: Json = False,
) -> None:
    """Play random faults, round after round; exit statuses as of `run`; Ctrl-C ends it in order."""
    from hil.campaign import Asked
    from hil.campaign import campaign as play

    lasts_s = hours * 3600 + minutes * 60
    raise typer.Exit(play(Asked(seed, lasts_s, round_, site, keep, port_offset, lab, json)))


@hil.command()
def canary(
    keep: Keep = None,
    port_offset: PortOffset = 0,
    json: Json = False,
) -> None:
    """Break each promise in a short real run: does its judge fail? 0: all do, 1: one doesn't."""
    from hil.canary import canary as sing

    raise typer.Exit(sing(keep, port_offset, json))


@hil.command("list")
def show(json: Json = False) -> None:
    """List the shipped scenarios and what each promises."""
    from hil.running import show as tell

    raise typer.Exit(tell(json))


@hil.command()
def report(
    folder: Annotated[Path, typer.Argument(help="what `run --keep` left of one")],
    json: Json = False,
) -> None:
    """Write report.html and junit.xml of a kept run anew."""
    from hil.running import report as write

    raise typer.Exit(write(folder, json))
