"""How a proposed revision is decided: checked by both nodes, committed by the Main, put on record.

Nothing is committed while either node finds a problem, so that a Standby can always run what its
Main runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gateway.clock import Clock
from gateway.config import differences
from gateway.config.differences import Changes
from gateway.config.present import Here
from gateway.config.site import SiteConfig
from gateway.config.texts import root_of
from gateway.errors import ControlError, JournalError, PeerError
from gateway.journal.records import EMPTY_DIGEST, Audit, Body, Record, Revision, encode
from gateway.proposals import Applied, Head, Ledger, told

log = logging.getLogger("hotpair")

SIZE_MAX: Final = 12 * 2**20
"""Of a revision's wire form in a pair: it travels as one record."""
ASK_TIMEOUT_S: Final = 60.0

Ask = Callable[[str, Any, float], Awaitable[Any]]
Commit = Callable[[Body], Awaitable[Record]]


class Proposer:
    """Decides for the Main. `ask` is None without a peer; `in_force` waits for a number to run."""

    def __init__(
        self,
        node: str,
        here: Here,
        ledger: Ledger,
        commit: Commit,
        ask: Ask | None,
        clock: Clock,
        is_main: Callable[[], bool],
        in_force: Callable[[int], Awaitable[bool]],
    ) -> None:
        self._node = node
        self._here = here
        self._ledger = ledger
        self._commit = commit
        self._ask = ask
        self._clock = clock
        self._is_main = is_main
        self._in_force = in_force
        self._one_at_a_time = asyncio.Lock()

    async def decide(
        self,
        action: str,
        running: SiteConfig,
        files: Mapping[str, str],
        who: str,
        alone: bool,
        dry_run: bool,
    ) -> Applied:
        """Check everywhere, commit, wait until it runs; with any problem nothing is committed.

        Raises ControlError when the peer can't be asked and `alone` isn't said, JournalError.
        """
        async with self._one_at_a_time:
            return await self._decide(action, running, files, who, alone, dry_run)

    async def _decide(
        self,
        action: str,
        running: SiteConfig,
        files: Mapping[str, str],
        who: str,
        alone: bool,
        dry_run: bool,
    ) -> Applied:
        me, head = self._node, self._ledger.head
        texts = _rooted(files, root_of(running.files))
        own = await asyncio.to_thread(self._here.check, texts)
        changes = Changes()
        problems = {me: [str(p) for p in own.problems]}
        warnings = {me: [str(p) for p in own.warnings]}
        if own.site is not None:
            texts = dict(own.site.files)
            if head is not None and texts == head.revision.files:
                return Applied(
                    me, head.revision.number, True, told(problems), told(warnings), [], ""
                )
            changes, forbidden = await asyncio.to_thread(_compared, running, own.site)
            problems[me] += forbidden
        peer, asked = await self._ask_peer(texts, problems, warnings)
        if own.site is not None:
            problems[me] += self._refused_in_a_pair(running, own.site, asked)
        if asked is None and self._ask is not None and not (alone or dry_run):
            remedy = "Start it; or say --alone: it takes the revision over when it is back"
            raise ControlError(f"the other node can't check this: {peer}", remedy)
        answer = Applied(me, 0, False, told(problems), told(warnings), changes.told(), peer)
        if dry_run:
            return answer
        if answer.problems or own.site is None:
            await self._audit(action, head, who, "refused", {"problems": len(answer.problems)})
            return answer
        if not self._is_main():
            raise ControlError("this node is no longer Main", "Apply it again, at either node")
        number = head.revision.number + 1 if head is not None else 1
        await self.write(number, own.site, who)
        said = {"number": number, "alone": asked is None, "changes": changes.told()}
        await self._audit(action, head, who, "applied", said)
        return answer._replace(number=number, in_force=await self._in_force(number))

    async def _ask_peer(
        self,
        texts: Mapping[str, str],
        problems: dict[str, list[str]],
        warnings: dict[str, list[str]],
    ) -> tuple[str, str | None]:
        """Have the other node check the texts for itself: what it said, and its name or None."""
        if self._ask is None:
            return "", None
        try:
            said = await self._ask("validate", {"files": dict(texts)}, ASK_TIMEOUT_S)
        except PeerError as error:
            return str(error.message), None
        name = str(said["node"])
        problems[name], warnings[name] = list(said["problems"]), list(said["warnings"])
        return f"checked by node {name}", name

    def _refused_in_a_pair(
        self, running: SiteConfig, site: SiteConfig, asked: str | None
    ) -> list[str]:
        """What a lone node may do, but not one of two."""
        if self._ask is None:
            return []
        found = []
        points = tuple((p.id, p.data_type.value) for p in site.points)
        size = len(encode(Revision(0, EMPTY_DIGEST, 0, "", dict(site.files), points)))
        if size > SIZE_MAX:
            limit = SIZE_MAX // 2**20
            found.append(
                f"the revision has {size // 2**20} MiB, and a pair exchanges at most {limit}. "
                "Divide the site between two pairs."
            )
        keys = differences.shared_changes(running.pair, site.pair)
        if asked is not None and keys:
            found.append(
                f"{', '.join(f'pair.{key}' for key in keys)} can't change while both nodes run: "
                f"one would take over before the other lets go. Stop node {asked}, apply with "
                f"--alone, restart node {self._node}, start node {asked}, and restart it once "
                "it has the revision."
            )
        return found

    async def write(self, number: int, site: SiteConfig, who: str) -> None:
        """Commit a site as the revision that follows the head. Raises JournalError."""
        head = self._ledger.head
        parent = head.digest if head is not None else EMPTY_DIGEST
        points = tuple((p.id, p.data_type.value) for p in site.points)
        at_ns = self._clock.utc_ns()
        await self._commit(Revision(number, parent, at_ns, who, dict(site.files), points))

    async def _audit(
        self, action: str, head: Head | None, who: str, outcome: str, detail: dict[str, Any]
    ) -> None:
        before = head.revision.number if head is not None else 0
        at_ns = self._clock.utc_ns()
        try:
            await self._commit(Audit(action, f"revision {before}", at_ns, who, outcome, detail))
        except JournalError as error:  # the revision itself says who made it
            log.error("%s by %s (%s) was not put on record: %s", action, who, outcome, error)


def _compared(running: SiteConfig, site: SiteConfig) -> tuple[Changes, list[str]]:
    forbidden = [str(problem) for problem in differences.forbidden(running, site)]
    return differences.changes(running, site), forbidden


def _rooted(files: Mapping[str, str], name: str) -> dict[str, str]:
    """Whatever the site's own file is called where it comes from, it has one name here."""
    given = root_of(files)
    return {name if key == given else key: text for key, text in files.items()}
