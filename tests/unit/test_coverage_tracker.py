"""What may be claimed, and what must be declared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.coverage import HOLES_KEPT_MAX, CoverageTracker
from gateway.journal.records import Coverage, Hole
from gateway.model import Cause

KEY = ("plc", "fast")
OTHER = ("rtu", "slow")


def tracker(start: int = 0, patience: int = 10) -> CoverageTracker:
    return CoverageTracker([(KEY, patience), (OTHER, patience)], 7, start)


def holes(record: Coverage | None, device: str = "plc") -> list[tuple[int, int, str]]:
    assert record is not None
    return [(h.from_ns, h.to_ns, h.cause) for h in record.holes if h.device == device]


def test_before_the_first_good_scan_everything_is_a_hole_called_starting() -> None:
    cover = tracker()
    record = cover.record(100)
    assert record == Coverage(
        7,
        0,
        100,
        (Hole("plc", "fast", 0, 100, "starting"), Hole("rtu", "slow", 0, 100, "starting")),
    )
    assert cover.through_ns == 100
    assert cover.record(100) is None


def test_the_first_good_scan_ends_the_hole_and_begins_a_stream() -> None:
    cover = tracker()
    assert cover.scanned(KEY, 40, 140) is True
    assert cover.scanned(KEY, 140, 240) is False
    assert holes(cover.record(200)) == [(0, 40, "starting")]
    assert holes(cover.record(220)) == []


def test_an_answer_asked_for_before_the_clock_was_set_claims_nothing_before_itself() -> None:
    cover = tracker()
    cover.failed(KEY, Cause.CLOCK, 0)
    assert cover.scanned(KEY, 3600, 5) is True
    cover.scanned(OTHER, 3600, 3700)
    assert holes(cover.record(3601)) == [(0, 3600, "clock")]


def test_what_was_lost_for_all_is_a_hole_from_there_on_also_of_a_key_that_failed_later() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 100)
    cover.scanned(OTHER, 1, 100)
    cover.failed(KEY, Cause.DEVICE, 50)
    cover.failed_all(Cause.STORE, 30)
    record = cover.record(60)
    for device in ("plc", "rtu"):
        assert holes(record, device)[-1] == (30, 60, "store")


def test_a_key_that_is_merely_late_holds_the_claim_back_and_nothing_is_lost() -> None:
    cover = tracker(patience=50)
    cover.scanned(KEY, 1, 100)
    cover.scanned(OTHER, 1, 1000)
    record = cover.record(130)
    assert record is not None and record.through_ns == 100
    cover.scanned(KEY, 131, 200)
    later = cover.record(150)
    assert later is not None
    assert (later.since_ns, later.through_ns, holes(later)) == (100, 150, [])


def test_a_key_that_is_late_beyond_its_patience_is_declared_and_the_others_go_on() -> None:
    cover = tracker(patience=50)
    cover.scanned(KEY, 1, 100)
    cover.scanned(OTHER, 1, 1000)
    record = cover.record(151)
    assert record is not None and record.through_ns == 151
    assert holes(record) == [(0, 1, "starting"), (100, 151, "overrun")]


def test_a_fault_opens_a_hole_where_the_key_was_complete_through() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 100)
    cover.failed(KEY, Cause.LINK, 120)
    assert cover.in_hole(KEY)
    assert holes(cover.record(300)) == [(0, 1, "starting"), (100, 300, "link")]
    cover.scanned(KEY, 350, 400)
    assert holes(cover.record(360)) == [(300, 350, "link")]


def test_a_hole_whose_cause_changes_is_two_holes() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 100)
    cover.failed(KEY, Cause.LINK, 120)
    cover.failed(KEY, Cause.LINK, 140)
    cover.failed(KEY, Cause.DISABLED, 160)
    assert holes(cover.record(200))[1:] == [(100, 160, "link"), (160, 200, "disabled")]


def test_a_slow_class_whose_next_instant_is_far_ends_when_the_loss_is_noticed() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 1000)
    cover.failed(KEY, Cause.LINK, 120)
    cover.scanned(KEY, 150, 1150)
    assert holes(cover.record(200)) == [(0, 1, "starting"), (120, 150, "link")]


def test_the_cause_of_an_open_hole_changes_from_then_on_when_the_moment_is_known() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 100)
    cover.failed(KEY, Cause.LINK, 110)
    cover.scanned(KEY, 150, 200)
    cover.failed_all(Cause.STORE, 180)
    cover.failed(KEY, Cause.CLOCK, 250)
    assert holes(cover.record(300)) == [
        (0, 1, "starting"),
        (100, 150, "link"),
        (180, 250, "store"),
        (250, 300, "clock"),
    ]


def test_skipped_instants_are_a_hole_of_their_own() -> None:
    cover = tracker()
    cover.scanned(KEY, 1, 500)
    cover.skipped(KEY, 200, 300, Cause.OVERRUN)
    cover.skipped(OTHER, 200, 300, Cause.OVERRUN)
    assert holes(cover.record(250)) == [(0, 1, "starting"), (200, 250, "overrun")]
    assert holes(cover.record(400)) == [(250, 300, "overrun")]


def test_the_number_of_holes_between_two_records_is_bounded_and_none_is_forgotten() -> None:
    cover = tracker()
    for start in range(0, 1000 * (HOLES_KEPT_MAX + 10), 1000):
        cover.scanned(KEY, start + 500, start + 600)
        cover.failed(KEY, Cause.DEVICE, start + 700)
    found = holes(cover.record(10**6))
    assert len(found) <= HOLES_KEPT_MAX + 2
    declared = sum(to - start for start, to, _ in found)
    assert declared >= 390 * (HOLES_KEPT_MAX + 9)


steps = st.lists(
    st.tuples(st.sampled_from(["good", "bad", "skip", "claim", "quiet"]), st.integers(1, 60)),
    max_size=60,
)


@given(steps)
def test_no_instant_is_claimed_that_no_scan_answered_for(events: list[tuple[str, int]]) -> None:
    """A dumb model: the set of instants that good scans proved, against all that was claimed."""
    cover = CoverageTracker([(KEY, 25)], 1, 0)
    now, proven, claimed, through = 0, set[int](), set[int](), 0
    for kind, elapsed in events:
        now += elapsed
        if kind == "good":
            end = now + 10
            start = through if not cover.in_hole(KEY) and through >= now - 25 else now
            proven |= set(range(start, end))
            cover.scanned(KEY, now, end)
            through = max(through, end)
        elif kind == "bad":
            cover.failed(KEY, Cause.DEVICE, now)
        elif kind == "skip":
            cover.skipped(KEY, now - 3, now, Cause.OVERRUN)
        elif kind == "claim" and (record := cover.record(now)) is not None:
            instants = set(range(record.since_ns, record.through_ns))
            for hole in record.holes:
                instants -= set(range(hole.from_ns, hole.to_ns))
            claimed |= instants
    assert claimed <= proven
