"""Batches of another revision, by the numbers of the points of the one that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.acquisition.live import LiveTable
from gateway.journal.records import Batch, SampleRow
from gateway.model import Term

TRANSLATIONS_MAX: Final = 16


class Translations:
    """`names` gives the points of a revision as a term knew it, None if that isn't known.

    To be cleared whenever what `names` tells, or the revision that runs, may have changed.
    """

    def __init__(self, names: Callable[[int, Term], Sequence[str] | None]) -> None:
        self._names = names
        self._known: dict[tuple[int, Term], list[int | None] | None] = {}

    def clear(self) -> None:
        """Ask anew."""
        self._known.clear()

    def here(self, live: LiveTable, term: Term, body: Batch) -> tuple[SampleRow, ...]:
        """The samples of a batch of a term, of the points that there are here."""
        key = (body.revision, term)
        if key not in self._known:
            names = self._names(*key)
            if names is None:
                return ()
            if len(self._known) >= TRANSLATIONS_MAX:
                self._known.clear()
            found = live.translation(names)
            self._known[key] = None if found == list(range(len(found))) else found
        if (numbers := self._known[key]) is None:
            return body.samples
        return tuple(
            (number, *row[1:]) for row in body.samples if (number := numbers[row[0]]) is not None
        )
