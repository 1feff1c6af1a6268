"""Kept records that go before all others: read page by page, one page in memory. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gateway.journal.records import Adopted
from gateway.model import Term
from gateway.replication.effects import LoadKept
from gateway.replication.lanes import ITEM_OVERHEAD


class KeptQueue:
    """What is to be sent of the state file's records; unknown until `want` says it."""

    def __init__(self) -> None:
        self._terms: tuple[Term, ...] | None = None
        self._page: LoadKept | None = None
        self._loading = False
        self._ready: deque[Adopted] = deque()

    def want(self, terms: tuple[Term, ...]) -> None:
        """These terms' kept records are to be sent."""
        self._terms = terms

    def add(self, term: Term) -> None:
        """This term's as well."""
        self._terms = (*(self._terms or ()), term)

    @property
    def ahead(self) -> int:
        """Records to send before any other may go; at least 1 while that is not known."""
        pending = self._terms != () or self._page is not None
        return len(self._ready) + (1 if pending else 0)

    def load(self) -> LoadKept | None:
        """The page to read now, if any."""
        if self._ready or self._loading:
            return None
        if self._page is None and self._terms:
            self._page, self._terms = LoadKept(self._terms, None), ()
        self._loading = self._page is not None
        return self._page

    def loaded(self, page: LoadKept, items: Sequence[Adopted]) -> None:
        """A page was read; an empty one was the last."""
        if page != self._page or not self._loading:
            return
        self._loading = False
        self._ready.extend(items)
        self._page = LoadKept(page.terms, items[-1].position) if items else None

    def take(self, records: int, size: int, at_least_one: bool) -> tuple[list[Adopted], int]:
        """The next records within the room given, and the bytes that they take."""
        taken: list[Adopted] = []
        cost = 0
        while self._ready and len(taken) < records:
            more = len(self._ready[0].wire) + ITEM_OVERHEAD
            if cost + more > size and (taken or not at_least_one):
                break
            cost += more
            taken.append(self._ready.popleft())
        return taken, cost
