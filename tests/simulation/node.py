"""A node of a world: the machine room that stays, and the process that comes and goes in it.

The process is what gateway/pair/keeper.py and gateway/reign.py are without asyncio: the real role
machine, its effects carried out in their order, the ends of what takes time fed back as events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from gateway.acquisition.begin import Begin
from gateway.journal.records import Batch, Fact, Record, Revision, Ruling
from gateway.journal.records import Role as RoleTaken
from gateway.model import NS_PER_MS, NS_PER_S, Origin, Position, Term
from gateway.pair import events as ev
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.machine import Machine
from gateway.pair.votes import LeaseTiming
from gateway.pair.words import Identity, Role, Timing
from gateway.replication.gate import SyncGate
from gateway.replication.receiver import Receiver
from gateway.replication.sender import Sender
from gateway.windback.forgetting import Forgetting
from gateway.windback.runner import Runner
from tests.simulation.agenda import Agenda, HostClock
from tests.simulation.conditions import Conditions
from tests.simulation.field import REVISION, SimField
from tests.simulation.net import Net
from tests.simulation.plant import POINTS, Plant, Request
from tests.simulation.pulls import Pulls
from tests.simulation.store import Disk, Store
from tests.simulation.windback import SimWindback
from tests.simulation.witness import SimWitness

MS = NS_PER_MS
TICK_NS = 50 * MS
PROBE_NS = 20 * MS
REFUSED_NS = 20 * MS


@dataclass(frozen=True)
class Parts:
    """What a world is made of; a mutant has one that is wrong."""

    timing: Timing
    machine: type[Machine] = Machine
    store: type[Store] = Store
    field: type[SimField] = SimField
    sender: type[Sender] = Sender
    receiver: type[Receiver] = Receiver
    gate: type[SyncGate] = SyncGate
    runner: type[Runner] = Runner
    forgetting: type[Forgetting] = Forgetting
    lease: Callable[[int], LeaseTiming] = LeaseTiming.of
    drain_links: bool = True
    not_before: bool = True


@dataclass(slots=True)
class Shown:
    """A batch that clients saw: its position (seq 0: flagged as not stored), when, under what."""

    position: Position
    node: str
    true_ns: int
    sync: bool


@dataclass(slots=True)
class Flight:
    """A heartbeat: when it was sent, how long until it first arrived anywhere."""

    sent_ns: int
    took_ns: int = 1 << 62


class Host:
    """A machine: its clock, its disk, whether its process is frozen or its power gone."""

    def __init__(self, world: Any, node: str) -> None:
        conditions: Conditions = world.conditions
        self.world = world
        self.node = node
        self.clock = HostClock(world.agenda, conditions.drift_ppm[node], conditions.error_ns[node])
        self.disk = Disk()
        self.backup: Any = None
        self.frozen = False
        self.powered = True
        self.crash_chance = 0.0
        self.process: Process | None = None

    @property
    def refuses(self) -> bool:
        """Whether connections to the node's port are refused: nobody listens there."""
        return self.powered and self.process is None


class Process:
    """One life of a node."""

    def __init__(self, host: Host) -> None:
        world = host.world
        self.host = host
        self.node = host.node
        self.agenda: Agenda = world.agenda
        self.net: Net = world.net
        self.plant: Plant = world.plant
        self.conditions: Conditions = world.conditions
        self.parts: Parts = world.parts
        self.timing = self.parts.timing
        self.clock = host.clock
        self.alive = True
        self._world = world
        self._held: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._unread: list[tuple[str, Heartbeat]] = []
        self._waiting: deque[ev.Event] = deque()
        self._stepping = False
        self._answers = 0
        self._closing = False
        self._beginning = False
        self._begin_later: list[Callable[[], None]] = []
        self.clock.restart()
        store_ns = self.conditions.commit_ns[self.node]
        self.store = self.parts.store(
            host.disk, self.node, self.clock, self.later, self.agenda.random, store_ns, self._crash
        )
        witnessed = self.conditions.witness != "none"
        paths = frozenset(link.name for link in self.net.links.values() if link.tcp)
        boot = self.agenda.random.getrandbits(63) | 1
        priority = self.conditions.priority[self.node]
        identity = Identity("s", self.node, boot, priority, paths, True, witnessed)
        now_ns = self.clock.monotonic_ns()
        self.machine = self.parts.machine(
            identity, self.timing, now_ns, self.store.coverage_end_ns, self.store.term_seen
        )
        self.field = self.parts.field(
            self.node,
            self.clock,
            self.plant,
            self.store,
            self.later,
            self.may_send,
            self.watch,
            lambda reached: self.feed(ev.FieldSeen(reached)),
            self.conditions.field_delay_ns,
            self.conditions.field_loss,
        )
        self.witness = SimWitness(self, self._voted) if witnessed else None
        self.pulls = Pulls(self)
        self.windback = SimWindback(self, world.logged)
        self.store.durable = self.conditions.sync
        self.store.on_store.append(self._store_changed)
        self.later(self.agenda.between(0, TICK_NS), self._tick)
        self.later(self.agenda.between(0, REFUSED_NS), self._dial)

    # --------------------------------------------------------------------- time of the process

    def later(self, delay_ns: int, work: Callable[..., Any], *args: Any) -> None:
        """Do it that much later by this machine's clock, if the process still lives then."""
        self.agenda.at(self.clock.span_ns(delay_ns), self.enter, work, *args)

    def enter(self, work: Callable[..., Any], *args: Any) -> None:
        """Do it in this process: at once, or when it wakes."""
        if not self.alive:
            return
        if self.host.frozen:
            self._held.append((work, args))
        else:
            work(*args)

    def wake(self) -> None:
        """SIGCONT: what was held happens, in an order that nobody chose."""
        held, self._held = self._held, []
        place = self.agenda.random.randrange(min(len(held), 4) + 1)
        held.insert(place, (self.feed, (ev.Tick(),)))
        for work, args in held:
            self.enter(work, *args)
        self._drain_links()

    def _crash(self) -> bool:
        """A write begins or ends: does the process die here?"""
        if not self.alive:
            return True
        if self.agenda.chance(self.host.crash_chance):
            self._world.crash(self.host)
        return not self.alive

    def die(self) -> None:
        """Nothing of this process happens any more."""
        self.alive = False
        self.machine.ended = True
        self.windback.kill()
        self._held.clear()

    # ------------------------------------------------------------------------------- the shell

    def may_send(self) -> bool:
        return self.machine.may_send(self.clock.monotonic_ns())

    def peer(self) -> Process | None:
        """The other node's process, if there is one."""
        other: Host = self._world.other(self.host)
        return other.process

    @property
    def is_deaf(self) -> bool:
        """Whether no channel can be made now, though heartbeats pass."""
        deaf_until_ns: int = self._world.deaf_until_ns
        return self.agenda.now_ns < deaf_until_ns

    def feed(self, event: ev.Event) -> None:
        """Step the machine; effects in their order, events that come meanwhile after them."""
        self._waiting.append(event)
        if self._stepping:
            return
        self._stepping = True
        while self._waiting and self.alive:
            effects = self.machine.step(self.clock.monotonic_ns(), self._waiting.popleft())
            for effect in effects:
                if self.alive:
                    self._carry_out(effect)
        self._stepping = False

    def _tick(self) -> None:
        self.later(TICK_NS, self._tick)
        answers = self.field.outcomes.answers
        collected, self._answers = answers != self._answers, answers
        is_main = self.machine.role is Role.MAIN
        self.feed(ev.Progress(self.store.coverage_end_ns, collected and is_main))

    def _dial(self) -> None:
        """Links dial what is down: a host without a process refuses."""
        self.later(REFUSED_NS, self._dial)
        other: Host = self._world.other(self.host)
        for link in self.net.links.values():
            if link.tcp and (link.refuses or (other.refuses and not link.cut)):
                self.feed(ev.Refused(link.name))

    def second(self) -> None:
        """Once a second: the clock is disciplined."""
        if step_ns := self.clock.discipline():
            self.field.clock_stepped(step_ns)
            self.windback.clock_stepped()
            if self.machine.role is Role.MAIN:
                self.feed(ev.Renew("the clock was set"))

    def heard(self, link: str, heartbeat: Heartbeat) -> None:
        """A heartbeat arrived: read at once, or unread while the process is frozen."""
        if not self.alive:
            return
        if self.host.frozen:
            self._unread.append((link, heartbeat))
        else:
            self.feed(ev.Heard(link, heartbeat, self.clock.utc_ns()))

    def _drain_links(self) -> None:
        unread, self._unread = self._unread, []
        for link, heartbeat in unread:
            self.feed(ev.Heard(link, heartbeat, self.clock.utc_ns()))

    def caught(self, caught: bool) -> None:
        """Replication says how this node stands."""
        if caught is not (self.machine.role is Role.SYNCED):
            self.feed(ev.Caught(caught))

    def _voted(self, until_ns: int | None) -> None:
        self.feed(ev.WitnessVote(until_ns))

    def _store_changed(self, since_ns: int | None) -> None:
        self.field.store_changed(since_ns)
        self.feed(ev.StoreState(since_ns is None, "the disk is full" if since_ns else ""))

    def forgets(self, device: str, through: int, true_ns: int) -> None:
        """A device is about to forget what it logged: this node told it to."""
        both, self.windback.alone = not self.windback.alone, False
        self._world.watch_forgetting(self, device, through, true_ns, both)

    def problem(self, text: str) -> None:
        """Something broke that nothing may break."""
        self._world.problem("bug", text)

    def tell(self, text: str) -> None:
        """A line for whoever reads this world."""
        self._world.tell(self.node, text)

    def show(self, records: Sequence[Record], stored: bool) -> None:
        """Clients see these values now."""
        if self.machine.role is not Role.MAIN:
            return
        gate = self.pulls.gate
        sync = gate is not None and gate.state.value in ("sync", "held")
        for record in records:
            body = record.body
            if isinstance(body, Batch) and body.origin == Origin.WINDBACK:
                continue  # a live value never goes back
            if isinstance(body, Batch) and record.position.term.node == self.node:
                seen = Shown(record.position, self.node, self.agenda.now_ns, sync and stored)
                self._world.shown.append(seen)

    def watch(self, request: Request) -> None:
        """A request leaves for the field."""
        self._world.watch_request(self, request)

    # ----------------------------------------------------------------------------- the effects

    def _carry_out(self, effect: ev.Effect) -> None:
        match effect:
            case ev.SendHeartbeat():
                self._send(effect.heartbeat)
            case ev.DrainLinks():
                if self.parts.drain_links:
                    unread, self._unread = self._unread, []
                    self._waiting.extendleft(
                        ev.Heard(link, heartbeat, self.clock.utc_ns())
                        for link, heartbeat in reversed(unread)
                    )
            case ev.BeginTerm():
                self._term_wanted(effect.number)
            case ev.JournalRole():
                now_ns = self.clock.utc_ns()
                self.store.append(
                    RoleTaken(self.node, effect.role.shown, now_ns, effect.why, effect.term)
                )
            case ev.JournalRuling():
                self._journal_ruling(effect)
            case ev.OpenField():
                self._open_field(effect)
            case ev.CloseField():
                self._close_field()
            case ev.StopPolling():
                self.windback.halt()
                self.field.drain(self._drained)
            case ev.ClaimWitness():
                if self.witness is not None:
                    self.witness.claim()
            case ev.ReleaseWitness():
                if self.witness is not None:
                    self.witness.release()
            case ev.ProbeField():
                self.later(PROBE_NS, self._probe)
        if not isinstance(effect, ev.SendHeartbeat):
            self._world.effect(self, effect)
        if isinstance(effect, ev.Exit):
            self._world.exited(self.host)

    def _send(self, heartbeat: Heartbeat) -> None:
        heartbeat = replace(heartbeat, utc_ns=self.clock.utc_ns())
        flight = Flight(self.agenda.now_ns)
        self._world.flights[self.node].append(flight)

        def arrive(link: str) -> None:
            flight.took_ns = min(flight.took_ns, self.agenda.now_ns - flight.sent_ns)
            self._world.arrive(self, link, heartbeat)

        for _ in range(3 if heartbeat.goodbye else 1):
            self.net.scatter(self.node, arrive)

    def _probe(self) -> None:
        reached = any(self.plant.reaches(self.node, device) for device in ("pump", "tank"))
        self.feed(ev.FieldSeen(reached))

    def _term_wanted(self, number: int) -> None:
        if self._beginning:
            why = "the store has not committed the term before this one yet"
            self.later(0, self.feed, ev.TermFailed(why))
            return
        self._beginning = True
        self._when_closed(lambda: self._begin_term(number))

    def _begin_term(self, number: int) -> None:
        def then(error: str | None) -> None:
            self._beginning = False
            if error is not None:
                self.feed(ev.TermFailed(error))
                return
            term = self.store.term
            self._world.terms.append(term)
            self.feed(ev.TermBegun(term))
            if self.machine.term != term and self.machine.role is not Role.MAIN:
                self._rest()

        self.field.turn()
        self.store.begin_term(number, then)

    def _journal_ruling(self, effect: ev.JournalRuling) -> None:
        now_ns = self.clock.utc_ns()
        self.store.append(
            Ruling(
                effect.winner,
                effect.loser,
                now_ns - effect.both_ns,
                now_ns,
                self.conditions.duty,
                effect.why,
                now_ns,
            )
        )

    def _open_field(self, effect: ev.OpenField) -> None:
        begin = self._begin(effect)
        if self.store.kept.head is None:
            points = tuple((f"{device}/{name}", "int64") for device, name, _, _ in POINTS)
            now_ns = self.clock.utc_ns()
            self.store.append(Revision(REVISION, b"", now_ns, "first", {}, points))
            self.store.append(Fact("pump", "size", self.node, now_ns))
        self.pulls.begin_reign()
        self._when_closed(lambda: self._open(effect.term, begin))

    def _open(self, term: Term, begin: Begin) -> None:
        if self.machine.role is Role.MAIN and self.machine.term == term:
            self.field.open(begin)
            self.windback.begin()

    def _drained(self, through_ns: int) -> None:
        holes = [(name, through_ns) for name in self.field.unanswered]
        self.feed(ev.Drained((("", through_ns), *holes)))

    def _begin(self, effect: ev.OpenField) -> Begin:
        dues = dict(effect.next_due)
        if "" in dues:
            unanswered = [(d, c) for d, _, c in (name.partition("/") for name in dues) if d]
            return Begin(granted_through_ns=dues[""], unanswered=unanswered)
        peer = self.machine.peer
        now_ns, covered_ns = self.clock.utc_ns(), self.store.coverage_end_ns
        unsure_ns = max(0, peer.clock_ahead_ns) + peer.round_trip_ns // 2 + MS
        if not self.parts.not_before:
            return Begin()
        return Begin(not_before_ns=max(now_ns + unsure_ns, covered_ns))

    def _close_field(self) -> None:
        self.pulls.end_reign()
        self.windback.halt()
        self.field.halt()
        self._closing = True
        self.later(self.agenda.between(MS, 30 * MS), self._closed)

    def _closed(self) -> None:
        self._closing = False
        self._rest()
        waiting, self._begin_later = self._begin_later, []
        for work in waiting:
            work()

    def _rest(self) -> None:
        """Go on in a diary, unless a term is about to begin."""
        if not self._beginning:
            self.store.begin_term(0, _nothing)

    def _when_closed(self, work: Callable[[], None]) -> None:
        if self._closing:
            self._begin_later.append(work)
        else:
            work()

    # ------------------------------------------------------------------------- people's doings

    def revise(self) -> None:
        """Somebody applies a revision on this Main; the points stay."""
        head = self.store.kept.head
        if self.machine.role is Role.MAIN and head is not None and self.field.polling:
            points = head.revision.points
            number = head.revision.number + 1
            now_ns = self.clock.utc_ns()
            self.store.append(
                Revision(number, head.digest, now_ns, self.node, {"by": self.node}, points)
            )


def _nothing(error: str | None) -> None:
    del error


SECOND_NS = NS_PER_S
