"""Commands that make a site: `init`, `check`, `schema`, points as files, `cert`, `password`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_NODE, Json, complete_profile, file_in

app = typer.Typer()

SiteFile = Annotated[Path, typer.Option("--site", help="site.yaml")]
DEFAULT_SITE = Path("site.yaml")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="folder to write into")] = Path(),
    site: Annotated[str | None, typer.Option(help="name of the site")] = None,
    lone: Annotated[bool | None, typer.Option("--lone/--pair", help="one node, or two")] = None,
    addresses: Annotated[
        list[str] | None,
        typer.Option("--address", help="address of a node; twice for a pair: a, then b"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="first device: tcp:HOST[:PORT], rtu:/dev/ttyUSB0, opc.tcp://HOST:4840"),
    ] = None,
    unit: Annotated[int | None, typer.Option(min=0, max=255, help="its Modbus unit id")] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="its profile, such as eastron/sdm630", autocompletion=complete_profile),
    ] = None,
    user: Annotated[str | None, typer.Option(help="who logs in, at the page and by OPC UA")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="holds that password; else one is made")
    ] = None,
    trial: Annotated[
        bool, typer.Option("--trial", help="loopback only, without encryption and users")
    ] = False,
    data_dir: Annotated[
        str, typer.Option(help="where a node keeps its data, from its node.yaml on")
    ] = "data",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="ask nothing, take the usual")] = False,
    json: Json = False,
) -> None:
    """Ask a few questions, and write node.yaml, site.yaml and certificates that work."""
    from gateway.cli.init import Answers
    from gateway.cli.init import init as begin

    given = Answers(
        *(site, lone, tuple(addresses or ()), device, unit, profile, user, password_file, trial),
        data_dir,
    )
    raise typer.Exit(begin(folder, given, yes, json))


@app.command()
def check(
    file: Annotated[
        Path, typer.Argument(help="node.yaml, its folder, or site.yaml")
    ] = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Find every mistake in a configuration; nothing is started."""
    from gateway.app import schemas
    from gateway.cli.check import check as check_files

    raise typer.Exit(check_files(file_in(file), schemas(), json))


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="site, node, profile or points")] = "site",
) -> None:
    """Print the JSON Schema of a file, for editors."""
    from gateway.app import schemas
    from gateway.cli.schema import schema as print_schema

    print_schema(what, schemas())


@app.command("export")
def export_points(
    file: Annotated[Path, typer.Argument(help="the .csv or .xlsx to write, or - for CSV")],
    site: SiteFile = DEFAULT_SITE,
    device: Annotated[str, typer.Option(help="points of this device only")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="also the points that come from profiles as they are")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="replace the file")] = False,
    json: Json = False,
) -> None:
    """Write the points of a site as CSV or XLSX."""
    from gateway.cli.points_files import export_points as write

    write(site, file, device, everything, force, json)


@app.command("import")
def import_points(
    file: Annotated[Path, typer.Argument(help="the .csv or .xlsx to read")],
    site: SiteFile = DEFAULT_SITE,
    into: Annotated[
        str, typer.Option(help="the points_csv file to change; the first one if absent")
    ] = "",
    prune: Annotated[
        bool, typer.Option("--prune", help="drop points of its devices that the file lacks")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check and show only")] = False,
    json: Json = False,
) -> None:
    """Take points from CSV or XLSX into a site's points_csv file; each mistake by its line."""
    from gateway.cli.points_files import import_points as take

    raise typer.Exit(take(site, file, into, prune, dry_run, json))


@app.command()
def cert(
    first: Annotated[str, typer.Argument(metavar="A", help="id of one node, as in its node.yaml")],
    second: Annotated[str, typer.Argument(metavar="B", help="id of the other node")],
    out: Annotated[Path, typer.Option(help="folder to write into")] = Path(),
    days: Annotated[int, typer.Option(help="how long they are valid")] = 7_300,
    force: Annotated[bool, typer.Option("--force", help="replace what exists")] = False,
    json: Json = False,
) -> None:
    """Make the keys and certificates of both nodes' links, and print what goes into node.yaml."""
    from gateway.cli.cert import cert as make

    make(first, second, out, days, force, as_json=json)


@app.command()
def password(json: Json = False) -> None:
    """Make a password hash for `users:` in site.yaml; a pipe gives the password as one line."""
    from gateway.errors import BadInput
    from gateway.server.passwords import hash_password

    if sys.stdin.isatty():
        # Prompts go to stderr, so that stdout is the hash and nothing else.
        given = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise BadInput("no password was given", "Type it, or pipe it in as one line")
    hashed = hash_password(given)
    typer.echo(f'{{"password_hash": "{hashed}"}}' if json else hashed)
