"""Handing the reign over: no scan lost and none doubled (rules.md 5, Changeover).

The Main stops at a scan boundary and drains; then it is Standby and its heartbeats carry the grant
until one of three: the peer is heard as Main, the peer refuses (this node resumes under a new
term), or `takeover_after` ran out (the takeover rules). The grant is a promise: nothing is claimed
before.
"""

from __future__ import annotations

from gateway.pair.core import Claim, Core, Granted, Ground, Handing
from gateway.pair.events import Drained, StopPolling
from gateway.pair.heartbeat import DUES_MAX, Due, Grant, Heartbeat, Refusal
from gateway.pair.roles import Cause, PeerView
from gateway.pair.words import Role


def refusal_of(core: Core, now_ns: int) -> str:
    """Why no changeover is possible now, or nothing."""
    if core.role is not Role.MAIN:
        return f"this node is {core.role.shown}: ask the Main"
    if core.handing is not None or core.claim_pending is not None:
        return "a changeover is under way"
    view = core.view(now_ns)
    if core.ready_standby(now_ns) is None:
        last = core.peer.last
        heard = last is not None and core.peer.hears_me(now_ns) and view is not PeerView.DEAD
        state = last.role.shown if heard and last is not None else "not heard"
        return f"the peer is {state}, not a synced Standby"
    return ""


def hand_over(core: Core, now_ns: int, why: str, commanded: bool = False) -> None:
    """Begin: stop polling at the next scan boundary."""
    core.handing = Handing(why, now_ns + _drain_ns(core), commanded=commanded)
    core.wanted = None
    core.do(StopPolling())


def leave(core: Core, now_ns: int) -> None:
    """SIGTERM: a Main hands over if it can, else it drains and says goodbye."""
    core.stopping = True
    if core.role is not Role.MAIN:
        if core.granted is None:
            core.move(now_ns, Cause.STOPPED, "stopped")
        return
    if core.handing is None:
        refused = refusal_of(core, now_ns)
        alone = bool(refused)
        core.handing = Handing("stopped", now_ns + _drain_ns(core), alone=alone)
        core.wanted = None
        core.do(StopPolling())


def drained(core: Core, now_ns: int, event: Drained) -> None:
    """Polling stopped and all is committed: grant, if the peer is still there to take it."""
    handing = core.handing
    if core.role is not Role.MAIN or handing is None or core.term is None:
        return
    if core.ready_standby(now_ns) is None or handing.alone:
        _give_up(core, now_ns, handing, "the Standby is no longer ready", event.next_due)
        return
    until_ns = now_ns + core.timing.takeover_after_ns
    grant = Grant(core.term, event.next_due[:DUES_MAX])
    why = f"handed over: {handing.why}"
    core.move(now_ns, Cause.GRANTED, why)
    core.granted = Granted(grant, until_ns, why, handing.commanded)


def watch_handover(core: Core, now_ns: int) -> None:
    """What waits on an answer or on draining, and has waited long enough."""
    handing, granted = core.handing, core.granted
    if handing is not None and now_ns >= handing.by_ns:
        _give_up(core, now_ns, handing, "draining took too long")
    last = core.peer.last
    if granted is not None and core.view(now_ns) is PeerView.MAIN:
        _answered(core, granted, True, f"{last.node if last else 'the peer'} is Main")
    elif granted is not None and now_ns >= granted.until_ns:
        _answered(core, granted, False, "the grant was not answered; the takeover rules decide")
    if core.stopping and core.granted is None and core.role is not Role.MAIN and not core.ended:
        core.move(now_ns, Cause.STOPPED, "stopped")


def hear_refusal(core: Core, now_ns: int, heartbeat: Heartbeat) -> None:
    """The peer refuses the grant that is out: resume under a new term, or leave."""
    granted, refusal = core.granted, heartbeat.refusal
    if granted is None or refusal is None or refusal.term != granted.grant.term:
        return
    _answered(core, granted, False, f"{heartbeat.node} refused: {refusal.why}")
    if core.stopping:
        core.move(now_ns, Cause.STOPPED, "stopped")
    else:
        core.claim(now_ns, Ground.RESUME, f"resumed: {refusal.why}", granted.grant.next_due)


def hear_grant(core: Core, now_ns: int, heartbeat: Heartbeat) -> None:
    """The Main hands over to this node: take the reign, or say why not."""
    grant = heartbeat.grant
    if grant is None or core.role is Role.MAIN or core.granted is not None:
        return
    if grant.term == core.taken:
        return  # Said before the peer heard that it was taken.
    if not core.peer.answers_since(now_ns, core.timing.reign_ns):
        return  # It may be an old one: the next says what holds now.
    if core.refusal is not None and core.refusal.term == grant.term:
        return
    if core.role is not Role.SYNCED or not core.store_works or core.stopping:
        state = "stopping" if core.stopping else core.role.shown
        why = state if core.store_works else "its store failed"
        refuse(core, grant, why)
        return
    core.retry_ns = now_ns
    core.claim(now_ns, Ground.GRANT, f"{heartbeat.node} handed over", grant.next_due)


def refuse(core: Core, grant: Grant, why: str) -> None:
    """Refuse a grant: said with each heartbeat from now on."""
    core.refusal = Refusal(grant.term, why)
    core.speak = True


def claim_holds(core: Core, now_ns: int, claim: Claim) -> bool:
    """Whether what a claim rests on is still so, now that its term is committed."""
    view, last = core.view(now_ns), core.peer.last
    if core.stopping or not core.reign.proven(now_ns):
        return False
    if core.role is not Role.MAIN and view is PeerView.MAIN:
        return False
    if claim.ground in (Ground.CONSENT, Ground.GRANT):
        word = last is not None and (last.consent or last.grant is not None)
        return word and core.peer.answers_since(now_ns, core.timing.reign_ns)
    return True


def _give_up(
    core: Core, now_ns: int, handing: Handing, why: str, next_due: tuple[Due, ...] = ()
) -> None:
    core.handing = None
    if core.stopping:
        core.move(now_ns, Cause.STOPPED, "stopped")
        return
    if handing.commanded:
        core.answer(False, f"changeover given up: {why}")
    core.want(Ground.RESUME, f"resumed: {why}", next_due)


def _answered(core: Core, granted: Granted, accepted: bool, text: str) -> None:
    core.granted = None
    if granted.commanded:
        core.answer(accepted, f"changeover: {text}")
    elif not accepted:
        core.alarm(f"{granted.why}: {text}")


def _drain_ns(core: Core) -> int:
    return 2 * core.timing.takeover_after_ns
