"""What each verdict of the table does, once its guard allows it; and what a reigning Main watches.

A guard is a wait (startup_wait, a promise given), a pause, a veto, or a probe of the field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.model import NS_PER_MS, Term
from gateway.pair.arbitration import arbitrate, both_reigned_ns
from gateway.pair.core import Core, Ground
from gateway.pair.events import JournalRuling, ProbeField
from gateway.pair.handover import hand_over
from gateway.pair.heartbeat import Heartbeat, Ruling
from gateway.pair.roles import Cause, Links, PeerView, Verdict, Witness
from gateway.pair.words import RETRY_NS, Field, Role

REPROBE_NS: Final = 60 * RETRY_NS
"""How often a Standby that lost the field looks again, so that a failback finds it well."""


def stay(core: Core, now_ns: int) -> None:
    """Nothing to decide; a Main watches its field, its store and its rank."""
    if core.role is Role.MAIN:
        _watch(core, now_ns)
        return
    if core.view(now_ns) is PeerView.MAIN and core.claim_pending is None:
        core.release_witness()
    _probe_as_standby(core, now_ns)


def follow(core: Core, now_ns: int) -> None:
    """A Main is heard: stand by."""
    if not core.stopping:
        core.move(now_ns, Cause.HEARD_MAIN, f"{_peer(core)} is Main")


def take_over(core: Core, now_ns: int) -> None:
    """The Standby's turn: at once on proof of death or a starting peer, else after silence."""
    view = core.view(now_ns)
    if core.paused and view is PeerView.STARTING:
        rule(core, now_ns)  # No change of Main, since there is none: by agreement, not by right.
    elif core.paused:
        core.alarm(f"paused: no takeover although {_peer(core)} is {view}")
    elif core.vetoed and view is not PeerView.STARTING:
        core.alarm("no takeover: no witness host answers, this node seems to be cut off")
    elif not (core.identity.witnessed and core.bound(now_ns)):
        # Silence outlasts a grant that is out; where votes are counted, a promise is kept even
        # to a peer that seems dead.
        why = {PeerView.DEAD: "is dead", PeerView.STARTING: "starts"}.get(view, "is silent")
        core.claim(now_ns, Ground.PEER_GONE, f"{_peer(core)} {why}")


def ask(core: Core, now_ns: int) -> None:
    """The Standby's turn, but the witness must agree."""
    if core.paused or core.vetoed:
        take_over(core, now_ns)
    else:
        core.ask_witness()


def rule(core: Core, now_ns: int) -> None:
    """Two that hear each other and neither is Main: the winner claims with the loser's consent."""
    outcome, last = core.start_outcome(), core.peer.last
    if outcome is None or last is None or outcome.winner != core.identity.node:
        return
    waited_ns = now_ns - core.no_main_since_ns
    if core.role is Role.STARTING and waited_ns < core.timing.alone_ns:
        return
    if not last.consent or core.granted is not None or core.bound(now_ns):
        return
    if core.peer.answers_since(now_ns, core.timing.reign_ns):
        core.claim(now_ns, Ground.CONSENT, f"start rule: {outcome.why}")
    elif waited_ns >= 2 * core.timing.alone_ns:
        _tell_too_slow(core)
        if not core.identity.witnessed:
            core.claim(now_ns, Ground.ALONE, f"start rule: {outcome.why}")


def alone(core: Core, now_ns: int) -> None:
    """Nobody agrees, since nobody hears: after the wait, whoever isn't isolated becomes Main."""
    if not _waited_alone(core, now_ns):
        return
    heard = core.peer.links(now_ns) is Links.ONE_WAY
    sees_witness = core.witness(now_ns) is Witness.HELD
    if core.field is not Field.REACHED:
        _probe(core, now_ns, RETRY_NS)
    if core.vetoed:
        core.alarm("stays starting: no witness host answers, this node seems to be cut off")
    elif heard or sees_witness or core.field is Field.REACHED:
        core.claim(now_ns, Ground.ALONE, "start rule: no Main was heard")
    elif core.field is Field.LOST:
        core.alarm("isolated: hears neither peer nor witness nor any field device; stays starting")


def alone_ask(core: Core, now_ns: int) -> None:
    """As `alone`, but the witness must agree."""
    if not _waited_alone(core, now_ns):
        return
    core.ask_witness()
    core.alarm("no Main: neither the peer nor the witness agrees")


def at_once(core: Core, now_ns: int) -> None:
    """No link is configured: this node is the only one."""
    core.claim(now_ns, Ground.ALONE, "no link is configured")


def restart(core: Core, now_ns: int) -> None:
    """A Standby without a Main that isn't synced begins anew, by the start rule."""
    if core.paused and not core.reigned_last and core.identity.linked:
        core.alarm("paused: no takeover although no Main is heard")
        return
    core.move(now_ns, Cause.LOST_MAIN, "hears no Main and is not synced")


def settle(core: Core, now_ns: int) -> None:
    """Two Mains that hear each other: the lower node id rules once, the other obeys."""
    last, mine = core.peer.last, core.term
    if last is None or last.term is None or mine is None:
        return
    core.rival = last.term
    if core.identity.node > last.node:
        return
    if core.ruling is not None and core.ruling.loser == last.term:
        return
    outcome = arbitrate(core.reigning(now_ns), core.rival_reigning(now_ns, last))
    core.arbitrations += 1
    if outcome.winner == core.identity.node:
        core.ruling = Ruling(last.term, outcome.why)
        core.changed_ns = now_ns
        core.speak = True
        core.alarm(f"Main-Main: stays Main: {outcome.why}")
        _journal_ruling(core, now_ns, last, mine, last.term, outcome.why)
    else:
        _journal_ruling(core, now_ns, last, last.term, mine, outcome.why)
        core.move(now_ns, Cause.YIELDED, f"Main-Main: {outcome.why}")


def yield_(core: Core, now_ns: int) -> None:
    """A Main is heard that can't hear this one: it can't yield, so this one does."""
    last, mine = core.peer.last, core.term
    why = f"{_peer(core)} can't hear this node"
    core.arbitrations += 1
    if last is not None and last.term is not None and mine is not None:
        _journal_ruling(core, now_ns, last, last.term, mine, why)
    core.move(now_ns, Cause.YIELDED, f"Main-Main: {why}")


CONDUCT: Final[dict[Verdict, Callable[[Core, int], None]]] = {
    Verdict.STAY: stay,
    Verdict.FOLLOW: follow,
    Verdict.TAKE_OVER: take_over,
    Verdict.ASK: ask,
    Verdict.RULE: rule,
    Verdict.ALONE: alone,
    Verdict.ALONE_ASK: alone_ask,
    Verdict.AT_ONCE: at_once,
    Verdict.RESTART: restart,
    Verdict.ARBITRATE: settle,
    Verdict.YIELD: yield_,
}


def _journal_ruling(
    core: Core, now_ns: int, last: Heartbeat, winner: Term, loser: Term, why: str
) -> None:
    both_ns = both_reigned_ns(core.reigning(now_ns), core.rival_reigning(now_ns, last))
    core.do(JournalRuling(winner, loser, both_ns, why))


def _tell_too_slow(core: Core) -> None:
    trip_ms, most_ms = (ns // NS_PER_MS for ns in (core.peer.round_trip_ns, core.timing.reign_ns))
    core.alarm(
        f"a round trip between the nodes takes {trip_ms} ms, and an agreement lasts {most_ms} ms: "
        "set takeover_after higher"
    )


def _watch(core: Core, now_ns: int) -> None:
    last = core.peer.last
    if last is not None and last.role is not Role.MAIN and core.claim_pending is None:
        number = last.term.number if last.term else 0
        if core.rival is not None or number >= core.term_number:
            # What the peer wrote has terms of its own: what follows must outrank them.
            core.rival = core.ruling = None
            core.want(Ground.RENEW, f"{last.node} is no longer Main")
    calm_ns = now_ns - max(core.changed_ns, core.peer.unbroken_from_ns)
    peer = core.ready_standby(now_ns)
    if peer is None or core.paused or core.handing is not None or core.claim_pending is not None:
        return
    preferred = peer.priority > core.identity.priority and peer.field is not Field.LOST
    lost = core.field is Field.LOST
    lost = lost and now_ns - core.field_ns >= core.timing.field_lost_after_ns
    if lost and peer.field is Field.REACHED:
        hand_over(core, now_ns, f"lost the field, {peer.node} reaches it")
    elif not core.store_works:
        hand_over(core, now_ns, "the store failed")
    elif preferred and calm_ns >= core.timing.stable_ns:
        hand_over(core, now_ns, f"failback to {peer.node}, which is preferred")


def _probe_as_standby(core: Core, now_ns: int) -> None:
    last = core.peer.last
    if core.role is not Role.SYNCED or last is None or last.role is not Role.MAIN:
        return
    if last.field is not Field.LOST:
        core.probed_for_main = False
        if core.field is Field.LOST:
            _probe(core, now_ns, REPROBE_NS)
    elif not core.probed_for_main:
        core.probed_for_main = True
        _probe(core, now_ns, 0)


def _probe(core: Core, now_ns: int, period_ns: int) -> None:
    if core.probed_ns is None or now_ns - core.probed_ns >= period_ns:
        core.probed_ns = now_ns
        core.do(ProbeField())


def _waited_alone(core: Core, now_ns: int) -> bool:
    # A peer that can't hear this node doesn't know of it: it goes first.
    waits = 2 if core.peer.links(now_ns) is Links.ONE_WAY else 1
    since_ns = now_ns - core.no_main_since_ns
    return since_ns >= waits * core.timing.alone_ns and not core.bound(now_ns)


def _peer(core: Core) -> str:
    return core.peer.last.node if core.peer.last is not None else "the peer"
