"""What a method of reading a log asks for, and what it is told: sans-IO, as `sunspec` is.

A method is a generator. It yields an operation and is sent what came of it; it yields a `LogPage`
whenever a part of the log is read, and is sent None. A request that the device never answered is
thrown in as the DeviceError that it is, and a read that nobody wants any more as `GivenUp`; a
method that holds a lock gives it back in a `finally` by `Release`, whose answer it doesn't see.
When the reign is over nothing is sent any more: then the device's own time-out ends the lock.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

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
    """A request PDU that no other operation makes; its reply is bytes after the function code.

    `size`: bytes of the reply's data where that is known (None: any).
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


Op = Read | Write | Call | Wait | Release
Reading = Generator[Op | LogPage, Answer | Refusal | None, Any]
"""Sent: Answer or Refusal for Read, Write and Call, None for Wait, Release and a page."""
