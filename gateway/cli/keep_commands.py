"""Commands that keep a node safe: copies, and what others need to help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_NODE, Json, NodeFile

app = typer.Typer()


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="a new folder")],
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Copy the journal while the node runs, with a manifest of its digests."""
    from gateway.cli.restore import backup as copy

    copy(node, folder, json)


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="what `hotpair backup` made")],
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Put a backup into an empty data directory, proven by its digests; the node must not run."""
    from gateway.cli.restore import restore as put_back

    put_back(node, folder, json)


@app.command("support-bundle")
def support_bundle(
    out: Annotated[Path, typer.Argument(help="the .tar.gz to write")] = Path(
        "hotpair-support.tar.gz"
    ),
    log: Annotated[
        list[Path] | None, typer.Option("--log", help="a log file; the newest 2 MB of it")
    ] = None,
    journald: Annotated[str, typer.Option(help="systemd unit whose log is added")] = "",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Pack what a helper needs: state, events, configuration without secrets, versions, logs."""
    from gateway.cli.bundle import support_bundle as pack

    pack(node, out, log or [], journald, json)
