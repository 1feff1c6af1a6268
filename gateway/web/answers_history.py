"""What REST answers about history: samples, gaps, trends, windback. Pure."""

from __future__ import annotations

from pydantic import BaseModel, Field

from gateway.model import Cause, GapState
from gateway.web.answers import Point, Reign, Scalar


class Row(BaseModel):
    """A stored sample; `origin` gap says that nothing is known from its time on."""

    time_ns: int
    value: Scalar
    status: int
    received_ns: int
    origin: str
    position: str


class Page(BaseModel):
    """Samples in reading order; `cursor` goes on where it is not None."""

    point: str
    rows: list[Row]
    cursor: str | None


class Gap(BaseModel):
    """A stretch [from, to) that polling did not cover: why, and what became of it."""

    device: str
    scan_class: str
    from_ns: int
    to_ns: int
    cause: Cause
    state: GapState
    why: str
    points: list[str]
    resolution_ns: int
    uncertainty_ns: int


class Reading(BaseModel):
    """What windback reads of a device now."""

    device: str
    log: str
    from_ns: int
    to_ns: int
    through_ns: int
    records: int
    samples: int
    left_ms: float | None


class Windback(BaseModel):
    """What windback does for a device."""

    logs: list[str]
    open_gaps: int
    open_ms: float
    records: int
    samples: int
    reading: Reading | None
    waits: str


class Before(BaseModel):
    """What held at the beginning: the last sample before it."""

    time_ns: int
    value: Scalar
    status: int


class Trend(BaseModel):
    """One point, thinned. All lists are equally long: one entry a bucket that has samples.

    `at` is the bucket's number: it begins at `from_ns` + number x `step_ns`. `min` and `max` are
    None without a number that isn't Bad, `status` is the worst in the bucket and `last_status` that
    of its last sample. `wound` counts those from the device's own log; `gap` says that from some
    time in the bucket on nothing is known.
    """

    point: str
    unit: str
    type: str
    device: str
    scan: str
    before: Before | None
    at: list[int]
    min: list[float | None]
    max: list[float | None]
    first: list[Scalar]
    last: list[Scalar]
    first_ns: list[int]
    last_ns: list[int]
    status: list[int]
    last_status: list[int]
    count: list[int]
    wound: list[int]
    gap: list[bool]


class Trends(BaseModel):
    """Points over [from, to), with all that explains them.

    `gaps` are open, being filled or lost, `wound_back` filled from the device's log; stretches
    nearer than a bucket are joined. `reigns` says who was Main; what is known ends at `through_ns`.
    """

    from_ns: int
    to_ns: int
    step_ns: int
    buckets: int
    through_ns: int
    points: list[Trend]
    gaps: list[Gap]
    wound_back: list[Gap]
    reigns: list[Reign]


class Live(BaseModel):
    """Data of the events `snapshot` and `change` of /live.

    `skipped` counts changes since the last event that newer values of their points replaced.
    """

    now_ns: int
    skipped: int = 0
    points: list[Point] = Field(default_factory=list)
