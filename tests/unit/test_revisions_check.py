"""`hotpair check` tells that the files on disk are not what the node runs, running or not."""

from __future__ import annotations

import json
import random
from pathlib import Path

from test_config_commands import NODE, SHIPPED, SITE

from gateway.cli.check import check
from gateway.clock import SystemClock
from gateway.config.disk import REMEMBERED_MAX, Disk
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.peek import revisions_in
from gateway.journal.records import EMPTY_DIGEST, Revision
from profiles.load import load_text


def said(node_file: Path) -> list[str]:
    lines: list[str] = []
    assert check(node_file, SHIPPED, False, lines.append) == 0
    return lines[:-1]


async def test_the_check_reads_the_journal_of_a_node_that_runs_or_does_not(tmp_path: Path) -> None:
    (tmp_path / "plant").mkdir()
    site_file, node_file = tmp_path / "plant" / "site.yaml", tmp_path / "node.yaml"
    site_file.write_text(SITE)
    node_file.write_text(NODE)
    assert said(node_file) == []
    data = tmp_path / "data"
    data.mkdir()
    assert revisions_in(data) == (None, [])
    journal = await Journal.open(
        data, "a", SystemClock(), HistorySettings(), lambda *_: None, random.Random(1)
    )
    try:
        for number, text in ((1, SITE), (2, SITE + "# two\n")):
            files = {"site.yaml": text}
            await journal.append(Revision(number, EMPTY_DIGEST, number, "eve", files, ()))
        head, known = revisions_in(data)
        assert head is not None and head.revision.number == 2 and len(known) == 2
        assert "still that of revision 1; revision 2 runs" in said(node_file)[0]
        site_file.write_text(SITE.replace("retries: 1", "retries: 2"))
        (note,) = said(node_file)
        assert note.startswith(f"note: {site_file}:6 differs from revision 2, which runs; apply it")
    finally:
        await journal.close()
    lines: list[str] = []
    check(node_file, SHIPPED, True, lines.append)
    assert len(json.loads(lines[0])["differs"]) == 1, "the node does not run now"
    (data / "state.sqlite").write_bytes(b"no database" * 100)
    assert revisions_in(data) == (None, [])


def test_every_file_that_differs_is_named_and_a_lost_one_counts(tmp_path: Path) -> None:
    site_file = tmp_path / "site.yaml"
    disk = Disk(site_file)
    assert disk.difference() is None, "there is nothing to compare with yet"
    profile = load_text("eastron/sdm630")
    files = {"site.yaml": "a\n", "eastron/sdm630": profile, "p.csv": "x\n", "own/meter": "y\n"}
    disk.follow(1, files)
    assert disk.difference() is None, "a node may live from its journal"
    site_file.write_text("a\n")
    found = disk.difference()
    assert found is not None and found.file == str(tmp_path / "p.csv") and found.line == 0
    assert found.names == (str(tmp_path / "p.csv"), "own/meter"), "the shipped profile is equal"
    (tmp_path / "p.csv").write_text("x\nz\n")
    disk.follow(2, {**files, "eastron/sdm630": profile + "# older program\n"})
    found = disk.difference()
    assert found is not None and "also" in str(found)
    assert found.names[0] == "eastron/sdm630"
    for number in range(3, 4 + REMEMBERED_MAX):
        disk.remember(number, files)
    assert disk.difference() == found, "as long as nothing was written it is not read again"
