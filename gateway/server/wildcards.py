"""The patterns of the Like operator (OPC 10000-4 section 7.7.3, Table 124). Pure.

`%` is any text, `_` any character, `[abc]` and `[a-f]` one of those, `[^…]` one of the others, and
a character after `\\` stands for itself. What lies between two `%` has a fixed length and is looked
for from left to right, so nothing is tried twice: the time taken is at most text times pattern.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class _Piece(NamedTuple):
    """What lies between two `%`: as an expression, and how many characters it takes."""

    expression: re.Pattern[str]
    size: int


def matches(text: str, pattern: str) -> bool:
    """Whether a whole text fits a pattern; a `[` that nothing ends stands for itself."""
    first, *others = _pieces(pattern)
    if not others:
        return first.expression.fullmatch(text) is not None
    if first.expression.match(text) is None:
        return False
    at, last = first.size, others.pop()
    for piece in others:
        found = piece.expression.search(text, at)
        if found is None:
            return False
        at = found.end()
    ends_at = len(text) - last.size
    return ends_at >= at and last.expression.match(text, ends_at) is not None


@lru_cache(maxsize=256)
def _pieces(pattern: str) -> tuple[_Piece, ...]:
    pieces: list[_Piece] = []
    places: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "%":
            pieces.append(_piece(places))
            places = []
        elif character == "_":
            places.append(".")
        elif character == "\\" and at < len(pattern):
            places.append(re.escape(pattern[at]))
            at += 1
        elif character == "[" and (end := pattern.find("]", at)) > at:
            places.append(_list(pattern[at:end]))
            at = end + 1
        else:
            places.append(re.escape(character))
    pieces.append(_piece(places))
    return tuple(pieces)


def _piece(places: list[str]) -> _Piece:
    return _Piece(re.compile("".join(places), re.DOTALL), len(places))


def _list(inside: str) -> str:
    """One place for a character; an empty list takes none, and its opposite takes any."""
    others = inside.startswith("^")
    inside = inside[others:]
    found, at = "", 0
    while at < len(inside):
        low, high = inside[at], inside[at]
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            high = inside[at + 2]
            at += 2
        at += 1
        if low <= high:
            found += f"{re.escape(low)}-{re.escape(high)}"
    if not found:
        return "." if others else r"(?!.)."
    return f"[{'^' if others else ''}{found}]"
