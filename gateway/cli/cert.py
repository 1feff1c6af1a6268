"""`hotpair cert a b`: keys and certificates of both nodes' links, in one step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.cli.new_files import write_new
from gateway.config.site import NAME, better_name
from gateway.errors import BadInput
from gateway.pair.certificate import DAYS_MAX, make_identity

_ADDRESSES: Final = ("10.0.9.1:7700", "10.0.9.2:7700")


def cert(
    first: str,
    second: str,
    out: Path,
    days: int,
    force: bool,
    say: Callable[[str], None] = print,
    as_json: bool = False,
) -> None:
    """Write four files and print each node's `link:` line. Raises ControlError."""
    nodes = (first, second)
    _check(nodes, days)
    now_ns = time.time_ns()
    made = {}
    for node in nodes:
        identity = make_identity(node, now_ns, days)
        made[out / f"{node}.key"] = (identity.key_pem, 0o600)
        made[out / f"{node}.crt"] = (identity.certificate_pem, 0o644)
    remedy = "With --force it is replaced; then replace it on both nodes, or they can't connect"
    write_new(made, force, remedy)
    if as_json:
        say(json.dumps({"written": [str(path) for path in made]}))
        return
    for own, other, listen, peer in (
        (first, second, *_ADDRESSES),
        (second, first, *reversed(_ADDRESSES)),
    ):
        say(f"Node {own}: {own}.key, {own}.crt and {other}.crt beside its node.yaml, and in it")
        say(
            f"link: {{listen: {listen}, peer: [{peer}], "
            f"tls: {{cert: {own}.crt, key: {own}.key, peer_cert: {other}.crt}}}}"
        )
    say(f"The addresses are examples. {first}.key and {second}.key are secret: each stays with")
    say("its node only.")


def _check(nodes: tuple[str, str], days: int) -> None:
    for node in nodes:
        if not NAME.match(node):
            raise BadInput(f"`{node}` is no name of a node", f"Write {better_name(node)}")
    if nodes[0] == nodes[1]:
        raise BadInput("both nodes have the same name", "Name them as their `node:` does")
    if not 1 <= days <= DAYS_MAX:
        raise BadInput(f"{days} days can't be", f"Give --days from 1 to {DAYS_MAX}")
