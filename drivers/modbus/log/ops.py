"""What a method of reading a log asks for, and what it is told: sans-IO, as `sunspec` is.

A method is a generator. It yields an operation and is sent what came of it; it yields a `LogPage`
whenever a part of the log is read, and is sent None. A request that the device never answered is
thrown in as the DeviceError that it is, and a read that nobody wants any more as `GivenUp`; a
method that holds a lock gives it back in a `finally` by `Release`, whose answer it doesn't see.
When the reign is over nothing is sent any more: then the device's own time-out ends the lock.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from gateway.driver import LogPage
from profiles.schema import Area


class GivenUp(Exception):
    """Thrown into a method when nobody wants the rest: it gives back its lock and ends."""


class Read(NamedTuple):
    """Read `size` registers. `once`: the read itself changes something, so it is never repeated."""

    area: Area
    address: int
    size: int
    once: bool = False


class Write(NamedTuple):
    """Write holding registers: one by FC06, more by FC16. Sent once, its echo is checked."""

    address: int
    words: tuple[int, ...]


class Call(NamedTuple):
    """A request PDU that no other operation makes: `payload` is what follows the function code.

    The answer's `data` is all that follows the function code of the reply, a byte count included;
    `size` is how many bytes that must be, None: any. Without `once` it may be repeated.
    """

    function: int
    payload: bytes
    once: bool = False
    size: int | None = None


class Wait(NamedTuple):
    """Let time pass; the line is free meanwhile."""

    ns: int


class Release(NamedTuple):
    """Writes that give back a lock: tried once, on every way out; failures are passed over."""

    writes: tuple[Write, ...]


class Learn(NamedTuple):
    """What was discovered about this log: JSON-like, kept and replicated as a fact of the device.

    It replaces what was learned before, and comes back in `Job.fact`, on either node. Keys that
    mean the same for every method: `points`, names of the points logged, `depth_records` and
    `resolution_ns`.
    """

    fact: dict[str, Any]


class Answer(NamedTuple):
    """The reply: `words` of a Read, `data` of a Call; sent and received in ns UTC."""

    words: tuple[int, ...]
    data: bytes
    sent_ns: int
    received_ns: int


class Refusal(NamedTuple):
    """The device answered with an exception: a log's answer as good as any (no such record)."""

    code: int
    sent_ns: int
    received_ns: int


Op = Read | Write | Call | Wait | Release | Learn
_T = TypeVar("_T")
Asking = Generator[Op | LogPage, Answer | Refusal | None, _T]
"""A part of a method that comes to a result: `found = yield from part(…)`."""
Reading = Asking[Any]
"""Sent: Answer or Refusal for Read, Write and Call, None for the others and a page."""


def ask(op: Read | Write | Call) -> Asking[Answer | Refusal]:
    """Yield a request and give what came of it, typed."""
    answer = yield op
    assert answer is not None
    return answer
