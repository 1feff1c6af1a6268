"""The help of `hotpair`: commands under plain headings, by what they are for."""

from __future__ import annotations

from typing import Any, Final

import typer
from typer.core import TyperGroup

SITE: Final = "Make and change a site"
DEVICES: Final = "Devices, before and while a node runs"
LOOK: Final = "Look at a running node"
ACT: Final = "Act on a running node"
PAIR: Final = "The pair"
KEEP: Final = "Keep it safe"
TRY: Final = "Try it without a plant"


class Grouped(TyperGroup):
    """Lists the commands of each `rich_help_panel` under it, in the order of their making."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the headings and their commands."""
        headings: dict[str, list[tuple[str, str]]] = {}
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, command) for name, command in named if command and not command.hidden]
        limit = formatter.width - 6 - max(len(name) for name, _ in shown)
        for name, command in shown:
            heading = getattr(command, "rich_help_panel", None)
            row = (name, command.get_short_help_str(limit))
            headings.setdefault(heading or "Commands", []).append(row)
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def under(heading: str, commands: typer.Typer) -> typer.Typer:
    """Put all commands of a module under a heading."""
    for command in commands.registered_commands:
        command.rich_help_panel = command.rich_help_panel or heading
    for group in commands.registered_groups:
        group.rich_help_panel = heading
    return commands
