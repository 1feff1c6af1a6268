"""Commands that change the configuration of a running pair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_NODE, Json, NodeFile

app = typer.Typer()

Alone = Annotated[bool, typer.Option("--alone", help="though the other node can't be asked")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="check and show, change nothing")]


@app.command()
def apply(
    site: Annotated[Path, typer.Argument(help="site.yaml, with the files it names beside it")],
    node: NodeFile = DEFAULT_NODE,
    alone: Alone = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make a changed site the next revision, without a restart; both nodes check it first."""
    from gateway.app import schemas
    from gateway.cli.revisions import apply as propose

    raise typer.Exit(propose(node, site, schemas(), alone, dry_run, json))


@app.command()
def revisions(
    reference: Annotated[str, typer.Argument(help="with --save: which one, else the head")] = "",
    node: NodeFile = DEFAULT_NODE,
    save: Annotated[
        Path | None, typer.Option(help="write the files of a revision to this folder")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    json: Json = False,
) -> None:
    """List the configuration's revisions, or write the files of one."""
    from gateway.cli.revisions import revisions as show

    show(node, reference, save, limit, json)


@app.command()
def rollback(
    reference: Annotated[str, typer.Argument(help="6, or 6.3.a where there are several")],
    node: NodeFile = DEFAULT_NODE,
    alone: Alone = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make an old or diverged revision the next one."""
    from gateway.cli.revisions import rollback as propose

    raise typer.Exit(propose(node, reference, alone, dry_run, json))
