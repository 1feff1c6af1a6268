"""The log of an OPC UA device: what it keeps, and its pages, read on the session of the line.

The decisions are in `drivers.opcua.log`; here they are carried out: each request waits for its
turn, and whatever continuation point is open when a read ends, in whichever way, is released.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, Final

from drivers.opcua import session_history as service
from drivers.opcua.log.discovery import (
    KEPT,
    POINTS_FACT,
    STARTS_FACT,
    Discovery,
    known_points,
    known_starts,
    verdict,
    with_start,
)
from drivers.opcua.log.method import Wanted, read_history
from drivers.opcua.log.ops import (
    BAD_TIMEOUT,
    Answer,
    Ask,
    Begin,
    Free,
    Hands,
    Op,
    Refusal,
    Reply,
    Times,
)
from drivers.opcua.log.slices import Pace
from drivers.opcua.observe import Decoder
from drivers.opcua.session import FAREWELL_S, Session
from gateway.driver import DriverContext, LogPage, LogSpec, LogWanted, Turn
from gateway.errors import DeviceError, LinkError, LogUnavailable, Refused, ReplyTimeout
from gateway.model import NS_PER_MS, NS_PER_S, Status
from profiles.windback import OpcUaHistory, effective

if TYPE_CHECKING:
    from drivers.opcua.line import OpcUaLine

log = logging.getLogger(__name__)
LOG_NAME: Final = "history"
FIRST_GUESS_NS: Final = 20 * NS_PER_MS
ODD_SEVERITY: Final = 300


class History:
    """The history that the server of one line keeps; nothing where its site asks for none."""

    def __init__(self, line: OpcUaLine, context: DriverContext) -> None:
        self._line = line
        self._context = context
        self._device = line.spec.devices[0]
        method = effective(None, self._device.settings.windback)
        self._method = method if isinstance(method, OpcUaHistory) else None
        facts = context.facts
        self._verdicts = known_points(facts.get((self._device.name, POINTS_FACT)))
        self._starts = known_starts(facts.get((self._device.name, STARTS_FACT)))
        self._session: Session | None = None
        self._discovery = Discovery(self._verdicts, 0)
        self._nodes_max = service.NODES_MAX
        self._took_ns = FIRST_GUESS_NS

    def specs(self) -> Sequence[LogSpec]:
        """The one log, with the points of which history is known to be kept."""
        method = self._method
        points = tuple(p.name for p in self._device.points if self._verdicts.get(p.name) == KEPT)
        if method is None or not points:
            return ()
        return (
            LogSpec(
                LOG_NAME,
                method.method,
                points,
                method.resolution_ns,
                method.depth_records,
                method.depth_ns,
                ack="never",
                share=method.budget_percent / 100,
                order=method.order,
            ),
        )

    # ------------------------------------------------------------------------- discovery

    def _discovery_of(self, session: Session) -> Discovery:
        if self._session is not session:
            self._session = session
            now_ns = self._context.clock.monotonic_ns()
            self._discovery = Discovery(dict(self._verdicts), now_ns)
        return self._discovery

    async def _discover(self, session: Session, discovery: Discovery) -> None:
        """Learn what the server keeps of what it wasn't known to keep. Raises DeviceError."""
        wanted = {
            where
            for where, decoder in enumerate(self._line.points.decoders)
            if any(discovery.asks(member.name) for member in decoder.item.members)
        }
        places = [where for where in sorted(wanted) if self._line.nodes[where] is not None]
        found = await service.attributes(session, [self._line.nodes[where] for where in places])
        if not discovery.found:
            self._nodes_max = await service.nodes_at_once(session)
        _, start_ns = await service.times(session)
        by_place = dict(zip(places, found, strict=True))
        verdicts = {
            member.name: verdict(by_place.get(where))
            for where in wanted
            for member in self._line.points.decoders[where].item.members
        }
        discovery.take(verdicts, self._context.clock.monotonic_ns())
        self._learn(discovery, with_start(self._starts, start_ns))

    def _learn(self, discovery: Discovery, starts: list[int]) -> None:
        learned = self._context.learned
        if discovery.verdicts != self._verdicts:
            self._verdicts = dict(discovery.verdicts)
            learned(self._device.name, POINTS_FACT, dict(self._verdicts))
        if starts != self._starts:
            self._starts = starts
            learned(self._device.name, STARTS_FACT, list(starts))
        found = discovery.found
        without = {name: why for name, why in found.items() if why != KEPT}
        text = f"of {len(found) - len(without)} of {len(found)} points"
        if without:
            name, why = next(iter(without.items()))
            text += f"; {name}: {why}"
        self._line.wire.diagnostics.notes["history"] = text

    async def look(self, session: Session) -> None:
        """Discover when that is due, where it must not disturb: a failure is only noted."""
        if self._method is None:
            return
        discovery = self._discovery_of(session)
        now_ns = self._context.clock.monotonic_ns()
        if discovery.due_ns is None or now_ns < discovery.due_ns:
            return
        try:
            await self._discover(session, discovery)
        except DeviceError as error:
            discovery.postpone(now_ns)
            self._line.wire.diagnostics.notes["history"] = str(error)

    async def _known(self, session: Session) -> None:
        """Raises DeviceError when nobody knows yet what the server keeps, LogUnavailable of it."""
        discovery = self._discovery_of(session)
        if not discovery.found or discovery.late:
            await self._discover(session, discovery)
        if discovery.late:
            name = discovery.late[0]
            text = f"its history isn't there yet: {name}: {discovery.found[name]}"
            raise LogUnavailable(text, None)
        if KEPT not in self._verdicts.values():
            text = "the server keeps history of none of the points"
            raise LogUnavailable(text, None, "Switch it on there, or remove `windback:`")

    # --------------------------------------------------------------------------- reading

    async def read(self, wanted: LogWanted, turn: Turn) -> AsyncGenerator[LogPage, None]:
        """The pages of [from, to). Raises DeviceError."""
        method = self._method
        if method is None or wanted.log != LOG_NAME:
            text = f"{self._device.name} has no log named {wanted.log}"
            raise DeviceError(text, "", Status.BAD_NOT_SUPPORTED)
        session = await self._line.acquire()
        await turn(self._took_ns)
        await self._known(session)
        decoders = {
            where: Decoder(decoder.item)
            for where, decoder in enumerate(self._line.points.decoders)
            if self._verdicts.get(decoder.item.members[0].name) == KEPT
        }
        pace = Pace.begin(method.page, method.slice_ns, self._nodes_max)
        span = (wanted.from_ns, wanted.to_ns, method.overlap_ns, method.return_bounds)
        reading = read_history(decoders, Wanted(*span, self._starts), pace)
        carrying = _Carrying(self, session, self._line.nodes, turn)
        try:
            reply: Reply = None
            while True:
                op = reading.send(reply)
                reply = None
                if isinstance(op, LogPage):
                    yield op
                else:
                    reply = await carrying.out(op)
        except StopIteration:
            return
        finally:
            await carrying.release()
            if pace.odd:
                text = f"history: {'; '.join(sorted(pace.odd))}"
                self._line.points.tell("!history", ODD_SEVERITY, text)

    def expected_ns(self) -> int:
        """How long a request is expected to take."""
        return self._took_ns

    def took(self, ns: int) -> None:
        """Remember how long a request took, the last ones counting most."""
        self._took_ns = (3 * self._took_ns + ns) // 4


class _Carrying:
    """Carries out operations on one session, and keeps account of open continuation points.

    One request at most is on its way, also while a page is kept.
    """

    def __init__(
        self, history: History, session: Session, nodes: Sequence[Any], turn: Turn
    ) -> None:
        self._history = history
        self._session = session
        self._nodes = list(nodes)
        self._turn = turn
        self._clock = history._context.clock
        self._open: dict[int, bytes] = {}
        self._begun: asyncio.Task[Answer | Refusal] | None = None

    async def out(self, op: Op) -> Reply:
        """What came of an operation. Raises DeviceError."""
        if isinstance(op, Ask) and self._begun is not None:
            return await self._end(self._begun)
        if isinstance(op, Ask | Begin | Times | Free):
            await self._turn(self._history.expected_ns())
        if isinstance(op, Ask):
            return await self._end(self._begin(op))
        if isinstance(op, Begin):
            self._begin(op.ask)
            await asyncio.sleep(0)  # a task sends its request in its first turn
        elif isinstance(op, Times):
            return await self._times()
        elif isinstance(op, Free):
            await self._free(dict(zip(op.places, op.points, strict=True)))
        else:
            await asyncio.sleep(op.ns / NS_PER_S)
        return None

    def _begin(self, ask: Ask) -> asyncio.Task[Answer | Refusal]:
        self._begun = asyncio.create_task(self._ask(ask), name="a read of history")
        return self._begun

    async def _end(self, begun: asyncio.Task[Answer | Refusal]) -> Answer | Refusal:
        await asyncio.wait([begun])  # whoever is cancelled here leaves it to `release`
        self._begun = None
        return begun.result()

    async def _ask(self, ask: Ask) -> Answer | Refusal:
        began_ns = self._clock.monotonic_ns()
        nodes = [self._nodes[where] for where in ask.places]
        try:
            told = await service.history_read(self._session, nodes, ask)
        except Refused as error:
            return Refusal(error.code, str(error))
        except ReplyTimeout as error:
            if not self._session.alive:
                raise
            return Refusal(BAD_TIMEOUT, str(error))
        for where, said in zip(ask.places, told, strict=True):
            self._open.pop(where, None)
            if said.point is not None:
                self._open[where] = said.point
        self._history.took(self._clock.monotonic_ns() - began_ns)
        return Answer(tuple(told))

    async def _times(self) -> Hands:
        clock = self._clock
        sent_ns = clock.utc_ns()
        now_ns, start_ns = await service.times(self._session)
        return Hands(now_ns, start_ns, sent_ns, clock.utc_ns())

    async def _free(self, points: dict[int, bytes]) -> None:
        for where in points:
            self._open.pop(where, None)
        try:
            nodes = [self._nodes[where] for where in points]
            await service.release(self._session, nodes, list(points.values()))
        except LinkError:
            raise
        except DeviceError as error:  # the server forgets them with the session
            log.debug("%s: continuation points stay: %s", self._session.wire.device, error)

    async def release(self) -> None:
        """Give back what is open, if that is quick: a server has few, a session may last days.

        What an answer on its way opens, too.
        """
        begun, self._begun = self._begun, None
        try:
            async with asyncio.timeout(FAREWELL_S):
                if begun is not None:
                    await asyncio.gather(begun, return_exceptions=True)
                if self._open and self._session.alive:
                    await self._free(dict(self._open))
        except (TimeoutError, DeviceError) as error:
            log.debug("%s: continuation points stay: %s", self._session.wire.device, error)
