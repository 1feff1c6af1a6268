"""Who is told of commits, of the store's failure and return, and of a new partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.journal.records import Record

CommitSink = Callable[[Sequence[Record], bool], None]
"""(records in order, whether they are stored); unstored batches have seq 0."""
StoreSink = Callable[[int | None], None]
"""The first instant that is not kept (ns UTC), or None: the store works again, restate all."""
PartitionSink = Callable[[], None]
"""A new partition began: restate every point."""


class Sinks:
    """Who is told what; each is called on the loop, and its failure is nobody else's."""

    def __init__(self, on_event: Callable[[int, str], None]) -> None:
        self.commit: list[CommitSink] = []
        self.store: list[StoreSink] = []
        self.partition: list[PartitionSink] = []
        self._on_event = on_event

    def committed(self, records: Sequence[Record], stored: bool) -> None:
        for sink in self.commit:
            self._guard(lambda sink=sink: sink(records, stored))  # type: ignore[misc]

    def store_changed(self, failed_since_ns: int | None) -> None:
        for sink in self.store:
            self._guard(lambda sink=sink: sink(failed_since_ns))  # type: ignore[misc]

    def partition_began(self) -> None:
        for sink in self.partition:
            self._guard(sink)

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # one deaf listener must not stop the journal for all others
            self._on_event(800, f"a listener of the journal failed: {error!r}")
