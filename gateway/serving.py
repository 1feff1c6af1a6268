"""The page's door over TCP: REST, health and metrics of a node, put together and looked after.

The plant goes first: an address that is taken, or a certificate that can't be read, is an alarm,
and tried again; the node runs without its page meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from gateway.clock import Clock
from gateway.config.node import NodeConfig, WebNode
from gateway.doors import Doors
from gateway.journal.journal import Journal
from gateway.journal.records import Event, Fact, Record
from gateway.model import NS_PER_S
from gateway.node import event_as_json
from gateway.orders import Orders
from gateway.rest_view import RestView
from gateway.revisions import Revisions
from gateway.running import Running, users_of
from gateway.server.audit import Audit
from gateway.server.logins import Logins
from gateway.web.certificate import WebCertificate, named, own
from gateway.web.feeds import Audience, EventListener, LiveListener
from gateway.web.gate import Gate
from gateway.web.listener import TcpListener
from gateway.web.metrics import metrics_text
from gateway.web.pages import page
from gateway.web.rest import Rest, build
from gateway.web.session_file import SessionFile
from gateway.web.tokens import FACT, Token

log = logging.getLogger("hotpair")

RETRY_S: Final = 5.0
EXPIRY_NS: Final = 30 * 86_400 * NS_PER_S
TOLD_AGAIN_NS: Final = 86_400 * NS_PER_S
SEVERITY: Final = 600
_ANY: Final = frozenset({"0.0.0.0", "::"})


class Serving:
    """REST of one node; `start` once, `stop` once."""

    def __init__(
        self,
        node: NodeConfig,
        web: WebNode,
        running: Running,
        journal: Journal,
        view: RestView,
        orders: Orders,
        revisions: Revisions,
        doors: Doors,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self._node, self._web, self._running = node, web, running
        self._view, self._orders, self._revisions = view, orders, revisions
        self._doors, self._clock, self._tell = doors, clock, tell
        self._audit = Audit(doors.record, clock)
        self._logins = Logins(users_of(running.site), clock, self._alarm)
        self._known: Mapping[str, Token] | None = None
        cookie = f"hotpair_{node.node.lower()}"
        file = SessionFile(node.data_dir / "web" / "sessions.json")
        self._gate = Gate(self._logins, self._tokens, self._audit, clock, cookie, file)
        self._live: Audience[LiveListener] = Audience()
        self._events: Audience[EventListener] = Audience()
        self._listener: TcpListener | None = None
        self._certificate: WebCertificate | None = None
        self._context: ssl.SSLContext | None = None
        self._stamp: tuple[int, ...] = ()
        self._told_ns: int | None = None
        self._upkeep: asyncio.Task[None] | None = None
        running.changed = self._changed
        journal.on_commit(self._committed)

    @property
    def url(self) -> str:
        """Where people find it."""
        scheme = "https" if self._web.tls is not None else "http"
        host = self._names()[0]
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._web.listen.port}"

    async def start(self) -> None:
        """Listen, and look after it from now on."""
        if self._web.insecure:
            text = f"the page at {self.url} is open without encryption (web: insecure: true)"
            self._tell(f"WARNING: {text}")
            self._alarm(SEVERITY, f"{text}: passwords can be overheard")
        if not self._logins.users:
            self._tell("nobody can log in at the page: add `users:` to site.yaml")
        await self._gate.recall()
        await self._open()
        self._upkeep = asyncio.create_task(self._look_after(), name="web upkeep")

    async def stop(self) -> None:
        """Close at once."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._upkeep
        if self._listener is not None:
            await self._listener.stop()

    async def _open(self) -> None:
        try:
            context = None
            if self._web.tls is not None:
                self._certificate = await asyncio.to_thread(self._identity)
                self._view.web_certificate = self._certificate.certificate
                self._stamp = _stamp(self._certificate)
                context = self._context = self._certificate.context()
            host, port = self._web.listen
            listener = TcpListener(build(self._parts(), page()), host, port, context)
            await listener.start()
        except (OSError, ValueError) as error:
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            self._complain(f"the page can't be served at {self._web.listen}: {why}")
            return
        self._listener, self._told_ns = listener, None
        self._tell(f"page and REST at {self.url}")

    def _parts(self) -> Rest:
        return Rest(
            source=self._view,
            orders=self._orders,
            revisions=self._revisions,
            gate=self._gate,
            live=self._live,
            events=self._events,
            metrics=self._metrics,
            metrics_open=self._web.metrics == "open",
            tls=self._web.tls is not None,
            peer_page=self._web.peer or "",
            lasting=self._certificate is not None and self._certificate.issued,
        )

    def _identity(self) -> WebCertificate:
        tls = self._web.tls
        assert tls is not None
        if tls.cert is not None and tls.key is not None:
            return named(tls.cert, tls.key)
        name = f"{self._running.site.site} {self._node.node}"
        now = datetime.fromtimestamp(self._clock.utc_ns() // NS_PER_S, UTC)
        found = own(self._node.data_dir / "web", name, self._names(), now)
        if found.made:
            log.warning("made a new certificate for the page: %s", found.certificate)
        return found

    def _names(self) -> list[str]:
        """Every name by which people reach this node, the most telling first."""
        host = self._web.listen.host
        names = list(self._web.advertise)
        if host not in _ANY:
            names.append(host)
        elif not names:
            names.append(socket.gethostname())
        if host in _ANY or self._web.listen.is_loopback:
            names += ["localhost", "127.0.0.1"]
        return list(dict.fromkeys(names))

    # ------------------------------------------------------------------------------- hearing

    def _tokens(self) -> Mapping[str, Token]:
        if self._known is None:
            self._known = self._view.known_tokens()
        return self._known

    def _changed(self, points: Sequence[int] | None) -> None:
        """Points changed; None: another revision runs, perhaps with other users."""
        if points is None:
            self._logins.replace(users_of(self._running.site))
        for listener in self._live:
            listener.hear(points)

    def _committed(self, records: Sequence[Record], stored: bool) -> None:
        for record in records:
            body = record.body
            if isinstance(body, Event):
                for listener in self._events:
                    listener.hear(event_as_json(body))
            elif isinstance(body, Fact) and body.key.startswith(FACT):
                self._known = None

    async def _metrics(self) -> str:
        streams = {"live": len(self._live), "events": len(self._events)}
        return metrics_text(await self._view.measured(self._gate.sessions, streams))

    # ------------------------------------------------------------------------------- upkeep

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            self._audit.flush()
            if self._listener is None or not self._listener.is_open:
                await self._open()
            elif self._certificate is not None:
                await asyncio.to_thread(self._renew)
                end_ns = int(self._certificate.read.not_valid_after_utc.timestamp()) * NS_PER_S
                if end_ns - self._clock.utc_ns() < EXPIRY_NS:
                    until = self._certificate.read.not_valid_after_utc
                    self._complain(f"the page's certificate ends {until:%Y-%m-%d %H:%M} UTC")

    def _renew(self) -> None:
        """Take another certificate that lies where the named one was; for new connections only."""
        known, context = self._certificate, self._context
        assert known is not None and context is not None
        try:
            if (stamp := _stamp(known)) != self._stamp:
                found = named(known.certificate, known.key)
                context.load_cert_chain(found.certificate, found.key)
                self._certificate, self._stamp = found, stamp
                log.info(
                    "the page has another certificate, until %s", found.read.not_valid_after_utc
                )
        except (OSError, ValueError) as error:
            log.warning("the page keeps its certificate: %s", error)

    def _complain(self, text: str) -> None:
        """Tell people, and again each day."""
        now_ns = self._clock.monotonic_ns()
        if self._told_ns is None or now_ns - self._told_ns > TOLD_AGAIN_NS:
            self._told_ns = now_ns
            self._alarm(SEVERITY, text)

    def _alarm(self, severity: int, text: str) -> None:
        self._doors.alarm("web", severity, text)


def _stamp(certificate: WebCertificate) -> tuple[int, ...]:
    """Changes when one of the files does. Raises OSError."""
    return tuple(path.stat().st_mtime_ns for path in (certificate.certificate, certificate.key))
