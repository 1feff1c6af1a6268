"""How a promise is broken in what was kept of a run: polls, journals, roles, acts, words.

As in hil.breaking: each function alters it, and returns what the evidence against it must name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.model import NS_PER_S, Cause, GapState
from hil.breaking import CanaryError
from hil.judges_journal import Journal, Where, shown
from hil.kept import Kept
from hil.outstation.polls import Poll
from hil.words import NODES

MINUTE_NS: Final = 60 * NS_PER_S


# ------------------------------------------------------------------------------ polls


def _reigned(kept: Kept) -> tuple[str, str, int]:
    """The last Main, the other node, and when it became Main. CanaryError."""
    reigns = kept.reigns["a"]
    if len(reigns) < 2:
        raise CanaryError("there was one reign only")
    last = max(reigns, key=lambda reign: reign["from_ns"])
    return last["node"], next(n for n in NODES if n != last["node"]), last["from_ns"]


def _asks(kept: Kept, node: str) -> list[Poll]:
    """What a node asked of a device that tells who asked, while the run lasted."""
    hosts = {address for address, name in kept.askers.items() if name == node}
    polls = (p for p in kept.polls or () if p.answered_ns and p.received_ns < kept.run.to_ns)
    found = [poll for poll in polls if poll.peer.rpartition(":")[0] in hosts]
    if not found:
        raise CanaryError(f"node {node} asked nobody")
    return found


def poll_beside(kept: Kept) -> str:
    """The Standby asks a device once while the Main does."""
    main, other, since_ns = _reigned(kept)
    own = [p for p in _asks(kept, main) if p.received_ns > since_ns]
    one, theirs = own[len(own) // 2], _asks(kept, other)[0]
    assert kept.polls is not None
    stray = msgspec.structs.replace(
        one, peer=theirs.peer, received_ns=one.answered_ns + 1, answered_ns=one.answered_ns + 2
    )
    kept.polls.append(stray)
    return f"{one.device}: node {other}"


def poll_across(kept: Kept) -> str:
    """At the handover the old Main's last request is still open when the new one asks."""
    main, other, since_ns = _reigned(kept)
    first = next(p for p in _asks(kept, main) if p.received_ns > since_ns)
    before = [
        p for p in _asks(kept, other)
        if p.device == first.device and p.received_ns < first.received_ns
    ]  # fmt: skip
    assert kept.polls is not None
    at = kept.polls.index(before[-1])
    kept.polls[at] = msgspec.structs.replace(before[-1], answered_ns=first.received_ns + 1)
    return first.device


# ------------------------------------------------------------------------------ journals


def _a_record(kept: Kept) -> Where:
    own = kept.journals["b"]
    return next(where for where, at in own.at_ns.items() if kept.run.from_ns < at < kept.run.to_ns)


def hold_twice(kept: Kept) -> str:
    """A position of one journal holds another record, too."""
    where, own = _a_record(kept), kept.journals["b"]
    both = own.records[where] | {b"canary"}
    kept.journals["b"] = Journal({**own.records, where: both}, own.at_ns, own.conflicts)
    return shown(where)


def hold_another(kept: Kept) -> str:
    """A record of one journal is another one than the other journal holds at its position."""
    where, own = _a_record(kept), kept.journals["b"]
    records = {**own.records, where: frozenset({b"canary"})}
    kept.journals["b"] = own._replace(records=records)
    return shown(where)


def keep_conflict(kept: Kept) -> str:
    """A node put a record aside that came with the position of another."""
    kept.journals["a"] = kept.journals["a"]._replace(conflicts=1)
    return "node a keeps 1 conflicting records"


def tell_nothing(kept: Kept) -> str:
    """Neither events nor logs are to be had."""
    kept.silent.update(f"events {node}" for node in NODES)
    kept.logs.update(dict.fromkeys(NODES))
    return ""


def empty_journal(kept: Kept) -> str:
    """A journal's files hold nothing."""
    kept.journals["b"] = Journal({}, {})
    return ""


def lose_record(kept: Kept) -> str:
    """A record is gone from one journal."""
    where, own = _a_record(kept), kept.journals["b"]
    rest = {w: digests for w, digests in own.records.items() if w != where}
    kept.journals["b"] = Journal(rest, own.at_ns, own.conflicts)
    return shown(where)


# ------------------------------------------------------------------------------ roles, acts, words


def come_late(kept: Kept) -> str:
    """The takeover took a minute more."""
    in_no_hurry(kept)
    kept.run.switches = [
        msgspec.structs.replace(s, fresh_ns=s.fresh_ns + MINUTE_NS) for s in kept.run.switches
    ]
    return "changeover"


def in_no_hurry(kept: Kept) -> None:
    """As if the machine had not been too busy, so that times prove something."""
    kept.run.busy = False
    for node in NODES:
        late = [g for g in kept.gaps[node] if g.cause is Cause.OVERRUN]
        gone = [g for g in late if g.state is GapState.FILLED]
        kept.gaps[node] = [gap for gap in kept.gaps[node] if gap not in gone]


def lose_log(kept: Kept) -> str:
    """The log of the node is gone that told less of the changeover."""
    logs = {node: kept.logs[node] or "" for node in NODES}
    kept.logs[min(NODES, key=lambda node: logs[node].count("changeover"))] = None
    return ""


def stay_apart(kept: Kept) -> str:
    """The other node never was synced again after the last act."""
    last = max(kept.run.acts, key=lambda act: act.begun_ns)
    kept.run.looks = [
        msgspec.structs.replace(look, role="syncing")
        if look.role == "synced" and look.time_ns >= last.begun_ns
        else look
        for look in kept.run.looks
    ]
    return last.word


def swap_mains(kept: Kept) -> str:
    """Who was seen as Main at the end is the other one."""
    last = max(act.ended_ns for act in kept.run.acts)
    other = {"a": "b", "b": "a"}
    kept.run.looks = [
        msgspec.structs.replace(look, node=other[look.node]) if look.time_ns >= last else look
        for look in kept.run.looks
    ]
    return "was expected to be Main"


def break_node(kept: Kept) -> str:
    """A traceback in a node's log."""
    lines = [line for line in (kept.logs["b"] or "").splitlines() if line[:2] == "20"]
    trace = "ERROR asyncio: the canary sang\nTraceback (most recent call last):"
    kept.logs["b"] = f"{kept.logs['b']}\n{lines[-1].split()[0]} {trace}\n"
    return "the canary sang"


def untell(kept: Kept) -> str:
    """No event and no line of a log tells of the changeover."""
    for node in NODES:
        kept.events[node] = [e for e in kept.events[node] if "changeover" not in e["text"]]
        lines = (kept.logs[node] or "").splitlines()
        kept.logs[node] = "\n".join(line for line in lines if "changeover" not in line)
    return "'changeover'"


def allow(kept: Kept) -> str:
    """What had to be refused was done."""
    _acts(kept, "freeze", failed="")
    return "freeze"


def fail_act(kept: Kept) -> str:
    """An entry of the timeline could not be played."""
    _acts(kept, "refuse", failed="the canary sang")
    return "the canary sang"


def _acts(kept: Kept, word: str, failed: str) -> None:
    kept.run.acts = [
        msgspec.structs.replace(act, failed=failed) if act.word == word else act
        for act in kept.run.acts
    ]
