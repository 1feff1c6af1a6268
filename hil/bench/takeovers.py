"""What a takeover came to: from the fault to the first fresh value, and by which steps.

Pure. Fresh is a value that a client of the new main read Good, whose time stamp is not before the
first poll of its device by the new main: what was replicated before the fault does not count. It
is right when the plant held it at some moment since shortly before that stamp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gateway.model import NS_PER_MS, Value

READ_NS: Final = 500 * NS_PER_MS
"""A stamp is that of the answer; what it answers was asked a device's time-out before at most."""
EARLY: Final = 0.2
"""How much of a period a poll may come before the place where most polls lie."""


class Asked(NamedTuple):
    """One poll as the outstation logged it: when, which device, from which address."""

    at_ns: int
    device: str
    host: str


@dataclass(frozen=True, slots=True)
class Run:
    """One fault and what the client saw: per NodeId (read at, stamp, value), all ns UTC.

    `gone_ns`: when the kernel had closed all that the old main had open; `why` the new one reigns;
    `load`: how many processes of the machine wanted to run.
    """

    at_ns: int
    new_host: str
    role_ns: int
    open_ns: int
    session_ns: int
    seen: Mapping[str, Sequence[tuple[int, int, Value]]]
    gone_ns: int = 0
    why: str = ""
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class Takeover:
    """Milliseconds after the fault; None for what never came (or is not told)."""

    role_ms: float | None
    poll_ms: float | None
    open_ms: float | None
    session_ms: float | None
    fresh_ms: float | None
    all_ms: float | None
    wrong: int
    gone_ms: float | None = None
    why: str = ""
    load: float = 0.0


def device_of(node: str) -> str:
    """`ns=2;s=d3/r0` -> `d3`."""
    return node.rpartition("=")[2].partition("/")[0]


def takeover(
    run: Run,
    polls: Iterable[Asked],
    truth: Callable[[str, int, int], Iterable[Value]],
) -> Takeover:
    """Judge one run; `truth(node, from_ns, to_ns)` gives what a point held in a stretch."""
    firsts: dict[str, int] = {}
    for poll in polls:
        if poll.host == run.new_host and poll.at_ns >= run.at_ns:
            firsts[poll.device] = min(poll.at_ns, firsts.get(poll.device, poll.at_ns))
    arrived: dict[str, int] = {}
    wrong = 0
    for node, seen in run.seen.items():
        first_ns = firsts.get(device_of(node))
        fresh = [one for one in seen if first_ns is not None and one[1] >= first_ns]
        if not fresh:
            continue
        arrived[node] = fresh[0][0]
        for _, stamp_ns, value in fresh:
            wrong += value not in truth(node, stamp_ns - READ_NS, stamp_ns)

    def after(at_ns: int | None) -> float | None:
        return (at_ns - run.at_ns) / NS_PER_MS if at_ns else None

    everybody = len(arrived) == len(run.seen)
    return Takeover(
        after(run.role_ns),
        after(min(firsts.values(), default=None)),
        after(run.open_ns),
        after(run.session_ns),
        after(min(arrived.values(), default=None)),
        after(max(arrived.values(), default=None)) if everybody else None,
        wrong,
        after(run.gone_ns),
        run.why,
        run.load,
    )


def percentile(values: Iterable[float | None], share: float) -> float | None:
    """The smallest value that `share` of all don't exceed; what never came is above all others."""
    found = sorted(math.inf if value is None else value for value in values)
    if not found:
        return None
    value = found[max(0, math.ceil(share * len(found)) - 1)]
    return None if math.isinf(value) else value


def scans(times_ns: Sequence[int], period_ns: int, from_ns: int, to_ns: int) -> tuple[int, int]:
    """(lost, doubled) scan instants in [from, to); the grid is found from the polls.

    Polls come late, never early: most hardly, so the grid lies where most are. One that is up to
    four fifths of a period late still belongs to its instant.
    """
    if not times_ns:
        return 0, 0
    phase_ns = phase_of(times_ns, period_ns)
    early_ns = round(EARLY * period_ns)
    counts: dict[int, int] = {}
    for at_ns in times_ns:
        number = (at_ns - phase_ns + early_ns) // period_ns
        counts[number] = counts.get(number, 0) + 1
    first = -((phase_ns - from_ns) // period_ns)
    last = (to_ns - phase_ns) // period_ns - 1
    found = [counts.get(number, 0) for number in range(first, last + 1)]
    return sum(count == 0 for count in found), sum(max(0, count - 1) for count in found)


def phase_of(times_ns: Sequence[int], period_ns: int) -> int:
    """The circular median of the polls' places in their period."""
    places = [at_ns % period_ns for at_ns in times_ns]

    def distance(place: int) -> int:
        return sum(min((place - p) % period_ns, (p - place) % period_ns) for p in places)

    return min(places, key=distance)


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Median, p95, p99 and largest, in ms."""
    shares = {"median ms": 0.5, "p95 ms": 0.95, "p99 ms": 0.99, "max ms": 1.0}
    return {name: percentile(values, share) for name, share in shares.items()}
