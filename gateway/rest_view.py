"""The running node as REST sees it: what `NodeView` shows, and what is asked for over TCP only."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from gateway.driver import PointSpec
from gateway.errors import ControlError, HotpairError
from gateway.journal.buckets import Buckets
from gateway.journal.records import Audit
from gateway.model import NS_PER_S, format_time, parse_time
from gateway.node import NodeView
from gateway.server import trust
from gateway.server.trust_folder import Entry, TrustFolder
from gateway.web.health import Stand
from gateway.web.metrics import Measured

WILD: Final = frozenset("*?[")
WILD_MAX: Final = 20
BACKUPS: Final = "backups"


class RestView(NodeView):
    """A node to be looked at over REST; `web_certificate` is where that of the page lies."""

    web_certificate: Path | None = None

    @property
    def name(self) -> str:
        """The node's."""
        return self._node.node

    @property
    def site(self) -> str:
        """The site's name."""
        return self._running.site.site

    @property
    def through_ns(self) -> int:
        """Up to when its history is complete, ns UTC."""
        return min((self._journal.claimed_ns, *self._journal.behind.values()))

    def now_ns(self) -> int:
        """The node's time, ns UTC."""
        return self._clock.utc_ns()

    def stand(self) -> Stand:
        """For health checks: cheap."""
        return Stand(
            self._node.node,
            self.keeper.machine.role.name.lower(),
            self.keeper.may_send(),
            self._journal.store_failed_since_ns is None,
            self._clock.utc_ns() - self.through_ns,
        )

    # ------------------------------------------------------------------------------- points

    def select(self, patterns: Sequence[str], find: str = "") -> list[int]:
        """Points by number whose id fits one of the patterns. Raises ControlError."""
        return selected(patterns, self._running.live.points, find)

    def values(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """The live values of some points."""
        points = self._running.live.points
        return [self._point(points[number]) for number in numbers]

    def spec(self, point: str) -> PointSpec | None:
        """A point of the revision that runs, or None."""
        return self._running.points.get(point)

    async def thin(self, point: str, from_ns: int, to_ns: int, buckets: Buckets) -> None:
        """Take a stretch of a point's history into buckets."""
        await self._running.history.thin(point, from_ns, to_ns, buckets)

    async def measured(self, sessions: int, streams: Mapping[str, int]) -> Measured:
        """Everything that /metrics shows."""
        await self.gaps_counted()
        status, collector = self.status(), self._collector
        meters = {name: collector.line_of(name).diagnostics(name) for name in collector.devices}
        disk = await asyncio.to_thread(shutil.disk_usage, self._node.data_dir)
        ends = {each["purpose"]: parse_time(each["expires"]) for each in await self.certificates()}
        return Measured(
            status=status,
            gaps=self._open_gaps.by_cause,
            round_trips={name: (m.rtt_counts, m.rtt_sum_ns) for name, m in meters.items()},
            windback=self.windback(),
            opcua=self._running.server.counters(),
            expires_ns=ends,
            disk=(disk.free, disk.total),
            memory_bytes=await asyncio.to_thread(_resident_bytes),
            cpu_s=time.process_time(),
            started_ns=self._started_ns,
            sessions=sessions,
            streams=streams,
        )

    # ------------------------------------------------------------------------------- people

    def users(self) -> list[dict[str, Any]]:
        """The users of the revision that runs, without their secrets."""
        return [
            {
                "name": user.name,
                "role": user.role,
                "password": bool(user.password_hash),
                "certificate": bool(user.certificate),
            }
            for user in self._running.site.users.values()
        ]

    def tokens(self) -> list[dict[str, Any]]:
        """The tokens that were made and not revoked, oldest first."""
        now_ns = self._clock.utc_ns()
        return [
            {
                "name": token.name,
                "role": token.role.name.lower(),
                "made_by": token.made_by,
                "made": format_time(token.made_ns),
                "expires": format_time(token.expires_ns),
                "expired": token.expires_ns <= now_ns,
            }
            for token in sorted(self.known_tokens().values(), key=lambda token: token.made_ns)
        ]

    async def certificates(self) -> list[dict[str, Any]]:
        """This node's own certificates; one that can't be read is left out."""
        link = self._node.link.tls if self._node.link is not None else None
        files = {
            "opcua": self._node.data_dir / "pki" / "own" / "certificate.der",
            "link": link.cert if link is not None else None,
            "peer": link.peer_cert if link is not None else None,
            "web": self.web_certificate,
        }
        return await asyncio.to_thread(
            lambda: [
                _certificate(purpose, found)
                for purpose, path in files.items()
                if path is not None and (found := _read(path)) is not None
            ]
        )

    async def trust(self) -> list[dict[str, Any]]:
        """The trust list of OPC UA clients, and who asked in vain."""
        return await asyncio.to_thread(lambda: [_trusted(e) for e in self._folder().entries()])

    async def trust_accept(self, which: str, as_issuer: bool, who: str) -> str:
        """Trust a rejected certificate. Raises ControlError."""
        entry = await asyncio.to_thread(self._folder().accept, which, as_issuer)
        word = "trusted" if entry.state == "trusted" else "an issuer"
        text = f"{entry.thumbprint} {trust.subject(entry.certificate)} is {word}"
        await self._noted("trust accept", entry.thumbprint, who, text)
        return text

    async def trust_remove(self, which: str, who: str) -> str:
        """Trust a certificate no more. Raises ControlError."""
        entry = await asyncio.to_thread(self._folder().remove, which)
        text = f"{entry.thumbprint} {trust.subject(entry.certificate)} is trusted no more"
        await self._noted("trust remove", entry.thumbprint, who, text)
        return text

    def _folder(self) -> TrustFolder:
        return TrustFolder(self._node.data_dir / "pki")

    async def backup_as(self, name: str, who: str) -> str:
        """Copy the journal below the data directory. Raises ControlError, JournalError."""
        folder = (self._node.data_dir / BACKUPS).absolute()
        try:
            await asyncio.to_thread(folder.mkdir, exist_ok=True)
        except OSError as error:
            raise ControlError(f"{folder} can't be made: {error.strerror}") from error
        await self.backup(str(folder / name))
        text = f"the journal was copied to {folder / name}"
        await self._noted("backup", name, who, text)
        return text

    async def _noted(self, action: str, target: str, who: str, outcome: str) -> None:
        house = self._running.house
        try:
            await house.commit(Audit(action, target, self._clock.utc_ns(), who, outcome))
        except HotpairError as error:  # it is done, and was told
            house.alarm("journal", 800, f"{action} by {who} was not journalled: {error}")


def selected(patterns: Sequence[str], points: Iterable[PointSpec], find: str = "") -> list[int]:
    """Points by number whose id is, or fits, one of the patterns, and whose id or unit has `find`.

    Raises ControlError for too many patterns.
    """
    find = find.lower()
    exact = {pattern for pattern in patterns if not WILD & set(pattern)}
    wild = {pattern for pattern in patterns if WILD & set(pattern)}
    if len(wild) > WILD_MAX:
        raise ControlError(f"{len(wild)} patterns are too many", f"Use at most {WILD_MAX}")
    fits = [re.compile(fnmatch.translate(pattern)).match for pattern in wild - {"*"}]
    return [
        point.number
        for point in points
        if (not find or find in f"{point.id} {point.unit}".lower())
        and ("*" in wild or point.id in exact or any(fit(point.id) for fit in fits))
    ]


def _resident_bytes() -> int:
    """Resident memory of this process (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _read(path: Path) -> x509.Certificate | None:
    try:
        data = path.read_bytes()
        if data.startswith(b"-----"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except (OSError, ValueError):
        return None


def _certificate(purpose: str, found: x509.Certificate) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "subject": found.subject.rfc4514_string(),
        "sha256": trust.fingerprint(trust.der(found)),
        "expires": format_time(int(found.not_valid_after_utc.timestamp()) * NS_PER_S),
    }


def _trusted(entry: Entry) -> dict[str, Any]:
    written = datetime.fromtimestamp(entry.path.stat().st_mtime, UTC)
    return {
        "state": entry.state,
        "thumbprint": entry.thumbprint,
        "subject": trust.subject(entry.certificate),
        "uri": ", ".join(trust.uris(entry.certificate)),
        "valid_until": f"{entry.certificate.not_valid_after_utc:%Y-%m-%d}",
        "written": f"{written:%Y-%m-%d %H:%M}",
    }
