"""Which client applications may come in: the trust list at work, told to people and on record."""

from __future__ import annotations

import asyncio
import logging
import pwd
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from gateway.clock import Clock
from gateway.model import NS_PER_S
from gateway.server import trust
from gateway.server.audit import CLIENT_REFUSED, TRUST, Audit, Meter, Pace
from gateway.server.settings import OpcUaSettings
from gateway.server.trust import NotTrusted, TrustList
from gateway.server.trust_folder import Entry, Loaded, TrustFolder

_log: Final = logging.getLogger(__name__)
NEWS_PACE: Final = Pace(20, 60 * NS_PER_S)
"""How fast strangers may make us tell people and write files: 100 are kept, the newest."""
TOLD_AGAIN_NS: Final = 3_600 * NS_PER_S
TOLD_MAX: Final = 100
REFUSED_SEVERITY: Final = 500
CHANGED_SEVERITY: Final = 300
PROBLEM_SEVERITY: Final = 600
PROBLEMS_MAX: Final = 10

Alarm = Callable[[int, str], None]


class Admission:
    """Checks client certificates; one at a time and beside the loop."""

    def __init__(self, settings: OpcUaSettings, audit: Audit, alarm: Alarm, clock: Clock) -> None:
        self.lists = settings.trusts_listed
        self.folder = TrustFolder(settings.pki_dir)
        self._audit = audit
        self._alarm = alarm
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._loaded = Loaded()
        self._unreadable = ""
        self._told: OrderedDict[str, int] = OrderedDict()
        self._news = Meter(NEWS_PACE)

    @property
    def trusted(self) -> int:
        """How many certificates are trusted."""
        return len(self._loaded.trusted)

    async def begin(self) -> None:
        """Make the folders, and put on record who is trusted. Raises OSError."""
        await asyncio.to_thread(self.folder.make)
        self._loaded = loaded = await self._load()
        self._tell_problems(loaded, Loaded())
        if self.lists:
            # What was changed while the node stood still shows as another digest.
            thumbprints = sorted(entry.thumbprint for entry in loaded.trusted)
            digest = trust.fingerprint("".join(thumbprints).encode())[:16]
            self._audit.put(TRUST, "trust list", "", f"{self.trusted} trusted", digest=digest)

    async def check(self, sent: bytes, peer: str) -> int:
        """Whether a client with this certificate may open a channel: 0, or what it is told."""
        if not self.lists:
            return 0
        loaded, now = await self._load(), self._now()
        try:
            accepted = await self._checked(sent, loaded.trust, now)
        except NotTrusted as refused:
            first = _first(sent)
            if self._refused(first, refused, peer) and refused.status == trust.UNTRUSTED:
                await self._keep(first, now)
            return refused.told
        for note in accepted.notes:
            _log.info("client certificate of %s: %s", peer, note)
        return 0

    def check_uri(self, certificate: bytes, application_uri: str, peer: str) -> int:
        """Whether the client is whom its certificate names: 0, or what it is told."""
        if not self.lists:
            return 0
        try:
            trust.check_uri(trust.parse(certificate), application_uri)
        except NotTrusted as refused:
            self._refused(certificate, refused, peer)
            return refused.told
        return 0

    async def still(self, sent: bytes) -> bool:
        """Whether a client that is in may stay."""
        try:
            await self._checked(sent, self._loaded.trust, self._now())
        except NotTrusted as refused:
            _log.warning("a client is cut off: %s", refused)
            return False
        return True

    async def changed(self) -> bool:
        """Whether the lists changed since last asked; each change is put on record."""
        if not self.lists:
            return False
        before = self._loaded
        after = await self._load()
        if after is before:
            return False
        self._loaded = after
        self._tell_problems(after, before)
        old = {entry.thumbprint: entry for entry in before.trusted}
        new = {entry.thumbprint: entry for entry in after.trusted}
        for thumbprint in sorted(new.keys() - old.keys()):
            who = await asyncio.to_thread(_owner, new[thumbprint])
            self._record_change(new[thumbprint], "accepted", who)
        for thumbprint in sorted(old.keys() - new.keys()):
            self._record_change(old[thumbprint], "removed", "")
        return True

    # ------------------------------------------------------------------------------- inside

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.utc_ns() / NS_PER_S, UTC)

    async def _checked(self, sent: bytes, lists: TrustList, now: datetime) -> trust.Accepted:
        async with self._one_at_a_time:
            return await asyncio.to_thread(trust.check, sent, lists, now)

    async def _load(self) -> Loaded:
        async with self._one_at_a_time:
            try:
                loaded = await asyncio.to_thread(self.folder.load)
            except OSError as error:
                # Nobody new is trusted by accident: what was read last goes on to hold.
                if str(error) != self._unreadable:  # it is tried each second, and told once
                    self._alarm(PROBLEM_SEVERITY, f"the trust list can't be read: {error}")
                self._unreadable = str(error)
                return self._loaded
        self._unreadable = ""
        return loaded

    def _refused(self, certificate: bytes, refused: NotTrusted, peer: str) -> bool:
        """Put it on record, and tell it if it is news: so it is once an hour for a certificate."""
        thumbprint, name = trust.thumbprint(certificate), _name(certificate)
        self._audit.put(CLIENT_REFUSED, peer, name, str(refused), thumbprint=thumbprint)
        text = f"client {name!r} of {peer} refused: {refused}"
        if refused.status == trust.UNTRUSTED:
            text += f": `hotpair trust accept {thumbprint[:8]}` on this node lets it in"
        now_ns = self._clock.monotonic_ns()
        last_ns = self._told.get(thumbprint)
        again = last_ns is not None and now_ns - last_ns < TOLD_AGAIN_NS
        if again or not self._news.take(now_ns):
            _log.info("%s", text)
            return False
        self._told.pop(thumbprint, None)
        self._told[thumbprint] = now_ns
        while len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        self._alarm(REFUSED_SEVERITY, text)
        return True

    async def _keep(self, certificate: bytes, now: datetime) -> None:
        try:
            await asyncio.to_thread(self.folder.reject, certificate, now)
        except OSError as error:
            self._alarm(
                PROBLEM_SEVERITY,
                f"a refused certificate can't be kept in {self.folder.path / 'rejected'}: {error}",
            )

    def _tell_problems(self, loaded: Loaded, before: Loaded) -> None:
        fresh = [text for text in loaded.problems if text not in before.problems]
        for text in fresh[:PROBLEMS_MAX]:
            self._alarm(PROBLEM_SEVERITY, text)

    def _record_change(self, entry: Entry, outcome: str, who: str) -> None:
        name = trust.subject(entry.certificate)
        self._audit.put(TRUST, name, who, outcome, thumbprint=entry.thumbprint)
        by = f" by {who}" if who else ""
        self._alarm(CHANGED_SEVERITY, f"client {name!r} {outcome}{by} ({entry.thumbprint[:8]})")


def _first(sent: bytes) -> bytes:
    """The sender's own of a chain, or all that was sent if it is none."""
    try:
        return trust.split_chain(sent)[0]
    except NotTrusted:
        return sent


def _name(certificate: bytes) -> str:
    """Whose a certificate is: its common name, or all of the subject."""
    try:
        found = trust.parse(certificate)
    except NotTrusted:
        return ""
    names = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value)[:64] if names else trust.subject(found)[:64]


def _owner(entry: Entry) -> str:
    """Who put a file there, as far as its owner tells."""
    try:
        return pwd.getpwuid(entry.path.stat().st_uid).pw_name
    except (OSError, KeyError):
        return ""
