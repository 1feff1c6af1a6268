"""From readings of a node to observations of its points. Pure.

A decoder remembers the shape (type, rank) in which its node arrives, and what it can make of it, so
that a value costs little and a mismatch is told once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from drivers.opcua.nodes import Item, Member
from drivers.opcua.values import (
    UNSUPPORTED,
    Builtin,
    Converter,
    clean_status,
    converter,
    fits,
    publish,
    type_name,
)
from gateway.model import Status, Value, is_bad

_RANKS = ("", "[]", "[,]")


class Reading(NamedTuple):
    """A value as a server gave it, in plain Python.

    `rank` is 0 for a scalar, 1 for an array, 2 for more; `source_ns` falls back on the server's
    own timestamp, and is None without either.
    """

    value: Any
    builtin: Builtin
    rank: int
    status: int
    source_ns: int | None


UNDECODABLE: Final = Reading(None, Builtin.NULL, 0, Status.BAD_DECODING_ERROR, None)
"""What the library can't decode; a server that says Bad_DecodingError itself is another thing."""


def has_element(values: Any, index: int) -> bool:
    """Whether an array has this element; a list in its place stands for none (`Dimensions`)."""
    return values is not None and index < len(values) and not isinstance(values[index], list)


class Decoder:
    """Turns readings of one node into values of its points."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.shape: tuple[Builtin, int] | None = None
        self._ready: list[tuple[int, Converter, int | None]] = []
        self._refused: list[tuple[Member, int, str]] = []

    @property
    def type_text(self) -> str | None:
        """The type in which the node arrives, such as `Double` or `Int16[]`; None: not yet seen."""
        if self.shape is None:
            return None
        return type_name(self.shape[0]) + _RANKS[self.shape[1]]

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Why points can't take this node's values: (point name, text) of each."""
        return [(member.name, text) for member, _, text in self._refused]

    def decode(self, reading: Reading) -> Iterator[tuple[int, Value, int]]:
        """(number, value, status) of each point on the node."""
        value, builtin, rank, status, _ = reading
        status, _ = clean_status(status) if status & 0xFFFF else (status, False)
        if is_bad(status):
            yield from self.fail(status)
            return
        if builtin is Builtin.NULL:
            yield from self.fail(Status.BAD_NO_DATA)
            return
        if (builtin, rank) != self.shape:
            self._learn(builtin, rank)
        for number, convert, index in self._ready:
            if index is None:
                yield number, *publish(convert, value, status)
            elif has_element(value, index):
                yield number, *publish(convert, value[index], status)
            else:
                yield number, None, Status.BAD_NO_DATA
        for member, refused, _ in self._refused:
            yield member.number, None, refused

    def fail(self, status: int) -> Iterator[tuple[int, Value, int]]:
        """Every point on the node is bad."""
        for member in self.item.members:
            yield member.number, None, status

    def _learn(self, builtin: Builtin, rank: int) -> None:
        self.shape = (builtin, rank)
        self._ready, self._refused = [], []
        for member in self.item.members:
            problem = self._problem(member, builtin, rank)
            if problem is None:
                entry = (member.number, converter(member.data_type), member.index)
                self._ready.append(entry)
            else:
                self._refused.append((member, *problem))

    def _problem(self, member: Member, builtin: Builtin, rank: int) -> tuple[int, str] | None:
        node, kind = self.item.text, self.type_text
        if builtin in UNSUPPORTED:
            return Status.BAD_NOT_SUPPORTED, f"{node} is {kind}: not supported"
        if rank > 1:
            return Status.BAD_NOT_SUPPORTED, f"{node} is a matrix {kind}: not supported"
        if rank == 1 and member.index is None:
            text = f"{node} is an array {kind}: name one element by `index:`"
            return Status.BAD_NOT_SUPPORTED, text
        if rank == 0 and member.index is not None:
            text = f"{node} is a single {kind}: `index:` belongs to arrays"
            return Status.BAD_CONFIGURATION_ERROR, text
        if not fits(builtin, member.data_type):
            text = f"{node} is {kind}, which does not fit `type: {member.data_type.value}`"
            return Status.BAD_TYPE_MISMATCH, text
        return None
