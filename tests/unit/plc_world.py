"""One PLC, two claimers: a seeded world with everything that may go wrong between them.

Real time is integer ns; each node counts its own. A request takes a while to the PLC and a while
back, is lost on either way, or is carried out long after its sender gave it up, at most once. The
judge looks at each vote by real time: whatever lease was ever given, nobody else's may begin before
it ran out (and the allowance G with it), even if its holder released it or died.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair.plc_events import (
    Claim,
    Effect,
    Event,
    Failure,
    Peer,
    Read,
    Release,
    Reply,
    Tick,
    Vote,
    Write,
)
from gateway.pair.plc_witness import NEVER_NS, PlcWitness
from gateway.pair.votes import LeaseTiming

TIMING = LeaseTiming.of(NS_PER_S)
MILLION = 1_000_000


@dataclass
class Faults:
    """How bad the way is; probabilities a request, times in ns."""

    loss: float = 0.0
    late: float = 0.0
    quick_ns: int = 3 * NS_PER_MS
    slow: float = 0.0
    slow_ns: int = 3 * TIMING.timeout_ns


@dataclass
class Claimer:
    """One node; its clock runs `drift_ppm` fast."""

    name: str
    lower: bool
    gives_way: bool
    drift_ppm: int
    offset_ns: int
    machine: PlcWitness
    frozen: bool = False
    unread: list[Event] = field(default_factory=list)
    connection: int = 0
    generation: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    wake: int = 0
    held: bool = False
    gained: int = 0


class World:
    """Runs until told; raises AssertionError when two leases meet."""

    def __init__(
        self,
        dice: random.Random,
        timing: LeaseTiming = TIMING,
        make: Callable[[LeaseTiming, int, int], PlcWitness] = PlcWitness,
        drift_ppm: int = 1_000,
    ) -> None:
        self.dice, self.timing, self.make = dice, timing, make
        self.faults = {name: Faults() for name in "ab"}
        self.now_ns = 0
        self.words = [0, 0, 0]
        self.boots = 0
        self.refuses = False
        self.deaf: set[str] = set()
        self.leases: list[tuple[int, int, str]] = []
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._until: dict[str, int] = {"a": 0, "b": 0}
        self.nodes = {
            name: Claimer(
                name,
                name == "a",
                name == "a",
                dice.randrange(-drift_ppm, drift_ppm + 1),
                dice.randrange(0, 1_000 * NS_PER_S),
                make(timing, 0, 0),
            )
            for name in "ab"
        }
        for node in self.nodes.values():
            self.restart(node)

    # ------------------------------------------------------------------------------ clocks

    def local(self, node: Claimer) -> int:
        return node.offset_ns + self.now_ns * (MILLION + node.drift_ppm) // MILLION

    def real(self, node: Claimer, local_ns: int) -> int:
        return (local_ns - node.offset_ns) * MILLION // (MILLION + node.drift_ppm)

    def at(self, wait_ns: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now_ns + max(0, wait_ns), next(self._order), act))

    def run(self, for_ns: int) -> None:
        end_ns = self.now_ns + for_ns
        while self._queue and self._queue[0][0] <= end_ns:
            self.now_ns, _, act = heapq.heappop(self._queue)
            act()
        self.now_ns = end_ns

    # ------------------------------------------------------------------------------- nodes

    def restart(self, node: Claimer) -> None:
        """The process dies and a new one starts; what it sent may still arrive."""
        node.generation += 1
        node.connection += 1
        node.unread.clear()
        node.frozen = node.held = False
        node.machine = self.make(self.timing, self.dice.randrange(1 << 31), self.local(node))
        self.feed(node, Peer(node.lower, node.gives_way))

    def feed(self, node: Claimer, event: Event) -> None:
        if node.frozen:
            node.unread.append(event)
            return
        for effect in node.machine.step(self.local(node), event):
            self._carry_out(node, effect)
        node.wake += 1
        wake, due_ns = node.wake, node.machine.due_ns
        if due_ns < NEVER_NS:
            wait_ns = due_ns - self.local(node)
            self.at(max(wait_ns, NS_PER_MS), lambda: self._tick(node, wake))

    def _tick(self, node: Claimer, wake: int) -> None:
        if node.wake == wake:
            self.feed(node, Tick())

    def thaw(self, node: Claimer) -> None:
        """Everything that lies unread is met at once, in an order of chance."""
        node.frozen = False
        unread, node.unread = node.unread, []
        self.dice.shuffle(unread)
        for event in [*unread, Tick()]:
            self.feed(node, event)

    def _carry_out(self, node: Claimer, effect: Effect) -> None:
        if isinstance(effect, Vote):
            self._judge(node, effect.until_ns)
        else:
            self._send(node, effect)

    def _judge(self, node: Claimer, until_ns: int) -> None:
        if not until_ns:
            node.held = False
            return
        other = "b" if node.name == "a" else "a"
        free_ns = self._until[other]
        if not node.held:
            node.held = True
            node.gained += 1
            if free_ns:
                free_ns += self.timing.flight_ns * 999 // 1000
        told = "\n".join(f"{t} {n} until {u}" for t, u, n in self.leases[-8:])
        assert self.now_ns >= free_ns, f"{node.name} at {self.now_ns}, {other}'s ends:\n{told}"
        self._until[node.name] = max(self._until[node.name], self.real(node, until_ns))
        self.leases.append((self.now_ns, self._until[node.name], node.name))

    def holders(self) -> list[str]:
        return [n.name for n in self.nodes.values() if self.local(n) < n.machine.until_ns]

    # ------------------------------------------------------------------- the way to the PLC

    def _send(self, node: Claimer, request: Read | Write) -> None:
        dice, faults = self.dice, self.faults[node.name]
        generation, connection, boots = node.generation, node.connection, self.boots
        answered = [False]

        def give_up() -> None:
            # The shell's time-out: the connection goes, what is under way may still arrive.
            if node.generation == generation and not answered[0]:
                answered[0] = True
                node.connection += 1
                self.feed(node, Failure(request.number, "no answer"))

        def answer(event: Event) -> None:
            if node.generation == generation and not answered[0]:
                answered[0] = True
                self.feed(node, event)

        def execute() -> None:
            if self.boots != boots:
                return  # its connection died with the PLC
            if self.refuses:
                self.at(
                    self._way_ns(faults), lambda: answer(Failure(request.number, "refused", True))
                )
                return
            words: tuple[int, ...] = ()
            if isinstance(request, Write):
                self.words[request.register] = request.word
            else:
                words = tuple(self.words)
            reply = Reply(request.number, connection, words)
            if dice.random() >= faults.loss and node.name not in self.deaf:
                self.at(self._way_ns(faults), lambda: answer(reply))

        timeout_ns = request.timeout_ns * MILLION // (MILLION + node.drift_ppm)
        self.at(timeout_ns, give_up)
        if node.name in self.deaf:
            return
        if dice.random() < faults.late:
            self.at(dice.randrange(1, 4 * NS_PER_S), execute)
        elif dice.random() >= faults.loss:
            self.at(self._way_ns(faults), execute)

    def _way_ns(self, faults: Faults) -> int:
        if self.dice.random() < faults.slow:
            return self.dice.randrange(1, faults.slow_ns)
        return self.dice.randrange(1, faults.quick_ns + 1)

    # ------------------------------------------------------------------------------ trouble

    def reboot(self) -> None:
        """The PLC starts anew: registers zero, every connection gone."""
        self.boots += 1
        self.words = [0, 0, 0]
        for node in self.nodes.values():
            node.connection += 1

    def disturb(self) -> None:
        """One thing happens."""
        dice = self.dice
        node = self.nodes[dice.choice("ab")]
        kind = dice.choice(
            ["claim", "claim", "claim", "release", "freeze", "restart", "reboot", "way", "deaf"]
        )
        if node.frozen:
            self.thaw(node)
        elif kind == "claim":
            self.feed(node, Claim())
        elif kind == "release":
            self.feed(node, Release())
        elif kind == "freeze":
            node.frozen = True
        elif kind == "restart":
            self.restart(node)
        elif kind == "reboot" and dice.random() < 0.3:
            self.reboot()
        elif kind == "deaf":
            self.deaf ^= {node.name}
        elif kind == "way":
            faults = self.faults[node.name]
            faults.loss = dice.choice([0.0, 0.1, 0.3])
            faults.late = dice.choice([0.0, 0.1, 0.3])
            faults.slow = dice.choice([0.0, 0.2, 0.7])
            faults.slow_ns = dice.choice([1, 2, 6]) * self.timing.timeout_ns // 2
            faults.quick_ns = dice.choice([1, 10, 60]) * NS_PER_MS

    def heal(self) -> None:
        """All is well from now on, and both want the vote."""
        self.faults = {name: Faults() for name in "ab"}
        self.deaf.clear()
        self.refuses = False
        for node in self.nodes.values():
            if node.frozen:
                self.thaw(node)
            self.feed(node, Claim())
