"""Options that many commands share, and what the shell completes them with."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Any, Final

import typer

HERE: Final = Path("node.yaml")
SERVICE: Final = Path("/etc/hotpair/node.yaml")
"""The node of hotpair.service."""


def meant(here: Path, service: Path) -> Path:
    """The node that a command means which names none: that of this folder, else the service's."""
    return service if service.parent.is_dir() and not here.exists() else here


DEFAULT_NODE: Final = meant(HERE, SERVICE)


def file_in(path: Path) -> Path:
    """The node.yaml that a file or its folder names."""
    return path / HERE if path.is_dir() else path


COMPLETED_MAX: Final = 500
COMPLETION_S: Final = 1.0


def _named(kind: str, begun: str, context: Any) -> list[str]:
    """Names of the running node that begin so; none when it can't be asked."""
    from gateway.cli.client import NodeClient
    from gateway.errors import HotpairError

    try:
        node = context.params.get("node") or DEFAULT_NODE
        with NodeClient(node, COMPLETION_S) as client:
            if kind == "points":
                found = [point["point"] for point in client.get("/points")]
            else:
                found = list(client.get("/status")["devices"])
    except HotpairError:
        return []
    return [name for name in found if name.startswith(begun)][:COMPLETED_MAX]


def complete_point(ctx: typer.Context, incomplete: str) -> list[str]:
    """Points of the running node."""
    return _named("points", incomplete, ctx)


def complete_device(ctx: typer.Context, incomplete: str) -> list[str]:
    """Devices of the running node."""
    return _named("devices", incomplete, ctx)


def complete_target(ctx: typer.Context, incomplete: str) -> list[str]:
    """Devices and points of the running node."""
    return [*_named("devices", incomplete, ctx), *_named("points", incomplete, ctx)]


def complete_profile(incomplete: str) -> list[str]:
    """Shipped profiles."""
    from profiles.load import names

    return [name for name in names() if name.startswith(incomplete)]


NodeFile = Annotated[
    Path, typer.Option("--node", "-n", help="node.yaml, its folder, data directory or socket")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Start = Annotated[str, typer.Option("--from", help="ISO 8601, or a duration back such as 1h")]
End = Annotated[str, typer.Option("--to", help="ISO 8601, or a duration back; 0s is now")]
Point = Annotated[str, typer.Argument(help="device/point", autocompletion=complete_point)]
Device = Annotated[str, typer.Argument(help="a device", autocompletion=complete_device)]
Target = Annotated[
    str, typer.Argument(help="device, or device/point", autocompletion=complete_target)
]
Why = Annotated[str, typer.Option("--why", help="the reason, kept in the journal")]
NEGATIVE: Final = {"ignore_unknown_options": True}
"""So that `-5` is a value, not an option."""


def tell(done: dict[str, Any], as_json: bool) -> None:
    """Print what a command did: its `done`, or all of it as JSON."""
    print(json_text.dumps(done) if as_json else done["done"])
