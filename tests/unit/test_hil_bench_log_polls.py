"""What the bench of windback takes out of an outstation's log of polls."""

from __future__ import annotations

from gateway.model import NS_PER_MS
from hil.bench.log_polls import log_reads, scans
from hil.outstation.polls import Poll

RING_AT = 2000
PERIOD_NS = 200 * NS_PER_MS


def poll(at_ms: float, address: int, took_ms: float = 1.0, device: str = "plc1") -> Poll:
    at_ns, end_ns = round(at_ms * NS_PER_MS), round((at_ms + took_ms) * NS_PER_MS)
    return Poll(at_ns, end_ns, device, 1, 3, "holding", address, 10, "", "ok")


def test_the_reads_of_a_log_are_told_from_scans_and_from_other_devices() -> None:
    polls = [
        poll(0, 0),
        poll(10, RING_AT),
        poll(20, RING_AT + 120, 5.0),
        poll(40, 0),
        poll(90, RING_AT, device="plc3"),
    ]
    found = log_reads(polls, "plc1", RING_AT)
    assert found is not None
    assert (found.from_ns, found.to_ns) == (10 * NS_PER_MS, 25 * NS_PER_MS)
    assert (found.requests, found.answering_ms, found.took_ms) == (2, 6.0, 15.0)
    assert log_reads(polls, "plc2", RING_AT) is None


def test_a_scan_is_missed_or_so_late() -> None:
    times = [7, 207, 407, 640, 807, 1207, 1407]  # one is 33 ms late, one is not there
    polls = [poll(at, 0) for at in times] + [poll(100, RING_AT)]
    found = scans(polls, "plc1", RING_AT, PERIOD_NS, 0, 1500 * NS_PER_MS)
    assert (found.due, found.missed) == (8, 1)
    assert sorted(found.late_ms) == [0.0] * 6 + [33.0]
    assert scans([], "plc1", RING_AT, PERIOD_NS, 0, 0).due == 0
