"""The role machine's state, and the few acts that all its rules are made of.

Acts only collect effects; nothing here decides. `move` is the only place that changes the role, and
it obeys `MOVES`. A promotion takes two steps: `claim` asks for a term, and only when that is
committed (`TermBegun`) does the role change, provided that the reason for it still holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.model import NS_PER_MS, Term
from gateway.pair.arbitration import Candidate, Outcome, Reigning, start_rule
from gateway.pair.events import (
    Alarm,
    Answer,
    BeginTerm,
    ClaimWitness,
    CloseEndpoint,
    CloseField,
    Effect,
    Exit,
    JournalRole,
    OpenEndpoint,
    OpenField,
    ReleaseWitness,
)
from gateway.pair.heartbeat import Due, Grant, Heartbeat, Refusal, Ruling
from gateway.pair.peer import Peer
from gateway.pair.reign import Reign
from gateway.pair.roles import MOVES, WITNESS_EFFECTS, Cause, Cell, PeerView, Witness
from gateway.pair.words import Field, Identity, Role, Timing


class Ground(StrEnum):
    """What a claim rests on; looked at again when its term is committed."""

    PEER_GONE = "peer gone"
    CONSENT = "the peer's consent"
    ALONE = "nobody heard"
    GRANT = "grant"
    RESUME = "resumed"
    RENEW = "renewed"


@dataclass(frozen=True, slots=True)
class Claim:
    """A term was asked for; given up at `until_ns`."""

    number: int
    ground: Ground
    why: str
    until_ns: int
    next_due: tuple[Due, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A term that a Main needs, asked for until it has it: RESUME (it stopped polling) or RENEW."""

    ground: Ground
    why: str
    next_due: tuple[Due, ...] = ()


@dataclass(frozen=True, slots=True)
class Handing:
    """The Main stops polling to hand over, or to leave (`alone`); `by_ns` bounds the draining."""

    why: str
    by_ns: int
    alone: bool = False
    commanded: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant is out; this node claims nothing before it is answered or `until_ns`."""

    grant: Grant
    until_ns: int
    why: str
    commanded: bool


class Core:
    """State and acts; times are ns of the node's monotonic clock."""

    def __init__(
        self,
        identity: Identity,
        timing: Timing,
        now_ns: int,
        coverage_end_ns: int = 0,
        term_seen: int = 0,
    ) -> None:
        self.identity = identity
        self.timing = timing
        self.role = Role.STARTING
        self.term: Term | None = None
        self.term_seen = term_seen
        self.coverage_end_ns = coverage_end_ns
        self.peer = Peer(identity, timing, now_ns)
        self.reign = Reign(timing, identity.witnessed)
        self.no_main_since_ns = now_ns
        self.changed_ns = self.taken_ns = now_ns
        self.field = Field.UNKNOWN
        self.field_ns = now_ns
        self.collected_ns = -1
        self.store_works = True
        self.term_failed = False
        self.vetoed = False
        self.paused = False
        self.pause_version = 0
        self.arbitrations = 0
        self.claim_pending: Claim | None = None
        self.wanted: Wanted | None = None
        self.retry_ns = now_ns
        self.handing: Handing | None = None
        self.granted: Granted | None = None
        self.refusal: Refusal | None = None
        self.taken: Term | None = None
        self.ruling: Ruling | None = None
        self.rival: Term | None = None
        self.clocks_apart = False
        self.probed_for_main = False
        self.probed_ns: int | None = None
        self.witness_asked = False
        self.reigned_last = False
        self.promised_until_ns = now_ns
        self.stopping = False
        self.ended = False
        self.why = "started"
        self.alarmed = ""
        self.out: list[Effect] = []
        self.speak = True
        self.seq = 0
        self.stepped_ns = now_ns

    # ---------------------------------------------------------------------------- looking

    def view(self, now_ns: int) -> PeerView:
        """The peer as it looks now."""
        return self.peer.view(now_ns, self.timing.patience_ns(self.arbitrations))

    def witness(self, now_ns: int) -> Witness:
        """The witness's vote; a peer declared absent counts as one."""
        if not self.identity.witnessed:
            return Witness.NONE
        return Witness.HELD if self.reign.holds_vote(now_ns) else Witness.LOST

    def cell(self, now_ns: int) -> Cell:
        """The situation, as the table has it."""
        links = self.peer.links(now_ns)
        return Cell(self.role, self.view(now_ns), links, self.witness(now_ns))

    def may_send(self, now_ns: int) -> bool:
        """Whether a request may leave for the field now: asked before its bytes do, each time."""
        return self.role is Role.MAIN and now_ns < self.reign.until_ns

    def writes_proven(self, now_ns: int, alone: bool) -> str | None:
        """Why a write to the field must be refused now, or None (rules.md 9).

        `alone` is what `writes_alone` of the site allows: a write while neither the peer nor a
        witness proves that this is the only Main.
        """
        if self.role is not Role.MAIN:
            return f"this node is {self.role.shown}: write to the Main"
        if not self.may_send(now_ns):
            return "the reign of this node ran out"
        if not self.identity.linked:
            return None
        if self.view(now_ns) is PeerView.MAIN and self.peer.heard(now_ns):
            return "both nodes are Main: wait until one of them yields"
        if alone or self.reign.absent or self.identity.witnessed or self.peer.hears_me(now_ns):
            return None
        return "the peer is not heard, so it may be Main too (writes_alone: refuse)"

    def status(self, now_ns: int) -> dict[str, Any]:
        """What a person wants to know of the role; ages and lengths in ms."""
        last, peer = self.peer.last, self.peer
        is_main = self.role is Role.MAIN
        return {
            "role": self.role.name.lower(),
            "role_shown": self.role.shown,
            "why": self.why,
            "role_age_ms": (now_ns - self.taken_ns) // NS_PER_MS,
            "term": str(self.term) if self.term else None,
            "may_send": self.may_send(now_ns),
            "reign_left_ms": max(0, self.reign.until_ns - now_ns) // NS_PER_MS if is_main else 0,
            "proven": self.reign.proven(now_ns),
            "witness": self.witness(now_ns).value,
            "paused": self.paused,
            "vetoed": self.vetoed,
            "able": self.able,
            "field": self.field.name.lower(),
            "priority": self.identity.priority,
            "arbitrations": self.arbitrations,
            "patience_ms": self.timing.patience_ns(self.arbitrations) // NS_PER_MS,
            "handing_over": self.handing.why if self.handing else None,
            "granted": self.granted.why if self.granted else None,
            "stopping": self.stopping,
            "peer_view": self.view(now_ns).value,
            "peer_absent": self.reign.absent,
            "peer": _told(last, now_ns - peer.heard_ns) if last else None,
            "links": peer.links(now_ns).value,
            "clock_ahead_ms": peer.clock_ahead_ns / NS_PER_MS,
            "rtt_ms": peer.round_trip_ns / NS_PER_MS,
            "clocks_apart": self.clocks_apart,
        }

    def ready_standby(self, now_ns: int) -> Heartbeat | None:
        """The peer's last word, when it is a synced Standby that hears this node."""
        last = self.peer.last
        if last is None or last.role is not Role.SYNCED or not self.peer.hears_me(now_ns):
            return None
        return last if self.view(now_ns) is PeerView.STANDBY else None

    def candidate(self) -> Candidate:
        """This node in the start rule."""
        me = self.identity
        return self._candidate(self.able, self.role, self.coverage_end_ns, me.priority, me.node)

    def _candidate(
        self, able: bool, role: Role, end_ns: int, priority: int, node: str
    ) -> Candidate:
        # While paused no Standby takes over, so being synced gives no right to.
        return Candidate(able, role is Role.SYNCED and not self.paused, end_ns, priority, node)

    def reigning(self, now_ns: int) -> Reigning:
        """This node in Main-Main."""
        age_ns = now_ns - self.collected_ns if self.collected_ns >= self.reign.began_ns else -1
        me = self.identity
        return Reigning(age_ns, me.priority, now_ns - self.reign.began_ns, me.node)

    def rival_reigning(self, now_ns: int, last: Heartbeat) -> Reigning:
        """The other Main in Main-Main, by its last word."""
        reign_ns = last.reign_ns + self.peer.age_ns(now_ns)
        return Reigning(last.collected_age_ns, last.priority, reign_ns, last.node)

    @property
    def term_number(self) -> int:
        """The number of this node's latest term as Main, 0 before its first."""
        return self.term.number if self.term else 0

    @property
    def able(self) -> bool:
        """Whether this node could begin a term, as far as it knows."""
        return self.store_works and not self.term_failed

    # -------------------------------------------------------------------------------- acts

    def do(self, effect: Effect) -> None:
        """Add an effect to this step's."""
        self.out.append(effect)

    def alarm(self, text: str) -> None:
        """Tell a person, once until something else is told."""
        if text != self.alarmed:
            self.alarmed = text
            self.do(Alarm(text))

    def ask_witness(self) -> None:
        """Claim the witness's vote, once until it is released."""
        if self.identity.witnessed and not self.witness_asked:
            self.witness_asked = True
            self.do(ClaimWitness())

    def release_witness(self) -> None:
        """Stop claiming the witness's vote."""
        if self.witness_asked:
            self.witness_asked = False
            self.do(ReleaseWitness())
        self.reign.witness_until_ns = 0

    def claim(self, now_ns: int, ground: Ground, why: str, next_due: tuple[Due, ...] = ()) -> None:
        """Ask for a new term, unless one is asked for or the last attempt just failed."""
        if self.claim_pending is not None or now_ns < self.retry_ns or self.stopping:
            return
        self.term_seen += 1
        until_ns = now_ns + self.timing.startup_wait_ns
        self.claim_pending = Claim(self.term_seen, ground, why, until_ns, next_due)
        self.do(BeginTerm(self.term_seen, why))
        self.speak = True

    def want(self, ground: Ground, why: str, next_due: tuple[Due, ...] = ()) -> None:
        """A Main needs a new term; one that it stopped polling for is never forgotten."""
        if self.wanted is None or self.wanted.ground is not Ground.RESUME:
            self.wanted = Wanted(ground, why, next_due)

    def move(self, now_ns: int, cause: Cause, why: str, next_due: tuple[Due, ...] = ()) -> None:
        """Change the role as `MOVES` has it. Raises KeyError for a change that does not exist."""
        move = MOVES[self.role, cause]
        was_main, self.role = self.role is Role.MAIN, move.target
        self.why = why
        self.changed_ns = self.taken_ns = now_ns
        self.claim_pending = self.handing = None
        self.alarmed = ""
        self.speak = True
        if move.target is not Role.MAIN:
            self.wanted = self.ruling = self.rival = None
        if was_main and move.target is not Role.MAIN:
            self.no_main_since_ns = now_ns
            self.peer.restart(now_ns)
        for kind in move.effects:
            if kind is JournalRole:
                self.do(JournalRole(self.role, self.term, why))
            elif kind is OpenField and self.term is not None:
                self.do(OpenField(self.term, next_due))
            elif kind in WITNESS_EFFECTS:
                self.release_witness()
            elif kind in (CloseField, CloseEndpoint, OpenEndpoint, Exit):
                self.do(kind())
        self.ended = cause is Cause.STOPPED

    def answer(self, accepted: bool, text: str) -> None:
        """Tell what became of a command."""
        self.do(Answer(accepted, text))

    def heartbeat(self, now_ns: int) -> Heartbeat:
        """What this node has to say now."""
        self.seq += 1
        last = self.peer.last
        is_main = self.role is Role.MAIN
        reigning = self.reigning(now_ns)
        return Heartbeat(
            site=self.identity.site,
            node=self.identity.node,
            boot=self.identity.boot,
            seq=self.seq,
            role=self.role,
            term=self.term,
            term_seen=self.term_seen,
            coverage_end_ns=self.coverage_end_ns,
            field=self.field,
            able=self.able,
            hears_you=self.peer.heard(now_ns),
            consent=self.consents(now_ns),
            priority=self.identity.priority,
            reign_ns=reigning.reign_ns if is_main else 0,
            collected_age_ns=reigning.collected_age_ns if is_main else -1,
            sent_ns=now_ns,
            echo_boot=last.boot if last else 0,
            echo_ns=last.sent_ns if last else 0,
            held_ns=now_ns - self.peer.heard_ns if last else 0,
            paused=self.paused,
            pause_version=self.pause_version,
            grant=self.granted.grant if self.granted else None,
            refusal=self.refusal,
            ruling=self.ruling,
            goodbye=self.ended,
        )

    def consents(self, now_ns: int) -> bool:
        """Whether this node promises not to claim while the peer's last heartbeat is fresh."""
        if self.role is Role.MAIN or self.claim_pending is not None:
            return False
        if self.granted is not None or self.view(now_ns) is PeerView.MAIN:
            return True
        outcome = self.start_outcome()
        lost = outcome is not None and outcome.winner != self.identity.node
        # To a peer that doesn't hear it a promise is worth nothing, and would bind this node.
        return lost and self.peer.hears_me(now_ns)

    def start_outcome(self) -> Outcome | None:
        """Who wins the start rule between the two, None before the peer was ever heard."""
        last = self.peer.last
        if last is None:
            return None
        other = self._candidate(
            last.able, last.role, last.coverage_end_ns, last.priority, last.node
        )
        return start_rule(self.candidate(), other)

    def bound(self, now_ns: int) -> bool:
        """Whether a consent given still binds; a goodbye frees from it."""
        last = self.peer.last
        return now_ns < self.promised_until_ns and not (last is not None and last.goodbye)


def _told(last: Heartbeat, age_ns: int) -> dict[str, Any]:
    return {
        "node": last.node,
        "role": last.role.name.lower(),
        "role_shown": last.role.shown,
        "term": str(last.term) if last.term else None,
        "field": last.field.name.lower(),
        "priority": last.priority,
        "able": last.able,
        "hears_this_node": last.hears_you,
        "heard_ms_ago": age_ns // NS_PER_MS,
    }
