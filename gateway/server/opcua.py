"""The OPC UA server as the application sees it: build once, open and close as the role changes.

Building the address space takes seconds and is done in a Standby too; opening is a socket. Nothing
is patched in the library: what it does otherwise than we need is replaced by subclass (DESIGN.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from asyncua import Server, ua
from asyncua.server.internal_server import InternalServer

from gateway.acquisition.live import LiveTable
from gateway.clock import Clock
from gateway.driver import DeviceSpec
from gateway.model import HistoryReader
from gateway.server import history_nodes
from gateway.server.address_space import SiteTree, Staged
from gateway.server.admission import Admission
from gateway.server.alarm_methods import AlarmService
from gateway.server.alarms import Trouble, all_wrong
from gateway.server.audit import LOCK_OUT, USER, Audit, Record, user_changes
from gateway.server.certificate import Identity, load_identity
from gateway.server.context import Context, Write
from gateway.server.diagnostics import DiagnosticsTable, Supply
from gateway.server.discovery import Discovery, Member, url_of
from gateway.server.event_feed import EventSource
from gateway.server.event_nodes import standard_fields, with_ours
from gateway.server.history import History
from gateway.server.identity import GUEST
from gateway.server.logins import Logins
from gateway.server.methods import Methods
from gateway.server.monitoring import Monitoring
from gateway.server.nodes import Layers
from gateway.server.offering import offer_endpoints, say_who_we_are
from gateway.server.pair_methods import PairMethods
from gateway.server.publisher import Publisher
from gateway.server.redundancy import Pair, RedundancyNodes, RedundantSet, Shown
from gateway.server.sessions import Sessions
from gateway.server.settings import OpcUaSettings, User
from gateway.server.slices import free, in_slices
from gateway.server.standard_nodes import answer, install
from gateway.server.subscription_methods import SubscriptionMethods
from gateway.server.transport import Listener
from gateway.server.upkeep import Upkeep
from gateway.server.veil import Veil
from gateway.server.views import QuickViewService

_log: Final = logging.getLogger(__name__)
ANY_SEVERITY: Final = 600
_ANY_HOST: Final = frozenset({"", "0.0.0.0", "::"})


class OpcUaServer:
    """Serves the points of a site. `build` first; then `open` and `close` as often as needed."""

    def __init__(
        self,
        site: str,
        devices: Sequence[DeviceSpec],
        live: LiveTable,
        history: HistoryReader,
        write: Write,
        users: Mapping[str, User],
        settings: OpcUaSettings,
        diagnostics: Supply,
        clock: Clock,
        alarm: Callable[[int, str], None] = lambda _severity, _text: None,
        pair: Pair | None = None,
        record: Record = lambda *_: None,
    ) -> None:
        self._site = site
        self._devices = devices
        self._settings = settings
        self._clock = clock
        self._port = settings.port
        self._identity: Identity | None = None
        self._listener: Listener | None = None
        self._reserved: Listener | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._layers: Layers
        self._freeing: asyncio.Task[None] | None = None
        self._set = RedundantSet(settings, pair, self._member())
        self._told: Shown | None = None
        self._methods = PairMethods(self._set, pair, clock, self.tell) if pair else None
        internal = InternalServer()
        internal.view_service = QuickViewService(internal.aspace)
        internal.allow_remote_admin = False
        internal.disabled_clock = True
        self._server = Server(iserver=internal)
        namespace, limits, veil = settings.namespace(site), settings.limits, Veil(live)
        self._redundancy = RedundancyNodes(internal.aspace, self._set, self._answer)
        table = DiagnosticsTable(diagnostics, clock)
        tree = SiteTree(site, table, namespace, veil, self._redundancy.add_mode)
        publisher = Publisher(veil, clock, limits)
        audit = Audit(record, clock)

        def locked_out(severity: int, text: str) -> None:
            alarm(severity, text)
            audit.put(LOCK_OUT, "", "", text)

        self._alarm = alarm
        self._context = Context(
            settings=settings,
            limits=limits,
            clock=clock,
            internal=internal,
            space=internal.aspace,
            tree=tree,
            live=veil,
            publisher=publisher,
            monitoring=Monitoring(),
            sessions=Sessions(publisher, clock, limits),
            history=History(tree, history, clock, limits),
            logins=Logins(users, clock, locked_out),
            write=write,
            admission=Admission(settings, audit, alarm, clock),
            audit=audit,
            discovery=Discovery(lambda: self._set.members),
            methods=Methods(),
        )
        self.events = EventSource(publisher.events, settings.application(site), tree, clock)
        self._alarms = AlarmService(lambda: self._troubles(pair), publisher, audit, clock)

    @property
    def context(self) -> Context:
        """The parts, for tests and for what later issues add."""
        return self._context

    @property
    def endpoint(self) -> str:
        """The URL to tell a person; with the real port once the endpoint is open."""
        return self._set.own.urls[0]

    @property
    def own(self) -> Member:
        """This server, as the other one of the pair tells of it."""
        return self._set.own

    @property
    def is_warm(self) -> bool:
        """Whether it answers in a Standby, too."""
        return self._settings.is_warm

    @property
    def is_open(self) -> bool:
        return self._listener is not None

    @property
    def certificate_valid_until(self) -> datetime | None:
        """Until when the own certificate is valid; None before `build`."""
        return None if self._identity is None else self._identity.valid_until

    @property
    def clients_trusted(self) -> int | None:
        """How many certificates the trust list has; None where every client is trusted."""
        admission = self._context.admission
        return admission.trusted if admission.lists else None

    def counters(self) -> dict[str, int]:
        """What the server itself counts, for the page and the metrics."""
        return {
            "sessions": len(self._context.sessions),
            "subscriptions": self._context.publisher.subscription_count,
            "items": self._context.publisher.item_count,
            "notifications": self._context.publisher.notifications,
        }

    async def build(self) -> None:
        """Make address space and certificate; takes seconds, mostly beside the loop.

        Raises ValueError when two nodes would have one id, OSError when the PKI can't be written.
        """
        settings, server = self._settings, self._server
        uri = settings.application(self._site)
        self._identity = await asyncio.to_thread(
            load_identity, settings.pki_dir, uri, self._names(), datetime.now(UTC)
        )
        await self._context.admission.begin()
        await server.init()
        space = self._context.space
        self._layers = space._nodes = Layers(space._nodes, {})
        self._context.event_fields = with_ours(standard_fields(space))
        await server.set_application_uri(uri)
        index = await server.register_namespace(settings.namespace(self._site))
        assert index == 2, "the site's namespace must have the same index on both nodes"
        await say_who_we_are(server)
        staged = await self.prepare(self._devices, self._context.live.live)
        self._context.tree.serve(self._layers, staged)
        install(self._context.space, self._set, self._clock, settings.limits)
        history_nodes.install(self._context.space)
        self._redundancy.install()
        SubscriptionMethods(self._context.publisher).add_to(self._context.methods)
        self._alarms.add_to(self._context.methods)
        if self._methods is not None:
            self._methods.add_to(self._context.methods)
        await server.load_certificate(self._identity.certificate_der, "DER")
        await server.load_private_key(self._identity.key_pem, format="PEM")
        offer_endpoints(server, self._set.own, settings.insecure)
        # What a library's session wrote at its start is history; nobody writes nodes any more.
        await self._server._setup_server_nodes()
        self._context.discovery.policies = list(self._context.internal.endpoints)
        if settings.insecure:
            _log.warning(
                "OPC UA is open to everybody on %s, reading and writing, without encryption: "
                "`insecure` is meant for a demonstration",
                settings.host,
            )
        elif not self._context.logins.users:
            _log.warning(
                "nobody can log in to OPC UA: site.yaml has no `users:`; "
                "`hotpair password` makes what to write there"
            )
        if settings.trust_any and not settings.insecure:
            self._alarm(
                ANY_SEVERITY,
                "every OPC UA client's certificate is trusted (opcua: trust: any in node.yaml); "
                "write `trust: list` and accept each client by `hotpair trust accept`",
            )

    async def prepare(self, devices: Sequence[DeviceSpec], live: LiveTable) -> Staged:
        """Make the nodes of another revision beside those that are served; clients see nothing.

        Takes a second for 10,000 points, in slices of 5 ms between which the loop does its other
        work. Raises ValueError when two nodes would have one id.
        """
        if self._freeing is not None:
            await self._freeing
        work = self._context.tree.stage(self._layers, devices, live)
        return await in_slices(work, self._clock)

    def swap(self, staged: Staged, history: HistoryReader, users: Mapping[str, User]) -> None:
        """Serve a prepared revision from now on; takes milliseconds, never waits.

        Sessions and subscriptions stay, and items of points that stay go on. Those of points that
        vanished read Bad_NodeIdUnknown. Who is no user any more is logged out.
        """
        context = self._context
        before = context.tree.serve(self._layers, staged)
        context.live.follow(staged.live)
        context.publisher.follow(context.tree.point_of)
        context.history.follow(history)
        if self.is_open:  # of two nodes that swap, the one that serves puts it on record
            for name, outcome in user_changes(context.logins.users, users):
                context.audit.put(USER, name, "", outcome)
        context.logins.replace(users)
        context.sessions.users_changed(users, GUEST)
        self._freeing = asyncio.create_task(free(before), name="opcua-old-nodes")

    def _names(self) -> list[str]:
        """Every name by which clients may reach this server, the most telling first."""
        names = list(self._settings.advertise)
        if self._settings.host not in _ANY_HOST:
            names.append(self._settings.host)
        elif not names:
            names.append(socket.gethostname())
        return list(dict.fromkeys(names))

    def _member(self) -> Member:
        settings = self._settings
        urls = tuple(url_of(name, self._port) for name in self._names())
        name = f"Hotpair {self._site} {settings.node}"
        return Member(settings.node, settings.application(self._site), name, urls)

    def _answer(self, identifier: int, ask: Any, kind: Any) -> None:
        answer(self._context.space, identifier, ask, kind, self._clock)

    async def reserve(self) -> None:
        """Take the address without listening: clients are refused until `open`. Idempotent.

        Raises OSError when it is taken: known before the field is polled in vain.
        """
        if self._listener is not None or self._reserved is not None:
            return
        listener = Listener(self._context, self._settings.host, self._port, self._server._policies)
        await listener.bind()
        # A free port that was found stays ours: clients come back to it after a close.
        self._port = listener.port
        self._set.own = self._member()
        self._reserved = listener

    async def open(self) -> None:
        """Listen; takes milliseconds. Idempotent. Raises OSError when the address is taken."""
        if self._listener is not None:
            return
        await self.reserve()
        listener, self._reserved = self._reserved, None
        assert listener is not None
        try:
            await listener.start()
        except OSError:
            listener.close_listening()
            raise
        self._listener = listener
        self._set.closed = None
        assert self._identity is not None, "build first"
        upkeep = Upkeep(self._context, self._identity, self._alarm)
        self._sweeper = asyncio.create_task(upkeep.run(listener), name="opcua-upkeep")
        _log.info("OPC UA listens on %s", self.endpoint)

    async def close(self, reason: str) -> None:
        """Say why, end every session and subscription, stop listening. Idempotent.

        Takes milliseconds: who was not asked to publish isn't waited for.
        """
        reserved, self._reserved = self._reserved, None
        if reserved is not None:
            reserved.close_listening()
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._set.closed = reason
        self._context.publisher.tell_server()
        listener.close_listening()  # nobody comes in while the others are sent away
        self._context.sessions.close_all(ua.StatusCodes.BadServerHalted)
        self._context.publisher.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
            self._sweeper = None
        await listener.stop(reason)
        _log.info("OPC UA closed: %s", reason)

    def publish(self, points: Iterable[int]) -> None:
        """Points changed and the live table holds their new values: tell who subscribed to them."""
        self._context.publisher.mark(points)

    def look(self) -> None:
        """How server and field stand may have changed: tell who subscribed to that. Cheap."""
        self._alarms.look()
        if self._methods is not None:
            self._methods.look()
        shown = self._set.shown
        if shown != self._told:
            self._told = shown
            self._context.publisher.tell_server()

    def _troubles(self, pair: Pair | None) -> list[Trouble] | None:
        """All that is wrong in the field; None where this node doesn't watch it."""
        watched = pair.watched() if pair is not None else None
        if watched is None:
            self.events.rest()
            return None
        return all_wrong(watched, self.events.troubles(), self._clock.utc_ns())

    def tell(self) -> None:
        """Something of the Server object changed: tell who subscribed to it."""
        self._context.publisher.tell_server()

    @property
    def shown(self) -> Shown:
        """What clients are told of how this server stands."""
        return self._set.shown

    def other_is(self, other: Member | None) -> None:
        """The other server of the pair, once it is known."""
        if other != self._set.other:
            self._set.other = other
            self._redundancy.retype()

    def serve_values(self, serves: bool) -> bool:
        """Show the points' values, or none, to whoever is connected; whether that is a change."""
        veil = self._context.live
        if serves is not veil.is_down:
            return False
        if serves:
            veil.lift()
        else:
            veil.drop(self._clock.utc_ns())
        self._context.publisher.retell()
        return True

    async def stop(self) -> None:
        """Close, and let go of what the library holds. The server can't be used afterwards."""
        if self._methods is not None:
            await self._methods.stop()
        await self.close("stopped")
        if self._freeing is not None:
            await self._freeing
        self._context.internal.method_service.stop()
