"""The `hotpair` command. Each command imports what it needs when it runs: `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway import __version__
from gateway.cli import changing, hil, trust
from gateway.cli.options import DEFAULT_NODE, Json, NodeFile

app = typer.Typer(
    name="hotpair",
    help="An industrial protocol gateway that runs as a hot-standby pair.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(changing.app)
app.add_typer(trust.app)
app.add_typer(hil.app)

NEGATIVE = {"ignore_unknown_options": True}
"""So that `-5` is a value, not an option."""
GapChoice = Literal["open", "lost", "coarse", "filled"]


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


@app.command()
def run(
    node: Annotated[Path, typer.Argument(help="node.yaml")] = DEFAULT_NODE,
    verbose: Annotated[bool, typer.Option("--verbose", "-v")] = False,
) -> None:
    """Run a node until SIGTERM."""
    from gateway.cli.run import run as run_node

    raise typer.Exit(run_node(node, verbose))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="node.yaml or site.yaml")] = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Find every mistake in a configuration; nothing is started."""
    from gateway.app import schemas
    from gateway.cli.check import check as check_files

    raise typer.Exit(check_files(file, schemas(), json))


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="site, node, profile or points")] = "site",
) -> None:
    """Print the JSON Schema of a file, for editors."""
    from gateway.app import schemas
    from gateway.cli.schema import schema as print_schema

    raise typer.Exit(print_schema(what, schemas()))


@app.command()
def status(
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="renew each second")] = False,
) -> None:
    """Show the node and its devices on one screen."""
    from gateway.cli.look import status as show

    show(node, json, watch)


@app.command()
def points(
    pattern: Annotated[str, typer.Argument(help="shell pattern, such as 'plc1/*'")] = "*",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="renew each second")] = False,
) -> None:
    """Show live values."""
    from gateway.cli.look import points as show

    show(node, pattern, json, watch)


@app.command()
def history(
    point: str,
    start: Annotated[str, typer.Option("--from", help="ISO 8601 or a duration back: 1h")] = "1h",
    end: Annotated[str, typer.Option("--to", help="ISO 8601 or a duration back: 0s")] = "0s",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000)] = 1_000,
) -> None:
    """Print the stored samples of a point."""
    from gateway.cli.look import history as show

    show(node, point, start, end, json, limit)


@app.command()
def gaps(
    device: Annotated[str, typer.Argument(help="one device, or all")] = "",
    start: Annotated[str, typer.Option("--from", help="ISO 8601 or a duration back")] = "1d",
    end: Annotated[str, typer.Option("--to")] = "0s",
    state: Annotated[GapChoice | None, typer.Option(help="only those in this state")] = None,
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """List the stretches that were not polled: why, and what windback made of them."""
    from gateway.cli.look import gaps as show

    show(node, device, start, end, state or "", json)


@app.command()
def windback(
    device: Annotated[str, typer.Argument(help="whose log to read; none: show all")] = "",
    start: Annotated[str, typer.Option("--from", help="ISO 8601 or a duration back")] = "1d",
    end: Annotated[str, typer.Option("--to")] = "0s",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Fill a device's gaps from its own log, lost ones again; without a device: what is read."""
    from gateway.cli.windback import windback as ask

    ask(node, device, start, end, json)


@app.command()
def verify(
    device: Annotated[str, typer.Argument(help="a device that keeps a log")],
    log: Annotated[str, typer.Option(help="which of its logs; the first when absent")] = "",
    start: Annotated[str, typer.Option("--from", help="ISO 8601 or a duration back")] = "10m",
    end: Annotated[str, typer.Option("--to")] = "0s",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Hold a device's own log against history and list every difference."""
    from gateway.cli.windback import verify as compare

    raise typer.Exit(compare(node, device, log, start, end, json))


@app.command()
def events(
    start: Annotated[str, typer.Option("--from", help="ISO 8601 or a duration back")] = "1h",
    end: Annotated[str, typer.Option("--to")] = "0s",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """List alarms and events."""
    from gateway.cli.look import events as show

    show(node, start, end, json)


@app.command()
def roles(
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="role changes to look at")] = 100,
) -> None:
    """List who was Main, from when to when, and why."""
    from gateway.cli.roles import roles as show

    show(node, json, limit)


@app.command()
def changeover(node: NodeFile = DEFAULT_NODE) -> None:
    """Hand the reign to the synced Standby: no scan is lost and none doubled."""
    from gateway.cli.roles import command

    command(node, "/changeover")


@app.command()
def pause(node: NodeFile = DEFAULT_NODE) -> None:
    """Stop automatic changes of roles on both nodes, also over restarts."""
    from gateway.cli.roles import command

    command(node, "/pause")


@app.command()
def resume(node: NodeFile = DEFAULT_NODE) -> None:
    """Let automatic changes of roles go on."""
    from gateway.cli.roles import command

    command(node, "/resume")


@app.command()
def peer(
    state: Annotated[str, typer.Argument(help="absent or present")], node: NodeFile = DEFAULT_NODE
) -> None:
    """Count a peer under repair as agreeing, until it is heard again."""
    from gateway.cli.roles import peer as tell

    tell(node, state)


@app.command()
def rehearse(node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """On a Standby: connect once to each device that allows it, and say which refuses and why."""
    from gateway.cli.roles import rehearse as try_devices

    raise typer.Exit(try_devices(node, json))


@app.command()
def raw(
    device: str,
    area: Annotated[str, typer.Argument(help="holding, input, coil, discrete or node")],
    address: Annotated[str, typer.Argument(help="register, or NodeId")],
    count: Annotated[int, typer.Argument(min=1)] = 1,
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Read registers past all maps, through the running node."""
    from gateway.cli.field import raw as read_raw

    read_raw(node, device, area, address, count, json)


@app.command()
def trace(
    device: str,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600)] = 60.0,
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Print each frame exchanged with a device, decoded, through the running node."""
    from gateway.cli.field import trace as show

    show(node, device, seconds, json)


@app.command(context_settings=NEGATIVE)
def write(point: str, value: str, node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """Write a value in engineering units; it is journalled and read back."""
    from gateway.cli.field import write as write_point

    raise typer.Exit(write_point(node, point, value, json))


Why = Annotated[str, typer.Option("--why", help="the reason, kept in the journal")]


@app.command()
def disable(target: str, why: Why, node: NodeFile = DEFAULT_NODE) -> None:
    """Take a device (a declared gap) or a point (BadOutOfService) out of service."""
    from gateway.cli.field import maintain

    maintain(node, "disable", target, None, why)


@app.command()
def enable(target: str, why: Why, node: NodeFile = DEFAULT_NODE) -> None:
    """Put a device or point back into service."""
    from gateway.cli.field import maintain

    maintain(node, "enable", target, None, why)


@app.command(context_settings=NEGATIVE)
def substitute(target: str, value: str, why: Why, node: NodeFile = DEFAULT_NODE) -> None:
    """Hold a point at a value (GoodLocalOverride) until it is released."""
    from gateway.cli.field import maintain

    maintain(node, "substitute", target, value, why)


@app.command()
def release(target: str, why: Why, node: NodeFile = DEFAULT_NODE) -> None:
    """Let a substituted point follow its device again."""
    from gateway.cli.field import maintain

    maintain(node, "release", target, None, why)


@app.command()
def backup(folder: Path, node: NodeFile = DEFAULT_NODE) -> None:
    """Copy the journal while the node runs."""
    from gateway.cli.field import backup as copy

    copy(node, folder)


@app.command()
def outstation(
    profile: Annotated[str, typer.Argument(help="profile to emulate, such as eastron/sdm630")] = "",
    listen: Annotated[
        str, typer.Option(help="tcp:127.0.0.1:5020, rtu:/dev/ttyUSB0, rtu_over_tcp:HOST:PORT, …")
    ] = "tcp:127.0.0.1:5020",
    unit: Annotated[int, typer.Option(min=1, max=247)] = 1,
    site: Annotated[Path | None, typer.Option(help="emulate all devices of a site.yaml")] = None,
    node: Annotated[
        list[Path] | None,
        typer.Option("--node", "-n", help="node.yaml (of each node): where the serial lines are"),
    ] = None,
    control: Annotated[Path | None, typer.Option(help="socket that takes faults")] = None,
    log: Annotated[Path | None, typer.Option(help="write each poll as a JSON line")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="end by itself")] = None,
) -> None:
    """Emulate an outstation from its profile, or a whole site."""
    from hil.cli import outstation as run_outstation

    raise typer.Exit(run_outstation(profile, listen, unit, site, node or (), control, log, seconds))


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="run unattended this long")] = None,
    json: Json = False,
    base_port: Annotated[int, typer.Option(min=1024, max=65_000)] = 4840,
    keep: Annotated[Path | None, typer.Option(help="folder to work in and to keep")] = None,
) -> None:
    """Show it all on this machine: emulated outstations, a pair, faults, live values, a verdict."""
    import asyncio

    from hil.demo import demo as run_demo

    raise typer.Exit(asyncio.run(run_demo(seconds, json, base_port, keep)))


@app.command()
def cert(
    first: Annotated[str, typer.Argument(metavar="A", help="id of one node, as in its node.yaml")],
    second: Annotated[str, typer.Argument(metavar="B", help="id of the other node")],
    out: Annotated[Path, typer.Option(help="folder to write into")] = Path(),
    days: Annotated[int, typer.Option(help="how long they are valid")] = 7_300,
    force: Annotated[bool, typer.Option("--force", help="replace what exists")] = False,
) -> None:
    """Make the keys and certificates of both nodes' links, and print what goes into node.yaml."""
    from gateway.cli.cert import cert as make

    make(first, second, out, days, force)


@app.command()
def password() -> None:
    """Make a password hash for `users:` in site.yaml; a pipe gives the password as one line."""
    from gateway.errors import ControlError
    from gateway.server.passwords import hash_password

    if sys.stdin.isatty():
        # Prompts go to stderr, so that stdout is the hash and nothing else.
        given = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise ControlError("no password was given", "Type it, or pipe it in as one line")
    typer.echo(hash_password(given))


def main() -> None:
    """The entry point: what went wrong is one line on stderr, and the exit status is 1."""
    from gateway.errors import HotpairError

    try:
        app()
    except HotpairError as error:
        print(f"hotpair: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
