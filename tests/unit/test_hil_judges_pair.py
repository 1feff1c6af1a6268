"""The judges of a pair: turns at a device, requests that crossed, histories that differ."""

from __future__ import annotations

import msgspec

from gateway.model import NS_PER_S as S
from gateway.model import Cause, Gap, HistoryRow, Origin, Position, Term
from hil.judges_pair import asker, doubled, longest_gap_ns, strays, turns, unlike
from hil.outstation.polls import Poll
from hil.recording import Act
from hil.truth import Span

NODES = {"10.0.0.1": "a", "10.0.0.2": "b", "run/bus1-b": "b"}


def poll(at: int, node: str, device: str = "plc", lasts: int = 0) -> Poll:
    peer = {"a": "10.0.0.1:5000", "b": "10.0.0.2:6000"}.get(node, node)
    return Poll(at, at + lasts, device, 1, 3, "holding", 0, 2, peer, "ok")


def polled(text: str) -> list[Poll]:
    """`aab` is two polls by a and one by b."""
    return [poll(at, node) for at, node in enumerate(text)]


def test_the_asker_is_told_by_address_by_serial_port_or_stays_a_stranger() -> None:
    assert asker(poll(0, "a"), NODES) == "a"
    assert asker(poll(0, "run/bus1-b"), NODES) == "b"
    assert asker(poll(0, "10.9.9.9:1"), NODES) == "10.9.9.9:1"


def test_a_turn_lasts_while_one_node_asks() -> None:
    found = turns([*polled("aabba"), poll(9, "b", "meter")], NODES)
    assert [(t.node, t.from_ns, t.to_ns, t.polls) for t in found["plc"]] == [
        ("a", 0, 1, 2),
        ("b", 2, 3, 2),
        ("a", 4, 4, 1),
    ]
    assert "meter: node b asked 1 times" in str(found["meter"][0])


def test_one_after_the_other_is_no_stray() -> None:
    assert strays(polled("aaabbb"), NODES, "ab") == []
    assert strays(polled("aaabbba"), NODES, "aaba") == []
    assert strays(polled("aaa"), NODES, "aba") == []
    assert strays([], NODES, "ab") == []


def test_who_asks_without_a_reign_is_found() -> None:
    found = strays(polled("aabaa"), NODES, "a")
    assert [(turn.node, turn.polls) for turn in found] == [("b", 1)]
    found = strays(polled("aabbab"), NODES, "ab")
    assert [(turn.node, turn.from_ns) for turn in found] == [("a", 4)]
    assert strays(polled("b"), NODES, "")[0].node == "b"


def test_in_a_split_both_may_ask() -> None:
    assert strays(polled("aababab"), NODES, "ab", [Span(2, 6, None)]) == []
    assert strays(polled("aababab"), NODES, "a", [Span(2, 6, None)])[0].node == "b"


def test_requests_that_cross_are_found() -> None:
    assert doubled([poll(0, "a", lasts=5), poll(5, "b", lasts=2)], NODES) == []
    assert doubled([poll(0, "a", lasts=5), poll(3, "a", lasts=1)], NODES) == []
    first, second = poll(0, "a", lasts=5), poll(4, "b", lasts=2)
    assert doubled([second, first], NODES) == [(first, second)]
    slow, quick = poll(0, "a", lasts=9), poll(1, "a", lasts=2)
    assert doubled([slow, quick, poll(5, "b")], NODES) == [(slow, poll(5, "b"))]


def test_a_request_is_over_when_its_sender_dies_or_gave_it_up() -> None:
    """Campaign 20261210, round 3: `late` at a device while its Main is killed."""
    asked, other = poll(3 * S, "a", lasts=9 * S), poll(8 * S, "b")
    killed = Act("kill", "main", "a", 4 * S, 20 * S)
    assert doubled([asked, other], NODES, [killed]) == []
    for act in [
        Act("kill", "main", "b", 4 * S, 20 * S),
        Act("freeze", "main", "a", 4 * S, 20 * S),
        Act("kill", "main", "a", 9 * S, 20 * S),
        Act("kill", "main", "a", 2 * S, 20 * S),
        Act("kill", "main", "a", 4 * S, 20 * S, failed="it was not up"),
    ]:
        assert doubled([asked, other], NODES, [act]) == [(asked, other)], act
    late = msgspec.structs.replace(asked, outcome="late")
    assert doubled([late, other], NODES) == []
    assert doubled([asked, late, other], NODES) == [(asked, other)], "which is open all the same"


def row(time_ns: int, value: float) -> HistoryRow:
    return HistoryRow(time_ns, value, 0, time_ns, Origin.POLL, Position(Term(1, "a", 2), time_ns))


def test_histories_are_equal_or_the_first_difference_of_a_point_is_told() -> None:
    one = {"plc/level": [row(1, 1.0), row(2, 2.0)]}
    assert unlike(one, {"plc/level": [row(1, 1.0), row(2, 2.0)]}) == []
    (text,) = unlike(one, {"plc/level": [row(1, 1.0)]})
    assert text.startswith("plc/level: 1 samples only in the first, 0 only in the other; the first")
    (text,) = unlike({}, {"plc/flow": [row(3, 4.0)]})
    assert "the other has 4.0" in text


def test_gaps_of_one_class_add_up_inside_the_stretch() -> None:
    def gap(device: str, from_s: int, to_s: int, cause: Cause = Cause.NODE_DOWN) -> Gap:
        return Gap(device, "fast", from_s * S, to_s * S, cause)

    gaps = [gap("plc", 0, 2), gap("plc", 5, 6), gap("meter", 3, 4), gap("plc", 8, 20)]
    late = gap("plc", 3, 5, Cause.OVERRUN)
    assert longest_gap_ns([*gaps, late], S, 9 * S) == 3 * S
    assert longest_gap_ns([gap("plc", 0, 1)], S, 2 * S) == 0
    assert longest_gap_ns([], 0, 1) == 0
