"""Files that come with the program: what installs it as a service, and the manual."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

app = typer.Typer()

ROOT: Final = Path(__file__).parents[1]
PACKAGING: Final = {
    "hotpair.service": "systemd unit: hardened, with a watchdog",
    "hotpair.sysusers": "the user that the unit runs as",
    "Containerfile": "an image of a node",
    "compose.yaml": "a pair of containers",
    "haproxy.cfg": "HAProxy: one address that leads to the Main",
    "keepalived.conf": "keepalived: a floating address that is where the Main is",
    "floating-address": "a floating address by on_role_change alone",
}


@app.command()
def packaging(
    name: Annotated[str, typer.Argument(help="print this file; without it all are listed")] = "",
    out: Annotated[Path | None, typer.Option(help="write all of them into a folder")] = None,
) -> None:
    """List or print what runs a node as a service, in a container, behind one address."""
    from gateway.cli.new_files import write_new
    from gateway.config.found import suggest
    from gateway.errors import NotThere

    folder = ROOT / "packaging"
    if out is not None:
        write_new({out / one: _shipped(folder / one) for one in PACKAGING})
        for one in PACKAGING:
            print(f"wrote {out / one}")
    elif not name:
        width = max(map(len, PACKAGING))
        for one, told in PACKAGING.items():
            print(f"{one:{width}}  {told}")
    elif name in PACKAGING:
        print((folder / name).read_text(), end="")
    else:
        raise NotThere(f"there is no file {name!r}", suggest(name, PACKAGING, "files"))


def _shipped(file: Path) -> tuple[bytes, int]:
    data = file.read_bytes()
    return data, 0o755 if data.startswith(b"#!") else 0o644


@app.command()
def manual(
    chapter: Annotated[str, typer.Argument(help="print this one; without it all are listed")] = "",
) -> None:
    """List the chapters of the manual, or print one."""
    from gateway.config.found import suggest
    from gateway.errors import NotThere

    chapters = {file.stem: file for file in sorted((ROOT / "docs").glob("*.md"))}
    if not chapter:
        for name, file in chapters.items():
            title = file.read_text().partition("\n")[0].lstrip("# ")
            print(f"{name:16}{title}")
        print(f"in {ROOT / 'docs'}")
    elif chapter in chapters:
        print(chapters[chapter].read_text(), end="")
    else:
        raise NotThere(f"there is no chapter {chapter!r}", suggest(chapter, chapters, "chapters"))
