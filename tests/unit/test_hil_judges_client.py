"""What a client saw, held against history."""

from __future__ import annotations

from gateway.model import Cause, Gap, HistoryRow, Origin, Position, Term, Value
from hil.judges_client import Seen, lacking, not_sync, parse_seen, unkept
from hil.truth import Span

A = "opc.tcp://a"


def row(at_ns: int, value: Value) -> HistoryRow:
    return HistoryRow(at_ns, value, 0, at_ns, Origin.POLL, Position(Term(1, "a", 7), 3))


def line(source_ns: int, value: Value, status: int = 0) -> list[object]:
    return [source_ns + 50_000, A, "plc1/x", source_ns, value, status]


def test_only_good_values_with_a_time_are_judged() -> None:
    lines = [line(9, 1.0), line(9, 1.0, 0x80310000), line(9, 1.0, 0x40900000), line(0, 1.0)]
    assert [seen.value for seen in parse_seen(lines)["plc1/x"]] == [1.0]


def test_a_value_is_in_history_when_a_sample_of_its_time_has_it() -> None:
    seen = parse_seen([line(5_000_400, 1.5), line(6_000_000, True)])["plc1/x"]
    assert lacking(seen, [row(5_000_999, 1.5), row(5_999_990, True)]) == []
    assert lacking(seen, [row(5_000_400, 2.5), row(5_000_400, 1.5), row(6_000_001, True)]) == []


def test_a_value_that_no_sample_has_is_found_with_what_is_there_instead() -> None:
    seen = parse_seen([line(5_000_000, 1.5), line(9_000_000, 7)])["plc1/x"]
    one, two = lacking(seen, [row(5_000_000, 2.5)], not_sync=[Span(9_000_000, 9_100_000, None)])
    assert one.sync and not two.sync
    assert "plc1/x: a client of opc.tcp://a was given 1.5 of 1970" in str(one)
    assert str(one).endswith("history has 2.5")
    assert str(two).endswith(
        "history has no sample of that time; replication was asynchronous then"
    )


def test_what_a_full_disk_or_a_discarded_reign_took_away_was_never_promised() -> None:
    seen = parse_seen([line(5_000_000, 1.5)])["plc1/x"]
    span = (4_000_000, 6_000_000)
    assert lacking(seen, [], [Gap("plc1", "fast", *span, Cause.STORE)]) == []
    assert len(lacking(seen, [], [Gap("plc1", "fast", *span, Cause.DEVICE)])) == 1
    assert lacking(seen, [], discarded=[Span(*span, None)]) == []


def test_a_main_whose_store_takes_nothing_hands_out_what_the_other_covers() -> None:
    told = [
        (1, "a", "gateway.server.opcua: OPC UA listens on opc.tcp://a"),
        (2, "b", "gateway.server.opcua: OPC UA listens on opc.tcp://b"),
        (3, "a", "journal: the store works again: history goes on"),
        (4_000_000, "a", "journal: the disk is full: history pauses under a declared gap, live"),
        (4_500_000, "a", "journal: the disk is full: history pauses under a declared gap, live"),
        (6_000_000, "a", "hotpair: journal: the store works again: history goes on"),
        (8_000_000, "b", "journal: the store failed: history pauses under a declared gap, live"),
        (8_000_000, "c", "journal: the store failed: history pauses under a declared gap, live"),
    ]
    paused = unkept(told, 9_000_000)
    assert paused == {
        "opc.tcp://a": [Span(4_000_000, 6_000_000, None)],
        "opc.tcp://b": [Span(8_000_000, 9_000_000, None)],
    }
    for at_ns, missing in ((5_000_000, 0), (3_000_000, 1), (6_000_000, 1), (8_500_000, 1)):
        seen = parse_seen([line(at_ns, 1.5)])["plc1/x"]
        assert len(lacking(seen, [], unkept=paused)) == missing
    # Campaign 20261211, round 20: what the store was given as it failed.
    given = Seen(4_150_000, "opc.tcp://a", "plc1/x", 3_999_000, 1.5, 0)
    assert lacking([given], [], unkept=paused) == []
    assert len(lacking([given._replace(received_ns=3_999_900)], [], unkept=paused)) == 1


def test_replication_is_asynchronous_unless_the_site_says_sync_and_no_node_fell_back() -> None:
    assert not_sync([(3, "async")], {}, 0, 9) == [Span(0, 9, None)]
    sync = {"replication": "sync"}
    assert not_sync([], sync, 0, 9) == []
    told = [(2, "async"), (3, "async"), (4, "sync"), (5, "sync"), (7, "async")]
    assert not_sync(told, sync, 0, 9) == [Span(2, 4, None), Span(7, 9, None)]
