"""A distance by which all ports of a site can be moved to free ones."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hil.pair import NODES
from hil.settings import SiteError
from hil.site import ports_of

OFFSETS: Final = range(0, 60_000, 13)
LOWEST: Final = 10_000
HIGHEST: Final = 32_000
"""Below those that the kernel gives to whoever connects."""
TRIES: Final = 200


def free_ports(count: int) -> list[int]:
    """So many ports that nobody had a moment ago."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def free_offset(site: Path) -> Iterator[int]:
    """The distance for one run of a site's pair; who looks for one meanwhile gets another.

    It is claimed by a name, not by the ports, which programs have to bind. Raises SiteError.
    """
    texts = ((site / name).read_text(encoding="utf-8") for name in _files(site))
    ports = sorted({port for text in texts for port in ports_of(text)})
    fitting = [o for o in OFFSETS if ports[0] + o >= LOWEST and ports[-1] + o < HIGHEST]
    for offset in random.sample(fitting, min(TRIES, len(fitting))):
        with socket.socket(socket.AF_UNIX) as claim:
            try:
                claim.bind(f"\0hotpair-ports-{offset}")
                for port in ports:
                    with socket.socket() as probe:
                        probe.bind(("127.0.0.1", port + offset))
            except OSError:
                continue
            yield offset
            return
    raise SiteError(f"{site}: no distance is free by which its ports {ports} could be moved")


def _files(site: Path) -> list[str]:
    return ["site.yaml", *(f"node-{node}.yaml" for node in NODES)]
