"""What is read of a run's files: logs, polls that count, journals, sites made ready."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hil.gathering import clock_sets, counts, log_lines, read_client, witness_registers
from hil.journals import SEQ_BITS, read_journal
from hil.judges_windback import ClockSet
from hil.laying import SITES, find_site, ground_of, links_of, prepare
from hil.outstation.polls import Poll
from hil.recording import Act
from hil.settings import SiteError, load_yaml
from hil.takeover import limit_ms
from hil.truth import Span
from hil.usage import Usage


def test_a_log_is_read_line_by_line_and_a_traceback_belongs_to_its_line(tmp_path: Path) -> None:
    path = tmp_path / "node-a.log"
    path.write_text(
        "no time yet\n"
        "2026-11-26T14:25:52.785 WARNING gateway.x: careful\n"
        "2026-11-26T14:25:53.000 ERROR asyncio: boom\nTraceback (most recent call last):\n  x\n"
    )
    first, second = log_lines(path.read_text(), "a")
    assert (first.node, first.source, first.severity) == ("a", "log", 500)
    assert first.text == "gateway.x: careful" and first.time_ns % 1_000_000_000 == 785_000_000
    assert second.text == "asyncio: boom\nTraceback (most recent call last):\n  x"
    assert log_lines("", "a") == []


def test_polls_count_unless_nobody_knows_who_asked_or_a_witness_was_asked() -> None:
    votes = witness_registers({"witness": {"modbus": [{"device": "plc1", "address": 900}]}})
    assert witness_registers({}) == []

    def poll(at: int, address: int, peer: str = "127.0.0.1:5") -> Poll:
        return Poll(at, at, "plc1", 1, 3, "holding", address, 1, peer, "ok")

    assert counts(poll(5, 0), 4, 9, votes)
    assert not counts(poll(9, 0), 4, 9, votes), "after the end"
    assert not counts(poll(3, 0), 4, 9, votes), "before anybody was Main"
    assert not counts(poll(5, 0, ""), 4, 9, votes)
    assert not counts(poll(5, 902), 4, 9, votes)


def test_what_a_client_saw_is_read_but_for_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "client.jsonl"
    line = json.dumps([9, "opc.tcp://a", "plc1/x", 5, 1.5, 0])
    path.write_text(f"{line}\n{line}\n{line[:20]}")
    assert len(read_client(path.read_text())["plc1/x"]) == 2
    assert read_client(None) == {}


def test_a_journal_is_read_from_its_files(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with closing(sqlite3.connect(tmp_path / "journal" / "2026-11-26.sqlite")) as file:
        file.execute("CREATE TABLE term(term_id, number, node, nonce)")
        file.execute("CREATE TABLE record(record_id, digest, at_ns)")
        file.execute("INSERT INTO term VALUES(3, 1, 'a', 'ff')")
        file.execute("INSERT INTO record VALUES(?, x'01', 50)", (3 << SEQ_BITS | 7,))
        file.commit()
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as file:
        file.execute("CREATE TABLE conflict(seq)")
        file.execute("CREATE TABLE kept(number, node, nonce, seq, digest, at_ns)")
        file.execute("INSERT INTO kept VALUES(1, 'a', 'ff', 7, x'02', 50)")
        file.execute("INSERT INTO conflict VALUES(1)")
        file.commit()
    found = read_journal(tmp_path)
    assert found.records == {(1, "a", "ff", 7): frozenset({b"\x01", b"\x02"})}
    assert found.at_ns == {(1, "a", "ff", 7): 50} and found.conflicts == 1
    (tmp_path / "journal" / "2026-11-26.sqlite").unlink()
    with pytest.raises(FileNotFoundError, match="holds no partition of the journal"):
        read_journal(tmp_path)


def test_a_site_is_found_beside_the_scenario_or_shipped(tmp_path: Path) -> None:
    assert find_site("demo", tmp_path) == SITES / "demo"
    assert ground_of("demo", tmp_path).devices == {"plc1", "plc2", "meter1"}
    assert ground_of("waterworks", tmp_path).links == links_of(SITES / "demo") == 1
    own = tmp_path / "own"
    own.mkdir()
    (own / "site.yaml").write_text("site: own\n")
    with pytest.raises(SiteError, match=r"has no node-a\.yaml and no node-b\.yaml"):
        find_site("own", tmp_path)
    with pytest.raises(SiteError, match="shipped are demo, waterworks"):
        find_site("mars", tmp_path)


def test_a_site_is_copied_with_other_ports_seed_and_settings(tmp_path: Path) -> None:
    settings = {"replication": "sync"}
    pair = prepare(SITES / "demo", tmp_path / "run", 1_000, 99, settings, None)
    site = load_yaml((tmp_path / "run" / "site.yaml").read_text())
    assert site["pair"] == settings
    assert site["devices"]["plc1"]["line"]["tcp"]["port"] == 5_940
    assert pair.plant.rig.seed == 99
    assert pair.nodes["a"].endpoint == "opc.tcp://127.0.0.1:5840"


def test_the_use_of_a_machine_is_counted_from_look_to_look() -> None:
    usage = Usage()
    first = usage.look(os.getpid())
    assert first is not None and first[0] == 0.0 and first[1] > 1_000_000
    assert sum(range(200_000)) > 0
    second = usage.look(os.getpid())
    assert second is not None and second[0] >= 0.0 and usage.rss_max >= second[1]
    assert usage.look(2**30) is None


def test_a_takeover_may_take_a_second_over_the_silence_and_what_a_witness_needs() -> None:
    assert limit_ms({}, {}) == 2_000
    assert limit_ms({"takeover_after": "500ms"}, {"patience_ms": 500}) == 1_500
    assert limit_ms({}, {"patience_ms": 4_000}) == 5_000, "more patient after arbitrations"
    assert limit_ms({"witness": {"modbus": [{"device": "plc1", "address": 1}]}}, {}) == 5_000


def test_a_clock_counts_that_was_set_while_no_node_was_there() -> None:
    s = 10**9
    acts = [
        Act("clock", "plc1", "plc1", 7 * s, 7 * s, {"step": -60}),
        Act("clock", "meter1", "meter1", 8 * s, 8 * s, {"step": 5}),
        Act("clock", "plc1", "plc1", 9 * s, 9 * s, {"drift_ppm": 50}),
        Act("clock", "plc1", "plc1", 13 * s - 1, 13 * s, {"step": 3}),
        Act("clock", "plc1", "plc1", 13 * s, 13 * s, {"step": 3}),
        Act("clock", "plc1", "plc1", 30 * s, 30 * s, {"step": 3}),
        Act("silence", "plc1", "plc1", 9 * s, 10 * s),
    ]
    found = [ClockSet(7 * s, 60 * s), ClockSet(9 * s, 0), ClockSet(13 * s - 1, 3 * s)]
    away = [Span(5 * s, 12 * s, None)]
    assert clock_sets(acts, "plc1", away) == found, "or within a second after it"
    assert clock_sets(acts, "plc1", []) == []
