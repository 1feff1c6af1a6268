"""The mistakes found so far, bounded and in order, and the nearest known word to a mistaken one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Any, Final

from gateway.errors import Problem

SHOWN_PER_FILE: Final = 100
_VALUE_SHOWN: Final = 60


class Found:
    """Collects problems and warnings; of each file the first 100 are kept, the rest counted."""

    def __init__(self) -> None:
        self._problems: dict[str, list[Problem]] = {}
        self._warnings: dict[str, list[Problem]] = {}
        self._more: dict[str, int] = {}
        self._first_more: dict[str, int] = {}

    def add(self, problem: Problem) -> None:
        """Keep a mistake that makes the configuration unusable."""
        kept = self._problems.setdefault(problem.file, [])
        if len(kept) < SHOWN_PER_FILE:
            if problem not in kept:
                kept.append(problem)
            return
        self._more[problem.file] = self._more.get(problem.file, 0) + 1
        self._first_more.setdefault(problem.file, problem.line)

    def warn(self, problem: Problem) -> None:
        """Keep something doubtful that doesn't hinder a start."""
        kept = self._warnings.setdefault(problem.file, [])
        if len(kept) < SHOWN_PER_FILE and problem not in kept:
            kept.append(problem)

    def full(self, file: str) -> bool:
        """Whether further mistakes of a file are only counted: then spare the search for words."""
        return len(self._problems.get(file, ())) >= SHOWN_PER_FILE

    @property
    def count(self) -> int:
        """How many mistakes there are, shown or not."""
        return sum(map(len, self._problems.values())) + sum(self._more.values())

    def problems(self) -> list[Problem]:
        """The mistakes by file and line; where some aren't shown, the last one says how many."""
        shown: list[Problem] = []
        for file in sorted(self._problems):
            shown += sorted(self._problems[file], key=_order)
            if file in self._more:
                message = f"and {self._more[file]} more problems in this file"
                remedy = "Mend these first."
                shown.append(Problem(file, self._first_more[file], "", None, message, remedy))
        return shown

    def warnings(self) -> list[Problem]:
        """What is doubtful, by file and line."""
        return sorted((p for kept in self._warnings.values() for p in kept), key=_order)


def _order(problem: Problem) -> tuple[str, int, str]:
    return problem.file, problem.line, problem.where


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a person most likely meant, or None."""
    by_lower = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), by_lower, n=5, cutoff=0.6)
    if not matches:
        return None

    def likeness(name: str) -> float:
        return SequenceMatcher(None, name, word.lower()).ratio()

    # Of two that are as near (`float32` and `float64` to `float`) the first in order.
    best = max(map(likeness, matches))
    return by_lower[min(name for name in matches if likeness(name) == best)]


def suggest(word: str, known: Iterable[str], what: str) -> str:
    """A remedy for an unknown word: the nearest known one, or all of them if they are few."""
    words = sorted(known)
    if (near := nearest(word, words)) is not None:
        return f"Did you mean `{near}`?"
    if not words:
        return f"There are no {what} yet."
    more = f" and {len(words) - 12} more" if len(words) > 12 else ""
    return f"Known {what}: {', '.join(words[:12])}{more}."


def shown(value: Any) -> Any:
    """A value as a problem shows it: short scalars only, since the line is named anyway."""
    if isinstance(value, str) and len(value) > _VALUE_SHOWN:
        return value[:_VALUE_SHOWN] + "…"
    return value if isinstance(value, str | int | float | bool) else None
