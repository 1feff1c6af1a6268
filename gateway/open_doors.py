"""What is open to others because somebody asked for it by name: said at each start."""

from __future__ import annotations

from collections.abc import Callable

from gateway.config.node import NodeConfig
from gateway.config.site import SiteConfig


def warn_of_open_doors(node: NodeConfig, site: SiteConfig, say: Callable[[str], None]) -> None:
    """Insecure modes are there when asked for by name, and say so."""
    for feed, settings in site.northbound.feeds():
        if settings.insecure:
            say(
                f"hotpair: WARNING: northbound: {feed}: samples and passwords go without TLS "
                "(insecure: true)"
            )
    if node.opcua.insecure:
        say(
            "hotpair: WARNING: the endpoint is open without encryption and users "
            "(opcua: insecure: true); it listens on loopback only"
        )
    elif node.opcua.trust == "any":
        say("hotpair: WARNING: every OPC UA client's certificate is trusted (opcua: trust: any)")
