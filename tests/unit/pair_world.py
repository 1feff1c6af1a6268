"""A world of two role machines, pure and seeded: clocks that drift, links that fail, a field.

Global time is integer ns; each node's clock is an offset and a drift away from it. What the shell
will do with effects is done here in the simplest way. `sending` is who may send to the field now.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from gateway.model import NS_PER_MS, NS_PER_S, Term
from gateway.pair import events as ev
from gateway.pair.heartbeat import Heartbeat, decode_heartbeat, encode_heartbeat
from gateway.pair.machine import Machine
from gateway.pair.words import Identity, Role, Timing

SYNC_NS = 300 * NS_PER_MS
COVERED_NS = 1_700_000_000 * NS_PER_S


@dataclass
class Net:
    """Between the nodes; delays in ns. `cut` holds `a>` (all that a says) or `a>tcp1`."""

    links: tuple[str, ...] = ("tcp",)
    rejects: bool = False

    delay_ns: int = NS_PER_MS
    jitter_ns: int = 0
    loss: float = 0.0
    twice: float = 0.0
    cut: set[str] = field(default_factory=set)


@dataclass
class Host:
    """One node and its surroundings."""

    name: str
    identity: Identity
    offset_ns: int = 0
    drift_ppm: int = 0
    machine: Machine | None = None
    frozen: bool = False
    refusing: bool = False
    unread: list[tuple[int, ev.Event]] = field(default_factory=list)
    coverage_end_ns: int = 0
    term_seen: int = 0
    utc_ns: int = 0
    reaches: bool = True
    store: bool = True
    persist_ns: int = 10 * NS_PER_MS
    open: bool = False
    claims_witness: bool = False
    sees_witness: bool = True
    synced_from_ns: int | None = None
    behind: bool = False
    dues: tuple[tuple[str, int], ...] = ()


class World:
    """Steps everything in order of global time; `log` holds what is worth reading."""

    def __init__(self, seed: int = 0, timing: Timing | None = None, witness: bool = False) -> None:
        self.random = random.Random(seed)
        self.timing = timing or Timing()
        self.witness = witness
        self.net = Net()
        self.now_ns = 0
        self.hosts: dict[str, Host] = {}
        self.log: list[str] = []
        self.effects: list[tuple[int, str, ev.Effect]] = []
        self.watch: Callable[[World], None] = lambda world: None
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._lease: tuple[str, int] | None = None

    # ------------------------------------------------------------------------------ building

    def add(self, name: str, priority: int = 0, coverage_s: int = 1, linked: bool = True) -> Host:
        tcp = frozenset(link for link in self.net.links if link != "serial")
        paths = tcp if linked else frozenset()
        identity = Identity("s", name, 0, priority, paths, linked, self.witness)
        host = Host(name, identity, offset_ns=self.random.randrange(10**12))
        host.coverage_end_ns = COVERED_NS + coverage_s * NS_PER_S if coverage_s else 0
        self.hosts[name] = host
        return host

    def start(self, name: str) -> None:
        host = self.hosts[name]
        host.identity = replace(host.identity, boot=self.random.getrandbits(63) | 1)
        host.refusing = False
        host.machine = Machine(
            host.identity,
            self.timing,
            self.local(host),
            coverage_end_ns=host.coverage_end_ns,
            term_seen=host.term_seen,
        )
        self._tick(host, host.identity.boot)

    def other(self, host: Host) -> Host | None:
        return next((h for h in self.hosts.values() if h is not host), None)

    def local(self, host: Host) -> int:
        return host.offset_ns + self.now_ns + self.now_ns * host.drift_ppm // 1_000_000

    # ------------------------------------------------------------------------------- running

    def at(self, delay_ns: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now_ns + delay_ns, self._count, action))

    def run(self, duration_ns: int) -> None:
        until_ns = self.now_ns + duration_ns
        while self._queue and self._queue[0][0] <= until_ns:
            self.now_ns, _, action = heapq.heappop(self._queue)
            action()
            self.watch(self)
        self.now_ns = until_ns

    def feed(self, name: str, event: ev.Event) -> None:
        host = self.hosts[name]
        if host.machine is None:
            return
        if host.frozen:
            host.unread.append((0, event))
            return
        for effect in host.machine.step(self.local(host), event):
            self.effects.append((self.now_ns, name, effect))
            self._carry_out(host, effect)

    def sending(self) -> list[str]:
        """Who may send to the field at this instant."""
        return [
            h.name
            for h in self.hosts.values()
            if h.machine and h.open and h.machine.may_send(self.local(h))
        ]

    def roles(self) -> dict[str, Role | None]:
        return {h.name: h.machine.role if h.machine else None for h in self.hosts.values()}

    def kill(self, name: str, refuses: bool = True) -> None:
        host = self.hosts[name]
        if host.machine is not None:
            host.term_seen = host.machine.term_seen
        host.machine = None
        host.open = host.frozen = host.claims_witness = False
        host.refusing = refuses
        host.unread.clear()

    def thaw(self, name: str) -> None:
        host = self.hosts[name]
        host.frozen = False
        self.feed(name, ev.Tick())
        unread, host.unread = host.unread, []
        for _, event in unread:
            self.feed(name, event)

    # ------------------------------------------------------------------------------- inside

    def _tick(self, host: Host, boot: int) -> None:
        if host.machine is None or host.identity.boot != boot:
            return
        self.at(self.timing.heartbeat_ns // 2, lambda: self._tick(host, boot))
        if host.frozen:
            return
        self._surroundings(host)
        self.feed(host.name, ev.Tick())

    def _surroundings(self, host: Host) -> None:
        machine, peer = host.machine, self.other(host)
        assert machine is not None
        for link in sorted(host.identity.paths):
            there = peer is not None and peer.refusing and not self._is_cut(host, link)
            if there or self.net.rejects:
                self.feed(host.name, ev.Refused(link))
        if machine.role is Role.MAIN:
            self.feed(host.name, ev.FieldSeen(host.reaches))
            if host.reaches and host.open:
                host.coverage_end_ns = COVERED_NS + 10**12 + self.now_ns
                self.feed(host.name, ev.Progress(host.coverage_end_ns, True))
        self._sync(host, peer)
        if host.claims_witness and host.sees_witness:
            holder = self._lease
            if holder is None or holder[0] == host.name or holder[1] <= self.now_ns:
                lease_ns = self.timing.takeover_after_ns
                # It expires later at the witness, which saw the request later.
                self._lease = (host.name, self.now_ns + lease_ns * 11 // 10)
                self.feed(host.name, ev.WitnessVote(self.local(host) + lease_ns))

    def _sync(self, host: Host, peer: Host | None) -> None:
        machine = host.machine
        follows = (
            peer is not None
            and peer.machine is not None
            and peer.machine.role is Role.MAIN
            and not peer.frozen
            and not self.net.rejects
            and not self.net.cut
            and machine is not None
            and machine.role in (Role.SYNCING, Role.SYNCED)
        )
        if not follows or host.behind:
            host.synced_from_ns = None
            return
        assert peer is not None
        host.synced_from_ns = host.synced_from_ns or self.now_ns
        if self.now_ns - host.synced_from_ns >= SYNC_NS:
            host.coverage_end_ns = max(host.coverage_end_ns, peer.coverage_end_ns)
            self.feed(host.name, ev.Progress(host.coverage_end_ns))
            self.feed(host.name, ev.Caught(True))

    def _is_cut(self, host: Host, link: str) -> bool:
        rejected = self.net.rejects and link != "serial"
        return rejected or bool({f"{host.name}>", f"{host.name}>{link}"} & self.net.cut)

    def _carry_out(self, host: Host, effect: ev.Effect) -> None:
        boot = host.identity.boot
        if isinstance(effect, ev.SendHeartbeat):
            self._send(host, effect.heartbeat)
        elif isinstance(effect, ev.BeginTerm):
            nonce = self.random.getrandbits(64)
            begun: ev.Event = ev.TermBegun(Term(effect.number, host.name, nonce))
            if not host.store:
                begun = ev.TermFailed("disk full")
            self.at(host.persist_ns, lambda: self._later(host, boot, begun))
        elif isinstance(effect, ev.StopPolling):
            host.dues = (("fast", self.now_ns + 200 * NS_PER_MS),)
            self.at(20 * NS_PER_MS, lambda: self._later(host, boot, ev.Drained(host.dues)))
        elif isinstance(effect, ev.ProbeField):
            reached = ev.FieldSeen(host.reaches)
            self.at(5 * NS_PER_MS, lambda: self._later(host, boot, reached))
        elif isinstance(effect, ev.OpenField | ev.CloseField):
            host.open = isinstance(effect, ev.OpenField)
        elif isinstance(effect, ev.ClaimWitness | ev.ReleaseWitness):
            host.claims_witness = isinstance(effect, ev.ClaimWitness)
        if not isinstance(effect, ev.SendHeartbeat):
            self.log.append(f"{self.now_ns / NS_PER_S:8.2f}s {host.name} {show(effect)}")
        if isinstance(effect, ev.Exit):
            self.kill(host.name)

    def _later(self, host: Host, boot: int, event: ev.Event) -> None:
        if host.identity.boot == boot:
            self.feed(host.name, event)

    def _send(self, host: Host, heartbeat: Heartbeat) -> None:
        peer = self.other(host)
        if peer is None:
            return
        heartbeat = msgspec.structs.replace(heartbeat, utc_ns=self.now_ns + host.utc_ns)
        wire = encode_heartbeat(heartbeat)
        copies = 3 if heartbeat.goodbye else 1
        for link in self.net.links:
            for _ in range(copies + (self.random.random() < self.net.twice)):
                if self._is_cut(host, link) or self.random.random() < self.net.loss:
                    continue
                delay_ns = self.net.delay_ns + int(self.random.random() * self.net.jitter_ns)
                self.at(delay_ns, lambda link=link: self._arrive(peer, link, wire))

    def _arrive(self, host: Host, link: str, wire: bytes) -> None:
        utc_ns = self.now_ns + host.utc_ns
        self.feed(host.name, ev.Heard(link, decode_heartbeat(wire), utc_ns))


def show(effect: ev.Effect) -> str:
    """An effect as the transcripts have it."""
    name = type(effect).__name__
    match effect:
        case ev.BeginTerm():
            return f"{name} {effect.number}: {effect.why}"
        case ev.JournalRole():
            return f"{name} {effect.role.shown}: {effect.why}"
        case ev.JournalRuling():
            terms = f"{effect.winner.number}.{effect.winner.node} over {effect.loser.number}"
            both_s = effect.both_ns / NS_PER_S
            return f"{name} {terms}.{effect.loser.node}, both for {both_s:.2f} s: {effect.why}"
        case ev.NewTerm():
            return f"{name} {effect.term.number}: {effect.why}"
        case ev.OpenField():
            due = f" due {effect.next_due}" if effect.next_due else ""
            return f"{name} term {effect.term.number}{due}"
        case ev.Alarm():
            return f"{name}: {effect.text}"
        case ev.Answer():
            return f"{name} {'yes' if effect.accepted else 'no'}: {effect.text}"
        case _:
            return name
