"""The life of a subscription: connect, deliver everything once, then what changes; for ever.

What is complete through when: a publish response proves what was sampled before its request left,
so `through_ns` is that moment minus the sampling interval, and never moves back.

A server tells only what it sampled: a device that takes back what was written before the next
sample is silent about it. So a node that was written to is read once more after that sample.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from drivers.opcua.observe import UNDECODABLE, Reading
from drivers.opcua.points import Moment
from drivers.opcua.session import Session
from drivers.opcua.session_subscription import Notice, Subscription
from gateway.driver import Delivery, DriverContext, Observation
from gateway.ending import end
from gateway.errors import DeviceError
from gateway.model import NS_PER_S, Status, is_bad

if TYPE_CHECKING:
    from drivers.opcua.line import OpcUaLine

log = logging.getLogger(__name__)
LOOK_AGAIN_NS: Final = 60 * NS_PER_S
"""What a server lacks may come with the next download to the PLC, or as its application starts."""
SLOW_FACTOR: Final = 2
SAMPLES_AFTER_WRITE: Final = 2
"""How many sampling intervals pass before a node that was written to is read once more."""


class Listener:
    """Keeps one device subscribed."""

    def __init__(self, line: OpcUaLine, context: DriverContext) -> None:
        self._line = line
        self._points = line.points
        self._context = context
        self._clock = context.clock
        self._through_ns = context.clock.utc_ns()
        self._refused: dict[int, int] = {}
        """What the server does not monitor."""
        self._gone: set[int] = set()
        """What the server called unknown while it was monitored: its item may never speak again."""
        self._mute: set[int] = set()
        """What can't be decoded: not monitored, since it would spoil what is told of the others."""
        self._sampling_ns = line.settings.sampling_ns
        self._written: asyncio.Queue[int] = asyncio.Queue()

    def look_again(self, where: int) -> None:
        """A node was written to: read it once more when the server has sampled it."""
        self._written.put_nowait(where)

    async def run(self, deliver: Callable[[Delivery], None]) -> None:
        """Deliver until cancelled; a failure is delivered, waited for, and tried again."""
        try:
            while True:
                error = await self._attempt(deliver)
                self._line.drop()
                fault = self._line.fault(error)
                deliver(Delivery((), self._through_ns, fault=fault))
                self._points.lost()
                await asyncio.sleep(fault.retry_after_ns / NS_PER_S)
        finally:
            await self._line.leave()

    async def _attempt(self, deliver: Callable[[Delivery], None]) -> DeviceError:
        try:
            return await self._serve(await self._line.acquire(), deliver)
        except DeviceError as error:
            return error
        except Exception as error:  # a bug of ours must cost this device only, and be seen
            log.exception("%s: the subscription failed in the driver", self._points.device)
            text = f"internal error in the driver: {type(error).__name__}: {error}"
            return DeviceError(text, "Report it", Status.BAD_INTERNAL_ERROR)

    async def _serve(self, session: Session, deliver: Callable[[Delivery], None]) -> DeviceError:
        """Deliver until something fails. Raises DeviceError, or returns it."""
        subscription = Subscription(session, self._context)
        await subscription.create()
        self._refused.clear()
        self._gone.clear()
        self._mute.clear()
        places = list(range(len(self._points.decoders)))
        await self._monitor(subscription, places)
        readings = await self._read(session, places, deliver, complete=True)
        await self._silence(subscription, places, readings)
        self._line.backoff.succeeded()
        await self._report(session, places, readings)
        again = asyncio.create_task(self._look_again(session, deliver))
        try:
            return await self._follow(session, subscription, deliver)
        finally:
            await end([again])

    async def _look_again(self, session: Session, deliver: Callable[[Delivery], None]) -> None:
        """Read what was written to once more; a session that fails at it is dropped."""
        try:
            while True:
                written = {await self._written.get()}
                while not self._written.empty():
                    written.add(self._written.get_nowait())
                await asyncio.sleep(SAMPLES_AFTER_WRITE * self._sampling_ns / NS_PER_S)
                await self._read(session, sorted(written), deliver, complete=True)
        except DeviceError:
            self._line.drop(session)  # so `_follow` ends, and all is read anew

    async def _follow(
        self, session: Session, subscription: Subscription, deliver: Callable[[Delivery], None]
    ) -> DeviceError:
        """Deliver what a subscription brings. Raises DeviceError when it fails."""
        places = list(range(len(self._points.decoders)))
        retry_ns = self._clock.monotonic_ns() + LOOK_AGAIN_NS
        initial = True
        while True:
            notice = await subscription.next()
            self._deliver_notice(notice, initial, deliver)
            initial = initial and not notice.changes
            await self._line.report(session, *_columns(notice))
            if notice.missed:
                readings = await self._read(session, places, deliver, complete=False)
                await self._silence(subscription, places, readings)
                await self._report(session, places, readings)
            await self._line.history.look(session)
            if self._clock.monotonic_ns() >= retry_ns:
                retry_ns = self._clock.monotonic_ns() + LOOK_AGAIN_NS
                if again := await self._due(session):
                    await self._monitor(subscription, again)
                    readings = await self._read(session, again, deliver, complete=True)
                    await self._silence(subscription, again, readings)
                    await self._report(session, again, readings)

    async def _due(self, session: Session) -> list[int]:
        """What is to be monitored now, since it was not or may be no longer. Raises DeviceError."""
        came = await self._line.bind_again(session)
        mute = sorted(self._mute)
        readings = await self._line.read(session, mute)
        came += [w for w, r in zip(mute, readings, strict=True) if r is not UNDECODABLE]
        self._mute.difference_update(came)
        again = sorted({*self._refused, *self._gone, *came} - self._mute)
        self._gone.clear()
        return again

    async def _silence(
        self, subscription: Subscription, places: list[int], readings: list[Reading | None]
    ) -> None:
        """Monitor no longer what can't be decoded."""
        mute = [w for w, r in zip(places, readings, strict=True) if r is UNDECODABLE]
        self._mute.update(mute)
        await subscription.unmonitor(mute)

    async def _report(
        self, session: Session, places: list[int], readings: list[Reading | None]
    ) -> None:
        """Tell what is wrong with nodes, but take nothing back of those that aren't monitored."""
        told = [pair for pair in zip(places, readings, strict=True) if pair[0] not in self._refused]
        await self._line.report(session, [where for where, _ in told], [r for _, r in told])

    async def _monitor(self, subscription: Subscription, places: list[int]) -> None:
        """Monitor nodes; those that the server would not are remembered and told."""
        nodes, settings = self._line.nodes, self._line.settings
        there = [(where, nodes[where]) for where in places if nodes[where] is not None]
        slowest_ns = settings.sampling_ns
        accepted = await subscription.monitor(there)
        for (where, _), (status, sampling_ns) in zip(there, accepted, strict=True):
            self._refused.pop(where, None)
            slowest_ns = max(slowest_ns, sampling_ns)
            if is_bad(status):
                self._refused[where] = status
                self._points.report_unmonitored(where, status)
        self._sampling_ns = max(self._sampling_ns, slowest_ns)
        if slowest_ns > max(SLOW_FACTOR * settings.sampling_ns, settings.publishing_interval_ns):
            text = f"the server samples only every {slowest_ns / NS_PER_S:g} s"
            self._points.tell("!sampling", 400, text)

    async def _read(
        self,
        session: Session,
        places: list[int],
        deliver: Callable[[Delivery], None],
        complete: bool,
    ) -> list[Reading | None]:
        """Read nodes and deliver what is new. They are monitored by now: nothing falls between.

        A node that can be read but not monitored is bad: its next change would be missed.
        """
        asked_ns = self._clock.utc_ns()
        readings = await self._line.read(session, places)
        moment = Moment(asked_ns, self._clock.utc_ns())
        unfollowed = self._refused | dict.fromkeys(self._mute, Status.BAD_DECODING_ERROR)
        followed = [where not in unfollowed for where in places]
        kept = [(w, r) for w, r, ok in zip(places, readings, followed, strict=True) if ok]
        observations = self._line.observed([w for w, _ in kept], [r for _, r in kept], moment)
        self._gone.update(w for w, r in kept if r is not None and _unknown(r))
        for where in places:
            if where in unfollowed:
                observations += self._points.fail(where, unfollowed[where], moment)
        if len(places) == len(self._points.decoders):
            self._through_ns = max(self._through_ns, asked_ns)
        deliver(Delivery(observations, self._through_ns, complete))
        return readings

    def _deliver_notice(
        self, notice: Notice, initial: bool, deliver: Callable[[Delivery], None]
    ) -> None:
        moment = Moment(notice.sent_ns, notice.received_ns, initial)
        observations: list[Observation] = []
        for where, reading in notice.changes:
            if _unknown(reading):
                self._gone.add(where)
            else:
                self._gone.discard(where)
            observations += self._points.observe(where, reading, moment)
        observations += self._points.restated(notice.received_ns)
        if not notice.more and not notice.missed:
            asked_ns = min(notice.sent_ns, notice.received_ns)
            proven_ns = asked_ns - self._line.settings.sampling_ns
            set_back = self._through_ns > notice.received_ns  # by whoever sets our clock
            self._through_ns = proven_ns if set_back else max(self._through_ns, proven_ns)
        if notice.missed:  # the read that follows closes the hole
            deliver(Delivery(observations, self._through_ns))
        else:
            deliver(Delivery(observations, self._through_ns, not notice.overflow))


def _unknown(reading: Reading) -> bool:
    return reading.status & 0xFFFF0000 == Status.BAD_NODE_ID_UNKNOWN


def _columns(notice: Notice) -> tuple[list[int], list[Reading | None]]:
    return [where for where, _ in notice.changes], [reading for _, reading in notice.changes]
