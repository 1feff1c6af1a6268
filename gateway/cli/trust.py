"""`hotpair trust` and `hotpair audit`: which clients are let in, and who did what."""

from __future__ import annotations

import json as json_text
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import DEFAULT_NODE, Json, NodeFile

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gateway.server.trust_folder import Entry, TrustFolder

app = typer.Typer()
trust = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(trust, name="trust", help="Which OPC UA clients this node lets in; at once in force.")

Which = Annotated[str, typer.Argument(help="thumbprint (4 or more hex digits), or a file")]


@trust.command("list")
def show(node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """List the certificates that are trusted, and those that asked in vain."""
    from gateway.cli.look import console, counted, table

    found = [_row(entry) for entry in _folder(node).entries()]
    if json:
        print(json_text.dumps(found))
        return
    columns = ("state", "thumbprint", "subject", "uri", "valid until", "written")
    rows = ([row[column.replace(" ", "_")] for column in columns] for row in found)
    console().print(table(counted(found, "certificate"), columns, rows))


@trust.command()
def accept(
    which: Which,
    issuer: Annotated[
        bool, typer.Option("--issuer", help="a CA that completes chains but is not trusted itself")
    ] = False,
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Let in a client that was rejected, or the clients of the certificate in a file."""
    from gateway.server.trust import is_authority, subject

    entry = _folder(node).accept(which, issuer)
    if json:
        print(json_text.dumps(_row(entry)))
        return
    print(f"{entry.thumbprint} {subject(entry.certificate)} is {_means(entry)}")
    if entry.state == "trusted" and is_authority(entry.certificate):
        print("It is a CA: every client whose certificate it issued is let in")
    if entry.certificate.not_valid_after_utc < datetime.now(UTC):
        print(f"It expired {entry.certificate.not_valid_after_utc}: no client is let in by it")


@trust.command()
def remove(which: Which, node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Let a client in no more; its connections end."""
    from gateway.server.trust import subject

    entry = _folder(node).remove(which)
    told = f"{entry.thumbprint} {subject(entry.certificate)} is trusted no more"
    print(json_text.dumps({"done": told, "thumbprint": entry.thumbprint}) if json else told)


@app.command()
def audit(
    node: NodeFile = DEFAULT_NODE,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="the newest so many")] = 100,
    json: Json = False,
) -> None:
    """List who did or tried what: log-ins, writes, configuration, roles, trust."""
    from gateway.cli.client import NodeClient
    from gateway.cli.look import show as show_found

    with NodeClient(node) as client:
        show_found(lambda: client.get("/audit", limit=limit), json, draw_audit)


def draw_audit(found: list[dict[str, Any]]) -> RenderableType:
    """The audit as a table, oldest first."""
    from gateway.cli.look import table

    columns = ("time", "action", "target", "who", "outcome", "detail")

    def row(entry: dict[str, Any]) -> list[str]:
        told = ", ".join(f"{key} {value}" for key, value in entry["detail"].items())
        return [*(entry[column] for column in columns[:-1]), told]

    return table(f"{len(found)} entr{'y' if len(found) == 1 else 'ies'}", columns, map(row, found))


def _folder(node: Path) -> TrustFolder:
    from gateway.cli.client import socket_of
    from gateway.server.trust_folder import TrustFolder

    return TrustFolder(socket_of(node).parent / "pki")


def _means(entry: Entry) -> str:
    return "trusted" if entry.state == "trusted" else "an issuer that completes chains"


def _row(entry: Entry) -> dict[str, str]:
    from gateway.server.trust import subject, uris

    written = datetime.fromtimestamp(entry.path.stat().st_mtime, UTC)
    return {
        "state": entry.state,
        "thumbprint": entry.thumbprint,
        "subject": subject(entry.certificate),
        "uri": ", ".join(uris(entry.certificate)),
        "valid_until": f"{entry.certificate.not_valid_after_utc:%Y-%m-%d}",
        "written": f"{written:%Y-%m-%d %H:%M}",
    }
