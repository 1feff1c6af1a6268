"""`ring`: an array of records in PLC memory with a header; nothing is ever written. Sans-IO.

The layout is in profiles/README.md. Records that lie side by side are read together; the header is
read before and after. A record counts if its seq is the expected one, its last word copies the low
half of seq, and the header, read afterwards, does not call it overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from drivers.modbus.log import addressed
from drivers.modbus.log.addressed import Survey
from drivers.modbus.log.clock import nearest
from drivers.modbus.log.job import MISFIT, Job
from drivers.modbus.log.ops import Asking, Read, Reading, Refusal, Wait, ask
from drivers.modbus.log.paging import OVERWRITTEN, TORN
from drivers.modbus.log.places import number
from drivers.modbus.log.records import Entry, RecordForm
from drivers.modbus.log.times import clock_reading, wall_ns, with_fraction
from gateway.driver import ClockReading
from gateway.errors import LogUnavailable
from gateway.model import NS_PER_MS, NS_PER_S
from profiles.records import Fraction, Record, TimeFormat, Word
from profiles.registers import Area, WireType, parse_address
from profiles.windback import Ring

MODULO: Final = 2**32
HEADER_TRIES: Final = 3
"""A header that contradicts itself was read while the PLC wrote it."""
_SOON_NS: Final = 5 * NS_PER_S
_MOMENT_NS: Final = 3 * NS_PER_MS
"""After this a clock that showed 0 ms shows more, if it knows milliseconds at all."""


class _Header(NamedTuple):
    magic: int
    version: int
    record_words: int
    capacity: int
    newest: int
    oldest: int


def read(job: Job) -> Reading:
    """Read what is wanted of a ring."""
    ring = job.section
    assert isinstance(ring, Ring)
    yield from addressed.read(job, _Log(job, ring))


def look(job: Job) -> Reading:
    """Read the clock alone, from the header."""
    ring = job.section
    assert isinstance(ring, Ring)
    seen = yield from _Log(job, ring).survey()
    yield from addressed.learn_clock(job, seen.clock)


class _Log:
    """A ring as an addressed log."""

    proven = False

    def __init__(self, job: Job, ring: Ring) -> None:
        self._job = job
        self._ring = ring
        address, named = parse_address(ring.address or 0, job.base)
        self._base = address + job.shift("address")
        self._area: Area = named or ring.register_
        self._header: _Header | None = None
        self._form: RecordForm | None = None
        self._knows_ms: bool | None = None

    @property
    def per_fetch(self) -> int:
        words = self._header.record_words if self._header is not None else 1
        return max(1, self._job.limits.max_read_words // words)

    # ----------------------------------------------------------------------------------- the header

    def survey(self) -> Asking[Survey]:
        """Read the header, again while it contradicts itself."""
        for _ in range(HEADER_TRIES):
            words, sent_ns, received_ns = yield from self._words(
                self._base, self._ring.header.words
            )
            header = self._parse(words)
            held = (header.newest - header.oldest) % MODULO + 1
            # 0 is no record, unless the numbers have just started again.
            empty = header.newest == 0 and (header.oldest == 0 or held > header.capacity)
            if empty or held <= header.capacity + 1:
                break
        else:
            detail = f"the ring's header says {header.oldest} to {header.newest}"
            raise LogUnavailable(f"{detail} of {header.capacity} records", _SOON_NS)
        self._use(header)
        # The PLC advances the newest number first: then the oldest is overwritten already.
        oldest = header.oldest if held <= header.capacity else (header.oldest + 1) % MODULO
        return Survey(
            oldest,
            header.newest,
            empty,
            received_ns,
            MODULO,
            (yield from self._clock(words, sent_ns, received_ns)),
            (header.capacity,),
            (header.version, header.record_words),
            header.capacity,
        )

    def _parse(self, words: Sequence[int]) -> _Header:
        """Raises LogUnavailable when it isn't a ring's header, or not one for these columns."""
        ring, at = self._ring, self._ring.header
        header = _Header(
            words[at.magic_at],
            words[at.version_at],
            words[at.record_words_at],
            words[at.capacity_at],
            self._long(words, at.head_seq_at),
            self._long(words, at.oldest_seq_at),
        )
        if (header.magic, header.version) != (ring.magic, ring.version):
            raise LogUnavailable(
                f"no ring of version {ring.version} begins at {self._base}: the words there are "
                f"{header.magic:#06x} and {header.version}",
                MISFIT,
                "Check `address:`, and the PLC's program",
            )
        end = self._base + at.words + header.capacity * header.record_words
        if end == self._base + at.words or end > 0x10000:
            room = f"{header.capacity} records of {header.record_words} words"
            raise LogUnavailable(f"the ring has no room for {room}", MISFIT)
        return header

    def _use(self, header: _Header) -> None:
        """Lay the records out, if that isn't done. Raises LogUnavailable when they don't fit.

        The last word of a record is not the form's: it is compared before anything else.
        """
        before, self._header = self._header, header
        if before is not None and before.record_words == header.record_words:
            return
        at, order = self._ring.record, self._ring.byte_order
        record = Record(
            key=Word(at=at.seq_at, type=WireType.UINT32),
            time=Word(
                at=at.time_at,
                type=WireType.UINT32,
                format=TimeFormat.UNIX_S,
                fraction=Fraction(at=at.ms_at, unit="ms"),
            ),
            quality=Word(at=at.quality_at),
            columns_at=at.columns_at,
            byte_order=order,
        )
        self._form = self._job.form(record, words=header.record_words - 1, own_types=True)

    def _clock(
        self, words: Sequence[int], sent_ns: int, received_ns: int
    ) -> Asking[ClockReading | None]:
        """The PLC's clock as the header's words show it, or as they do a moment later.

        A PLC that knows no milliseconds leaves the word at 0, where one that does stands once in a
        thousand reads.
        """
        at, order = self._ring.header, self._ring.byte_order
        if not words[at.clock_ms_at] and self._knows_ms is None:
            yield Wait(_MOMENT_NS)
            words, sent_ns, received_ns = yield from self._words(self._base, at.words)
        ms = words[at.clock_ms_at]
        self._knows_ms = self._knows_ms or ms > 0
        wall = wall_ns(TimeFormat.UNIX_S, words[at.clock_at : at.clock_at + 2], order)
        wall = with_fraction(wall, ms, "ms")
        if wall is None:
            return None
        device_ns = nearest(wall, self._job.zone, received_ns)
        resolution_ns = NS_PER_MS if self._knows_ms else NS_PER_S
        return clock_reading(device_ns, sent_ns, received_ns, resolution_ns)

    def _long(self, words: Sequence[int], at: int) -> int:
        return int(number(words[at : at + 2], WireType.UINT32, self._ring.byte_order) or 0)

    # ---------------------------------------------------------------------------------- the records

    def fetch(self, number: int, count: int) -> Asking[Sequence[Entry | str]]:
        """Records from a slot on, up to the ring's end."""
        header, form = self._header, self._form
        assert header is not None
        assert form is not None
        seq = number % MODULO
        slot = seq % header.capacity
        # Where the numbers start again the slots need not follow one another.
        count = min(count, self.per_fetch, header.capacity - slot, MODULO - seq)
        size = header.record_words
        first = self._base + self._ring.header.words + slot * size
        words, *_ = yield from self._words(first, count * size)
        return [
            self._record(form, seq + at, words[at * size : (at + 1) * size]) for at in range(count)
        ]

    def _record(self, form: RecordForm, seq: int, words: Sequence[int]) -> Entry | str:
        header = self._header
        assert header is not None
        entry = form.decode(words[:-1])
        found = entry.number or 0
        if (found, words[-1]) == (seq, seq & 0xFFFF):
            return entry if entry.wall_ns is not None else TORN
        newer = (found - seq) % MODULO
        whole = words[-1] == found & 0xFFFF and newer % header.capacity == 0
        return OVERWRITTEN if whole and 0 < newer < MODULO // 2 else TORN

    def _words(self, address: int, count: int) -> Asking[tuple[list[int], int, int]]:
        """Registers in as few reads as the device allows; first sent and last received, in ns."""
        words: list[int] = []
        sent_ns = received_ns = 0
        while len(words) < count:
            size = min(count - len(words), self._job.limits.max_read_words)
            answer = yield from ask(Read(self._area, address + len(words), size))
            if isinstance(answer, Refusal):
                raise LogUnavailable(
                    f"the ring's registers {address} to {address + count - 1} were refused: "
                    f"exception {answer.code}",
                    MISFIT if answer.code in (1, 2, 3) else _SOON_NS,
                    "Check `address:`, and the PLC's program",
                )
            sent_ns, received_ns = sent_ns or answer.sent_ns, answer.received_ns
            words += answer.words
        return words, sent_ns, received_ns
