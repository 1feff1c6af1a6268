"""`hotpair cert a b`: keys and certificates of both nodes' links, in one step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.config.site import NAME, better_name
from gateway.errors import ControlError
from gateway.pair.certificate import DAYS_MAX, make_identity

_ADDRESSES: Final = ("10.0.9.1:7700", "10.0.9.2:7700")


def cert(
    first: str,
    second: str,
    out: Path,
    days: int,
    force: bool,
    say: Callable[[str], None] = print,
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
    there = [path for path in made if path.exists() or path.is_symlink()]
    if there and not force:
        raise ControlError(
            f"{there[0]} exists: nothing was written",
            "With --force it is replaced; then replace it on both nodes, or they can't connect",
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, (text, mode) in made.items():
            _write(path, text, mode)
    except OSError as error:
        where = error.filename or out
        raise ControlError(f"{where} can't be written: {error.strerror}") from error
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
            raise ControlError(f"`{node}` is no name of a node", f"Write {better_name(node)}")
    if nodes[0] == nodes[1]:
        raise ControlError("both nodes have the same name", "Name them as their `node:` does")
    if not 1 <= days <= DAYS_MAX:
        raise ControlError(f"{days} days can't be", f"Give --days from 1 to {DAYS_MAX}")


def _write(path: Path, text: bytes, mode: int) -> None:
    # Complete or not at all, and a key is never readable by others, not even for a moment.
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
