"""Replication without asyncio: the real Sender, Receiver and SyncGate over channels of the net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gateway.journal.records import Event, Record
from gateway.model import NS_PER_MS
from gateway.replication import effects as fx
from gateway.replication.gate import Declare, GateEffect, Release, SyncGate
from gateway.replication.receiver import Receiver
from gateway.replication.sender import Sender
from tests.simulation.net import Channel

if TYPE_CHECKING:
    from tests.simulation.node import Process

MS = NS_PER_MS
TICK_NS = 100 * MS
DIAL_NS = 150 * MS
LOAD_NS = 2 * MS
SYNC_TIMEOUT_NS = 500 * MS


class Pulls:
    """Both directions of one process: it dials to receive, it answers to send."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._receiver: Receiver | None = None
        self._in: Channel | None = None
        self._sender: Sender | None = None
        self._out: Channel | None = None
        self._level_ns = process.clock.monotonic_ns()
        self._pumping = False
        self.gate: SyncGate | None = None
        self.differences: tuple[str, ...] | None = None
        self.proven_ns = -1
        process.store.on_commit.append(self._committed)
        process.later(DIAL_NS, self._tick)

    def _now(self) -> int:
        return self._process.clock.monotonic_ns()

    @property
    def has_all(self) -> bool:
        """Whether this node has, by now, all that the other one has."""
        return self._receiver is not None and self._receiver.caught is True

    # ------------------------------------------------------------------------------- dialling

    def _tick(self) -> None:
        process = self._process
        process.later(TICK_NS, self._tick)
        if self._in is None:
            self._dial()
        elif self._receiver is not None:
            self._received(self._receiver.tick(self._now()))
        if self._sender is not None:
            self._pump()
        if self.gate is not None:
            self._gated(self.gate.tick(self._now(), self._follows()))
        if self._receiver is not None and self._receiver.caught:
            process.caught(True)  # also what was told before this node stood by

    def _dial(self) -> None:
        process, net = self._process, self._process.net
        peer = process.peer()
        link = net.dialable()
        if peer is None or peer.host.frozen or link is None or process.is_deaf:
            return
        channel = Channel(net, link, process.node, peer.node)
        self._in = channel
        channel.ended.append(lambda: process.enter(self._lost_in, channel))
        self._receiver = process.parts.receiver(process.store, process.store.durable)
        answering: Receiver = self._receiver
        channel.pipes[peer.node].deliver = lambda frame: process.enter(
            self._heard_in, answering, frame
        )
        peer.pulls.answer(channel)
        self._received(self._receiver.begin(process.store.kept_summary(), self._now()))

    def hang_up(self) -> None:
        """The channels of this process end."""
        for channel in (self._in, self._out):
            if channel is not None:
                channel.close()

    def _lost_in(self, channel: Channel) -> None:
        if self._in is channel:
            self._in = self._receiver = None

    def _heard_in(self, receiver: Receiver, frame: Any) -> None:
        if receiver is self._receiver:
            self._received(receiver.heard(frame, self._now()))

    def _received(self, effects: Sequence[fx.ReceiverEffect]) -> None:
        process, receiver, channel = self._process, self._receiver, self._in
        if receiver is None or channel is None:
            return
        for effect in effects:
            match effect:
                case fx.Send():
                    channel.pipes[process.node].send(effect.frame)
                case fx.Adopt():
                    process.store.adopt(effect.records, self._after(receiver, effect.ticket))
                case fx.Keep():
                    process.store.keep(effect.records, self._after(receiver, effect.ticket))
                case fx.Summarise():
                    summary = process.store.kept_summary()
                    self._received(receiver.begin(summary, self._now()))
                case fx.CaughtUp():
                    process.caught(effect.caught)
                case fx.Proven():
                    self.differences = effect.differences
                    self.proven_ns = process.agenda.now_ns
                case fx.Alarm():
                    process.tell(f"replication: {effect.text}")

    def _after(self, receiver: Receiver, ticket: int) -> Callable[[str | None], None]:
        def then(error: str | None) -> None:
            if receiver is not self._receiver:
                return
            now_ns = self._now()
            if error is None:
                self._received(receiver.done(ticket, now_ns))
            else:
                self._received(receiver.failed(ticket, error, now_ns))

        return then

    # ------------------------------------------------------------------------------- answering

    def answer(self, channel: Channel) -> None:
        """The peer dialled."""
        process = self._process
        self._out = channel
        sender = self._sender = process.parts.sender(process.store, self._level_ns)
        channel.ended.append(lambda: process.enter(self._lost_out, channel))
        peer = next(node for node in channel.pipes if node != process.node)
        channel.pipes[peer].deliver = lambda frame: process.enter(self._heard_out, sender, frame)

    def _lost_out(self, channel: Channel) -> None:
        if self._out is channel:
            if self._sender is not None:
                self._level_ns = self._sender.level_ns
            self._out = self._sender = None

    def _heard_out(self, sender: Sender, frame: Any) -> None:
        if sender is self._sender:
            sender.heard(frame, self._now())
            self._pump()

    def _committed(self, records: Sequence[Record], stored: bool) -> None:
        now_ns = self._now()
        if stored and self._sender is not None:
            self._sender.committed(records, now_ns)
            self._pump()
        if self.gate is not None:
            self._gated(self.gate.committed(records, stored, now_ns))
        else:
            self._process.show(records, stored)

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        while self._sender is not None and self._out is not None:
            effect = self._sender.next(self._now())
            if effect is None:
                break
            self._carry_out(self._sender, self._out, effect)
        self._pumping = False

    def _carry_out(self, sender: Sender, channel: Channel, effect: fx.SenderEffect) -> None:
        process = self._process
        match effect:
            case fx.Send():
                channel.pipes[process.node].send(effect.frame)
            case fx.Load():
                process.later(LOAD_NS, self._load, sender, effect)
            case fx.Summarise():
                sender.summarised(process.store.kept_summary())
            case fx.LoadKept():
                page = process.store.kept_page(effect.terms, effect.after)
                sender.kept_loaded(effect, page)
            case fx.Acked():
                if self.gate is not None:
                    gate = self.gate
                    self._gated(gate.acknowledged(effect.position, effect.durable, self._now()))
            case fx.Alarm():
                process.tell(f"replication: {effect.text}")

    def _load(self, sender: Sender, load: fx.Load) -> None:
        if sender is self._sender:
            sender.loaded(load, self._process.store.rows(load.term, load.first, load.limit))
            self._pump()

    # ------------------------------------------------------------------------------- the gate

    def _follows(self) -> bool:
        sender = self._sender
        if sender is None or not sender.peer or not sender.durable:
            return False
        return sender.pending_ns(self._now()) <= 50 * MS

    def begin_reign(self) -> None:
        """Values wait for the peer from now on, if that is configured."""
        if self._process.conditions.sync:
            self.gate = self._process.parts.gate(
                self._process.node,
                SYNC_TIMEOUT_NS,
                self._process.conditions.hold,
                self._follows(),
            )
            self._gated(self.gate.begin())

    def end_reign(self) -> None:
        """Nobody is shown anything by this node any more."""
        self.gate = None

    def _gated(self, effects: Sequence[GateEffect]) -> None:
        gate = self.gate
        for effect in effects:
            if isinstance(effect, Release):
                self._process.show(effect.records, effect.stored)
            elif isinstance(effect, Declare):
                word = "sync" if effect.synchronous else "async"
                now_ns = self._process.clock.utc_ns()
                said = self._process.store.append(
                    Event("replication", 500, f"{word}: {effect.why}", now_ns)
                )
                said.then.append(lambda error: self._declared(gate, error))

    def _declared(self, gate: SyncGate | None, error: str | None) -> None:
        if gate is not None and gate is self.gate and error is None:
            self._gated(gate.journalled())
