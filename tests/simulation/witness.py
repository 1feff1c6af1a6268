"""Witnesses: the real PLC algorithm over a field network, and a lease server like etcd."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.model import NS_PER_MS
from gateway.pair import plc_witness as plc
from gateway.pair.votes import LeaseTiming, Votes, etcd_lease_ns, etcd_renew_ns, ttl_s

if TYPE_CHECKING:
    from tests.simulation.node import Process

MS = NS_PER_MS
ETCD_LATE_NS = 500 * MS
"""How much later than its time to live etcd notices that a lease ran out."""


class SimWitness:
    """What one process asks of the witnesses; `told` gets until when they vote for it."""

    def __init__(self, process: Process, told: Callable[[int | None], None]) -> None:
        self._process = process
        self._told = told
        self.wanted = False
        timing = process.parts.lease(process.timing.takeover_after_ns)
        now_ns = process.clock.monotonic_ns()
        kind, plcs = process.conditions.witness, process.plant.plcs
        names = [f"plc{number}" for number in range(len(plcs))] or ["etcd"]
        self._votes = Votes(names)
        dice = process.agenda.random
        self._voters = [
            PlcVoter(self, process, number, plc.PlcWitness(timing, dice.getrandbits(40), now_ns))
            for number in range(len(plcs))
        ]
        if kind == "etcd":
            self._etcd = EtcdVoter(self, process, timing)
        else:
            self._etcd = None
        process.later(1 * MS, self._tick)

    def _tick(self) -> None:
        self._process.later(50 * MS, self._tick)
        for voter in self._voters:
            voter.feed(plc.Tick())
        if self._etcd is not None:
            self._etcd.tick()

    def claim(self) -> None:
        """The vote is wanted."""
        self.wanted = True
        for voter in self._voters:
            voter.feed(plc.Claim())

    def release(self) -> None:
        """It is wanted no more."""
        self.wanted = False
        for voter in self._voters:
            voter.feed(plc.Release())
        if self._etcd is not None:
            self._etcd.release()

    def vote(self, voter: str, until_ns: int) -> None:
        """A witness's vote changed."""
        if self._votes.tell(voter, until_ns):
            self._told(self._votes.until_ns or None)


class PlcVoter:
    """One PLC: requests over a network that delays, loses, or executes without an answer."""

    def __init__(
        self, witness: SimWitness, process: Process, number: int, machine: plc.PlcWitness
    ) -> None:
        self._witness = witness
        self._process = process
        self._name = f"plc{number}"
        self._plc = process.plant.plcs[number]
        self._machine = machine
        self._connection = process.agenda.random.getrandbits(30)
        self._boot = self._plc.boot
        priority = process.conditions.priority
        mine, other = process.node, "b" if process.node == "a" else "a"
        lower = (priority[mine], mine) < (priority[other], other)
        self.feed(plc.Peer(mine < other, lower))

    def feed(self, event: plc.Event) -> None:
        """Step the machine and send what it asks."""
        now_ns = self._process.clock.monotonic_ns()
        for effect in self._machine.step(now_ns, event):
            if isinstance(effect, plc.Vote):
                self._witness.vote(self._name, effect.until_ns)
            elif isinstance(effect, plc.Read | plc.Write):
                self._send(effect)

    def _send(self, request: plc.Read | plc.Write) -> None:
        process, agenda = self._process, self._process.agenda
        delay_ns = process.conditions.field_delay_ns
        there_ns, back_ns = (agenda.between(delay_ns // 2, delay_ns) for _ in range(2))
        if agenda.chance(0.01):
            there_ns += agenda.between(0, 90 * MS)
        loss = process.conditions.field_loss
        cut = self._plc.away or process.node in process.plant.unreached
        answered = not cut and not agenda.chance(loss)
        executed = not cut and (answered or agenda.chance(0.5))
        if executed:
            agenda.at(there_ns, self._execute, request, back_ns if answered else None)
        process.later(request.timeout_ns, self._give_up, request.number)

    def _execute(self, request: plc.Read | plc.Write, back_ns: int | None) -> None:
        words = self._plc.words
        if isinstance(request, plc.Write):
            words[request.register] = request.word
            result: tuple[int, ...] = ()
        else:
            result = tuple(words)
        if back_ns is not None:
            self._process.later(back_ns, self._reply, request.number, result, self._plc.boot)

    def _reply(self, number: int, words: tuple[int, ...], boot: int) -> None:
        if boot != self._boot:
            self._boot = boot
            self._connection += 1
        self.feed(plc.Reply(number, self._connection, words))

    def _give_up(self, number: int) -> None:
        asked = self._machine._asked
        if asked is not None and asked.number == number:
            self._connection += 1
            self.feed(plc.Failure(number, "no answer"))


class EtcdVoter:
    """A key with a lease at a server whose clock is true; the vote counts from the sending."""

    def __init__(self, witness: SimWitness, process: Process, timing: LeaseTiming) -> None:
        self._witness = witness
        self._process = process
        self._ttl = ttl_s(process.timing.takeover_after_ns)
        self._lease_ns = etcd_lease_ns(self._ttl, timing.flight_ns)
        self._renew_ns = etcd_renew_ns(self._ttl)
        self._asked_ns: int | None = None
        self._until_ns = 0

    def tick(self) -> None:
        """Claim or renew when that is due."""
        now_ns = self._process.clock.monotonic_ns()
        if self._until_ns and now_ns >= self._until_ns:
            self._until_ns = 0
            self._witness.vote("etcd", 0)
        due = self._asked_ns is None or now_ns - self._asked_ns >= self._renew_ns
        if self._witness.wanted and due:
            self._asked_ns = now_ns
            agenda = self._process.agenda
            if not self._process.plant.etcd_away:
                agenda.at(agenda.between(MS, 30 * MS), self._serve, now_ns)

    def _serve(self, sent_ns: int) -> None:
        process, agenda = self._process, self._process.agenda
        leases = process.plant.leases
        for node in [n for n, until_ns in leases.items() if until_ns <= agenda.now_ns]:
            del leases[node]
        if leases and process.node not in leases:
            return
        late_ns = agenda.between(0, ETCD_LATE_NS)
        leases[process.node] = agenda.now_ns + self._ttl * 1_000 * MS + late_ns
        process.later(agenda.between(MS, 30 * MS), self._granted, sent_ns)

    def _granted(self, sent_ns: int) -> None:
        until_ns = sent_ns + self._lease_ns
        now_ns = self._process.clock.monotonic_ns()
        if self._witness.wanted and now_ns < until_ns:
            self._until_ns = max(self._until_ns, until_ns)
            self._witness.vote("etcd", self._until_ns)

    def release(self) -> None:
        """Give the lease back, so that a changeover needn't wait."""
        self._until_ns = 0
        self._witness.vote("etcd", 0)
        agenda = self._process.agenda
        agenda.at(MS, self._process.plant.leases.pop, self._process.node, None)
