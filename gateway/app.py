"""The composition root: the only module that knows concrete drivers, journal and server together.

Start: configuration (all of it checked) -> lock on the data directory -> journal and a new term ->
lines (nothing connects yet) -> address space -> the OPC UA address is taken -> polling -> the
endpoint opens. Stop is the way back: the door for clients closes first, then polling, then the
last claim, then the journal.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import drivers.modbus
import drivers.opcua
from gateway.acquisition.collector import Collector
from gateway.acquisition.house import House
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import replay
from gateway.acquisition.writes import Writer
from gateway.clock import SystemClock
from gateway.config.node import NodeConfig
from gateway.config.site import SiteConfig
from gateway.driver import Driver, DriverContext, Schema
from gateway.errors import ControlError, JournalError
from gateway.journal.journal import Journal
from gateway.journal.partitions import HistorySettings
from gateway.journal.records import EMPTY_DIGEST, Batch, Body, Event, Fact, Record, Revision
from gateway.journal.records import Role as RoleTaken
from gateway.journal.renamed import RenamedHistory, former_id
from gateway.lock import lock
from gateway.model import NS_PER_S, HistoryReader, Origin, Status, Value
from gateway.node import NodeView
from gateway.server.opcua import OpcUaServer
from gateway.server.settings import OpcUaSettings, Role, User
from gateway.web.api import build as build_api
from gateway.web.listener import UnixListener

log = logging.getLogger("hotpair")

SOCKET_NAME: Final = "control.sock"
STORE_PATIENCE_S: Final = 5.0
"""How long a command, or the start, waits for a store that takes nothing."""
TOLD_TEXTS_MAX: Final = 100
TOLD_AGAIN_NS: Final = 60 * NS_PER_S
GC_THRESHOLDS: Final = (50_000, 20, 50)
"""Measured: a full collection over an address space stalls the loop for a quarter of a second."""


def installed_drivers() -> dict[str, Driver]:
    """The drivers that this program ships, by name."""
    return {d.name: d for d in (drivers.modbus.driver, drivers.opcua.driver)}


def schemas() -> dict[str, Schema]:
    """What configuration needs of the drivers."""
    return {name: driver.schema for name, driver in installed_drivers().items()}


class App:
    """One node, from its configuration to its end."""

    def __init__(self, node: NodeConfig, site: SiteConfig, time: SystemClock | None = None) -> None:
        self._node = node
        self._site = site
        self._clock = time or SystemClock()
        self._journal: Journal
        self._collector: Collector
        self._server: OpcUaServer
        self._live: LiveTable
        self._revision = 0
        self._facts: dict[tuple[str, str], Any] = {}
        self._told: dict[str, int] = {}
        self._early: list[tuple[int, str]] | None = []
        self._stopping = asyncio.Event()

    # ------------------------------------------------------------------------------ running

    async def run(self, ready: Callable[[str], None]) -> int:
        """Run until SIGTERM or SIGINT; the exit status. `ready` gets the endpoint's address."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        handle = lock(self._node.data_dir)
        try:
            async with AsyncExitStack() as stack:
                if not await self._unless_stopped(self._start(stack)):
                    return 0
                ready(self._server.endpoint)
                return await self._watch()
        finally:
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

    async def _start(self, stack: AsyncExitStack) -> None:
        node, site = self._node, self._site
        began_ns = self._clock.utc_ns()
        settings = HistorySettings(site.history.retention_ns, site.history.max_size_bytes)
        self._journal = await Journal.open(
            node.data_dir, node.node, self._clock, settings, self._journal_event, random.Random()
        )
        stack.push_async_callback(self._journal.close)
        early, self._early = self._early or [], None
        for severity, text in early:
            self._journalled("journal", severity, text)
        self._facts = dict(self._journal.facts)
        self._revision = await self._settle_revision()
        house = House(self._clock, self._append, self._commit, self._journal.room, self.alarm)
        self._live = LiveTable(site.devices)
        await self._restore()
        lines = self._open_lines()
        state = replay(self._journal.maintenance)
        self._collector = Collector(
            site.devices, lines, self._live, state, self._revision, house, began_ns
        )
        writer = Writer(self._collector, house, self._writes_refused)
        view = NodeView(
            node,
            site,
            self._collector,
            writer,
            self._live,
            self._journal,
            self._history(),
            house,
            lambda: self._server.endpoint,
        )
        self._server = self._make_server(writer, view)
        stack.push_async_callback(self._server.stop)
        await self._build()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._journal.on_commit(self._committed)
        self._journal.on_store(self._store_changed)
        self._journal.on_partition(self._collector.partition_began)
        listener = UnixListener(build_api(view), node.data_dir / SOCKET_NAME)
        await self._on_the_address(self._server.reserve)
        at_ns = self._clock.utc_ns()
        await self._journalled_first(RoleTaken(node.node, "main", at_ns, "no link: a lone node"))
        stack.push_async_callback(self._collector.stop)
        self._collector.start()
        writer.tell_unfinished(self._facts)
        stack.push_async_callback(listener.stop)
        await listener.start()
        stack.push_async_callback(writer.stop)  # before the door shuts, so that who waits is told
        await self._on_the_address(self._server.open)
        stack.push_async_callback(self._server.close, "the node stops")

    async def _build(self) -> None:
        try:
            await self._server.build()
        except OSError as error:
            raise ControlError(
                f"the OPC UA certificate can't be stored in {self._node.data_dir / 'pki'}: {error}",
                "Look for room on the disk and for the rights of the folder",
            ) from error

    async def _on_the_address(self, act: Callable[[], Awaitable[None]]) -> None:
        """Reserve or open the OPC UA address; a taken one is told before the field is polled."""
        try:
            await act()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ControlError(
                f"OPC UA can't listen on {self._node.opcua.listen}: {why}",
                "Stop what uses the port, or change `opcua: listen:` in node.yaml",
            ) from error

    async def _watch(self) -> int:
        """Steer the clock until told to stop, or until a task that must not end has ended."""
        stopping = asyncio.create_task(self._stopping.wait())
        steering = asyncio.create_task(self._steer())
        try:
            while True:
                tasks = [*self._collector.tasks, self._journal.task]
                await asyncio.wait(
                    {stopping, steering, *tasks}, timeout=1, return_when=asyncio.FIRST_COMPLETED
                )
                if stopping.done():
                    return 0
                for task in (steering, *tasks):
                    if (
                        task.done()
                        and not task.cancelled()
                        and task in (steering, self._journal.task, *self._collector.tasks)
                    ):
                        log.critical(
                            "%s ended: the node stops", task.get_name(), exc_info=task.exception()
                        )
                        return 70
        finally:
            stopping.cancel()
            steering.cancel()
            await asyncio.gather(stopping, steering, return_exceptions=True)

    async def _steer(self) -> None:
        term_is_due = False
        while True:
            await asyncio.sleep(1)
            step_ns = self._clock.discipline()
            if step_ns:
                term_is_due = True
                self._collector.clock_stepped(step_ns)
                self.alarm(
                    "", 800, f"the clock of this machine was set by {step_ns / NS_PER_S:+.3f} s"
                )
            if term_is_due:
                try:
                    await self._journal.begin_term()
                    term_is_due = False
                except JournalError as error:  # each second anew until the store works
                    self._journal_event(800, f"no new term yet: {error}")

    # ------------------------------------------------------------------------------ parts

    def _history(self) -> HistoryReader:
        """History by the names of the running revision."""
        names = {p.id: old for p in self._site.points if (old := former_id(p)) is not None}
        return RenamedHistory(self._journal, names) if names else self._journal

    def _open_lines(self) -> list[Any]:
        context = DriverContext(
            clock=self._clock,
            rng=random.Random(),
            base_dir=self._node.base_dir,
            data_dir=self._node.data_dir,
            bind=self._node.bind,
            facts=self._facts,
            learned=self._learned,
            alarm=self.alarm,
            may_send=lambda: True,
        )
        known = installed_drivers()
        return [known[line.driver].open_line(line, context) for line in self._site.lines]

    def _make_server(self, writer: Writer, view: NodeView) -> OpcUaServer:
        node, site = self._node, self._site
        settings = OpcUaSettings(
            node=node.node,
            host=node.opcua.listen.host,
            port=node.opcua.listen.port,
            advertise=node.opcua.advertise,
            pki_dir=node.data_dir / "pki",
            insecure=node.opcua.insecure,
            ignore_write_timestamps=node.opcua.ignore_write_timestamps,
            namespace_uri=site.namespace,
        )
        users = {
            name: User(name, Role.parse(user.role), user.password_hash)
            for name, user in site.users.items()
        }

        async def write(user: str, point: Any, value: Value) -> int:
            return (await writer.write(user, point, value)).status

        return OpcUaServer(
            site.site,
            site.devices,
            self._live,
            self._history(),
            write,
            users,
            settings,
            view.diagnostics,
            self._clock,
            lambda severity, text: self.alarm("opcua", severity, text),
        )

    async def _settle_revision(self) -> int:
        """The number of the configuration that runs; a changed one becomes the next revision."""
        site = self._site
        last = self._journal.revision
        points = tuple((p.id, p.data_type.value) for p in site.points)
        files = dict(site.files)
        if last is not None and last.files == files and last.points == points:
            return last.number
        number = last.number + 1 if last is not None else 1
        at_ns = self._clock.utc_ns()
        revision = Revision(number, EMPTY_DIGEST, at_ns, "files on disk", files, points)
        await self._journalled_first(revision)
        return number

    async def _restore(self) -> None:
        """Until the first poll, a point shows what history last knew, and says so."""
        last = await self._journal.last_values([p.id for p in self._live.points])
        rows = []
        for point in self._live.points:
            row = last.get(point.id)
            if row is not None and row.value is not None:
                rows.append((point.number, row.time_ns, row.value, Status.UNCERTAIN_LAST_USABLE))
        self._live.apply(rows)

    def _writes_refused(self) -> str | None:
        if self._journal.store_failed_since_ns is not None:
            return "the store takes no records, so a write could not be journalled"
        return None

    # ------------------------------------------------------------------------------ sinks

    def _committed(self, records: Sequence[Record], stored: bool) -> None:
        """What was committed may now be seen: nothing reaches a client on another way."""
        dirty: list[int] = []
        for record in records:
            body = record.body
            if not isinstance(body, Batch) or body.origin == Origin.WINDBACK:
                continue
            dirty += self._live.apply(body.samples)
            if body.scan_class:
                self._live.polled(body.device, body.scan_class, body.received_ns)
        if dirty:
            self._server.publish(dirty)

    def _store_changed(self, failed_since_ns: int | None) -> None:
        # Also when it is back: changes were dropped, so nothing holds from the last claim on until
        # the next good scan.
        back_ns = self._collector.coverage.through_ns
        self._collector.store_failed(back_ns if failed_since_ns is None else failed_since_ns)

    def _learned(self, device: str, key: str, value: Any) -> None:
        if self._facts.get((device, key)) != value:
            self._facts[device, key] = value
            self._append(Fact(device, key, value, self._clock.utc_ns()))

    def _append(self, body: Body) -> Awaitable[object]:
        """The door for who can't wait: what finds no place in the journal is declared as lost."""
        try:
            return self._journal.append(body)
        except JournalError as error:
            self._tell("journal", 800, f"a {type(body).__name__} was not journalled: {error}")
            if isinstance(body, Batch):
                self._collector.store_failed(body.requested_ns)
            refused: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            refused.exception()  # seen: few callers ask
            return refused

    async def _commit(self, body: Body) -> Record:
        return await self._journal.commit(body, STORE_PATIENCE_S)

    async def _journalled_first(self, body: Body) -> None:
        """Journal what the start tells; a full disk must not keep the plant without its values."""
        future = asyncio.ensure_future(self._append(body))
        if not (await asyncio.wait([future], timeout=STORE_PATIENCE_S))[0]:
            self._tell("journal", 900, f"the store takes no {type(body).__name__} yet")

    def _journal_event(self, severity: int, text: str) -> None:
        """What the journal tells of itself; the same text is journalled once a minute at most."""
        self._tell("journal", severity, text)
        now_ns = self._clock.utc_ns()
        if severity < 400 or now_ns - self._told.get(text, -TOLD_AGAIN_NS) < TOLD_AGAIN_NS:
            return
        if len(self._told) >= TOLD_TEXTS_MAX:
            self._told.clear()
        self._told[text] = now_ns
        if self._early is None:
            self._journalled("journal", severity, text)
        else:
            self._early.append((severity, text))

    def alarm(self, source: str, severity: int, text: str) -> None:
        """Tell people: in the log, and in the journal."""
        self._tell(source, severity, text)
        self._journalled(source, severity, text)

    def _journalled(self, source: str, severity: int, text: str) -> None:
        self._append(Event(source or self._node.node, severity, text, self._clock.utc_ns()))

    def _tell(self, source: str, severity: int, text: str) -> None:
        level = logging.ERROR if severity >= 700 else logging.WARNING
        log.log(logging.INFO if severity < 400 else level, "%s: %s", source or "node", text)
