"""The northbound feeds of a node: made from the revision that runs, fed while it is Main."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway import __version__
from gateway.clock import Clock
from gateway.config.node import NodeConfig
from gateway.config.northbound import MqttFeed, PostgresFeed, Reached
from gateway.config.site import SiteConfig
from gateway.doors import Doors
from gateway.ending import end
from gateway.errors import JournalError
from gateway.journal.journal import Journal
from gateway.journal.records import Batch, Delivered, Record
from gateway.model import Gap, Position, Term
from gateway.northbound.feed import Feed, Ports
from gateway.northbound.mqtt import Births, MqttPorts, SparkplugOutlet, metrics_of
from gateway.northbound.postgres import PostgresOutlet, PostgresPorts
from gateway.running import Running

log = logging.getLogger(__name__)

SOURCE: Final = "northbound"
TERMS_KEPT: Final = 16


class Feeding:
    """The feeds that are configured; `revised` when another revision runs, `stop` at the end."""

    def __init__(
        self,
        node: NodeConfig,
        clock: Clock,
        doors: Doors,
        journal: Journal,
        running: Running,
        may_send: Callable[[], bool],
    ) -> None:
        self._node = node
        self._clock = clock
        self._doors = doors
        self._journal = journal
        self._running = running
        self._may_send = may_send
        self._feeds: dict[str, tuple[Feed, Reached, str, asyncio.Task[None]]] = {}
        self._passed: dict[Term, int] = {}
        self._reign: deque[Term] = deque(maxlen=TERMS_KEPT)
        self._closing: set[asyncio.Task[None]] = set()

    # --------------------------------------------------------------------------------- making

    def revised(self, site: SiteConfig) -> None:
        """Begin, end or renew what the revision has otherwise than the one before."""
        wanted = dict(site.northbound.feeds())
        for name in [*self._feeds]:
            _, settings, of_site, _ = self._feeds[name]
            if wanted.get(name) != settings or of_site != site.site:
                self._end(name)
        for name, settings in wanted.items():
            if name not in self._feeds:
                self._begin(name, settings, site)

    def _begin(self, name: str, settings: Reached, site: SiteConfig) -> None:
        outlet: SparkplugOutlet | PostgresOutlet
        backlog_ns: int | None
        if isinstance(settings, MqttFeed):
            outlet, backlog_ns = self._sparkplug(settings, site), settings.backlog_ns
        elif isinstance(settings, PostgresFeed):
            outlet, backlog_ns = self._postgres(settings, site), settings.backlog_ns
        else:
            raise AssertionError(f"no feed is made of {settings!r}")
        if settings.insecure:
            self._alarm(600, f"{name}: {outlet.where} is reached without TLS (insecure: true)")
        feed = Feed(outlet, self._ports(), backlog_ns)
        task = asyncio.create_task(feed.run(), name=f"northbound {name}")
        self._feeds[name] = (feed, settings, site.site, task)

    def _end(self, name: str) -> None:
        feed, _, _, task = self._feeds.pop(name)
        closing = asyncio.create_task(ended(feed, task), name=f"end of {name}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def stop(self) -> None:
        """End all feeds; each says good-bye where it can."""
        for name in [*self._feeds]:
            self._end(name)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _ports(self) -> Ports:
        journal = self._journal
        return Ports(
            clock=self._clock,
            held=lambda: journal.holdings.terms,
            records=journal.records,
            names=journal.names,
            since=self._since,
            limit=self._limit,
            may_send=self._may_send,
            alarm=self._alarm,
        )

    def _sparkplug(self, settings: MqttFeed, site: SiteConfig) -> SparkplugOutlet:
        async def told() -> list[Delivered]:
            return await self._journal.delivered(SparkplugOutlet.name)

        ports = MqttPorts(
            clock=self._clock,
            births=self._births,
            down=self._down,
            revision=lambda: self._running.live,
            about=lambda: {
                "Node Info/Hotpair": __version__,
                "Node Info/Node": self._node.node,
                "Node Info/Term": str(self._journal.term),
            },
            told=told,
            held=lambda: dict(self._journal.holdings.terms),
            commit=self._doors.commit,
            append=self._doors.append,
            may_send=self._may_send,
        )
        return SparkplugOutlet(settings, site.site, self._node.base_dir, ports)

    def _postgres(self, settings: PostgresFeed, site: SiteConfig) -> PostgresOutlet:
        async def gaps(device: str, from_ns: int, to_ns: int) -> list[Gap]:
            return await self._running.history.gaps(device, from_ns, to_ns)

        ports = PostgresPorts(
            clock=self._clock,
            node=self._node.node,
            points=lambda: self._running.live.points,
            since=self._since,
            begins_ns=lambda: self._journal.begins_ns,
            gaps=gaps,
        )
        return PostgresOutlet(settings, site.site, self._node.base_dir, ports)

    # -------------------------------------------------------------------------------- hearing

    def passed(self, records: Sequence[Record]) -> None:
        """Clients may see these records: at once, or in `sync` once the peer has them."""
        for record in records:
            if isinstance(record.body, Batch) and record.position.seq:
                term = record.position.term
                self._passed[term] = max(self._passed.get(term, 0), record.position.seq)
        while len(self._passed) > TERMS_KEPT:
            del self._passed[min(self._passed)]
        for feed, *_ in self._feeds.values():
            feed.hear()

    def _since(self) -> Position:
        term = self._journal.term
        return Position(term, self._passed.get(term, 0))

    def _limit(self, term: Term) -> int | None:
        """What this node collects is handed on once clients may see it."""
        if not self._may_send():
            self._reign.clear()
        elif self._journal.term not in self._reign:
            self._reign.append(self._journal.term)
        return self._passed.get(term, 0) if term in self._reign else None

    # -------------------------------------------------------------------------------- showing

    def _births(self) -> Births:
        running = self._running
        live, devices = running.live, {}
        for device in running.site.devices:
            devices[device.name] = metrics_of(
                (p.name, p.number, p.data_type, *_shown(live.get(p.number))) for p in device.points
            )
        return Births(devices, self._down(), live, self._since())

    def _down(self) -> frozenset[str]:
        """The devices that don't answer, or that somebody disabled."""
        collector = self._running.field.collector
        return frozenset(
            name
            for name, state in collector.states.items()
            if state.fault is not None or name in collector.maintenance.disabled
        )

    def status(self) -> dict[str, Any]:
        """Each feed, by name."""
        return {
            name: {**feed.status(), "insecure": settings.insecure}
            for name, (feed, settings, _, _) in self._feeds.items()
        }

    def _alarm(self, severity: int, text: str) -> None:
        self._doors.alarm(SOURCE, severity, text)


def _shown(found: Any) -> tuple[int, Any, int]:
    return found.source_ns, found.value, found.status


async def ended(feed: Feed, task: asyncio.Task[None]) -> None:
    """End a feed for sure, and let it say good-bye where it can."""
    await end([task])
    try:
        await feed.stop()
    except JournalError as error:
        log.info("%s", error)
