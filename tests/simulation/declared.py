"""What a node's file declares: gaps and what became of them, by the product's own functions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from gateway.journal import ledger
from gateway.journal.coverage import Lost, gaps, lagging, withdrawn
from gateway.journal.fills import Written, states
from gateway.journal.history import FileView
from gateway.model import NS_PER_S, Cause, Gap, Term
from tests.simulation.store import Store

HORIZON_NS: Final = 5 * NS_PER_S
"""As gateway/journal/reading.py has it."""
_VIEW: Final = FileView(Path(), 0, None)


class OneFile:
    """A disk that is one file, as the ledger's readers want it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._terms = {
            term_id: Term(number, node, int(nonce, 16))
            for term_id, number, node, nonce in connection.execute("SELECT * FROM term")
        }

    def open(self, view: FileView) -> sqlite3.Connection:
        return self._connection

    def term(self, view: FileView, term_id: int) -> Term:
        return self._terms[term_id]

    def segment(self, view: FileView, segment_id: int) -> Any:
        raise AssertionError("nothing is in segments here")

    def broken(self, view: FileView, why: str) -> None:
        raise AssertionError(why)


def told_fills(
    connection: sqlite3.Connection, device: str, from_ns: int, to_ns: int
) -> list[Written]:
    """What was judged of a device's log, and holds."""
    return ledger.fills(OneFile(connection), [_VIEW], device, from_ns, to_ns)


def gaps_now(store: Store, now_ns: int, device: str, from_ns: int, to_ns: int) -> list[Gap]:
    """The gaps as the journal of a node that reigns tells them."""
    connection = store.disk.connection
    found = ledger.coverage(OneFile(connection), [_VIEW], device, from_ns, to_ns)
    fills = told_fills(connection, device, from_ns, to_ns)
    reigns, losses = store.term.number > 0, list(found.losses)
    failed_ns = store.failed_since_ns if reigns else None
    end_ns, behind = now_ns, {}
    if failed_ns is not None:
        losses.append(Lost(Cause.STORE, failed_ns, now_ns))
    else:
        claim = store.claim
        last_ns = store.opened_ns if claim is None else claim.through_ns
        fresh = last_ns > now_ns - HORIZON_NS
        end_ns = last_ns if fresh else max(last_ns, now_ns - HORIZON_NS)
        behind = lagging(claim) if fresh and claim is not None else {}
    begin_ns = max(from_ns, store.kept.born_ns or 0)
    missing: list[Gap] = []
    for scan_class in found.scan_classes:
        until_ns = max(begin_ns, min(to_ns, behind.get((device, scan_class), end_ns)))
        missing += gaps(
            device,
            scan_class,
            (begin_ns, until_ns),
            found.runs,
            found.holes,
            losses,
            configured=lambda term, revision: store.kept.has_device(revision, term, device),
            rulings=store.kept.rulings,
        )
    return states(missing, fills, withdrawn(store.kept.rulings))
