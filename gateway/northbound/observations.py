"""Journal records as what is handed on: observations by the names of their points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.journal.records import Batch, Body, Coverage, Fill, Loss, Record
from gateway.model import Origin, Position, Term, Value

Names = Callable[[int, Term], tuple[str, ...] | None]
"""The point ids of a revision by number, as a term knew it; None if it isn't known yet."""


class Observation(NamedTuple):
    """One sample as the journal has it; `place` is where it stands in the batch at `position`.

    The position and the place are its identity: the same one comes twice only as a repetition.
    Times are ns UTC; `received_ns` is when the gateway learned it.
    """

    position: Position
    place: int
    point: str
    time_ns: int
    value: Value
    status: int
    received_ns: int
    origin: int


class Read(NamedTuple):
    """What was read of a window: `through` is its last record, `unknown` those not understood.

    A batch whose revision is yet to come is left for later.
    """

    observations: list[Observation]
    bodies: list[Body]
    through: int
    unknown: list[int]


def observe(records: Sequence[Record], names: Names) -> Read:
    """What is handed on of records of one term, in order."""
    found: list[Observation] = []
    bodies: list[Body] = []
    unknown: list[int] = []
    for record in records:
        body = record.body
        if not isinstance(body, Batch):
            bodies.append(body)
            continue
        known = names(body.revision, record.position.term)
        if known is None:
            unknown.append(record.position.seq)
            continue
        position, received_ns, origin = record.position, body.received_ns, body.origin
        found += [
            Observation(position, place, known[point], time_ns, value, status, received_ns, origin)
            for place, (point, time_ns, value, status) in enumerate(body.samples)
            if point < len(known)
        ]
    return Read(found, bodies, records[-1].position.seq if records else 0, unknown)


def time_of(body: Body) -> int:
    """When a record was written, ns UTC; 0 when it doesn't say."""
    if isinstance(body, Batch):
        return body.received_ns
    if isinstance(body, Coverage):
        return body.through_ns
    if isinstance(body, Loss):
        return 0
    return body.at_ns


def touched(bodies: Iterable[Body]) -> dict[str, tuple[int, int]]:
    """Of which devices the gaps may have changed, and in which stretch; `` means all devices."""
    found: dict[str, tuple[int, int]] = {}

    def touch(device: str, from_ns: int, to_ns: int) -> None:
        known = found.get(device, (from_ns, to_ns))
        found[device] = min(known[0], from_ns), max(known[1], to_ns)

    for body in bodies:
        if isinstance(body, Fill):
            touch(body.device, body.from_ns, body.to_ns)
        elif isinstance(body, Loss):
            touch("", body.from_ns, body.to_ns)
        elif isinstance(body, Coverage):
            for hole in body.holes:
                touch(hole.device, hole.from_ns, hole.to_ns)
    return found


def is_late(observation: Observation, live: bool) -> bool:
    """Whether an observation is told as historical: wound back, or caught up with."""
    return not live or observation.origin == Origin.WINDBACK
