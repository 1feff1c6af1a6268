"""What a vote lasts, how votes are counted, and when a trouble is told."""

from __future__ import annotations

import pytest

from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair.complaint import ALARM, WELL, Complaint
from gateway.pair.votes import LeaseTiming, Votes, etcd_lease_ns, etcd_renew_ns, ttl_s


def test_all_times_follow_from_takeover_after() -> None:
    timing = LeaseTiming.of(NS_PER_S)
    assert timing.renew_ns == timing.timeout_ns == 200 * NS_PER_MS
    assert timing.lease_ns == NS_PER_S
    assert timing.flight_ns == 100 * NS_PER_MS
    assert timing.watch_ns == 1_102_002_003
    assert timing.takeover_max_ns == pytest.approx(2.102 * NS_PER_S, rel=1e-3)


@pytest.mark.parametrize("takeover_ms", [30, 31, 333, 1_000, 2_001, 30_000])
def test_the_inequalities_hold_for_every_takeover_after(takeover_ms: int) -> None:
    timing = LeaseTiming.of(takeover_ms * NS_PER_MS + 7)
    assert timing.lease_ns >= 2 * timing.renew_ns + 3 * timing.timeout_ns
    assert timing.watch_ns * 999 >= timing.lease_ns * 1_001 + timing.flight_ns * 999
    assert timing.lease_ns <= takeover_ms * NS_PER_MS + 7


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ((0, 1, 9, 1, 99), "positive"),
        ((2, 3, 99, 1, 999), "tau <= R"),
        ((2, 2, 9, 1, 99), "L >= 2 R"),
        ((2_000, 2_000, 10_000, 1, 10_020), "W >= L"),
    ],
)
def test_times_for_which_the_proof_fails_are_refused(
    times: tuple[int, int, int, int, int], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        LeaseTiming(*times)


def test_an_etcd_lease_has_whole_seconds_and_counts_for_less() -> None:
    assert [ttl_s(ms * NS_PER_MS) for ms in (300, 1_000, 1_200, 2_000)] == [2, 2, 3, 4]
    assert etcd_lease_ns(2, 100 * NS_PER_MS) == 1_896_003_996
    assert etcd_renew_ns(2) == 400 * NS_PER_MS


@pytest.mark.parametrize(
    ("ends", "until"),
    [([], 0), ([5], 5), ([5, 9], 5), ([5, 0, 9], 5), ([0, 0, 9], 0), ([1, 2, 3, 4, 5], 3)],
)
def test_the_reign_holds_until_the_majority_th_latest_end(ends: list[int], until: int) -> None:
    votes = Votes(f"w{i}" for i in range(len(ends)))
    for i, end in enumerate(ends):
        votes.tell(f"w{i}", end)
    assert votes.until_ns == until
    assert len(votes) == len(ends)


def test_only_a_change_of_the_count_is_news() -> None:
    votes = Votes("abc")
    assert not votes.tell("a", 10)
    assert votes.tell("b", 8)
    assert not votes.tell("a", 20)
    assert votes.tell("c", 15)
    assert votes.until_ns == 15
    assert votes.held("b", 7)
    assert not votes.held("b", 8)


def test_a_trouble_is_told_once_when_it_lasts_and_once_when_it_is_over() -> None:
    told: list[tuple[int, str]] = []
    complaint = Complaint("witness plc1", 10, lambda *alarm: told.append(alarm))
    complaint.is_now(0, "no answer", "Look")
    complaint.is_now(9, "no answer", "Look")
    assert told == []
    complaint.is_now(10, "no answer", "Look")
    complaint.is_now(11, "no answer", "Look")
    assert told == [(ALARM, "witness plc1: no answer. Look")]
    assert (complaint.text, complaint.remedy) == ("no answer", "Look")
    complaint.is_now(12, "refused")
    assert told[1:] == [(ALARM, "witness plc1: refused")]
    complaint.is_now(13, "")
    complaint.is_now(14, "")
    assert told[2:] == [(WELL, "witness plc1 is well again")]


def test_a_trouble_that_passes_is_not_told() -> None:
    told: list[tuple[int, str]] = []
    complaint = Complaint("witness plc1", 10, lambda *alarm: told.append(alarm))
    complaint.is_now(0, "no answer")
    complaint.is_now(5, "")
    complaint.is_now(12, "no answer")
    assert told == []
