"""A copy of a journal is proven by its digests, and put back into an empty data directory only."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from command import hotpair

from gateway.cli.restore import MANIFEST, digest
from gateway.clock import SystemClock
from gateway.journal.journal import HistorySettings, Journal
from gateway.journal.proof import files_of, prove
from gateway.journal.records import Event
from gateway.lock import lock


async def journal_in(folder: Path) -> Journal:
    return await Journal.open(
        folder, "a", SystemClock(), HistorySettings(), lambda *_: None, random.Random(1)
    )


@pytest.fixture
async def copy(tmp_path: Path) -> Path:
    """A copy of a journal of two terms, with the manifest that `hotpair backup` writes."""
    journal = await journal_in(tmp_path / "data")
    folder = tmp_path / "copy"
    try:
        for number in range(3):
            if number == 2:
                await journal.begin_term(1)
            for text in "abc":
                await journal.append(Event(number, "plc1", 100, text))
        await journal.backup(folder)
        held = {str(t): h.last for t, h in journal.holdings.terms.items()}
    finally:
        await journal.close()
    proof = prove(folder)
    assert not proof.wrong
    assert {term: parts[-1][1] for term, parts in proof.terms.items()} == held
    assert proof.records == sum(held.values())
    manifest = {
        "format": 1,
        "version": "0",
        "site": "s",
        "node": "a",
        "made": "now",
        "files": {str(p.relative_to(folder)): digest(p) for p in files_of(folder)},
        "terms": proof.terms,
        "records": proof.records,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / "node.yaml").write_text("node: a\ndata_dir: new\nsite: site.yaml\n")
    return folder


def restore(copy: Path, *words: str) -> Any:
    return hotpair("restore", copy, "-n", copy.parent / "node.yaml", *words)


async def test_a_copy_comes_back_as_it_was(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "backups").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(tmp_path / "new", 12345, 12345)
    said = restore(copy, "--json")
    assert said.status == 0, said
    assert said.json["records"] == prove(copy).records
    owner = (tmp_path / "new").stat().st_uid
    for path in (*files_of(tmp_path / "new"), tmp_path / "new" / "journal"):
        assert path.stat().st_uid == owner, "the service's user can't write what root restored"
    journal = await journal_in(tmp_path / "new")
    try:
        assert await journal.verify() == []
        held = {str(t): h.last for t, h in journal.holdings.terms.items()}
        assert held.items() >= {t: parts[-1][1] for t, parts in prove(copy).terms.items()}.items()
    finally:
        await journal.close()


async def test_it_is_never_put_over_a_journal_nor_under_a_running_node(
    copy: Path, tmp_path: Path
) -> None:
    handle = lock(tmp_path / "new")
    said = restore(copy)
    assert said.status == 1 and "another node already runs" in said.err
    os.close(handle)
    (tmp_path / "new" / "journal").mkdir()
    (tmp_path / "new" / "lock").unlink()
    if os.geteuid() == 0:
        os.chown(tmp_path / "new", 12345, 12345)
    said = restore(copy)
    assert said.status == 1 and "is not empty: it holds journal. Move it away" in said.err
    owner = (tmp_path / "new").stat().st_uid
    assert (tmp_path / "new" / "lock").stat().st_uid == owner, "its node could not start"


async def test_a_damaged_copy_is_refused_and_nothing_is_left_behind(
    copy: Path, tmp_path: Path
) -> None:
    whole = {path: path.read_bytes() for path in files_of(copy)}
    manifest = json.loads((copy / MANIFEST).read_text())

    def refused(tells: str) -> None:
        said = restore(copy)
        assert said.status == 1 and tells in said.err, said
        assert {p.name for p in (tmp_path / "new").iterdir()} == {"lock"}
        for path, data in whole.items():
            path.write_bytes(data)
        (copy / MANIFEST).write_text(json.dumps(manifest))

    first = files_of(copy)[0]
    first.write_bytes(whole[first][:-1])
    refused("is damaged: its SHA-256 is not the manifest's")
    first.unlink()
    refused("is not as the manifest says")
    other = manifest | {"terms": {"1.a.00": [[1, 2, "00"]]}}
    (copy / MANIFEST).write_text(json.dumps(other))
    refused("its records are not those of the manifest")
    # Whoever forges a record has to forge the file's digest, too, and then the chain tells.
    with closing(sqlite3.connect(first)) as connection:
        connection.execute("UPDATE record SET wire = x'00' WHERE record_id & 3 = 2")
        connection.commit()
    assert len(prove(copy).wrong) > 0
    forged = manifest | {"files": manifest["files"] | {str(first.relative_to(copy)): digest(first)}}
    (copy / MANIFEST).write_text(json.dumps(forged))
    refused("does not follow from the one before it")
    first.write_bytes(b"no database at all, but long enough to be read as one" * 100)
    forged["files"][str(first.relative_to(copy))] = digest(first)
    (copy / MANIFEST).write_text(json.dumps(forged))
    refused("can't be read")
    (copy / MANIFEST).write_text(json.dumps(manifest | {"format": 9}))
    refused("is of another version")
    (copy / MANIFEST).write_text("{")
    refused("can't be read")
    assert restore(copy).status == 0, "the same copy, whole again"


async def test_stretches_over_several_files_are_joined_and_their_seams_proven(
    copy: Path, tmp_path: Path
) -> None:
    first = files_of(copy)[0]
    second = first.with_name(first.name.replace(".sqlite", ".1.sqlite"))
    second.write_bytes(first.read_bytes())
    before = prove(copy)
    assert before.wrong, "the same records twice are not what a journal holds"

    def keep(path: Path, which: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"DELETE FROM record WHERE NOT ({which})")
            connection.commit()

    keep(first, "record_id & 0xffffffffff <= 2")
    keep(second, "record_id & 0xffffffffff > 2")
    joined = prove(copy)
    assert joined.wrong == [] and all(len(parts) == 1 for parts in joined.terms.values())
    keep(second, "record_id & 0xffffffffff > 3")
    assert any(len(parts) == 2 for parts in prove(copy).terms.values())
    keep(first, "0")
    assert prove(copy).wrong == []
    with closing(sqlite3.connect(second)) as connection:
        connection.execute("UPDATE record SET record_id = record_id - 3")
        connection.commit()
    wrong = prove(copy).wrong
    assert wrong and all(isinstance(text, str) and "/" in text for text in wrong)
