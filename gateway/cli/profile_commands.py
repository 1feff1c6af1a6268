"""`hotpair profiles`: which devices are known, what they offer, and files of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Json, complete_profile

app = typer.Typer()
profiles = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(profiles, name="profiles", help="Known devices: list, show, check one's own, begin.")

Name = Annotated[
    str, typer.Argument(help="eastron/sdm630, or a .yaml file", autocompletion=complete_profile)
]


@profiles.command("list")
def show_all(
    words: Annotated[
        list[str] | None, typer.Argument(help="only those that hold all these words")
    ] = None,
    json: Json = False,
) -> None:
    """List the shipped profiles, by vendor, model or any word in them."""
    from gateway.cli.profiles import list_profiles

    list_profiles(words or [], json)


@profiles.command()
def show(name: Name, json: Json = False) -> None:
    """Show a profile: where it was read, its points, its log."""
    from gateway.cli.profiles import show_profile

    show_profile(name, json)


@profiles.command()
def lint(
    files: Annotated[list[Path], typer.Argument(help="profile files")], json: Json = False
) -> None:
    """Find every mistake in profiles, by file and line; worked examples are worked."""
    from gateway.cli.profiles import lint_profiles

    raise typer.Exit(lint_profiles(files, json))


@profiles.command()
def new(
    file: Annotated[Path, typer.Argument(help="the file to write, such as acme/m7.yaml")],
    vendor: Annotated[str | None, typer.Option(help="who makes the device")] = None,
    model: Annotated[str | None, typer.Option(help="its name on the type plate")] = None,
    source: Annotated[str | None, typer.Option(help="the manual and the pages read")] = None,
    area: Annotated[str | None, typer.Option(help="holding or input: where its values lie")] = None,
    byte_order: Annotated[
        str | None, typer.Option(help="ABCD, CDAB, BADC or DCBA; `hotpair probe -r` shows all")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="ask nothing")] = False,
    json: Json = False,
) -> None:
    """Write a commented profile to begin with."""
    from gateway.cli.profiles import Draft, new_profile

    new_profile(file, Draft(vendor, model, source, area, byte_order), yes, json)
