"""The role machine: `step(now_ns, event) -> effects`. No clock, no chance, no I/O.

Rules
1. Time never runs backwards here, and a step comes at least each half heartbeat (`Tick`).
2. A step that comes late decides nothing: what lies unread on the links is fed first
   (`DrainLinks`) and silence is counted anew. A Main whose reign ran out meanwhile is no Main,
   whatever the event.
3. A role changes by `Core.move` only, along `MOVES`; the table `CELLS` says what a situation calls
   for after every event.
4. A term is committed before anything is done under it: `BeginTerm`, then `TermBegun`, then Main.
5. Each heartbeat sent moves the reign on, counted from the time of the step that sends it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.model import NS_PER_MS, Term
from gateway.pair.conduct import CONDUCT
from gateway.pair.core import Core, Ground
from gateway.pair.events import (
    Caught,
    Changeover,
    Drained,
    DrainLinks,
    Effect,
    Event,
    FieldSeen,
    Heard,
    JournalRole,
    NewTerm,
    Pause,
    PeerAbsent,
    Progress,
    Refused,
    Renew,
    SendHeartbeat,
    Stop,
    StoreState,
    TermBegun,
    TermFailed,
    Tick,
    Veto,
    WitnessVote,
    in_order,
)
from gateway.pair.handover import (
    claim_holds,
    drained,
    hand_over,
    hear_grant,
    hear_refusal,
    leave,
    refusal_of,
    refuse,
    watch_handover,
)
from gateway.pair.heartbeat import Heartbeat
from gateway.pair.roles import CELLS, Cause
from gateway.pair.words import RAN_OUT, RETRY_NS, Field, Role


class Machine(Core):
    """One node's role machine; the shell executes what `step` returns, in that order."""

    def step(self, now_ns: int, event: Event) -> tuple[Effect, ...]:
        """Take one event in and tell what to do; nothing after the process may end."""
        if self.ended:
            return ()
        now_ns = max(now_ns, self.stepped_ns)
        late = now_ns - self.stepped_ns >= self.timing.late_ns
        self.stepped_ns = now_ns
        self.out = []
        if late:
            self._wake(now_ns)
        if self.role is Role.MAIN and now_ns >= self.reign.until_ns:
            self._reign_over(now_ns)
        if not self.ended:
            _HANDLERS[type(event)](self, now_ns, event)
        if not late and not self.ended:
            self._decide(now_ns)
        self._beat(now_ns)
        return in_order(self.out)

    def _decide(self, now_ns: int) -> None:
        claim = self.claim_pending
        if claim is not None and now_ns >= claim.until_ns:
            self._term_failed(now_ns, TermFailed("the journal does not answer"))
        calm_ns = now_ns - max(self.changed_ns, self.peer.unbroken_from_ns)
        if calm_ns >= self.timing.stable_ns:
            self.arbitrations = 0
        watch_handover(self, now_ns)
        if self.role is Role.SYNCED and self.granted is None and not self.store_works:
            self.move(now_ns, Cause.FELL_BEHIND, "the store failed")
        if not self.ended:
            CONDUCT[CELLS[self.cell(now_ns)]](self, now_ns)
            self._ask_for_wanted(now_ns)

    def _ask_for_wanted(self, now_ns: int) -> None:
        wanted = self.wanted
        if wanted is None or self.role is not Role.MAIN or self.handing is not None:
            return
        if self.claim_pending is None and now_ns >= self.retry_ns and not self.stopping:
            self.wanted = None
            self.claim(now_ns, wanted.ground, wanted.why, wanted.next_due)

    def _wake(self, now_ns: int) -> None:
        self.do(DrainLinks())
        self.peer.restart(now_ns)
        if self.role is not Role.MAIN:
            # What a claim rested on may lie unread, so it is made anew after draining.
            self.claim_pending = None
            self.no_main_since_ns = now_ns

    def _reign_over(self, now_ns: int) -> None:
        if self.stopping:
            self.move(now_ns, Cause.STOPPED, "stopped")
            return
        self.reigned_last = True
        self.move(now_ns, Cause.REIGN_OVER, RAN_OUT)
        self.alarm(f"{RAN_OUT}: this node was frozen, or lost its votes")

    def _beat(self, now_ns: int) -> None:
        due = now_ns - self.reign.sent_ns >= self.timing.heartbeat_ns
        if not (due or self.speak or self.ended) or not self.identity.linked:
            if self.role is Role.MAIN and due:
                self.reign.sent_ns = now_ns  # Alone by configuration: stepping is enough.
            return
        self.speak = False
        heartbeat = self.heartbeat(now_ns)
        if heartbeat.consent:
            promised_ns = self.peer.heard_ns + self.timing.takeover_after_ns
            self.promised_until_ns = max(self.promised_until_ns, promised_ns)
        if self.granted is not None:
            # Each time it is said, the grant is good for as long again, within the bound.
            self.promised_until_ns = max(self.promised_until_ns, self.granted.until_ns)
        self.reign.sent_ns = now_ns
        self.do(SendHeartbeat(heartbeat))

    # -------------------------------------------------------------------------- the events

    def _tick(self, now_ns: int, event: Tick) -> None:
        pass

    def _heard(self, now_ns: int, event: Heard) -> None:
        heartbeat = event.heartbeat
        if heartbeat.site != self.identity.site:
            self.alarm(f"a node of another site ({heartbeat.site}) is on link {event.link}")
            return
        if heartbeat.node == self.identity.node:
            self.alarm(f"a second node {heartbeat.node} is on link {event.link}")
            return
        if not self.peer.hear(now_ns, event.link, heartbeat, event.utc_ns):
            return
        number = heartbeat.term.number if heartbeat.term else 0
        self.term_seen = max(self.term_seen, heartbeat.term_seen, number)
        if heartbeat.pause_version > self.pause_version:
            self.pause_version, self.paused = heartbeat.pause_version, heartbeat.paused
        if self.peer.echoes_me(heartbeat, now_ns):
            if heartbeat.goodbye:
                self.reign.left(heartbeat.echo_ns)
            elif heartbeat.consent:
                self.reign.consented(heartbeat.echo_ns)
        self._end_absence(now_ns, heartbeat)
        self._compare_clocks()
        if heartbeat.role is Role.MAIN and not heartbeat.goodbye:
            self.no_main_since_ns = now_ns
            self.reigned_last = False
        self._hear_ruling(now_ns, heartbeat)
        hear_refusal(self, now_ns, heartbeat)
        if not self.ended:
            hear_grant(self, now_ns, heartbeat)

    def _end_absence(self, now_ns: int, heartbeat: Heartbeat) -> None:
        # Its consent takes a round trip; it claims nothing before startup_wait.
        known = now_ns - self.peer.unbroken_from_ns >= self.timing.takeover_after_ns
        agrees = now_ns < self.reign.consent_until_ns
        if self.reign.absent and not heartbeat.goodbye and (known or agrees):
            self.reign.absent = False
            self.alarm(f"{heartbeat.node} is back: it no longer counts as absent")

    def _compare_clocks(self) -> None:
        ahead_ns, limit_ns = self.peer.clock_ahead_ns, self.timing.clock_apart_ns
        apart_ns = abs(ahead_ns) - self.peer.round_trip_ns // 2
        if apart_ns > limit_ns and not self.clocks_apart:
            self.clocks_apart = True
            word = "ahead of" if ahead_ns > 0 else "behind"
            self.alarm(
                f"the peer's clock is {abs(ahead_ns) // NS_PER_MS} ms {word} this one: "
                "set both by one time server"
            )
        elif self.clocks_apart and apart_ns <= limit_ns // 2:
            self.clocks_apart = False
            self.alarm("the clocks of both nodes agree again")

    def _hear_ruling(self, now_ns: int, heartbeat: Heartbeat) -> None:
        ruling = heartbeat.ruling
        if self.role is Role.MAIN and ruling is not None and ruling.loser == self.term:
            self.arbitrations += 1
            self.move(now_ns, Cause.YIELDED, f"Main-Main: {ruling.why}")

    def _refused(self, now_ns: int, event: Refused) -> None:
        self.peer.refuse(event.link)

    def _term_begun(self, now_ns: int, event: TermBegun) -> None:
        claim, newer = self.claim_pending, event.term.number > self.term_number
        self.term_seen = max(self.term_seen, event.term.number)
        if claim is not None and event.term.number >= claim.number:
            self.claim_pending = None
            self.term_failed = False
        else:
            claim = None
        if claim is not None and not claim_holds(self, now_ns, claim):
            claim = None
        stopped_polling = claim is not None and claim.ground is Ground.RESUME
        if self.role is Role.MAIN and newer and not stopped_polling:
            self._renewed(event.term, claim.why if claim else "a term that came late")
            return
        if claim is None:
            return
        self.term = event.term
        # What was seen of the field as Standby is no finding of this reign.
        self.reign.began_ns = self.reign.sent_ns = self.field_ns = now_ns
        last = self.peer.last
        if claim.ground is Ground.GRANT and last is not None and last.grant is not None:
            self.taken = last.grant.term
        self.granted = self.refusal = None
        self.collected_ns = -1
        self.reigned_last = False
        self.move(now_ns, Cause.TERM_BEGUN, claim.why, claim.next_due)
        self.ask_witness()

    def _renewed(self, term: Term, why: str) -> None:
        # The journal seals in it already, whatever became of the reason.
        self.term = term
        self.do(JournalRole(self.role, term, why))
        self.do(NewTerm(term, why))
        self.speak = True

    def _term_failed(self, now_ns: int, event: TermFailed) -> None:
        claim, self.claim_pending = self.claim_pending, None
        self.retry_ns = now_ns + RETRY_NS
        self.term_failed = True
        self.alarm(f"no term could be begun: {event.why}")
        last = self.peer.last
        if claim is not None and self.role is Role.MAIN:
            self.want(claim.ground, claim.why, claim.next_due)
        if claim and claim.ground is Ground.GRANT and last is not None and last.grant is not None:
            refuse(self, last.grant, f"no term could be begun: {event.why}")

    def _caught(self, now_ns: int, event: Caught) -> None:
        if event.synced and self.role is Role.SYNCING and self.store_works:
            self.move(now_ns, Cause.CAUGHT_UP, "caught up")
        elif not event.synced and self.role is Role.SYNCED:
            self.move(now_ns, Cause.FELL_BEHIND, "fell behind")

    def _progress(self, now_ns: int, event: Progress) -> None:
        self.coverage_end_ns = event.coverage_end_ns
        if event.collected:
            self.collected_ns = now_ns

    def _field_seen(self, now_ns: int, event: FieldSeen) -> None:
        field = Field.REACHED if event.reached else Field.LOST
        if field is not self.field:
            self.field, self.field_ns, self.speak = field, now_ns, True

    def _store_state(self, now_ns: int, event: StoreState) -> None:
        self.store_works = event.works
        self.term_failed = self.term_failed and not event.works
        if not event.works:
            self.alarm(f"the store failed: {event.why}")

    def _witness_vote(self, now_ns: int, event: WitnessVote) -> None:
        if self.witness_asked:
            self.reign.witness_until_ns = event.granted_until_ns or 0

    def _veto(self, now_ns: int, event: Veto) -> None:
        self.vetoed = event.holds

    def _changeover(self, now_ns: int, event: Changeover) -> None:
        if refused := refusal_of(self, now_ns):
            self.answer(False, f"changeover refused: {refused}")
        else:
            hand_over(self, now_ns, f"changeover by {event.who}", commanded=True)

    def _pause(self, now_ns: int, event: Pause) -> None:
        self.paused = event.paused
        self.pause_version += 1
        self.speak = True
        self.answer(True, f"{'paused' if event.paused else 'resumed'} by {event.who}")

    def _peer_absent(self, now_ns: int, event: PeerAbsent) -> None:
        if event.absent and self.peer.heard(now_ns):
            self.answer(False, "the peer is heard: it is not absent")
            return
        self.reign.absent = event.absent
        self.answer(True, f"the peer counts as {'absent' if event.absent else 'present'}")

    def _renew(self, now_ns: int, event: Renew) -> None:
        if self.role is Role.MAIN and self.handing is None:
            self.want(Ground.RENEW, event.why)

    def _stop(self, now_ns: int, event: Stop) -> None:
        if not self.stopping:
            leave(self, now_ns)


_HANDLERS: Final[dict[type, Callable[[Machine, int, Any], None]]] = {
    Tick: Machine._tick,
    Heard: Machine._heard,
    Refused: Machine._refused,
    TermBegun: Machine._term_begun,
    TermFailed: Machine._term_failed,
    Drained: drained,
    Caught: Machine._caught,
    Progress: Machine._progress,
    FieldSeen: Machine._field_seen,
    StoreState: Machine._store_state,
    WitnessVote: Machine._witness_vote,
    Veto: Machine._veto,
    Changeover: Machine._changeover,
    Pause: Machine._pause,
    PeerAbsent: Machine._peer_absent,
    Renew: Machine._renew,
    Stop: Machine._stop,
}
