"""The revision that runs: its site, its live values, its lines and its OPC UA server.

A Main and a Standby have the same parts in the same state; only the field is idle and the endpoint
closed in a Standby. A new revision is built beside the old one and takes its place in one turn of
the loop, so that no scan and no client is lost over it.
"""

from __future__ import annotations

import gc
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import drivers.modbus
import drivers.opcua
from drivers.modbus.registers import open_registers
from gateway.acquisition.field import Field
from gateway.acquisition.house import House
from gateway.acquisition.live import LiveTable
from gateway.acquisition.maintenance import replay
from gateway.clock import SystemClock
from gateway.config.node import NodeConfig
from gateway.config.site import SiteConfig
from gateway.doors import Doors
from gateway.driver import Driver, DriverContext, Line, LineSpec, PointSpec, Registers, Schema
from gateway.errors import ControlError
from gateway.journal.journal import Journal
from gateway.journal.logless import LoglessHistory
from gateway.journal.records import Batch, Fact, Maintenance, Record, Revision, Ruling
from gateway.journal.renamed import RenamedHistory, TrendReader, former_id
from gateway.memory import settle_memory
from gateway.model import Origin, Position, Status, Term, Value, is_good
from gateway.server.diagnostics import Supply
from gateway.server.opcua import OpcUaServer
from gateway.server.redundancy import Pair
from gateway.server.settings import OpcUaSettings, Redundancy, Role, User
from gateway.translations import Translations
from gateway.windback.forgetting import ForgetPorts, Forgetting
from gateway.windback.runner import Ports, Runner

FIRST: Final = 1
"""The number that a site's first revision will have."""
REIGNS_KEPT: Final = 4
"""Own terms whose batches may still come: in `sync` they are shown late."""


def installed_drivers() -> dict[str, Driver]:
    """The drivers that this program ships, by name."""
    return {d.name: d for d in (drivers.modbus.driver, drivers.opcua.driver)}


def schemas() -> dict[str, Schema]:
    """What configuration needs of the drivers."""
    return {name: driver.schema for name, driver in installed_drivers().items()}


class Running:
    """What runs on this node now; `build` once, `swap` for each revision that follows."""

    field: Field
    live: LiveTable
    server: OpcUaServer
    windback: Runner
    history: TrendReader
    points: dict[str, PointSpec]

    def __init__(
        self,
        node: NodeConfig,
        site: SiteConfig,
        number: int,
        clock: SystemClock,
        doors: Doors,
        journal: Journal,
        may_send: Callable[[], bool],
        is_main: Callable[[], bool],
        may_consume: Callable[[], str | None],
        safe: Callable[[Position, bool], Awaitable[bool]],
    ) -> None:
        self.site = site
        self.number = number
        self._prepared = 0
        self.facts: dict[tuple[str, str], Any] = dict(journal.facts)
        self._node = node
        self._clock = clock
        self._doors = doors
        self._journal = journal
        self._may_send = may_send
        self._is_main = is_main
        self._may_consume = may_consume
        self._safe = safe
        self._seen: dict[str, tuple[int, int]] = {}
        self._reigns: deque[Term] = deque(maxlen=REIGNS_KEPT)
        self._translations = Translations(journal.names)
        self._known = installed_drivers()
        self.changed: Callable[[Sequence[int] | None], None] = lambda _: None
        """Hears which points changed, once clients may see it; None: another revision runs."""
        self.passed: Callable[[Sequence[Record]], None] = lambda _: None
        """Hears every record once clients may see what is in it."""
        self.house = House(clock, doors.append, doors.commit, doors.room, doors.alarm, may_send)

    # ----------------------------------------------------------------------------- building

    async def build(
        self,
        supply: Supply,
        may_write: Callable[[], str | None],
        reached: Callable[[bool], None],
        pair: Pair,
    ) -> None:
        """Lines, live values and address space; nothing connects and nothing listens yet."""
        self.history = self._history(self.site)
        self.live = LiveTable(self.site.devices)
        self.points = {p.id: p for p in self.live.points}
        await self._restore()
        opens = partial(self._open_line, self._context())
        self.field = Field(opens, self.house, may_write, reached)
        self._prepare()
        await self.field.readied()
        self.windback = self._make_windback()
        self.server = self._make_server(supply, pair)
        try:
            await self.server.build()
        except OSError as error:
            raise ControlError(
                f"the OPC UA certificate can't be stored in {self._node.data_dir / 'pki'}: {error}",
                "Look for room on the disk and for the rights of the folder",
            ) from error
        settle_memory()

    def _make_windback(self) -> Runner:
        journal, doors, field = self._journal, self._doors, self.field
        forgetting = Forgetting(
            ForgetPorts(
                clock=self._clock,
                node=self._node.node,
                safe=self._safe,
                commit=doors.commit,
                acknowledge=field.acknowledge,
                alarm=doors.alarm,
            )
        )
        return Runner(
            Ports(
                clock=self._clock,
                devices=lambda: self.field.collector.devices,
                revision=lambda: self.field.collector.outcomes.revision,
                answers=field.answers,
                logs=field.logs,
                read_log=field.read_log,
                gaps=journal.gaps,
                fills=journal.fills,
                floor_ns=lambda: journal.begins_ns,
                append=doors.append,
                room=doors.room,
                alarm=doors.alarm,
                refused=self._may_consume,
            ),
            forgetting,
        )

    def _prepare(self) -> None:
        site, state = self.site, replay(self._journal.maintenance)
        self._prepared = self.number or FIRST
        self.field.prepare(site.devices, site.lines, self.live, state, self._prepared)

    def _open_line(self, context: DriverContext, line: LineSpec) -> Line:
        return self._known[line.driver].open_line(line, context)

    def _context(self) -> DriverContext:
        timing = self.site.pair
        return DriverContext(
            clock=self._clock,
            rng=random.Random(),
            base_dir=self._node.base_dir,
            data_dir=self._node.data_dir,
            bind=self._node.bind,
            facts=self.facts,
            learned=self._learned,
            alarm=self._doors.alarm,
            may_send=self._may_send,
            reign_ns=timing.takeover_after_ns * 4 // 5 if self._node.link is not None else 0,
            clock_run=lambda: f"{self._node.node}@{self._clock.since_ns}",
        )

    def _history(self, site: SiteConfig) -> TrendReader:
        """History by the names of a revision, and by what is known of the logs of its devices."""
        names = renames(site)
        named = RenamedHistory(self._journal, names) if names else self._journal
        return LoglessHistory(named, self._keeps_log)

    def _keeps_log(self, device: str) -> bool:
        """Whether a device has a log to ask, or isn't there to know it of."""
        return device not in self.field.collector.devices or bool(self.field.logs(device))

    def _make_server(self, supply: Supply, pair: Pair) -> OpcUaServer:
        node, site = self._node, self.site
        linked = node.link is not None
        redundancy = Redundancy(site.pair.standby_endpoint) if linked else Redundancy.NONE
        settings = OpcUaSettings(
            node=node.node,
            host=node.opcua.listen.host,
            port=node.opcua.listen.port,
            advertise=node.opcua.advertise,
            pki_dir=node.data_dir / "pki",
            insecure=node.opcua.insecure,
            trust_any=node.opcua.trust == "any",
            ignore_write_timestamps=node.opcua.ignore_write_timestamps,
            namespace_uri=site.namespace,
            redundancy=redundancy,
            server_uri_array=site.pair.server_uri_array,
        )

        async def write(user: str, point: PointSpec, value: Value) -> int:
            return (await self.field.writer.write(user, point, value)).status

        return OpcUaServer(
            site.site,
            site.devices,
            self.live,
            self.history,
            write,
            users_of(site),
            settings,
            supply,
            self._clock,
            lambda severity, text: self._doors.alarm("opcua", severity, text),
            pair,
            self._doors.record,
        )

    async def _restore(self) -> None:
        """Until the first poll, a point shows what history last knew, and says so."""
        last = await self._journal.last_values([p.id for p in self.live.points])
        rows = []
        for point in self.live.points:
            row = last.get(point.id)
            if row is not None and row.value is not None:
                rows.append((point.number, row.time_ns, row.value, Status.UNCERTAIN_LAST_USABLE))
        self.live.apply(rows)

    # ------------------------------------------------------------------------------- acting

    async def swap(self, site: SiteConfig, number: int) -> None:
        """Run another revision from the next turn of the loop on."""
        if dict(site.files) == dict(self.site.files):
            self.numbered(number)
            return
        await self.field.compare(site.lines)
        live = LiveTable(site.devices)
        staged = await self.server.prepare(site.devices, live)
        history = self._history(site)
        # From here on without a pause: batches name the revision that their numbers are of.
        self._translations.clear()
        live.take_over(self.live, renames(site))
        self.site, self.number, self.live, self.history = site, number, live, history
        self.points = {p.id: p for p in live.points}
        self.server.swap(staged, history, users_of(site))
        self._prepare()
        if self.field.polling:
            self.windback.begin()
        self.changed(None)
        gc.freeze()
        self._doors.alarm("", 300, f"revision {number} runs")

    def registers(self, device: str) -> Registers:
        """The registers of a device that is a witness, on a connection of their own."""
        line = next(line for line in self.site.lines if device in {d.name for d in line.devices})
        return open_registers(line, device, self._context())

    def numbered(self, number: int) -> None:
        """What runs is journalled under this number."""
        self.number = number
        if number != self._prepared:
            self._prepare()

    def reigns(self, term: Term) -> None:
        """This node seals what it collects in this term from now on."""
        self._reigns.append(term)

    def doubt(self) -> None:
        """Nothing was polled by this node yet: every good value is the last usable one."""
        live = self.live
        rows = [
            (point, live.source_ns[point], live.values[point], Status.UNCERTAIN_LAST_USABLE)
            for point, status in enumerate(live.statuses)
            if is_good(status)
        ]
        dirty = live.apply(rows)
        self.server.publish(dirty)
        self.changed(dirty)

    def renew_maintenance(self) -> None:
        """Take over what people put out of service through the other node."""
        state, fresh = self.field.collector.maintenance, replay(self._journal.maintenance)
        state.disabled, state.substituted = fresh.disabled, fresh.substituted

    # -------------------------------------------------------------------------------- sinks

    def lost(self, since_ns: int | None) -> None:
        """The store lost what came since, or it is back (None)."""
        if self.field.polling:
            self.field.collector.store_failed(since_ns)

    def partition_began(self) -> None:
        """A new file stands alone: state all that is in force."""
        if self.field.polling:
            self.field.collector.partition_began()

    def committed(self, records: Sequence[Record], stored: bool) -> None:
        """What was committed may now be seen: nothing reaches a client on another way."""
        main, own = self._is_main(), {self._journal.term, *self._reigns}
        dirty: list[int] = []
        facts: Mapping[tuple[str, str], Any] | None = None
        for record in records:
            body = record.body
            if isinstance(body, Batch):
                if body.origin == Origin.WINDBACK:
                    continue  # a live value never goes back
                mine = not stored or record.position.term in own
                if mine or (not main and self._is_news(record, body)):
                    dirty += self._show(record, body, record.position.term in own)
            elif isinstance(body, Fact):
                facts = self._journal.facts if facts is None else facts
                self._know(body, facts)
            elif isinstance(body, Maintenance) and not main:
                self.renew_maintenance()
            elif isinstance(body, Revision | Ruling):
                self._translations.clear()
        if dirty:
            self.server.publish(dirty)
            self.changed(dirty)
        if stored:
            self.passed(records)
        if main:
            self.server.events.committed(records, lambda record: record.position.term in own)

    def wound(self, records: Sequence[Record], stored: bool) -> None:
        """Tell windback what was committed: gaps are judged by records only."""
        term = self._journal.term
        self.windback.committed(records, lambda record: record.position.term == term)

    def _know(self, body: Fact, facts: Mapping[tuple[str, str], Any]) -> None:
        key = (body.device, body.key)
        value = facts.get(key, body.value)
        if self.facts.get(key) != value:
            self.facts[key] = value
            self.field.learned(body.device)

    def _is_news(self, record: Record, body: Batch) -> bool:
        """Whether an adopted batch is newer than what is shown of its device."""
        rank = (record.position.term.number, body.received_ns)
        if rank < self._seen.get(body.device, (0, 0)):
            return False
        self._seen[body.device] = rank
        return True

    def _show(self, record: Record, body: Batch, own: bool) -> list[int]:
        samples = body.samples
        if not own or body.revision != self.number:  # two nodes may give one number to two
            samples = self._translations.here(self.live, record.position.term, body)
        dirty = self.live.apply(samples)
        if body.scan_class:
            with suppress(KeyError):  # a class that the revision that runs no longer has
                self.live.polled(body.device, body.scan_class, body.received_ns)
        return dirty

    def _learned(self, device: str, key: str, value: Any) -> None:
        if self.facts.get((device, key)) != value:
            self.facts[device, key] = value
            self._doors.append(Fact(device, key, value, self._clock.utc_ns()))


def renames(site: SiteConfig) -> dict[str, str]:
    """Former ids of the points that were renamed, by id."""
    return {p.id: old for p in site.points if (old := former_id(p)) is not None}


def users_of(site: SiteConfig) -> dict[str, User]:
    """The users as the server takes them."""
    return {
        name: User(name, Role.parse(user.role), user.password_hash, user.certificate)
        for name, user in site.users.items()
    }
