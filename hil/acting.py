"""What a word of a timeline is made of, for every family of them; the table is in `hil.acts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from hil.gateway import ProgramError
from hil.pair import Pair, PairNode
from hil.words import Shape

Word = Callable[[Pair, PairNode | None, Mapping[str, Any]], AbstractAsyncContextManager[None]]
"""Entering it does it, leaving it undoes it."""


class Entry(NamedTuple):
    """A word and what may be written of it."""

    word: Word
    shape: Shape


def the_node(node: PairNode | None) -> PairNode:
    """The node that a word of nodes was given. Raises ProgramError."""
    if node is None:
        raise ProgramError("this word is done to a node")
    return node


def running(node: PairNode | None) -> PairNode:
    """The same, once more sure that its program runs. Raises ProgramError."""
    found = the_node(node)
    if not found.program.running:
        raise ProgramError(f"node {found.name} does not run")
    return found
