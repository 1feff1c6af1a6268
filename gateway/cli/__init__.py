"""The `hotpair` command. Each command imports what it needs when it runs: `--help` is quick."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import (
    act_commands,
    changing,
    device_commands,
    grouping,
    hil,
    keep_commands,
    look_commands,
    pair_commands,
    profile_commands,
    shipped,
    site_commands,
    token,
    trust,
    try_commands,
)
from gateway.cli.logs import LogFormat
from gateway.cli.options import HERE, file_in

app = typer.Typer(
    name="hotpair",
    cls=grouping.Grouped,
    help="An industrial protocol gateway that runs as a hot-standby pair.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 110},
)


def version(shown: bool) -> None:
    """Print the version and leave."""
    if shown:
        typer.echo(f"hotpair {__version__}")
        raise typer.Exit


@app.callback()
def options(
    shown: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """An industrial protocol gateway that runs as a hot-standby pair."""


@app.command(rich_help_panel="Run")
def run(
    node: Annotated[Path, typer.Argument(help="node.yaml, or its folder")] = HERE,
    verbose: Annotated[bool, typer.Option("--verbose", "-v")] = False,
    log_format: Annotated[LogFormat, typer.Option(help="how the log on stderr looks")] = (
        LogFormat.TEXT
    ),
) -> None:
    """Run a node until SIGTERM."""
    from gateway.cli.run import run as run_node

    raise typer.Exit(run_node(file_in(node), verbose, log_format))


for heading, commands in (
    (grouping.SITE, site_commands.app),
    (grouping.SITE, profile_commands.app),
    (grouping.SITE, changing.app),
    (grouping.DEVICES, device_commands.app),
    (grouping.LOOK, look_commands.app),
    (grouping.ACT, act_commands.app),
    (grouping.PAIR, pair_commands.app),
    (grouping.KEEP, keep_commands.app),
    (grouping.KEEP, trust.app),
    (grouping.KEEP, token.app),
    (grouping.KEEP, shipped.app),
    (grouping.TRY, try_commands.app),
    (grouping.TRY, hil.app),
):
    app.add_typer(grouping.under(heading, commands))


def main() -> None:
    """The entry point: what went wrong is one line on stderr, and an exit status of `exits`."""
    from gateway.cli.exits import INTERRUPTED, status_of
    from gateway.errors import ConfigError, HotpairError

    try:
        app(prog_name="hotpair")
    except HotpairError as error:
        problems = error.problems if isinstance(error, ConfigError) else []
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"hotpair: {error}", file=sys.stderr)
        if "--json" in sys.argv:
            # Whoever reads stdout by a program learns the same there.
            told = {"error": error.message, "remedy": error.remedy}
            print(json.dumps({**told, "problems": list(map(str, problems))}))
        sys.exit(status_of(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
