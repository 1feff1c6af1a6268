"""Configuration revisions: which one runs here, and how the next one comes to be (rules.md 7).

The head revision of the journal runs, on both nodes; the files on disk are the first one only. A
new one is checked by the Main for itself and by the Standby for itself, then committed as a record,
and each node swaps to it when it sees that record: own or adopted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.clock import Clock
from gateway.config import differences
from gateway.config.build import Loaded
from gateway.config.disk import Difference, Disk
from gateway.config.files import check_node
from gateway.config.node import NodeConfig
from gateway.config.present import Here
from gateway.config.site import SiteConfig
from gateway.driver import Schema
from gateway.errors import ConfigError, ControlError, JournalError, LinkDown, Problem
from gateway.journal.records import Record, Revision, Ruling
from gateway.model import Position, format_time
from gateway.proposals import Applied, Ledger, find, listed
from gateway.proposing import ASK_TIMEOUT_S, Ask, Commit, Proposer

log = logging.getLogger("hotpair")

KNOWN_MAX: Final = 20
LISTED_MAX: Final = 100
SWAP_PATIENCE_S: Final = 30.0
FIRST_RETRY_S: Final = 5.0

Swap = Callable[[SiteConfig, int], Awaitable[None]]


class Settled(NamedTuple):
    """What a node starts with; `number` 0: not journalled yet. `fault`: why it isn't the head."""

    site: SiteConfig
    number: int
    fault: str


class Revisions:
    """The revisions of one node. `settle` first, `follow` as a task, `noted` at each commit."""

    def __init__(
        self,
        node: NodeConfig,
        schemas: Mapping[str, Schema],
        journal: Ledger,
        commit: Commit,
        ask: Ask | None,
        clock: Clock,
        is_main: Callable[[], bool] = lambda: True,
    ) -> None:
        self._node = node
        self._schemas = schemas
        self._journal = journal
        self._ask = ask
        self._is_main = is_main
        self._here = Here(node, schemas)
        self._proposer = Proposer(
            node.node, self._here, journal, commit, ask, clock, is_main, self._in_force
        )
        self._disk = Disk(node.site_file)
        self._site: SiteConfig
        self._started: SiteConfig
        self._seen: Position | None = None
        self._unwritten: SiteConfig | None = None
        self._news = asyncio.Event()
        self._turn = asyncio.Condition()
        self._failed = 0
        self.running = 0
        self.not_able = ""

    # ------------------------------------------------------------------------------ starting

    async def settle(self) -> Settled:
        """What this node starts with: the head revision, or the last that builds, else the disk.

        Raises ConfigError when none of them can be used.
        """
        head = self._journal.head
        if head is None:
            found = await asyncio.to_thread(check_node, self._node.node_file, self._schemas)
            if found.site is None:
                raise ConfigError(list(found.problems))
            self._unwritten = found.site
            return self._begin(found.site, 0, "")
        self._disk.follow(head.revision.number, head.revision.files)
        built = await asyncio.to_thread(self._here.build, head.revision.files)
        self._seen = head.position
        if built.site is not None:
            settled = self._begin(built.site, head.revision.number, "")
        else:
            settled = await self._last_that_builds(head.revision, built)
        for _, revision in await self._journal.revisions(KNOWN_MAX):
            self._disk.remember(revision.number, revision.files)
        return settled

    def _begin(self, site: SiteConfig, number: int, fault: str) -> Settled:
        self._site = self._started = site
        self.running, self.not_able = number, fault
        return Settled(site, number, fault)

    async def _last_that_builds(self, head: Revision, built: Loaded) -> Settled:
        """An upgrade or a changed node.yaml must not leave the plant without its gateway."""
        why = f"revision {head.number} can't run here: {built.problems[0]}"
        for _, older in await self._journal.revisions(KNOWN_MAX):
            found = await asyncio.to_thread(self._here.build, older.files)
            if found.site is not None:
                return self._begin(found.site, older.number, f"{why} Revision {older.number} runs.")
        on_disk = await asyncio.to_thread(check_node, self._node.node_file, self._schemas)
        if on_disk.site is None:
            raise ConfigError([*built.problems, *on_disk.problems])
        self._unwritten = on_disk.site
        return self._begin(on_disk.site, 0, f"{why} No other builds: the files on disk run.")

    async def first(self) -> int:
        """The Main writes what it started with, if no revision says it; the number that runs.

        What the other node wrote is put in force first: to be waited for beside `follow`. Never
        raises: while the store takes nothing `follow` tries again.
        """
        async with self._turn:
            await self._turn.wait_for(self._has_followed)
        return await self._write_first()

    async def _write_first(self) -> int:
        site, head = self._unwritten, self._journal.head
        if site is None:
            return self.running
        number = head.revision.number + 1 if head is not None else 1
        self.running, self.not_able, self._unwritten = number, "", None
        try:
            await self._proposer.write(number, site, "files on disk")
        except JournalError as error:
            log.error("revision %d is not journalled yet: %s", number, error)
            self._unwritten = site
            self._news.set()
        return number

    # ----------------------------------------------------------------------------- following

    def noted(self, records: Sequence[Record]) -> None:
        """Records were committed, own or adopted: there may be another head."""
        if any(isinstance(record.body, Revision | Ruling) for record in records):
            self._news.set()

    async def follow(self, swap: Swap, alarm: Callable[[str, int, str], None]) -> None:
        """Build each new head and have `swap` run it; until cancelled.

        What can't be built here is an alarm and `not_able`; what ran before goes on.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            head = self._journal.head
            if head is not None and not self._has_followed():
                await self._take(head.revision, swap, alarm)
                self._seen = head.position
                async with self._turn:
                    self._turn.notify_all()
            elif self._unwritten is not None and self._is_main():
                await asyncio.sleep(FIRST_RETRY_S)
                await self._write_first()

    def _has_followed(self) -> bool:
        """Whether the head was put in force, or can't be."""
        head = self._journal.head
        return head is None or head.position == self._seen

    async def _take(
        self, revision: Revision, swap: Swap, alarm: Callable[[str, int, str], None]
    ) -> None:
        self._disk.follow(revision.number, revision.files)
        if revision.number == self.running and dict(self._site.files) == revision.files:
            self._unwritten = None
            self.not_able = self._needs_restart(self._site)  # a head that couldn't run diverged
            return
        built = await asyncio.to_thread(self._here.build, revision.files)
        if built.site is None:
            why = f"revision {revision.number} can't run here: {built.problems[0]}"
            self._fails(revision.number, why, alarm)
            return
        try:
            await swap(built.site, revision.number)
        except Exception as error:  # the node goes on with what it has, and says so
            log.exception("revision %d could not be put in force", revision.number)
            why = f"revision {revision.number} could not be put in force: {error}"
            self._fails(revision.number, why, alarm)
            return
        self._site, self.running, self._unwritten = built.site, revision.number, None
        self.not_able = self._needs_restart(built.site)
        if self.not_able:
            alarm("", 600, self.not_able)

    def _fails(self, number: int, why: str, alarm: Callable[[str, int, str], None]) -> None:
        self._failed, self.not_able = number, why
        alarm("", 900, f"{why} Revision {self.running} runs on.")

    def _needs_restart(self, site: SiteConfig) -> str:
        keys = differences.shared_changes(self._started.pair, site.pair)
        if not keys:
            return ""
        names = ", ".join(f"pair.{key}" for key in keys)
        return f"revision {self.running} changed {names}: restart node {self._node.node}"

    # ------------------------------------------------------------------------------ checking

    def site_of(self, revision: Revision) -> SiteConfig:
        """A revision as this node would run it. Raises ConfigError."""
        built = self._here.build(revision.files)
        if built.site is None:
            raise ConfigError(list(built.problems))
        return built.site

    def problems(self, files: Mapping[str, str]) -> list[Problem]:
        """What hinders this node from running these texts; blocks: call it in a thread."""
        return self._here.check(files).problems

    async def answer(self, what: str, body: Any) -> Any:
        """What the peer asks: `validate` for this node; `apply` and `rollback` of its users."""
        if what == "validate":
            found = await asyncio.to_thread(self._here.check, _texts(body))
            return {
                "node": self._node.node,
                "problems": [str(problem) for problem in found.problems],
                "warnings": [str(warning) for warning in found.warnings],
            }
        if not self._is_main():
            raise ControlError("neither node is Main now", "Try again when one of them is")
        who, alone, dry_run = str(body["who"]), bool(body["alone"]), bool(body["dry_run"])
        if what == "apply":
            done = await self.apply(_texts(body), who, alone, dry_run)
        else:
            done = await self.rollback(str(body["reference"]), who, alone, dry_run)
        return done._asdict()

    # ------------------------------------------------------------------------------- applying

    async def apply(
        self, files: Mapping[str, str], who: str, alone: bool, dry_run: bool = False
    ) -> Applied:
        """Make these texts the next revision, once both nodes have found nothing wrong with them.

        A Standby passes it on to its Main. With problems nothing is committed. Raises ControlError
        when the other node can't be asked and `alone` isn't said, JournalError when the store
        takes nothing.
        """
        if not self._is_main():
            body = {"files": dict(files), "who": who, "alone": alone, "dry_run": dry_run}
            return await self._pass_on("apply", body)
        return await self._proposer.decide("apply", self._site, files, who, alone, dry_run)

    async def rollback(
        self, reference: str, who: str, alone: bool, dry_run: bool = False
    ) -> Applied:
        """Make the texts of an old or diverged revision the next one; otherwise as `apply`."""
        if not self._is_main():
            body = {"reference": reference, "who": who, "alone": alone, "dry_run": dry_run}
            return await self._pass_on("rollback", body)
        _, revision = await self._find(reference)
        who = f"{who}, back to {reference}"
        decide = self._proposer.decide
        return await decide("rollback", self._site, revision.files, who, alone, dry_run)

    async def _pass_on(self, what: str, body: dict[str, Any]) -> Applied:
        if self._ask is None:
            raise ControlError("this node is not Main yet", "Try again when it is")
        body["who"] = f"{body['who']} at node {self._node.node}"
        try:
            return Applied(**await self._ask(what, body, 2 * ASK_TIMEOUT_S))
        except LinkDown as error:
            remedy = "A revision is applied by the Main: try again when the link is back"
            raise ControlError(f"the Main can't be asked: {error.message}", remedy) from error

    async def _in_force(self, number: int) -> bool:
        """Wait until a revision runs here; False when it takes too long or can't."""
        try:
            async with asyncio.timeout(SWAP_PATIENCE_S), self._turn:
                await self._turn.wait_for(lambda: number in (self.running, self._failed))
        except TimeoutError:
            return False
        return self.running == number

    # ------------------------------------------------------------------------------- looking

    async def listing(self, limit: int = KNOWN_MAX) -> list[dict[str, Any]]:
        """The newest revisions, newest first, those of a lost branch among them."""
        known = await self._journal.revisions(limit)
        head = self._journal.head
        position = head.position if head is not None else None
        return await asyncio.to_thread(listed, known, self._diverged(), position, self.running)

    def _diverged(self) -> list[Position]:
        return [position for position, _ in self._journal.diverged]

    async def _find(self, reference: str) -> tuple[Position, Revision]:
        known = await self._journal.revisions(LISTED_MAX)
        return find(known, self._diverged(), reference)

    async def texts(self, reference: str) -> dict[str, str]:
        """The files of a revision; of the head when nothing is named. Raises ControlError."""
        head = self._journal.head
        if not reference and head is not None:
            return dict(head.revision.files)
        _, revision = await self._find(reference)
        return dict(revision.files)

    def on_disk(self) -> Difference | None:
        """What differs between the files on disk and the revision that is to run."""
        return self._disk.difference()

    def differs(self) -> list[str]:
        """The same for people, with how to apply it; empty when nothing differs."""
        return self._disk.told(self._node.node_file)

    def status(self) -> dict[str, Any]:
        """For `/status`: what runs, since when, and what is not as it should be."""
        head = self._journal.head
        revision = head.revision if head is not None else None
        return {
            "number": revision.number if revision is not None else None,
            "running": self.running,
            "at": format_time(revision.at_ns) if revision is not None else None,
            "who": revision.who if revision is not None else "",
            "term": str(head.position.term) if head is not None else None,
            "differs": " ".join(self.differs()),
            "diverged": len(self._journal.diverged),
            "not_able": self.not_able,
        }


def _texts(body: Any) -> dict[str, str]:
    """The files that a peer or a user sends. Raises ControlError."""
    files = body.get("files") if isinstance(body, dict) else None
    if not isinstance(files, dict) or not files:
        raise ControlError("no files were sent", "Send the texts of site.yaml and what it names")
    return {str(name): str(text) for name, text in files.items()}
