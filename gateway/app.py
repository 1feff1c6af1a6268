"""The composition root: the only module that knows concrete drivers, journal and server together.

Start: configuration (all of it checked) -> lock on the data directory -> journal and a diary ->
the revision that runs -> lines (nothing connects yet) and address space -> the OPC UA address is
taken -> links -> the role machine ticks. What happens from then on, it says: `reign` takes and
leaves the field, `standby` follows the other node. Stop is the way back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final

from gateway.clock import SystemClock
from gateway.config.node import Link, NodeConfig
from gateway.config.site import SiteConfig
from gateway.doors import Doors
from gateway.errors import ControlError, HotpairError
from gateway.feeding import Feeding
from gateway.host import Host
from gateway.journal.journal import Journal
from gateway.journal.partitions import HistorySettings
from gateway.lock import lock
from gateway.model import NS_PER_S, Position
from gateway.open_doors import warn_of_open_doors
from gateway.orders import Orders
from gateway.pair import events as ev
from gateway.pair.keeper import Keeper
from gateway.pair.roles import PeerView
from gateway.reign import Deeds
from gateway.rest_view import RestView
from gateway.revisions import Revisions
from gateway.role_machine import machine_of
from gateway.running import Running, schemas
from gateway.serving import Serving
from gateway.standby import Peering, look_at_field
from gateway.standing import NodeStanding
from gateway.web.api import build as build_api
from gateway.web.listener import UnixListener
from gateway.web.local_tokens import local_tokens
from gateway.web.revisions import revisions as revision_routes

__all__ = ["App", "schemas"]

log = logging.getLogger("hotpair")

SOCKET_NAME: Final = "control.sock"
DURABLE_S: Final = 10.0
"""How long the other node may take to bring a record to its disk."""
STOP_S: Final = 10.0
"""A stop ends after this long, whatever hangs."""


class App:
    """One node, from its configuration to its end."""

    def __init__(self, node: NodeConfig, time: SystemClock | None = None) -> None:
        self._node = node
        self._clock = time or SystemClock()
        self._doors = Doors(node.node, self._clock)
        self._journal: Journal
        self._running: Running
        self._keeper: Keeper | None = None
        self._deeds: Deeds
        self._standing: NodeStanding
        self._peering: Peering | None = None
        self._feeding: Feeding
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._host = Host(node, self._clock, self._doors, self._stepped)

    async def run(self, say: Callable[[str], None]) -> int:
        """Run until SIGTERM or SIGINT; the exit status. `say` gets the lines for stdout."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        handle = lock(self._node.data_dir)
        try:
            async with AsyncExitStack() as stack:
                if not await self._unless_stopped(self._start(stack, say)):
                    return 0
                return await self._watch()
        finally:
            self._host.notifier.close()
            os.close(handle)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do `work`, given up at once when the node is told to stop: then False."""
        working = asyncio.create_task(work, name="start")
        stopping = asyncio.create_task(self._stopping.wait(), name="stop signal")
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return False
            await working
            return True
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    # ------------------------------------------------------------------------------ starting

    async def _start(self, stack: AsyncExitStack, say: Callable[[str], None]) -> None:
        node, clock, doors = self._node, self._clock, self._doors
        began_ns = clock.utc_ns()
        journal = await self._open_journal()
        stack.push_async_callback(journal.close)
        doors.open(journal)
        ask = self._ask if node.link is not None else None
        revisions = Revisions(node, schemas(), journal, doors.commit, ask, clock, self._is_main)
        settled = await revisions.settle()
        if settled.fault:
            doors.alarm("", 900, settled.fault)
        site = settled.site
        told = f"hotpair: node {node.node} of {site.site} "

        def tell(line: str) -> None:
            say(told + line)

        tell("is starting")
        for line in revisions.differs():
            say(f"hotpair: {line}")
        warn_of_open_doors(node, site, say)
        journal.apply(settings_of(site))
        journal.set_durable(self._is_sync(site))
        running = self._running = Running(
            node,
            site,
            settled.number,
            clock,
            doors,
            journal,
            self._may_send,
            self._is_main,
            self._may_consume,
            self._safe,
        )
        view = RestView(node, running, journal, revisions, clock)
        view.timekeeper = self._host.timekeeper
        standing = self._standing = NodeStanding(node.node, clock, site.pair, node.link is not None)
        await running.build(view.diagnostics, self._may_write, self._reached, standing)
        stack.push_async_callback(running.server.stop)
        doors.on_lost(running.lost)
        await self._on_the_address(running.server.reserve)
        deeds = self._deeds = Deeds(node, clock, doors, journal, running, revisions, tell, began_ns)
        machine = machine_of(node, site, journal, clock.monotonic_ns())
        keeper = self._keeper = view.keeper = deeds.keeper = Keeper(machine, clock, deeds)
        deeds.restore_pause()
        self._listen_to_journal(revisions)
        orders = Orders(node.node, running, view, keeper, ask)
        standing.begin(running, keeper, orders)
        deeds.look, deeds.changed = standing.look, self._host.changed
        if node.link is not None:
            await self._join(stack, node.link, keeper, revisions, orders, view)
        stack.push_async_callback(self._close)
        routers = (revision_routes(revisions), local_tokens(view, orders))
        api = build_api(view, orders, *routers)
        listener = UnixListener(api, node.data_dir / SOCKET_NAME)
        stack.push_async_callback(listener.stop)
        await listener.start()
        await self._serve(stack, view, orders, revisions, tell)
        self._feed_north(stack, view, site)
        deeds.stand_by()
        self._tasks = [
            asyncio.create_task(keeper.run(), name="roles"),
            *(asyncio.create_task(work, name=name) for name, work in self._host.works().items()),
            asyncio.create_task(revisions.follow(self._swap, doors.alarm), name="revisions"),
        ]
        if node.link is not None:
            look = look_at_field(keeper, running, doors)
            self._tasks.append(asyncio.create_task(look, name="standby probe"))
        self._host.ready()

    async def _join(
        self,
        stack: AsyncExitStack,
        link: Link,
        keeper: Keeper,
        revisions: Revisions,
        orders: Orders,
        view: RestView,
    ) -> None:
        """Listen for the peer and dial it; from now on both nodes pull what the other writes."""
        peering = self._peering = Peering(
            keeper.machine.identity,
            link,
            self._clock,
            self._doors,
            self._journal,
            keeper,
            revisions,
            orders.names,
            orders.answer,
            self._running,
        )
        deeds = self._deeds
        deeds.links, deeds.witnesses = peering.links, peering.witnesses
        deeds.began, deeds.ended = peering.hold_back, peering.let_go
        self._journal.on_commit(peering.committed)
        view.peering = peering.status
        peering.told = self._standing.told
        stack.push_async_callback(peering.stop)
        await peering.start(self._standing.listen)

    async def _serve(
        self,
        stack: AsyncExitStack,
        view: RestView,
        orders: Orders,
        revisions: Revisions,
        tell: Callable[[str], None],
    ) -> None:
        """Open the page's door, where one is configured."""
        node, doors, clock = self._node, self._doors, self._clock
        if node.web is None:
            return
        parts = (self._running, self._journal, view, orders, revisions, doors, clock, tell)
        serving = Serving(node, node.web, *parts)
        stack.push_async_callback(serving.stop)
        await serving.start()

    def _feed_north(self, stack: AsyncExitStack, view: RestView, site: SiteConfig) -> None:
        """Hand samples on to brokers and databases, where any are configured."""
        parts = (self._node, self._clock, self._doors, self._journal, self._running)
        feeding = self._feeding = Feeding(*parts, self._may_send)
        view.northbound, self._running.passed = feeding.status, feeding.passed
        stack.push_async_callback(feeding.stop)
        feeding.revised(site)

    async def _open_journal(self) -> Journal:
        node = self._node
        self._journal = await Journal.open(
            node.data_dir,
            node.node,
            self._clock,
            HistorySettings(),
            self._doors.journal_event,
            random.Random(),
        )
        return self._journal

    async def _on_the_address(self, act: Callable[[], Awaitable[None]]) -> None:
        """Take the OPC UA address; a taken one is told before the field is polled."""
        try:
            await act()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ControlError(
                f"OPC UA can't listen on {self._node.opcua.listen}: {why}",
                "Stop what uses the port, or change `opcua: listen:` in node.yaml",
            ) from error

    def _listen_to_journal(self, revisions: Revisions) -> None:
        def store_changed(failed_since_ns: int | None) -> None:
            self._running.lost(failed_since_ns)
            why = "" if failed_since_ns is None else "it takes no records"
            self._feed(ev.StoreState(failed_since_ns is None, why))

        if self._node.link is None:
            self._journal.on_commit(self._running.committed)
        self._journal.on_commit(lambda records, stored: revisions.noted(records))
        self._journal.on_commit(self._running.wound)
        self._journal.on_store(store_changed)
        self._journal.on_partition(self._running.partition_began)

    # ------------------------------------------------------------------------------- running

    def _feed(self, event: ev.Event) -> None:
        if self._keeper is not None:
            self._keeper.feed(event)

    def _is_main(self) -> bool:
        return self._keeper is not None and self._keeper.is_main

    def _may_send(self) -> bool:
        return self._keeper is not None and self._keeper.may_send()

    def _may_write(self) -> str | None:
        if self._journal.store_failed_since_ns is not None:
            return "the store takes no records, so a write could not be journalled"
        alone = self._running.site.pair.writes_alone == "allow"
        if self._keeper is None:
            return "the node starts"
        return self._keeper.machine.writes_proven(self._clock.monotonic_ns(), alone)

    def _may_consume(self) -> str | None:
        """Why no log may be read that changes by reading: the other node could read it, too."""
        if self._keeper is None:
            return "the node starts"
        machine, now_ns = self._keeper.machine, self._clock.monotonic_ns()
        if machine.view(now_ns) is PeerView.DEAD:
            return None
        return machine.writes_proven(now_ns, False)

    async def _safe(self, position: Position, both: bool) -> bool:
        """Whether a record, and all before it, outlives a loss of power here, or on both nodes."""
        try:
            await self._journal.make_durable()
            if both and self._peering is not None:
                # What the other node has and this one lacks may tell of gaps that need the log.
                has_all = self._peering.has_all
                return has_all and bool(await self._ask("durable", list(position), DURABLE_S))
        except (HotpairError, OSError) as error:
            log.info("%s is not durable yet: %s", position, error)
            return False
        return True

    def _reached(self, reached: bool) -> None:
        self._feed(ev.FieldSeen(reached))

    async def _ask(self, what: str, body: Any, timeout_s: float) -> Any:
        assert self._peering is not None
        return await self._peering.links.ask(what, body, timeout_s)

    async def _swap(self, site: SiteConfig, number: int) -> None:
        await self._running.swap(site, number)
        self._journal.apply(settings_of(site))
        self._journal.set_durable(self._is_sync(site))
        self._feeding.revised(site)
        if self._peering is not None:
            self._peering.revised()

    def _is_sync(self, site: SiteConfig) -> bool:
        """Whether each node commits FULL, so that its acknowledgement may free a value."""
        return self._node.link is not None and site.pair.replication == "sync"

    async def _watch(self) -> int:
        """Until told to stop and all is said, or until a task that must not end has ended."""
        stopping = asyncio.create_task(self._stopping.wait(), name="stop signal")
        roles, told = self._tasks[0], False
        try:
            while True:
                vital = self._vital()
                lanes = [lane.task for lane in self._deeds.lanes if lane.task is not None]
                waits: set[asyncio.Future[Any]] = {*vital, *(t for t in lanes if not t.done())}
                if not told:
                    waits.add(stopping)
                await asyncio.wait(waits, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done() and not told:
                    told = True
                    self._host.notifier.stopping()
                    self._feed(ev.Stop())
                if roles.done() and not roles.cancelled() and roles.exception() is None:
                    return 0
                current = self._vital()
                failed = [task for task in vital if task in current and _has_ended(task)]
                failed += [task for task in lanes if task.done() and task.exception()]
                if failed:
                    task = failed[0]
                    log.critical(
                        "%s ended: the node stops", task.get_name(), exc_info=task.exception()
                    )
                    return 70
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    def _vital(self) -> list[asyncio.Task[None]]:
        """The tasks without which this is no node."""
        running = self._running
        return [*self._tasks, *running.field.tasks, *running.windback.tasks, self._journal.task]

    async def _close(self) -> None:
        """The way back: polling ends first, then the last claim, then what the lanes have left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._running.windback.end(STOP_S)
        self._running.field.halt()
        await self._host.stop()
        await asyncio.wait(
            {asyncio.ensure_future(lane.idle()) for lane in self._deeds.lanes}, timeout=STOP_S
        )
        await self._running.field.stop()

    def _stepped(self, step_ns: int) -> None:
        """The clock was set: a new term begins (rules.md 4)."""
        text = f"the clock of this machine was set by {step_ns / NS_PER_S:+.3f} s"
        if self._is_main():
            self._running.field.collector.clock_stepped(step_ns)
            self._running.windback.clock_stepped()
            self._feed(ev.Renew(text))
        self._doors.alarm("", 800, text)


def _has_ended(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled()


def settings_of(site: SiteConfig) -> HistorySettings:
    """How much history a site keeps."""
    return HistorySettings(site.history.retention_ns, site.history.max_size_bytes)
