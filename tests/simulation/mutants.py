"""Ways to be wrong, each by a subclass: judges that don't see them are blind."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from gateway.driver import Lacking, LogPage, LogWanted
from gateway.errors import DeviceError
from gateway.journal.records import Adopted, Body, Coverage, Fill, Record
from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair import events as ev
from gateway.pair.arbitration import arbitrate
from gateway.pair.heartbeat import Ruling
from gateway.pair.machine import Machine
from gateway.pair.roles import CELLS, Cause, PeerView, Verdict, Witness
from gateway.pair.votes import LeaseTiming
from gateway.pair.words import Role, Timing
from gateway.replication.gate import GateEffect, Release, SyncGate
from gateway.windback.forgetting import Forgetting
from gateway.windback.reading import Ports
from gateway.windback.runner import Runner
from tests.simulation.conditions import LAG_NS, Conditions
from tests.simulation.field import SimField
from tests.simulation.logs import LogKept
from tests.simulation.node import Parts
from tests.simulation.store import Store, Ticket
from tests.simulation.world import TIMING

MS = NS_PER_MS


class LongReign(Timing):
    """A reign outlasts the Standby's patience."""

    @property
    def reign_ns(self) -> int:
        return self.takeover_after_ns * 6 // 5


class Loner(Machine):
    """A claim's ground is not looked at again when its term is committed."""

    blind = False

    def step(self, now_ns: int, event: ev.Event) -> tuple[ev.Effect, ...]:
        self.blind = isinstance(event, ev.TermBegun)
        return super().step(now_ns, event)

    def view(self, now_ns: int) -> PeerView:
        blind = self.blind and self.role is not Role.MAIN
        return PeerView.SILENT if blind else super().view(now_ns)


class Sleepless(Timing):
    """No step is ever late: what lies unread after a freeze counts as silence."""

    @property
    def late_ns(self) -> int:
        return 1 << 62


class EarlyAck(Store):
    """What the peer sent is acknowledged before it is committed."""

    def adopt(self, records: Sequence[Adopted], then: Callable[[str | None], None]) -> None:
        super().adopt(records, _nothing)
        then(None)


class Numbered(Store):
    """Terms are told apart by number and node alone."""

    def _open_term(self, number: int) -> None:
        super()._open_term(number)
        if number:
            self.term = self.term._replace(nonce=0)


class Fickle(Machine):
    """A consent binds nobody."""

    def bound(self, now_ns: int) -> bool:
        return False


class Voteless(Machine):
    """Nobody's vote is needed."""

    def witness(self, now_ns: int) -> Witness:
        self.reign.absent = self.identity.witnessed
        return Witness.HELD if self.identity.witnessed else Witness.NONE


class BothJudge(Machine):
    """In Main-Main each node decides by itself, and obeys itself."""

    def _decide(self, now_ns: int) -> None:
        last = self.peer.last
        if (
            CELLS[self.cell(now_ns)] is Verdict.ARBITRATE
            and last is not None
            and last.term is not None
            and self.identity.node > last.node
            and self.ruling is None
        ):
            outcome = arbitrate(self.reigning(now_ns), self.rival_reigning(now_ns, last))
            if outcome.winner == self.identity.node:
                self.ruling = Ruling(last.term, outcome.why)
            else:
                self.move(now_ns, Cause.YIELDED, outcome.why)
        super()._decide(now_ns)


class Hasty(Store):
    """Coverage is committed before the batches that it speaks of."""

    def append(self, body: Body) -> Ticket:
        ticket = super().append(body)
        if isinstance(body, Coverage) and self._queue and self._queue[-1] is ticket:
            self._queue.rotate(1)
        return ticket

    def _write(self, group: list[Ticket]) -> None:
        claims = [ticket for ticket in group if isinstance(ticket.item, Coverage)]
        if claims and len(claims) < len(group):
            self._queue.extendleft(reversed([t for t in group if t not in claims]))
            group = claims
        super()._write(group)


class Proud(Store):
    """Nobody is ever behind."""

    def append(self, body: Body) -> Ticket:
        if isinstance(body, Coverage):
            body = structs.replace(body, behind=())
        return super().append(body)


class Boastful(Store):
    """A full disk: what was claimed waits, and is stored when there is room again."""

    def _shed(self) -> None:
        claims = [ticket for ticket in self._queue if isinstance(ticket.item, Coverage)]
        super()._shed()
        self._queue.extend(ticket for ticket in claims if ticket not in self._queue)

    def _refuse_claims(self) -> None:
        pass


class Careless(Store):
    """What was judged of a log is committed before its samples, and does not name them."""

    def append(self, body: Body) -> Ticket:
        if isinstance(body, Fill):
            body = structs.replace(body, span=0)
        return super().append(body)

    def _write(self, group: list[Ticket]) -> None:
        fills = [ticket for ticket in group if isinstance(ticket.item, Fill)]
        if fills and len(fills) < len(group):
            self._queue.extendleft(reversed([t for t in group if t not in fills]))
            group = fills
        super()._write(group)


class Forgetful(Store):
    """A full disk: what was judged waits, and is stored when there is room again."""

    def _shed(self) -> None:
        fills = [ticket for ticket in self._queue if isinstance(ticket.item, Fill)]
        self._queue = deque(ticket for ticket in self._queue if ticket not in fills)
        super()._shed()
        self._queue.extend(fills)

    def _refuse_claims(self) -> None:
        fills = [ticket for ticket in self._queue if isinstance(ticket.item, Fill)]
        super()._refuse_claims()
        self._queue.extend(fills)


class Resigned(Runner):
    """A log that could not be read holds nothing."""

    def __init__(self, ports: Ports, forgetting: Forgetting) -> None:
        async def read_log(
            device: str, wanted: LogWanted, share: float
        ) -> AsyncGenerator[LogPage, None]:
            from_ns = wanted.from_ns
            try:
                async with aclosing(ports.read_log(device, wanted, share)) as pages:
                    async for page in pages:
                        from_ns = page.through_ns
                        yield page
            except DeviceError:
                lacking = (Lacking(from_ns, wanted.to_ns, "it does not answer"),)
                yield LogPage(from_ns, wanted.to_ns, lacking=lacking)

        super().__init__(replace(ports, read_log=read_log), forgetting)


class Unmindful(Runner):
    """The device's clock is taken for right."""

    def __init__(self, ports: Ports, forgetting: Forgetting) -> None:
        async def read_log(
            device: str, wanted: LogWanted, share: float
        ) -> AsyncGenerator[LogPage, None]:
            async with aclosing(ports.read_log(device, wanted, share)) as pages:
                async for page in pages:
                    offset_ns = 0 if page.clock is None else page.clock.offset_ns
                    seen = [o._replace(time_ns=o.time_ns + offset_ns) for o in page.observations]
                    yield replace(page, observations=seen)

        super().__init__(replace(ports, read_log=read_log), forgetting)


class Hurried(Forgetting):
    """A log is acknowledged as soon as it is read."""

    async def _may(self, *_: Any) -> bool:
        return True


class Terse(SimField):
    """A new term does not state what is in force."""

    def turn(self) -> None:
        pass


class OpenGate(SyncGate):
    """In sync mode clients see values at once."""

    def committed(self, records: Sequence[Record], stored: bool, now_ns: int) -> list[GateEffect]:
        super().committed(records, stored, now_ns)
        return [Release(records, stored)]


def impatient(takeover_after_ns: int) -> LeaseTiming:
    """A claim does not wait for the other's lease to end."""
    timing = LeaseTiming.of(takeover_after_ns)
    object.__setattr__(timing, "watch_ns", timing.renew_ns * 2)
    return timing


def _nothing(error: str | None) -> None:
    del error


@dataclass(frozen=True)
class Mutant:
    """A way to be wrong, in what surroundings it shows, and which judge says so."""

    parts: Parts
    conditions: Conditions
    judge: str
    seeds: Sequence[int]


def _under(*faults: str, **more: Any) -> Conditions:
    conditions = Conditions(-1, faults=faults, pace_ns=900 * MS, safety_ns=20 * NS_PER_S)
    for name, value in more.items():
        setattr(conditions, name, value)
    return conditions


_REAL = Parts(timing=TIMING)
LOGS = {"pump": LogKept(500 * MS, 60), "tank": LogKept(250 * MS, 60)}
MUTANTS: dict[str, Mutant] = {
    "reign longer than patience": Mutant(
        replace(_REAL, timing=LongReign(field_lost_after_ns=3 * NS_PER_S)),
        _under("freeze"),
        "exclusion",
        range(1, 12),
    ),
    "late steps decide": Mutant(
        replace(_REAL, machine=Loner, timing=Sleepless()),
        _under("nap", pace_ns=2 * NS_PER_S),
        "exclusion",
        range(1, 12),
    ),
    "acknowledged before the commit": Mutant(
        replace(_REAL, store=EarlyAck),
        _under("crash", "wipe", "kill", sync=True, commit_ns={"a": 5 * MS, "b": 100 * MS}),
        "seen",
        range(20, 60),
    ),
    "terms without nonce": Mutant(
        replace(_REAL, store=Numbered),
        _under("restore", "blackout", "wipe"),
        "positions",
        range(1, 60),
    ),
    "promises not kept": Mutant(
        replace(_REAL, machine=Fickle),
        _under("field", "firewall", witness="plc"),
        "exclusion",
        range(1, 60),
    ),
    "no votes": Mutant(
        replace(_REAL, machine=Voteless),
        _under("cut", witness="plc"),
        "exclusion",
        range(1, 12),
    ),
    "both judge": Mutant(
        replace(_REAL, machine=BothJudge),
        _under("blink", pace_ns=2 * NS_PER_S, delay_ns=60 * MS),
        "main-main",
        range(1, 60),
    ),
    "claimed before stored": Mutant(
        replace(_REAL, store=Hasty),
        _under("crash", commit_ns={"a": 900 * MS, "b": 900 * MS}),
        "history",
        range(1, 30),
    ),
    "claimed though behind": Mutant(
        replace(_REAL, store=Proud),
        _under("kill", lag_ns={"tank": LAG_NS}, pace_ns=3 * NS_PER_S),
        "history",
        range(1, 30),
    ),
    "claimed though not stored": Mutant(
        replace(_REAL, store=Boastful), _under("disk"), "history", range(1, 12)
    ),
    "judged before stored": Mutant(
        replace(_REAL, store=Careless),
        _under("crash", "device", logs=LOGS, commit_ns={"a": 300 * MS, "b": 300 * MS}),
        "history",
        range(1, 60),
    ),
    "judged though not stored": Mutant(
        replace(_REAL, store=Forgetful),
        _under("disk", "device", logs=LOGS, commit_ns={"a": 300 * MS, "b": 300 * MS}),
        "history",
        range(1, 60),
    ),
    "a log that does not answer is empty": Mutant(
        replace(_REAL, runner=Resigned),
        _under("device", "kill", logs=LOGS, field_loss=0.1),
        "lost",
        range(1, 30),
    ),
    "a device's clock is taken for right": Mutant(
        replace(_REAL, runner=Unmindful),
        _under("device", logs={"tank": LogKept(500 * MS, 60, offset_ns=900 * MS)}),
        "history",
        range(1, 12),
    ),
    "acknowledged before it is safe": Mutant(
        replace(_REAL, forgetting=Hurried),
        _under("device", "follow", logs={"tank": LogKept(250 * MS, 200, forgets=True)}),
        "forgotten",
        range(1, 12),
    ),
    "terms begun without values": Mutant(
        replace(_REAL, field=Terse), _under("cut", "step"), "history", range(1, 12)
    ),
    "sync shows at once": Mutant(
        replace(_REAL, gate=OpenGate),
        _under("wipe", sync=True, delay_ns=80 * MS),
        "seen",
        range(1, 30),
    ),
    "claims that do not wait": Mutant(
        replace(_REAL, lease=impatient),
        _under("cut", "freeze", witness="plc"),
        "exclusion",
        range(1, 12),
    ),
}
