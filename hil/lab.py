"""Machines that are network namespaces: two nodes, a plant and a client, with cables to pull.

    a, b   the nodes: field network 10.66.0.x, one cable between them for each link (10.67.n.x)
    p      the plant; c  a client of the field network

A cable that is *unplugged* loses its carrier, as a pulled plug does. One that is *cut* carries
nothing more though nobody is told, each way for itself, as a broken switch does. All of it is made
and removed by root with `ip` and `tc` of iproute2; nothing of it reaches another network.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MACHINES: Final = ("a", "b", "p", "c")
FIELD: Final = {"a": "10.66.0.1", "b": "10.66.0.2", "p": "10.66.0.10", "c": "10.66.0.20"}
"""The address of each machine in the field network."""
SECOND: Final = "10.66.0.11"
"""Another address of the plant, for devices that are reached over two."""
LINKS_MAX: Final = 8
_NOTHING: Final = ("tbf", "rate", "8bit", "burst", "1", "latency", "1ms")
"""A queue that no frame fits through: kernels without netem have this one."""


class LabError(RuntimeError):
    """A command that makes the lab failed; the message has its words."""


def possible() -> bool:
    """Whether this machine lets us make network namespaces."""
    if os.geteuid() != 0 or not any(Path(d, "ip").exists() for d in ("/sbin", "/usr/sbin")):
        return False
    name = f"hp{os.getpid()}t"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return True


def link_address(node: str, number: int) -> str:
    """The address of a node on a link."""
    return f"10.67.{number}.{1 if node == 'a' else 2}"


class Lab:
    """The namespaces of one run; a context manager, so that nothing stays behind."""

    def __init__(self, links: int = 1, name: str = "") -> None:
        if not 1 <= links <= LINKS_MAX:
            raise ValueError(f"a lab has 1 to {LINKS_MAX} links, not {links}")
        self.links = links
        self._name = name or f"hp{os.getpid()}"
        self._cut: set[tuple[str, str]] = set()

    def __enter__(self) -> Lab:
        try:
            self._make()
        except BaseException:  # whatever stopped us, no namespace must outlive us
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _make(self) -> None:
        switch = self.namespace("s")
        for machine in (*MACHINES, "s"):
            _ip("netns", "add", self.namespace(machine))
            _ip("-n", self.namespace(machine), "link", "set", "lo", "up")
        _ip("-n", switch, "link", "add", "switch", "type", "bridge", "forward_delay", "0")
        _ip("-n", switch, "link", "set", "switch", "up")
        for machine in MACHINES:
            port = f"port-{machine}"
            self._cable(machine, "field", FIELD[machine], "s", port, None)
            _ip("-n", switch, "link", "set", "dev", port, "master", "switch")
        _ip("-n", self.namespace("p"), "addr", "add", f"{SECOND}/24", "dev", "field")
        for number in range(self.links):
            ends = link_address("a", number), link_address("b", number)
            self._cable("a", f"link{number}", ends[0], "b", f"link{number}", ends[1])

    def _cable(
        self, here: str, name: str, address: str, there: str, far_name: str, far: str | None
    ) -> None:
        near, other = self.namespace(here), self.namespace(there)
        _ip("-n", near, "link", "add", name, "type", "veth", "peer", "name", far_name, "netns",
            other)  # fmt: skip
        for space, device, has in ((near, name, address), (other, far_name, far)):
            if has is not None:
                _ip("-n", space, "addr", "add", f"{has}/24", "dev", device)
            _ip("-n", space, "link", "set", "dev", device, "up")

    def remove(self) -> None:
        """Remove every namespace; cables go with them."""
        for machine in (*MACHINES, "s"):
            with contextlib.suppress(LabError):  # it may never have been made
                _ip("netns", "del", self.namespace(machine))

    def namespace(self, machine: str) -> str:
        """The name of a machine's namespace."""
        return f"{self._name}-{machine}"

    def inside(self, machine: str) -> Sequence[str]:
        """What to put before a command to run it on a machine."""
        return ("ip", "netns", "exec", self.namespace(machine))

    # ------------------------------------------------------------------------------ faults

    def unplug(self, machine: str, device: str) -> None:
        """Pull a cable (`field`, `link0` …) at a machine: both ends lose the carrier."""
        _ip("-n", self.namespace(machine), "link", "set", "dev", device, "down")

    def plug(self, machine: str, device: str) -> None:
        """Plug a cable in again; its address is still there."""
        _ip("-n", self.namespace(machine), "link", "set", "dev", device, "up")

    def cut(self, machine: str, device: str) -> None:
        """From now on nothing that a machine sends on a cable arrives; nobody is told."""
        if (machine, device) not in self._cut:
            _tc(self.namespace(machine), "add", "dev", device, "root", *_NOTHING)
            self._cut.add((machine, device))

    def mend(self, machine: str, device: str) -> None:
        """What a machine sends on a cable arrives again."""
        if (machine, device) in self._cut:
            _tc(self.namespace(machine), "del", "dev", device, "root")
            self._cut.discard((machine, device))

    def cut_links(self, *senders: str) -> None:
        """Cut every link for what these nodes send: both nodes for a cut both ways."""
        for sender in senders or ("a", "b"):
            for number in range(self.links):
                self.cut(sender, f"link{number}")

    def mend_links(self) -> None:
        """Mend every link, both ways."""
        for sender in ("a", "b"):
            for number in range(self.links):
                self.mend(sender, f"link{number}")

    def isolate(self, node: str) -> None:
        """Cut all that a node sends and all that is sent to it, as when it loses its power."""
        other = "b" if node == "a" else "a"
        for number in range(self.links):
            self.cut(node, f"link{number}")
            self.cut(other, f"link{number}")
        self.cut(node, "field")
        self.cut("s", f"port-{node}")

    def rejoin(self, node: str) -> None:
        """Undo `isolate`."""
        self.mend_links()
        self.mend(node, "field")
        self.mend("s", f"port-{node}")


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _tc(namespace: str, *arguments: str) -> None:
    _run("ip", "netns", "exec", namespace, "tc", "qdisc", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
