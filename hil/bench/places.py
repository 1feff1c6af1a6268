"""Where the machines of a pair's bench are: a lab of namespaces, or loopback where there is none.

The gateway opens an endpoint without encryption on loopback only, so in the lab each node listens
on an address of its own loopback, and the client's machine is given routes that lead there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final

from hil.bench.process import BenchError
from hil.lab import FIELD, Lab, link_address, possible

NODES: Final = ("a", "b")
PATHS: Final = 2
ENDPOINT: Final = {"a": "127.66.0.1", "b": "127.66.0.2"}
_ALONE: Final = {"a": "127.66.1.1", "b": "127.66.1.2", "p": "127.66.1.10", "c": "127.66.1.20"}
_ROUTE_LOOPBACK: Final = Path("/proc/sys/net/ipv4/conf/all/route_localnet")


def other(node: str) -> str:
    """The other node's name."""
    return NODES[1 - NODES.index(node)]


class Places:
    """Machines a and b (nodes), p (plant), c (client); a context manager."""

    def __init__(self, lab: bool) -> None:
        """Raises BenchError when a lab is wanted and this machine can't have one."""
        if lab and not possible():
            raise BenchError("network namespaces need root and iproute2: run it with --loopback")
        self.lab = Lab(links=PATHS) if lab else None
        self.field = FIELD if lab else _ALONE

    def __enter__(self) -> Places:
        if self.lab is not None:
            self.lab.__enter__()
            try:
                self._lead_to_loopbacks(self.lab)
            except BaseException:  # whatever stopped us, no namespace must outlive us
                self.lab.remove()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.lab is not None:
            self.lab.remove()

    def _lead_to_loopbacks(self, lab: Lab) -> None:
        for machine in (*NODES, "c"):
            _run(lab, machine, "sh", "-c", f"echo 1 > {_ROUTE_LOOPBACK}")
        own = ("route", "del", "table", "local", "local", "127.0.0.0/8", "dev", "lo")
        _run(lab, "c", "ip", *own)
        for node in NODES:
            to = ("route", "add", ENDPOINT[node], "via", FIELD[node], "dev", "field")
            _run(lab, "c", "ip", *to)

    def inside(self, machine: str) -> list[str]:
        """What to put before a command to run it on a machine."""
        return list(self.lab.inside(machine)) if self.lab is not None else []

    def link(self, node: str, path: int) -> str:
        """The address of a node on one of the paths between them."""
        if self.lab is not None:
            return link_address(node, path)
        return f"127.67.{path}.{1 + NODES.index(node)}"


def _run(lab: Lab, machine: str, *command: str) -> None:
    done = subprocess.run([*lab.inside(machine), *command], capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.decode().strip()}")
