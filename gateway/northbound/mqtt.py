"""Sparkplug B over a real broker: the session, and what is known to have arrived there.

Sparkplug has data published with QoS 0 (6.4.22), which nobody acknowledges. So after each window
the node unsubscribes from a topic that it never subscribed to: the broker's UNSUBACK (MQTT 3.1.1
section 3.10.4 demands one) tells that it has read all that came before on the same connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.clock import Clock
from gateway.config.northbound import MqttFeed
from gateway.ending import end
from gateway.errors import ControlError
from gateway.journal.holdings import Holding, Holdings
from gateway.journal.records import Body, Delivered, Delivery
from gateway.model import NS_PER_S, Position, Term
from gateway.northbound import windows as w
from gateway.northbound.access import password_of, tls_of
from gateway.northbound.edge_node import EdgeNode, Host, Message, state_topic
from gateway.northbound.feed import SessionEnded
from gateway.northbound.observations import Observation, Read, is_late
from gateway.northbound.payload import TYPES, Metric

if TYPE_CHECKING:
    from aiomqtt import Client

NAME: Final = "mqtt"
METRICS_MAX: Final = 500
"""Of one DDATA; brokers bound the size of messages."""
ANSWER_S: Final = 5.0
KEEPALIVE_S: Final = 10
HANG_UP_S: Final = 0.5
"""How long it may take to see one's own end of a connection."""
INCOMING_MAX: Final = 100
TELL_NS: Final = NS_PER_S
"""How often it is journalled what was delivered: what a takeover may repeat."""
WHOLE_EVERY: Final = 60
WHOLE_NS: Final = 3_600 * NS_PER_S
"""All is told again after so many records, or so long: far sooner than retention drops a day."""
UNTOLD_MAX: Final = 100
ALIAS_FIRST: Final = 1


@dataclass(frozen=True)
class Births:
    """What is in force at one moment: every metric by device, who is down, and since when."""

    devices: dict[str, list[Metric]]
    down: frozenset[str]
    revision: object
    since: Position


@dataclass(frozen=True)
class MqttPorts:
    """What a Sparkplug edge node needs of the gateway.

    `births()` is taken in one turn of the loop. `told()` are the deliveries that the journal has;
    `commit` makes one durable, `append` doesn't wait. `about()` are texts on the node.
    """

    clock: Clock
    births: Callable[[], Births]
    down: Callable[[], frozenset[str]]
    revision: Callable[[], object]
    about: Callable[[], dict[str, str]]
    told: Callable[[], Awaitable[list[Delivered]]]
    held: Callable[[], dict[Term, Holding]]
    commit: Callable[[Body], Awaitable[Any]]
    append: Callable[[Body], Any]
    may_send: Callable[[], bool]


class SparkplugOutlet:
    """An edge node on a broker; one session at a time."""

    name = NAME

    def __init__(self, settings: MqttFeed, site: str, folder: Path, ports: MqttPorts) -> None:
        self.where = str(settings.endpoint)
        self.state = "standby"
        self.since = Position(Term(0, "", 0), 0)
        self._settings = settings
        self._folder = folder
        self._ports = ports
        self._edge_node = settings.edge_node or site
        self._client: Client | None = None
        self._farewell = False
        self._listening: asyncio.Task[None] | None = None
        self._host = Host()
        self._heard = asyncio.Event()
        self._rebirth = False
        self._node: EdgeNode | None = None
        self._aliases: dict[str, tuple[int, int]] = {}
        self._revision: object = None
        self._untold: list[Delivery] = []
        self._sent = False
        self._told_ns = 0
        self._telling = 0
        self._whole_ns = 0
        self._births = 0

    # ----------------------------------------------------------------------------- a session

    async def open(self) -> Holdings:
        """Connect and be born; waits for the primary host. Raises MqttError, OSError and more."""
        password = await asyncio.to_thread(password_of, self._settings, self._folder)
        tls = await asyncio.to_thread(tls_of, self._settings, self._folder)
        told = await self._ports.told()
        done = w.delivered(told)
        for number, node, nonce, first, last in self._untold:
            w.deliver(done, Term(number, node, nonce), first, last)
        self._births = w.births_of(told) + 1 if told else 0
        self._telling = 0
        await self._ports.commit(self._delivered(done))
        self._node = EdgeNode(self._settings.group, self._edge_node, self._births)
        self._farewell = False
        self._client = await self._connect(self._node, password, tls)
        self._listening = asyncio.create_task(self._listen(self._client), name="mqtt commands")
        await self._client.subscribe(self._node.commands, qos=1)
        if self._settings.primary_host is not None:
            self.state = "waiting for host"
            await self._client.subscribe(state_topic(self._settings.primary_host), qos=1)
            while not self._host.online:
                await self._await_host()
        await self._be_born()
        return done

    async def _connect(
        self, node: EdgeNode, password: str | None, tls: ssl.SSLContext | None
    ) -> Client:
        try:
            from aiomqtt import Client, Will
        except ImportError as error:
            raise ControlError("aiomqtt is missing", "pip install 'hotpair[mqtt]'") from error
        settings, endpoint = self._settings, self._settings.endpoint
        will = node.death(self._ports.clock.utc_ns())
        client = Client(
            endpoint.host,
            endpoint.port,
            username=settings.user or None,
            password=password,
            # Both nodes of a pair have one name, so a broker keeps one session at most, and tells
            # the death of the one before it lets the next one in (MQTT 3.1.1 section 3.1.4).
            identifier=f"hotpair/{settings.group}/{self._edge_node}",
            will=Will(will.topic, will.payload, qos=1, retain=False),
            clean_session=True,
            timeout=ANSWER_S,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=INCOMING_MAX,
            tls_context=tls,
        )
        await client.__aenter__()
        return client

    async def _await_host(self) -> None:
        self._heard.clear()
        self._check()
        try:
            async with asyncio.timeout(1):
                await self._heard.wait()
        except TimeoutError:
            if not self._ports.may_send():
                raise SessionEnded("this node is no longer Main") from None

    async def _listen(self, client: Client) -> None:
        """Hear commands and the primary host until the connection ends."""
        assert self._node is not None
        host = self._settings.primary_host
        state = state_topic(host) if host is not None else None
        async for message in client.messages:
            topic, data = str(message.topic), bytes(message.payload or b"")
            if topic == state:
                self._host.hear(data)
            elif self._node.wants_rebirth(topic, data, bool(message.retain)):
                self._rebirth = True
            self._heard.set()

    async def close(self) -> None:
        """Tell the death before the connection is ended (tck-id-operational-behavior-edge-node-
        intentional-disconnect-ndeath), and what was delivered."""
        self._tell()
        if self._client is not None and self._node is not None:
            await self._publish([self._node.death(self._ports.clock.utc_ns())], qos=1)
            self._farewell = True

    async def drop(self) -> None:
        """End the connection; the broker tells the death if `close` did not."""
        self._tell()
        client, self._client = self._client, None
        listening, self._listening = self._listening, None
        if listening is not None:
            await end([listening])
        if client is not None:
            if not self._farewell:
                await _hang_up(client)
            with suppress(Exception):  # it was lost before
                await client.__aexit__(None, None, None)
        self._host = Host()

    # -------------------------------------------------------------------------------- births

    async def _be_born(self) -> None:
        assert self._node is not None
        self._rebirth = False
        births = self._ports.births()
        self.since, self._revision = births.since, births.revision
        self._aliases = {
            f"{device}/{metric.name}": (metric.alias, metric.kind)
            for device, metrics in births.devices.items()
            for metric in metrics
            if metric.alias is not None
        }
        now_ns, about = self._ports.clock.utc_ns(), self._ports.about()
        await self._publish(self._node.birth(now_ns, about, births.devices, births.down))
        await self._fence()
        self.state = "delivering"

    async def look_after(self, done: Holdings) -> None:
        """Births and deaths that are due; and tell what was delivered."""
        assert self._node is not None
        self._check()
        if self._settings.primary_host is not None and not self._host.online:
            await self.close()
            raise SessionEnded("the primary host is offline")
        if self._rebirth or self._ports.revision() is not self._revision:
            await self._be_born()
        down = self._ports.down()
        if changed := (self._node.alive & down) | (self._known - self._node.alive - down):
            births = self._ports.births()
            now_ns = self._ports.clock.utc_ns()
            for device in sorted(changed & births.devices.keys()):
                if device in down:
                    await self._publish([self._node.device_death(now_ns, device)])
                else:
                    points = births.devices[device]
                    await self._publish([self._node.device_birth(now_ns, device, points)])
        if self._sent and self._ports.clock.monotonic_ns() - self._told_ns > TELL_NS:
            self._tell(done)

    @property
    def _known(self) -> frozenset[str]:
        return frozenset(point.partition("/")[0] for point in self._aliases)

    def _check(self) -> None:
        """Raise what ended the connection."""
        listening = self._listening
        if listening is not None and listening.done():
            listening.result()
            raise ConnectionError("the broker ended the connection")

    # ------------------------------------------------------------------------------ handing on

    async def hand_on(self, window: w.Window, read: Read, done: Holdings) -> int:
        """Publish a window's samples; back once the broker has read them all."""
        assert self._node is not None
        count = 0
        for device, group in groupby(read.observations, lambda o: o.point.partition("/")[0]):
            metrics = [*self._metrics(group, window.live)]
            count += len(metrics)
            for start in range(0, len(metrics), METRICS_MAX):
                await self._data(device, metrics[start : start + METRICS_MAX])
        if count:
            await self._fence()
        w.deliver(done, window.term, window.first, window.last)
        self._untold.append(window.delivery)
        if len(self._untold) > UNTOLD_MAX:
            self._untold = [*w.joined(self._untold)]
        self._sent = self._sent or bool(count) or not window.live
        return count

    def _metrics(self, observations: Iterable[Observation], live: bool) -> Iterable[Metric]:
        """Of points that were born; others the revision that runs no longer has."""
        for each in observations:
            if (known := self._aliases.get(each.point)) is not None:
                alias, kind = known
                late = is_late(each, live)
                yield Metric(alias, kind, each.time_ns, each.value, each.status, late)

    async def _data(self, device: str, metrics: Sequence[Metric]) -> None:
        """A DDATA; a device that is down is born for it, and dies again."""
        assert self._node is not None
        now_ns = self._ports.clock.utc_ns()
        down = device not in self._node.alive
        messages: list[Message] = []
        if down:
            points = self._ports.births().devices.get(device, [])
            messages.append(self._node.device_birth(now_ns, device, points))
        messages.append(self._node.data(now_ns, device, metrics))
        if down and device in self._ports.down():
            messages.append(self._node.device_death(now_ns, device))
        await self._publish(messages)

    async def _publish(self, messages: Iterable[Message], qos: int = 0) -> None:
        assert self._client is not None
        for message in messages:
            await self._client.publish(message.topic, message.payload, qos=qos, retain=False)

    async def _fence(self) -> None:
        assert self._client is not None and self._node is not None
        await self._client.unsubscribe(f"{self._node.commands}/fence")

    # ------------------------------------------------------------------------------- telling

    def _tell(self, done: Holdings | None = None) -> None:
        """Journal what was delivered: all of it now and then, else what is new."""
        if not self._sent:
            return
        self._telling += 1
        old = self._ports.clock.monotonic_ns() - self._whole_ns > WHOLE_NS
        whole = done if old or self._telling % WHOLE_EVERY == 0 else None
        self._ports.append(self._delivered(whole))

    def _delivered(self, whole: Holdings | None) -> Delivered:
        now_ns = self._ports.clock.utc_ns()
        found = w.joined(self._untold)
        if whole is not None:
            self._whole_ns = self._ports.clock.monotonic_ns()
            found = w.spans(whole, self._ports.held())
        self._untold, self._sent = [], False
        self._told_ns = self._ports.clock.monotonic_ns()
        return Delivered(NAME, now_ns, self._births, whole is not None, found)


async def _hang_up(client: Client) -> None:
    """End a connection without a DISCONNECT, which would have the broker discard the will.

    MQTT 3.1.1 section 3.14; aiomqtt knows only the orderly end.
    """
    wire = client._client.socket()
    if isinstance(wire, socket.socket):
        with suppress(OSError):  # it was lost before
            wire.shutdown(socket.SHUT_RDWR)
        ended, _ = await asyncio.wait([client._disconnected], timeout=HANG_UP_S)
        for each in ended:
            each.exception()  # looked at, or the loop tells that nobody did


def metrics_of(
    points: Iterable[tuple[str, int, Any, int, Any, int]],
) -> list[Metric]:
    """What a birth tells of points: (name, number, type, time in ns UTC, value, status)."""
    return [
        Metric(number + ALIAS_FIRST, TYPES[kind], time_ns, value, status, False, name)
        for name, number, kind, time_ns, value, status in points
    ]
