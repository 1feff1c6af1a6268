"""One seed, one world: faults in the safety phase, then healing, then peace, then judges."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from gateway.journal.coverage import complete_ns
from gateway.journal.holdings import difference
from gateway.model import NS_PER_MS, NS_PER_S, Gap, GapState, Position, Term
from gateway.pair import events as ev
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.words import Role, Timing
from tests.simulation.agenda import Agenda
from tests.simulation.conditions import SPLIT_FAULTS, Conditions, drawn
from tests.simulation.declared import gaps_now
from tests.simulation.faults import mend, strike
from tests.simulation.logs import Logged
from tests.simulation.net import Net
from tests.simulation.node import Flight, Host, Parts, Process, Shown
from tests.simulation.plant import Plant, Plc, Request

MS = NS_PER_MS
S = NS_PER_S
TIMING = Timing(field_lost_after_ns=3 * S, stable_ns=60 * S)
REAL = Parts(timing=TIMING)
SETTLE_NS = 15 * S
"""After healing: one Main, and a synced Standby, within this."""
QUIET_NS = 4 * S
"""Without polling: equal journals within this."""
WOUND_NS = 60 * S
"""After that no gap from before it is open where devices keep logs: within this."""
CLAIMED_NS = 3 * S
"""By then every class claims what it was asked before, or has a hole."""
PASSES_NS = TIMING.takeover_after_ns // 5
"""What a reign leaves room for: a heartbeat under way for longer, or lost, is a moment's split."""
CALM_NS = 2 * S
"""After healing a Main-Main is over within this."""


@dataclass(slots=True)
class Fault:
    """A fault of a calm world: what, when, who was Main then, whether its Standby was synced.

    `reigned_ns`: for how long it had been Main.
    """

    kind: str
    true_ns: int
    main: str | None
    synced: bool
    patient: bool
    reigned_ns: int


@dataclass
class World:
    """Everything of one seed; `run` lives through it, `problems` says what broke its promises."""

    seed: int
    parts: Parts = REAL
    conditions: Conditions = field(default_factory=lambda: Conditions(0))
    log: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    keep_log: bool = False

    def __post_init__(self) -> None:
        if self.conditions.seed == 0:
            self.conditions = drawn(self.seed)
        conditions = self.conditions
        self.agenda = Agenda(self.seed)
        self.net = Net(self.agenda, conditions.links)
        self.net.delay_ns, self.net.jitter_ns = conditions.delay_ns, conditions.jitter_ns
        self.net.loss, self.net.twice = conditions.loss, conditions.twice
        plcs = {"plc": 1, "plc3": 3}.get(conditions.witness, 0)
        self.plant = Plant(self.agenda, plcs=[Plc([0, 0, 0]) for _ in range(plcs)])
        self.plant.lag_ns = conditions.lag_ns
        self.logged = {device: Logged(device, kept) for device, kept in conditions.logs.items()}
        self.hosts = {node: Host(self, node) for node in "ab"}
        self.deaf_until_ns = 0
        self.healed_ns = 0
        self.settled_ns = 0
        self.shown: list[Shown] = []
        self.terms: list[Term] = []
        self.reigns: list[str] = []
        self.positions: dict[Position, bytes] = {}
        self.flights: dict[str, deque[Flight]] = {node: deque(maxlen=60) for node in "ab"}
        self.forgotten: dict[str, int] = {}
        self.faults: list[Fault] = []
        self.starts: dict[str, int] = {}
        self._healing = False
        self._duel = False

    # ------------------------------------------------------------------------------- its life

    def run(self) -> list[str]:
        """Live through it and judge it; what is wrong, nothing if all promises were kept."""
        try:
            return self._live()
        finally:
            self.end()

    def end(self) -> None:
        """Nothing happens in it any more, and what its processes hold is let go."""
        for process in self.processes():
            process.die()

    def _live(self) -> list[str]:
        from tests.simulation.judging import judged

        agenda, conditions = self.agenda, self.conditions
        for host in self.hosts.values():
            agenda.at(agenda.between(0, 2 * S), self.start, host)
        agenda.at(S, self.second)
        agenda.run(5 * S, self.watch)
        self._trouble(conditions)
        self._heal()
        self._settle()
        if not self.problems and self.logged:
            self._wind_back()
        if not self.problems:
            self.quieten()
        for host in self.hosts.values():
            host.clock.mark()
        self.problems += judged(self)
        return self.problems

    def _trouble(self, conditions: Conditions) -> None:
        agenda = self.agenda
        until_ns = agenda.now_ns + conditions.safety_ns
        while agenda.now_ns < until_ns:
            pace_ns = conditions.pace_ns
            wait_ns = pace_ns if conditions.calm else agenda.between(10 * MS, 2 * pace_ns)
            agenda.run(min(until_ns, agenda.now_ns + wait_ns), self.watch)
            if conditions.faults and agenda.now_ns < until_ns - S:
                kind = agenda.random.choice(conditions.faults)
                main = self.main()
                standby = None if main is None else self.other(main.host).process
                synced = standby is not None and standby.machine.role is Role.SYNCED
                node = None if main is None else main.node
                patient = standby is not None and standby.machine.arbitrations > 0
                reigned_ns = 0
                if main is not None:
                    reigned_ns = main.clock.monotonic_ns() - main.machine.taken_ns
                self.faults.append(Fault(kind, agenda.now_ns, node, synced, patient, reigned_ns))
                strike(self, kind)

    def _heal(self) -> None:
        self.healed_ns = self.agenda.now_ns
        self._healing = True
        self.tell("world", "heals")
        mend(self)

    def _settle(self) -> None:
        agenda = self.agenda
        deadline_ns = agenda.now_ns + SETTLE_NS
        good_from_ns: int | None = None
        while agenda.now_ns < deadline_ns:
            agenda.run(agenda.now_ns + 100 * MS, self.watch)
            if any(host.process is None for host in self.hosts.values()):
                mend(self)  # a fault that was under way, or a clean exit
            roles = self.roles()
            if sorted(roles.values()) != [Role.SYNCED, Role.MAIN] or not self._polls():
                good_from_ns = None
            elif good_from_ns is None:
                good_from_ns = agenda.now_ns
            elif agenda.now_ns - good_from_ns >= 3 * S:
                return
        shown = {node: role.shown for node, role in self.roles().items()}
        polls = "" if self._polls() else "; nobody polls"
        self.problem("liveness", f"{SETTLE_NS // S} s after healing: {shown}{polls}")

    def _polls(self) -> bool:
        """Whether each device was asked within the last seconds."""
        recent = [r.device for r in self.plant.requests if r.sent_ns > self.agenda.now_ns - 3 * S]
        return {"pump", "tank"} <= set(recent[-40:])

    def _wind_back(self) -> None:
        """What was missed until the world was well again is judged within a bounded time.

        A Main claims nothing of the time that the other's clock is ahead: that is waited for, too.
        """
        agenda, main = self.agenda, self.main()
        assert main is not None
        self.settled_ns = main.clock.utc_ns()
        utc = [process.clock.utc_ns() for process in self.processes()]
        deadline_ns = agenda.now_ns + WOUND_NS + max(utc) - min(utc)
        agenda.run(agenda.now_ns + CLAIMED_NS, self.watch)
        while (open_gaps := self._open_gaps(main)) or not self._has_claimed(main):
            main = self.main() or main  # there may be a failback
            if agenda.now_ns >= deadline_ns:
                status = main.windback.runner.status()
                self.problem("windback", f"still open: {open_gaps[:2]}, {status}")
                return
            agenda.run(agenda.now_ns + 500 * MS, self.watch)
        self.tell("world", "no gap of a device with a log is open any more")

    def _has_claimed(self, main: Process) -> bool:
        """Whether all that was until the world was well again is told of: a class may be late."""
        claim = main.store.claim
        return claim is not None and complete_ns(claim) >= self.settled_ns

    def _open_gaps(self, main: Process) -> list[Gap]:
        now_ns = main.clock.utc_ns()
        return [
            gap
            for device in self.logged
            for gap in gaps_now(main.store, now_ns, device, 0, self.settled_ns)
            if gap.state is GapState.OPEN
        ]

    def quieten(self) -> None:
        """Polling ends; soon both journals are equal."""
        agenda = self.agenda
        main = self.main()
        assert main is not None
        main.windback.halt()
        main.field.halt()
        deadline_ns = agenda.now_ns + QUIET_NS
        while True:
            agenda.run(agenda.now_ns + 100 * MS, self.watch)
            found = self.differences()
            if not found:
                return
            if agenda.now_ns >= deadline_ns:
                self.problem("equality", f"the journals differ: {found[:3]}")
                return

    def differences(self) -> list[str]:
        """In what the journals of both processes differ."""
        mine, theirs = (host.process for host in self.hosts.values())
        if mine is None or theirs is None:
            return ["a node is down"]
        found = difference(mine.store.holdings.terms, theirs.store.holdings.terms)
        if mine.store.kept_summary() != theirs.store.kept_summary():
            found.append("kept records differ")
        return found

    # ------------------------------------------------------------------------------- watching

    def watch(self) -> None:
        """Look after each thing that happens: splits end, and with them Main-Main."""
        agenda, net = self.agenda, self.net
        self._watch_duel()
        if net.split and net.sound_from_ns >= 0 and agenda.now_ns - net.sound_from_ns > CALM_NS:
            sending = sum(p.may_send() and p.field.polling for p in self.processes())
            if sending < 2:
                net.split = False
            elif not self._troubled():
                self.problem("main-main", "both reign although the links are whole again")
                net.split = False

    def _watch_duel(self) -> None:
        """Two Mains that hear each other again: one stays, all the time."""
        sound = self.net.split and self.net.sound_from_ns >= 0
        if not sound or not set(self.conditions.faults) <= set(SPLIT_FAULTS):
            self._duel = False
            return
        reigning = [p for p in self.processes() if p.machine.role is Role.MAIN]
        if not reigning and self._duel:
            self.problem("main-main", "neither of two stayed Main")
        self._duel = len(reigning) == 2 or (self._duel and len(reigning) == 1)

    def _troubled(self) -> bool:
        return any(host.frozen for host in self.hosts.values()) or not self._healing

    def processes(self) -> list[Process]:
        """All that live."""
        return [host.process for host in self.hosts.values() if host.process is not None]

    def watch_request(self, process: Process, request: Request) -> None:
        """A request leaves for the field: nobody else may be about to send one."""
        self.plant.requests.append(request)
        other = self.other(process.host).process
        if other is None or not other.field.polling or not other.may_send():
            return
        request.others = other.node
        excused = self.conditions.witness == "none" and (self.net.split or self._lost_word(other))
        request.split = excused
        if not excused:
            self.problem("exclusion", f"{process.node} and {other.node} both send")

    def watch_forgetting(
        self, process: Process, device: str, through: int, true_ns: int, both: bool
    ) -> None:
        """A device forgets: what is needed of it must be safe."""
        from tests.simulation.judging_windback import unsafe

        self.tell(device, f"forgets its log through record {through}")
        for text in unsafe(self, process, device, range(through + 1), true_ns, both):
            self.problem("forgotten", text)

    def _lost_word(self, other: Process) -> bool:
        """Whether the network kept what the other node said to itself: that is a split, too."""
        now_ns, takeover_ns = self.agenda.now_ns, self.parts.timing.takeover_after_ns
        for flight in self.flights[other.node]:
            age_ns = now_ns - flight.sent_ns
            if PASSES_NS < age_ns < takeover_ns + S and flight.took_ns > PASSES_NS:
                self.net.split, self.net.sound_from_ns = True, now_ns
                return True
        return False

    def problem(self, judge: str, text: str) -> None:
        """A promise was broken."""
        if len(self.problems) < 10:
            self.problems.append(f"{judge}: {text} (at {self.agenda.now_ns / S:.3f} s)")
        self.tell("JUDGE", f"{judge}: {text}")

    def tell(self, who: str, text: str) -> None:
        """A line of the log."""
        if self.keep_log:
            self.log.append(f"{self.agenda.now_ns / S:8.3f}s {who:5} {text}")

    def effect(self, process: Process, effect: ev.Effect) -> None:
        """An effect was carried out."""
        if isinstance(effect, ev.OpenField):
            self.reigns.append(process.node)
        if self.keep_log:
            self.tell(process.node, show(effect))

    # ------------------------------------------------------------------------------ processes

    def other(self, host: Host) -> Host:
        """The other machine."""
        return self.hosts["b" if host.node == "a" else "a"]

    def main(self) -> Process | None:
        """A process that reigns."""
        return next((p for p in self.processes() if p.machine.role is Role.MAIN), None)

    def roles(self) -> dict[str, Role]:
        """Who is what; a dead one counts as starting."""
        return {
            node: host.process.machine.role if host.process else Role.STARTING
            for node, host in self.hosts.items()
        }

    def start(self, host: Host) -> None:
        """Begin a process, unless there is one."""
        if host.process is None:
            host.powered = True
            host.frozen = False
            self.tell(host.node, "starts")
            host.process = Process(host)
            host.process.store.on_commit.append(self._committed)

    def kill(self, host: Host) -> bool:
        """End a process at once; False if there is none."""
        process, host.process = host.process, None
        host.frozen = False
        if process is None:
            return False
        self.tell(host.node, "is killed")
        process.die()
        self.hang_up()
        return True

    def crash(self, host: Host) -> None:
        """A process dies while it writes."""
        if self.kill(host):
            self.agenda.at(self.agenda.between(100 * MS, 3 * S), self.start, host)

    def exited(self, host: Host) -> None:
        """A process ended by itself."""
        if self.kill(host):
            self.agenda.at(self.agenda.between(500 * MS, 4 * S), self.start, host)

    def thaw(self, host: Host) -> None:
        """SIGCONT."""
        if host.frozen:
            host.frozen = False
            self.tell(host.node, "wakes")
            if host.process is not None:
                host.process.wake()

    def forgot(self, host: Host) -> None:
        """A disk lost what it had."""
        self.forgotten[host.node] = self.agenda.now_ns

    def hang_up(self) -> None:
        """Every channel ends: one of its ends is dead."""
        for process in self.processes():
            process.pulls.hang_up()

    def arrive(self, sender: Process, link: str, heartbeat: Heartbeat) -> None:
        """A heartbeat gets to the other machine."""
        receiver = self.other(sender.host).process
        if receiver is not None:
            receiver.heard(link, heartbeat)

    def _committed(self, records: list[object], stored: bool) -> None:
        if not stored:
            return
        for record in records:
            known = self.positions.setdefault(record.position, record.digest)  # type: ignore[attr-defined]
            if known != record.digest:  # type: ignore[attr-defined]
                self.problem("positions", f"{record.position} is two records")  # type: ignore[attr-defined]

    def second(self) -> None:
        """Once a second every clock is disciplined."""
        self.agenda.at(S, self.second)
        for process in self.processes():
            process.enter(process.second)


def show(effect: ev.Effect) -> str:
    """An effect as the log has it."""
    name = type(effect).__name__
    match effect:
        case ev.BeginTerm():
            return f"{name} {effect.number}: {effect.why}"
        case ev.JournalRole():
            return f"{name} {effect.role.shown}: {effect.why}"
        case ev.JournalRuling():
            return f"{name} {effect.winner} over {effect.loser}: {effect.why}"
        case ev.NewTerm() | ev.OpenField():
            return f"{name} {effect.term}"
        case ev.Alarm() | ev.Answer():
            return f"{name}: {effect.text}"
        case _:
            return name
