"""Commands about devices: found and tried before a node runs, looked at while it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_NODE, Device, Json, NodeFile, complete_profile

app = typer.Typer()

User = Annotated[str, typer.Option(help="OPC UA: user to log in as")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="OPC UA: file that holds the password")
]
Policy = Annotated[
    str,
    typer.Option(
        help="OPC UA: Basic256Sha256, Aes128_Sha256_RsaOaep, Aes256_Sha256_RsaPss or None"
    ),
]
TrustAny = Annotated[
    bool, typer.Option("--trust-any", help="OPC UA: take any server certificate, for this once")
]
Timeout = Annotated[str, typer.Option(help="how long one answer may take")]


@app.command()
def probe(
    target: Annotated[
        str,
        typer.Argument(
            help="tcp:HOST[:PORT], rtu:/dev/ttyUSB0, rtu_over_tcp:HOST:PORT, udp:HOST[:PORT] "
            "or opc.tcp://HOST:4840"
        ),
    ],
    units: Annotated[
        str,
        typer.Option(help="unit ids to ask: 1-247 or 1,5,255; else the usual ones"),
    ] = "",
    profile: Annotated[
        str,
        typer.Option(
            help="decode the device by this profile (or .yaml file)",
            autocompletion=complete_profile,
        ),
    ] = "",
    registers: Annotated[
        list[str] | None,
        typer.Option("--registers", "-r", help="AREA:ADDRESS:COUNT, such as holding:0:20"),
    ] = None,
    baudrate: Annotated[int, typer.Option(help="of a serial line")] = 19_200,
    parity: Annotated[str, typer.Option(help="of a serial line: N, E or O")] = "E",
    timeout: Timeout = "500ms",
    user: User = "",
    password_file: PasswordFile = None,
    policy: Policy = "None",
    trust_any: TrustAny = False,
    json: Json = False,
) -> None:
    """Connect to a device: who it is, which profiles fit, what its registers mean."""
    from gateway.cli.logs import silence_libraries
    from gateway.cli.probe import Wanted
    from gateway.cli.probe import probe as look

    silence_libraries()
    wanted = Wanted(target, units, profile, tuple(registers or ()), baudrate, parity, timeout)
    raise typer.Exit(look(wanted, (user, password_file, policy, trust_any), json))


@app.command()
def browse(
    target: Annotated[
        str, typer.Argument(help="opc.tcp://HOST:4840, or an OPC UA device of the node's site.yaml")
    ],
    start: Annotated[str, typer.Option("--start", help="NodeId to begin at")] = "i=85",
    depth: Annotated[int, typer.Option(min=1, max=20, help="levels below it")] = 5,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="nodes to look at")] = 2_000,
    match: Annotated[str, typer.Option(help="only variables whose path fits this pattern")] = "*",
    form: Annotated[
        str, typer.Option("--as", help="table, yaml or csv: the last two for site.yaml and import")
    ] = "table",
    device: Annotated[str, typer.Option(help="name of the device in CSV rows")] = "",
    user: User = "",
    password_file: PasswordFile = None,
    policy: Policy = "None",
    trust_any: TrustAny = False,
    timeout: Timeout = "2s",
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """List the variables of an OPC UA device, ready to become points."""
    from gateway.cli.browse import Wanted
    from gateway.cli.browse import browse as look
    from gateway.cli.logs import silence_libraries

    silence_libraries()
    wanted = Wanted(target, start, depth, limit, match, form, device, timeout)
    look(wanted, (user, password_file, policy, trust_any), node, json)


@app.command()
def rehearse(node: NodeFile = DEFAULT_NODE, json: Json = False) -> None:
    """On a Standby: connect once to each device that allows it, and say which refuses and why."""
    from gateway.cli.roles import rehearse as try_devices

    raise typer.Exit(try_devices(node, json))


@app.command()
def raw(
    device: Device,
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
    device: Device,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600)] = 60.0,
    node: NodeFile = DEFAULT_NODE,
    json: Json = False,
) -> None:
    """Print each frame exchanged with a device, decoded, through the running node."""
    from gateway.cli.field import trace as show

    show(node, device, seconds, json)
