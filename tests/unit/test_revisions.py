"""Which revision a node runs, how the next one comes to be, and what hinders it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_config_scenarios import DRIVERS

from gateway.clock import SystemClock
from gateway.config.files import load_node
from gateway.config.site import SiteConfig
from gateway.errors import ConfigError, ControlError, LinkDown, StoreFull
from gateway.journal.kept import Head
from gateway.journal.records import EMPTY_DIGEST, Audit, Body, Record, Revision, seal
from gateway.model import Position, Term
from gateway.proposals import find, listed, told
from gateway.proposing import Ask
from gateway.revisions import Revisions

SITE = """\
site: s
devices:
  a: {driver: modbus, line: {tcp: {host: h}}, points: {x: {address: 0}}}
"""
MORE = SITE.replace("{x: {address: 0}}", "{x: {address: 0}, y: {address: 1}}")
BUS = (
    SITE
    + "  b: {driver: modbus, line: bus1, points: {z: {address: 0}}}\nlines: {bus1: {rtu: {}}}\n"
)
BROKEN = SITE.replace("address: 0", "adress: 0")


class Memory:
    """The journal's revisions, in memory; several nodes may share one: a pair that is in step."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lost: set[Position] = set()
        self.sinks: list[Callable[[Sequence[Record]], None]] = []
        self.term = Term(1, "a", 7)
        self.full = False

    def _kept(self) -> list[tuple[Position, Revision]]:
        found = [(r.position, r.body) for r in self.records if isinstance(r.body, Revision)]
        return found[::-1]

    @property
    def head(self) -> Head | None:
        for record in reversed(self.records):
            if isinstance(record.body, Revision) and record.position not in self.lost:
                return Head(record.position, record.digest, record.body)
        return None

    @property
    def diverged(self) -> list[tuple[Position, Revision]]:
        return [each for each in self._kept() if each[0] in self.lost]

    async def revisions(self, limit: int = 100) -> list[tuple[Position, Revision]]:
        return self._kept()[:limit]

    async def commit(self, body: Body) -> Record:
        if self.full:
            raise StoreFull("the store takes no records", "Make room")
        previous = self.records[-1].digest if self.records else EMPTY_DIGEST
        record = seal(self.term, len(self.records) + 1, previous, body)
        self.records.append(record)
        for sink in self.sinks:
            sink([record])
        return record

    def audited(self) -> list[tuple[str, str]]:
        return [(r.body.action, r.body.outcome) for r in self.records if isinstance(r.body, Audit)]


@dataclass
class Node:
    """One node's revisions, and what it was told to run."""

    name: str
    folder: Path
    journal: Memory
    is_main: bool = True
    ask: Ask | None = None
    ran: list[tuple[int, list[str]]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    swap_error: Exception | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.node_file = self.folder / "node.yaml"
        self.site_file = self.folder / "site.yaml"
        if not self.node_file.exists():
            self.node_file.write_text(f"node: {self.name}\ndata_dir: data\n")
        if not self.site_file.exists():
            self.site_file.write_text(SITE)

    def made(self) -> Revisions:
        self.revisions = Revisions(
            load_node(self.node_file),
            DRIVERS,
            self.journal,
            self.journal.commit,
            self.ask,
            SystemClock(),
            lambda: self.is_main,
        )
        self.journal.sinks.append(self.revisions.noted)
        return self.revisions

    async def _swap(self, site: SiteConfig, number: int) -> None:
        if self.swap_error is not None:
            raise self.swap_error
        self.ran.append((number, [p.id for p in site.points]))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Revisions]:
        found = self.made()
        await found.settle()
        if self.is_main:
            await found.first()
        task = asyncio.create_task(
            found.follow(self._swap, lambda _source, _severity, text: self.alarms.append(text))
        )
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def asking(peer: Revisions | None) -> Ask:
    """The way to the other node; it is cut while there is none."""

    async def ask(what: str, body: Any, _timeout_s: float) -> Any:
        if peer is None:
            raise LinkDown("no link to the peer stands", "Look at the cable")
        return await peer.answer(what, body)

    return ask


async def seen(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)  # paces: a task of the node under test acts


def texts(site: str) -> dict[str, str]:
    return {"site.yaml": site}


async def test_the_files_on_disk_are_the_first_revision_and_never_another(tmp_path: Path) -> None:
    journal = Memory()
    async with Node("a", tmp_path, journal).running() as found:
        assert found.running == 1 and journal.head is not None
        assert journal.head.revision.parent_digest == EMPTY_DIGEST
        assert found.differs() == []
    node = Node("a", tmp_path, journal)
    node.site_file.write_text(MORE)
    revisions = node.made()
    settled = await revisions.settle()
    assert (settled.number, [p.id for p in settled.site.points]) == (1, ["a/x"])
    assert revisions.differs() == [
        f"{node.site_file}:3 differs from revision 1, which runs; "
        f"apply it with: hotpair apply {node.site_file} --node {node.node_file}"
    ]
    assert await revisions.first() == 1, "nothing is written when there is a head"


async def test_a_node_that_takes_over_runs_what_the_other_wrote_before_it_says_so(
    tmp_path: Path,
) -> None:
    journal = Memory()
    node = Node("b", tmp_path, journal, is_main=False)
    async with node.running() as revisions:
        await journal.commit(Revision(1, EMPTY_DIGEST, 1, "a", texts(MORE), ()))
        node.is_main = True
        assert await revisions.first() == 1
        assert [number for number, _ in node.ran] == [1]
        assert len(journal.records) == 1, "nothing is written when there is a head"


async def test_a_node_that_takes_over_and_can_not_run_what_the_other_wrote_writes_its_own(
    tmp_path: Path,
) -> None:
    journal = Memory()
    node = Node("b", tmp_path, journal, is_main=False, swap_error=OSError("no address"))
    async with node.running() as revisions:
        await journal.commit(Revision(1, EMPTY_DIGEST, 1, "a", texts(MORE), ()))
        node.is_main = True
        assert await revisions.first() == 2
        assert journal.head is not None and journal.head.revision.files == texts(SITE)


async def test_an_applied_revision_runs_and_knows_its_parent(tmp_path: Path) -> None:
    node = Node("a", tmp_path, Memory())
    async with node.running() as revisions:
        first = node.journal.head
        done = await revisions.apply({"renamed.yaml": MORE}, "eve", alone=False)
        assert (done.number, done.in_force, done.problems) == (2, True, [])
        assert "points added: 1: a/y" in done.changes
        assert node.ran == [(2, ["a/x", "a/y"])]
        head = node.journal.head
        assert head is not None and first is not None
        assert head.revision.parent_digest == first.digest
        assert head.revision.files == texts(MORE) and head.revision.who == "eve"
        again = await revisions.apply(texts(MORE), "eve", alone=False)
        assert (again.number, again.changes) == (2, []), "nothing changes: no new revision"
        assert node.journal.audited() == [("apply", "applied")]
        dry = await revisions.apply(texts(SITE), "eve", alone=False, dry_run=True)
        assert dry.number == 0 and dry.changes and node.journal.head == head


async def test_a_stale_file_on_disk_is_not_offered_for_applying(tmp_path: Path) -> None:
    node = Node("a", tmp_path, Memory())
    async with node.running() as revisions:
        await revisions.apply(texts(MORE), "eve", alone=False)
        (said,) = revisions.differs()
        assert "is still that of revision 1; revision 2 runs" in said
        assert "apply it" not in said
        node.site_file.write_text(MORE + "# later\n")
        (said,) = revisions.differs()
        assert "apply it with" in said and revisions.status()["differs"] == said
        node.site_file.unlink()
        assert revisions.differs() == [], "a node may live from its journal"


async def test_every_problem_of_both_nodes_is_told_by_node_and_nothing_is_committed(
    tmp_path: Path,
) -> None:
    journal = Memory()
    b = Node("b", tmp_path / "b", journal, is_main=False)
    b.node_file.write_text("node: b\ndata_dir: data\n")
    a = Node("a", tmp_path / "a", journal)
    a.node_file.write_text(f"node: a\ndata_dir: data\nports: {{bus1: {tmp_path}}}\n")
    peer = b.made()
    a.ask = asking(peer)
    async with a.running() as revisions:
        await peer.settle()
        found = await revisions.apply(texts(BUS), "eve", alone=True)
        assert found.number == 0 and len(found.problems) == 1
        assert found.problems[0].startswith(
            "node b: site.yaml:5: lines.bus1: this node has no port"
        )
        both = await revisions.apply(texts(BROKEN), "eve", alone=False)
        assert both.problems and all(p.startswith("nodes a and b: ") for p in both.problems)
        typed = await revisions.apply(
            texts(SITE.replace("address: 0", "address: 0, type: int32")), "eve", alone=False
        )
        assert "a type never changes" in typed.problems[0]
        assert revisions.running == 1 and journal.audited() == 3 * [("apply", "refused")]
        b.node_file.write_text("node: b\ndata_dir: data\nports: {bus1: /dev/absent}\n")
        mended = await revisions.apply(texts(BUS), "eve", alone=False)
        assert (mended.number, mended.peer) == (2, "checked by node b"), "node.yaml is read again"
        assert mended.warnings[0].startswith("node b: ") and "no such port" in mended.warnings[0]


async def test_without_the_other_node_it_must_be_said_that_it_is_alone(tmp_path: Path) -> None:
    node = Node("a", tmp_path, Memory(), ask=asking(None))
    async with node.running() as revisions:
        with pytest.raises(ControlError, match="the other node can't check this") as refused:
            await revisions.apply(texts(MORE), "eve", alone=False)
        assert "--alone" in refused.value.remedy
        dry = await revisions.apply(texts(MORE), "eve", alone=False, dry_run=True)
        assert dry.peer.startswith("no link")
        assert (await revisions.apply(texts(MORE), "eve", alone=True)).number == 2
        audit = node.journal.records[-1].body
        assert isinstance(audit, Audit) and audit.detail["alone"] is True


async def test_a_standby_passes_it_on_and_runs_what_it_adopts(tmp_path: Path) -> None:
    journal = Memory()
    a = Node("a", tmp_path / "a", journal)
    b = Node("b", tmp_path / "b", journal, is_main=False)
    async with a.running() as main:
        b.ask = asking(main)
        async with b.running() as standby:
            done = await standby.apply(texts(MORE), "eve", alone=False)
            assert (done.node, done.number) == ("a", 2)
            assert journal.head is not None
            assert journal.head.revision.who == "eve at node b"
            await seen(lambda: bool(b.ran))
            assert standby.running == 2 and b.ran[-1][1] == ["a/x", "a/y"]
            back = await standby.rollback("1", "eve", alone=False)
            assert back.number == 3 and journal.head.revision.who == "eve at node b, back to 1"
            a.is_main = False
            with pytest.raises(ControlError, match="neither node is Main"):
                await standby.apply(texts(MORE), "eve", alone=False)
            b.ask = asking(None)
            standby = b.made()
            with pytest.raises(ControlError, match="the Main can't be asked"):
                await standby.apply(texts(MORE), "eve", alone=False)
    lone = Node("c", tmp_path / "c", Memory(), is_main=False).made()
    with pytest.raises(ControlError, match="not Main yet"):
        await lone.rollback("1", "eve", alone=False)


async def test_rolling_back_names_a_revision_and_a_diverged_one_by_its_term(
    tmp_path: Path,
) -> None:
    node = Node("a", tmp_path, Memory())
    async with node.running() as revisions:
        await revisions.apply(texts(MORE), "eve", alone=False)
        journal = node.journal
        lost = journal.head
        assert lost is not None
        journal.lost.add(lost.position)
        journal.term = Term(2, "b", 9)
        await revisions.apply(texts(SITE + "# other\n"), "adam", alone=False)
        rows = await revisions.listing()
        assert [(r["reference"], r["state"], r["changed"]) for r in rows] == [
            ("2.2.b", "head", "site.yaml changed"),
            ("2.1.a", "diverged", "site.yaml changed, +1 points"),
            ("1.1.a", "", "first"),
        ]
        assert [r["running"] for r in rows] == [True, False, False]
        with pytest.raises(ControlError, match="there is no revision 9"):
            await revisions.rollback("9", "eve", alone=False)
        assert (await revisions.texts("2")) == texts(SITE + "# other\n"), "the branch that runs"
        back = await revisions.rollback("2.1", "eve", alone=False)
        assert back.number == 3 and node.ran[-1][1] == ["a/x", "a/y"]
        assert await revisions.texts("") == texts(MORE)
        journal.lost.add(Position(Term(2, "b", 9), 4))
        with pytest.raises(ControlError, match=r"2\.1\.a, 2\.2\.b|2\.2\.b, 2\.1\.a"):
            await revisions.rollback("2", "eve", alone=False)


async def test_a_head_that_no_longer_builds_leaves_the_last_one_that_does(tmp_path: Path) -> None:
    journal = Memory()
    node = Node("a", tmp_path, journal)
    async with node.running():
        pass
    head = journal.head
    assert head is not None
    await journal.commit(Revision(2, head.digest, 1, "old program", texts(BROKEN), ()))
    revisions = node.made()
    settled = await revisions.settle()
    assert settled.number == 1 and revisions.not_able == settled.fault
    assert "revision 2 can't run here: site.yaml:3:" in settled.fault
    assert "Revision 1 runs" in settled.fault


async def test_when_none_builds_the_disk_is_the_way_out_and_then_every_problem_is_told(
    tmp_path: Path,
) -> None:
    journal = Memory()
    await journal.commit(Revision(4, EMPTY_DIGEST, 1, "old program", texts(BROKEN), ()))
    node = Node("a", tmp_path, journal)
    node.site_file.write_text(BROKEN)
    with pytest.raises(ConfigError) as refused:
        await node.made().settle()
    assert len(refused.value.problems) >= 2
    node.site_file.write_text(SITE)
    revisions = node.made()
    settled = await revisions.settle()
    assert settled.number == 0 and "the files on disk run" in settled.fault
    assert await revisions.first() == 5 and revisions.not_able == ""


async def test_a_blank_journal_and_a_broken_file_start_nothing(tmp_path: Path) -> None:
    node = Node("a", tmp_path, Memory())
    node.site_file.write_text(BROKEN)
    with pytest.raises(ConfigError):
        await node.made().settle()


async def test_a_revision_that_cannot_run_here_is_an_alarm_and_what_ran_goes_on(
    tmp_path: Path,
) -> None:
    journal = Memory()
    node = Node("b", tmp_path, journal)
    async with node.running() as revisions:
        head = journal.head
        assert head is not None
        node.is_main = False
        await journal.commit(Revision(2, head.digest, 1, "eve", texts(BUS), ()))
        await seen(lambda: bool(revisions.not_able))
        assert "no port for the serial line" in node.alarms[0] and revisions.running == 1
        assert node.alarms[0].endswith("Revision 1 runs on.")
        with pytest.raises(ConfigError):
            revisions.site_of(journal.head.revision)  # type: ignore[union-attr]
        await journal.commit(
            msgspec.structs.replace(head.revision, at_ns=2)
        )  # as when a ruling makes it the head
        await seen(lambda: revisions.not_able == "")
        await journal.commit(Revision(3, head.digest, 1, "eve", texts(MORE), ()))
        await seen(lambda: revisions.running == 3)
        assert revisions.not_able == ""
        node.swap_error = RuntimeError("a bug")
        node.is_main = True
        found = await revisions.apply(texts(SITE), "eve", alone=False)
        assert (found.number, found.in_force) == (4, False)
        assert "could not be put in force: a bug" in revisions.not_able


async def test_timing_that_both_nodes_share_needs_a_stop_of_one(tmp_path: Path) -> None:
    journal = Memory()
    b = Node("b", tmp_path / "b", journal, is_main=False)
    peer = b.made()
    a = Node("a", tmp_path / "a", journal, ask=asking(peer))
    slower = texts(SITE + "pair: {takeover_after: 2s, duty: discard}\n")
    async with a.running() as revisions:
        await peer.settle()
        found = await revisions.apply(slower, "eve", alone=False)
        assert found.number == 0
        assert "pair.takeover_after can't change while both nodes run" in found.problems[0]
        assert "Stop node b" in found.problems[0]
        only = texts(SITE + "pair: {duty: discard}\n")
        assert (await revisions.apply(only, "eve", alone=False)).in_force
    a.ask = asking(None)
    async with a.running() as revisions:
        done = await revisions.apply(slower, "eve", alone=True)
        assert done.in_force
        assert "in force from the next start of each node: 1: pair.takeover_after" in done.changes
        await seen(lambda: "restart node a" in revisions.not_able)
        assert a.ran[-1][0] == 3, "what else it changed runs at once"


async def test_a_revision_too_large_for_a_pair_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.proposing.SIZE_MAX", 100)
    node = Node("a", tmp_path, Memory(), ask=asking(None))
    async with node.running() as revisions:
        found = await revisions.apply(texts(MORE), "eve", alone=True)
        assert "Divide the site" in found.problems[0]


async def test_a_full_store_does_not_hold_up_the_first_revision_and_refuses_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.revisions.FIRST_RETRY_S", 0.01)
    node = Node("a", tmp_path, Memory())
    node.journal.full = True
    async with node.running() as revisions:
        assert revisions.running == 1 and node.journal.head is None
        with pytest.raises(StoreFull):
            await revisions.apply(texts(MORE), "eve", alone=False)
        node.journal.full = False
        await seen(lambda: node.journal.head is not None)
        assert revisions.running == 1


async def test_a_reign_that_ends_while_a_revision_is_checked_commits_nothing(
    tmp_path: Path,
) -> None:
    node = Node("a", tmp_path, Memory())

    async def ask(_what: str, _body: Any, _timeout_s: float) -> Any:
        node.is_main = False
        return {"node": "b", "problems": [], "warnings": []}

    node.ask = ask
    async with node.running() as revisions:
        with pytest.raises(ControlError, match="no longer Main"):
            await revisions.apply(texts(MORE), "eve", alone=False)
        assert revisions.running == 1


async def test_what_a_peer_sends_is_looked_at(tmp_path: Path) -> None:
    async with Node("a", tmp_path, Memory()).running() as revisions:
        for body in (None, {}, {"files": []}, {"files": {}}):
            with pytest.raises(ControlError, match="no files were sent"):
                await revisions.answer("validate", body)
        said = await revisions.answer("validate", {"files": texts(BROKEN)})
        assert said["node"] == "a" and said["problems"]


async def test_a_missing_secret_is_a_problem_of_the_node_that_lacks_it(tmp_path: Path) -> None:
    from drivers.opcua import driver

    site = texts(
        SITE + "  p:\n    driver: opcua\n    endpoint: opc.tcp://h:4840\n"
        "    security: {user: u, password: {file: p.pw}, trust: certs}\n    points: {}\n"
    )
    node = Node("a", tmp_path, Memory())
    revisions = Revisions(
        load_node(node.node_file),
        {**DRIVERS, "opcua": driver.schema},
        node.journal,
        node.journal.commit,
        None,
        SystemClock(),
    )
    found = await asyncio.to_thread(revisions.problems, site)
    assert [(p.line, p.value) for p in found] == [(7, "p.pw"), (7, "certs")]
    (tmp_path / "p.pw").write_text("secret")
    (tmp_path / "certs").mkdir()
    assert await asyncio.to_thread(revisions.problems, site) == []
    node.node_file.write_text("node: [\n")
    assert await asyncio.to_thread(revisions.problems, site) != []


def test_a_list_of_revisions_says_what_each_changed() -> None:
    def made(number: int, seq: int, files: dict[str, str], *points: str) -> Any:
        body = Revision(number, EMPTY_DIGEST, 0, "eve", files, tuple((p, "bool") for p in points))
        return Position(Term(1, "a", 1), seq), body

    known = [
        made(5, 9, texts("three"), "a/y"),
        made(4, 8, texts("two"), "a/x"),
        made(3, 7, texts("two"), "a/x"),
    ]
    rows = listed(known, [], known[0][0], 5)
    assert [row["changed"] for row in rows] == [
        "site.yaml changed, +1 points, -1 points",
        "nothing",
        "first known",
    ]
    assert [row["before"] for row in rows] == ["4.1.a", "3.1.a", ""]
    assert told({"a": ["x", "y"], "b": ["y"]}) == ["node a: x", "nodes a and b: y"]
    assert find(known, [], "4")[1].number == 4
