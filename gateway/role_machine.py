"""The role machine of a node, made of its configuration and of what its journal knows."""

from __future__ import annotations

import secrets

from gateway.config.node import NodeConfig
from gateway.config.site import SiteConfig
from gateway.journal.journal import Journal
from gateway.pair.machine import Machine
from gateway.pair.words import TAKEOVER_AFTER_MAX_NS, Identity, Timing


def machine_of(node: NodeConfig, site: SiteConfig, journal: Journal, now_ns: int) -> Machine:
    """The machine at its start, in role starting; `now_ns` is of the monotonic clock."""
    link, pair, witness = node.link, site.pair, site.pair.witness
    timing = Timing(
        heartbeat_ns=pair.heartbeat_ns,
        # Alone nobody takes over, so a stall of the machine needs no end of the reign.
        takeover_after_ns=pair.takeover_after_ns if link else TAKEOVER_AFTER_MAX_NS,
        startup_wait_ns=pair.startup_wait_ns,
        field_lost_after_ns=pair.field_lost_after_ns,
        clock_apart_ns=pair.clock_apart_ns,
    )
    identity = Identity(
        site=site.site,
        node=node.node,
        boot=secrets.randbits(62) | 1,
        priority=node.priority,
        paths=frozenset(link.path_names) if link else frozenset(),
        linked=link is not None,
        witnessed=link is not None and bool(witness.modbus or witness.etcd),
    )
    return Machine(
        identity,
        timing,
        now_ns,
        coverage_end_ns=journal.coverage_end_ns,
        term_seen=journal.term_seen,
    )
