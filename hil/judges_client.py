"""The judge of clients: did one see a value that history lacks? Pure.

Only Good values are judged: what is Bad or doubtful says itself that it is no value. Journals of
both nodes are united when this is asked, so that what a dead Main published last is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from gateway.model import Cause, Gap, HistoryRow, Value, format_time
from hil.judges import same
from hil.truth import Span

STAMP_NS: Final = 1_000
"""As exactly as the client's library gives times, rounded up or down."""
_GOOD_MASK: Final = 0xC0000000
_LISTENS: Final = re.compile(r"OPC UA listens on (opc\.tcp://\S+)")
_PAUSES, _GOES_ON = "history pauses under a declared gap", "the store works again"


class Seen(NamedTuple):
    """A value that a client was given."""

    received_ns: int
    endpoint: str
    point: str
    source_ns: int
    value: Value
    status: int


class Lacking(NamedTuple):
    """A value that a client saw and no history has; `sync` says that it was promised."""

    seen: Seen
    near: str
    sync: bool

    def __str__(self) -> str:
        seen = self.seen
        promised = "" if self.sync else "; replication was asynchronous then"
        return (
            f"{seen.point}: a client of {seen.endpoint} was given {seen.value!r} of "
            f"{format_time(seen.source_ns)} at {format_time(seen.received_ns)}; history has "
            f"{self.near}{promised}"
        )


def parse_seen(lines: Iterable[Sequence[Any]]) -> dict[str, list[Seen]]:
    """The Good values of a client's file, by point, in the order they came."""
    found: dict[str, list[Seen]] = {}
    for line in lines:
        seen = Seen(*line)
        if not seen.status & _GOOD_MASK and seen.source_ns:
            found.setdefault(seen.point, []).append(seen)
    return found


def lacking(
    seen: Sequence[Seen],
    rows: Sequence[HistoryRow],
    gaps: Sequence[Gap] = (),
    not_sync: Sequence[Span] = (),
    discarded: Sequence[Span] = (),
    unkept: Mapping[str, Sequence[Span]] = MappingProxyType({}),
) -> list[Lacking]:
    """The values of one point that its history lacks.

    `gaps` are those of its device: inside one of cause `store` a Main alone hands out what it can't
    keep (rules.md 7). In a Main-Main the other node covers that time; so `unkept` tells when the
    store of the node behind an endpoint took nothing: a value that came to the client after that
    began may be what the store was given as it failed. `not_sync` is when replication was
    asynchronous; `discarded` the splits whose loser's samples are withdrawn (`duty: discard`).
    """
    stored: dict[int, list[HistoryRow]] = {}
    for row in rows:
        stored.setdefault(row.time_ns // STAMP_NS, []).append(row)
    excused = [Span(g.from_ns, g.to_ns, None) for g in gaps if g.cause is Cause.STORE]
    excused += discarded
    found = []
    for one in seen:
        stamp = one.source_ns // STAMP_NS
        at = [row for near in (stamp - 1, stamp, stamp + 1) for row in stored.get(near, ())]
        if any(same(row.value, one.value) for row in at):
            continue
        paused = any(
            span.from_ns <= one.received_ns and one.source_ns < span.to_ns
            for span in unkept.get(one.endpoint, ())
        )
        if not paused and not any(s.from_ns <= one.source_ns < s.to_ns for s in excused):
            near = ", ".join(repr(row.value) for row in at) or "no sample of that time"
            sync = not any(s.from_ns <= one.received_ns < s.to_ns for s in not_sync)
            found.append(Lacking(one, near, sync))
    return found


def unkept(told: Iterable[tuple[int, str, str]], to_ns: int) -> dict[str, list[Span]]:
    """When the store of the node behind an endpoint took nothing, by the nodes' logs.

    `told` are (time, node, text) in order. Of a node that ends meanwhile nobody is told that its
    store works again: nothing more that it hands out is judged.
    """
    endpoints: dict[str, set[str]] = {}
    spans: dict[str, list[Span]] = {}
    since: dict[str, int] = {}
    for at_ns, node, text in told:
        if (found := _LISTENS.search(text)) is not None:
            endpoints.setdefault(node, set()).add(found[1])
        elif _PAUSES in text:
            since.setdefault(node, at_ns)
        elif _GOES_ON in text and node in since:
            spans.setdefault(node, []).append(Span(since.pop(node), at_ns, None))
    for node, since_ns in since.items():
        spans.setdefault(node, []).append(Span(since_ns, to_ns, None))
    return {url: own for node, own in spans.items() for url in endpoints.get(node, ())}


def not_sync(
    told: Sequence[tuple[int, str]], configured: Mapping[str, Any], from_ns: int, to_ns: int
) -> list[Span]:
    """When replication was asynchronous, by the site's settings and what the nodes told.

    `told` are (time, mode) with mode `sync` or `async`, in order.
    """
    mode = str(configured.get("replication", "async"))
    if mode != "sync":
        return [Span(from_ns, to_ns, None)]
    found, since_ns = [], None
    for at_ns, now in told:
        if now == "async" and since_ns is None:
            since_ns = at_ns
        elif now == "sync" and since_ns is not None:
            found.append(Span(since_ns, at_ns, None))
            since_ns = None
    if since_ns is not None:
        found.append(Span(since_ns, to_ns, None))
    return found
